//! What a run leaves behind: nothing of it goes on in a later run of the same process.

use bytes::Bytes;
use mortise::functions::outcome::RunReport;
use mortise::functions::pool::Pool;

use crate::harness::*;

/// A function that does `first` in its first run and `second` afterwards, and answers how many runs its
/// process has had.
fn source(before: &str, first: &str, second: &str) -> String {
    format!(
        "{before}; let count = 0;
         exports.run = async ([event]) => {{
           count += 1;
           if (!event.second) {{ {first} }} else {{ {second} }}
           return count;
         }}"
    )
}

async fn twice(source: &str) -> (RunReport, RunReport) {
    let (package, pool) = (package(&[("index.js", source)]), pool());
    let first = call(&pool, &package, "{}").await;
    (first, call(&pool, &package, r#"{"second":true}"#).await)
}

#[tokio::test]
async fn what_goes_on_by_itself_ends_with_its_process() {
    for (left, what) in [
        ("setTimeout(() => console.log('late'), 200)", "1 Timeout"),
        ("setInterval(() => console.log('late'), 200)", "1 Timeout"),
        ("setInterval(() => console.log('late'), 200).unref()", "1 Timeout"),
        ("require('timers').setTimeout(() => console.log('late'), 200)", "1 Timeout"),
        ("require('timers/promises').setTimeout(200).then(() => console.log('late'))", "1 Timeout"),
        ("require('util').promisify(setTimeout)(200).then(() => console.log('late'))", "1 Timeout"),
        (
            "const again = () => { console.log('late'); setImmediate(again) }; setImmediate(again)",
            "1 Immediate",
        ),
        (
            "(async () => { for (;;) { await new Promise((r) => setTimeout(r, 200)); console.log('late') } })()",
            "1 Timeout",
        ),
        ("const { port1 } = new MessageChannel(); port1.onmessage = () => {}", "1 MessagePort"),
        ("for (let n = 0; n < 1000; n++) setTimeout(() => {}, n % 2 ? 60_000 : 0)", "Timeout"),
    ] {
        let (first, second) = twice(&source("", left, "")).await;
        assert_eq!(
            (result(&first), result(&second)),
            ("1".into(), "1".into()),
            "{left}: {first:?}"
        );
        let said = messages(&first);
        let said = said.iter().find(|it| it.starts_with("left behind")).expect(left);
        assert!(said.contains(what) && said.contains("new process"), "{left}: {said}");
        assert_eq!(messages(&second), [""; 0], "{left}");
    }
}

#[tokio::test]
async fn who_tidies_up_keeps_the_process() {
    for (before, done) in [
        ("", "clearTimeout(setTimeout(() => {}, 60_000))"),
        ("", "clearTimeout(+setTimeout(() => {}, 60_000)); setInterval(() => {}, 1).close()"),
        ("", "setImmediate(() => {}); process.nextTick(() => {}); queueMicrotask(() => {})"),
        (
            "",
            "await new Promise((r) => setTimeout(r, 1)); await require('timers/promises').setImmediate()",
        ),
        ("", "for await (const _ of require('timers/promises').setInterval(1)) break"),
        (
            "",
            "require('fs').readFileSync(__filename); await require('fs').promises.readFile(__filename)",
        ),
        (
            "",
            "await new Promise((r) => require('zlib').gzip('x', r)); require('crypto').randomBytes(8)",
        ),
        ("", "new Promise(() => {}); new MessageChannel(); await structuredClone({})"),
        // What modules make for themselves stays with them.
        ("setInterval(() => {}, 10_000); setInterval(() => {}, 1).unref()", ""),
    ] {
        let (first, second) = twice(&source(before, done, "")).await;
        let both = (result(&first), result(&second));
        assert_eq!(both, ("1".into(), "2".into()), "{before} {done}: {first:?}");
    }
}

#[tokio::test]
async fn what_a_later_run_sets_free_is_not_heard_of() {
    let before = "let go; const goes = new Promise((r) => { go = r })";
    let frees = "console.log('before'); go(); await new Promise((r) => setTimeout(r, 20)); console.log('after')";
    for waits in [
        "goes.then(() => { console.log('late'); console.error('late'); process.stdout.write('late'); process.emitWarning('late') })",
        "goes.then(() => { setTimeout(() => console.log('late'), 1); setImmediate(() => process.exit(1)) })",
        "goes.then(() => { throw new Error('nobody hears of it') })",
        "goes.then(() => process.nextTick(() => { throw new Error('nobody hears of it') }))",
        "goes.then(() => process.exit(1))",
    ] {
        let (first, second) = twice(&source(before, waits, frees)).await;
        assert_eq!(result(&first), "1", "{waits}");
        assert_eq!(result(&second), "2", "{waits}: {second:?}");
        assert_eq!(messages(&second), ["before", "after"], "{waits}");
    }
}

#[tokio::test]
async fn what_fails_after_the_end_of_its_run_is_not_the_next_ones() {
    // It fails in the moment in which its run ends.
    for left in [
        "Promise.reject(new Error('unheard'))",
        "queueMicrotask(() => { throw new Error('unheard') })",
        "setImmediate(() => { throw new Error('unheard') })",
    ] {
        let package = package(&[(
            "index.js",
            source("", &format!("setImmediate(() => {{ {left} }})"), "").as_str(),
        )]);
        let pool = pool();
        result(&call(&pool, &package, "{}").await);
        for _ in 0..3 {
            result(&call(&pool, &package, r#"{"second":true}"#).await);
        }
    }
}

#[tokio::test]
async fn own_contexts_of_functions_go_through_waiting() {
    let report = run(
        "const { AsyncLocalStorage } = require('async_hooks'); const own = new AsyncLocalStorage();
         exports.run = () => own.run('mine', async () => {
           await new Promise((r) => setTimeout(r, 1));
           const later = await new Promise((r) => setImmediate(() => r(own.getStore())));
           return [own.getStore(), later, setTimeout.name, setTimeout.length, typeof setTimeout(() => {}, 0).ref];
         })",
    )
    .await;
    assert_eq!(result(&report), r#"["mine","mine","setTimeout",5,"function"]"#);
}

async fn call(pool: &Pool, package: &std::sync::Arc<Package>, event: &'static str) -> RunReport {
    let mut asked = invocation(package);
    asked.event = Bytes::from_static(event.as_bytes());
    pool.invoke(asked).await
}

#[tokio::test]
async fn many_timers_are_not_kept_in_mind() {
    let package = package(&[(
        "index.js",
        "const heap = () => require('v8').getHeapStatistics().used_heap_size;
         exports.run = async ([event]) => {
           const before = heap();
           for (let n = 0; n < event.times; n++) { for (let i = 0; i < 1000; i++) clearTimeout(setTimeout(() => {}, 60_000)); await null }
           return (heap() - before) >> 20;
         }",
    )]);
    let pool = pool();
    call(&pool, &package, r#"{"times":1}"#).await;
    let grown = result(&call(&pool, &package, r#"{"times":300}"#).await);
    assert!(grown.parse::<i64>().expect("a number") < 40, "{grown} MiB");
}
