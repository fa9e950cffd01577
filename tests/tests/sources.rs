//! Event sources as whoever looks after them sees them: what became of requests, blocking, and trigger
//! URLs that are replaced, with the real daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, Installed, Options, post_signed};
use mortise_tests::eventually;
use mortise_tests::files::{Answer, FileServer};
use mortise_tests::http::Response;
use mortise_tests::snap_in::{ECHO, Parts, SIGNED, sign};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const SCOPED: &str = "default/default/echo/hook";

fn source(daemon: &Daemon, it: &Installed) -> Value {
    daemon.call("event-sources.get", &json!({ "id": it.source }))["event_source"].clone()
}

fn path_of(source: &Value) -> String {
    let url = source["trigger_url"].as_str().expect("a trigger URL");
    url.split_at(url.find("/hooks/").expect("it is ours")).1.to_owned()
}

/// Sends until the source is open, as senders do that are told to try again.
#[track_caller]
fn status_at(daemon: &Daemon, path: &str) -> u16 {
    eventually("the source has settled", PATIENCE, || {
        let body = json!({ "n": 1 }).to_string();
        let answer = post_signed(&mut daemon.connect(), path, body.as_bytes());
        Some(answer.expect("the daemon answers").status).filter(|it| *it != 503)
    })
}

fn send_keyed(daemon: &Daemon, path: &str, n: usize) -> Response {
    let body = json!({ "n": n }).to_string();
    let (signature, key) = (sign(body.as_bytes()), format!("key-{}", n % 40));
    let headers = [
        ("content-type", "application/json"),
        ("x-signature-256", signature.as_str()),
        ("idempotency-key", key.as_str()),
    ];
    daemon.connect().send("POST", path, &headers, body.as_bytes()).expect("an answer")
}

#[test]
fn counts_are_exact_under_many_requests_and_survive_a_stop() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    let before = source(&daemon, &it)["counts"].clone();
    assert_eq!((&before["accepted"], &before["last_accepted_date"]), (&json!(0), &Value::Null));

    // Two hundred at once: a third of them unsigned, forty keys for the others, and some of a method
    // that is not taken.
    let answers: Vec<(usize, u16)> = std::thread::scope(|scope| {
        let send = |n: usize| {
            let (daemon, path) = (&daemon, it.path.as_str());
            scope.spawn(move || {
                let answer = match n % 3 {
                    0 => daemon.connect().send("POST", path, &[], b"{}").expect("an answer"),
                    1 if n.is_multiple_of(10) => {
                        daemon.connect().send("PUT", path, &[], b"{}").expect("an answer")
                    }
                    _ => send_keyed(daemon, path, n),
                };
                (n, answer.status)
            })
        };
        let sent: Vec<_> = (0..200).map(send).collect();
        sent.into_iter().map(|it| it.join().expect("no panic")).collect()
    });
    let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
    for (_, status) in &answers {
        *by_status.entry(*status).or_default() += 1;
    }
    let number = |status: u16| by_status.get(&status).copied().unwrap_or_default();
    let keyed = answers.iter().filter(|it| it.1 == 200).map(|it| it.0 % 40);
    let keys = keyed.collect::<std::collections::BTreeSet<_>>().len() as u64;
    let counts = source(&daemon, &it)["counts"].clone();
    assert!(number(401) > 60 && number(405) > 5 && number(200) > 100, "{by_status:?}");
    assert_eq!(counts["accepted"], keys, "{by_status:?}: {counts:#}");
    assert_eq!(counts["duplicate"], number(200) - keys, "{by_status:?}: {counts:#}");
    let reasons = json!({ "policy": number(401), "method_not_allowed": number(405) });
    assert_eq!(counts["refused_by_reason"], reasons, "{counts:#}");
    assert_eq!(counts["refused"], number(401) + number(405));
    assert_eq!((&counts["answered"], &counts["failed"]), (&json!(0), &json!(0)), "{counts:#}");
    let events = daemon.list_all("events.list", "events", &json!({}));
    assert_eq!(events.len() as u64, keys, "what is counted is there");

    assert!(daemon.terminate().success());
    daemon.restart();
    assert_eq!(source(&daemon, &it)["counts"], counts, "they survive a stop");
    daemon.send_event(&it, &json!({ "n": 1000 }));
    assert_eq!(source(&daemon, &it)["counts"]["accepted"], keys + 1, "and go on");
    let listed = daemon.call("event-sources.list", &json!({}));
    assert_eq!(listed["event_sources"][0]["counts"]["accepted"], keys + 1);
}

#[test]
fn refusals_say_where_they_came_from_and_why() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    for _ in 0..3 {
        let answer = daemon.connect().send("POST", &it.path, &[], b"{}").expect("an answer");
        assert_eq!(answer.status, 401);
    }
    let answer = daemon.connect().send("DELETE", &it.path, &[], b"").expect("an answer");
    assert_eq!(answer.status, 405);
    let which = json!({ "id": it.source });
    let log = daemon.call("event-sources.refusals", &which);
    let refusals = log["refusals"].as_array().expect("a list");
    assert_eq!((refusals.len(), &log["unseen"]), (2, &json!(0)), "{log:#}");
    for (refusal, method, status, reason, times) in [
        (&refusals[0], "POST", 401, "policy", 3),
        (&refusals[1], "DELETE", 405, "method_not_allowed", 1),
    ] {
        assert_eq!(refusal["peer"], "127.0.0.1", "{log:#}");
        assert_eq!((&refusal["method"], &refusal["status"]), (&json!(method), &json!(status)));
        assert_eq!((&refusal["reason"], &refusal["times"]), (&json!(reason), &json!(times)));
    }

    // By hand: one page, by the name of the source.
    let shown = script(&daemon, &["source", "show", SCOPED], "");
    assert_eq!(shown.code, 0, "{shown:#?}");
    for hint in [
        "default/default/echo/hook: takes events",
        "refused            4",
        "policy (3 times): POST from 127.0.0.1",
        it.path.as_str(),
    ] {
        assert!(shown.out.contains(hint), "{hint:?} in {}", shown.out);
    }
    let page = script(&daemon, &["source", "show", SCOPED, "--json"], "").json();
    assert_eq!(page["refusals"], log["refusals"], "{page:#}");
    let table = script(&daemon, &["source", "refusals", SCOPED], "");
    assert!(table.out.contains("method_not_allowed"), "{table:?}");
    let unknown = script(&daemon, &["source", "refusals", "default/default/echo/hok"], "");
    assert!(unknown.code == 1 && unknown.err.contains("hook"), "{unknown:?}");

    // They are in memory only, the counts are not.
    assert!(daemon.terminate().success());
    daemon.restart();
    assert_eq!(daemon.call("event-sources.refusals", &which)["refusals"], json!([]));
    assert_eq!(source(&daemon, &it)["counts"]["refused"], 4);
}

#[test]
fn a_blocked_source_takes_nothing_until_it_is_unblocked() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    let which = json!({ "id": it.source });
    let block = |reason: &str| json!({ "id": it.source, "reason": reason });
    daemon.refused("event-sources.block", &block("  "), 400);
    let blocked = script(&daemon, &["source", "block", SCOPED, "--reason", "it floods us"], "");
    assert_eq!(blocked.code, 0, "{blocked:?}");
    let is_blocked = || {
        let source = source(&daemon, &it);
        assert_eq!((&source["status"], &source["open"]), (&json!("blocked"), &json!(false)));
        assert_eq!(source["reason"], "it floods us", "{source:#}");
        assert!(source["blocked_by"].as_str().is_some_and(|it| it.contains("admin")), "{source:#}");
        assert_eq!(status_at(&daemon, &it.path), 404);
        for call in ["event-sources.resume", "event-sources.pause"] {
            let refused = daemon.refused(call, &which, 409);
            assert!(refused["message"].as_str().is_some_and(|it| it.contains("it floods us")));
        }
        let event = json!({ "id": it.source, "event_type": "custom:tick", "payload": {} });
        daemon.refused("event-sources.publish", &event, 409);
    };
    is_blocked();
    let shown = script(&daemon, &["source", "show", SCOPED], "");
    assert!(shown.out.contains("hook: blocked\n  it floods us\n"), "{}", shown.out);

    // It stays over an upgrade, a stop, and an activation.
    let version = daemon.add_version(&Parts::new("echo", SIGNED, &ECHO.replace("number", "no.")));
    let upgrade = json!({ "id": it.id, "version": version, "wait_seconds": 30 });
    daemon.call("snap-ins.upgrade", &upgrade);
    is_blocked();
    daemon.restart();
    is_blocked();
    daemon.step("deactivate", &it.id, "INACTIVE");
    daemon.step("activate", &it.id, "ACTIVE");
    is_blocked();

    let unblocked = script(&daemon, &["source", "unblock", SCOPED, "--json"], "").json();
    assert_eq!(unblocked["event_source"]["status"], "active", "{unblocked:#}");
    assert!(unblocked["event_source"]["reason"].is_null(), "{unblocked:#}");
    assert_eq!(status_at(&daemon, &it.path), 200);

    // What was paused is paused again.
    daemon.call("event-sources.pause", &which);
    daemon.call("event-sources.block", &block("once more"));
    let unblocked = daemon.call("event-sources.unblock", &which);
    assert_eq!(unblocked["event_source"]["status"], "paused", "{unblocked:#}");
}

#[test]
fn a_snap_in_cannot_block_its_own_sources_or_rotate_their_tokens() {
    let daemon = Daemon::start();
    let code = "export const run = async ([event]) => {
      const ask = async (name, more) => (await fetch(event.execution_metadata.devrev_endpoint + '/' + name, {
        method: 'POST',
        headers: { authorization: event.context.secrets.service_account_token, 'content-type': 'application/json' },
        body: JSON.stringify({ id: event.payload.source, ...more }),
      })).status;
      return [
        await ask('event-sources.refusals', {}),
        await ask('event-sources.block', { reason: 'mine' }),
        await ask('event-sources.unblock', {}),
        await ask('event-sources.rotate-token', {}),
      ];
    };";
    let it = daemon.install(&Parts::new("selfish", SIGNED, code));
    let run = daemon.run_of(&daemon.send_event(&it, &json!({ "source": it.source })));
    assert_eq!(run["result"], json!([200, 403, 403, 403]), "{run:#}");
}

#[test]
fn a_trigger_url_is_replaced_with_an_overlap() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    let rotate = |seconds: Value| {
        let answer = daemon.call(
            "event-sources.rotate-token",
            &json!({ "id": it.source, "overlap_seconds": seconds }),
        );
        answer["event_source"].clone()
    };
    let wrong = json!({ "id": it.source, "overlap_seconds": 30 * 24 * 3600 + 1 });
    daemon.refused("event-sources.rotate-token", &wrong, 400);
    assert_eq!(status_at(&daemon, &it.path), 200);

    let rotated = script(&daemon, &["source", "rotate-token", SCOPED, "--json"], "").json();
    let second = path_of(&rotated["event_source"]);
    assert_ne!(second, it.path);
    let until = rotated["event_source"]["previous_trigger_url_until"].as_str();
    assert!(until.is_some_and(|it| it.ends_with('Z')), "{rotated:#}");
    let statuses = |paths: &[&str]| -> Vec<u16> {
        paths.iter().map(|path| status_at(&daemon, path)).collect()
    };
    assert_eq!(statuses(&[&it.path, &second]), [200, 200]);
    daemon.restart();
    assert_eq!(statuses(&[&it.path, &second]), [200, 200], "durable");
    let now = source(&daemon, &it);
    assert_eq!(
        (path_of(&now), now["previous_trigger_url_until"].as_str()),
        (second.clone(), until)
    );

    // Once more: only the last but one stays.
    let third = path_of(&rotate(json!(3600)));
    assert_eq!(statuses(&[&it.path, &second, &third]), [404, 200, 200]);
    // Without an overlap.
    let fourth = path_of(&rotate(json!(0)));
    assert_eq!(statuses(&[&second, &third, &fourth]), [404, 404, 200]);
    assert!(source(&daemon, &it)["previous_trigger_url_until"].is_null());

    // With one that ends while it is looked at.
    let fifth = path_of(&rotate(json!(1)));
    eventually("the overlap ends", PATIENCE, || (status_at(&daemon, &fourth) == 404).then_some(()));
    assert_eq!(statuses(&[&fifth]), [200]);
    eventually("it is not shown any more", PATIENCE, || {
        source(&daemon, &it)["previous_trigger_url_until"].is_null().then_some(())
    });
    for path in [&it.path, &second, &third, &fourth, &fifth] {
        let token = path.rsplit('/').next().expect("a token");
        assert!(!daemon.log().contains(token), "a token is in the log");
    }
}

#[test]
fn a_replaced_trigger_url_is_registered_anew_and_the_old_one_taken_back() {
    let server = FileServer::start();
    let allow = format!("[egress]\nallow = [\"{}\"]\n", server.address());
    let daemon = Daemon::start_with(Options { settings: allow, ..Options::default() });
    let base = server.url("");
    let registration = format!(
        "      registration:
        register:
          url: {base}/hooks
          body: {{ url: '{{{{source.trigger_url}}}}' }}
          id_jq: .id
        unregister:
          url: {base}/hooks/{{{{registration.id}}}}
"
    );
    let parts = Parts { registration, ..Parts::new("registered", SIGNED, ECHO) };
    server.put("/hooks", Answer::bytes(br#"{"id":1}"#.to_vec()));
    server.put("/hooks/1", Answer::bytes(Vec::new()));
    let it = daemon.install(&parts);
    server.take_seen();

    let which = json!({ "id": it.source });
    server.put("/hooks", Answer::bytes(br#"{"id":2}"#.to_vec()));
    let rotated = daemon.call("event-sources.rotate-token", &which)["event_source"].clone();
    let seen = server.take_seen();
    let [register, unregister] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(register.json()["url"], rotated["trigger_url"], "the new one");
    assert_eq!((unregister.method.as_str(), unregister.path.as_str()), ("DELETE", "/hooks/1"));

    // What cannot be made known is said, and done by the next activation; the URL is replaced.
    server.put("/hooks", Answer { status: 500, headers: Vec::new(), body: b"oh".to_vec() });
    let failed = daemon.try_call("event-sources.rotate-token", &which).expect("an answer");
    assert!(failed.status >= 400 && failed.text().contains("it is done, but"), "{}", failed.text());
    let now = source(&daemon, &it);
    assert_ne!(now["trigger_url"], rotated["trigger_url"]);
    assert_eq!(status_at(&daemon, &path_of(&rotated)), 200, "the one before works meanwhile");
    server.put("/hooks", Answer::bytes(br#"{"id":3}"#.to_vec()));
    server.put("/hooks/2", Answer::bytes(Vec::new()));
    server.put("/hooks/3", Answer::bytes(Vec::new()));
    server.take_seen();
    daemon.step("deactivate", &it.id, "INACTIVE");
    let seen = server.take_seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("DELETE", "/hooks/2"));
    daemon.step("activate", &it.id, "ACTIVE");
    let seen = server.take_seen();
    assert_eq!(seen[0].json()["url"], source(&daemon, &it)["trigger_url"], "{seen:?}");
}
