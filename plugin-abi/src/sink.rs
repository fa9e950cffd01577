//! The documents that a sink is called with and answers with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Effect, EffectOutcome, LogLevel, LogLine, Problem};

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
    /// Tell something. What is answered with neither an effect nor a receipt is a fault of the plugin.
    Deliver(Delivery),
    /// Show that the connection works without bothering anybody more than needed. An answer without
    /// an effect says that it does, and [`SinkOutput::log`] what was tried.
    Test {},
    /// The effect that an earlier answer asked for is done; the response body is the call's body.
    Response {
        /// The `state` of the effect, unchanged.
        state: Value,
        /// How it went.
        outcome: EffectOutcome,
    },
}

/// Something to tell, for one subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Id of the delivery, the same over all attempts: what a service can tell repetitions by.
    pub id: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What happened, such as `run.failed`.
    pub trigger: String,
    /// What is to be told, for people.
    pub message: Message,
    /// The same for programs: one occurrence, or those that were grouped, oldest first. At most
    /// 20, however many there were.
    pub occurrences: Vec<Value>,
    /// How many there were.
    pub count: u32,
    /// The [thread](Receipt::thread) of the first message on the same piece of work; only for types
    /// that [have threads](crate::TypeDescriptor::threads).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// A message in plain text, without markup of any kind: whatever looks like some is not meant, and the
/// sink writes it so that its service shows it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// One line.
    pub title: String,
    /// Any number of lines, or nothing.
    #[serde(default)]
    pub text: String,
    /// How bad it is.
    #[serde(default)]
    pub level: MessageLevel,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
    /// Where more is to be seen, an absolute URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// How bad it is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
#[serde(rename_all = "snake_case")]
pub enum MessageLevel {
    /// Neither good nor bad.
    #[default]
    Info,
    /// Something went well.
    Success,
    /// Somebody should look at it in the morning.
    Warning,
    /// Somebody should look at it now.
    Error,
}

impl MessageLevel {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            MessageLevel::Info => "info",
            MessageLevel::Success => "success",
            MessageLevel::Warning => "warning",
            MessageLevel::Error => "error",
        }
    }
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

impl SinkOutput {
    /// Asks for an effect with at most one body, which is its [`Act::body`](crate::Act::body) 0.
    pub fn ask(effect: Effect, body: Option<Vec<u8>>) -> SinkOutput {
        let bodies = body.into_iter().collect();
        SinkOutput { effect: Some(effect), bodies, ..SinkOutput::default() }
    }

    /// The delivery is done.
    pub fn done(receipt: Receipt) -> SinkOutput {
        SinkOutput { receipt: Some(receipt), ..SinkOutput::default() }
    }

    /// The same answer with a line for the integration's log.
    pub fn with_log(mut self, level: LogLevel, message: impl Into<String>) -> SinkOutput {
        self.log.push(LogLine { level, message: message.into() });
        self
    }
}

/// Proof of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The service's own id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// What later deliveries get when they belong to the same piece of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}
