//! Signatures of outgoing webhooks, verified by the npm package of Standard Webhooks as it comes from the
//! registry. The Rust library is asked in `webhooks.rs`.
//!
//! Where there is no registry, or no Node.js, it says so and tests nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::receiver::Receiver;
use serde_json::{Value, json};

const PACKAGE: &str = "standardwebhooks@1.1.1";

/// Reads what came and verifies it, with the secret, with another one, and with another body.
const SCRIPT: &str = "
const { Webhook } = require('standardwebhooks');
const { secret, other, headers, body } = require('./seen.json');
const said = {};
for (const [name, key, text] of [
  ['right', secret, body], ['other secret', other, body], ['other body', secret, body + ' '],
]) {
  try {
    said[name] = new Webhook(key).verify(text, headers).type;
  } catch (error) {
    said[name] = error.constructor.name;
  }
}
console.log(JSON.stringify(said));
";

fn from_registry(directory: &Path) -> Option<()> {
    if !["/usr/bin/node", "/usr/local/bin/node"].iter().any(|it| Path::new(it).exists()) {
        eprintln!("not tested: there is no Node.js here (Debian: apt install nodejs npm)");
        return None;
    }
    let npm = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"])
        .args(["--fetch-retries=1", "--fetch-timeout=60000", PACKAGE])
        .current_dir(directory)
        .output();
    let npm = match npm {
        Ok(npm) => npm,
        Err(error) => {
            eprintln!("not tested: npm cannot be started: {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&npm.stderr).into_owned();
    if npm.status.success() {
        return Some(());
    }
    let unreachable = ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH"];
    assert!(unreachable.iter().any(|it| said.contains(it)), "npm install: {said}");
    eprintln!("not tested: no npm registry can be reached, which has {PACKAGE}: {said}");
    None
}

#[test]
fn the_npm_package_verifies_what_is_sent() {
    let directory = tempfile::tempdir().expect("/tmp");
    if from_registry(directory.path()).is_none() {
        return;
    }
    let receiver = Receiver::taking();
    let daemon = Daemon::start_with(Options { settings: receiver.allowed(), ..Options::default() });
    let asked = json!({ "url": receiver.url("/"), "event_types": ["work_created"] });
    let made = daemon.call("webhooks.create", &asked);
    let request = eventually("it is asked", Duration::from_secs(30), || receiver.seen().pop());
    let seen = json!({
        "secret": made["webhook"]["standard_secret"],
        "other": "whsec_b3RoZXJzZWNyZXQ=",
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
    });
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
    write("seen.json", &seen.to_string()).expect("/tmp");
    write("verify.js", SCRIPT).expect("/tmp");
    let node = Command::new("node").arg("verify.js").current_dir(directory.path()).output();
    let node = node.expect("it is there");
    let said: Value = serde_json::from_slice(&node.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&node.stderr)));
    let failed = "WebhookVerificationError";
    assert_eq!(said, json!({ "right": "verify", "other secret": failed, "other body": failed }));
}
