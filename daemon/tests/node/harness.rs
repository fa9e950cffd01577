//! A pool with an egress, and packages laid out in folders.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::egress::{Egress, EgressOptions};
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::RunReport;
use mortise::functions::pool::{CodeSource, Connection, Fetch, Invocation, Pool, PoolOptions};
use mortise::model::http::{OutgoingRequest, OutgoingResponse};

pub(crate) use crate::folder::Package;
pub(crate) use crate::reports::{assert_failure, failure, invocation_of, messages, result, until};

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
    crate::reports::options()
}

pub(crate) fn pool() -> Pool {
    pool_with(options(), EgressOptions::default())
}

pub(crate) fn pool_with(options: PoolOptions, egress: EgressOptions) -> Pool {
    let egress = Egress::new(egress).expect("good options");
    Pool::new(options, Arc::new(Bridge(egress))).expect("a pool")
}

pub(crate) fn package(files: &[(&str, &str)]) -> Arc<Package> {
    let directory = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = directory.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
        std::fs::write(file, text).expect("it can be written");
    }
    Package::of(directory, |_| b"{}".to_vec())
}

/// An invocation of `run` of snap-in 1 with an empty event. A start of Node.js takes its time.
pub(crate) fn invocation(package: &Arc<Package>) -> Invocation {
    let source = Arc::clone(package) as Arc<dyn CodeSource>;
    Invocation {
        timeout: Duration::from_secs(60),
        ..invocation_of(RunnerKind::Node, package.version, source)
    }
}

/// Runs `index.js` of one file once, in a pool of its own.
pub(crate) async fn run(source: &str) -> RunReport {
    run_files(&[("index.js", source)]).await
}

pub(crate) async fn run_files(files: &[(&str, &str)]) -> RunReport {
    pool().invoke(invocation(&package(files))).await
}
