//! Native presets of `flow-custom-webhook` on a real daemon: requests as known senders make them,
//! what is stored of them, and what is answered to those that are not from them.

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_tests::daemon::Daemon;
use mortise_tests::http::Response;
use mortise_tests::snap_in::{SECRET, pack, sign};
use serde_json::{Value, json};

const MANIFEST: &str = "
version: \"2\"
name: Presets
description: For tests.
service_account: {display_name: Presets}
event_sources:
  organization:
    - name: github
      display_name: GitHub
      type: flow-custom-webhook
      config: {verify: {scheme: github, secret: [old, SECRET]}}
    - name: stripe
      display_name: Stripe
      type: flow-custom-webhook
      config: {verify: {scheme: stripe, secret: SECRET}}
    - name: slack
      display_name: Slack
      type: flow-custom-webhook
      config: {verify: {scheme: slack, secret: SECRET}}
    - name: standard
      display_name: Standard Webhooks
      type: flow-custom-webhook
      config: {verify: {scheme: standard-webhooks, secret: whsec_BASE64}}
    - name: cloud
      display_name: CloudEvents
      type: flow-custom-webhook
      config: {verify: {scheme: token, secret: SECRET, cloudevents: true}}
    - name: both
      display_name: Verified and shaped
      type: flow-custom-webhook
      config:
        verify: {scheme: github, secret: SECRET}
        policy: |
          package rego
          output = {\"event\": {\"shaped\": input.request.body}, \"event_key\": \"shaped\"} { true }
    - name: policy
      display_name: Policy alone
      type: flow-custom-webhook
      config:
        policy: |
          package rego
          output = {\"event\": 1, \"event_key\": \"any\"} { true }
functions:
  - {name: tell, description: Tells.}
automations:
  - {name: pushes, source: github, event_types: ['custom:push'], function: tell}
";

const TELL: &str = "
const tell = async ([event]) => event.payload;
export const functionFactory = { tell };
";

struct Bench {
    daemon: Daemon,
    paths: Value,
    ids: Value,
}

fn bench() -> Bench {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "presets" }));
    let package = r#"{"name":"presets","version":"1.0.0","main":"index.ts"}"#;
    let archive = pack(&[("package.json", package), ("index.ts", TELL)]);
    let manifest = MANIFEST.replace("BASE64", &STANDARD.encode(SECRET)).replace("SECRET", SECRET);
    let version = json!({ "package": "presets", "manifest": manifest, "archive": archive });
    let version = daemon.call("versions.create", &version)["version"]["id"].clone();
    let created = daemon.call("snap-ins.create", &json!({ "version": version }));
    let id = created["snap_in"]["id"].clone();
    daemon.step("activate", id.as_str().expect("an id"), "ACTIVE");
    let (mut paths, mut ids) = (json!({}), json!({}));
    for source in daemon.list_all("event-sources.list", "event_sources", &json!({ "snap_in": id }))
    {
        let name = source["name"].as_str().expect("a name");
        let url = source["trigger_url"].as_str().expect("a URL");
        paths[name] = json!(url[url.find("/hooks/").expect("it is ours")..]);
        ids[name] = source["id"].clone();
    }
    Bench { daemon, paths, ids }
}

impl Bench {
    fn send(&self, method: &str, to: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let path = self.paths[to].as_str().expect("a path");
        self.daemon.connect().send(method, path, headers, body).expect("an answer")
    }

    fn post(&self, to: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send("POST", to, headers, body)
    }

    /// The events that an answer names, with whether they were there before.
    #[track_caller]
    fn events(&self, response: &Response) -> Vec<(Value, bool)> {
        assert_eq!(response.status, 200, "{}", response.text());
        let answer = response.json();
        let events = answer["events"].as_array().expect("events").clone();
        let read = |it: Value| {
            let event = self.daemon.call("events.get", &json!({ "id": it["id"] }));
            (event["event"].clone(), it["duplicate"] == true)
        };
        events.into_iter().map(read).collect()
    }

    fn log(&self, of: &str) -> String {
        self.daemon.call("event-sources.logs", &json!({ "id": self.ids[of] })).to_string()
    }
}

/// The clock of a sender, which is the one of this machine.
#[expect(clippy::disallowed_methods, reason = "senders have a clock of their own")]
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_secs().to_string()
}

#[test]
fn a_delivery_of_github_is_stored_once() {
    let bench = bench();
    let body = json!({ "ref": "refs/heads/main", "n": 1.5 }).to_string();
    let signature = format!("sha256={}", sign(body.as_bytes()));
    let headers = |delivery| {
        [
            ("content-type", "application/json"),
            ("X-Hub-Signature-256", signature.as_str()),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", delivery),
        ]
    };
    let [(event, false)] =
        &bench.events(&bench.post("github", &headers("d-1"), body.as_bytes()))[..]
    else {
        panic!("one event, and new");
    };
    assert_eq!(event["type"], "custom:push");
    assert_eq!(event["payload"].to_string(), body);
    let run = bench.daemon.run_of(event["id"].as_str().expect("an id"));
    assert_eq!(run["result"], event["payload"]);

    // Again; by another delivery; and as a form, as GitHub sends it when it is asked to.
    let again = bench.events(&bench.post("github", &headers("d-1"), body.as_bytes()));
    assert_eq!((&again[0].0["id"], again[0].1, again.len()), (&event["id"], true, 1));
    assert!(!bench.events(&bench.post("github", &headers("d-2"), body.as_bytes()))[0].1);
    let form = b"payload=%7B%22zen%22%3A1%7D";
    let signature = format!("sha256={}", sign(form));
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("X-Hub-Signature-256", signature.as_str()),
        ("X-GitHub-Event", "ping"),
    ];
    let events = bench.events(&bench.post("github", &headers, form));
    assert_eq!(
        (&events[0].0["type"], &events[0].0["payload"]),
        (&json!("custom:ping"), &json!({ "zen": 1 }))
    );
}

#[test]
fn who_is_not_the_sender_learns_little_and_the_owner_all() {
    let bench = bench();
    let stored = || bench.daemon.list_all("events.list", "events", &json!({})).len();
    let body = b"{\"id\": \"evt_1\", \"type\": \"charge.succeeded\"}";
    let signed = |time: &str| {
        let content = [time.as_bytes(), b".", body].concat();
        format!("t={time},v1={}", sign(&content))
    };
    let right = signed(&now());
    let wrong = right.replace(|it: char| it.is_ascii_lowercase() && ('a'..='f').contains(&it), "0");
    let stale = signed("1600000000");
    for (headers, status, said) in [
        (vec![], 401, "the header Stripe-Signature is missing"),
        (vec![("Stripe-Signature", wrong.as_str())], 401, "the configured secret does not make"),
        (vec![("Stripe-Signature", stale.as_str())], 401, "s old, more than the 300 s"),
        (vec![("Stripe-Signature", "t=1")], 400, "has no v1"),
    ] {
        let response = bench.post("stripe", &headers, body);
        assert_eq!(response.status, status, "{}", response.text());
        assert!(!response.text().contains("Stripe"), "{}", response.text());
        let log = bench.log("stripe");
        assert!(log.contains(said) && !log.contains(SECRET), "{log}");
    }
    assert_eq!(stored(), 0);
    let headers = [("Stripe-Signature", right.as_str()), ("content-type", "application/json")];
    let response = bench.send("GET", "stripe", &headers, b"");
    assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
    let events = bench.events(&bench.post("stripe", &headers, body));
    assert_eq!(events[0].0["type"], "custom:charge.succeeded");
    assert!(bench.events(&bench.post("stripe", &headers, body))[0].1, "the second is a duplicate");
    assert_eq!(stored(), 1);
}

#[test]
fn slack_and_standard_webhooks() {
    let bench = bench();
    let time = now();
    let slack = |body: &[u8], content_type: &str| {
        let content = [b"v0:", time.as_bytes(), b":", body].concat();
        let signature = format!("v0={}", sign(&content));
        let headers = [
            ("content-type", content_type),
            ("X-Slack-Request-Timestamp", time.as_str()),
            ("X-Slack-Signature", signature.as_str()),
        ];
        bench.post("slack", &headers, body)
    };
    let json = "application/json";
    let challenge = slack(b"{\"type\": \"url_verification\", \"challenge\": \"3eZ\"}", json);
    assert_eq!((challenge.status, challenge.json()), (200, json!({ "challenge": "3eZ" })));
    assert_eq!(bench.daemon.list_all("events.list", "events", &json!({})).len(), 0);
    let event = b"{\"event_id\": \"Ev1\", \"event\": {\"type\": \"app_mention\"}}";
    let answer = slack(event, json);
    // Slack shows people what is answered.
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    slack(event, json);
    slack(b"command=%2Fdeploy&text=now", "application/x-www-form-urlencoded");
    let events = bench.daemon.list_all("events.list", "events", &json!({}));
    let mut types: Vec<&str> = events.iter().filter_map(|it| it["type"].as_str()).collect();
    types.sort_unstable();
    assert_eq!(types, ["custom:/deploy", "custom:app_mention"]);

    let body = b"{\"type\": \"user.created\"}";
    let content = [b"msg_1.", time.as_bytes(), b".", body].concat();
    let tag = STANDARD.encode(hex::decode(sign(&content)).expect("hexadecimal"));
    let signature = format!("v1,AAAA v1,{tag}");
    let headers = |signature| {
        [
            ("content-type", json),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", signature),
        ]
    };
    assert_eq!(bench.post("standard", &headers(&signature), body).status, 400, "one is none");
    let signature = format!("v1,{} v1,{tag}", STANDARD.encode([7; 32]));
    let events = bench.events(&bench.post("standard", &headers(&signature), body));
    assert_eq!(events[0].0["type"], "custom:user.created");
}

#[test]
fn cloud_events_come_in_batches_and_ask_first() {
    let bench = bench();
    let origin = [("WebHook-Request-Origin", "eventemitter.example.com")];
    let allowed = bench.send("OPTIONS", "cloud", &origin, b"");
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("webhook-allowed-origin"), Some("eventemitter.example.com"));
    // Whoever does not know the handshake says so, and other OPTIONS get no further than before.
    for (to, headers) in [("github", &origin[..]), ("policy", &origin), ("cloud", &[])] {
        assert_eq!(bench.send("OPTIONS", to, headers, b"").status, 405, "{to}");
    }
    assert_eq!(bench.send("PUT", "cloud", &origin, b"").status, 405);

    let event =
        |id: &str| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "org.x" });
    let bearer = format!("Bearer {SECRET}");
    let batch = |events: Value| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/cloudevents-batch+json"),
        ];
        bench.post("cloud", &headers, events.to_string().as_bytes())
    };
    let events = bench.events(&batch(json!([event("1"), event("2")])));
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].0["type"], "custom:org.x");
    assert_eq!(events[1].0["payload"], event("2"));
    let duplicates: Vec<bool> =
        bench.events(&batch(json!([event("2"), event("3")]))).iter().map(|it| it.1).collect();
    assert_eq!(duplicates, [true, false]);
    let refused = batch(json!([event("4"), { "id": "5" }]));
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("event 1 of the batch lacks `specversion`"),
        "{}",
        refused.text()
    );
    // All or nothing.
    assert!(!bench.events(&batch(json!([event("4")])))[0].1);

    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "6"),
        ("ce-source", "/s"),
        ("ce-type", "org.x"),
    ];
    let events = bench.events(&bench.post("cloud", &headers, b"{\"n\": 1}"));
    assert_eq!(events[0].0["payload"]["data"], json!({ "n": 1 }));
}

#[test]
fn a_policy_shapes_what_is_verified() {
    let bench = bench();
    let body = b"{\"n\": 1}";
    let signature = format!("sha256={}", sign(body));
    let headers = [
        ("content-type", "application/json"),
        ("X-Hub-Signature-256", signature.as_str()),
        ("X-GitHub-Delivery", "d-1"),
    ];
    let events = bench.events(&bench.post("both", &headers, body));
    assert_eq!(events[0].0["type"], "custom:shaped");
    assert_eq!(events[0].0["payload"], json!({ "shaped": { "n": 1 } }));
    assert!(bench.events(&bench.post("both", &headers, body))[0].1, "the delivery is the same");
    assert_eq!(bench.post("both", &headers, b"{\"n\": 2}").status, 401);
}

#[test]
fn a_wrong_preset_is_refused_when_the_version_is_made() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "presets" }));
    let manifest = "
version: \"2\"
name: Wrong
description: For tests.
service_account: {display_name: Wrong}
event_sources:
  organization:
    - name: hook
      display_name: Hook
      type: flow-custom-webhook
      config: {verify: {scheme: githb, secrt: planted}}
";
    let archive = pack(&[("package.json", "{\"name\":\"wrong\",\"version\":\"1.0.0\"}")]);
    let version = json!({ "package": "presets", "manifest": manifest, "archive": archive });
    let refused = daemon.refused("versions.create", &version, 422).to_string();
    assert!(refused.contains("did you mean `github`?"), "{refused}");
    assert!(!refused.contains("planted"), "{refused}");
}
