//! `webhooks.deliveries`, `.delivery` and `.resend`: what outgoing webhooks were sent, what came of it,
//! and sending it again.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::error::ApiError;
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::Caller;
use super::times::parse_time;
use super::webhooks::find;
use crate::model::id::{WebhookEventId, created_ms};
use crate::store::{AttemptRecord, DeliveryRecord, DeliveryState};

/// Deliveries that one call sends again.
const MOST_RESENT: usize = 10_000;

/// One event for one webhook.
#[derive(Serialize, JsonSchema)]
pub(super) struct Delivery {
    /// Id of the event; the same on every attempt.
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    /// The object that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    state: DeliveryState,
    /// When it happened.
    created_date: String,
    /// When it is sent next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_date: Option<String>,
    /// How often it was sent.
    attempts: usize,
    /// What came of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    /// Why it failed, or what was wrong with the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookAttempt")]
pub(super) struct Attempt {
    date: String,
    milliseconds: u64,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The beginning of what was answered, at most 1 KiB.
    answer: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyDeliveries {
    deliveries: Vec<Delivery>,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneDelivery {
    delivery: Delivery,
    attempts: Vec<Attempt>,
    /// What is sent.
    #[schemars(with = "serde_json::Value")]
    body: Box<RawValue>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksDeliveries")]
pub(super) struct List {
    /// Id of the webhook.
    id: String,
    /// Only those.
    #[serde(default)]
    state: Option<DeliveryState>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksDelivery")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id of the webhook.
    id: String,
    /// Id of the event.
    event: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksResend")]
#[serde(deny_unknown_fields)]
pub(super) struct Resend {
    /// Id of the webhook.
    id: String,
    /// Ids of events that were sent or failed. Absent: those of the time between `since` and `until`.
    #[serde(default)]
    events: Option<Vec<String>>,
    /// What happened from then on.
    #[serde(default)]
    since: Option<String>,
    /// What happened until then; now when absent.
    #[serde(default)]
    until: Option<String>,
    /// Only what failed (`failed`, the usual), or what was taken too (`all`).
    #[serde(default)]
    which: WhichEnded,
}

/// Which ended deliveries.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksResendWhich")]
#[serde(rename_all = "snake_case")]
pub(super) enum WhichEnded {
    /// What failed.
    #[default]
    Failed,
    /// What was taken too.
    All,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Resent {
    /// How many are queued again.
    queued: usize,
    /// Where to go on, when there are more than one call takes: `until` of the next call.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_until: Option<String>,
}

fn shown(event: u128, record: &DeliveryRecord) -> Delivery {
    let is_queued = record.state == DeliveryState::Queued;
    let last = record.attempts.last();
    let of_last = last.and_then(|it| it.error.clone());
    Delivery {
        id: WebhookEventId(event).to_string(),
        event_type: record.event_type.clone(),
        object: record.object.clone(),
        state: record.state,
        created_date: time(created_ms(event)),
        next_attempt_date: is_queued.then(|| time(record.due_ms)),
        attempts: record.attempts.len(),
        last_status: last.and_then(|it| it.status),
        error: record.reason.clone().or(of_last),
    }
}

fn shown_attempt(attempt: AttemptRecord) -> Attempt {
    Attempt {
        date: time(attempt.at_ms),
        milliseconds: attempt.took_ms,
        status: attempt.status,
        error: attempt.error,
        answer: attempt.answer,
    }
}

pub(super) async fn list(api: Arc<Api>, _: Caller, list: List) -> Result<ManyDeliveries, ApiError> {
    let (id, _) = find(&api, &list.id)?;
    let page = list.paging.newest_first()?;
    let wanted = |it: &DeliveryRecord| list.state.is_none_or(|state| it.state == state);
    let (rows, next) = api
        .services
        .store
        .read(|tables| tables.list_deliveries(id, page.from, page.limit, wanted))?;
    let deliveries = rows.iter().map(|(event, record)| shown(*event, record)).collect();
    Ok(ManyDeliveries { deliveries, next_cursor: cursor(next) })
}

pub(super) async fn get(api: Arc<Api>, _: Caller, which: Which) -> Result<OneDelivery, ApiError> {
    let (id, _) = find(&api, &which.id)?;
    let event: WebhookEventId = parse_id("event", &which.event)?;
    let found = api.services.store.read(|tables| tables.delivery(id, event.0))?;
    let (record, body) = found.ok_or_else(|| ApiError::not_found("delivery", &which.event))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(OneDelivery {
        delivery: shown(event.0, &record),
        attempts: record.attempts.into_iter().map(shown_attempt).collect(),
        body: RawValue::from_string(body).unwrap_or_default(),
    })
}

pub(super) async fn resend(api: Arc<Api>, _: Caller, asked: Resend) -> Result<Resent, ApiError> {
    let (id, _) = find(&api, &asked.id)?;
    if asked.since.is_none() && asked.until.is_some() {
        return Err(ApiError::field("until", "until is the end of a time: name `since` too"));
    }
    let events = match (&asked.events, &asked.since) {
        (Some(_), Some(_)) | (None, None) => {
            let message = "name `events`, or the time `since` which, and not both";
            return Err(ApiError::field("events", message));
        }
        (Some(events), None) if events.len() > MOST_RESENT => {
            return Err(ApiError::field("events", format!("at most {MOST_RESENT} at a time")));
        }
        (Some(events), None) => {
            let ids =
                events.iter().map(|it| parse_id::<WebhookEventId>("events", it).map(|it| it.0));
            ids.collect::<Result<Vec<_>, _>>()?
        }
        (None, Some(since)) => {
            let since_ms = parse_time("since", since)?;
            let until_ms = asked.until.as_deref().map(|it| parse_time("until", it)).transpose()?;
            let from = until_ms.map(|it| (u128::from(it) << 80) | ((1 << 80) - 1));
            let wanted = |it: &DeliveryRecord| match it.state {
                DeliveryState::Queued => false,
                DeliveryState::Failed => true,
                DeliveryState::Delivered => asked.which == WhichEnded::All,
            };
            ended_since(&api, id, since_ms, from, wanted)?
        }
    };
    let more_until = (asked.since.is_some() && events.len() == MOST_RESENT)
        .then(|| events.last().map(|it| time(created_ms(*it))))
        .flatten();
    let queued = api.webhooks.resend(id, events).await?;
    Ok(Resent { queued, more_until })
}

/// Ended deliveries of what happened since then, newest first.
fn ended_since(
    api: &Api,
    id: crate::model::id::WebhookId,
    since_ms: u64,
    mut from: Option<u128>,
    wanted: impl Fn(&DeliveryRecord) -> bool,
) -> Result<Vec<u128>, ApiError> {
    const PAGE: usize = 500;
    let mut events = Vec::new();
    loop {
        let (rows, next) =
            api.services.store.read(|tables| tables.list_deliveries(id, from, PAGE, &wanted))?;
        for (event, _) in rows {
            if created_ms(event) < since_ms || events.len() == MOST_RESENT {
                return Ok(events);
            }
            events.push(event);
        }
        match next {
            Some(next) if created_ms(next) >= since_ms => from = Some(next),
            Some(_) | None => return Ok(events),
        }
    }
}
