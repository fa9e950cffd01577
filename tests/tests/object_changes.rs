//! Changes of objects of types that somebody has defined, on a real daemon: what functions and filters
//! see of them, loops, and a kill in the middle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mortise_tests::daemon::Daemon;
use mortise_tests::snap_in::pack;
use mortise_tests::{Numbers, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The filter of the documents, with the expression that they lost.
const EXAMPLE: &str = "
if .type == \"work_created\" then
  if (.work_created.work.type == \"issue\") then true
  else false
  end
elif .type == \"timeline_entry_created\" then
  if (.timeline_entry_created.entry.type == \"timeline_comment\" and \
.timeline_entry_created.entry.object_type == \"issue\") then true
  else false
  end
else false
end";

/// Answers with the event, or writes the object that it hears of.
const CODE: &str = "
const tell = async ([event]) => event.payload;
const write = async ([event]) => {
  const { work } = event.payload.work_updated;
  const answer = await fetch(event.execution_metadata.devrev_endpoint + '/works.update', {
    method: 'POST',
    headers: {
      authorization: event.context.secrets.service_account_token,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ id: work.id, rank: work.rank + 1 }),
  });
  return { status: answer.status, text: await answer.text() };
};
export const functionFactory = { tell, write };
";

fn types() -> Value {
    json!([
        {
            "name": "work", "id_prefix": "work", "title_field": "title",
            "display_id": { "by": "type", "prefixes": { "issue": "ISS", "ticket": "TKT" } },
            "indexed": ["type", "rank"],
            "references": { "owned_by": "person" },
            "schema": { "properties": {
                "type": { "enum": ["issue", "ticket"] },
                "title": { "type": "string" },
                "rank": { "type": "integer" },
                "owned_by": { "type": "array", "items": { "type": "string" } },
            } },
        },
        {
            "name": "person", "plural": "people", "id_prefix": "prs", "title_field": "name",
            "schema": { "properties": { "name": { "type": "string" } } },
        },
        {
            "name": "timeline_entry", "plural": "timeline_entries", "id_prefix": "entry",
            "event_member": "entry",
            "schema": { "properties": {
                "type": { "type": "string" },
                "object_type": { "type": "string" },
                "body": { "type": "string" },
            } },
        },
    ])
}

fn with_types() -> Daemon {
    let daemon = Daemon::start();
    daemon.call("object-types.apply", &json!({ "object_types": types() }));
    daemon
}

/// A snap-in with one source for each filter, in service; answers its id and those of the sources.
#[track_caller]
fn listen(
    daemon: &Daemon,
    event_types: &[&str],
    filters: &[Option<&str>],
    function: &str,
) -> (String, Vec<String>) {
    let types = json!(event_types);
    let (mut sources, mut automations) = (String::new(), String::new());
    for (number, filter) in filters.iter().enumerate() {
        let filter = filter.map(|it| {
            let lines: String = it.lines().map(|it| format!("            {it}\n")).collect();
            format!("        filter:\n          jq_query: |\n{lines}")
        });
        sources.push_str(&format!(
            "    - name: s{number}\n      type: object-events\n      config:\n        \
             event_types: {types}\n{}",
            filter.unwrap_or_default()
        ));
        automations.push_str(&format!(
            "  - name: a{number}\n    source: s{number}\n    event_types: {types}\n    \
             function: {function}\n"
        ));
    }
    let manifest = format!(
        "version: \"2\"\nname: listener\ndescription: For tests.\n\
         service_account:\n  display_name: Tester\n  scopes:\n    self:\n      \
         - {{scope: 'work:all', reason: For tests.}}\n\
         event_sources:\n  organization:\n{sources}\
         functions:\n  - {{name: tell, description: Tells.}}\n  \
         - {{name: write, description: Writes.}}\nautomations:\n{automations}"
    );
    let package = r#"{"name":"tested","version":"1.0.0","main":"src/index.ts"}"#;
    let archive = pack(&[("package.json", package), ("src/index.ts", CODE)]);
    daemon.call("packages.create", &json!({ "slug": "listener" }));
    let upload = json!({ "package": "listener", "manifest": manifest, "archive": archive });
    let version = daemon.call("versions.create", &upload);
    let made = daemon.call("snap-ins.create", &json!({ "version": version["version"]["id"] }));
    let id = made["snap_in"]["id"].as_str().expect("an id").to_owned();
    daemon.step("activate", &id, "ACTIVE");
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for it in daemon.list_all("event-sources.list", "event_sources", &json!({ "snap_in": id })) {
        let text = |key: &str| it[key].as_str().expect("a text").to_owned();
        found.insert(text("name"), text("id"));
    }
    let sources = (0..filters.len()).map(|it| found[&format!("s{it}")].clone()).collect();
    (id, sources)
}

/// The events of a source, in order.
fn events(daemon: &Daemon, snap_in: &str, source: &str) -> Vec<Value> {
    let mut events = daemon.list_all("events.list", "events", &json!({ "snap_in": snap_in }));
    events.reverse();
    let own = events.iter().filter(|it| it["event_source"] == source);
    own.map(|it| daemon.call("events.get", &json!({ "id": it["id"] }))["event"].clone()).collect()
}

fn accepted(daemon: &Daemon, source: &str) -> u64 {
    let found = daemon.call("event-sources.get", &json!({ "id": source }));
    found["event_source"]["counts"]["accepted"].as_u64().expect("a number")
}

fn wait_for(daemon: &Daemon, source: &str, count: u64) {
    eventually("the events are there", PATIENCE, || {
        (accepted(daemon, source) >= count).then_some(())
    });
}

#[test]
fn the_example_of_the_documents_works() {
    let daemon = with_types();
    let event_types = ["work_created", "timeline_entry_created"];
    let (snap_in, sources) = listen(&daemon, &event_types, &[Some(EXAMPLE), None], "tell");
    let ada = daemon.call("people.create", &json!({ "name": "Ada" }))["person"]["id"].clone();
    let work = |kind: &str| {
        let fields = json!({ "type": kind, "title": "It leaks", "owned_by": [ada] });
        daemon.call("works.create", &fields)["work"].clone()
    };
    work("ticket");
    let issue = work("issue");
    for (kind, of) in [
        ("timeline_comment", "ticket"),
        ("timeline_change_event", "issue"),
        ("timeline_comment", "issue"),
    ] {
        let fields = json!({ "type": kind, "object_type": of, "body": "hm" });
        daemon.call("timeline-entries.create", &fields);
    }
    wait_for(&daemon, &sources[1], 5);
    wait_for(&daemon, &sources[0], 2);
    let found = events(&daemon, &snap_in, &sources[0]);
    let types: Vec<_> = found.iter().map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["work_created", "timeline_entry_created"]);
    let told = &found[0]["payload"]["work_created"]["work"];
    assert_eq!(*told, issue, "as callers are shown it");
    assert_eq!((&told["owned_by"][0]["id"], &told["owned_by"][0]["name"]), (&ada, &json!("Ada")));
    let run = daemon.call("runs.get", &json!({ "id": found[0]["runs"][0], "wait_seconds": 60 }));
    assert_eq!(run["run"]["result"], found[0]["payload"], "{run:#}");
}

#[test]
fn a_function_that_answers_changes_by_changes_comes_to_its_end() {
    let daemon = with_types();
    let (snap_in, sources) = listen(&daemon, &["work_updated"], &[None], "write");
    let work = daemon.call("works.create", &json!({ "type": "issue", "rank": 0 }))["work"].clone();
    daemon.call("works.update", &json!({ "id": work["id"], "rank": 1 }));
    // The last run may not write any more.
    wait_for(&daemon, &sources[0], 17);
    let found = events(&daemon, &snap_in, &sources[0]);
    let last = found.last().expect("there are some");
    let run = daemon.call("runs.get", &json!({ "id": last["runs"][0], "wait_seconds": 60 }));
    let said = run["run"]["result"]["text"].as_str().expect("a text").to_owned();
    assert!(said.contains("chain_too_long"), "{run:#}");
    let work = daemon.call("works.get", &json!({ "id": work["id"] }))["work"].clone();
    assert_eq!((&work["rank"], &work["version"]), (&json!(17), &json!(18)));
    assert_eq!(accepted(&daemon, &sources[0]), 17);
    let update = &last["payload"]["work_updated"];
    assert_eq!((&update["work"]["rank"], &update["old_work"]["rank"]), (&json!(17), &json!(16)));
}

/// Changes works one after the other until it is told to stop.
fn keep_updating(daemon: &Daemon, works: &[Value], stop: &AtomicBool) {
    for number in 0u64.. {
        let at = usize::try_from(number).expect("it is small") % works.len();
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let change = json!({ "id": works[at]["id"], "rank": number });
        // Nobody answers while the daemon is dead.
        if !daemon.try_call("works.update", &change).is_ok_and(|it| it.status == 200) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn every_version_is_told_once_and_in_order_whenever_the_daemon_is_killed() {
    const ROUNDS: usize = 6;
    const EVEN: &str = ".work_updated.work.rank % 2 == 0";
    let mut numbers = Numbers(u64::from(std::process::id()));
    let daemon = with_types();
    // Two have the same filter, and share it.
    let filters = [None, Some(EVEN), Some(EVEN)];
    let (snap_in, sources) = listen(&daemon, &["work_updated"], &filters, "tell");
    let make =
        |_| daemon.call("works.create", &json!({ "type": "issue", "rank": 0 }))["work"].clone();
    let works: Vec<Value> = (0..5).map(make).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| keep_updating(&daemon, &works, &stop));
        }
        for _ in 0..ROUNDS {
            std::thread::sleep(Duration::from_millis(numbers.between(100, 400)));
            daemon.kill_dash_nine();
            daemon.restart();
        }
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    let versions: BTreeMap<String, u64> = works
        .iter()
        .map(|it| {
            let work = daemon.call("works.get", &json!({ "id": it["id"] }))["work"].clone();
            let id = it["id"].as_str().expect("an id").to_owned();
            (id, work["version"].as_u64().expect("a number"))
        })
        .collect();
    let expected: u64 = versions.values().map(|it| it - 1).sum();
    let told = |source: &str| -> Vec<Value> {
        let all = events(&daemon, &snap_in, source).into_iter();
        all.map(|it| it["payload"]["work_updated"]["work"].clone()).collect()
    };
    let all = eventually("every change is told", PATIENCE, || {
        let all = told(&sources[0]);
        (all.len() as u64 >= expected).then_some(all)
    });
    let of = |all: &[Value], id: &str| -> Vec<u64> {
        let own = all.iter().filter(|it| it["id"] == id);
        own.map(|it| it["version"].as_u64().expect("a number")).collect()
    };
    for (id, version) in &versions {
        assert_eq!(of(&all, id), (2..=*version).collect::<Vec<_>>(), "of {id}");
    }
    let is_even = |it: &Value| it["rank"].as_u64().is_some_and(|it| it % 2 == 0);
    let even: Vec<Value> = all.iter().filter(|it| is_even(it)).cloned().collect();
    for source in &sources[1..] {
        let filtered = eventually("the filtered ones are told", PATIENCE, || {
            let filtered = told(source);
            (filtered.len() >= even.len()).then_some(filtered)
        });
        for id in versions.keys() {
            assert_eq!(of(&filtered, id), of(&even, id), "of {id} at {source}");
        }
    }
    println!("{ROUNDS} kills, {expected} changes of {} objects, each told once", works.len());
}

#[test]
fn what_the_daemon_has_of_its_own_is_read_like_objects_and_not_written() {
    let daemon = with_types();
    let (snap_in, sources) = listen(&daemon, &["work_updated"], &[None], "tell");
    let got = daemon.call("objects.get", &json!({ "type": "snap_in", "id": snap_in }));
    let object = &got["object"];
    assert_eq!((&object["id"], &object["state"]), (&json!(snap_in), &json!("ACTIVE")), "{got:#}");
    assert_eq!(object["snap_in_version"]["name"], "listener");
    let filter =
        json!({ "type": "event_source", "filter": { "snap_in": snap_in, "status": "active" } });
    let listed = daemon.call("objects.list", &filter);
    assert_eq!(listed["objects"][0]["id"], sources[0], "{listed:#}");
    assert!(!listed.to_string().contains("/hooks/"), "a trigger URL is a secret");
    let failed = json!({ "snap_in": snap_in, "function": "write", "payload": {} });
    daemon.try_call("functions.call", &failed).expect("an answer");
    let count = daemon.call("objects.count", &json!({ "type": "failed_run" }));
    assert_eq!(count["count"], 1, "{count}");
    for (verb, parameters) in [
        ("create", json!({ "type": "snap_in", "object": { "scope": "a/b/c" } })),
        ("update", json!({ "type": "snap_in", "id": snap_in, "object": { "state": "DRAFT" } })),
        ("delete", json!({ "type": "snap_in", "id": snap_in })),
    ] {
        let refused = daemon.refused(&format!("objects.{verb}"), &parameters, 403);
        assert!(refused["message"].as_str().is_some_and(|it| it.contains("snap_in")), "{refused}");
    }
    daemon.refused("object-types.delete", &json!({ "name": "failed_run" }), 403);
}
