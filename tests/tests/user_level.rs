//! What people set for themselves in a snap-in, by a daemon as a process: inputs, event sources with
//! trigger URLs of their own, and what functions see of it.

use std::time::Duration;

use mortise_tests::daemon::{Daemon, post_signed};
use mortise_tests::eventually;
use mortise_tests::http::Response;
use mortise_tests::snap_in::{Parts, SECRET, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Shows what a function sees of whoever its event came from, and of the user that the event names.
const SHOW: &str = "
export const run = async ([event]) => {
  const { devrev_endpoint } = event.execution_metadata;
  const ask = async (user) => {
    const response = await fetch(`${devrev_endpoint}/snap-ins.resources`, {
      method: 'POST',
      headers: {
        authorization: event.context.secrets.service_account_token,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ id: event.context.snap_in_id, user }),
    });
    return { status: response.status, body: await response.json() };
  };
  const user = event.context.user_id;
  const own = await ask(user ?? event.payload.user);
  console.log('resources', JSON.stringify(own));
  return {
    user: user ?? null,
    event_sources: Object.keys(event.input_data.event_sources),
    inputs: event.input_data.global_values,
    keyrings: Object.keys(event.input_data.keyrings ?? {}),
    lengths: Object.values(own.body.keyrings ?? {}).map((it) => it.secret.length),
    own,
  };
};";

const AUTOMATION: &str = "  - name: Mine
    source: inbox
    event_types: [custom:tick]
    function: work
";

const INPUTS: &str = "
inputs:
  organization:
    - name: team
      description: Whose it is.
      field_type: text
      default_value: all
  user:
    - name: channel
      description: Where to tell me.
      field_type: text
      is_required: true
      prefix: '#'
    - name: limit
      description: How many.
      field_type: int
      lte: 10
      default_value: 3
";

const KEYRINGS: &str = "
keyrings:
  organization:
    - name: shared
      display_name: Shared
      description: Of all.
      types: [snap_in_secret]
      optional: true
  user:
    - name: own
      display_name: Own
      description: In your name.
      types: [snap_in_secret]
";

fn parts() -> Parts {
    Parts::new("personal", SIGNED, SHOW)
        .with_sections(AUTOMATION)
        .with_sections(INPUTS)
        .with_sections(KEYRINGS)
}

/// The manifest, with an event source for each user.
fn manifest(parts: &Parts, user_sources: &[&str]) -> String {
    let policy: String = SIGNED.trim().lines().map(|it| format!("          {it}\n")).collect();
    let sources: String = user_sources
        .iter()
        .map(|name| {
            format!(
                "    - name: {name}\n      display_name: Mine\n      \
                 type: flow-custom-webhook\n      config:\n        policy: |\n{policy}        \
                 parameters:\n          secret: {SECRET}\n"
            )
        })
        .collect();
    let user = if sources.is_empty() { sources } else { format!("  user:\n{sources}") };
    parts.manifest().replacen("\nfunctions:\n", &format!("\n{user}functions:\n"), 1)
}

/// Installs it, in DRAFT.
fn install(daemon: &Daemon) -> String {
    daemon.call("packages.create", &json!({ "slug": "personal" }));
    let version = version_of(daemon, &["inbox"]);
    let created = daemon.call("snap-ins.create", &json!({ "version": version }));
    created["snap_in"]["id"].as_str().expect("an id").to_owned()
}

fn version_of(daemon: &Daemon, user_sources: &[&str]) -> String {
    let parts = parts();
    let asked = json!({
        "package": "personal",
        "manifest": manifest(&parts, user_sources),
        "archive": parts.archive(),
    });
    let made = daemon.call("versions.create", &asked);
    made["version"]["id"].as_str().expect("an id").to_owned()
}

fn enable(daemon: &Daemon, id: &str, user: &str) -> Value {
    let asked = json!({
        "id": id, "user": user, "inputs_values": { "channel": format!("#{user}") },
    });
    daemon.call("snap-ins.enable", &asked)["snap_in_user"].clone()
}

/// The trigger URL of a person's source, below the address.
fn path(user: &Value, name: &str) -> String {
    let sources = user["event_sources"].as_array().expect("a list");
    let source = sources.iter().find(|it| it["name"] == name).expect("it is there");
    let url = source["trigger_url"].as_str().expect("a trigger URL");
    url.split_at(url.find("/hooks/").expect("it is ours")).1.to_owned()
}

fn send(daemon: &Daemon, path: &str, payload: &Value) -> Response {
    eventually("the source has opened", PATIENCE, || {
        let body = payload.to_string();
        let response = post_signed(&mut daemon.connect(), path, body.as_bytes());
        let response = response.expect("the daemon answers");
        (response.status != 503).then_some(response)
    })
}

/// The run that an event led to.
fn run(daemon: &Daemon, path: &str, payload: &Value) -> Value {
    let response = send(daemon, path, payload);
    assert_eq!(response.status, 200, "{}", response.text());
    let event = response.json()["events"][0]["id"].as_str().expect("an event").to_owned();
    let run = daemon.run_of(&event);
    assert_eq!(run["state"], "succeeded", "{run}");
    run
}

#[test]
fn what_a_person_sets_is_checked_whole() {
    let daemon = Daemon::start();
    let id = install(&daemon);
    let missing = daemon.refused("snap-ins.enable", &json!({ "id": id, "user": "ada" }), 422);
    assert_eq!(missing["code"], "not_ready");
    assert_eq!(missing["missing"][0]["name"], "channel", "{missing}");
    let command = "mortise snap-in set-user default/default/personal --user ada channel=VALUE";
    assert_eq!(missing["missing"][0]["command"], command);

    let wrong = json!({ "channel": "no hash", "limit": 11, "team": "x", "chanel": "#x" });
    let wrong = json!({ "id": id, "user": "ada", "inputs_values": wrong });
    for call in ["snap-ins.enable", "snap-ins.update-user"] {
        let problem = daemon.refused(call, &wrong, 422);
        let named = problem["inputs"].as_array().expect("a list");
        let names: Vec<_> = named.iter().filter_map(|it| it["input"].as_str()).collect();
        assert_eq!(names, ["channel", "limit", "chanel", "team"], "{problem}");
    }
    let shown = daemon.call("snap-ins.get-user", &json!({ "id": id, "user": "ada" }));
    let user = &shown["snap_in_user"];
    assert_eq!((&user["enabled"], &user["event_sources"]), (&json!(false), &json!([])), "{shown}");

    // First the values, then the switch; or both at once.
    let values = json!({ "id": id, "user": "ada", "inputs_values": { "channel": "#ops" } });
    daemon.call("snap-ins.update-user", &values);
    let enabled = daemon.call("snap-ins.enable", &json!({ "id": id, "user": "ada" }));
    let user = &enabled["snap_in_user"];
    assert_eq!(user["enabled"], true);
    assert_eq!(user["inputs"][0]["value"], "#ops", "{user}");
    assert_eq!(
        (&user["inputs"][1]["value"], &user["inputs"][1]["is_set"]),
        (&json!(3), &json!(false))
    );
    let null = json!({ "id": id, "user": "ada", "inputs_values": { "channel": null } });
    let refused = daemon.refused("snap-ins.update-user", &null, 422);
    assert_eq!(refused["inputs"][0]["input"], "channel", "{refused}");

    // Who names nobody means himself.
    let own = json!({ "id": id, "inputs_values": { "channel": "#me" } });
    let own = daemon.call("snap-ins.enable", &own);
    assert_eq!(own["snap_in_user"]["user"]["name"], "token:admin", "{own}");
    let users = daemon.list_all("snap-ins.list-users", "users", &json!({ "id": id }));
    let names: Vec<_> = users.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["ada", "token:admin"]);
    let ada = json!({ "id": id, "user": users[0]["id"] });
    daemon.call("snap-ins.disable", &ada);
    let first = daemon.call("snap-ins.list-users", &json!({ "id": id, "limit": 1 }));
    assert_eq!(
        (&first["users"][0]["enabled"], first["users"].as_array().map(Vec::len)),
        (&json!(false), Some(1))
    );
    assert!(first["next_cursor"].is_string(), "{first}");

    for (user, status) in
        [("", 400), (" ada", 400), ("a\nb", 400), ("usr_00000000000000000000000000", 404)]
    {
        daemon.refused("snap-ins.enable", &json!({ "id": id, "user": user }), status);
    }
    daemon.refused("snap-ins.disable", &json!({ "id": id, "user": "nobody" }), 404);
}

#[test]
fn each_person_has_sources_of_his_own() {
    let daemon = Daemon::start();
    let id = install(&daemon);
    let ada = enable(&daemon, &id, "ada");
    assert_eq!(ada["event_sources"][0]["open"], false, "not before the snap-in is ACTIVE");
    daemon.step("activate", &id, "ACTIVE");
    let bob = enable(&daemon, &id, "bob");
    assert_eq!(bob["event_sources"][0]["open"], true, "{bob}");
    let (adas, bobs) = (path(&ada, "inbox"), path(&bob, "inbox"));
    assert_ne!(adas, bobs);

    for (user, path) in [(&ada, &adas), (&bob, &bobs)] {
        let run = run(&daemon, path, &json!({ "n": 1 }));
        let result = &run["result"];
        assert_eq!(run["user"], user["user"]["id"], "{run}");
        assert_eq!(result["user"], user["user"]["id"], "{run}");
        assert_eq!(result["event_sources"], json!(["hook"]), "only the organization's: {run}");
        assert_eq!(result["inputs"], json!({ "team": "all" }), "{run}");
        let own = &result["own"];
        assert_eq!(own["status"], 200, "{run}");
        let name = user["user"]["name"].as_str().expect("a name");
        assert_eq!(own["body"]["inputs"], json!({ "channel": format!("#{name}"), "limit": 3 }));
        let source = &user["event_sources"][0]["id"];
        assert_eq!(own["body"]["event_sources"], json!({ "inbox": source }), "{run}");
        assert_eq!(own["body"]["keyrings"], json!({}));
        assert!(own["body"]["snap_in_version"].as_str().is_some_and(|it| it.starts_with("ver_")));
    }
    let sources = daemon.list_all("event-sources.list", "event_sources", &json!({ "snap_in": id }));
    let users: Vec<_> = sources.iter().map(|it| it["user"].clone()).collect();
    assert_eq!(users, [json!(null), ada["user"]["id"].clone(), bob["user"]["id"].clone()]);

    // What comes from the organization's source is on nobody's behalf.
    let hook = sources[0]["trigger_url"].as_str().expect("a URL");
    let hook = hook.split_at(hook.find("/hooks/").expect("ours")).1;
    let run_of_all = run(&daemon, hook, &json!({ "user": "eve" }));
    assert_eq!(run_of_all["result"]["user"], json!(null));
    let not_hers = &run_of_all["result"]["own"];
    assert_eq!(
        (&not_hers["status"], &not_hers["body"]["code"]),
        (&json!(404), &json!("not_found"))
    );
    let of_ada = run(&daemon, hook, &json!({ "user": "ada" }));
    assert_eq!(of_ada["result"]["own"]["body"]["inputs"]["channel"], "#ada", "by her name too");

    let disabled = daemon.call("snap-ins.disable", &json!({ "id": id, "user": "ada" }));
    assert_eq!(disabled["snap_in_user"]["event_sources"][0]["open"], false, "{disabled}");
    assert_eq!(send(&daemon, &adas, &json!({ "n": 2 })).status, 404);
    let source = &ada["event_sources"][0]["id"];
    daemon.call("event-sources.resume", &json!({ "id": source }));
    assert_eq!(send(&daemon, &adas, &json!({ "n": 2 })).status, 404, "resuming is not enabling");
    let gone = run(&daemon, hook, &json!({ "user": "ada" }));
    assert_eq!(gone["result"]["own"]["status"], 404, "{gone}");
    run(&daemon, &bobs, &json!({ "n": 3 }));

    let again = daemon.call("snap-ins.enable", &json!({ "id": id, "user": "ada" }));
    assert_eq!(path(&again["snap_in_user"], "inbox"), adas, "the same URL again");
    assert_eq!(again["snap_in_user"]["inputs"][0]["value"], "#ada", "and the same values");
    run(&daemon, &adas, &json!({ "n": 4 }));

    daemon.kill_dash_nine();
    daemon.restart();
    let after = run(&daemon, &adas, &json!({ "n": 5 }));
    assert_eq!(after["result"]["user"], ada["user"]["id"]);

    daemon.step("deactivate", &id, "INACTIVE");
    assert_eq!(send(&daemon, &adas, &json!({ "n": 6 })).status, 404);
    daemon.step("delete", &id, "DELETED");
    assert_eq!(send(&daemon, &bobs, &json!({ "n": 7 })).status, 404);
    let whose = json!({ "id": id, "user": "ada" });
    daemon.refused("snap-ins.resources", &whose, 404);
    daemon.refused("snap-ins.enable", &whose, 409);
}

#[test]
fn another_version_brings_its_sources_to_everybody() {
    let daemon = Daemon::start();
    let id = install(&daemon);
    daemon.step("activate", &id, "ACTIVE");
    let ada = enable(&daemon, &id, "ada");
    let bob = enable(&daemon, &id, "bob");
    daemon.call("snap-ins.disable", &json!({ "id": id, "user": "bob" }));
    let (adas, bobs) = (path(&ada, "inbox"), path(&bob, "inbox"));

    let second = version_of(&daemon, &["inbox", "outbox"]);
    let plan = daemon.call("snap-ins.plan-upgrade", &json!({ "id": id, "version": second }));
    let lines: Vec<_> = plan["lines"].as_array().into_iter().flatten().collect();
    assert_eq!(
        lines,
        [
            "+ user event source `outbox` (flow-custom-webhook): opens for every user who has enabled the snap-in"
        ]
    );
    let upgrade = json!({ "id": id, "version": second, "wait_seconds": 30 });
    assert_eq!(daemon.call("snap-ins.upgrade", &upgrade)["snap_in"]["state"], "ACTIVE");
    let now = daemon.call("snap-ins.get-user", &json!({ "id": id, "user": "ada" }));
    let now = &now["snap_in_user"];
    assert_eq!(path(now, "inbox"), adas, "{now}");
    run(&daemon, &adas, &json!({ "n": 1 }));
    let outbox = path(now, "outbox");
    let response = send(&daemon, &outbox, &json!({ "n": 2 }));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(send(&daemon, &bobs, &json!({ "n": 3 })).status, 404, "he has disabled it");

    let rollback = json!({ "id": id, "wait_seconds": 30 });
    assert_eq!(daemon.call("snap-ins.rollback", &rollback)["snap_in"]["state"], "ACTIVE");
    assert_eq!(send(&daemon, &outbox, &json!({ "n": 4 })).status, 404);
    run(&daemon, &adas, &json!({ "n": 5 }));
    let upgrade = json!({ "id": id, "version": second, "wait_seconds": 30 });
    daemon.call("snap-ins.upgrade", &upgrade);
    assert_eq!(send(&daemon, &outbox, &json!({ "n": 6 })).status, 200, "the same URL again");
}

#[test]
fn secrets_of_a_person_reach_functions_and_nobody_else() {
    const PLANTED: &str = "planted-of-ada-5f1c";
    let daemon = Daemon::start();
    let id = install(&daemon);
    daemon.step("activate", &id, "ACTIVE");
    let ada = enable(&daemon, &id, "ada");
    let bob = enable(&daemon, &id, "bob");
    assert_eq!(ada["keyrings"], json!([{ "name": "own", "state": "missing" }]));

    let of = |user: &str| json!({ "snap_in": id, "name": "own", "user": user });
    let mut set = of("ada");
    set["secret"] = json!(PLANTED);
    let keyring = daemon.call("keyrings.set", &set)["keyring"].clone();
    assert_eq!((&keyring["level"], &keyring["user"]), (&json!("user"), &ada["user"]["id"]));
    let shared = json!({ "snap_in": id, "name": "shared", "user": "ada", "secret": "x" });
    let problem = daemon.refused("keyrings.set", &shared, 400);
    assert_eq!(problem["field"], "user", "{problem}");
    assert_eq!(daemon.call("keyrings.get", &of("bob"))["keyring"]["state"], "missing");
    assert_eq!(daemon.call("keyrings.get", &of("eve"))["keyring"]["state"], "missing");
    let listed = json!({ "snap_in": id, "user": "ada" });
    let listed = daemon.list_all("keyrings.list", "keyrings", &listed);
    let states: Vec<_> = listed.iter().map(|it| (&it["name"], &it["state"])).collect();
    assert_eq!(states, [(&json!("shared"), &json!("missing")), (&json!("own"), &json!("ready"))]);
    let shown = daemon.call("snap-ins.get-user", &json!({ "id": id, "user": "ada" }));
    assert_eq!(shown["snap_in_user"]["keyrings"][0]["state"], "ready", "{shown}");
    assert!(!shown.to_string().contains(PLANTED));

    let ran = run(&daemon, &path(&ada, "inbox"), &json!({ "n": 1 }));
    // The function has it; what it returned of it is masked for whoever looks at the run.
    assert_eq!(ran["result"]["lengths"], json!([PLANTED.len()]), "{ran}");
    let resource = json!({ "id": keyring["id"], "secret": "[secret]", "is_expired": false });
    assert_eq!(ran["result"]["own"]["body"]["keyrings"], json!({ "own": resource }), "{ran}");
    assert_eq!(ran["result"]["keyrings"], json!([]), "it is in no event object: {ran}");
    // The function logged all that it was answered.
    let log = daemon.call("runs.logs", &json!({ "id": ran["id"] })).to_string();
    assert!(log.contains("[secret]") && !log.contains(PLANTED), "{log}");
    assert!(!daemon.log().contains(PLANTED));
    let of_bob = run(&daemon, &path(&bob, "inbox"), &json!({ "n": 2 }));
    assert_eq!(of_bob["result"]["own"]["body"]["keyrings"], json!({}), "{of_bob}");
    let owners = daemon.call("snap-ins.resources", &json!({ "id": id, "user": "ada" }));
    assert_eq!(owners["keyrings"]["own"]["secret"], PLANTED, "who may install code may see it");

    daemon.call("keyrings.delete", &of("ada"));
    let gone = daemon.call("snap-ins.resources", &json!({ "id": id, "user": "ada" }));
    assert_eq!(gone["keyrings"], json!({}));
}

#[test]
fn a_function_enables_nothing_for_anybody() {
    const TRY: &str = "
export const run = async ([event]) => {
  const { devrev_endpoint } = event.execution_metadata;
  const ask = async (call, parameters) => {
    const response = await fetch(`${devrev_endpoint}/${call}`, {
      method: 'POST',
      headers: {
        authorization: event.context.secrets.service_account_token,
        'content-type': 'application/json',
      },
      body: JSON.stringify(parameters),
    });
    return response.status;
  };
  const { id, other } = event.payload;
  return [
    await ask('snap-ins.enable', { id, user: 'ada' }),
    await ask('snap-ins.update-user', { id, user: 'ada', inputs_values: {} }),
    await ask('snap-ins.resources', { id, user: 'ada' }),
    await ask('snap-ins.resources', { id: other, user: 'ada' }),
    await ask('tags.list', {}),
  ];
};";
    let daemon = Daemon::start();
    let own = daemon.install(&Parts::new("one", SIGNED, TRY));
    let other = daemon.install(&Parts::new("two", SIGNED, TRY));
    for id in [&own.id, &other.id] {
        daemon.call("snap-ins.enable", &json!({ "id": id, "user": "ada" }));
    }
    let event = daemon.send_event(&own, &json!({ "id": own.id, "other": other.id }));
    let run = daemon.run_of(&event);
    assert_eq!(run["result"], json!([403, 403, 200, 404, 200]), "{run}");
}
