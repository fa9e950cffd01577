//! Changes of objects reach event sources on a real daemon: once each, in order, filtered, whatever
//! becomes of the daemon, and of other sources, in between.
//!
//! Most of it is tested with the daemon's own things, which are objects like all others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed, Options};
use mortise_tests::snap_in::{Parts, pack};
use mortise_tests::{Numbers, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with the event; throws when it hears of what failed; takes its time when it is called so.
const CODE: &str = "
const tell = async ([event]) => event;
const fail = async () => { throw new Error('a mistake that a test makes'); };
const linger = async ([event]) => {
  await new Promise((resolve) => setTimeout(resolve, 400));
  return event.payload.id;
};
export const functionFactory = { tell, fail, linger };
";

/// A snap-in that listens to changes.
struct Listener<'a> {
    name: &'a str,
    event_types: &'a [&'a str],
    filter: Option<&'a str>,
    function: &'a str,
}

impl Listener<'_> {
    fn manifest(&self) -> String {
        let types = json!(self.event_types);
        let filter = self.filter.map(|it| {
            let lines: String = it.lines().map(|it| format!("            {it}\n")).collect();
            format!("        filter:\n          jq_query: |\n{lines}")
        });
        format!(
            "version: \"2\"\nname: {}\ndescription: For tests.\n\
             service_account:\n  display_name: Tester\n\
             event_sources:\n  organization:\n    - name: changes\n      display_name: Changes\n      \
             type: devrev-webhook\n      config:\n        event_types: {types}\n{}\
             functions:\n  - {{name: tell, description: Tells.}}\n  \
             - {{name: fail, description: Fails.}}\n  - {{name: linger, description: Lingers.}}\n\
             automations:\n  - name: All\n    source: changes\n    event_types: {types}\n    \
             function: {}\n",
            self.name,
            filter.unwrap_or_default(),
            self.function
        )
    }

    #[track_caller]
    fn install(&self, daemon: &Daemon) -> Installed {
        let package = r#"{"name":"tested","version":"1.0.0","main":"src/index.ts"}"#;
        let archive = pack(&[("package.json", package), ("src/index.ts", CODE)]);
        daemon.call("packages.create", &json!({ "slug": self.name }));
        let upload =
            json!({ "package": self.name, "manifest": self.manifest(), "archive": archive });
        let version = daemon.call("versions.create", &upload);
        let made = daemon.call("snap-ins.create", &json!({ "version": version["version"]["id"] }));
        let id = made["snap_in"]["id"].as_str().expect("an id").to_owned();
        let sources = daemon.call("event-sources.list", &json!({ "snap_in": id }));
        let source = sources["event_sources"][0]["id"].as_str().expect("an id").to_owned();
        daemon.step("activate", &id, "ACTIVE");
        Installed { id, source, path: String::new() }
    }
}

fn listen<'a>(event_types: &'a [&'a str], filter: Option<&'a str>) -> Listener<'a> {
    Listener { name: "listener", event_types, filter, function: "tell" }
}

/// The payloads of the events of a snap-in, in order.
fn payloads(daemon: &Daemon, it: &Installed) -> Vec<Value> {
    let mut events = daemon.list_all("events.list", "events", &json!({ "snap_in": it.id }));
    events.reverse();
    let whole = |it: &Value| {
        daemon.call("events.get", &json!({ "id": it["id"] }))["event"]["payload"].clone()
    };
    events.iter().map(whole).collect()
}

fn count_events(daemon: &Daemon, it: &Installed) -> usize {
    daemon.list_all("events.list", "events", &json!({ "snap_in": it.id })).len()
}

fn source_of(daemon: &Daemon, it: &Installed) -> Value {
    daemon.call("event-sources.get", &json!({ "id": it.source }))["event_source"].clone()
}

#[track_caller]
fn wait_for(daemon: &Daemon, it: &Installed, count: usize) -> Vec<Value> {
    eventually("the events are there", PATIENCE, || {
        (count_events(daemon, it) >= count).then(|| payloads(daemon, it))
    })
}

/// Makes something of the daemon's own change: the standing of a source.
fn pause_and_resume(daemon: &Daemon, it: &Installed) {
    for verb in ["pause", "resume"] {
        daemon.call(&format!("event-sources.{verb}"), &json!({ "id": it.source }));
    }
}

#[test]
fn a_change_reaches_a_function_that_asked_for_it() {
    let daemon = Daemon::start();
    let filter = "if .type == \"snap_in_updated\" then\n  \
                  .snap_in_updated.snap_in.scope == \"default/default/echo\"\n    and \
                  .snap_in_updated.snap_in.state == \"ACTIVE\"\nelse $user.id == \"nobody\" end";
    let event_types = ["snap_in_updated", "snap_in_created"];
    let listener = listen(&event_types, Some(filter)).install(&daemon);
    let echo = daemon.install(&Parts::echo());
    let payload = wait_for(&daemon, &listener, 1).remove(0);
    let change = &payload["snap_in_updated"];
    assert_eq!(payload["type"], "snap_in_updated", "{payload:#}");
    assert!(payload["id"].as_str().is_some_and(|it| it.starts_with("chg_")), "{payload:#}");
    assert!(payload["timestamp"].as_str().is_some_and(|it| it.ends_with('Z')), "{payload:#}");
    assert_eq!(change["snap_in"]["id"], echo.id);
    assert_eq!(change["snap_in"]["snap_in_version"]["name"], "echo", "references are shown");
    assert_eq!(change["old_snap_in"]["state"], "ACTIVATING");
    let versions = [&change["old_snap_in"]["version"], &change["snap_in"]["version"]];
    assert_eq!(versions[0].as_u64().map(|it| it + 1), versions[1].as_u64());

    let events = daemon.call("events.list", &json!({ "snap_in": listener.id }));
    let run = daemon.run_of(events["events"][0]["id"].as_str().expect("an id"));
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(run["result"]["payload"], payload);
    assert_eq!(run["result"]["execution_metadata"]["event_type"], "snap_in_updated");
    let counts = source_of(&daemon, &listener)["counts"].clone();
    assert_eq!((&counts["accepted"], &counts["refused"]), (&json!(1), &json!(0)), "{counts}");
}

#[test]
fn a_filter_that_gives_no_boolean_is_told_and_no_event() {
    let daemon = Daemon::start();
    let event_types = ["event_source_updated"];
    let listener =
        listen(&event_types, Some(".event_source_updated.event_source.name")).install(&daemon);
    let echo = daemon.install(&Parts::echo());
    pause_and_resume(&daemon, &echo);
    let counts = eventually("both are counted", PATIENCE, || {
        let counts = source_of(&daemon, &listener)["counts"].clone();
        (counts["refused_by_reason"]["filter_failed"] == 2).then_some(counts)
    });
    assert_eq!(counts["accepted"], 0, "{counts}");
    let logs = daemon.call("event-sources.logs", &json!({ "id": listener.source }));
    let line = &logs["lines"][0];
    assert_eq!(line["level"], "error", "{logs}");
    let message = line["message"].as_str().expect("a message");
    assert!(message.contains("gave a string") && !message.contains("hook"), "{message}");
    assert_eq!(count_events(&daemon, &listener), 0);
}

#[test]
fn a_source_that_is_closed_misses_what_happens_meanwhile_and_nothing_else() {
    let daemon = Daemon::start();
    let listener = listen(&["event_source_updated"], None).install(&daemon);
    let echo = daemon.install(&Parts::echo());
    pause_and_resume(&daemon, &echo);
    wait_for(&daemon, &listener, 2);
    daemon.call("event-sources.pause", &json!({ "id": listener.source }));
    pause_and_resume(&daemon, &echo);
    daemon.call("event-sources.resume", &json!({ "id": listener.source }));
    pause_and_resume(&daemon, &echo);
    // Its own resumption is no news for it: the row that tells of it is from before it was open.
    let versions = |payloads: Vec<Value>| -> Vec<u64> {
        let of_echo = payloads.into_iter().filter_map(|it| {
            let source = &it["event_source_updated"]["event_source"];
            (source["id"] == echo.source).then(|| source["version"].as_u64().expect("a version"))
        });
        of_echo.collect()
    };
    let seen = eventually("the later ones are there", PATIENCE, || {
        let seen = versions(payloads(&daemon, &listener));
        (seen.len() >= 4).then_some(seen)
    });
    assert_eq!(seen, [2, 3, 6, 7]);
    daemon.step("deactivate", &listener.id, "INACTIVE");
    pause_and_resume(&daemon, &echo);
    daemon.restart();
    daemon.step("activate", &listener.id, "ACTIVE");
    pause_and_resume(&daemon, &echo);
    let seen = eventually("the last ones are there", PATIENCE, || {
        let seen = versions(payloads(&daemon, &listener));
        (seen.len() >= 6).then_some(seen)
    });
    assert_eq!(seen, [2, 3, 6, 7, 10, 11]);
}

#[test]
fn one_whose_queue_is_full_holds_up_nobody_and_loses_nothing() {
    const CHANGES: usize = 12;
    let settings = "[limits]\nqueued_runs = 3".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let event_types = ["event_source_updated"];
    let slow = Listener {
        name: "slow",
        event_types: &event_types,
        filter: Some(".event_source_updated.event_source.name == \"hook\""),
        function: "linger",
    };
    let slow = slow.install(&daemon);
    let quick =
        Listener { name: "quick", function: "tell", filter: None, event_types: &event_types };
    let quick = quick.install(&daemon);
    let echo = daemon.install(&Parts::echo());
    for _ in 0..CHANGES / 2 {
        pause_and_resume(&daemon, &echo);
    }
    let versions = |it: &Installed| -> Vec<u64> {
        let version = |it: &Value| it["event_source_updated"]["event_source"]["version"].as_u64();
        payloads(&daemon, it).iter().filter_map(version).collect()
    };
    let all: Vec<u64> = (2..2 + CHANGES as u64).collect();
    wait_for(&daemon, &quick, CHANGES);
    assert_eq!(versions(&quick), all);
    let logs = daemon.call("event-sources.logs", &json!({ "id": slow.source }));
    wait_for(&daemon, &slow, CHANGES);
    assert_eq!(versions(&slow), all, "put off is not lost: {logs}");
}

#[test]
fn a_chain_of_failures_comes_to_its_end() {
    let daemon = Daemon::start();
    let listener = Listener {
        name: "listener",
        event_types: &["failed_run_created"],
        filter: None,
        function: "fail",
    };
    let listener = listener.install(&daemon);
    let call = json!({ "snap_in": listener.id, "function": "fail", "payload": {} });
    daemon.try_call("functions.call", &call).expect("an answer");
    let counts = eventually("the chain ends", PATIENCE, || {
        let counts = source_of(&daemon, &listener)["counts"].clone();
        (counts["refused_by_reason"]["chain_too_long"] == 1).then_some(counts)
    });
    assert_eq!(counts["accepted"], 16, "{counts}");
    let first = payloads(&daemon, &listener).remove(0);
    let failed = &first["failed_run_created"]["failed_run"];
    assert_eq!((&failed["trigger"], &failed["function"]), (&json!("call"), &json!("fail")));
    let message = failed["error"]["message"].as_str().expect("a message");
    assert!(message.contains("a mistake that a test makes"), "{failed}");
    let logs = daemon.call("event-sources.logs", &json!({ "id": listener.source }));
    assert!(logs.to_string().contains("chains end after 16"), "{logs}");
}

/// Pauses and resumes a source until it is told to stop, each until it is acknowledged, so that one
/// acknowledgement is one change; answers how many there were.
fn keep_changing(daemon: &Daemon, it: &Installed, stop: &AtomicBool, done: &AtomicU64) {
    for verb in ["event-sources.pause", "event-sources.resume"].iter().cycle() {
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            // Nobody answers while the daemon is dead.
            let answer = daemon.try_call(verb, &json!({ "id": it.source }));
            if answer.is_ok_and(|it| it.status == 200) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_change_is_told_once_and_in_order_whenever_the_daemon_is_killed() {
    const ROUNDS: usize = 8;
    const TARGETS: usize = 3;
    let mut numbers = Numbers(u64::from(std::process::id()));
    let daemon = Daemon::start();
    let filter = ".event_source_updated.event_source.type == \"flow-custom-webhook\"";
    let listener = listen(&["event_source_updated"], Some(filter)).install(&daemon);
    let targets: Vec<Installed> = (0..TARGETS)
        .map(|it| daemon.install(&Parts { name: format!("echo{it}"), ..Parts::echo() }))
        .collect();
    let stop = AtomicBool::new(false);
    let done: Vec<AtomicU64> = targets.iter().map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for (target, done) in targets.iter().zip(&done) {
            let (daemon, stop) = (&daemon, &stop);
            scope.spawn(move || keep_changing(daemon, target, stop, done));
        }
        for _ in 0..ROUNDS {
            let before = done[0].load(Ordering::Relaxed);
            eventually("changes are made", PATIENCE, || {
                (done[0].load(Ordering::Relaxed) > before + 3).then_some(())
            });
            // Anything may be going on.
            std::thread::sleep(Duration::from_millis(numbers.between(0, 150)));
            daemon.kill_dash_nine();
            daemon.restart();
        }
        stop.store(true, Ordering::Relaxed);
    });
    // The last one of each: what was before it comes before it.
    for target in &targets {
        pause_and_resume(&daemon, target);
        pause_and_resume(&daemon, target);
    }
    let mut total = 0;
    for (target, done) in targets.iter().zip(&done) {
        let last = daemon.call("event-sources.get", &json!({ "id": target.source }));
        assert_eq!(last["event_source"]["status"], "active");
        let versions: Vec<u64> = eventually("the last change is told", PATIENCE, || {
            let payloads = payloads(&daemon, &listener);
            let changes = payloads.iter().map(|it| &it["event_source_updated"]);
            let own: Vec<_> =
                changes.filter(|it| it["event_source"]["id"] == target.source).collect();
            // Of the last four steps, the first may have been one already.
            let settled = own.len() as u64 >= done.load(Ordering::Relaxed) + 3
                && own.last().is_some_and(|it| it["event_source"]["status"] == "active");
            settled.then(|| {
                own.iter().filter_map(|it| it["event_source"]["version"].as_u64()).collect()
            })
        });
        let expected: Vec<u64> = (2..2 + versions.len() as u64).collect();
        assert_eq!(versions, expected, "of {}", target.source);
        total += versions.len();
    }
    println!("{ROUNDS} kills, {total} changes of {TARGETS} objects, each told once and in order");
}
