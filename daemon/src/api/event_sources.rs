//! `event-sources.*`: sources of events, their trigger URLs, instructions and logs. Must never show a
//! secret of a config to whoever may not set its snap-in up.

use std::sync::Arc;
use std::time::Duration;

use mortise_plugin::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Right};
use super::source_view::{Counts, counts_of};
use super::{Api, extent};
use crate::actors::ChangeSource;
use crate::engine::contexts::VersionContext;
use crate::engine::source_log::OpenState;
use crate::lifecycle::source::Change;
use crate::manifest::{mask_secrets, render_instructions};
use crate::model::id::{SnapInId, SourceId};
use crate::model::snap_in::SourceStatus;
use crate::store::SourceRecord;

/// How long resuming waits for a source to open.
const OPENING: Duration = Duration::from_secs(2);

/// A source of events.
#[derive(Serialize, JsonSchema)]
pub(super) struct Source {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    snap_in: String,
    /// Whose it is, when its level is the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    status: SourceStatus,
    /// Why it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Who blocked it, when it was not the daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_by: Option<String>,
    /// Whether requests to the trigger URL are taken now.
    open: bool,
    trigger_url: String,
    /// Until when requests to the trigger URL before this one are taken too.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_trigger_url_until: Option<String>,
    /// What became of its inputs.
    counts: Counts,
    /// When it is woken next, while it is open and of a type that is, such as a timer. Only when one
    /// source is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_tick_date: Option<String>,
    /// How many events are to be published later, when its type takes such. Only when one source is
    /// shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_events: Option<u64>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// As the manifest has it, with what is secret by its name masked. Only when one source is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<serde_json::Value>,
    /// What the author says about setting it up. Only when one source is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_instructions: Option<Instructions>,
}

/// How the other side is to be set up.
#[derive(Serialize, JsonSchema)]
pub(super) struct Instructions {
    /// Markdown. Secrets are masked unless the caller may set up snap-ins: whoever may has to be
    /// able to follow it.
    content: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneSource {
    event_source: Source,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManySources {
    event_sources: Vec<Source>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    pub(super) id: String,
}

impl Which {
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesList")]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    /// The source.
    id: String,
    /// As automations name it, such as `custom:my-event`.
    event_type: String,
    /// Any JSON.
    #[schemars(with = "serde_json::Value")]
    payload: Box<RawValue>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Published {
    /// The ids of the stored events.
    events: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Line {
    date: String,
    level: String,
    message: String,
    /// How often in a row.
    times: u64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Lines {
    /// Oldest first.
    lines: Vec<Line>,
}

fn source(api: &Api, id: SourceId, record: SourceRecord) -> Result<Source, ApiError> {
    let version = version_of(api, &record)?;
    let declared = version.as_ref().and_then(|it| it.manifest.event_source(&record.name));
    let now_ms = api.services.clock.now_ms();
    Ok(Source {
        previous_trigger_url_until: record.previous_token_at(now_ms).map(|it| time(it.until_ms)),
        display_name: declared.and_then(|it| it.display_name.clone()),
        description: declared.and_then(|it| it.description.clone()),
        id: id.to_string(),
        open: record.status == SourceStatus::Active && api.services.routes.by_id(id).is_some(),
        trigger_url: format!("{}/hooks/{}", api.public_url, record.token),
        name: record.name,
        kind: record.kind,
        snap_in: record.snap_in.to_string(),
        user: record.user.map(|it| it.to_string()),
        status: record.status,
        reason: record.reason,
        blocked_by: record.block.map(|it| it.by),
        counts: counts_of(&api.services.source_counts.of(id).record()),
        next_tick_date: None,
        scheduled_events: None,
        config: None,
        setup_instructions: None,
    })
}

/// The version that its snap-in is of; nothing when that is gone.
fn version_of(api: &Api, record: &SourceRecord) -> Result<Option<Arc<VersionContext>>, ApiError> {
    let contexts = &api.services.contexts;
    match contexts.snap_in(record.snap_in)? {
        Some(snap_in) => Ok(contexts.version(snap_in.record.version)?),
        None => Ok(None),
    }
}

pub(super) fn find(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<(SourceId, SourceRecord), ApiError> {
    let id: SourceId = parse_id("id", text)?;
    let record = api.services.store.read(|tables| tables.source(id))?;
    let reached = match &record {
        Some(record) => extent::reaches(api, caller, record.snap_in)?,
        None => false,
    };
    let record = record.filter(|_| reached);
    Ok((id, record.ok_or_else(|| ApiError::not_found("event source", text))?))
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSource, ApiError> {
    let (id, record) = find(&api, &caller, &which.id)?;
    let version = version_of(&api, &record)?;
    let snap_in = record.snap_in;
    let mut event_source = seen_by(&api, &caller, source(&api, id, record)?);
    if event_source.open {
        let timer = api.services.store.read(|tables| tables.timer(id))?;
        event_source.next_tick_date = timer.and_then(|it| it.due_ms).map(time);
    }
    let known = api.services.plugins.find(Role::Source, &event_source.kind);
    if known.is_some_and(|it| it.descriptor.takes_scheduled) {
        let pending = api.services.store.read(|tables| tables.count_scheduled(id))?;
        event_source.scheduled_events = Some(pending);
    }
    let declared = version.as_ref().and_then(|it| it.manifest.event_source(&event_source.name));
    if let Some(declared) = declared {
        let masked = mask_secrets(&declared.config);
        let shown =
            if may_see_secrets(&api, &caller, snap_in)? { &declared.config } else { &masked };
        let render = |template: &String| Instructions {
            content: render_instructions(
                template,
                &declared.name,
                &event_source.trigger_url,
                shown,
            ),
        };
        event_source.setup_instructions = declared.setup_instructions.as_ref().map(render);
        event_source.config = Some(masked);
    }
    Ok(OneSource { event_source })
}

/// A trigger URL lets one publish events, which is more than seeing that there is a source.
fn seen_by(api: &Api, caller: &Caller, source: Source) -> Source {
    if caller.principal.reach(Right::PublishEvents).is_some() {
        return source;
    }
    Source { trigger_url: format!("{}/hooks/********", api.public_url), ..source }
}

/// The right to set a snap-in up is the right to see what is needed for it.
fn may_see_secrets(api: &Api, caller: &Caller, snap_in: SnapInId) -> Result<bool, ApiError> {
    let Some(reach) = caller.principal.reach(Right::WriteSnapIns) else { return Ok(false) };
    extent::reaches(api, &Caller { reach, ..caller.clone() }, snap_in)
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManySources, ApiError> {
    let extent = extent::of_list(&api, &caller, list.snap_in.as_deref(), list.scope.as_deref())?;
    let page = list.paging.oldest_first()?;
    let page = api.services.store.read(|tables| tables.list_sources(&extent, page))?;
    let mut event_sources = Vec::with_capacity(page.rows.len());
    for (id, record) in page.rows {
        // Those that the present version does not have, or whose user has disabled them, are kept
        // for when they come back; they are no sources now.
        let owner = api.services.contexts.snap_in(record.snap_in)?;
        if owner.is_none_or(|it| it.record.sources.contains(&id)) {
            event_sources.push(seen_by(&api, &caller, source(&api, id, record)?));
        }
    }
    Ok(ManySources { event_sources, next_cursor: cursor(page.next) })
}

pub(super) async fn logs(api: Arc<Api>, caller: Caller, which: Which) -> Result<Lines, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    let lines = api.services.source_logs.of(id).lines();
    let lines = lines
        .into_iter()
        .map(|it| Line {
            date: time(it.at_ms),
            level: format!("{:?}", it.level).to_lowercase(),
            message: it.message,
            times: it.times,
        })
        .collect();
    Ok(Lines { lines })
}

pub(super) async fn pause(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSource, ApiError> {
    change(&api, &caller, &which.id, Change::Pause).await
}

pub(super) async fn resume(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSource, ApiError> {
    change(&api, &caller, &which.id, Change::Resume).await
}

/// What may not be done to a source is refused as a conflict, by whoever decides.
pub(super) async fn change(
    api: &Api,
    caller: &Caller,
    text: &str,
    change: Change,
) -> Result<OneSource, ApiError> {
    let (id, record) = find(api, caller, text)?;
    let record = api.operations.ask(record.snap_in, ChangeSource { source: id, change }).await??;
    shown_when_open(api, id, record).await
}

/// A source that was changed just now.
pub(super) async fn shown_when_open(
    api: &Api,
    id: SourceId,
    record: SourceRecord,
) -> Result<OneSource, ApiError> {
    let mut state = api.services.source_logs.open_state(id);
    // So that the answer says where it stands; a source that takes longer is shown as not open.
    let opened = state.wait_for(|it| *it != OpenState::Opening);
    let _ = tokio::time::timeout(OPENING, opened).await;
    Ok(OneSource { event_source: source(api, id, record)? })
}

/// Whether a text can be the type of an event: it is stored with each, and shown in lists.
pub(super) fn check_event_type(field: &str, text: &str) -> Result<(), ApiError> {
    const LONGEST: usize = 200;
    if (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let message = format!(
        "{field} has {} bytes: expected 1 to {LONGEST}, none of them a control character",
        text.len()
    );
    Err(ApiError::field(field, message))
}

pub(super) async fn publish(
    api: Arc<Api>,
    caller: Caller,
    publish: Publish,
) -> Result<Published, ApiError> {
    let (id, _) = find(&api, &caller, &publish.id)?;
    check_event_type("event_type", &publish.event_type)?;
    let payload = String::from(Box::<str>::from(publish.payload));
    let taken = api
        .intake
        .publish(id, publish.event_type, payload.into(), caller.cause, caller.idempotency_key)
        .await
        .map_err(|error| match error {
            crate::engine::intake::IntakeError::NoSuchSource => ApiError::new(
                Code::Conflict,
                "the source takes no events: it is paused or blocked, or its snap-in is not active",
            ),
            other => other.into(),
        })?;
    Ok(Published { events: taken.events.iter().map(|(id, _)| id.to_string()).collect() })
}
