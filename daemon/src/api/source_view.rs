//! What became of the inputs of event sources: the counts that are shown with them, and
//! `event-sources.refusals`.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::event_sources::{Which, find};
use super::lists::time;
use super::rights::Caller;
use crate::engine::source_counts::OTHER;
use crate::store::SourceCountsRecord;

/// What became of the inputs of a source. Written down every ten seconds and when the daemon stops:
/// when it is killed, the last seconds are missing.
#[derive(Serialize, JsonSchema)]
pub(super) struct Counts {
    /// Since when it is counted.
    since_date: String,
    /// Events that were stored.
    accepted: u64,
    /// Events that had been stored before.
    duplicate: u64,
    /// Requests that were answered and led to no event, as they should: handshakes and the like.
    answered: u64,
    /// Inputs that deserved no event.
    refused: u64,
    /// The same by reason: what the plugin calls it, `status_401` and the like when it answered
    /// without saying, or the code of an error of the API. At most 32 reasons; the rest is `other`.
    refused_by_reason: BTreeMap<String, u64>,
    /// Inputs of which nothing became because something failed; senders were told to try again.
    failed: u64,
    /// The same by what failed.
    failed_by_reason: BTreeMap<String, u64>,
    /// When an event was stored last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_accepted_date: Option<String>,
    /// When an input was refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refused_date: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Refusals {
    /// The one that came last at the end; at most 100.
    refusals: Vec<Refusal>,
    /// How many more there were that came too fast to be looked at. They are counted.
    unseen: u64,
}

/// What did not become an event, once or several times in the same way.
#[derive(Serialize, JsonSchema)]
pub(super) struct Refusal {
    /// When, the last time.
    date: String,
    /// When, the first time.
    first_date: String,
    /// How often.
    times: u64,
    /// The address that it came from; empty when it came over no network.
    peer: String,
    /// The method of the request; `tick` or `publish` when it was none.
    method: String,
    /// What was answered, when it was a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What it is counted as.
    reason: String,
    /// What exactly was wrong, without secrets.
    message: String,
}

pub(super) fn counts_of(record: &SourceCountsRecord) -> Counts {
    let mut refused = record.refused.clone();
    if record.refused_otherwise > 0 {
        refused.insert(OTHER.to_owned(), record.refused_otherwise);
    }
    Counts {
        since_date: time(record.since_ms),
        accepted: record.accepted,
        duplicate: record.duplicate,
        answered: record.answered,
        refused: refused.values().sum(),
        refused_by_reason: refused,
        failed: record.failed.values().sum(),
        failed_by_reason: record.failed.clone(),
        last_accepted_date: record.last_accepted_ms.map(time),
        last_refused_date: record.last_refused_ms.map(time),
    }
}

pub(super) async fn refusals(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<Refusals, ApiError> {
    let (id, _) = find(&api, &caller, which.id())?;
    let (entries, unseen) = api.services.source_logs.refusals(id).entries();
    let refusals = entries.into_iter().map(|it| Refusal {
        date: time(it.last_ms),
        first_date: time(it.first_ms),
        times: it.times,
        peer: it.peer,
        method: it.method,
        status: it.status,
        reason: it.reason,
        message: it.message,
    });
    Ok(Refusals { refusals: refusals.collect(), unseen })
}
