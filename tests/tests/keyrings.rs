//! Keyrings of the running daemon: what can be set, what is shown, and that nothing gives a secret
//! away.

use std::io::Write;
use std::process::{Command, Stdio};

use mortise_tests::daemon::{Daemon, Installed, built};
use mortise_tests::http::Response;
use mortise_tests::snap_in::{ECHO, Parts, SIGNED};
use serde_json::{Value, json};

const PLAIN: &str = "
keyrings:
  organization:
    - name: token
      display_name: Token
      description: For the other side.
      types: [snap_in_secret]
    - name: fields
      description: Two of them.
      types: [two-fields]
  user:
    - name: mine
      types: [snap-in-secret]
keyring_types:
  - id: two-fields
    name: Two fields
    description: A user and a password.
    kind: Secret
    secret_config:
      fields:
        - {id: user, name: User, description: Who}
        - {id: password, name: Password, description: Which}
        - {id: note, name: Note, description: Any, is_optional: true}
";

fn install(daemon: &Daemon, sections: &str) -> Installed {
    daemon.install_draft(&Parts::new("kept", SIGNED, ECHO).with_sections(sections))
}

fn refused(daemon: &Daemon, call: &str, parameters: &Value, status: u16) -> Value {
    let response: Response = daemon.try_call(call, parameters).expect("the daemon answers");
    assert_eq!(response.status, status, "{call} {parameters}: {}", response.text());
    response.json()
}

fn keyring(daemon: &Daemon, installed: &Installed, name: &str) -> Value {
    let which = json!({ "snap_in": installed.id, "name": name });
    daemon.call("keyrings.get", &which)["keyring"].clone()
}

/// Runs a command of the client with something on its standard input.
fn client(daemon: &Daemon, words: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(built("mortise"))
        .args(words)
        .arg("--url")
        .arg(format!("http://{}", daemon.address()))
        .env("MORTISE_TOKEN", daemon.token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_secret_is_set_kept_by_its_mask_and_deleted() {
    let daemon = Daemon::start();
    let installed = install(&daemon, PLAIN);
    let missing = keyring(&daemon, &installed, "token");
    assert_eq!((&missing["state"], &missing["id"]), (&json!("missing"), &Value::Null));

    let set = json!({ "snap_in": installed.id, "name": "token", "secret": "planted-1" });
    let first = daemon.call("keyrings.set", &set)["keyring"].clone();
    assert_eq!(first["state"], "ready", "{first}");
    assert_eq!(first["verified"], false, "nothing was there to verify it with");
    let revision = |daemon: &Daemon| {
        daemon.call("snap-ins.get", &json!({ "id": installed.id }))["snap_in"]["revision"].clone()
    };
    let before = revision(&daemon);
    let mask = json!({ "snap_in": installed.id, "name": "token", "secret": first["secret"] });
    let second = daemon.call("keyrings.set", &mask)["keyring"].clone();
    assert_eq!((&second["id"], &second["state"]), (&first["id"], &json!("ready")));
    assert_ne!(revision(&daemon), before, "the configuration has changed");

    let listed = daemon.call("keyrings.list", &json!({ "snap_in": installed.id }));
    let names: Vec<_> = listed["keyrings"].as_array().expect("a list").iter().collect();
    assert_eq!(names.len(), 2, "{listed}");
    let everywhere = daemon.call("keyrings.list", &json!({ "state": "ready" }));
    assert_eq!(everywhere["keyrings"].as_array().map(Vec::len), Some(1), "{everywhere}");

    let which = json!({ "snap_in": installed.id, "name": "token" });
    daemon.call("keyrings.delete", &which);
    assert_eq!(keyring(&daemon, &installed, "token")["state"], "missing");
    refused(&daemon, "keyrings.delete", &which, 404);
    refused(&daemon, "keyrings.set", &mask, 400);
    let unknown = json!({ "snap_in": installed.id, "name": "tokn", "secret": "x" });
    let problem = refused(&daemon, "keyrings.set", &unknown, 404);
    assert_eq!(problem["allowed"], json!(["token", "fields"]), "{problem}");
}

#[test]
fn fields_are_checked_all_at_once_and_changed_one_by_one() {
    let daemon = Daemon::start();
    let installed = install(&daemon, PLAIN);
    let set =
        |fields: Value| json!({ "snap_in": installed.id, "name": "fields", "fields": fields });
    let wrong = set(json!({ "usr": "planted-1", "password": "" }));
    let problem = refused(&daemon, "keyrings.set", &wrong, 400);
    let places: Vec<_> = problem["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|it| it["field"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(places, ["fields.user", "fields.password", "fields.usr"]);
    assert!(!problem.to_string().contains("planted"), "{problem}");

    daemon.call("keyrings.set", &set(json!({ "user": "u", "password": "p", "note": "n" })));
    let shown = keyring(&daemon, &installed, "fields");
    let masks = json!({ "user": "********", "password": "********", "note": "********" });
    assert_eq!(shown["fields"], masks, "{shown}");
    daemon.call("keyrings.set", &set(json!({ "user": "********", "password": "new" })));
    let shown = keyring(&daemon, &installed, "fields");
    assert_eq!(shown["fields"], json!({ "user": "********", "password": "********" }));
    // Whatever is sent in the wrong place is not quoted.
    for body in [
        json!({ "snap_in": installed.id, "name": "fields", "fields": "planted-2" }),
        json!({ "snap_in": installed.id, "name": "fields", "secret": ["planted-2"] }),
        json!({ "snap_in": installed.id, "name": "fields", "secret": "planted-2" }),
        json!({ "snap_in": installed.id, "name": "fields", "fields": { "user": 3 } }),
    ] {
        let problem = refused(&daemon, "keyrings.set", &body, 400);
        assert!(!problem.to_string().contains("planted"), "{problem}");
    }
}

#[test]
fn keyrings_of_developers_belong_to_a_package() {
    let daemon = Daemon::start();
    install(&daemon, PLAIN);
    let client = json!({
        "package": "kept", "name": "oauth", "client_id": "c-1", "client_secret": "planted-1"
    });
    let set = daemon.call("developer-keyrings.set", &client);
    assert_eq!(set["developer_keyring"]["type"], "oauth-secret", "{set}");
    let plain = json!({ "package": "kept", "name": "key", "secret": "planted-2" });
    let set = daemon.call("developer-keyrings.set", &plain);
    assert_eq!(set["developer_keyring"]["type"], "snap_in_secret", "{set}");
    let listed = daemon.call("developer-keyrings.list", &json!({ "package": "kept" }));
    assert_eq!(listed["developer_keyrings"].as_array().map(Vec::len), Some(2), "{listed}");
    assert!(!listed.to_string().contains("planted"), "{listed}");
    let both = json!({ "package": "kept", "name": "key", "secret": "s", "client_id": "c" });
    refused(&daemon, "developer-keyrings.set", &both, 400);
    daemon.call("developer-keyrings.delete", &json!({ "package": "kept", "name": "key" }));
    let nobody = json!({ "package": "nobody", "name": "key", "secret": "s" });
    refused(&daemon, "developer-keyrings.set", &nobody, 404);
}

#[test]
fn the_client_takes_secrets_from_standard_input() {
    let daemon = Daemon::start();
    let installed = install(&daemon, PLAIN);
    let id = installed.id.as_str();
    let (done, said) = client(&daemon, &["keyring", "set", id, "token"], "planted-1\n");
    assert!(done && !said.contains("planted"), "{said}");
    let fields = r#"{"user": "u", "password": "planted-2"}"#;
    let (done, said) = client(&daemon, &["keyring", "set", id, "fields"], fields);
    assert!(done && !said.contains("planted"), "{said}");
    let (done, said) = client(&daemon, &["keyring", "list", id], "");
    assert!(done && said.contains("token") && said.contains("ready"), "{said}");
    let words = ["developer-keyring", "set", "kept", "oauth", "--client-id", "c"];
    let (done, said) = client(&daemon, &words, "planted-3\n");
    assert!(done && !said.contains("planted"), "{said}");
    let (done, said) = client(&daemon, &["keyring", "delete", id, "token"], "");
    assert!(done, "{said}");
    let (done, said) = client(&daemon, &["keyring", "set", id, "nothing"], "planted-4");
    assert!(!done && !said.contains("planted"), "{said}");
}
