//! Event sources that are tried without sending anything, and requests that are recorded: on a real
//! daemon, where nothing of a trial may be left behind.

use std::time::Duration;

use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, Installed, Options};
use mortise_tests::eventually;
use mortise_tests::http::Response;
use mortise_tests::snap_in::{ECHO, Parts, SECRET, SIGNED, sign};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes what is signed, refuses the rest, and has no answer to what asks for none.
const TALKATIVE: &str = r#"
package rego
raw := base64.decode(input.request.body_raw)
signature := crypto.hmac.sha256(raw, input.parameters.secret)
output = {"event": input.request.body, "event_key": input.request.body.key} {
  signature == input.request.headers["X-Signature-256"]
  print("number", input.request.body.n, "with", input.parameters.secret)
} else = {"response": {"status_code": 200, "body": input.request.body.challenge}} {
  input.request.body.challenge
} else = {"response": {"status_code": 401, "body": "Unauthenticated"}} {
  not input.request.body.nothing
}
"#;

fn talkative() -> Parts {
    Parts::new("talkative", TALKATIVE, ECHO)
}

/// A request with a body, signed.
fn signed(body: &Value) -> Value {
    let body = body.to_string();
    json!({ "headers": { "X-Signature-256": sign(body.as_bytes()) }, "body": body })
}

#[track_caller]
fn tried(daemon: &Daemon, installed: &Installed, input: &Value) -> Value {
    let mut parameters = input.clone();
    parameters["id"] = json!(installed.source);
    let answer = daemon.call("event-sources.test", &parameters);
    assert!(!answer.to_string().contains(SECRET), "{answer}");
    answer
}

#[track_caller]
fn nothing_is_left(daemon: &Daemon) {
    for (name, key) in [("events.list", "events"), ("runs.list", "runs")] {
        assert!(daemon.list_all(name, key, &json!({})).is_empty(), "{name}");
    }
}

fn recorded(daemon: &Daemon, installed: &Installed) -> Value {
    daemon.call("event-sources.recorded", &json!({ "id": installed.source }))
}

fn record(daemon: &Daemon, installed: &Installed, count: u32) -> Value {
    daemon.call("event-sources.record", &json!({ "id": installed.source, "count": count }))
}

/// Waits until so many are kept: they are written after their senders have an answer.
#[track_caller]
fn kept(daemon: &Daemon, installed: &Installed, count: usize) -> Vec<Value> {
    eventually("the requests are recorded", PATIENCE, || {
        let answer = recorded(daemon, installed);
        answer["recorded"].as_array().filter(|it| it.len() == count).cloned()
    })
}

fn send(
    daemon: &Daemon,
    installed: &Installed,
    query: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let path = format!("{}{query}", installed.path);
    let response = eventually("the source is open", PATIENCE, || {
        let sent = daemon.connect().send("POST", &path, headers, body);
        let response = sent.expect("the daemon answers");
        (response.status != 503).then_some(response)
    });
    assert_ne!(response.status, 404, "{}", response.text());
    response
}

#[test]
fn every_outcome_is_explained_and_nothing_is_left() {
    let daemon = Daemon::start();
    let installed = daemon.install(&talkative());
    let body = json!({ "n": 7, "key": "tick" });

    let accepted = tried(&daemon, &installed, &json!({ "request": signed(&body) }));
    assert_eq!(accepted["outcome"], "accepted", "{accepted}");
    let event = &accepted["events"][0];
    assert_eq!((&event["type"], &event["payload"]), (&json!("custom:tick"), &body));
    assert_eq!(event["automations"][0]["function"], "work");
    assert_eq!(event["automations"][0]["name"], "All");
    assert_eq!(event["would_be_duplicate"], false);
    assert_eq!(accepted["response"]["status"], 200);
    assert_eq!(accepted["log"][0]["message"], "policy:6: number 7 with ********", "{accepted}");
    assert!(accepted["temporary_instance"].is_null(), "{accepted}");
    assert_eq!(accepted["notes"], json!([]));

    let unheard = signed(&json!({ "n": 7, "key": "other" }));
    let unheard = tried(&daemon, &installed, &json!({ "request": unheard }));
    assert_eq!(unheard["outcome"], "accepted");
    assert_eq!(
        unheard["events"][0]["message"],
        "no automation listens for `custom:other`; they listen for custom:tick"
    );

    let wrong = json!({ "request": { "headers": { "X-Signature-256": "ab" }, "body": body } });
    let wrong = tried(&daemon, &installed, &wrong);
    assert_eq!((&wrong["outcome"], &wrong["events"]), (&json!("refused"), &json!([])));
    assert_eq!(wrong["response"]["status"], 401);
    assert_eq!(wrong["response"]["body"], "Unauthenticated");

    let undefined = tried(&daemon, &installed, &json!({ "request": { "body": { "nothing": 1 } } }));
    assert_eq!(
        (&undefined["outcome"], &undefined["response"]["status"]),
        (&json!("refused"), &json!(400))
    );
    let message = undefined["message"].as_str().expect("a text");
    assert!(message.contains("gave no output"), "{undefined}");

    let shake = json!({ "request": { "body": { "challenge": "c" } } });
    let shaken = tried(&daemon, &installed, &shake);
    assert_eq!(
        (&shaken["outcome"], &shaken["response"]["body"]),
        (&json!("answered"), &json!("c"))
    );

    let published = json!({ "published": { "event_type": "custom:tick", "payload": { "n": 1 } } });
    assert_eq!(tried(&daemon, &installed, &published)["outcome"], "accepted");
    let tick = tried(&daemon, &installed, &json!({ "tick": {} }));
    assert_eq!(tick["outcome"], "failed", "a webhook has no ticks");
    assert!(tick["notes"][0].as_str().is_some_and(|it| it.contains("flow-custom-webhook")));

    for wrong in [
        json!({}),
        json!({ "tick": {}, "request": {} }),
        json!({ "headers": {}, "request": {} }),
        json!({ "request": { "method": "PUT" } }),
        json!({ "recorded": "rec_1" }),
        json!({ "request": {}, "now": "tomorrow" }),
        json!({ "published": { "event_type": "x".repeat(201), "payload": 1 } }),
        json!({ "published": { "event_type": "a\nb", "payload": 1 } }),
    ] {
        let mut parameters = wrong.clone();
        parameters["id"] = json!(installed.source);
        daemon.refused("event-sources.test", &parameters, 400);
    }
    nothing_is_left(&daemon);
    let lines = daemon.call("event-sources.logs", &json!({ "id": installed.source }));
    assert_eq!(lines["lines"], json!([]));
}

#[test]
fn the_vector_of_the_seed_is_accepted() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let signature = "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";
    let request = json!({
        "headers": [["Content-Type", "application/json"], ["X-Signature-256", signature]],
        "body": "{\"hello\":\"world\"}",
    });
    let answer = tried(&daemon, &installed, &json!({ "request": request }));
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    assert_eq!(answer["events"][0]["payload"], json!({ "hello": "world" }));
    nothing_is_left(&daemon);
}

#[test]
fn a_trial_makes_no_duplicate_and_knows_one() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let body = json!({ "n": 1 });
    let mut request = signed(&body);
    request["headers"]["Idempotency-Key"] = json!("once");
    let input = json!({ "request": request });
    for _ in 0..2 {
        let event = tried(&daemon, &installed, &input)["events"][0].clone();
        assert_eq!(event["would_be_duplicate"], false, "{event}");
    }
    let text = body.to_string();
    let signature = sign(text.as_bytes());
    let headers = [("x-signature-256", signature.as_str()), ("idempotency-key", "once")];
    let taken = send(&daemon, &installed, "", &headers, text.as_bytes()).json();
    assert_eq!(taken["events"][0]["duplicate"], false, "{taken}");
    let event = tried(&daemon, &installed, &input)["events"][0].clone();
    assert_eq!(event["would_be_duplicate"], true, "{event}");
    assert_eq!(event["first_event"], taken["events"][0]["id"]);
    assert_eq!(daemon.list_all("events.list", "events", &json!({})).len(), 1);
}

#[test]
fn closed_sources_are_tried_too_and_say_so() {
    let daemon = Daemon::start();
    let installed = daemon.install_draft(&Parts::echo());
    let input = json!({ "request": signed(&json!({ "n": 1 })) });
    let draft = tried(&daemon, &installed, &input);
    assert_eq!(draft["outcome"], "accepted", "{draft}");
    assert_eq!(draft["notes"][0], "the snap-in is DRAFT: a sender would get 404", "{draft}");
    assert!(draft["temporary_instance"].is_string());

    daemon.step("activate", &installed.id, "ACTIVE");
    daemon.call("event-sources.pause", &json!({ "id": installed.source }));
    let paused = tried(&daemon, &installed, &input);
    assert_eq!(paused["outcome"], "accepted", "{paused}");
    assert_eq!(paused["notes"][0], "the source is paused: a sender would get 404", "{paused}");
    let shown = daemon.call("event-sources.get", &json!({ "id": installed.source }));
    assert_eq!(shown["event_source"]["open"], false);

    daemon.step("deactivate", &installed.id, "INACTIVE");
    assert_eq!(tried(&daemon, &installed, &input)["outcome"], "accepted");
    nothing_is_left(&daemon);
    // No instance of a trial is left.
    eventually("the instances are closed", PATIENCE, || {
        let plugins = daemon.call("system.plugins", &json!({})).to_string();
        (!plugins.contains("a dry run of")).then_some(())
    });

    // One whose secret is not set cannot be opened, and says why.
    let keyring = "keyrings:\n  organization:\n    - {name: hook-secret, description: A secret., \
                   types: [snap_in_secret]}\n";
    let parts = Parts::new("unset", SIGNED, ECHO)
        .with_sections(keyring)
        .with_parameter("other: ${{ keyrings.hook-secret }}");
    let unset = daemon.install_draft(&parts);
    let answer = tried(&daemon, &unset, &input);
    assert_eq!(answer["outcome"], "failed", "{answer}");
    assert!(answer["message"].as_str().is_some_and(|it| it.contains("hook-secret")), "{answer}");
}

#[test]
fn only_who_may_set_the_source_up_may_try_it() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let made = daemon.call("tokens.create", &json!({ "name": "other", "scope": "prod/other" }));
    let token = made["token"].as_str().expect("a token");
    let source = json!({ "id": installed.source });
    for (name, more) in [
        ("event-sources.test", json!({ "request": {} })),
        ("event-sources.record", json!({ "count": 1 })),
        ("event-sources.recorded", json!({})),
    ] {
        let mut parameters = source.clone();
        parameters
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("one").clone());
        let answer = daemon.try_call_as(token, name, &parameters).expect("an answer");
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
}

#[test]
fn what_a_plugin_would_request_is_only_shown() {
    let plugins = vec!["mortise-test-misbehaving".to_owned()];
    let daemon = Daemon::start_with(Options { plugins, ..Options::default() });
    daemon.call("packages.create", &json!({ "slug": "asking" }));
    let parts = Parts::new("asking", SIGNED, ECHO);
    let install = |kind: &str| {
        let manifest = parts.manifest().replace("flow-custom-webhook", kind);
        let (before, after) = manifest.split_once("config:").expect("a config");
        let (_, after) = after.split_once("functions:").expect("functions");
        let config = "config: {note: 'https://u:hidden-password@example.org/'}";
        let manifest = format!("{before}{config}\nfunctions:{after}");
        let version = daemon.call(
            "versions.create",
            &json!({ "package": "asking", "manifest": manifest, "archive": parts.archive() }),
        );
        let scope = format!("default/default/{kind}");
        let created = json!({ "version": version["version"]["id"], "scope": scope });
        let id = daemon.call("snap-ins.create", &created)["snap_in"]["id"].clone();
        let sources = daemon.call("event-sources.list", &json!({ "snap_in": id }));
        let source = sources["event_sources"][0]["id"].as_str().expect("an id").to_owned();
        Installed { id: id.as_str().expect("an id").to_owned(), source, path: String::new() }
    };
    let asking = install("test-wants-http");
    let answer = tried(&daemon, &asking, &json!({ "request": { "body": "x" } }));
    assert_eq!(answer["outcome"], "answered", "{answer}");
    assert_eq!(answer["would_request"]["url"], "https://example.org/");
    assert_eq!(answer["would_request"]["method"], "POST");

    // A plugin that tells its config tells no secret here.
    let echo = install("test-echo");
    let answer = tried(&daemon, &echo, &json!({ "request": { "body": "{}" } }));
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    let told = answer["response"]["body"].as_str().expect("a text");
    assert!(told.contains("https://u:********@example.org/"), "{answer}");

    let panics = install("test-panics");
    let answer = tried(&daemon, &panics, &json!({ "request": {} }));
    assert_eq!(
        (&answer["outcome"], &answer["response"]["status"]),
        (&json!("failed"), &json!(500))
    );
}

#[test]
fn so_many_requests_are_recorded_and_no_more() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    send(&daemon, &installed, "", &[], b"{\"n\":0}");
    let begun = record(&daemon, &installed, 3);
    assert_eq!(
        (&begun["recording"]["left"], &begun["recording"]["open"]),
        (&json!(3), &json!(true))
    );

    let body = b"{\"n\":1}";
    let signature = sign(body);
    let headers = [
        ("X-Signature-256", signature.as_str()),
        ("Authorization", "Bearer of-somebody"),
        ("X-GitLab-Token", "of-gitlab"),
        ("X-Note", SECRET),
    ];
    let query = "?token=of-a-query&page=2";
    let event = send(&daemon, &installed, query, &headers, body).json()["events"][0]["id"].clone();
    let no_json = [("Content-Type", "application/json")];
    assert_eq!(send(&daemon, &installed, "", &no_json, b"\xff\xfe").status, 400);
    assert_eq!(kept(&daemon, &installed, 2).len(), 2);
    for n in 0..4 {
        assert_eq!(
            send(&daemon, &installed, "", &[], format!("{{\"n\":{n}}}").as_bytes()).status,
            401
        );
    }
    let all = kept(&daemon, &installed, 3);
    assert_eq!(recorded(&daemon, &installed)["recording"]["left"], 0);
    let outcomes: Vec<_> = all.iter().map(|it| (&it["outcome"], &it["status"])).collect();
    let (accepted, refused) = (json!("accepted"), json!("refused"));
    assert_eq!(
        outcomes,
        [(&accepted, &json!(200)), (&refused, &json!(400)), (&refused, &json!(401))]
    );
    assert_eq!(all[0]["events"], json!([event]));

    let one = |at: usize| {
        let which = json!({ "id": installed.source, "recorded": all[at]["id"] });
        daemon.call("event-sources.get-recorded", &which)["recorded"].clone()
    };
    let first = one(0);
    let text = first.to_string();
    for secret in ["of-somebody", "of-gitlab", "of-a-query", SECRET] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains(&signature), "signatures are no secrets: {text}");
    assert_eq!(first["request"]["query"], "token=********&page=2");
    assert_eq!(first["request"]["body"], "{\"n\":1}");
    assert_eq!(one(1)["request"]["body_base64"], "//4=");

    // It can be tried again: with a header that was masked, it says so where that matters.
    let again = tried(&daemon, &installed, &json!({ "recorded": all[0]["id"] }));
    assert_eq!(again["outcome"], "accepted", "{again}");
    assert_eq!(again["now_date"], all[0]["received_date"]);
    let wrong = json!({ "recorded": all[0]["id"], "headers": { "x-signature-256": "ab" } });
    let wrong = tried(&daemon, &installed, &wrong);
    assert_eq!(wrong["outcome"], "refused", "{wrong}");
    assert!(wrong["notes"][0].as_str().is_some_and(|it| it.contains("header authorization")));

    let cleared = daemon.call("event-sources.record-clear", &json!({ "id": installed.source }));
    assert_eq!(cleared["recording"]["kept"], 0);
    record(&daemon, &installed, 5);
    let stopped = daemon.call("event-sources.record-stop", &json!({ "id": installed.source }));
    assert_eq!(stopped["recording"]["left"], 0);
    send(&daemon, &installed, "", &[], b"{}");
    assert_eq!(recorded(&daemon, &installed)["recorded"], json!([]));
    for count in [0, 101] {
        let parameters = json!({ "id": installed.source, "count": count });
        daemon.refused("event-sources.record", &parameters, 400);
    }
}

#[test]
fn a_recorded_request_is_tried_with_the_policy_of_today() {
    let daemon = Daemon::start();
    let strict = SIGNED.replace("signed {", "signed { input.request.body.kind == \"new\";");
    let installed = daemon.install(&Parts::new("echo", &strict, ECHO));
    record(&daemon, &installed, 1);
    let body = b"{\"n\":1}";
    let signature = sign(body);
    let headers = [
        ("X-Signature-256", signature.as_str()),
        ("Content-Type", "application/json"),
        ("Cookie", "session=planted-cookie"),
        ("Proxy-Authorization", "Basic planted-proxy"),
        ("X-Custom-Token", "planted-token"),
        ("X-Api-Key", "planted-key"),
        ("X-Amz-Security-Token", "planted-amazon"),
        ("X-Auth", "planted-auth"),
        ("X-Session-Id", "planted-session"),
        ("X-Forwarded-Client-Cert", "planted-certificate"),
        ("X-Client-Jwt", "planted-jwt"),
    ];
    assert_eq!(send(&daemon, &installed, "", &headers, body).status, 401);
    let one = kept(&daemon, &installed, 1)[0].clone();
    let which = json!({ "id": installed.source, "recorded": one["id"] });
    let shown = daemon.call("event-sources.get-recorded", &which).to_string();
    assert!(!shown.contains("planted"), "{shown}");
    assert!(shown.contains("header cookie") && shown.contains(&signature), "{shown}");

    let recorded = json!({ "recorded": one["id"] });
    assert_eq!(tried(&daemon, &installed, &recorded)["outcome"], "refused");
    let version = daemon.add_version(&Parts::echo());
    let upgrade = json!({ "id": installed.id, "version": version, "wait_seconds": 30 });
    daemon.call("snap-ins.upgrade", &upgrade);
    let again = tried(&daemon, &installed, &recorded);
    assert_eq!(again["outcome"], "accepted", "{again}");
    assert_eq!(again["events"][0]["payload"], json!({ "n": 1 }));
    nothing_is_left(&daemon);
}

#[test]
fn recordings_outlive_the_daemon_and_not_the_source() {
    let settings = "[limits]\nbody_bytes = 2_097_152".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let installed = daemon.install(&Parts::echo());
    record(&daemon, &installed, 2);
    send(&daemon, &installed, "?before", &[], b"1");
    kept(&daemon, &installed, 1);
    daemon.restart();
    assert_eq!(recorded(&daemon, &installed)["recording"]["left"], 1);
    send(&daemon, &installed, "?after", &[], b"2");
    let all = kept(&daemon, &installed, 2);
    send(&daemon, &installed, "?late", &[], b"3");
    let large = vec![b' '; 1024 * 1024 + 10];
    record(&daemon, &installed, 1);
    send(&daemon, &installed, "", &[], &large);
    let cut = kept(&daemon, &installed, 3)[2].clone();
    assert_eq!(cut["body_bytes"], large.len());
    assert!(cut["cut_body_sha256"].is_string(), "{cut}");
    let parameters = json!({ "id": installed.source, "recorded": cut["id"] });
    daemon.refused("event-sources.test", &parameters, 409);

    daemon.step("deactivate", &installed.id, "INACTIVE");
    let which = json!({ "id": installed.source, "recorded": all[0]["id"] });
    daemon.call("event-sources.get-recorded", &which);
    daemon.call("snap-ins.delete", &json!({ "id": installed.id, "wait_seconds": 30 }));
    daemon.refused("event-sources.get-recorded", &which, 404);
}

#[test]
fn people_try_and_record_on_the_command_line() {
    let daemon = Daemon::start();
    let installed = daemon.install(&talkative());
    let name = "default/default/talkative/hook";
    let body = json!({ "n": 5, "key": "tick" }).to_string();
    let header = format!("X-Signature-256: {}", sign(body.as_bytes()));

    let done = script(&daemon, &["source", "test", name, "-H", &header, "-d", "-"], &body);
    assert_eq!(done.code, 0, "{done:?}");
    for text in [
        "accepted: one event would be stored",
        "would run  work (automation All)",
        "number 5 with ********",
        "the sender would get\n  200",
    ] {
        assert!(done.out.contains(text), "{text}: {}", done.out);
    }
    let done = script(&daemon, &["source", "test", name, "-d", &body, "--json"], "");
    assert_eq!((done.code, &done.json()["outcome"]), (1, &json!("refused")), "{done:?}");
    assert_eq!(script(&daemon, &["source", "test", name], "").code, 2);
    let missing =
        script(&daemon, &["source", "test", "default/default/talkative/hok", "-d", "1"], "");
    assert!(missing.code == 1 && missing.err.contains("hook"), "{missing:?}");
    let publish = ["source", "test", name, "--publish", "custom:tick", "{\"n\":1}"];
    assert_eq!(script(&daemon, &publish, "").code, 0);

    let done = script(&daemon, &["source", "record", name, "--count", "1"], "");
    assert_eq!(done.code, 0, "{done:?}");
    let signature = sign(body.as_bytes());
    send(&daemon, &installed, "?a=1", &[("X-Signature-256", &signature)], body.as_bytes());
    let id = kept(&daemon, &installed, 1)[0]["id"].as_str().expect("an id").to_owned();
    let list = script(&daemon, &["source", "recorded", name], "");
    assert!(list.code == 0 && list.out.contains(&id) && list.out.contains("accepted"), "{list:?}");
    let follow = script(&daemon, &["source", "record", name, "--stop"], "");
    assert_eq!(follow.code, 0, "{follow:?}");

    let raw = script(&daemon, &["source", "recorded", name, &id, "--raw"], "");
    assert!(raw.out.starts_with("POST /?a=1 HTTP/1.1\r\n"), "{raw:?}");
    let again = script(&daemon, &["source", "test", name, "--request", "-"], &raw.out);
    assert!(again.code == 0 && again.out.contains("accepted"), "{again:?}");
    let shown = script(&daemon, &["source", "recorded", name, &id, "--json"], "");
    let again = script(&daemon, &["source", "test", name, "--request", "-"], &shown.out);
    assert_eq!(again.code, 0, "{again:?}");
    let again = ["source", "test", name, "--recorded", &id, "-H", "X-Signature-256: ab"];
    assert_eq!(script(&daemon, &again, "").code, 1);
}
