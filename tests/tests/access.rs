//! Users, groups, service accounts, their tokens and roles: over the API, on the Unix socket, and on
//! the command line.

use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, Options, built};
use mortise_tests::http::Connection;
use serde_json::{Value, json};

fn token_for(daemon: &Daemon, principal: &str) -> String {
    let made = daemon.call("tokens.create", &json!({ "name": "t", "principal": principal }));
    made["token"].as_str().expect("a token").to_owned()
}

fn status(daemon: &Daemon, token: &str, call: &str, parameters: &Value) -> u16 {
    daemon.try_call_as(token, call, parameters).expect("an answer").status
}

#[test]
fn what_is_granted_and_taken_holds_at_once_and_after_a_restart() {
    let daemon = Daemon::start();
    daemon.call("users.create", &json!({ "name": "ada", "description": "Payments" }));
    daemon.refused("users.create", &json!({ "name": "ada" }), 409);
    daemon.call("principal-groups.create", &json!({ "name": "ops" }));
    let ada = token_for(&daemon, "user:ada");
    let none = json!({});
    assert_eq!(status(&daemon, &ada, "runs.list", &none), 403);
    let who = daemon.try_call_as(&ada, "whoami", &none).expect("an answer").json();
    assert_eq!((&who["name"], &who["principal"]["kind"]), (&json!("user:ada"), &json!("user")));

    let reader = json!({ "principal": "group:ops", "role": "reader" });
    daemon.call("roles.grant", &reader);
    let member = json!({ "id": "ops", "member": "user:ada" });
    daemon.call("principal-groups.add-member", &member);
    assert_eq!(status(&daemon, &ada, "runs.list", &none), 200);
    assert_eq!(status(&daemon, &ada, "packages.create", &json!({ "slug": "x" })), 403);
    daemon.restart();
    assert_eq!(status(&daemon, &ada, "runs.list", &none), 200);
    let shown = daemon.call("users.get", &json!({ "id": "ada" }))["user"].clone();
    assert_eq!((&shown["groups"][0]["name"], &shown["tokens"]), (&json!("ops"), &json!(1)));
    let members = daemon.call("principal-groups.members", &json!({ "id": "ops" }));
    assert_eq!(members["members"][0]["name"], "ada", "{members}");
    daemon.call("principal-groups.remove-member", &member);
    assert_eq!(status(&daemon, &ada, "runs.list", &none), 403);

    let contributor = json!({ "principal": "user:ada", "role": "contributor" });
    daemon.call("roles.grant", &contributor);
    assert_eq!(status(&daemon, &ada, "packages.create", &json!({ "slug": "x" })), 200);
    daemon.call("roles.revoke", &contributor);
    assert_eq!(status(&daemon, &ada, "packages.create", &json!({ "slug": "y" })), 403);
    daemon.call("roles.grant", &contributor);
    daemon.call("users.delete", &json!({ "id": "ada" }));
    assert_eq!(status(&daemon, &ada, "runs.list", &none), 401);
    // Somebody of the same name begins with nothing.
    daemon.call("users.create", &json!({ "name": "ada" }));
    assert_eq!(status(&daemon, &ada, "runs.list", &none), 401);
    let again = token_for(&daemon, "user:ada");
    assert_eq!(status(&daemon, &again, "runs.list", &none), 403);
    let tokens = daemon.call("tokens.list", &json!({ "principal": "user:ada" }));
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(1), "{tokens}");
    assert!(tokens["tokens"][0]["used_date"].is_string(), "{tokens}");
}

#[test]
fn nobody_makes_himself_more_than_he_is() {
    let daemon = Daemon::start();
    for (name, role) in [("mia", "identity-access-manager"), ("rob", "reader"), ("olga", "owner")] {
        daemon.call("users.create", &json!({ "name": name }));
        let principal = format!("user:{name}");
        daemon.call("roles.grant", &json!({ "principal": principal, "role": role }));
    }
    let (mia, rob) = (token_for(&daemon, "user:mia"), token_for(&daemon, "user:rob"));
    let as_mia = |call: &str, parameters: Value| status(&daemon, &mia, call, &parameters);
    assert_eq!(as_mia("users.create", json!({ "name": "new" })), 200);
    let grant = |to: &str, role: &str| json!({ "principal": to, "role": role });
    assert_eq!(as_mia("roles.grant", grant("user:new", "identity-access-manager")), 200);
    for to in ["user:mia", "user:new"] {
        for role in ["owner", "contributor", "reader"] {
            assert_eq!(as_mia("roles.grant", grant(to, role)), 403, "{role} to {to}");
        }
    }
    assert_eq!(as_mia("roles.revoke", grant("user:olga", "owner")), 403);
    assert_eq!(as_mia("users.delete", json!({ "id": "olga" })), 403);
    for principal in ["user:olga", "user:rob", "host"] {
        let token = json!({ "name": "mine", "principal": principal });
        assert_eq!(as_mia("tokens.create", token), 403, "{principal}");
    }
    let delete = json!({ "name": "admin", "principal": "host" });
    assert_eq!(as_mia("tokens.delete", delete), 403);

    // Whoever manages nobody sees nobody, not even that there is somebody.
    let as_rob = |call: &str, parameters: Value| {
        let answer = daemon.try_call_as(&rob, call, &parameters).expect("an answer");
        (answer.status, answer.json())
    };
    assert_eq!(as_rob("users.list", json!({})).0, 403);
    let (_, own) = as_rob("tokens.list", json!({}));
    assert_eq!(own["tokens"].as_array().map(Vec::len), Some(1), "{own}");
    for call in ["tokens.list", "tokens.create", "tokens.delete"] {
        let asked = |whom: &str| {
            let mut parameters = json!({ "principal": whom });
            if call != "tokens.list" {
                parameters["name"] = "t".into();
            }
            let (status, body) = as_rob(call, parameters);
            (status, body["message"].as_str().unwrap_or_default().replace(whom, "X"))
        };
        assert_eq!(asked("user:olga"), asked("user:nobody"), "{call}");
        assert_eq!(asked("user:olga").0, 404, "{call}");
    }
    assert_eq!(as_rob("roles.list", json!({})).0, 403);
    // His own tokens are his to make, of no more power and no longer.
    let (code, made) =
        as_rob("tokens.create", json!({ "name": "day", "expires_in_seconds": 9000 }));
    assert_eq!(code, 200, "{made}");
    let day = made["token"].as_str().expect("a token").to_owned();
    assert_eq!(status(&daemon, &day, "runs.list", &json!({})), 200);
    let longer = json!({ "name": "year", "expires_in_seconds": 90_000 });
    assert_eq!(status(&daemon, &day, "tokens.create", &longer), 400);
    assert_eq!(status(&daemon, &day, "tokens.create", &json!({ "name": "ever" })), 400);
    assert_eq!(as_rob("tokens.delete", json!({ "name": "day" })).0, 200);
    assert_eq!(status(&daemon, &day, "runs.list", &json!({})), 401);

    // Somebody is always left who may do everything, also without a shell on the host.
    daemon.call("tokens.delete", &json!({ "name": "admin" }));
    let mut socket = Connection::unix(&daemon.socket()).expect("it listens");
    let mut as_root = |call: &str, parameters: Value| {
        let body = parameters.to_string();
        let path = format!("/api/v1/{call}");
        socket.send("POST", &path, &[], body.as_bytes()).expect("an answer")
    };
    let last = as_root("users.delete", json!({ "id": "olga" }));
    assert_eq!(last.status, 409, "{}", last.text());
    assert_eq!(as_root("roles.grant", grant("user:rob", "owner")).status, 200);
    assert_eq!(as_root("users.delete", json!({ "id": "olga" })).status, 200);
}

#[test]
fn tokens_are_limited_by_roles() {
    let daemon = Daemon::start();
    daemon.call("service-accounts.create", &json!({ "name": "ci" }));
    let ci = "service-account:ci";
    daemon.call("roles.grant", &json!({ "principal": ci, "role": "contributor" }));
    let made = daemon
        .call("tokens.create", &json!({ "name": "look", "principal": ci, "roles": ["reader"] }));
    let look = made["token"].as_str().expect("a token");
    assert_eq!(status(&daemon, look, "runs.list", &json!({})), 200);
    assert_eq!(status(&daemon, look, "packages.create", &json!({ "slug": "x" })), 403);
    assert_eq!(status(&daemon, look, "tokens.create", &json!({ "name": "y" })), 400);
    let refused = json!({ "name": "z", "principal": ci, "roles": ["king"] });
    let problem = daemon.refused("tokens.create", &refused, 400);
    assert_eq!(problem["field"], "roles", "{problem}");
}

#[test]
fn users_of_the_host_are_whom_the_configuration_says() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        // Nobody else can be somebody else.
        return;
    }
    let settings = "[access]\npeers = [{ uid = 54321, user = \"ada\" }, \
                    { gid = 54399, roles = [\"reader\"] }]\n";
    let options = Options { settings: settings.to_owned(), ..Options::default() };
    let daemon = Daemon::start_with(options);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(daemon.directory(), open).expect("it is ours");
    let program = daemon.directory().join("mortise");
    std::fs::copy(built("mortise"), &program).expect("there is room");
    let socket = daemon.socket();
    let call = |uid: u32, gid: u32, words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("--socket").arg(&socket).args(words).uid(uid).gid(gid).current_dir("/");
        let output = command.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(call(54321, 54321, &["whoami"]).0, Some(1), "there is no ada yet");
    daemon.call("users.create", &json!({ "name": "ada" }));
    let (code, text) = call(54321, 54321, &["--json", "whoami"]);
    assert_eq!(code, Some(0), "{text}");
    let who: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(who["name"], "user:ada", "{who}");
    assert_eq!(call(54321, 54321, &["run", "list"]).0, Some(1));
    daemon.call("roles.grant", &json!({ "principal": "user:ada", "role": "reader" }));
    assert_eq!(call(54321, 54321, &["run", "list"]).0, Some(0));
    assert_eq!(call(54322, 54399, &["run", "list"]).0, Some(0), "by the group");
    assert_eq!(call(54322, 54399, &["package", "create", "x"]).0, Some(1));
    assert_eq!(call(54322, 54322, &["whoami"]).0, Some(1), "nobody");
}

#[test]
fn the_command_line_is_for_people() {
    let daemon = Daemon::start();
    let run = |words: &[&str]| script(&daemon, words, "");
    let done = |words: &[&str]| {
        let done = run(words);
        assert_eq!(done.code, 0, "{words:?}: {}{}", done.out, done.err);
        done.out
    };
    done(&["user", "create", "ada", "--role", "contributor", "--description", "Payments"]);
    done(&["service-account", "create", "deploy"]);
    done(&["group", "create", "ops", "--role", "reader"]);
    let shown = done(&["group", "add", "ops", "ada", "service-account:deploy"]);
    assert!(shown.contains("reader"), "{shown}");
    let members = done(&["group", "members", "ops"]);
    assert!(members.contains("deploy") && members.contains("service_account"), "{members}");
    let users = done(&["user", "list"]);
    assert!(users.contains("ada") && users.contains("contributor") && users.contains("ops"));
    let roles = done(&["role", "list", "--of", "group:ops"]);
    assert!(roles.contains("group:ops") && roles.contains("the host"), "{roles}");
    let token = done(&["token", "create", "laptop", "--for", "ada", "--expires-in", "90d"]);
    assert_eq!(status(&daemon, token.trim(), "runs.list", &json!({})), 200);
    let tokens = done(&["token", "list"]);
    assert!(tokens.contains("laptop") && tokens.contains("the host"), "{tokens}");
    for line in tokens.lines().chain(users.lines()) {
        assert!(!line.contains("mta_"), "{line}");
    }
    done(&["role", "revoke", "contributor", "ada"]);
    let refused = run(&["role", "revoke", "contributor", "ada"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("has not the role"), "{}", refused.err);
    let wrong = run(&["role", "grant", "king", "ada"]);
    assert!(wrong.err.contains("owner, contributor"), "{}", wrong.err);
    done(&["token", "delete", "laptop", "--for", "ada"]);
    done(&["user", "delete", "ada"]);
    assert_eq!(run(&["user", "show", "ada"]).code, 1);

    let log = done(&["audit", "list", "--call", "users."]);
    assert!(log.contains("users.delete") && log.contains("token:admin"), "{log}");
    let verified = done(&["audit", "verify"]);
    let known = verified.lines().last().expect("a line").trim();
    done(&["audit", "verify", "--known", known]);
    let forged = format!("1:{}", "0".repeat(64));
    assert_eq!(run(&["audit", "verify", "--known", &forged]).code, 1);
    let lines = done(&["audit", "export"]);
    assert!(lines.lines().count() > 10, "{lines}");
    let last: Value = serde_json::from_str(lines.lines().last().expect("one")).expect("JSON");
    let hash = known.split_once(':').expect("two parts").1;
    assert_eq!(last["hash"], hash, "{last}");
    let rest = done(&["audit", "export", "--from", "3"]);
    assert_eq!(rest.lines().count(), lines.lines().count() - 2);
}
