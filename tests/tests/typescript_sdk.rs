//! A function that was written for the platform whose types are in `contrib/object-types/` runs
//! unchanged: with the npm package `@devrev/typescript-sdk` as it comes from the registry, in Node.js,
//! through the daemon's egress, against the daemon's own API.
//!
//! npm is asked once, by the test. Where there is no registry, or no Node.js, it says so and tests
//! nothing.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::Path;

use mortise_tests::client::script;
use mortise_tests::daemon::Daemon;
use mortise_tests::needs::npm_install;
use mortise_tests::snap_in::{Parts, SIGNED, pack_bytes};
use serde_json::{Value, json};

const PACKAGE: &str = "@devrev/typescript-sdk";
const VERSION: &str = "1.1.71";

const MANIFEST: &str = r#"{"name": "ported", "version": "1.0.0", "private": true, "main": "index.js",
"dependencies": {"@devrev/typescript-sdk": "VERSION"}}"#;

/// As such functions are written: endpoint and token from the event, everything else by the package.
const CODE: &str = r#"
const { client, publicSDK } = require('@devrev/typescript-sdk');

const api = (event) => client.setup({
  endpoint: event.execution_metadata.devrev_endpoint,
  token: event.context.secrets.service_account_token,
});

async function work([event]) {
  const sdk = api(event);
  const { part, owner, other, tag, title } = event.payload;
  const created = await sdk.worksCreate({
    type: publicSDK.WorkType.Issue,
    title,
    body: 'Made by a function',
    applies_to_part: part,
    owned_by: [owner],
    priority: publicSDK.IssuePriority.P1,
    stage: { name: 'queued' },
    tags: [{ id: tag, value: 'loud' }],
    custom_fields: { tnt__floor: 2, tnt__door: 'left' },
  });
  const item = created.data.work;

  const comment = await sdk.timelineEntriesCreate({
    object: item.id,
    type: publicSDK.TimelineEntriesCreateRequestType.TimelineComment,
    body: 'Somebody looks at it.',
    body_type: publicSDK.TimelineCommentBodyType.Text,
    visibility: publicSDK.TimelineEntryVisibility.Internal,
    collections: ['discussions'],
  });

  const listed = await sdk.worksList({
    type: [publicSDK.WorkType.Issue],
    applies_to_part: [part],
    owned_by: [owner],
    tags: [tag],
    issue: { priority: [publicSDK.IssuePriority.P1] },
    'stage.name': ['queued'],
    sort_by: ['created_date:desc'],
    limit: 5,
  });
  const none = await sdk.worksList({ type: [publicSDK.WorkType.Ticket], owned_by: [owner] });

  const updated = await sdk.worksUpdate({
    id: item.id,
    type: publicSDK.WorkType.Issue,
    title: `${title} again`,
    owned_by: { set: [other] },
    stage: { name: 'in_development' },
    tags: { set: [{ id: tag }] },
    target_close_date: '2027-03-03T19:10:25.427Z',
    custom_fields: { tnt__floor: 3 },
  });
  const cleared = await sdk.worksUpdate({ id: item.display_id, target_close_date: null });
  // A tag of the manifest, as its functions are given it.
  const marked = await sdk.worksUpdate({
    id: item.id, tags: { add: [{ id: event.input_data.resources.tags.ported.id }] },
  });
  const got = await sdk.worksGet({ id: item.display_id });
  const counted = await sdk.worksCountPost({ stage: { name: ['in_development'] }, owned_by: [other] });
  const entries = await sdk.timelineEntriesList({ object: item.display_id });
  const changed = await sdk.timelineEntriesUpdate({
    id: comment.data.timeline_entry.id,
    type: publicSDK.TimelineEntriesUpdateRequestType.TimelineComment,
    body: 'Done.',
  });
  return {
    statuses: [created, comment, listed, updated, got].map((it) => it.status),
    created: item,
    comment: comment.data.timeline_entry,
    listed: listed.data,
    none: none.data,
    updated: updated.data.work,
    cleared: cleared.data.work,
    marked: marked.data.work,
    got: got.data.work,
    counted: counted.data,
    entries: entries.data,
    changed: changed.data.timeline_entry,
  };
}

/// Goes through a list page by page, as ported functions do.
async function pages([event]) {
  const sdk = api(event);
  for (let n = 0; n < 7; n += 1) {
    await sdk.worksCreate({
      type: publicSDK.WorkType.Ticket,
      title: `ticket ${n}`,
      applies_to_part: event.payload.part,
      owned_by: [event.payload.owner],
      severity: n % 2 ? publicSDK.TicketSeverity.High : publicSDK.TicketSeverity.Low,
    });
  }
  const titles = [];
  let cursor;
  let calls = 0;
  do {
    const page = await sdk.worksList({
      type: [publicSDK.WorkType.Ticket], cursor, limit: 2, mode: 'after', sort_by: ['created_date:asc'],
    });
    titles.push(...page.data.works.map((it) => it.title));
    cursor = page.data.next_cursor;
    calls += 1;
  } while (cursor && calls < 20);
  const high = await sdk.worksListPost({ ticket: { severity: [publicSDK.TicketSeverity.High] } });
  const since = await sdk.worksListPost({
    created_date: { type: 'range', after: '2020-01-01T00:00:00Z' }, type: [publicSDK.WorkType.Ticket],
  });
  return {
    titles, calls, high: high.data.works.map((it) => it.severity), since: since.data.works.length,
  };
}

/// What goes wrong comes as the package tells it.
async function wrong([event]) {
  const sdk = api(event);
  const told = async (call) => {
    try {
      await call();
      return null;
    } catch (error) {
      return { status: error.response?.status, ...error.response?.data };
    }
  };
  return {
    absent: await told(() => sdk.worksGet({ id: 'ISS-4711' })),
    invalid: await told(() => sdk.worksCreate({ type: 'issue', title: 7, owned_by: ['DEVU-99'], colour: 'red' })),
    // Nothing in the manifest asks for accounts.
    forbidden: await told(() => sdk.accountsCreate({ display_name: 'Not mine' })),
  };
}

exports.functionFactory = { work, pages, wrong };
"#;

const SCOPES: &str = "  display_name: Tester
  scopes:
    self:
      - {scope: 'work:all'}
      - {scope: 'timeline_entry:all'}
      - {scope: 'part:read'}
      - {scope: 'dev_user:read'}
      - {scope: 'tag:read'}
";

/// The files of the package and of all that it needs, as npm lays them out; nothing when it cannot.
fn from_registry(directory: &Path) -> Option<()> {
    std::fs::write(directory.join("package.json"), MANIFEST.replace("VERSION", VERSION)).unwrap();
    std::fs::write(directory.join("index.js"), CODE).unwrap();
    npm_install(directory, &[])
}

/// Every file below a directory, with its path from there.
fn files_of(top: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files
}

fn installed(daemon: &Daemon, directory: &Path) -> String {
    let types = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/object-types");
    let done = script(daemon, &["object-type", "install", types], "");
    assert_eq!(done.code, 0, "{done:?}");
    let files = files_of(directory);
    assert!(files.iter().any(|it| it.0 == format!("node_modules/{PACKAGE}/package.json")));
    let files: Vec<_> = files.iter().map(|(path, it)| (path.as_str(), it.as_slice())).collect();
    let functions = ["pages", "wrong"]
        .iter()
        .fold(Parts::new("ported", SIGNED, ""), |it, name| it.with_function(name, ""))
        .with_sections("tags:\n  - {name: ported, description: Made by a function.}\n");
    let manifest = functions.manifest().replace("  display_name: Tester\n", SCOPES);
    daemon.call("packages.create", &json!({ "slug": "ported" }));
    let upload =
        json!({ "package": "ported", "manifest": manifest, "archive": pack_bytes(&files) });
    let made = daemon.call("versions.create", &upload);
    assert_eq!(made["version"]["runtimes"]["work"]["runtime"], "node", "{made}");
    let created = json!({ "version": made["version"]["id"], "scope": "default/default/ported" });
    let created = daemon.call("snap-ins.create", &created);
    let id = created["snap_in"]["id"].as_str().unwrap().to_owned();
    daemon.step("activate", &id, "ACTIVE");
    id
}

#[track_caller]
fn call(daemon: &Daemon, snap_in: &str, function: &str, payload: &Value) -> Value {
    let asked = json!({ "snap_in": snap_in, "function": function, "payload": payload });
    let answer = daemon.call("functions.call", &asked);
    assert_eq!(answer["state"], "succeeded", "{answer:#}");
    answer["result"].clone()
}

#[test]
fn a_function_with_the_npm_package_runs_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    if from_registry(directory.path()).is_none() {
        return;
    }
    let daemon = Daemon::start();
    let snap_in = installed(&daemon, directory.path());
    let make = |plural: &str, fields: Value| {
        let name = plural.trim_end_matches('s').replace('-', "_");
        daemon.call(&format!("{plural}.create"), &fields)[name].clone()
    };
    let owner = make("dev-users", json!({ "email": "ada@example.com", "display_name": "Ada" }));
    let other = make("dev-users", json!({ "email": "bob@example.com", "display_name": "Bob" }));
    let part = make("parts", json!({ "type": "product", "name": "Stairs" }));
    let tag = make("tags", json!({ "name": "noise" }));
    assert_eq!(
        [&owner["display_id"], &part["display_id"], &tag["display_id"]],
        ["DEVU-1", "PROD-1", "TAG-2"],
        "the first tag is that of the manifest"
    );
    let payload = json!({
        "part": "PROD-1", "owner": "DEVU-1", "other": other["id"], "tag": "TAG-2",
        "title": "Steps are missing",
    });

    let seen = call(&daemon, &snap_in, "work", &payload);
    assert_eq!(seen["statuses"], json!([200, 200, 200, 200, 200]));
    let created = &seen["created"];
    assert_eq!(created["display_id"], "ISS-1", "{created:#}");
    assert_eq!(created["type"], "issue");
    assert_eq!(created["title"], "Steps are missing");
    assert_eq!(created["stage"]["name"], "queued");
    assert_eq!(created["owned_by"][0]["id"], owner["id"]);
    assert_eq!(created["owned_by"][0]["type"], "dev_user");
    assert_eq!(created["owned_by"][0]["display_name"], "Ada");
    assert_eq!(created["applies_to_part"]["id"], part["id"]);
    assert_eq!(created["applies_to_part"]["type"], "product");
    assert_eq!(created["tags"][0]["tag"]["name"], "noise");
    assert_eq!(created["tags"][0]["value"], "loud");
    assert_eq!(created["created_by"]["type"], "service_account", "{created:#}");
    assert!(created["created_date"].as_str().is_some_and(|it| it.ends_with('Z')), "{created:#}");

    let comment = &seen["comment"];
    assert_eq!(comment["object"], created["id"], "{comment:#}");
    assert_eq!(comment["object_display_id"], "ISS-1", "{comment:#}");
    assert_eq!(comment["body"], "Somebody looks at it.");
    assert_eq!(comment["visibility"], "internal");

    assert_eq!(seen["listed"]["works"][0]["id"], created["id"], "{:#}", seen["listed"]);
    assert_eq!(seen["listed"]["works"].as_array().unwrap().len(), 1);
    assert_eq!(seen["listed"].get("next_cursor").unwrap_or(&Value::Null), &Value::Null);
    assert_eq!(seen["none"]["works"], json!([]));

    let updated = &seen["updated"];
    assert_eq!(updated["title"], "Steps are missing again");
    assert_eq!(updated["owned_by"][0]["display_name"], "Bob", "{updated:#}");
    assert_eq!(updated["owned_by"].as_array().unwrap().len(), 1);
    assert_eq!(updated["stage"]["name"], "in_development");
    assert_eq!(updated["tags"][0].get("value"), None, "{updated:#}");
    assert_eq!(updated["target_close_date"], "2027-03-03T19:10:25.427Z");
    assert_eq!(updated["custom_fields"], json!({ "tnt__floor": 3, "tnt__door": "left" }));
    assert_eq!(updated["body"], "Made by a function", "what is not sent stays");
    assert_eq!(seen["cleared"].get("target_close_date"), None, "{:#}", seen["cleared"]);
    assert_eq!(seen["got"], seen["marked"]);
    assert_eq!(seen["got"]["tags"][1]["tag"]["name"], "ported", "{:#}", seen["got"]);
    assert_eq!(seen["counted"]["count"], 1);
    assert_eq!(seen["entries"]["timeline_entries"][0]["id"], comment["id"]);
    assert_eq!(seen["changed"]["body"], "Done.");

    let seen = call(&daemon, &snap_in, "pages", &payload);
    let titles: Vec<_> = (0..7).map(|n| format!("ticket {n}")).collect();
    assert_eq!(seen["titles"], json!(titles));
    assert!(seen["calls"].as_u64().is_some_and(|it| (4..20).contains(&it)), "{seen}");
    assert_eq!(seen["high"], json!(["high", "high", "high"]));
    assert_eq!(seen["since"], 7);

    let seen = call(&daemon, &snap_in, "wrong", &payload);
    assert_eq!(seen["absent"]["status"], 404, "{seen:#}");
    let invalid = seen["invalid"].to_string();
    for field in ["title", "colour", "DEVU-99"] {
        assert!(invalid.contains(field), "{field} of {invalid}");
    }
    assert_eq!(seen["forbidden"]["status"], 403, "{seen:#}");
    assert!(seen["forbidden"]["message"].as_str().unwrap().contains("account:write"), "{seen:#}");
}

#[test]
fn all_types_are_installed_at_once_and_again_without_a_change() {
    let daemon = Daemon::start();
    let types = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/object-types");
    let trial = script(&daemon, &["object-type", "install", types, "--dry-run"], "");
    assert_eq!(trial.code, 0, "{trial:?}");
    assert!(trial.out.contains("work: would be new"), "{trial:?}");
    let done = script(&daemon, &["object-type", "install", types, "--json"], "");
    assert_eq!(done.code, 0, "{done:?}");
    let created = done.json()["created"].as_array().unwrap().clone();
    for name in [
        "work",
        "timeline_entry",
        "account",
        "tag",
        "part",
        "group",
        "group_member",
        "dev_user",
        "rev_user",
        "rev_org",
        "conversation",
    ] {
        assert!(created.contains(&json!(name)), "{name}: {created:?}");
    }
    let again = script(&daemon, &["object-type", "install", types], "");
    assert_eq!(again.code, 0, "{again:?}");
    let unchanged = again.out.lines().filter(|it| it.ends_with(" unchanged")).count();
    assert_eq!(unchanged, created.len(), "{again:?}");

    // One that changed, and one that cannot be.
    let directory = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(format!("{types}/tag.yaml")).unwrap();
    let file = directory.path().join("tag.yaml");
    std::fs::write(&file, text.replace("display_name: Tag", "display_name: Mark")).unwrap();
    let file = file.display().to_string();
    let updated = script(&daemon, &["object-type", "install", &file], "");
    assert!(updated.code == 0 && updated.out.contains("updated"), "{updated:?}");
    let shown = daemon.call("object-types.get", &json!({ "name": "tag" }));
    assert_eq!(shown["object_type"]["display_name"], "Mark");
    std::fs::write(&file, "name: tag\nschemas: {}\n").unwrap();
    let refused = script(&daemon, &["object-type", "install", &file], "");
    assert!(refused.code == 1 && refused.err.contains("schemas"), "{refused:?}");
}
