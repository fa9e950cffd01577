//! The daemon's own API, as functions in programs of their own call it: by its address, with the
//! token of their service account. A chain of causes goes on through such calls.

use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, SIGNED, pack};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Says who it is, then causes the next event; what the headers say of a cause is made up.
const PYTHON: &str = "#!/usr/bin/python3
import json, sys, urllib.request, urllib.error
event = json.load(sys.stdin)
payload = event['payload']
def call(name, body):
    request = urllib.request.Request(
        event['execution_metadata']['devrev_endpoint'] + '/' + name,
        data=json.dumps(body).encode(),
        headers={
            'Authorization': event['context']['secrets']['service_account_token'],
            'Content-Type': 'application/json',
            'Mortise-Cause': 'nothing',
        },
    )
    try:
        return [200, json.load(urllib.request.urlopen(request, timeout=20))]
    except urllib.error.HTTPError as error:
        return [error.code, json.load(error)]
own = call('snap-ins.get', {'id': event['context']['snap_in_id']})
other = call('snap-ins.get', {'id': payload['other']})
print('a line for the log', file=sys.stderr)
next = dict(payload, n=payload['n'] + 1)
caused = call('event-sources.publish',
              {'id': payload['source'], 'event_type': 'custom:tick', 'payload': next})
print(json.dumps({'own': own[1].get('snap_in', {}).get('id'), 'other': other[0], 'caused': caused[0]}))
";

/// The same.
const NODE: &str = "
exports.run = async ([event]) => {
  const { payload } = event;
  const call = async (name, body) => {
    const answer = await fetch(`${event.execution_metadata.devrev_endpoint}/${name}`, {
      method: 'POST',
      headers: {
        authorization: event.context.secrets.service_account_token,
        'content-type': 'application/json',
        'mortise-cause': 'nothing',
      },
      body: JSON.stringify(body),
    });
    return [answer.status, await answer.json()];
  };
  const [, own] = await call('snap-ins.get', { id: event.context.snap_in_id });
  const [other] = await call('snap-ins.get', { id: payload.other });
  const next = { ...payload, n: payload.n + 1 };
  const [caused] = await call('event-sources.publish', {
    id: payload.source, event_type: 'custom:tick', payload: next,
  });
  return { own: own.snap_in?.id, other, caused };
};
";

/// Installs a snap-in with these files, and answers its id and that of its source.
fn install(daemon: &Daemon, parts: &Parts, files: &[(&str, &str)]) -> (String, String) {
    daemon.call("packages.create", &json!({ "slug": parts.name }));
    let upload =
        json!({ "package": parts.name, "manifest": parts.manifest(), "archive": pack(files) });
    let version = daemon.call("versions.create", &upload)["version"]["id"].clone();
    let create = json!({ "version": version, "scope": format!("default/default/{}", parts.name) });
    let id = daemon.call("snap-ins.create", &create)["snap_in"]["id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    daemon.step("activate", &id, "ACTIVE");
    let sources = daemon.call("event-sources.list", &json!({ "snap_in": id }));
    let source = sources["event_sources"][0]["id"].as_str().expect("an id").to_owned();
    (id, source)
}

/// Lets it cause events until it is refused.
fn goes_round(daemon: &Daemon, parts: &Parts, files: &[(&str, &str)], other: &str) {
    let (id, source) = install(daemon, parts, files);
    let payload = json!({ "n": 0, "source": source, "other": other });
    let publish = json!({ "id": source, "event_type": "custom:tick", "payload": payload });
    daemon.call("event-sources.publish", &publish);
    let runs = eventually("the loop ends", PATIENCE, || {
        let runs = daemon.list_all("runs.list", "runs", &json!({ "snap_in": id }));
        let has_ended = |it: &Value| it["state"] == "succeeded" || it["state"] == "failed";
        let caused =
            |it: &Value| daemon.call("runs.get", &json!({ "id": it["id"] }))["run"].clone();
        let is_last = |it: &Value| it["result"]["caused"] != 200;
        let all: Vec<Value> = runs.iter().filter(|it| has_ended(it)).map(caused).collect();
        all.iter().any(is_last).then_some(all)
    });
    let mut results = Vec::new();
    for run in &runs {
        assert_eq!(run["state"], "succeeded", "{run:#}");
        let result = &run["result"];
        let caused = result["caused"].as_u64().expect("a status");
        // The last of a chain is refused whatever it asks for.
        let expected = if caused == 200 { json!([id, 404]) } else { json!([null, 508]) };
        assert_eq!(json!([result["own"], result["other"]]), expected, "{run:#}");
        results.push(caused);
    }
    results.sort_unstable();
    let mut expected = vec![200; 16];
    expected.push(508);
    assert_eq!(results, expected);
}

#[test]
fn programs_and_node_call_it_and_their_loops_end() {
    let daemon = Daemon::start();
    let other = daemon.install(&Parts::echo());
    let process =
        Parts::new("program", SIGNED, "").with("runtime: process").with("entry_point: bin/work");
    goes_round(&daemon, &process, &[("bin/work", PYTHON)], &other.id);
    let node = Parts::new("script", SIGNED, "").with("runtime: node");
    let index = "exports.functionFactory = { work: require('./work').run };";
    let package = r#"{"name": "script", "version": "1.0.0", "main": "index.js"}"#;
    let files = [("package.json", package), ("index.js", index), ("work.js", NODE)];
    goes_round(&daemon, &node, &files, &other.id);
}
