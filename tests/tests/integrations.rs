//! Integrations on a real daemon: what is told to whom, with what, and what becomes of it when receivers
//! fail, when the daemon is killed and when connections change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, Options, built, post_signed};
use mortise_tests::eventually;
use mortise_tests::files::{Answer, FileServer, Held, Seen};
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

/// Publishes one of a kind; answers its id, when the daemon took it.
fn try_publish(daemon: &Daemon, name: &str, number: usize) -> Option<String> {
    let asked = json!({
        "name": name, "title": format!("number {number}"), "data": { "number": number },
    });
    let response = daemon.try_call("occurrences.publish", &asked).ok()?;
    if response.status != 200 {
        return None;
    }
    response.json()["occurrence"].as_str().map(str::to_owned)
}

#[track_caller]
fn publish(daemon: &Daemon, name: &str, number: usize) -> String {
    try_publish(daemon, name, number).expect("it is taken")
}

fn told_of(seen: &[Seen]) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for it in seen {
        let said = it.json();
        for occurrence in said["occurrences"].as_array().into_iter().flatten() {
            let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
            told.push((text(&occurrence["id"]), text(&said["id"])));
        }
    }
    told
}

#[test]
fn nothing_is_lost_or_told_as_two_when_the_daemon_is_killed() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    subscribe(&daemon, &ops, "custom.kill", &json!({}));
    let mut published = BTreeSet::new();
    let mut seen = Vec::new();
    for round in 0..4 {
        for number in 0..25 {
            published.extend(try_publish(&daemon, "kill", round * 25 + number));
        }
        // In the middle of whatever it does: occurrences wait, messages are under way.
        daemon.restart();
    }
    assert!(published.len() >= 90, "only {} were taken", published.len());
    eventually("all of them arrive", PATIENCE, || {
        seen.extend(server.take_seen());
        let told: BTreeSet<String> = told_of(&seen).into_iter().map(|it| it.0).collect();
        published.is_subset(&told).then_some(())
    });
    let mut delivery_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (occurrence, delivery) in told_of(&seen) {
        delivery_of.entry(occurrence).or_default().insert(delivery);
    }
    for (occurrence, deliveries) in delivery_of {
        assert_eq!(deliveries.len(), 1, "{occurrence} has several: {deliveries:?}");
    }
}

#[test]
fn no_message_goes_out_with_a_token_that_was_changed() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({ "concurrency": 16 }));
    subscribe(&daemon, &ops, "custom.load", &json!({}));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (daemon, stop) = (&daemon, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    try_publish(daemon, "load", thread * 1_000_000 + number);
                }
            });
        }
        let mut token = TOKEN.to_owned();
        for round in 0..5 {
            messages(&server, 20);
            let next = format!("another-token-of-the-channel-{round}");
            let connection = json!({ "url": server.url("/ops"), "token": next });
            daemon.call("integrations.update", &json!({ "id": ops, "connection": connection }));
            // Whatever came until now may have come with either.
            server.take_seen();
            let expected = format!("Bearer {next}");
            for it in messages(&server, 20) {
                assert_eq!(it.header("authorization"), Some(expected.as_str()), "was {token}");
            }
            token = next;
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn an_outage_holds_messages_and_is_told_through_others() {
    let (daemon, server) = with_server();
    server.put("/down", Answer { status: 503, headers: Vec::new(), body: Vec::new() });
    let down = integration(&daemon, &server, "/down", &json!({}));
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    subscribe(&daemon, &down, "*", &json!({}));
    subscribe(&daemon, &ops, "integration.*", &json!({}));
    let ids: Vec<String> = (0..20).map(|it| publish(&daemon, "held", it)).collect();
    let shown = eventually("the circuit opens", PATIENCE, || {
        let shown = daemon.call("integrations.get", &json!({ "id": down }))["integration"].clone();
        (shown["health"] == "degraded").then_some(shown)
    });
    assert!(shown["reason"].as_str().is_some_and(|it| it.contains("503")), "{shown}");
    let degraded = eventually("others hear of it", PATIENCE, || {
        let seen = server.take_seen();
        seen.iter().map(Seen::json).find(|it| it["trigger"] == "integration.degraded")
    });
    assert_eq!(degraded["occurrences"][0]["integration"], down.as_str());
    eventually("it says why it waits", PATIENCE, || {
        let why = daemon.call("integrations.explain", &json!({ "id": ids[19] }));
        let own = why["occurrences"][0]["decisions"].as_array()?.clone();
        let own = own.iter().find(|it| it["integration"] == down.as_str())?.clone();
        own["waits_for"].as_str().filter(|it| it.starts_with("circuit: ")).map(drop)
    });
    let about = degraded["occurrences"][0]["id"].clone();
    let why = daemon.call("integrations.explain", &json!({ "id": about }));
    // It was told, so it was decided on.
    let decisions = why["occurrences"][0]["decisions"].as_array().expect("decisions").clone();
    let own = decisions.iter().find(|it| it["integration"] == down.as_str()).expect("there");
    assert_eq!(own["decision"], "own_trouble", "it would only make it worse: {own}");
    assert_eq!(deliveries(&daemon, "dead").len(), 0);
    server.put("/down", Answer::bytes(b"{}".to_vec()));
    // Whoever has mended it says so; otherwise one message tries the way after a while.
    daemon.call("integrations.update", &json!({ "id": down, "enabled": true }));
    eventually("what was held arrives", PATIENCE, || {
        let done = deliveries(&daemon, "delivered");
        let done = done.iter().filter(|it| it["integration"] == down.as_str()).count();
        (done >= ids.len()).then_some(())
    });
}

#[test]
fn one_that_never_answers_holds_up_nobody() {
    let (daemon, server) = with_server();
    let stuck = Held::start();
    let url = format!("http://{}/", stuck.address());
    let connection = json!({ "url": url, "token": TOKEN });
    let new = json!({
        "type": "test-post", "name": "stuck", "supplied_to_all": true, "connection": connection,
    });
    let held = daemon.call("integrations.create", &new)["integration"]["id"].clone();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    subscribe(&daemon, held.as_str().expect("an id"), "custom.*", &json!({}));
    subscribe(&daemon, &ops, "custom.*", &json!({}));
    for number in 0..50 {
        publish(&daemon, "x", number);
    }
    assert!(messages(&server, 50).len() >= 50);
    // It can be changed and deleted in the middle of that.
    daemon.call("integrations.delete", &json!({ "id": held }));
    daemon.refused("integrations.get", &json!({ "id": held }), 404);
}

#[test]
fn many_of_a_kind_are_one_message() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    subscribe(&daemon, &ops, "custom.*", &json!({ "group_wait_seconds": 4 }));
    for number in 0..60 {
        publish(&daemon, "storm", number);
    }
    let mut all = Vec::new();
    eventually("all are told", PATIENCE, || {
        all.extend(server.take_seen().iter().map(Seen::json));
        let told: u64 = all.iter().filter_map(|it| it["count"].as_u64()).sum();
        (told == 60).then_some(())
    });
    assert!(all.len() < 20, "{} messages", all.len());
    let first = &all[0];
    let count = first["count"].as_u64().expect("a number");
    if count > 1 {
        let title = first["message"]["title"].as_str().expect("a title");
        assert_eq!(title, format!("{count} × custom.storm"));
        let text = first["message"]["text"].as_str().expect("a text");
        assert!(text.starts_with("number 0\nnumber 1"), "{text}");
        assert!(first["occurrences"].as_array().expect("some").len() <= 20);
    }
}

#[test]
fn a_dead_letter_is_kept_and_sent_again() {
    let (daemon, server) = with_server();
    server.put("/ops", Answer { status: 400, headers: Vec::new(), body: Vec::new() });
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    subscribe(&daemon, &ops, "custom.*", &json!({}));
    subscribe(&daemon, &ops, "custom.*", &json!({ "filter": ".data.number + \"x\" == 1" }));
    publish(&daemon, "x", 1);
    let dead = eventually("they are given up", PATIENCE, || {
        let dead = deliveries(&daemon, "dead");
        (dead.len() == 2).then_some(dead)
    });
    let by_filter = dead.iter().find(|it| !it["reason"].is_null()).expect("the filter failed");
    assert!(by_filter["reason"].as_str().is_some_and(|it| it.contains("filter")), "{by_filter}");
    let refused = dead.iter().find(|it| it["reason"].is_null()).expect("it was refused");
    assert_eq!(refused["attempts"][0]["status"], "permanent", "{refused}");
    server.put("/ops", Answer::bytes(br#"{"id": "m-2"}"#.to_vec()));
    server.take_seen();
    let again = script(&daemon, &["delivery", "redeliver", "--all-of", "test-post/ops"], "");
    assert_eq!(again.code, 0, "{}", again.err);
    let mut ids: Vec<Value> =
        messages(&server, 2).iter().map(|it| it.json()["id"].clone()).collect();
    ids.sort_by_key(ToString::to_string);
    let mut before: Vec<Value> = dead.iter().map(|it| it["id"].clone()).collect();
    before.sort_by_key(ToString::to_string);
    assert_eq!(ids, before, "with the ids that they had");
    daemon.refused("deliveries.redeliver", &json!({}), 400);
}

#[test]
fn secrets_go_nowhere_but_to_the_sink() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    let shown = daemon.call("integrations.get-connection", &json!({ "id": ops }));
    let connection = json!({ "url": server.url("/ops"), "token": "********" });
    assert_eq!(shown["connection"], connection);
    let tested = daemon.call("integrations.test", &json!({ "id": ops }));
    assert_eq!(tested, json!({ "success": true }));
    // The mask that comes back keeps what is stored.
    let changed = json!({ "id": ops, "connection": connection, "name": "renamed" });
    daemon.call("integrations.update", &changed);
    server.take_seen();
    daemon.call("integrations.test", &json!({ "id": ops }));
    let seen = server.take_seen();
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let lost = json!({ "url": "http://x/", "token": "********" });
    let wrong = json!({ "type": "test-post", "name": "new", "connection": lost });
    let refused = daemon.refused("integrations.create", &wrong, 400);
    assert_eq!(refused["field"], "connection", "{refused}");
    let moved =
        json!({ "id": ops, "connection": { "url": server.url("/evil"), "token": "********" } });
    let refused = daemon.refused("integrations.update", &moved, 400);
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("`url`")), "{refused}");
    // The sink says its own secret in an error.
    server.put("/ops", Answer { status: 401, headers: Vec::new(), body: Vec::new() });
    let tested = daemon.call("integrations.test", &json!({ "id": ops }));
    assert_eq!(tested["error"], "the token [secret] is refused", "{tested}");
    subscribe(&daemon, &ops, "custom.*", &json!({}));
    publish(&daemon, "x", 1);
    let shown = eventually("it is degraded", PATIENCE, || {
        let shown = daemon.call("integrations.get", &json!({ "id": ops }))["integration"].clone();
        (shown["health"] == "degraded").then_some(shown)
    });
    assert!(!shown.to_string().contains(TOKEN), "{shown}");
    assert!(!daemon.log().contains(TOKEN));
    let file = std::fs::read(daemon.state_dir().join("mortise.redb")).expect("it is there");
    let secret = TOKEN.as_bytes();
    assert!(!file.windows(secret.len()).any(|it| it == secret), "it is sealed");
}

#[test]
fn every_silence_has_a_reason() {
    let (daemon, server) = with_server();
    let make = |name: &str, more: &Value| integration(&daemon, &server, name, more);
    let told = make("/ops", &json!({}));
    let supplied = make("/elsewhere", &json!({ "supplied_to_all": false }));
    daemon.call("supplies.create", &json!({ "integration": supplied, "scope": "test" }));
    let off = make("/off", &json!({ "enabled": false }));
    let filtered = make("/filtered", &json!({}));
    let idle = make("/idle", &json!({}));
    let other = make("/other", &json!({}));
    for id in [&told, &supplied, &off] {
        subscribe(&daemon, id, "run.failed", &json!({}));
    }
    subscribe(&daemon, &filtered, "run.*", &json!({ "filter": ".function == \"other\"" }));
    subscribe(&daemon, &other, "snap_in.*", &json!({}));
    subscribe(&daemon, &told, "run.*", &json!({ "scope": "prod/other" }));
    let code = "export const run = async ([event]) => {
  if (event.payload.n === 1) throw new Error('no route');
  return {};
};";
    let parts = Parts::new("frail", SIGNED, code);
    let installed = daemon.install_at(&parts, "prod/team/frail");
    daemon.step("activate", &installed.id, "ACTIVE");
    let send = |n: u32| {
        let body = json!({ "n": n }).to_string();
        let answer = post_signed(&mut daemon.connect(), &installed.path, body.as_bytes());
        let answer = answer.expect("an answer").json();
        answer["events"][0]["id"].as_str().expect("an event").to_owned()
    };
    let (good, bad) = (send(0), send(1));
    messages(&server, 1);
    let why = eventually("it is decided", PATIENCE, || {
        let why = daemon.call("integrations.explain", &json!({ "id": bad }));
        let all = why["occurrences"][0]["decisions"].as_array()?.clone();
        all.iter().any(|it| it["delivery_state"] == "delivered").then_some(all)
    });
    let of = |id: &str| -> Vec<&str> {
        let own = why.iter().filter(|it| it["integration"] == id);
        own.filter_map(|it| it["decision"].as_str()).collect()
    };
    assert_eq!(of(&told), ["told", "no_demand"]);
    assert_eq!(of(&supplied), ["no_supply"]);
    assert_eq!(of(&off), ["disabled"]);
    assert_eq!(of(&filtered), ["filter"]);
    assert_eq!(of(&idle), ["no_demand"]);
    assert_eq!(of(&other), ["no_demand"]);
    let silent = daemon.call("integrations.explain", &json!({ "id": good }));
    assert_eq!(silent["occurrences"].as_array().map(Vec::len), Some(1), "run.* wants those too");
    let page = script(&daemon, &["why", &bad], "");
    assert!(page.out.contains("test-post/ops: told - it was delivered"), "{}", page.out);
    assert!(page.out.contains("test-post/elsewhere: no_supply"), "{}", page.out);
    let unknown = script(&daemon, &["why", "evt_00000000000000000000000000"], "");
    assert_eq!(unknown.code, 1, "{}", unknown.err);
    // What has a name need not be asked for by its id.
    let by_name = script(&daemon, &["why", "test-post/elsewhere"], "");
    assert_eq!(by_name.code, 0, "{}", by_name.err);
    let nothing = script(&daemon, &["why", "gibberish"], "");
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("a snap-in") && nothing.err.contains("dlv_"), "{}", nothing.err);
    let nowhere = script(&daemon, &["why", "prod/team/nothing"], "");
    assert!(nowhere.code == 1 && nowhere.err.contains("prod/team/nothing"), "{}", nowhere.err);
    let made = script(&daemon, &["user", "create", "ada"], "");
    assert_eq!(made.code, 0, "{}", made.err);
    let grant = ["role", "grant", "reader", "ada", "--integration", "test-post/elsewhere"];
    assert_eq!(script(&daemon, &grant, "").code, 0);
    let shown = script(&daemon, &["user", "show", "ada"], "");
    assert!(shown.out.contains("reader of test-post/elsewhere"), "{}", shown.out);
    let listed = script(&daemon, &["role", "list", "--integration", "test-post/elsewhere"], "");
    assert!(listed.out.contains("test-post/elsewhere"), "{}", listed.out);
    let wrong = script(&daemon, &["role", "list", "--integration", "elsewhere"], "");
    assert!(wrong.code == 2 && wrong.err.contains("slack/ops"), "{}", wrong.err);
}

#[test]
fn a_run_that_nobody_wants_to_hear_of_is_explained_too() {
    let daemon = Daemon::start_with(options());
    let installed = daemon.install_at(&Parts::echo(), "prod/team/echo");
    daemon.step("activate", &installed.id, "ACTIVE");
    let answer = post_signed(&mut daemon.connect(), &installed.path, br#"{"n": 1}"#);
    let answer = answer.expect("an answer").json();
    let event = answer["events"][0]["id"].as_str().expect("an event").to_owned();
    daemon.run_of(&event);
    let why = daemon.call("integrations.explain", &json!({ "id": event }));
    let note = why["notes"][0].as_str().expect("a note");
    assert!(note.contains("written down only while a subscription wants run.succeeded"), "{why}");
    let listed = daemon.call("occurrences.list", &json!({ "trigger": "run.*" }));
    assert_eq!(listed["occurrences"], json!([]));
}

#[test]
fn messages_about_one_work_stand_together() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({ "concurrency": 8 }));
    subscribe(&daemon, &ops, "milestone.*", &json!({}));
    for (kind, message) in [("started", "three"), ("half", "two"), ("done", "none")] {
        let asked = json!({ "work": "move-7", "kind": kind, "message": message });
        daemon.call("milestones.report", &asked);
    }
    let told: Vec<Value> = messages(&server, 3).iter().map(Seen::json).collect();
    let kinds: Vec<&Value> = told.iter().map(|it| &it["trigger"]).collect();
    assert_eq!(kinds, ["milestone.started", "milestone.half", "milestone.done"], "in order");
    assert!(told[0]["thread"].is_null());
    assert_eq!((&told[1]["thread"], &told[2]["thread"]), (&json!("t-1"), &json!("t-1")));
}

#[test]
fn what_tells_of_itself_comes_to_its_end() {
    let (daemon, _server) = with_server();
    let policy = "package rego\noutput = {\"event\": input.request.body, \"event_key\": \"tick\"}";
    let code = "export const run = async ([event]) => {
  const answer = await fetch(event.execution_metadata.devrev_endpoint + '/occurrences.publish', {
    method: 'POST',
    headers: {
      authorization: event.context.secrets.service_account_token,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ name: 'loop', title: 'again' }),
  });
  return { status: answer.status };
};";
    let installed = daemon.install_at(&Parts::new("loop", policy, code), "prod/team/loop");
    daemon.step("activate", &installed.id, "ACTIVE");
    let url = format!("http://{}{}", daemon.address(), installed.path);
    let new = json!({
        "type": "test-post", "name": "back", "supplied_to_all": true,
        "connection": { "url": url, "token": TOKEN },
    });
    let back = daemon.call("integrations.create", &new)["integration"]["id"].clone();
    subscribe(&daemon, back.as_str().expect("an id"), "custom.loop", &json!({}));
    publish(&daemon, "loop", 0);
    let count = || {
        let all =
            daemon.list_all("occurrences.list", "occurrences", &json!({ "trigger": "custom.*" }));
        let hops: Vec<u64> = all.iter().filter_map(|it| it["hops"].as_u64()).collect();
        (all.len(), hops.into_iter().max().unwrap_or_default())
    };
    // Each turn is a message and a run: the chain ends after sixteen of both.
    eventually("it ends", PATIENCE, || {
        let ended = deliveries(&daemon, "dead").len() + usize::from(count().1 >= 15);
        (ended > 0).then_some(())
    });
    let (all, hops) = count();
    assert!(all <= 10 && hops <= 17, "{all} occurrences, {hops} hops");
}

#[test]
fn who_has_one_integration_knows_of_no_other() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    let other = integration(&daemon, &server, "/other", &json!({}));
    daemon.call("users.create", &json!({ "name": "ada" }));
    let grant = json!({ "principal": "user:ada", "role": "contributor", "integration": ops });
    daemon.call("roles.grant", &grant);
    let token = daemon.call("tokens.create", &json!({ "name": "ada", "principal": "user:ada" }));
    let token = token["token"].as_str().expect("a token").to_owned();
    let as_ada =
        |name: &str, asked: &Value| daemon.try_call_as(&token, name, asked).expect("an answer");
    let list = as_ada("integrations.list", &json!({})).json();
    let ids: Vec<&Value> =
        list["integrations"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!(ops)]);
    assert_eq!(as_ada("integrations.test", &json!({ "id": ops })).status, 200);
    for (name, asked) in [
        ("integrations.get", json!({ "id": other })),
        ("integrations.get-connection", json!({ "id": other })),
        ("integrations.update", json!({ "id": other, "enabled": false })),
        ("integrations.find", json!({ "type": "test-post", "name": "other" })),
        ("subscriptions.create", json!({ "integration": other, "trigger": "*" })),
        ("supplies.list", json!({ "integration": other })),
        ("deliveries.list", json!({ "integration": other })),
    ] {
        let answer = as_ada(name, &asked);
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    assert_eq!(as_ada("integrations.create", &json!({})).status, 403);
    assert_eq!(as_ada("occurrences.list", &json!({})).status, 403);
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let (daemon, server) = with_server();
    let ops = integration(&daemon, &server, "/ops", &json!({}));
    let refused = |name: &str, asked: &Value, status: u16| {
        daemon.refused(name, asked, status)["message"].as_str().unwrap_or_default().to_owned()
    };
    let connection = json!({ "url": "x", "token": "y" });
    let twin = json!({ "type": "test-post", "name": "ops", "connection": connection });
    assert!(refused("integrations.create", &twin, 409).contains(&ops));
    let unknown = json!({ "type": "pigeon", "name": "x", "connection": {} });
    let answer = daemon.refused("integrations.create", &unknown, 400);
    assert!(answer["allowed"].as_array().is_some_and(|it| it.contains(&json!("test-post"))));
    let wrong = json!({ "type": "test-post", "name": "x", "connection": { "url": "x" } });
    let answer = daemon.refused("integrations.create", &wrong, 422);
    assert!(answer["problems"][0]["message"].as_str().is_some_and(|it| it.contains("token")));
    for (field, value, says) in [
        ("trigger", "run.faild", "did you mean `run.failed`?"),
        ("filter", ".x ==", "filter"),
        ("title", "{{functoin}}", "did you mean `{{function}}`?"),
        ("scope", "a//b", "scope"),
    ] {
        let mut asked = json!({ "integration": ops, "trigger": "run.failed" });
        asked[field] = json!(value);
        let said = refused("subscriptions.create", &asked, 400);
        assert!(said.contains(says), "{field}: {said}");
    }
    refused("occurrences.publish", &json!({ "name": "A b", "title": "x" }), 400);
    let large = json!({ "name": "x", "title": "x", "data": { "x": "y".repeat(20_000) } });
    refused("occurrences.publish", &large, 413);
    refused("integrations.explain", &json!({ "id": "nothing" }), 400);
}

/// The walk of the README, word for word, at a server that answers as Slack does.
#[test]
fn the_walk_of_the_readme_works_as_written() {
    let server = FileServer::start();
    let ok =
        br#"{"ok": true, "channel": "C1", "ts": "1700000000.000100", "team": "T", "user": "U"}"#;
    for call in ["chat.postMessage", "auth.test", "conversations.info", "conversations.list"] {
        server.put(
            &format!("/{call}"),
            Answer::bytes(ok.to_vec()).with("content-type", "application/json"),
        );
    }
    let settings = "[egress]\nallow = [\"127.0.0.0/8\"]\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("it is there");
    let walk = readme.split("<!-- walk: integrations -->").nth(1).expect("the walk is there");
    let walk = walk.split("```").nth(1).expect("a block").to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token.txt"), "xoxb-1-1-example\n").expect("written");
    let installed = daemon.install_at(&failing(), "prod/team/frail");
    let program = built("mortise");
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("a folder").display());
    let mut did = 0;
    for line in walk.replace("\\\n", " ").lines().map(str::trim) {
        if !line.starts_with("mortise ") {
            continue;
        }
        let mut command = line.to_owned();
        if command.contains("integration create") {
            // The one thing that differs: this Slack is here.
            command.push_str(&format!(" --set api_url={}", server.url("")));
        }
        if command.contains("why ") {
            let arrived = || (!deliveries(&daemon, "delivered").is_empty()).then_some(());
            eventually("it is delivered", PATIENCE, arrived);
            command = format!("mortise why {}", installed.id);
        }
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .env("PATH", &path)
            .env("MORTISE_URL", format!("http://{}", daemon.address()))
            .env("MORTISE_TOKEN", daemon.token())
            .env_remove("MORTISE_SOCKET")
            .current_dir(folder.path())
            .output()
            .expect("there is a shell");
        let shown = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {shown}{failed}");
        if command.contains("snap_in.failed") {
            daemon.call("snap-ins.activate", &json!({ "id": installed.id }));
        }
        if command.contains("why ") {
            assert!(shown.contains("slack/ops: told - it was delivered"), "{shown}");
        }
        did += 1;
    }
    assert!(did >= 4, "the walk has only {did} commands");
}
