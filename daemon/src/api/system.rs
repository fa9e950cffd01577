//! `system.*`, `/healthz` and `/readyz`: how the daemon is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::rights::Caller;
use crate::plugins::LoadOutcome;

/// What the daemon says about itself.
#[derive(Debug, Default)]
pub struct Status {
    ready: AtomicBool,
    /// The runtimes that processes are there for, once they were looked at.
    pub runtimes: std::sync::Mutex<Vec<RuntimeStatus>>,
}

/// What the host makes of one runtime of functions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RuntimeStatus {
    runtime: &'static str,
    /// Whether its functions are run.
    pub runs: bool,
    /// For `node`: the executable, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// For `node`: which version that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_version: Option<String>,
    /// Why its functions are not run although its sandbox may be whole, and what helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Protections without which its sandbox is not whole.
    pub missing: Vec<String>,
    /// Protections that the kernel lacks although others do the same.
    pub second_layers_missing: Vec<String>,
    /// What its functions cannot do here.
    pub reduced: Vec<String>,
}

impl RuntimeStatus {
    /// One of which nothing is known yet.
    pub fn new(runtime: &'static str) -> RuntimeStatus {
        RuntimeStatus {
            runtime,
            runs: false,
            program: None,
            program_version: None,
            problem: None,
            missing: Vec::new(),
            second_layers_missing: Vec::new(),
            reduced: Vec::new(),
        }
    }
}

impl Status {
    /// Says whether requests should come.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize, JsonSchema)]
pub(super) struct SystemStatus {
    version: &'static str,
    ready: bool,
    /// Sources that take events.
    open_sources: usize,
    /// Protections that the kernel lacks, by runtime; empty when every sandbox is whole.
    sandbox_missing: Vec<String>,
    /// What the host makes of each runtime that has processes.
    runtimes: Vec<RuntimeStatus>,
    /// Whether the disk has room for new events.
    disk_has_room: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Plugins {
    plugins: Vec<Plugin>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Plugin {
    path: String,
    loaded: bool,
    /// What it adds, or why it was refused.
    detail: String,
}

pub(super) async fn status(api: Arc<Api>, _: Caller, _: Nothing) -> Result<SystemStatus, ApiError> {
    let runtimes =
        api.status.runtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let lacks = |it: &RuntimeStatus| -> Vec<String> {
        it.missing.iter().map(|lack| format!("{}: {lack}", it.runtime)).collect()
    };
    Ok(SystemStatus {
        version: env!("CARGO_PKG_VERSION"),
        ready: api.status.ready.load(Ordering::Acquire),
        open_sources: api.services.routes.count(),
        sandbox_missing: runtimes.iter().flat_map(lacks).collect(),
        runtimes,
        disk_has_room: api.services.store.has_room(),
    })
}

pub(super) async fn plugins(api: Arc<Api>, _: Caller, _: Nothing) -> Result<Plugins, ApiError> {
    let plugins = api
        .services
        .plugins
        .load_reports()
        .iter()
        .map(|it| Plugin {
            path: it.path.display().to_string(),
            loaded: matches!(it.outcome, LoadOutcome::Loaded { .. }),
            detail: detail(&it.outcome),
        })
        .collect();
    Ok(Plugins { plugins })
}

/// `/healthz`: the process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// `/readyz`: requests can be served.
pub(super) async fn readyz(api: web::Data<Api>) -> HttpResponse {
    let store = &api.services.store;
    let problem = if !api.status.ready.load(Ordering::Acquire) {
        "the daemon is starting or stopping"
    } else if store.is_broken() {
        "the database is being opened again after a failure"
    } else if !store.has_room() {
        "there is no room left on the disk"
    } else {
        return HttpResponse::Ok().content_type("text/plain").body("ready\n");
    };
    ApiError::new(Code::Unavailable, problem).respond()
}

fn detail(outcome: &LoadOutcome) -> String {
    match outcome {
        LoadOutcome::Loaded { name, version, sources, sinks } => {
            let types: Vec<_> = sources.iter().chain(sinks).map(String::as_str).collect();
            format!("{name} {version}: {}", types.join(", "))
        }
        LoadOutcome::Refused { reason } => reason.clone(),
    }
}
