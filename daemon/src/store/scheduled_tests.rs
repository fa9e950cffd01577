//! Scheduled events: one for each key, in order of their times, published once or not at all.

use std::sync::Arc;
use std::time::Duration;

use super::testing::{BackendLocation, FaultyDisk, install};
use super::*;
use crate::lifecycle::snap_in::Event;
use crate::model::event::Cause;
use crate::model::id::{SnapInId, SourceId};
use crate::model::manifest::Manifest;

fn open(disk: &FaultyDisk) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), 1)
}

struct Bench {
    disk: FaultyDisk,
    store: Arc<Store>,
    snap_in: SnapInId,
    source: SourceId,
}

const PENDING: Scheduling = Scheduling::Pending { replaced: false };

impl Bench {
    async fn new() -> Bench {
        let disk = FaultyDisk::new();
        let store = Arc::new(open(&disk));
        let snap_in = install(&store, Manifest::default(), "flow-events", 1, 0).await;
        let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
        Bench { disk, store, snap_in, source: record.sources[0] }
    }

    fn new_event(&self, key: &str, due_ms: u64) -> NewScheduled {
        NewScheduled {
            source: self.source,
            event_type: "custom:x".to_owned(),
            event_key: key.to_owned(),
            payload: format!("\"{key} at {due_ms}\"").into(),
            due_ms,
            scheduled_by: "test".to_owned(),
            replace: false,
        }
    }

    async fn put(&self, new: NewScheduled) -> Scheduling {
        self.store.write(move |it| it.schedule(&new)).await.expect("written")
    }

    async fn schedule(&self, key: &str, due_ms: u64) -> Scheduling {
        self.put(self.new_event(key, due_ms)).await
    }

    async fn unschedule(&self, key: &str) -> Unschedule {
        let (source, key) = (self.source, key.to_owned());
        self.store.write(move |it| it.unschedule(source, &key)).await.expect("written")
    }

    fn due(&self, now_ms: u64, most: usize) -> DueEvents {
        self.store.read(|it| it.due_scheduled(self.source, now_ms, most)).expect("read")
    }

    /// What stores `due` as events.
    fn firing(&self, due: &DueEvents) -> AcceptEvents {
        let generation = self.store.read(|it| it.route_generation(self.source)).expect("read");
        let event = |it: &ScheduledEvent| NewEvent {
            event_type: it.record.event_type.clone(),
            payload: it.payload.clone(),
            dedup_key: None,
            sync_id: None,
            runs: Vec::new(),
            cause: None,
        };
        AcceptEvents {
            source: self.source,
            snap_in: self.snap_in,
            generation,
            cause: Cause::default(),
            user: None,
            dedup_window_ms: 1_000,
            events: due.rows.iter().map(event).collect(),
            timer: None,
            scheduled: FromSchedule::Due(due.rows.iter().map(|it| (it.place, 1)).collect()),
            read: None,
        }
    }

    async fn accept(&self, new: AcceptEvents) -> Acceptance {
        self.store.write(move |it| it.accept_events(&new)).await.expect("written")
    }

    /// Publishes `due`; answers which of them were.
    async fn fire(&self, due: &DueEvents) -> Vec<usize> {
        match self.accept(self.firing(due)).await {
            Acceptance::Stored(stored) => stored.iter().map(|it| it.at).collect(),
            other => panic!("nothing changed: {other:?}"),
        }
    }

    fn pending(&self) -> Vec<(String, u64)> {
        pending(&self.store, self.source)
    }

    fn events(&self) -> Vec<String> {
        events(&self.store)
    }
}

fn pending(store: &Store, source: SourceId) -> Vec<(String, u64)> {
    let (page, count) = store
        .read(|it| Ok((it.list_scheduled(source, None, 1000)?, it.count_scheduled(source)?)))
        .expect("read");
    assert_eq!(page.rows.len() as u64, count);
    page.rows.into_iter().map(|it| (it.record.event_key, it.place.due_ms)).collect()
}

fn events(store: &Store) -> Vec<String> {
    let page = PageRequest { from: None, limit: 1000, newest_first: false };
    let page = store.read(|it| it.list_events(page, |_| true)).expect("read");
    page.rows.iter().map(|(_, _, it)| String::from_utf8_lossy(it).into_owned()).collect()
}

fn keys(due: &DueEvents) -> Vec<&str> {
    due.rows.iter().map(|it| it.record.event_key.as_str()).collect()
}

#[tokio::test]
async fn what_is_due_comes_in_order_of_its_time() {
    let bench = Bench::new().await;
    assert_eq!(bench.due(u64::MAX, 9), DueEvents::default());
    for (key, due_ms) in [("c", 30), ("a", 10), ("b", 20), ("b2", 20)] {
        assert_eq!(bench.schedule(key, due_ms).await, PENDING);
    }
    assert_eq!((keys(&bench.due(9, 9)), bench.due(9, 9).next_ms), (vec![], Some(10)));
    let due = bench.due(20, 9);
    assert_eq!((keys(&due), due.next_ms), (vec!["a", "b", "b2"], Some(30)));
    let two = bench.due(30, 2);
    assert_eq!((keys(&two), two.next_ms), (vec!["a", "b"], Some(20)));
    assert_eq!(bench.fire(&due).await, [0, 1, 2]);
    assert_eq!(bench.events(), ["\"a at 10\"", "\"b at 20\"", "\"b2 at 20\""]);
    assert_eq!(bench.pending(), [("c".to_owned(), 30)]);
    assert!(bench.fire(&due).await.is_empty(), "they are published already");
    assert_eq!(bench.events().len(), 3);
}

#[tokio::test]
async fn a_key_is_pending_once_and_free_again_afterwards() {
    let bench = Bench::new().await;
    assert_eq!(bench.schedule("k", 10).await, PENDING);
    assert_eq!(bench.schedule("k", 20).await, Scheduling::KeyPending { due_ms: 10 });
    let instead = NewScheduled { replace: true, ..bench.new_event("k", 5) };
    assert_eq!(bench.put(instead).await, Scheduling::Pending { replaced: true });
    assert_eq!(bench.pending(), [("k".to_owned(), 5)]);
    assert_eq!(bench.fire(&bench.due(5, 9)).await, [0]);
    assert_eq!(bench.schedule("k", 20).await, PENDING, "it was published");
    assert_eq!(bench.unschedule("k").await, Unschedule::Done);
    assert_eq!(bench.unschedule("k").await, Unschedule::NotPending);
    let first = NewScheduled { replace: true, ..bench.new_event("k", 30) };
    assert_eq!(bench.put(first).await, PENDING, "there is none to replace");
}

#[tokio::test]
async fn what_was_taken_back_or_replaced_is_not_published() {
    let bench = Bench::new().await;
    for (key, due_ms) in [("a", 1), ("b", 2), ("c", 2)] {
        bench.schedule(key, due_ms).await;
    }
    let due = bench.due(10, 9);
    bench.unschedule("a").await;
    // The same time: it is another event all the same.
    bench.put(NewScheduled { replace: true, ..bench.new_event("b", 2) }).await;
    assert_eq!(bench.fire(&due).await, [2]);
    assert_eq!(bench.events(), ["\"c at 2\""]);
    assert_eq!(bench.pending(), [("b".to_owned(), 2)]);
    assert_eq!(bench.fire(&bench.due(10, 9)).await, [0]);
}

#[tokio::test]
async fn of_two_who_race_for_a_key_one_wins() {
    let bench = Arc::new(Bench::new().await);
    let racers = (0..20).map(|n| {
        let bench = bench.clone();
        tokio::spawn(async move { bench.schedule("k", 100 + n).await })
    });
    let outcomes = futures_util::future::join_all(racers.collect::<Vec<_>>()).await;
    let won = outcomes.into_iter().filter(|it| *it.as_ref().expect("ran") == PENDING).count();
    assert_eq!((won, bench.pending().len()), (1, 1));
}

#[tokio::test]
async fn publishing_at_once_minds_the_key() {
    let bench = Bench::new().await;
    bench.schedule("k", 10).await;
    let now = |key: &str, replace| {
        let due = bench.due(10, 9);
        let event_key = key.to_owned();
        let scheduled = FromSchedule::Now { event_key, replace };
        AcceptEvents { scheduled, ..bench.firing(&due) }
    };
    let refused = bench.accept(now("k", false)).await;
    assert!(matches!(refused, Acceptance::KeyPending { due_ms: 10 }), "{refused:?}");
    assert_eq!((bench.events().len(), bench.pending().len()), (0, 1));
    assert!(matches!(bench.accept(now("other", false)).await, Acceptance::Stored(_)));
    assert_eq!((bench.events().len(), bench.pending().len()), (1, 1));
    assert!(matches!(bench.accept(now("k", true)).await, Acceptance::Stored(_)));
    assert_eq!((bench.events().len(), bench.pending().len()), (2, 0));
}

#[tokio::test]
async fn what_led_to_no_event_is_gone_too_and_stale_takes_nothing() {
    let bench = Bench::new().await;
    for key in ["a", "b"] {
        bench.schedule(key, 1).await;
    }
    let due = bench.due(1, 9);
    let places: Vec<_> = due.rows.iter().map(|it| it.place).collect();
    let mut new = bench.firing(&due);
    new.events.remove(0);
    new.scheduled = FromSchedule::Due(vec![(places[0], 0), (places[1], 1)]);
    let stale = AcceptEvents { generation: 99, ..new.clone() };
    assert!(matches!(bench.accept(stale).await, Acceptance::Stale));
    assert_eq!(bench.pending().len(), 2);
    assert!(matches!(bench.accept(new).await, Acceptance::Stored(_)));
    assert_eq!(bench.events(), ["\"b at 1\""]);
    assert!(bench.pending().is_empty());
}

#[tokio::test]
async fn pending_and_published_survive_together_or_not_at_all() {
    let bench = Bench::new().await;
    for n in 1..=10_u64 {
        bench.schedule(&n.to_string(), n).await;
        let survivor = open(&bench.disk.after_power_cut());
        assert_eq!(pending(&survivor, bench.source).len(), 1);
        bench.fire(&bench.due(n, 9)).await;
        let survivor = open(&bench.disk.after_power_cut());
        assert!(pending(&survivor, bench.source).is_empty());
        assert_eq!(events(&survivor).len() as u64, n);
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended() {
    let bench = Bench::new().await;
    for n in 0..7 {
        bench.schedule(&n.to_string(), n / 2).await;
    }
    let (mut from, mut seen) = (None, Vec::new());
    loop {
        let page = bench.store.read(|it| it.list_scheduled(bench.source, from, 2)).expect("read");
        assert!(page.rows.len() <= 2);
        seen.extend(page.rows.into_iter().map(|it| it.record.event_key));
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_deleted_source_takes_what_is_pending_with_it_step_by_step() {
    let bench = Bench::new().await;
    let new: Vec<_> = (0..1200).map(|n| bench.new_event(&n.to_string(), n)).collect();
    let many = bench.store.write(move |it| {
        for new in &new {
            assert_eq!(it.schedule(new)?, PENDING);
        }
        Ok(())
    });
    many.await.expect("written");
    let (id, source) = (bench.snap_in, bench.source);
    bench.store.forget_scheduled_of_gone_sources().await.expect("nothing to do");
    let count = || bench.store.read(|it| it.count_scheduled(source)).expect("read");
    assert_eq!(count(), 1200);
    let delete = Event::Delete { force: false };
    let inputs = serde_json::Map::new();
    let deleted = bench.store.write(move |it| it.step_snap_in(id, &delete, None, &inputs)).await;
    assert!(matches!(deleted.expect("written"), Transition::Moved { .. }));
    assert_eq!(bench.schedule("late", 1).await, Scheduling::NoSuchSource);
    let step = bench.store.write(move |it| it.forget_scheduled(source, 500)).await;
    assert!(step.expect("written"), "there are more");
    assert_eq!(count(), 700);
    bench.store.forget_scheduled_of_gone_sources().await.expect("written");
    assert_eq!(count(), 0);
    assert!(bench.pending().is_empty());
    assert_eq!(bench.store.read(|it| it.sources_gone_with_scheduled()).expect("read"), []);
}

/// Not timed: it prints how long things take with a million pending events.
#[tokio::test]
#[ignore = "a measurement that writes a gigabyte: run it alone, with --nocapture"]
async fn with_a_million_pending_events_all_stays_fast() {
    const MANY: u64 = 1_000_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let location = Box::new(FileLocation(directory.path().join("db")));
    let options = Options { cache_bytes: 64 << 20 };
    let clock = Clock::System;
    let store = Arc::new(Store::open(location, options, 0, clock).expect("opens"));
    let snap_in = install(&store, Manifest::default(), "flow-events", 1, 0).await;
    let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
    let bench = Bench { disk: FaultyDisk::new(), store, snap_in, source: record.sources[0] };
    let began = tokio::time::Instant::now();
    for chunk in 0..MANY / 10_000 {
        // Times in no order: spread by a multiplicative step.
        let new: Vec<_> = (0..10_000)
            .map(|n| chunk * 10_000 + n)
            .map(|n| bench.new_event(&format!("key-{n}"), 1_000 + n * 7_919 % MANY))
            .collect();
        let many = bench.store.write(move |it| {
            for new in &new {
                it.schedule(new)?;
            }
            Ok(())
        });
        many.await.expect("written");
    }
    println!("{MANY} scheduled, 10,000 to a commit: {:?}", began.elapsed());
    let timed =
        |what: &str, times: u32, took: Duration| println!("{what}: {:?} each", took / times);
    let began = tokio::time::Instant::now();
    for n in 0..100 {
        assert_eq!(bench.schedule(&format!("more-{n}"), 500_000 + n).await, PENDING);
    }
    timed("schedule one, with its commit", 100, began.elapsed());
    let began = tokio::time::Instant::now();
    for n in 0..100 {
        assert_eq!(bench.unschedule(&format!("more-{n}")).await, Unschedule::Done);
    }
    timed("take one back, with its commit", 100, began.elapsed());
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        let page = bench.store.read(|it| it.list_scheduled(bench.source, None, 50));
        assert_eq!(page.expect("read").rows.len(), 50);
    }
    timed("list 50", 100, began.elapsed());
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(bench.due(0, 256).next_ms, Some(1_000));
    }
    timed("look when the first is due", 100, began.elapsed());
    let began = tokio::time::Instant::now();
    for n in 0..100 {
        let due = bench.due(u64::MAX, 256);
        assert_eq!(bench.fire(&due).await.len(), 256, "{n}");
    }
    timed("publish a batch of 256, with its commit", 100, began.elapsed());
}
