//! Views: saved questions about objects, judged when they are saved and run as tables.

use mortise_tests::client::{AtTerminal, command, script};
use mortise_tests::daemon::Daemon;
use mortise_tests::snap_in::{ECHO, Parts, SIGNED};
use serde_json::{Value, json};

/// A type of objects with an owner of another type.
fn start() -> Daemon {
    let daemon = Daemon::start();
    daemon.call(
        "object-types.create",
        &json!({
            "name": "person", "plural": "people", "id_prefix": "pers", "title_field": "name",
            "schema": { "type": "object", "properties": { "name": { "type": "string" } } },
        }),
    );
    daemon.call("object-types.create", &chore(&["state", "size"]));
    for name in ["Ada", "Bob"] {
        daemon.call("people.create", &json!({ "name": name }));
    }
    daemon
}

fn chore(indexed: &[&str]) -> Value {
    json!({
        "name": "chore", "id_prefix": "chore", "title_field": "title", "display_id": "CH",
        "indexed": indexed,
        "references": { "owners": "person" },
        "schema": {
            "type": "object",
            "additionalProperties": false,
            "required": ["title"],
            "properties": {
                "title": { "type": "string" },
                "state": { "enum": ["open", "done"] },
                "size": { "type": "integer" },
                "owners": { "type": "array", "items": { "type": "string" } },
                "place": { "type": "object", "properties": { "floor": { "type": "integer" } } },
            },
        },
    })
}

fn people(daemon: &Daemon) -> Vec<Value> {
    daemon.call("people.list", &json!({}))["people"].as_array().cloned().unwrap_or_default()
}

/// Chores 1 to 7; the odd ones are open, and larger ones come later.
fn fill(daemon: &Daemon) {
    let owners: Vec<Value> = people(daemon).iter().map(|it| it["id"].clone()).collect();
    for n in 1..=7 {
        let state = if n % 2 == 1 { "open" } else { "done" };
        daemon.call(
            "chores.create",
            &json!({
                "title": format!("chore {n}"), "state": state, "size": n,
                "owners": owners[..n % 3], "place": { "floor": n * 10 },
            }),
        );
    }
}

fn open_ones() -> Value {
    json!({
        "name": "open-ones", "title": "Open chores", "object_type": "chore",
        "filter": { "state": ["open"] }, "sort_by": ["size:desc"],
        "columns": [
            { "path": "display_id", "title": "Nr" },
            { "path": "title" },
            { "path": "owners.name", "title": "Owners" },
            { "path": "place.floor" },
        ],
    })
}

#[test]
fn a_view_is_a_table_of_what_its_filter_finds() {
    let daemon = start();
    fill(&daemon);
    let made = daemon.call("views.create", &open_ones());
    let id = made["view"]["id"].as_str().unwrap_or_default().to_owned();
    assert!(id.starts_with("view_"), "{made}");
    let ran = daemon.call("views.run", &json!({ "id": "open-ones" }));
    assert_eq!(ran["columns"][0], json!({ "path": "display_id", "title": "Nr" }));
    let cells: Vec<&Value> =
        ran["rows"].as_array().into_iter().flatten().map(|it| &it["cells"]).collect();
    assert_eq!(
        cells,
        [
            &json!(["CH-7", "chore 7", ["Ada"], 70]),
            &json!(["CH-5", "chore 5", ["Ada", "Bob"], 50]),
            &json!(["CH-3", "chore 3", [], 30]),
            &json!(["CH-1", "chore 1", ["Ada"], 10]),
        ]
    );
    assert_eq!(ran["rows"][0]["display_id"], "CH-7");
    assert_eq!(ran["next_cursor"], Value::Null);

    // Page by page, there and back.
    let first = daemon.call("views.run", &json!({ "id": id, "limit": 3 }));
    assert_eq!(first["rows"].as_array().map(Vec::len), Some(3));
    let second = json!({ "id": id, "limit": 3, "cursor": first["next_cursor"] });
    let second = daemon.call("views.run", &second);
    assert_eq!(second["rows"][0]["cells"][0], "CH-1", "{second}");
    let back = json!({ "id": id, "limit": 3, "cursor": second["prev_cursor"] });
    assert_eq!(daemon.call("views.run", &back)["rows"], first["rows"]);
    let foreign = daemon.refused("views.run", &json!({ "id": id, "cursor": "zz" }), 400);
    assert_eq!(foreign["field"], "cursor", "{foreign}");

    // Without columns it says which object it is.
    daemon.call("views.create", &json!({ "name": "all", "object_type": "chore" }));
    let all = daemon.call("views.run", &json!({ "id": "all", "limit": 1 }));
    let paths: Vec<_> =
        all["columns"].as_array().into_iter().flatten().map(|it| &it["path"]).collect();
    assert_eq!(paths, ["display_id", "title", "modified_date"]);
}

#[test]
fn what_no_view_can_ask_is_refused_with_all_that_is_wrong() {
    let daemon = start();
    let wrong = json!({
        "name": "Wrong Name", "object_type": "chore",
        "filter": { "title": "a" }, "sort_by": ["title:desc"],
        "columns": [{ "path": "titel" }, { "path": "title" }, { "path": "a..b" }],
    });
    let refused = daemon.refused("views.create", &wrong, 422);
    let said = refused.to_string();
    for hint in [
        "`Wrong Name`",
        "columns[0].path",
        "did you mean `title`",
        "columns[2].path",
        "filter.title",
        "sort_by",
        "state",
        "size",
        "owners",
        "modified_date",
    ] {
        assert!(said.contains(hint), "{hint} of {said}");
    }
    assert!(!said.contains("columns[1]"), "{said}");
    let unknown = json!({ "name": "x", "object_type": "chorus" });
    let refused = daemon.refused("views.create", &unknown, 422).to_string();
    assert!(refused.contains("did you mean `chore`") && refused.contains("person"), "{refused}");
    assert_eq!(daemon.call("views.list", &json!({}))["views"], json!([]));
}

#[test]
fn views_are_changed_and_deleted_and_have_names_of_their_own() {
    let daemon = start();
    fill(&daemon);
    daemon.call("views.create", &open_ones());
    let taken = daemon.refused("views.create", &open_ones(), 409);
    assert!(taken["message"].as_str().is_some_and(|it| it.contains("open-ones")), "{taken}");
    daemon.call("views.create", &json!({ "name": "people", "object_type": "person" }));
    let renamed = json!({ "id": "people", "name": "open-ones" });
    daemon.refused("views.update", &renamed, 409);

    let changed = json!({
        "id": "open-ones", "name": "small-ones", "title": null, "filter": { "size": { "lte": 2 } },
    });
    let changed = daemon.call("views.update", &changed);
    assert_eq!(changed["view"].get("title"), None, "{changed}");
    assert_eq!(changed["view"]["sort_by"], json!(["size:desc"]), "what is not sent stays");
    let ran = daemon.call("views.run", &json!({ "id": "small-ones" }));
    assert_eq!(ran["rows"].as_array().map(Vec::len), Some(2), "{ran}");
    daemon.refused("views.get", &json!({ "id": "open-ones" }), 404);
    daemon.refused("views.update", &json!({ "id": "small-ones", "filter": { "titel": 1 } }), 422);

    let of_type = daemon.call("views.list", &json!({ "object_type": "person" }));
    assert_eq!(of_type["views"][0]["name"], "people");
    assert_eq!(of_type["views"].as_array().map(Vec::len), Some(1));
    daemon.kill_dash_nine();
    daemon.restart();
    assert_eq!(daemon.call("views.list", &json!({}))["views"].as_array().map(Vec::len), Some(2));
    daemon.call("views.delete", &json!({ "id": "small-ones" }));
    daemon.refused("views.delete", &json!({ "id": "small-ones" }), 404);
    daemon.call("views.create", &open_ones());
}

#[test]
fn a_view_says_when_its_type_has_changed_or_gone() {
    let daemon = start();
    daemon.call("views.create", &open_ones());
    let mut other = chore(&["size"]);
    daemon.call("object-types.update", &other);
    let refused = daemon.refused("views.run", &json!({ "id": "open-ones" }), 409);
    let said = refused["message"].as_str().unwrap_or_default();
    for hint in ["`open-ones`", "`chore`", "state", "views.update"] {
        assert!(said.contains(hint), "{hint} of {said}");
    }
    // A column that is gone is empty, and said.
    other = chore(&["size", "state"]);
    if let Some(properties) = other["schema"]["properties"].as_object_mut() {
        properties.remove("place");
    }
    daemon.call("object-types.update", &other);
    let ran = daemon.call("views.run", &json!({ "id": "open-ones" }));
    assert!(ran["warnings"].to_string().contains("place"), "{ran}");

    daemon.call("object-types.delete", &json!({ "name": "chore" }));
    let refused = daemon.refused("views.run", &json!({ "id": "open-ones" }), 409);
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("gone")), "{refused}");
    // It can still be looked at and deleted.
    daemon.call("views.get", &json!({ "id": "open-ones" }));
    daemon.call("views.delete", &json!({ "id": "open-ones" }));
}

const DECLARED: &str = "
object_types:
  - name: visit
    id_prefix: visit
    title_field: who
    indexed: [who]
    schema: {type: object, properties: {who: {type: string}}}
views:
  - name: visits
    object_type: visit
    sort_by: [who]
    columns: [who, {path: modified_date, title: When}]
";

#[test]
fn a_snap_in_brings_its_views() {
    let daemon = start();
    let parts = Parts::new("guests", SIGNED, ECHO).with_sections(DECLARED);
    let installed = daemon.install_draft(&parts);
    daemon.refused("views.get", &json!({ "id": "visits" }), 404);
    daemon.step("activate", &installed.id, "ACTIVE");
    daemon.call("visits.create", &json!({ "who": "Ada" }));
    let ran = daemon.call("views.run", &json!({ "id": "visits" }));
    assert_eq!(ran["rows"][0]["cells"][0], "Ada", "{ran}");
    assert_eq!(ran["view"]["packages"].as_array().map(Vec::len), Some(1), "{ran}");
    // Doing it again changes nothing, and the view outlives the snap-in.
    daemon.step("deactivate", &installed.id, "INACTIVE");
    daemon.step("activate", &installed.id, "ACTIVE");
    let again = daemon.call("views.get", &json!({ "id": "visits" }));
    assert_eq!(again["view"], ran["view"]);

    // Another package that means something else is refused, with both named.
    let other = DECLARED.replace("sort_by: [who]\n    ", "");
    let other = daemon.install_draft(&Parts::new("porter", SIGNED, ECHO).with_sections(&other));
    let refused = daemon.refused("snap-ins.activate", &json!({ "id": other.id }), 409);
    let said = refused["message"].as_str().unwrap_or_default();
    assert!(said.contains("`guests`") && said.contains("`porter`"), "{said}");
    // So is one that cannot be.
    let wrong = DECLARED.replace("visit", "stay").replace("sort_by: [who]", "sort_by: [when]");
    let wrong = daemon.install_draft(&Parts::new("hotel", SIGNED, ECHO).with_sections(&wrong));
    let refused = daemon.refused("snap-ins.activate", &json!({ "id": wrong.id }), 422);
    assert!(refused.to_string().contains("when"), "{refused}");
}

#[test]
fn the_command_shows_a_table_that_fits_the_terminal() {
    let daemon = start();
    fill(&daemon);
    let create = [
        "view",
        "create",
        "open-ones",
        "--type",
        "chore",
        "--filter",
        r#"{"state": "open"}"#,
        "--sort",
        "size:desc",
        "--column",
        "display_id=Nr",
        "--column",
        "title",
        "--column",
        "owners",
        "--column",
        "modified_date=Changed",
        "--column",
        "place.floor",
        "--column",
        "size",
        "--column",
        "created_date",
        "--title",
        "Open chores",
    ];
    let made = script(&daemon, &create, "");
    assert_eq!(made.code, 0, "{made:?}");
    let again = script(&daemon, &create, "");
    assert!(again.code == 1 && again.err.contains("already"), "{again:?}");
    let replaced = script(&daemon, &[&create[..], &["--replace"]].concat(), "");
    assert_eq!(replaced.code, 0, "{replaced:?}");

    let shown = script(&daemon, &["view", "show", "open-ones", "--limit", "2"], "");
    assert_eq!(shown.code, 0, "{shown:?}");
    let lines: Vec<&str> = shown.out.lines().collect();
    assert_eq!(lines[0], "Open chores");
    assert!(lines[1].starts_with("NR    TITLE    OWNERS    CHANGED"), "{shown:?}");
    assert!(lines[3].starts_with("CH-5  chore 5  Ada, Bob"), "{shown:?}");
    assert!(shown.err.contains("there are more: --cursor"), "{shown:?}");

    let (status, text) = AtTerminal::start(command(&daemon, &["view", "show", "open-ones"])).end();
    assert!(status.success(), "{text}");
    assert!(text.contains("CH-7"), "{text}");
    let widest = text.lines().map(|it| it.trim_end().chars().count()).max().unwrap_or_default();
    assert!(widest <= 80 + "\x1b[1m\x1b[0m".len(), "{widest}:\n{text}");

    let json = script(&daemon, &["view", "show", "open-ones", "--json"], "");
    assert_eq!(json.json()["rows"][0]["cells"][5], 7);
    let listed = script(&daemon, &["view", "list"], "");
    assert!(listed.out.contains("open-ones") && listed.out.contains("chore"), "{listed:?}");
    assert_eq!(script(&daemon, &["view", "get", "open-ones"], "").code, 0);
    let wrong = ["view", "create", "x", "--type", "chore", "--sort", "title"];
    let wrong = script(&daemon, &wrong, "");
    assert!(wrong.code == 1 && wrong.err.contains("size"), "indexed ones are named: {wrong:?}");
    assert_eq!(script(&daemon, &["view", "delete", "open-ones"], "").code, 0);
    assert_eq!(script(&daemon, &["view", "show", "open-ones"], "").code, 1);
}
