// Which run code belongs to, and what a run leaves behind.
//
// A process serves one run after the other, and nothing of an earlier one may go on in a later. What
// a run can have left that goes on by itself is looked for when it ends: then the process is for no
// other run. To take it away here would break what packages believe about their own timers. What
// nobody can see (a promise that a later run settles) logs nothing, connects nowhere and makes no
// timers. What modules make while they are loaded belongs to no run: it stays.
(function (mortise, require) {
  'use strict';
  const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
  const timers = require('node:timers');
  const storage = new AsyncLocalStorage();
  const getResources = process.getActiveResourcesInfo?.bind(process) ?? (() => []);
  // Some more than this are looked through for those that have ended.
  const FEW = 256;

  // The run that is on.
  let current;

  function begin(run) {
    current = run;
    run.made = new Map();
    run.few = FEW;
    run.before = new Map();
  }

  function end() {
    current = undefined;
  }

  // Whether the code that asks belongs to a run that has ended.
  function isOver() {
    const run = storage.getStore();
    return run !== undefined && run !== current;
  }

  // Calls what belongs to a run.
  function within(run, act) {
    return storage.run(run, act);
  }

  // What keeps the process busy, by kind, without the timers that are known one by one.
  function busyWith() {
    const counts = new Map();
    for (const kind of getResources()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    for (const timer of current.made.keys()) {
      if (timer._destroyed || !timer.hasRef()) continue;
      const kind = timer.constructor.name;
      counts.set(kind, (counts.get(kind) ?? 0) - 1);
    }
    return counts;
  }

  // Says that everything is loaded: what there is now belongs to the modules.
  function loaded() {
    current.before = busyWith();
  }

  // What the run that is on has left behind, for people.
  function left() {
    const counts = new Map();
    const add = (kind, more) => {
      if (more > 0) counts.set(kind, (counts.get(kind) ?? 0) + more);
    };
    for (const [timer, maker] of current.made) {
      // Node.js has timers of its own for fetch, which wait for nothing.
      if (!timer._destroyed && (timer.hasRef() || !isOfNode(maker))) add(timer.constructor.name, 1);
    }
    for (const [kind, count] of busyWith()) add(kind, count - (current.before.get(kind) ?? 0));
    return [...counts].map(([kind, count]) => `${count} ${kind}`);
  }

  function forgetEnded(run) {
    for (const timer of run.made.keys()) {
      if (timer._destroyed) run.made.delete(timer);
    }
    run.few = run.made.size * 2 + FEW;
  }

  // Who called; made a text only when it is asked for.
  function callerOf(called) {
    const { stackTraceLimit } = Error;
    const trace = {};
    Error.stackTraceLimit = 1;
    Error.captureStackTrace(trace, called);
    Error.stackTraceLimit = stackTraceLimit;
    return trace;
  }

  function isOfNode(maker) {
    try {
      return /\(?node:[\w/]+:\d+:\d+\)?$/.test(maker.stack);
    } catch {
      return false;
    }
  }

  for (const kind of ['Timeout', 'Interval', 'Immediate']) {
    const make = timers[`set${kind}`];
    const clear = timers[`clear${kind}`];
    const wrapped = (...args) => {
      const timer = make(...args);
      const run = storage.getStore();
      if (run === undefined) return timer;
      const maker = callerOf(wrapped);
      if (run === current) {
        run.made.set(timer, maker);
        if (run.made.size > run.few) forgetEnded(run);
      } else if (!isOfNode(maker)) {
        clear(timer);
      }
      return timer;
    };
    // With its name, and with what `promisify` looks for.
    Object.defineProperties(wrapped, Object.getOwnPropertyDescriptors(make));
    timers[`set${kind}`] = globalThis[`set${kind}`] = wrapped;
  }

  mortise.runs = { begin, end, loaded, left, isOver, within, AsyncResource };
})
