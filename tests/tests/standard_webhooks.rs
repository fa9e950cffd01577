//! Signatures of outgoing webhooks, verified by the npm package of Standard Webhooks as it comes from the
//! registry. The Rust library is asked in `webhooks.rs`.
//!
//! Where there is no registry, or no Node.js, it says so and tests nothing.

use std::process::Command;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::needs::npm_install;
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

#[test]
fn the_npm_package_verifies_what_is_sent() {
    let directory = tempfile::tempdir().expect("/tmp");
    if npm_install(directory.path(), &[PACKAGE]).is_none() {
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
