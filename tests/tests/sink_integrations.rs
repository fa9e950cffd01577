//! The sinks that come with the daemon, through the daemon as a process: an integration, a subscription,
//! something that happens, and the message where it belongs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::mail_server::{Encryption, MailServer, Rules};
use mortise_tests::vendor::{Reply, Vendor};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(more: &str) -> Daemon {
    let settings = format!("[egress]\nallow = [\"127.0.0.0/8\", \"localhost\"]\n{more}");
    Daemon::start_with(Options { settings, ..Options::default() })
}

/// An integration that is told of `custom.door`.
#[track_caller]
fn integration(daemon: &Daemon, kind: &str, connection: &Value) -> String {
    let new = json!({
        "type": kind, "name": "ops", "supplied_to_all": true, "connection": connection,
    });
    let made = daemon.call("integrations.create", &new);
    let id = made["integration"]["id"].as_str().expect("an id").to_owned();
    let new = json!({ "integration": id, "trigger": "custom.door" });
    daemon.call("subscriptions.create", &new);
    id
}

fn open_the_door(daemon: &Daemon) {
    let door =
        json!({ "name": "door", "title": "the door is <open>", "data": { "side": "north" } });
    daemon.call("occurrences.publish", &door);
}

#[track_caller]
fn delivered(daemon: &Daemon) -> Value {
    eventually("it is delivered", PATIENCE, || {
        let listed = daemon.call("deliveries.list", &json!({ "state": "delivered" }));
        listed["deliveries"].as_array().and_then(|it| it.first()).cloned()
    })
}

#[test]
fn slack_is_told() {
    let vendor = Vendor::answering(|asked| {
        let reply = match asked.path.as_str() {
            "/auth.test" => json!({ "ok": true, "team": "Acme", "user": "mortise" }),
            "/chat.postMessage" => {
                json!({ "ok": true, "channel": "C024BE91L", "ts": "1503435956.000247" })
            }
            _ => {
                json!({ "ok": true, "channel": { "name": "ops", "is_member": true } })
            }
        };
        Reply::json(200, &reply)
    });
    let daemon = start("");
    let connection = json!({
        "bot_token": "xoxb-planted", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    let id = integration(&daemon, "slack", &connection);
    let tested = daemon.call("integrations.test", &json!({ "id": id }));
    assert_eq!(tested["success"], true, "{tested}");
    assert!(vendor.asked().iter().all(|it| it.path != "/chat.postMessage"), "a test posts nothing");
    open_the_door(&daemon);
    let delivery = delivered(&daemon);
    assert_eq!(delivery["attempts"][0]["message_id"], "C024BE91L/1503435956.000247", "{delivery}");
    let posted = vendor.last();
    assert_eq!(posted.path, "/chat.postMessage");
    assert_eq!(posted.header("authorization"), Some("Bearer xoxb-planted"));
    assert!(posted.body["text"].as_str().is_some_and(|it| it.contains("the door is &lt;open&gt;")));
    let shown = daemon.call("integrations.get-connection", &json!({ "id": id }));
    assert!(!shown.to_string().contains("planted"), "{shown}");
    assert!(shown.to_string().contains("C024BE91L"), "{shown}");
}

#[test]
fn a_channel_that_is_gone_is_seen_by_a_test() {
    let refused = json!({ "ok": false, "error": "invalid_auth" });
    let vendor = Vendor::start(Reply::json(200, &refused));
    let daemon = start("");
    let connection = json!({
        "bot_token": "xoxb-planted", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    let id = integration(&daemon, "slack", &connection);
    let tested = daemon.call("integrations.test", &json!({ "id": id }));
    assert_eq!(tested["success"], false, "{tested}");
    assert!(tested["error"].as_str().is_some_and(|it| it.contains("invalid_auth")), "{tested}");
}

#[test]
fn a_mail_goes_out() {
    let login = Some(("mortise".to_owned(), "planted".to_owned()));
    let rules = Rules { encryption: Encryption::Starttls, login, ..Rules::default() };
    let server = MailServer::start(rules);
    let daemon = start("");
    let connection = json!({
        "host": "localhost", "port": server.port(), "ca_certificates": server.certificate(),
        "username": "mortise", "password": "planted",
        "from": "Mortise <mortise@example.com>", "to": ["ops@example.com"],
    });
    let id = integration(&daemon, "email", &connection);
    let tested = daemon.call("integrations.test", &json!({ "id": id }));
    assert_eq!(tested["success"], true, "{tested}");
    assert!(server.mails().is_empty(), "a test sends nothing");
    open_the_door(&daemon);
    let delivery = delivered(&daemon);
    let mails = server.mails();
    assert!(mails[0].is_encrypted && mails[0].to == ["ops@example.com"]);
    assert!(mails[0].text.contains("the door is <open>"), "{}", mails[0].text);
    let id = delivery["attempts"][0]["message_id"].as_str().expect("it has an id");
    assert!(mails[0].text.contains(&format!("Message-ID: {id}\r\n")), "{delivery}");
}

#[test]
fn a_command_is_run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = directory.path().join("commands.d");
    fs::create_dir(&folder).expect("a folder");
    for path in [directory.path(), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its own");
    }
    let program = folder.join("tell");
    let text = "#!/bin/sh\ncase \"$(cat)\" in *'the door is <open>'*) ;; *) exit 1 ;; esac\n\
                echo '{\"message_id\": \"m-1\"}'\n";
    fs::write(&program, text).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its own");
    let daemon = start(&format!("[integrations]\ncommands_dir = \"{}\"\n", folder.display()));
    integration(&daemon, "command", &json!({ "program": "tell" }));
    open_the_door(&daemon);
    assert_eq!(delivered(&daemon)["attempts"][0]["message_id"], "m-1");
}

#[test]
fn a_service_is_told_over_http() {
    let vendor = Vendor::start(Reply::json(200, &json!({ "id": "n1" })));
    let daemon = start("");
    let connection = json!({ "server_url": vendor.url(), "topic": "ops" });
    integration(&daemon, "ntfy", &connection);
    open_the_door(&daemon);
    assert_eq!(delivered(&daemon)["attempts"][0]["message_id"], "n1");
    assert_eq!(vendor.last().body["topic"], "ops");
}

#[test]
fn what_no_sink_knows_is_refused_and_headers_are_secret() {
    let vendor = Vendor::start(Reply::json(200, &json!({})));
    let daemon = start("");
    let types = daemon.call("integrations.types", &json!({}))["types"].clone();
    for kind in types.as_array().expect("a list") {
        let mut connection = kind["schema"]["examples"][0].clone();
        connection["tokn"] = json!("planted");
        let new = json!({ "type": kind["name"], "name": "ops", "connection": connection });
        let refused = daemon.refused("integrations.create", &new, 422);
        let problem = &refused["problems"][0];
        assert_eq!(problem["path"], "tokn", "{refused}");
        assert!(
            problem["message"].as_str().is_some_and(|it| it.contains("known are")),
            "{refused}"
        );
        assert!(!refused.to_string().contains("planted"), "{refused}");
    }
    let connection = json!({ "url": vendor.url(), "headers": { "X-Api-Key": "planted-key" } });
    let id = integration(&daemon, "http", &connection);
    let shown = daemon.call("integrations.get-connection", &json!({ "id": id }));
    let masked = json!({ "url": vendor.url(), "headers": { "X-Api-Key": "********" } });
    assert_eq!(shown["connection"], masked);
    daemon.call("integrations.update", &json!({ "id": id, "connection": masked, "name": "other" }));
    open_the_door(&daemon);
    delivered(&daemon);
    assert_eq!(vendor.last().header("x-api-key"), Some("planted-key"));
}

#[test]
fn a_service_that_repeats_what_it_is_sent_shows_no_secret() {
    let token = "planted-Wm4kq0Zx7Tn2Vb9Ls5Hd8Gf3Rc6Yp1";
    // At every place around the end of what is kept of an answer, also as base 64.
    let offset = std::sync::atomic::AtomicUsize::new(250);
    let vendor = Vendor::answering(move |asked| {
        let before = offset.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
        let said = asked.header("authorization").unwrap_or_default().replace("Bearer ", "");
        let encoded = "cGxhbnRlZC1XbTRrcTBaeDdUbjJWYjlMczVIZDhHZjNSYzZZcDE=";
        let said = if before.is_multiple_of(2) { said } else { encoded.to_owned() };
        let body = format!("{}{said}{}", ".".repeat(before), "y".repeat(2_000));
        Reply { status: 400, headers: Vec::new(), body }
    });
    let daemon = start("");
    let id = integration(&daemon, "http", &json!({ "url": vendor.url(), "bearer_token": token }));
    for _ in 0..9 {
        open_the_door(&daemon);
        let tested = daemon.call("integrations.test", &json!({ "id": id }));
        let said = tested["error"].as_str().expect("it fails");
        assert!(
            said.contains("...") && !said.contains("plante") && !said.contains("cGxhbnRlZC"),
            "{said}"
        );
    }
    let dead = eventually("all are given up", PATIENCE, || {
        let listed = daemon.call("deliveries.list", &json!({ "state": "dead" }));
        (listed["deliveries"].as_array().map(Vec::len) == Some(9)).then(|| listed.to_string())
    });
    assert!(
        dead.contains("...") && !dead.contains("plante") && !dead.contains("cGxhbnRlZC"),
        "{dead}"
    );
    assert!(!daemon.log().contains("planted"));
}

/// Repeats the path that it is asked for, as servers do that have no such page, and of a header what
/// follows its scheme, also decoded.
fn repeating() -> Vendor {
    Vendor::answering(|asked| {
        let credential = asked.header("authorization").and_then(|it| it.split_once(' '));
        let credential = credential.map(|it| it.1).unwrap_or_default();
        let decoded = STANDARD.decode(credential).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        let password = decoded.split_once(':').map(|it| it.1).unwrap_or_default();
        let segment = asked.path.split('?').next().and_then(|it| it.rsplit('/').next());
        let values: Vec<&str> = asked.path.split(['=', '&']).collect();
        let body = format!(
            "Cannot POST {} ({} {values:?}): {credential} {decoded} {password} {} <end>",
            asked.path,
            segment.unwrap_or_default(),
            asked.header("x-key").unwrap_or_default(),
        );
        let status = if asked.path.contains("listener") { 200 } else { 404 };
        Reply { status, headers: Vec::new(), body }
    })
}

#[test]
fn a_service_that_takes_secrets_apart_shows_none_either() {
    let vendor = repeating();
    let daemon = start("");
    let at = |path: &str| format!("{}{path}", vendor.url());
    let basic = format!("Basic {}", STANDARD.encode("ops:planted-password"));
    let login = json!({ "url": at("/login"), "headers": { "Authorization": basic } });
    let token = json!({ "url": at("/token"), "headers": {
        "Authorization": "Token planted-token", "X-Key": "id-{{trigger}}-planted-key",
    } });
    let connections = [
        ("discord", json!({ "webhook_url": at("/api/webhooks/4711471147114711/planted-Path") })),
        (
            "google-chat",
            json!({
                "webhook_url": at("/v1/spaces/AAAA/messages?key=planted-first&token=planted-second"),
            }),
        ),
        ("http", login),
        ("http", token),
    ];
    let listener = json!({
        "type": "http", "name": "listener", "supplied_to_all": true,
        "connection": { "url": at("/listener") },
    });
    let listener = daemon.call("integrations.create", &listener)["integration"]["id"].clone();
    let degraded = json!({ "integration": listener, "trigger": "integration.degraded" });
    daemon.call("subscriptions.create", &degraded);
    let mut said = Vec::new();
    let mut ids = Vec::new();
    for (number, (kind, connection)) in connections.iter().enumerate() {
        let id = integration(&daemon, kind, connection);
        let renamed = json!({ "id": id, "name": format!("ops-{number}") });
        daemon.call("integrations.update", &renamed);
        let tested = daemon.call("integrations.test", &json!({ "id": id }));
        assert!(tested["error"].as_str().is_some_and(|it| it.contains("Cannot POST")), "{tested}");
        said.push(tested);
        ids.push(id);
    }
    open_the_door(&daemon);
    for id in &ids {
        said.push(eventually("its reason is shown", PATIENCE, || {
            let shown = daemon.call("integrations.get", &json!({ "id": id }));
            let reason = shown["integration"]["reason"].as_str();
            reason.is_some_and(|it| it.contains("Cannot POST")).then_some(shown)
        }));
    }
    let told = eventually("another integration is told of all", PATIENCE, || {
        let asked = vendor.asked();
        let told: Vec<Value> =
            asked.into_iter().filter(|it| it.path == "/listener").map(|it| it.body).collect();
        (told.len() >= ids.len()).then_some(told)
    });
    assert!(told.iter().all(|it| it.to_string().contains("Cannot POST")), "{told:?}");
    said.extend(told);
    said.push(daemon.call("deliveries.list", &json!({})));
    said.push(daemon.call("occurrences.list", &json!({})));
    said.push(daemon.call("audit.list", &json!({})));
    said.push(json!(daemon.log()));
    let encoded = basic.replace("Basic ", "");
    for text in said.iter().map(ToString::to_string) {
        for part in ["planted", "4711471147114711", "/api/webhooks", "messages?key", &encoded] {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }
    // What is no secret stays: where it is, and what happened.
    let tested = said.iter().filter_map(|it| it["error"].as_str());
    let tested: Vec<&str> = tested.collect();
    assert!(tested.iter().all(|it| it.contains("404")), "{tested:?}");
    assert!(tested[2].contains("Cannot POST /login"), "{tested:?}");
}

#[test]
fn messages_about_one_work_are_one_conversation() {
    let vendor = Vendor::start(Reply::json(
        200,
        &json!({ "ok": true, "channel": "C024BE91L", "ts": "1503435956.000247" }),
    ));
    let server = MailServer::start(Rules { encryption: Encryption::Implicit, ..Rules::default() });
    let daemon = start("");
    let slack = json!({
        "bot_token": "xoxb-planted", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    let email = json!({
        "host": "localhost", "port": server.port(), "ca_certificates": server.certificate(),
        "encryption": "implicit", "from": "mortise@example.com", "to": ["ops@example.com"],
    });
    for (kind, connection) in [("slack", &slack), ("email", &email)] {
        let id = integration(&daemon, kind, connection);
        daemon
            .call("subscriptions.create", &json!({ "integration": id, "trigger": "milestone.*" }));
    }
    let mut told = Vec::new();
    for (number, kind) in ["begun", "half", "done"].into_iter().enumerate() {
        let report =
            json!({ "work": "migration", "kind": kind, "message": format!("it is {kind}") });
        daemon.call("milestones.report", &report);
        told = eventually("both are told", PATIENCE, || {
            let mails = server.mails();
            (mails.len() > number && vendor.asked().len() > number).then_some(mails)
        });
    }
    let posted = vendor.asked();
    assert_eq!(posted[0].body["thread_ts"], Value::Null);
    assert!(posted[1..].iter().all(|it| it.body["thread_ts"] == "1503435956.000247"), "{posted:?}");
    let line = |text: &str, name: &str| {
        text.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let first = line(&told[0].text, "Message-ID:");
    assert!(first.starts_with('<') && line(&told[0].text, "In-Reply-To:").is_empty());
    for later in &told[1..] {
        assert_eq!(line(&later.text, "In-Reply-To:"), first, "{}", later.text);
        assert!(later.text.contains("text/plain") && later.text.contains("text/html"));
    }
}

#[test]
fn who_is_asked_to_wait_waits() {
    let vendor = Vendor::start(
        Reply::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("Retry-After", "2"),
    );
    let daemon = start("");
    let connection = json!({
        "bot_token": "xoxb-planted", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    integration(&daemon, "slack", &connection);
    open_the_door(&daemon);
    let waiting = eventually("it is put off", PATIENCE, || {
        let listed = daemon.call("deliveries.list", &json!({ "state": "queued" }));
        let first = listed["deliveries"].as_array().and_then(|it| it.first()).cloned();
        first.filter(|it| it["attempts"][0]["status"].is_string())
    });
    let error = waiting["attempts"][0]["error"].as_str().expect("it says why");
    assert!(error.contains("ratelimited"), "{waiting}");
    vendor.answers(Reply::json(200, &json!({ "ok": true, "channel": "C024BE91L", "ts": "1.2" })));
    assert_eq!(delivered(&daemon)["attempts"].as_array().map(Vec::len), Some(2));
}
