//! Whole deliveries and tests, with Slack as its documentation says it answers.

use mortise_plugin::{FaultKind, Host, Plugin, Sink, SinkInput, SinkOutput};
use mortise_sinks::testing::{self, NOW_MS, answer, answered, call, deliver, request};
use serde_json::{Value, json};

use crate::errors::{ERRORS, Meaning};
use crate::{KIND, Slack};

fn open(channel: &str) -> Box<dyn Sink> {
    let config = json!({ "bot_token": "xoxb-secret", "default_channel": channel });
    Slack::open_sink(KIND, config, Host::silent()).unwrap()
}

fn ok(status: u16) -> mortise_plugin::EffectOutcome {
    answered(status, &[("content-type", "application/json; charset=utf-8")])
}

fn posted(
    sink: &dyn Sink,
    state: Value,
    body: &Value,
) -> Result<SinkOutput, mortise_plugin::Fault> {
    answer(sink, state, ok(200), body.to_string().as_bytes())
}

#[test]
fn a_delivery_is_posted_and_what_follows_is_a_reply() {
    let sink = open("C024BE91L");
    let (http, body, state) = deliver(&*sink, testing::delivery());
    assert_eq!(
        (http.method.as_str(), http.url.as_str()),
        ("POST", "https://slack.com/api/chat.postMessage")
    );
    assert!(http.headers.contains(&("authorization".to_owned(), "Bearer xoxb-secret".to_owned())));
    assert_eq!(body["channel"], "C024BE91L");
    assert_eq!(body["thread_ts"], Value::Null);
    assert!(!state.to_string().contains("secret") && !body.to_string().contains("secret"));
    let reply = json!({ "ok": true, "channel": "C024BE91L", "ts": "1503435956.000247" });
    let receipt = posted(&*sink, state, &reply).unwrap().receipt.unwrap();
    assert_eq!(receipt.message_id.as_deref(), Some("C024BE91L/1503435956.000247"));
    let thread = receipt.thread;
    assert_eq!(thread.as_deref(), Some("C024BE91L 1503435956.000247"));

    let second = mortise_plugin::Delivery { thread: thread.clone(), ..testing::delivery() };
    let (_, body, state) = deliver(&*sink, second.clone());
    assert_eq!(body["thread_ts"], "1503435956.000247");
    let reply = json!({ "ok": true, "channel": "C024BE91L", "ts": "1503435999.000100" });
    let receipt = posted(&*sink, state, &reply).unwrap().receipt.unwrap();
    assert_eq!(receipt.thread, thread, "replies go under the first message");

    // Another channel than then: the thread is not there.
    let (_, body, _) = deliver(&*open("C0AAAAAAA"), second);
    assert_eq!(body["thread_ts"], Value::Null);
}

#[test]
fn a_thread_that_takes_no_replies_costs_no_message() {
    let sink = open("#ops");
    let threaded =
        || mortise_plugin::Delivery { thread: Some("#ops 1.2".to_owned()), ..testing::delivery() };
    for (error, meaning) in ERRORS {
        let (_, body, state) = deliver(&*sink, threaded());
        assert_eq!(body["thread_ts"], "1.2");
        let refused = json!({ "ok": false, "error": error });
        let again = posted(&*sink, state, &refused);
        if meaning != Meaning::Thread {
            assert!(again.is_err(), "{error}");
            continue;
        }
        let again = again.unwrap();
        assert!(again.log[0].message.contains(error));
        let (_, body, state) = request(again);
        assert_eq!(body["thread_ts"], Value::Null);
        assert_eq!(body["blocks"].as_array().unwrap().len(), 3);
        let done =
            posted(&*sink, state.clone(), &json!({ "ok": true, "channel": "C1", "ts": "3.4" }));
        let receipt = done.unwrap().receipt.unwrap();
        assert_eq!(receipt.thread.as_deref(), Some("#ops 3.4"), "what follows goes there");
        assert_eq!(posted(&*sink, state, &refused).unwrap_err().kind, FaultKind::Permanent);
    }
}

#[test]
fn every_documented_error_is_told_apart() {
    let sink = open("#ops");
    for (error, meaning) in ERRORS {
        let (_, _, state) = deliver(&*sink, testing::delivery());
        let fault = posted(&*sink, state, &json!({ "ok": false, "error": error })).unwrap_err();
        let kind = match meaning {
            Meaning::Config(_) => FaultKind::Config,
            Meaning::Transient => FaultKind::Transient,
            Meaning::Permanent(_) | Meaning::Thread => FaultKind::Permanent,
        };
        assert_eq!(fault.kind, kind, "{error}");
        assert!(fault.message.contains(error), "{}", fault.message);
    }
    let (_, _, state) = deliver(&*sink, testing::delivery());
    let unknown = json!({
        "ok": false, "error": "moon_phase", "response_metadata": { "messages": ["[ERROR] full\nmoon"] },
    });
    let fault = posted(&*sink, state, &unknown).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Permanent);
    assert_eq!(
        fault.message,
        "Slack says `moon_phase` ([ERROR] full moon): this error is not known here"
    );
}

#[test]
fn rates_troubles_and_strangers_are_told_apart() {
    let sink = open("#ops");
    let state = || deliver(&*sink, testing::delivery()).2;
    let fault =
        |outcome, body: &str| answer(&*sink, state(), outcome, body.as_bytes()).unwrap_err();
    let limited = "{\"ok\":false,\"error\":\"ratelimited\"}";
    let slow = fault(answered(429, &[("retry-after", "17")]), limited);
    assert_eq!((slow.kind, slow.retry_after_ms), (FaultKind::Transient, Some(17_000)));
    let bare = fault(answered(429, &[("retry-after", "Fri, 01 Mar 2024 00:00:09 GMT")]), "");
    assert_eq!((bare.kind, bare.retry_after_ms), (FaultKind::Transient, Some(9_000)));
    assert_eq!(NOW_MS, 1_709_251_200_000);
    let silent = fault(ok(200), limited);
    assert_eq!((silent.kind, silent.retry_after_ms), (FaultKind::Transient, Some(30_000)));
    let odd = fault(answered(429, &[]), "{\"ok\":false,\"error\":\"moon_phase\"}");
    assert_eq!(odd.kind, FaultKind::Transient);
    let page = [("content-type", "text/html")];
    let html = "<html><body>secret stuff</body></html>";
    for (status, kind) in [
        (500, FaultKind::Transient),
        (502, FaultKind::Transient),
        (503, FaultKind::Transient),
        (200, FaultKind::Config),
        (404, FaultKind::Config),
    ] {
        let found = fault(answered(status, &page), html);
        assert_eq!(found.kind, kind, "{status}");
        assert!(!found.message.contains("secret") && found.message.contains("page for browsers"));
    }
    let json_500 = fault(answered(500, &[]), "{\"ok\":false,\"error\":\"moon_phase\"}");
    assert_eq!(json_500.kind, FaultKind::Transient);
    let empty = fault(ok(200), "{\"ok\":true}");
    assert_eq!(empty.kind, FaultKind::Permanent);
    assert!(answer(&*sink, json!("nonsense"), ok(200), b"{}").is_err());
}

#[test]
fn a_test_finds_out_without_posting() {
    let scopes =
        |it: &str| answered(200, &[("x-oauth-scopes", it), ("content-type", "application/json")]);
    let me = json!({ "ok": true, "team": "Acme", "user": "mortise", "bot_id": "B1" }).to_string();
    let test = |channel: &str, granted: &str| {
        let sink = open(channel);
        let (http, _, state) = request(call(&*sink, SinkInput::Test {}, b"").unwrap());
        assert_eq!(
            (http.method.as_str(), http.url.as_str()),
            ("GET", "https://slack.com/api/auth.test")
        );
        (answer(&*sink, state, scopes(granted), me.as_bytes()), sink)
    };
    let (named, _) = test("#ops", "chat:write,channels:read");
    let named = named.unwrap();
    assert!(named.effect.is_none() && named.log[0].message.contains("mortise in Acme"));
    let (fault, _) = test("#ops", "channels:read");
    let fault = fault.unwrap_err();
    assert!(fault.kind == FaultKind::Config && fault.message.contains("chat:write"));

    let place = |granted: &str, reply: Value| {
        let (next, sink) = test("C024BE91L", granted);
        let (http, _, state) = request(next.unwrap());
        assert_eq!(http.url, "https://slack.com/api/conversations.info?channel=C024BE91L");
        posted(&*sink, state, &reply)
    };
    let channel = |it: Value| json!({ "ok": true, "channel": it });
    let good = channel(json!({ "name": "ops", "is_member": true, "is_archived": false }));
    let done = place("chat:write,channels:read", good).unwrap();
    assert_eq!(
        done.log[0].message,
        "signed in as mortise in Acme, and can post to ops; nothing was posted"
    );
    let outside = channel(json!({ "name": "ops", "is_member": false, "is_private": false }));
    let fault = place("chat:write", outside.clone()).unwrap_err();
    assert!(fault.kind == FaultKind::Config && fault.message.contains("invite it"));
    assert!(place("chat:write,chat:write.public", outside).is_ok());
    let archived = channel(json!({ "name": "ops", "is_member": true, "is_archived": true }));
    assert_eq!(place("chat:write", archived).unwrap_err().kind, FaultKind::Config);
    let blind = place("chat:write", json!({ "ok": false, "error": "missing_scope" })).unwrap();
    assert!(blind.log[0].message.contains("channels:read"));
    let gone = place("chat:write", json!({ "ok": false, "error": "channel_not_found" }));
    assert_eq!(gone.unwrap_err().kind, FaultKind::Config);

    let sink = open("#ops");
    let (_, _, state) = request(call(&*sink, SinkInput::Test {}, b"").unwrap());
    let fault =
        posted(&*sink, state, &json!({ "ok": false, "error": "invalid_auth" })).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Config);
}
