//! The audit log: every change is in it, also when the daemon is killed in the middle, with what was
//! there before and after; refused calls are counted; the chain holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::http::Connection;
use mortise_tests::snap_in::Parts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn rows(daemon: &Daemon, filter: &Value) -> Vec<Value> {
    daemon.list_all("audit.list", "rows", filter)
}

#[track_caller]
fn only(daemon: &Daemon, filter: &Value) -> Value {
    let rows = rows(daemon, filter);
    assert_eq!(rows.len(), 1, "{filter}: {rows:#?}");
    rows[0].clone()
}

/// Checks the chain as somebody else would, from what was exported.
fn check_chain(daemon: &Daemon) -> usize {
    let mut before = vec![0; 32];
    let lines = daemon.list_all("audit.export", "lines", &json!({}));
    for (at, line) in lines.iter().enumerate() {
        let line = line.as_str().expect("a line");
        let parsed: Value = serde_json::from_str(line).expect("JSON");
        let row = &line[line.find("\"row\":").expect("a row") + 6..line.len() - 1];
        let hash = Sha256::new().chain_update(&before).chain_update(row).finalize();
        assert_eq!(parsed["hash"], hex::encode(hash), "{line}");
        assert_eq!(parsed["row"]["seq"], at + 1, "{line}");
        before = hash.to_vec();
    }
    let mut cursor = json!({});
    loop {
        let verified = daemon.call("audit.verify", &cursor);
        assert_eq!(verified["ok"], true, "{verified}");
        match verified["next_cursor"].as_str() {
            Some(next) => cursor = json!({ "cursor": next }),
            None => {
                assert_eq!(verified["last_seq"], lines.len(), "{verified}");
                return lines.len();
            }
        }
    }
}

#[test]
fn changes_are_told_with_before_and_after() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    let row = only(&daemon, &json!({ "call": "snap-ins.activate" }));
    assert_eq!((&row["outcome"], &row["who"]), (&json!("done"), &json!("token:admin")), "{row}");
    assert_eq!((&row["token"], &row["peer"]), (&json!("admin"), &json!("127.0.0.1")), "{row}");
    assert_eq!(row["target"], it.id, "{row}");
    assert_eq!(
        (&row["before"]["state"], &row["after"]["state"]),
        (&json!("DRAFT"), &json!("ACTIVE"))
    );
    // What was made is found by its id.
    let row = only(&daemon, &json!({ "call": "snap-ins.create", "target": it.id }));
    assert_eq!((&row["before"], &row["after"]["id"]), (&Value::Null, &json!(it.id)), "{row}");
    // Archives and manifests are not in it.
    let row = only(&daemon, &json!({ "call": "versions.create" }));
    assert_eq!(row["request"]["archive"], "********", "{row}");

    daemon.call("users.create", &json!({ "name": "ada" }));
    daemon.call("users.update", &json!({ "id": "ada", "description": "Payments" }));
    let row = only(&daemon, &json!({ "call": "users.update" }));
    assert_eq!(row["before"], json!({ "description": "" }), "{row}");
    assert_eq!(row["after"], json!({ "description": "Payments" }), "{row}");
    let made = daemon.call("tokens.create", &json!({ "name": "t", "principal": "user:ada" }));
    let row = only(&daemon, &json!({ "call": "tokens.create" }));
    assert_eq!(row["after"]["token"], "********", "{row}");
    let token = made["token"].as_str().expect("a token");
    assert!(!daemon.call("audit.export", &json!({ "limit": 1000 })).to_string().contains(token));

    // By a name of hers there is all that is about her, whichever name was said then.
    let about: Vec<Value> = rows(&daemon, &json!({ "target": "user:ada" }));
    let calls: Vec<&str> = about.iter().filter_map(|it| it["call"].as_str()).collect();
    assert_eq!(calls, ["tokens.create", "users.update", "users.create"]);

    // What a user does, and by which token; what fails without a change is no row.
    daemon.call("roles.grant", &json!({ "principal": "user:ada", "role": "contributor" }));
    let made = daemon.try_call_as(token, "packages.create", &json!({ "slug": "hers" }));
    assert_eq!(made.expect("an answer").status, 200);
    let id = daemon.call("users.get", &json!({ "id": "ada" }))["user"]["id"].clone();
    let row = only(&daemon, &json!({ "who": id }));
    assert_eq!((&row["who"], &row["token"]), (&json!("user:ada"), &json!("t")), "{row}");
    let taken = daemon.try_call_as(token, "packages.create", &json!({ "slug": "hers" }));
    assert_eq!(taken.expect("an answer").status, 409);
    // What has a history of its own, and what changes nothing, is not in it.
    daemon.call("functions.call", &json!({ "snap_in": it.id, "function": "work" }));
    assert!(rows(&daemon, &json!({ "call": "functions." })).is_empty());
    // What was tried and failed.
    let again = json!({ "id": it.id });
    daemon.refused("snap-ins.activate", &again, 409);
    let failed = &rows(&daemon, &json!({ "call": "snap-ins.activate", "limit": 500 }))[0];
    assert_eq!(
        (&failed["outcome"], &failed["status"]),
        (&json!("failed"), &json!(409)),
        "{failed}"
    );
    // By each of its names.
    let count = |target: &str| rows(&daemon, &json!({ "target": target })).len();
    let scope = daemon.call("snap-ins.get", &json!({ "id": it.id }))["snap_in"]["scope"].clone();
    let scope = scope.as_str().expect("a scope");
    assert!(count(scope) >= 3 && count(scope) == count(&it.id), "{scope}");
    assert!(count("user:ada") >= 2, "a token and a role");
    assert_eq!(count("t"), 1, "the token");
    check_chain(&daemon);
}

#[test]
fn what_cannot_be_read_is_one_row() {
    let daemon = Daemon::start();
    daemon.call("users.create", &json!({ "name": "ada" }));
    daemon.call("roles.grant", &json!({ "principal": "user:ada", "role": "contributor" }));
    let made = daemon.call("tokens.create", &json!({ "name": "t", "principal": "user:ada" }));
    let token = made["token"].as_str().expect("a token");
    let written = || daemon.list_all("audit.export", "lines", &json!({})).len();
    let before = written();
    daemon.refused("integrations.create", &json!({ "nmae": "ops" }), 400);
    let row = only(&daemon, &json!({ "call": "integrations.create" }));
    assert_eq!((&row["outcome"], &row["status"]), (&json!("failed"), &json!(400)), "{row}");
    assert_eq!(written(), before + 1);
    // One that the call itself refuses is not counted a second time, among those without a right.
    let beyond = json!({ "principal": "user:ada", "role": "owner" });
    let answer = daemon.try_call_as(token, "roles.grant", &beyond).expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(daemon.terminate().success());
    daemon.restart();
    let refused = rows(&daemon, &json!({ "call": "roles.grant", "who": "user:ada" }));
    assert_eq!(refused.len(), 1, "{refused:#?}");
    check_chain(&daemon);
}

#[test]
fn what_was_refused_is_counted() {
    let daemon = Daemon::start();
    daemon.call("users.create", &json!({ "name": "ada" }));
    let made = daemon.call("tokens.create", &json!({ "name": "t", "principal": "user:ada" }));
    let token = made["token"].as_str().expect("a token");
    for _ in 0..7 {
        let answer = daemon.try_call_as(token, "keys.rotate", &json!({})).expect("an answer");
        assert_eq!(answer.status, 403);
    }
    for name in ["runs.list", "runs.list", "made-up.by-a-stranger"] {
        let answer = daemon.connect().send("POST", &format!("/api/v1/{name}"), &[], b"{}");
        assert_eq!(answer.expect("an answer").status, 401);
    }
    assert!(daemon.terminate().success());
    daemon.restart();
    let refused = rows(&daemon, &json!({ "kind": "refused" }));
    let find = |call: &str, status: u16| {
        let mut found = refused.iter().filter(|it| it["call"] == call && it["status"] == status);
        let row = found.next().unwrap_or_else(|| panic!("{call}: {refused:#?}"));
        (row["times"].as_u64(), row["who"].as_str().map(str::to_owned))
    };
    assert_eq!(find("keys.rotate", 403), (Some(7), Some("user:ada".to_owned())));
    assert_eq!(find("runs.list", 401), (Some(2), Some(String::new())));
    assert_eq!(find("", 401), (Some(1), Some(String::new())), "what strangers make up is no name");
    assert_eq!(refused.len(), 3, "{refused:#?}");
    check_chain(&daemon);
}

/// Calls until the daemon is gone; answers what was sent.
fn hammer(
    daemon: &Daemon,
    call: &'static str,
    body: impl Fn(usize) -> Value + Send + 'static,
) -> std::thread::JoinHandle<()> {
    let (address, token) = (daemon.address(), format!("Bearer {}", daemon.token()));
    std::thread::spawn(move || {
        let Ok(mut connection) = Connection::tcp(address) else { return };
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        for number in 0.. {
            let body = body(number).to_string();
            let path = format!("/api/v1/{call}");
            if connection.send("POST", &path, &headers, body.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn no_change_is_without_its_row_after_kill_dash_nine() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    let it = Arc::new(it.id);
    for round in 0..3 {
        let id = it.clone();
        let threads = [
            hammer(
                &daemon,
                "users.create",
                move |number| json!({ "name": format!("u{round}-{number}") }),
            ),
            hammer(
                &daemon,
                "principal-groups.create",
                move |number| json!({ "name": format!("g{round}-{number}") }),
            ),
            // By way of an actor.
            hammer(&daemon, "snap-ins.deactivate", {
                let id = id.clone();
                move |_| json!({ "id": *id })
            }),
            hammer(&daemon, "snap-ins.activate", move |_| json!({ "id": *id })),
        ];
        eventually("it has begun", Duration::from_secs(60), || {
            let many = daemon.call("users.list", &json!({ "limit": 1000 }));
            let prefix = format!("u{round}-");
            let names = many["users"].as_array()?.iter();
            let ours =
                names.filter(|it| it["name"].as_str().is_some_and(|it| it.starts_with(&prefix)));
            (ours.count() > 5).then_some(())
        });
        daemon.kill_dash_nine();
        for thread in threads {
            thread.join().expect("it ended");
        }
        daemon.restart();
        for (list, key, call) in [
            ("users.list", "users", "users.create"),
            ("principal-groups.list", "groups", "principal-groups.create"),
        ] {
            let there = daemon.list_all(list, key, &json!({}));
            let told: BTreeSet<String> = rows(&daemon, &json!({ "call": call }))
                .iter()
                .filter_map(|it| it["request"]["name"].as_str().map(str::to_owned))
                .collect();
            for one in there {
                let name = one["name"].as_str().expect("a name");
                assert!(told.contains(name), "{name} is there, and no row tells of it");
            }
        }
        check_chain(&daemon);
    }
    // The last that was tried at the snap-in is known, whether or not how it ended is.
    let tried = rows(&daemon, &json!({ "call": "snap-ins." }));
    assert!(tried.iter().any(|it| it["call"] == "snap-ins.deactivate"), "{tried:#?}");
}
