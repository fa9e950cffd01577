//! Integrations on a real daemon: what is told to whom, with what, and what becomes of it when receivers
//! fail, when the daemon is killed and when connections change.

use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::files::{Answer, FileServer, Seen};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "the-first-token-of-the-channel";

fn options() -> Options {
    Options {
        settings: "[egress]\nallow = [\"127.0.0.0/8\"]\n".to_owned(),
        plugins: vec!["mortise-test-posting".to_owned()],
        ..Options::default()
    }
}

/// A daemon, and a server at which messages arrive.
fn with_server() -> (Daemon, FileServer) {
    let server = FileServer::start();
    server.put("/ops", Answer::bytes(br#"{"id": "m-1", "thread": "t-1"}"#.to_vec()));
    (Daemon::start_with(options()), server)
}

/// An integration that posts to a path of the server.
#[track_caller]
fn integration(daemon: &Daemon, server: &FileServer, path: &str, more: &Value) -> String {
    let name = path.trim_start_matches('/');
    let mut new = json!({
        "type": "test-post", "name": name, "supplied_to_all": true,
        "connection": { "url": server.url(path), "token": TOKEN },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        new[key] = value.clone();
    }
    let made = daemon.call("integrations.create", &new);
    made["integration"]["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn subscribe(daemon: &Daemon, integration: &str, trigger: &str, more: &Value) -> String {
    let mut new = json!({ "integration": integration, "trigger": trigger });
    for (key, value) in more.as_object().into_iter().flatten() {
        new[key] = value.clone();
    }
    let made = daemon.call("subscriptions.create", &new);
    made["subscription"]["id"].as_str().expect("an id").to_owned()
}

/// Waits for so many messages, without those that only try the connection.
#[track_caller]
fn messages(server: &FileServer, count: usize) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    eventually("the messages arrive", PATIENCE, || {
        all.extend(server.take_seen().into_iter().filter(|it| it.json()["test"].is_null()));
        (all.len() >= count).then_some(())
    });
    all
}

fn deliveries(daemon: &Daemon, state: &str) -> Vec<Value> {
    daemon.list_all("deliveries.list", "deliveries", &json!({ "state": state }))
}

/// A snap-in whose activation fails.
fn failing() -> Parts {
    Parts::new("frail", SIGNED, "export const run = async () => ({});")
        .with_function(
            "activate",
            "export const run = async () => { throw new Error('no licence'); };",
        )
        .with_sections("hooks:\n  - type: activate\n    function: activate\n")
}

#[test]
fn a_channel_is_told_of_a_snap_in_that_fails() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    subscribe(&daemon, &ops, "snap_in.failed", &json!({ "scope": "prod" }));
    let installed = daemon.install_at(&failing(), "prod/team/frail");
    daemon.call("snap-ins.activate", &json!({ "id": installed.id }));
    let told = messages(&server, 1);
    assert_eq!(told[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let said = told[0].json();
    assert_eq!(said["trigger"], "snap_in.failed", "{said}");
    assert_eq!(said["message"]["title"], "prod/team/frail has failed", "{said}");
    assert_eq!(said["message"]["level"], "error");
    assert!(said["message"]["text"].as_str().is_some_and(|it| it.contains("no licence")), "{said}");
    assert_eq!(said["occurrences"][0]["snap_in"], installed.id.as_str());
    let delivered = eventually("it is stored", PATIENCE, || {
        deliveries(&daemon, "delivered").into_iter().next()
    });
    assert_eq!(delivered["attempts"][0]["message_id"], "m-1", "{delivered}");
    assert_eq!(delivered["id"], said["id"]);
}
