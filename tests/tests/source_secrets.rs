//! Secrets of keyrings in the configs of event sources, on a real daemon: put in when a source opens,
//! replaced when they change, and never shown.

use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed};
use mortise_tests::eventually;
use mortise_tests::snap_in::{ECHO, Parts, SECRET, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

const KEYRINGS: &str = "
keyrings:
  organization:
    - name: hook-secret
      display_name: Secret
      description: Of the other side.
      types: [snap_in_secret]
    - name: spare
      display_name: Spare
      description: Of the other side, from tomorrow on.
      types: [snap_in_secret]
      optional: true
";

/// Prints the secret: what a policy says must be masked.
fn parts(secret: &str) -> Parts {
    let policy = SIGNED.replace("signed {", "signed { print(input.parameters.secret);");
    let parts = Parts::new("guarded", &policy, ECHO).with_sections(KEYRINGS);
    Parts { secret: format!("\"{secret}\""), ..parts }
}

fn set(daemon: &Daemon, installed: &Installed, name: &str, secret: &str) {
    let keyring = json!({ "snap_in": installed.id, "name": name, "secret": secret });
    daemon.call("keyrings.set", &keyring);
}

fn status(daemon: &Daemon, installed: &Installed) -> u16 {
    daemon.send(installed, br#"{"n": 1}"#).status
}

#[test]
fn a_secret_is_put_in_replaced_and_never_shown() {
    let daemon = Daemon::start();
    let installed = daemon.install_draft(&parts("${{ keyrings.hook-secret }}"));
    set(&daemon, &installed, "hook-secret", "not the one");
    daemon.step("activate", &installed.id, "ACTIVE");
    assert_eq!(status(&daemon, &installed), 401);
    set(&daemon, &installed, "hook-secret", SECRET);
    let sent = || (status(&daemon, &installed) == 200).then_some(());
    eventually("the new secret is used", PATIENCE, sent);
    daemon.kill_dash_nine();
    daemon.restart();
    eventually("it is put in again", PATIENCE, sent);
    let source = daemon.call("event-sources.list", &json!({ "snap_in": installed.id }));
    let which = json!({ "id": source["event_sources"][0]["id"] });
    let shown = daemon.call("event-sources.get", &which);
    let config = &shown["event_source"]["config"];
    assert_eq!(config["parameters"]["secret"], "${{ keyrings.hook-secret }}");
    let logs = daemon.call("event-sources.logs", &which).to_string();
    assert!(logs.contains("********"), "the policy prints it: {logs}");
    for text in [shown.to_string(), logs, daemon.log()] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn what_cannot_be_put_in_is_said_where_it_stands() {
    let daemon = Daemon::start();
    let manifest = parts("${{ keyrings.hook-secre }}").manifest();
    let refused = daemon.call("versions.validate", &json!({ "manifest": manifest }));
    assert_eq!(problem(&refused)["path"], "event_sources.organization[0].config.parameters.secret");
    assert!(problem(&refused).to_string().contains("hook-secret"), "the nearest name: {refused}");

    let installed = daemon.install_draft(&parts("${{ keyrings.spare }}"));
    set(&daemon, &installed, "hook-secret", SECRET);
    daemon.call("snap-ins.activate", &json!({ "id": installed.id }));
    let state = eventually("it cannot be activated", PATIENCE, || {
        let shown = daemon.call("snap-ins.get", &json!({ "id": installed.id }));
        (shown["snap_in"]["state"] == "ERROR").then(|| shown["snap_in"].clone())
    });
    assert!(state.to_string().contains("the keyring `spare` has no secret"), "{state}");
    set(&daemon, &installed, "spare", SECRET);
    daemon.step("activate", &installed.id, "ACTIVE");
    assert_eq!(status(&daemon, &installed), 200);
}

fn problem(refused: &Value) -> Value {
    let problems = refused["problems"].as_array().expect("problems");
    let wrong = problems.iter().find(|it| it["severity"] == "error");
    wrong.unwrap_or_else(|| panic!("no error: {refused}")).clone()
}
