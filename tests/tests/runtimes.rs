//! What runs a function: chosen by the real daemon from what an archive holds, said with why, and
//! done from files that it lays out in its cache.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::PathBuf;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, SIGNED, pack};
use serde_json::{Value, json};

fn manifest(settings: &[&str]) -> String {
    let parts = Parts::new("chosen", SIGNED, "");
    settings.iter().fold(parts, |parts, it| parts.with(it)).manifest()
}

fn folders(daemon: &Daemon) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(daemon.directory().join("cache/packages"));
    entries.into_iter().flatten().map(|it| it.unwrap().path()).collect()
}

const MAIN: (&str, &str) = ("package.json", r#"{"main":"index.js","dependencies":{"left":"1"}}"#);
const TOOL: (&str, &str) =
    ("bin/tool", "#!/bin/sh\ncat > /dev/null\nprintf '{\"ran\": \"tool\"}'\n");

#[test]
fn auto_is_settled_when_a_version_is_made() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "chosen" }));
    let code = |text| vec![("index.js", text), ("package.json", r#"{"main":"index.js"}"#)];
    let plain = "exports.functionFactory = { work: async () => ({ ran: 'code' }) };";
    let uses_os = "const os = require('os'); exports.functionFactory = { work: async () => \
                   ({ ran: typeof os.EOL }) };";
    for (name, settings, files, runtime, why, ran) in [
        ("plain", vec![], code(plain), "quickjs", "has everything", "code"),
        ("os", vec![], code(uses_os), "node", "index.js uses `node:os`", "string"),
        ("tool", vec!["entry_point: bin/tool"], vec![TOOL], "process", "bin/tool", "tool"),
    ] {
        let manifest = manifest(&settings);
        let upload = json!({ "package": "chosen", "manifest": manifest, "archive": pack(&files) });
        let mut asked = upload.clone();
        asked.as_object_mut().unwrap().remove("package");
        let found = daemon.call("versions.validate", &asked);
        let made = daemon.call("versions.create", &upload);
        let chosen = &made["version"]["runtimes"]["work"];
        assert_eq!(found["runtimes"]["work"], *chosen, "{name}: validate says what create does");
        assert_eq!(found["content_hash"], made["version"]["content_hash"]);
        assert_eq!(chosen["runtime"], runtime, "{name}: {made}");
        assert!(chosen["why"].as_str().unwrap().contains(why), "{name}: {made}");
        let parameters = json!({
            "version": made["version"]["id"], "scope": format!("default/default/{name}"),
        });
        let id = daemon.call("snap-ins.create", &parameters)["snap_in"]["id"].clone();
        daemon.step("activate", id.as_str().unwrap(), "ACTIVE");
        let called = daemon.call("functions.call", &json!({ "snap_in": id, "function": "work" }));
        assert_eq!(called["result"]["ran"], ran, "{name}: {called}");
    }
}

#[test]
fn node_that_is_installed_later_is_used_by_the_same_upload() {
    let without = "node = \"/not-here/node\"";
    let settings = format!("[functions]\n{without}\n");
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    daemon.call("packages.create", &json!({ "slug": "chosen" }));
    let code = "const os = require('os'); exports.functionFactory = { work: async () => 1 };";
    let files = [("index.js", code), ("package.json", r#"{"main":"index.js"}"#)];
    let archive = pack(&files);
    let upload = json!({ "package": "chosen", "manifest": manifest(&[]), "archive": archive });
    let first = daemon.call("versions.create", &upload);
    let runtime = |made: &Value| made["version"]["runtimes"]["work"]["runtime"].clone();
    assert_eq!(runtime(&first), "quickjs", "{first}");
    assert!(first["version"]["warnings"].to_string().contains("create the version again"));
    assert_eq!(daemon.call("versions.create", &upload)["existed"], true);

    let file = daemon.directory().join("mortise.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(without, "")).unwrap();
    daemon.restart();
    let second = daemon.call("versions.create", &upload);
    assert_eq!((runtime(&second), &second["existed"]), (json!("node"), &Value::Null), "{second}");
    let again = daemon.call("versions.create", &upload);
    assert_eq!((&again["existed"], &again["version"]), (&json!(true), &second["version"]));
}

#[test]
fn what_cannot_work_is_said_at_its_function() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "chosen" }));
    for (settings, key, message) in [
        (vec!["runtime: remote"], "runtime", "--testing-url"),
        (vec!["runtime: process"], "runtime", "no `entry_point`"),
        (vec!["runtime: process", "entry_point: bin/tol"], "entry_point", "not in the archive"),
        (vec!["runtime: process", "entry_point: notes"], "entry_point", "chmod +x"),
    ] {
        let text = manifest(&settings);
        let archive = pack(&[MAIN, ("index.js", "1"), TOOL, ("notes", "x")]);
        let body = json!({ "manifest": text, "archive": archive });
        let found = daemon.call("versions.validate", &body);
        let mut upload = body.clone();
        upload["package"] = json!("chosen");
        let refused = daemon.refused("versions.create", &upload, 422);
        assert_eq!(found["valid"], false);
        let errors = |list: &Value| -> Vec<Value> {
            let list = list.as_array().unwrap().iter();
            list.filter(|it| it["severity"] == "error").cloned().collect()
        };
        let problem = errors(&refused["problems"])[0].clone();
        assert_eq!(problem["message"], errors(&found["problems"])[0]["message"]);
        assert!(problem["message"].as_str().unwrap().contains(message), "{problem}");
        assert_eq!(problem["path"], format!("functions[0].{key}"));
        let line = usize::try_from(problem["line"].as_u64().unwrap()).unwrap();
        let at = text.lines().nth(line - 1).unwrap();
        assert!(at.trim_start().starts_with(&format!("{key}:")), "{at:?} {problem}");
    }
}

#[test]
fn files_come_back_when_the_cache_is_emptied_and_go_with_their_version() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "chosen" }));
    let manifest = manifest(&["entry_point: bin/tool"]);
    let upload = json!({ "package": "chosen", "manifest": manifest, "archive": pack(&[TOOL]) });
    let version = daemon.call("versions.create", &upload)["version"]["id"].clone();
    let created = daemon.call("snap-ins.create", &json!({ "version": version }));
    let id = created["snap_in"]["id"].as_str().unwrap();
    daemon.step("activate", id, "ACTIVE");
    let call = || {
        let called = daemon.call("functions.call", &json!({ "snap_in": id, "function": "work" }));
        assert_eq!(called["result"]["ran"], "tool", "{called}");
    };
    assert!(folders(&daemon).is_empty(), "laid out when it is first needed");
    call();
    assert_eq!(folders(&daemon).len(), 1);
    daemon.kill_dash_nine();
    std::fs::remove_dir_all(daemon.directory().join("cache")).unwrap();
    daemon.restart();
    call();
    assert_eq!(folders(&daemon).len(), 1);
    daemon.step("delete", id, "DELETED");
    daemon.call("versions.delete", &json!({ "id": version }));
    eventually("its folder is gone", Duration::from_secs(90), || {
        folders(&daemon).is_empty().then_some(())
    });
}

#[test]
fn functions_go_on_when_the_cache_is_deleted_while_the_daemon_runs() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "chosen" }));
    // Another file of the version for each call: a warm process has not read it yet.
    let code = "require('os'); exports.functionFactory = { work: async ([event]) => ({ ran: \
                require('./' + event.payload.file), pid: process.pid }) };";
    let node = vec![("index.js", code), ("a.json", "\"tool\""), ("b.json", "\"tool\"")];
    let ids: Vec<String> =
        [("node", "runtime: node", node), ("process", "entry_point: bin/tool", vec![TOOL])]
            .into_iter()
            .map(|(name, setting, files)| {
                let manifest = manifest(&[setting]);
                let upload =
                    json!({ "package": "chosen", "manifest": manifest, "archive": pack(&files) });
                let version = daemon.call("versions.create", &upload)["version"]["id"].clone();
                let parameters =
                    json!({ "version": version, "scope": format!("default/default/{name}") });
                let created = daemon.call("snap-ins.create", &parameters);
                let id = created["snap_in"]["id"].as_str().unwrap().to_owned();
                daemon.step("activate", &id, "ACTIVE");
                id
            })
            .collect();
    let call = |id: &str, file: &str| {
        let payload = json!({ "file": file });
        let call = json!({ "snap_in": id, "function": "work", "payload": payload });
        let called = daemon.call("functions.call", &call);
        assert_eq!(called["result"]["ran"], "tool", "{called}");
        called["result"]["pid"].clone()
    };
    let warm = call(&ids[0], "a.json");
    assert_eq!(call(&ids[0], "a.json"), warm, "it is warm");
    call(&ids[1], "");
    let cache = daemon.directory().join("cache");
    std::fs::remove_dir_all(&cache).unwrap();
    // Laid out again for the one; its folder is there for the other, and not the one it was started for.
    assert_ne!(call(&ids[0], "b.json"), warm);
    call(&ids[1], "");
    assert_eq!(folders(&daemon).len(), 2);
    std::fs::remove_dir_all(&cache).unwrap();
    call(&ids[1], "");
    call(&ids[0], "b.json");
    call(&ids[0], "a.json");
}

fn without(what: &str, settings: &str) -> Options {
    let launcher = mortise_tests::daemon::built("mortise-without").display().to_string();
    let (settings, wrapper) = (settings.to_owned(), vec![launcher, what.to_owned()]);
    Options { settings, wrapper, ..Options::default() }
}

fn status_of<'a>(status: &'a Value, runtime: &str) -> &'a Value {
    let all = status["runtimes"].as_array().unwrap();
    all.iter().find(|it| it["runtime"] == runtime).unwrap()
}

#[test]
fn status_says_where_node_is_or_why_it_is_not_used() {
    let daemon = Daemon::start();
    let status = daemon.call("system.status", &json!({}));
    let node = status_of(&status, "node");
    assert_eq!((&node["runs"], &node["problem"]), (&json!(true), &Value::Null), "{status}");
    assert!(node["program"].as_str().unwrap().ends_with("/node"), "{node}");
    assert!(node["program_version"].as_str().unwrap().starts_with('v'), "{node}");
    drop(daemon);

    let settings = "[functions]\nnode = \"/not-here/node\"\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let status = daemon.call("system.status", &json!({}));
    let node = status_of(&status, "node");
    assert_eq!((&node["runs"], &node["program"]), (&json!(false), &Value::Null), "{status}");
    let problem = node["problem"].as_str().unwrap();
    assert!(problem.contains("/not-here/node") && problem.contains("functions.node"), "{problem}");
    drop(daemon);

    // As the unit is without its drop-in.
    let daemon = Daemon::start_with(without("code", ""));
    let status = daemon.call("system.status", &json!({}));
    let node = status_of(&status, "node");
    assert_eq!(node["runs"], false, "{status}");
    assert!(node["program_version"].as_str().unwrap().starts_with('v'), "{node}");
    let problem = node["problem"].as_str().unwrap();
    for part in ["MemoryDenyWriteExecute", "systemd/mortise.service.d-node.conf"] {
        assert!(problem.contains(part), "{problem}");
    }
    for other in ["quickjs", "process"] {
        assert_eq!(status_of(&status, other)["runs"], true, "{status}");
    }
}

#[test]
fn a_kernel_without_a_protection_is_refused_as_the_setting_says() {
    // By default the daemon starts, and runs nothing.
    let daemon = Daemon::start_with(without("landlock", ""));
    let status = daemon.call("system.status", &json!({}));
    for runtime in ["quickjs", "process", "node"] {
        let seen = status_of(&status, runtime);
        assert_eq!(seen["runs"], false, "{status}");
        assert!(seen["missing"].to_string().contains("Landlock"), "{status}");
    }
    // Asked for, it does not start, and says what lacks and how to go on.
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("mortise.toml");
    let (state, cache) = (directory.path().join("state"), directory.path().join("cache"));
    let text = |required: &str| {
        format!(
            "state_dir = {state:?}\ncache_dir = {cache:?}\nplugin_dirs = []\n[listen]\n\
             address = \"127.0.0.1:0\"\nsocket = \"\"\n[functions]\nrequire_sandbox = {required}\n"
        )
    };
    std::fs::write(&config, text("true")).unwrap();
    let Options { wrapper, .. } = without("landlock", "");
    let output = std::process::Command::new(&wrapper[0])
        .arg(&wrapper[1])
        .arg(mortise_tests::daemon::built("mortise"))
        .args(["serve", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    for part in
        ["quickjs: Landlock", "process: Landlock", "require_sandbox = true", "\"functions\""]
    {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    assert!(!said.contains("ready address="), "{said}");
    drop(daemon);

    // With all of it, it starts.
    let settings = "[functions]\nrequire_sandbox = true\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    assert_eq!(daemon.call("system.status", &json!({}))["ready"], true);
}
