//! A pool, a way to invoke code given as files, and ways to look at what came back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::functions::code::{Code, prepare};
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::{Failure, FailureKind, LogLine, Outcome, RunReport};
use mortise::functions::pool::{
    CodeError, CodeSource, Fetch, Invocation, LoadedCode, Pool, PoolOptions,
};
use mortise::model::http::{EgressRules, OutgoingRequest, OutgoingResponse};
use mortise::model::id::{SnapInId, VersionId};

pub(crate) struct Stored {
    version: VersionId,
    code: Arc<Vec<u8>>,
}

impl CodeSource for Stored {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        let code = Arc::clone(&self.code);
        async move { Ok(LoadedCode::Prepared(code)) }.boxed()
    }
}

/// No network at all.
struct NoFetch;

impl Fetch for NoFetch {
    fn fetch<'a>(
        &'a self,
        _invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        async move { Err(format!("no network for {}", request.url)) }.boxed()
    }
}

pub(crate) fn options() -> PoolOptions {
    PoolOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_mortise")), ..PoolOptions::default() }
}

pub(crate) fn no_fetch() -> Arc<dyn Fetch> {
    Arc::new(NoFetch)
}

pub(crate) fn pool() -> Pool {
    Pool::new(options(), no_fetch()).expect("a pool")
}

pub(crate) fn code(files: &[(&str, &str)]) -> Code {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    prepare(files.collect()).expect("the code is fine")
}

pub(crate) fn stored(files: &[(&str, &str)]) -> Arc<Stored> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let version = VersionId(NEXT.fetch_add(1, Ordering::Relaxed).into());
    Arc::new(Stored { version, code: Arc::new(code(files).to_bytes()) })
}

/// An invocation of `run` of snap-in 1 with an empty event.
pub(crate) fn invocation(code: &Arc<Stored>) -> Invocation {
    Invocation {
        run_id: "run_test".to_owned(),
        snap_in: SnapInId(1),
        version: code.version,
        runtime: RunnerKind::Quickjs,
        code: Arc::clone(code) as Arc<dyn CodeSource>,
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

/// Runs `index.js` of one file once, in a pool of its own.
pub(crate) async fn run(source: &str) -> RunReport {
    run_files(&[("index.js", source)]).await
}

pub(crate) async fn run_files(files: &[(&str, &str)]) -> RunReport {
    pool().invoke(invocation(&stored(files))).await
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
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_failure(report: &RunReport, kind: FailureKind, part: &str) {
    let failure = failure(report);
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert!(failure.message.contains(part), "`{part}` is not in {failure:?}");
}

pub(crate) fn messages(logs: &[LogLine]) -> Vec<&str> {
    logs.iter().map(|it| it.message.as_str()).collect()
}
