//! `snap-ins.*`: installations and their lifecycle.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::Caller;
use crate::actors::Ask;
use crate::lifecycle::snap_in::Event;
use crate::model::id::{SnapInId, VersionId};
use crate::model::manifest::Level;
use crate::model::scope::Scope;
use crate::model::snap_in::SnapInState;
use crate::random::secret_text;
use crate::store::{Creation, NewSnapIn, SnapInRecord};

/// The longest that a call waits for a state.
pub(super) const LONGEST_WAIT_SECONDS: u32 = 60;

/// One installation of a version.
#[derive(Serialize, JsonSchema)]
pub(super) struct SnapIn {
    id: String,
    scope: String,
    package: String,
    version: String,
    /// DRAFT, ACTIVATING, ACTIVE, ERROR, DEACTIVATING, INACTIVE or DELETED.
    state: &'static str,
    /// What is wrong, in ERROR.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    event_sources: Vec<String>,
    service_account: String,
    created_date: String,
    changed_date: String,
    created_by: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneSnapIn {
    snap_in: SnapIn,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManySnapIns {
    snap_ins: Vec<SnapIn>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// The version to install.
    version: String,
    /// Where it is to live: stack/namespace/snap-in. `default/default/<package slug>` when absent.
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or scope.
    id: String,
    /// Wait up to so many seconds, 60 at most, until it is in no transitory state.
    #[serde(default)]
    wait_seconds: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// Id or scope.
    id: String,
    /// Go on even when the deactivate hook fails.
    #[serde(default)]
    force: bool,
    /// Wait up to so many seconds, 60 at most, until it is in no transitory state.
    #[serde(default)]
    wait_seconds: u32,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct List {
    /// Only those under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

fn snap_in(id: SnapInId, record: SnapInRecord) -> SnapIn {
    SnapIn {
        id: id.to_string(),
        scope: record.scope.to_string(),
        package: record.package.to_string(),
        version: record.version.to_string(),
        state: record.state.name(),
        reason: match record.state {
            SnapInState::Error { reason } => Some(reason),
            _ => None,
        },
        event_sources: record.sources.iter().map(ToString::to_string).collect(),
        service_account: record.service_account.to_string(),
        created_date: time(record.created_ms),
        changed_date: time(record.changed_ms),
        created_by: record.created_by,
    }
}

/// A snap-in by id or scope, if the caller may know of it.
pub(super) fn find(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<(SnapInId, SnapInRecord), ApiError> {
    let found = api.services.store.read(|tables| {
        let id = match text.parse::<SnapInId>() {
            Ok(id) => Some(id),
            Err(_) => tables.snap_in_by_scope(text)?,
        };
        Ok(match id {
            Some(id) => tables.snap_in(id)?.map(|it| (id, it)),
            None => None,
        })
    })?;
    found.filter(|(id, _)| caller.reaches(*id)).ok_or_else(|| ApiError::not_found("snap-in", text))
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    create: Create,
) -> Result<OneSnapIn, ApiError> {
    let version_id: VersionId = parse_id("version", &create.version)?;
    let found = api.services.store.read(|tables| {
        let Some(version) = tables.version(version_id)? else { return Ok(None) };
        let package = tables.package(version.package)?;
        Ok(package.map(|it| (version, it)))
    })?;
    let (version, package) =
        found.ok_or_else(|| ApiError::not_found("version", &create.version))?;
    let scope = match &create.scope {
        Some(text) => parse_id::<Scope>("scope", text)?,
        None => Scope::default_for(&package.slug)
            .map_err(|error| ApiError::field("scope", error.to_string()))?,
    };
    let sources = version
        .manifest
        .event_sources
        .iter()
        // Those of the user level come into being when a user enables the snap-in for himself.
        .filter(|it| it.level == Level::Organization)
        .map(|it| (it.name.clone(), it.kind.clone(), secret_text()))
        .collect();
    let new = NewSnapIn {
        version: version_id,
        package: version.package,
        scope,
        sources,
        automations: version.manifest.automations.len(),
        created_by: caller.principal.name(),
    };
    match api.services.store.write(move |tables| tables.create_snap_in(&new)).await? {
        Creation::Created(id) => {
            let (id, record) = find(&api, &caller, &id.to_string())?;
            Ok(OneSnapIn { snap_in: snap_in(id, record) })
        }
        Creation::ScopeTaken(other) => {
            let message = format!("snap-in {other} lives at this scope: name another one");
            Err(ApiError::new(Code::Conflict, message))
        }
        Creation::NoSuchVersion => Err(ApiError::not_found("version", &create.version)),
    }
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSnapIn, ApiError> {
    let (id, record) = find(&api, &caller, &which.id)?;
    if which.wait_seconds > 0 && record.state.is_transitory() {
        return settled(&api, &caller, id, which.wait_seconds).await;
    }
    Ok(OneSnapIn { snap_in: snap_in(id, record) })
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManySnapIns, ApiError> {
    let page = list.paging.oldest_first()?;
    let prefix = list.scope.as_deref().unwrap_or_default();
    let page = api.services.store.read(|tables| {
        tables.list_snap_ins(page, |record| {
            record.scope.is_under(prefix)
                && match &list.state {
                    Some(state) => record.state.name().eq_ignore_ascii_case(state),
                    // What is deleted is shown only when it is asked for.
                    None => record.state != SnapInState::Deleted,
                }
        })
    })?;
    let rows = page.rows.into_iter().filter(|(id, _)| caller.reaches(*id));
    let snap_ins = rows.map(|(id, it)| snap_in(id, it)).collect();
    Ok(ManySnapIns { snap_ins, next_cursor: cursor(page.next) })
}

pub(super) async fn activate(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSnapIn, ApiError> {
    step(&api, &caller, &which.id, Event::Activate, which.wait_seconds).await
}

pub(super) async fn deactivate(
    api: Arc<Api>,
    caller: Caller,
    end: End,
) -> Result<OneSnapIn, ApiError> {
    let event = Event::Deactivate { force: end.force };
    step(&api, &caller, &end.id, event, end.wait_seconds).await
}

pub(super) async fn delete(api: Arc<Api>, caller: Caller, end: End) -> Result<OneSnapIn, ApiError> {
    let event = Event::Delete { force: end.force };
    step(&api, &caller, &end.id, event, end.wait_seconds).await
}

async fn step(
    api: &Api,
    caller: &Caller,
    text: &str,
    event: Event,
    wait_seconds: u32,
) -> Result<OneSnapIn, ApiError> {
    let (id, _) = find(api, caller, text)?;
    let record = api.ask_snap_in(id, Ask { event, done: None }).await??;
    if wait_seconds > 0 && record.state.is_transitory() {
        return settled(api, caller, id, wait_seconds).await;
    }
    Ok(OneSnapIn { snap_in: snap_in(id, record) })
}

/// Waits until it is in no transitory state, and shows it then.
async fn settled(
    api: &Api,
    caller: &Caller,
    id: SnapInId,
    wait_seconds: u32,
) -> Result<OneSnapIn, ApiError> {
    let patience = Duration::from_secs(wait_seconds.min(LONGEST_WAIT_SECONDS).into());
    let text = id.to_string();
    let look = || {
        let (id, record) = find(api, caller, &text)?;
        let is_settled = !record.state.is_transitory();
        Ok::<_, ApiError>((OneSnapIn { snap_in: snap_in(id, record) }, is_settled))
    };
    api.services.changes.wait_for(patience, look).await
}
