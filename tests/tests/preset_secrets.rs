//! Secrets of native presets that come from keyrings, on a real daemon: two of them while one is
//! changed at the sender, and one for each person.

use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::http::Response;
use mortise_tests::snap_in::{pack, signed_with};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

const MANIFEST: &str = "
version: \"2\"
name: Presets
description: For tests.
service_account: {display_name: Presets}
keyrings:
  organization:
    - {name: secret, display_name: Secret, description: Of the sender., types: [snap_in_secret]}
    - {name: next, display_name: Next, description: From tomorrow on., types: [snap_in_secret], optional: true}
  user:
    - {name: own, display_name: Own, description: Of your account., types: [snap_in_secret]}
event_sources:
  organization:
    - name: github
      display_name: GitHub
      type: flow-custom-webhook
      config: {verify: {scheme: github, secret: ['${{ keyrings.secret }}', '${{ keyrings.next }}']}}
  user:
    - name: mine
      display_name: Mine
      type: flow-custom-webhook
      config: {verify: {scheme: github, secret: '${{ keyrings.own }}'}}
functions:
  - {name: tell, description: Tells.}
automations:
  - {name: All, source: github, event_types: ['custom:push'], function: tell}
  - {name: Own, source: mine, event_types: ['custom:push'], function: tell}
";

const TELL: &str = "
const tell = async ([event]) => event.context.user_id ?? null;
export const functionFactory = { tell };
";

struct Bench {
    daemon: Daemon,
    id: String,
}

impl Bench {
    /// A snap-in that is ACTIVE, with this secret for the organization.
    fn start(secret: &str) -> Bench {
        let daemon = Daemon::start();
        daemon.call("packages.create", &json!({ "slug": "presets" }));
        let package = r#"{"name":"presets","version":"1.0.0","main":"index.ts"}"#;
        let archive = pack(&[("package.json", package), ("index.ts", TELL)]);
        let version = json!({ "package": "presets", "manifest": MANIFEST, "archive": archive });
        let version = daemon.call("versions.create", &version)["version"]["id"].clone();
        let created = daemon.call("snap-ins.create", &json!({ "version": version }));
        let id = created["snap_in"]["id"].as_str().expect("an id").to_owned();
        let bench = Bench { daemon, id };
        bench.set("secret", secret);
        bench.daemon.step("activate", &bench.id, "ACTIVE");
        bench
    }

    fn set(&self, name: &str, secret: &str) {
        let keyring = json!({ "snap_in": self.id, "name": name, "secret": secret });
        self.daemon.call("keyrings.set", &keyring);
    }

    fn set_own(&self, user: &str, secret: &str) {
        let keyring = json!({ "snap_in": self.id, "name": "own", "user": user, "secret": secret });
        self.daemon.call("keyrings.set", &keyring);
    }

    fn sources(&self) -> Vec<Value> {
        let which = json!({ "snap_in": self.id });
        self.daemon.list_all("event-sources.list", "event_sources", &which)
    }

    /// The trigger URL of the organization's source, below the address.
    fn path(&self) -> String {
        path_of(&self.sources()[0])
    }

    fn send(&self, path: &str, secret: &str) -> Response {
        let body = b"{\"n\":1}";
        let signature = format!("sha256={}", signed_with(secret, body));
        let headers = [
            ("content-type", "application/json"),
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", "push"),
        ];
        eventually("the source has settled", PATIENCE, || {
            let answer = self.daemon.connect().send("POST", path, &headers, body);
            Some(answer.expect("the daemon answers")).filter(|it| it.status != 503)
        })
    }

    fn takes(&self, path: &str, secret: &str, status: u16) {
        eventually(&format!("{secret} is answered {status}"), PATIENCE, || {
            (self.send(path, secret).status == status).then_some(())
        });
    }
}

fn path_of(source: &Value) -> String {
    let url = source["trigger_url"].as_str().expect("a trigger URL");
    url.split_at(url.find("/hooks/").expect("it is ours")).1.to_owned()
}

#[test]
fn a_secret_is_changed_without_a_moment_in_which_deliveries_are_refused() {
    let bench = Bench::start("the first one");
    let path = bench.path();
    // The optional one is not there, and nobody misses it.
    assert_eq!(bench.send(&path, "the first one").status, 200);
    assert_eq!(bench.send(&path, "the second one").status, 401);

    // First it is known here, then it is changed at the sender, then the old one goes.
    bench.set("next", "the second one");
    bench.takes(&path, "the second one", 200);
    assert_eq!(bench.send(&path, "the first one").status, 200, "both are taken");
    bench.daemon.restart();
    assert_eq!(bench.send(&path, "the second one").status, 200);
    assert_eq!(bench.send(&path, "the first one").status, 200);
    bench.set("secret", "the second one");
    bench.takes(&path, "the first one", 401);
    assert_eq!(bench.send(&path, "the second one").status, 200);
    let which = json!({ "snap_in": bench.id, "name": "next" });
    bench.daemon.call("keyrings.delete", &which);
    assert_eq!(bench.send(&path, "the second one").status, 200);
    let shown = bench.daemon.call("snap-ins.get", &json!({ "id": bench.id }));
    assert_eq!(shown["snap_in"]["state"], "ACTIVE", "{shown}");
}

#[test]
fn each_person_has_a_secret_of_his_own() {
    let bench = Bench::start("of all");
    bench.set_own("ada", "the secret of ada");
    let enable = |user: &str| {
        let asked = json!({ "id": bench.id, "user": user });
        bench.daemon.call("snap-ins.enable", &asked)["snap_in_user"].clone()
    };
    let ada = enable("ada");
    let adas = path_of(&ada["event_sources"][0]);
    assert_eq!(bench.send(&adas, "the secret of ada").status, 200, "{ada}");
    let events = bench.daemon.list_all("events.list", "events", &json!({}));
    let run = bench.daemon.run_of(events[0]["id"].as_str().expect("an id"));
    assert_eq!(run["result"], ada["user"]["id"], "{run}");
    assert_eq!(bench.send(&adas, "of all").status, 401);

    // Who has set none yet has a source that says so, and stops nobody else.
    let bob = enable("bob");
    let bobs = path_of(&bob["event_sources"][0]);
    let blocked = eventually("it cannot be opened", PATIENCE, || {
        let sources = bench.sources();
        let his = sources.iter().find(|it| it["user"] == bob["user"]["id"])?.clone();
        (his["status"] == "blocked").then_some(his)
    });
    assert!(
        blocked["reason"].as_str().is_some_and(|it| it.contains("the keyring `own` has no secret")),
        "{blocked}"
    );
    assert_eq!(bench.send(&bobs, "the secret of bob").status, 404);
    assert_eq!(bench.send(&adas, "the secret of ada").status, 200);
    bench.set_own("bob", "the secret of bob");
    bench.takes(&bobs, "the secret of bob", 200);
    assert_eq!(bench.send(&bobs, "the secret of ada").status, 401);

    bench.set_own("ada", "another one");
    bench.takes(&adas, "another one", 200);
    assert_eq!(bench.send(&adas, "the secret of ada").status, 401);
    for text in [bench.daemon.log(), bench.daemon.call("events.list", &json!({})).to_string()] {
        assert!(!text.contains("the secret of"), "{text}");
    }
}
