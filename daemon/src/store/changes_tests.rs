//! Changes are there with what they tell of, consumers have them once and in order, and nothing that
//! somebody needs is pruned.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::testing::{BackendLocation, FaultyDisk, install};
use super::*;
use crate::lifecycle::snap_in::Event;
use crate::lifecycle::source::Change as SourceStep;
use crate::model::event::Cause;
use crate::model::id::{ChangeId, SnapInId, SourceId};
use crate::model::manifest::Manifest;
use crate::model::object::{NewChange, ObjectKey, Verb};
use crate::objects::own::OwnType;

const NOW: u64 = 1_000_000;

struct Bench {
    disk: FaultyDisk,
    store: Store,
    snap_in: SnapInId,
    source: SourceId,
}

impl Bench {
    /// A snap-in in DRAFT with one source.
    async fn new() -> Bench {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        let snap_in = install(&store, Manifest::default(), "t", 1, 0).await;
        let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
        Bench { source: record.sources[0], disk, store, snap_in }
    }

    async fn step(&self, event: Event) {
        let snap_in = self.snap_in;
        let step = self.store.write(move |it| it.step_snap_in(snap_in, &event, None, &Map::new()));
        step.await.expect("written");
    }

    async fn change_source(&self, change: SourceStep) {
        let source = self.source;
        self.store.write(move |it| it.change_source(source, &change)).await.expect("written");
    }

    fn cursor(&self) -> Option<ChangeId> {
        self.store.read(|it| it.cursor(&self.source.to_string())).expect("read")
    }

    async fn record(&self, object_type: &str, verb: Verb, version: u64) -> ChangeId {
        let new = new_change(object_type, verb, version);
        self.store.write(move |it| it.record_change(&new)).await.expect("written")
    }

    /// Versions of the changes of these types after a place.
    fn after(&self, event_types: &[&str], after: ChangeId, most: usize) -> Vec<u64> {
        let event_types: Vec<String> = event_types.iter().map(|it| (*it).to_owned()).collect();
        let found = self.store.read(|it| it.changes_after(&event_types, after, most, |_| false));
        let found = found.expect("read");
        found.iter().map(|it| it.change.as_ref().expect("it is read").head.version).collect()
    }

    /// The own changes of a type: event type, and what the object was and is.
    fn told(&self, object_type: &str) -> Vec<(String, Value, Value)> {
        let verbs = [Verb::Created, Verb::Updated, Verb::Deleted];
        let types: Vec<String> =
            verbs.iter().map(|it| format!("{object_type}_{}", it.name())).collect();
        let found = self.store.read(|it| it.changes_after(&types, ChangeId(0), 100, |_| false));
        let read = |it: Option<Bytes>| {
            it.map_or(Value::Null, |it| serde_json::from_slice(&it).expect("JSON"))
        };
        let changes = found.expect("read").into_iter().filter_map(|it| it.change);
        changes.map(|it| (it.head.event_type(), read(it.old), read(it.new))).collect()
    }
}

fn open(disk: &FaultyDisk) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), NOW)
}

fn new_change(object_type: &str, verb: Verb, version: u64) -> NewChange {
    NewChange {
        object_type: object_type.to_owned(),
        verb,
        object: "work_1".to_owned(),
        version,
        old: Some(Bytes::from_static(b"{\"a\":1}")),
        new: Some(Bytes::from_static(b"{\"a\":2}")),
        actor: "test".to_owned(),
        cause: Cause::default(),
    }
}

#[tokio::test]
async fn changes_of_several_types_come_in_order() {
    let bench = Bench::new().await;
    let first = bench.record("work", Verb::Created, 1).await;
    bench.record("tag", Verb::Created, 2).await;
    let third = bench.record("work", Verb::Updated, 3).await;
    bench.record("work", Verb::Created, 4).await;
    bench.record("work", Verb::Updated, 5).await;
    let works = ["work_created", "work_updated", "work_created"];
    assert_eq!(bench.after(&works, ChangeId(0), 10), [1, 3, 4, 5]);
    assert_eq!(bench.after(&works, first, 2), [3, 4]);
    assert_eq!(bench.after(&["work_updated"], third, 10), [5]);
    assert_eq!(bench.after(&["work_deleted"], ChangeId(0), 10), [0; 0]);
    let types = vec!["work_updated".to_owned()];
    let found = bench.store.read(|it| it.changes_after(&types, first, 10, |it| it == third));
    let found = found.expect("read");
    assert!(found[0].id == third && found[0].change.is_none(), "who has it does not read it");
    let change = found[1].change.as_ref().expect("read");
    assert_eq!(change.old.as_deref(), Some(&b"{\"a\":1}"[..]));
    assert_eq!(change.new.as_deref(), Some(&b"{\"a\":2}"[..]));
}

#[tokio::test]
async fn the_bell_rings_after_the_commit_and_not_for_one_that_failed() {
    let bench = Bench::new().await;
    let bell = bench.store.change_bell().listen();
    let other = bench.store.change_bell().listen();
    let new = new_change("work", Verb::Created, 1);
    let failing = new.clone();
    let failed = bench.store.write(move |it| {
        it.record_change(&failing)?;
        Err::<(), _>(StoreError::corrupt("a mistake that a test makes"))
    });
    failed.await.expect_err("it fails");
    assert!(bench.after(&["work_created"], ChangeId(0), 10).is_empty());
    let tag = NewChange { object_type: "tag".to_owned(), ..new };
    let both = bench.store.write(move |it| {
        it.record_change(&tag)?;
        it.record_change(&tag)
    });
    both.await.expect("written");
    for listener in [bell, other] {
        let heard: Vec<_> = listener.heard().await.into_iter().collect();
        assert_eq!(heard, ["tag_created"]);
    }
}

#[tokio::test]
async fn a_source_reads_from_where_it_opens_to_where_it_closes() {
    let bench = Bench::new().await;
    bench.record("work", Verb::Created, 1).await;
    assert_eq!(bench.cursor(), None);
    bench.step(Event::Activate).await;
    let opened = bench.cursor().expect("it is open");
    bench.record("work", Verb::Created, 2).await;
    assert_eq!(bench.after(&["work_created"], opened, 10), [2]);
    let lasting = open(&bench.disk.after_power_cut());
    let kept = lasting.read(|it| it.cursor(&bench.source.to_string())).expect("read");
    assert_eq!(kept, Some(opened), "it is on the disk with what opened it");

    bench.change_source(SourceStep::Pause).await;
    assert_eq!(bench.cursor(), None);
    bench.record("work", Verb::Created, 3).await;
    bench.change_source(SourceStep::Resume).await;
    let again = bench.cursor().expect("it is open");
    assert!(bench.after(&["work_created"], again, 10).is_empty(), "what was meanwhile is over");
    bench.change_source(SourceStep::Resume).await;
    assert_eq!(bench.cursor(), Some(again), "it was open already");

    bench.step(Event::SystemError { reason: "x".to_owned() }).await;
    assert_eq!(bench.cursor(), None, "it is in ERROR");
}

#[tokio::test]
async fn a_cursor_moves_from_where_it_is_only() {
    let bench = Bench::new().await;
    bench.store.write(|it| it.begin_reading("hooks")).await.expect("written");
    let from = bench.store.read(|it| it.cursor("hooks")).expect("read").expect("there");
    let to = bench.record("work", Verb::Created, 1).await;
    let step = ReadChanges { from, to };
    let moved = || bench.store.write(move |it| it.move_cursor("hooks", step));
    assert!(moved().await.expect("written"));
    assert!(!moved().await.expect("written"), "twice");
    assert!(!bench.store.write(move |it| it.move_cursor("x", step)).await.expect("written"));
    bench.store.write(|it| it.begin_reading("hooks")).await.expect("written");
    assert_eq!(bench.store.read(|it| it.cursor("hooks")).expect("read"), Some(to));
}

#[tokio::test]
async fn pruning_spares_the_last_and_ids_go_on_growing() {
    let bench = Bench::new().await;
    for version in 1..=5 {
        bench.record("work", Verb::Updated, version).await;
    }
    let last = bench.record("work", Verb::Deleted, 6).await;
    let prune = |most| bench.store.write(move |it| it.prune_changes(last, most));
    assert!(prune(2).await.expect("written"), "there is more");
    while prune(2).await.expect("written") {}
    let types = ["work_updated", "work_deleted"];
    assert_eq!(bench.after(&types, ChangeId(0), 10), [5, 6]);
    drop(bench.store);
    // The clock was set back.
    let disk = bench.disk.clone();
    let store = testing::open(Box::new(BackendLocation(move || disk.clone())), NOW / 2);
    let new = new_change("work", Verb::Created, 7);
    let next = store.write(move |it| it.record_change(&new)).await.expect("written");
    assert!(next > last);
}

#[tokio::test]
async fn the_life_of_the_daemon_is_told() {
    let bench = Bench::new().await;
    let created = bench.told("snap_in");
    assert_eq!(created.len(), 1);
    assert_eq!(created[0].0, "snap_in_created");
    assert_eq!(created[0].2["state"], "DRAFT");
    assert_eq!(created[0].2["id"], bench.snap_in.to_string());
    assert_eq!(created[0].2["version"], 1);
    assert_eq!(bench.told("snap_in_version")[0].2["number"], 1);
    let sources = bench.told("event_source");
    assert_eq!(sources[0].2["snap_in"], bench.snap_in.to_string());
    assert!(!sources[0].2.to_string().contains("secret"), "the token is one: {}", sources[0].2);

    bench.step(Event::Activate).await;
    let updated = bench.told("snap_in").pop().expect("told");
    assert_eq!(updated.0, "snap_in_updated");
    assert_eq!((&updated.1["state"], updated.2["version"].as_u64()), (&json!("DRAFT"), Some(2)));
    bench.change_source(SourceStep::Pause).await;
    bench.change_source(SourceStep::Pause).await;
    let sources = bench.told("event_source");
    assert_eq!(sources.len(), 2, "the second pause changed nothing");
    assert_eq!(
        (&sources[1].1["status"], &sources[1].2["status"]),
        (&json!("active"), &json!("paused"))
    );
}

#[tokio::test]
async fn what_was_there_before_is_laid_out_without_news() {
    let bench = Bench::new().await;
    let snap_in = bench.snap_in;
    let key = ObjectKey { kind: OwnType::SnapIn.number(), id: snap_in.0 };
    // As if it had been made by a program that knew no objects.
    let forgotten = bench.store.write(move |it| {
        it.objects()?.remove((key.kind, key.id))?;
        Ok(())
    });
    forgotten.await.expect("written");
    let told = bench.told("snap_in").len();
    for _ in 0..2 {
        bench.store.write(|it| it.lay_out_own_objects()).await.expect("written");
    }
    let object = bench.store.read(|it| it.object(key)).expect("read").expect("there");
    let fields: Value = serde_json::from_slice(&object.fields).expect("JSON");
    assert_eq!(fields["state"], "DRAFT");
    assert_eq!(bench.told("snap_in").len(), told, "it is no news");
}
