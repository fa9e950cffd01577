//! `event-sources.block`, `.unblock` and `.rotate-token`: what whoever looks after the host does to
//! event sources. Must never say a trigger URL but in an answer to its caller.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::error::ApiError;
use super::event_sources::{OneSource, Which, change, find, shown_when_open};
use super::rights::Caller;
use crate::lifecycle::source::Change;
use crate::random::secret_text;
use crate::store::NewToken;

/// For how long the trigger URL before goes on working, unless something else is asked for.
const OVERLAP_SECONDS: u64 = 24 * 60 * 60;
/// For how long it may.
const LONGEST_OVERLAP_SECONDS: u64 = 30 * 24 * 60 * 60;
/// Characters of a reason.
const LONGEST_REASON: usize = 500;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesBlock")]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    id: String,
    /// Why, for whoever wonders; 1 to 500 characters.
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesRotateToken")]
#[serde(deny_unknown_fields)]
pub(super) struct RotateToken {
    id: String,
    /// For how many seconds the trigger URL before goes on working: 0 to 2592000 (30 days); 86400 (a
    /// day) when absent.
    #[serde(default)]
    overlap_seconds: Option<u64>,
}

pub(super) async fn block(
    api: Arc<Api>,
    caller: Caller,
    block: Block,
) -> Result<OneSource, ApiError> {
    let reason = block.reason.trim();
    if reason.is_empty() || reason.chars().nth(LONGEST_REASON).is_some() {
        let message = format!("reason is to say why, in 1 to {LONGEST_REASON} characters");
        return Err(ApiError::field("reason", message));
    }
    let by = caller.principal.name();
    change(&api, &caller, &block.id, Change::Block { reason: reason.to_owned(), by }).await
}

pub(super) async fn unblock(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneSource, ApiError> {
    change(&api, &caller, which.id(), Change::Unblock).await
}

pub(super) async fn rotate_token(
    api: Arc<Api>,
    caller: Caller,
    asked: RotateToken,
) -> Result<OneSource, ApiError> {
    let seconds = asked.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
    if seconds > LONGEST_OVERLAP_SECONDS {
        let message = format!(
            "overlap_seconds is {seconds}: expected 0 to {LONGEST_OVERLAP_SECONDS} (30 days)"
        );
        return Err(ApiError::field("overlap_seconds", message));
    }
    let (id, record) = find(&api, &caller, &asked.id)?;
    let token = NewToken { token: secret_text(), overlap_ms: seconds * 1000 };
    let record = api.operations.rotate_token(record.snap_in, id, token).await?;
    shown_when_open(&api, id, record).await
}
