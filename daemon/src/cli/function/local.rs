//! The daemon's runtime without the daemon: a pool of runner processes, and the guarded way out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::event::{self, NO_DAEMON};
use super::package::Package;
use super::report::{self, Ended};
use crate::cli::Failure;
use crate::cli::connection::variable;
use crate::config::{Config, FunctionSettings};
use crate::egress::{Egress, EgressOptions};
use crate::engine::invocation::with_parts;
use crate::engine::local_package::{LocalFunction, Modules};
use crate::engine::remote_call::{RemoteCall, RemoteServers};
use crate::engine::runtimes::Means;
use crate::functions::outcome::{Failure as Failed, FailureKind, Outcome, RunReport};
use crate::functions::packages::Packages;
use crate::functions::packages::install::Installer;
use crate::functions::pool::{
    Connection, Fetch, Invocation, LogListener, Pool, PoolOptions, SecretTexts,
};
use crate::functions::remote::TestingUrl;
use crate::functions::runner::node_is_at;
use crate::functions::sandbox::SandboxReport;
use crate::model::http::{Destination, EgressRules, OutgoingRequest, OutgoingResponse};
use crate::model::id::{RunId, SnapInId, VersionId};
use crate::model::manifest::Function;
use crate::model::run::{AttemptOutcome, RunTrigger};

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
    pool: Arc<Pool>,
    means: Means,
    remote: Option<RemoteServers>,
    function: String,
    timeout: Duration,
    memory_bytes: u64,
    fresh: bool,
    sandbox: Option<SandboxReport>,
    /// What is laid out for it goes with this.
    _cache: tempfile::TempDir,
}

/// Where Node.js is: where the daemon looks for it, or where the author's own shell finds it.
pub(super) fn node() -> Option<PathBuf> {
    if node_is_at(None) {
        return None;
    }
    let path = variable("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|it| it.join("node"));
    places.into_iter().find(|it| it.is_absolute() && node_is_at(Some(it)))
}

impl Local {
    pub(super) fn start(
        package: &Package,
        function: &Function,
        settled: LocalFunction,
        way: &Way,
    ) -> Result<Local, Failure> {
        let failed = |error: String| Failure::failed(error);
        let settings = Config::parse("").map_err(Failure::failed)?.functions;
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let egress = EgressOptions { internal: way.allow.clone(), ..EgressOptions::default() };
        let egress = Egress::new(egress).map_err(|error| failed(error.to_string()))?;
        let egress = (!way.offline).then(|| Arc::new(egress));
        let remote = egress.clone().map(RemoteServers::new);
        let node = node();
        // It is the author's own code: what this kernel lacks is said, and is no reason to refuse.
        let options = PoolOptions {
            most_processes: 2,
            require_sandbox: false,
            node: node.clone(),
            ..PoolOptions::default()
        };
        let cannot =
            |error: String| failed(format!("cannot start a process for the function: {error}"));
        let pool = {
            let _entered = tokio.enter();
            let pool = Pool::new(options, Arc::new(Guarded { egress }));
            Arc::new(pool.map_err(|error| cannot(error.to_string()))?)
        };
        let cache = tempfile::Builder::new().prefix("mortise-function-").tempdir();
        let cache =
            cache.map_err(|error| failed(format!("no directory for its files: {error}")))?;
        let means = tokio
            .block_on(lay_out(package, settled, &pool, cache.path(), &settings, node))
            .map_err(Failure::refused)?;
        let sandbox = match &means {
            Means::Runner { runtime, .. } => {
                Some(tokio.block_on(pool.probe(*runtime)).map_err(cannot)?)
            }
            Means::Remote(_) => None,
        };
        let seconds = function.timeout_seconds.unwrap_or(settings.timeout_seconds).max(1);
        let memory = way.memory_mb.or(function.memory_mb).unwrap_or(settings.memory_mb).max(1);
        Ok(Local {
            tokio,
            pool,
            means,
            remote,
            function: function.name.clone(),
            timeout: way.timeout.unwrap_or_else(|| Duration::from_secs(seconds.into())),
            memory_bytes: u64::from(memory) << 20,
            fresh: function.fresh_context,
            sandbox,
            _cache: cache,
        })
    }

    /// What the sandbox here does not do that a daemon may insist on.
    pub(super) fn missing_protections(&self) -> Option<String> {
        let sandbox = self.sandbox.as_ref()?;
        (!sandbox.is_full()).then(|| sandbox.missing.join("; "))
    }

    /// Runs it on an event, showing its console while it runs if asked to.
    pub(super) fn run(&self, event: &Value, shows_log: bool) -> Ended {
        let secrets: SecretTexts = with_parts(event::secrets(event)).into();
        let body = Bytes::from(event.to_string());
        let (runtime, code) = match &self.means {
            Means::Runner { runtime, code } => (*runtime, code.clone()),
            Means::Remote(url) => {
                let payload = Bytes::from(event["payload"].to_string());
                let report = self.tokio.block_on(self.post(url, &payload, body, secrets));
                if shows_log {
                    report::log_lines(&report.logs);
                }
                return Ended::of(report);
            }
        };
        let on_log: Option<LogListener> =
            if shows_log { Some(Arc::new(report::log_lines)) } else { None };
        let report = self.tokio.block_on(self.pool.invoke(Invocation {
            run_id: text(&event["execution_metadata"]["request_id"]),
            snap_in: SnapInId(1),
            version: VersionId(1),
            runtime,
            code,
            function: self.function.clone(),
            event: body,
            timeout: self.timeout,
            memory_bytes: self.memory_bytes,
            fresh: self.fresh,
            egress: EgressRules::default(),
            secrets,
            on_log,
        }));
        Ended::of(report)
    }

    /// Has the author's server run it, which is waited for.
    async fn post(
        &self,
        url: &TestingUrl,
        payload: &Bytes,
        event: Bytes,
        secrets: SecretTexts,
    ) -> RunReport {
        let refused = |message: &str| RunReport {
            outcome: Outcome::Failed(Failed::new(FailureKind::Refused, message)),
            logs: Vec::new(),
            requests: Vec::new(),
            duration: Duration::ZERO,
        };
        let Some(remote) = &self.remote else { return refused(OFFLINE) };
        let (url, timeout) = (url.clone(), self.timeout);
        let (run, call, trigger) = (RunId(1), 0, &RunTrigger::Call);
        let call = RemoteCall { url, run, call, trigger, payload, event, timeout, secrets };
        match remote.call(call).await {
            Ok(report) => report,
            Err(AttemptOutcome::Postponed { reason } | AttemptOutcome::Interrupted { reason }) => {
                refused(&reason)
            }
            Err(AttemptOutcome::Failed(error)) => refused(&error.message),
            Err(AttemptOutcome::Succeeded | AttemptOutcome::Cancelled { .. }) => {
                refused("the server was not called")
            }
        }
    }
}

const OFFLINE: &str = "every request is refused (--offline)";

/// Puts what a function runs by where its process finds it.
async fn lay_out(
    package: &Package,
    settled: LocalFunction,
    pool: &Arc<Pool>,
    cache: &Path,
    settings: &FunctionSettings,
    node: Option<PathBuf>,
) -> Result<Means, String> {
    let packages = Packages::open(cache, settings.cache_mb.saturating_mul(1 << 20));
    if let Some(problem) = packages.problem() {
        return Err(problem.to_owned());
    }
    let Some(folder) = settled.to_install().map(str::to_owned) else {
        return settled.means(&packages, None).await;
    };
    let at = package.directory.as_ref().map(|it| it.join(&folder));
    if let Some(own) = at.as_ref().map(|it| it.join("node_modules")).filter(|it| it.is_dir()) {
        return settled.means(&packages, Some(Modules::Own(own))).await;
    }
    eprintln!("there is no node_modules: its packages are put together by npm");
    // As npm itself is told.
    let registry = variable("npm_config_registry");
    let registry = registry.as_ref().unwrap_or(&settings.npm_registry);
    let installer = Installer::open(packages.clone(), pool.clone(), registry, node)?;
    let means = settled.means(&packages, Some(Modules::Install(&installer))).await;
    means.map_err(|error| match at {
        Some(at) => format!("{error}\n`npm install` in {} gives it its packages", at.display()),
        None => format!("{error}\nput node_modules into the archive, or run the directory instead"),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The guarded way out.
struct Guarded {
    /// Nothing when every request is refused.
    egress: Option<Arc<Egress>>,
}

impl Guarded {
    fn egress(&self, leads_to_daemon: bool) -> Result<&Egress, String> {
        if leads_to_daemon {
            return Err(format!(
                "there is no daemon behind this event ({NO_DAEMON} stands in for one): let the \
                 fixture name one in execution_metadata.devrev_endpoint, and allow its host"
            ));
        }
        self.egress.as_deref().ok_or_else(|| OFFLINE.to_owned())
    }
}

impl Fetch for Guarded {
    fn fetch<'a>(
        &'a self,
        invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        async move {
            let egress = self.egress(request.url.contains(&format!("://{NO_DAEMON}/")))?;
            egress.send(request, &invocation.egress).await.map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        invocation: &'a Invocation,
        host: String,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, String>> {
        async move {
            let egress = self.egress(host == NO_DAEMON)?;
            let opened = egress.connect(&host, port, &invocation.egress).await;
            let stream = opened.map_err(|error| error.to_string())?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        }
        .boxed()
    }
}
