//! Commands and operations: who may give which, which snap-in is meant, what the function gets and
//! what is handed back; and the token for whoever gave the command, which opens no more than it says.

use mortise_tests::client::script;
use mortise_tests::daemon::Daemon;
use mortise_tests::fixture::{Fixture, Installation};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The workbench, ACTIVE at `default/default/workbench`.
fn workbench(daemon: &Daemon) -> Installation {
    let mut all = Fixture::all().into_iter();
    let fixture = all.find(|it| it.name == "workbench").expect("it is there");
    daemon.call("packages.create", &json!({ "slug": "workbench" }));
    let version = daemon.call("versions.create", &fixture.upload(""));
    let installation = Installation::create(daemon, text(&version["version"]["id"]), &json!({}));
    daemon.step("activate", &installation.id, "ACTIVE");
    installation
}

/// Has a command of its own, and one that the workbench has too.
fn other(function: &str) -> Parts {
    Parts::new("other", SIGNED, function).with_sections(
        "commands:
  - {name: status, namespace: workbench, description: The same., surfaces: [{surface: discussions}], function: work}
  - {name: go, namespace: other, description: Goes., function: work}
",
    )
}

const SAY_NO: &str = "
export const run = async ([event]) => {
  console.log('asked with', event.payload.parameters);
  throw `no ${event.payload.parameters}`;
};";

fn command(namespace: &str, name: &str, parameters: &str) -> Value {
    json!({ "namespace": namespace, "name": name, "parameters": parameters })
}

#[test]
fn a_command_is_found_given_and_answered() {
    let daemon = Daemon::start();
    let installed = workbench(&daemon);
    let listed = daemon.call("commands.list", &json!({}))["commands"].clone();
    let names: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| format!("{} {}", text(&it["namespace"]), text(&it["name"])))
        .collect();
    assert_eq!(names, ["bench status", "workbench status"]);
    assert_eq!(listed[1]["id"], format!("{}/commands/workbench/status", installed.id));
    assert_eq!(listed[1]["usage_hint"], "[name of a thing]");
    assert_eq!(listed[1]["surfaces"][1]["surface"], "customer_chat");
    let got = daemon.call("commands.get", &json!({ "id": listed[1]["id"] }))["command"].clone();
    assert_eq!(got, listed[1]);
    let page = daemon.call("commands.list", &json!({ "limit": 1 }));
    let next = json!({ "limit": 1, "cursor": page["next_cursor"] });
    let rest = daemon.call("commands.list", &next);
    assert_eq!((&page["commands"][0], &rest["commands"][0]), (&listed[0], &listed[1]));
    assert!(rest["next_cursor"].is_null(), "{rest}");

    let answer = daemon.call("commands.execute", &command("workbench", "status", "the door"));
    let expected = json!({ "text": "the door is fine", "surface": "display:discussions" });
    assert_eq!((&answer["state"], &answer["result"]), (&json!("succeeded"), &expected));
    let mut chat = command("workbench", "status", "");
    chat["surface"] = json!("display:customer_chat");
    let answer = daemon.call("commands.execute", &chat);
    let expected = json!({ "text": "everything is fine", "surface": "display:customer_chat" });
    assert_eq!(answer["result"], expected);
    chat["surface"] = json!("mail");
    let refused = daemon.refused("commands.execute", &chat, 400);
    assert_eq!(refused["allowed"], json!(["discussions", "customer_chat"]), "{refused}");

    // One that nobody has, and the one that was probably meant.
    let refused = daemon.refused("commands.execute", &command("workbench", "statsu", ""), 404);
    assert!(text(&refused["message"]).contains("did you mean `workbench status`?"), "{refused}");
    assert_eq!(refused["allowed"], json!(["bench status", "workbench status"]));

    daemon.step("deactivate", &installed.id, "INACTIVE");
    let refused = daemon.refused("commands.execute", &command("bench", "status", ""), 409);
    assert!(text(&refused["message"]).contains("INACTIVE"), "{refused}");
    assert_eq!(daemon.call("commands.list", &json!({}))["commands"], json!([]));
    let got = daemon.call("commands.get", &json!({ "id": listed[0]["id"] }))["command"].clone();
    assert_eq!(got["status"], "disabled");
}

#[test]
fn of_several_snap_ins_one_has_to_be_named() {
    let daemon = Daemon::start();
    workbench(&daemon);
    let other = daemon.install(&other(SAY_NO));
    let mut status = command("workbench", "status", "x");
    let refused = daemon.refused("commands.execute", &status, 409);
    assert_eq!(refused["allowed"], json!(["default/default/other", "default/default/workbench"]));
    assert!(text(&refused["message"]).contains("`snap_in`"), "{refused}");

    status["snap_in"] = json!("default/default/workbench");
    assert_eq!(daemon.call("commands.execute", &status)["result"]["text"], "x is fine");
    // The error is handed back with its run.
    status["snap_in"] = json!(other.id);
    let failed = daemon.call("commands.execute", &status);
    assert_eq!((&failed["state"], &failed["error"]["message"]), (&json!("failed"), &json!("no x")));
    let run = daemon.call("runs.get", &json!({ "id": failed["run"] }))["run"].clone();
    assert_eq!(run["error"], failed["error"]);
    let refused = daemon.refused(
        "commands.execute",
        &json!({ "snap_in": "x/y/z", "namespace": "a", "name": "b" }),
        404,
    );
    assert!(text(&refused["message"]).contains("snap-in"), "{refused}");
}

#[test]
fn whoever_has_a_part_of_the_host_gives_its_commands_only() {
    let daemon = Daemon::start();
    workbench(&daemon);
    daemon.install_at(&other(SAY_NO), "prod/team/other");
    daemon.step("activate", "prod/team/other", "ACTIVE");
    let token = daemon.call("tokens.create", &json!({ "name": "part", "scope": "prod/team" }));
    let token = text(&token["token"]).to_owned();
    let ask = |name: &str, parameters: &Value| {
        daemon.try_call_as(&token, name, parameters).expect("an answer")
    };
    let listed = ask("commands.list", &json!({})).json();
    assert_eq!(listed["commands"].as_array().map(Vec::len), Some(2), "{listed}");
    // For him there is one command of that name, not two.
    let answer = ask("commands.execute", &command("workbench", "status", "y")).json();
    assert_eq!(answer["error"]["message"], "no y", "{answer}");
    assert_eq!(ask("commands.execute", &command("bench", "status", "")).status, 404);
    let operation = json!({ "snap_in": "default/default/workbench", "slug": "file_report" });
    assert_eq!(ask("operations.execute", &operation).status, 404);
    assert_eq!(ask("operations.list", &json!({})).json()["operations"], json!([]));
}

/// Tries what the token for whoever gave the command opens.
const EXPLORER: &str = "
export const run = async ([event]) => {
  const { devrev_endpoint } = event.execution_metadata;
  const { secrets, snap_in_id } = event.context;
  const other = event.payload.parameters;
  const ask = async (call, body, token = secrets.actor_session_token) => {
    const headers = { authorization: token, 'content-type': 'application/json' };
    const options = { method: 'POST', headers, body: JSON.stringify(body) };
    const response = await fetch(`${devrev_endpoint}/${call}`, options);
    return { status: response.status, body: await response.json() };
  };
  // Somebody else's name, under the same signature.
  const [claims, tag] = secrets.actor_session_token.slice(4).split('.');
  const forged = JSON.parse(Buffer.from(claims.replace(/-/g, '+').replace(/_/g, '/'), 'base64').toString());
  const name = forged.actor.name;
  forged.actor.name = 'token:somebody';
  const encoded = Buffer.from(JSON.stringify(forged)).toString('base64');
  const forgery = 'mst_' + encoded.replace(/[+]/g, '-').replace(/[/]/g, '_').replace(/=/g, '') + '.' + tag;
  const own = { id: snap_in_id };
  const mine = { ...own, inputs_values: { note: 'hi' } };
  const asked = {
    own: ask('snap-ins.get', own),
    other: ask('snap-ins.get', { id: other }),
    of_other: ask('commands.execute', { namespace: 'workbench', name: 'status', snap_in: other }),
    mine: ask('snap-ins.update-user', mine),
    of_somebody: ask('snap-ins.update-user', { ...mine, user: 'token:somebody' }),
    by_service_account: ask('snap-ins.update-user', mine, secrets.service_account_token),
    runs: ask('runs.list', {}),
    deactivate: ask('snap-ins.deactivate', own),
    tokens: ask('tokens.list', {}),
    call: ask('functions.call', { snap_in: snap_in_id, function: 'work' }),
    forged: ask('snap-ins.get', own, forgery),
  };
  const found = { name, claimed: forged.expires_ms - Date.now() };
  for (const [what, answer] of Object.entries(asked)) found[what] = (await answer).status;
  found.user = (await asked.mine).body.snap_in_user?.user;
  return found;
};";

#[test]
fn the_token_of_a_command_is_for_its_snap_in_and_its_giver_only() {
    let daemon = Daemon::start();
    let workbench = workbench(&daemon);
    let parts = other(EXPLORER).with_sections(
        "inputs:\n  user:\n    - {name: note, description: A note., field_type: text}\n",
    );
    daemon.install(&parts);
    let answer = daemon.call("commands.execute", &command("other", "go", &workbench.id));
    let found = &answer["result"];
    assert_eq!(answer["state"], "succeeded", "{answer:#}");
    for (what, status) in [
        ("own", 200),
        ("other", 404),
        ("of_other", 404),
        ("mine", 200),
        ("of_somebody", 403),
        ("by_service_account", 403),
        ("runs", 403),
        ("deactivate", 403),
        ("tokens", 403),
        ("call", 403),
        ("forged", 401),
    ] {
        assert_eq!(found[what], status, "{what}: {found:#}");
    }
    assert_eq!(found["user"]["name"], found["name"], "{found:#}");
    assert!(text(&found["name"]).starts_with("token:"), "{found:#}");
    let left_ms = found["claimed"].as_i64().expect("a number");
    assert!((29 * 60_000..=30 * 60_000).contains(&left_ms), "{left_ms}");
}

#[test]
fn an_operation_is_checked_carried_out_and_understood() {
    let daemon = Daemon::start();
    let installed = workbench(&daemon);
    let listed = daemon.call("operations.list", &json!({}))["operations"].clone();
    assert_eq!(listed[0]["id"], format!("{}/operations/file_report", installed.id));
    assert_eq!(listed[0]["default_timeout_seconds"], 45);
    let file =
        |data: Value| json!({ "snap_in": installed.id, "slug": "file_report", "data": data });
    let answer = daemon.call("operations.execute", &file(json!({ "title": "abmyz", "count": 5 })));
    assert_eq!(answer["output"], json!({ "values": [{ "ticket": "TKT-abmyz" }] }), "{answer}");
    assert_eq!((&answer["port_outputs"], &answer["error"]), (&json!([]), &Value::Null));

    let wrong = file(json!({ "title": "X", "kind": "bgu", "titel": "" }));
    let refused = daemon.refused("operations.execute", &wrong, 422);
    let inputs = refused["inputs"].as_array().expect("a list");
    for name in ["title", "kind", "titel"] {
        assert!(inputs.iter().any(|it| it["input"] == name), "{name}: {refused:#}");
    }
    let unknown = json!({ "snap_in": installed.id, "slug": "file_reprot" });
    let refused = daemon.refused("operations.execute", &unknown, 404);
    assert!(text(&refused["message"]).contains("did you mean `file_report`?"), "{refused}");

    // What operations answer, and what they throw.
    let answerer = "
export const run = async ([event]) => {
  const { how, text } = event.payload.data;
  if (how === 'throw') throw Object.assign(new Error(text), { retry: true });
  return how === 'wrapped' ? { serialization_format: 'json', data: text } : JSON.parse(text);
};";
    let parts = Parts::new("answerer", SIGNED, answerer).with_sections(
        "operations:\n  - {name: Answer, slug: answer, description: x, type: action, function: work}\n",
    );
    let answerer = daemon.install(&parts);
    let ask = |how: &str, text: &str| {
        let data = json!({ "how": how, "text": text });
        daemon.call(
            "operations.execute",
            &json!({ "snap_in": answerer.id, "slug": "answer", "data": data, "input_port_name": "in" }),
        )
    };
    let answer = ask("wrapped", r#"{"output": {"values": [7]}}"#);
    assert_eq!(answer["output"]["values"], json!([7]), "{answer}");
    let answer = ask("plain", r#"{"error": {"message": "later", "type": 2}}"#);
    let later = json!({ "message": "later", "type": 2, "retryable": true });
    assert_eq!((&answer["state"], &answer["error"]), (&json!("succeeded"), &later), "{answer}");
    let answer = ask("plain", r#"{"error": {"message": "wrong", "type": 1}}"#);
    assert_eq!(answer["error"]["retryable"], false, "{answer}");
    let answer = ask("throw", "broken");
    let broken = json!({ "message": "broken", "type": 2, "retryable": true });
    assert_eq!((&answer["state"], &answer["error"]), (&json!("failed"), &broken), "{answer}");
    assert_eq!(answer["run_error"]["kind"], "thrown", "{answer}");
}

/// Says which keyrings it was called with.
const LOOKS: &str = "
export const run = async ([event]) => {
  const names = Object.keys(event.input_data.keyrings).sort();
  return event.payload.metadata ? { output: { values: names } } : names;
};";

const OF_OPERATIONS: &str = "
keyrings:
  organization:
    - {name: shared, types: [snap_in_secret], optional: true}
operations:
  - name: One
    slug: one
    function: work
    keyrings:
      - {name: needed, types: [snap_in_secret]}
      - {name: shared, types: [snap_in_secret]}
  - name: Other
    slug: other
    function: work
    keyrings: [{name: wished, types: [snap_in_secret], optional: true}]
";

#[test]
fn keyrings_of_operations_are_set_and_go_to_them_alone() {
    let daemon = Daemon::start();
    let installed =
        daemon.install(&Parts::new("looker", SIGNED, LOOKS).with_sections(OF_OPERATIONS));
    let listed = daemon.call("keyrings.list", &json!({ "snap_in": installed.id }));
    let listed: Vec<_> = listed["keyrings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (text(&it["name"]), it["optional"] == true, it["operations"].clone()))
        .collect();
    let expected = [
        ("shared", true, Value::Null),
        ("needed", true, json!(["one"])),
        ("wished", true, json!(["other"])),
    ];
    assert_eq!(listed, expected);

    // The snap-in functions without it, its operation does not.
    let carry_out = |slug: &str| json!({ "snap_in": installed.id, "slug": slug });
    let refused = daemon.refused("operations.execute", &carry_out("one"), 422);
    let missing: Vec<_> = refused["missing"].as_array().expect("a list").iter().collect();
    assert_eq!(
        missing.iter().map(|it| text(&it["name"])).collect::<Vec<_>>(),
        ["needed", "shared"]
    );
    assert!(text(&missing[0]["command"]).contains("mortise keyring set"), "{refused}");
    let answer = daemon.call("operations.execute", &carry_out("other"));
    assert_eq!(answer["output"]["values"], json!([]), "{answer}");

    for name in ["shared", "needed", "wished"] {
        let set = json!({ "snap_in": installed.id, "name": name, "secret": "s3cret-of-theirs" });
        daemon.call("keyrings.set", &set);
    }
    for (slug, keyrings) in [("one", ["needed", "shared"]), ("other", ["shared", "wished"])] {
        let answer = daemon.call("operations.execute", &carry_out(slug));
        assert_eq!(answer["output"]["values"], json!(keyrings), "{answer}");
    }
    let call = json!({ "snap_in": installed.id, "function": "work", "payload": {} });
    assert_eq!(daemon.call("functions.call", &call)["result"], json!(["shared"]));

    // Those of the workbench, by the client.
    let workbench = workbench(&daemon);
    let path = "default/default/workbench";
    let shown = script(&daemon, &["snap-in", "show", path], "").out;
    let line = shown.lines().find(|it| it.contains("tickets")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("for operation file_report"), "{line}");
    let set =
        script(&daemon, &["keyring", "set", path, "tickets", "--skip-verification"], "s3cret\n");
    assert_eq!(set.code, 0, "{set:?}");
    let file =
        json!({ "snap_in": workbench.id, "slug": "file_report", "data": { "title": "abmyz" } });
    let answer = daemon.call("operations.execute", &file);
    let filed = json!({ "values": [{ "ticket": "TKT-abmyz", "filed": 6 }] });
    assert_eq!(answer["output"], filed, "{answer}");
}

#[test]
fn the_client_gives_commands_and_carries_operations_out() {
    let daemon = Daemon::start();
    workbench(&daemon);
    let run = |arguments: &[&str]| script(&daemon, arguments, "");
    let listed = run(&["command", "list", "default/default/workbench"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains("[name of a thing]"), "{listed:?}");

    let given = run(&["command", "run", "workbench", "status", "--", "the", "--big", "door"]);
    assert_eq!(given.code, 0, "{given:?}");
    assert_eq!(given.json()["text"], "the --big door is fine");
    let missing = run(&["command", "run", "workbench", "statsu"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("did you mean `workbench status`?"), "{missing:?}");

    let shown = run(&["command", "show", "workbench", "status", "--json"]);
    assert_eq!(shown.json()["command"]["scope"], "default/default/workbench", "{shown:?}");
    let missing = run(&["command", "show", "workbench", "statsu"]);
    assert!(missing.code == 1 && missing.err.contains("`workbench status`"), "{missing:?}");

    daemon.install(&other(SAY_NO));
    let several = run(&["command", "show", "workbench", "status"]);
    assert!(several.code == 1 && several.err.contains("default/default/other"), "{several:?}");
    let several = run(&["command", "run", "workbench", "status"]);
    assert!(several.code == 1 && several.err.contains("default/default/other"), "{several:?}");
    let from = ["--snap-in", "default/default/other", "--logs", "--", "way"];
    let failed = run(&[&["command", "run", "workbench", "status"][..], &from].concat());
    assert_eq!((failed.code, failed.out.as_str()), (1, ""), "{failed:?}");
    assert!(failed.err.contains("asked with way") && failed.err.contains("no way"), "{failed:?}");
    let id = failed.err.split("mortise run show ").nth(1).expect("its run").trim();
    let shown = run(&["run", "show", id]);
    assert!(shown.out.contains("called by  command workbench status"), "{shown:?}");
    let listed = run(&["run", "list"]);
    assert!(listed.out.contains("command workbench status"), "{listed:?}");
    let as_json = run(&[&["--json", "command", "run", "workbench", "status"][..], &from].concat());
    assert_eq!((as_json.code, &as_json.json()["state"]), (1, &json!("failed")), "{as_json:?}");

    let place = "default/default/workbench";
    let listed = run(&["operation", "list"]);
    assert!(listed.out.contains("file_report"), "{listed:?}");
    let done = run(&["operation", "run", place, "file_report", r#"{"title": "abmyz"}"#]);
    assert_eq!(done.json()["output"]["values"][0]["ticket"], "TKT-abmyz", "{done:?}");
    let wrong = run(&["operation", "run", place, "file_report", r#"{"title": "X"}"#]);
    assert!(wrong.code == 1 && wrong.err.contains("title: "), "{wrong:?}");
}
