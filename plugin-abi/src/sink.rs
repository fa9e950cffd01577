//! The documents that a sink is called with and answers with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Effect, EffectOutcome, LogLine, Problem};

/// One call of a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkCall {
    /// Milliseconds of the Unix epoch at which the daemon made the call.
    pub now_ms: u64,
    /// How many milliseconds the call may take before it is abandoned.
    pub deadline_ms: u64,
    /// What is asked.
    pub input: SinkInput,
}

/// What is asked of a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkInput {
    /// Says what is questionable about the configuration the instance was opened with.
    Check {},
    /// Deliver one occurrence.
    Deliver(Delivery),
    /// Show that the connection works without bothering anybody more than needed.
    Test {},
    /// The effect that an earlier answer asked for is done; the response body is the call's body.
    Response {
        /// The `state` of the effect, unchanged.
        state: Value,
        /// How it went.
        outcome: EffectOutcome,
    },
}

/// One occurrence for one subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Id of the delivery, the same over all attempts.
    pub id: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What happened, such as `run.failed`.
    pub trigger: String,
    /// The occurrence.
    pub occurrence: Value,
}

/// What a sink answers: an effect to perform first, or a receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkOutput {
    /// Something that the daemon is to do before it calls again with its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The delivery is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Lines for the integration's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// The answer to [`SinkInput::Check`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Raw bodies that effects refer to by position; they travel beside the document.
    #[serde(skip)]
    pub bodies: Vec<Vec<u8>>,
}

/// Proof of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The sink's own id of the message.
    #[serde(default)]
    pub message_id: Option<String>,
    /// What later deliveries refer to when they belong to the same conversation.
    #[serde(default)]
    pub thread: Option<String>,
}
