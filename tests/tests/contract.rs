//! What a function is called with and what becomes of what it does: whole events, compared with what
//! the contract says, one for each way of calling; limits of payloads and of time; errors of all kinds.

use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed, Options};
use mortise_tests::eventually;
use mortise_tests::files::{Answer, FileServer};
use mortise_tests::snap_in::{Parts, SIGNED, pack};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// `MOST_PAYLOAD_BYTES` of the daemon.
const MOST_PAYLOAD: usize = 262_144;

/// A daemon whose functions reach loopback.
fn daemon_with(settings: &str) -> Daemon {
    let settings = format!("[egress]\nallow = [\"127.0.0.1\"]\n{settings}");
    Daemon::start_with(Options { settings, ..Options::default() })
}

// Whole events

/// Everything that an event can speak of, and a function that answers with its event.
const MANIFEST: &str = "
version: \"2\"
name: Teller
description: Answers with what it was called with.
service_account: {display_name: Teller}
event_sources:
  organization:
    - name: hook
      display_name: Hook
      type: flow-custom-webhook
      config:
        policy: |
          package rego
          output = {\"event\": input.request.body, \"event_key\": \"tick\"}
    - name: clock
      display_name: Clock
      type: timer-events
      config: {interval_seconds: 1, metadata: {task: tick}}
keyrings:
  organization:
    - {name: token, description: Plain., types: [snap_in_secret]}
inputs:
  organization:
    - {name: limit, description: The most., field_type: int, default_value: 5}
    - {name: unset, description: Has no value., field_type: text}
tags:
  - {name: seen, description: Was seen.}
functions:
  - {name: tell, description: Tells.}
hooks:
  - {type: activate, function: tell}
  - {type: deactivate, function: tell}
  - {type: update, function: tell}
snap_kit_actions:
  - {name: press, description: Is pressed., function: tell}
snap_components:
  - name: panel
    display_name: Panel
    description: Shows it.
    surface: issue
    snap_kit_action_name: press
    initializer: tell
configuration_handler:
  organization: {initializer: tell, snap_kit_action_name: press}
  user: {initializer: tell}
automations:
  - {name: on hook, source: hook, event_types: ['custom:tick'], function: tell}
  - {name: on clock, source: clock, event_types: [timer.tick], function: tell}
commands:
  - name: status
    namespace: teller
    description: Shows it.
    surfaces: [{surface: discussions, object_types: [ticket]}]
    function: tell
operations:
  - name: File
    slug: file
    description: Files it.
    type: action
    function: tell
    inputs: {fields: [{name: title, field_type: text, is_required: true}]}
";

const TELL: &str = "
const tell = async (events) => {
  if (events.length !== 1) throw `${events.length} events`;
  return events[0];
};
export const functionFactory = { tell };
";

struct Bench {
    daemon: Daemon,
    snap_in: Value,
    /// Ids by name.
    sources: Value,
    keyring: Value,
    tag: Value,
    hook_path: String,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn bench() -> Bench {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "teller" }));
    let package = r#"{"name":"teller","version":"1.0.0","main":"index.ts"}"#;
    let archive = pack(&[("package.json", package), ("index.ts", TELL)]);
    let version = json!({ "package": "teller", "manifest": MANIFEST, "archive": archive });
    let version = daemon.call("versions.create", &version)["version"]["id"].clone();
    let created = daemon.call("snap-ins.create", &json!({ "version": version }));
    let id = created["snap_in"]["id"].clone();
    let secret = json!({ "snap_in": id, "name": "token", "secret": "planted-secret" });
    let keyring = daemon.call("keyrings.set", &secret)["keyring"]["id"].clone();
    daemon.step("activate", text(&id), "ACTIVE");
    let snap_in = daemon.call("snap-ins.get", &json!({ "id": id }))["snap_in"].clone();
    let (mut sources, mut hook_path) = (json!({}), String::new());
    for source in daemon.list_all("event-sources.list", "event_sources", &json!({ "snap_in": id }))
    {
        sources[text(&source["name"])] = source["id"].clone();
        if source["name"] == "hook" {
            let url = text(&source["trigger_url"]);
            hook_path = url[url.find("/hooks/").expect("it is ours")..].to_owned();
        }
    }
    let tag = daemon.call("tags.get", &json!({ "id": "seen" }))["tag"]["id"].clone();
    Bench { daemon, snap_in, sources, keyring, tag, hook_path }
}

impl Bench {
    /// The event of a run by whatever calls with this; what is named differs, the rest is the same.
    fn event(&self, run: &Value, payload: &Value, context: Value, metadata: Value) -> Value {
        let mut event = json!({
            "payload": payload,
            "context": {
                "dev_oid": "org_local",
                "source_id": "",
                "snap_in_id": self.snap_in["id"],
                "snap_in_version_id": self.snap_in["version"],
                "service_account_id": self.snap_in["service_account"],
                "automation_id": "",
                "secrets": { "service_account_token": "[secret]" },
            },
            "execution_metadata": {
                "request_id": run,
                "function_name": "tell",
                "devrev_endpoint": format!("http://{}/api/v1", self.daemon.address()),
            },
            "input_data": {
                "global_values": { "limit": 5 },
                "event_sources": self.sources,
                "keyrings": { "token": "[secret]" },
                "resources": {
                    "keyrings": { "token": { "id": self.keyring, "secret": "[secret]" } },
                    "tags": { "seen": { "id": self.tag } },
                },
            },
        });
        for (part, members) in [("context", context), ("execution_metadata", metadata)] {
            for (name, value) in members.as_object().expect("members") {
                event[part][name] = value.clone();
            }
        }
        event
    }

    /// The newest run of a hook, when it has ended.
    fn run_of_hook(&self, hook: &str) -> Value {
        let filter = json!({ "snap_in": self.snap_in["id"] });
        let run = eventually(&format!("a run of the {hook} hook"), PATIENCE, || {
            let runs = self.daemon.list_all("runs.list", "runs", &filter);
            runs.into_iter().find(|it| it["trigger"]["hook"] == hook)
        });
        self.run(&run["id"])
    }

    /// The event of a hook, whose payload is this.
    fn event_of_hook(&self, run: &Value, hook: &str, payload: &Value) -> Value {
        let context = json!({ "source_id": self.snap_in["id"] });
        let metadata = json!({ "event_type": format!("hook:snap_in_{hook}") });
        self.event(&run["id"], payload, context, metadata)
    }

    /// Id of something that the snap-in's manifest names.
    fn part(&self, path: &str) -> String {
        format!("{}/{path}", text(&self.snap_in["id"]))
    }

    fn id(&self) -> &str {
        text(&self.snap_in["id"])
    }

    fn run(&self, id: &Value) -> Value {
        let run = self.daemon.call("runs.get", &json!({ "id": id, "wait_seconds": 60 }));
        assert_eq!(run["run"]["state"], "succeeded", "{run:#}");
        run["run"].clone()
    }
}

#[track_caller]
fn assert_same(found: &Value, expected: &Value) {
    assert_eq!(found, expected, "found {found:#}\nexpected {expected:#}");
}

#[test]
fn every_way_of_calling_has_the_event_of_the_contract() {
    let bench = bench();
    let daemon = &bench.daemon;

    // A hook: the first thing that happened.
    let run = bench.run_of_hook("activate");
    assert_eq!(run["trigger"], json!({ "type": "hook", "hook": "activate" }));
    assert_same(&run["result"], &bench.event_of_hook(&run, "activate", &json!({})));

    // An automation.
    let payload = json!({ "n": 1, "nested": { "a": [null, 1.50] } });
    let headers = [("content-type", "application/json")];
    let body = payload.to_string();
    let mut connection = daemon.connect();
    let sent = connection.send("POST", &bench.hook_path, &headers, body.as_bytes());
    let sent = sent.expect("an answer");
    assert_eq!(sent.status, 200, "{}", sent.text());
    let run = daemon.run_of(text(&sent.json()["events"][0]["id"]));
    assert_eq!(run["trigger"]["type"], "automation");
    let automation = run["trigger"]["automation"].clone();
    assert_eq!((&run["automation"], &run["event"]), (&automation, &run["trigger"]["event"]));
    let context = json!({ "source_id": automation, "automation_id": automation });
    let metadata = json!({ "event_type": "custom:tick" });
    assert_same(&run["result"], &bench.event(&run["id"], &payload, context, metadata));

    // A timer.
    let events = json!({ "snap_in": bench.snap_in["id"], "type": "timer.tick" });
    let event = eventually("a tick", PATIENCE, || {
        let events = daemon.call("events.list", &events)["events"].clone();
        events.as_array().and_then(|it| it.last().cloned())
    });
    let run = daemon.run_of(text(&event["id"]));
    let scheduled = run["result"]["payload"]["scheduled_time"].clone();
    assert!(scheduled.as_u64().is_some_and(|it| it > 1_600_000_000_000), "{run:#}");
    let payload = json!({
        "dev_oid": "org_local",
        "event_source_id": bench.sources["clock"],
        "metadata": { "task": "tick" },
        "scheduled_time": scheduled,
    });
    let automation = run["trigger"]["automation"].clone();
    let context = json!({ "source_id": automation, "automation_id": automation });
    let metadata = json!({ "event_type": "timer.tick" });
    assert_same(&run["result"], &bench.event(&run["id"], &payload, context, metadata));

    // A call by name.
    let call = json!({ "snap_in": bench.snap_in["id"], "function": "tell", "payload": [1] });
    let called = daemon.call("functions.call", &call);
    assert_same(&called["result"], &bench.event(&called["run"], &json!([1]), json!({}), json!({})));
    assert_eq!(bench.run(&called["run"])["trigger"], json!({ "type": "call" }));

    // A command.
    let command = json!({
        "namespace": "teller", "name": "status", "parameters": "ticket 12  --all", "source_id": "TKT-12",
    });
    let called = daemon.call("commands.execute", &command);
    let id = bench.part("commands/teller/status");
    let actor = called["result"]["payload"]["actor_id"].clone();
    assert!(text(&actor).starts_with("usr_"), "{called:#}");
    let payload = json!({
        "actor_id": actor,
        "command_id": id,
        "dev_org": "org_local",
        "parameters": "ticket 12  --all",
        "parent_id": bench.snap_in["id"],
        "request_id": called["run"],
        "source_id": "TKT-12",
        "surface": "display:discussions",
    });
    let secrets = json!({ "service_account_token": "[secret]", "actor_session_token": "[secret]" });
    let context = json!({ "source_id": id, "secrets": secrets });
    assert_same(&called["result"], &bench.event(&called["run"], &payload, context, json!({})));
    let trigger = json!({ "type": "command", "namespace": "teller", "name": "status" });
    assert_eq!(bench.run(&called["run"])["trigger"], trigger);

    // An operation.
    let operation =
        json!({ "snap_in": bench.snap_in["id"], "slug": "file", "data": { "title": "It broke" } });
    let called = daemon.call("operations.execute", &operation);
    let run = bench.run(&called["run"]);
    let payload = json!({
        "metadata": { "namespace": "teller", "slug": "file", "type": "action" },
        "input_port_name": "input",
        "data": { "title": "It broke" },
    });
    let id = bench.part("operations/file");
    let (context, metadata) = (json!({ "source_id": id }), json!({ "operation_slug": "file" }));
    assert_same(&run["result"], &bench.event(&run["id"], &payload, context, metadata));
    assert_eq!(run["trigger"], json!({ "type": "operation", "slug": "file" }));
    // What it answered is no output of an operation.
    assert_eq!(called["error"]["type"], 0, "{called:#}");
    assert!(text(&called["error"]["message"]).contains("none of `error`"), "{called:#}");
}

#[test]
fn what_is_drawn_and_pressed_has_the_event_of_the_contract() {
    let bench = bench();
    let daemon = &bench.daemon;
    let action_id = bench.part("snap-kit-actions/press");
    let nothing = json!({ "snaps": [] });

    // A component.
    let which = json!({ "snap_in": bench.id(), "name": "panel", "object_id": "TKT-12" });
    let drawn = daemon.call("snap-components.render", &which);
    let run = bench.run(&drawn["run"]);
    assert_eq!(run["trigger"], json!({ "type": "snap_component", "name": "panel" }));
    let actor = run["result"]["payload"]["actor_id"].clone();
    assert!(text(&actor).starts_with("usr_"), "{run:#}");
    let payload = json!({
        "action_id": action_id,
        "actor_id": actor,
        "body": nothing,
        "context": { "object_id": "TKT-12" },
        "dev_org": "org_local",
        "parent_id": bench.snap_in["id"],
        "request_id": run["id"],
    });
    let context = json!({ "source_id": bench.part("snap-components/panel") });
    assert_same(&run["result"], &bench.event(&run["id"], &payload, context, json!({})));
    // What it answered is nothing that could be displayed.
    assert_eq!(drawn["problems"][0]["code"], "missing", "{drawn:#}");

    // A page: of the snap-in, and of a person.
    for level in ["organization", "user"] {
        let which = json!({ "snap_in": bench.snap_in["id"], "level": level });
        let drawn = daemon.call("configuration-pages.render", &which);
        let run = bench.run(&drawn["run"]);
        assert_eq!(run["trigger"], json!({ "type": "configuration_page", "level": level }));
        let mut payload = json!({
            "actor_id": actor,
            "body": nothing,
            "context": {},
            "dev_org": "org_local",
            "level": level,
            "parent_id": bench.snap_in["id"],
            "request_id": run["id"],
        });
        let source_id = bench.part(&format!("configuration-pages/{level}"));
        let mut context = json!({ "source_id": source_id });
        match level {
            // Only this page names an action.
            "organization" => payload["action_id"] = json!(action_id),
            _ => context["user_id"] = actor.clone(),
        }
        assert_same(&run["result"], &bench.event(&run["id"], &payload, context, json!({})));
    }

    // An action, as in a timeline.
    let body = json!({ "snaps": [{
        "type": "button", "action_id": "save", "block_id": "b1", "value": "v",
        "text": { "type": "plain_text", "text": "Save" },
    }] });
    let timeline = json!({ "entry_id": "TLE-7", "parent_core_object_id": "TKT-12" });
    let value = json!({ "level": { "value": "high" } });
    let pressed = json!({
        "id": action_id,
        "body": body,
        "context": timeline,
        "actions": [{ "action_id": "save", "value": value, "timestamp": "2026-01-31T12:00:00Z" }],
    });
    let answer = daemon.call("snap-kit-action.execute.deferred", &pressed);
    let run = bench.run(&answer["results"][0]["run"]);
    assert_eq!(run["trigger"], json!({ "type": "snap_kit_action", "name": "press" }));
    let payload = json!({
        "action": {
            "block_id": "b1",
            "id": "save",
            "timestamp": "2026-01-31T12:00:00Z",
            "type": "button",
            "value": value,
        },
        "action_id": action_id,
        "actor_id": actor,
        "body": body,
        "context": timeline,
        "dev_org": "org_local",
        "parent_id": bench.snap_in["id"],
        "request_id": run["id"],
    });
    let secrets = json!({ "service_account_token": "[secret]", "actor_session_token": "[secret]" });
    let context = json!({ "source_id": action_id, "secrets": secrets });
    assert_same(&run["result"], &bench.event(&run["id"], &payload, context, json!({})));
}

#[test]
fn hooks_have_the_event_of_the_contract() {
    let bench = bench();
    let daemon = &bench.daemon;
    let told = |force: bool, is_deletion: bool| json!({ "force_deactivate": force, "is_deletion": is_deletion });

    // An update: the new values, and those before.
    let change = json!({ "id": bench.snap_in["id"], "inputs_values": { "limit": 7 } });
    daemon.call("snap-ins.update", &change);
    let run = bench.run_of_hook("update");
    assert_eq!(run["trigger"], json!({ "type": "hook", "hook": "update" }));
    let mut event = bench.event_of_hook(&run, "update", &json!({}));
    event["execution_metadata"]["previous_inputs"] = json!({ "limit": 5 });
    event["input_data"]["global_values"]["limit"] = json!(7);
    assert_same(&run["result"], &event);

    // Pauses, one of them by force, and the end.
    let later = |run: &Value, payload: &Value| {
        let mut event = bench.event_of_hook(run, "deactivate", payload);
        event["input_data"]["global_values"]["limit"] = json!(7);
        event
    };
    daemon.step("deactivate", bench.id(), "INACTIVE");
    let run = bench.run_of_hook("deactivate");
    assert_eq!(run["trigger"], json!({ "type": "hook", "hook": "deactivate" }));
    assert_same(&run["result"], &later(&run, &told(false, false)));
    daemon.step("activate", bench.id(), "ACTIVE");
    let forced = json!({ "id": bench.snap_in["id"], "force": true, "wait_seconds": 30 });
    assert_eq!(daemon.call("snap-ins.deactivate", &forced)["snap_in"]["state"], "INACTIVE");
    let run = bench.run_of_hook("deactivate");
    assert_same(&run["result"], &later(&run, &told(true, false)));
    // An end asks an inactive one again.
    daemon.step("delete", bench.id(), "DELETED");
    let run = bench.run_of_hook("deactivate");
    assert_same(&run["result"], &later(&run, &told(false, true)));
}

// Limits

#[test]
fn a_payload_over_the_limit_is_stored_and_not_run() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::new(
        "large",
        SIGNED,
        "export const run = async ([event]) => event.payload.text.length;",
    ));
    let around = json!({ "text": "" }).to_string().len();
    let fits = "x".repeat(MOST_PAYLOAD - around);
    let run = daemon.run_of(&daemon.send_event(&installed, &json!({ "text": fits })));
    assert_eq!(run["result"], fits.len(), "{}", run["error"]);

    let too_large = json!({ "text": format!("{fits}x") });
    let event = daemon.send_event(&installed, &too_large);
    let run = daemon.run_of(&event);
    assert_eq!(
        (&run["state"], &run["error"]["kind"]),
        (&json!("failed"), &json!("payload_too_large"))
    );
    let message = text(&run["error"]["message"]);
    assert!(message.contains("262145 bytes") && message.contains("262144"), "{message}");
    let stored = daemon.call("events.get", &json!({ "id": event }))["event"].clone();
    assert_eq!(stored["payload"], too_large, "it is stored as it came");
    let log = daemon.call("event-sources.logs", &json!({ "id": installed.source }));
    assert!(log["lines"].to_string().contains("262145 bytes"), "{log}");

    // Trying it again or anew ends the same way.
    daemon.call("runs.retry", &json!({ "id": run["id"] }));
    let replayed = daemon.call("runs.replay", &json!({ "id": run["id"] }))["run"]["id"].clone();
    for id in [&run["id"], &replayed] {
        let run = daemon.call("runs.get", &json!({ "id": id, "wait_seconds": 60 }))["run"].clone();
        assert_eq!(run["error"]["kind"], "payload_too_large", "{run:#}");
    }

    // Whoever waits is told at once, and nothing is run.
    let runs = || daemon.list_all("runs.list", "runs", &json!({})).len();
    let before = runs();
    let call = json!({ "snap_in": installed.id, "function": "work", "payload": too_large });
    let refused = daemon.refused("functions.call", &call, 413);
    assert_eq!(refused["code"], "too_large");
    assert!(text(&refused["message"]).contains("262145 bytes"), "{refused}");
    assert_eq!(runs(), before);
}

/// Takes as long as it is told to.
const SLEEPER: &str = "
export const run = async ([event]) => {
  const { ms, data } = event.payload;
  await new Promise((resolve) => setTimeout(resolve, ms ?? data.ms));
  return { output: { values: ['slept'] }, port_outputs: [] };
};";

#[test]
fn whoever_waits_is_told_at_the_deadline() {
    let daemon = daemon_with("[functions]\ncall_timeout_seconds = 1\n");
    let sections = "operations:\n  - {name: Slow, slug: slow, description: Sleeps., type: action, \
                    function: work, execute_options: {default_timeout: 100}}\n";
    let sleeper = daemon.install(&Parts::new("sleeper", SIGNED, SLEEPER).with_sections(sections));
    let patient = Parts::new("patient", SIGNED, SLEEPER).with("timeout_seconds: 100");
    let patient = daemon.install(&patient);
    let call =
        |id: &str, ms: u32| json!({ "snap_in": id, "function": "work", "payload": { "ms": ms } });
    let late = daemon.call("functions.call", &call(&sleeper.id, 60_000));
    assert_eq!((&late["state"], &late["error"]["kind"]), (&json!("failed"), &json!("timeout")));
    assert!(text(&late["error"]["message"]).contains("1000 ms"), "{late}");
    let run = daemon.call("runs.get", &json!({ "id": late["run"] }))["run"].clone();
    assert_eq!(run["error"], late["error"], "{run:#}");
    let answer = daemon.call("functions.call", &call(&patient.id, 1500));
    assert_eq!(answer["state"], "succeeded", "its own deadline wins: {answer}");
    let operation = json!({ "snap_in": sleeper.id, "slug": "slow", "data": { "ms": 1500 } });
    let answer = daemon.call("operations.execute", &operation);
    assert_eq!(answer["output"]["values"], json!(["slept"]), "that of the operation: {answer}");
    let run = daemon.run_of(&daemon.send_event(&sleeper, &json!({ "ms": 1500 })));
    assert_eq!(run["state"], "succeeded", "nobody waits for an automation: {run:#}");
}

/// Says that it has begun, and then takes as long as it is told to.
const GREETER: &str = "
export const run = async ([event]) => {
  const { url, ms } = event.payload;
  await fetch(url);
  await new Promise((resolve) => setTimeout(resolve, ms));
  return 'done';
};";

#[test]
fn whoever_waits_waits_for_his_turn_too() {
    let (daemon, server) =
        (daemon_with("[functions]\ncall_timeout_seconds = 2\n"), FileServer::start());
    let parts = Parts::new("greeter", SIGNED, GREETER).with("max_concurrency: 1");
    let greeter = daemon.install(&parts);
    let payload = |ms: u32| json!({ "url": server.url("/here"), "ms": ms });
    let event = daemon.send_event(&greeter, &payload(60_000));
    eventually("the automation is at work", PATIENCE, || {
        (!server.take_seen().is_empty()).then_some(())
    });
    let call = json!({ "snap_in": greeter.id, "function": "work", "payload": payload(0) });
    let late = daemon.call("functions.call", &call);
    assert_eq!((&late["state"], &late["error"]["kind"]), (&json!("failed"), &json!("timeout")));
    assert!(text(&late["error"]["message"]).contains("`max_concurrency`"), "{late}");
    assert!(server.take_seen().is_empty(), "it was not begun");
    let runs = daemon.call("events.get", &json!({ "id": event }))["event"]["runs"].clone();
    daemon.call("runs.cancel", &json!({ "id": runs[0] }));
    assert_eq!(daemon.call("functions.call", &call)["result"], "done");
}

// What goes wrong

const THROWER: &str = "
const thrown = {
  text: () => 'the input is not valid.',
  empty: () => '',
  object: () => ({ code: 7, detail: 'no board' }),
  nothing: () => null,
  missing: () => undefined,
  number: () => 42,
  error: () => new TypeError('no'),
  cause: () => new Error('outer', { cause: new Error('inner') }),
  getter: () => ({ get message() { throw new Error('from the getter'); }, get name() { throw 1; } }),
  evil: () => new Proxy({}, { get() { throw 'no property at all'; } }),
  retryText: () => Object.assign(new Error('x'), { retry: 'true' }),
  circle: () => { const it = {}; it.it = it; return it; },
};
export const run = async ([event]) => { throw thrown[event.payload.how](); };
";

#[test]
fn whatever_is_thrown_is_stored_so_that_people_can_read_it() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::new("thrower", SIGNED, THROWER));
    for (how, name, message) in [
        ("text", "Error", "the input is not valid."),
        ("empty", "Error", ""),
        ("object", "Object", r#"{"code":7,"detail":"no board"}"#),
        ("nothing", "Error", "null was thrown"),
        ("missing", "Error", "undefined was thrown"),
        ("number", "Error", "42 was thrown"),
        ("error", "TypeError", "no"),
        ("cause", "Error", "outer (cause: inner)"),
        ("getter", "Object", "an object that is no JSON was thrown"),
        ("evil", "Object", "an object that is no JSON was thrown"),
        ("retryText", "Error", "x"),
        ("circle", "Object", "an object that is no JSON was thrown"),
    ] {
        let run = daemon.run_of(&daemon.send_event(&installed, &json!({ "how": how })));
        assert_eq!(run["state"], "failed", "{how}: {run:#}");
        assert_eq!(run["attempts"].as_array().map(Vec::len), Some(1), "{how}: {run:#}");
        let error = &run["error"];
        let expected = (&json!("thrown"), &json!(name), &json!(message));
        assert_eq!((&error["kind"], &error["name"], &error["message"]), expected, "{how}");
        if how == "error" {
            assert!(text(&error["stack"]).contains("src/work.ts:"), "{error}");
        }

        // Whoever waits is told the same.
        let call =
            json!({ "snap_in": installed.id, "function": "work", "payload": { "how": how } });
        let answer = daemon.call("functions.call", &call);
        assert_eq!(answer["error"]["message"], message, "{how}: {answer}");
    }
}

// What is called out to

const CALLER: &str = "
export const run = async ([event]) => {
  const { urls } = event.payload;
  for (const url of urls) {
    await fetch(url, { method: 'PUT', body: 'x' }).catch((error) => console.log(error.message));
  }
  return urls.length;
};";

#[test]
fn a_run_says_what_it_called_out_to() {
    let (daemon, server) = (daemon_with(""), FileServer::start());
    server.put("/things/1", Answer::bytes(b"there".to_vec()));
    let installed: Installed = daemon.install(&Parts::new("caller", SIGNED, CALLER));
    let urls = [
        server.url("/things/1?key=planted#planted"),
        server.url("/not-here"),
        "http://127.0.0.2:9/x".to_owned(),
    ];
    let run = daemon.run_of(&daemon.send_event(&installed, &json!({ "urls": urls })));
    assert_eq!(run["result"], 3, "{run:#}");
    let requests = run["requests"].as_array().expect("requests").clone();
    let seen: Vec<_> = requests
        .iter()
        .map(|it| (text(&it["method"]), text(&it["target"]), it["status"].as_u64()))
        .collect();
    let (here, not_here) = (server.url("/things/1"), server.url("/not-here"));
    let expected = [
        ("PUT", here.as_str(), Some(200)),
        ("PUT", not_here.as_str(), Some(404)),
        ("PUT", "http://127.0.0.2:9/x", None),
    ];
    assert_eq!(seen, expected);
    assert!(requests.iter().all(|it| it["duration_ms"].is_u64() && it["at_ms"].is_u64()));
    assert!(text(&requests[2]["error"]).contains("127.0.0.2"), "{requests:#?}");
    assert!(!run["requests"].to_string().contains("planted"), "{run:#}");

    // Past a hundred only their number is told.
    let many: Vec<_> = (0..103).map(|n| server.url(&format!("/{n}"))).collect();
    let call = json!({ "snap_in": installed.id, "function": "work", "payload": { "urls": many } });
    let called = daemon.call("functions.call", &call);
    assert_eq!(called["requests"].as_array().map(Vec::len), Some(100));
    assert!(called["logs"].to_string().contains("3 more requests"), "{}", called["logs"]);
    let stored = daemon.call("runs.get", &json!({ "id": called["run"] }))["run"].clone();
    assert_eq!(stored["requests"], called["requests"]);
}
