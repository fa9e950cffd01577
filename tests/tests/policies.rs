//! What a function's entry in the manifest asks for, on a real daemon: retries and their interval,
//! order by `sync_id`, concurrency, time and memory. What the functions wait for is a file that a
//! server has or has not, so that nothing here depends on how fast anything is.

use std::collections::BTreeSet;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::files::{Answer, FileServer};
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn daemon() -> Daemon {
    let settings = "[egress]\nallow = [\"127.0.0.1\"]".to_owned();
    Daemon::start_with(Options { settings, ..Options::default() })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn run_id(daemon: &Daemon, event: &str) -> String {
    let event = daemon.call("events.get", &json!({ "id": event }));
    text(&event["event"]["runs"][0]).to_owned()
}

fn run_now(daemon: &Daemon, id: &str) -> Value {
    daemon.call("runs.get", &json!({ "id": id }))["run"].clone()
}

fn ended(daemon: &Daemon, id: &str) -> Value {
    daemon.call("runs.get", &json!({ "id": id, "wait_seconds": 60 }))["run"].clone()
}

/// Number `stop` of a group asks to be run again until the server has the file.
const STOPPER: &str = "
export const run = async ([event]) => {
  const { url, n, stop } = event.payload;
  if (n === stop && (await fetch(url)).status !== 200) {
    throw Object.assign(new Error('not yet'), { retry: true });
  }
  return n;
};";

#[test]
fn a_group_keeps_its_order_over_a_retry_while_others_go_on() {
    let (daemon, server) = (daemon(), FileServer::start());
    let parts = Parts::new("ordered", SIGNED, STOPPER)
        .with("supports_synchronization: true")
        .with("config: {runtime: {max_retries: 1000, min_interval: 1}}");
    let installed = daemon.install(&parts);
    let send = |group: &str, n: u32, stop: u32| {
        let payload = json!({ "group": group, "n": n, "stop": stop, "url": server.url("/go") });
        run_id(&daemon, &daemon.send_event(&installed, &payload))
    };
    let slow: Vec<_> = (0..6).map(|n| send("slow", n, 2)).collect();
    let quick: Vec<_> = (0..6).map(|n| send("quick", n, 100)).collect();
    let in_order = |runs: &[String]| {
        let runs: Vec<_> = runs.iter().map(|it| ended(&daemon, it)).collect();
        for (n, run) in runs.iter().enumerate() {
            assert_eq!(
                (&run["state"], &run["result"]),
                (&json!("succeeded"), &json!(n)),
                "{run:#}"
            );
        }
        // The next begins when the one before has ended, not merely after it has begun.
        for pair in runs.windows(2) {
            let attempts = pair[1]["attempts"].as_array().expect("attempts");
            let (end, begin) = (text(&pair[0]["ended_date"]), text(&attempts[0]["started_date"]));
            assert!(end <= begin, "{pair:#?}");
        }
    };
    in_order(&quick);
    eventually("the third of the slow ones was tried twice", PATIENCE, || {
        let run = run_now(&daemon, &slow[2]);
        (run["attempts"].as_array().is_some_and(|it| it.len() >= 2)).then_some(())
    });
    for id in &slow[3..] {
        let run = run_now(&daemon, id);
        assert_eq!((&run["state"], &run["attempts"]), (&json!("queued"), &json!([])), "{run:#}");
    }
    server.put("/go", Answer::bytes(b"go".to_vec()));
    in_order(&slow);
}

#[test]
fn without_the_flag_a_group_is_none() {
    let (daemon, server) = (daemon(), FileServer::start());
    let parts = Parts::new("unordered", SIGNED, STOPPER)
        .with("config: {runtime: {max_retries: 1000, min_interval: 3600}}");
    let installed = daemon.install(&parts);
    let send = |n: u32| {
        let payload = json!({ "group": "g", "n": n, "stop": 0, "url": server.url("/go") });
        run_id(&daemon, &daemon.send_event(&installed, &payload))
    };
    let (first, second) = (send(0), send(1));
    assert_eq!(ended(&daemon, &second)["result"], 1);
    let waiting = eventually("the first waits", PATIENCE, || {
        let run = run_now(&daemon, &first);
        (run["state"] == "retrying").then_some(run)
    });
    assert!(waiting["sync_id"].is_null(), "{waiting:#}");
    // An hour from the end of the attempt, and not a moment less.
    let seconds = |date: &Value| -> i64 {
        let part = |from: usize, to: usize| text(date)[from..to].parse::<i64>().expect("a number");
        part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19)
    };
    let began = seconds(&waiting["attempts"][0]["started_date"]);
    let wait = (seconds(&waiting["next_attempt_date"]) - began).rem_euclid(86_400);
    assert!((3600..3700).contains(&wait), "{waiting:#}");
    server.put("/go", Answer::bytes(b"go".to_vec()));
    daemon.call("runs.retry", &json!({ "id": first }));
    assert_eq!(ended(&daemon, &first)["state"], "succeeded");
}

#[test]
fn retries_are_used_up_and_only_what_asks_is_retried() {
    let daemon = daemon();
    let code = "export const run = async ([event]) => {
      throw Object.assign(new Error('no'), event.payload.properties);
    };";
    let parts = Parts::new("failing", SIGNED, code)
        .with("config: {runtime: {max_retries: 2, min_interval: 0}}");
    let installed = daemon.install(&parts);
    for (properties, attempts, state) in [
        (json!({ "retry": true }), 3, "dead"),
        (json!({ "retry": true, "refresh": true }), 3, "dead"),
        (json!({ "retry": false }), 1, "failed"),
        (json!({ "retry": "true" }), 1, "failed"),
        (json!({ "refresh": true }), 1, "failed"),
    ] {
        let event = daemon.send_event(&installed, &json!({ "properties": properties }));
        let run = daemon.run_of(&event);
        assert_eq!(run["state"], state, "{properties}: {run:#}");
        assert_eq!(
            run["attempts"].as_array().map(Vec::len),
            Some(attempts),
            "{properties}: {run:#}"
        );
    }
    let dead = daemon.list_all("dead-letters.list", "runs", &json!({}));
    assert_eq!(dead.len(), 2, "{dead:#?}");
}

#[test]
fn so_many_runs_of_a_function_are_on_at_once() {
    let (daemon, server) = (daemon(), FileServer::start());
    let code = "export const run = async ([event]) => {
      const { url, n } = event.payload;
      while ((await fetch(`${url}?${n}`)).status !== 200) await new Promise((it) => setTimeout(it, 20));
      return n;
    };";
    let parts = Parts::new("narrow", SIGNED, code).with("max_concurrency: 2");
    let installed = daemon.install(&parts);
    let runs: Vec<_> = (0..6)
        .map(|n| {
            let payload = json!({ "n": n, "url": server.url("/go") });
            run_id(&daemon, &daemon.send_event(&installed, &payload))
        })
        .collect();
    let mut asked = BTreeSet::new();
    let mut rounds = 0;
    eventually("two have asked often", PATIENCE, || {
        let seen = server.take_seen();
        rounds += seen.len();
        asked.extend(seen.into_iter().map(|it| it.path));
        (asked.len() >= 2 && rounds > 40).then_some(())
    });
    assert_eq!(asked.len(), 2, "{asked:?}");
    let states: Vec<_> = runs.iter().map(|it| run_now(&daemon, it)["state"].clone()).collect();
    assert_eq!(states.iter().filter(|it| *it == "running").count(), 2, "{states:?}");
    assert_eq!(states.iter().filter(|it| *it == "queued").count(), 4, "{states:?}");
    server.put("/go", Answer::bytes(b"go".to_vec()));
    for (n, id) in runs.iter().enumerate() {
        assert_eq!(ended(&daemon, id)["result"], n);
    }
}

#[test]
fn time_and_memory_are_what_the_manifest_says() {
    let daemon = daemon();
    let code = "export const run = async ([event]) => {
      if (event.payload.how === 'spin') for (;;);
      const all = [];
      for (let n = 0; n < 40; n++) all.push(new Uint8Array(1024 * 1024).fill(n));
      return all.length;
    };";
    let small = Parts::new("small", SIGNED, code).with("memory_mb: 16").with("timeout_seconds: 2");
    let large =
        Parts::new("large", SIGNED, code).with("memory_mb: 128").with("timeout_seconds: 60");
    let (small, large) = (daemon.install(&small), daemon.install(&large));
    let run =
        |installed, how: &str| daemon.run_of(&daemon.send_event(installed, &json!({ "how": how })));
    let spun = run(&small, "spin");
    assert_eq!((&spun["state"], &spun["error"]["kind"]), (&json!("failed"), &json!("timeout")));
    let message = text(&spun["error"]["message"]);
    assert!(message.contains("2000 ms"), "{message}");
    let full = run(&small, "fill");
    assert_eq!((&full["state"], &full["error"]["kind"]), (&json!("failed"), &json!("memory")));
    assert!(text(&full["error"]["message"]).contains("16384 KiB"), "{full:#}");
    assert_eq!(run(&large, "fill")["result"], 40);
}
