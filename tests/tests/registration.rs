//! Trigger URLs are registered at an external system when a snap-in is activated, and taken back.

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::files::{Answer, FileServer};
use mortise_tests::snap_in::{ECHO, Parts, SIGNED};
use serde_json::{Value, json};

const TOKEN: &str = "ghp_a-token-of-the-tests";

fn registering(server: &FileServer) -> Parts {
    let base = server.url("");
    let parts = Parts::new("registering", SIGNED, ECHO).with_sections(
        "keyrings:\n  organization:\n    - name: forge\n      description: A token.\n      \
         types: [snap_in_secret]\n",
    );
    let registration = format!(
        "      registration:
        keyring: forge
        register:
          url: {base}/repos/{{{{ source.name }}}}/hooks
          headers: {{ authorization: 'Bearer [API_KEY]' }}
          body:
            events: [push]
            config: {{ url: '{{{{source.trigger_url}}}}', secret: '[API_KEY]' }}
          id_jq: .hook.id
        unregister:
          url: {base}/hooks/{{{{registration.id}}}}
          headers: {{ authorization: 'Bearer [API_KEY]' }}
"
    );
    Parts { registration, ..parts }
}

fn daemon_for(server: &FileServer) -> Daemon {
    let allow = format!("[egress]\nallow = [\"{}\"]\n", server.address());
    Daemon::start_with(Options { settings: allow, ..Options::default() })
}

fn state(answer: &Value) -> (&str, &str) {
    let snap_in = &answer["snap_in"];
    (snap_in["state"].as_str().unwrap_or_default(), snap_in["reason"].as_str().unwrap_or_default())
}

#[test]
fn a_trigger_url_is_registered_on_activation_and_taken_back() {
    let server = FileServer::start();
    let daemon = daemon_for(&server);
    let it = daemon.install_draft(&registering(&server));
    let source = daemon.call("event-sources.get", &json!({ "id": it.source }));
    let url = source["event_source"]["trigger_url"].as_str().expect("a URL").to_owned();
    daemon.call("keyrings.set", &json!({ "snap_in": it.id, "name": "forge", "secret": TOKEN }));
    let activate = json!({ "id": it.id, "wait_seconds": 30 });

    // What goes wrong is shown, without the secrets that the other side repeats.
    let said = format!(r#"{{"message":"no hooks for {TOKEN} to {url}"}}"#);
    let refusal = Answer { status: 422, headers: Vec::new(), body: said.into_bytes() };
    server.put("/repos/hook/hooks", refusal);
    let failed = daemon.call("snap-ins.activate", &activate);
    let (now, reason) = state(&failed);
    assert_eq!(now, "ERROR");
    assert!(reason.contains("`hook` cannot be registered") && reason.contains("422"), "{reason}");
    assert!(reason.contains("no hooks for") && !reason.contains(TOKEN), "{reason}");
    let secret_part = url.rsplit('/').next().expect("a token");
    assert!(!reason.contains(secret_part), "{reason}");
    server.take_seen();

    let made = Answer::bytes(br#"{"hook":{"id":4711}}"#.to_vec());
    server.put("/repos/hook/hooks", made);
    let active = daemon.call("snap-ins.activate", &activate);
    assert_eq!(state(&active).0, "ACTIVE", "{active}");
    let seen = server.take_seen();
    let [register] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((register.method.as_str(), register.path.as_str()), ("POST", "/repos/hook/hooks"));
    assert_eq!(register.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    let body = json!({ "events": ["push"], "config": { "url": url, "secret": TOKEN } });
    assert_eq!(register.json(), body);

    // Once is enough, also over a restart and an activation out of ERROR.
    daemon.restart();
    daemon.run_of(&daemon.send_event(&it, &json!({ "n": 1 })));
    assert!(server.take_seen().is_empty());

    // What cannot be taken back stays known, and force goes on without it.
    let deactivated =
        daemon.call("snap-ins.deactivate", &json!({ "id": it.id, "wait_seconds": 30 }));
    assert_eq!(state(&deactivated).0, "INACTIVE", "404 there means that it is gone: {deactivated}");
    let seen = server.take_seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("DELETE", "/hooks/4711"));

    daemon.call("snap-ins.activate", &activate);
    server.put("/hooks/4711", Answer { status: 500, headers: Vec::new(), body: b"oh".to_vec() });
    let failed = daemon.call("snap-ins.deactivate", &json!({ "id": it.id, "wait_seconds": 30 }));
    assert_eq!(state(&failed).0, "ERROR");
    assert!(state(&failed).1.contains("still registered"), "{failed}");
    server.put("/hooks/4711", Answer::bytes(Vec::new()));
    daemon.step("delete", &it.id, "DELETED");
    let last = server.take_seen().pop().expect("a request");
    assert_eq!((last.method.as_str(), last.path.as_str()), ("DELETE", "/hooks/4711"));
}

#[test]
fn sources_of_people_are_registered_when_they_enable_it_and_taken_back() {
    let server = FileServer::start();
    let daemon = daemon_for(&server);
    let base = server.url("");
    let parts = Parts::new("personal", SIGNED, ECHO);
    let own = format!(
        "  user:
    - name: own
      type: flow-custom-webhook
      config:
        policy: |
          package rego
          output = {{\"event\": input.request.body, \"event_key\": \"tick\"}}
      registration:
        register:
          url: {base}/people/{{{{source.name}}}}
          body: {{ to: '{{{{source.trigger_url}}}}' }}
          id_jq: .id
        unregister:
          url: {base}/people/{{{{registration.id}}}}
functions:
"
    );
    let manifest = parts.manifest().replacen("functions:\n", &own, 1);
    daemon.call("packages.create", &json!({ "slug": "personal" }));
    let version = daemon.call(
        "versions.create",
        &json!({ "package": "personal", "manifest": manifest, "archive": parts.archive() }),
    );
    let made = daemon.call("snap-ins.create", &json!({ "version": version["version"]["id"] }));
    let id = made["snap_in"]["id"].as_str().expect("an id").to_owned();
    server.put("/people/own", Answer::bytes(br#"{"id":17}"#.to_vec()));
    server.put("/people/17", Answer::bytes(Vec::new()));
    daemon.step("activate", &id, "ACTIVE");
    assert!(server.take_seen().is_empty(), "nobody has enabled it");

    let ada = json!({ "id": id, "user": "ada" });
    daemon.call("snap-ins.enable", &ada);
    let seen = server.take_seen();
    let [register] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((register.method.as_str(), register.path.as_str()), ("POST", "/people/own"));
    let url = register.json()["to"].as_str().expect("a URL").to_owned();
    assert!(url.contains("/hooks/"), "{url}");
    daemon.call("snap-ins.disable", &ada);
    let seen = server.take_seen();
    let [taken_back] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((taken_back.method.as_str(), taken_back.path.as_str()), ("DELETE", "/people/17"));
}
