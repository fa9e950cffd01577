// The console: formats like Node.js and hands lines to the run's log.
(function (native, load) {
  'use strict';
  const { format } = load('node:util');
  let indent = '';
  const counts = new Map();
  const clocks = new Map();

  function write(level, args) {
    // Formatting may cost far more than the line that is then dropped.
    if (native.logIsFull()) return native.log(level, '');
    let text = args.length === 1 && typeof args[0] === 'string' ? args[0] : format(...args);
    if (indent !== '') text = indent + text.replaceAll('\n', '\n' + indent);
    native.log(level, text);
  }

  const label = (it) => (it === undefined ? 'default' : String(it));
  const elapsed = (name) => `${name}: ${(performance.now() - clocks.get(name)).toFixed(3)}ms`;
  const console = {
    debug: (...args) => write('debug', args),
    log: (...args) => write('info', args),
    info: (...args) => write('info', args),
    warn: (...args) => write('warn', args),
    error: (...args) => write('error', args),
    trace: (...args) => write('debug', [`Trace: ${format(...args)}\n${new Error().stack}`]),
    dir: (value) => write('info', [value]),
    dirxml: (...args) => write('info', args),
    table: (value) => write('info', [value]),
    assert(condition, ...args) {
      if (!condition) write('error', ['Assertion failed' + (args.length ? ':' : ''), ...args]);
    },
    count(name) {
      const key = label(name);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      write('info', [`${key}: ${counts.get(key)}`]);
    },
    countReset: (name) => { counts.delete(label(name)); },
    group(...args) {
      if (args.length > 0) write('info', args);
      if (indent.length < 100) indent += '  ';
    },
    groupCollapsed: (...args) => console.group(...args),
    groupEnd() { indent = indent.slice(2); },
    time: (name) => { clocks.set(label(name), performance.now()); },
    timeLog(name, ...args) {
      if (clocks.has(label(name))) write('info', [elapsed(label(name)), ...args]);
    },
    timeEnd(name) {
      if (clocks.has(label(name))) write('info', [elapsed(label(name))]);
      clocks.delete(label(name));
    },
  };
  return { console };
})
