//! What tests of the pool's parts share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{CodeError, CodeSource, Invocation, LoadedCode};
use crate::functions::kind::RunnerKind;
use crate::model::http::EgressRules;
use crate::model::id::{SnapInId, VersionId};

struct NoCode;

impl CodeSource for NoCode {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        std::future::ready(Err(CodeError::Never("a test has no code".to_owned()))).boxed()
    }
}

/// An invocation that is never made.
pub(super) fn invocation() -> Invocation {
    Invocation {
        run_id: "run_test".to_owned(),
        snap_in: SnapInId(1),
        runtime: RunnerKind::Node,
        version: VersionId(1),
        code: Arc::new(NoCode),
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
