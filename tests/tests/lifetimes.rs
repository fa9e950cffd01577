//! The death of the daemon ends everything that functions have started, whatever runs them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, SIGNED, pack};
use serde_json::json;

/// Hides a process in another session, and waits itself.
const TOOL: &str =
    "#!/bin/sh\n(setsid sleep 86.WORD & ) >/dev/null 2>&1 </dev/null\nexec sleep 87.WORD\n";
const NODE: &str = "const os = require('os'); exports.functionFactory = { work: () => { \
                    for (;;) os.uptime(); } };";
const QUICKJS: &str =
    "exports.functionFactory = { work: () => new Promise((r) => setTimeout(r, 1e6)) };";

/// All processes below one, deepest last.
fn below(top: u32) -> Vec<i32> {
    let mut found = vec![i32::try_from(top).unwrap()];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            found.extend(children.split(' ').filter_map(|it| it.parse::<i32>().ok()));
        }
        at += 1;
    }
    found.remove(0);
    found
}

fn command_line(id: i32) -> String {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// A zombie has ended; its parent is late.
fn is_alive(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|it| !it.contains(") Z "))
}

fn with_words(words: &[String]) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| words.iter().any(|it| command_line(*id).contains(it))).collect()
}

#[test]
fn nothing_outlives_a_killed_daemon() {
    let daemon = Daemon::start();
    let word = std::process::id().to_string();
    let tool = TOOL.replace("WORD", &word);
    let package = r#"{"main":"index.js"}"#;
    for (name, setting, files) in [
        ("ends-node", "runtime: node", vec![("index.js", NODE), ("package.json", package)]),
        (
            "ends-quickjs",
            "runtime: quickjs",
            vec![("index.js", QUICKJS), ("package.json", package)],
        ),
        ("ends-process", "entry_point: bin/tool", vec![("bin/tool", tool.as_str())]),
    ] {
        daemon.call("packages.create", &json!({ "slug": name }));
        let manifest = Parts::new(name, SIGNED, "").with(setting).manifest();
        let upload = json!({ "package": name, "manifest": manifest, "archive": pack(&files) });
        let version = daemon.call("versions.create", &upload)["version"]["id"].clone();
        let created = json!({ "version": version, "scope": format!("default/default/{name}") });
        let created = daemon.call("snap-ins.create", &created);
        let id = created["snap_in"]["id"].as_str().unwrap();
        daemon.step("activate", id, "ACTIVE");
        let sources = daemon.call("event-sources.list", &json!({ "snap_in": id }));
        let url = sources["event_sources"][0]["trigger_url"].as_str().unwrap();
        let path = url.split_at(url.find("/hooks/").unwrap()).1;
        eventually("the source is open", Duration::from_secs(20), || {
            let sent = mortise_tests::daemon::post_signed(&mut daemon.connect(), path, b"{}");
            (sent.unwrap().status == 200).then_some(())
        });
    }
    let words = [format!("86.{word}"), format!("87.{word}")];
    let started = eventually("all three run", Duration::from_secs(60), || {
        let all = below(daemon.process_id());
        let lines: Vec<String> = all.iter().map(|it| command_line(*it)).collect();
        let has = |text: &str| lines.iter().any(|it| it.contains(text));
        let runs =
            has("/node --max-old-space-size") && has(" quickjs") && with_words(&words).len() >= 2;
        runs.then_some(all)
    });
    let started: Vec<i32> = started.into_iter().chain(with_words(&words)).collect();
    daemon.kill_dash_nine();
    eventually("everything has ended", Duration::from_secs(20), || {
        let left: Vec<_> = started.iter().filter(|it| is_alive(**it)).collect();
        (left.is_empty() && with_words(&words).is_empty()).then_some(())
    });
}
