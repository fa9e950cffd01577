//! Shapes of the rows of webhooks and their deliveries.

use serde::{Deserialize, Serialize};

use super::super::record::Record;
use crate::lifecycle::attempts::Tries;
use crate::lifecycle::webhook::{OnDegraded, Standing};

/// An outgoing webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// Where events are sent.
    pub url: String,
    /// Which events, such as `work_created`.
    pub event_types: Vec<String>,
    /// Names of the headers that go with each request; their values are in the envelope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header_names: Vec<String>,
    /// A jq program: only changes for which it is true are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What becomes of its queue while it is degraded.
    #[serde(default)]
    pub on_degraded: OnDegraded,
    /// Whether changes of one object go out one after the other.
    #[serde(default)]
    pub in_order: bool,
    /// How many requests may be under way at once.
    pub concurrency: u16,
    /// How many requests may begin in one second; as many as there are when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Where it stands.
    pub standing: Standing,
    /// When the secret before this one is forgotten, milliseconds of the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_until_ms: Option<u64>,
    /// Grows with every change.
    pub generation: u64,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
    /// When somebody changed it last.
    pub modified_ms: u64,
    /// Name of the principal that changed it last.
    pub modified_by: String,
}

impl WebhookRecord {
    /// Where its endpoint is: the path of a URL may be a secret.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or_default()
    }
}

impl Record for WebhookRecord {
    const NAME: &'static str = "webhook";
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be sent, perhaps again.
    Queued,
    /// The endpoint has it.
    Delivered,
    /// It failed for good.
    Failed,
}

/// One event for one webhook. The body of its request is the record's tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Such as `work_created`.
    pub event_type: String,
    /// The object that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// How it stands.
    pub state: DeliveryState,
    /// When it was queued, milliseconds of the Unix epoch.
    pub queued_ms: u64,
    /// Not sent before.
    pub due_ms: u64,
    /// How often it was tried since it was queued.
    #[serde(default)]
    pub tried: Tries,
    /// Every attempt ever, the last ones when there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptRecord>,
    /// Why it failed, when it was not for its last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Record for DeliveryRecord {
    const NAME: &'static str = "delivery";
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// When it began, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of the answer's body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
}
