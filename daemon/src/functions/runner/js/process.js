// As much of Node's `process` as code looks at to find out where it runs. There is no environment.
(function (native) {
  'use strict';
  const stream = (level) => ({
    isTTY: false,
    write(text) {
      native.log(level, String(text).replace(/\n$/, ''));
      return true;
    },
  });
  const listen = () => process;
  const process = {
    env: {},
    argv: ['mortise', 'function'],
    execArgv: [],
    pid: 1,
    platform: 'linux',
    arch: native.arch(),
    version: 'v20.0.0',
    versions: { node: '20.0.0', quickjs: '0.11.0' },
    release: { name: 'node' },
    title: 'mortise',
    stdout: stream('info'),
    stderr: stream('error'),
    cwd: () => '/',
    uptime: () => performance.now() / 1000,
    nextTick: (callback, ...args) => queueMicrotask(() => callback(...args)),
    hrtime: Object.assign(
      (since = [0, 0]) => {
        const now = performance.now();
        const nanoseconds = Math.round((now % 1000) * 1e6) - since[1];
        const seconds = Math.floor(now / 1000) - since[0];
        return nanoseconds < 0 ? [seconds - 1, nanoseconds + 1e9] : [seconds, nanoseconds];
      },
      { bigint: () => BigInt(Math.round(performance.now() * 1e6)) }),
    memoryUsage: () => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }),
    emitWarning: (warning) => native.log('warn', String(warning)),
    exit(code) {
      throw new Error(`process.exit(${code ?? 0}) was called: a function ends by returning`);
    },
    on: listen, once: listen, off: listen, addListener: listen, removeListener: listen,
  };
  return { process };
})
