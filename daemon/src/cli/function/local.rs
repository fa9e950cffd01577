//! The daemon's runtime without the daemon: a pool of runner processes, and the guarded way out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::event::{self, NO_DAEMON};
use super::package::{Package, runner_of};
use super::report::{self, Ended};
use crate::cli::Failure;
use crate::config::Config;
use crate::egress::{Egress, EgressOptions};
use crate::engine::invocation::with_parts;
use crate::functions::kind::RunnerKind;
use crate::functions::pool::{
    CodeError, CodeSource, Fetch, Invocation, LoadedCode, LogListener, Pool, PoolOptions,
};
use crate::functions::sandbox::SandboxReport;
use crate::model::http::{Destination, EgressRules, OutgoingRequest, OutgoingResponse};
use crate::model::id::{SnapInId, VersionId};
use crate::model::manifest::Function;

/// How functions are run, beyond what their manifest says.
pub(super) struct Way {
    pub(super) timeout: Option<Duration>,
    pub(super) memory_mb: Option<u32>,
    pub(super) allow: Vec<Destination>,
    pub(super) offline: bool,
}

/// One function, ready to be run.
pub(super) struct Local {
    tokio: tokio::runtime::Runtime,
    pool: Pool,
    code: Arc<Prepared>,
    kind: RunnerKind,
    function: String,
    timeout: Duration,
    memory_bytes: u64,
    fresh: bool,
    sandbox: SandboxReport,
}

struct Prepared(Arc<Vec<u8>>);

impl CodeSource for Prepared {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        let code = self.0.clone();
        async move { Ok(LoadedCode::Prepared(code)) }.boxed()
    }
}

impl Local {
    pub(super) fn start(
        package: &Package,
        function: &Function,
        way: &Way,
    ) -> Result<Local, Failure> {
        let kind = runner_of(function)?;
        let settings = Config::parse("").map_err(Failure::failed)?.functions;
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        let egress = EgressOptions { internal: way.allow.clone(), ..EgressOptions::default() };
        let egress = Egress::new(egress).map_err(|error| Failure::failed(error.to_string()))?;
        let fetch = Guarded { egress: (!way.offline).then_some(egress) };
        // It is the author's own code: what this kernel lacks is said, and is no reason to refuse.
        let options =
            PoolOptions { most_processes: 2, require_sandbox: false, ..PoolOptions::default() };
        let cannot = |error: String| {
            Failure::failed(format!("cannot start a process for the function: {error}"))
        };
        let pool = {
            let _entered = tokio.enter();
            Pool::new(options, Arc::new(fetch)).map_err(|error| cannot(error.to_string()))?
        };
        let sandbox = tokio.block_on(pool.probe(kind)).map_err(cannot)?;
        let seconds = function.timeout_seconds.unwrap_or(settings.timeout_seconds).max(1);
        let memory = way.memory_mb.or(function.memory_mb).unwrap_or(settings.memory_mb).max(1);
        Ok(Local {
            tokio,
            pool,
            code: Arc::new(Prepared(Arc::new(package.code.to_bytes()))),
            kind,
            function: function.name.clone(),
            timeout: way.timeout.unwrap_or_else(|| Duration::from_secs(seconds.into())),
            memory_bytes: u64::from(memory) << 20,
            fresh: function.fresh_context,
            sandbox,
        })
    }

    /// What the sandbox here does not do that a daemon may insist on.
    pub(super) fn missing_protections(&self) -> Option<String> {
        (!self.sandbox.is_full()).then(|| self.sandbox.missing.join("; "))
    }

    /// Runs it on an event, showing its console while it runs if asked to.
    pub(super) fn run(&self, event: &Value, shows_log: bool) -> Ended {
        let on_log: Option<LogListener> =
            if shows_log { Some(Arc::new(report::log_lines)) } else { None };
        let report = self.tokio.block_on(self.pool.invoke(Invocation {
            run_id: text(&event["execution_metadata"]["request_id"]),
            snap_in: SnapInId(1),
            version: VersionId(1),
            runtime: self.kind,
            code: self.code.clone(),
            function: self.function.clone(),
            event: Bytes::from(event.to_string()),
            timeout: self.timeout,
            memory_bytes: self.memory_bytes,
            fresh: self.fresh,
            egress: EgressRules::default(),
            secrets: with_parts(event::secrets(event)).into(),
            on_log,
        }));
        Ended::of(report)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The guarded way out.
struct Guarded {
    /// Nothing when every request is refused.
    egress: Option<Egress>,
}

impl Fetch for Guarded {
    fn fetch<'a>(
        &'a self,
        invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        async move {
            if request.url.contains(&format!("://{NO_DAEMON}/")) {
                return Err(format!(
                    "there is no daemon behind this event ({NO_DAEMON} stands in for one): let the \
                     fixture name one in execution_metadata.devrev_endpoint, and allow its host"
                ));
            }
            let Some(egress) = &self.egress else {
                return Err("every request is refused (--offline)".to_owned());
            };
            egress.send(request, &invocation.egress).await.map_err(|error| error.to_string())
        }
        .boxed()
    }
}
