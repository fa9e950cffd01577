//! An accepted event, and the chain of causes that it stands in.

use serde::{Deserialize, Serialize};

use super::id::{RunId, SnapInId, SourceId};

/// The organization that a host stands for, in payloads and events: there is one.
pub const DEV_OID: &str = "org_local";

/// The largest payload that a function is called with, as JSON (spec §2.5): an event with more is
/// stored, and its runs fail without being run.
pub const MOST_PAYLOAD_BYTES: usize = 262_144;

/// How many hops a chain of causes may have: event, run, event that the run published, and so on.
pub const MOST_HOPS: u8 = 16;

/// Where in a chain of causes something stands. A webhook or a timer starts a new chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The run that caused it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How many runs came before it in its chain.
    #[serde(default)]
    pub hops: u8,
}

/// A chain of causes that has become too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this event would be number {} of a chain in which each event was caused by a run of the last; \
     chains end after {MOST_HOPS}, because they are nearly always loops",
    MOST_HOPS + 1
)]
pub struct ChainTooLong;

impl Cause {
    /// The cause of what `run`, itself caused by `self`, causes next.
    pub fn next(self, run: RunId) -> Result<Cause, ChainTooLong> {
        if self.hops >= MOST_HOPS {
            return Err(ChainTooLong);
        }
        Ok(Cause { run: Some(run), hops: self.hops + 1 })
    }
}

/// What is kept of an accepted event, beside its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHead {
    /// The source that accepted it.
    pub source: SourceId,
    /// The snap-in that the source belongs to.
    pub snap_in: SnapInId,
    /// Such as `custom:my-event`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it was accepted, milliseconds of the Unix epoch.
    pub received_ms: u64,
    /// At most one event of a source has this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// Its runs wait for those of earlier events with this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_id: Option<String>,
    /// What caused it.
    #[serde(default)]
    pub cause: Cause,
    /// The runs that were queued with it, one per matching automation.
    #[serde(default)]
    pub runs: Vec<RunId>,
}
