//! A pool, packages laid out in folders, and ways to look at what came back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::egress::{Egress, EgressOptions};
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::{Failure, FailureKind, LogLine, Outcome, RunReport};
use mortise::functions::pool::{
    CodeError, CodeSource, Connection, Fetch, Invocation, LoadedCode, PackageFolder, Pool,
    PoolOptions,
};
use mortise::model::http::{EgressRules, OutgoingRequest, OutgoingResponse};
use mortise::model::id::{SnapInId, VersionId};
use tempfile::TempDir;

/// A version whose files lie in a folder of their own.
pub(crate) struct Package {
    version: VersionId,
    folder: Arc<PackageFolder>,
    _directory: TempDir,
}

impl CodeSource for Package {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        let folder = Arc::clone(&self.folder);
        async move { Ok(LoadedCode::Folder(folder)) }.boxed()
    }
}

/// Lends an egress to the pool, as the daemon does.
pub(crate) struct Bridge(pub(crate) Egress);

impl Fetch for Bridge {
    fn fetch<'a>(
        &'a self,
        _invocation: &'a Invocation,
        _request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        async move { Err("Node.js makes connections, not requests".to_owned()) }.boxed()
    }

    fn connect<'a>(
        &'a self,
        invocation: &'a Invocation,
        host: String,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, String>> {
        async move {
            let opened = match self.0.is_own_host(&host, port) {
                true => self.0.connect_home(Some(("mortise-cause", "its token"))).await.map(boxed),
                false => self.0.connect(&host, port, &invocation.egress).await.map(boxed),
            };
            opened.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

fn boxed(connection: impl Connection + 'static) -> Box<dyn Connection> {
    Box::new(connection)
}

pub(crate) fn options() -> PoolOptions {
    let there = ["/usr/bin/node", "/usr/local/bin/node"].iter().any(|it| Path::new(it).is_file());
    assert!(
        there,
        "Node.js is not installed: run contrib/ci/debian-packages.sh, which installs it"
    );
    PoolOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_mortise")), ..PoolOptions::default() }
}

pub(crate) fn pool() -> Pool {
    pool_with(options(), EgressOptions::default())
}

pub(crate) fn pool_with(options: PoolOptions, egress: EgressOptions) -> Pool {
    let egress = Egress::new(egress).expect("good options");
    Pool::new(options, Arc::new(Bridge(egress))).expect("a pool")
}

impl Package {
    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }
}

pub(crate) fn package(files: &[(&str, &str)]) -> Arc<Package> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().canonicalize().expect("it is there");
    for (name, text) in files {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
        std::fs::write(file, text).expect("it can be written");
    }
    let folder = Arc::new(PackageFolder { path, about: b"{}".to_vec() });
    let version = VersionId(NEXT.fetch_add(1, Ordering::Relaxed).into());
    Arc::new(Package { version, folder, _directory: directory })
}

/// An invocation of `run` of snap-in 1 with an empty event.
pub(crate) fn invocation(package: &Arc<Package>) -> Invocation {
    Invocation {
        run_id: "run_test".to_owned(),
        snap_in: SnapInId(1),
        version: package.version,
        runtime: RunnerKind::Node,
        code: Arc::clone(package) as Arc<dyn CodeSource>,
        function: "run".to_owned(),
        event: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(60),
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
    pool().invoke(invocation(&package(files))).await
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
pub(crate) fn assert_failure(report: &RunReport, kind: FailureKind, part: &str) {
    let failure = failure(report);
    assert_eq!(failure.kind, kind, "{failure:?} {:?}", report.logs);
    assert!(failure.message.contains(part), "`{part}` is not in {failure:?}");
}

pub(crate) fn messages(logs: &[LogLine]) -> Vec<&str> {
    logs.iter().map(|it| it.message.as_str()).collect()
}
