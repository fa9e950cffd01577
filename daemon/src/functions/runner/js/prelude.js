// What every context starts with: modules, timers, and globals that are made on first use.
// Kept small, because a fresh context pays for all of it. Evaluated as a function of `native`,
// the functions that engine.rs offers; returns the hooks that engine.rs calls.
(function (native) {
  'use strict';

  // --- Modules -------------------------------------------------------------------------------

  const cache = new Map();

  function requireFrom(base) {
    const require = (specifier) => loadSync(native.resolve(base, String(specifier)));
    require.resolve = (specifier) => {
      const name = native.resolve(base, String(specifier));
      // As Node.js: a path that can be required, or the name of a built-in module.
      return name.startsWith('node:') ? String(specifier) : '/' + name;
    };
    require.resolve.paths = () => null;
    require.cache = {};
    require.extensions = {};
    require.main = undefined;
    return require;
  }

  function loadSync(name) {
    const known = cache.get(name);
    if (known !== undefined) return known.exports;
    const kind = native.kind(name);
    if (kind === 'module') return withInterop(native.importSync(name));
    const module = { id: name, filename: '/' + name, loaded: false, exports: {}, children: [], paths: [] };
    // In the cache before it runs, so that modules may require one another in a circle.
    cache.set(name, module);
    try {
      if (kind === 'json') {
        module.exports = JSON.parse(native.text(name));
      } else if (kind === 'builtin') {
        module.exports = native.script('builtins')(native, timers)(name);
      } else {
        const require = (module.require = requireFrom(name));
        const folder = '/' + name.slice(0, Math.max(0, name.lastIndexOf('/')));
        native.compile(name).call(
          module.exports, module.exports, require, module, module.filename, folder);
      }
    } catch (error) {
      cache.delete(name);
      throw error;
    }
    module.loaded = true;
    return module.exports;
  }

  // What CommonJS gets for an ES module: its namespace, marked the way compilers expect it when
  // there is a default export.
  function withInterop(namespace) {
    if (!('default' in namespace) || '__esModule' in namespace) return namespace;
    const marked = { __proto__: null };
    Object.defineProperty(marked, '__esModule', { value: true });
    for (const key of Object.keys(namespace)) {
      Object.defineProperty(marked, key, { enumerable: true, get: () => namespace[key] });
    }
    return marked;
  }

  function load(name) {
    return native.kind(name) === 'module' ? native.import(name) : loadSync(name);
  }

  // --- The function to run -------------------------------------------------------------------

  const found = new Map();

  let find;

  function finder() {
    return native.script('find')({
      main: native.main,
      names: native.functionNames,
      named: (main, name) => native.modulesNamed(name),
      load,
      shown: (module) => module,
      missing(message) {
        native.notFound(message);
        return new Error('not found');
      },
    });
  }

  function start(name, event) {
    const run = found.get(name);
    let result;
    try {
      result = run !== undefined ? run([event]) : findAndRun(name, event);
    } catch (error) {
      native.failed(error);
      return;
    }
    if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
      Promise.resolve(result).then(native.succeeded, native.failed);
    } else {
      native.succeeded(result);
    }
  }

  async function findAndRun(name, event) {
    native.loading(true);
    find ??= finder();
    const run = await find(name);
    found.set(name, run);
    native.loading(false);
    return run([event]);
  }

  // --- Timers --------------------------------------------------------------------------------

  const scheduled = new Map();

  class Timeout {
    constructor(callback, delay, args, repeat) {
      if (typeof callback !== 'function') {
        throw new TypeError('the callback of a timer must be a function');
      }
      delay = Number(delay);
      this._delay = delay >= 1 ? Math.min(delay, 2147483647) : 1;
      this._callback = callback;
      this._args = args;
      this._repeat = repeat;
      this._held = true;
      this._arm();
    }
    _arm() {
      this._id = native.arm(this._delay, this._held);
      scheduled.set(this._id, this);
    }
    close() {
      if (scheduled.delete(this._id)) native.disarm(this._id);
      return this;
    }
    refresh() {
      this.close();
      this._arm();
      return this;
    }
    ref() { return this._hold(true); }
    unref() { return this._hold(false); }
    hasRef() { return this._held; }
    _hold(held) {
      this._held = held;
      if (scheduled.has(this._id)) native.hold(this._id, held);
      return this;
    }
    [Symbol.toPrimitive]() { return this._id; }
  }

  function fire(id) {
    const timer = scheduled.get(id);
    if (timer === undefined) return;
    scheduled.delete(id);
    if (timer._repeat) {
      // It keeps its id, by which it can be cleared.
      native.rearm(id, timer._delay, timer._held);
      scheduled.set(id, timer);
    }
    timer._callback(...timer._args);
  }

  function clear(timer) {
    if (timer === undefined || timer === null) return;
    scheduled.get(Number(timer))?.close();
  }

  const timers = {
    setTimeout: (callback, delay, ...args) => new Timeout(callback, delay, args, false),
    setInterval: (callback, delay, ...args) => new Timeout(callback, delay, args, true),
    setImmediate: (callback, ...args) => new Timeout(callback, 0, args, false),
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
    queueMicrotask(callback) {
      if (typeof callback !== 'function') {
        throw new TypeError('the argument of queueMicrotask must be a function');
      }
      Promise.resolve().then(() => {
        try { callback(); } catch (error) { native.failed(error); }
      });
    },
  };
  for (const name of Object.keys(timers)) {
    Object.defineProperty(globalThis, name, {
      value: timers[name], writable: true, configurable: true, enumerable: true });
  }

  // --- Globals that are made on first use ----------------------------------------------------

  function lazy(names, make) {
    function get(name) {
      const own = new Map();
      for (const each of names) {
        const now = Object.getOwnPropertyDescriptor(globalThis, each);
        if (now !== undefined && 'value' in now) own.set(each, now);
        else delete globalThis[each];
      }
      make();
      // What the function has put there itself stays.
      for (const [each, descriptor] of own) Object.defineProperty(globalThis, each, descriptor);
      return globalThis[name];
    }
    for (const name of names) {
      Object.defineProperty(globalThis, name, {
        configurable: true,
        get: () => get(name),
        set(value) {
          Object.defineProperty(globalThis, name, {
            value, writable: true, configurable: true, enumerable: true });
        },
      });
    }
  }

  function script(name, names) {
    lazy(names, () => {
      const made = native.script(name)(native, loadSync);
      for (const each of names) {
        Object.defineProperty(globalThis, each, {
          value: made[each], writable: true, configurable: true });
      }
    });
  }

  const attach = (group, names) => lazy(names, () => native.attach(group));
  attach('exceptions', ['DOMException']);
  attach('events', ['EventTarget', 'Event', 'CustomEvent']);
  attach('buffer', ['Buffer', 'Blob', 'File', 'atob', 'btoa']);
  attach('url', ['URL', 'URLSearchParams']);
  attach('util', ['TextEncoder', 'TextDecoder']);
  attach('crypto', ['crypto', 'Crypto', 'SubtleCrypto', 'CryptoKey']);
  attach('performance', ['performance']);
  attach('streams', ['ReadableStream', 'ReadableStreamDefaultReader', 'WritableStream',
    'ByteLengthQueuingStrategy', 'CountQueuingStrategy', 'ReadableByteStreamController',
    'ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableStreamDefaultController',
    'WritableStreamDefaultController', 'WritableStreamDefaultWriter']);
  lazy(['AbortController', 'AbortSignal'], () => {
    native.attach('abort');
    AbortSignal.timeout = (delay) => {
      const controller = new AbortController();
      timers.setTimeout(
        () => controller.abort(new DOMException('The operation timed out', 'TimeoutError')),
        delay).unref();
      return controller.signal;
    };
  });
  script('console', ['console']);
  script('process', ['process']);
  script('helpers', ['babelHelpers']);
  script('clone', ['structuredClone']);
  script('fetch', ['fetch', 'Headers', 'Request', 'Response', 'FormData']);
  Object.defineProperty(globalThis, 'global', {
    value: globalThis, writable: true, configurable: true });

  const pending = new Map();
  native.pending = pending;

  // The answer to a fetch; whether anybody was waiting for it.
  function settle(id, answer, body) {
    const waiting = pending.get(id);
    if (waiting === undefined) return false;
    pending.delete(id);
    waiting(answer, body);
    return true;
  }

  return { start, fire, settle, loadSync, requireFrom };
})
