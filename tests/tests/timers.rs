//! Timers on a real daemon: they tick while their snap-in is open to events, and each tick happens
//! once, whatever becomes of the daemon in between.

use std::collections::BTreeSet;
use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::snap_in::pack;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with what it was told.
const CODE: &str = "
const work = async (events) => events[0].payload;
export const functionFactory = { work };
";

/// A snap-in with one timer.
struct Timer<'a> {
    daemon: &'a Daemon,
    snap_in: String,
    source: String,
}

fn manifest(config: &str) -> String {
    format!(
        "version: \"2\"\nname: Timers\ndescription: For tests.\n\
         service_account:\n  display_name: Tester\n\
         event_sources:\n  organization:\n    - name: clock\n      display_name: Clock\n      \
         description: Ticks.\n      type: timer-events\n      config: {config}\n\
         functions:\n  - name: work\n    description: Works.\n\
         automations:\n  - name: All\n    source: clock\n    event_types: [timer.tick]\n    \
         function: work\n"
    )
}

fn upload(slug: &str, config: &str) -> Value {
    let package = r#"{"name":"tested","version":"1.0.0","main":"src/index.ts"}"#;
    let archive = pack(&[("package.json", package), ("src/index.ts", CODE)]);
    json!({ "package": slug, "manifest": manifest(config), "archive": archive })
}

impl Timer<'_> {
    /// Installs one, in DRAFT.
    fn install<'a>(daemon: &'a Daemon, slug: &str, config: &str) -> Timer<'a> {
        daemon.call("packages.create", &json!({ "slug": slug }));
        let version = daemon.call("versions.create", &upload(slug, config));
        let snap_in =
            daemon.call("snap-ins.create", &json!({ "version": version["version"]["id"] }));
        let snap_in = snap_in["snap_in"]["id"].as_str().expect("an id").to_owned();
        let sources = daemon.call("event-sources.list", &json!({ "snap_in": snap_in }));
        let source = sources["event_sources"][0]["id"].as_str().expect("an id").to_owned();
        Timer { daemon, snap_in, source }
    }

    fn events(&self) -> Vec<Value> {
        self.daemon.list_all("events.list", "events", &json!({ "snap_in": self.snap_in }))
    }

    /// Waits until so many more have come than there are, and answers how many there are then.
    fn wait_for_more(&self, more: usize) -> usize {
        let before = self.events().len();
        eventually("the timer ticks", PATIENCE, || {
            let now = self.events().len();
            (now >= before + more).then_some(now)
        })
    }

    /// Nothing comes of it, while another timer of the same rhythm goes on: between three of its ticks
    /// there are two seconds, in which this one would have had one, too.
    fn is_silent(&self, while_ticks: &Timer<'_>) {
        let before = self.events().len();
        while_ticks.wait_for_more(3);
        assert_eq!(self.events().len(), before, "it is closed");
    }

    fn shown(&self) -> Value {
        self.daemon.call("event-sources.get", &json!({ "id": self.source }))["event_source"].clone()
    }

    /// Every event led to one run, which succeeded, and no time came twice.
    fn all_is_well(&self) {
        let mut times = BTreeSet::new();
        for event in self.events() {
            let run = self.daemon.run_of(event["id"].as_str().expect("an id"));
            assert_eq!(run["state"], "succeeded", "{run:#}");
            let payload = &run["result"];
            assert_eq!(payload["event_source_id"], self.source.as_str(), "{payload}");
            assert_eq!(payload["dev_oid"], "org_local", "{payload}");
            assert_eq!(payload["metadata"], json!({ "task": "tick" }), "{payload}");
            let time = payload["scheduled_time"].as_u64().expect("milliseconds");
            assert!(times.insert(time), "{time} came twice");
        }
        let apart = times.iter().zip(times.iter().skip(1));
        assert!(apart.clone().all(|(a, b)| (b - a) % 1_000 == 0), "one rhythm: {times:?}");
    }
}

const EVERY_SECOND: &str = "{interval_seconds: 1, metadata: {task: tick}}";

#[test]
fn a_timer_ticks_while_it_is_open() {
    let daemon = Daemon::start();
    let timer = Timer::install(&daemon, "timers", EVERY_SECOND);
    let other = Timer::install(&daemon, "others", EVERY_SECOND);
    daemon.step("activate", &other.snap_in, "ACTIVE");
    assert_eq!(timer.shown()["next_tick_date"], Value::Null);
    timer.is_silent(&other);
    daemon.step("activate", &timer.snap_in, "ACTIVE");
    timer.wait_for_more(3);
    assert!(timer.shown()["next_tick_date"].is_string());

    daemon.call("event-sources.pause", &json!({ "id": timer.source }));
    timer.is_silent(&other);
    assert_eq!(timer.shown()["next_tick_date"], Value::Null);
    daemon.call("event-sources.resume", &json!({ "id": timer.source }));
    timer.wait_for_more(2);

    daemon.step("deactivate", &timer.snap_in, "INACTIVE");
    timer.is_silent(&other);
    daemon.step("activate", &timer.snap_in, "ACTIVE");
    timer.wait_for_more(2);
    timer.all_is_well();

    daemon.step("delete", &timer.snap_in, "DELETED");
    timer.is_silent(&other);
    assert_eq!(
        daemon.refused("event-sources.get", &json!({ "id": timer.source }), 404)["code"],
        "not_found"
    );
}

#[test]
fn after_kill_dash_nine_every_tick_is_there_once() {
    let daemon = Daemon::start();
    let timer = Timer::install(&daemon, "timers", EVERY_SECOND);
    daemon.step("activate", &timer.snap_in, "ACTIVE");
    let mut before = timer.wait_for_more(2);
    for _ in 0..4 {
        // The event list is of the last moment before: nothing of it may be gone.
        daemon.restart();
        assert!(timer.events().len() >= before);
        before = timer.wait_for_more(1);
    }
    daemon.call("event-sources.pause", &json!({ "id": timer.source }));
    timer.all_is_well();
}

#[test]
fn times_at_which_the_daemon_was_down_are_missed_and_told() {
    let daemon = Daemon::start();
    let timer =
        Timer::install(&daemon, "timers", "{cron: \"* * * * * *\", metadata: {task: tick}}");
    daemon.step("activate", &timer.snap_in, "ACTIVE");
    let before = timer.wait_for_more(1);
    daemon.kill_dash_nine();
    // Times of a cron line are the wall clock's: some have to go by, and nothing tells of them.
    std::thread::sleep(Duration::from_secs(4));
    daemon.restart();
    let told = eventually("the log tells", PATIENCE, || {
        let log = daemon.call("event-sources.logs", &json!({ "id": timer.source })).to_string();
        log.contains("missed").then_some(log)
    });
    // The last of them is in time, as less than a minute late is: one event, and the rhythm goes on.
    assert!(told.contains("one event stands for all"), "{told}");
    let after = timer.wait_for_more(1);
    assert!(after > before);
    timer.all_is_well();
}

#[test]
fn a_cron_line_is_checked_and_its_next_time_shown() {
    let daemon = Daemon::start();
    let yearly = "{cron: \"0 0 1 1 *\", timezone: Europe/Berlin}";
    let timer = Timer::install(&daemon, "timers", yearly);
    daemon.step("activate", &timer.snap_in, "ACTIVE");
    let next = eventually("it has been woken", PATIENCE, || {
        timer.shown()["next_tick_date"].as_str().map(str::to_owned)
    });
    assert!(next.contains("-12-31T23:00:00"), "{next}");
    daemon.restart();
    let again = eventually("it has been woken", PATIENCE, || {
        timer.shown()["next_tick_date"].as_str().map(str::to_owned)
    });
    assert_eq!(again, next);
    assert!(timer.events().is_empty());

    let wrong = upload("timers", "{cron: \"0 25 * * *\", timezone: Nowhere/City}");
    let problem = daemon.refused("versions.create", &wrong, 422).to_string();
    assert!(problem.contains("config.cron") && problem.contains("config.timezone"), "{problem}");
}
