//! What the pool is given for one run, and what it needs of the rest of the daemon for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::redact::SecretTexts;
use crate::functions::kind::RunnerKind;
use crate::functions::outcome::LogLine;
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse};
use crate::model::id::{SnapInId, VersionId};

/// One run to be made.
pub struct Invocation {
    /// The run's id, for logs and for what its requests are accounted to.
    pub run_id: String,
    /// Whose run it is; no other installation ever shares its process.
    pub snap_in: SnapInId,
    /// What runs it.
    pub runtime: RunnerKind,
    /// Which code.
    pub version: VersionId,
    /// Where that code is, if a process lacks it.
    pub code: Arc<dyn CodeSource>,
    /// The name of the function.
    pub function: String,
    /// The event, a JSON object; the function is called with an array of it.
    pub event: Bytes,
    /// The most that the run may take.
    pub timeout: Duration,
    /// The most memory that JavaScript may use in the run.
    pub memory_bytes: u64,
    /// Use a context that no other run has used or will use.
    pub fresh: bool,
    /// Where the run's requests may go.
    pub egress: EgressRules,
    /// Texts to be masked in logs, errors and results. The first is the token of the run.
    pub secrets: SecretTexts,
    /// Hears log lines while the run is on; they are in the report as well.
    pub on_log: Option<LogListener>,
}

/// Hears log lines as they come; must not block.
pub type LogListener = Arc<dyn Fn(&[LogLine]) + Send + Sync>;

/// Gives out the code of a version in the form that a kind of runner takes.
pub trait CodeSource: Send + Sync {
    /// Reads the code, or lays it out.
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>>;
}

/// The code of a version, as a runner takes it.
#[derive(Clone, Debug)]
pub enum LoadedCode {
    /// For `quickjs`: prepared code ([`Code::to_bytes`](crate::functions::code::Code::to_bytes)).
    Prepared(Arc<Vec<u8>>),
    /// For `node` and `process`: the folder of its files, which nobody changes or removes while this
    /// is held.
    Folder(Arc<PackageFolder>),
}

/// The files of a version on the disk.
#[derive(Debug)]
pub struct PackageFolder {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    /// What a runner has to know of the package, JSON; the format is between whoever lays the folder
    /// out and the runner.
    pub about: Vec<u8>,
}

/// Why there is no code.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CodeError {
    /// It may be there later; the run is tried again.
    #[error("{0}")]
    NotNow(String),
    /// It cannot be had; the run has failed.
    #[error("{0}")]
    Never(String),
}

/// Makes the requests of functions: the daemon's egress, seen from here.
pub trait Fetch: Send + Sync {
    /// Makes one request of a run under its rules. The error is for the function to read: no
    /// secrets, no addresses that the rules hide.
    fn fetch<'a>(
        &'a self,
        invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>>;

    /// Opens a TCP connection of a run under its rules. The error is for the function to read, as
    /// with `fetch`. Without this a run has no connections.
    fn connect<'a>(
        &'a self,
        _invocation: &'a Invocation,
        host: String,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, String>> {
        let error = format!("{host} port {port}: there are no connections to other hosts here");
        std::future::ready(Err(error)).boxed()
    }
}

/// A TCP connection, or what stands for one.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}
