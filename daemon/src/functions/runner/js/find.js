// Which code of a package is the function of a name: one answer for every runtime of JavaScript.
// Made with a `place`, which is how the runtime looks at a package: `main()` and `named(main, name)`
// say which modules there are, `names(main)` what to name to people, `load(module)` reads one,
// `shown(module)` is its name for people, and `missing(message)` makes the error.
(function (place) {
  'use strict';

  // The order: `functionFactory[name]` of the main module; the module named after the function;
  // the main module's export of that name; the main module's `run`, if the package has no
  // modules of functions, so that it can only be meant.
  return async function find(name) {
    const main = place.main();
    let exports, factory;
    const names = new Set(place.names(main));
    if (main !== undefined) {
      exports = Object(await place.load(main));
      factory = exports.functionFactory ?? exports.default?.functionFactory;
      if (Object(factory) === factory) {
        for (const key of Object.keys(factory)) names.add(key);
        if (Object.hasOwn(factory, name)) {
          const run = runnable(factory[name], factory);
          if (run !== undefined) return run;
          throw new TypeError(
            `functionFactory.${name} of ${place.shown(main)} is of type ${typeof factory[name]}: ` +
            'expected a function, or an object with a function `run`');
        }
      }
    }
    for (const module of place.named(main, name)) {
      if (module === main) continue;
      const run = runnable(await place.load(module));
      if (run !== undefined) return run;
    }
    if (exports !== undefined) {
      for (const owner of [exports, Object(exports.default)]) {
        if (!Object.hasOwn(owner, name)) continue;
        const run = runnable(owner[name], owner);
        if (run !== undefined) return run;
      }
      if (factory === undefined && names.size === 0) {
        const run = runnable(exports);
        if (run !== undefined) return run;
      }
    }
    const available = names.size === 0
      ? 'the package hands out no functions: expected an export `functionFactory` of the main ' +
        'module, an export `run`, or a module in a folder `functions`'
      : `available are ${[...names].sort().join(', ')}`;
    throw place.missing(`the version has no function \`${name}\`; ${available}`);
  };

  function runnable(value, owner) {
    if (typeof value === 'function') {
      if (typeof value.run === 'function' && !owner) return value.run.bind(value);
      return owner ? value.bind(owner) : value;
    }
    if (value === null || typeof value !== 'object') return undefined;
    if (typeof value.run === 'function') return (events) => value.run(events);
    const inner = value.default;
    if (typeof inner === 'function') return inner;
    if (inner !== null && typeof inner === 'object' && typeof inner.run === 'function') {
      return (events) => inner.run(events);
    }
    return undefined;
  }
})
