//! Functions on a server of the author's own (runtime `remote`): every way to call them, hooks that
//! report later, and what such a server can do wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use mortise_tests::client::script;
use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::harness::{Harness, Returned};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const HOOKS: &str = "
inputs:
  organization:
    - name: remembered
      description: What the hooks write.
      field_type: text
      default_value: nothing
hooks:
  - {type: validate, function: hook}
  - {type: activate, function: hook}
  - {type: update, function: hook}
  - {type: deactivate, function: hook}
";

fn parts(name: &str) -> Parts {
    Parts::new(name, SIGNED, "").with_function("hook", "").with_sections(HOOKS)
}

/// Makes a version without an archive, and installs it in DRAFT; answers the snap-in's id and the
/// path of its source.
fn install(daemon: &Daemon, parts: &Parts, url: &str) -> (String, String) {
    daemon.call("packages.create", &json!({ "slug": parts.name }));
    let upload = json!({ "package": parts.name, "manifest": parts.manifest(), "testing_url": url });
    let version = daemon.call("versions.create", &upload);
    let runtime = &version["version"]["runtimes"]["work"];
    assert_eq!(runtime["runtime"], "remote", "{version}");
    assert_eq!(runtime["why"], "there is a testing URL and no archive");
    let parameters = json!({
        "version": version["version"]["id"], "scope": format!("default/default/{}", parts.name),
    });
    let id = daemon.call("snap-ins.create", &parameters)["snap_in"]["id"].clone();
    let sources = daemon.call("event-sources.list", &json!({ "snap_in": id }));
    let trigger = sources["event_sources"][0]["trigger_url"].as_str().unwrap();
    let path = trigger.split_at(trigger.find("/hooks/").unwrap()).1.to_owned();
    (id.as_str().unwrap().to_owned(), path)
}

fn send(daemon: &Daemon, path: &str, payload: &Value) -> String {
    let body = payload.to_string();
    let post = || mortise_tests::daemon::post_signed(&mut daemon.connect(), path, body.as_bytes());
    let response = eventually("the source is open", Duration::from_secs(20), || {
        post().ok().filter(|it| it.status == 200)
    });
    response.json()["events"][0]["id"].as_str().unwrap().to_owned()
}

fn call(daemon: &Daemon, id: &str, payload: Value) -> Value {
    let parameters = json!({ "snap_in": id, "function": "work", "payload": payload });
    daemon.call("functions.call", &parameters)
}

/// Tells events apart by what they ask for.
fn author(event: &Value) -> Returned {
    let payload = &event["payload"];
    match event["execution_metadata"]["event_type"].as_str() {
        Some("hook:snap_in_activate") => {
            Ok(json!({ "status": "active", "inputs_values": { "remembered": "activated" } }))
        }
        Some("hook:snap_in_validate")
            if event["input_data"]["global_values"]["remembered"] == "bad" =>
        {
            Err(json!("the value is bad"))
        }
        Some(kind) if kind.starts_with("hook:") => Ok(json!({})),
        _ => match payload["ask"].as_str() {
            Some("throw") => Err(json!("it went wrong")),
            Some("retry") => Err(json!({ "message": "later", "retry": true })),
            Some("tell") => Err(json!(event["context"]["secrets"]["service_account_token"])),
            _ => Ok(json!({ "got": payload })),
        },
    }
}

fn state(daemon: &Daemon, id: &str) -> Value {
    daemon.call("snap-ins.get", &json!({ "id": id }))["snap_in"].clone()
}

#[test]
fn every_way_to_call_goes_to_the_server() {
    let harness = Harness::start(author);
    let daemon = Daemon::start();
    let (id, path) = install(&daemon, &parts("ways"), &harness.url());
    daemon.step("activate", &id, "ACTIVE");
    let inputs = state(&daemon, &id)["inputs"].to_string();
    assert!(inputs.contains("activated"), "the activate hook wrote its input: {inputs}");

    let called = call(&daemon, &id, json!({ "n": 1.5 }));
    assert_eq!(called["result"], json!({ "got": { "n": 1.5 } }), "{called}");
    let called = call(&daemon, &id, json!({ "ask": "throw" }));
    assert_eq!(called["error"]["message"], "it went wrong", "{called}");
    assert_eq!(called["error"]["kind"], "thrown");
    let called = call(&daemon, &id, json!({ "ask": "retry" }));
    assert_eq!(called["error"]["retry"], true, "{called}");
    assert_eq!(called["error"]["name"], "FunctionExecutionError");
    let called = call(&daemon, &id, json!({ "ask": "tell" }));
    assert_eq!(called["error"]["message"], "[secret]", "the token is masked: {called}");

    let run = daemon.run_of(&send(&daemon, &path, &json!({ "n": 2 })));
    assert_eq!(run["state"], "succeeded", "{run}");
    let requests = run["requests"].as_array().unwrap();
    let [post] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(post["target"], format!("{}/handle/async", harness.url()), "{post}");
    assert_eq!((&post["method"], &post["status"]), (&json!("POST"), &json!(200)), "{post}");
    let logs = daemon.call("runs.logs", &json!({ "id": run["id"] })).to_string();
    assert!(logs.contains("handed over to http://127.0.0.1"), "{logs}");
    let taken = harness.events("/handle/async");
    assert!(taken.iter().any(|it| it["payload"]["n"] == 2), "an array of one event: {taken:?}");

    let update = |value: &str| json!({ "id": id, "inputs_values": { "remembered": value } });
    let refused = daemon.refused("snap-ins.update", &update("bad"), 422);
    assert_eq!(refused["hook"]["message"], "the value is bad", "{refused}");
    daemon.call("snap-ins.update", &update("good"));
    daemon.step("deactivate", &id, "INACTIVE");
    daemon.step("delete", &id, "DELETED");
    let types = harness.event_types();
    for hook in ["validate", "activate", "update", "deactivate"] {
        assert!(types.contains(&format!("hook:snap_in_{hook}")), "{hook}: {types:?}");
    }
    let told = harness.events("/handle/async");
    assert_eq!(told.last().unwrap()["payload"]["is_deletion"], true);
}

const BOUND: &str = "
commands:
  - {name: go, namespace: ways, description: Goes., surfaces: [{surface: discussions}], function: work}
snap_kit_actions:
  - {name: press, description: A button., function: work}
configuration_handler:
  organization: {initializer: work, snap_kit_action_name: press}
operations:
  - {name: Count, slug: count, description: Counts., type: action, function: work}
";

/// Answers in the form that whoever asks wants.
fn bound(event: &Value) -> Returned {
    let payload = &event["payload"];
    if event["execution_metadata"]["operation_slug"] == "count" {
        return Ok(json!({ "output": { "values": [payload["data"]["n"]] } }));
    }
    if payload["command_id"].is_string() {
        return Ok(json!({ "got": payload["parameters"] }));
    }
    let text = match payload["action"]["id"].as_str() {
        Some(pressed) => format!("pressed {pressed}"),
        None => "a page".to_owned(),
    };
    Ok(
        json!({ "snap_kit_body": { "body": { "snaps": [{ "type": "plain_text", "text": text }] } } }),
    )
}

#[test]
fn commands_actions_pages_and_operations_go_there_too() {
    let harness = Harness::start(bound);
    let daemon = Daemon::start();
    let parts = Parts::new("bound", SIGNED, "").with_sections(BOUND);
    let (id, _) = install(&daemon, &parts, &harness.url());
    // Pages are for snap-ins that are being configured, too.
    let page = daemon.call("configuration-pages.render", &json!({ "snap_in": id }));
    let text = |answer: &Value| answer["displayed"]["body"]["snaps"][0]["text"].clone();
    assert_eq!(text(&page), "a page", "{page:#}");
    daemon.step("activate", &id, "ACTIVE");
    let press = json!({
        "id": format!("{id}/snap-kit-actions/press"),
        "actions": [{ "action_id": "here", "value": "pressed" }],
    });
    let pressed = daemon.call("snap-kit-action.execute.deferred", &press);
    assert_eq!(text(&pressed["results"][0]), "pressed here", "{pressed:#}");
    let command = json!({ "namespace": "ways", "name": "go", "parameters": "far" });
    let given = daemon.call("commands.execute", &command);
    assert_eq!(given["result"], json!({ "got": "far" }), "{given:#}");
    let count = json!({ "snap_in": id, "slug": "count", "data": { "n": 7 } });
    let counted = daemon.call("operations.execute", &count);
    assert_eq!(counted["output"]["values"], json!([7]), "{counted:#}");

    let asked = harness.events("/handle/sync");
    let sources: Vec<_> = asked.iter().map(|it| it["context"]["source_id"].clone()).collect();
    let part = |rest: &str| json!(format!("{id}/{rest}"));
    let sources_expected =
        [part("snap-kit-actions/press"), part("commands/ways/go"), part("operations/count")];
    assert_eq!(sources[1..], sources_expected);
    let has_actor = |it: &Value| it["context"]["secrets"]["actor_session_token"].is_string();
    assert_eq!(asked.iter().map(has_actor).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!(asked[3]["execution_metadata"]["operation_slug"], "count");
}

#[test]
fn hooks_that_fail_or_are_silent_end_in_error() {
    let harness = Harness::start(|event| match event["payload"]["is_deletion"].as_bool() {
        None => Err(json!("no")),
        Some(_) => Ok(json!({})),
    });
    let daemon = Daemon::start();
    let parts = Parts::new("fails", SIGNED, "").with("timeout_seconds: 1").with_sections(
        "hooks:\n  - {type: activate, function: work}\n  - {type: deactivate, function: work}\n",
    );
    let (id, _) = install(&daemon, &parts, &harness.url());
    daemon.step("activate", &id, "ERROR");
    let reason = state(&daemon, &id).to_string();
    assert!(
        reason.contains("activate hook failed: it answered with the status `error`"),
        "{reason}"
    );
    harness.report(false);
    daemon.step("activate", &id, "ERROR");
    let reason = state(&daemon, &id).to_string();
    assert!(reason.contains("did not report how it went"), "{reason}");
    let address = harness.address();
    drop(harness);
    daemon.step("activate", &id, "ERROR");
    let reason = state(&daemon, &id).to_string();
    assert!(reason.contains(&format!("nobody answers at http://{address}")), "{reason}");
    assert!(reason.contains("start the server"), "{reason}");
}

#[test]
fn a_kill_while_a_hook_is_awaited_calls_it_again() {
    let harness = Harness::start(author);
    let daemon = Daemon::start();
    let (id, path) = install(&daemon, &parts("killed"), &harness.url());
    harness.report(false);
    daemon.call("snap-ins.activate", &json!({ "id": id }));
    let awaited = || harness.events("/handle/async");
    eventually("the hook is called", Duration::from_secs(20), || {
        (awaited().len() == 1).then_some(())
    });
    assert_eq!(state(&daemon, &id)["state"], "ACTIVATING");
    daemon.kill_dash_nine();
    daemon.restart();
    eventually("the hook is called again", Duration::from_secs(30), || {
        (awaited().len() == 2).then_some(())
    });
    let calls = awaited();
    let run = |at: usize| calls[at]["execution_metadata"]["request_id"].clone();
    assert_eq!(run(0), run(1), "the server can tell that it is the same run");

    // Only what is said of the later call counts.
    let report = |at: usize, status: &str| {
        let token = calls[at]["context"]["secrets"]["service_account_token"].as_str().unwrap();
        let headers = [("authorization", token), ("content-type", "application/json")];
        let body = json!({ "id": id, "status": status }).to_string();
        let path = "/internal/snap-ins.system-update";
        daemon.connect().send("POST", path, &headers, body.as_bytes()).unwrap()
    };
    let early = report(0, "error");
    assert_eq!(early.status, 409, "{}", early.text());
    assert_eq!(state(&daemon, &id)["state"], "ACTIVATING");
    assert_eq!(report(1, "active").status, 200);
    eventually("it is ACTIVE", Duration::from_secs(30), || {
        (state(&daemon, &id)["state"] == "ACTIVE").then_some(())
    });
    for at in [0, 1] {
        let late = report(at, "error");
        assert!(late.status == 409 && late.text().contains("is over"), "{}", late.text());
    }
    assert_eq!(state(&daemon, &id)["state"], "ACTIVE");
    harness.report(true);
    assert_eq!(daemon.run_of(&send(&daemon, &path, &json!({})))["state"], "succeeded");
}

/// Its activate hook writes inputs of several types.
fn writer(name: &str) -> Parts {
    Parts::new(name, SIGNED, "").with_sections(
        "inputs:
  organization:
    - {name: remembered, description: Text., field_type: text, default_value: nothing}
    - {name: limit, description: A number., field_type: int, default_value: 5}
    - {name: level, description: One of two., field_type: enum, allowed_values: [low, high]}
hooks:
  - {type: activate, function: work}
",
    )
}

#[test]
fn a_report_with_wrong_inputs_leaves_room_for_a_right_one() {
    let harness = Harness::start(author);
    let daemon = Daemon::start();
    let (id, _) = install(&daemon, &writer("writer"), &harness.url());
    harness.report(false);
    let activate = |id: &str| {
        let before = harness.events("/handle/async").len();
        daemon.call("snap-ins.activate", &json!({ "id": id }));
        eventually("the hook is called", Duration::from_secs(20), || {
            harness.events("/handle/async").get(before).cloned()
        })
    };
    let report = |event: &Value, status: &str, inputs: Value| {
        let token = event["context"]["secrets"]["service_account_token"].as_str().unwrap();
        let headers = [("authorization", token), ("content-type", "application/json")];
        let id = &event["context"]["snap_in_id"];
        let body = json!({ "id": id, "status": status, "inputs_values": inputs }).to_string();
        let path = "/internal/snap-ins.system-update";
        daemon.connect().send("POST", path, &headers, body.as_bytes()).unwrap()
    };
    let wrong = json!({ "remembered": "half", "limit": "many", "level": "middle", "rememberd": 1 });

    let event = activate(&id);
    let refused = report(&event, "active", wrong.clone());
    assert_eq!(refused.status, 422, "{}", refused.text());
    let refused = refused.json();
    let said = |name: &str| {
        let all = refused["inputs"].as_array().unwrap().iter();
        let found: Vec<_> = all.filter(|it| it["input"] == name).collect();
        let [one] = &found[..] else { panic!("{name}: {refused:#}") };
        (one["message"].as_str().unwrap().to_owned(), one["allowed"].clone())
    };
    assert!(said("limit").0.contains("`int` is wanted, found text"), "{refused:#}");
    assert!(said("level").0.contains("`middle`"), "{refused:#}");
    assert_eq!(said("level").1, json!(["low", "high"]));
    assert!(said("rememberd").0.contains("did you mean `remembered`"), "{refused:#}");
    assert_eq!(refused["inputs"].as_array().unwrap().len(), 3, "{refused:#}");
    let before = state(&daemon, &id);
    assert_eq!(before["state"], "ACTIVATING", "it is awaited still: {before:#}");
    assert!(!before.to_string().contains("half"), "nothing was written: {before:#}");
    let right = json!({ "remembered": "whole", "limit": 6, "level": "high" });
    let taken = report(&event, "active", right.clone());
    assert_eq!(taken.status, 200, "{}", taken.text());
    eventually("it is ACTIVE", Duration::from_secs(30), || {
        (state(&daemon, &id)["state"] == "ACTIVE").then_some(())
    });
    let inputs = state(&daemon, &id)["inputs"].to_string();
    assert!(inputs.contains("whole") && inputs.contains("high"), "{inputs}");
    let again = report(&event, "active", right);
    assert_eq!(again.status, 409, "only one report is taken: {}", again.text());

    // With an error nothing is written, so that nothing is in the way of it.
    daemon.step("deactivate", &id, "INACTIVE");
    let event = activate(&id);
    let failed = report(&event, "error", wrong.clone());
    assert_eq!(failed.status, 200, "{}", failed.text());
    let end = eventually("it is in ERROR", Duration::from_secs(30), || {
        Some(state(&daemon, &id)).filter(|it| it["state"] == "ERROR")
    });
    assert!(!end.to_string().contains("did not report"), "{end:#}");

    // Whoever only looks at the snap-in later sees what was wrong.
    let hasty = writer("hasty").with("timeout_seconds: 5");
    let (id, _) = install(&daemon, &hasty, &harness.url());
    assert_eq!(report(&activate(&id), "active", wrong).status, 422);
    let end = eventually("the time is over", Duration::from_secs(30), || {
        Some(state(&daemon, &id)).filter(|it| it["state"] == "ERROR")
    });
    let end = end.to_string();
    assert!(end.contains("did not report how it went"), "{end}");
    assert!(end.contains("was refused: 3 inputs are wrong") && end.contains("`limit`"), "{end}");
}

#[test]
fn events_wait_for_a_server_that_is_down() {
    let harness = Harness::start(author);
    let address = harness.address();
    let daemon = Daemon::start();
    let parts = Parts::new("down", SIGNED, "");
    let (id, path) = install(&daemon, &parts, &harness.url());
    daemon.step("activate", &id, "ACTIVE");
    drop(harness);
    let event = send(&daemon, &path, &json!({ "n": 1 }));
    let event = daemon.call("events.get", &json!({ "id": event }));
    let run = event["event"]["runs"][0].clone();
    let look = || daemon.call("runs.get", &json!({ "id": run }))["run"].clone();
    let waiting = eventually("the run waits", Duration::from_secs(20), || {
        Some(look()).filter(|it| it["state"] == "retrying")
    });
    assert!(
        waiting.to_string().contains("start the server of the version's testing URL"),
        "{waiting}"
    );
    let called = call(&daemon, &id, json!({}));
    let message = called["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("http://{address}")), "{called}");

    let harness = Harness::start_at(address, author);
    eventually("the run is done", Duration::from_secs(60), || {
        (look()["state"] == "succeeded").then_some(())
    });
    assert_eq!(harness.events("/handle/async")[0]["payload"]["n"], 1);
}

/// A server that answers everything with these bytes.
fn always(answer: String) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 65536];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut head);
        }
    });
    address
}

#[test]
fn what_a_server_can_do_wrong_is_a_failure_that_says_so() {
    let daemon = Daemon::start();
    let answer = |status: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\n{more}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let elsewhere = always(answer("200 OK", "", r#"{"function_result": "stolen"}"#));
    let redirect = format!("Location: http://{elsewhere}/\r\n");
    for (name, answer, kind, message) in [
        ("page", answer("200 OK", "", "<html>hello"), "bad_output", "<html>hello"),
        ("broken", answer("500 Oh", "", "oh no"), "refused", "answered 500; it said: oh no"),
        ("missing", answer("404 No", "", ""), "refused", "POST /handle/sync"),
        ("redirect", answer("307 There", &redirect, ""), "refused", "redirect"),
        ("large", answer("200 OK", "", &"x".repeat(2 << 20)), "output_too_large", "larger than"),
        ("tunnel", answer("502 Bad", "", "tunnel"), "interrupted", "start the server"),
        (
            "cut",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_owned(),
            "interrupted",
            "broke",
        ),
        (
            "unknown",
            answer("200 OK", "", r#"{"error":{"err_type":"FUNCTION_NOT_FOUND","err_msg":"no"}}"#),
            "not_found",
            "FUNCTION_NOT_FOUND",
        ),
    ] {
        let url = format!("http://{}", always(answer));
        let (id, _) = install(&daemon, &Parts::new(name, SIGNED, ""), &url);
        daemon.step("activate", &id, "ACTIVE");
        let called = call(&daemon, &id, json!({}));
        assert_eq!(called["error"]["kind"], kind, "{name}: {called}");
        let said = called["error"]["message"].as_str().unwrap();
        assert!(said.contains(message), "{name}: {called}");
    }
}

#[test]
fn a_snap_in_reports_its_own_errors_and_nothing_else() {
    let harness = Harness::start(author);
    let daemon = Daemon::start();
    let (id, _) = install(&daemon, &parts("own"), &harness.url());
    let (other, _) = install(&daemon, &Parts::new("other", SIGNED, ""), &harness.url());
    daemon.step("activate", &id, "ACTIVE");
    call(&daemon, &id, json!({}));
    let event = harness.events("/handle/sync").last().unwrap().clone();
    let token = event["context"]["secrets"]["service_account_token"].as_str().unwrap();
    let report = |token: &str, path: &str, body: Value| {
        let headers = [("authorization", token), ("content-type", "application/json")];
        let body = body.to_string();
        daemon.connect().send("POST", path, &headers, body.as_bytes()).unwrap()
    };
    let (outside, inside) =
        ("/internal/snap-ins.system-update", "/api/v1/internal/snap-ins.system-update");
    let active = report(token, outside, json!({ "id": id, "status": "active" }));
    assert_eq!(active.status, 409, "{}", active.text());
    assert!(active.text().contains("can report `error`"), "{}", active.text());
    let error = |id: &str| json!({ "id": id, "status": "error", "reason": "no quota" });
    assert_eq!(report(token, inside, error(&other)).status, 403);
    assert_eq!(report(&daemon.token(), inside, error(&id)).status, 403);
    assert_eq!(report("", outside, error(&id)).status, 401);
    assert_eq!(report(token, inside, json!({ "id": id, "status": "odd" })).status, 400);
    let taken = report(token, outside, error(&id));
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(taken.json()["snap_in"]["state"], "ERROR");
    assert!(state(&daemon, &id).to_string().contains("no quota"));
    let again = report(token, inside, error(&id));
    assert_eq!(again.status, 409, "{}", again.text());
}

#[test]
fn a_testing_url_is_checked_and_part_of_what_a_version_is() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "url" }));
    let manifest = Parts::new("url", SIGNED, "").manifest();
    let upload = |url: &str| json!({ "package": "url", "manifest": manifest, "testing_url": url });
    for (url, what) in [
        ("ftp://x", "http:// or https://"),
        ("http://user:planted@x", "user name or password"),
        ("http://x?planted", "query"),
    ] {
        let problem = daemon.refused("versions.create", &upload(url), 400);
        assert_eq!(problem["field"], "testing_url");
        let text = problem.to_string();
        assert!(text.contains(what) && !text.contains("planted"), "{text}");
    }
    let own = format!("http://{}/api/v1", daemon.address());
    assert!(daemon.refused("versions.create", &upload(&own), 400).to_string().contains("itself"));
    let nothing = json!({ "package": "url", "manifest": manifest });
    let problem = daemon.refused("versions.create", &nothing, 422);
    assert!(problem.to_string().contains("or a testing URL"), "{problem}");
    let found = daemon
        .call("versions.validate", &json!({ "manifest": manifest, "testing_url": "http://a" }));
    assert_eq!(
        (&found["valid"], &found["runtimes"]["work"]["runtime"]),
        (&json!(true), &json!("remote"))
    );

    let one = daemon.call("versions.create", &upload("http://localhost:8000"));
    let same = daemon.call("versions.create", &upload("HTTP://LOCALHOST:8000/"));
    let other = daemon.call("versions.create", &upload("http://localhost:8001"));
    assert_eq!(same["existed"], true);
    assert_eq!(one["version"]["id"], same["version"]["id"]);
    assert_ne!(one["version"]["id"], other["version"]["id"]);
    assert_ne!(one["version"]["content_hash"], other["version"]["content_hash"]);
    let get = |token: &str| {
        let id = json!({ "id": one["version"]["id"] });
        daemon.try_call_as(token, "versions.get", &id).unwrap().json()
    };
    assert_eq!(get(&daemon.token())["testing_url"], "http://localhost:8000");
    let limited = daemon.call("tokens.create", &json!({ "name": "part", "scope": "a" }));
    assert!(get(limited["token"].as_str().unwrap())["testing_url"].is_null());
}

#[test]
fn the_client_makes_and_installs_what_has_only_a_testing_url() {
    let harness = Harness::start(author);
    let daemon = Daemon::start();
    let file = daemon.directory().join("manifest.yaml");
    std::fs::write(&file, parts("alone").manifest()).unwrap();
    let (file, url) = (file.display().to_string(), harness.url());
    let run = |arguments: &[&str]| {
        let done = script(&daemon, arguments, "");
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        done.out
    };
    run(&["version", "validate", &file, "--testing-url", &url]);
    let create = ["--create-package", "--package", "alone", "--manifest", &file];
    let create = [&["version", "create"], &create[..], &["--testing-url", &url, "--json"]].concat();
    let made: Value = serde_json::from_str(&run(&create)).unwrap();
    let shown = run(&["version", "show", made["version"]["id"].as_str().unwrap()]);
    assert!(shown.contains("there is a testing URL and no archive"), "{shown}");

    let to = "default/default/alone";
    let install = ["--package", "alone", "--manifest", &file, "--testing-url", &url, "--scope", to];
    run(&[&["snap-in", "install"], &install[..]].concat());
    let called = run(&["function", "call", to, "work", r#"{"n": 1}"#]);
    assert!(called.contains(r#"{"got":{"n":1}}"#), "{called}");
    let wrong = ["version", "create", "--package", "alone", "--testing-url", "ftp://x"];
    let refused = script(&daemon, &[&wrong[..], &["--manifest", &file]].concat(), "");
    assert!(refused.code == 1 && refused.err.contains("http:// or https://"), "{refused:?}");
}
