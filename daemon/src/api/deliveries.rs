//! `deliveries.*`: messages on their way through integrations, and what became of them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::integrations::find as find_integration;
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::Caller;
use crate::model::id::{DeliveryId, IntegrationId, SubscriptionId};
use crate::routing::message::together;
use crate::store::{PageRequest, TellingFilter, TellingRecord, TellingState};

/// A message on its way through an integration.
#[derive(Serialize, JsonSchema)]
pub(super) struct Delivery {
    id: String,
    integration: String,
    subscription: String,
    trigger: String,
    /// Ids of what it tells of, oldest first; the first 20.
    occurrences: Vec<String>,
    /// How many it tells of.
    count: u32,
    state: TellingState,
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    queued_date: String,
    /// Not sent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<String>,
    /// Why a queued one is not sent yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    /// Why it was given up, when it was not for its last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How many attempts there were.
    attempt_count: u32,
    /// The last of them, oldest first.
    attempts: Vec<Attempt>,
}

/// One attempt.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveryAttempt")]
pub(super) struct Attempt {
    date: String,
    duration_ms: u64,
    /// `taken`, `throttled`, `transient`, `config`, `permanent` or `cut_off`.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The sink's own id of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OneDelivery")]
pub(super) struct One {
    delivery: Delivery,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManyDeliveries")]
pub(super) struct Many {
    deliveries: Vec<Delivery>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeliveriesWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeliveriesList")]
pub(super) struct List {
    /// Only those through this integration.
    #[serde(default)]
    integration: Option<String>,
    /// Only those for this subscription.
    #[serde(default)]
    subscription: Option<String>,
    /// Only those in this state: `queued`, `delivered`, or `dead` for dead letters.
    #[serde(default)]
    state: Option<TellingState>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeliveriesRedeliver")]
#[serde(deny_unknown_fields)]
pub(super) struct Redeliver {
    /// One.
    #[serde(default)]
    id: Option<String>,
    /// All dead letters of this integration.
    #[serde(default)]
    integration: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Redelivered {
    /// How many are queued again.
    redelivered: usize,
    /// Whether there are more: call again.
    has_more: bool,
}

/// Dead letters that one call sends again.
const MOST_AT_ONCE: usize = 1_000;

fn shown(
    api: &Api,
    integration: IntegrationId,
    id: DeliveryId,
    record: TellingRecord,
) -> Result<Delivery, ApiError> {
    let is_queued = record.state == TellingState::Queued;
    let waits_for = if is_queued {
        let (of, circuit) = api.services.store.read(|tables| {
            Ok((tables.integration(integration)?, tables.integration_circuit(integration)?))
        })?;
        let is_enabled = of.as_ref().is_some_and(|it| it.enabled);
        api.tell.waits(&record, &circuit, is_enabled, of.and_then(|it| it.per_second))
    } else {
        None
    };
    let message = together(&record.trigger, &record.message, &record.titles, record.count);
    let attempts = record.attempts.into_iter().map(|it| Attempt {
        date: time(it.at_ms),
        duration_ms: it.took_ms,
        status: it.status,
        error: it.error,
        message_id: it.message_id,
    });
    Ok(Delivery {
        id: id.to_string(),
        integration: integration.to_string(),
        subscription: record.subscription.to_string(),
        trigger: record.trigger.to_string(),
        occurrences: record.occurrences.iter().map(ToString::to_string).collect(),
        count: record.count,
        state: record.state,
        title: message.title,
        text: message.text,
        queued_date: time(record.queued_ms),
        due_date: is_queued.then(|| time(record.due_ms)),
        waits_for,
        reason: record.reason,
        attempt_count: record.attempt_count,
        attempts: attempts.collect(),
    })
}

fn find(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<(IntegrationId, DeliveryId, TellingRecord), ApiError> {
    let id: DeliveryId = parse_id("id", text)?;
    let found = api.services.store.read(|tables| tables.find_telling(id))?;
    let found = found.filter(|(integration, _)| caller.reach.has_integration(*integration));
    let (integration, record) = found.ok_or_else(|| ApiError::not_found("delivery", text))?;
    Ok((integration, id, record))
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<One, ApiError> {
    let (integration, id, record) = find(&api, &caller, &which.id)?;
    Ok(One { delivery: shown(&api, integration, id, record)? })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<Many, ApiError> {
    let PageRequest { from, limit, .. } = list.paging.newest_first()?;
    let subscription: Option<SubscriptionId> =
        list.subscription.as_deref().map(|it| parse_id("subscription", it)).transpose()?;
    let integrations = match &list.integration {
        Some(text) => vec![find_integration(&api, &caller, "integration", text)?.0],
        None => {
            let all = PageRequest { from: None, limit: usize::MAX, newest_first: false };
            let found = api.services.store.read(|tables| {
                tables.list_integrations(all, |id, _| caller.reach.has_integration(id))
            })?;
            found.rows.into_iter().map(|(id, _)| id).collect()
        }
    };
    let filter = TellingFilter { state: list.state, subscription };
    let (found, next) = api
        .services
        .store
        .read(|tables| tables.list_tellings(&integrations, &filter, from, limit))?;
    let deliveries: Result<Vec<Delivery>, ApiError> = found
        .into_iter()
        .map(|(integration, id, record)| shown(&api, integration, id, record))
        .collect();
    Ok(Many { deliveries: deliveries?, next_cursor: cursor(next) })
}

pub(super) async fn redeliver(
    api: Arc<Api>,
    caller: Caller,
    asked: Redeliver,
) -> Result<Redelivered, ApiError> {
    let (integration, ids) = match (&asked.id, &asked.integration) {
        (Some(id), None) => {
            let (integration, id, _) = find(&api, &caller, id)?;
            (integration, vec![id])
        }
        (None, Some(text)) => {
            let (integration, _) = find_integration(&api, &caller, "integration", text)?;
            let filter = TellingFilter { state: Some(TellingState::Dead), subscription: None };
            let (found, _) = api
                .services
                .store
                .read(|tables| tables.list_tellings(&[integration], &filter, None, MOST_AT_ONCE))?;
            (integration, found.into_iter().map(|(_, id, _)| id).collect())
        }
        (Some(_), Some(_)) | (None, None) => {
            let message = "say either id (one delivery) or integration (all its dead letters)";
            return Err(ApiError::new(Code::BadRequest, message));
        }
    };
    let has_more = ids.len() == MOST_AT_ONCE;
    // Handed over at once, so that they are few commits.
    let all =
        futures_util::future::join_all(ids.iter().map(|id| api.tell.redeliver(integration, *id)));
    let mut redelivered = 0;
    for done in all.await {
        redelivered += usize::from(done?);
    }
    if asked.id.is_some() && redelivered == 0 {
        let message = "the delivery has not ended: it is sent without being asked";
        return Err(ApiError::new(Code::Conflict, message));
    }
    Ok(Redelivered { redelivered, has_more })
}
