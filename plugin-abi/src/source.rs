//! The documents that a source is called with and answers with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Effect, EffectOutcome, LogLevel, Problem};

/// One call of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceCall {
    /// Milliseconds of the Unix epoch at which the daemon made the call. A plugin reads no clock.
    pub now_ms: u64,
    /// How many milliseconds the call may take before it is abandoned.
    pub deadline_ms: u64,
    /// Which source it is, as events name it.
    #[serde(default, skip_serializing_if = "SourceIds::is_unknown")]
    pub source: SourceIds,
    /// What happened.
    pub input: SourceInput,
}

impl SourceCall {
    /// A call that does not say which source it is.
    pub fn new(now_ms: u64, deadline_ms: u64, input: SourceInput) -> SourceCall {
        SourceCall { now_ms, deadline_ms, source: SourceIds::default(), input }
    }
}

/// How payloads name a source and where it is. Absent in a check, and from older daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIds {
    /// The id of the event source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_source_id: Option<String>,
    /// The organization that the daemon stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_oid: Option<String>,
}

impl SourceIds {
    fn is_unknown(&self) -> bool {
        *self == SourceIds::default()
    }
}

/// What happened. Written `{"http": {...}}`, `{"tick": {...}}`, and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceInput {
    /// Says what is questionable about the configuration the instance was opened with. What makes
    /// it unusable was already refused when it was opened. Answered with
    /// [`SourceOutput::problems`].
    Check {},
    /// A request to the source's trigger URL; its raw body is the call's body. The method is POST or
    /// GET; or OPTIONS with the header `webhook-request-origin`, the handshake of CloudEvents, which
    /// a source that does not know it answers with 405.
    Http(HttpRequest),
    /// A mail to the source's address; the raw message is the call's body. Not sent yet.
    Mail(MailInput),
    /// The wake-up that was asked for is due, or the source was opened, or the clock was set back.
    /// One at a time for each source.
    Tick(Tick),
    /// An object changed; the JSON of the change is the call's body.
    Object(Change),
    /// Somebody published to the source by hand; the payload is the call's body.
    Published {
        /// The event type that was asked for.
        event_type: String,
    },
    /// For types with a thread of their own: wait for news until the deadline. Not sent yet.
    Poll(Poll),
    /// The effect that an earlier answer asked for is done; the response body is the call's body.
    Response {
        /// The `state` of the effect, unchanged.
        state: Value,
        /// How it went.
        outcome: EffectOutcome,
    },
}

/// A request to the trigger URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Method, upper case.
    pub method: String,
    /// Query string without the `?`, not decoded.
    #[serde(default)]
    pub query_raw: String,
    /// Headers in the order received, names in lower case, values as Latin-1 text.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Address of the peer, for logs.
    #[serde(default)]
    pub peer: String,
}

/// The envelope of a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailInput {
    /// Envelope sender, empty for a bounce.
    pub sender: String,
    /// Envelope recipients that belong to this source.
    pub recipients: Vec<String>,
}

/// A wake-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// When it was due, milliseconds of the Unix epoch: now, when nothing was.
    pub due_ms: u64,
    /// When the last one before it was due whose answer was stored.
    #[serde(default)]
    pub last_ms: Option<u64>,
    /// The cursor of the last answer that set one.
    #[serde(default)]
    pub cursor: Option<Value>,
}

/// A change of an object. What changed is the call's body, the JSON that an event of it has as its
/// payload: `{"id", "timestamp", "type", "<type>": {"<object>": {...}, "old_<object>": {...}}}`.
/// `old_<object>` is there for an update; for a deletion, `<object>` is what it was before.
///
/// Changes come in order, and the same one comes again until what was answered is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its id, the `id` of the body. Whoever is called with the same id is called with the same
    /// body, so that what is made of the one can be kept for the other sources.
    pub id: String,
    /// `<object>_created`, `<object>_updated` or `<object>_deleted`.
    pub event_type: String,
    /// Id of the object.
    pub object_id: String,
    /// What `$user` stands for in filters: the person whose source it is, or the identity of the
    /// snap-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

/// A long poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Poll {
    /// The cursor of the last answer that set one.
    #[serde(default)]
    pub cursor: Option<Value>,
    /// At most so many events.
    pub max_events: u32,
}

/// What a source answers. Events, wake-up and cursor are stored in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceOutput {
    /// Events to accept, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// The answer to an HTTP request; 200 without a body when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HttpResponse>,
    /// When to be called with a tick next, milliseconds of the Unix epoch; absent: not before the
    /// source is opened again. Only the answer to a tick is heard, of a type that
    /// [takes them](crate::TypeDescriptor::takes_ticks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_tick_ms: Option<u64>,
    /// What the next tick or poll gets as its cursor; the present one when absent. Only the answer
    /// to a tick or poll is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Value>,
    /// Why an input was refused, for the counters and the log of refusals of its source: set when
    /// there is no event because the input did not deserve one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Something that the daemon is to do before it calls again with its outcome. Nothing else of
    /// this answer is used then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Lines for the source's log, which its owner reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// The answer to [`SourceInput::Check`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Raw bodies that [`Payload::Body`], [`ResponseBody::Body`] and effects refer to by position.
    /// They travel beside the document, not in it.
    #[serde(skip)]
    pub bodies: Vec<Vec<u8>>,
}

/// Why an input was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What counters group by: a few fixed words in lower case with underscores, such as
    /// `bad_signature`, `stale_timestamp` or `policy`. Never anything of the input.
    pub reason: String,
    /// What exactly was wrong, for the source's owner, without secrets.
    pub message: String,
}

/// An event that a source emits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What automations listen for, such as `timer.tick` or `custom:my-event`.
    pub event_type: String,
    /// The payload.
    pub payload: Payload,
    /// Events of one source with the same key are stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// Events with the same key run in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_id: Option<String>,
}

/// Where an event's payload is. It must be valid JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Here.
    Json(Value),
    /// In [`SourceOutput::bodies`], at this position.
    Body(usize),
    /// The body of the call, unchanged.
    Input,
}

/// The answer to an HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(default)]
    pub body: ResponseBody,
}

/// The body of an HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseBody {
    /// The daemon's own: empty, or the ids of the stored events.
    #[default]
    Default,
    /// `text/plain`, unless a header says otherwise.
    Text(String),
    /// `application/json`.
    Json(Value),
    /// In [`SourceOutput::bodies`], at this position.
    Body(usize),
}

/// A line of a source's or integration's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// What happened, without secrets.
    pub message: String,
}
