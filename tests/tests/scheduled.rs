//! Scheduled events on a real daemon: published once and never early, whatever becomes of the daemon
//! in between, until they are replaced or taken back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::http::Response;
use mortise_tests::snap_in::{Parts, SIGNED, pack};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Schedules with the token that it is called with; the other one answers with what it was sent.
const CODE: &str = "
const schedule = async ([event]) => {
  const answer = await fetch(event.execution_metadata.devrev_endpoint + '/event-sources.schedule', {
    method: 'POST',
    headers: {
      authorization: event.context.secrets.service_account_token,
      'content-type': 'application/json',
    },
    body: JSON.stringify(event.payload),
  });
  return { status: answer.status, body: await answer.text() };
};
const receive = async ([event]) => event;
export const functionFactory = { schedule, receive };
";

fn manifest() -> String {
    "version: \"2\"\nname: Scheduled\ndescription: For tests.\n\
     service_account:\n  display_name: Tester\n\
     event_sources:\n  organization:\n    - name: later\n      display_name: Later\n      \
     type: flow-events\n\
     functions:\n  - {name: schedule, description: Schedules.}\n  \
     - {name: receive, description: Receives.}\n\
     automations:\n  - name: All\n    source: later\n    event_types: [\"custom:reminder\"]\n    \
     function: receive\n"
        .to_owned()
}

struct Bench {
    daemon: Daemon,
    snap_in: String,
    source: String,
}

impl Bench {
    fn start() -> Bench {
        let plugins = vec!["mortise-test-stand-ins".to_owned()];
        let daemon = Daemon::start_with(Options { plugins, ..Options::default() });
        let (snap_in, source) = install(&daemon, "later");
        daemon.step("activate", &snap_in, "ACTIVE");
        Bench { daemon, snap_in, source }
    }

    fn ask(&self, more: Value) -> Response {
        let body = request(&self.source, more);
        self.daemon.try_call("event-sources.schedule", &body).expect("an answer")
    }

    #[track_caller]
    fn schedule(&self, more: Value) -> Value {
        let answer = self.ask(more);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    #[track_caller]
    fn refused(&self, status: u16, more: Value) -> Value {
        let answer = self.ask(more);
        assert_eq!(answer.status, status, "{}", answer.text());
        answer.json()
    }

    fn pending(&self) -> Vec<String> {
        let rows = self.daemon.list_all(
            "event-sources.list-scheduled",
            "scheduled_events",
            &json!({ "id": self.source }),
        );
        rows.iter().map(|it| it["event_key"].as_str().expect("a key").to_owned()).collect()
    }

    /// The payloads that were published, and when, in order.
    fn published(&self) -> Vec<(Value, Timestamp)> {
        let filter = json!({ "snap_in": self.snap_in });
        let mut events = self.daemon.list_all("events.list", "events", &filter);
        events.reverse();
        events
            .iter()
            .map(|it| {
                assert_eq!(it["type"], "custom:reminder");
                let whole = self.daemon.call("events.get", &json!({ "id": it["id"] }));
                (whole["event"]["payload"].clone(), moment(&it["received_date"]))
            })
            .collect()
    }

    fn wait_for(&self, count: usize) -> Vec<(Value, Timestamp)> {
        eventually("they are published", PATIENCE, || {
            let published = self.published();
            (published.len() >= count).then_some(published)
        })
    }
}

fn moment(date: &Value) -> Timestamp {
    date.as_str().and_then(|it| it.parse().ok()).expect("a date")
}

/// So many milliseconds from now.
fn at(ms: i64) -> String {
    let now = Timestamp::now();
    now.checked_add(jiff::SignedDuration::from_millis(ms)).expect("this age").to_string()
}

fn install(daemon: &Daemon, slug: &str) -> (String, String) {
    install_kind(daemon, slug, "flow-events")
}

fn install_kind(daemon: &Daemon, slug: &str, kind: &str) -> (String, String) {
    let package = r#"{"name":"tested","version":"1.0.0","main":"src/index.ts"}"#;
    let archive = pack(&[("package.json", package), ("src/index.ts", CODE)]);
    daemon.call("packages.create", &json!({ "slug": slug }));
    let manifest = manifest().replace("flow-events", kind);
    let upload = json!({ "package": slug, "manifest": manifest, "archive": archive });
    let version = daemon.call("versions.create", &upload);
    let snap_in = daemon.call("snap-ins.create", &json!({ "version": version["version"]["id"] }));
    let snap_in = snap_in["snap_in"]["id"].as_str().expect("an id").to_owned();
    let sources = daemon.call("event-sources.list", &json!({ "snap_in": snap_in }));
    (snap_in, sources["event_sources"][0]["id"].as_str().expect("an id").to_owned())
}

/// What schedules `{"n": 1}`, unless `more` says otherwise.
fn request(source: &str, more: Value) -> Value {
    let mut body = json!({
        "id": source, "event_type": "reminder", "payload": STANDARD.encode(r#"{"n":1}"#),
    });
    for (key, value) in more.as_object().expect("an object") {
        body[key] = match (key.as_str(), value) {
            ("payload", Value::Object(_)) => json!(STANDARD.encode(value.to_string())),
            _ => value.clone(),
        };
    }
    body
}

#[test]
fn a_function_schedules_and_another_receives() {
    let bench = Bench::start();
    let due = at(2_000);
    let call = |source: &str, snap_in: &str| {
        let payload = request(source, json!({ "publish_at": due, "payload": { "ticket": 7 } }));
        let call = json!({ "snap_in": snap_in, "function": "schedule", "payload": payload });
        bench.daemon.call("functions.call", &call)["result"].clone()
    };
    let answer = call(&bench.source, &bench.snap_in);
    assert_eq!(answer["status"], 200, "{answer}");
    assert!(answer["body"].as_str().is_some_and(|it| it.contains("event_key")), "{answer}");
    // Of its own snap-in only.
    let (other, _) = install(&bench.daemon, "other");
    bench.daemon.step("activate", &other, "ACTIVE");
    let refused = call(&bench.source, &other);
    assert_eq!(refused["status"], 404, "{refused}");

    let published = bench.wait_for(1);
    assert_eq!(published[0].0, json!({ "ticket": 7 }));
    let due: Timestamp = due.parse().expect("a time");
    // What is shown is cut to milliseconds, and nothing is published before the next one.
    assert!(published[0].1 >= due, "{} is before {due}", published[0].1);
    let events = bench.daemon.call("events.list", &json!({ "snap_in": bench.snap_in }));
    let run = bench.daemon.run_of(events["events"][0]["id"].as_str().expect("an id"));
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(run["result"]["payload"], json!({ "ticket": 7 }));
    assert_eq!(run["result"]["execution_metadata"]["event_type"], "custom:reminder");
    assert_eq!(events["events"][0]["hops"], 0, "a new chain of causes");
    assert!(bench.pending().is_empty());
}

#[test]
fn a_key_is_pending_once() {
    let bench = Bench::start();
    let hour = at(3_600_000);
    let first = bench.schedule(json!({ "publish_at": hour, "event_key": "k" }));
    assert_eq!((first["event_key"].as_str(), &first["replaced"]), (Some("k"), &json!(false)));
    let refused = bench.refused(409, json!({ "publish_at": hour, "event_key": "k" }));
    assert_eq!(refused["code"], "already_scheduled");
    // Also when it is to be published at once.
    let refused = bench.refused(409, json!({ "event_key": "k" }));
    assert_eq!(refused["code"], "already_scheduled");
    assert!(bench.published().is_empty());

    let soon = json!({
        "publish_at": at(300), "event_key": "k", "update_if_exists": true, "payload": { "n": 2 },
    });
    assert_eq!(bench.schedule(soon)["replaced"], true);
    assert_eq!(bench.wait_for(1)[0].0, json!({ "n": 2 }));

    bench.schedule(json!({ "publish_at": hour, "event_key": "k" }));
    let shown = bench.daemon.call("event-sources.get", &json!({ "id": bench.source }));
    assert_eq!(shown["event_source"]["scheduled_events"], 1);
    let take_back = json!({ "id": bench.source, "event_key": "k" });
    let done = bench.daemon.try_call("event-sources.unschedule", &take_back).expect("an answer");
    assert_eq!((done.status, done.text().as_str()), (200, ""));
    bench.daemon.refused("event-sources.unschedule", &take_back, 404);
    assert!(bench.pending().is_empty());

    // At once, in the place of one that is pending.
    bench.schedule(json!({ "publish_at": hour, "event_key": "k" }));
    let now = json!({ "event_key": "k", "update_if_exists": true, "payload": { "n": 3 } });
    let answer = bench.schedule(now);
    assert!(answer["events"][0].is_string() && answer["publish_date"].is_null(), "{answer}");
    let past = bench.schedule(json!({ "publish_at": "2020-01-01T00:00:00Z" }));
    assert!(past["events"][0].is_string() && past["event_key"].is_string(), "{past}");
    assert!(bench.pending().is_empty());
    assert_eq!(bench.published().len(), 3);
}

#[test]
fn what_is_wrong_is_said() {
    let bench = Bench::start();
    let field = |more: Value| bench.refused(400, more)["field"].clone();
    assert_eq!(field(json!({ "payload": "{}" })), "payload");
    assert_eq!(field(json!({ "payload": STANDARD.encode("{") })), "payload");
    let large = STANDARD.encode(json!("x".repeat(262_144)).to_string());
    assert_eq!(field(json!({ "payload": large })), "payload");
    assert_eq!(field(json!({ "event_type": "" })), "event_type");
    assert_eq!(field(json!({ "event_type": "custom:" })), "event_type");
    assert_eq!(field(json!({ "event_type": "x".repeat(201) })), "event_type");
    assert_eq!(field(json!({ "event_type": "a\nb" })), "event_type");
    assert_eq!(field(json!({ "event_key": "" })), "event_key");
    assert_eq!(field(json!({ "publish_at": "tomorrow" })), "publish_at");
    assert_eq!(field(json!({ "publish_at": "2226-01-01T00:00:00Z" })), "publish_at");
    bench.refused(404, json!({ "id": bench.source.replace(&bench.source[20..], "0000000000") }));
    // The prefix is taken as people write it.
    bench.schedule(json!({ "event_type": "custom:reminder" }));
    assert_eq!(bench.published().len(), 1);

    let hook = bench.daemon.install(&Parts::new("hook", SIGNED, "export const run = () => {};"));
    let refused = bench.refused(422, json!({ "id": hook.source }));
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("flow-events")), "{refused}");
    let wrong = json!({ "id": bench.source, "cursor": "1f" });
    bench.daemon.refused("event-sources.list-scheduled", &wrong, 400);
}

#[test]
fn what_the_source_does_not_take_is_an_error_at_once_and_counted_later() {
    let plugins = vec!["mortise-test-misbehaving".to_owned()];
    let daemon = Daemon::start_with(Options { plugins, ..Options::default() });
    let (snap_in, source) = install_kind(&daemon, "choosy", "test-choosy");
    daemon.step("activate", &snap_in, "ACTIVE");
    let bench = Bench { daemon, snap_in, source };
    let counts = || {
        let shown = bench.daemon.call("event-sources.get", &json!({ "id": bench.source }));
        shown["event_source"]["counts"].clone()
    };

    // At once: whoever publishes is told, and nothing that was pending has gone for it.
    let hour = at(3_600_000);
    bench.schedule(json!({ "publish_at": hour, "event_key": "k" }));
    let replacing = json!({ "event_type": "refused", "event_key": "k", "update_if_exists": true });
    let refused = bench.refused(422, replacing);
    assert_eq!(refused["code"], "invalid");
    assert_eq!(refused["message"], "the source refuses this: nobody wants this");
    let never = bench.refused(400, json!({ "event_type": "never" }));
    assert!(never["message"].as_str().is_some_and(|it| it.contains("never taken")), "{never}");
    let publish = json!({ "id": bench.source, "event_type": "custom:refused", "payload": 1 });
    bench.daemon.refused("event-sources.publish", &publish, 422);
    // What leads to no event without a word is no error.
    assert_eq!(bench.schedule(json!({ "event_type": "nothing" }))["events"], json!([]));
    assert_eq!(bench.pending(), ["k"]);
    let before = counts();
    assert_eq!(before["refused_by_reason"], json!({ "unwanted": 2 }), "{before:#}");
    assert_eq!(before["failed_by_reason"], json!({ "unsupported": 1 }), "{before:#}");

    // Later there is nobody to tell: it is dropped, counted, and stands in nobody's way.
    for event_type in ["refused", "never", "nothing", "reminder"] {
        bench.schedule(json!({ "publish_at": at(300), "event_type": event_type }));
    }
    assert_eq!(bench.wait_for(1).len(), 1);
    assert_eq!(bench.pending(), ["k"]);
    let after = eventually("all are counted", PATIENCE, || {
        Some(counts()).filter(|it| it["accepted"] == json!(1))
    });
    assert_eq!(after["refused_by_reason"], json!({ "unwanted": 3 }), "{after:#}");
    assert_eq!(after["failed_by_reason"], json!({ "unsupported": 2 }), "{after:#}");
    let log = bench.daemon.call("event-sources.logs", &json!({ "id": bench.source })).to_string();
    assert!(log.contains("was dropped: the source refuses it: nobody wants this"), "{log}");
    let refusals = bench.daemon.call("event-sources.refusals", &json!({ "id": bench.source }));
    let last = refusals["refusals"].as_array().and_then(|it| it.last().cloned());
    let last = last.expect("there are some");
    assert_eq!((&last["method"], &last["reason"]), (&json!("schedule"), &json!("unwanted")));
}

#[test]
fn after_kill_dash_nine_each_is_published_once_and_in_order() {
    let bench = Bench::start();
    for n in 0..60 {
        // Some are due before the daemon ends, some while it is down, some after.
        let due = at(300 + n * 50);
        bench.schedule(json!({ "publish_at": due, "payload": { "n": n, "due": due } }));
    }
    for _ in 0..3 {
        bench.daemon.restart();
    }
    let published = bench.wait_for(60);
    assert_eq!(published.len(), 60);
    let mut numbers = Vec::new();
    for (payload, received) in &published {
        let due = moment(&payload["due"]);
        assert!(*received >= due, "{received} is before {due}");
        numbers.push(payload["n"].as_u64().expect("a number"));
    }
    assert!(numbers.iter().copied().eq(0..60), "{numbers:?}");
    assert!(bench.pending().is_empty());
}

#[test]
fn a_closed_source_publishes_when_it_opens() {
    let bench = Bench::start();
    let id = json!({ "id": bench.source });
    bench.daemon.call("event-sources.pause", &id);
    for n in [2, 1] {
        bench.schedule(json!({ "publish_at": at(n * 50), "payload": { "n": n } }));
    }
    let answer = bench.schedule(json!({ "payload": { "n": 0 } }));
    assert!(answer["publish_date"].is_string(), "it is pending: {answer}");
    bench.schedule(json!({ "publish_at": at(3_600_000), "event_key": "much later" }));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((bench.pending().len(), bench.published().len()), (4, 0));
    bench.daemon.call("event-sources.resume", &id);
    let order: Vec<_> =
        bench.wait_for(3).iter().map(|(it, _)| it["n"].as_u64().expect("a number")).collect();
    assert_eq!(order, [0, 1, 2]);
    assert_eq!(bench.pending(), ["much later"]);

    bench.daemon.step("delete", &bench.snap_in, "DELETED");
    bench.refused(404, json!({}));
    bench.daemon.refused("event-sources.list-scheduled", &id, 404);
}

#[test]
fn from_the_command_line() {
    let bench = Bench::start();
    let source = bench.source.as_str();
    let run = |arguments: &[&str]| {
        let mut all = vec!["source"];
        all.extend(arguments);
        script(&bench.daemon, &all, "")
    };
    let done = run(&["schedule", source, "reminder", "{\"n\": 1}", "--in", "2h", "--key", "k"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.starts_with("scheduled k: ") && done.out.contains("(in "), "{done:?}");
    let again = run(&["schedule", source, "reminder", "{}", "--in", "2h", "--key", "k"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("is pending"), "{again:?}");
    let listed = run(&["scheduled", source]);
    assert!(
        listed.out.contains("custom:reminder") && listed.out.contains("in 119 min"),
        "{listed:?}"
    );
    let listed = run(&["scheduled", source, "--json", "--with-payload"]).json();
    assert_eq!(listed["scheduled_events"][0]["payload"], json!({ "n": 1 }), "{listed}");
    let past = ["schedule", source, "reminder", "{}", "--at", "2020-01-01 00:00", "--key", "k"];
    let replaced = run(&[&past[..], &["--replace"]].concat());
    assert_eq!((replaced.code, replaced.out.as_str()), (0, "published k\n"), "{replaced:?}");
    assert_eq!(run(&["unschedule", source, "k"]).code, 1);
    run(&["schedule", source, "reminder", "{}", "--in", "2h", "--key", "k"]);
    let done = run(&["unschedule", source, "k"]);
    assert_eq!((done.code, done.out.as_str()), (0, "done\n"), "{done:?}");
    assert_eq!(run(&["schedule", source, "reminder", "{}", "--in", "soon"]).code, 2);
}
