//! Trigger URLs are replaced and forgotten; counts go with their source.

use super::testing::{BackendLocation, FaultyDisk, install};
use super::*;
use crate::lifecycle::snap_in::Event;
use crate::lifecycle::source::Change;
use crate::model::id::{SnapInId, SourceId};
use crate::model::manifest::Manifest;
use crate::model::snap_in::SourceStatus;

const NOW: u64 = 1_000;

struct Bench {
    disk: FaultyDisk,
    store: Store,
    snap_in: SnapInId,
    source: SourceId,
}

fn open(disk: &FaultyDisk) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), NOW)
}

impl Bench {
    async fn new() -> Bench {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        let snap_in = install(&store, Manifest::default(), "t", 1, 0).await;
        let activated =
            store.write(move |it| it.step_snap_in(snap_in, &Event::Activate, None, &Map::new()));
        activated.await.expect("written");
        let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
        Bench { source: record.sources[0], disk, store, snap_in }
    }

    async fn rotate(&self, token: &str, overlap_ms: u64) -> (SourceRecord, u64) {
        let (id, new) = (self.source, NewToken { token: token.to_owned(), overlap_ms });
        let rotated = self.store.write(move |it| it.rotate_source_token(id, &new)).await;
        let SourceChange::Changed { record, generation } = rotated.expect("written") else {
            panic!("it is there")
        };
        (*record, generation)
    }

    /// Which of some tokens are known at a time.
    fn known(&self, tokens: &[&str], now_ms: u64) -> Vec<bool> {
        let store = open(&self.disk.after_power_cut());
        let known = |it: &&str| {
            let found = store.read(|tables| tables.open_source_by_token(it, now_ms));
            found.expect("read").is_some_and(|it| it == self.source)
        };
        tokens.iter().map(known).collect()
    }
}

type Map = serde_json::Map<String, serde_json::Value>;

#[tokio::test]
async fn a_token_and_the_one_before_are_known_until_its_time() {
    let bench = Bench::new().await;
    let all = ["secret", "two", "three"];
    assert_eq!(bench.known(&all, NOW), [true, false, false]);
    let (record, generation) = bench.rotate("two", 500).await;
    assert_eq!(record.previous_token.as_ref().map(|it| it.until_ms), Some(NOW + 500));
    assert!(generation > 2);
    assert_eq!(bench.known(&all, NOW + 499), [true, true, false]);
    assert_eq!(bench.known(&all, NOW + 500), [false, true, false], "to the millisecond");

    // Once more: the oldest is over at once.
    bench.rotate("three", 500).await;
    assert_eq!(bench.known(&all, NOW), [false, true, true]);

    // A late timer of the rotation before removes nothing of this one.
    let (id, stale) = (bench.source, record.previous_token.expect("kept"));
    bench.store.write(move |it| it.forget_previous_token(id, &stale)).await.expect("written");
    assert_eq!(bench.known(&all, NOW), [false, true, true]);
    let record = bench.store.read(|it| it.source(id)).expect("read").expect("there");
    let previous = record.previous_token.expect("kept");
    bench.store.write(move |it| it.forget_previous_token(id, &previous)).await.expect("written");
    assert_eq!(bench.known(&all, NOW), [false, false, true]);

    bench.rotate("two", 0).await;
    assert_eq!(bench.known(&all, NOW), [false, true, false], "without an overlap");
}

#[tokio::test]
async fn a_registration_is_of_the_url_before_after_a_rotation() {
    let bench = Bench::new().await;
    let id = bench.source;
    let note = |name: &'static str| {
        bench.store.write(move |it| it.set_source_registration(id, Some(name)))
    };
    note("first").await.expect("written");
    let (record, _) = bench.rotate("two", 500).await;
    assert_eq!((record.registration, record.outdated_registrations.len()), (None, 1));
    let (record, _) = bench.rotate("three", 500).await;
    assert_eq!(record.outdated_registrations, ["first"], "it was not registered in between");
    note("second").await.expect("written");
    let taken_back = bench.store.write(move |it| it.forget_outdated_registration(id, "first"));
    taken_back.await.expect("written");
    let record = bench.store.read(|it| it.source(id)).expect("read").expect("there");
    assert_eq!(record.registration.as_deref(), Some("second"));
    assert!(record.outdated_registrations.is_empty());
}

#[tokio::test]
async fn a_block_stays_and_counts_go_with_the_source() {
    let bench = Bench::new().await;
    let (id, snap_in) = (bench.source, bench.snap_in);
    let block = Change::Block { reason: "a flood".to_owned(), by: "token:admin".to_owned() };
    bench.store.write(move |it| it.change_source(id, &block)).await.expect("written");
    let resumed = bench.store.write(move |it| it.change_source(id, &Change::Resume)).await;
    assert!(matches!(resumed.expect("written"), SourceChange::Refused(_)));
    let store = open(&bench.disk.after_power_cut());
    let record = store.read(|it| it.source(id)).expect("read").expect("there");
    assert_eq!((record.status, record.reason.as_deref()), (SourceStatus::Blocked, Some("a flood")));

    let counts = SourceCountsRecord { since_ms: 1, accepted: 7, ..SourceCountsRecord::default() };
    let given = [(id, counts.clone()), (SourceId(99), counts.clone())];
    let gone = bench.store.write({
        let given = given.clone();
        move |it| it.put_source_counts(&given)
    });
    assert_eq!(gone.await.expect("written"), [SourceId(99)]);
    let kept = |store: &Store| store.read(|it| it.source_counts()).expect("read");
    assert_eq!(kept(&open(&bench.disk.after_power_cut())), [(id, counts)]);

    let rotated = bench.rotate("two", 500).await;
    assert_eq!(rotated.0.status, SourceStatus::Blocked, "it stays over a rotation");
    for event in [
        Event::HookFinished {
            hook: crate::lifecycle::snap_in::Hook::Activate,
            outcome: crate::lifecycle::snap_in::HookOutcome::Failed { message: "no".to_owned() },
        },
        Event::Delete { force: true },
        Event::HookFinished {
            hook: crate::lifecycle::snap_in::Hook::Deactivate { force: true, is_deletion: true },
            outcome: crate::lifecycle::snap_in::HookOutcome::Succeeded,
        },
    ] {
        let step = bench.store.write(move |it| it.step_snap_in(snap_in, &event, None, &Map::new()));
        step.await.expect("written");
    }
    assert!(bench.store.read(|it| it.source(id)).expect("read").is_none(), "it is deleted");
    assert!(kept(&bench.store).is_empty());
    assert_eq!(bench.known(&["secret", "two"], NOW), [false, false]);
    let late = bench.store.write(move |it| it.put_source_counts(&given)).await;
    assert_eq!(late.expect("written"), [id, SourceId(99)]);
    assert!(kept(&bench.store).is_empty(), "what comes late brings nothing back");
}
