//! Snap-ins are configured, asked by their hooks, upgraded and rolled back, by a daemon as a process.

use std::collections::BTreeMap;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed};
use mortise_tests::eventually;
use mortise_tests::load::{Load, wait_until_idle};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Shows what the function sees.
const SHOW: &str = "
export const run = async ([event]) => ({
  inputs: event.input_data.global_values,
  tags: event.input_data.resources.tags,
  version: event.context.snap_in_version_id,
});";

const INPUTS: &str = "
inputs:
  organization:
    - name: project
      description: Where things go.
      field_type: text
      is_required: true
      min_len: 2
      ui: { display_name: Project }
    - name: limit
      description: How many.
      field_type: int
      gte: 1
      lte: 100
      default_value: 5
      ui: { display_name: Limit }
    - name: stubborn
      description: Does not want to end.
      field_type: bool
      default_value: false
      ui: { display_name: Stubborn }
    - name: external_id
      description: State.
      field_type: text
      ui: { is_hidden: true }
";

const HOOKS: &str = "
hooks:
  - type: validate
    function: on_validate
  - type: activate
    function: on_activate
  - type: deactivate
    function: on_deactivate
  - type: update
    function: on_update
";

const ON_VALIDATE: &str = "
export const run = async ([event]) => {
  const { limit } = event.input_data.global_values;
  console.log('validate', event.execution_metadata.event_type, JSON.stringify(event.payload));
  if (limit > 50) throw `a limit of ${limit} is too much for this plan`;
};";

const ON_UPDATE: &str = "
export const run = async ([event]) => {
  const before = event.execution_metadata.previous_inputs;
  const now = event.input_data.global_values;
  console.log('update', before.limit, now.limit);
  if (now.limit === 13) throw new Error('thirteen brings bad luck');
};";

const ON_ACTIVATE: &str = "
export const run = async ([event]) => {
  const { project } = event.input_data.global_values;
  await new Promise((resolve) => setTimeout(resolve, project === 'slow' ? 1500 : 0));
  if (project === 'nowhere') return { status: 'error', message: 'there is no such project' };
  return { status: 'active', inputs_values: { external_id: `hook of ${project}` } };
};";

const ON_DEACTIVATE: &str = "
export const run = async ([event]) => {
  console.log('deactivate', JSON.stringify(event.payload));
  const { project } = event.input_data.global_values;
  await new Promise((resolve) => setTimeout(resolve, project === 'slow' ? 1500 : 0));
  if (event.input_data.global_values.stubborn) throw new Error('I stay');
};";

fn configurable() -> Parts {
    Parts::new("configured", SIGNED, SHOW)
        .with_sections(INPUTS)
        .with_sections(HOOKS)
        .with_sections("tags:\n  - name: seen\n    description: Was seen.\n")
        .with_function("on_validate", ON_VALIDATE)
        .with_function("on_activate", ON_ACTIVATE)
        .with_function("on_deactivate", ON_DEACTIVATE)
        .with_function("on_update", ON_UPDATE)
}

fn update(id: &str, inputs_values: Value) -> Value {
    json!({ "id": id, "inputs_values": inputs_values })
}

fn inputs(daemon: &Daemon, id: &str) -> BTreeMap<String, Value> {
    let shown = daemon.call("snap-ins.get", &json!({ "id": id }));
    let inputs = shown["snap_in"]["inputs"].as_array().expect("inputs").clone();
    let named = inputs.into_iter().map(|mut it| {
        let name = it["name"].as_str().expect("a name").to_owned();
        (name, it["value"].take())
    });
    named.collect()
}

/// What the runs of a hook logged, oldest first.
fn hook_log(daemon: &Daemon, id: &str, hook: &str) -> Vec<String> {
    let mut runs = daemon.list_all("runs.list", "runs", &json!({ "snap_in": id }));
    runs.reverse();
    let mut lines = Vec::new();
    for run in runs.iter().filter(|it| it["hook"] == hook) {
        let log = daemon.call("runs.logs", &json!({ "id": run["id"] }));
        let found = log["logs"].as_array().cloned().unwrap_or_default();
        lines.extend(found.iter().filter_map(|it| it["message"].as_str().map(str::to_owned)));
    }
    lines
}

#[test]
fn values_are_checked_all_at_once_and_never_half_applied() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&configurable());
    let missing = daemon.refused("snap-ins.activate", &json!({ "id": it.id }), 422);
    assert_eq!(missing["code"], "not_ready");
    assert_eq!(missing["missing"][0]["name"], "project", "{missing}");

    let wrong = json!({ "project": "x", "limit": "many", "stubborn": true, "colour": "red" });
    let problem = daemon.refused("snap-ins.update", &update(&it.id, wrong), 422);
    let named: Vec<_> = problem["inputs"].as_array().expect("a list").iter().collect();
    let names: Vec<_> = named.iter().filter_map(|it| it["input"].as_str()).collect();
    assert_eq!(names, ["project", "limit", "colour"], "{problem}");
    assert_eq!(inputs(&daemon, &it.id)["stubborn"], false, "the right one was not applied either");

    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha", "limit": 7 })));
    let now = inputs(&daemon, &it.id);
    assert_eq!((&now["project"], &now["limit"]), (&json!("alpha"), &json!(7)));
    let list = json!([it.id, { "limit": 9 }]);
    daemon.refused("snap-ins.update", &list, 400);
    daemon.call("snap-ins.update", &update(&it.id, json!({ "limit": null })));
    assert_eq!(inputs(&daemon, &it.id)["limit"], 5, "back to the default");
    daemon.step("activate", &it.id, "ACTIVE");
    let run = daemon.run_of(&daemon.send_event(&it, &json!({ "n": 1 })));
    let seen = json!({
        "project": "alpha", "limit": 5, "stubborn": false, "external_id": "hook of alpha",
    });
    assert_eq!(run["result"]["inputs"], seen, "{run}");
    let tag = run["result"]["tags"]["seen"]["id"].as_str().expect("the tag was made");
    assert!(tag.starts_with("tag_"), "{tag}");
}

#[test]
fn hooks_are_asked_before_a_configuration_is_in_effect() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&configurable());
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha" })));
    assert_eq!(hook_log(&daemon, &it.id, "validate"), ["validate hook:snap_in_validate {}"]);

    let no = daemon.refused("snap-ins.update", &update(&it.id, json!({ "limit": 60 })), 422);
    assert_eq!(no["code"], "hook_refused");
    assert_eq!(no["hook"]["message"], "a limit of 60 is too much for this plan", "{no}");
    assert_eq!(inputs(&daemon, &it.id)["limit"], 5);
    assert!(hook_log(&daemon, &it.id, "update").is_empty(), "only what is ACTIVE is updated");

    daemon.step("activate", &it.id, "ACTIVE");
    assert_eq!(inputs(&daemon, &it.id)["external_id"], "hook of alpha", "the hook wrote it");
    daemon.call("snap-ins.update", &update(&it.id, json!({ "limit": 9 })));
    assert_eq!(hook_log(&daemon, &it.id, "update"), ["update 5 9"]);
    let no = daemon.refused("snap-ins.update", &update(&it.id, json!({ "limit": 13 })), 422);
    assert_eq!(no["hook"]["type"], "update", "{no}");
    assert_eq!(inputs(&daemon, &it.id)["limit"], 9, "the change was not applied");
    let state = daemon.call("snap-ins.get", &json!({ "id": it.id }));
    assert_eq!(state["snap_in"]["state"], "ACTIVE", "and the snap-in functions as before");
}

#[test]
fn hooks_are_asked_about_whole_configurations_only() {
    let strict = "
export const run = async ([event]) => {
  const { project, team } = event.input_data.global_values;
  console.log('asked about', project, team);
  if (project === undefined || team === undefined) throw new Error('half of it');
  if (project === team) throw new Error('both the same');
};";
    let parts = Parts::new("strict", SIGNED, SHOW)
        .with_sections(INPUTS)
        .with_sections(
            "    - name: team\n      description: Who.\n      field_type: text\n      \
             is_required: true\n",
        )
        .with_sections("hooks:\n  - type: validate\n    function: on_validate\n")
        .with_function("on_validate", strict);
    let daemon = Daemon::start();
    let it = daemon.install_draft(&parts);
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha" })));
    assert!(hook_log(&daemon, &it.id, "validate").is_empty(), "the team is still missing");
    let no = daemon.refused("snap-ins.update", &update(&it.id, json!({ "team": "alpha" })), 422);
    assert_eq!(no["hook"]["message"], "both the same", "{no}");
    daemon.call("snap-ins.update", &update(&it.id, json!({ "team": "red" })));
    daemon.step("activate", &it.id, "ACTIVE");
}

#[test]
fn hooks_decide_about_activation_and_its_end() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&configurable());
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "nowhere" })));
    let failed = daemon.call("snap-ins.activate", &json!({ "id": it.id, "wait_seconds": 30 }));
    assert_eq!(failed["snap_in"]["state"], "ERROR");
    let reason = failed["snap_in"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("there is no such project"), "{reason}");

    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "b2", "stubborn": true })));
    daemon.step("activate", &it.id, "ACTIVE");
    daemon.step("deactivate", &it.id, "ERROR");
    let forced = json!({ "id": it.id, "force": true, "wait_seconds": 30 });
    let forced = daemon.call("snap-ins.deactivate", &forced);
    assert_eq!(forced["snap_in"]["state"], "INACTIVE", "{forced}");
    daemon.step("delete", &it.id, "ERROR");
    daemon.call("snap-ins.update", &update(&it.id, json!({ "stubborn": false })));
    daemon.step("delete", &it.id, "DELETED");
    let payload = |force: bool, deletion: bool| {
        format!(r#"deactivate {{"force_deactivate":{force},"is_deletion":{deletion}}}"#)
    };
    assert_eq!(
        hook_log(&daemon, &it.id, "deactivate"),
        [payload(false, false), payload(true, false), payload(false, true), payload(false, true)]
    );
}

#[test]
fn transitory_states_refuse_and_are_resolved_after_kill_dash_nine() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&configurable());
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "slow" })));
    let state = |wanted: &str| {
        let found = daemon.call("snap-ins.get", &json!({ "id": it.id, "wait_seconds": 30 }));
        assert_eq!(found["snap_in"]["state"], wanted, "{found}");
    };
    for (verb, under_way, end) in [
        ("activate", "ACTIVATING", "ACTIVE"),
        ("deactivate", "DEACTIVATING", "INACTIVE"),
        ("delete", "DEACTIVATING", "DELETED"),
    ] {
        let begun = daemon.call(&format!("snap-ins.{verb}"), &json!({ "id": it.id }));
        assert_eq!(begun["snap_in"]["state"], under_way);
        let refused =
            daemon.refused("snap-ins.update", &update(&it.id, json!({ "limit": 1 })), 409);
        let message = refused["message"].as_str().expect("a message");
        assert!(message.contains(under_way) && message.contains("wait"), "{message}");
        let again = match verb {
            "activate" => "deactivate",
            _ => "activate",
        };
        daemon.refused(&format!("snap-ins.{again}"), &json!({ "id": it.id }), 409);
        daemon.kill_dash_nine();
        daemon.restart();
        state(end);
    }
}

/// Updates its own state from a run, and from the hook that is asked about a change.
#[test]
fn a_snap_in_keeps_state_in_hidden_inputs_but_its_hooks_return_them() {
    let update_itself = "
export const run = async ([event]) => {
  const { devrev_endpoint } = event.execution_metadata;
  const answer = await fetch(`${devrev_endpoint}/snap-ins.update`, {
    method: 'POST',
    headers: { authorization: event.context.secrets.service_account_token },
    body: JSON.stringify({ id: event.context.snap_in_id, inputs_values: { external_id: 'set' } }),
  });
  const said = await answer.json();
  console.log(answer.status, said.message);
  return answer.status;
};";
    let parts = Parts::new("stateful", SIGNED, update_itself)
        .with_sections(INPUTS)
        .with_sections("hooks:\n  - type: validate\n    function: on_validate\n")
        .with_function("on_validate", update_itself);
    let daemon = Daemon::start();
    let it = daemon.install_draft(&parts);
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha" })));
    let said = hook_log(&daemon, &it.id, "validate");
    assert!(said[0].starts_with("409 a hook cannot change"), "{said:?}");
    daemon.step("activate", &it.id, "ACTIVE");
    let asked = hook_log(&daemon, &it.id, "validate").len();
    let run = daemon.run_of(&daemon.send_event(&it, &json!({ "n": 1 })));
    assert_eq!(run["result"], 200, "{run}");
    assert_eq!(inputs(&daemon, &it.id)["external_id"], "set");
    assert_eq!(hook_log(&daemon, &it.id, "validate").len(), asked, "state needs no validation");
}

fn version_of(text: &str) -> Parts {
    let code = format!("export const run = async ([event]) => '{text} ' + event.payload.n;");
    Parts::new("moving", SIGNED, &code).with_sections(INPUTS)
}

fn trigger_path(daemon: &Daemon, it: &Installed) -> String {
    let source = daemon.call("event-sources.get", &json!({ "id": it.source }));
    source["event_source"]["trigger_url"].as_str().expect("a URL").to_owned()
}

#[test]
fn an_upgrade_under_load_loses_nothing_and_repeats_nothing() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&version_of("one"));
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha" })));
    daemon.step("activate", &it.id, "ACTIVE");
    let first = daemon.call("snap-ins.get", &json!({ "id": it.id }))["snap_in"]["version"].clone();
    let path = trigger_path(&daemon, &it);
    let second = daemon.add_version(&version_of("two").with_sections(
        "snap_kit_actions:\n  - name: press\n    description: P.\n    function: work\n",
    ));
    let load = Load::start(&daemon, &it, 4, Duration::from_millis(2));
    load.wait_for_answers(30);
    for round in 0..6 {
        let (verb, parameters) = match round % 2 {
            0 => ("upgrade", json!({ "id": it.id, "version": second, "wait_seconds": 30 })),
            _ => ("rollback", json!({ "id": it.id, "wait_seconds": 30 })),
        };
        let moved = daemon.call(&format!("snap-ins.{verb}"), &parameters);
        assert_eq!(moved["snap_in"]["state"], "ACTIVE", "{moved}");
        let wanted = if round % 2 == 0 { json!(second) } else { first.clone() };
        assert_eq!(moved["snap_in"]["version"], wanted, "{moved}");
        load.wait_for_answers(30);
    }
    let sent = load.stop();
    wait_until_idle(&daemon, &it.id, PATIENCE);
    let mut by_version: BTreeMap<String, usize> = BTreeMap::new();
    for found in sent.reckon(&daemon, &it) {
        assert_eq!(found.run["state"], "succeeded", "{}", found.run);
        *by_version.entry(found.run["version"].to_string()).or_default() += 1;
    }
    println!("{} acknowledged, refused {:?}, {by_version:?}", sent.answered.len(), sent.refused);
    assert_eq!(by_version.len(), 2, "both versions had their share");
    assert!(sent.refused.values().all(|status| *status == 503), "{:?}", sent.refused);
    assert_eq!(trigger_path(&daemon, &it), path, "the trigger URL stays");
    let shown = daemon.call("snap-ins.get", &json!({ "id": it.id }));
    assert_eq!(shown["snap_in"]["past_versions"].as_array().map(Vec::len), Some(6));
    assert_eq!(inputs(&daemon, &it.id)["project"], "alpha", "configuration stays");
    let again = daemon.refused("snap-ins.rollback", &json!({ "id": it.id }), 404);
    let message = again["message"].as_str().expect("a message");
    assert!(message.contains("no earlier version"), "back twice is not forward: {message}");
}

#[test]
fn a_version_stays_while_runs_of_it_wait() {
    let daemon = Daemon::start();
    let slow = "
export const run = async ([event]) => {
  await new Promise((resolve) => setTimeout(resolve, 400));
  return event.payload.n;
};";
    let parts = Parts::new("pinned", SIGNED, slow).with("max_concurrency: 1");
    let it = daemon.install(&parts);
    let first = daemon.call("snap-ins.get", &json!({ "id": it.id }))["snap_in"]["version"].clone();
    let events: Vec<String> = (0..4).map(|n| daemon.send_event(&it, &json!({ "n": n }))).collect();
    daemon.step("deactivate", &it.id, "INACTIVE");
    let second = daemon.add_version(&parts.with("timeout_seconds: 30"));
    daemon.call("snap-ins.upgrade", &json!({ "id": it.id, "version": second }));
    daemon.refused("versions.delete", &json!({ "id": first }), 409);
    daemon.step("activate", &it.id, "ACTIVE");
    for (n, event) in events.iter().enumerate() {
        let run = daemon.run_of(event);
        assert_eq!((&run["result"], &run["version"]), (&json!(n), &first), "{run}");
    }
    daemon.call("versions.delete", &json!({ "id": first }));
}

#[test]
fn an_upgrade_says_what_it_changes_and_what_is_missing() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&version_of("one"));
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha", "limit": 70 })));
    daemon.step("activate", &it.id, "ACTIVE");
    let mut parts = version_of("two");
    parts.sections = INPUTS.replace("lte: 100", "lte: 20").replace(
        "    - name: stubborn",
        "    - name: team\n      description: Who.\n      field_type: enum\n      \
         allowed_values: [red, blue]\n      is_required: true\n      ui: { display_name: Team }\n    \
         - name: stubborn",
    );
    let second = daemon.add_version(&parts);
    let asked = json!({ "id": it.id, "version": second });
    let planned = daemon.call("snap-ins.plan-upgrade", &asked);
    let lines = planned["lines"].as_array().expect("lines").iter();
    let lines: Vec<_> = lines.filter_map(Value::as_str).collect();
    let text = lines.join("\n");
    assert!(lines.iter().any(|it| it.starts_with('+') && it.contains("team")), "{text}");
    assert!(lines.iter().any(|it| it.starts_with('~') && it.contains("limit")), "{text}");

    let refused = daemon.refused("snap-ins.upgrade", &asked, 422);
    assert_eq!(refused["missing"][0]["name"], "team", "{refused}");
    let with = json!({
        "id": it.id, "version": second, "inputs_values": { "team": "red" }, "wait_seconds": 30,
    });
    daemon.call("snap-ins.upgrade", &with);
    let now = inputs(&daemon, &it.id);
    assert_eq!((&now["team"], &now["limit"]), (&json!("red"), &json!(5)), "70 is too much now");
    daemon.call("snap-ins.rollback", &json!({ "id": it.id, "wait_seconds": 30 }));
    assert_eq!(inputs(&daemon, &it.id)["limit"], 70, "what was configured came back");
    daemon.refused("snap-ins.upgrade", &json!({ "id": it.id, "version": "ver_x" }), 400);
    let other = daemon.install_draft(&Parts::echo());
    let foreign =
        daemon.call("snap-ins.get", &json!({ "id": other.id }))["snap_in"]["version"].clone();
    daemon.refused("snap-ins.upgrade", &json!({ "id": it.id, "version": foreign }), 404);
}

#[test]
fn sources_that_a_version_drops_come_back_with_their_url() {
    let daemon = Daemon::start();
    let it = daemon.install_draft(&version_of("one"));
    daemon.call("snap-ins.update", &update(&it.id, json!({ "project": "alpha" })));
    daemon.step("activate", &it.id, "ACTIVE");
    let mut parts = version_of("two");
    parts.name = "moving".to_owned();
    let renamed = parts
        .manifest()
        .replace("name: hook", "name: other")
        .replace("source: hook", "source: other");
    let version = daemon.call(
        "versions.create",
        &json!({ "package": "moving", "manifest": renamed, "archive": parts.archive() }),
    );
    let version = version["version"]["id"].clone();
    daemon
        .call("snap-ins.upgrade", &json!({ "id": it.id, "version": version, "wait_seconds": 30 }));
    eventually("the old URL is closed", PATIENCE, || {
        (daemon.send(&it, b"{\"n\":1}").status == 404).then_some(())
    });
    daemon.call("snap-ins.rollback", &json!({ "id": it.id, "wait_seconds": 30 }));
    let run = daemon.run_of(&daemon.send_event(&it, &json!({ "n": 2 })));
    assert_eq!(run["result"], "one 2", "{run}");
}
