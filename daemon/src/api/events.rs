//! `events.*`: what was accepted.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ApiError;
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::Caller;
use super::{Api, extent};
use crate::model::event::EventHead;
use crate::model::id::{EventId, SourceId};

/// An accepted event.
#[derive(Serialize, JsonSchema)]
pub(super) struct Event {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    event_source: String,
    snap_in: String,
    received_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_id: Option<String>,
    /// The run that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<String>,
    /// How many runs came before it in its chain of causes.
    hops: u8,
    /// The runs that were queued with it.
    runs: Vec<String>,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    payload: Option<Box<RawValue>>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneEvent {
    event: Event,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyEvents {
    events: Vec<Event>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventsList")]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    /// Only those of this source.
    #[serde(default)]
    event_source: Option<String>,
    /// Only those of this type.
    #[serde(default, rename = "type")]
    event_type: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

fn event(id: EventId, head: EventHead, payload: &Bytes, with_payload: bool) -> Event {
    let text = || String::from_utf8(payload.to_vec()).ok();
    let raw = with_payload.then(text).flatten().and_then(|it| RawValue::from_string(it).ok());
    Event {
        id: id.to_string(),
        event_type: head.event_type,
        event_source: head.source.to_string(),
        snap_in: head.snap_in.to_string(),
        received_date: time(head.received_ms),
        dedup_key: head.dedup_key,
        sync_id: head.sync_id,
        caused_by: head.cause.run.map(|it| it.to_string()),
        hops: head.cause.hops,
        runs: head.runs.iter().map(ToString::to_string).collect(),
        payload_bytes: payload.len(),
        payload: raw,
    }
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<OneEvent, ApiError> {
    let id: EventId = parse_id("id", &which.id)?;
    let found = api.services.store.read(|tables| tables.event(id))?;
    let (head, payload) = found.ok_or_else(|| ApiError::not_found("event", &which.id))?;
    if !extent::reaches(&api, &caller, head.snap_in)? {
        return Err(ApiError::not_found("event", &which.id));
    }
    Ok(OneEvent { event: event(id, head, &payload, true) })
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyEvents, ApiError> {
    let extent = extent::of_list(&api, &caller, list.snap_in.as_deref(), list.scope.as_deref())?;
    let source: Option<SourceId> =
        list.event_source.as_deref().map(|it| parse_id("event_source", it)).transpose()?;
    let page = list.paging.newest_first()?;
    let page = api.services.store.read(|tables| {
        tables.list_events(page, |head| {
            extent.has(head.snap_in)
                && source.is_none_or(|it| it == head.source)
                && list.event_type.as_ref().is_none_or(|it| *it == head.event_type)
        })
    })?;
    let rows = page.rows.into_iter();
    let events = rows.map(|(id, head, payload)| event(id, head, &payload, false)).collect();
    Ok(ManyEvents { events, next_cursor: cursor(page.next) })
}
