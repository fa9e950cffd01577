//! `snap-ins.*`: installations and their lifecycle.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id};
use super::rights::{Caller, Reach};
use super::snap_in_view::{Detail, SnapIn};
use super::{Api, extent};
use crate::actors::Ask;
use crate::configuration::inputs;
use crate::lifecycle::snap_in::Event;
use crate::model::id::{SnapInId, VersionId};
use crate::model::manifest::Level;
use crate::model::scope::Scope;
use crate::model::snap_in::SnapInState;
use crate::operations::OperationError;
use crate::random::secret_text;
use crate::store::{Creation, NewSnapIn, SnapInRecord};

/// The longest that a call waits for a state.
pub(super) const LONGEST_WAIT_SECONDS: u32 = 60;

#[derive(Serialize, JsonSchema)]
pub(super) struct OneSnapIn {
    snap_in: Detail,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManySnapIns {
    snap_ins: Vec<SnapIn>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SnapInsCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// The version to install.
    version: String,
    /// Where it is to live: stack/namespace/snap-in. `default/default/<package slug>` when absent.
    #[serde(default)]
    scope: Option<String>,
    /// Values of organization inputs by name; the others have their defaults.
    #[serde(default)]
    inputs_values: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SnapInsWhich")]
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
#[schemars(rename = "SnapInsList")]
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

/// The answer about one snap-in.
pub(super) fn shown(api: &Api, id: SnapInId, record: &SnapInRecord) -> Result<OneSnapIn, ApiError> {
    Ok(OneSnapIn { snap_in: Detail::of(api, id, record)? })
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
    let reached = found.filter(|(id, record)| match &caller.reach {
        Reach::All => true,
        Reach::Under(prefix) => prefix.holds(&record.scope),
        Reach::SnapIn(own) => own == id,
        Reach::Integrations(_) => false,
    });
    reached.ok_or_else(|| ApiError::not_found("snap-in", text))
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
    let manifest = &version.manifest;
    let inputs = inputs::change(manifest, Level::Organization, &Map::new(), &create.inputs_values)
        .map_err(OperationError::Inputs)?;
    if let Reach::Under(prefix) = &caller.reach
        && !prefix.holds(&scope)
    {
        let message = format!("your token is for scopes under `{prefix}`, and `{scope}` is not");
        return Err(ApiError::new(Code::Forbidden, message));
    }
    let sources = manifest
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
        automations: manifest.automations.len(),
        tags: manifest.tags.clone(),
        inputs,
        created_by: caller.principal.name(),
    };
    match api.services.store.write(move |tables| tables.create_snap_in(&new)).await? {
        Creation::Created(id) => {
            let (id, record) = find(&api, &caller, &id.to_string())?;
            shown(&api, id, &record)
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
    shown(&api, id, &record)
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManySnapIns, ApiError> {
    let page = list.paging.oldest_first()?;
    let extent = extent::of_list(&api, &caller, None, list.scope.as_deref())?;
    let page = api.services.store.read(|tables| {
        tables.list_snap_ins_of(&extent, page, |record| {
            match &list.state {
                Some(state) => record.state.name().eq_ignore_ascii_case(state),
                // What is deleted is shown only when it is asked for.
                None => record.state != SnapInState::Deleted,
            }
        })
    })?;
    let rows = page.rows.into_iter();
    let snap_ins = rows.map(|(id, it)| SnapIn::of(id, &it)).collect();
    Ok(ManySnapIns { snap_ins, next_cursor: cursor(page.next) })
}

pub(super) async fn activate(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSnapIn, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    let record = api.operations.activate(&caller.asker(), id).await?;
    settled_if_asked(&api, &caller, id, record, which.wait_seconds).await
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
    let (id, record) = find(&api, &caller, &end.id)?;
    if record.state == SnapInState::Draft {
        // It goes at once; of the others that have come further, their deactivation sees to this.
        api.keyrings.give_up_all(id).await;
    }
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
    let record = api.operations.ask(id, Ask::of(event)).await??;
    settled_if_asked(api, caller, id, record, wait_seconds).await
}

/// Shows it at once, or when it is in no transitory state, as the caller asked.
pub(super) async fn settled_if_asked(
    api: &Api,
    caller: &Caller,
    id: SnapInId,
    record: SnapInRecord,
    wait_seconds: u32,
) -> Result<OneSnapIn, ApiError> {
    if wait_seconds > 0 && record.state.is_transitory() {
        return settled(api, caller, id, wait_seconds).await;
    }
    shown(api, id, &record)
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
        Ok::<_, ApiError>((shown(api, id, &record)?, is_settled))
    };
    api.services.changes.wait_for(patience, look).await
}
