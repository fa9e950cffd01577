// Tidies up what the start left behind; in a process that puts packages together, a run is npm.
(function (mortise, require) {
  'use strict';
  const { builtinModules } = require('node:module');
  const { webcrypto } = require('node:crypto');
  const { npm, folder } = mortise.options;
  const { link } = mortise;

  // A script on the command line gets every module of Node.js as a global; others do not.
  for (const name of [...builtinModules, 'module', 'exports', 'require', '__filename', '__dirname']) {
    if (name !== 'console' && name !== 'process') delete globalThis[name];
  }
  Object.defineProperty(globalThis, 'crypto', {
    configurable: true, enumerable: true, get: () => webcrypto });
  process.argv = [process.execPath, 'function'];
  process.execArgv = [];
  delete process._eval;

  if (typeof npm !== 'string') return;

  // Its answer is its exit status; what it has to say is the log.
  function finish(code) {
    process.exit = () => {};
    process.exitCode = code ?? process.exitCode ?? 0;
    // It says the last of it when it hears of its end.
    process.emit('exit', process.exitCode);
    mortise.done(null, Buffer.from(JSON.stringify({ code: process.exitCode })), 'Spent');
    link.reallyExit(0);
  }

  mortise.found.set('npm', ([event]) => {
    process.exit = finish;
    mortise.beforeExit = finish;
    process.argv = [process.execPath, npm, ...event.arguments];
    Object.assign(process.env, event.environment);
    process.chdir(folder);
    require(npm);
    return new Promise(() => {});
  });
})
