//! `event-sources.*`: sources of events, their trigger URLs and logs.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Reach};
use super::{Api, snap_ins};
use crate::actors::SetSourceStatus;
use crate::engine::source_log::OpenState;
use crate::manifest::render_instructions;
use crate::model::id::SourceId;
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
    status: SourceStatus,
    /// Why it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether requests to the trigger URL are taken now.
    open: bool,
    trigger_url: String,
    /// What the author says about setting it up, Markdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_instructions: Option<String>,
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
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
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

fn source(api: &Api, id: SourceId, record: SourceRecord) -> Source {
    Source {
        id: id.to_string(),
        open: record.status == SourceStatus::Active && api.services.routes.by_id(id).is_some(),
        trigger_url: format!("{}/hooks/{}", api.public_url, record.token),
        name: record.name,
        kind: record.kind,
        snap_in: record.snap_in.to_string(),
        status: record.status,
        reason: record.reason,
        setup_instructions: None,
    }
}

fn find(api: &Api, caller: &Caller, text: &str) -> Result<(SourceId, SourceRecord), ApiError> {
    let id: SourceId = parse_id("id", text)?;
    let record = api.services.store.read(|tables| tables.source(id))?;
    let record = record.filter(|it| caller.reaches(it.snap_in));
    Ok((id, record.ok_or_else(|| ApiError::not_found("event source", text))?))
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSource, ApiError> {
    let (id, record) = find(&api, &caller, &which.id)?;
    let instructions = instructions(&api, &caller, &record)?;
    let mut event_source = source(&api, id, record);
    event_source.setup_instructions = instructions;
    Ok(OneSource { event_source })
}

fn instructions(
    api: &Api,
    caller: &Caller,
    record: &SourceRecord,
) -> Result<Option<String>, ApiError> {
    let (_, snap_in) = snap_ins::find(api, caller, &record.snap_in.to_string())?;
    let Some(version) = api.services.contexts.version(snap_in.version)? else { return Ok(None) };
    let Some(declared) = version.manifest.event_source(&record.name) else { return Ok(None) };
    let url = format!("{}/hooks/{}", api.public_url, record.token);
    let render =
        |template: &String| render_instructions(template, &record.name, &url, &declared.config);
    Ok(declared.setup_instructions.as_ref().map(render))
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManySources, ApiError> {
    let snap_in = match (&list.snap_in, caller.reach) {
        (Some(text), _) => Some(snap_ins::find(&api, &caller, text)?.0),
        (None, Reach::SnapIn(own)) => Some(own),
        (None, Reach::All) => None,
    };
    let page = list.paging.oldest_first()?;
    let page = api.services.store.read(|tables| tables.list_sources(snap_in, page))?;
    let event_sources = page.rows.into_iter().map(|(id, it)| source(&api, id, it)).collect();
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
    set_status(&api, &caller, &which.id, SourceStatus::Paused).await
}

pub(super) async fn resume(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSource, ApiError> {
    set_status(&api, &caller, &which.id, SourceStatus::Active).await
}

async fn set_status(
    api: &Api,
    caller: &Caller,
    text: &str,
    status: SourceStatus,
) -> Result<OneSource, ApiError> {
    let (id, record) = find(api, caller, text)?;
    let message = SetSourceStatus { source: id, status, reason: None };
    let record = api.operations.ask(record.snap_in, message).await??;
    let mut state = api.services.source_logs.open_state(id);
    // So that the answer says where it stands; a source that takes longer is shown as not open.
    let opened = state.wait_for(|it| *it != OpenState::Opening);
    let _ = tokio::time::timeout(OPENING, opened).await;
    Ok(OneSource { event_source: source(api, id, record) })
}

pub(super) async fn publish(
    api: Arc<Api>,
    caller: Caller,
    publish: Publish,
) -> Result<Published, ApiError> {
    let (id, _) = find(&api, &caller, &publish.id)?;
    if publish.event_type.is_empty() {
        return Err(ApiError::field("event_type", "event_type is empty"));
    }
    let payload = String::from(Box::<str>::from(publish.payload));
    let taken =
        api.intake.publish(id, publish.event_type, payload.into(), caller.cause).await.map_err(
            |error| match error {
                crate::engine::intake::IntakeError::NoSuchSource => ApiError::new(
                    Code::Conflict,
                    "the source takes no events: it is paused, or its snap-in is not active",
                ),
                other => other.into(),
            },
        )?;
    Ok(Published { events: taken.events.iter().map(|(id, _)| id.to_string()).collect() })
}
