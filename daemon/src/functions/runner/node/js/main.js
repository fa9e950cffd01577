// Finds the functions of a package and runs them: the same contract as in the embedded engine.
(function (mortise, require) {
  'use strict';
  const fs = require('node:fs');
  const path = require('node:path');
  const { createRequire } = require('node:module');
  const { pathToFileURL } = require('node:url');
  const { link, log, runs, tunnels } = mortise;
  const folder = path.resolve(mortise.options.folder);
  const { setTimeout, clearTimeout, setImmediate } = globalThis;
  const { stringify, parse } = JSON;
  const MOST_TEXT = 16 * 1024;
  // So often what ends with a run has its turn, such as connections of several layers.
  const MOST_TURNS = 5;
  // Then the process is thrown away, so that what runs leave behind is bounded.
  const MOST_RUNS = 1000;

  let about = {};
  // The run that is on.
  let run;
  let count = 0;

  // --- Which function ------------------------------------------------------------------------

  const EXTENSIONS = ['', '.js', '.cjs', '.mjs', '.json'];
  const found = new Map();

  function isFile(file) {
    return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
  }

  // A path below the folder as it is, with an extension, or as a folder with an index.
  function fileOf(relative) {
    const base = path.resolve(folder, relative);
    if (base !== folder && !base.startsWith(folder + '/')) return undefined;
    // TypeScript is laid out as JavaScript beside it.
    const built = base.replace(/\.([mc]?)ts$/, '.$1js');
    for (const stem of [built, path.join(built, 'index')]) {
      for (const extension of EXTENSIONS) {
        if (isFile(stem + extension)) return stem + extension;
      }
    }
    return undefined;
  }

  function packageOf(inside) {
    try {
      return parse(fs.readFileSync(path.join(folder, inside, 'package.json'), 'utf8'));
    } catch {
      return {};
    }
  }

  function mainOf(inside) {
    const { main } = Object(packageOf(inside));
    const candidates = [];
    if (typeof main === 'string') {
      candidates.push(main);
      // Not built: the source that it would have been built from.
      const source = /^(?:\.\/)?(?:dist|build)\/(.*)$/.exec(main);
      if (source) candidates.push(`src/${source[1]}`);
    }
    candidates.push('dist/index', 'index', 'src/index', 'main', 'src/main');
    for (const candidate of candidates) {
      const file = fileOf(path.join(inside, candidate));
      if (file !== undefined && !file.endsWith('.json')) return file;
    }
    return undefined;
  }

  function findMain() {
    if (typeof about.main === 'string') return fileOf(about.main);
    return mainOf('') ?? mainOf('code');
  }

  function functionFolders(main) {
    const beside = main === undefined ? '' : path.relative(folder, path.dirname(main));
    const all = [beside, '', 'dist', 'src', 'code', 'code/dist', 'code/src'];
    return [...new Set(all.flatMap((it) => [path.join(it, 'functions'), it]))];
  }

  function modulesNamed(main, name) {
    if (name === '' || name.split('/').some((it) => it === '' || it.startsWith('.'))) return [];
    const files = functionFolders(main).map((it) => fileOf(path.join(it, name)));
    return [...new Set(files.filter((it) => it !== undefined && !it.endsWith('.json')))];
  }

  function functionNames(main) {
    const names = new Set();
    for (const inside of functionFolders(main)) {
      if (path.basename(inside) !== 'functions') continue;
      let entries = [];
      try {
        entries = fs.readdirSync(path.join(folder, inside));
      } catch {
        // There is no such folder.
      }
      for (const entry of entries) {
        if (/\.(test|spec|d)\.|\.(json|map)$/.test(entry)) continue;
        const [, stem, extension] = /^(.*?)(\.[mc]?[jt]s)?$/.exec(entry);
        if (extension !== undefined || fileOf(path.join(inside, entry, 'index'))) names.add(stem);
      }
    }
    return names;
  }

  const requireHere = createRequire(folder + '/');

  function load(file) {
    if (file.endsWith('.mjs')) return mortise.import(pathToFileURL(file).href);
    try {
      return requireHere(file);
    } catch (error) {
      if (error?.code !== 'ERR_REQUIRE_ESM' && error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
      return mortise.import(pathToFileURL(file).href);
    }
  }

  class NotFound extends Error {}

  const find = mortise.finder({
    main: findMain,
    names: functionNames,
    named: modulesNamed,
    load,
    shown: (file) => path.relative(folder, file),
    missing: (message) => new NotFound(message),
  });

  // --- What went wrong -----------------------------------------------------------------------

  function failure(kind, name, message) {
    return { kind, name, message, refresh: false };
  }

  const shorten = (text) => (text.length > MOST_TEXT ? text.slice(0, MOST_TEXT) + '…' : text);

  // In terms of the files of the version, not of where they lie.
  const withoutFolder = (text) =>
    text.replaceAll(`${pathToFileURL(folder).href}/`, '').replaceAll(`${folder}/`, '');

  // Reading what was thrown may run code of the function.
  function property(value, name) {
    try {
      return value[name] ?? undefined;
    } catch {
      return undefined;
    }
  }

  function textOf(value) {
    return ['string', 'number', 'boolean', 'bigint'].includes(typeof value) ? String(value) : undefined;
  }

  function stackOf(thrown) {
    const stack = textOf(property(thrown, 'stack'));
    if (stack === undefined) return undefined;
    const frames = stack.split('\n').filter((it) =>
      /^\s+at /.test(it) && !/\(?(mortise:|node:internal\/|\[eval\])/.test(it));
    // Where the function was called from.
    while (/\(?node:[\w/]+:\d/.test(frames.at(-1))) frames.pop();
    const text = withoutFolder(frames.join('\n'));
    return text === '' ? undefined : shorten(text);
  }

  function describe(thrown, kind) {
    if (thrown instanceof NotFound) return failure('not_found', 'FunctionNotFound', thrown.message);
    if (Object(thrown) !== thrown) {
      const message = typeof thrown === 'string' ? thrown : `${String(thrown)} was thrown`;
      return failure(kind, 'Error', shorten(message));
    }
    const name = textOf(property(thrown, 'name')) ??
      textOf(property(property(thrown, 'constructor') ?? {}, 'name')) ?? 'Object';
    let message = textOf(property(thrown, 'message'));
    if (message === undefined) {
      try {
        message = stringify(thrown) ?? `a ${typeof thrown} was thrown`;
      } catch {
        message = 'an object that is no JSON was thrown';
      }
    }
    const cause = property(thrown, 'cause');
    const because = cause === undefined ? undefined : textOf(property(cause, 'message'));
    if (because && !message.includes(because)) message += ` (cause: ${because})`;
    const told = failure(kind, shorten(name), withoutFolder(shorten(message)));
    told.stack = stackOf(thrown);
    const retry = property(thrown, 'retry');
    if (typeof retry === 'boolean') told.retry = retry;
    told.refresh = property(thrown, 'refresh') === true;
    if (name === 'RangeError' && /Maximum call stack size exceeded/.test(message)) {
      told.kind = 'stack_overflow';
    }
    if (/^Array buffer allocation failed|^Failed to allocate memory/.test(message) ||
        property(thrown, 'code') === 'ERR_MEMORY_ALLOCATION_FAILED') {
      told.kind = 'memory';
      told.name = 'MemoryError';
    }
    return told;
  }

  function resultOf(value) {
    let text;
    try {
      text = value === undefined ? 'null' : stringify(value);
    } catch (error) {
      const reason = describe(error, 'bad_output');
      if (reason.kind === 'memory') return { failure: reason };
      // A text may have half a gigabyte; a result has to be far smaller.
      if (/Invalid string length/.test(reason.message)) {
        const limit = `the function's result is far larger than the limit of ${run.output} bytes`;
        return { failure: failure('output_too_large', 'OutputError', limit) };
      }
      const message = `the function's result is no JSON: ${reason.message}`;
      return { failure: failure('bad_output', 'OutputError', message) };
    }
    if (text === undefined) {
      const message = `the function returned a ${typeof value}, which is no JSON`;
      return { failure: failure('bad_output', 'OutputError', message) };
    }
    const length = Buffer.byteLength(text);
    if (length > run.output) {
      const message = `the function's result is ${length} bytes, the limit is ${run.output}`;
      return { failure: failure('output_too_large', 'OutputError', message) };
    }
    return { body: Buffer.from(text) };
  }

  // --- One run -------------------------------------------------------------------------------

  function done(failure, body, after) {
    if (run === undefined) return;
    clearTimeout(run.timer);
    if (run.fresh || run.leaves || count >= MOST_RUNS) after = 'Spent';
    tunnels.end();
    const logs = log.finish();
    run = undefined;
    runs.end();
    link.setIdle(true);
    link.send({ Done: { failure: failure ?? null, logs, after } }, body);
  }

  // Ends the run because of something that may have left things half done.
  function breakOff(failure) {
    done(failure, undefined, 'Spent');
  }

  // Ends a run in good order. Its connections go first, and what waits for them has its turn.
  function settle(failure, body) {
    const mine = run;
    clearTimeout(mine.timer);
    mine.isSettled = true;
    tunnels.end();
    let turns = 0;
    const look = () => {
      const left = runs.left();
      turns += 1;
      if (left.length > 0 && turns < MOST_TURNS && run === mine) return setImmediate(look);
      if (left.length > 0) {
        mine.leaves = true;
        log.write('debug', `left behind when the function ended: ${left.join(', ')}; the next run ` +
          'begins in a new process');
      }
      return done(failure, body, 'Ready');
    };
    setImmediate(look);
  }

  async function start(header, event) {
    const mine = (run = {
      loading: true, output: header.output_bytes, fresh: header.fresh, timer: undefined,
      isSettled: false, leaves: false });
    count += 1;
    runs.begin(mine);
    log.begin();
    tunnels.begin();
    link.setIdle(false);
    // The first run has waited for the process; its deadline did not.
    const used = count === 1 ? process.uptime() * 1000 : 0;
    const left = Math.min(Math.max(1, header.timeout_ms - used), 2147483647);
    run.timer = setTimeout(() => breakOff(failure('timeout', 'TimeoutError',
      `the function took longer than its ${header.timeout_ms} ms`)), left);
    run.timer.unref();
    try {
      const { function: name } = header;
      if (!found.has(name)) found.set(name, await find(name));
      if (run !== mine) return;
      mine.loading = false;
      runs.loaded();
      const result = await runs.within(mine, () => found.get(name)([parse(event)]));
      if (run !== mine) return;
      const { failure, body } = runs.within(mine, () => resultOf(result));
      settle(failure, body);
    } catch (error) {
      if (run === mine) settle(describe(error, mine.loading ? 'load' : 'thrown'));
    }
  }

  link.handlers.Code = (_, body) => {
    try {
      about = Object(body.length === 0 ? {} : parse(body.toString('utf8')));
    } catch {
      about = {};
    }
  };
  link.handlers.Run = (header, body) => {
    start(header, body.toString('utf8'));
  };

  // --- What ends a run from the side ---------------------------------------------------------

  function uncaught(error, origin) {
    // Nobody waits for what an earlier run has begun.
    if (runs.isOver()) return undefined;
    if (run === undefined) return link.reallyExit(1);
    if (run.isSettled) {
      run.leaves = true;
      return undefined;
    }
    const told = describe(error, run.loading ? 'load' : 'thrown');
    if (origin === 'unhandledRejection') {
      told.message = `a promise that nobody waited for was rejected: ${told.message}`;
    }
    return breakOff(told);
  }
  process.on('uncaughtException', uncaught);
  process.on('unhandledRejection', (reason) => uncaught(reason, 'unhandledRejection'));
  process.on('beforeExit', () => {
    if (run === undefined || mortise.beforeExit?.()) return;
    breakOff(failure('never_settled', 'NeverSettledError',
      'the promise that the function returned never settled: no timer and no connection is left ' +
      'that could do it'));
  });
  process.exit = (code) => {
    if (runs.isOver()) throw new Error('the run that wants to end the process has ended');
    breakOff(failure('crashed', 'CrashError',
      `process.exit(${code ?? ''}) was called: a function ends by returning`));
    link.reallyExit(1);
  };

  mortise.done = done;
  mortise.found = found;
})
