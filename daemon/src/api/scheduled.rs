//! `event-sources.schedule`, `.unschedule` and `.list-scheduled`: events that are to be published later.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_plugin::Role;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::error::{ApiError, Code};
use super::event_sources::{check_event_type, find};
use super::lists::{self, time};
use super::rights::Caller;
use super::times::parse_time;
use crate::engine::scheduled::{ScheduleError, Scheduled, ToSchedule};
use crate::model::event::MOST_PAYLOAD_BYTES;
use crate::random::secret_text;
use crate::store::{Place, ScheduledEvent, SourceRecord, Unschedule};

/// What automations see before an event's type.
const PREFIX: &str = "custom:";
/// The longest type and key, in bytes.
const LONGEST_NAME: usize = 512;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesSchedule")]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    /// The source.
    id: String,
    /// Without a prefix: automations listen to `custom:` and this.
    event_type: String,
    /// The event, JSON in base 64.
    payload: String,
    /// Published at some time not before this, RFC 3339. At once, when absent or past.
    #[serde(default)]
    publish_at: Option<String>,
    /// At most one pending event of the source has it; made up when absent. It is free again when the
    /// event is published.
    #[serde(default)]
    event_key: Option<String>,
    /// Whether the pending event with that key, if there is one, is replaced.
    #[serde(default)]
    update_if_exists: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventSourcesScheduled")]
pub(super) struct Answer {
    event_key: String,
    /// When it will be published, unless it is already.
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_date: Option<String>,
    /// Whether a pending event was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<bool>,
    /// The ids of the stored events, when it was published at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesUnschedule")]
#[serde(deny_unknown_fields)]
pub(super) struct TakeBack {
    /// The source.
    id: String,
    event_key: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesListScheduled")]
pub(super) struct List {
    /// The source.
    id: String,
    /// Whether the events are shown too, not only how large they are.
    #[serde(default)]
    with_payload: bool,
    #[serde(flatten)]
    paging: lists::Paging,
}

/// A pending event.
#[derive(Serialize, JsonSchema)]
pub(super) struct Pending {
    event_key: String,
    #[serde(rename = "type")]
    event_type: String,
    publish_date: String,
    created_date: String,
    scheduled_by: String,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    payload: Option<Box<RawValue>>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyPending {
    /// Next due first.
    scheduled_events: Vec<Pending>,
    /// How many are pending in all.
    total: u64,
    next_cursor: Option<String>,
}

pub(super) async fn schedule(
    api: Arc<Api>,
    caller: Caller,
    schedule: Schedule,
) -> Result<Answer, ApiError> {
    let (source, record) = find(&api, &caller, &schedule.id)?;
    takes_scheduled(&api, &record)?;
    let bare = schedule.event_type.strip_prefix(PREFIX).unwrap_or(&schedule.event_type);
    check_event_type("event_type", bare)?;
    if let Some(key) = &schedule.event_key {
        check_name("event_key", key)?;
    }
    let payload = payload_of(&schedule.payload)?;
    let due_ms =
        schedule.publish_at.as_deref().map(|it| parse_time("publish_at", it)).transpose()?;
    let event_key = schedule.event_key.unwrap_or_else(secret_text);
    let new = ToSchedule {
        source,
        event_type: format!("{PREFIX}{bare}"),
        event_key: event_key.clone(),
        payload: payload.into(),
        due_ms,
        replace: schedule.update_if_exists.unwrap_or_default(),
        by: caller.principal.name(),
        cause: caller.cause,
    };
    let (publish_date, replaced, events) = match api.scheduler.schedule(new).await {
        Ok(Scheduled::Pending { due_ms, replaced }) => (Some(time(due_ms)), Some(replaced), None),
        Ok(Scheduled::Published(ids)) => {
            (None, None, Some(ids.iter().map(ToString::to_string).collect()))
        }
        Err(error) => return Err(refusal(error, &event_key, &schedule.id)),
    };
    Ok(Answer { event_key, publish_date, replaced, events })
}

pub(super) async fn unschedule(
    api: Arc<Api>,
    caller: Caller,
    which: TakeBack,
) -> Result<(), ApiError> {
    let (source, _) = find(&api, &caller, &which.id)?;
    match api.scheduler.unschedule(source, which.event_key.clone()).await? {
        Unschedule::Done => Ok(()),
        Unschedule::NotPending => Err(ApiError::not_found("pending event", &which.event_key)),
    }
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyPending, ApiError> {
    let (source, _) = find(&api, &caller, &list.id)?;
    let limit = list.paging.limit()?;
    let from = list.paging.cursor.as_deref().map(place_of).transpose()?;
    let (page, total) = api.services.store.read(|tables| {
        Ok((tables.list_scheduled(source, from, limit)?, tables.count_scheduled(source)?))
    })?;
    Ok(ManyPending {
        next_cursor: page.next.map(|it| format!("{:x}-{:x}", it.due_ms, it.id)),
        total,
        scheduled_events: page.rows.into_iter().map(|it| pending(it, list.with_payload)).collect(),
    })
}

fn pending(event: ScheduledEvent, with_payload: bool) -> Pending {
    let text = || String::from_utf8(event.payload.to_vec()).ok();
    let raw = with_payload.then(text).flatten().and_then(|it| RawValue::from_string(it).ok());
    Pending {
        event_key: event.record.event_key,
        event_type: event.record.event_type,
        publish_date: time(event.place.due_ms),
        created_date: time(event.record.created_ms),
        scheduled_by: event.record.scheduled_by,
        payload_bytes: event.payload.len(),
        payload: raw,
    }
}

fn place_of(cursor: &str) -> Result<Place, ApiError> {
    let read = |(due_ms, id): (&str, &str)| {
        let due_ms = u64::from_str_radix(due_ms, 16).ok()?;
        Some(Place { due_ms, id: u128::from_str_radix(id, 16).ok()? })
    };
    cursor.split_once('-').and_then(read).ok_or_else(lists::foreign_cursor)
}

fn takes_scheduled(api: &Api, record: &SourceRecord) -> Result<(), ApiError> {
    let plugins = &api.services.plugins;
    let known = plugins.find(Role::Source, &record.kind);
    if known.is_some_and(|it| it.descriptor.takes_scheduled) {
        return Ok(());
    }
    let types: Vec<&str> = plugins
        .types(Role::Source)
        .filter(|it| it.descriptor.takes_scheduled)
        .map(|it| it.descriptor.name.as_str())
        .collect();
    let message = format!(
        "events cannot be scheduled at `{}`, a source of type {}: {}",
        record.name,
        record.kind,
        match types.as_slice() {
            [] => "no plugin of this host has a type that takes them".to_owned(),
            types => format!("they can at sources of type {}", types.join(", ")),
        }
    );
    Err(ApiError::new(Code::Invalid, message).allowing(&types))
}

fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::field(field, format!("{field} is empty")));
    }
    if name.len() > LONGEST_NAME {
        let message =
            format!("{field} has {} bytes: at most {LONGEST_NAME} are allowed", name.len());
        return Err(ApiError::field(field, message));
    }
    Ok(())
}

fn payload_of(text: &str) -> Result<Vec<u8>, ApiError> {
    let payload = STANDARD.decode(text.trim_ascii()).map_err(|error| {
        ApiError::field("payload", format!("payload is not in base 64 (RFC 4648, padded): {error}"))
    })?;
    if payload.len() > MOST_PAYLOAD_BYTES {
        let message = format!(
            "payload has {} bytes: functions are called with at most {MOST_PAYLOAD_BYTES}",
            payload.len()
        );
        return Err(ApiError::field("payload", message));
    }
    serde_json::from_slice::<IgnoredAny>(&payload).map_err(|error| {
        ApiError::field("payload", format!("payload, decoded from base 64, is no JSON: {error}"))
    })?;
    Ok(payload)
}

fn refusal(error: ScheduleError, key: &str, source: &str) -> ApiError {
    match error {
        ScheduleError::KeyPending { due_ms } => {
            let message = format!(
                "an event with the key `{key}` is pending, due at {}: take it back, replace it with \
                 `update_if_exists`, or use another key",
                time(due_ms)
            );
            ApiError::new(Code::AlreadyScheduled, message)
        }
        ScheduleError::TooFar { last_ms } => {
            let message = format!(
                "publish_at is further ahead than 10 years: the last moment that is taken is {}",
                time(last_ms)
            );
            ApiError::field("publish_at", message)
        }
        ScheduleError::TooMany => ApiError::new(Code::TooManyRequests, error.to_string()),
        ScheduleError::NoSuchSource => ApiError::not_found("event source", source),
        ScheduleError::Intake(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_payload_is_said() {
        let said = |bytes: &[u8]| {
            let error = payload_of(&STANDARD.encode(bytes)).expect_err("it is wrong");
            error.message().to_owned()
        };
        assert!(said(b"{").contains("is no JSON"));
        assert!(said(b"\xff").contains("is no JSON"));
        assert!(said(b"").contains("is no JSON"));
        assert!(said(&[b' '; MOST_PAYLOAD_BYTES + 1]).contains("at most 262144"));
        let error = payload_of("{\"n\": 1}").expect_err("it is plain").message().to_owned();
        assert!(error.contains("not in base 64"), "{error}");
        assert_eq!(payload_of("eyJuIjoxfQ==\n").expect("it is right"), br#"{"n":1}"#);
    }

    #[test]
    fn cursors_are_places() {
        let place = Place { due_ms: 0x1f, id: 7 };
        assert_eq!(place_of("1f-7").expect("ours"), place);
        for text in ["", "1f", "1f-", "x-7", "1f-7-8"] {
            assert!(place_of(text).is_err(), "{text}");
        }
    }
}
