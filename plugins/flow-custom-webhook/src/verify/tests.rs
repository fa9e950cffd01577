//! Whole requests through presets: what is answered, what becomes of bodies, what is wrong with a
//! configuration.

use mortise_plugin::{HttpResponse, ResponseBody, SourceCall, SourceInput, SourceOutput};
use serde_json::{Value, json};

use crate::testing::{Opened, open_with, post, request};

const TOKEN: (&str, &str) = ("authorization", "Bearer s3cret");

fn opened(verify: Value) -> Opened {
    open_with(json!({ "verify": verify })).unwrap_or_else(|it| panic!("{it:?}"))
}

/// A source that asks for nothing but a token.
fn tokened(more: Value) -> Opened {
    let mut verify = json!({ "scheme": "token", "secret": "s3cret" });
    for (name, value) in more.as_object().unwrap() {
        verify[name] = value.clone();
    }
    opened(verify)
}

fn refusal(output: &SourceOutput) -> (u16, &str, &str) {
    let refused = output.refused.as_ref().unwrap_or_else(|| panic!("not refused: {output:?}"));
    assert_eq!(output.events, []);
    (output.response.as_ref().unwrap().status, &refused.reason, &refused.message)
}

fn problems(config: Value) -> Vec<(String, String)> {
    let fault = open_with(config).err().expect("it is wrong");
    fault.problems.into_iter().map(|it| (it.path, it.message)).collect()
}

fn json_body(response: &HttpResponse) -> &Value {
    let ResponseBody::Json(body) = &response.body else { panic!("{response:?}") };
    body
}

// What is answered

#[test]
fn the_caller_learns_little_and_the_log_all() {
    let github = opened(json!({ "scheme": "github", "secret": ["s3cret", "0ther"] }));
    let zeros = format!("sha256={}", "0".repeat(64));
    for (headers, status, reason, message) in [
        (vec![], 401, "missing_signature", "the header X-Hub-Signature-256 is missing"),
        (
            vec![("x-hub-signature-256", zeros.as_str())],
            401,
            "bad_signature",
            "none of the 2 configured secrets makes the signature in the header \
             X-Hub-Signature-256",
        ),
        (
            vec![("x-hub-signature-256", "sha256=00")],
            400,
            "malformed",
            "the signature in the header X-Hub-Signature-256 is not 32 bytes in hexadecimal",
        ),
        (
            vec![("x-hub-signature-256", "sha1=00")],
            400,
            "malformed",
            "the header X-Hub-Signature-256 does not begin with `sha256=`",
        ),
    ] {
        let output = github.call(post(&headers), b"{}");
        assert_eq!(refusal(&output), (status, reason, message));
        let response = output.response.unwrap();
        let public = json_body(&response)["message"].as_str().unwrap().to_owned();
        assert!(
            ["the request is not authenticated", "the request is not understood"]
                .contains(&public.as_str())
        );
        assert_eq!(output.log[0].message, format!("{message} (POST from 192.0.2.7)"));
    }
}

#[test]
fn other_methods_are_refused() {
    let output = tokened(json!({})).call(request("GET", &[TOKEN]), b"");
    assert_eq!(refusal(&output).0, 405);
    let allow = ("Allow".to_owned(), "POST".to_owned());
    assert!(output.response.unwrap().headers.contains(&allow));
    let origin = ("webhook-request-origin", "example.com");
    for source in [tokened(json!({})), crate::testing::open(crate::testing::SEED)] {
        let output = source.call(request("OPTIONS", &[origin]), b"");
        assert_eq!((refusal(&output).0, refusal(&output).1), (405, "method_not_allowed"));
    }
}

#[test]
fn basic_authentication_is_asked_for() {
    let source = tokened(json!({ "user": "me" }));
    let output = source.call(post(&[]), b"{}");
    assert_eq!(refusal(&output).1, "missing_token");
    let response = output.response.unwrap();
    assert!(response.headers.iter().any(|it| it.0 == "WWW-Authenticate"), "{response:?}");
    let output = source.call(post(&[("authorization", "Basic bWU6czNjcmV0")]), b"{}");
    assert_eq!(output.events[0].event_type, "custom:received");
}

#[test]
fn the_second_secret_is_told_of() {
    let source = opened(json!({ "scheme": "token", "secret": ["new", "s3cret"] }));
    let output = source.call(post(&[TOKEN]), b"{}");
    assert_eq!(output.events.len(), 1);
    assert_eq!(output.log[0].message, "secret 2 of the list suited");
}

// Bodies

#[test]
fn bodies_become_json() {
    let source = tokened(json!({}));
    for (content_type, body, payload) in [
        ("application/json", &b"{\"a\": 1.50}"[..], "{\"a\": 1.50}"),
        ("application/vnd.x+json; charset=utf-8", b"[]", "[]"),
        ("text/plain", b" 7 ", " 7 "),
        ("application/json", b"", "null"),
        (
            "application/x-www-form-urlencoded",
            b"a=1&a=2&payload=3",
            "{\"a\":[\"1\",\"2\"],\"payload\":[\"3\"]}",
        ),
        ("application/x-www-form-urlencoded", b"payload=3", "{\"payload\":[\"3\"]}"),
        ("text/plain", b"hi", "{\"body_base64\":\"aGk=\",\"content_type\":\"text/plain\"}"),
        ("image/png", b"\xff\x00", "{\"body_base64\":\"/wA=\",\"content_type\":\"image/png\"}"),
    ] {
        let output = source.call(post(&[TOKEN, ("content-type", content_type)]), body);
        assert_eq!(output.events.len(), 1, "{content_type}");
        let found = match output.events[0].payload {
            mortise_plugin::Payload::Body(at) => output.bodies[at].clone(),
            _ => body.to_vec(),
        };
        assert_eq!(String::from_utf8(found).unwrap(), payload);
    }
    for wrong in ["{", "{\"a\":1e999}", &"[".repeat(1000)] {
        let output = source.call(post(&[TOKEN, ("content-type", "text/json")]), wrong.as_bytes());
        let (status, reason, message) = refusal(&output);
        assert_eq!((status, reason), (400, "malformed"));
        assert!(message.starts_with("the body is not taken as JSON: "), "{message}");
        // This sender is verified, and is told.
        assert_eq!(json_body(output.response.as_ref().unwrap())["message"], message);
    }
}

#[test]
fn keys_are_taken_where_they_are() {
    let json = ("content-type", "application/json");
    let key = |event_key: Value, headers: &[(&str, &str)], body: &str| {
        let mut all = vec![TOKEN, json];
        all.extend(headers);
        let source = tokened(json!({ "event_key": event_key, "sync_id": { "pointer": "/s" } }));
        let output = source.call(post(&all), body.as_bytes());
        output.events.first().map_or_else(
            || format!("refused: {}", refusal(&output).2),
            |it| format!("{} {}", it.event_type, it.sync_id.as_deref().unwrap_or("-")),
        )
    };
    let both = json!({ "header": "X-Kind", "pointer": "/action" });
    assert_eq!(
        key(both.clone(), &[("x-kind", "a")], "{\"action\": \"b\", \"s\": 7}"),
        "custom:a.b 7"
    );
    assert_eq!(key(both.clone(), &[("x-kind", "a")], "{\"s\": \"\"}"), "custom:a -");
    assert_eq!(key(both.clone(), &[], "{\"action\": \"b\"}"), "custom:received -");
    assert_eq!(key(json!({ "pointer": "/a" }), &[], "{\"a\": {}}"), "custom:received -");
    assert_eq!(key(json!({ "pointer": "/a" }), &[], "{\"a\": 1.5}"), "custom:received -");
    assert_eq!(key(json!({ "pointer": "/a" }), &[], "{\"a\": true}"), "custom:true -");
    assert_eq!(key(json!({ "value": "v" }), &[], "[]"), "custom:v -");
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(257));
    let message = key(json!({ "pointer": "/a" }), &[], &long);
    assert_eq!(message, "refused: the event key has 257 bytes, 256 are allowed");
    let control = key(json!({ "pointer": "/a" }), &[], "{\"a\": \"x\\n\"}");
    assert_eq!(control, "refused: the event key has control characters");
}

#[test]
fn a_dedup_key_is_bounded() {
    let source = tokened(json!({ "dedup_key": { "header": "X-Id" } }));
    let dedup = |id: &str| {
        let output = source.call(post(&[TOKEN, ("x-id", id)]), b"1");
        output.events[0].dedup_key.clone()
    };
    assert_eq!(dedup("a").as_deref(), Some("a"));
    assert_eq!(dedup(""), None);
    let (one, other) = (dedup(&"x".repeat(300)).unwrap(), dedup(&"x".repeat(301)).unwrap());
    assert!(one.starts_with("sha256:") && one.len() == 71 && one != other);
}

// Handshakes

const TIME: (&str, &str) = ("x-slack-request-timestamp", "1700000000");

/// Signed by Python's `hmac`.
const CHALLENGE: &[u8] = b"{\"type\":\"url_verification\",\"challenge\":\"3eZbrw\"}";
const CHALLENGE_SIGNATURE: &str =
    "v0=8b4e6fc94242744bba8aa2295684c415bb203342c3fd68d7ce4117279c0a8696";

#[test]
fn slack_is_answered_after_verification() {
    let policy = "package rego\noutput = {\"event\": 1, \"event_key\": \"k\"} { true }";
    let verify = json!({ "scheme": "slack", "secret": "s3cret" });
    for config in [json!({ "verify": verify }), json!({ "verify": verify, "policy": policy })] {
        let source = open_with(config).unwrap_or_else(|it| panic!("{it:?}"));
        let signed = [TIME, ("x-slack-signature", CHALLENGE_SIGNATURE)];
        let output = source.call(post(&signed), CHALLENGE);
        let response = output.response.as_ref().unwrap();
        assert_eq!(
            (response.status, json_body(response)),
            (200, &json!({ "challenge": "3eZbrw" }))
        );
        assert_eq!((output.events.len(), output.refused.is_none()), (0, true));
        let output = source.call(post(&[TIME]), CHALLENGE);
        assert_eq!(refusal(&output).1, "missing_signature");
    }
}

#[test]
fn cloud_events_ask_first() {
    let source = tokened(json!({ "cloudevents": true }));
    let origin = ("webhook-request-origin", "eventemitter.example.com");
    let output = source.call(request("OPTIONS", &[origin, ("webhook-request-rate", "120")]), b"");
    let response = output.response.unwrap();
    let header =
        |name: &str| response.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
    assert_eq!(response.status, 200);
    assert_eq!(header("WebHook-Allowed-Origin"), Some("eventemitter.example.com"));
    assert_eq!(header("WebHook-Allowed-Rate"), Some("*"));
    assert_eq!(header("Allow"), Some("POST"));
    let output = source.call(request("OPTIONS", &[]), b"");
    assert_eq!(refusal(&output).2, "the header WebHook-Request-Origin is missing");
}

// CloudEvents

fn events(output: &SourceOutput, body: &[u8]) -> Vec<(String, String, Value)> {
    let of = |event: &mortise_plugin::Event| {
        let payload = match event.payload {
            mortise_plugin::Payload::Body(at) => &output.bodies[at],
            _ => body,
        };
        let dedup = event.dedup_key.clone().unwrap_or_default();
        (event.event_type.clone(), dedup, serde_json::from_slice(payload).unwrap())
    };
    output.events.iter().map(of).collect()
}

#[test]
fn cloud_events_in_three_modes() {
    let event = |id: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "/a b", "type": "org.x.y",
            "subject": "gr\u{fc}n", "datacontenttype": "application/json", "data": { "n": 1 },
        })
    };
    let expected = |id: &str| ("custom:org.x.y".to_owned(), format!("/a b {id}"), event(id));
    for source in [tokened(json!({})), tokened(json!({ "cloudevents": true }))] {
        let structured = event("1").to_string();
        let headers = [TOKEN, ("content-type", "application/cloudevents+json; charset=utf-8")];
        let output = source.call(post(&headers), structured.as_bytes());
        assert_eq!(events(&output, structured.as_bytes()), [expected("1")]);

        let headers = [
            TOKEN,
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/a%20b"),
            ("ce-type", "org.x.y"),
            ("ce-subject", "gr%C3%BCn"),
        ];
        let output = source.call(post(&headers), b"{\"n\": 1}");
        assert_eq!(events(&output, b""), [expected("1")]);

        let batch = json!([event("1"), event("2")]).to_string();
        let headers = [TOKEN, ("content-type", "application/cloudevents-batch+json")];
        let output = source.call(post(&headers), batch.as_bytes());
        assert_eq!(events(&output, b""), [expected("1"), expected("2")]);
        let output = source.call(post(&headers), b"[]");
        assert_eq!((output.events.len(), output.refused), (0, None));
    }
    let never = tokened(json!({ "cloudevents": false }));
    let output = never.call(post(&[TOKEN, ("ce-id", "1")]), b"{}");
    assert_eq!(output.events[0].event_type, "custom:received");
}

#[test]
fn data_of_a_binary_cloud_event() {
    let source = tokened(json!({}));
    for (content_type, body, expected) in [
        ("text/plain", &b"hi"[..], json!({ "datacontenttype": "text/plain", "data": "hi" })),
        ("text/plain", b"\xff", json!({ "datacontenttype": "text/plain", "data_base64": "/w==" })),
        ("image/png", b"1", json!({ "datacontenttype": "image/png", "data_base64": "MQ==" })),
        ("", b"1", json!({ "data": 1 })),
        ("", b"", json!({})),
    ] {
        let headers = [
            TOKEN,
            ("content-type", content_type),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
        ];
        let output = source.call(post(&headers), body);
        let mut wanted = expected;
        for (name, value) in [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")]
        {
            wanted[name] = json!(value);
        }
        assert_eq!(events(&output, body)[0].2, wanted);
    }
}

#[test]
fn wrong_cloud_events_are_told_what_they_lack() {
    let source = tokened(json!({ "cloudevents": true }));
    let structured = "application/cloudevents+json";
    let batch = "application/cloudevents-batch+json";
    let whole = json!({ "specversion": "1.0", "id": "1", "source": "/", "type": "t" });
    for (headers, body, said) in [
        (vec![], "{}".to_owned(), "only CloudEvents are taken here"),
        (
            vec![("content-type", structured)],
            "{}".to_owned(),
            "the CloudEvent lacks `specversion` and `id` and `source` and `type`",
        ),
        (
            vec![("content-type", structured)],
            json!({ "specversion": "1.0", "id": 1, "source": "", "type": "t" }).to_string(),
            "the CloudEvent lacks `id` and `source`",
        ),
        (
            vec![("content-type", structured)],
            json!({ "specversion": "0.3", "id": "1", "source": "/", "type": "t" }).to_string(),
            "the CloudEvent is not of `specversion` 1.0",
        ),
        (vec![("content-type", structured)], "{".to_owned(), "the CloudEvent is not taken as JSON"),
        (vec![("content-type", batch)], "{}".to_owned(), "the batch is no JSON list of events"),
        (
            vec![("content-type", batch)],
            json!([whole, {}]).to_string(),
            "event 1 of the batch lacks `specversion`",
        ),
        (
            vec![("content-type", batch)],
            json!(vec![whole.clone(); 1001]).to_string(),
            "the batch has 1001 events",
        ),
        (
            vec![("content-type", "application/cloudevents+avro")],
            String::new(),
            "CloudEvents are taken in JSON only",
        ),
        (
            vec![("ce-id", "1")],
            String::new(),
            "the CloudEvent lacks `specversion` and `source` and `type`",
        ),
        (vec![("ce-id", "1"), ("ce-id", "2")], String::new(), "the header ce-id is there twice"),
        (
            vec![("ce-id", "1"), ("ce-data", "2")],
            String::new(),
            "the header ce-data names no attribute",
        ),
        (
            vec![("ce-id", "1"), ("content-type", "application/json")],
            "1,\"source\":2".to_owned(),
            "the data of the CloudEvent is no JSON",
        ),
    ] {
        let mut all = vec![TOKEN];
        all.extend(headers);
        let output = source.call(post(&all), body.as_bytes());
        let (status, reason, message) = refusal(&output);
        assert_eq!((status, reason), (400, "malformed"), "{message}");
        assert!(message.starts_with(said), "{message}");
    }
}

// Beside a policy

#[test]
fn a_policy_shapes_what_is_verified() {
    let policy = "package rego
output = {\"event\": input.request.body.n, \"event_key\": \"shaped\"} { input.request.body.n }
else = {\"event\": 1, \"event_key\": \"own\", \"dedup_key\": \"p\", \"sync_id\": \"q\"} { input.request.body.own }
else = {\"response\": {\"status_code\": 403}} { input.request.body.no }
else = {\"response\": {\"status_code\": 202}} { input.request.body.shrug }";
    let verify = json!({
        "scheme": "token", "secret": "s3cret",
        "dedup_key": { "pointer": "/id" }, "sync_id": { "header": "X-Group" },
    });
    let source = open_with(json!({ "verify": verify, "policy": policy })).unwrap();
    let headers = [TOKEN, ("content-type", "application/json"), ("x-group", "g")];
    let call = |body: &str| source.call(post(&headers), body.as_bytes());

    let event = call("{\"n\": 7, \"id\": \"d\"}").events.remove(0);
    assert_eq!(event.event_type, "custom:shaped");
    assert_eq!((event.dedup_key.as_deref(), event.sync_id.as_deref()), (Some("d"), Some("g")));
    let event = call("{\"own\": true, \"id\": \"d\"}").events.remove(0);
    assert_eq!((event.dedup_key.as_deref(), event.sync_id.as_deref()), (Some("p"), Some("q")));

    let output = call("{\"no\": true}");
    assert_eq!(refusal(&output), (403, "policy", "the policy answered 403"));
    assert_eq!(call("{\"shrug\": true}").refused, None);
    assert_eq!(refusal(&call("{}")).1, "undefined");
    assert_eq!(refusal(&call("{")).0, 400);
    let output = source.call(post(&[]), b"{\"n\": 7}");
    assert_eq!(refusal(&output).1, "missing_token");
}

// Configurations

#[test]
fn every_example_opens() {
    let schema = crate::config::schema();
    let examples = schema["examples"].as_array().unwrap();
    assert!(examples.len() >= 8);
    for config in examples {
        assert!(open_with(config.clone()).is_ok(), "{config}");
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    let found = problems(json!({ "verify": {
        "scheme": "githb", "event_key": { "heder": "X" }, "dedup_key": true, "sync_id": { "pointer": "a" },
        "cloudevents": "yes",
    } }));
    let paths: Vec<&str> = found.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(
        paths,
        [
            "verify.scheme",
            "verify.event_key.heder",
            "verify.event_key",
            "verify.dedup_key",
            "verify.sync_id.pointer",
            "verify.cloudevents",
        ]
    );
    assert!(found[0].1.ends_with("did you mean `github`?"), "{}", found[0].1);
    assert!(found[1].1.contains("did you mean `header`?"), "{}", found[1].1);

    let found = problems(json!({ "policy": "package x", "verify": {
        "scheme": "stripe", "secrt": "s3cret", "tolerance_seconds": 0, "prefix": "x",
    } }));
    let paths: Vec<&str> = found.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(
        paths,
        [
            "verify.prefix",
            "verify.secrt",
            "verify.secret",
            "verify.tolerance_seconds",
            "policy",
            "policy",
        ]
    );
    assert!(
        found[1].1.contains("for the scheme `stripe`; did you mean `secret`?"),
        "{}",
        found[1].1
    );
    assert!(!format!("{found:?}").contains("s3cret"));

    for (config, path, said) in [
        (json!({}), "", "give `verify`"),
        (json!({ "verify": "github" }), "verify", "must be an object"),
        (json!({ "verify": {} }), "verify.scheme", "is missing; it must be `github`, `gitlab`"),
        (json!({ "verify": { "scheme": 7 } }), "verify.scheme", "must be a text"),
        (json!({ "verify": { "scheme": "github" } }), "verify.secret", "is missing"),
        (
            json!({ "verify": { "scheme": "github", "secret": "" } }),
            "verify.secret",
            "must be a text that is not empty",
        ),
        (json!({ "verify": { "scheme": "github", "secret": [] } }), "verify.secret", "up to four"),
        (
            json!({ "verify": { "scheme": "github", "secret": ["a", 1] } }),
            "verify.secret.1",
            "must be a text",
        ),
        (
            json!({ "verify": { "scheme": "github", "secret": "s", "tolerance_seconds": 9 } }),
            "verify.tolerance_seconds",
            "is not known for the scheme `github`",
        ),
        (
            json!({ "verify": { "scheme": "discord", "secret": "00" } }),
            "verify.secret",
            "64 hexadecimal digits",
        ),
        (
            json!({ "verify": { "scheme": "discord", "secret": "00", "public_key": "00" } }),
            "verify.secret",
            "give either",
        ),
        (
            json!({ "verify": { "scheme": "standard-webhooks", "secret": "whsk_AAAA" } }),
            "verify.secret",
            "sender's own key",
        ),
        (
            json!({ "verify": { "scheme": "standard-webhooks", "secret": "whpk_AAAA" } }),
            "verify.secret",
            "must have 32 bytes",
        ),
        (
            json!({ "verify": { "scheme": "standard-webhooks", "secret": "whsec_?" } }),
            "verify.secret",
            "must be `whsec_` and base64",
        ),
        (json!({ "verify": { "scheme": "hmac", "secret": "s" } }), "verify.header", "is missing"),
        (
            json!({ "verify": { "scheme": "hmac", "secret": "s", "header": "X", "algorithm": "md5" } }),
            "verify.algorithm",
            "must be `sha256`, `sha1` or `sha512`",
        ),
        (
            json!({ "verify": { "scheme": "hmac", "secret": "s", "header": "X", "secret_encoding": "hex" } }),
            "verify.secret",
            "is not written as",
        ),
        (
            json!({ "verify": { "scheme": "hmac", "secret": "s", "header": "X", "signed": "{timestamp}{body}" } }),
            "verify.signed",
            "so `timestamp_header` must say",
        ),
        (
            json!({ "verify": { "scheme": "hmac", "secret": "s", "header": "X", "timestamp_header": "T", "signed": "{body}" } }),
            "verify.signed",
            "a time that is not signed",
        ),
        (
            json!({ "verify": { "scheme": "hmac", "secret": "s", "header": "X", "tolerance_seconds": 9 } }),
            "verify.tolerance_seconds",
            "without `timestamp_header`",
        ),
        (
            json!({ "verify": { "scheme": "hmac", "secret": "s", "header": "X Y" } }),
            "verify.header",
            "must be the name of a header",
        ),
        (
            json!({ "verify": { "scheme": "token", "secret": "s", "user": "a", "query": "b" } }),
            "verify",
            "give one of",
        ),
        (
            json!({ "verify": { "scheme": "token", "secret": "s", "user": "a:b" } }),
            "verify.user",
            "must not contain `:`",
        ),
        (
            json!({ "verify": { "scheme": "token", "secret": "s", "query": "b", "prefix": "x" } }),
            "verify.prefix",
            "for a `header` only",
        ),
    ] {
        let found = problems(config.clone());
        let right = found.iter().any(|it| it.0 == path && it.1.contains(said));
        assert!(right, "{config}: {found:?}");
    }
}

#[test]
fn a_reference_is_taken_whatever_form_is_wanted() {
    for verify in [
        json!({ "scheme": "standard-webhooks", "secret": "${{ keyrings.a }}" }),
        json!({ "scheme": "discord", "public_key": "${{ keyrings.a }}" }),
        json!({ "scheme": "hmac", "header": "X", "secret_encoding": "hex", "secret": ["00", "${{keyrings.a.b}}"] }),
        json!({ "scheme": "token", "user": "${{ keyrings.a.username }}", "secret": "${{ keyrings.a.password }}" }),
        json!({ "scheme": "gitlab", "secret": ["${{ keyrings.a }}", "plain"] }),
    ] {
        let source = opened(verify.clone());
        let check = SourceCall::new(0, 100, SourceInput::Check {});
        assert_eq!(source.call(check, b"").problems, [], "{verify}");
        assert!(source.source.call(post(&[TOKEN]), b"{}").is_err(), "{verify}");
    }
}

#[test]
fn what_does_nothing_is_warned_about() {
    let check = |config: Value| {
        let source = open_with(config).unwrap_or_else(|it| panic!("{it:?}"));
        let call = SourceCall::new(0, 100, SourceInput::Check {});
        source.call(call, b"").problems.into_iter().map(|it| it.path).collect::<Vec<_>>()
    };
    let policy = "package rego\noutput = {} { true }";
    let verify = json!({ "scheme": "token", "secret": "s", "event_key": { "value": "k" } });
    assert_eq!(check(json!({ "verify": verify, "parameters": {} })), ["parameters"]);
    assert_eq!(check(json!({ "verify": verify, "policy": policy })), ["verify.event_key"]);
}
