//! `internal/snap-ins.system-update`: a snap-in says what became of it. Servers of testing URLs call
//! it after hooks, as the platform's own harness does.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Api;
use super::error::{ApiError, Code};
use super::lists::parse_id;
use super::rights::{Caller, Principal};
use crate::lifecycle::system_update::{Reported, SystemUpdate};
use crate::model::id::SnapInId;

/// Where the harness calls it, beside `/api/v1/internal/...`.
pub(super) const PATH: &str = "/internal/snap-ins.system-update";
/// Its name in the table.
pub(super) const NAME: &str = "internal/snap-ins.system-update";
/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 2000;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SystemUpdateUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// The snap-in's own id.
    id: String,
    status: Status,
    /// Inputs to be written, by name, as a hook returns them.
    #[serde(default)]
    inputs_values: Option<Map<String, Value>>,
    /// Of a deactivation: whether the snap-in is being deleted.
    #[serde(default)]
    is_deletion: Option<bool>,
    /// Why it failed, for people.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// The activate hook is done.
    Active,
    /// The deactivate hook is done.
    Inactive,
    /// The hook failed; or, without one, the snap-in cannot go on.
    Error,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Updated {
    snap_in: State,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct State {
    id: String,
    /// As it is now; a hook's outcome takes effect after the answer.
    state: &'static str,
}

pub(super) async fn update(
    api: Arc<Api>,
    caller: Caller,
    update: Update,
) -> Result<Updated, ApiError> {
    let snap_in: SnapInId = parse_id("id", &update.id)?;
    let own = match caller.principal {
        Principal::ServiceAccount { snap_in, .. } => Some(snap_in),
        Principal::Host(_) | Principal::Actor { .. } => None,
    };
    if own != Some(snap_in) {
        let message = "a snap-in reports its own state, with the service-account token that its \
                       function was called with; others use snap-ins.activate, snap-ins.deactivate \
                       and snap-ins.delete";
        return Err(ApiError::new(Code::Forbidden, message));
    }
    let report = SystemUpdate {
        status: match update.status {
            Status::Active => Reported::Active,
            Status::Inactive => Reported::Inactive,
            Status::Error => Reported::Error,
        },
        inputs_values: update.inputs_values,
        is_deletion: update.is_deletion,
        reason: update.reason.map(|it| it.chars().take(LONGEST_REASON).collect()),
    };
    let hook = caller.cause.run.zip(caller.hook_call);
    let record = api.operations.system_update(&api.runtimes, snap_in, hook, &report).await?;
    Ok(Updated { snap_in: State { id: snap_in.to_string(), state: record.state.name() } })
}
