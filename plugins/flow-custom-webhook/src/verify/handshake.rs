//! Requests that only want to know whether somebody is there.
//!
//! They are answered after verification, and make no event. CloudEvents' one is not signed and
//! tells nothing; it is answered only where CloudEvents are what is configured.

use mortise_plugin::{HttpResponse, ResponseBody};
use serde_json::json;

use super::headers::Headers;
use super::rejection::Rejection;
use super::walk::{Found, Value};

/// The handshake of a sender, with the places at which its fields are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    None,
    /// `{"type": "url_verification", "challenge": TEXT}`, answered with the challenge.
    Slack {
        /// `/type`.
        kind: usize,
        /// `/challenge`.
        challenge: usize,
    },
    /// PING: type 1 of an interaction, type 0 of a webhook event.
    Discord {
        /// `/type`.
        kind: usize,
        /// `/event`, which webhook events have.
        event: usize,
        /// `/version`, which both have, and `/id`, which interactions have.
        id: usize,
    },
}

impl Handshake {
    /// The answer, if this is one.
    pub(super) fn answer(self, found: &Found) -> Result<Option<HttpResponse>, Rejection> {
        match self {
            Handshake::None => Ok(None),
            Handshake::Slack { kind, challenge } => {
                if *found.at(kind) != Value::Text("url_verification".to_owned()) {
                    return Ok(None);
                }
                let Value::Text(challenge) = found.at(challenge) else {
                    return Err(Rejection::body("the url_verification has no `challenge`"));
                };
                Ok(Some(answer(200, ResponseBody::Json(json!({ "challenge": challenge })))))
            }
            Handshake::Discord { kind, event, id } => {
                let Value::Plain(kind) = found.at(kind) else { return Ok(None) };
                let is_event = *found.at(event) != Value::Nothing;
                let is_interaction = *found.at(id) != Value::Nothing;
                Ok(match kind.as_str() {
                    "1" if !is_event => Some(answer(200, ResponseBody::Json(json!({ "type": 1 })))),
                    "0" if !is_event && !is_interaction => Some(empty(204)),
                    _ => None,
                })
            }
        }
    }

    /// Whether this is a webhook event of Discord.
    pub(super) fn is_discord_event(self, found: &Found) -> bool {
        match self {
            Handshake::Discord { event, .. } => *found.at(event) != Value::Nothing,
            Handshake::None | Handshake::Slack { .. } => false,
        }
    }
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> HttpResponse {
    answer(status, ResponseBody::Text(String::new()))
}

fn answer(status: u16, body: ResponseBody) -> HttpResponse {
    HttpResponse { status, headers: Vec::new(), body }
}

/// The answer to CloudEvents' `OPTIONS`: whoever asks may send, as much as it likes.
pub(super) fn cloud_events(headers: Headers<'_>) -> Result<HttpResponse, Rejection> {
    let Some(origin) = headers.one("webhook-request-origin")? else {
        return Err(Rejection::body("the header WebHook-Request-Origin is missing"));
    };
    if origin.is_empty() || !origin.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(Rejection::body("the header WebHook-Request-Origin has no name of a host"));
    }
    let headers =
        [("Allow", "POST"), ("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Ok(HttpResponse { headers, ..empty(200) })
}
