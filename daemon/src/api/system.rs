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
    /// Protections that the kernel lacks; empty when the sandbox is whole.
    pub sandbox_missing: std::sync::Mutex<Vec<String>>,
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
    /// Protections of the sandbox that the kernel lacks.
    sandbox_missing: Vec<String>,
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
    let missing = &api.status.sandbox_missing;
    Ok(SystemStatus {
        version: env!("CARGO_PKG_VERSION"),
        ready: api.status.ready.load(Ordering::Acquire),
        open_sources: api.services.routes.count(),
        sandbox_missing: missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
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
