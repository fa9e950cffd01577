//! A pool, and a way to invoke code given as files.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::functions::code::{Code, prepare};
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::RunReport;
use mortise::functions::pool::{CodeError, CodeSource, Fetch, Invocation, LoadedCode, Pool};
use mortise::model::http::{OutgoingRequest, OutgoingResponse};
use mortise::model::id::VersionId;

pub(crate) use crate::reports::*;

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
    Arc::new(Stored { version: next_version(), code: Arc::new(code(files).to_bytes()) })
}

/// An invocation of `run` of snap-in 1 with an empty event.
pub(crate) fn invocation(code: &Arc<Stored>) -> Invocation {
    let source = Arc::clone(code) as Arc<dyn CodeSource>;
    invocation_of(RunnerKind::Quickjs, code.version, source)
}

/// Runs `index.js` of one file once, in a pool of its own.
pub(crate) async fn run(source: &str) -> RunReport {
    run_files(&[("index.js", source)]).await
}

pub(crate) async fn run_files(files: &[(&str, &str)]) -> RunReport {
    pool().invoke(invocation(&stored(files))).await
}
