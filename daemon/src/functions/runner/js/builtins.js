// The modules of Node.js that functions can have: those of the engine's library, completed with
// what snap-ins use of them.
(function (native, timers) {
  'use strict';

  function bytes(value) {
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    if (ArrayBuffer.isView(value)) {
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    }
    throw new TypeError('expected a Buffer, a TypedArray, a DataView or an ArrayBuffer');
  }

  const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);

  const modules = {
    assert() {
      const base = native.builtin('assert');
      const fail = (message, fallback) => {
        if (message instanceof Error) throw message;
        const error = new Error(message ?? fallback);
        error.name = 'AssertionError';
        error.code = 'ERR_ASSERTION';
        throw error;
      };
      const { isDeepStrictEqual, inspect } = util();
      const assert = (value, message) => {
        if (!value) fail(message, `${inspect(value)} is not truthy`);
      };
      const pair = (a, b, what) => `${inspect(a)} is not ${what} ${inspect(b)}`;
      return Object.assign(assert, base, {
        ok: assert,
        fail: (message) => fail(message, 'failed'),
        equal: (a, b, m) => { if (!(a == b || (a !== a && b !== b))) fail(m, pair(a, b, '==')); },
        notEqual: (a, b, m) => { if (a == b) fail(m, pair(a, b, '!=')); },
        strictEqual: (a, b, m) => { if (!Object.is(a, b)) fail(m, pair(a, b, '===')); },
        notStrictEqual: (a, b, m) => { if (Object.is(a, b)) fail(m, pair(a, b, '!==')); },
        deepEqual: (a, b, m) => { if (!isDeepStrictEqual(a, b)) fail(m, pair(a, b, 'equal to')); },
        deepStrictEqual: (a, b, m) => {
          if (!isDeepStrictEqual(a, b)) fail(m, pair(a, b, 'equal to'));
        },
        throws(f, expected, message) {
          try { f(); } catch (error) {
            if (expected instanceof RegExp && !expected.test(String(error))) throw error;
            return;
          }
          fail(message, 'expected an exception');
        },
        strict: assert,
      });
    },
    buffer: () => ({ ...native.builtin('buffer'), Blob, File }),
    console: () => console,
    crypto() {
      const base = native.builtin('crypto');
      return {
        ...base,
        subtle: crypto.subtle,
        timingSafeEqual(a, b) {
          const [x, y] = [bytes(a), bytes(b)];
          if (x.length !== y.length) {
            throw new RangeError('both inputs of timingSafeEqual must have the same length');
          }
          let difference = 0;
          for (let i = 0; i < x.length; i++) difference |= x[i] ^ y[i];
          return difference === 0;
        },
        getHashes: () => ['md5', 'sha1', 'sha256', 'sha384', 'sha512'],
      };
    },
    events() {
      const EventEmitter = native.builtin('events');
      EventEmitter.once = (emitter, name) => new Promise((resolve, reject) => {
        emitter.once(name, (...args) => resolve(args));
        if (name !== 'error') emitter.once('error', reject);
      });
      EventEmitter.defaultMaxListeners ??= 10;
      return EventEmitter;
    },
    path() {
      const path = native.builtin('path');
      path.posix = path;
      return path;
    },
    perf_hooks: () => ({ performance }),
    process: () => process,
    'stream/web': () => ({ ReadableStream, WritableStream, CountQueuingStrategy,
      ByteLengthQueuingStrategy, ReadableStreamDefaultReader }),
    string_decoder: () => native.builtin('string_decoder'),
    timers: () => ({ ...timers }),
    'timers/promises': () => ({
      setTimeout: (delay, value) => new Promise((done) => timers.setTimeout(done, delay, value)),
      setImmediate: (value) => new Promise((done) => timers.setImmediate(done, value)),
    }),
    url: () => native.builtin('url'),
    util,
    '@mortise/snap-in-sdk': () => native.script('sdk')({}),
  };

  function util() {
    const base = native.builtin('util');
    // One `%O`-like value: what `format` does with anything that is no leading string.
    const inspect = (value) => {
      if (typeof value === 'string') return `'${value.replaceAll("'", "\\'")}'`;
      return base.format(value);
    };
    inspect.custom = Symbol.for('nodejs.util.inspect.custom');
    const promisify = (f) => {
      if (typeof f !== 'function') throw new TypeError('promisify needs a function');
      return f[promisify.custom] ?? function (...args) {
        return new Promise((resolve, reject) => {
          f.call(this, ...args, (error, value) => (error ? reject(error) : resolve(value)));
        });
      };
    };
    promisify.custom = Symbol.for('nodejs.util.promisify.custom');
    return {
      ...base,
      inspect,
      promisify,
      callbackify: (f) => (...args) => {
        const callback = args.pop();
        f(...args).then((value) => callback(null, value), (error) => callback(error));
      },
      deprecate: (f) => f,
      isDeepStrictEqual: (a, b) => equal(a, b, new Map()),
      isArray: Array.isArray,
      types: {
        isDate: (it) => it instanceof Date,
        isRegExp: (it) => it instanceof RegExp,
        isPromise: (it) => it instanceof Promise,
        isMap: (it) => it instanceof Map,
        isSet: (it) => it instanceof Set,
        isNativeError: (it) => it instanceof Error,
        isTypedArray: (it) => ArrayBuffer.isView(it) && !(it instanceof DataView),
        isUint8Array: (it) => it instanceof Uint8Array,
        isArrayBuffer: (it) => it instanceof ArrayBuffer,
        isAnyArrayBuffer: (it) => ['ArrayBuffer', 'SharedArrayBuffer'].includes(tag(it)),
        isAsyncFunction: (it) => tag(it) === 'AsyncFunction',
        isGeneratorFunction: (it) => tag(it) === 'GeneratorFunction',
      },
    };
  }

  function equal(a, b, seen) {
    if (Object.is(a, b)) return true;
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
    if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
    if (seen.get(a) === b) return true;
    seen.set(a, b);
    if (a instanceof Date) return a.getTime() === b.getTime();
    if (a instanceof RegExp) return String(a) === String(b);
    if (a instanceof Error && (a.name !== b.name || a.message !== b.message)) return false;
    if (a instanceof Map || a instanceof Set) {
      return a.size === b.size && equal([...a], [...b], seen);
    }
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length
      && keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key], seen));
  }

  return (name) => modules[name.slice('node:'.length)]();
})
