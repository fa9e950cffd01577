// structuredClone of everything but what cannot be shared: functions, symbols, promises, weak
// references, proxies of them.
(function () {
  'use strict';
  const errors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const refuse = (what) => {
    throw new DOMException(`${what} could not be cloned`, 'DataCloneError');
  };

  function structuredClone(value, options) {
    const seen = new Map();
    for (const it of options?.transfer ?? []) {
      if (!(it instanceof ArrayBuffer)) refuse('a transferred value that is no ArrayBuffer');
    }
    const copy = clone(value, seen);
    for (const it of options?.transfer ?? []) it.transfer();
    return copy;
  }

  function clone(value, seen) {
    if (typeof value === 'function' || typeof value === 'symbol') refuse(`a ${typeof value}`);
    if (typeof value !== 'object' || value === null) return value;
    if (seen.has(value)) return seen.get(value);
    const keep = (copy) => (seen.set(value, copy), copy);
    const tag = Object.prototype.toString.call(value).slice(8, -1);
    if (Array.isArray(value)) return fill(keep(new Array(value.length)), value, seen);
    if (value instanceof Date) return keep(new Date(value.getTime()));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof Map) {
      const copy = keep(new Map());
      for (const [key, it] of value) copy.set(clone(key, seen), clone(it, seen));
      return copy;
    }
    if (value instanceof Set) {
      const copy = keep(new Set());
      for (const it of value) copy.add(clone(it, seen));
      return copy;
    }
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (ArrayBuffer.isView(value)) {
      const buffer = clone(value.buffer, seen);
      // A Buffer comes out as the Uint8Array that it is.
      const type = value instanceof DataView ? DataView : globalThis[value[Symbol.toStringTag]];
      return keep(new type(buffer, value.byteOffset, value.length ?? value.byteLength));
    }
    if (value instanceof Error) {
      const copy = keep(Object.create((errors[value.name] ?? Error).prototype));
      for (const key of ['message', 'stack', 'cause']) {
        if (Object.hasOwn(value, key)) {
          Object.defineProperty(copy, key, {
            value: clone(value[key], seen), writable: true, configurable: true });
        }
      }
      return copy;
    }
    if (value instanceof Boolean || value instanceof Number || value instanceof String) {
      return keep(Object(value.valueOf()));
    }
    if (['Promise', 'WeakMap', 'WeakSet', 'WeakRef', 'Generator'].includes(tag)) refuse(`a ${tag}`);
    return fill(keep({}), value, seen);
  }

  function fill(copy, value, seen) {
    for (const key of Object.keys(value)) copy[key] = clone(value[key], seen);
    return copy;
  }

  return { structuredClone };
})
