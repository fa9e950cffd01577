//! Clocks that are set, forwards and backwards, under a real daemon and while it is down: what timers,
//! scheduled events and dedup windows make of it. The daemon's clock is the test's; nothing here waits
//! for hours.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use mortise_tests::clock::TestClock;
use mortise_tests::daemon::{Daemon, Installed};
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, pack, sign};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

const MANIFEST: &str = "
version: \"2\"
name: Clocks
description: For tests.
service_account: {display_name: Tester}
event_sources:
  organization:
    - {name: skip, display_name: A, type: timer-events, config: {cron: '0 0 * * *'}}
    - {name: once, display_name: B, type: timer-events, config: {cron: '0 0 * * *', missed: run_once}}
    - {name: every, display_name: C, type: timer-events, config: {interval_seconds: 86400, missed: run_once}}
    - {name: later, display_name: D, type: flow-events}
    - {name: nudge, display_name: E, type: flow-events}
functions:
  - {name: work, description: Works.}
automations:
  - {name: All, source: once, event_types: [timer.tick], function: work}
";

const CODE: &str = "
const work = async ([event]) => event.payload;
export const functionFactory = { work };
";

struct Bench {
    clock: TestClock,
    daemon: Daemon,
    sources: Value,
}

impl Bench {
    fn start() -> Bench {
        let clock = TestClock::new();
        // The next midnight is far enough away for whatever a test does first.
        clock.set(noon(clock.now()));
        let daemon = Daemon::start_with(clock.options());
        daemon.call("packages.create", &json!({ "slug": "clocks" }));
        let package = r#"{"name":"clocks","version":"1.0.0","main":"index.ts"}"#;
        let archive = pack(&[("package.json", package), ("index.ts", CODE)]);
        let version = json!({ "package": "clocks", "manifest": MANIFEST, "archive": archive });
        let version = daemon.call("versions.create", &version)["version"]["id"].clone();
        let id =
            daemon.call("snap-ins.create", &json!({ "version": version }))["snap_in"]["id"].clone();
        daemon.step("activate", id.as_str().expect("an id"), "ACTIVE");
        let mut sources = json!({});
        for source in
            daemon.list_all("event-sources.list", "event_sources", &json!({ "snap_in": id }))
        {
            sources[source["name"].as_str().expect("a name")] = source["id"].clone();
        }
        let bench = Bench { clock, daemon, sources };
        for name in ["skip", "once", "every"] {
            eventually("the timer is set up", PATIENCE, || bench.next(name));
        }
        bench
    }

    /// When a timer is woken next.
    fn next(&self, name: &str) -> Option<Timestamp> {
        let which = json!({ "id": self.sources[name] });
        let source = self.daemon.call("event-sources.get", &which);
        source["event_source"]["next_tick_date"].as_str().and_then(|it| it.parse().ok())
    }

    /// The times that the events of a timer stand for, in order.
    fn times(&self, name: &str) -> Vec<Timestamp> {
        let time = |event: &Value| {
            let whole = self.daemon.call("events.get", &json!({ "id": event["id"] }));
            let time = whole["event"]["payload"]["scheduled_time"].as_i64().expect("milliseconds");
            Timestamp::from_millisecond(time).expect("a date")
        };
        self.events(name).iter().map(time).collect()
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let all = self.daemon.list_all("events.list", "events", &json!({}));
        let of_it = all.into_iter().filter(|it| it["event_source"] == self.sources[name]);
        of_it.collect::<Vec<_>>().into_iter().rev().collect()
    }

    #[track_caller]
    fn wait_for(&self, name: &str, count: usize) -> Vec<Timestamp> {
        eventually("the timer has ticked", PATIENCE, || {
            self.look();
            Some(self.times(name)).filter(|it| it.len() >= count)
        })
    }

    /// Has the daemon look at its clock, which it does once a minute otherwise: a source that opens
    /// makes what wakes timers look, and something that is scheduled what publishes.
    fn look(&self) {
        for call in ["event-sources.pause", "event-sources.resume"] {
            self.daemon.call(call, &json!({ "id": self.sources["every"] }));
        }
        let nudged = self.events("nudge").len();
        let soon = self.clock.now().checked_add(SignedDuration::from_millis(50)).expect("a date");
        self.schedule("nudge", soon);
        eventually("the nudge is published", PATIENCE, || {
            (self.events("nudge").len() > nudged).then_some(())
        });
    }

    fn schedule(&self, name: &str, at: Timestamp) {
        let event = json!({
            "id": self.sources[name], "event_type": "x", "payload": STANDARD.encode("{}"),
            "publish_at": at.to_string(),
        });
        self.daemon.call("event-sources.schedule", &event);
    }

    fn log(&self, name: &str) -> String {
        self.daemon.call("event-sources.logs", &json!({ "id": self.sources[name] })).to_string()
    }
}

/// Noon of the day after a time, in UTC.
fn noon(after: Timestamp) -> Timestamp {
    midnight(after).checked_add(SignedDuration::from_hours(12)).expect("a date")
}

/// The first midnight after a time, in UTC.
fn midnight(after: Timestamp) -> Timestamp {
    let day = 86_400;
    Timestamp::from_second((after.as_second().div_euclid(day) + 1) * day).expect("a date")
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

#[test]
fn times_that_were_missed_while_the_daemon_was_down_are_made_up_once_or_skipped() {
    let bench = Bench::start();
    let first = midnight(bench.clock.now());
    assert_eq!((bench.next("skip"), bench.next("once")), (Some(first), Some(first)));
    let anchor = bench.next("every").expect("it is set up");
    bench.daemon.kill_dash_nine();
    bench.clock.forward(3 * DAY);
    bench.daemon.restart();

    // One event for three midnights, and it stands for the last of them.
    let last = first.checked_add(seconds(2 * 86_400)).expect("a date");
    assert_eq!(bench.wait_for("once", 1), [last]);
    let log = bench.log("once");
    assert!(
        log.contains("3 times were missed") && log.contains("one event stands for all"),
        "{log}"
    );
    let next = last.checked_add(seconds(86_400)).expect("a date");
    assert_eq!(bench.next("once"), Some(next));
    let run = bench.events("once")[0]["id"].as_str().map(|it| bench.daemon.run_of(it));
    assert_eq!(run.expect("an id")["state"], "succeeded");

    eventually("it has been woken", PATIENCE, || (bench.next("skip") == Some(next)).then_some(()));
    assert!(bench.times("skip").is_empty(), "it skips what it missed");
    let log = bench.log("skip");
    assert!(log.contains("3 times were missed") && log.contains("skipped"), "{log}");
    // An interval keeps its rhythm, whatever the daemon does.
    let ticked = bench.wait_for("every", 1)[0].duration_since(anchor).as_secs();
    assert_eq!((ticked > 0, ticked % 86_400), (true, 0), "{ticked}");

    // In time from here on.
    bench.clock.set(next.checked_add(seconds(1)).expect("a date"));
    assert_eq!(bench.wait_for("skip", 1), [next]);
    assert_eq!(bench.wait_for("once", 2), [last, next]);
}

#[test]
fn a_clock_that_is_set_while_the_daemon_runs_is_followed() {
    let bench = Bench::start();
    let first = midnight(bench.clock.now());
    bench.clock.set(first.checked_add(seconds(1)).expect("a date"));
    assert_eq!(bench.wait_for("skip", 1), [first]);
    let second = first.checked_add(seconds(86_400)).expect("a date");
    eventually("it waits for the next", PATIENCE, || {
        (bench.next("skip") == Some(second)).then_some(())
    });

    // Half a day back: that midnight comes again, and is no second event.
    bench.clock.step(-12 * 3_600_000);
    bench.look();
    eventually("the one that comes again", PATIENCE, || {
        (bench.next("skip") == Some(first)).then_some(())
    });
    bench.clock.set(first.checked_add(seconds(2)).expect("a date"));
    bench.look();
    eventually("it waits for the next", PATIENCE, || {
        (bench.next("skip") == Some(second)).then_some(())
    });
    assert_eq!(bench.times("skip"), [first], "no time comes twice");

    // Two days on at once: one was missed while the daemon ran.
    let third = second.checked_add(seconds(86_400)).expect("a date");
    bench.clock.set(third.checked_add(seconds(1)).expect("a date"));
    assert_eq!(bench.wait_for("skip", 2), [first, third]);
    assert_eq!(bench.wait_for("once", 2), [first, third]);
    assert!(bench.log("skip").contains("1 time was missed"), "{}", bench.log("skip"));
}

#[test]
fn scheduled_events_go_by_the_clock_and_are_never_early() {
    let bench = Bench::start();
    let later = |by: i64| bench.clock.now().checked_add(seconds(by)).expect("a date");
    let due = later(3_600);
    bench.schedule("later", due);
    bench.clock.set(due.checked_sub(seconds(20)).expect("a date"));
    bench.look();
    assert!(bench.events("later").is_empty(), "twenty seconds early");
    // Back, and on again: still not before its time.
    bench.clock.step(-2 * 3_600_000);
    bench.look();
    assert!(bench.events("later").is_empty(), "two hours early");
    bench.clock.set(due.checked_add(seconds(1)).expect("a date"));
    bench.look();
    let published = eventually("it is published", PATIENCE, || {
        Some(bench.events("later")).filter(|it| !it.is_empty())
    });
    let received: Timestamp =
        published[0]["received_date"].as_str().and_then(|it| it.parse().ok()).expect("a date");
    assert!(received >= due, "{received} is before {due}");

    // While the daemon is down: published late rather than never, in order, and the log says so.
    let (second, third) = (later(7_200), later(3_600));
    bench.schedule("later", second);
    bench.schedule("later", third);
    bench.daemon.kill_dash_nine();
    bench.clock.forward(5 * HOUR);
    bench.daemon.restart();
    eventually("both are published", PATIENCE, || (bench.events("later").len() == 3).then_some(()));
    assert!(bench.log("later").contains("more than a minute late"), "{}", bench.log("later"));
}

#[test]
fn a_delivery_is_known_for_a_day() {
    let clock = TestClock::new();
    let daemon = Daemon::start_with(clock.options());
    let it = daemon.install(&Parts::echo());
    let (first, is_known) = send(&daemon, &it);
    assert!(!is_known);
    clock.forward(DAY - HOUR);
    assert_eq!(send(&daemon, &it), (first.clone(), true), "23 hours later");
    daemon.restart();
    assert_eq!(send(&daemon, &it), (first.clone(), true), "and over a restart");
    clock.forward(HOUR);
    let (second, is_known) = send(&daemon, &it);
    assert!(!is_known && second != first, "after a day it is another one");
    assert_eq!(send(&daemon, &it), (second, true));
}

/// Sends a request with a key: the event that it is, and whether that was there.
fn send(daemon: &Daemon, it: &Installed) -> (String, bool) {
    let body = b"{\"n\":1}";
    let signature = sign(body);
    let headers = [
        ("content-type", "application/json"),
        ("x-signature-256", signature.as_str()),
        ("idempotency-key", "the same"),
    ];
    let response = eventually("the source is open", PATIENCE, || {
        let response = daemon.connect().send("POST", &it.path, &headers, body);
        Some(response.expect("an answer")).filter(|it| it.status != 503)
    });
    assert_eq!(response.status, 200, "{}", response.text());
    let event = &response.json()["events"][0];
    (event["id"].as_str().expect("an id").to_owned(), event["duplicate"] == true)
}
