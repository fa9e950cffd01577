//! `Idempotency-Key`: who does not know whether a call was carried out sends it again with the same
//! key, and it is carried out once. The answer is remembered for a day, for each caller and call.
//!
//! What is published with a key is stored once in the same transaction as the event. So is the key of every
//! other call, with its change (`store/answers.rs`); the answer takes its place afterwards. A repetition
//! that finds the key without an answer, because the daemon was killed in between, is told so and where to
//! look, and is not carried out. What is carried out by an actor or another task is stored before it begins:
//! of that nobody knows whether it was.
//!
//! Keys belong to whoever sent them, by his id: somebody later may have his name. Whoever has the right of
//! the call on less than then is not told the answer.
//!
//! An answer that holds a secret is stored without it, and a repetition is told that, and what was made:
//! what is shown once is not kept in order to be shown twice.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpRequest;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Api;
use super::error::{ApiError, Code};
use super::rights::Caller;
use crate::store::{AnswerRecord, CallProgress, KeyTicket};

/// The header.
pub(super) const HEADER: &str = "idempotency-key";
/// Says that an answer is one of before.
pub(super) const REPLAYED: &str = "idempotent-replayed";
const LONGEST: usize = 255;
/// Larger answers are not remembered; no call that is remembered gives one.
const LARGEST_ANSWER: usize = 256 * 1024;

/// What is remembered of the answers of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// Nothing: the call may be repeated, or makes nothing.
    Nothing,
    /// All of it. Such answers hold no secret.
    Whole,
    /// All but the members of these names, which are secrets.
    Without(&'static [&'static str]),
}

impl Remembered {
    /// For documents.
    pub(super) fn about(self) -> Option<&'static str> {
        match self {
            Remembered::Nothing => None,
            Remembered::Whole => Some(
                "With an `Idempotency-Key` it is carried out once a day: a repetition gets the same answer, or \
                 409 `already_done` or `outcome_unknown` when that is lost.",
            ),
            Remembered::Without(_) => Some(
                "With an `Idempotency-Key` it is carried out once a day: a repetition is answered with 409 \
                 `already_created` and with what was made in `created`, without the secret, or with \
                 `already_done` or `outcome_unknown` when the answer is lost.",
            ),
        }
    }

    /// What is stored of an answer.
    fn kept(self, answer: &[u8]) -> Option<String> {
        match self {
            Remembered::Nothing => None,
            Remembered::Whole => String::from_utf8(answer.to_vec()).ok(),
            Remembered::Without(secrets) => {
                let mut answer: Map<String, Value> = serde_json::from_slice(answer).ok()?;
                strip(&mut answer, secrets);
                Some(Value::Object(answer).to_string())
            }
        }
    }

    /// What a repetition is answered with, once there is an answer.
    fn repeated(self, stored: String) -> Result<Vec<u8>, ApiError> {
        match self {
            Remembered::Nothing | Remembered::Whole => Ok(stored.into_bytes()),
            Remembered::Without(_) => {
                let created: Value = serde_json::from_str(&stored).unwrap_or_default();
                let message = "this was made by a call with the same Idempotency-Key. Its secret was in the \
                               answer to that and is not kept: if that was lost, delete what was made, and \
                               make it anew with another key";
                Err(ApiError::new(Code::AlreadyCreated, message).with("created", created))
            }
        }
    }
}

fn strip(members: &mut Map<String, Value>, secrets: &[&str]) {
    members.retain(|name, _| !secrets.contains(&name.as_str()));
    for value in members.values_mut() {
        if let Value::Object(inner) = value {
            strip(inner, secrets);
        }
    }
}

/// The key that a request came with.
pub(super) fn key_of(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let Some(value) = request.headers().get(HEADER) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|it| is_key(it));
    match text {
        Some(text) => Ok(Some(text.to_owned())),
        None => {
            let message =
                format!("Idempotency-Key must be 1 to {LONGEST} visible ASCII characters");
            Err(ApiError::new(Code::BadRequest, message))
        }
    }
}

fn is_key(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|it| (0x20..0x7f).contains(&it))
}

/// Calls with a key that are being carried out.
#[derive(Default)]
pub struct UnderWay(Mutex<HashSet<[u8; 32]>>);

/// One of them.
pub(super) struct Turn<'a> {
    under_way: &'a UnderWay,
    call: [u8; 32],
    remembered: Remembered,
    ticket: Arc<KeyTicket>,
}

/// What is known of a call with a key.
pub(super) enum Known<'a> {
    /// It was carried out; this was answered.
    Answered(Vec<u8>),
    /// It is to be carried out.
    New(Turn<'a>),
}

/// A call that may come with a key.
pub(super) struct Call<'a> {
    /// As it was called.
    pub(super) name: &'a str,
    /// What is remembered of it.
    pub(super) remembered: Remembered,
    /// Whether an actor or another task carries it out.
    pub(super) is_ahead: bool,
    /// The call that lists what it makes.
    pub(super) list: Option<String>,
}

/// Looks whether a call was carried out before.
pub(super) fn begin<'a>(
    api: &'a Api,
    caller: &Caller,
    it: &Call<'_>,
    key: &str,
    body: &[u8],
) -> Result<Known<'a>, ApiError> {
    let identity = caller.principal.identity();
    // A user who is made anew under a name gets the id that snap-ins know it by.
    let id = caller.principal.of_host().and_then(|it| it.principal);
    let state = api.access.state();
    let made_ms = id.and_then(|it| state.principal(it)).map_or(0, |it| it.created_ms);
    let since = made_ms.to_be_bytes();
    let call = hash(&[identity.as_bytes(), &since, it.name.as_bytes(), key.as_bytes()]);
    // With the key, which is not stored: a body may hold a secret that is easy to guess.
    let body_hash = hex::encode(hash(&[key.as_bytes(), body]));
    let is_first = {
        let mut under_way = api.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(call)
    };
    if !is_first {
        let message = "a call with this Idempotency-Key is being carried out; try again later";
        return Err(ApiError::new(Code::InProgress, message));
    }
    let ticket = KeyTicket::new(call, body_hash.clone(), caller.reach.kind(), it.is_ahead);
    let turn = Turn { under_way: &api.under_way, call, remembered: it.remembered, ticket };
    let now_ms = api.services.clock.now_ms();
    let Some(before) = api.services.store.read(|tables| tables.answer(&call, now_ms))? else {
        return Ok(Known::New(turn));
    };
    if before.body_hash != body_hash {
        return Err(ApiError::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key was sent with other parameters: take a new key for a new call",
        ));
    }
    let is_less = caller.reach.is_less_than(&before.reach);
    repeated(it, before, is_less).map(Known::Answered)
}

/// What a repetition is answered with.
fn repeated(call: &Call<'_>, before: AnswerRecord, is_less: bool) -> Result<Vec<u8>, ApiError> {
    let (code, audit, what) = match before.progress {
        CallProgress::Answered(answer) if !is_less => return call.remembered.repeated(answer),
        CallProgress::Answered(_) => (
            Code::AlreadyDone,
            None,
            "a call with this Idempotency-Key was carried out; you may do it on less than then, so its \
             answer is not repeated",
        ),
        CallProgress::Done { audit } => (
            Code::AlreadyDone,
            audit,
            "a call with this Idempotency-Key was carried out, and its answer was lost when the daemon \
             ended before it",
        ),
        CallProgress::Begun { audit } => (
            Code::OutcomeUnknown,
            audit,
            "a call with this Idempotency-Key began, and the daemon ended before the answer: it was \
             carried out wholly, in part or not at all",
        ),
    };
    let mut places: Vec<String> = call.list.iter().map(|it| format!("`{it}`")).collect();
    places.extend(audit.map(|it| format!("row {it} of the audit log (`audit.list`)")));
    let look = match places.is_empty() {
        true => String::new(),
        false => format!(". Look what there is: {}", places.join(", and ")),
    };
    let is_secret = matches!(call.remembered, Remembered::Without(_));
    let secret = match is_secret && code == Code::AlreadyDone {
        true => ". Its secret is lost with the answer: delete what was made",
        false => "",
    };
    let message = format!("{what}{look}{secret}. To do it once more, send it with another key");
    let error = ApiError::new(code, message);
    let error = match &call.list {
        Some(list) => error.with("list", list.as_str().into()),
        None => error,
    };
    Err(match audit {
        Some(row) => error.with("audit_row", row.into()),
        None => error,
    })
}

impl Turn<'_> {
    /// What is stored with the first thing that the call changes.
    pub(super) fn ticket(&self) -> Arc<KeyTicket> {
        self.ticket.clone()
    }

    /// Remembers what was answered. What failed may be sent again with its key, unless it may still be done.
    pub(super) async fn end(self, api: &Api, outcome: &Result<Vec<u8>, ApiError>) {
        let call = self.call;
        let written = match outcome {
            Ok(answer) => {
                let text = self.remembered.kept(answer).filter(|it| it.len() <= LARGEST_ANSWER);
                // That it was carried out stays known all the same.
                let Some(text) = text else { return };
                let record = self.ticket.answered(text, api.services.clock.now_ms());
                api.services.store.write(move |it| it.remember_answer(&call, &record)).await
            }
            // What may still be done must not be done once more: that it began stays known.
            Err(error) if error.is_unfinished() => return,
            Err(_) if self.ticket.is_stored() => {
                api.services.store.write(move |it| it.forget_answer(&call)).await
            }
            Err(_) => return,
        };
        if let Err(error) = written {
            // The call was carried out: that is what its caller has to hear.
            tracing::warn!(%error, "the answer to a call with an Idempotency-Key is not remembered");
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut calls = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.remove(&self.call);
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // The length, so that two texts cannot be cut differently into the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lost_answer_is_told_with_where_to_look() {
        let call = |remembered| Call {
            name: "webhooks.create",
            remembered,
            is_ahead: false,
            list: Some("webhooks.list".to_owned()),
        };
        let before = |progress| AnswerRecord {
            body_hash: String::new(),
            answered_ms: 0,
            reach: "all".to_owned(),
            progress,
        };
        let told = |remembered, progress, is_less| {
            repeated(&call(remembered), before(progress), is_less).expect_err("no answer")
        };
        let secret = Remembered::Without(&["secret"]);
        let done = told(secret, CallProgress::Done { audit: Some(7) }, false);
        assert_eq!(done.code(), Code::AlreadyDone);
        assert_eq!(done.member("audit_row"), Some(&json!(7)));
        let message = done.message();
        assert!(message.contains("`webhooks.list`") && message.contains("delete"), "{message}");
        let begun = told(Remembered::Whole, CallProgress::Begun { audit: None }, false);
        assert_eq!(begun.code(), Code::OutcomeUnknown);
        assert!(!begun.message().contains("audit"), "{}", begun.message());
        let answer = || CallProgress::Answered("{}".to_owned());
        let less = told(Remembered::Whole, answer(), true);
        assert_eq!(less.code(), Code::AlreadyDone);
        assert!(repeated(&call(Remembered::Whole), before(answer()), false).is_ok());
    }

    #[test]
    fn what_may_still_be_done_keeps_its_key() {
        use crate::actors::AskError;
        use crate::engine::tell::TellError;
        assert!(ApiError::from(TellError::TimedOut).is_unfinished());
        assert!(ApiError::from(TellError::NoAnswer("the integration")).is_unfinished());
        assert!(ApiError::from(AskError::TimedOut).audited().is_unfinished());
        assert!(!ApiError::from(TellError::Busy("full".to_owned())).is_unfinished());
        assert!(!ApiError::from(TellError::NoSuchIntegration).is_unfinished());
    }

    #[test]
    fn a_secret_is_not_remembered() {
        let remembered = Remembered::Without(&["secret", "token"]);
        let answer = json!({ "token": "hush", "webhook": { "id": "whk_1", "secret": "hush" } });
        let kept = remembered.kept(answer.to_string().as_bytes()).expect("something");
        assert_eq!(kept, r#"{"webhook":{"id":"whk_1"}}"#);
        let told = remembered.repeated(kept).expect_err("it is not answered again");
        assert_eq!(told.code(), Code::AlreadyCreated);
        assert_eq!(told.member("created"), Some(&json!({ "webhook": { "id": "whk_1" } })));
        assert_eq!(remembered.kept(b"no json"), None, "nor what is not understood");
        let whole = Remembered::Whole;
        assert_eq!(whole.kept(b"{\"a\":1}").as_deref(), Some("{\"a\":1}"));
        assert!(whole.repeated("{}".to_owned()).is_ok_and(|it| it == b"{}"));
    }
}
