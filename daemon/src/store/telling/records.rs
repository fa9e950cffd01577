//! Shapes of the rows of integrations, subscriptions, and what goes through them.

use serde::{Deserialize, Serialize};

use super::super::record::Record;
use crate::lifecycle::attempts::Tries;
use crate::lifecycle::sending::Circuit;
use crate::model::id::{IntegrationId, OccurrenceId, SubscriptionId};
use crate::model::integration::{Decision, Message};
use crate::model::occurrence::{OccurrenceHead, Selector, Trigger};
use crate::model::scope::ScopePrefix;

impl Record for OccurrenceHead {
    const NAME: &'static str = "occurrence";
}

/// A configured sink. Its connection is an envelope under its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrationRecord {
    /// Unique within its type.
    pub name: String,
    /// The sink type of its plugin.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it serves everything on the host.
    #[serde(default)]
    pub supplied_to_all: bool,
    /// How many messages may be under way at once.
    pub concurrency: u16,
    /// How many may begin in a second; as many as there are when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
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

impl Record for IntegrationRecord {
    const NAME: &'static str = "integration";
}

/// A scope that an integration serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyRecord {
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
}

impl Record for SupplyRecord {
    const NAME: &'static str = "supply";
}

/// What somebody wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// Through which integration.
    pub integration: IntegrationId,
    /// What.
    pub trigger: Selector,
    /// Where; everywhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopePrefix>,
    /// A jq program: only occurrences for which it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// A template for the title of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A template for their text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// For how long occurrences of a kind are collected for one message.
    #[serde(default)]
    pub group_wait_seconds: u32,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
    /// When somebody changed it last.
    pub modified_ms: u64,
    /// Name of the principal that changed it last.
    pub modified_by: String,
}

impl Record for SubscriptionRecord {
    const NAME: &'static str = "subscription";
}

/// What was decided about one occurrence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionsRecord {
    /// When, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// For whom; those that matter most are kept when there are too many.
    #[serde(default)]
    pub decisions: Vec<Decision>,
    /// How many more there were.
    #[serde(default)]
    pub left_out: u32,
}

impl Record for DecisionsRecord {
    const NAME: &'static str = "decisions";
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TellingState")]
pub enum TellingState {
    /// It is to be sent, perhaps again.
    Queued,
    /// The other side has it.
    Delivered,
    /// It was given up.
    Dead,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellingRecord {
    /// For which subscription.
    pub subscription: SubscriptionId,
    /// What happened.
    pub trigger: Trigger,
    /// What it tells of, oldest first; the first ones when there are many.
    pub occurrences: Vec<OccurrenceId>,
    /// How many it tells of.
    pub count: u32,
    /// What is said of the first.
    pub message: Message,
    /// The titles of what it tells of, when it tells of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub titles: Vec<String>,
    /// While it collects more of its kind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gathers: bool,
    /// The longer piece of work that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    /// How it stands.
    pub state: TellingState,
    /// When it was queued, milliseconds of the Unix epoch.
    pub queued_ms: u64,
    /// Not sent before.
    pub due_ms: u64,
    /// How often it was tried since it was queued.
    #[serde(default)]
    pub tries: Tries,
    /// Every attempt, the last ones when there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<TellingAttempt>,
    /// How many attempts there were ever.
    #[serde(default)]
    pub attempt_count: u32,
    /// Why it was given up, when it was not for its last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Record for TellingRecord {
    const NAME: &'static str = "delivery through an integration";
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellingAttempt {
    /// When it began, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// What came of it: `taken`, `throttled`, `transient`, `config`, `permanent` or `cut_off`.
    pub status: String,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The sink's own id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The generation of the integration that it was made with.
    pub generation: u64,
}

/// How messages get through an integration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRecord {
    /// Whether they do.
    pub circuit: Circuit,
}

impl Record for HealthRecord {
    const NAME: &'static str = "health of an integration";
}

/// The conversation of a longer piece of work at a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRecord {
    /// What the sink calls it.
    pub thread: String,
    /// When something was said in it last, milliseconds of the Unix epoch.
    pub at_ms: u64,
}

impl Record for ThreadRecord {
    const NAME: &'static str = "conversation";
}
