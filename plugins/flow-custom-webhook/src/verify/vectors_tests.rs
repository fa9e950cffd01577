//! Requests that others signed: `vectors/signatures.jsonl`, whose making `vectors/make.py` tells.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mortise_plugin::{Source, SourceInput};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::testing::{Opened, open_with, request};

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Vector {
    pub(super) by: String,
    pub(super) verify: Value,
    pub(super) now_ms: u64,
    pub(super) timed: bool,
    pub(super) headers: serde_json::Map<String, Value>,
    body: String,
    event: String,
    dedup: Option<String>,
}

pub(super) fn vectors() -> Vec<Vector> {
    let text = include_str!("../../vectors/signatures.jsonl");
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

impl Vector {
    pub(super) fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body).unwrap()
    }

    pub(super) fn open(&self) -> Opened {
        open_with(json!({ "verify": self.verify })).unwrap_or_else(|it| panic!("{it:?}"))
    }

    /// What the request with these headers and this body leads to, so much later: the type of its
    /// event with its dedup key, or reason and message.
    pub(super) fn outcome(
        &self,
        source: &dyn Source,
        headers: &[(String, String)],
        body: &[u8],
        later_ms: i64,
    ) -> Result<(String, Option<String>), (String, String)> {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut call = request("POST", &headers);
        call.now_ms = self.now_ms.checked_add_signed(later_ms).unwrap();
        assert!(matches!(call.input, SourceInput::Http(_)));
        let mut output = source.call(call, body).unwrap();
        match (output.events.pop(), output.refused) {
            (Some(event), None) => Ok((event.event_type, event.dedup_key)),
            (None, Some(refused)) => {
                let status = output.response.unwrap().status;
                assert!([400, 401].contains(&status), "{status}");
                Err((refused.reason, refused.message))
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        self.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

#[test]
fn every_vector_is_taken_in_time_only() {
    let vectors = vectors();
    assert!(vectors.iter().filter(|it| it.by != "made").count() >= 6);
    for vector in vectors {
        let (opened, headers, body) = (vector.open(), vector.headers(), vector.body());
        let at = |later_ms| vector.outcome(&*opened.source, &headers, &body, later_ms);
        let expected = Ok((vector.event.clone(), vector.dedup.clone()));
        let what = &vector.verify;
        assert_eq!(at(0), expected, "{what}");
        // The clock of the vector is 7 s after the time that is signed.
        assert_eq!(at(293_000), expected, "{what}");
        assert_eq!(at(-307_000), expected, "{what}");
        for late in [293_001, 86_400_000, -307_001] {
            match at(late) {
                Ok(_) => assert!(!vector.timed, "{what}"),
                Err((reason, message)) => {
                    assert!(vector.timed, "{what}");
                    assert_eq!(reason, "stale_timestamp", "{what}: {message}");
                }
            }
        }
    }
}

#[test]
fn another_secret_and_no_signature_are_refused() {
    for vector in vectors() {
        let (headers, body) = (vector.headers(), vector.body());
        let mut other = vector.clone();
        let name = if other.verify["public_key"].is_null() { "secret" } else { "public_key" };
        other.verify[name] = match other.verify["scheme"].as_str().unwrap() {
            "discord" => json!("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
            "standard-webhooks" => {
                json!(["whsec_AAAA", "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="])
            }
            "gitlab" => json!(["whsec_AAAA", "Planted"]),
            _ if !other.verify["secret_encoding"].is_null() => json!("00"),
            _ => json!("Planted"),
        };
        let what = &other.verify;
        let opened = other.open();
        let (reason, message) = other.outcome(&*opened.source, &headers, &body, 0).unwrap_err();
        assert!(["bad_signature", "bad_token"].contains(&reason.as_str()), "{what}: {reason}");
        for secret in ["Planted", "whsec", "d75a98", "AAAA", "EnterYour"] {
            assert!(!message.contains(secret), "{message}");
        }

        let opened = vector.open();
        let named = |it: &str| it.contains("sig") || it.contains("hmac") || it.contains("token");
        let without: Vec<_> = headers.iter().filter(|(it, _)| !named(it)).cloned().collect();
        assert!(without.len() < headers.len(), "{what}");
        let (reason, message) = vector.outcome(&*opened.source, &without, &body, 0).unwrap_err();
        assert!(reason.starts_with("missing_"), "{what}: {reason}: {message}");
    }
}

#[test]
fn no_header_that_is_looked_at_may_come_twice() {
    for vector in vectors() {
        let (opened, headers, body) = (vector.open(), vector.headers(), vector.body());
        for (name, value) in headers.iter().filter(|(it, _)| {
            let it = it.as_str();
            it.contains("sig")
                || it.contains("hmac")
                || it.contains("time")
                || it.ends_with("token")
        }) {
            if vector.verify["scheme"] == "gitlab" && value == "wrong" {
                continue;
            }
            let mut twice = headers.clone();
            twice.push((name.clone(), value.clone()));
            let (reason, message) = vector.outcome(&*opened.source, &twice, &body, 0).unwrap_err();
            assert_eq!(reason, "malformed");
            assert!(message.contains("twice"), "{message}");
        }
    }
}
