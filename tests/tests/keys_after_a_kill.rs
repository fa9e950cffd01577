//! Calls with an `Idempotency-Key` are carried out once, also when the daemon is killed in the middle and
//! they are sent again; keys belong to whoever sent them, and to nobody who has his name later.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::http::{Connection, Response};
use serde_json::{Value, json};

/// Calls, what is sent for a key, and where what they make is listed.
const CALLS: [(&str, &str, &str); 7] = [
    ("packages.create", "packages.list", "packages"),
    ("webhooks.create", "webhooks.list", "webhooks"),
    ("chores.create", "chores.list", "chores"),
    ("occurrences.publish", "occurrences.list", "occurrences"),
    ("milestones.report", "occurrences.list", "occurrences"),
    ("tokens.create", "tokens.list", "tokens"),
    ("users.create", "users.list", "users"),
];

fn body(call: &str, key: &str) -> Value {
    match call {
        "packages.create" => json!({ "slug": key }),
        "webhooks.create" => {
            json!({ "url": format!("http://127.0.0.1:1/{key}/"), "event_types": ["chore_created"] })
        }
        "chores.create" => json!({ "title": key }),
        "occurrences.publish" => json!({ "name": "kill", "title": key }),
        "milestones.report" => json!({ "work": key, "kind": "kill", "message": key }),
        "tokens.create" | "users.create" => json!({ "name": key }),
        other => panic!("{other}"),
    }
}

fn headers<'a>(authorization: &'a str, key: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("authorization", authorization),
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ]
}

fn send(daemon: &Daemon, token: &str, call: &str, key: &str, body: &Value) -> Response {
    let authorization = format!("Bearer {token}");
    let (path, body) = (format!("/api/v1/{call}"), body.to_string());
    let answer =
        daemon.connect().send("POST", &path, &headers(&authorization, key), body.as_bytes());
    answer.expect("an answer")
}

/// Calls with one key after the other until the daemon is gone; answers how many were sent.
fn hammer(daemon: &Daemon, call: &'static str, round: usize) -> JoinHandle<usize> {
    let (address, token) = (daemon.address(), format!("Bearer {}", daemon.token()));
    std::thread::spawn(move || {
        let Ok(mut connection) = Connection::tcp(address) else { return 0 };
        for number in 0.. {
            // There are bounds of tokens and webhooks.
            if number == 25 {
                return number;
            }
            let key = key(call, round, number);
            let (path, body) = (format!("/api/v1/{call}"), body(call, &key).to_string());
            let sent = connection.send("POST", &path, &headers(&token, &key), body.as_bytes());
            if sent.is_err() {
                return number + 1;
            }
        }
        0
    })
}

fn key(call: &str, round: usize, number: usize) -> String {
    format!("{}-{round}-{number}", call.split('.').next().unwrap_or_default())
}

#[test]
fn nothing_is_made_twice_after_kill_dash_nine() {
    let daemon = Daemon::start();
    let definition = json!({
        "name": "chore",
        "id_prefix": "chore",
        "title_field": "title",
        "schema": { "properties": { "title": { "type": "string" } } },
    });
    daemon.call("object-types.create", &definition);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..4 {
        let threads = CALLS.map(|(call, _, _)| hammer(&daemon, call, round));
        eventually("it has begun", Duration::from_secs(60), || {
            let made = daemon.call("packages.list", &json!({ "limit": 1000 })).to_string();
            made.contains(&key("packages.create", round, 2 + round)).then_some(())
        });
        daemon.kill_dash_nine();
        let sent = threads.map(|it| it.join().expect("it ended"));
        daemon.restart();
        for ((call, _, _), sent) in CALLS.iter().zip(sent) {
            for number in 0..sent {
                let key = key(call, round, number);
                let answer = send(&daemon, &daemon.token(), call, &key, &body(call, &key));
                let told = answer.json();
                let code = told["code"].as_str().unwrap_or_default();
                // Each is made, by the first call or by this one, and none is refused for another reason.
                let is_made = answer.status < 300
                    || answer.status == 409 && ["already_done", "already_created"].contains(&code);
                assert!(is_made, "{call} {key}: {told}");
                if code == "already_done" {
                    assert!(told["list"].is_string(), "{told}");
                }
                *answers.entry(format!("{call} {} {code}", answer.status)).or_default() += 1;
            }
            for number in 0..sent {
                let key = key(call, round, number);
                // Both kinds of occurrences are listed by one call; their keys differ.
                let (_, list, things) = CALLS.iter().find(|it| it.0 == *call).expect("listed");
                let all = match *list {
                    // All at once.
                    "webhooks.list" => {
                        let all = daemon.call(list, &json!({}))["webhooks"].clone();
                        all.as_array().expect("a list").clone()
                    }
                    "chores.list" => {
                        let mut all = Vec::new();
                        let mut asked = json!({ "limit": 100 });
                        loop {
                            let page = daemon.call(list, &asked);
                            all.extend(page["chores"].as_array().expect("a list").clone());
                            if page["next_cursor"].is_null() {
                                break all;
                            }
                            asked["cursor"] = page["next_cursor"].clone();
                        }
                    }
                    _ => daemon.list_all(list, things, &json!({})),
                };
                let whole = [format!("\"{key}\""), format!("/{key}/")];
                let is_it = |it: &Value| {
                    let text = it.to_string();
                    whole.iter().any(|it| text.contains(it))
                };
                let count = all.iter().filter(|it| is_it(it)).count();
                assert_eq!(count, 1, "{call} {key}: {answers:?}");
            }
        }
    }
    println!("{answers:#?}");
}

#[test]
fn a_key_is_of_whoever_sent_it() {
    let daemon = Daemon::start();
    let user = |name: &str| {
        daemon.call("users.create", &json!({ "name": name }));
        let to = format!("user:{name}");
        daemon.call("roles.grant", &json!({ "principal": to, "role": "contributor" }));
    };
    let token = |roles: &Value, name: &str| {
        let asked = json!({ "name": name, "principal": "user:cay", "roles": roles });
        daemon.call("tokens.create", &asked)["token"].as_str().expect("a token").to_owned()
    };
    user("cay");
    let asked = json!({ "slug": "hers" });
    let first = token(&Value::Null, "t");
    let made = send(&daemon, &first, "packages.create", "k", &asked);
    assert_eq!(made.status, 200, "{}", made.text());
    // By another token of hers it is the same call; by one that is limited it is another one.
    let second = token(&Value::Null, "u");
    let again = send(&daemon, &second, "packages.create", "k", &asked);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let limited = token(&json!(["contributor"]), "v");
    let other = send(&daemon, &limited, "packages.create", "k", &asked);
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("conflict")));
    // Whoever gets her name has not sent it.
    daemon.call("users.delete", &json!({ "id": "cay" }));
    user("cay");
    let later = token(&Value::Null, "t");
    let other = send(&daemon, &later, "packages.create", "k", &asked);
    assert_eq!((other.status, &other.json()["code"]), (409, &json!("conflict")));
}
