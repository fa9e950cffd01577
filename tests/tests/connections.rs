//! Connections of OAuth2 against a server that behaves as RFC 6749 and 7636 say, and one that does
//! not: granting, renewing, losing and giving up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed, Options, built};
use mortise_tests::eventually;
use mortise_tests::http::{Connection, Response};
use mortise_tests::oauth::{CLIENT_ID, CLIENT_SECRET, OauthServer};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the external system who it is, with its connection.
const ASKER: &str = "
export const run = async (events) => {
  const { keyrings, resources } = events[0].input_data;
  const token = keyrings.connection;
  if (token !== resources.keyrings.connection.secret) throw 'two secrets';
  const answer = await fetch(events[0].payload.url, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status };
};";

/// A daemon whose functions and keyrings reach loopback.
fn daemon() -> Daemon {
    let settings = "[egress]\nallow = [\"127.0.0.1\"]".to_owned();
    Daemon::start_with(Options { settings, ..Options::default() })
}

fn sections(server: &OauthServer, more: &str) -> String {
    let url = server.url();
    format!(
        "
keyrings:
  organization:
    - name: connection
      description: For the other side.
      types: [other-side]
developer_keyrings:
  - name: client
    description: Id and secret.
keyring_types:
  - id: other-side
    name: Other side
    description: By OAuth2.
    kind: Oauth2
    scopes:
      - {{name: read, description: Reads, value: 'things:read'}}
      - {{name: write, description: Writes, value: 'things:write'}}
    scope_delimiter: ' '
    oauth_secret: client
    authorize:
      type: config
      auth_url: '{url}/authorize'
      token_url: '{url}/token'
      grant_type: authorization_code
      auth_query_parameters: {{client_id: '[CLIENT_ID]', scope: '[SCOPES]', response_type: code}}
      token_query_parameters: {{client_id: '[CLIENT_ID]', client_secret: '[CLIENT_SECRET]'}}
    refresh:
      type: config
      url: '{url}/token'
      method: POST
      headers: {{Content-type: application/x-www-form-urlencoded}}
      query_parameters:
        client_id: '[CLIENT_ID]'
        client_secret: '[CLIENT_SECRET]'
        refresh_token: '[REFRESH_TOKEN]'
    revoke:
      type: config
      url: '{url}/revoke'
      method: POST
      headers: {{Content-type: application/x-www-form-urlencoded}}
      query_parameters:
        client_id: '[CLIENT_ID]'
        client_secret: '[CLIENT_SECRET]'
        token: '[ACCESS_TOKEN]'
{more}"
    )
}

/// A snap-in in DRAFT, with the client that its developer provides.
fn install(daemon: &Daemon, server: &OauthServer) -> Installed {
    let parts = Parts::new("asker", SIGNED, ASKER).with_sections(&sections(server, ""));
    let installed = daemon.install_draft(&parts);
    provide_client(daemon);
    installed
}

fn provide_client(daemon: &Daemon) {
    let client = json!({
        "package": "asker", "name": "client",
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    });
    daemon.call("developer-keyrings.set", &client);
}

#[track_caller]
fn assert_active(daemon: &Daemon, installed: &Installed) {
    let shown = daemon.call("snap-ins.get", &json!({ "id": installed.id }))["snap_in"].clone();
    assert_eq!(shown["state"], "ACTIVE", "{shown}");
}

fn which(installed: &Installed) -> Value {
    json!({ "snap_in": installed.id, "name": "connection" })
}

fn keyring(daemon: &Daemon, installed: &Installed) -> Value {
    daemon.call("keyrings.get", &which(installed))["keyring"].clone()
}

fn begin(daemon: &Daemon, installed: &Installed) -> String {
    let begun = daemon.call("keyrings.connect", &which(installed));
    begun["authorize_url"].as_str().expect("a page").to_owned()
}

/// Where somebody is sent from the page of the external system: path and query.
fn granted(server: &OauthServer, page: &str) -> String {
    let sent = server.visit(page);
    assert_eq!(sent.status, 302, "{}", sent.text());
    let location = sent.header("location").expect("he is sent somewhere").to_owned();
    location[location.find("/keyrings").expect("the right place")..].to_owned()
}

fn come_back(daemon: &Daemon, path: &str) -> Response {
    daemon.connect().send("GET", path, &[], b"").expect("the daemon answers")
}

fn connect(daemon: &Daemon, server: &OauthServer, installed: &Installed) -> Value {
    let path = granted(server, &begin(daemon, installed));
    let page = come_back(daemon, &path);
    assert_eq!(page.status, 200, "{}", page.text());
    keyring(daemon, installed)
}

fn try_function(daemon: &Daemon, server: &OauthServer, installed: &Installed) -> Value {
    let payload = json!({ "url": format!("{}/me", server.url()) });
    let call = json!({ "snap_in": installed.id, "function": "work", "payload": payload });
    daemon.try_call("functions.call", &call).expect("the daemon answers").json()
}

#[track_caller]
fn assert_works(daemon: &Daemon, server: &OauthServer, installed: &Installed) {
    let answer = try_function(daemon, server, installed);
    assert_eq!(answer["result"]["status"], 200, "{answer}");
}

fn refused(daemon: &Daemon, call: &str, parameters: &Value) -> Value {
    let response = daemon.try_call(call, parameters).expect("the daemon answers");
    assert!(response.status >= 400, "{call} {parameters}: {}", response.text());
    response.json()
}

/// Nothing that the server gave, and nothing of the client, is in what the daemon wrote.
#[track_caller]
fn assert_nothing_leaked(daemon: &Daemon, server: &OauthServer) {
    let log = daemon.log();
    let database = std::fs::read(daemon.state_dir().join("mortise.redb")).expect("a database");
    let database = String::from_utf8_lossy(&database);
    let mut secrets = server.all_tokens();
    secrets.push(CLIENT_SECRET.to_owned());
    for secret in secrets {
        assert!(!log.contains(&secret), "the log holds {secret}");
        assert!(!database.contains(&secret), "the database holds {secret}");
    }
}

#[test]
fn access_is_granted_used_renewed_on_demand_and_given_up() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    assert_eq!(keyring(&daemon, &installed)["state"], "missing");
    let page = begin(&daemon, &installed);
    assert!(page.contains("code_challenge_method=S256") && page.contains("scope=things%3Aread%20"));
    assert_eq!(keyring(&daemon, &installed)["state"], "pending");
    let path = granted(&server, &page);
    let answer = come_back(&daemon, &path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("default/default/asker"), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'"), "{policy}");

    let ready = keyring(&daemon, &installed);
    assert_eq!(ready["state"], "ready", "{ready}");
    assert_eq!((&ready["verified"], &ready["refreshable"]), (&json!(true), &json!(true)));
    assert_eq!(ready["scopes"], json!(["things:read", "things:write"]));
    daemon.step("activate", &installed.id, "ACTIVE");
    assert_works(&daemon, &server, &installed);
    assert_eq!(server.asked().refreshes, 0, "an hour is left of it");

    let renewed = daemon.call("keyrings.refresh", &which(&installed))["keyring"].clone();
    assert_eq!(server.asked().refreshes, 1);
    assert_ne!(renewed["changed_date"], ready["changed_date"]);
    assert_works(&daemon, &server, &installed);
    daemon.call("keyrings.refresh", &which(&installed));
    assert_works(&daemon, &server, &installed);

    daemon.call("keyrings.revoke", &which(&installed));
    assert_eq!(server.asked().revocations, 1);
    let broken = keyring(&daemon, &installed);
    assert_eq!(broken["state"], "broken", "{broken}");
    let state = daemon.call("snap-ins.get", &json!({ "id": installed.id }));
    assert_eq!(state["snap_in"]["state"], "ERROR", "{state}");
    let log = daemon.log();
    assert!(log.contains("an access token was renewed"), "{log}");
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn a_state_is_good_for_one_return_to_this_daemon() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    let path = granted(&server, &begin(&daemon, &installed));
    let forged = path.replace("state=", "state=x");
    for wrong in [forged.as_str(), "/keyrings.authorize", "/keyrings.authorize?code=1&state="] {
        let answer = come_back(&daemon, wrong);
        assert_eq!(answer.status, 404, "{wrong}: {}", answer.text());
    }
    assert_eq!(come_back(&daemon, &path).status, 200);
    let replayed = come_back(&daemon, &path);
    assert_eq!(replayed.status, 404);
    assert!(replayed.text().contains("connect the keyring again"), "{}", replayed.text());
    assert_eq!(keyring(&daemon, &installed)["state"], "ready", "the replay changed nothing");
    assert_eq!(server.asked().codes, 1, "the code was sent once");

    // The one that was begun last counts.
    let (first, second) = (begin(&daemon, &installed), begin(&daemon, &installed));
    let (first, second) = (granted(&server, &first), granted(&server, &second));
    assert_eq!(come_back(&daemon, &first).status, 404);
    let form = second.split_once('?').expect("a query").1.to_owned();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let path = "/api/v1/keyrings.authorize";
    let mut connection: Connection = daemon.connect();
    let answer = connection.send("POST", path, &headers, form.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn what_is_granted_in_vain_is_given_up() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let parts = Parts::new("asker", SIGNED, ASKER)
        .with_sections(&sections(&server, "hooks:\n  - type: validate\n    function: refuse\n"))
        .with_function("refuse", "export const run = async () => { throw 'not that one' };");
    let installed = daemon.install_draft(&parts);
    provide_client(&daemon);
    let path = granted(&server, &begin(&daemon, &installed));
    let answer = come_back(&daemon, &path);
    assert!(answer.text().contains("not that one"), "{}", answer.text());
    assert_eq!(keyring(&daemon, &installed)["state"], "missing");
    let asked = server.asked();
    assert_eq!((asked.codes, asked.revocations), (1, 1));
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn whoever_comes_back_at_the_wrong_time_may_come_again() {
    const SLOW: &str = "
export const run = async () => { await new Promise((resume) => setTimeout(resume, 3000)); };";
    let (daemon, server) = (daemon(), OauthServer::start());
    let parts = Parts::new("asker", SIGNED, ASKER)
        .with_sections(&sections(&server, "hooks:\n  - type: activate\n    function: slow\n"))
        .with_function("slow", SLOW);
    let installed = daemon.install_draft(&parts);
    provide_client(&daemon);
    connect(&daemon, &server, &installed);
    let path = granted(&server, &begin(&daemon, &installed));
    let begun = daemon.call("snap-ins.activate", &json!({ "id": installed.id }));
    assert_eq!(begun["snap_in"]["state"], "ACTIVATING", "{begun}");
    let answer = come_back(&daemon, &path);
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(server.asked().codes, 1, "the code is still good");
    eventually("it is active", PATIENCE, || {
        let found = daemon.call("snap-ins.get", &json!({ "id": installed.id }));
        (found["snap_in"]["state"] == "ACTIVE").then_some(())
    });
    let answer = come_back(&daemon, &path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.asked().codes, 2);
}

#[test]
fn an_authorization_survives_a_restart() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    let path = granted(&server, &begin(&daemon, &installed));
    daemon.restart();
    assert_eq!(keyring(&daemon, &installed)["state"], "pending");
    let answer = come_back(&daemon, &path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(keyring(&daemon, &installed)["state"], "ready");
}

#[test]
fn what_people_and_servers_refuse_is_shown_and_escaped() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    server.behave(|it| it.denial = Some("access_denied".to_owned()));
    let answer = come_back(&daemon, &granted(&server, &begin(&daemon, &installed)));
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("access_denied &lt;b&gt;not&lt;/b&gt; today"),
        "{}",
        answer.text()
    );
    server.behave(|it| it.denial = None);
    let path = granted(&server, &begin(&daemon, &installed));
    let answer = come_back(&daemon, &format!("{path}&iss=https%3A%2F%2Fevil.example.com"));
    assert!(answer.text().contains("another server"), "{}", answer.text());
    assert_eq!(server.asked().codes, 0, "the code of another server goes nowhere");

    let html = "<html>secret page</html>".to_owned();
    for (status, content_type, body, expected) in [
        (500, "text/plain", "oops".to_owned(), "answered 500: oops"),
        (200, "text/html", html, "without an access token"),
        (401, "application/json", r#"{"error":"invalid_client"}"#.to_owned(), "invalid_client"),
        (302, "text/plain", String::new(), "answered 302"),
    ] {
        server.behave(|it| it.token_answer = Some((status, content_type, body)));
        let answer = come_back(&daemon, &granted(&server, &begin(&daemon, &installed)));
        assert!(answer.status >= 400 && answer.text().contains(expected), "{}", answer.text());
        assert_eq!(keyring(&daemon, &installed)["state"], "missing");
    }
    server.behave(|it| it.token_answer = None);

    daemon.call(
        "developer-keyrings.set",
        &json!({ "package": "asker", "name": "client", "client_id": CLIENT_ID, "client_secret": "no" }),
    );
    let answer = come_back(&daemon, &granted(&server, &begin(&daemon, &installed)));
    assert!(answer.text().contains("invalid_client"), "{}", answer.text());
    daemon.call("developer-keyrings.delete", &json!({ "package": "asker", "name": "client" }));
    let problem = refused(&daemon, "keyrings.connect", &which(&installed));
    assert!(problem["message"].to_string().contains("developer-keyring set"), "{problem}");
    let scope = json!({ "snap_in": installed.id, "name": "connection", "scopes": ["all"] });
    let client = json!({
        "package": "asker", "name": "client",
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    });
    daemon.call("developer-keyrings.set", &client);
    let problem = refused(&daemon, "keyrings.connect", &scope);
    assert_eq!(problem["allowed"], json!(["things:read", "things:write"]), "{problem}");
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn tokens_are_renewed_in_time_and_once_for_all_who_wait() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    server.behave(|it| it.expires_in = Some(2));
    connect(&daemon, &server, &installed);
    server.behave(|it| {
        it.expires_in = Some(3600);
        it.delay = Duration::from_millis(700);
    });
    daemon.step("activate", &installed.id, "ACTIVE");
    // From half of its life on it is due; by then either of those who look renews it.
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    eventually("it is renewed", PATIENCE, || {
                        (server.asked().refreshes > 0).then_some(())
                    });
                    try_function(&daemon, &server, &installed)
                })
            })
            .collect();
        for call in calls {
            let answer = call.join().expect("no panic");
            assert_eq!(answer["result"]["status"], 200, "{answer}");
        }
    });
    assert_eq!(server.asked().refreshes, 1, "one request for all");

    let asked = server.asked().refreshes;
    server.behave(|it| it.delay = Duration::from_secs(3));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| daemon.call("keyrings.refresh", &which(&installed)));
        }
    });
    assert_eq!(server.asked().refreshes - asked, 1, "50 who ask at once");
    // A failure is shared too.
    server.behave(|it| it.token_answer = Some((500, "text/plain", "oops".to_owned())));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| refused(&daemon, "keyrings.refresh", &which(&installed)));
        }
    });
    assert_eq!(server.asked().refreshes - asked, 2, "50 who ask at once");
    server.behave(|it| {
        it.token_answer = None;
        it.delay = Duration::ZERO;
    });
    assert_works(&daemon, &server, &installed);
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn a_lost_connection_stops_its_snap_in_until_it_is_connected_again() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    server.behave(|it| it.expires_in = Some(2));
    connect(&daemon, &server, &installed);
    daemon.step("activate", &installed.id, "ACTIVE");
    server.withdraw();
    let state = || daemon.call("snap-ins.get", &json!({ "id": installed.id }))["snap_in"].clone();
    let stopped = eventually("the snap-in hears of it", PATIENCE, || {
        Some(state()).filter(|it| it["state"] == "ERROR")
    });
    let reason = stopped["reason"].as_str().expect("a reason");
    assert!(reason.contains("`connection`") && reason.contains("invalid_grant"), "{reason}");
    assert!(!reason.contains("planted"), "the server quoted the token: {reason}");
    let broken = keyring(&daemon, &installed);
    assert_eq!(broken["state"], "broken", "{broken}");
    let problem = refused(&daemon, "keyrings.refresh", &which(&installed));
    assert!(!problem.to_string().contains("planted"), "{problem}");
    let asked = server.asked().refreshes;

    server.behave(|it| it.expires_in = Some(3600));
    connect(&daemon, &server, &installed);
    daemon.step("activate", &installed.id, "ACTIVE");
    assert_works(&daemon, &server, &installed);
    assert_eq!(server.asked().refreshes, asked, "what is broken is left alone");
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn a_snap_in_does_without_a_broken_connection_that_is_optional() {
    const OFFLINE: &str = "
export const run = async (events) => ({ names: Object.keys(events[0].input_data.keyrings) });";
    let (daemon, server) = (daemon(), OauthServer::start());
    let described = "description: For the other side.";
    let whole = sections(&server, "");
    let optional = whole.replace(described, &format!("{described}\n      optional: true"));
    assert_ne!(optional, whole);
    let parts = Parts::new("asker", SIGNED, OFFLINE).with_sections(&optional);
    let installed = daemon.install_draft(&parts);
    provide_client(&daemon);
    connect(&daemon, &server, &installed);
    daemon.step("activate", &installed.id, "ACTIVE");
    server.withdraw();
    // It answers when everybody has been told.
    refused(&daemon, "keyrings.refresh", &which(&installed));
    assert_eq!(keyring(&daemon, &installed)["state"], "broken");
    assert_active(&daemon, &installed);
    let answer = try_function(&daemon, &server, &installed);
    assert_eq!(answer["result"]["names"], json!(["client"]), "{answer}");
}

#[test]
fn a_connection_that_a_version_dropped_is_kept_and_left_alone() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    connect(&daemon, &server, &installed);
    let whole = sections(&server, "");
    let (before, after) = whole.split_once("keyrings:").expect("keyrings first");
    let after = after.split_once("developer_keyrings:").expect("those of the developer").1;
    let dropped = format!("{before}developer_keyrings:{after}");
    let parts = Parts::new("asker", SIGNED, "export const run = async () => ({ fine: true });");
    let version = daemon.add_version(&parts.with_sections(&dropped));
    daemon.call("snap-ins.upgrade", &json!({ "id": installed.id, "version": version }));
    daemon.step("activate", &installed.id, "ACTIVE");
    server.withdraw();
    let asked = server.asked().refreshes;
    let problem = refused(&daemon, "keyrings.refresh", &which(&installed));
    assert!(problem.to_string().contains("does not declare it"), "{problem}");
    assert_eq!(server.asked().refreshes, asked, "it is left alone");
    assert_active(&daemon, &installed);
    assert_eq!(keyring(&daemon, &installed)["state"], "ready", "it is there for a way back");
    let answer = try_function(&daemon, &server, &installed);
    assert_eq!(answer["result"]["fine"], true, "{answer}");
}

#[test]
fn a_connection_is_verified_with_its_client_and_stays_broken() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let asked_with_client = format!(
        "    organization_data:
      type: config
      url: '{}/me'
      method: GET
      headers: {{Authorization: 'Bearer [ACCESS_TOKEN]', x-client: '[CLIENT_ID]'}}
      response_jq: '.organizations | map({{id: .uid, name: .title}})'
",
        server.url()
    );
    let parts = Parts::new("asker", SIGNED, ASKER);
    let parts = parts.with_sections(&sections(&server, &asked_with_client));
    let installed = daemon.install_draft(&parts);
    provide_client(&daemon);
    connect(&daemon, &server, &installed);
    let tried = daemon.call("keyrings.verify", &which(&installed));
    assert_eq!((&tried["keyring"]["verified"], &tried["problem"]), (&json!(true), &Value::Null));
    server.withdraw();
    refused(&daemon, "keyrings.refresh", &which(&installed));
    let tried = daemon.call("keyrings.verify", &which(&installed));
    assert_eq!(tried["keyring"]["state"], "broken", "{tried}");
}

#[test]
fn a_server_that_is_down_is_waited_for() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    server.behave(|it| it.expires_in = Some(6));
    connect(&daemon, &server, &installed);
    let connected = tokio::time::Instant::now();
    daemon.step("activate", &installed.id, "ACTIVE");
    server.behave(|it| it.token_answer = Some((503, "text/plain", "later".to_owned())));
    eventually("it is due", PATIENCE, || (server.asked().refreshes > 0).then_some(()));
    if connected.elapsed() < Duration::from_secs(5) {
        assert_works(&daemon, &server, &installed);
    }
    let expired = eventually("it expires", PATIENCE, || {
        let answer = try_function(&daemon, &server, &installed);
        (answer["result"]["status"] != 200).then_some(answer)
    });
    assert!(expired.to_string().contains("cannot be renewed at the moment"), "{expired}");
    // Events that come meanwhile wait; their runs are neither lost nor dead.
    let payload = json!({ "url": format!("{}/me", server.url()) });
    let events: Vec<_> = (0..5).map(|_| daemon.send_event(&installed, &payload)).collect();
    assert!(daemon.log().contains("runs wait for a connection"), "{}", daemon.log());
    // Whether it is asked too often shows in a span of time only: what asks too often gives no sign.
    std::thread::sleep(Duration::from_secs(2));
    let asked = server.asked().refreshes;
    assert!(asked <= 6, "{asked} requests to a server that is down");
    assert_eq!(keyring(&daemon, &installed)["state"], "ready", "it may work later");
    let state = daemon.call("snap-ins.get", &json!({ "id": installed.id }));
    assert_eq!(state["snap_in"]["state"], "ACTIVE");
    server.behave(|it| it.token_answer = None);
    eventually("it is renewed by itself", PATIENCE, || {
        let answer = try_function(&daemon, &server, &installed);
        (answer["result"]["status"] == 200).then_some(())
    });
    for event in events {
        let run = daemon.run_of(&event);
        assert_eq!((&run["state"], &run["result"]["status"]), (&json!("succeeded"), &json!(200)));
        let interrupted = run["attempts"].as_array().map_or(0, Vec::len) - 1;
        assert!(interrupted <= 1, "{run}");
    }
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn a_kill_in_the_middle_of_a_renewal_costs_a_new_authorization_at_most() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    connect(&daemon, &server, &installed);
    for delay in [0, 30, 60, 90] {
        server.behave(|it| it.delay = Duration::from_millis(60));
        let before = server.asked().refreshes;
        std::thread::scope(|scope| {
            scope.spawn(|| daemon.try_call("keyrings.refresh", &which(&installed)));
            eventually("it is asked for", PATIENCE, || {
                (server.asked().refreshes > before).then_some(())
            });
            // Moments before the answer, at it and after it; every one of them has to be fine.
            std::thread::sleep(Duration::from_millis(delay));
            daemon.kill_dash_nine();
        });
        server.behave(|it| it.delay = Duration::ZERO);
        daemon.restart();
        let after = daemon.try_call("keyrings.refresh", &which(&installed)).expect("an answer");
        let shown = keyring(&daemon, &installed);
        match after.status {
            200 => assert_eq!(shown["state"], "ready", "{shown}"),
            _ => {
                assert_eq!(shown["state"], "broken", "{shown}");
                connect(&daemon, &server, &installed);
            }
        }
    }
    daemon.step("activate", &installed.id, "ACTIVE");
    assert_works(&daemon, &server, &installed);
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn a_stop_waits_for_a_renewal() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    server.behave(|it| it.expires_in = Some(4));
    connect(&daemon, &server, &installed);
    server.behave(|it| {
        it.delay = Duration::from_millis(1500);
        it.expires_in = Some(3600);
    });
    eventually("it is due", PATIENCE, || (server.asked().refreshes > 0).then_some(()));
    assert!(daemon.terminate().success());
    server.behave(|it| it.delay = Duration::ZERO);
    daemon.restart();
    daemon.call("keyrings.refresh", &which(&installed));
    assert_eq!(server.asked().refreshes, 2, "the tokens of before the stop were stored");
    assert_eq!(keyring(&daemon, &installed)["state"], "ready");
}

#[test]
fn servers_answer_in_several_ways() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    server.behave(|it| {
        it.answers_with_a_form = true;
        it.rotates = false;
        it.expires_in = None;
    });
    let ready = connect(&daemon, &server, &installed);
    assert!(ready["expires_date"].is_string(), "an hour is assumed: {ready}");
    daemon.call("keyrings.refresh", &which(&installed));
    daemon.call("keyrings.refresh", &which(&installed));
    daemon.step("activate", &installed.id, "ACTIVE");
    assert_works(&daemon, &server, &installed);

    server.behave(|it| it.gives_refresh_tokens = false);
    server.withdraw();
    let ready = connect(&daemon, &server, &installed);
    assert_eq!((&ready["refreshable"], &ready["expires_date"]), (&json!(false), &Value::Null));
    assert_works(&daemon, &server, &installed);
    let problem = refused(&daemon, "keyrings.refresh", &which(&installed));
    assert!(problem.to_string().contains("no refresh token"), "{problem}");
}

#[test]
fn what_a_type_leaves_out_is_as_the_rfc_says() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let url = server.url();
    let sections = format!(
        "
keyrings:
  organization:
    - {{name: connection, description: For the other side., types: [bare]}}
developer_keyrings:
  - {{name: client, description: Id and secret.}}
keyring_types:
  - id: bare
    name: Bare
    description: Nothing but the endpoints, and whose it is.
    kind: oauth2
    oauth_secret: client
    authorize: {{type: config, auth_url: '{url}/authorize', token_url: '{url}/token'}}
    organization_data:
      type: config
      url: '{url}/me'
      method: GET
      headers: {{Authorization: 'Bearer [ACCESS_TOKEN]'}}
      response_jq: '.organizations | map({{id: .uid, name: .title}})'
"
    );
    let installed =
        daemon.install_draft(&Parts::new("asker", SIGNED, ASKER).with_sections(&sections));
    let client = json!({ "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET }).to_string();
    let client = json!({ "package": "asker", "name": "client", "secret": client });
    daemon.call("developer-keyrings.set", &client);
    let path = granted(&server, &begin(&daemon, &installed));
    let page = come_back(&daemon, &path);
    assert!(page.text().contains("is connected to Acme"), "{}", page.text());
    let ready = keyring(&daemon, &installed);
    assert_eq!(ready["organization"], json!({ "id": "7", "name": "Acme" }), "{ready}");
    daemon.call("keyrings.refresh", &which(&installed));
    let tried = daemon.call("keyrings.verify", &which(&installed));
    assert_eq!(tried["problem"], Value::Null, "{tried}");
    let problem = refused(&daemon, "keyrings.revoke", &which(&installed));
    assert!(problem["message"].to_string().contains("does not say how"), "{problem}");

    server.behave(|it| it.organizations = json!([{ "uid": "a" }, { "uid": "b" }]));
    let page = come_back(&daemon, &granted(&server, &begin(&daemon, &installed)));
    assert!(page.status == 400 && page.text().contains("a, b"), "{}", page.text());
    let mut one = which(&installed);
    one["organization"] = json!("b");
    let begun = daemon.call("keyrings.connect", &one);
    let page = begun["authorize_url"].as_str().expect("a page");
    assert_eq!(come_back(&daemon, &granted(&server, page)).status, 200);
    assert_eq!(keyring(&daemon, &installed)["organization"]["id"], "b");
    server.withdraw();
    let tried = daemon.call("keyrings.verify", &which(&installed));
    assert!(tried["problem"].to_string().contains("answered 401"), "{tried}");
    assert_eq!(tried["keyring"]["verified"], false, "{tried}");
    assert!(!tried.to_string().contains("planted"), "{tried}");
    assert_nothing_leaked(&daemon, &server);
}

#[test]
fn deleting_a_connection_gives_it_up_and_deleting_a_snap_in_leaves_nothing() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    connect(&daemon, &server, &installed);
    daemon.call("keyrings.delete", &which(&installed));
    assert_eq!(server.asked().revocations, 1);
    assert_eq!(keyring(&daemon, &installed)["state"], "missing");

    connect(&daemon, &server, &installed);
    let page = begin(&daemon, &installed);
    daemon.step("delete", &installed.id, "DELETED");
    assert_eq!(server.asked().revocations, 2, "from DRAFT");
    let everywhere = daemon.call("keyrings.list", &json!({}));
    assert_eq!(everywhere["keyrings"], json!([]), "{everywhere}");
    assert_eq!(come_back(&daemon, &granted(&server, &page)).status, 404);

    let version = daemon.call("versions.list", &json!({ "package": "asker" }));
    let again = json!({ "version": version["versions"][0]["id"] });
    let created = daemon.call("snap-ins.create", &again);
    let id = created["snap_in"]["id"].as_str().expect("an id").to_owned();
    let installed = Installed { id, ..installed };
    connect(&daemon, &server, &installed);
    daemon.step("activate", &installed.id, "ACTIVE");
    daemon.step("delete", &installed.id, "DELETED");
    assert_eq!(server.asked().revocations, 3, "from ACTIVE");
}

#[test]
fn the_client_shows_the_page_and_waits_for_the_grant() {
    let (daemon, server) = (daemon(), OauthServer::start());
    let installed = install(&daemon, &server);
    let mut child = Command::new(built("mortise"))
        .args(["keyring", "connect", &installed.id, "connection", "--scope", "read", "--json"])
        .args(["--url", &format!("http://{}", daemon.address())])
        .env("MORTISE_TOKEN", daemon.token())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client can be started");
    let said = BufReader::new(child.stderr.take().expect("it is piped"));
    let page = said
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.find("http://").map(|at| line[at..].trim().to_owned()));
    let page = page.expect("it says where");
    assert!(page.contains("scope=things%3Aread&"), "{page}");
    assert_eq!(come_back(&daemon, &granted(&server, &page)).status, 200);
    let output = child.wait_with_output().expect("it ends");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("the answer");
    assert!(output.status.success() && shown["keyring"]["state"] == "ready", "{shown}");
    assert_eq!(shown["keyring"]["scopes"], json!(["things:read"]), "{shown}");
}

#[test]
fn a_retry_that_asks_for_it_finds_a_renewed_connection_and_new_inputs() {
    // The other side has forgotten the token, which nobody can see by looking at it.
    const REFRESHER: &str = "
export const run = async ([event]) => {
  const { keyrings, global_values } = event.input_data;
  const headers = { authorization: `Bearer ${keyrings.connection}` };
  const answer = await fetch(event.payload.url, { headers });
  if (answer.status === 200) return global_values.note;
  throw Object.assign(new Error(`status ${answer.status}`), { retry: true, refresh: event.payload.refresh });
};";
    let (daemon, server) = (daemon(), OauthServer::start());
    let inputs = "inputs:\n  organization:\n    - {name: note, description: A note., field_type: text, default_value: none}\n";
    let parts = Parts::new("asker", SIGNED, REFRESHER)
        .with_sections(&sections(&server, inputs))
        .with("config: {runtime: {max_retries: 1, min_interval: 0}}");
    let installed = daemon.install_draft(&parts);
    provide_client(&daemon);
    connect(&daemon, &server, &installed);
    daemon.step("activate", &installed.id, "ACTIVE");
    let url = format!("{}/me", server.url());
    let send = |refresh: bool| {
        daemon.run_of(&daemon.send_event(&installed, &json!({ "url": url, "refresh": refresh })))
    };
    assert_eq!(send(true)["result"], "none");
    assert_eq!(server.asked().refreshes, 0, "nothing was due");

    // Without the wish for it, the same token is tried again.
    server.forget_access_tokens();
    let run = send(false);
    assert_eq!((&run["state"], server.asked().refreshes), (&json!("dead"), 0), "{run:#}");
    let run = send(true);
    assert_eq!((&run["state"], &run["result"]), (&json!("succeeded"), &json!("none")), "{run:#}");
    assert_eq!(run["attempts"].as_array().map(Vec::len), Some(2), "{run:#}");
    assert_eq!(server.asked().refreshes, 1);

    // What was renewed since an attempt began is left alone: of many that had the old one, one renews.
    server.forget_access_tokens();
    let events: Vec<_> = (0..5)
        .map(|_| daemon.send_event(&installed, &json!({ "url": url, "refresh": true })))
        .collect();
    for event in events {
        let run = daemon.run_of(&event);
        assert_eq!(run["state"], "succeeded", "{run:#}");
    }
    assert_eq!(server.asked().refreshes, 2);

    // While the other side is away the run waits, and no attempt of the function is spent.
    server.forget_access_tokens();
    server.behave(|it| it.token_answer = Some((503, "text/plain", "later".to_owned())));
    let event = daemon.send_event(&installed, &json!({ "url": url, "refresh": true }));
    let id = daemon.call("events.get", &json!({ "id": event }))["event"]["runs"][0].clone();
    eventually("the retry is put off", PATIENCE, || {
        let run = daemon.call("runs.get", &json!({ "id": id }))["run"].clone();
        (run["attempts"][1]["outcome"] == "postponed").then_some(())
    });
    let note = json!({ "id": installed.id, "inputs_values": { "note": "new" } });
    daemon.call("snap-ins.update", &note);
    server.behave(|it| it.token_answer = None);
    daemon.call("runs.retry", &json!({ "id": id }));
    let run = daemon.run_of(&event);
    assert_eq!((&run["state"], &run["result"]), (&json!("succeeded"), &json!("new")), "{run:#}");
    assert_nothing_leaked(&daemon, &server);
}
