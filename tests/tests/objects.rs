//! Objects and their types, by a daemon as a process: calls of a type, what is refused and how it is
//! said, lists, references, versions, changes of types, and what snap-ins may reach.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mortise_tests::client::script;
use mortise_tests::daemon::Daemon;
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A type that has all that a type can have.
fn ticket() -> Value {
    json!({
        "name": "ticket",
        "id_prefix": "tkt",
        "title_field": "title",
        "display_id": { "by": "type", "prefixes": { "issue": "ISS", "question": "QST" } },
        "indexed": ["type", "rank", "stage.name", "due", "labels"],
        "references": { "owner": "member", "watchers": "member", "parent": "ticket" },
        "schema": {
            "type": "object",
            "properties": {
                "type": { "enum": ["issue", "question"] },
                "title": { "type": "string", "minLength": 1, "maxLength": 200 },
                "rank": { "type": "integer", "minimum": 0 },
                "stage": {
                    "type": "object",
                    "properties": { "name": { "type": "string" }, "note": { "type": "string" } },
                    "additionalProperties": false,
                },
                "due": { "type": "string", "format": "date-time" },
                "labels": { "type": "array", "items": { "type": "string" }, "uniqueItems": true },
                "owner": { "type": "string" },
                "watchers": { "type": "array", "items": { "type": "string" } },
                "parent": { "type": "string" },
            },
            "required": ["type", "title"],
            "additionalProperties": false,
        },
    })
}

fn member() -> Value {
    json!({
        "name": "member",
        "id_prefix": "mbr",
        "title_field": "full_name",
        "display_id": "MBR",
        "indexed": ["full_name"],
        "schema": {
            "properties": { "full_name": { "type": "string" }, "email": { "type": "string" } },
            "required": ["full_name"],
        },
    })
}

fn with_types() -> Daemon {
    let daemon = Daemon::start();
    let applied =
        daemon.call("object-types.apply", &json!({ "object_types": [ticket(), member()] }));
    assert_eq!(applied["created"], json!(["ticket", "member"]), "{applied}");
    daemon
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn create(daemon: &Daemon, fields: &Value) -> Value {
    daemon.call("tickets.create", fields)["ticket"].clone()
}

fn bad_fields(answer: &Value) -> Vec<String> {
    let fields = answer["fields"].as_array().expect("a list of fields").iter();
    let mut fields: Vec<String> = fields.map(|it| text(&it["field"])).collect();
    fields.sort();
    fields
}

fn titles(answer: &Value) -> Vec<String> {
    let rows = answer["tickets"].as_array().expect("a list").iter();
    rows.map(|it| text(&it["title"])).collect()
}

#[test]
fn objects_are_made_changed_and_deleted() {
    let daemon = with_types();
    let ada = daemon.call("members.create", &json!({ "full_name": "Ada", "email": "a@b" }));
    let ada = ada["member"].clone();
    assert_eq!(ada["display_id"], json!("MBR-1"));
    let made = create(
        &daemon,
        &json!({
            "type": "issue", "title": "It broke", "owner": ada["id"], "watchers": ["MBR-1"],
            "stage": { "name": "new" }, "labels": ["a", "b"], "rank": null,
        }),
    );
    assert_eq!(made["version"], json!(1), "{made}");
    assert_eq!(made["display_id"], json!("ISS-1"));
    assert!(text(&made["id"]).starts_with("tkt_"), "{made}");
    assert_eq!(made["created_by"]["id"], json!("token:admin"));
    assert_eq!(made["created_date"], made["modified_date"]);
    assert!(made.get("rank").is_none(), "null is absent: {made}");
    // A reference is shown as what it leads to, in short.
    let short = json!({
        "id": ada["id"], "display_id": "MBR-1", "type": "member", "full_name": "Ada",
    });
    assert_eq!(made["owner"], short);
    assert_eq!(made["watchers"], json!([short]));

    // By its id, its display id, as GET, and by the calls for all types.
    let token = format!("Bearer {}", daemon.token());
    let path = format!("/api/v1/tickets.get?id={}", text(&made["id"]));
    let got = daemon.connect().send("GET", &path, &[("authorization", token.as_str())], b"");
    assert_eq!(got.expect("an answer").json()["ticket"], made);
    for (name, parameters, key) in [
        ("tickets.get", json!({ "id": made["id"] }), "ticket"),
        ("tickets.get", json!({ "id": "ISS-1" }), "ticket"),
        ("objects.get", json!({ "id": made["id"] }), "object"),
        ("objects.get", json!({ "id": "ISS-1", "type": "tickets" }), "object"),
    ] {
        assert_eq!(daemon.call(name, &parameters)[key], made, "{name} {parameters}");
    }
    daemon.refused("objects.get", &json!({ "id": "ISS-1" }), 400);
    daemon.refused("tickets.get", &json!({ "id": "ISS-7" }), 404);
    daemon.refused("tickets.get", &json!({ "id": ada["id"] }), 404);
    daemon.refused("tickets.get", &json!({ "id": "ISS-1", "name": 1 }), 400);
    daemon.refused("tickets.burn", &json!({}), 404);
    let unknown = daemon.refused("objects.get", &json!({ "id": "x", "type": "tiket" }), 404);
    assert!(text(&unknown["message"]).contains("did you mean `ticket`"), "{unknown}");

    // What is not sent stays, null clears, objects are merged, lists changed.
    let changed = daemon.call(
        "tickets.update",
        &json!({
            "id": "ISS-1", "stage": { "note": "x" }, "owner": null,
            "labels": { "add": ["c", "a"], "remove": ["b"] },
            "watchers": { "remove": [{ "id": "MBR-1" }] },
        }),
    );
    let changed = changed["ticket"].clone();
    assert_eq!(changed["stage"], json!({ "name": "new", "note": "x" }), "{changed}");
    assert_eq!(changed["labels"], json!(["a", "c"]));
    assert_eq!(changed["watchers"], json!([]));
    assert!(changed.get("owner").is_none());
    assert_eq!((&changed["title"], &changed["version"]), (&made["title"], &json!(2)));
    // Nothing new is no new version.
    let same = daemon.call("tickets.update", &json!({ "id": "ISS-1", "title": "It broke" }));
    assert_eq!(same["ticket"]["version"], json!(2));
    let set = json!({ "id": made["id"], "type": "ticket", "object": { "labels": { "set": [] } } });
    assert_eq!(daemon.call("objects.update", &set)["object"]["labels"], json!([]));

    // It is all there after a crash, and numbers go on.
    daemon.kill_dash_nine();
    daemon.restart();
    let got = daemon.call("tickets.get", &json!({ "id": "ISS-1" }));
    assert_eq!(got["ticket"]["version"], json!(3));
    let more = create(&daemon, &json!({ "type": "issue", "title": "Again" }));
    assert_eq!(more["display_id"], json!("ISS-2"));
    assert!(text(&more["id"]) > text(&made["id"]));
    let question = create(&daemon, &json!({ "type": "question", "title": "Why?" }));
    assert_eq!(question["display_id"], json!("QST-1"));

    daemon.call("tickets.delete", &json!({ "id": "ISS-1" }));
    daemon.refused("tickets.get", &json!({ "id": made["id"] }), 404);
    daemon.refused("tickets.delete", &json!({ "id": "ISS-1" }), 404);
    assert_eq!(daemon.call("tickets.count", &json!({}))["count"], json!(2));
}

#[test]
fn every_bad_field_is_named() {
    let daemon = with_types();
    let bad = json!({
        "type": "isue", "title": "", "rank": "high", "stage": { "nam": "x", "note": 5 },
        "due": "tomorrow", "labels": ["a", 7], "owner": "mbr_00000000000000000000000000",
        "watchers": ["MBR-9", 4], "tite": "x", "version": 3, "created_by": "me",
    });
    let answer = daemon.refused("tickets.create", &bad, 422);
    assert_eq!(
        bad_fields(&answer),
        [
            "created_by",
            "due",
            "labels[1]",
            "owner",
            "rank",
            "stage.nam",
            "stage.note",
            "tite",
            "title",
            "type",
            "version",
            "watchers[0]",
            "watchers[1]",
        ],
        "{answer:#}"
    );
    let of = |name: &str| {
        let fields = answer["fields"].as_array().expect("a list").iter();
        fields.clone().find(|it| it["field"] == name).cloned().expect("named")
    };
    assert_eq!(of("type")["allowed"], json!(["issue", "question"]));
    assert!(text(&of("type")["message"]).contains("did you mean `issue`"), "{answer}");
    assert!(text(&of("tite")["message"]).contains("did you mean `title`"), "{answer}");
    assert!(text(&of("owner")["message"]).contains("there is no member"), "{answer}");
    assert_eq!(of("rank")["allowed"], json!(["integer"]));

    let missing = daemon.refused("tickets.create", &json!({}), 422);
    assert_eq!(bad_fields(&missing), ["title", "type"]);
    let made = create(&daemon, &json!({ "type": "issue", "title": "a" }));
    let broken = json!({ "id": made["id"], "title": null, "rank": -1, "labels": { "add": [1] } });
    let refused = daemon.refused("tickets.update", &broken, 422);
    assert_eq!(bad_fields(&refused), ["labels[0]", "rank", "title"]);
    let wrong_type = json!({ "id": made["id"], "parent": "MBR-1" });
    assert_eq!(bad_fields(&daemon.refused("tickets.update", &wrong_type, 422)), ["parent"]);
    let got = daemon.call("tickets.get", &json!({ "id": made["id"] }));
    assert_eq!(got["ticket"], made, "nothing of it was done");
}

#[test]
fn one_object_has_so_many_references_and_rows_and_no_more() {
    let daemon = with_types();
    let labels = |from: usize, to: usize| -> Vec<String> {
        (from..to).map(|it| format!("label {it}")).collect()
    };
    let ticket = |labels: &[String]| json!({ "type": "issue", "title": "a", "labels": labels });
    // Beside those of its labels it has some rows for what is absent.
    let made = create(&daemon, &ticket(&labels(0, 1_900)));
    let refused = daemon.refused("tickets.create", &ticket(&labels(0, 2_001)), 422);
    assert_eq!(bad_fields(&refused), ["labels"]);
    let message = text(&refused["fields"][0]["message"]);
    assert!(message.contains("2001 values") && message.contains("at most 2000"), "{message}");
    let more = json!({ "id": made["id"], "labels": { "add": labels(1_900, 2_001) } });
    assert_eq!(bad_fields(&daemon.refused("tickets.update", &more, 422)), ["labels"]);

    let member = daemon.call("members.create", &json!({ "full_name": "x" }))["member"].clone();
    let watchers = |count: usize| vec![member["display_id"].clone(); count];
    let many = json!({ "type": "issue", "title": "a", "watchers": watchers(1_001) });
    let refused = daemon.refused("tickets.create", &many, 422);
    assert_eq!(bad_fields(&refused), ["watchers"]);
    assert!(text(&refused["message"]).contains("at most 1000"), "{refused}");
    let some = json!({ "id": made["id"], "watchers": watchers(1_000) });
    daemon.call("tickets.update", &some);

    // A type cannot get more for an object that is there either.
    let mut wider = self::ticket();
    wider["schema"]["properties"]["notes"] =
        json!({ "type": "array", "items": { "type": "string" } });
    let applied = json!({ "object_types": [wider] });
    daemon.call("object-types.apply", &applied);
    daemon.call("tickets.update", &json!({ "id": made["id"], "notes": labels(0, 500) }));
    let mut wider = applied["object_types"][0].clone();
    wider["indexed"].as_array_mut().expect("a list").push(json!("notes"));
    let refused = daemon.refused("object-types.apply", &json!({ "object_types": [wider] }), 409);
    assert!(refused.to_string().contains("at most 2000 are allowed"), "{refused}");
}

#[test]
fn of_two_who_change_the_same_the_second_is_told() {
    let daemon = with_types();
    let made = create(&daemon, &json!({ "type": "issue", "title": "a", "rank": 0 }));
    let first = json!({ "id": made["id"], "version": 1, "rank": 1 });
    assert_eq!(daemon.call("tickets.update", &first)["ticket"]["version"], json!(2));
    let refused = daemon.refused("tickets.update", &first, 409);
    assert_eq!(refused["current_version"], json!(2), "{refused}");
    let old = json!({ "id": made["id"], "version": 1 });
    daemon.refused("tickets.delete", &old, 409);

    // Without a version nobody is lost: each change is decided by what is there.
    let left = AtomicUsize::new(40);
    let take = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(number) = take() {
                    let label = format!("l{number}");
                    let change = json!({ "id": made["id"], "labels": { "add": [label] } });
                    daemon.call("tickets.update", &change);
                }
            });
        }
    });
    let got = daemon.call("tickets.get", &json!({ "id": made["id"] }))["ticket"].clone();
    assert_eq!(got["labels"].as_array().map(Vec::len), Some(40), "{got}");
    assert_eq!(got["version"], json!(42));
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let daemon = with_types();
    for number in 0..30u64 {
        create(
            &daemon,
            &json!({
                "type": if number % 3 == 0 { "question" } else { "issue" },
                "title": format!("t{number:02}"),
                "rank": number % 5,
                "stage": { "name": if number < 20 { "new" } else { "done" } },
                "labels": if number % 2 == 0 { json!(["even", "all"]) } else { json!(["all"]) },
                "due": format!("2026-01-{:02}T12:00:00+01:00", 1 + number % 28),
            }),
        );
    }
    let list = |filter: Value| titles(&daemon.call("tickets.list", &filter));
    let some =
        |numbers: &[u64]| -> Vec<String> { numbers.iter().map(|it| format!("t{it:02}")).collect() };
    // As ported callers send it, and as a filter.
    let both = some(&[20, 25]);
    assert_eq!(list(json!({ "type": ["issue"], "rank": [0], "stage": { "name": "done" } })), both);
    assert_eq!(list(json!({ "stage.name": "done", "rank": 0, "type": "issue" })), both);
    let filter = json!({ "type": "issue", "rank": { "eq": 0 }, "stage": { "name": ["done"] } });
    assert_eq!(list(json!({ "filter": filter })), both);
    assert_eq!(list(json!({ "labels": "even", "rank": { "gte": 4 } })), some(&[4, 14, 24]));
    let none = json!({ "filter": { "rank": { "gt": 1, "lt": 2 } } });
    assert_eq!(list(none), Vec::<String>::new());
    let due = json!({ "due": { "after": "2026-01-27T10:59:59Z", "type": "range" } });
    assert_eq!(list(due), some(&[26, 27]));
    assert_eq!(list(json!({ "rank": { "exists": false } })), Vec::<String>::new());
    let many = json!({ "filter": { "type": { "ne": "issue" }, "stage.name": { "prefix": "do" } } });
    assert_eq!(list(many), some(&[21, 24, 27]));
    let counted = daemon.call("tickets.count", &json!({ "type": "issue", "labels": "even" }));
    assert_eq!((&counted["count"], &counted["is_exact"]), (&json!(10), &json!(true)), "{counted}");

    // In a query of a URL.
    let token = format!("Bearer {}", daemon.token());
    let get = |query: &str| {
        let path = format!("/api/v1/tickets.list?{query}");
        let answer = daemon.connect().send("GET", &path, &[("authorization", token.as_str())], b"");
        titles(&answer.expect("an answer").json())
    };
    assert_eq!(get("type=issue&type=question&rank=0&stage.name=done"), some(&[20, 25]));
    assert_eq!(get("limit=2&sort_by=rank:desc"), some(&[29, 24]));
    assert_eq!(get("filter=%7B%22rank%22%3A%7B%22gte%22%3A4%7D%7D&limit=1"), some(&[4]));

    // Page by page there and back, while others come and go.
    let sorted = |extra: Value| {
        let mut asked = json!({ "sort_by": ["rank:desc"], "limit": 7 });
        asked.as_object_mut().expect("an object").extend(extra.as_object().cloned().expect("one"));
        daemon.call("tickets.list", &asked)
    };
    let whole = list(json!({ "sort_by": "rank:desc", "limit": 100 }));
    assert_eq!(whole.len(), 30);
    let first = sorted(json!({}));
    assert!(first["prev_cursor"].is_null(), "{first}");
    let second = sorted(json!({ "cursor": first["next_cursor"] }));
    assert_eq!([titles(&first), titles(&second)].concat(), whole[..14]);
    let back = sorted(json!({ "cursor": second["prev_cursor"] }));
    assert_eq!(titles(&back), titles(&first));
    let back = sorted(json!({ "cursor": second["prev_cursor"], "mode": "before" }));
    assert_eq!(titles(&back), titles(&first));
    // The one at which the page ended goes, and another comes before it: nothing is lost or twice.
    let last = second["tickets"][6].clone();
    daemon.call("tickets.delete", &json!({ "id": last["id"] }));
    create(&daemon, &json!({ "type": "issue", "title": "late", "rank": 4 }));
    let third = sorted(json!({ "cursor": second["next_cursor"] }));
    assert_eq!(titles(&third), whole[14..21]);
    let by_age = list(json!({ "sort_by": "created_date:desc", "limit": 1 }));
    assert_eq!(by_age, ["late"]);
    let by_change =
        daemon.call("tickets.list", &json!({ "sort_by": ["-modified_date"], "limit": 1 }));
    assert_eq!(titles(&by_change), ["late"]);

    // What cannot be is said with what can.
    for (asked, field, word) in [
        (json!({ "titel": "x" }), "titel", "indexed"),
        (json!({ "filter": { "title": "x" } }), "filter.title", "rank"),
        (json!({ "sort_by": "title" }), "sort_by", "rank"),
        (json!({ "sort_by": ["rank", "type"] }), "sort_by", "one field"),
        (json!({ "rank": { "like": 1 } }), "rank.like", "prefix"),
        (json!({ "rank": [] }), "rank", "1 to"),
        (json!({ "due": "soon" }), "due", "RFC 3339"),
        (json!({ "limit": 101 }), "limit", "100"),
        (json!({ "cursor": "x" }), "cursor", "next_cursor"),
        (json!({ "cursor": first["next_cursor"] }), "cursor", "next_cursor"),
    ] {
        let refused = daemon.refused("tickets.list", &asked, 400);
        assert_eq!(refused["field"], json!(field), "{asked}: {refused}");
        assert!(text(&refused["message"]).contains(word), "{asked}: {refused}");
    }
}

#[test]
fn what_others_refer_to_is_not_deleted() {
    let daemon = with_types();
    let ada = daemon.call("members.create", &json!({ "full_name": "Ada" }))["member"].clone();
    let epic = create(&daemon, &json!({ "type": "issue", "title": "epic", "owner": "MBR-1" }));
    let child = create(
        &daemon,
        &json!({ "type": "issue", "title": "child", "parent": { "id": "ISS-1" }, "watchers": ["MBR-1"] }),
    );
    let refused = daemon.refused("members.delete", &json!({ "id": "MBR-1" }), 409);
    assert_eq!(refused["referred_to_by"], json!([epic["id"], child["id"]]), "{refused}");
    let refused = daemon.refused("tickets.delete", &json!({ "id": "ISS-1" }), 409);
    assert_eq!(refused["referred_to_by"], json!([child["id"]]));
    for filter in [json!({ "parent": "ISS-1" }), json!({ "parent": [{ "id": epic["id"] }] })] {
        assert_eq!(titles(&daemon.call("tickets.list", &filter)), ["child"], "{filter}");
    }
    daemon.call("tickets.update", &json!({ "id": child["id"], "parent": null }));
    daemon.call("tickets.delete", &json!({ "id": "ISS-1" }));
    daemon.call("tickets.update", &json!({ "id": child["id"], "watchers": { "set": [] } }));
    daemon.call("members.delete", &json!({ "id": ada["id"] }));
    // What refers to itself goes with itself.
    daemon.call("tickets.update", &json!({ "id": child["id"], "parent": child["id"] }));
    daemon.call("tickets.delete", &json!({ "id": child["id"] }));
}

#[test]
fn a_type_changes_only_if_its_objects_are_right_by_it() {
    let daemon = with_types();
    let ada = daemon.call("members.create", &json!({ "full_name": "Ada" }))["member"].clone();
    for number in 0..60 {
        let title = if number % 2 == 0 { "short".to_owned() } else { format!("long {number:030}") };
        create(&daemon, &json!({ "type": "issue", "title": title, "rank": number }));
    }
    let mut stricter = ticket();
    stricter["schema"]["properties"]["title"]["maxLength"] = json!(20);
    stricter["schema"]["required"] = json!(["type", "title", "owner"]);
    stricter["dry_run"] = json!(true);
    let tried = daemon.call("object-types.update", &stricter);
    assert_eq!((&tried["checked"], &tried["broken_count"]), (&json!(60), &json!(60)), "{tried}");
    assert_eq!(tried["broken"].as_array().map(Vec::len), Some(20));
    stricter["schema"]["required"] = json!(["type", "title"]);
    let tried = daemon.call("object-types.update", &stricter);
    assert_eq!(tried["broken_count"], json!(30), "{tried}");
    assert_eq!(tried["broken"][0]["display_id"], json!("ISS-2"));
    assert_eq!(tried["broken"][0]["fields"][0]["field"], json!("title"));
    stricter["dry_run"] = json!(false);
    let refused = daemon.refused("object-types.update", &stricter, 409);
    assert_eq!(refused["broken"], tried["broken"], "{refused}");
    let kept =
        daemon.call("object-types.get", &json!({ "name": "tickets" }))["object_type"].clone();
    assert_eq!(kept["schema"], ticket()["schema"]);
    assert_eq!(kept["is_changing"], json!(false));
    // Nothing of it is left: what it would have forbidden is allowed.
    create(&daemon, &json!({ "type": "issue", "title": "x".repeat(30) }));

    // Another index, filled with what is there; one less; a new field.
    let mut other = ticket();
    other["indexed"] = json!(["type", "title", "labels"]);
    other["schema"]["properties"]["reporter"] = json!({ "type": "string" });
    other["references"]["reporter"] = json!("member");
    let changed = daemon.call("object-types.update", &other);
    assert_eq!(changed["checked"], json!(61), "{changed}");
    let found = daemon.call("tickets.count", &json!({ "title": "short" }));
    assert_eq!(found["count"], json!(30));
    daemon.refused("tickets.list", &json!({ "rank": 1 }), 400);
    let with = json!({ "type": "issue", "title": "new", "reporter": "MBR-1" });
    assert_eq!(create(&daemon, &with)["reporter"]["id"], ada["id"]);
    // And back: an index that was given up is made anew, not taken up.
    let one = daemon.call("tickets.list", &json!({ "title": "new" }))["tickets"][0].clone();
    daemon.call("tickets.update", &json!({ "id": one["id"], "rank": 7, "reporter": null }));
    daemon.call("object-types.update", &ticket());
    let found = daemon.call("tickets.count", &json!({ "rank": 7 }));
    assert_eq!(found["count"], json!(2), "one of old and the one that was changed meanwhile");

    // A reference must lead somewhere before it is one.
    let mut refers = ticket();
    refers["references"]["title"] = json!("member");
    let refused = daemon.refused("object-types.update", &refers, 409);
    assert_eq!(refused["broken_count"], json!(62), "{refused}");

    for (name, value, field) in [
        ("id_prefix", json!("other"), "id_prefix"),
        ("plural", json!("members"), "plural"),
        ("indexed", json!(["nothing"]), "indexed[0]"),
        ("display_id", json!("MBR"), "display_id"),
        ("schema", json!({ "type": "object", "properties": { "id": {} } }), "schema.properties.id"),
    ] {
        let mut wrong = ticket();
        wrong[name] = value;
        let refused = daemon.refused("object-types.update", &wrong, 422);
        assert!(bad_fields(&refused).contains(&field.to_owned()), "{refused}");
    }
    let refused = daemon.refused("object-types.create", &ticket(), 409);
    assert!(text(&refused["message"]).contains("already"), "{refused}");
    let refused = daemon.refused("object-types.delete", &json!({ "name": "member" }), 409);
    assert!(text(&refused["message"]).contains("ticket"), "{refused}");
    let refused = daemon.refused("object-types.delete", &json!({ "name": "ticket" }), 409);
    assert!(text(&refused["message"]).contains("62 objects"), "{refused}");
    for page in 0.. {
        let rows = daemon.call("tickets.list", &json!({ "limit": 100 }))["tickets"].clone();
        let rows = rows.as_array().cloned().unwrap_or_default();
        if rows.is_empty() {
            assert!(page > 0);
            break;
        }
        for row in rows {
            daemon.call("tickets.delete", &json!({ "id": row["id"] }));
        }
    }
    daemon.call("object-types.delete", &json!({ "name": "ticket" }));
    daemon.refused("tickets.list", &json!({}), 404);
    daemon.refused("objects.list", &json!({ "type": "ticket" }), 404);
}

#[test]
fn a_type_that_changes_when_the_daemon_is_killed_stays_what_it_was() {
    let daemon = with_types();
    for number in 0..400 {
        create(&daemon, &json!({ "type": "issue", "title": format!("t{number}"), "rank": number }));
    }
    let mut other = ticket();
    other["indexed"] = json!(["type", "title"]);
    std::thread::scope(|scope| {
        // Whether it is answered depends on who is faster.
        let update = scope.spawn(|| daemon.try_call("object-types.update", &other));
        eventually("it has begun, or has ended already", PATIENCE, || {
            let shown = daemon.try_call("object-types.get", &json!({ "name": "ticket" })).ok()?;
            let shown = shown.json()["object_type"].clone();
            let has_ended = shown["indexed"] == other["indexed"];
            (shown["is_changing"] == true || has_ended).then_some(())
        });
        daemon.kill_dash_nine();
        let _ = update.join().expect("it does not panic");
    });
    daemon.restart();
    let shown =
        daemon.call("object-types.get", &json!({ "name": "ticket" }))["object_type"].clone();
    assert_eq!(shown["is_changing"], json!(false));
    let is_new = shown["indexed"] == other["indexed"];
    let (filter, refused) = if is_new {
        (json!({ "title": "t7" }), json!({ "rank": 7 }))
    } else {
        (json!({ "rank": 7 }), json!({ "title": "t7" }))
    };
    assert_eq!(daemon.call("tickets.count", &filter)["count"], json!(1));
    daemon.refused("tickets.count", &refused, 400);
    // It can be changed again, and all that was there is found.
    daemon.call("object-types.update", &other);
    for number in [0, 199, 399] {
        let found = daemon.call("tickets.count", &json!({ "title": format!("t{number}") }));
        assert_eq!(found["count"], json!(1), "t{number}");
    }
}

/// Makes a call of the API and answers with what came back.
const CALLS: &str = "
export const run = async ([event]) => {
  const { devrev_endpoint } = event.execution_metadata;
  const results = [];
  for (const [name, body] of event.payload.calls) {
    const response = await fetch(`${devrev_endpoint}/${name}`, {
      method: 'POST',
      headers: {
        authorization: event.context.secrets.service_account_token,
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    results.push([response.status, text === '' ? null : JSON.parse(text)]);
  }
  return results;
};";

const NOTES: &str = "
object_types:
  - name: note
    title_field: text
    indexed: [text]
    references: {about: member}
    schema:
      type: object
      properties:
        text: {type: string}
        about: {type: string}
      required: [text]
      additionalProperties: false
";

#[test]
fn a_snap_in_reaches_what_it_was_granted_and_nothing_else() {
    let daemon = with_types();
    let ada = daemon.call("members.create", &json!({ "full_name": "Ada" }))["member"].clone();
    create(&daemon, &json!({ "type": "issue", "title": "secret", "owner": "MBR-1" }));
    let parts = Parts::new("notes", SIGNED, CALLS).with_sections(NOTES).with_scope("member:read");
    let installed = daemon.install(&parts);
    let types = daemon.call("object-types.get", &json!({ "name": "note" }))["object_type"].clone();
    assert_eq!(types["defined_by"], json!({ "administrator": false, "packages": ["notes"] }));

    let calls = json!([
        ["notes.create", { "text": "hello", "about": "MBR-1" }],
        ["notes.list", { "text": "hello" }],
        ["members.get", { "id": ada["id"] }],
        ["members.create", { "full_name": "Eve" }],
        ["members.delete", { "id": ada["id"] }],
        ["tickets.list", {}],
        ["tickets.get", { "id": "ISS-1" }],
        ["objects.create", { "type": "ticket", "object": { "type": "issue", "title": "x" } }],
        ["objects.list", { "type": "ticket" }],
        ["tickets.count", {}],
        ["object-types.create", { "name": "mine", "schema": { "properties": {} } }],
        ["object-types.get", { "name": "ticket" }],
        ["object-types.list", {}],
    ]);
    let run = json!({ "snap_in": installed.id, "function": "work", "payload": { "calls": calls } });
    let ran = daemon.call("functions.call", &run);
    let results = ran["result"].as_array().unwrap_or_else(|| panic!("{ran:#}")).clone();
    let statuses: Vec<u64> = results.iter().filter_map(|it| it[0].as_u64()).collect();
    assert_eq!(
        statuses,
        [200, 200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 404, 200],
        "{results:#?}"
    );
    let note = &results[0][1]["note"];
    assert_eq!(note["created_by"]["type"], json!("service_account"), "{note}");
    assert_eq!(note["about"]["full_name"], json!("Ada"));
    assert_eq!(results[1][1]["notes"], json!([note]));
    assert_eq!(results[3][1]["scope"], json!("member:write"));
    assert!(text(&results[5][1]["message"]).contains("`ticket:read`"), "{results:#?}");
    let names: Vec<_> = results[12][1]["object_types"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["member", "note"]);

    // A token for a part of the host reaches no objects: they are the whole host's. It is not told either
    // which types there are.
    let made = daemon.call("tokens.create", &json!({ "name": "part", "scope": "default" }));
    let token = text(&made["token"]);
    for (name, body, status) in [
        ("tickets.list", json!({}), 404),
        ("objects.list", json!({ "type": "note" }), 403),
        ("tickets.create", json!({ "type": "issue", "title": "x" }), 404),
        ("object-types.list", json!({}), 403),
        ("object-types.delete", json!({ "name": "note" }), 403),
    ] {
        let answer = daemon.try_call_as(&token, name, &body).expect("an answer");
        assert_eq!(answer.status, status, "{name}: {}", answer.json());
    }
}

#[test]
fn types_of_packages_are_shared_or_refused() {
    let daemon = Daemon::start();
    let parts =
        |name: &str, sections: &str| Parts::new(name, SIGNED, CALLS).with_sections(sections);
    let notes = NOTES.replace("    references: {about: member}\n", "");
    daemon.install(&parts("first", &format!("{notes}\n")));
    daemon.install(&parts("second", &format!("{notes}\n")));
    let shown = daemon.call("object-types.get", &json!({ "name": "note" }))["object_type"].clone();
    assert_eq!(shown["defined_by"]["packages"], json!(["first", "second"]), "{shown}");
    // Another definition of the same name.
    let other = notes.replace("required: [text]", "required: []");
    let third = daemon.install_draft(&parts("third", &other));
    let refused = daemon.refused("snap-ins.activate", &json!({ "id": third.id }), 409);
    let message = text(&refused["message"]);
    assert!(message.contains("`third`") && message.contains("`first`"), "{message}");
    // When those who had it are gone, it may be changed; the type stays with its objects.
    let made = daemon.call("notes.create", &json!({ "text": "kept" }))["note"].clone();
    for name in ["first", "second"] {
        let id = format!("default/default/{name}");
        daemon.call("snap-ins.delete", &json!({ "id": id, "wait_seconds": 60 }));
    }
    assert_eq!(daemon.call("notes.get", &json!({ "id": made["id"] }))["note"], made);
    daemon.step("activate", &third.id, "ACTIVE");
    daemon.call("notes.create", &json!({}));
    let refused = daemon.refused("object-types.delete", &json!({ "name": "note" }), 409);
    assert!(text(&refused["message"]).contains("third"), "{refused}");
    // A new version whose type some object breaks does not come in.
    let stricter = parts("third", &notes);
    let version = daemon.add_version(&stricter);
    let upgrade = json!({ "id": third.id, "version": version });
    let refused = daemon.refused("snap-ins.upgrade", &upgrade, 409);
    assert_eq!(refused["broken_count"], json!(1), "{refused}");
}

#[test]
fn the_command_line_has_types_and_objects() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("/tmp");
    let file = directory.path().join("types.json");
    let types = json!({ "object_types": [ticket(), member()] });
    std::fs::write(&file, types.to_string()).expect("a file");
    let path = file.display().to_string();
    let run = |arguments: &[&str]| script(&daemon, arguments, "");
    let done = run(&["object-type", "apply", &path]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.out.contains("ticket  created") && done.out.contains("member  created"),
        "{done:?}"
    );
    let again = run(&["object-type", "apply", &path, "--dry-run"]);
    assert!(again.out.contains("ticket: 0 objects checked"), "{again:?}");
    assert!(run(&["object-type", "list"]).out.contains("tickets"));

    let made = run(&["object", "create", "ticket", r#"{"type": "issue", "title": "It broke"}"#]);
    assert_eq!(made.code, 0, "{made:?}");
    let wrong = run(&["object", "create", "ticket", r#"{"title": 5}"#]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("`title`") && wrong.err.contains("`type`"), "{wrong:?}");
    let changed = run(&["object", "update", "ticket", "ISS-1", r#"{"rank": 3}"#, "--version", "1"]);
    assert_eq!(changed.code, 0, "{changed:?}");
    let shown = run(&["object", "get", "ticket", "ISS-1", "--json"]);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!(shown["object"]["rank"], json!(3));
    let id = text(&shown["object"]["id"]);
    assert_eq!(run(&["object", "get", &id]).code, 0);
    let listed = run(&["object", "list", "ticket", "--where", "rank=3", "--sort", "rank:desc"]);
    assert!(listed.out.contains("ISS-1") && listed.out.contains("It broke"), "{listed:?}");
    let counted = run(&["object", "count", "ticket", "--filter", r#"{"rank": {"gt": 3}}"#]);
    assert_eq!(counted.out.trim(), "0");
    assert_eq!(run(&["object", "delete", &id]).code, 0);
    assert_eq!(run(&["object", "get", &id]).code, 1);
    let gone = run(&["object-type", "delete", "ticket"]);
    assert_eq!(gone.code, 0, "{gone:?}");
}
