//! Everything a function can do wrong: a failed run with a clear reason, and a pool that goes on.

use std::time::{Duration, Instant};

use mortise::functions::outcome::{FailureKind, LogLevel, Outcome};

use crate::harness::*;

#[tokio::test]
async fn what_is_thrown_is_told() {
    for (source, name, message) in [
        ("exports.run = () => { throw new TypeError('no') }", "TypeError", "no"),
        ("exports.run = async () => { throw new Error('late') }", "Error", "late"),
        (
            "exports.run = () => { throw 'the input is not valid.' }",
            "Error",
            "the input is not valid.",
        ),
        ("exports.run = () => { throw { code: 7 } }", "Object", r#"{"code":7}"#),
        ("exports.run = () => { throw undefined }", "Error", "undefined was thrown"),
        ("exports.run = () => { throw null }", "Error", "null was thrown"),
        ("exports.run = () => { throw 42 }", "Error", "42 was thrown"),
        ("exports.run = () => Promise.reject()", "Error", "undefined was thrown"),
        ("exports.run = () => { throw Symbol('s') }", "Error", "symbol"),
        (
            "class Mine extends Error { name = 'Mine' } exports.run = () => { throw new Mine('x') }",
            "Mine",
            "x",
        ),
        (
            "exports.run = () => { throw new Error('a', { cause: new Error('b') }) }",
            "Error",
            "a (cause: b)",
        ),
        ("exports.run = () => { throw { get message() { throw 1 } } }", "Object", "no JSON"),
        (
            "exports.run = () => new Promise(() => setTimeout(() => { throw new Error('in a timer') }, 1))",
            "Error",
            "in a timer",
        ),
        (
            "exports.run = () => new Promise(() => queueMicrotask(() => { throw new Error('in a microtask') }))",
            "Error",
            "in a microtask",
        ),
        ("exports.run = () => { process.exit(1) }", "Error", "process.exit(1) was called"),
    ] {
        let report = run(source).await;
        assert_failure(&report, FailureKind::Thrown, message);
        assert_eq!(failure(&report).name, name, "{source}");
    }
}

#[tokio::test]
async fn an_error_can_ask_for_a_retry_and_a_refresh() {
    let source = "class FunctionExecutionError extends Error { constructor(m, retry, refresh) { super(m); this.retry = retry; this.refresh = refresh; } }
        exports.functionFactory = {
            both: () => { throw new FunctionExecutionError('x', true, true) },
            no: () => { throw new FunctionExecutionError('x', false) },
            text: () => { throw Object.assign(new Error('x'), { retry: 'yes' }) },
        };";
    let (pool, code) = (pool(), stored(&[("index.js", source)]));
    for (function, retry, refresh) in
        [("both", Some(true), true), ("no", Some(false), false), ("text", None, false)]
    {
        let mut invocation = invocation(&code);
        invocation.function = function.to_owned();
        let report = pool.invoke(invocation).await;
        assert_eq!(
            (failure(&report).retry, failure(&report).refresh),
            (retry, refresh),
            "{function}"
        );
    }
}

#[tokio::test]
async fn stacks_name_the_lines_of_the_archive() {
    let report = run_files(&[
        ("src/index.ts", "import { deep } from './deep';\nexport const run = () => deep();\n"),
        (
            "src/deep.ts",
            "interface A {\n  a: number;\n}\n\nenum E {\n  X,\n}\n\nexport function deep(): A {\n  throw new Error('here');\n}\n",
        ),
    ])
    .await;
    let stack = failure(&report).stack.clone().expect("a stack");
    assert!(stack.contains("src/deep.ts:10:"), "{stack}");
    assert!(stack.contains("src/index.ts:2:"), "{stack}");
    assert!(!stack.contains("mortise:"), "{stack}");
}

#[tokio::test]
async fn time_is_limited_whatever_the_function_does_with_it() {
    for source in [
        "exports.run = () => { for (;;); }",
        "exports.run = async () => { for (;;) await null; }",
        "exports.run = () => new Promise((r) => setTimeout(r, 1e9))",
        "exports.run = () => { try { for (;;); } catch { for (;;); } finally { for (;;); } }",
        "exports.run = () => /^(a+)+$/.test('a'.repeat(40) + 'b')",
        "exports.run = () => new Promise(() => setInterval(() => {}, 1))",
        "for (;;);",
        "exports.run = () => { const f = () => Promise.resolve().then(f); return f(); }",
        "exports.run = () => { for (;;) 'x'.repeat(1e5).split('').sort().join() }",
    ] {
        let pool = pool();
        let mut invocation = invocation(&stored(&[("index.js", source)]));
        invocation.timeout = Duration::from_millis(150);
        let before = Instant::now();
        let report = pool.invoke(invocation).await;
        assert_failure(&report, FailureKind::Timeout, "150 ms");
        assert!(before.elapsed() < Duration::from_secs(5), "{source}: {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn native_code_that_does_not_listen_is_killed() {
    let pool = pool();
    let source = "exports.run = () => { const a = new Array(3e6).fill(1); for (;;) a.indexOf(2) }";
    let mut slow = invocation(&stored(&[("index.js", source)]));
    slow.timeout = Duration::from_millis(100);
    assert_failure(&pool.invoke(slow).await, FailureKind::Timeout, "100 ms");
    let fine = invocation(&stored(&[("index.js", "exports.run = () => 1")]));
    assert_eq!(result(&pool.invoke(fine).await), "1");
}

#[tokio::test]
async fn memory_is_limited() {
    for source in [
        "exports.run = () => { const a = []; for (;;) a.push(new Array(1000).fill(1)) }",
        "exports.run = async () => { const a = []; for (;;) { a.push('x'.repeat(1e5) + a.length); await null } }",
        "exports.run = () => { let s = 'x'; for (;;) s += s + s.length }",
        "exports.run = () => { const a = []; for (;;) a.push(Buffer.alloc(1e6)) }",
        "exports.run = () => { const a = []; for (;;) a.push(new Uint8Array(1e6)) }",
        "const a = []; for (;;) a.push(new Array(1000).fill(1));",
    ] {
        let report = run(source).await;
        let failure = failure(&report);
        let told = failure.kind == FailureKind::Memory
            // A string has a length limit of its own, which may come first.
            || failure.message.contains("invalid string length");
        assert!(told, "{source}: {failure:?}");
    }
}

#[tokio::test]
async fn recursion_is_limited() {
    for source in [
        "const f = () => f() + 1; exports.run = f;",
        "exports.run = () => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return JSON.stringify(a) }",
        "exports.run = () => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return structuredClone(a) }",
        "exports.run = () => { const a = {}; a.toString = () => `${a}`; return `${a}` }",
    ] {
        assert_failure(&run(source).await, FailureKind::StackOverflow, "call stack");
    }
    let source =
        "exports.run = () => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a }";
    let report = run(source).await;
    assert!([FailureKind::BadOutput, FailureKind::StackOverflow].contains(&failure(&report).kind));
    // Formatting of deep values does not overflow either.
    let source = "exports.run = () => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; console.log(a); return 1 }";
    assert_eq!(result(&run(source).await), "1");
}

#[tokio::test]
async fn a_promise_that_nothing_can_settle_is_noticed_at_once() {
    let before = Instant::now();
    for source in [
        "exports.run = () => new Promise(() => {})",
        "exports.run = async () => { await new Promise(() => {}) }",
        "await new Promise(() => {}); export const run = () => 1",
        "exports.run = () => new Promise((r) => setTimeout(r, 1e6).unref())",
    ] {
        assert_failure(&run(source).await, FailureKind::NeverSettled, "never settled");
    }
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn modules_that_cannot_be_loaded_say_why() {
    for (source, part) in [
        ("throw new Error('at load')", "at load"),
        ("const x = require('./missing')", "the archive has no module `./missing` (from index.js)"),
        ("require('axios')", "the package `axios` (from index.js) is not in the archive"),
        (
            "require('fs')",
            "the module `fs` (from index.js) is not available in the quickjs runtime; available are assert, buffer",
        ),
        ("import fs from 'node:fs/promises'; fs", "use the runtime `node`"),
        ("import { nope } from 'node:path'; nope", "nope"),
        (
            "exports.functionFactory = { run: 5 }",
            "functionFactory.run of index.js is of type number",
        ),
    ] {
        assert_failure(&run(source).await, FailureKind::Load, part);
    }
}

#[tokio::test]
async fn logs_are_bounded_and_the_bound_is_told() {
    let report = run(
        "exports.run = () => { for (let i = 0; i < 5000; i++) console.log('line', i); return 1 }",
    )
    .await;
    assert_eq!(result(&report), "1");
    assert_eq!(report.logs.len(), 1001);
    assert_eq!(report.logs[0].message, "line 0");
    let note = report.logs.last().expect("a note");
    assert_eq!(note.level, LogLevel::Warn);
    assert!(note.message.starts_with("4000 more lines were dropped"), "{}", note.message);

    let report = run("exports.run = () => { console.log('é'.repeat(5e6)); for (let i = 0; i < 100; i++) console.log('x'.repeat(1e5)) }").await;
    let bytes: usize = report.logs.iter().map(|it| it.message.len()).sum();
    assert!(bytes < 70 * 1024, "{bytes}");
    assert!(report.logs[0].message.contains("more bytes"));
}

#[tokio::test]
async fn what_is_not_awaited_is_seen_or_told() {
    let report =
        run("exports.run = () => { (async () => { throw new Error('lost') })(); return 1 }").await;
    assert_eq!(result(&report), "1");
    assert!(messages(&report)[0].contains("not handled: Error: lost"), "{:?}", report.logs);
}

#[tokio::test]
async fn secrets_are_masked_in_errors_logs_and_results() {
    let source = "exports.run = (e) => { console.log('event', e); if (e[0].fail) throw new Error('bad ' + e[0].token); return e[0].token }";
    let (pool, code) = (pool(), stored(&[("index.js", source)]));
    for (event, failing) in
        [(r#"{"token":"tok-abcdef"}"#, false), (r#"{"token":"tok-abcdef","fail":1}"#, true)]
    {
        let mut invocation = invocation(&code);
        invocation.event = event.into();
        invocation.secrets = ["tok-abcdef".to_owned().into()].into();
        let report = pool.invoke(invocation).await;
        assert!(report.logs[0].message.contains("[secret]"), "{:?}", report.logs);
        assert!(!format!("{:?}", report.logs).contains("tok-abcdef"));
        match &report.outcome {
            Outcome::Succeeded { result } if !failing => {
                assert_eq!(result.get(), r#""[secret]""#);
            }
            Outcome::Failed(failure) if failing => assert_eq!(failure.message, "bad [secret]"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn stacks_of_built_packages_lead_to_their_sources() {
    // As tsc writes it: line 3 of the built file is line 2 of the source.
    let map = r#"{"version":3,"file":"index.js","sourceRoot":"","sources":["../src/index.ts"],"names":[],"mappings":";;AACE"}"#;
    let files = [
        ("package.json", r#"{"main":"dist/index.js"}"#),
        (
            "dist/index.js",
            "\"use strict\";\nexports.run = () => {\n    throw new Error('x');\n};\n//# sourceMappingURL=index.js.map",
        ),
        ("dist/index.js.map", map),
    ];
    let report = run_files(&files).await;
    let stack = failure(&report).stack.clone().expect("a stack");
    assert!(stack.contains("(src/index.ts:2:3)"), "{stack}");
}
