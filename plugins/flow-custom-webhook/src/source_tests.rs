//! Whole requests through whole policies.

use mortise_plugin::HttpResponse;

use super::*;
use crate::testing::*;

#[test]
fn the_seeds_example() {
    let seed = open(SEED);
    let signed = [("content-type", "application/json"), ("x-signature-256", SIGNATURE)];
    let output = seed.call(post(&signed), HELLO);
    assert_eq!(
        output,
        SourceOutput {
            events: vec![Event {
                event_type: "custom:my-event".to_owned(),
                payload: Payload::Input,
                dedup_key: None,
                sync_id: None,
            }],
            ..SourceOutput::default()
        }
    );

    let unauthenticated = HttpResponse {
        status: 401,
        headers: Vec::new(),
        body: ResponseBody::Text("Unauthenticated".to_owned()),
    };
    for call in [
        post(&[("x-signature-256", &SIGNATURE.replace('f', "e"))]),
        post(&[]),
        request("GET", &signed),
    ] {
        let output = seed.call(call, HELLO);
        assert_eq!(output.events, []);
        assert_eq!(output.response, Some(unauthenticated.clone()));
    }
    assert_eq!(seed.refused(post(&signed), b"{\"hello\":\"worlds\"}").0, 401);
}

#[test]
fn the_seeds_curl_sends_a_form_and_its_signature_matches() {
    let form =
        [("content-type", "application/x-www-form-urlencoded"), ("x-signature-256", SIGNATURE)];
    let (event, payload) = open(SEED).event(post(&form), HELLO);
    assert_eq!(event.event_type, "custom:my-event");
    assert_eq!(payload, "{\"{\\\"hello\\\":\\\"world\\\"}\":[\"\"]}");
}

#[test]
fn a_body_that_is_not_text_is_signed_right() {
    use hmac::{KeyInit, Mac};
    let seed = open(SEED);
    let body: Vec<u8> = (0..=255).rev().collect();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"EnterYourRandomSecretHere").unwrap();
    mac.update(&body);
    let signature = hex::encode(mac.finalize().into_bytes());
    let call =
        post(&[("content-type", "application/octet-stream"), ("x-signature-256", &signature)]);
    // The signature holds; there is no event because such a body is null.
    assert_eq!(seed.refused(call.clone(), &body), (200, String::new()));
    assert_eq!(seed.refused(call, &body[1..]).0, 401);
}

#[test]
fn slack_answers_its_handshake() {
    let slack = open(
        r#"package rego
import future.keywords.if

body := input.request.body
is_challenge if { is_object(body); body.type == "url_verification" }

output := {"response": {"body": {"challenge": body.challenge}}} if is_challenge
output := {"event": body, "event_key": "slack", "sync_id": body.channel} if {
    is_object(body)
    not is_challenge
}
output := {"response": {"status_code": 400, "headers": {"X-Why": "no object"}}} if not is_object(body)
"#,
    );
    let json = [("content-type", "application/json")];
    let output = slack.call(post(&json), b"{\"type\":\"url_verification\",\"challenge\":\"c\"}");
    let response = output.response.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.headers, [("Content-Type".to_owned(), "application/json".to_owned())]);
    assert_eq!(response.body, ResponseBody::Body(0));
    assert_eq!(output.bodies, [b"{\"challenge\":\"c\"}".to_vec()]);

    let (event, payload) = slack.event(post(&json), b"{\"channel\":\"C1\",\"n\":1.50}");
    assert_eq!(event.sync_id.as_deref(), Some("C1"));
    assert_eq!(payload, "{\"channel\":\"C1\",\"n\":1.50}");
    assert_eq!(slack.refused(post(&json), b"[]").0, 400);
}

#[test]
fn all_dialects_are_read() {
    for policy in [
        "package rego\noutput = {\"event\": 1, \"event_key\": \"k\"} { true }",
        "package rego\noutput = {\"event\": 1, \"event_key\": \"k\"}",
        "package rego\nimport rego.v1\noutput := {\"event\": 1, \"event_key\": \"k\"} if { true }",
        "package rego\nimport future.keywords\noutput := {\"event\": 1, \"event_key\": k} if {\n some k in [\"k\"] }",
        "package rego\noutput := {\"event\": 1, \"event_key\": \"k\"} if { every x in [1] { x > 0 } }",
        "package rego\ndefault output := {\"event\": 1, \"event_key\": \"k\"}\noutput := 1 if input.x",
        "package rego\nf(x) = y { y := x }\noutput = {\"event\": f(1), \"event_key\": data.rego.f(\"k\")}",
    ] {
        let (event, payload) = open(policy).event(post(&[]), b"");
        assert_eq!((event.event_type.as_str(), payload.as_str()), ("custom:k", "1"), "{policy}");
    }
}

#[test]
fn compile_errors_have_a_place() {
    for (policy, expected) in [
        ("package rego\noutput = {", "line 2, column 11: "),
        ("package rego\nimport rego.v1\noutput := 1 if {\n  x +\n}", "line 5, column 1: "),
        ("package rego\noutput = x {\n  y := 1\n}", "line 2, column 10: variable `x` has no value"),
        ("package other\noutput = 1", "line 1, column 1: the package must be `rego`, not `other`"),
        ("package rego.sub\noutput = 1", "line 1, column 1: the package must be `rego`"),
        ("package rego\nresult = 1", "the policy has no rule `output`"),
        ("package rego\noutput(x) = x", "the policy has no rule `output`"),
        (
            "package rego\noutput = x {\n  x := http.send({})\n}",
            "line 3, column 8: function `http.send` is not offered",
        ),
        ("package rego\noutput = io.jwt.decode(1)", "line 2, column 10: function `io.jwt.decode`"),
        ("package rego\noutput = hashed(1)", "line 2, column 10: function `hashed` is not"),
        (
            "package rego\noutput = crypto.sha256(1, 2, 3)",
            "line 2, column 10: `crypto.sha256` takes",
        ),
        (
            "package rego\nf(x) = y { y := g(x) }\ng(x) = f(x)\noutput = f(1)",
            "line 3, column 8: `f` depends on itself",
        ),
        ("", ""),
    ] {
        let problem = problem(policy);
        assert!(problem.starts_with(expected), "{policy}\n{problem}");
    }
}

#[test]
fn the_reading_that_came_further_is_reported() {
    // Valid v1 up to its last line, v0 up to its second.
    let v1 = "package rego\noutput := x if {\n  x := input.y\n}\noops oops";
    assert!(problem(v1).starts_with("line 5"), "{}", problem(v1));
    let v0 = "package rego\noutput = x {\n  x := input.y\n}\noops oops";
    assert!(problem(v0).starts_with("line 5"), "{}", problem(v0));
}

#[test]
fn every_problem_is_reported() {
    let found = problems("package other\nx = http.send({})\ny = opa.runtime()");
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn undefined_output_answers_400_and_says_why() {
    let source = open(
        "package rego\noutput = {\"event\": 1, \"event_key\": \"k\"} { base64.decode(input.request.headers[\"X-A\"]) }",
    );
    let (status, log) = source.refused(post(&[("x-a", "s3cret!")]), b"");
    assert_eq!(status, 400);
    assert_eq!(
        log,
        "the policy gave no output for this request; `base64.decode` is undefined: not base64: \
         wrong character at 6 (POST from 192.0.2.7)"
    );
}

#[test]
fn a_wrong_output_answers_500_and_publishes_nothing() {
    for (output, expected) in [
        ("1", "`output` must be an object"),
        ("{\"event\": 1}", "`event_key` must be a non-empty string"),
        ("{\"event\": 1, \"event_key\": \"\"}", "`event_key` must be a non-empty string"),
        ("{\"event\": 1, \"event_key\": 7}", "`event_key` must be a string"),
        ("{\"event\": 1, \"event_key\": \"k\", \"sync_id\": 7}", "`sync_id` must be a string"),
        ("{\"response\": []}", "`response` must be an object"),
        ("{\"response\": {\"status_code\": 199}}", "`response.status_code` must be"),
        ("{\"response\": {\"status_code\": 600}}", "`response.status_code` must be"),
        ("{\"response\": {\"status_code\": \"200\"}}", "`response.status_code` must be"),
        ("{\"response\": {\"headers\": {\"a\": 1}}}", "`response.headers` must be an object of"),
        ("{\"response\": {\"headers\": {\"a b\": \"1\"}}}", "`response.headers` has a name"),
        (
            "{\"response\": {\"headers\": {\"a\": \"1\\r\\nb: 2\"}}}",
            "`response.headers[\"a\"]` has",
        ),
    ] {
        let (status, log) =
            open(&format!("package rego\noutput = {output}")).refused(post(&[]), b"");
        assert_eq!(status, 500, "{output}");
        assert!(log.starts_with(&format!("the policy failed: {expected}")), "{output}: {log}");
    }
}

#[test]
fn nothing_to_do_is_fine() {
    for output in ["{}", "{\"event\": null, \"event_key\": 1}", "{\"response\": null}"] {
        let output = open(&format!("package rego\noutput = {output}")).call(post(&[]), b"");
        assert_eq!(output, SourceOutput::default());
    }
}

#[test]
fn event_and_response_go_together() {
    let source = open(
        "package rego\noutput = {\"event\": {\"got\": input.request.body}, \"event_key\": \"k\", \"response\": {\"status_code\": 202, \"body\": \"ok\", \"headers\": {\"Connection\": \"close\", \"X-A\": \"b\"}}}",
    );
    let output = source.call(post(&[]), b"{\"n\": 123456789012345678901234567890}");
    assert_eq!(output.bodies, [b"{\"got\":{\"n\":123456789012345678901234567890}}".to_vec()]);
    let response = output.response.unwrap();
    assert_eq!(response.status, 202);
    assert_eq!(response.headers, [("X-A".to_owned(), "b".to_owned())]);
    assert_eq!(output.log.len(), 1);
}

#[test]
fn conflicting_rules_answer_500() {
    let source = open(
        "package rego\noutput = {\"response\": {\"body\": \"s3cret\"}} { true }\noutput = {} { true }",
    );
    let (status, log) = source.refused(post(&[]), b"");
    assert_eq!(status, 500);
    assert!(log.contains("line 3, column 1: rule conflicts"), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
    let again = source.refused(post(&[]), b"");
    assert_eq!(again, (status, log));
}

#[test]
fn broken_and_deep_json_answers_400() {
    let seed = open(SEED);
    let json = [("content-type", "application/json; charset=utf-8")];
    let (status, log) = seed.refused(post(&json), b"{\"hello\":");
    assert_eq!(status, 400);
    assert!(log.starts_with("the body is not taken as JSON: end of text"), "{log}");
    assert_eq!(seed.refused(post(&json), "[".repeat(100_000).as_bytes()).0, 400);
    assert_eq!(seed.refused(post(&[]), "[".repeat(100_000).as_bytes()).0, 400);
}

#[test]
fn prints_and_time_reach_the_policy() {
    let source = open(
        "package rego\noutput = {\"event\": time.now_ns(), \"event_key\": \"k\"} { print(\"seen\", input.request.method) }",
    );
    let output = source.call(post(&[]), b"");
    assert_eq!(output.bodies, [b"1700000000000000000".to_vec()]);
    assert!(output.log[0].message.ends_with("seen POST"), "{:?}", output.log);
}

#[test]
fn unknown_keys_are_warned_about() {
    let source = open_with(json!({ "policy": SEED, "filter": { "jq_query": "true" } })).unwrap();
    let check = SourceCall::new(0, 100, SourceInput::Check {});
    let problems = source.call(check, b"").problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "filter");
}

#[test]
fn publishing_by_hand() {
    let seed = open(SEED);
    let call = |event_type: &str| {
        let input = SourceInput::Published { event_type: event_type.to_owned() };
        SourceCall::new(0, 100, input)
    };
    assert_eq!(seed.event(call("custom:k"), b"{}").0.event_type, "custom:k");
    assert_eq!(seed.event(call("k"), b"{}").0.event_type, "custom:k");
    assert!(seed.source.call(call("k"), b"{").is_err());
}

#[test]
fn sixteen_threads_share_a_source() {
    let seed = open(SEED);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let seed = &seed;
            scope.spawn(move || {
                for i in 0..50 {
                    let good = (thread + i) % 2 == 0;
                    let signature = if good { SIGNATURE } else { "wrong" };
                    let output = seed.source.call(post(&[("x-signature-256", signature)]), HELLO);
                    assert_eq!(output.unwrap().events.len(), usize::from(good));
                }
            });
        }
    });
}
