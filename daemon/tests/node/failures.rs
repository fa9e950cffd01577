//! What goes wrong inside a function, and that it stays inside.

use std::path::PathBuf;
use std::time::Duration;

use mortise::functions::outcome::{FailureKind, Outcome};
use mortise::functions::pool::PoolOptions;

use crate::harness::*;

#[tokio::test]
async fn results_have_a_form_and_a_size() {
    assert_eq!(result(&run("exports.run = () => undefined").await), "null");
    let report = run("exports.run = () => () => 1").await;
    assert_failure(&report, FailureKind::BadOutput, "returned a function");
    let report = run("exports.run = () => { const a = {}; a.a = a; return a }").await;
    assert_failure(&report, FailureKind::BadOutput, "circular structure");
    let report = run("exports.run = () => 'x'.repeat(2_000_000)").await;
    assert_failure(&report, FailureKind::OutputTooLarge, "the limit is 1048576");
    let report = run("exports.run = () => Array(20).fill('x'.repeat(100_000_000))").await;
    let kind = failure(&report).kind;
    assert!([FailureKind::OutputTooLarge, FailureKind::Memory].contains(&kind), "{report:?}");
}

#[tokio::test]
async fn memory_is_limited_inside_and_outside_of_the_heap() {
    let report = run("const all = []; exports.run = () => { for (;;) all.push(new Array(1000).fill(all.length)) }").await;
    assert_failure(&report, FailureKind::Memory, "more memory");
    let report = run(
        "const all = []; exports.run = () => { for (;;) all.push(Buffer.alloc(10_000_000, 1)) }",
    )
    .await;
    assert_eq!(failure(&report).kind, FailureKind::Memory, "{report:?}");
    let report = run("const all = []; exports.run = () => { for (;;) all.push('x'.repeat(1e6) + all.length, [...'y'.repeat(1e5)]) }").await;
    assert_failure(&report, FailureKind::Memory, "more memory");
}

#[tokio::test]
async fn time_is_limited_for_what_waits_and_what_spins() {
    for (source, part) in [
        (
            "exports.run = () => new Promise((r) => setTimeout(r, 60_000))",
            "took longer than its 2000 ms",
        ),
        (
            "exports.run = () => { console.log('before'); for (;;) ; }",
            "did not let itself be stopped",
        ),
    ] {
        let package = package(&[("index.js", source)]);
        let mut invocation = invocation(&package);
        invocation.timeout = Duration::from_millis(2000);
        let report = pool().invoke(invocation).await;
        assert_failure(&report, FailureKind::Timeout, part);
        let expected: &[&str] = if source.contains("before") { &["before"] } else { &[] };
        assert_eq!(messages(&report), expected);
    }
}

#[tokio::test]
async fn ends_of_the_process_are_faults_of_the_function() {
    for (body, kind, part) in [
        ("process.exit(0)", FailureKind::Crashed, "process.exit(0) was called"),
        (
            "await null; try { process.exit() } catch {} return 1",
            FailureKind::Crashed,
            "process.exit() was called",
        ),
        ("process.reallyExit(0)", FailureKind::Crashed, "brought its process down"),
        ("process.abort()", FailureKind::Crashed, "brought its process down"),
        (
            "Promise.reject(new Error('nobody waits')); await new Promise((r) => setTimeout(r, 1000))",
            FailureKind::Thrown,
            "nobody waits",
        ),
        (
            "setTimeout(() => { throw new RangeError('from a timer') }); await new Promise((r) => setTimeout(r, 1000))",
            FailureKind::Thrown,
            "from a timer",
        ),
        ("await new Promise(() => {})", FailureKind::NeverSettled, "never settled"),
        ("const f = () => f(); f()", FailureKind::StackOverflow, "Maximum call stack"),
    ] {
        let package = package(&[("index.js", &format!("exports.run = async () => {{ {body} }}"))]);
        let pool = pool();
        assert_failure(&pool.invoke(invocation(&package)).await, kind, part);
        // The next run finds a process that works.
        let next = pool
            .invoke(invocation(&crate::harness::package(&[(
                "index.js",
                "exports.run = () => 'next'",
            )])))
            .await;
        assert_eq!(result(&next), "\"next\"", "after {body}");
    }
}

#[tokio::test]
async fn floods_of_the_log_are_dropped_and_counted() {
    let report = run("exports.run = () => { for (let i = 0; i < 20_000; i++) console.log(i, 'x'.repeat(10)); process.stdout.write('y'.repeat(50_000_000)); return 1 }").await;
    assert_eq!(result(&report), "1");
    assert!(report.logs.len() <= 1001, "{}", report.logs.len());
    let last = &report.logs[report.logs.len() - 1].message;
    assert!(last.contains("more lines were dropped"), "{last}");
    let report = run("exports.run = () => { console.log('x'.repeat(50_000_000)); require('fs').writeSync(2, 'z'.repeat(1000)); return 1 }").await;
    assert_eq!(result(&report), "1");
    assert!(report.logs[0].message.len() < 17_000);
}

#[tokio::test]
async fn without_node_every_run_says_so() {
    let options = PoolOptions { node: Some(PathBuf::from("/nowhere/node")), ..options() };
    let pool = pool_with(options, Default::default());
    let report = pool.invoke(invocation(&package(&[("index.js", "exports.run = () => 1")]))).await;
    assert_failure(&report, FailureKind::Refused, "Node.js is not at /nowhere/node");
}

#[tokio::test]
async fn an_end_from_outside_is_an_interruption() {
    let package = package(&[(
        "index.js",
        "exports.run = () => { console.log(process.pid); return new Promise((r) => setTimeout(r, 60_000)) }",
    )]);
    let mut invocation = invocation(&package);
    invocation.on_log = Some(std::sync::Arc::new(|lines| {
        let process = lines[0].message.parse().ok().and_then(rustix::process::Pid::from_raw);
        let signal = rustix::process::Signal::KILL;
        rustix::process::kill_process(process.expect("its id"), signal).expect("it is ended");
    }));
    let report = pool().invoke(invocation).await;
    assert!(matches!(report.outcome, Outcome::Interrupted { .. }), "{report:?}");
}
