//! Every example of `contrib/examples`: valid, installed into the real daemon with its own client, and
//! made to do what its README shows.

use std::path::{Path, PathBuf};

use mortise_tests::client::script;
use mortise_tests::daemon::{Daemon, post_signed};
use serde_json::{Value, json};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/examples")
}

/// What an example is given at its installation, and what it is to do then. A new example needs an
/// entry.
fn show(daemon: &Daemon, name: &str) {
    match name {
        "hello-webhook" => {
            install(daemon, name, &[]);
            let run = send(daemon, name, br#"{"hello":"world"}"#);
            assert_eq!(run["result"], json!({ "greeting": "hello, world" }), "{run}");
        }
        "forge-to-chat" => {
            let chat = "chat_url=https://chat.example.com/hooks/abc";
            install(daemon, name, &["--set", chat, "--keyring", "chat-token=-"]);
            // What it does with a push is in the way of the README, in the tests of the client.
            let shown = script(daemon, &["snap-in", "show", &scope(name)], "");
            assert!(shown.out.contains("announce"), "{}", shown.out);
        }
        "word-count" => {
            install(daemon, name, &[]);
            let words = "to be or not to be";
            let answer = script(daemon, &["command", "run", "text", "count", "--", words], "");
            assert_eq!(answer.code, 0, "{}", answer.err);
            let expected = json!({ "words": 6, "most": ["to 2x", "be 2x", "or 1x"] });
            assert_eq!(serde_json::from_str::<Value>(&answer.out).ok(), Some(expected));
            let refused = script(daemon, &["command", "run", "text", "count"], "");
            assert_eq!(refused.code, 1);
            assert!(refused.err.contains("nothing to count"), "{}", refused.err);
        }
        "github-webhook" => {
            install(daemon, name, &["--keyring", "webhook-secret=-"]);
            let readme = std::fs::read_to_string(examples().join(name).join("README.md"));
            let shown = readme.expect("it is there");
            // The request that the README shows, with the signature that stands there.
            let of_header = |name: &str| {
                let after = shown.split(&format!("-H '{name}: ")).nth(1).expect(name);
                after.split('\'').next().expect("a quote").to_owned()
            };
            let names = ["X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256"];
            let values = names.map(of_header);
            let headers: Vec<(&str, &str)> =
                names.into_iter().zip(values.iter().map(String::as_str)).collect();
            let body = shown.split("-d '").nth(1).and_then(|it| it.split('\'').next());
            let body = body.expect("a body").as_bytes();
            let path = path_of_only_source(daemon, name);
            let send = |headers: &[(&str, &str)]| {
                daemon.connect().send("POST", &path, headers, body).expect("an answer")
            };
            let answer = send(&headers);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let run = daemon.run_of(answer.json()["events"][0]["id"].as_str().expect("an event"));
            assert_eq!(run["result"]["said"], "ada pushed 2 commits to acme/app", "{run}");
            let again = send(&headers).json();
            assert_eq!(again["events"][0]["duplicate"], true, "{again}");
            let forgery = format!("sha256={}", "0".repeat(64));
            let forged = [headers[0], headers[1], (names[2], forgery.as_str())];
            assert_eq!(send(&forged).status, 401);
        }
        other => panic!("contrib/examples/{other} is not tested: say here what it is to do"),
    }
}

fn scope(name: &str) -> String {
    format!("default/default/{name}")
}

fn install(daemon: &Daemon, name: &str, more: &[&str]) {
    let path = examples().join(name).display().to_string();
    let valid = script(daemon, &["version", "validate", &path], "");
    assert_eq!(valid.code, 0, "{name}: {}", valid.err);
    let arguments = [&["snap-in", "install", path.as_str()][..], more].concat();
    let installed = script(daemon, &arguments, "EnterYourRandomSecretHere");
    assert_eq!(installed.code, 0, "{name}: {}", installed.err);
    let shown = daemon.call("snap-ins.get", &json!({ "id": scope(name) }));
    assert_eq!(shown["snap_in"]["state"], "ACTIVE", "{name}: {shown}");
}

fn path_of_only_source(daemon: &Daemon, name: &str) -> String {
    let sources = daemon.call("event-sources.list", &json!({ "snap_in": scope(name) }));
    let url = sources["event_sources"][0]["trigger_url"].as_str().expect("a URL");
    url.split_at(url.find("/hooks/").expect("it is ours")).1.to_owned()
}

/// Sends a signed webhook to its only source; answers the run that came of it.
fn send(daemon: &Daemon, name: &str, body: &[u8]) -> Value {
    let path = path_of_only_source(daemon, name);
    let answer = post_signed(&mut daemon.connect(), &path, body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    daemon.run_of(answer.json()["events"][0]["id"].as_str().expect("an event"))
}

#[test]
fn every_example_does_what_it_is_there_for() {
    let daemon = Daemon::start();
    let folders = std::fs::read_dir(examples()).expect("they are there");
    let mut names: Vec<String> = folders
        .map(|it| it.expect("readable").file_name().into_string().expect("plain names"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        assert!(examples().join(&name).join("README.md").is_file(), "{name} has no README.md");
        show(&daemon, &name);
    }
}
