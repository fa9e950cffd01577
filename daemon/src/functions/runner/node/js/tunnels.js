// TCP connections through the daemon: sockets of Node.js whose bytes go over the link.
//
// The daemon decides by the host as written, so names are never resolved here: whoever asks for the
// address of a name gets a made-up one, which leads back to the name when it is connected to.
(function (mortise, require) {
  'use strict';
  const net = require('node:net');
  const tls = require('node:tls');
  const { link, runs } = mortise;
  const own = mortise.options.own ? new URL(mortise.options.own) : undefined;
  const WINDOW = 256 * 1024;
  const CHUNK = 64 * 1024;
  const ALLOWED = 'a function may open TCP connections to hosts that the egress rules allow';
  const empty = Buffer.alloc(0);

  const tunnels = new Map();
  let lastId = 0;
  // Whether a run is on; without one there are no rules to connect under.
  let isOpen = false;

  function refusal(what) {
    const error = new Error(`${what} is not possible in this runtime: ${ALLOWED}, and nothing else`);
    error.code = 'ERR_MORTISE_NOT_ALLOWED';
    return error;
  }

  function codeOf(message) {
    if (/egress rule/.test(message)) return 'EACCES';
    if (/refused/.test(message)) return 'ECONNREFUSED';
    if (/no connection within|timed out/.test(message)) return 'ETIMEDOUT';
    if (/lookup|not known|no address/.test(message)) return 'ENOTFOUND';
    if (/unreachable/.test(message)) return 'EHOSTUNREACH';
    return 'ECONNRESET';
  }

  class Tunnel {
    constructor(socket, host, port) {
      this.id = ++lastId;
      // What is heard of it goes on where it was made.
      this.origin = new runs.AsyncResource('TCPWRAP');
      this.socket = socket;
      this.host = host;
      this.port = port;
      this.queue = [];
      this.unsent = 0;
      this.owed = 0;
      this.read = 0;
      this.written = 0;
      this.held = false;
      this.ended = false;
      tunnels.set(this.id, this);
      this.hold(true);
    }

    hold(held) {
      if (this.held === held || (held && !tunnels.has(this.id))) return;
      this.held = held;
      link.hold(held ? 1 : -1);
    }

    open() {
      link.send({ Connect: { id: this.id, host: this.host, port: this.port } });
    }

    // `done` is called once all of it is on its way.
    write(buffers, done) {
      for (const buffer of buffers) {
        if (buffer.length > 0) this.queue.push({ buffer });
      }
      this.queue.push({ done });
      this.flush();
    }

    flush() {
      while (this.queue.length > 0) {
        const first = this.queue[0];
        if (first.done !== undefined) {
          this.queue.shift();
          first.done();
          continue;
        }
        const room = Math.min(WINDOW - this.unsent, CHUNK, first.buffer.length);
        if (room <= 0 || !tunnels.has(this.id)) return;
        this.unsent += room;
        this.written += room;
        const part = first.buffer.subarray(0, room);
        if (room === first.buffer.length) this.queue.shift();
        else first.buffer = first.buffer.subarray(room);
        link.send({ Send: { id: this.id } }, part);
      }
    }

    finish(done) {
      this.write([], () => {
        if (tunnels.has(this.id)) link.send({ Send: { id: this.id } }, empty);
        done();
      });
    }

    // The function has read what there was.
    take() {
      if (this.owed < CHUNK || !tunnels.has(this.id)) return;
      link.send({ Taken: { id: this.id, bytes: this.owed } });
      this.owed = 0;
    }

    close() {
      if (!this.forget()) return;
      if (isOpen) link.send({ Close: { id: this.id } });
    }

    forget() {
      this.hold(false);
      return tunnels.delete(this.id);
    }
  }

  // What is to be done with each kind of frame about a connection that there is.
  function hears(name, act) {
    link.handlers[name] = (header, body) => {
      const tunnel = tunnels.get(header.id);
      tunnel?.origin.runInAsyncScope(act, undefined, tunnel, header, body);
    };
  }

  hears('Connected', (tunnel, { error }) => {
    const { socket, host, port } = tunnel;
    if (error !== null && error !== undefined) {
      tunnel.forget();
      const failure = new Error(`connect to ${host} port ${port}: ${error}`);
      const code = codeOf(error);
      socket.destroy(Object.assign(failure, { code, syscall: 'connect', address: host, port }));
      return;
    }
    socket.connecting = false;
    socket._unrefTimer();
    socket.emit('connect');
    socket.emit('ready');
    if (socket.readable && !socket.isPaused()) socket.read(0);
  });

  hears('Received', (tunnel, _, body) => {
    const { socket } = tunnel;
    socket._unrefTimer();
    if (body.length === 0) {
      tunnel.ended = true;
      socket.push(null);
      socket.read(0);
      return;
    }
    tunnel.read += body.length;
    tunnel.owed += body.length;
    // A frame may be a part of a large chunk, which would live as long as the function keeps it.
    if (tunnel.deliver(body)) tunnel.take();
  });

  hears('Taken', (tunnel, { bytes }) => {
    tunnel.unsent -= bytes;
    tunnel.socket._unrefTimer();
    tunnel.flush();
  });

  hears('Closed', (tunnel, { error }) => {
    const { socket, host, port } = tunnel;
    tunnel.forget();
    if (tunnel.ended && (error === null || error === undefined)) return;
    const reason = error ?? 'the connection was closed';
    const failure = new Error(`connection to ${host} port ${port}: ${reason}`);
    socket.destroy(Object.assign(failure, { code: 'ECONNRESET' }));
  });

  // --- Sockets -------------------------------------------------------------------------------

  const proto = net.Socket.prototype;

  function closedBeforeConnection() {
    const error = new Error('Socket closed before the connection was established');
    error.code = 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION';
    return error;
  }

  // Waits for the connection, or fails with it.
  function whenConnected(socket, act, done) {
    const closed = () => done(closedBeforeConnection());
    socket.once('close', closed);
    socket.once('connect', () => {
      socket.removeListener('close', closed);
      act();
    });
  }

  function attach(socket, host, port, onread) {
    const tunnel = new Tunnel(socket, host, port);
    tunnel.deliver = (bytes) => {
      if (onread === undefined) return socket.push(bytes);
      const buffer = typeof onread.buffer === 'function' ? onread.buffer() : onread.buffer;
      for (let from = 0; from < bytes.length; from += buffer.length) {
        const length = bytes.copy(buffer, 0, from);
        onread.callback(length, buffer);
      }
      return true;
    };
    const define = (name, get) => Object.defineProperty(socket, name, { configurable: true, get });
    define('bytesRead', () => tunnel.read);
    define('bytesWritten', () => tunnel.written);
    define('pending', () => socket.connecting);
    define('remoteAddress', () => (socket.destroyed ? undefined : host));
    define('remotePort', () => (socket.destroyed ? undefined : port));
    define('remoteFamily', () => (net.isIPv6(host) ? 'IPv6' : 'IPv4'));
    define('localAddress', () => '127.0.0.1');
    define('localPort', () => 0);
    socket.address = () => ({ address: '127.0.0.1', family: 'IPv4', port: 0 });
    socket.ref = () => { tunnel.hold(true); return socket; };
    socket.unref = () => { tunnel.hold(false); return socket; };
    socket._read = () => tunnel.take();
    socket._writeGeneric = (many, data, encoding, done) => {
      if (socket.connecting) {
        whenConnected(socket, () => socket._writeGeneric(many, data, encoding, done), done);
        return;
      }
      socket._unrefTimer();
      const bytes = (chunk, how) => (typeof chunk === 'string' ? Buffer.from(chunk, how) : chunk);
      const buffers = many
        ? data.map((it) => bytes(it.chunk ?? it, it.encoding))
        : [bytes(data, encoding)];
      tunnel.write(buffers, done);
    };
    socket._final = (done) => {
      if (socket.connecting) whenConnected(socket, () => socket._final(done), done);
      else tunnel.finish(done);
    };
    socket._destroy = (error, done) => {
      tunnel.close();
      proto._destroy.call(socket, error, done);
    };
    return tunnel;
  }

  function fail(socket, error) {
    process.nextTick(() => socket.destroy(error));
    return socket;
  }

  proto.connect = function connect(...args) {
    const [options, done] = Array.isArray(args[0]) ? args[0] : net._normalizeArgs(args);
    if (typeof done === 'function') this.once('connect', done);
    this.connecting = true;
    if (options.path) return fail(this, refusal('connecting to a Unix socket'));
    if (this.encrypted) return fail(this, refusal('connecting a socket of TLS other than by tls.connect'));
    if (!isOpen || runs.isOver()) {
      return fail(this, new Error('the run that wants a connection has ended'));
    }
    const port = Number(options.port);
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new RangeError(`the port of a connection is ${options.port}: expected 1 to 65535`);
    }
    const host = nameOf(String(options.host ?? 'localhost'));
    const tunnel = attach(this, host, port, options.onread?.callback && options.onread);
    process.nextTick(() => { if (tunnels.has(tunnel.id)) tunnel.open(); });
    return this;
  };

  const plainTls = tls.connect;
  tls.connect = function connect(...args) {
    let [options, done] = net._normalizeArgs(args);
    const more = [args[1], args[2]].find((it) => it !== null && typeof it === 'object');
    if (more !== undefined && more !== args[0]) options = { ...options, ...more };
    if (options.socket) return overSocket(options, done);
    if (options.path) throw refusal('connecting to a Unix socket');
    const host = options.host ?? 'localhost';
    const plain = { host, port: options.port, allowHalfOpen: options.allowHalfOpen };
    if (isOwn(nameOf(host), Number(options.port))) return ownConnection(plain, done);
    const socket = net.connect(plain);
    const secure = overSocket({ ...options, host, socket }, done);
    secure.ref = () => { socket.ref(); return secure; };
    secure.unref = () => { socket.unref(); return secure; };
    if (options.timeout) secure.setTimeout(options.timeout);
    return secure;
  };

  function overSocket(options, done) {
    const { socket } = options;
    const secure = plainTls(options, done);
    if (!(socket instanceof net.Socket)) return secure;
    socket.on('error', (error) => secure.destroy(error));
    // It takes a socket without a handle for one that is not connected yet.
    if (!socket.connecting && !socket.destroyed && secure.connecting) {
      process.nextTick(() => {
        secure.connecting = false;
        secure.emit('connect');
      });
    }
    return secure;
  }

  // --- The daemon's own URL ------------------------------------------------------------------

  function isOwn(host, port) {
    return own?.protocol === 'https:' && own.hostname.toLowerCase() === host.toLowerCase() &&
      Number(own.port || 443) === port;
  }

  // It stays on this host, where nothing can listen in: the encryption of what is in front of the
  // daemon is left out.
  function ownConnection(plain, done) {
    const socket = net.connect(plain);
    Object.assign(socket, {
      encrypted: true,
      authorized: true,
      authorizationError: null,
      alpnProtocol: false,
      servername: plain.host,
      getPeerCertificate: () => ({}),
      getCertificate: () => ({}),
      getCipher: () => ({ name: 'none', standardName: 'none', version: 'none' }),
      getProtocol: () => null,
      getSession: () => undefined,
      isSessionReused: () => false,
      setServername() {},
      setSession() {},
    });
    if (typeof done === 'function') socket.once('secureConnect', done);
    socket.once('connect', () => socket.emit('secureConnect'));
    return socket;
  }

  // --- Names ---------------------------------------------------------------------------------

  const addresses = new Map();
  const names = new Map();

  function addressOf(name, family) {
    const key = `${family} ${name.toLowerCase()}`;
    let address = addresses.get(key);
    if (address === undefined) {
      const number = addresses.size + 1;
      const [high, low] = [(number >> 8) & 0xff, number & 0xff];
      address = family === 6
        ? `fd6d:6f72:7469:7365::${number.toString(16)}`
        : `198.${18 + ((number >> 16) & 1)}.${high}.${low}`;
      addresses.set(key, address);
      names.set(address, name);
    }
    return address;
  }

  function nameOf(host) {
    const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
    return names.get(bare) ?? bare;
  }

  function lookUp(name, options) {
    const wanted = typeof options === 'number' ? options : options?.family;
    const family = wanted === 6 || wanted === 'IPv6' ? 6 : 4;
    const own = net.isIP(name);
    const found = own === 0
      ? { address: addressOf(name, family), family }
      : { address: name, family: own };
    return options?.all ? [found] : found;
  }

  function lookup(name, options, done) {
    if (typeof options === 'function') [options, done] = [undefined, options];
    if (typeof done !== 'function') throw new TypeError('dns.lookup expects a callback');
    const found = lookUp(String(name || 'localhost'), options);
    process.nextTick(() => {
      if (Array.isArray(found)) done(null, found);
      else done(null, found.address, found.family);
    });
    return {};
  }

  const dns = require('node:dns');
  const noQueries = () => {
    throw refusal('asking name servers (connect by name, or use dns.lookup)');
  };
  dns.lookup = lookup;
  dns.promises.lookup = async (name, options) => lookUp(String(name || 'localhost'), options);
  for (const owner of [dns, dns.promises]) {
    for (const name of Object.keys(owner)) {
      if (/^(resolve|reverse|lookupService)/.test(name)) owner[name] = noQueries;
    }
  }
  for (const Resolver of [dns.Resolver, dns.promises.Resolver]) {
    for (const name of Object.getOwnPropertyNames(Resolver.prototype)) {
      if (/^(resolve|reverse)/.test(name)) Resolver.prototype[name] = noQueries;
    }
  }

  // --- What there is not ---------------------------------------------------------------------

  const refuse = (what) => function () { throw refusal(what); };
  net.Server.prototype.listen = refuse('listening for connections');
  const dgram = require('node:dgram');
  dgram.createSocket = dgram.Socket = refuse('sending datagrams (UDP)');
  const programs = require('node:child_process');
  for (const name of ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync']) {
    programs[name] = refuse('starting a program');
  }
  require('node:worker_threads').Worker = refuse('starting a worker thread');
  require('node:module').syncBuiltinESMExports();

  function begin() {
    isOpen = true;
  }

  // Ends the connections of a run; nothing of them may be said afterwards.
  function end() {
    isOpen = false;
    for (const tunnel of [...tunnels.values()]) {
      tunnel.forget();
      tunnel.socket.destroy();
    }
  }

  mortise.tunnels = { begin, end };
})
