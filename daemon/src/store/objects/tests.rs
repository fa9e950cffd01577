//! Lists against a model that goes through all objects, writes and their changes, and types that were
//! changing when the daemon ended.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::super::testing::{self, BackendLocation, FaultyDisk};
use super::super::{
    Deletion, NewObject, ObjectTypeRecord, ObjectUpdate, ObjectWrite, Store, TypeChange,
    TypesWrite, Writing,
};
use crate::model::event::Cause;
use crate::model::id::text_of;
use crate::model::object::{ObjectKey, StoredObject, Verb};
use crate::model::object_type::{Defined, IndexKind, IndexedField, ObjectType, Origin};
use crate::objects::filter::{self, Written};
use crate::objects::index::{self, Entry, FIRST_OWN};
use crate::objects::path;
use crate::objects::query::{Column, Place, Position, Query, Sort, standard_columns};

const KIND: u32 = 1;

fn fields() -> Vec<IndexedField> {
    let field = |number, path: &str, kind| {
        let has_one = path != "tags";
        IndexedField { path: path.to_owned(), number, kind, has_one }
    };
    vec![
        field(FIRST_OWN, "state", IndexKind::Value),
        field(FIRST_OWN + 1, "rank", IndexKind::Value),
        field(FIRST_OWN + 2, "tags", IndexKind::Value),
        field(FIRST_OWN + 3, "due", IndexKind::Time),
    ]
}

fn columns() -> Vec<Column> {
    let mut columns = standard_columns();
    columns.extend(fields().iter().map(Column::from));
    columns
}

fn record(fields: Vec<IndexedField>) -> ObjectTypeRecord {
    let definition: ObjectType = serde_json::from_value(json!({
        "name": "work", "plural": "works", "id_prefix": "work", "schema": { "properties": {} },
    }))
    .expect("a definition");
    ObjectTypeRecord {
        current: Defined { definition, fields },
        candidate: None,
        retired: Vec::new(),
        next_field: FIRST_OWN + 10,
        revision: 0,
        origin: Origin::default(),
        created_ms: 0,
        created_by: "test".to_owned(),
        modified_ms: 0,
        modified_by: "test".to_owned(),
    }
}

fn entries(own: &Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    for field in fields() {
        let mut found = path::values(own, &field.path);
        if found.is_empty() {
            found.push(&Value::Null);
        }
        for value in found {
            let value = index::cut(value, field.kind);
            entries.push(Entry { field: field.number, value });
        }
    }
    entries.sort();
    entries.dedup();
    entries
}

fn writing(revision: u64) -> Writing {
    Writing {
        revision,
        object_type: "work".to_owned(),
        id_prefix: "work".to_owned(),
        actor: "test".to_owned(),
        cause: Cause::default(),
    }
}

struct Bench {
    store: Store,
    runtime: tokio::runtime::Runtime,
    revision: u64,
}

impl Bench {
    fn new(store: Store) -> Bench {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut bench = Bench { store, runtime, revision: 0 };
        bench.change(TypeChange::Create(Box::new(record(fields()))));
        bench
    }

    fn in_memory() -> Bench {
        Bench::new(testing::in_memory(1_000_000))
    }

    fn write<A: Send + 'static>(
        &self,
        operation: impl Fn(&mut super::super::WriteTables<'_>) -> Result<A, super::super::StoreError>
        + Send
        + 'static,
    ) -> A {
        self.runtime.block_on(self.store.write(operation)).expect("written")
    }

    fn change(&mut self, change: TypeChange) -> TypesWrite {
        let revision = self.revision;
        let done = self.write(move |tables| {
            tables.change_object_types(revision, std::slice::from_ref(&change))
        });
        if let TypesWrite::Done(revision) = done {
            self.revision = revision;
        }
        done
    }

    fn create(&self, own: &Value, references: Vec<ObjectKey>) -> ObjectWrite {
        let new = NewObject {
            writing: writing(self.revision),
            kind: KIND,
            id: None,
            fields: Bytes::from(own.to_string()),
            index: entries(own),
            references,
            display_prefix: Some("W".to_owned()),
        };
        self.write(move |tables| tables.create_object(&new))
    }

    fn created(&self, own: &Value) -> StoredObject {
        match self.create(own, Vec::new()) {
            ObjectWrite::Done(written) => written.object,
            other => panic!("{other:?}"),
        }
    }

    fn update(&self, before: &StoredObject, own: &Value) -> ObjectWrite {
        let old: Value = serde_json::from_slice(&before.fields).expect("JSON");
        let (gone, new) = index::difference(entries(&old), entries(own));
        let update = ObjectUpdate {
            writing: writing(self.revision),
            key: before.key,
            version: before.head.version,
            fields: Bytes::from(own.to_string()),
            gone,
            new,
            references: Vec::new(),
        };
        self.write(move |tables| tables.update_object(&update))
    }

    fn delete(&self, object: &StoredObject, referrers: Vec<(u32, u16)>) -> ObjectWrite {
        let own: Value = serde_json::from_slice(&object.fields).expect("JSON");
        let deletion = Deletion {
            writing: writing(self.revision),
            key: object.key,
            version: object.head.version,
            index: entries(&own),
            referrers,
        };
        self.write(move |tables| tables.delete_object(&deletion))
    }

    fn rows_in_index(&self) -> usize {
        let column = |place| match place {
            Place::Index(field) => Some(field),
            Place::Id | Place::Created => None,
        };
        let fields = columns().into_iter().filter_map(|it| column(it.place));
        fields.map(|field| self.rows_of(field)).sum()
    }

    fn rows_of(&self, field: u16) -> usize {
        self.store
            .read(|tables| {
                let start = index::field_start(KIND, field);
                let end = index::after(start.clone());
                let table = tables.table(super::super::schema::OBJECT_INDEX)?;
                Ok(table.range(start.as_slice()..end.as_slice())?.count())
            })
            .expect("read")
    }
}

fn conditions(filter: &Value) -> Vec<crate::objects::query::Condition> {
    let Value::Object(filter) = filter else { panic!("no object") };
    filter::parse(filter, "filter", &columns(), Written::Json, &mut |_, it| Ok(it.clone()))
        .expect("a filter")
}

fn query(filter: &Value, sort: &Sort, limit: usize) -> Query {
    Query {
        kind: KIND,
        id_prefix: "work".to_owned(),
        conditions: conditions(filter),
        sort: sort.clone(),
        limit,
        from: None,
        backwards: false,
    }
}

/// All ids of a list, page by page, and then back again.
fn by_pages(store: &Store, query: &Query) -> Vec<u128> {
    let mut ids = Vec::new();
    let mut from: Option<Position> = None;
    let mut last_page;
    loop {
        let page = store.read(|it| it.list_objects(&Query { from: from.clone(), ..query.clone() }));
        let page = page.expect("a page");
        assert!(page.rows.len() <= query.limit);
        last_page = page.rows.iter().map(|it| it.key.id).collect::<Vec<_>>();
        ids.extend(page.rows.iter().map(|it| it.key.id));
        if page.after.is_none() {
            from = page.before;
            break;
        }
        from = page.after;
    }
    let mut back = last_page;
    while let Some(at) = from {
        let query = Query { from: Some(at), backwards: true, ..query.clone() };
        let page = store.read(|it| it.list_objects(&query)).expect("a page");
        let rows: Vec<u128> = page.rows.iter().map(|it| it.key.id).collect();
        back = [rows, back].concat();
        from = page.before;
    }
    assert_eq!(back, ids, "there and back");
    ids
}

fn object() -> impl Strategy<Value = Value> {
    let state = prop_oneof![Just("open"), Just("closed"), Just("new")];
    let rank = prop_oneof![
        (0i64..4).prop_map(Value::from),
        Just(json!(1.5)),
        Just(json!("a")),
        Just(Value::Null)
    ];
    let tag = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("a".repeat(97))];
    let due = prop_oneof![
        Just("2026-01-01T00:00:00Z"),
        Just("2026-01-01T01:00:00+01:00"),
        Just("2026-01-02T00:00:00Z"),
    ];
    (
        state,
        proptest::option::of(rank),
        proptest::collection::vec(tag, 0..3),
        proptest::option::of(due),
    )
        .prop_map(|(state, rank, tags, due)| {
            let mut object = json!({ "state": state, "tags": tags });
            if let Some(rank) = rank {
                object["rank"] = rank;
            }
            if let Some(due) = due {
                object["due"] = json!(due);
            }
            object
        })
}

fn a_filter() -> impl Strategy<Value = Value> {
    let state = prop_oneof![
        Just(json!("open")),
        Just(json!(["open", "new"])),
        Just(json!({ "ne": "open" })),
        Just(json!({ "prefix": "cl" })),
    ];
    let rank = prop_oneof![
        Just(json!({ "gte": 1, "lt": 3 })),
        Just(json!({ "gt": 1 })),
        Just(json!({ "lte": 1.5 })),
        Just(json!(null)),
        Just(json!({ "exists": true })),
        Just(json!([2, "a"])),
        Just(json!({ "not_in": [2, null] })),
    ];
    let tags = prop_oneof![
        Just(json!("a")),
        Just(json!(["a", "b"])),
        Just(json!({ "ne": "a" })),
        Just(json!("a".repeat(97))),
        Just(json!({ "gt": "a".repeat(96) })),
        Just(json!({ "exists": false })),
    ];
    let due = prop_oneof![
        Just(json!("2026-01-01T00:00:00Z")),
        Just(json!({ "after": "2026-01-01T00:00:00.000Z" })),
        Just(json!({ "gte": "2026-01-01T00:00:00Z", "lte": "2026-01-01T00:00:00Z" })),
    ];
    let created = prop_oneof![
        Just(json!({ "gte": "1970-01-01T00:16:40Z" })),
        Just(json!({ "lt": "1970-01-01T00:16:40Z" })),
    ];
    (
        proptest::option::of(state),
        proptest::option::of(rank),
        proptest::option::of(tags),
        proptest::option::of(due),
        proptest::option::of(created),
    )
        .prop_map(|(state, rank, tags, due, created)| {
            let all = [
                ("state", state),
                ("rank", rank),
                ("tags", tags),
                ("due", due),
                ("created_date", created),
            ];
            let members = all.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
            Value::Object(members.collect::<Map<_, _>>())
        })
}

fn a_sort() -> impl Strategy<Value = Sort> {
    let usable: Vec<Column> = columns().into_iter().filter(Column::has_all).collect();
    (proptest::sample::select(usable), any::<bool>())
        .prop_map(|(column, descending)| Sort { column, descending })
}

/// Which objects a filter means, by looking at all, in the order of a sort.
fn by_model(objects: &[StoredObject], filter: &Value, sort: &Sort) -> Vec<u128> {
    let conditions = conditions(filter);
    let mut found: Vec<(Position, u128)> = objects
        .iter()
        .filter_map(|it| {
            let own: Value = serde_json::from_slice(&it.fields).expect("JSON");
            let id = text_of("work", it.key.id);
            let holds = conditions.iter().all(|one| one.holds(it.key, &id, &it.head, &own));
            let value = crate::objects::query::sort_value(sort, it, &own);
            holds.then_some((Position { value, id: it.key.id }, it.key.id))
        })
        .collect();
    found.sort();
    if sort.descending {
        found.reverse();
    }
    found.into_iter().map(|it| it.1).collect()
}

#[test]
fn lists_are_what_looking_at_all_objects_finds() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let objects = proptest::collection::vec(object(), 0..60);
    let queries = proptest::collection::vec((a_filter(), a_sort(), 1usize..8), 20);
    runner
        .run(&(objects, queries, any::<u8>()), |(objects, queries, seed)| {
            let bench = Bench::in_memory();
            let mut stored: Vec<StoredObject> =
                objects.iter().map(|it| bench.created(it)).collect();
            // Some are changed into others, some go.
            for place in (0..stored.len()).filter(|it| (it + usize::from(seed)) % 3 == 0) {
                let own: Value =
                    serde_json::from_slice(&stored[stored.len() - 1 - place].fields).expect("JSON");
                let ObjectWrite::Done(written) = bench.update(&stored[place], &own) else {
                    panic!("not updated")
                };
                stored[place] = written.object;
            }
            if seed % 2 == 0 && !stored.is_empty() {
                let gone = stored.remove(usize::from(seed) % stored.len());
                assert!(matches!(bench.delete(&gone, Vec::new()), ObjectWrite::Done(_)));
            }
            for (filter, sort, limit) in queries {
                let query = query(&filter, &sort, limit);
                let wanted = by_model(&stored, &filter, &sort);
                prop_assert_eq!(
                    by_pages(&bench.store, &query),
                    wanted.clone(),
                    "{} {:?}",
                    filter,
                    sort
                );
                let counted = bench.store.read(|it| it.count_objects(&query)).expect("counted");
                prop_assert_eq!((counted.count, counted.is_exact), (wanted.len() as u64, true));
            }
            // Nothing is left of those that go.
            for object in stored {
                assert!(matches!(bench.delete(&object, Vec::new()), ObjectWrite::Done(_)));
            }
            prop_assert_eq!(bench.rows_in_index(), 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_object_stands_where_its_least_value_is_also_when_another_is_asked_for() {
    let bench = Bench::in_memory();
    let both = bench.created(&json!({ "state": "open", "tags": ["a", "c"] }));
    let later = bench.created(&json!({ "state": "open", "tags": ["b", "d"] }));
    bench.created(&json!({ "state": "open", "tags": ["a"] }));
    let column = columns().into_iter().find(|it| it.path == "tags").expect("indexed");
    for (descending, ids) in
        [(false, [both.key.id, later.key.id]), (true, [later.key.id, both.key.id])]
    {
        let sort = Sort { column: column.clone(), descending };
        for filter in [json!({ "gt": "b" }), json!({ "gte": "c", "lt": "e" })] {
            let query = query(&json!({ "tags": filter }), &sort, 10);
            assert_eq!(by_pages(&bench.store, &query), ids, "{filter} {sort:?}");
        }
    }
}

#[test]
fn a_page_ends_when_enough_was_looked_at() {
    let bench = Bench::in_memory();
    for number in 0..2_000 {
        bench.created(&json!({ "state": "open", "rank": number, "note": number }));
    }
    bench.created(&json!({ "state": "open", "rank": -1 }));
    let sort = Sort { descending: true, ..Sort::by_age() };
    let filter = json!({ "state": { "ne": "open" } });
    // All are looked at and none is right: that is found out within a few pages.
    assert_eq!(by_pages(&bench.store, &query(&filter, &sort, 10)), Vec::<u128>::new());
}

#[test]
fn writes_are_refused_when_what_they_were_decided_by_is_no_more() {
    let mut bench = Bench::in_memory();
    let first = bench.created(&json!({ "state": "open" }));
    assert_eq!(first.head.display_id.as_deref(), Some("W-1"));
    let ObjectWrite::Done(second) = bench.update(&first, &json!({ "state": "closed" })) else {
        panic!("not updated")
    };
    assert_eq!(second.object.head.version, 2);
    assert_eq!(bench.update(&first, &json!({})), ObjectWrite::Changed { version: 2 });
    assert_eq!(bench.delete(&first, Vec::new()), ObjectWrite::Changed { version: 2 });
    let nobody = ObjectKey { kind: KIND, id: 5 };
    assert_eq!(bench.create(&json!({}), vec![nobody]), ObjectWrite::NoSuchTarget(nobody));
    let at = bench.revision;
    bench.change(TypeChange::Put(KIND, Box::new(record(fields()))));
    let now = bench.revision;
    bench.revision = at;
    assert_eq!(bench.create(&json!({}), Vec::new()), ObjectWrite::Stale);
    assert_eq!(bench.update(&second.object, &json!({})), ObjectWrite::Stale);
    assert_eq!(bench.change(TypeChange::Delete(KIND)), TypesWrite::Stale);
    bench.revision = now;
    assert_eq!(bench.change(TypeChange::Delete(KIND)), TypesWrite::HasObjects(1));
    let ObjectWrite::Done(_) = bench.delete(&second.object, Vec::new()) else { panic!("there") };
    assert_eq!(bench.delete(&second.object, Vec::new()), ObjectWrite::NoSuchObject);
    // Every write left its change, with the object before and after, and the others left none.
    let types = ["created", "updated", "deleted"].map(|it| format!("work_{it}"));
    let none = crate::model::id::ChangeId(0);
    let changes = bench.store.read(|tables| tables.changes_after(&types, none, 100, |_| false));
    let changes: Vec<_> =
        changes.expect("read").into_iter().map(|it| it.change.expect("asked for")).collect();
    let told: Vec<_> = changes.iter().map(|it| (it.head.verb, it.head.version)).collect();
    assert_eq!(told, [(Verb::Created, 1), (Verb::Updated, 2), (Verb::Deleted, 2)]);
    let states = |change: usize| {
        let state = |document: &Option<Bytes>| {
            let document = document.as_deref()?;
            let document: Value = serde_json::from_slice(document).expect("JSON");
            assert_eq!(document["id"], json!(text_of("work", first.key.id)));
            Some(document["state"].as_str().expect("text").to_owned())
        };
        (state(&changes[change].old), state(&changes[change].new))
    };
    let some = |it: &str| Some(it.to_owned());
    assert_eq!(states(0), (None, some("open")));
    assert_eq!(states(1), (some("open"), some("closed")));
    assert_eq!(states(2), (some("closed"), None));
}

#[test]
fn what_others_refer_to_stays() {
    let bench = Bench::in_memory();
    let target = bench.created(&json!({}));
    let id = text_of("work", target.key.id);
    let referrer = bench.created(&json!({ "state": id }));
    let own = bench.created(&json!({ "state": "other" }));
    let by_state = vec![(KIND, FIRST_OWN)];
    assert_eq!(
        bench.delete(&target, by_state.clone()),
        ObjectWrite::ReferredTo { by: vec![referrer.key], more: false }
    );
    assert!(matches!(bench.delete(&own, by_state.clone()), ObjectWrite::Done(_)));
    assert!(matches!(bench.delete(&referrer, by_state.clone()), ObjectWrite::Done(_)));
    assert!(matches!(bench.delete(&target, by_state), ObjectWrite::Done(_)));
}

#[test]
fn a_type_that_was_changing_is_what_it_was_after_a_crash() {
    let disk = FaultyDisk::new();
    let open = |disk: &FaultyDisk| {
        let disk = disk.clone();
        testing::open(Box::new(BackendLocation(move || disk.clone())), 1_000)
    };
    let mut bench = Bench::new(open(&disk));
    let before = bench.created(&json!({ "state": "open", "note": "x" }));
    let new = {
        let path = "note".to_owned();
        IndexedField { path, number: 40, kind: IndexKind::Value, has_one: true }
    };
    let mut changing = record(fields());
    let more = [fields(), vec![new]].concat();
    changing.candidate = Some(Defined { fields: more, ..changing.current.clone() });
    bench.change(TypeChange::Put(KIND, Box::new(changing)));
    // A step of the look at all objects added rows, then the power went.
    let (key, revision) = (before.key, bench.revision);
    let indexed = bench.write(move |tables| {
        let index = vec![Entry { field: 40, value: index::text("x") }];
        let references = Vec::new();
        tables.index_objects(revision, &[super::Indexing { key, version: 1, index, references }])
    });
    assert_eq!(indexed, super::Indexed::Done);
    assert_eq!(bench.rows_of(40), 1);
    drop(bench);

    let store = open(&disk);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(store.write(|tables| tables.drop_candidates())).expect("written");
    let types = store.read(|tables| tables.object_types()).expect("read");
    let [(KIND, kind)] = types.types.as_slice() else { panic!("{types:?}") };
    assert_eq!((kind.candidate.as_ref(), kind.retired.as_slice()), (None, [40].as_slice()));
    assert_eq!(kind.current.fields, fields());
    let bench = Bench { store, runtime, revision: types.revision };
    assert!(!bench.write(|tables| tables.forget_field(KIND, 40, 10)));
    assert_eq!(bench.rows_of(40), 0);
    let found = by_pages(&bench.store, &query(&json!({ "state": "open" }), &Sort::by_age(), 5));
    assert_eq!(found, [before.key.id]);
    // Ids go on after those that were given.
    assert!(bench.created(&json!({})).key.id > before.key.id);
}
