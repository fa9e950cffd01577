//! What is sent to a webhook: bodies and headers. Pure.

use serde_json::{Map, Value, json};

use crate::engine::change_bodies::with_detail;
use crate::model::http::Headers;
use crate::model::id::{WebhookEventId, WebhookId};
use crate::model::timestamp::rfc3339;
use crate::secrets::WebhookSecrets;

/// Headers that are ours: nobody may set them for a webhook.
pub const OWN_HEADERS: [&str; 9] = [
    "content-type",
    "content-length",
    "host",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-mortise-signature",
    "x-devrev-signature",
];

/// The body of an event (seed 002): `id`, `webhook_id`, `timestamp`, `type`, and what the type says in a
/// member of its name. `unique_key` is the same for all webhooks that are told of one change.
pub fn body(
    event: WebhookEventId,
    webhook: WebhookId,
    at_ms: u64,
    event_type: &str,
    detail: &str,
) -> Vec<u8> {
    let head = json!({
        "id": event,
        "webhook_id": webhook,
        "timestamp": rfc3339(at_ms),
        "type": event_type,
        "unique_key": event,
    });
    with_detail(&head, event_type, detail).0
}

/// The body of a challenge.
pub fn challenge(
    event: WebhookEventId,
    webhook: WebhookId,
    now_ms: u64,
    challenge: &str,
) -> Vec<u8> {
    let detail = json!({ "challenge": challenge }).to_string();
    body(event, webhook, now_ms, "verify", &detail)
}

/// The headers of one attempt.
pub fn headers(
    event: WebhookEventId,
    now_ms: u64,
    body: &[u8],
    secrets: &WebhookSecrets,
    own: &[(String, String)],
) -> Headers {
    let id = event.to_string();
    let seconds = now_ms / 1000;
    let signature = secrets.of_body(body);
    let mut headers: Headers = own.to_vec();
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    add("content-type", "application/json".to_owned());
    add("user-agent", concat!("Mortise/", env!("CARGO_PKG_VERSION")).to_owned());
    add("x-devrev-signature", signature.clone());
    add("x-mortise-signature", signature);
    if let Some(previous) = secrets.of_body_previous(body) {
        add("x-mortise-signature-previous", previous);
    }
    add("webhook-signature", secrets.standard(&id, seconds, body));
    add("webhook-id", id);
    add("webhook-timestamp", seconds.to_string());
    headers
}

/// Whether an answer echoes a challenge, and if not, why, for whoever wrote the receiver.
pub fn echoes(status: u16, answer: &[u8], challenge: &str) -> Result<(), String> {
    if !(200..300).contains(&status) {
        return Err(format!("it answered {status} to the challenge"));
    }
    let expected = "expected 200 and {\"challenge\": the text in verify.challenge}";
    let Ok(answer) = serde_json::from_slice::<Map<String, Value>>(answer) else {
        return Err(format!("its answer to the challenge is no JSON object; {expected}"));
    };
    match answer.get("challenge") {
        Some(Value::String(echoed)) if echoed == challenge => Ok(()),
        Some(Value::String(_)) => Err(format!("it echoed another challenge; {expected}")),
        Some(Value::Null) => Err(format!(
            "it answered `\"challenge\": null`: does it look for the challenge beside `verify`? {expected}"
        )),
        Some(_) => Err(format!("its `challenge` is no text; {expected}")),
        None => Err(format!("its answer has no member `challenge`; {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_body_has_what_the_seed_says() {
        let (event, webhook) = (WebhookEventId(7), WebhookId(9));
        let detail = r#"{"work":{"a":1.50}}"#;
        let bytes = body(event, webhook, 1_659_355_200_123, "work_created", detail);
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.ends_with(r#","work_created":{"work":{"a":1.50}}}"#), "{text}");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["timestamp"], "2022-08-01T12:00:00.123Z");
        assert_eq!(value["type"], "work_created");
        assert_eq!(value["id"], event.to_string());
        assert_eq!(value["webhook_id"], webhook.to_string());
        let verify = challenge(event, webhook, 0, "abc");
        let verify: Value = serde_json::from_slice(&verify).expect("JSON");
        assert_eq!(verify["verify"]["challenge"], "abc");
    }

    #[test]
    fn receivers_are_told_what_is_wrong_with_their_echo() {
        assert_eq!(echoes(200, br#"{"challenge":"c","more":1}"#, "c"), Ok(()));
        for (status, answer, what) in [
            (500, r#"{"challenge":"c"}"#, "500"),
            (200, "c", "no JSON object"),
            (200, r#"{"challenge":"d"}"#, "another challenge"),
            (200, r#"{"challenge":null}"#, "beside `verify`"),
            (200, r#"{"challenge":1}"#, "no text"),
            (200, r#"{}"#, "no member"),
        ] {
            let refused = echoes(status, answer.as_bytes(), "c").expect_err(answer);
            assert!(refused.contains(what), "{refused}");
        }
    }

    #[test]
    fn every_attempt_is_signed_in_both_ways() {
        let secrets = WebhookSecrets {
            current: Zeroizing::new("new".to_owned()),
            previous: Some(Zeroizing::new("old".to_owned())),
        };
        let own = [("x-team".to_owned(), "ops".to_owned())];
        let headers = headers(WebhookEventId(1), 5_500, b"{}", &secrets, &own);
        let value = |name: &str| headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
        assert_eq!(value("x-team"), Some("ops"));
        assert_eq!(value("webhook-timestamp"), Some("5"));
        assert_eq!(value("x-mortise-signature"), value("x-devrev-signature"));
        assert_ne!(value("x-mortise-signature"), value("x-mortise-signature-previous"));
        assert_eq!(value("webhook-signature").map(|it| it.split(' ').count()), Some(2));
        for name in headers.iter().map(|it| it.0.as_str()).filter(|it| *it != "x-team") {
            assert!(
                OWN_HEADERS.contains(&name) || name == "x-mortise-signature-previous",
                "{name}"
            );
        }
    }
}
