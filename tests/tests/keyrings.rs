//! Keyrings of the running daemon: what can be set, what is shown, and that nothing gives a secret
//! away.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_tests::daemon::{Daemon, Installed, Options, built};
use mortise_tests::http::Response;
use mortise_tests::oauth::{KEY, OauthServer};
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
    // Its type has another name in the next version, and means the same.
    let renamed = PLAIN.replace("[snap_in_secret]", "[snap-in-secret]");
    let renamed = Parts::new("kept", SIGNED, ECHO).with_sections(&renamed);
    let version = daemon.add_version(&renamed);
    daemon.call("snap-ins.upgrade", &json!({ "id": installed.id, "version": version }));
    let third = daemon.call("keyrings.set", &mask)["keyring"].clone();
    assert_eq!((&third["id"], &third["type"]), (&first["id"], &json!("snap-in-secret")));
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

/// Types that are tried at an external system.
fn tried(server: &OauthServer) -> String {
    let url = server.url();
    format!(
        "
keyrings:
  organization:
    - {{name: basic, description: Transformed., types: [basic-key]}}
    - {{name: owned, description: Of an organization., types: [owned-key]}}
    - {{name: either, description: Several., types: [snap_in_secret, basic-key, slack]}}
  user:
    - {{name: mine, description: His own., types: [basic-key]}}
keyring_types:
  - id: basic-key
    name: Basic key
    description: As the platform's first example has it.
    kind: Secret
    is_subdomain: true
    secret_config:
      secret_transform: '.token+\":X\" | @base64'
      fields:
        - {{id: token, name: Token, description: The key}}
      token_verification:
        url: '{url}/key?for=[SUBDOMAIN]'
        method: GET
        headers:
          Authorization: 'Basic [API_KEY]'
  - id: owned-key
    name: Owned key
    description: One that several organizations may have.
    kind: secret
    secret_config:
      fields:
        - {{id: key, name: Key, description: The key}}
      token_verification:
        url: '{url}/key'
        method: GET
        query_params: {{key: '[KEY]', of: '[ORGANIZATION_ID]'}}
    organization_data:
      type: config
      url: '{url}/key'
      method: GET
      headers: {{x-key: '[key]'}}
      response_jq: '.organizations | map({{id: .uid, name: .title}})'
"
    )
}

/// A daemon whose keyrings reach loopback.
fn outgoing() -> Daemon {
    let settings = "[egress]\nallow = [\"127.0.0.1\"]".to_owned();
    Daemon::start_with(Options { settings, ..Options::default() })
}

#[test]
fn a_secret_is_transformed_and_tried_before_it_is_stored() {
    let (daemon, server) = (outgoing(), OauthServer::start());
    let installed = install(&daemon, &tried(&server));
    let set = |more: Value| {
        let mut body = json!({ "snap_in": installed.id, "name": "basic" });
        body.as_object_mut().expect("it is one").extend(more.as_object().cloned().expect("too"));
        body
    };
    let wrong = set(json!({ "fields": { "token": "planted-wrong" }, "subdomain": "acme" }));
    let problem = refused(&daemon, "keyrings.set", &wrong, 422);
    let message = problem["message"].as_str().expect("a message");
    assert!(message.contains("GET at 127.0.0.1") && message.contains("answered 401"), "{message}");
    assert!(message.contains("no such key: ********") && !message.contains("planted"), "{message}");
    assert_eq!(keyring(&daemon, &installed, "basic")["state"], "missing");

    let without = set(json!({ "fields": { "token": KEY } }));
    assert_eq!(refused(&daemon, "keyrings.set", &without, 400)["field"], "subdomain");
    let odd = set(json!({ "fields": { "token": KEY }, "subdomain": "https://acme.example.com" }));
    assert_eq!(refused(&daemon, "keyrings.set", &odd, 400)["field"], "subdomain");

    // One text will do for one field.
    let right = set(json!({ "secret": KEY, "subdomain": "Acme" }));
    let stored = daemon.call("keyrings.set", &right)["keyring"].clone();
    assert_eq!((&stored["verified"], &stored["subdomain"]), (&json!(true), &json!("acme")));
    assert_eq!(stored["fields"], json!({ "token": "********" }));
    // The mask keeps it, and it is tried again; what is not sent again is kept.
    let asked = server.asked().resources;
    daemon.call("keyrings.set", &set(json!({ "fields": { "token": "********" } })));
    assert_eq!(server.asked().resources, asked + 1);
    // It goes nowhere else.
    for elsewhere in [
        set(json!({ "fields": { "token": "********" }, "subdomain": "evil" })),
        set(json!({ "secret": "********", "subdomain": "evil", "skip_verification": true })),
    ] {
        let problem = refused(&daemon, "keyrings.set", &elsewhere, 400);
        assert!(problem.to_string().contains("another place"), "{problem}");
    }
    assert_eq!(server.asked().resources, asked + 1);
    assert_eq!(keyring(&daemon, &installed, "basic")["subdomain"], "acme");

    let skipped = set(json!({ "fields": { "token": "planted-wrong" }, "skip_verification": true }));
    let stored = daemon.call("keyrings.set", &skipped)["keyring"].clone();
    assert_eq!((&stored["state"], &stored["verified"]), (&json!("ready"), &json!(false)));
    let which = json!({ "snap_in": installed.id, "name": "basic" });
    let tried = daemon.call("keyrings.verify", &which);
    assert_eq!(tried["keyring"]["verified"], false, "{tried}");
    let problem = tried["problem"].as_str().expect("the secret is wrong");
    assert!(problem.contains("answered 401") && !problem.contains("planted"), "{problem}");
    daemon.call("keyrings.set", &right);
    let tried = daemon.call("keyrings.verify", &which);
    assert_eq!((&tried["keyring"]["verified"], &tried["problem"]), (&json!(true), &Value::Null));

    drop(server);
    let response = daemon.try_call("keyrings.set", &right).expect("an answer");
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(!daemon.log().contains("planted"), "{}", daemon.log());
}

#[test]
fn the_organization_of_a_secret_is_found_or_picked() {
    let (daemon, server) = (outgoing(), OauthServer::start());
    let installed = install(&daemon, &tried(&server));
    let set = |organization: Value| {
        json!({
            "snap_in": installed.id, "name": "owned", "fields": { "key": KEY },
            "organization": organization,
        })
    };
    let stored = daemon.call("keyrings.set", &set(Value::Null))["keyring"].clone();
    assert_eq!(stored["organization"], json!({ "id": "7", "name": "Acme" }), "{stored}");
    server.behave(|it| {
        it.organizations = json!([{ "uid": "a", "title": "A" }, { "uid": "b", "title": "B" }]);
    });
    let problem = refused(&daemon, "keyrings.set", &set(Value::Null), 400);
    assert_eq!(problem["allowed"], json!(["a", "b"]), "{problem}");
    assert_eq!(problem["organizations"][1]["name"], "B", "{problem}");
    refused(&daemon, "keyrings.set", &set(json!("c")), 400);
    let stored = daemon.call("keyrings.set", &set(json!("B")))["keyring"].clone();
    assert_eq!(stored["organization"]["id"], "b");
    let kept = daemon.call("keyrings.set", &set(Value::Null))["keyring"].clone();
    assert_eq!(kept["organization"]["id"], "b", "the one of before");
    let unasked = json!({
        "snap_in": installed.id, "name": "owned", "secret": "********", "skip_verification": true,
    });
    let kept = daemon.call("keyrings.set", &unasked)["keyring"].clone();
    assert_eq!(kept["organization"]["id"], "b", "its secret is the same");
    server.behave(|it| it.organizations = json!({ "not": "a list" }));
    let problem = refused(&daemon, "keyrings.set", &set(Value::Null), 422);
    assert!(problem["message"].to_string().contains("response_jq"), "{problem}");
    assert!(!problem.to_string().contains("planted"), "{problem}");
}

#[test]
fn the_type_of_a_keyring_is_picked() {
    let (daemon, server) = (outgoing(), OauthServer::start());
    let installed = install(&daemon, &tried(&server));
    let shown = keyring(&daemon, &installed, "either");
    let warnings: Vec<_> = shown["types"]
        .as_array()
        .expect("types")
        .iter()
        .map(|it| !it["warning"].is_null())
        .collect();
    assert_eq!(warnings, [false, false, true], "{shown}");
    let set = |kind: Value| json!({ "snap_in": installed.id, "name": "either", "secret": "planted-1", "type": kind });
    let problem = refused(&daemon, "keyrings.set", &set(Value::Null), 400);
    assert_eq!(problem["allowed"], json!(["snap_in_secret", "basic-key", "slack"]), "{problem}");
    refused(&daemon, "keyrings.set", &set(json!("snap-in-secret")), 400);
    daemon.call("keyrings.set", &set(json!("slack")));
    let kept = daemon.call("keyrings.set", &set(Value::Null))["keyring"].clone();
    assert_eq!(kept["type"], "slack", "the one of before");
    let connect = json!({ "snap_in": installed.id, "name": "either" });
    refused(&daemon, "keyrings.connect", &connect, 400);
}

#[test]
fn people_have_keyrings_of_their_own() {
    let (daemon, server) = (outgoing(), OauthServer::start());
    let installed = install(&daemon, &tried(&server));
    let set = |user: Value, token: &str, name: &str| {
        json!({
            "snap_in": installed.id, "name": name, "user": user, "secret": token,
            "subdomain": "acme", "skip_verification": true,
        })
    };
    daemon.call("keyrings.set", &set(json!("anna"), "planted-anna", "mine"));
    daemon.call("keyrings.set", &set(json!("bert"), "planted-bert", "mine"));
    refused(&daemon, "keyrings.set", &set(json!("anna"), "x", "basic"), 400);
    let mine = json!({ "snap_in": installed.id, "name": "mine" });
    let own = daemon.call("keyrings.get", &mine)["keyring"].clone();
    assert_eq!((&own["state"], &own["level"]), (&json!("missing"), &json!("user")), "{own}");
    let listed = daemon.call("keyrings.list", &json!({ "snap_in": installed.id, "user": "anna" }));
    let of_anna = listed["keyrings"].as_array().expect("a list").last().cloned().expect("hers");
    assert_eq!((&of_anna["name"], &of_anna["state"]), (&json!("mine"), &json!("ready")));

    daemon.call(
        "keyrings.set",
        &json!({
            "snap_in": installed.id, "name": "basic", "secret": KEY, "subdomain": "acme",
        }),
    );
    daemon.call(
        "keyrings.set",
        &json!({
            "snap_in": installed.id, "name": "owned", "secret": KEY,
        }),
    );
    daemon.call(
        "keyrings.set",
        &json!({
            "snap_in": installed.id, "name": "either", "secret": "s", "type": "snap_in_secret",
        }),
    );
    daemon.step("activate", &installed.id, "ACTIVE");
    daemon.call("snap-ins.enable", &json!({ "id": installed.id, "user": "anna" }));
    let resources = json!({ "id": installed.id, "user": "anna" });
    let secret =
        daemon.call("snap-ins.resources", &resources)["keyrings"]["mine"]["secret"].clone();
    let expected = STANDARD.encode("planted-anna:X");
    assert_eq!(secret, json!(expected), "transformed");

    let whose = json!({ "snap_in": installed.id, "name": "mine", "user": "anna" });
    daemon.call("keyrings.delete", &whose);
    assert_eq!(daemon.call("keyrings.get", &whose)["keyring"]["state"], "missing");
    let bert = json!({ "snap_in": installed.id, "name": "mine", "user": "bert" });
    assert_eq!(daemon.call("keyrings.get", &bert)["keyring"]["state"], "ready");
    daemon.step("delete", &installed.id, "DELETED");
    assert_eq!(daemon.call("keyrings.list", &json!({}))["keyrings"], json!([]));
}

#[test]
fn nothing_is_changed_on_the_way_from_one_state_to_another() {
    let daemon = Daemon::start();
    let hooked =
        PLAIN.replace("keyrings:\n", "hooks:\n  - {type: activate, function: slow}\nkeyrings:\n");
    let slow =
        "export const run = async () => { await new Promise((done) => setTimeout(done, 3000)); };";
    let parts = Parts::new("kept", SIGNED, ECHO).with_sections(&hooked).with_function("slow", slow);
    let installed = daemon.install_draft(&parts);
    let set = |name: &str| json!({ "snap_in": installed.id, "name": name, "secret": "{}" });
    daemon.call("keyrings.set", &set("token"));
    let fields = json!({
        "snap_in": installed.id, "name": "fields", "fields": { "user": "u", "password": "p" },
    });
    daemon.call("keyrings.set", &fields);
    daemon.call("snap-ins.activate", &json!({ "id": installed.id }));
    refused(&daemon, "keyrings.set", &set("token"), 409);
    refused(&daemon, "keyrings.set", &set("mine"), 409);
    let which = json!({ "snap_in": installed.id, "name": "token" });
    refused(&daemon, "keyrings.delete", &which, 409);
    let wait = json!({ "id": installed.id, "wait_seconds": 30 });
    assert_eq!(daemon.call("snap-ins.get", &wait)["snap_in"]["state"], "ACTIVE");
    daemon.call("keyrings.set", &set("token"));
}

#[test]
fn a_developer_provides_what_a_version_declares_and_in_its_form() {
    let daemon = Daemon::start();
    let parts = Parts::new("provided", SIGNED, ECHO).with_sections(
        "developer_keyrings:\n  - name: app\n    description: The client.\n    \
         types: [oauth-secret]\n  - name: key\n    description: A key.\n    \
         types: [snap-in-secret]\n",
    );
    let set = |name: &str, rest: Value| {
        let mut body = json!({ "package": "provided", "name": name });
        for (key, value) in rest.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body
    };
    daemon.call("packages.create", &json!({ "slug": "provided" }));
    daemon.call("developer-keyrings.set", &set("early", json!({ "secret": "before a version" })));
    daemon.install_draft(&parts);
    let unknown =
        daemon.refused("developer-keyrings.set", &set("kye", json!({ "secret": "x" })), 404);
    assert!(unknown.to_string().contains("\"key\""), "it lists what is declared: {unknown}");
    daemon.call("developer-keyrings.set", &set("key", json!({ "secret": "plain text" })));
    let client = json!({ "client_id": "id", "client_secret": "a-secret" });
    daemon.call("developer-keyrings.set", &set("app", client));
    let text =
        daemon.refused("developer-keyrings.set", &set("app", json!({ "secret": "oops" })), 400);
    assert!(text.to_string().contains("client_id"), "{text}");
    let kept = daemon.call("developer-keyrings.list", &json!({ "package": "provided" }));
    let types: Vec<_> = kept["developer_keyrings"].as_array().expect("a list").iter().collect();
    assert!(types.iter().any(|it| it["name"] == "app" && it["type"] == "oauth-secret"), "{kept}");
}
