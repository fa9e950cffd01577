// What a function writes: its console and its standard streams become lines of the run's log.
(function (mortise, require) {
  'use strict';
  const { Console } = require('node:console');
  const { Readable, Writable } = require('node:stream');
  const { link, runs } = mortise;
  const now = performance.now.bind(performance);
  const MOST_LINES = 1000;
  const MOST_BYTES = 64 * 1024;
  const MOST_BYTES_PER_LINE = 16 * 1024;

  // The log of the run that is on.
  let log;

  function begin() {
    log = { started: now(), lines: 0, bytes: 0, dropped: 0 };
  }

  function line(level, message) {
    return { level, at_ms: Math.max(0, Math.floor(now() - log.started)), message };
  }

  function shorten(text, most) {
    if (text.length * 3 <= most) return text;
    const bytes = Buffer.from(text);
    if (bytes.length <= most) return text;
    let end = most;
    while (end > 0 && (bytes[end] & 0xc0) === 0x80) end -= 1;
    return `${bytes.toString('utf8', 0, end)}… (${bytes.length - end} more bytes)`;
  }

  const isFull = () => log.lines >= MOST_LINES || log.bytes >= MOST_BYTES;

  // Whether nobody is to read what is written now.
  const isUnheard = () => log === undefined || runs.isOver();

  function write(level, text) {
    if (isUnheard()) return;
    if (isFull()) {
      log.dropped += 1;
      return;
    }
    const message = shorten(text, Math.min(MOST_BYTES_PER_LINE, MOST_BYTES - log.bytes));
    log.lines += 1;
    log.bytes += Buffer.byteLength(message);
    link.send({ Logs: [line(level, message)] });
  }

  // Ends the log; what is returned goes out with the result.
  function finish() {
    out.end();
    err.end();
    const last = [];
    if (log.dropped > 0) {
      const limits = `a run may log ${MOST_LINES} lines and ${MOST_BYTES / 1024} KiB`;
      last.push(line('warn', `${log.dropped} more lines were dropped: ${limits}`));
    }
    log = undefined;
    return last;
  }

  // Text that comes in pieces, put together to lines.
  function lines(level) {
    let rest = '';
    return {
      push(text) {
        if (isUnheard()) return;
        if (isFull()) {
          log.dropped += 1;
          return;
        }
        const parts = (rest + text).split('\n');
        rest = parts.pop();
        if (rest.length > MOST_BYTES_PER_LINE) {
          parts.push(rest);
          rest = '';
        }
        for (const part of parts) write(level, part);
      },
      end() {
        if (rest !== '') write(level, rest);
        rest = '';
      },
    };
  }
  const out = lines('info');
  const err = lines('error');

  function stream(sink, fd) {
    const made = new Writable({
      decodeStrings: false,
      write(chunk, encoding, done) {
        sink.push(typeof chunk === 'string' ? chunk : chunk.toString('utf8'));
        done();
      },
    });
    made.fd = fd;
    made.isTTY = false;
    made._type = 'pipe';
    made.destroy = made.destroySoon = () => made;
    made.end = () => made;
    return made;
  }
  const streams = {
    stdout: stream(out, 1),
    stderr: stream(err, 2),
    stdin: new Readable({ read() { this.push(null); } }),
  };
  streams.stdin.fd = 0;
  for (const name of Object.keys(streams)) {
    const value = streams[name];
    Object.defineProperty(process, name, {
      configurable: true, enumerable: true, get: () => value });
  }

  // The console of Node.js with its tables, groups and clocks, on streams that know the level.
  let level = 'info';
  const levelled = (fallback) => ({
    write(text, done) {
      const used = fallback ?? level;
      write(used, String(text).replace(/\n$/, ''));
      if (typeof done === 'function') done();
      return true;
    },
    on() { return this; },
    once() { return this; },
    removeListener() { return this; },
    listenerCount() { return 1; },
    isTTY: false,
  });
  const inner = new Console({
    stdout: levelled(), stderr: levelled(), colorMode: false, ignoreErrors: true });
  const LEVELS = {
    debug: 'debug', trace: 'debug', warn: 'warn', error: 'error', assert: 'error',
    countReset: 'warn' };
  for (const name of Object.keys(inner)) {
    const method = inner[name];
    if (typeof method !== 'function' || name.startsWith('_')) continue;
    const own = LEVELS[name] ?? 'info';
    console[name] = function (...args) {
      // Formatting may cost far more than the line that is then dropped.
      const formats = ['log', 'info', 'debug', 'warn', 'error', 'dir', 'table', 'trace'];
      if (isUnheard()) return undefined;
      if (isFull() && formats.includes(name)) {
        log.dropped += 1;
        return undefined;
      }
      const before = level;
      level = own;
      try {
        return method(...args);
      } finally {
        level = before;
      }
    };
  }

  process.on('warning', (warning) => write('warn', `${warning.name}: ${warning.message}`));

  mortise.log = { begin, write, finish };
})
