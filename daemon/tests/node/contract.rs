//! How functions are found and called, what they return, throw and log.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mortise::functions::outcome::{FailureKind, LogLevel};

use crate::harness::*;

#[tokio::test]
async fn functions_are_found_where_authors_put_them() {
    let factory = "exports.functionFactory = { run: async (events) => ['factory', events.length, events[0].payload.a] }";
    for (files, expected) in [
        (vec![("package.json", r#"{"main":"./dist/index.js"}"#), ("dist/index.js", factory)], r#"["factory",1,7]"#),
        (vec![("package.json", r#"{"main":"dist/index.js"}"#), ("src/index.js", factory)], r#"["factory",1,7]"#),
        (vec![("code/package.json", r#"{"main":"lib"}"#), ("code/lib/index.js", factory)], r#"["factory",1,7]"#),
        (vec![("index.js", "exports.run = () => 'export'")], "\"export\""),
        (vec![("index.js", "module.exports = { default: { run() { return 'default' } } }")], "\"default\""),
        (vec![("functions/run/index.js", "exports.default = () => 'module'")], "\"module\""),
        (vec![("src/functions/run.js", "exports.run = () => 'module'")], "\"module\""),
        (
            vec![
                ("package.json", r#"{"type":"module","main":"main.js"}"#),
                ("main.js", "import { a } from './a.js'; import { createHash } from 'node:crypto'; await null;
                  export const functionFactory = { run: () => a + createHash('md5').update('x').digest('hex').length }"),
                ("a.js", "export const a = 10"),
            ],
            "42",
        ),
        (vec![("package.json", r#"{"main":"m.mjs"}"#), ("m.mjs", "export function run() { return 'mjs' }")], "\"mjs\""),
        (
            vec![("index.js", "const left = require('pkg'); exports.run = () => left('a')"),
                 ("node_modules/pkg/package.json", r#"{"exports":{".":"./lib/x.cjs"}}"#),
                 ("node_modules/pkg/lib/x.cjs", "module.exports = (it) => it + ' from a package'")],
            "\"a from a package\"",
        ),
    ] {
        let mut invocation = invocation(&package(&files));
        invocation.event = Bytes::from_static(br#"{"payload":{"a":7}}"#);
        assert_eq!(result(&pool().invoke(invocation).await), expected, "{files:?}");
    }
}

#[tokio::test]
async fn a_function_that_is_not_there_is_named_with_those_that_are() {
    let report = run("exports.functionFactory = { b() {}, a() {} }").await;
    assert_failure(&report, FailureKind::NotFound, "available are a, b");
    let report = run("exports.functionFactory = { run: 1 }").await;
    assert_failure(&report, FailureKind::Load, "functionFactory.run of index.js is of type number");
    let report = run_files(&[("readme.md", "")]).await;
    assert_failure(&report, FailureKind::NotFound, "hands out no functions");
}

#[tokio::test]
async fn modules_stay_warm_and_runs_are_apart() {
    let package = package(&[(
        "index.js",
        "let count = 0; exports.run = async ([event]) => { count += 1; return [count, process.pid]; }",
    )]);
    let pool = pool();
    let first = pool.invoke(invocation(&package)).await;
    assert!(result(&pool.invoke(invocation(&package)).await).starts_with("[2,"));
    let third = pool.invoke(invocation(&package)).await;
    assert!(result(&third).starts_with("[3,"), "{third:?}");
    assert_eq!(result(&first)[2..], result(&third)[2..], "one process");
    let mut fresh = invocation(&package);
    fresh.fresh = true;
    assert!(result(&pool.invoke(fresh).await).starts_with("[1,"));
    let mut larger = invocation(&package);
    larger.memory_bytes *= 2;
    assert!(result(&pool.invoke(larger).await).starts_with("[1,"));
}

#[tokio::test]
async fn anything_can_be_thrown() {
    for (thrown, name, message) in [
        ("new TypeError('typed')", "TypeError", "typed"),
        ("'a string'", "Error", "a string"),
        ("null", "Error", "null was thrown"),
        ("undefined", "Error", "undefined was thrown"),
        ("{ a: 1 }", "Object", r#"{"a":1}"#),
        ("{ name: 'N', message: 'm' }", "N", "m"),
        ("new Error('outer', { cause: new Error('inner') })", "Error", "outer (cause: inner)"),
        ("new Proxy({}, { get() { throw 1 } })", "Object", "an object that is no JSON was thrown"),
    ] {
        let report = run(&format!("exports.run = async () => {{ throw {thrown} }}")).await;
        let failure = failure(&report);
        assert_eq!(failure.kind, FailureKind::Thrown, "{failure:?}");
        assert_eq!((failure.name.as_str(), failure.message.as_str()), (name, message));
        assert_eq!((failure.retry, failure.refresh), (None, false));
    }
    let source = "class FunctionExecutionError extends Error { constructor(m, retry, refresh) { super(m); this.retry = retry; this.refresh = refresh; } }
         exports.run = () => { throw new FunctionExecutionError('again', true, true) }";
    let report = run(source).await;
    let failure = failure(&report);
    assert_eq!((failure.retry, failure.refresh), (Some(true), true));
}

#[tokio::test]
async fn stacks_name_files_of_the_version_only() {
    // a.ts:3:9 is where `throw` of the built line 1 came from.
    let map =
        "eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbImEudHMiXSwibmFtZXMiOltdLCJtYXBwaW5ncyI6IkFBRVEifQ==";
    let built = format!(
        "exports.inner = () => {{ throw new Error('mapped') }}\n//# sourceMappingURL=data:application/json;base64,{map}"
    );
    let report = run_files(&[
        ("index.js", "const { inner } = require('./src/a'); exports.run = async () => { await null; inner(); }"),
        ("src/a.js", &built),
    ])
    .await;
    let stack = failure(&report).stack.as_deref().unwrap_or_default();
    assert!(stack.contains("src/a.ts:3:9"), "{stack}");
    assert!(stack.contains("index.js:1:"), "{stack}");
    for hidden in ["mortise:", "node:", "[eval]", "/tmp", "file:"] {
        assert!(!stack.contains(hidden), "{stack}");
    }
    let report = run_files(&[("index.js", "require('./missing'); exports.run = () => 1")]).await;
    assert_failure(&report, FailureKind::Load, "Cannot find module './missing'");
    assert!(!failure(&report).message.contains("/tmp"), "{report:?}");
}

#[tokio::test]
async fn whatever_is_written_becomes_the_log() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let package = package(&[(
        "index.js",
        "console.log('loading');
         exports.run = () => {
           console.log('a %s', 'b', { c: 1 }); console.debug('d'); console.warn('w'); console.error('e');
           console.group('g'); console.info('in'); console.groupEnd(); console.table([{ x: 1 }]);
           process.stdout.write('part'); process.stdout.write('s\\nrest'); process.stderr.write('err\\n');
           process.emitWarning('careful');
           const { log } = console; log('unbound');
           return new Promise((resolve) => setTimeout(() => resolve(1), 5)); }",
    )]);
    let mut invocation = invocation(&package);
    let follow = Arc::clone(&heard);
    invocation.on_log = Some(Arc::new(move |lines| {
        follow.lock().expect("no panic").extend(lines.iter().map(|it| it.message.clone()));
    }));
    let report = pool().invoke(invocation).await;
    assert_eq!(result(&report), "1");
    let said = messages(&report);
    for line in [
        "loading",
        "a b { c: 1 }",
        "d",
        "w",
        "e",
        "g",
        "  in",
        "parts",
        "rest",
        "err",
        "Warning: careful",
        "unbound",
    ] {
        assert!(said.contains(&line), "`{line}` is not in {said:?}");
    }
    // Older ones put it into the middle.
    let row = ["│ 0       │ 1 │", "│    0    │ 1 │"];
    assert!(said.iter().any(|it| row.iter().any(|row| it.contains(row))), "{said:?}");
    let level = |text: &str| report.logs.iter().find(|it| it.message == text).map(|it| it.level);
    assert_eq!(level("d"), Some(LogLevel::Debug));
    assert_eq!(level("w"), Some(LogLevel::Warn));
    assert_eq!(level("e"), Some(LogLevel::Error));
    assert_eq!(level("err"), Some(LogLevel::Error));
    assert_eq!(heard.lock().expect("no panic").len(), report.logs.len());
}

#[tokio::test]
async fn globals_are_those_of_a_module() {
    let report = run(
        "exports.run = () => [typeof fs, typeof module, typeof globalThis.require, crypto.subtle !== undefined, crypto.createHash === undefined,
           process.execArgv, Object.keys(process.env).sort(), process.cwd() === __dirname, new Date(0).getHours(), process.stdin.read()]",
    )
    .await;
    let expected = r#"["undefined","object","undefined",true,true,[],["HOME","LANG","SSL_CERT_FILE","TZ"],true,0,null]"#;
    assert_eq!(result(&report), expected);
}

#[tokio::test]
async fn a_process_is_kept_warm_for_so_many_runs() {
    let package = package(&[(
        "index.js",
        "let n = 0; exports.run = ([event]) => { n++; if (event.fail) throw new Error('x'); return n };
         exports.other = () => ++n;",
    )]);
    let pool = pool();
    let call = async |function: &str, event: &'static str| {
        let mut asked = invocation(&package);
        asked.function = function.to_owned();
        asked.event = Bytes::from_static(event.as_bytes());
        pool.invoke(asked).await
    };
    assert_eq!(result(&call("run", "{}").await), "1");
    assert_eq!(result(&call("other", "{}").await), "2", "functions of a version share it");
    // It costs a start of Node.js; what threw has ended in good order.
    failure(&call("run", r#"{"fail":true}"#).await);
    for n in 4..=1000 {
        assert_eq!(result(&call("run", "{}").await), n.to_string());
    }
    assert_eq!(result(&call("run", "{}").await), "1");
}
