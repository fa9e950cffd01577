//! npm packages through the real daemon: installed once when a version is made, from the registry that
//! the configuration names and from nowhere else, and never half.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::registry::{ESCAPED, Registry};
use mortise_tests::snap_in::{Parts, SIGNED, pack};
use serde_json::{Value, json};

const CODE: &str = "const left = require('left'); exports.functionFactory = { work: async ([event]) \
                    => ({ ran: left(event.payload.word) }) };";

fn start(registry: &str) -> Daemon {
    let settings = format!("[functions]\nnpm_registry = \"{registry}\"");
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    daemon.call("packages.create", &json!({ "slug": "needs" }));
    daemon
}

/// A version with these two files of npm.
fn upload(code: &str, package: &str, lock: Option<&str>) -> Value {
    let mut files = vec![("index.js", code), ("package.json", package)];
    files.extend(lock.map(|it| ("package-lock.json", it)));
    let manifest = Parts::new("needs", SIGNED, "").manifest();
    json!({ "package": "needs", "manifest": manifest, "archive": pack(&files) })
}

fn installed(daemon: &Daemon) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(daemon.directory().join("cache/npm"));
    entries.into_iter().flatten().map(|it| it.unwrap().path()).collect()
}

/// Installs and activates a version; answers the snap-in.
fn activate(daemon: &Daemon, version: &Value, scope: &str) -> String {
    let created = json!({ "version": version["version"]["id"], "scope": scope });
    let created = daemon.call("snap-ins.create", &created);
    let id = created["snap_in"]["id"].as_str().unwrap().to_owned();
    daemon.step("activate", &id, "ACTIVE");
    id
}

#[track_caller]
fn assert_runs(daemon: &Daemon, id: &str) {
    let call = json!({ "snap_in": id, "function": "work", "payload": { "word": "hand" } });
    let called = daemon.call("functions.call", &call);
    assert_eq!(called["result"]["ran"], "left hand", "{called}");
}

#[test]
fn packages_are_installed_once_and_belong_to_the_version() {
    let registry = Registry::start();
    let daemon = start(&registry.url());
    let (package, lock) = registry.files("left");
    let made = daemon.call("versions.create", &upload(CODE, &package, Some(&lock)));
    let chosen = &made["version"]["runtimes"]["work"];
    assert_eq!(chosen["runtime"], "node", "{made}");
    assert!(chosen["why"].as_str().unwrap().contains("package `left`"), "{made}");
    let id = activate(&daemon, &made, "default/default/one");
    assert_runs(&daemon, &id);
    let asked = registry.asked();
    assert!(asked.iter().any(|it| it.ends_with("left-1.0.0.tgz")), "{asked:?}");
    assert!(!std::path::Path::new(ESCAPED).exists(), "no script of a package runs");

    // Another version with the same lock file asks for nothing.
    let other =
        daemon.call("versions.create", &upload(&format!("{CODE}//"), &package, Some(&lock)));
    assert_runs(&daemon, &activate(&daemon, &other, "default/default/two"));
    assert_eq!(registry.asked(), asked, "what is there is used");
    assert_eq!(installed(&daemon).len(), 1);

    // The version has a copy: its runs need neither the cache nor the registry.
    daemon.kill_dash_nine();
    std::fs::remove_dir_all(daemon.directory().join("cache")).unwrap();
    daemon.restart();
    assert_runs(&daemon, &id);
    assert_eq!(registry.asked(), asked);
    // All of it goes while the daemon runs, with the warm process: the same.
    std::fs::remove_dir_all(daemon.directory().join("cache")).unwrap();
    assert_runs(&daemon, &id);
    assert_eq!(registry.asked(), asked);
    // A new version installs again.
    std::fs::remove_dir_all(daemon.directory().join("cache")).unwrap();
    let third =
        daemon.call("versions.create", &upload(&format!("{CODE}///"), &package, Some(&lock)));
    assert!(registry.asked().len() > asked.len(), "it was asked again");
    assert_runs(&daemon, &activate(&daemon, &third, "default/default/three"));
}

#[test]
fn what_npm_refuses_is_said_in_its_words() {
    let registry = Registry::start();
    let bystander = TcpListener::bind("127.0.0.1:0").unwrap();
    bystander.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://127.0.0.1:{}/", bystander.local_addr().unwrap().port());
    let daemon = start(&registry.url());
    let (package, lock) = registry.files("left");
    let (_, other) = registry.files("right");
    let changed = lock.replace(&registry.integrity()[..20], "sha512-AAAAAAAAAAAAA");
    let moved = lock.replace("https://registry.npmjs.org/", &elsewhere);
    for (lock, words) in [
        (Some(other.as_str()), vec!["out of step", "Missing: left@1.0.0 from lock file"]),
        (Some(changed.as_str()), vec!["not the one that package-lock.json names"]),
        (Some(moved.as_str()), vec!["is not among", "functions.npm_registry"]),
        (Some("{"), vec!["no JSON"]),
        (None, vec!["no package-lock.json beside it"]),
    ] {
        let refused = daemon.refused("versions.create", &upload(CODE, &package, lock), 422);
        let problem = refused["problems"].as_array().unwrap().iter();
        let problem = problem.clone().find(|it| it["severity"] == "error").unwrap().clone();
        let said = problem["message"].as_str().unwrap();
        assert!(words.iter().all(|it| said.contains(it)), "{words:?} of {said}");
        let file = problem["file"].as_str().unwrap();
        assert!(["package.json", "package-lock.json"].contains(&file), "where: {problem}");
    }
    assert!(bystander.accept().is_err(), "only the registry is reached");
    assert!(installed(&daemon).is_empty(), "nothing is left: {:?}", installed(&daemon));
    let versions = daemon.list_all("versions.list", "versions", &json!({ "package": "needs" }));
    assert!(versions.is_empty(), "{versions:?}");
    // None of it stands in the way of what is right.
    let made = daemon.call("versions.create", &upload(CODE, &package, Some(&lock)));
    assert_runs(&daemon, &activate(&daemon, &made, "default/default/right"));
}

#[test]
fn a_registry_that_is_down_is_not_the_authors_fault() {
    let registry = Registry::start();
    let daemon = start(&registry.url());
    let (package, lock) = registry.files("left");
    let upload = upload(CODE, &package, Some(&lock));
    // It answers, but not as it should.
    for (status, answer) in [(500, 503), (503, 503), (429, 503), (401, 422), (403, 422), (404, 422)]
    {
        registry.fail(status);
        let response = daemon.try_call("versions.create", &upload).unwrap();
        assert_eq!(response.status, answer, "{status}: {}", response.text());
        let is_told = response.header("retry-after").is_some();
        assert_eq!(is_told, answer == 503, "{status}: {}", response.text());
        if answer == 503 {
            let said = response.json()["message"].as_str().unwrap().to_owned();
            for part in [&registry.url(), "functions.npm_registry", "try again", "node_modules"] {
                assert!(said.contains(part), "{part} of {said}");
            }
        }
    }
    assert!(installed(&daemon).is_empty(), "nothing is left: {:?}", installed(&daemon));
    drop(daemon);

    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://127.0.0.1:{}/", free.local_addr().unwrap().port());
    drop(free);
    let daemon = start(&nobody);
    let response = daemon.try_call("versions.create", &upload).unwrap();
    assert_eq!(response.status, 503, "{}", response.text());
    let said = response.json()["message"].as_str().unwrap().to_owned();
    assert!(said.contains(&nobody) && said.contains("try again"), "{said}");
    assert_eq!(response.header("retry-after"), Some("30"));
    // The same upload does when the registry is there.
    let registry = Registry::start();
    let file = daemon.directory().join("mortise.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    daemon.kill_dash_nine();
    std::fs::write(&file, text.replace(&nobody, &registry.url())).unwrap();
    daemon.restart();
    let made = daemon.call("versions.create", &upload);
    assert_runs(&daemon, &activate(&daemon, &made, "default/default/later"));
}

#[test]
fn versions_made_at_once_install_once() {
    let registry = Registry::start();
    let daemon = start(&registry.url());
    let (package, lock) = registry.files("left");
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let make = |n: usize| {
            let code = format!("{CODE}{}", "/".repeat(n + 2));
            let (daemon, upload) = (&daemon, upload(&code, &package, Some(&lock)));
            scope.spawn(move || daemon.call("versions.create", &upload))
        };
        let all: Vec<_> = (0..4).map(make).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (n, version) in ids.iter().enumerate() {
        assert_runs(&daemon, &activate(&daemon, version, &format!("default/default/at-{n}")));
    }
    let asked = registry.asked();
    let fetched = asked.iter().filter(|it| it.ends_with(".tgz")).count();
    assert_eq!((fetched, installed(&daemon).len()), (1, 1), "{asked:?}");
}

/// Processes whose command line holds a text.
fn alive(text: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let line = |id: i32| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    ids.filter(|it| String::from_utf8_lossy(&line(*it)).contains(text)).collect()
}

#[test]
fn a_daemon_killed_while_npm_works_leaves_nothing_half_made() {
    let registry = Registry::start();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let daemon = start(&silent_url);
    let (package, lock) = registry.files("left");
    let upload = upload(CODE, &package, Some(&lock));
    std::thread::scope(|scope| {
        let making = scope.spawn(|| daemon.try_call("versions.create", &upload));
        // npm is at work when it asks.
        let (_connection, _) = silent.accept().unwrap();
        let half = installed(&daemon);
        assert_eq!(half.len(), 1, "{half:?}");
        assert!(half[0].join("package-lock.json").exists(), "{half:?}");
        let npm = tree(daemon.process_id());
        let runs_npm = |it: &i32| {
            let line = std::fs::read(format!("/proc/{it}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("npm")
        };
        assert!(npm.iter().any(runs_npm), "none of {npm:?} is npm");
        daemon.kill_dash_nine();
        assert!(making.join().unwrap().is_err(), "there was no answer");
        eventually("npm ends with the daemon", Duration::from_secs(20), || {
            let alive: Vec<_> = npm.iter().filter(|it| is_alive(**it)).collect();
            alive.is_empty().then_some(())
        });
        assert!(alive(half[0].to_str().unwrap()).is_empty());
    });
    let file = daemon.directory().join("mortise.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&silent_url, &registry.url())).unwrap();
    daemon.restart();
    assert!(installed(&daemon).is_empty(), "swept at the start: {:?}", installed(&daemon));
    let versions = daemon.list_all("versions.list", "versions", &json!({ "package": "needs" }));
    assert!(versions.is_empty(), "{versions:?}");
    let made = daemon.call("versions.create", &upload);
    assert_runs(&daemon, &activate(&daemon, &made, "default/default/again"));
}

/// A process and all below it; there are some, or whoever waits for their end would wait for nothing.
fn tree(top: u32) -> Vec<i32> {
    let mut found = vec![i32::try_from(top).unwrap()];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let tasks =
            std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children"));
            found.extend(
                children.unwrap_or_default().split(' ').filter_map(|it| it.parse::<i32>().ok()),
            );
        }
        at += 1;
    }
    assert!(found.len() > 1, "the daemon ({top}) has no process: npm is not at work");
    found
}

/// A zombie has ended; its parent is late.
fn is_alive(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|it| !it.contains(") Z "))
}
