//! `snap-ins.update`, `.plan-upgrade`, `.upgrade` and `.rollback`: changes of what an installation is
//! configured with, and of which version it is.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Api;
use super::error::ApiError;
use super::lists::parse_id;
use super::rights::Caller;
use super::snap_ins::{OneSnapIn, find, shown};
use crate::model::id::VersionId;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UpgradesUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Id or scope.
    id: String,
    /// Values by name of input. What is not named stays as it is; null puts an input back to its
    /// default.
    inputs_values: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanUpgrade {
    /// Id or scope.
    id: String,
    /// A version of the same package.
    version: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upgrade {
    /// Id or scope.
    id: String,
    /// A version of the same package.
    version: String,
    /// Values for inputs that the version needs, as in snap-ins.update.
    #[serde(default)]
    inputs_values: Map<String, Value>,
    /// Wait up to so many seconds, 60 at most, until it is in no transitory state.
    #[serde(default)]
    wait_seconds: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    /// Id or scope.
    id: String,
    /// A version that is still kept; the one before the present one when absent.
    #[serde(default)]
    version: Option<String>,
    /// Wait up to so many seconds, 60 at most, until it is in no transitory state.
    #[serde(default)]
    wait_seconds: u32,
}

/// What an upgrade would change.
#[derive(Serialize, JsonSchema)]
pub(super) struct Planned {
    /// Added, removed and changed things by section, and what is missing then.
    plan: Value,
    /// The same for people, a line each: `+` added, `-` removed, `~` changed.
    lines: Vec<String>,
}

pub(super) async fn update(
    api: Arc<Api>,
    caller: Caller,
    update: Update,
) -> Result<OneSnapIn, ApiError> {
    let (id, _) = find(&api, &caller, &update.id)?;
    let record = api.operations.update(&caller.asker(), id, &update.inputs_values).await?;
    shown(&api, id, &record)
}

pub(super) async fn plan(
    api: Arc<Api>,
    caller: Caller,
    asked: PlanUpgrade,
) -> Result<Planned, ApiError> {
    let (id, _) = find(&api, &caller, &asked.id)?;
    let version: VersionId = parse_id("version", &asked.version)?;
    let plan = api.operations.plan_upgrade(id, version)?;
    Ok(Planned { lines: plan.lines(), plan: serde_json::to_value(&plan).unwrap_or_default() })
}

pub(super) async fn upgrade(
    api: Arc<Api>,
    caller: Caller,
    asked: Upgrade,
) -> Result<OneSnapIn, ApiError> {
    let version: VersionId = parse_id("version", &asked.version)?;
    move_to(&api, &caller, &asked.id, version, &asked.inputs_values, asked.wait_seconds).await
}

pub(super) async fn rollback(
    api: Arc<Api>,
    caller: Caller,
    asked: Rollback,
) -> Result<OneSnapIn, ApiError> {
    let (id, _) = find(&api, &caller, &asked.id)?;
    let version: VersionId = match &asked.version {
        Some(text) => parse_id("version", text)?,
        None => api.operations.past_version(id)?,
    };
    move_to(&api, &caller, &asked.id, version, &Map::new(), asked.wait_seconds).await
}

async fn move_to(
    api: &Api,
    caller: &Caller,
    text: &str,
    version: VersionId,
    changes: &Map<String, Value>,
    wait_seconds: u32,
) -> Result<OneSnapIn, ApiError> {
    let (id, _) = find(api, caller, text)?;
    let record = api.operations.upgrade(&caller.asker(), id, version, changes).await?;
    super::snap_ins::settled_if_asked(api, caller, id, record, wait_seconds).await
}
