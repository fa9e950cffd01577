//! What snap-ins draw, on the running daemon: components and pages are rendered and kept, what people
//! do is handed to functions, and bodies that are wrong are not displayed.

use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::fixture::{Fixture, Installation};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const EXECUTE: &str = "snap-kit-action.execute.deferred";

fn workbench(daemon: &Daemon) -> String {
    let fixture =
        Fixture::all().into_iter().find(|it| it.name == "workbench").expect("it is there");
    daemon.call("packages.create", &json!({ "slug": "workbench" }));
    let version = daemon.call("versions.create", &fixture.upload(""));
    let version = version["version"]["id"].as_str().expect("an id").to_owned();
    Installation::create(daemon, &version, &json!({})).id
}

fn active_workbench(daemon: &Daemon) -> String {
    let id = workbench(daemon);
    daemon.step("activate", &id, "ACTIVE");
    id
}

fn first_text(answer: &Value) -> &str {
    answer["displayed"]["body"]["snaps"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:#}"))
}

fn click(id: &str, actions: Value) -> Value {
    json!({ "id": format!("{id}/snap-kit-actions/workbench_click"), "actions": actions })
}

#[test]
fn components_are_drawn_and_kept_over_a_restart() {
    let daemon = Daemon::start();
    let id = workbench(&daemon);
    let panel = json!({ "snap_in": id, "name": "workbench_panel", "object_id": "TKT-1" });
    let refused = daemon.refused("snap-components.render", &panel, 409);
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("DRAFT")), "{refused}");
    daemon.step("activate", &id, "ACTIVE");

    let list = daemon.call("snap-components.list", &json!({ "surface": "issue" }));
    let rows = list["snap_components"].as_array().expect("a list");
    assert_eq!((rows.len(), &rows[0]["name"]), (1, &json!("workbench_panel")), "{list}");
    assert_eq!(rows[0]["snap_kit_action"], format!("{id}/snap-kit-actions/workbench_click"));
    let before = daemon.call("snap-components.get", &panel);
    assert!(before["displayed"].is_null(), "{before}");

    let drawn = daemon.call("snap-components.render", &panel);
    assert_eq!((first_text(&drawn), &drawn["problems"]), ("a page", &json!([])), "{drawn:#}");
    let seen = &drawn["result"]["seen"];
    let actor = seen["actor_id"].as_str().expect("somebody looks");
    assert!(actor.starts_with("usr_"), "{seen}");
    assert_eq!(seen["has_actor_token"], false, "only commands and actions get one: {seen}");
    assert_eq!(
        (&seen["context"], &seen["body"]),
        (&json!({ "object_id": "TKT-1" }), &json!({ "snaps": [] }))
    );
    let run = daemon.call("runs.get", &json!({ "id": drawn["run"] }))["run"].clone();
    assert_eq!((&run["state"], &run["function"]), (&json!("succeeded"), &json!("page")), "{run}");

    // One that stands in the manifest.
    let plug = json!({ "snap_in": id, "name": "workbench_plug" });
    let drawn = daemon.call("snap-components.render", &plug);
    assert_eq!((first_text(&drawn), &drawn["run"]), ("Hello", &Value::Null), "{drawn}");

    daemon.restart();
    for (which, text) in [(&panel, "a page"), (&plug, "Hello")] {
        let kept = daemon.call("snap-components.get", which);
        assert_eq!(first_text(&kept), text);
    }
    let elsewhere = json!({ "snap_in": id, "name": "workbench_panel", "object_id": "TKT-2" });
    assert!(daemon.call("snap-components.get", &elsewhere)["displayed"].is_null());
    let unknown = json!({ "snap_in": id, "name": "workbench_pannel" });
    let refused = daemon.refused("snap-components.render", &unknown, 404);
    assert!(
        refused["message"].as_str().is_some_and(|it| it.contains("`workbench_panel`")),
        "{refused}"
    );
    assert_eq!(refused["allowed"], json!(["workbench_panel", "workbench_plug"]));
}

#[test]
fn actions_are_called_in_order_and_replace_what_is_displayed() {
    let daemon = Daemon::start();
    let id = active_workbench(&daemon);
    let panel = json!({ "snap_in": id, "name": "workbench_panel", "object_id": "TKT-1" });
    daemon.call("snap-components.render", &panel);

    let mut request = click(&id, json!([{ "action_id": "ok" }]));
    request["from"] = json!({ "snap_component": "workbench_panel" });
    request["context"] = json!({ "object_id": "TKT-1" });
    let answer = daemon.call(EXECUTE, &request);
    let [one] = &answer["results"].as_array().expect("a list")[..] else { panic!("{answer}") };
    assert_eq!((first_text(one), &one["state"]), ("clicked ok", &json!("succeeded")), "{one:#}");
    let seen = &one["result"]["seen"];
    // What was not sent is taken from what is displayed.
    let action = &seen["action"];
    for (key, value) in [("block_id", "b-ok"), ("id", "ok"), ("type", "button"), ("value", "ok")] {
        assert_eq!(action[key], value, "{action}");
    }
    assert!(action["timestamp"].as_str().is_some_and(|it| it.ends_with('Z')), "{action}");
    assert_eq!(seen["action_id"], format!("{id}/snap-kit-actions/workbench_click"));
    assert_eq!((&seen["parent_id"], &seen["request_id"]), (&json!(id), &one["run"]));
    assert_eq!(seen["body"]["snaps"][0]["text"], "a page", "{seen:#}");
    assert_eq!((&seen["context"], &seen["dev_org"]), (&request["context"], &json!("org_local")));
    assert_eq!(seen["has_actor_token"], true);
    assert_eq!(first_text(&daemon.call("snap-components.get", &panel)), "clicked ok");

    // From a timeline, as the platform's own clients send it.
    let mut request = click(
        &id,
        json!([
            { "block_id": "b", "id": "one", "timestamp": 1, "type": "button", "value": "1" },
            { "action_id": "nothing", "action_type": "remote", "type": "form", "value": { "a": { "value": 5 } } },
            { "action_id": "wrong" },
            { "action_id": "fail" },
            { "action_id": "ok" },
        ]),
    );
    request["context"] = json!({ "entry_id": "TLE-1", "parent_core_object_id": "TKT-1" });
    request["body"] = json!({ "snaps": [{ "type": "plain_text", "text": "sent along" }] });
    let answer = daemon.call(EXECUTE, &request);
    let results = answer["results"].as_array().expect("a list");
    let states: Vec<_> = results.iter().map(|it| it["state"].as_str().expect("a text")).collect();
    assert_eq!(states, ["succeeded", "succeeded", "succeeded", "failed", "not_run"], "{answer:#}");
    assert_eq!(results[0]["result"]["seen"]["body"], request["body"]);
    assert_eq!(results[0]["result"]["seen"]["action"]["timestamp"], 1);
    // What comes next is done with what is displayed by then.
    let second = &results[1]["result"]["seen"];
    assert_eq!(second["body"]["snaps"][0]["text"], "clicked one", "{second:#}");
    assert_eq!(second["action"]["value"], json!({ "a": { "value": 5 } }));
    assert_eq!(second["context"], request["context"]);
    assert!(results[1]["displayed"].is_null() && results[1]["problems"] == json!([]));
    let wrong = &results[2];
    assert!(
        wrong["displayed"].is_null() && wrong["result"]["snap_kit_body"].is_object(),
        "{wrong:#}"
    );
    let problems: Vec<_> = wrong["problems"].as_array().expect("a list").iter().collect();
    assert_eq!(
        (problems.len(), &problems[0]["code"], &problems[0]["path"]),
        (2, &json!("missing"), &json!("body.snaps[0].text")),
        "{wrong:#}"
    );
    assert_eq!(
        (&problems[1]["code"], &problems[1]["severity"]),
        (&json!("unknown_type"), &json!("warning"))
    );
    assert!(problems[1]["allowed"].as_array().is_some_and(|it| it.contains(&json!("card"))));
    assert_eq!(results[3]["error"]["message"], "the bench is broken");
    assert!(results[4]["run"].is_null() && results[4]["error"].is_null());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let daemon = Daemon::start();
    let id = active_workbench(&daemon);
    let ok = json!([{ "action_id": "ok" }]);
    let with = |key: &str, value: Value| {
        let mut request = click(&id, ok.clone());
        request[key] = value;
        request
    };
    for (request, status, part) in [
        (click(&id, json!([])), 400, "send 1 to 5"),
        (click(&id, json!([{}])), 400, "needs the `action_id`"),
        (click(&id, json!(vec![json!({ "id": "x" }); 6])), 400, "6 actions"),
        (with("id", json!(id)), 400, "/snap-kit-actions/"),
        (
            with("id", json!(format!("{id}/snap-kit-actions/workbench_clic"))),
            404,
            "did you mean `workbench_click`",
        ),
        (with("from", json!({ "snap_component": "workbench_plug" })), 422, "sent to nobody"),
        (
            with("from", json!({ "snap_component": "x", "configuration_page": "user" })),
            400,
            "cannot be both",
        ),
        (with("body", json!({ "snaps": [{}] })), 422, "no body that could have been displayed"),
        (with("context", json!({ "object_id": "" })), 400, "1 to 512"),
    ] {
        let refused = daemon.refused(EXECUTE, &request, status);
        let message = refused["message"].as_str().expect("a text");
        assert!(message.contains(part), "{request}: {message}");
    }
    // What was pressed has a value only where it is displayed.
    let lost = daemon.refused(EXECUTE, &click(&id, ok.clone()), 409);
    assert!(lost["message"].as_str().is_some_and(|it| it.contains("draw it anew")), "{lost}");
    let which = json!({ "snap_in": id, "name": "workbench_panel" });
    daemon.call("snap-components.render", &which);
    let mut unknown = click(&id, json!([{ "action_id": "okk" }]));
    unknown["from"] = json!({ "snap_component": "workbench_panel" });
    let refused = daemon.refused(EXECUTE, &unknown, 404);
    let said = (&refused["message"], &refused["allowed"]);
    assert!(said.0.as_str().is_some_and(|it| it.contains("did you mean `ok`")), "{refused}");
    assert!(said.1.as_array().is_some_and(|it| it.contains(&json!("fail"))), "{refused}");
    let runs = daemon.list_all("runs.list", "runs", &json!({ "function": "click" }));
    assert!(runs.is_empty(), "{runs:?}");
    unknown["actions"][0]["value"] = json!("sent along");
    let answer = daemon.call(EXECUTE, &unknown);
    assert_eq!(answer["results"][0]["result"]["seen"]["action"]["value"], "sent along");

    daemon.step("deactivate", &id, "INACTIVE");
    daemon.refused(EXECUTE, &click(&id, ok.clone()), 409);

    // Who may use a part of the host sees no more of it, and a function acts for nobody.
    let token = daemon.call("tokens.create", &json!({ "name": "elsewhere", "scope": "elsewhere" }));
    let token = token["token"].as_str().expect("a token");
    let which = json!({ "snap_in": id, "name": "workbench_panel" });
    for (name, parameters) in [
        (EXECUTE, click(&id, ok)),
        ("snap-components.get", which.clone()),
        ("snap-components.render", which),
        ("configuration-pages.render", json!({ "snap_in": id })),
    ] {
        let answer = daemon.try_call_as(token, name, &parameters).expect("an answer");
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    let list = daemon.try_call_as(token, "snap-components.list", &json!({})).expect("an answer");
    assert_eq!(list.json()["snap_components"], json!([]));
}

/// Draws a form for its only input, and writes what was sent to it.
const SETUP: &str = "
export const run = async ([event]) => {
  const { action, level, actor_id } = event.payload;
  const text = (text) => ({ type: 'plain_text', text });
  const page = (words) => ({ snap_kit_body: { body: { snaps: [text(words), {
    type: 'form', action_id: 'setup', action_type: 'remote',
    elements: [{ type: 'input_layout', element: { type: 'plain_text_input', action_id: 'project' } }],
    submit_action: { type: 'button', action_id: 's', text: text('Save'), value: 's' },
  }] } } });
  if (!action) return page(`${level} ${event.context.user_id === actor_id} ${JSON.stringify(event.input_data.keyrings)}`);
  const answer = await fetch(`${event.execution_metadata.devrev_endpoint}/snap-ins.update`, {
    method: 'POST',
    headers: {
      authorization: event.context.secrets.service_account_token,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      id: event.context.snap_in_id,
      inputs_values: { project: action.value.project.value },
    }),
  });
  return page(`saved ${answer.status}`);
};
";

const SECTIONS: &str = "
inputs:
  organization:
    - name: project
      description: What it is for.
      field_type: text
      is_required: true
keyrings:
  organization:
    - name: token
      description: For the other side.
      types: [snap_in_secret]
snap_kit_actions:
  - {name: setup, function: setup}
configuration_handler:
  organization: {initializer: setup, snap_kit_action_name: setup}
  user: {initializer: setup, snap_kit_action_name: setup}
";

#[test]
fn a_page_configures_what_is_not_active_yet() {
    let daemon = Daemon::start_with(Options::default());
    let parts = Parts::new("paged", SIGNED, mortise_tests::snap_in::ECHO)
        .with_sections(SECTIONS)
        .with_function("setup", SETUP);
    let id = daemon.install_draft(&parts).id;
    let page = daemon.call("configuration-pages.render", &json!({ "snap_in": id }));
    assert_eq!(first_text(&page), "organization false {}", "{page:#}");
    let action = page["snap_kit_action"].as_str().expect("it has one").to_owned();
    let own = json!({ "snap_in": id, "level": "user", "user": "ada" });
    let page = daemon.call("configuration-pages.render", &own);
    assert_eq!(first_text(&page), "user true {}", "{page:#}");

    let value = json!({ "project": { "action_id": "project", "value": "alpha" } });
    let mut request =
        json!({ "id": action, "actions": [{ "action_id": "setup", "value": value }] });
    let refused = daemon.refused(EXECUTE, &request, 409);
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("DRAFT")), "{refused}");
    request["from"] = json!({ "configuration_page": "organization" });
    let saved = daemon.call(EXECUTE, &request);
    assert_eq!(first_text(&saved["results"][0]), "saved 200", "{saved:#}");
    assert_eq!(saved["results"][0]["result"]["snap_kit_body"]["body"]["snaps"][1]["type"], "form");
    daemon.call("keyrings.set", &json!({ "snap_in": id, "name": "token", "secret": "planted" }));
    daemon.step("activate", &id, "ACTIVE");
    let snap_in = daemon.call("snap-ins.get", &json!({ "id": id }))["snap_in"].clone();
    assert!(snap_in["inputs"].to_string().contains("alpha"), "{snap_in:#}");

    // A secret that a function draws is masked in what is kept.
    let page = daemon.call("configuration-pages.render", &json!({ "snap_in": id }));
    assert!(first_text(&page).contains("[secret]"), "{page:#}");
}

#[test]
fn the_client_draws_and_presses() {
    let daemon = Daemon::start();
    let id = active_workbench(&daemon);
    let listed = script(&daemon, &["component", "list", "--snap-in", &id], "");
    assert!(listed.code == 0 && listed.out.contains("workbench_panel"), "{listed:?}");
    let nothing = script(&daemon, &["component", "show", &id, "workbench_panel"], "");
    assert!(nothing.code == 0 && nothing.err.contains("nothing was drawn yet"), "{nothing:?}");
    let drawn = script(&daemon, &["component", "render", &id, "workbench_panel"], "");
    assert_eq!(drawn.code, 0, "{drawn:?}");
    let lines: Vec<&str> = drawn.out.lines().collect();
    assert_eq!(
        lines,
        [
            "a page",
            "Workbench",
            "=========",
            "  Kind: radio_buttons  -> kind",
            "    - A bug = bug",
            "    - A wish = wish",
            "  [Send]  -> workbench_click",
            "  [All right]  -> ok",
            "  [Fail]  -> fail",
        ]
    );
    assert!(drawn.err.contains("/snap-kit-actions/workbench_click --element ID"), "{drawn:?}");
    let action = format!("{id}/snap-kit-actions/workbench_click");
    let run = |more: &[&str]| {
        let words = [&["action", "run", &action, "--component", "workbench_panel"], more].concat();
        script(&daemon, &words, "")
    };
    let sent = run(&["--value", r#"{"kind": {"value": {"value": "bug"}}}"#]);
    assert!(sent.code == 0 && sent.out.starts_with("clicked workbench_click\n"), "{sent:?}");
    let json = run(&["--element", "ok", "--json"]);
    assert_eq!(first_text(&json.json()["results"][0]), "clicked ok");
    // Several, of what this says is displayed.
    let shown = r#"{"snaps": [{"type": "actions", "elements": [{"type": "button", "action_id": "own",
        "value": "v", "text": {"type": "plain_text", "text": "Own"}}]}]}"#;
    let two = ["--do", r#"{"action_id": "own"}"#, "--do", r#"{"action_id": "ok"}"#, "--json"];
    let place = ["--body", shown, "--entry", "TLE-1", "--entry-object", "TKT-1"];
    let done = script(&daemon, &[&["action", "run", &action], &place[..], &two[..]].concat(), "");
    let answer = done.json();
    let texts: Vec<_> =
        answer["results"].as_array().into_iter().flatten().map(first_text).collect();
    assert_eq!(texts, ["clicked own", "clicked ok"], "{done:?}");
    let wrong = run(&["--body", "{"]);
    assert!(wrong.code == 2 && wrong.err.contains("the body is no JSON"), "{wrong:?}");
    let failed = run(&["--element", "fail"]);
    assert!(failed.code == 1 && failed.err.contains("the bench is broken"), "{failed:?}");
    let unknown = run(&["--element", "wrong"]);
    assert!(unknown.code != 0 && unknown.err.contains("unknown element `wrong`"), "{unknown:?}");
    let wrong = run(&["--element", "wrong", "--value", "1"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(
        wrong.err.contains("error: body.snaps[0].text: `plain_text` needs a `text`"),
        "{wrong:?}"
    );
    let usage = run(&["--value", "{"]);
    assert_eq!(usage.code, 2, "{usage:?}");
    let page = script(&daemon, &["snap-in", "page", &id], "");
    assert!(page.code == 0 && page.out.starts_with("the page of the organization\n"), "{page:?}");
    let page = script(&daemon, &["snap-in", "page", &id, "--user"], "");
    assert!(page.code == 0 && page.out.starts_with("the page of the user\n"), "{page:?}");
}

#[test]
fn what_is_wrong_with_a_static_body_is_said_with_its_line() {
    let sections = "
snap_kit_actions: [{name: press, function: work}]
snap_components:
  - name: panel
    snap_kit_body:
      snap_in_action_name: pres
      snaps:
        - {type: button, action_id: a, action_type: remote, value: a}
        - type: plain_text
          text: Hello
          colour: red
";
    let daemon = Daemon::start();
    let parts = Parts::new("static", SIGNED, mortise_tests::snap_in::ECHO).with_sections(sections);
    daemon.call("packages.create", &json!({ "slug": "static" }));
    let create =
        json!({ "package": "static", "manifest": parts.manifest(), "archive": parts.archive() });
    let refused = daemon.refused("versions.create", &create, 422);
    let problems = refused["problems"].as_array().expect("a list");
    let manifest = parts.manifest();
    let line_of =
        |text: &str| manifest.lines().position(|it| it.contains(text)).expect("it is there") + 1;
    let found: Vec<_> = problems
        .iter()
        .map(|it| {
            (
                it["severity"].as_str(),
                it["line"].as_u64(),
                it["path"].as_str(),
                it["message"].as_str(),
            )
        })
        .collect();
    let said = |severity, line: &str, path, message| {
        (Some(severity), Some(line_of(line) as u64), Some(path), Some(message))
    };
    let of = "snap_components[0].snap_kit_body";
    let (named, text, colour) = (
        format!("{of}.snap_in_action_name"),
        format!("{of}.snaps[0].text"),
        format!("{of}.snaps[1].colour"),
    );
    assert_eq!(
        found,
        [
            said(
                "warning",
                "snap_in_action_name: pres",
                named.as_str(),
                "unknown snap-kit action `pres`, did you mean `press`?"
            ),
            said("error", "type: button", text.as_str(), "`button` needs a `text`"),
            said("warning", "colour: red", colour.as_str(), "unknown property `colour`"),
        ],
        "{refused:#}"
    );
}
