//! `Idempotency-Key`: who does not know whether a call was carried out sends it again with the same
//! key, and it is carried out once. The answer is remembered for a day, for each caller and call.
//!
//! What is published with a key is stored once in the same transaction as the event. For other calls
//! the answer is stored after they were carried out: a daemon that is killed in between carries a
//! repetition out again.
//!
//! An answer that holds a secret is stored without it, and a repetition is told that, and what was made:
//! what is shown once is not kept in order to be shown twice.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use actix_web::HttpRequest;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Api;
use super::error::{ApiError, Code};
use crate::store::AnswerRecord;

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
                "With an `Idempotency-Key` it is carried out once a day: a repetition gets the same answer.",
            ),
            Remembered::Without(_) => Some(
                "With an `Idempotency-Key` it is carried out once a day: a repetition is answered with 409 \
                 `already_created` and with what was made in `created`, without the secret.",
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

    /// What a repetition is answered with.
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
    body: [u8; 32],
    remembered: Remembered,
}

/// What is known of a call with a key.
pub(super) enum Known<'a> {
    /// It was carried out; this was answered.
    Answered(Vec<u8>),
    /// It is to be carried out.
    New(Turn<'a>),
}

/// Looks whether a call was carried out before.
pub(super) fn begin<'a>(
    api: &'a Api,
    principal: &str,
    (route, remembered): (&str, Remembered),
    key: &str,
    body: &[u8],
) -> Result<Known<'a>, ApiError> {
    let call = hash(&[principal.as_bytes(), route.as_bytes(), key.as_bytes()]);
    // With the key, which is not stored: a body may hold a secret that is easy to guess.
    let body = hash(&[key.as_bytes(), body]);
    let is_first = {
        let mut under_way = api.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(call)
    };
    if !is_first {
        let message = "a call with this Idempotency-Key is being carried out; try again later";
        return Err(ApiError::new(Code::Conflict, message));
    }
    let turn = Turn { under_way: &api.under_way, call, body, remembered };
    let now_ms = api.services.clock.now_ms();
    match api.services.store.read(|tables| tables.answer(&call, now_ms))? {
        None => Ok(Known::New(turn)),
        Some(answer) if answer.body_hash == hex::encode(body) => {
            remembered.repeated(answer.answer).map(Known::Answered)
        }
        Some(_) => Err(ApiError::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key was sent with other parameters: take a new key for a new call",
        )),
    }
}

impl Turn<'_> {
    /// Remembers what was answered. A failure changes nothing and is not remembered.
    pub(super) async fn end(self, api: &Api, answer: &[u8]) {
        let Some(text) = self.remembered.kept(answer) else { return };
        if text.len() > LARGEST_ANSWER {
            return;
        }
        let record = AnswerRecord {
            body_hash: hex::encode(self.body),
            answered_ms: api.services.clock.now_ms(),
            answer: text,
        };
        let call = self.call;
        let write = api.services.store.write(move |it| it.remember_answer(&call, &record));
        if let Err(error) = write.await {
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
