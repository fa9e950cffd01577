//! Scopes: where snap-ins live, lists and tokens that are narrowed to a part of the host.

use mortise_tests::daemon::{Daemon, built};
use mortise_tests::snap_in::Parts;
use serde_json::{Value, json};

fn ids(answer: &Value, key: &str) -> Vec<String> {
    let rows = answer[key].as_array().expect("a list").iter();
    rows.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn lists_and_tokens_are_narrowed_to_a_prefix() {
    let daemon = Daemon::start();
    let ours = daemon.install_at(&Parts::echo(), "prod/payments/echo");
    let theirs = daemon.install_at(&Parts::echo(), "prod/paymentsx/echo");
    let far = daemon.install_at(&Parts::echo(), "test/payments/echo");
    for it in [&ours, &theirs, &far] {
        daemon.step("activate", &it.id, "ACTIVE");
        daemon.run_of(&daemon.send_event(it, &json!({ "n": 1 })));
    }
    let taken =
        json!({ "version": "ver_00000000000000000000000000", "scope": "prod/payments/echo" });
    daemon.refused("snap-ins.create", &taken, 404);

    for (scope, count) in [("prod", 2), ("prod/", 2), ("prod/payments", 1), ("pro", 0)] {
        for (name, key) in [
            ("snap-ins.list", "snap_ins"),
            ("event-sources.list", "event_sources"),
            ("events.list", "events"),
            ("runs.list", "runs"),
        ] {
            let found = daemon.call(name, &json!({ "scope": scope }));
            assert_eq!(ids(&found, key).len(), count, "{name} under {scope}: {found}");
        }
    }
    daemon.refused("runs.list", &json!({ "scope": "Prod//x" }), 400);

    let made =
        daemon.call("tokens.create", &json!({ "name": "payments", "scope": "prod/payments" }));
    let token = made["token"].as_str().expect("a token").to_owned();
    daemon.refused("tokens.create", &json!({ "name": "payments" }), 409);
    let call = |name: &str, parameters: &Value| {
        let answer = daemon.try_call_as(&token, name, parameters).expect("the daemon answers");
        (answer.status, answer.json())
    };
    for (name, key) in [
        ("snap-ins.list", "snap_ins"),
        ("event-sources.list", "event_sources"),
        ("events.list", "events"),
        ("runs.list", "runs"),
    ] {
        let (status, found) = call(name, &json!({}));
        assert_eq!((status, ids(&found, key).len()), (200, 1), "{name}: {found}");
        let (_, found) = call(name, &json!({ "scope": "test" }));
        assert!(ids(&found, key).is_empty(), "{name}: {found}");
    }
    // What is not his does not exist for him: 404, as for what exists for nobody.
    for other in [&theirs, &far] {
        let events = daemon.call("events.list", &json!({ "snap_in": other.id }));
        let event = &ids(&events, "events")[0];
        let runs = daemon.call("runs.list", &json!({ "snap_in": other.id }));
        let run = &ids(&runs, "runs")[0];
        for (name, parameters) in [
            ("snap-ins.get", json!({ "id": other.id })),
            ("snap-ins.activate", json!({ "id": other.id })),
            ("snap-ins.delete", json!({ "id": other.id })),
            ("snap-ins.update", json!({ "id": other.id, "inputs_values": {} })),
            ("event-sources.get", json!({ "id": other.source })),
            ("event-sources.pause", json!({ "id": other.source })),
            (
                "event-sources.publish",
                json!({ "id": other.source, "event_type": "x", "payload": 1 }),
            ),
            ("events.get", json!({ "id": event })),
            ("runs.get", json!({ "id": run })),
            ("runs.logs", json!({ "id": run })),
            ("runs.retry", json!({ "id": run })),
            ("runs.cancel", json!({ "id": run })),
            ("runs.replay", json!({ "id": run })),
            ("dead-letters.replay", json!({ "id": run })),
            ("functions.call", json!({ "snap_in": other.id, "function": "work" })),
            ("keyrings.list", json!({ "snap_in": other.id })),
        ] {
            let (status, answer) = call(name, &parameters);
            assert_eq!(status, 404, "{name}: {answer}");
        }
    }
    // What is the host's is refused.
    for (name, parameters) in [
        ("packages.create", json!({ "slug": "mine" })),
        ("tokens.create", json!({ "name": "more" })),
        ("tokens.list", json!({})),
        ("tokens.delete", json!({ "name": "admin" })),
    ] {
        assert_eq!(call(name, &parameters).0, 403, "{name}");
    }
    // His own part is his.
    let (_, shown) = call("snap-ins.get", &json!({ "id": ours.id }));
    let version = shown["snap_in"]["version"].clone();
    let outside = json!({ "version": version, "scope": "test/payments/mine" });
    assert_eq!(call("snap-ins.create", &outside).0, 403);
    let inside = json!({ "version": version, "scope": "prod/payments/second" });
    let (status, made) = call("snap-ins.create", &inside);
    assert_eq!(status, 200, "{made}");
    let (status, answer) = call("snap-ins.activate", &json!({ "id": "prod/payments/second" }));
    assert_eq!(status, 200, "{answer}");

    daemon.restart();
    let listed = daemon.call("tokens.list", &json!({}));
    assert!(!listed.to_string().contains(&token), "a token is shown once");
    daemon.call("tokens.delete", &json!({ "name": "payments" }));
    let answer = daemon.try_call_as(&token, "snap-ins.list", &json!({})).expect("it answers");
    assert_eq!(answer.status, 401);
}

#[test]
fn the_command_line_makes_tokens_that_work() {
    let daemon = Daemon::start();
    let it = daemon.install_at(&Parts::echo(), "prod/payments/echo");
    let socket = daemon.socket();
    let mortise = |arguments: &[&str]| {
        let mut command = std::process::Command::new(built("mortise"));
        command.arg("--socket").arg(&socket).args(arguments);
        let output = command.output().expect("it starts");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), text)
    };
    let (code, token) = mortise(&["token", "create", "team", "--scope", "prod"]);
    assert_eq!(code, Some(0), "{token}");
    let listed = daemon.try_call_as(token.trim(), "snap-ins.list", &json!({}));
    assert_eq!(ids(&listed.expect("it answers").json(), "snap_ins"), [it.id]);
    let (_, tokens) = mortise(&["token", "list"]);
    assert!(tokens.contains("team") && tokens.contains("prod"), "{tokens}");
    let (_, sources) = mortise(&["source", "list", "--scope", "prod/payments"]);
    assert!(sources.contains(&it.source), "{sources}");
    let (_, sources) = mortise(&["--json", "source", "list", "--scope", "test"]);
    assert!(sources.contains("\"event_sources\": []"), "{sources}");
    assert_eq!(mortise(&["token", "delete", "team"]).0, Some(0));
    assert_eq!(mortise(&["token", "delete", "team"]).0, Some(1));
}
