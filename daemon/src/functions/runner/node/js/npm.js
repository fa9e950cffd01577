// Tidies up what the start left behind; in a process that puts packages together, a run is npm.
(function (mortise, require) {
  'use strict';
  const { builtinModules } = require('node:module');
  const { webcrypto } = require('node:crypto');
  const { npm, folder } = mortise.options;
  const { log } = mortise;

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
  const start = mortise.runner;
  mortise.npm = (event) => new Promise((resolve) => {
    const finish = (code) => resolve({ code: code ?? process.exitCode ?? 0 });
    process.exit = (code) => {
      finish(code);
      // Nothing of npm may go on after its exit.
      throw new Error('npm has ended');
    };
    process.on('exit', (code) => finish(code));
    process.argv = [process.execPath, npm, ...event.arguments];
    Object.assign(process.env, event.environment);
    process.chdir(folder);
    try {
      require(npm);
    } catch (error) {
      log.write('error', String(error?.stack ?? error));
      finish(1);
    }
  });
  mortise.runner = (header, event) => start({ ...header, function: 'npm' }, event);
})
