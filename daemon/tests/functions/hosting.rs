//! Processes: isolation, concurrency, ends from outside, retirement, shutdown, the sandbox.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mortise::functions::outcome::{FailureKind, Outcome, RunReport};
use mortise::functions::pool::{Pool, PoolOptions};
use mortise::model::id::SnapInId;
use rustix::process::{Pid, Signal};
use tokio::sync::Notify;

use crate::harness::*;

/// A pool whose processes can be told from those of other tests by their command line.
struct Marked {
    pool: Pool,
    folder: tempfile::TempDir,
}

impl Marked {
    fn new() -> Marked {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("mortise");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mortise"), &program).expect("a link");
        let pool = Pool::new(PoolOptions { program, ..options() }, no_fetch()).expect("a pool");
        Marked { pool, folder }
    }

    /// The ids of its processes that have not ended.
    fn processes(&self) -> Vec<Pid> {
        let program = self.folder.path().join("mortise");
        let program = program.to_str().expect("a text");
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
                continue;
            };
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if line.split('\0').next() == Some(program) {
                found.extend(Pid::from_raw(id));
            }
        }
        found
    }

    fn signal(&self, signal: Signal) {
        for id in self.processes() {
            rustix::process::kill_process(id, signal).expect("it lives");
        }
    }

    /// Starts a run that hangs, does `then` once it is on, and waits for its report.
    async fn hang_and(&self, then: impl AsyncFnOnce()) -> RunReport {
        let on = Arc::new(Notify::new());
        let mut hanging = invocation(&stored(&[("index.js", HANG)]));
        let tell = Arc::clone(&on);
        hanging.on_log = Some(Arc::new(move |_| tell.notify_one()));
        let then = async {
            on.notified().await;
            then().await;
        };
        tokio::join!(self.pool.invoke(hanging), then).0
    }

    async fn still_works(&self) {
        let fine = invocation(&stored(&[("index.js", "exports.run = () => 1")]));
        assert_eq!(result(&self.pool.invoke(fine).await), "1");
    }
}

#[track_caller]
fn assert_interrupted(report: &RunReport, part: &str) {
    match &report.outcome {
        Outcome::Interrupted { reason } => assert!(reason.contains(part), "{reason}"),
        other => panic!("expected an interruption, got {other:?}"),
    }
}

/// Logs a mark and then keeps a run going until it is cut off.
const HANG: &str =
    "exports.run = () => { console.log('on'); return new Promise((r) => setTimeout(r, 1e6)) }";

#[tokio::test]
async fn snap_ins_do_not_share_a_process() {
    let pool = pool();
    let source = "exports.run = (e) => { globalThis.seen = [...(globalThis.seen ?? []), e[0].me]; return globalThis.seen }";
    let code = stored(&[("index.js", source)]);
    for (me, expected) in [(1, "[1]"), (2, "[2]"), (1, "[1,1]"), (2, "[2,2]")] {
        let mut invocation = invocation(&code);
        invocation.snap_in = SnapInId(me);
        invocation.event = format!(r#"{{"me":{me}}}"#).into();
        assert_eq!(result(&pool.invoke(invocation).await), expected);
    }
    assert_eq!(pool.status().idle, 2);
}

#[tokio::test]
async fn versions_do_not_share_a_context() {
    let pool = pool();
    let one = stored(&[("index.js", "globalThis.n = 1; exports.run = () => globalThis.n")]);
    let two = stored(&[("index.js", "exports.run = () => typeof globalThis.n")]);
    assert_eq!(result(&pool.invoke(invocation(&one)).await), "1");
    assert_eq!(result(&pool.invoke(invocation(&two)).await), r#""undefined""#);
    assert_eq!(result(&pool.invoke(invocation(&one)).await), "1");
}

#[tokio::test]
async fn a_warm_context_serves_all_functions_and_is_thrown_away_in_time() {
    let source = "let n = 0; exports.one = ([event]) => { n++; if (event.spin) for (;;) ; \
                  if (event.exhaust) for (let a = [1];;) a = a.concat(a); return n }; \
                  exports.two = async ([event]) => { n++; if (event.throw) throw 1; \
                  if (event.hang) await new Promise((r) => setTimeout(r, 1e6)); return n };";
    let (pool, code) = (pool(), stored(&[("index.js", source)]));
    let call = async |function: &str, event: &'static str| {
        let mut asked = invocation(&code);
        asked.function = function.to_owned();
        asked.event = event.into();
        asked.timeout = Duration::from_secs(if event.len() > 2 { 1 } else { 20 });
        pool.invoke(asked).await
    };
    assert_eq!(result(&call("one", "{}").await), "1");
    assert_eq!(result(&call("two", "{}").await), "2", "functions of a version share it");
    for (function, event, kind) in [
        ("two", r#"{"throw":1}"#, FailureKind::Thrown),
        ("one", r#"{"spin":1}"#, FailureKind::Timeout),
        ("two", r#"{"hang":1}"#, FailureKind::Timeout),
        ("one", r#"{"exhaust":1}"#, FailureKind::Memory),
    ] {
        assert_failure(&call(function, event).await, kind, "");
        assert_eq!(result(&call("one", "{}").await), "1", "after {event}");
    }
    for n in 2..=1000 {
        assert_eq!(result(&call("two", "{}").await), n.to_string());
    }
    assert_eq!(result(&call("one", "{}").await), "1", "after a thousand runs");
}

#[tokio::test]
async fn many_runs_of_many_snap_ins_share_few_processes() {
    let options = PoolOptions { most_processes: 3, ..options() };
    let pool = Arc::new(Pool::new(options, no_fetch()).expect("a pool"));
    let code = stored(&[(
        "index.js",
        "exports.run = async (e) => { await new Promise((r) => setTimeout(r, e[0].n % 3)); return e[0].n }",
    )]);
    let runs = (0..200u32).map(|n| {
        let mut invocation = invocation(&code);
        invocation.snap_in = SnapInId(u128::from(n % 7));
        invocation.event = format!(r#"{{"n":{n}}}"#).into();
        let pool = Arc::clone(&pool);
        async move { assert_eq!(result(&pool.invoke(invocation).await), n.to_string()) }
    });
    join_all(runs).await;
    let status = pool.status();
    assert!(status.busy == 0 && status.waiting == 0 && status.idle <= 3, "{status:?}");
}

#[tokio::test]
async fn a_runner_killed_in_the_middle_interrupts_its_run_and_nothing_else() {
    let it = Marked::new();
    for (signal, part) in [(Signal::KILL, "signal: 9"), (Signal::TERM, "signal: 15")] {
        let report = it.hang_and(async || it.signal(signal)).await;
        assert_interrupted(&report, part);
        assert_eq!(messages(&report), ["on"]);
        it.still_works().await;
    }
    // A fault of the process itself is the function's.
    let report = it.hang_and(async || it.signal(Signal::ILL)).await;
    assert_failure(&report, FailureKind::Crashed, "brought its process down");
    it.still_works().await;
}

#[tokio::test]
async fn a_runner_killed_between_runs_is_replaced_unseen() {
    let it = Marked::new();
    it.still_works().await;
    for id in it.processes() {
        rustix::process::kill_process(id, Signal::KILL).expect("it lives");
        // Dead is dead once the kernel says so; it is not reaped before the next run.
        let status = format!("/proc/{}/stat", id.as_raw_nonzero());
        let lives = || std::fs::read_to_string(&status).is_ok_and(|it| !it.contains(") Z "));
        until("it is dead", || !lives()).await;
    }
    it.still_works().await;
}

#[tokio::test]
async fn a_dropped_invocation_ends_its_process_and_frees_its_place() {
    let it = Marked::new();
    let dropped = async {
        tokio::select! {
            _ = it.hang_and(async || std::future::pending().await) => {}
            () = until("it has begun", || !it.processes().is_empty()) => {}
        }
    };
    dropped.await;
    assert_eq!(it.pool.status().busy, 0);
    until("all have ended", || it.processes().is_empty()).await;
    it.still_works().await;
}

#[tokio::test]
async fn retired_snap_ins_finish_their_runs_and_leave_no_process() {
    let it = Marked::new();
    it.still_works().await;
    assert_eq!(it.pool.status().idle, 1);
    it.pool.retire(SnapInId(1));
    assert_eq!(it.pool.status().idle, 0);
    let source = "exports.run = () => { console.log('on'); return new Promise((r) => setTimeout(r, 300, 'end')) }";
    let mut slow = invocation(&stored(&[("index.js", source)]));
    let on = Arc::new(Notify::new());
    let tell = Arc::clone(&on);
    slow.on_log = Some(Arc::new(move |_| tell.notify_one()));
    let retire = async {
        on.notified().await;
        it.pool.retire(SnapInId(1));
    };
    let (report, ()) = tokio::join!(it.pool.invoke(slow), retire);
    assert_eq!(result(&report), r#""end""#);
    assert_eq!((it.pool.status().idle, it.pool.status().busy), (0, 0));
}

#[tokio::test]
async fn shutdown_waits_for_what_ends_and_cuts_off_what_does_not() {
    let it = Marked::new();
    let report = it.hang_and(async || it.pool.shutdown(Duration::from_millis(50)).await).await;
    assert_interrupted(&report, "shutting down");
    let late = it.pool.invoke(invocation(&stored(&[("index.js", "")]))).await;
    assert_interrupted(&late, "shutting down");
    until("all have ended", || it.processes().is_empty()).await;
}

#[tokio::test]
async fn idle_processes_end_after_a_while_and_all_with_the_pool() {
    let mut it = Marked::new();
    it.still_works().await;
    assert_eq!(it.processes().len(), 1);
    it.pool = Pool::new(
        PoolOptions {
            program: it.folder.path().join("mortise"),
            idle_time: Duration::from_millis(50),
            ..options()
        },
        no_fetch(),
    )
    .expect("a pool");
    until("those of the old pool have ended with it", || it.processes().is_empty()).await;
    it.still_works().await;
    until("idle ones have ended", || it.pool.status().idle == 0 && it.processes().is_empty()).await;
}

#[tokio::test]
async fn logs_come_while_the_run_is_on() {
    let source = "exports.run = () => { console.log('first'); const end = Date.now() + 400; while (Date.now() < end); return 1 }";
    let mut long = invocation(&stored(&[("index.js", source)]));
    let heard = Arc::new(Mutex::new(None));
    let listen = Arc::clone(&heard);
    let began = Instant::now();
    long.on_log = Some(Arc::new(move |lines: &[_]| {
        assert_eq!(lines.len(), 1);
        listen.lock().expect("no panic").get_or_insert(began.elapsed());
    }));
    let report = pool().invoke(long).await;
    assert_eq!(result(&report), "1");
    assert_eq!(messages(&report), ["first"]);
    let heard = heard.lock().expect("no panic").expect("heard");
    assert!(heard + Duration::from_millis(150) < report.duration, "{heard:?} {report:?}");
}

#[tokio::test]
async fn a_missing_program_or_code_is_the_hosts_fault() {
    let options = PoolOptions { program: "/nonexistent".into(), ..options() };
    let pool = Pool::new(options, no_fetch()).expect("a pool");
    let code = stored(&[("index.js", "")]);
    assert_interrupted(&pool.invoke(invocation(&code)).await, "no runner process");
    assert!(pool.probe(mortise::functions::kind::RunnerKind::Quickjs).await.is_err());
    assert_eq!(pool.status().busy, 0);
}

#[tokio::test]
async fn the_whole_sandbox_is_enforced_here() {
    let report =
        pool().probe(mortise::functions::kind::RunnerKind::Quickjs).await.expect("a process");
    assert!(report.is_full(), "{report:?}");
}

/// `SandboxReport` is what the runner says; this is what the kernel says.
#[tokio::test]
async fn the_kernel_agrees_about_the_sandbox() {
    let it = Marked::new();
    it.still_works().await;
    let id = it.processes()[0].as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Threads:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    // Only root may look further: its memory and descriptors are closed to its own user.
    let Ok(open) = std::fs::read_dir(format!("/proc/{id}/fd")) else {
        assert!(!rustix::process::geteuid().is_root());
        return;
    };
    assert_eq!(open.count(), 3);
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("limits");
    for name in ["Max core file size", "Max file size", "Max processes"] {
        let line = limits.lines().find(|it| it.starts_with(name)).expect(name);
        assert_eq!(line[name.len()..].split_whitespace().next(), Some("0"), "{line}");
    }
    let environment = std::fs::read_to_string(format!("/proc/{id}/environ")).expect("readable");
    assert_eq!(environment, "TZ=UTC\0");
}

/// Figures, not a test: `cargo test --release --test functions -- --ignored --nocapture rate`.
#[tokio::test]
#[ignore = "measures, and wants a quiet machine"]
async fn rate() {
    let source = "exports.run = async (events) => ({ got: events[0].payload.n })";
    let code = stored(&[("index.js", source)]);
    let make = |fresh: bool| {
        let mut invocation = invocation(&code);
        invocation.event =
            format!(r#"{{"payload":{{"n":1,"text":"{}"}}}}"#, "x".repeat(1000)).into();
        invocation.fresh = fresh;
        invocation
    };
    for (what, callers, calls, fresh) in
        [("warm", 1, 5_000, false), ("warm", 16, 2_000, false), ("fresh", 16, 100, true)]
    {
        let pool = Arc::new(Pool::new(options(), no_fetch()).expect("a pool"));
        let began = Instant::now();
        join_all((0..callers).map(|_| async {
            for _ in 0..calls {
                result(&pool.invoke(make(fresh)).await);
            }
        }))
        .await;
        let rate = f64::from(callers * calls) / began.elapsed().as_secs_f64();
        println!("{what}, {callers} callers: {rate:.0} calls/s");
    }
    let began = Instant::now();
    for _ in 0..50 {
        result(&pool().invoke(make(false)).await);
    }
    println!("first call, process start included: {:?}", began.elapsed() / 50);
}
