//! Every call by everybody: with each role, on the host and on one integration, for a prefix of scopes,
//! as a function of a snap-in, with no token and with wrong ones. What each may is compared with the
//! table that people read, `daemon/src/api/routes.table.txt`.

use std::collections::BTreeMap;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::http::Connection;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../daemon/src/api/routes.table.txt");

/// A body that no call takes, so that whoever may make it changes nothing by it.
const NO_BODY: &str = "[1]";

/// The columns of the table, and the calls with whether each of them may make it.
fn table() -> (Vec<&'static str>, BTreeMap<&'static str, Vec<bool>>) {
    let text: &'static str = std::fs::read_to_string(TABLE).expect("it is there").leak();
    let mut lines = text.lines().filter(|it| !it.starts_with('#') && !it.is_empty());
    let head: Vec<&str> = lines.next().expect("titles").split_whitespace().collect();
    let columns: Vec<&str> =
        head.into_iter().filter(|it| !["call", "right", "audit"].contains(it)).collect();
    let rows = lines.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let marks = words[2..2 + columns.len()].iter().map(|it| *it == "x");
        (words[0], marks.collect())
    });
    let rows: BTreeMap<_, Vec<bool>> = rows.collect();
    assert!(rows.len() > 100, "{}", rows.len());
    (columns, rows)
}

/// Whether a status says that whoever asked may not, or that what he sent is wrong, which he may.
fn may(call: &str, who: &str, status: u16) -> bool {
    match status {
        400 => true,
        401 | 403 => false,
        other => panic!("{call} by {who}: {other}"),
    }
}

/// Each needs a connection of its own: whoever is refused before his body is read is hung up on.
fn post(connection: &mut Connection, call: &str, token: Option<&str>) -> u16 {
    let bearer = token.map(|it| format!("Bearer {it}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|it| ("authorization", it)));
    let path = format!("/api/v1/{call}");
    connection.send("POST", &path, &headers, NO_BODY.as_bytes()).expect("an answer").status
}

fn role_of(column: &str) -> (&'static str, bool) {
    match column {
        "own" => ("owner", false),
        "con" => ("contributor", false),
        "rea" => ("reader", false),
        "iam" => ("identity-access-manager", false),
        "icr" => ("integration-creator", false),
        "ico" => ("integration-contributor", false),
        "ire" => ("integration-reader", false),
        "Own" => ("owner", true),
        "Con" => ("contributor", true),
        "Rea" => ("reader", true),
        "Iam" => ("identity-access-manager", true),
        other => panic!("what is {other}?"),
    }
}

fn token(daemon: &Daemon, parameters: &Value) -> String {
    let made = daemon.call("tokens.create", parameters);
    made["token"].as_str().expect("a token").to_owned()
}

/// Asks every call with the tokens that it is given.
const WALKER: &str = "
export const run = async ([event]) => {
  const { devrev_endpoint } = event.execution_metadata;
  const { secrets } = event.context;
  const calls = event.payload.parameters.split(' ');
  const found = {};
  for (const [who, token] of [['fun', secrets.service_account_token], ['ord', secrets.actor_session_token]]) {
    for (const call of calls) {
      const options = { method: 'POST', headers: { authorization: token }, body: '[1]' };
      const response = await fetch(`${devrev_endpoint}/${call}`, options);
      await response.text();
      found[`${who} ${call}`] = response.status;
    }
  }
  return found;
};";

#[test]
fn everybody_may_what_the_table_says_and_nothing_else() {
    let plugins = vec!["mortise-test-posting".to_owned()];
    let daemon = Daemon::start_with(Options { plugins, ..Options::default() });
    let new = json!({
        "type": "test-post", "name": "one",
        "connection": { "url": "http://127.0.0.1:9/x", "token": "t" },
    });
    let integration = daemon.call("integrations.create", &new)["integration"]["id"].clone();
    let (columns, rows) = table();
    let mut wrong = Vec::new();
    let mut compare = |call: &str, column: &str, found: bool| {
        let at = columns.iter().position(|it| *it == column).expect("a column");
        let expected = rows[call][at];
        if expected != found {
            wrong.push(format!("{call} by {column}: the table says {expected}"));
        }
    };
    for column in columns.iter().filter(|it| !["sco", "fun", "ord"].contains(it)) {
        let (role, is_on_one) = role_of(column);
        let name = format!("{}-{role}", if is_on_one { "one" } else { "host" });
        daemon.call("users.create", &json!({ "name": name }));
        let principal = format!("user:{name}");
        let mut grant = json!({ "principal": principal, "role": role });
        if is_on_one {
            grant["integration"] = integration.clone();
        }
        daemon.call("roles.grant", &grant);
        let token = token(&daemon, &json!({ "name": "walk", "principal": principal }));
        for call in rows.keys() {
            let status = post(&mut daemon.connect(), call, Some(&token));
            compare(call, column, may(call, column, status));
        }
    }
    let scoped = token(&daemon, &json!({ "name": "scoped", "scope": "prod" }));
    for call in rows.keys() {
        let status = post(&mut daemon.connect(), call, Some(&scoped));
        compare(call, "sco", may(call, "sco", status));
    }

    let parts = Parts::new("walker", SIGNED, WALKER).with("timeout_seconds: 120").with_sections(
        "commands:
  - {name: go, namespace: walker, description: Goes., surfaces: [{surface: discussions}], function: work}
",
    );
    daemon.install(&parts);
    let calls: Vec<&str> = rows.keys().copied().collect();
    for calls in calls.chunks(40) {
        let go = json!({ "namespace": "walker", "name": "go", "parameters": calls.join(" ") });
        let answer = daemon.call("commands.execute", &go);
        assert_eq!(answer["state"], "succeeded", "{answer:#}");
        for (asked, status) in answer["result"].as_object().expect("all of them") {
            let (who, call) = asked.split_once(' ').expect("two words");
            let status = u16::try_from(status.as_u64().expect("a status")).expect("one of HTTP");
            compare(call, who, may(call, who, status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_has_an_integration_lets_it_hear_of_nothing_that_he_may_not_see() {
    let plugins = vec!["mortise-test-posting".to_owned()];
    let daemon = Daemon::start_with(Options { plugins, ..Options::default() });
    let person = |name: &str, grants: &[Value]| {
        daemon.call("users.create", &json!({ "name": name }));
        let principal = json!(format!("user:{name}"));
        for grant in grants {
            let mut grant = grant.clone();
            grant["principal"] = principal.clone();
            daemon.call("roles.grant", &grant);
        }
        token(&daemon, &json!({ "name": "t", "principal": principal }))
    };
    let host = |role: &str| json!({ "role": role });
    let status = |token: &str, call: &str, asked: &Value| {
        let answer = daemon.try_call_as(token, call, asked).expect("an answer");
        (answer.status, answer.json())
    };
    let new = |name: &str, for_all: bool| {
        json!({
            "type": "test-post", "name": name, "supplied_to_all": for_all,
            "connection": { "url": "http://127.0.0.1:9/x", "token": "t" },
        })
    };
    // What each tries with an integration: may he let it hear of more?
    let tries = |token: &str, id: &Value, subscription: &Value| {
        let calls = [
            ("integrations.update", json!({ "id": id, "supplied_to_all": true })),
            ("supplies.create", json!({ "integration": id, "scope": "prod" })),
            ("subscriptions.create", json!({ "integration": id, "trigger": "*" })),
            (
                "subscriptions.create",
                json!({ "integration": id, "trigger": "run.*", "scope": "prod/team" }),
            ),
            ("subscriptions.update", json!({ "id": subscription, "trigger": "*" })),
            ("subscriptions.update", json!({ "id": subscription, "scope": null })),
        ];
        let found: Vec<u16> = calls.iter().map(|it| status(token, it.0, &it.1).0).collect();
        found
    };
    let fresh = |name: &str| {
        let id = daemon.call("integrations.create", &new(name, false))["integration"]["id"].clone();
        let wanted = json!({ "integration": id, "trigger": "run.failed", "scope": "prod" });
        let wanted = daemon.call("subscriptions.create", &wanted)["subscription"]["id"].clone();
        (id, wanted)
    };

    // Who makes integrations has them, and nothing else of the host.
    let creator = person("creator", &[host("integration-creator")]);
    let (refused, answer) = status(&creator, "integrations.create", &new("all", true));
    assert_eq!(refused, 403, "{answer}");
    assert!(answer["message"].as_str().is_some_and(|it| it.contains("occurrences.read")));
    let (made, answer) = status(&creator, "integrations.create", &new("own", false));
    assert_eq!(made, 200, "{answer}");
    let own = answer["integration"]["id"].clone();
    // What somebody made who might goes on, and he may take it away.
    let wanted = json!({ "integration": own, "trigger": "run.failed", "scope": "prod" });
    let wanted = daemon.call("subscriptions.create", &wanted)["subscription"]["id"].clone();
    daemon.call("supplies.create", &json!({ "integration": own, "scope": "prod/team" }));
    assert_eq!(tries(&creator, &own, &wanted), [403; 6]);
    let kept = daemon.call("subscriptions.get", &json!({ "id": wanted }));
    assert_eq!(kept["subscription"]["trigger"], "run.failed");
    let same = json!({ "id": own, "name": "renamed", "supplied_to_all": false });
    assert_eq!(status(&creator, "integrations.update", &same).0, 200);
    let less = json!({ "integration": own, "scope": "prod/team" });
    assert_eq!(status(&creator, "supplies.delete", &less).0, 200);
    assert_eq!(status(&creator, "subscriptions.delete", &json!({ "id": wanted })).0, 200);

    for role in ["owner", "contributor"] {
        let (id, wanted) = fresh(role);
        let one = json!({ "role": role, "integration": id });
        let alone = person(&format!("one-{role}"), std::slice::from_ref(&one));
        assert_eq!(tries(&alone, &id, &wanted), [403; 6], "{role} of one");
        // Who may see what happens may have it told, with what he has.
        let reader = person(&format!("reader-{role}"), &[one, host("reader")]);
        assert_eq!(tries(&reader, &id, &wanted), [200; 6], "{role} of one who reads");
    }
    for role in ["owner", "contributor", "integration-contributor"] {
        let (id, wanted) = fresh(&format!("by-{role}"));
        let wires = person(role, &[host(role)]);
        assert_eq!(tries(&wires, &id, &wanted), [200; 6], "{role}");
    }
}

#[test]
fn strangers_learn_nothing() {
    let daemon = Daemon::start();
    let (_, rows) = table();
    let leaf = json!({ "name": "leaf", "id_prefix": "lef", "schema": { "properties": {} } });
    daemon.call("object-types.apply", &json!({ "object_types": [leaf] }));
    let mut others = vec!["leafs.list", "nothing.list", "nothing", "objects.list"];
    others.extend(rows.keys());
    for call in &others {
        assert_eq!(post(&mut daemon.connect(), call, None), 401, "{call}");
    }
    // A wrong one, over the socket, where nobody is slowed down.
    let socket = || Connection::unix(&daemon.socket()).expect("it listens");
    let mut texts = BTreeMap::new();
    let expired = json!({ "name": "short", "expires_in_seconds": 1 });
    let once = token(&daemon, &expired);
    let deleted = token(&daemon, &json!({ "name": "deleted" }));
    daemon.call("tokens.delete", &json!({ "name": "deleted" }));
    for call in &others {
        for wrong in ["mta_wrong", deleted.as_str(), "mst_wrong", "", "x"] {
            assert_eq!(post(&mut socket(), call, Some(wrong)), 401, "{call} with {wrong}");
        }
    }
    for wrong in ["mta_wrong", deleted.as_str()] {
        let answer = daemon.try_call_as(wrong, "runs.list", &json!({})).expect("an answer");
        texts.insert(answer.text(), wrong);
    }
    assert_eq!(texts.len(), 1, "a token that was is like one that never was: {texts:#?}");
    mortise_tests::eventually("it expires", std::time::Duration::from_secs(20), || {
        let answer = daemon.try_call_as(&once, "whoami", &json!({})).expect("an answer");
        (answer.status == 401).then_some(())
    });

    // Who sees no objects does not see which types of them there are.
    daemon.call("users.create", &json!({ "name": "ada" }));
    let grant = json!({ "principal": "user:ada", "role": "integration-reader" });
    daemon.call("roles.grant", &grant);
    let ada = token(&daemon, &json!({ "name": "x", "principal": "user:ada" }));
    let answer = |call: &str| {
        let answer = daemon.try_call_as(&ada, call, &json!({})).expect("an answer");
        (answer.status, answer.text().replace(call, "it"))
    };
    assert_eq!(answer("leafs.list"), answer("nothing.list"));
    assert_eq!(answer("nothing.list").0, 404);
}

#[test]
fn wrong_tokens_are_slowed_down_and_good_ones_are_not() {
    let daemon = Daemon::start();
    let mut threads = Vec::new();
    let address = daemon.address();
    for _ in 0..40 {
        threads.push(std::thread::spawn(move || {
            let mut connection = Connection::tcp(address).expect("it listens");
            post(&mut connection, "runs.list", Some("mta_wrong"))
        }));
    }
    // Meanwhile.
    assert_eq!(post(&mut daemon.connect(), "runs.list", Some(&daemon.token())), 400);
    let statuses: Vec<u16> = threads.into_iter().map(|it| it.join().expect("it ended")).collect();
    assert!(statuses.iter().all(|it| [401, 429].contains(it)), "{statuses:?}");
    // Eight wait at a time; the rest is told so at once.
    assert!(statuses.contains(&429) && statuses.contains(&401), "{statuses:?}");
    // The socket, and the good one, as before.
    let mut socket = Connection::unix(&daemon.socket()).expect("it listens");
    assert_eq!(post(&mut socket, "runs.list", Some("mta_wrong")), 401);
    assert_eq!(post(&mut daemon.connect(), "runs.list", Some(&daemon.token())), 400);
}
