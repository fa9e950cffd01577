//! What tests of every runtime share: an invocation to begin with, and ways to look at what came back.
//! Must know no runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::{Failure, FailureKind, Outcome, RunReport};
use mortise::functions::pool::{CodeSource, Invocation, PoolOptions};
use mortise::model::http::EgressRules;
use mortise::model::id::{SnapInId, VersionId};

pub(crate) fn options() -> PoolOptions {
    PoolOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_mortise")), ..PoolOptions::default() }
}

/// One that no other package of this process has.
pub(crate) fn next_version() -> VersionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    VersionId(NEXT.fetch_add(1, Ordering::Relaxed).into())
}

/// An invocation of `run` of snap-in 1 with an empty event.
pub(crate) fn invocation_of(
    runtime: RunnerKind,
    version: VersionId,
    code: Arc<dyn CodeSource>,
) -> Invocation {
    Invocation {
        run_id: "run_test".to_owned(),
        snap_in: SnapInId(1),
        version,
        runtime,
        code,
        function: "run".to_owned(),
        event: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(20),
        memory_bytes: 64 * 1024 * 1024,
        fresh: false,
        egress: EgressRules::default(),
        secrets: Arc::from([]),
        on_log: None,
    }
}

/// Waits until something is so, which has to happen.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(tokio::time::Instant::now() < patience, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The result as JSON text.
#[track_caller]
pub(crate) fn result(report: &RunReport) -> String {
    match &report.outcome {
        Outcome::Succeeded { result } => result.get().to_owned(),
        other => panic!("expected a result, got {other:?}; logs: {:?}", report.logs),
    }
}

#[track_caller]
pub(crate) fn failure(report: &RunReport) -> &Failure {
    match &report.outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("expected a failure, got {other:?}; logs: {:?}", report.logs),
    }
}

#[track_caller]
pub(crate) fn assert_failure<'a>(
    report: &'a RunReport,
    kind: FailureKind,
    part: &str,
) -> &'a Failure {
    let failure = failure(report);
    assert_eq!(failure.kind, kind, "{failure:?}; logs: {:?}", report.logs);
    assert!(failure.message.contains(part), "`{part}` is not in {failure:?}");
    failure
}

pub(crate) fn messages(report: &RunReport) -> Vec<&str> {
    report.logs.iter().map(|it| it.message.as_str()).collect()
}
