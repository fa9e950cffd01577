//! What runs log is seen while they are on: by the API, by `mortise run logs --follow`, and masked.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use mortise_tests::client::command;
use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::files::Held;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Says something, waits for the server, says something else; the first attempt fails.
fn waiting(server: &Held) -> Parts {
    let code = format!(
        "export const run = async ([event]) => {{
  console.warn('before', event.input_data.keyrings.token);
  const said = await (await fetch('http://{}/')).text();
  console.log('after', said);
  if (said === 'no') throw Object.assign(new Error('again'), {{ retry: true }});
}};",
        server.address()
    );
    Parts::new("waiting", SIGNED, &code)
        .with("config: {runtime: {max_retries: 1, min_interval: 3600}}")
        .with_sections(
            "keyrings:\n  organization:\n    - {name: token, types: [snap_in_secret], description: It}\n",
        )
}

fn messages(answer: &Value) -> Vec<String> {
    let lines = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().map(|it| it["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_log_is_seen_while_its_run_is_on() {
    let server = Held::start();
    let settings = format!("[egress]\nallow = [\"{}\"]\n", server.address());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let installed = daemon.install_draft(&waiting(&server));
    let keyring = json!({ "snap_in": installed.id, "name": "token", "secret": "planted-secret" });
    daemon.call("keyrings.set", &keyring);
    daemon.step("activate", &installed.id, "ACTIVE");
    daemon.send_event(&installed, &json!({}));
    let of_snap_in = json!({ "snap_in": installed.id });
    let run = eventually("there is a run", PATIENCE, || {
        daemon.list_all("runs.list", "runs", &of_snap_in).first().map(|it| it["id"].clone())
    });
    let which = json!({ "id": run });
    let seen = |expected: &[&str]| {
        eventually("it has logged", PATIENCE, || {
            let answer = daemon.call("runs.logs", &which);
            (messages(&answer["logs"]) == expected).then_some(answer)
        })
    };

    // Somebody looks while the first attempt waits for its server.
    let answer = seen(&["before [secret]"]);
    assert_eq!(
        (&answer["preliminary"], &answer["state"], &answer["attempts"]),
        (&json!(true), &json!("running"), &json!(1))
    );
    assert!(answer["logs"][0]["at_ms"].as_u64().is_some_and(|it| it > 1_000_000_000_000));
    let got = daemon.call("runs.get", &which)["run"].clone();
    assert_eq!(got["logs_so_far"], answer["logs"], "{got}");

    let id = run.as_str().expect("a text");
    let mut follower = command(&daemon, &["run", "logs", "--follow", id])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut lines = BufReader::new(follower.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
    assert_eq!(next(), "warn  before [secret]");

    // It goes on, and what it said stays until the next attempt begins.
    server.release("no");
    seen(&["before [secret]", "after no"]);
    assert_eq!(next(), "info  after no");
    eventually("it waits for its next attempt", PATIENCE, || {
        (daemon.call("runs.logs", &which)["state"] == "retrying").then_some(())
    });
    seen(&["before [secret]", "after no"]);
    daemon.call("runs.retry", &which);
    seen(&["before [secret]"]);
    assert_eq!(next(), "warn  before [secret]");
    server.release("yes");
    assert_eq!(next(), "info  after yes");
    assert_eq!(next(), "");
    assert!(follower.wait().expect("it is a child").success());

    let answer = seen(&["before [secret]", "after yes"]);
    assert_eq!((&answer["preliminary"], &answer["state"]), (&json!(false), &json!("succeeded")));
    let got = daemon.call("runs.get", &which)["run"].clone();
    assert!(got["logs_so_far"].is_null(), "{got}");
}
