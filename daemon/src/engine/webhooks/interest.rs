//! What becomes of changes for one webhook: those of its event types, for which its filter is true, are
//! queued. The cursor of the webhook moves in the same transaction, so that none is queued twice or
//! missed, whenever the daemon is killed.
//!
//! Filters run here, never in the writer. One that fails or is not true or false leaves a failed
//! delivery, so that somebody sees it and can send the event when the filter is mended.

use mortise_jq::{Program, RunError};
use serde_json::Value;

use super::Shared;
use super::definition::Invalid;
use super::message;
use super::send::{Endpoint, Filter};
use crate::engine::change_bodies::Told;
use crate::lifecycle::webhook::Queue;
use crate::model::id::{ChangeId, WebhookEventId};
use crate::store::{NewDelivery, ReadChanges, StoreError};

/// Changes that are looked at in one step.
const MOST_CHANGES: usize = 256;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collected {
    /// Nothing is left.
    All,
    /// There may be more.
    More,
    /// Its queue is full: later.
    Full,
    /// Too many filters run: later.
    Busy,
}

/// A filter could not be run now.
struct Busy;

/// Compiles a filter.
pub(super) fn compile(filter: &str) -> Result<Program, Invalid> {
    Program::compile(filter)
        .map_err(|error| Invalid { field: "filter".to_owned(), problem: error.to_string() })
}

/// Queues what a webhook is to be told of the changes after its cursor. Answers where that was, if
/// anything was looked at.
pub(super) async fn collect(
    shared: &Shared,
    endpoint: &Endpoint,
) -> Result<(Collected, Option<ChangeId>), StoreError> {
    let (id, consumer) = (endpoint.id, endpoint.id.to_string());
    let read = shared
        .store
        .read(|tables| Ok((tables.cursor(&consumer)?, tables.count_queued_deliveries(id)?)))?;
    let (Some(from), queued) = read else { return Ok((Collected::All, None)) };
    let not_sent = match endpoint.record.standing.queue(endpoint.record.on_degraded) {
        // What comes now waits among the changes.
        Queue::Send | Queue::Hold if queued >= shared.settings.most_queued => {
            return Ok((Collected::Full, None));
        }
        Queue::Send | Queue::Hold => None,
        Queue::Fail => Some(endpoint.not_sent()),
    };
    let found = shared.bodies.after(&endpoint.record.event_types, from, MOST_CHANGES)?;
    let Some((to, _)) = found.last() else { return Ok((Collected::All, None)) };
    let (mut to, is_more) = (*to, found.len() == MOST_CHANGES);
    let mut new = Vec::new();
    let mut decided = from;
    let mut is_busy = false;
    for (id, told) in &found {
        match delivery(shared, endpoint, *id, told, not_sent.as_deref()).await {
            Ok(delivery) => new.extend(delivery),
            // The filters of others take long: what was not decided on is decided on later.
            Err(Busy) if decided == from => return Ok((Collected::Busy, None)),
            Err(Busy) => {
                (to, is_busy) = (decided, true);
                break;
            }
        }
        decided = *id;
    }
    let step = ReadChanges { from, to };
    shared
        .store
        .write(move |tables| {
            // Somebody else was faster, or it wants nothing any more.
            if tables.move_cursor(&consumer, step)? {
                tables.queue_deliveries(&new)?;
            }
            Ok(())
        })
        .await?;
    let collected = match (is_busy, is_more) {
        (true, _) => Collected::Busy,
        (false, true) => Collected::More,
        (false, false) => Collected::All,
    };
    Ok((collected, Some(from)))
}

/// What a change is for a webhook; nothing when its filter does not want it.
async fn delivery(
    shared: &Shared,
    endpoint: &Endpoint,
    change: ChangeId,
    told: &Told,
    not_sent: Option<&str>,
) -> Result<Option<NewDelivery>, Busy> {
    let event = WebhookEventId(change.0);
    let detail = std::str::from_utf8(&told.detail).unwrap_or("{}");
    let body = message::body(event, endpoint.id, told.at_ms, &told.event_type, detail);
    let mut failed = not_sent.map(str::to_owned);
    match &endpoint.filter {
        Filter::None => {}
        Filter::Program(filter) => match wanted(filter, &body).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(RunError::Busy) => return Err(Busy),
            // What a program makes of a body may be a part of it, and is not written down.
            Err(error) => {
                let problem = error.without_values();
                failed = Some(format!("not sent: its filter failed: {problem}"));
            }
        },
        Filter::Broken => {
            failed = Some("not sent: its filter does not compile any more".to_owned())
        }
    }
    let (size, largest) = (body.len(), shared.settings.largest_body);
    if size > largest {
        failed = Some(format!(
            "not sent: its body has {size} bytes, more than webhooks.body_bytes ({largest})"
        ));
    }
    Ok(Some(NewDelivery {
        webhook: endpoint.id,
        event: event.0,
        event_type: told.event_type.clone(),
        object: Some(told.object.clone()),
        body: body.into(),
        failed,
    }))
}

async fn wanted(filter: &Program, body: &[u8]) -> Result<bool, RunError> {
    // It was written by ourselves.
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    filter.run_filter(&body, &[]).await
}
