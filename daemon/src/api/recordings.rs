//! `event-sources.record*`: requests that reach a trigger URL, kept raw for whoever sets the source
//! up. What is a secret in them was masked before it was stored.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::event_sources::{Which, find};
use super::lists::{parse_id, time};
use super::rights::Caller;
use crate::model::id::{RecordedId, SourceId};
use crate::model::recording::{RecordedRequest, Recording, RequestOutcome};
use crate::store::MOST_WANTED;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesRecord")]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The source.
    id: String,
    /// How many requests are kept, 1 to 100.
    count: u32,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesGetRecorded")]
#[serde(deny_unknown_fields)]
pub(super) struct GetRecorded {
    /// The source.
    id: String,
    /// The request.
    recorded: String,
}

/// How recording stands.
#[derive(Serialize, JsonSchema)]
pub(super) struct Standing {
    /// How many more requests are kept.
    left: u32,
    /// How many are.
    kept: u32,
    /// How large those are.
    bytes: u64,
    /// Whether requests to the trigger URL are taken now. Those that come while it is closed are not
    /// recorded.
    open: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RecordingAnswer {
    recording: Standing,
}

/// A request that was recorded.
#[derive(Serialize, JsonSchema)]
pub(super) struct Recorded {
    id: String,
    received_date: String,
    /// What came of it.
    #[schemars(with = "String")]
    outcome: RequestOutcome,
    /// What the sender was told.
    status: u16,
    /// Why there is no event, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The events that it led to.
    events: Vec<String>,
    method: String,
    body_bytes: u64,
    /// What was masked, such as `header authorization`.
    masked: Vec<String>,
    /// SHA-256 of the whole body, when only its beginning was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_body_sha256: Option<String>,
    /// The request, as `event-sources.test` takes it. Only when one is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RawRequest>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RawRequest {
    method: String,
    query: String,
    /// By name, values as Latin-1 text.
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// A body that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    peer: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyRecorded {
    /// Oldest first.
    recorded: Vec<Recorded>,
    recording: Standing,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneRecorded {
    recorded: Recorded,
}

pub(super) async fn record(
    api: Arc<Api>,
    caller: Caller,
    record: Record,
) -> Result<RecordingAnswer, ApiError> {
    let (id, _) = find(&api, &caller, &record.id)?;
    if !(1..=MOST_WANTED).contains(&record.count) {
        let message = format!("count is {}: expected 1 to {MOST_WANTED}", record.count);
        return Err(ApiError::field("count", message));
    }
    want(&api, id, &record.id, record.count).await
}

pub(super) async fn stop(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<RecordingAnswer, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    want(&api, id, &which.id, 0).await
}

pub(super) async fn clear(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<RecordingAnswer, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    api.services.store.write(move |tables| tables.clear_recorded(id)).await?;
    let recording = api.services.store.read(|tables| tables.recording(id))?;
    Ok(RecordingAnswer { recording: standing(&api, id, &recording) })
}

async fn want(
    api: &Api,
    id: SourceId,
    text: &str,
    count: u32,
) -> Result<RecordingAnswer, ApiError> {
    if count > 0 && !api.services.store.has_room() {
        let message = "the disk is full: nothing is recorded until there is room";
        return Err(ApiError::new(Code::DiskFull, message));
    }
    let recorder = api.services.source_logs.recorder(id);
    let wanted = api.services.store.write_then(
        move |tables| tables.want_recorded(id, count),
        move |recording| recorder.set(recording.as_ref().map_or(0, |it| it.left)),
    );
    let recording = wanted.await?.ok_or_else(|| ApiError::not_found("event source", text))?;
    Ok(RecordingAnswer { recording: standing(api, id, &recording) })
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<ManyRecorded, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    let (rows, recording) =
        api.services.store.read(|tables| Ok((tables.recorded(id)?, tables.recording(id)?)))?;
    Ok(ManyRecorded {
        recorded: rows.into_iter().map(|(id, it)| shown(id, it, None)).collect(),
        recording: standing(&api, id, &recording),
    })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: GetRecorded,
) -> Result<OneRecorded, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    let request: RecordedId = parse_id("recorded", &which.recorded)?;
    let found = api.services.store.read(|tables| tables.recorded_request(id, request))?;
    let not_found = || ApiError::not_found("recorded request", &which.recorded);
    let (record, body) = found.ok_or_else(not_found)?;
    Ok(OneRecorded { recorded: shown(request, record, Some(body)) })
}

fn standing(api: &Api, id: SourceId, recording: &Recording) -> Standing {
    let open = api.services.routes.by_id(id).is_some();
    Standing { left: recording.left, kept: recording.kept, bytes: recording.bytes, open }
}

fn shown(id: RecordedId, record: RecordedRequest, body: Option<Vec<u8>>) -> Recorded {
    let request = body.map(|body| {
        let (text, bytes) = match String::from_utf8(body) {
            Ok(text) if text.is_empty() => (None, None),
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        RawRequest {
            method: record.method.clone(),
            query: record.query,
            headers: record.headers,
            body: text,
            body_base64: bytes,
            peer: record.peer,
        }
    });
    Recorded {
        id: id.to_string(),
        received_date: time(record.received_ms),
        outcome: record.outcome,
        status: record.status,
        reason: record.reason,
        message: record.message,
        events: record.events.iter().map(ToString::to_string).collect(),
        method: record.method,
        body_bytes: record.body_bytes,
        masked: record.masked,
        cut_body_sha256: record.cut_sha256,
        request,
    }
}
