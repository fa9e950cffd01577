//! Repetitions, wanted and not: dedup keys and their window, `Idempotency-Key`, replays.

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::http::Response;
use mortise_tests::snap_in::{ECHO, Parts, SIGNED, sign};
use serde_json::{Value, json};

fn send(daemon: &Daemon, path: &str, body: &[u8], key: Option<&str>) -> Response {
    let signature = sign(body);
    let mut headers = vec![("X-Signature-256", signature.as_str())];
    headers.extend(key.map(|it| ("Idempotency-Key", it)));
    headers.push(("Content-Type", "application/json"));
    daemon.connect().send("POST", path, &headers, body).expect("the daemon answers")
}

fn first_event(response: &Response) -> (String, bool) {
    assert_eq!(response.status, 200, "{}", response.text());
    let event = &response.json()["events"][0];
    (event["id"].as_str().expect("an id").to_owned(), event["duplicate"] == true)
}

fn call_with_key(daemon: &Daemon, name: &str, key: &str, parameters: &Value) -> Response {
    let bearer = format!("Bearer {}", daemon.token());
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
    let path = format!("/api/v1/{name}");
    let body = parameters.to_string();
    daemon.connect().send("POST", &path, &headers, body.as_bytes()).expect("the daemon answers")
}

#[test]
fn a_request_with_a_key_is_taken_once() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let (first, duplicate) = first_event(&send(&daemon, &installed.path, br#"{"n":1}"#, Some("a")));
    assert!(!duplicate);
    daemon.kill_dash_nine();
    daemon.restart();
    let again = mortise_tests::eventually("it is open", std::time::Duration::from_secs(30), || {
        let answer = send(&daemon, &installed.path, br#"{"n":1}"#, Some("a"));
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(first_event(&again), (first.clone(), true));
    let (other, duplicate) = first_event(&send(&daemon, &installed.path, br#"{"n":1}"#, Some("b")));
    assert!(!duplicate && other != first);
    // Who is refused has used no key up.
    let wrong = daemon
        .connect()
        .send("POST", &installed.path, &[("Idempotency-Key", "c")], b"{}")
        .expect("answered");
    assert_eq!(wrong.status, 401);
    assert!(!first_event(&send(&daemon, &installed.path, br#"{"n":1}"#, Some("c"))).1);
    let published =
        json!({ "id": installed.source, "event_type": "custom:tick", "payload": {"n": 2} });
    let first = call_with_key(&daemon, "event-sources.publish", "p", &published);
    let again = call_with_key(&daemon, "event-sources.publish", "p", &published);
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json(), again.json());
    let events = daemon.list_all("events.list", "events", &json!({ "snap_in": installed.id }));
    assert_eq!(events.len(), 4, "{events:?}");
}

#[test]
fn a_dedup_key_is_remembered_as_long_as_the_source_says() {
    let daemon = Daemon::start();
    let mut parts = Parts::new("forgetful", SIGNED, ECHO);
    parts.registration = "      dedup_window_seconds: 1\n".to_owned();
    let installed = daemon.install(&parts);
    let (first, _) = first_event(&send(&daemon, &installed.path, br#"{"n":1}"#, Some("a")));
    let later =
        mortise_tests::eventually("a second is over", std::time::Duration::from_secs(30), || {
            let (id, duplicate) =
                first_event(&send(&daemon, &installed.path, br#"{"n":1}"#, Some("a")));
            (!duplicate).then_some(id)
        });
    assert_ne!(first, later);
    // Who comes now hears of the later one.
    assert_eq!(
        first_event(&send(&daemon, &installed.path, br#"{"n":1}"#, Some("a"))),
        (later, true)
    );
}

#[test]
fn a_call_with_a_key_is_carried_out_once() {
    let daemon = Daemon::start();
    let create = |key: &str, slug: &str| {
        call_with_key(&daemon, "packages.create", key, &json!({ "slug": slug }))
    };
    let first = create("one", "twice");
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    let again = create("one", "twice");
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(first.json(), again.json());
    let other = create("one", "another");
    assert_eq!(other.status, 422, "{}", other.text());
    assert_eq!(other.json()["code"], "idempotency_key_reused");
    // What failed was not carried out: it may be tried again with the key.
    assert_eq!(create("two", "twice").status, 409);
    assert_eq!(create("two", "").status, 400);
    assert_eq!(create("two", "second").status, 200);
    daemon.restart();
    assert_eq!(create("one", "twice").json(), first.json());
    let wrong = call_with_key(&daemon, "packages.create", &"k".repeat(300), &json!({"slug": "x"}));
    assert_eq!(wrong.status, 400);
}

#[test]
fn a_secret_is_answered_once_however_often_it_is_asked_for() {
    let daemon = Daemon::start();
    let token = json!({ "name": "ci" });
    let webhook = json!({ "url": "http://127.0.0.1:9/hook", "event_types": ["nothing_created"] });
    for (name, list, asked) in
        [("tokens.create", "tokens", token), ("webhooks.create", "webhooks", webhook)]
    {
        let count = || {
            let listed = daemon.call(&format!("{list}.list"), &json!({}));
            listed[list].as_array().expect("a list").len()
        };
        let before = count();
        let first = call_with_key(&daemon, name, "k", &asked);
        assert!(first.status < 300, "{}", first.text());
        let made = first.json();
        let secret = made["token"].as_str().or(made["webhook"]["secret"].as_str());
        let secret = secret.expect("a secret").to_owned();
        daemon.terminate();
        daemon.restart();
        let again = call_with_key(&daemon, name, "k", &asked);
        let told = again.json();
        assert_eq!((again.status, &told["code"]), (409, &json!("already_created")), "{told}");
        assert!(!again.text().contains(&secret), "{told}");
        let thing = if told["created"]["webhook"].is_object() {
            (&told["created"]["webhook"]["id"], &made["webhook"]["id"])
        } else {
            (&told["created"]["name"], &made["name"])
        };
        assert!(thing.0.is_string() && thing.0 == thing.1, "{told}");
        assert_eq!(count(), before + 1);
        let file = std::fs::read(daemon.state_dir().join("mortise.redb")).expect("readable");
        let is_there = file.windows(secret.len()).any(|it| it == secret.as_bytes());
        assert!(!is_there, "{name}: the secret is in the database");
    }
}

#[test]
fn events_are_replayed_as_new_runs_that_name_the_original() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let events: Vec<_> =
        (0..3).map(|n| daemon.send_event(&installed, &json!({ "n": n }))).collect();
    let originals: Vec<_> = events.iter().map(|it| daemon.run_of(it)["id"].clone()).collect();
    let before = daemon.list_all("runs.list", "runs", &json!({ "snap_in": installed.id })).len();
    assert_eq!(before, 3);

    let replay = |parameters: &Value| daemon.call("events.replay", parameters);
    let dry = replay(&json!({ "snap_in": installed.id, "dry_run": true }));
    assert_eq!((&dry["runs"], &dry["events"][0]["functions"]), (&json!(3), &json!(["work"])));
    assert_eq!(daemon.list_all("runs.list", "runs", &json!({ "snap_in": installed.id })).len(), 3);

    let one = replay(&json!({ "ids": [events[1]] }));
    let run =
        daemon.call("runs.get", &json!({ "id": one["events"][0]["runs"][0], "wait_seconds": 30 }));
    let run = &run["run"];
    assert_eq!((&run["state"], &run["result"]), (&json!("succeeded"), &json!({ "n": 1 })));
    assert_eq!((&run["event"], &run["replay_of"]), (&json!(events[1]), &originals[1]));
    assert_eq!(run["is_replay"], true);

    // Page by page, and by time.
    let first = replay(&json!({ "event_source": installed.source, "limit": 2 }));
    assert_eq!(first["events"].as_array().map(Vec::len), Some(2));
    let rest = replay(&json!({
        "event_source": installed.source, "limit": 2, "cursor": first["next_cursor"]
    }));
    assert_eq!(
        (&rest["events"][0]["event"], &rest["next_cursor"]),
        (&json!(events[2]), &Value::Null)
    );
    let received = daemon.call("events.get", &json!({ "id": events[1] }));
    let since = &received["event"]["received_date"];
    let until = replay(&json!({ "snap_in": installed.id, "to_date": since, "dry_run": true }));
    let from = replay(&json!({ "snap_in": installed.id, "from_date": since, "dry_run": true }));
    let count = |it: &Value| it["events"].as_array().map(Vec::len).unwrap_or_default();
    assert_eq!(count(&until) + count(&from), 3, "{until} {from}");

    let all = daemon.list_all("events.list", "events", &json!({ "snap_in": installed.id }));
    assert_eq!(all.len(), 3, "no event is stored twice");
    let typo = json!({ "snap_in": installed.id, "form_date": since });
    let refused = daemon.refused("events.replay", &typo, 400);
    assert_eq!(refused["field"], "form_date", "a typo replays nothing: {refused}");
    for (wrong, field) in [
        (json!({}), "ids"),
        (json!({ "ids": [events[0]], "type": "custom:tick" }), "ids"),
        (json!({ "snap_in": installed.id, "from_date": "yesterday" }), "from_date"),
    ] {
        assert_eq!(daemon.refused("events.replay", &wrong, 400)["field"], field);
    }
    let unknown = installed.source.replace(&installed.source[20..], "0000000000");
    let nothing = json!({ "event_source": unknown, "dry_run": true });
    let refused = daemon.refused("events.replay", &nothing, 404);
    assert!(refused["message"].as_str().is_some_and(|it| it.contains(&unknown)), "{refused}");
}

#[test]
fn a_replay_goes_last_and_is_done_by_whoever_may() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo().with("supports_synchronization: true"));
    let events: Vec<_> =
        (0..4).map(|n| daemon.send_event(&installed, &json!({ "n": n, "group": "g" }))).collect();
    for event in &events {
        assert_eq!(daemon.run_of(event)["state"], "succeeded");
    }
    let again = daemon.call("events.replay", &json!({ "event_source": installed.source }));
    let newest = daemon.send_event(&installed, &json!({ "n": 9, "group": "g" }));
    let last = daemon.run_of(&newest);
    let ended = |id: &Value| {
        let run = daemon.call("runs.get", &json!({ "id": id, "wait_seconds": 30 }))["run"].clone();
        assert_eq!(run["sync_id"], "g", "{run:#}");
        run
    };
    let replays: Vec<_> = again["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|it| ended(&it["runs"][0]))
        .collect();
    // In the order of their events, and before what came after them.
    let results: Vec<_> = replays.iter().map(|it| it["result"]["n"].clone()).collect();
    assert_eq!(results, [0, 1, 2, 3]);
    for pair in replays.iter().chain([&last]).collect::<Vec<_>>().windows(2) {
        let begun = pair[1]["attempts"][0]["started_date"].as_str();
        assert!(pair[0]["ended_date"].as_str() <= begun, "{pair:#?}");
    }

    let made = daemon.call("tokens.create", &json!({ "name": "other", "scope": "prod/other" }));
    let token = made["token"].as_str().expect("a token");
    // What it does not reach is not there for it.
    for parameters in [
        json!({ "ids": [events[0]] }),
        json!({ "snap_in": installed.id }),
        json!({ "event_source": installed.source }),
    ] {
        let answer = daemon.try_call_as(token, "events.replay", &parameters).expect("an answer");
        assert_eq!(answer.status, 404, "{parameters}: {}", answer.text());
    }
}

#[test]
fn a_replay_is_queued_whole_or_not_at_all() {
    let settings = "[limits]\nqueued_runs = 5".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let installed = daemon.install(&Parts::echo());
    let events: Vec<_> =
        (0..6).map(|n| daemon.send_event(&installed, &json!({ "n": n }))).collect();
    for event in &events {
        daemon.run_of(event);
    }
    let runs = || daemon.list_all("runs.list", "runs", &json!({ "snap_in": installed.id })).len();
    let all = json!({ "snap_in": installed.id });
    let refused = daemon.refused("events.replay", &all, 503);
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("nothing was queued")));
    assert_eq!(runs(), 6);
    let some = json!({ "snap_in": installed.id, "limit": 4 });
    let answer = daemon.call("events.replay", &some);
    assert_eq!((&answer["runs"], runs()), (&json!(4), 10), "{answer}");
}
