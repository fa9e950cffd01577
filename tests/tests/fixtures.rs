//! The snap-ins of `tests/fixtures/snap-ins` on a real daemon: each is uploaded, installed,
//! configured, activated, run, deactivated and deleted, and what its functions are given is what the
//! contract says.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use mortise_tests::daemon::{Daemon, Options, built, post_signed};
use mortise_tests::fixture::{Fixture, Installation};
use mortise_tests::forge::Forge;
use mortise_tests::http::Response;
use serde_json::{Value, json};

/// How many fixtures go their way at once.
const AT_ONCE: usize = 4;

/// What they all share.
struct Bench {
    daemon: Daemon,
    forge: Forge,
}

/// What is peculiar to one fixture.
struct Plan {
    name: &'static str,
    /// Parameters of `developer-keyrings.set`, but for the package.
    developer: Vec<Value>,
    /// Values of inputs that it is installed with.
    inputs: Value,
    /// Parameters of `keyrings.set`, but for the snap-in.
    keyrings: Vec<Value>,
    /// Between installation and activation.
    draft: fn(&Bench, &Installation),
    /// While it is ACTIVE.
    active: fn(&Bench, &Installation),
}

impl Plan {
    fn new(name: &'static str, active: fn(&Bench, &Installation)) -> Plan {
        Plan {
            name,
            developer: Vec::new(),
            inputs: json!({}),
            keyrings: Vec::new(),
            draft: |_, _| {},
            active,
        }
    }
}

fn plans() -> Vec<Plan> {
    let secret = |name: &str, secret: &str| json!({ "name": name, "secret": secret });
    vec![
        Plan {
            inputs: json!({ "code": "MT-door!" }),
            draft: wrong_inputs,
            ..Plan::new("all-inputs", all_inputs)
        },
        Plan {
            developer: vec![
                json!({ "name": "app", "client_id": "mortise", "client_secret": "app-planted" }),
                secret("signing", "signing-planted"),
            ],
            keyrings: vec![
                secret("plain", "plain-planted"),
                secret("plain-1", "plain-1-planted"),
                secret("plain-2", "plain-2-planted"),
                secret("plain-3", "plain-3-planted"),
                json!({
                    "name": "forge",
                    "type": "forge-token",
                    "fields": { "user": "mason", "token": "forge-planted" },
                }),
            ],
            draft: keyrings_are_missing,
            ..Plan::new("connections", connections)
        },
        Plan::new("every-source", every_source),
        Plan {
            developer: vec![secret("app", "app-planted")],
            inputs: json!({ "channel": "general", "kinds": ["wish", "bug"] }),
            keyrings: vec![secret("discord", "discord-planted")],
            ..Plan::new("first-dialect", first_dialect)
        },
        Plan::new("function-options", function_options),
        Plan { draft: hooks_before, ..Plan::new("lifecycle", lifecycle) },
        Plan::new("objects", objects),
        Plan::new("other-runtimes", other_runtimes),
        Plan {
            keyrings: vec![secret("forge", "forge-planted")],
            ..Plan::new("registered-hook", registered_hook)
        },
        Plan { draft: instructions, ..Plan::new("signed-webhook", signed_webhook) },
        Plan::new("sloppy", sloppy),
        Plan::new("sloppy-first-dialect", sloppy_first_dialect),
        Plan::new("workbench", workbench),
    ]
}

#[test]
fn every_fixture_goes_all_the_way() {
    let forge = Forge::start();
    let settings = format!("[egress]\nallow = [\"{}\"]\n", forge.address());
    let plugins = vec!["mortise-test-stand-ins".to_owned()];
    let options = Options { settings, plugins, ..Options::default() };
    let bench = Bench { daemon: Daemon::start_with(options), forge };
    let plans = plans();
    let fixtures = Fixture::all();
    let names: Vec<_> = fixtures.iter().map(|it| it.name.as_str()).collect();
    let planned: Vec<_> = plans.iter().map(|it| it.name).collect();
    assert_eq!(names, planned, "each folder has a plan here, in the same order");

    let next = AtomicUsize::new(0);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            while let Some(at) =
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|it| *it < plans.len())
            {
                let all = || go_all_the_way(&bench, &fixtures[at], &plans[at]);
                if catch_unwind(AssertUnwindSafe(all)).is_err() {
                    failed.push(plans[at].name.to_owned());
                }
            }
            failed
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|it| it.join().expect("panics are caught")).collect()
    });
    assert!(failed.is_empty(), "these failed, see above: {}", failed.join(", "));
}

/// Without the stand-ins, to see that they are still needed.
#[test]
fn types_without_a_plugin_are_refused_by_name() {
    let daemon = Daemon::start();
    let fixtures = Fixture::all();
    let fixture = fixtures.iter().find(|it| it.name == "every-source").expect("it is there");
    daemon.call("packages.create", &json!({ "slug": fixture.name }));
    let upload = fixture.upload("https://forge.example");
    let problem = daemon.refused("versions.create", &upload, 422);
    let problems = problem["problems"].as_array().expect("a list");
    let errors: Vec<_> = problems.iter().filter(|it| it["severity"] == "error").collect();
    for kind in mortise_test_stand_ins::TYPES {
        let message = format!("unknown source type `{kind}`");
        let of_kind = |it: &&&Value| it["message"].as_str().is_some_and(|it| it.contains(&message));
        let found = errors.iter().find(of_kind);
        let found =
            found.unwrap_or_else(|| panic!("{kind} needs no stand-in any more: {problem:#}"));
        assert!(found["path"].as_str().is_some_and(|it| it.ends_with("].type")), "{found}");
        assert!(found["message"].as_str().is_some_and(|it| it.contains("known are")), "{found}");
    }
    assert_eq!(
        errors.len(),
        1,
        "one for each source without a plugin, and nothing else: {problem:#}"
    );
}

fn go_all_the_way(bench: &Bench, fixture: &Fixture, plan: &Plan) {
    let daemon = &bench.daemon;
    let name = &fixture.name;
    let manifest = fixture.manifest(&bench.forge.url());
    let found = daemon.call("versions.validate", &json!({ "manifest": manifest }));
    assert_eq!(found["valid"], true, "{name}: {found:#}");

    daemon.call("packages.create", &json!({ "slug": name }));
    let mut upload = fixture.upload(&bench.forge.url());
    if plan.name == "other-runtimes" {
        upload["testing_url"] = json!(bench.forge.url());
    }
    let version = daemon.call("versions.create", &upload)["version"].clone();
    let warnings = version["warnings"].as_array().expect("a list");
    let warnings: String =
        warnings.iter().map(|it| format!("{}\n", it.as_str().expect("a text"))).collect();
    let differs = fixture.compare_warnings(&warnings);
    assert!(differs.is_none(), "{}", differs.unwrap_or_default());

    for keyring in &plan.developer {
        let mut parameters = keyring.clone();
        parameters["package"] = json!(name);
        daemon.call("developer-keyrings.set", &parameters);
    }
    let id = version["id"].as_str().expect("an id");
    let installation = Installation::create(daemon, id, &plan.inputs);
    closed_unless_active(bench, &installation);
    (plan.draft)(bench, &installation);
    for keyring in &plan.keyrings {
        let mut parameters = keyring.clone();
        parameters["snap_in"] = json!(installation.id);
        let set = daemon.try_call("keyrings.set", &parameters).expect("the daemon answers");
        assert_eq!(set.json()["keyring"]["state"], "ready", "{name}: {}", set.text());
    }
    daemon.step("activate", &installation.id, "ACTIVE");
    (plan.active)(bench, &installation);
    daemon.step("deactivate", &installation.id, "INACTIVE");
    closed_unless_active(bench, &installation);
    daemon.step("activate", &installation.id, "ACTIVE");
    daemon.step("delete", &installation.id, "DELETED");
    closed_unless_active(bench, &installation);
    daemon.call("versions.delete", &json!({ "id": installation.version }));
    daemon.call("packages.delete", &json!({ "id": name }));
    println!("{name}: went all the way");
}

/// A trigger URL that takes nothing looks like none.
fn closed_unless_active(bench: &Bench, installation: &Installation) {
    for (_, path) in installation.sources.values() {
        assert_eq!(post(bench, path, &json!({})).status, 404);
    }
}

fn post(bench: &Bench, path: &str, body: &Value) -> Response {
    let body = body.to_string();
    post_signed(&mut bench.daemon.connect(), path, body.as_bytes()).expect("the daemon answers")
}

/// The run of the event that a request led to.
#[track_caller]
fn run_of(bench: &Bench, installation: &Installation, source: &str, body: &Value) -> Value {
    let response = post(bench, &installation.sources[source].1, body);
    assert!(matches!(response.status, 200 | 202), "{source}: {}", response.text());
    let filter = json!({ "snap_in": installation.id, "limit": 1 });
    let event = match response.json()["events"][0]["id"].as_str() {
        Some(id) => id.to_owned(),
        // The policy answered for itself.
        None => {
            let newest = bench.daemon.call("events.list", &filter);
            newest["events"][0]["id"].as_str().expect("an event").to_owned()
        }
    };
    bench.daemon.run_of(&event)
}

/// What the function returned.
#[track_caller]
fn result_of(bench: &Bench, installation: &Installation, source: &str, body: &Value) -> Value {
    let run = run_of(bench, installation, source, body);
    assert_eq!(run["state"], "succeeded", "{run:#}");
    run["result"].clone()
}

#[track_caller]
fn call(bench: &Bench, installation: &Installation, function: &str, payload: Value) -> Value {
    let parameters =
        json!({ "snap_in": installation.id, "function": function, "payload": payload });
    let answer = bench.daemon.call("functions.call", &parameters);
    assert_eq!(answer["state"], "succeeded", "{answer:#}");
    answer["result"].clone()
}

fn update(installation: &Installation, values: Value) -> Value {
    json!({ "id": installation.id, "inputs_values": values })
}

/// Values of organization inputs, hidden ones too.
fn inputs(bench: &Bench, installation: &Installation) -> BTreeMap<String, Value> {
    let shown = bench.daemon.call("snap-ins.get", &json!({ "id": installation.id }));
    let inputs = shown["snap_in"]["inputs"].as_array().expect("a list").clone();
    let named = inputs.into_iter().map(|mut it| {
        let name = it["name"].as_str().expect("a name").to_owned();
        (name, it["value"].take())
    });
    named.collect()
}

// signed-webhook

fn instructions(bench: &Bench, installation: &Installation) {
    let (id, path) = &installation.sources["deliveries"];
    let shown = bench.daemon.call("event-sources.get", &json!({ "id": id }));
    let shown = &shown["event_source"];
    let url = shown["trigger_url"].as_str().expect("a URL");
    assert!(url.ends_with(path.as_str()), "{shown}");
    let content = format!(
        "## Deliveries\n\n1. Send POST requests to `{url}`, which is called deliveries.\n2. Sign \
         them with `EnterYourRandomSecretHere`; at most 65536 bytes.\n3. One of \
         [\"blue\",\"green\"], such as blue."
    );
    assert_eq!(shown["setup_instructions"], json!({ "content": content }));
    assert_eq!(shown["config"]["parameters"]["secret"], "********", "{shown}");
    assert_eq!(shown["config"]["parameters"]["limits"], json!({ "bytes": 65536 }));
    assert_eq!(shown["display_name"], Value::Null);

    // As a person reads it.
    let output = Command::new(built("mortise"))
        .args(["source", "get", id, "--url", &format!("http://{}", bench.daemon.address())])
        .env("MORTISE_TOKEN", bench.daemon.token())
        .output()
        .expect("the client can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    for line in content.lines() {
        assert!(text.lines().any(|it| it.trim() == line), "`{line}` is not in\n{text}");
    }
}

fn signed_webhook(bench: &Bench, installation: &Installation) {
    let (id, path) = &installation.sources["deliveries"];
    let unsigned = bench.daemon.connect().send("POST", path, &[], b"{}").expect("an answer");
    assert_eq!((unsigned.status, unsigned.text().as_str()), (401, "Unauthenticated"));

    let body = json!({ "group": "blue", "number": 7, "look_up": "deliveries" });
    let run = run_of(bench, installation, "deliveries", &body);
    assert_eq!((&run["state"], &run["sync_id"]), (&json!("succeeded"), &json!("blue")), "{run:#}");
    let result = &run["result"];
    assert_eq!((&result["events"], &result["payload"]), (&json!(1), &body));
    assert_eq!(result["event_type"], "custom:delivery");
    assert_eq!(result["function_name"], "on_delivery");
    assert_eq!(result["is_by_automation"], true);
    assert_eq!(result["event_sources"], json!({ "deliveries": id }));
    for tag in ["from-webhook", "unsigned request"] {
        assert!(result["tags"][tag]["id"].is_string(), "{result:#}");
    }

    let text = "string";
    let shape = json!({
        "context": {
            "dev_oid": text, "source_id": text, "snap_in_id": text, "snap_in_version_id": text,
            "service_account_id": text, "automation_id": text,
            "secrets": { "service_account_token": text },
        },
        "execution_metadata": {
            "request_id": text, "function_name": text, "event_type": text, "devrev_endpoint": text,
        },
        "input_data": { "global_values": {}, "keyrings": {}, "resources": { "keyrings": {} } },
    });
    assert_eq!(result["shape"], shape, "{result:#}");

    // The snap-in itself has no need to know how it is set up.
    let looked_up = &result["looked_up"]["event_source"];
    assert_eq!(looked_up["id"], id.as_str(), "{result:#}");
    let content = looked_up["setup_instructions"]["content"].as_str().expect("a text");
    assert!(content.contains("Sign them with `********`"), "{content}");
    assert!(!result.to_string().contains("EnterYourRandomSecretHere"), "{result}");

    // It logs all that it was given, the token too.
    let log = bench.daemon.call("runs.logs", &json!({ "id": run["id"] })).to_string();
    assert!(log.contains("service_account_token\\\":\\\"[secret]"), "{log}");
}

// lifecycle

fn hooks_before(bench: &Bench, installation: &Installation) {
    let daemon = &bench.daemon;
    let activate = json!({ "id": installation.id });
    let missing = daemon.refused("snap-ins.activate", &activate, 422);
    assert_eq!(missing["missing"][0]["name"], "limit", "{missing}");
    let low = daemon.refused("snap-ins.update", &update(installation, json!({ "limit": 0 })), 422);
    assert!(low.to_string().contains("must be greater than 0"), "{low}");
    let no = daemon.refused("snap-ins.update", &update(installation, json!({ "limit": 13 })), 422);
    assert!(no.to_string().contains("thirteen is no good limit"), "{no}");
    assert_eq!(inputs(bench, installation)["limit"], Value::Null);

    daemon.call("snap-ins.update", &update(installation, json!({ "limit": 66 })));
    daemon.step("activate", &installation.id, "ERROR");
    let shown = daemon.call("snap-ins.get", &json!({ "id": installation.id }));
    let reason = shown["snap_in"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("cannot be set up"), "{reason}");
    daemon.call("snap-ins.update", &update(installation, json!({ "limit": 10 })));
}

fn lifecycle(bench: &Bench, installation: &Installation) {
    let daemon = &bench.daemon;
    let change = |limit: u32| update(installation, json!({ "limit": limit }));
    let registered = format!("registration of {}", installation.id);
    let seen = result_of(bench, installation, "open-hook", &json!({}));
    let first = "hook:snap_in_activate: activate";
    let expected = json!({ "limit": 10, "registered_as": registered, "history": [first] });
    assert_eq!(seen, expected);

    daemon.call("snap-ins.update", &change(20));
    let refused = daemon.refused("snap-ins.update", &change(88), 422);
    assert!(refused.to_string().contains("cannot follow this change"), "{refused}");
    daemon.call("snap-ins.update", &change(77));
    daemon.step("deactivate", &installation.id, "ERROR");
    let forced = json!({ "id": installation.id, "force": true, "wait_seconds": 30 });
    let forced = daemon.call("snap-ins.deactivate", &forced);
    assert_eq!(forced["snap_in"]["state"], "INACTIVE", "{forced}");
    daemon.call("snap-ins.update", &change(30));
    daemon.step("activate", &installation.id, "ACTIVE");
    let seen = result_of(bench, installation, "open-hook", &json!({}));
    assert_eq!(seen["registered_as"], registered.as_str());
    assert_eq!(
        seen["history"],
        json!([
            first,
            "hook:snap_in_update: update to 20",
            "hook:snap_in_update: update to 77",
            "hook:snap_in_deactivate: deactivate force=true deletion=false",
            first,
        ])
    );
}

// objects

fn objects(bench: &Bench, installation: &Installation) {
    let returned = json!({ "title": "Zen", "room": "cellar" });
    let seen = result_of(bench, installation, "returned", &returned);
    assert_eq!(seen["book"]["display_id"], "BK-1", "{seen}");
    assert_eq!(seen["book"]["state"], "in", "{seen}");
    assert_eq!(seen["book"]["shelf"]["display_id"], "CE-1", "{seen}");
    assert_eq!(seen["book"]["shelf"]["room"], "cellar", "{seen}");
    assert_eq!(seen["book"]["about"], seen["book"]["shelf"]["id"], "{seen}");
    assert_eq!(seen["book"]["about_type"], "shelf", "{seen}");
    assert_eq!(seen["count"], 1, "{seen}");
    assert_eq!(seen["rows"], json!([["BK-1", "in the cellar", "Zen"]]), "{seen}");
}

// workbench

fn workbench(bench: &Bench, installation: &Installation) {
    let path = &installation.sources["intake"].1;
    for (body, status) in [(json!({ "title": "leak" }), 202), (json!({ "name": "x" }), 400)] {
        let answer = post(bench, path, &body);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("x-taken"), (status == 202).then_some("yes"));
    }
    let filed = result_of(bench, installation, "intake", &json!({ "title": "crack" }));
    assert_eq!(filed, "filed crack");
    let command =
        json!({ "parameters": "", "command_id": "status", "surface": "display:discussions" });
    let answer = call(bench, installation, "commands", command);
    assert_eq!(answer["text"], "everything is fine");
    let click = json!({ "action": { "id": "ok", "value": {} } });
    for (payload, text) in [(click, "clicked ok"), (json!({}), "a page")] {
        let page = call(bench, installation, "page", payload);
        assert_eq!(page["snap_kit_body"]["body"]["snaps"][0]["text"], text);
    }
    let of = |slug: &str| {
        let metadata = json!({ "slug": slug, "namespace": "workbench", "type": "action" });
        let data = json!({ "metadata": metadata, "data": { "title": "leak" } });
        call(bench, installation, "operation_handler", data)
    };
    assert_eq!(of("file_report")["output"]["values"][0]["ticket"], "TKT-leak");
    assert_eq!(of("other")["error"]["type"], 1);
    let start = json!({ "event_type": "EXTRACTION_DATA_START" });
    assert_eq!(call(bench, installation, "extract", start.clone())["done"], "extract");
    assert_eq!(call(bench, installation, "load", start)["of"], "EXTRACTION_DATA_START");
}

// connections

fn keyrings_are_missing(bench: &Bench, installation: &Installation) {
    let answer = bench.daemon.refused("snap-ins.activate", &json!({ "id": installation.id }), 422);
    let missing = answer["missing"].as_array().expect("a list");
    let names: Vec<_> = missing.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["plain", "plain-1", "plain-2", "plain-3", "forge"], "{answer}");
}

fn connections(bench: &Bench, installation: &Installation) {
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    // `mason:forge-planted`, as the type's transformation makes it.
    let forge = "bWFzb246Zm9yZ2UtcGxhbnRlZA==";
    let expected = BTreeMap::from([
        ("plain", reversed("plain-planted")),
        ("plain-1", reversed("plain-1-planted")),
        ("plain-2", reversed("plain-2-planted")),
        ("plain-3", reversed("plain-3-planted")),
        ("forge", reversed(forge)),
        ("signing", reversed("signing-planted")),
    ]);
    let run = run_of(bench, installation, "hook", &json!({ "expected": expected }));
    let log = bench.daemon.call("runs.logs", &json!({ "id": run["id"] })).to_string();
    assert!(log.contains("[secret]") && !log.contains("planted"), "{log}");
    let names = ["app", "forge", "plain", "plain-1", "plain-2", "plain-3", "signing"];
    let matches = ["forge", "plain", "plain-1", "plain-2", "plain-3", "signing"];
    let result = json!({
        "names": names, "resources": names, "matches": matches, "have_ids": true,
    });
    assert_eq!(run["result"], result, "{run:#}");

    let basic = format!("Basic {forge}");
    let tried = bench.forge.asked("/api/me?verbose=1");
    assert_eq!(tried.first().and_then(|it| it.header("authorization")), Some(basic.as_str()));
    let which = json!({ "snap_in": installation.id, "name": "forge" });
    let keyring = bench.daemon.call("keyrings.get", &which);
    let organization = json!({ "id": "org-1", "name": "Mortar & Co" });
    assert_eq!(keyring["keyring"]["organization"], organization, "{keyring}");

    let enable = json!({ "id": installation.id, "user": "ada" });
    bench.daemon.call("snap-ins.enable", &enable);
    let own = json!({
        "snap_in": installation.id, "name": "own-note", "user": "ada", "secret": "own-planted",
    });
    let set = bench.daemon.try_call("keyrings.set", &own).expect("the daemon answers");
    assert_eq!(set.status, 200, "{}", set.text());
    let expected = json!({ "own-note": reversed("own-planted") });
    let ask = json!({ "user": "ada", "expected": expected });
    let run = run_of(bench, installation, "hook", &ask);
    assert_eq!(run["result"], json!(["own-note"]), "{run:#}");
    let log = bench.daemon.call("runs.logs", &json!({ "id": run["id"] })).to_string();
    assert!(log.contains("[secret]") && !log.contains("planted"), "{log}");
}

// every-source

fn every_source(bench: &Bench, installation: &Installation) {
    for (source, event_type) in [
        ("every-ten-minutes", "timer.tick"),
        ("hourly", "timer.tick"),
        ("mails", "email.receive"),
        ("later", "custom:wake-up"),
        ("works", "work_updated"),
        ("news", "poll.item"),
    ] {
        let payload = json!({ "from": source });
        let id = &installation.sources[source].0;
        let event = json!({ "id": id, "event_type": event_type, "payload": payload });
        let published = bench.daemon.call("event-sources.publish", &event);
        let run = bench.daemon.run_of(published["events"][0].as_str().expect("an id"));
        let heard = json!({ "heard": event_type, "payload": payload, "user": null });
        assert_eq!(run["result"], heard, "{run:#}");
    }
    let mails = json!({ "id": installation.sources["mails"].0 });
    let mails = bench.daemon.call("event-sources.get", &mails);
    let content = mails["event_source"]["setup_instructions"]["content"].as_str().expect("a text");
    assert!(content.contains("[\"help@example.org\",\"example.com\"]"), "{content}");
    assert!(!installation.sources.contains_key("own-works"), "each user has his own");

    let enable = json!({ "id": installation.id, "user": "ada" });
    let enabled = bench.daemon.call("snap-ins.enable", &enable)["snap_in_user"].clone();
    let (own, user) = (&enabled["event_sources"][0], &enabled["user"]["id"]);
    assert_eq!(own["name"], "own-works", "{enabled}");
    let event = json!({ "id": own["id"], "event_type": "work_updated", "payload": {} });
    let published = bench.daemon.call("event-sources.publish", &event);
    let run = bench.daemon.run_of(published["events"][0].as_str().expect("an id"));
    assert_eq!(run["function"], "on_mine", "{run:#}");
    let heard = json!({ "heard": "work_updated", "payload": {}, "user": user });
    assert_eq!(run["result"], heard, "{run:#}");
}

// function-options

fn function_options(bench: &Bench, installation: &Installation) {
    let send = |kind: &str| run_of(bench, installation, "hook", &json!({ "kind": kind }));
    assert_eq!([send("fresh")["result"].clone(), send("fresh")["result"].clone()], [1, 1]);
    assert_eq!([send("kept")["result"].clone(), send("kept")["result"].clone()], [1, 2]);

    let path = &installation.sources["hook"].1;
    let mut events = Vec::new();
    for number in 0..3 {
        let answer =
            post(bench, path, &json!({ "kind": "ordered", "group": "g", "number": number }));
        events.push(answer.json()["events"][0]["id"].as_str().expect("an event").to_owned());
    }
    let runs: Vec<_> = events.iter().map(|it| bench.daemon.run_of(it)).collect();
    let ends: Vec<_> = runs.iter().map(|it| it["ended_date"].as_str().expect("ended")).collect();
    assert!(ends.is_sorted(), "{ends:?}");

    let run = send("once_more");
    assert_eq!(run["state"], "dead", "{run:#}");
    assert_eq!(run["attempts"].as_array().map(Vec::len), Some(3), "{run:#}");
}

// all-inputs

fn wrong_inputs(bench: &Bench, installation: &Installation) {
    let wrong = json!({
        "title": "NO", "code": "MT-", "note": 1, "labels": 5, "count": 0, "level": 6,
        "ratio": "half", "enabled": "yes", "color": "purple", "part": "don:core:x:devo/0:tag/1",
        "address": [], "limits": "none", "day": "tomorrow", "moment": "now", "of_bools": ["maybe"],
        "of_composites": [1], "of_dates": ["x"], "of_doubles": ["x"], "of_enums": ["a", "d"],
        "of_ids": [3], "of_ints": [0, 1.5], "of_rich_texts": [1], "of_structs": ["x"],
        "of_texts": [{}], "of_timestamps": ["x"], "failed_count": "many", "nickname": "x",
        "colour": "red",
    });
    let problem =
        bench.daemon.refused("snap-ins.update", &update(installation, wrong.clone()), 422);
    let named: Vec<_> = problem["inputs"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["input"].as_str()?.split('[').next())
        .collect();
    for name in wrong.as_object().expect("an object").keys() {
        assert!(named.contains(&name.as_str()), "{name}: {problem:#}");
    }
    assert_eq!(inputs(bench, installation)["title"], "mortise", "nothing of it was stored");
}

fn all_inputs(bench: &Bench, installation: &Installation) {
    let told = result_of(bench, installation, "hook", &json!({}));
    let defaults = json!({
        "title": "mortise", "code": "MT-door!", "note": "**bold**", "labels": ["red", "green"],
        "count": 5, "level": 1, "ratio": 0.5, "enabled": true, "color": "green",
        "address": { "street": "Main", "number": 1 }, "limits": { "low": 1, "high": 2 },
        "anything": [1, { "two": 2 }], "stage": "open", "whatever": 7, "day": "2026-01-31",
        "of_bools": [true, false], "of_composites": [{ "a": 1 }], "of_dates": ["2026-01-31"],
        "of_doubles": [1, 2.5], "of_enums": ["a", "c"], "of_ids": [], "of_ints": [1, 2],
        "of_json": [null, true], "of_rich_texts": ["*"], "of_structs": [{ "b": 2 }],
        "of_texts": ["x", "y"], "of_timestamps": ["2026-01-31T12:00:00Z"], "of_tokens": ["t"],
        "of_uenums": ["u"], "of_unknowns": [1, "z"], "failed_count": 0,
    });
    assert_eq!(told["global_values"], defaults);
    for (name, kind) in [("enabled", "boolean"), ("count", "number"), ("of_ints", "array")] {
        assert_eq!(told["types"][name], kind);
    }

    let changes = json!({
        "title": "tenon", "code": null, "giphy_api_key": "giphy", "count": 99, "level": 5,
        "ratio": 2, "enabled": false, "color": "blue", "part": "don:core:x:devo/0:product/1",
        "address": { "street": "Side" }, "anything": "text", "moment": "2026-02-01T00:00:00+01:00",
        "of_enums": [], "of_ids": ["don:core:x:devo/0:tag/7"], "failed_count": 1,
    });
    bench.daemon.call("snap-ins.update", &update(installation, changes.clone()));
    let told = result_of(bench, installation, "hook", &json!({}));
    let mut expected = defaults;
    for (name, value) in changes.as_object().expect("an object") {
        expected[name] = value.clone();
    }
    expected.as_object_mut().expect("an object").remove("code");
    assert_eq!(told["global_values"], expected);

    let ask = |user: &str| {
        result_of(bench, installation, "hook", &json!({ "user": user }))["own"].clone()
    };
    assert_eq!(ask("ada")["status"], 404, "she has not enabled it");
    let enable =
        |values: Value| json!({ "id": installation.id, "user": "ada", "inputs_values": values });
    let missing = bench.daemon.refused("snap-ins.enable", &enable(json!({ "days": ["mon"] })), 422);
    assert!(missing.to_string().contains("nickname"), "{missing}");
    let wrong = enable(json!({ "nickname": "a", "days": ["sun"] }));
    let wrong = bench.daemon.refused("snap-ins.enable", &wrong, 422);
    assert!(wrong.to_string().contains("days"), "{wrong}");
    bench.daemon.call("snap-ins.enable", &enable(json!({ "nickname": "Ada" })));
    bench.daemon.call("snap-ins.update-user", &enable(json!({ "days": ["tue", "wed"] })));
    let values = json!({ "nickname": "Ada", "notify": false, "days": ["tue", "wed"] });
    assert_eq!(ask("ada"), json!({ "status": 200, "inputs": values, "keyrings": {} }));
    bench.daemon.call("snap-ins.disable", &json!({ "id": installation.id, "user": "ada" }));
    assert_eq!(ask("ada")["status"], 404);
}

// first-dialect

fn first_dialect(bench: &Bench, installation: &Installation) {
    let path = &installation.sources["discord-interactions"].1;
    let ping = post(bench, path, &json!({ "type": 1 }));
    assert_eq!((ping.status, ping.json()), (200, json!({ "type": 1 })));
    let result = result_of(bench, installation, "discord-interactions", &json!({ "type": 2 }));
    let values = json!({
        "kinds": ["wish", "bug"], "kind": "wish", "words": ["hello"], "channel": "general",
    });
    assert_eq!(result, json!({ "global_values": values, "keyrings": ["app", "discord"] }));
    let said = call(bench, installation, "post_message", json!({ "parameters": "hello" }));
    assert_eq!(said, json!({ "said": "hello" }));
    let shown = json!({ "id": installation.sources["discord-interactions"].0 });
    let shown = bench.daemon.call("event-sources.get", &shown)["event_source"].clone();
    assert_eq!(shown["display_name"], "Discord");
    let url = shown["trigger_url"].as_str().expect("a URL");
    let content = shown["setup_instructions"]["content"].as_str().expect("a text");
    assert_eq!(content, format!("Set the interactions endpoint URL to `{url}`.\n"));
}

// registered-hook

fn registered_hook(bench: &Bench, installation: &Installation) {
    let commits = json!({ "commits": [1, 2, 3] });
    for source in ["pushes", "releases"] {
        assert_eq!(result_of(bench, installation, source, &commits), 3);
    }
    let (_, path) = &installation.sources["pushes"];
    let registered = bench.forge.asked("/repos/tools/mortar%20%26%20trowel/hooks");
    let registered = registered.first().expect("it was registered at the activation");
    assert_eq!(registered.method, "POST");
    assert_eq!(registered.header("authorization"), Some("Bearer forge-planted"));
    let url = registered.body["url"].as_str().expect("a URL");
    assert!(url.ends_with(path.as_str()), "{url}");
    assert_eq!(
        bench.forge.asked("/hooks/releases").first().map(|it| it.method.as_str()),
        Some("PUT")
    );
    // What the answer called it is what it is taken back by.
    bench.daemon.step("deactivate", &installation.id, "INACTIVE");
    let taken_back = bench.forge.asked("/repos/tools/mortar%20%26%20trowel/hooks/42");
    assert_eq!(taken_back.first().map(|it| it.method.as_str()), Some("DELETE"));
    bench.daemon.step("activate", &installation.id, "ACTIVE");
}

// sloppy, sloppy-first-dialect

fn sloppy(bench: &Bench, installation: &Installation) {
    let thing = json!({ "type": "thing" });
    let result = result_of(bench, installation, "hook", &thing);
    assert_eq!(result["payload"], thing);
    let values = json!({ "greeting": "hello", "loud": false, "number": "7" });
    assert_eq!(result["global_values"], values);
    assert_eq!(result["event_sources"], json!(["hook", "old-hook"]));
    assert_eq!(result["tags"], json!(["needs review"]));
    // Taken, and nothing listens to it.
    let old = post(bench, &installation.sources["old-hook"].1, &thing);
    let event = json!({ "id": old.json()["events"][0]["id"] });
    assert_eq!(bench.daemon.call("events.get", &event)["event"]["runs"], json!([]));
    assert_eq!(call(bench, installation, "left_over", json!({})), "nobody calls this");
}

fn sloppy_first_dialect(bench: &Bench, installation: &Installation) {
    assert_eq!(result_of(bench, installation, "hook", &json!({})), json!({ "limit": 3 }));
}

fn other_runtimes(bench: &Bench, installation: &Installation) {
    let version = bench.daemon.call("versions.get", &json!({ "id": installation.version }));
    let runtimes = &version["version"]["runtimes"];
    for (function, runtime) in
        [("with-packages", "node"), ("tally", "process"), ("elsewhere", "remote")]
    {
        assert_eq!(runtimes[function]["runtime"], runtime, "{runtimes}");
    }
    let packages = json!({ "for": "packages" });
    let result = result_of(bench, installation, "hook", &packages);
    assert_eq!(result.as_str().map(str::len), Some(64), "a SHA-256: {result}");
    let result = result_of(bench, installation, "hook", &json!({ "for": "tally" }));
    assert!(result["bytes"].as_u64().is_some_and(|it| it > 100), "{result}");
    let run = run_of(bench, installation, "hook", &json!({ "for": "elsewhere" }));
    assert_eq!(run["state"], "succeeded", "{run}");
    let taken = bench.forge.asked("/handle/async");
    let taken = taken.iter().find(|it| it.body[0]["payload"]["for"] == "elsewhere");
    assert!(taken.is_some_and(|it| it.method == "POST"), "the server has the event");
}
