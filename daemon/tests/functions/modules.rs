//! Modules: ES modules and CommonJS, each from the other, JSON, packages of the archive, built-ins.

use crate::harness::*;

async fn value(files: &[(&str, &str)]) -> String {
    result(&run_files(files).await)
}

#[tokio::test]
async fn es_modules_import_everything() {
    let files = [
        (
            "index.mjs",
            "import { a } from './a.mjs';
             import c, { named } from './c.cjs';
             import compiled, { other } from './compiled.cjs';
             import data from './data.json';
             import { Buffer } from 'node:buffer';
             import crypto, { createHash } from 'crypto';
             import * as path from 'path';
             const later = await import('./later.js');
             export const run = () => [a, c.named, named, compiled, other, data.x,
               Buffer.from('hi').toString('hex'), createHash === crypto.createHash,
               path.join('a', '..', 'b'), later.default, import.meta.url, import.meta.dirname];",
        ),
        ("a.mjs", "export const a = 1;"),
        ("c.cjs", "module.exports = { named: 2 };"),
        ("compiled.cjs", "exports.__esModule = true; exports.default = 3; exports.other = 4;"),
        ("data.json", r#"{"x":5}"#),
        ("later.js", "export default 6;"),
    ];
    assert_eq!(value(&files).await, r#"[1,2,2,3,4,5,"6869",true,"b",6,"file:///index.mjs","/"]"#);
}

#[tokio::test]
async fn commonjs_requires_everything() {
    let files = [
        (
            "lib/index.js",
            "const esm = require('./esm.mjs');
             const named = require('./named.mjs');
             const { x } = require('../data');
             const circular = require('./one');
             exports.run = async () => [esm.default, esm.__esModule, esm.a, named.b, named.__esModule,
               x, circular.two, __filename, __dirname, require('./one') === circular,
               (await import('./esm.mjs')).a, typeof require('node:util').format, module.id];",
        ),
        ("package.json", r#"{"main":"lib/index.js"}"#),
        ("lib/esm.mjs", "export default 1; export const a = 2;"),
        ("lib/named.mjs", "export const b = 3;"),
        ("data.json", r#"{"x":4}"#),
        ("lib/one.js", "exports.one = 1; exports.two = require('./two').seen;"),
        ("lib/two.js", "exports.seen = require('./one').one;"),
    ];
    assert_eq!(
        value(&files).await,
        r#"[1,true,2,3,null,4,1,"/lib/index.js","/lib",true,2,"function","lib/index.js"]"#
    );
}

#[tokio::test]
async fn packages_of_the_archive_are_found() {
    let files = [
        (
            "index.js",
            "const left = require('left'); const { sub } = require('@s/pkg/sub'); exports.run = () => left(sub);",
        ),
        ("node_modules/left/package.json", r#"{"main":"./lib/l.js"}"#),
        (
            "node_modules/left/lib/l.js",
            "const inner = require('inner'); module.exports = (x) => inner + x;",
        ),
        ("node_modules/left/node_modules/inner/index.js", "module.exports = 'inner ';"),
        ("node_modules/@s/pkg/package.json", r#"{"exports":{"./sub":{"require":"./sub.js"}}}"#),
        ("node_modules/@s/pkg/sub.js", "exports.sub = 'sub';"),
    ];
    assert_eq!(value(&files).await, r#""inner sub""#);
}

#[tokio::test]
async fn typescript_written_for_commonjs_runs() {
    let files = [
        (
            "src/index.ts",
            "import path = require('path');
             import assign from './assign';
             import type { Only } from './types';
             const here: string = __dirname;
             const lazy = () => require('./lazy');
             export const run = async (): Promise<Only> => [here, path.basename(__filename), assign.a, lazy().b];",
        ),
        ("src/assign.ts", "const it = { a: 1 };\nexport = it;"),
        ("src/lazy.ts", "export const b: number = 2;"),
        ("src/types.ts", "export type Only = unknown[];"),
    ];
    assert_eq!(value(&files).await, r#"["/src","index.ts",1,2]"#);
}

#[tokio::test]
async fn every_builtin_module_loads_both_ways() {
    let mut names: Vec<String> = Vec::new();
    for name in [
        "assert",
        "buffer",
        "console",
        "crypto",
        "events",
        "path",
        "perf_hooks",
        "process",
        "stream/web",
        "string_decoder",
        "timers",
        "timers/promises",
        "url",
        "util",
    ] {
        names.push(name.to_owned());
        names.push(format!("node:{name}"));
    }
    let list = serde_json::to_string(&names).expect("a list");
    let source = format!(
        "exports.run = async () => {{
           for (const name of {list}) {{
             const required = require(name);
             const imported = await import(name);
             if (imported.default !== required) throw new Error(name + ' differs');
           }}
           return 'all';
         }}"
    );
    assert_eq!(value(&[("index.js", &source)]).await, r#""all""#);
}

#[tokio::test]
async fn newer_syntax_runs() {
    let data = ("a.json", "[1]");
    for (file, source, expected) in [
        ("index.mjs", "import x from './a.json' with { type: 'json' }; export const run = () => x", "[1]"),
        ("index.ts", "import x from './a.json' with { type: 'json' }; export const run = () => x", "[1]"),
        ("index.mjs", "export { default as y } from './a.json' with { type: 'json' }; export const run = () => 'é'", "\"é\""),
        (
            "index.ts",
            "const log: string[] = [];
             const c = (name: string) => (...args: any[]) => { log.push(name + args.length) };
             @c('class') class A { @c('field') x = 1; @c('method') m(@c('param') p: string) { return p } }
             export const run = () => [log, new A().m('p')]",
            r#"[["field3","param3","method3","class1"],"p"]"#,
        ),
        (
            "index.js",
            "class A { static #p = 1; static { this.q = this.#p } }
             exports.run = () => [A.q, [3, 1].toSorted(), Object.groupBy([1], () => 'a'), 'a'.at(-1), 1_000]",
            r#"[1,[1,3],{"a":[1]},"a",1000]"#,
        ),
    ] {
        assert_eq!(value(&[(file, source), data]).await, expected, "{source}");
    }
}
