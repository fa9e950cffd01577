// The process's end of the socket to the daemon: frames in, frames out. Descriptor 0.
//
// Frames are written at once and whole, so that what was logged before a function spins or crashes
// has left the process. Taken from the modules at the start: a function may change them.
(function (mortise, require) {
  'use strict';
  const { readFileSync, writeSync } = require('node:fs');
  const { Socket } = require('node:net');
  const { wait } = Atomics;
  const { parse, stringify } = JSON;
  const reallyExit = process.reallyExit.bind(process);
  const PREFIX = 8;

  const pause = new Int32Array(new SharedArrayBuffer(4));

  function writeAll(bytes) {
    let from = 0;
    while (from < bytes.length) {
      try {
        from += writeSync(0, bytes, from, bytes.length - from);
      } catch (error) {
        // The daemon reads whenever a run is on.
        if (error.code === 'EAGAIN') wait(pause, 0, 0, 1);
        else reallyExit(0);
      }
    }
  }

  // Sends a frame; `body` is bytes, if there is one.
  function send(header, body) {
    const text = Buffer.from(stringify(header));
    const length = body === undefined ? 0 : body.length;
    const head = Buffer.allocUnsafe(PREFIX + text.length);
    head.writeUInt32LE(text.length, 0);
    head.writeUInt32LE(length, 4);
    text.copy(head, PREFIX);
    if (length > 0 && length < 65536) {
      writeAll(Buffer.concat([head, body]));
    } else {
      writeAll(head);
      if (length > 0) writeAll(body);
    }
  }

  let chunks = [];
  let received = 0;
  let needed = PREFIX;

  function take(length) {
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, received);
    chunks = all.length > length ? [all.subarray(length)] : [];
    received -= length;
    return all.subarray(0, length);
  }

  function lengthOfFirst() {
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, received);
    chunks = [all];
    return PREFIX + all.readUInt32LE(0) + all.readUInt32LE(4);
  }

  function hear(chunk) {
    chunks.push(chunk);
    received += chunk.length;
    while (received >= needed) {
      if (needed === PREFIX) {
        needed = lengthOfFirst();
        if (received < needed) return;
      }
      const frame = take(needed);
      needed = PREFIX;
      const headerEnd = PREFIX + frame.readUInt32LE(0);
      const header = parse(frame.toString('utf8', PREFIX, headerEnd));
      const [name, value] = typeof header === 'string' ? [header] : Object.entries(header)[0];
      const handler = handlers[name];
      if (handler !== undefined) handler(value, frame.subarray(headerEnd));
    }
  }

  // What is to be done with each kind of frame; the other parts put themselves in here.
  const handlers = { __proto__: null };

  const socket = new Socket({ fd: 0, readable: true, writable: false });
  socket.on('data', hear);
  socket.on('error', () => reallyExit(0));
  socket.on('close', () => reallyExit(0));

  // While a run is on, only what it waits for keeps the process going, so that a run that waits for
  // nothing is noticed.
  let holds = 0;
  let idle = true;
  function hold(change) {
    holds += change;
    update();
  }
  function setIdle(value) {
    idle = value;
    update();
  }
  function update() {
    if (idle || holds > 0) socket.ref();
    else socket.unref();
  }

  mortise.link = { send, handlers, hold, setIdle, reallyExit, readFileSync };
})
