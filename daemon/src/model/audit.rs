//! What the audit log says: who changed what, and whom it was refused to. Plain data; secrets are
//! masked before they come here.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::PrincipalId;
use super::id::RunId;

/// A row of the log, without what chains it to the others. Its JSON, as it was written, is what is
/// hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Counts from 1, without gaps.
    pub seq: u64,
    /// When, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditEvent {
    /// A call begins to change something: written with the change, or before it.
    Begun {
        /// Which, and by whom.
        #[serde(flatten)]
        call: AuditedCall,
    },
    /// A call has ended that changed something, or may have.
    Done {
        /// Which, and by whom.
        #[serde(flatten)]
        call: AuditedCall,
        /// The row that says that it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun: Option<u64>,
        /// The HTTP status that it was answered with.
        status: u16,
        /// The code of the error, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// What was different before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
        /// What is different after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Value>,
    },
    /// Calls that were refused within a minute.
    Refused(RefusedCalls),
}

/// A call, and who makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedCall {
    /// Its name, such as `snap-ins.update`.
    pub call: String,
    /// The name of whoever makes it.
    pub who: String,
    /// The user or service account that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// The name of the token that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The run that makes it, when a function does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Where it comes from: an IP address, or `unix:<uid>`.
    pub peer: String,
    /// What it is about, as the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What else that is called, and what else the caller named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What was sent, as far as it is kept.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub request: Map<String, Value>,
}

/// Calls of one kind that were refused within a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedCalls {
    /// Its name; empty for many, and for what is none.
    pub call: String,
    /// The name of whoever made it; empty for nobody who is known.
    pub who: String,
    /// Where they came from; empty for many.
    pub peer: String,
    /// The HTTP status that they were answered with.
    pub status: u16,
    /// How many.
    pub times: u64,
    /// When the first was, milliseconds of the Unix epoch.
    pub first_ms: u64,
    /// When the last was.
    pub last_ms: u64,
}

/// What a list of the log is narrowed to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditFilter {
    /// The call; one that ends in `.` stands for all that begin so.
    pub call: Option<String>,
    /// Whoever makes it: name or id.
    pub who: Option<String>,
    /// Where it comes from.
    pub peer: Option<String>,
    /// What it is about, by any of these names; by whatever, when there are none.
    pub targets: Vec<String>,
    /// Whether only what was refused, or only what was not.
    pub refused: Option<bool>,
    /// Not before, milliseconds of the Unix epoch.
    pub from_ms: Option<u64>,
    /// Before.
    pub until_ms: Option<u64>,
}

impl AuditFilter {
    /// Whether a row is wanted.
    pub fn wants(&self, row: &AuditRow) -> bool {
        let (call, who, principal, peer, about, refused) = match &row.event {
            AuditEvent::Begun { call } | AuditEvent::Done { call, .. } => {
                (&call.call, &call.who, call.principal, &call.peer, Some(call), false)
            }
            AuditEvent::Refused(calls) => (&calls.call, &calls.who, None, &calls.peer, None, true),
        };
        let is_about = |wanted: &String| {
            about.is_some_and(|it| it.target.as_ref() == Some(wanted) || it.also.contains(wanted))
        };
        let is_wanted = self.targets.is_empty() || self.targets.iter().any(is_about);
        let is_call = |wanted: &String| {
            wanted == call || (wanted.ends_with('.') && call.starts_with(wanted.as_str()))
        };
        let is_who = |wanted: &String| {
            wanted == who || principal.is_some_and(|it| it.to_string() == *wanted)
        };
        self.call.as_ref().is_none_or(is_call)
            && self.who.as_ref().is_none_or(is_who)
            && self.peer.as_ref().is_none_or(|it| it == peer)
            && is_wanted
            && self.refused.is_none_or(|it| it == refused)
            && self.from_ms.is_none_or(|it| row.at_ms >= it)
            && self.until_ms.is_none_or(|it| row.at_ms < it)
    }
}
