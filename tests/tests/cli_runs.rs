//! Calling functions and looking at their runs from the command line: where payloads come from, what
//! is said when one is wrong, and what is shown of a run and of what is allowed.

use std::time::Duration;

use mortise_tests::client::script;
use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PLACE: &str = "default/default/ways";
const ACTION: &str = "default/default/ways/snap-kit-actions/press";

/// Answers with what it was sent, as each way of calling wants it.
const WAYS: &str = "
export const run = async ([event]) => {
  const { payload, execution_metadata } = event;
  if (execution_metadata.operation_slug) return { output: { values: [payload.data] } };
  return { got: payload.action?.value ?? payload };
};
";

fn ways(daemon: &Daemon) {
    daemon.install(&Parts::new("ways", SIGNED, WAYS).with_sections(
        "operations:
  - {name: File, slug: file, description: Files it., type: action, function: work,
     inputs: {fields: [{name: title, field_type: text}]}}
snap_kit_actions:
  - {name: press, description: Is pressed., function: work}
snap_components:
  - {name: panel, display_name: Panel, description: P., surface: issue, initializer: work}
",
    ));
}

#[test]
fn payloads_come_from_files_and_from_standard_input() {
    let daemon = Daemon::start();
    ways(&daemon);
    let file = daemon.directory().join("payload.json");
    std::fs::write(&file, "{\n  \"title\": \"from a file\"\n}\n").expect("it is ours");
    let at_file = format!("@{}", file.display());
    let stdin = r#"{"title": "from a pipe"}"#;
    let call = ["function", "call", PLACE, "work"];
    let file_it = ["operation", "run", PLACE, "file"];
    let press = ["action", "run", ACTION, "--value"];
    for command in [&call[..], &file_it[..], &press[..]] {
        for (given, input, expected) in [
            (r#"{"title": "as it is"}"#, "", "as it is"),
            (&at_file, "", "from a file"),
            ("-", stdin, "from a pipe"),
        ] {
            let done = script(&daemon, &[command, &[given]].concat(), input);
            assert_eq!(done.code, 0, "{command:?} {given}: {done:?}");
            assert!(done.out.contains(expected), "{command:?} {given}: {done:?}");
        }
    }
    // Several things that were done, each from where it is.
    let several = ["--do", &at_file, "--do", "-"];
    std::fs::write(&file, r#"{"action_id": "a", "value": "one"}"#).expect("it is ours");
    let input = r#"{"action_id": "b", "value": "two"}"#;
    let done = script(&daemon, &[&press[..3], &several].concat(), input);
    assert!(done.out.contains("one") && done.out.contains("two"), "{done:?}");
}

#[test]
fn a_wrong_payload_is_named_with_its_place() {
    let daemon = Daemon::start();
    ways(&daemon);
    let file = daemon.directory().join("wrong.json");
    std::fs::write(&file, "{\n  \"title\" \"x\"\n}\n").expect("it is ours");
    let shown = file.display().to_string();
    let at_file = format!("@{shown}");
    let list = daemon.directory().join("list.json");
    std::fs::write(&list, "[1]").expect("it is ours");
    let at_list = format!("@{}", list.display());
    let in_file = format!("{shown}:2:11: expected `:`");
    let is_list = format!("{}: it is a list", list.display());
    let call = ["function", "call", PLACE, "work"];
    let file_it = ["operation", "run", PLACE, "file"];
    let press = ["action", "run", ACTION, "--value"];
    for (command, given, input, code, hint) in [
        (&call[..], at_file.as_str(), "", 2, in_file.as_str()),
        (&file_it, &at_file, "", 2, &in_file),
        (&press, &at_file, "", 2, &in_file),
        (&call, "-", "{\n\"a\": tru}", 2, "standard input:2:"),
        (&call, "-", "", 2, "it is empty"),
        (&call, "{a}", "", 2, "line 1, column 2: key must be a string"),
        (&call, &shown, "", 2, "write @"),
        (&call, "@/nonexistent/it.json", "", 1, "/nonexistent/it.json"),
        (&call, "@/dev/zero", "", 1, "no regular file"),
        (&file_it, &at_list, "", 2, &is_list),
        (&file_it, "-", "5", 2, "standard input: it is a number"),
    ] {
        let done = script(&daemon, &[command, &[given]].concat(), input);
        assert_eq!((done.code, done.out.as_str()), (code, ""), "{command:?} {given}: {done:?}");
        assert!(done.err.contains(hint), "{command:?} {given}: {hint:?} in {done:?}");
    }
    let twice = script(&daemon, &[&press[..3], &["--do", "-", "--do", "-"]].concat(), "{}");
    assert!(twice.code == 2 && twice.err.contains("was read already"), "{twice:?}");
    let runs = daemon.list_all("runs.list", "runs", &json!({}));
    assert!(runs.is_empty(), "{runs:?}");
    for command in [&call[..2], &file_it[..2], &press[..2]] {
        let help = script(&daemon, &[command, &["--help"]].concat(), "");
        let says = ["@FILE", "Examples:", " @"].iter().all(|it| help.out.contains(it));
        assert!(says, "{command:?}: {help:?}");
    }
}

#[test]
fn what_is_allowed_is_said_under_the_message() {
    let daemon = Daemon::start();
    ways(&daemon);
    let unknown = ["component", "render", PLACE, "pannel"];
    let refused = script(&daemon, &unknown, "");
    assert_eq!(refused.code, 1, "{refused:?}");
    let expected = "unknown snap component `pannel`, did you mean `panel`?\n  allowed: panel\n";
    assert!(refused.err.contains(expected), "{refused:?}");
    let as_json = script(&daemon, &[&["--json"], &unknown[..]].concat(), "");
    assert_eq!(as_json.json()["allowed"], json!(["panel"]), "{as_json:?}");
    // Where there is nothing to choose from, there is no such line.
    let missing = script(&daemon, &["run", "show", "run_1"], "");
    assert!(missing.code == 1 && !missing.err.contains("allowed"), "{missing:?}");
}

/// Asks for another attempt, or tells of a request that is not allowed.
const LATER: &str = "
export const run = async ([event]) => {
  await fetch('http://127.0.0.1:9/things').catch(() => console.log('no way'));
  if (event.payload.later) throw { message: 'not now', retry: true };
  return { got: event.payload };
};
";

#[test]
fn a_run_is_shown_with_what_belongs_to_it() {
    let daemon = Daemon::start();
    let parts = Parts::new("later", SIGNED, LATER)
        .with("supports_synchronization: true")
        .with("config: {runtime: {max_retries: 3, min_interval: 3600}}");
    let installed = daemon.install(&parts);
    let show = |run: &Value| {
        let done = script(&daemon, &["run", "show", run.as_str().expect("an id")], "");
        assert_eq!(done.code, 0, "{done:?}");
        // The width of the first column is that of what there is to show.
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        done.out.lines().map(words).collect::<Vec<_>>().join("\n")
    };
    let get = |run: &Value| daemon.call("runs.get", &json!({ "id": run }))["run"].clone();
    let queue = |payload: &Value| {
        let event = daemon.send_event(&installed, payload);
        daemon.call("events.get", &json!({ "id": event }))["event"]["runs"][0].clone()
    };
    let has = |shown: &str, parts: &[&str]| {
        for part in parts {
            assert!(shown.contains(part), "{part:?} in\n{shown}");
        }
    };

    // The head of a group, and one that waits for it.
    let first = queue(&json!({ "group": "blue", "later": true }));
    eventually("it waits for another attempt", Duration::from_secs(30), || {
        (get(&first)["state"] == "retrying").then_some(())
    });
    let second = queue(&json!({ "group": "blue" }));
    let waiting = get(&second);
    assert_eq!((&waiting["state"], &waiting["sync_id"]), (&json!("queued"), &json!("blue")));
    assert!(waiting["ordered_by"].is_null(), "nobody waits for it: {waiting:#}");
    let shown = show(&second);
    let in_order = "`blue`: it waits for earlier runs of its function with this `sync_id`";
    has(&shown, &["state queued", in_order, "default/default/later", "quickjs: "]);
    assert!(!shown.contains("attempts") && !shown.contains("requests"), "{shown}");
    let shown = show(&first);
    has(&shown, &["state retrying", "next attempt", "attempts (1)", "failed after "]);
    has(&shown, &["not now", "error (thrown", "`blue`: after earlier runs", "for event evt_"]);

    // One that somebody waited for.
    let call = json!({ "snap_in": installed.id, "function": "work", "payload": { "n": 1 } });
    let called = daemon.call("functions.call", &call)["run"].clone();
    let run = get(&called);
    assert!(run["ordered_by"].is_string() && run["sync_id"].is_null(), "{run:#}");
    let shown = show(&called);
    has(
        &shown,
        &["called by functions.call", "asked by token:admin", "requests (1)", "state succeeded"],
    );
    has(&shown, &["GET http://127.0.0.1:9/things -> ", "result: {\"got\":{\"n\":1}}"]);
    let id = called.as_str().expect("an id");
    has(&shown, &[&format!("mortise run logs {id}")]);
    let as_json = script(&daemon, &["run", "show", id, "--json"], "").json();
    assert_eq!(as_json["run"], run);

    // What is not there any more is left out.
    daemon.call("runs.cancel", &json!({ "id": first }));
    daemon.step("deactivate", &installed.id, "INACTIVE");
    daemon.step("delete", &installed.id, "DELETED");
    has(&show(&called), &[&installed.id, "function work"]);
}
