//! A run of npm, as the pool makes it: like a run of a function, with other arguments.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{CodeError, CodeSource, Invocation, LoadedCode};
use crate::functions::kind::RunnerKind;
use crate::model::http::EgressRules;
use crate::model::id::{SnapInId, VersionId};

/// What npm is to do.
#[derive(Clone, Debug)]
pub struct PutTogether {
    /// The only folder that it can write to; absolute, without symbolic links.
    pub folder: PathBuf,
    /// npm's script.
    pub npm: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its connections may go.
    pub egress: EgressRules,
    /// The most that it may take.
    pub timeout: Duration,
    /// The most memory that it may use.
    pub memory_bytes: u64,
}

struct NoCode;

impl CodeSource for NoCode {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        std::future::ready(Err(CodeError::Never("npm has no code of a version".to_owned()))).boxed()
    }
}

impl PutTogether {
    pub(super) fn into_invocation(self) -> Invocation {
        let event = serde_json::json!({ "arguments": self.arguments, "environment": {} });
        Invocation {
            run_id: "npm".to_owned(),
            // Nobody's: its process is never handed on.
            snap_in: SnapInId(0),
            runtime: RunnerKind::Node,
            version: VersionId(0),
            code: Arc::new(NoCode),
            function: "npm".to_owned(),
            event: event.to_string().into(),
            timeout: self.timeout,
            memory_bytes: self.memory_bytes,
            fresh: true,
            egress: self.egress,
            secrets: Arc::from([]),
            on_log: None,
        }
    }
}
