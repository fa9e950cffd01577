//! Requests that were recorded at a trigger URL: what is kept of each, and how many more are wanted.
//! Plain data. What is in a [`RecordedRequest`] was masked before: no secret of the source is in it.

use serde::{Deserialize, Serialize};

use super::id::EventId;

/// What came of a request, or of a dry run of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// It led to events.
    Accepted,
    /// It did not deserve one.
    Refused,
    /// It was answered without an event, as a handshake is.
    Answered,
    /// The source failed, or could not take it.
    Failed,
}

impl RequestOutcome {
    /// The outcome of an input that the plugin has answered, where `status` is what it wants the
    /// sender to be told.
    pub fn of(has_events: bool, is_refused: bool, status: Option<u16>) -> RequestOutcome {
        match (has_events, is_refused, status) {
            (true, _, _) => RequestOutcome::Accepted,
            (false, true, _) => RequestOutcome::Refused,
            (false, false, Some(500..)) => RequestOutcome::Failed,
            (false, false, Some(400..)) => RequestOutcome::Refused,
            (false, false, Some(_) | None) => RequestOutcome::Answered,
        }
    }
}

/// A request as it came in, without its secrets; its body is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// When, milliseconds of the Unix epoch.
    pub received_ms: u64,
    /// Method, upper case.
    pub method: String,
    /// Query string without the `?`, not decoded.
    pub query: String,
    /// Headers by name, values as Latin-1 text.
    pub headers: Vec<(String, String)>,
    /// Address of the peer.
    pub peer: String,
    /// What was masked, such as `header authorization`.
    #[serde(default)]
    pub masked: Vec<String>,
    /// How long the body was.
    pub body_bytes: u64,
    /// SHA-256 of the whole body, when only its beginning is kept.
    #[serde(default)]
    pub cut_sha256: Option<String>,
    /// What came of it.
    pub outcome: RequestOutcome,
    /// What the sender was told.
    pub status: u16,
    /// Why there is no event, in a word.
    #[serde(default)]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(default)]
    pub message: Option<String>,
    /// The events that it led to.
    #[serde(default)]
    pub events: Vec<EventId>,
}

/// How the recording at a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// How many more requests are wanted.
    pub left: u32,
    /// How many requests are kept.
    pub kept: u32,
    /// How many bytes those are.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_an_outcome() {
        use RequestOutcome as O;
        for (has_events, is_refused, status, outcome) in [
            (true, false, None, O::Accepted),
            (true, false, Some(202), O::Accepted),
            (false, true, Some(200), O::Refused),
            (false, true, None, O::Refused),
            (false, false, Some(401), O::Refused),
            (false, false, Some(500), O::Failed),
            (false, false, Some(200), O::Answered),
            (false, false, None, O::Answered),
        ] {
            assert_eq!(RequestOutcome::of(has_events, is_refused, status), outcome);
        }
    }
}
