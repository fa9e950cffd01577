//! Events and the timer that they came from are one transaction, and go with their source.

use serde_json::json;

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

fn timer(due_ms: u64) -> TimerRecord {
    TimerRecord { due_ms: Some(due_ms), last_ms: Some(1), cursor: Some(json!({ "n": due_ms })) }
}

struct Bench {
    disk: FaultyDisk,
    store: Store,
    snap_in: SnapInId,
    source: SourceId,
}

impl Bench {
    async fn new() -> Bench {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        let snap_in = install(&store, Manifest::default(), "timer-events", 1, 0).await;
        let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
        let source = record.sources[0];
        Bench { disk, store, snap_in, source }
    }

    fn tick(&self, due_ms: u64, dedup_key: &str) -> AcceptEvents {
        let generation = self.store.read(|it| it.route_generation(self.source)).expect("read");
        AcceptEvents {
            source: self.source,
            snap_in: self.snap_in,
            generation,
            cause: Cause::default(),
            user: None,
            events: vec![NewEvent {
                event_type: "timer.tick".to_owned(),
                payload: "{}".into(),
                dedup_key: Some(dedup_key.to_owned()),
                sync_id: None,
                runs: Vec::new(),
                cause: None,
            }],
            dedup_window_ms: 86_400_000,
            timer: Some(timer(due_ms)),
            scheduled: FromSchedule::No,
            read: None,
        }
    }

    async fn accept(&self, new: AcceptEvents) -> Result<Acceptance, StoreError> {
        self.store.write(move |it| it.accept_events(&new)).await
    }
}

/// How many events there are, and what is kept of the timer.
fn look(store: &Store, source: SourceId) -> (usize, Option<TimerRecord>) {
    let page = PageRequest { from: None, limit: 1000, newest_first: true };
    store
        .read(|it| Ok((it.list_events(page, |_| true)?.rows.len(), it.timer(source)?)))
        .expect("read")
}

#[tokio::test]
async fn events_and_timer_survive_together_or_not_at_all() {
    let bench = Bench::new().await;
    for n in 1..=10 {
        let accepted = bench.accept(bench.tick(n, &n.to_string())).await.expect("written");
        assert!(matches!(accepted, Acceptance::Stored(_)));
        let survivor = open(&bench.disk.after_power_cut());
        let events = usize::try_from(n).expect("small");
        assert_eq!(look(&survivor, bench.source), (events, Some(timer(n))));
    }
    // The same wake-up again, after a crash before its answer: no second event.
    bench.accept(bench.tick(11, "10")).await.expect("written");
    assert_eq!(look(&bench.store, bench.source), (10, Some(timer(11))));
}

#[tokio::test]
async fn a_stale_wake_up_leaves_the_timer_as_it_is() {
    let bench = Bench::new().await;
    let source = bench.source;
    let stale = bench.tick(2, "2");
    bench.accept(bench.tick(1, "1")).await.expect("written");
    let pause = crate::lifecycle::source::Change::Pause;
    let paused = bench.store.write(move |it| it.change_source(source, &pause)).await;
    paused.expect("written");
    assert!(matches!(bench.accept(stale).await.expect("written"), Acceptance::Stale));
    assert_eq!(look(&bench.store, source), (1, Some(timer(1))));
}

#[tokio::test]
async fn a_deleted_snap_in_keeps_no_timer() {
    let bench = Bench::new().await;
    let (id, stale) = (bench.snap_in, bench.tick(2, "2"));
    bench.accept(bench.tick(1, "1")).await.expect("written");
    let delete = Event::Delete { force: false };
    let inputs = serde_json::Map::new();
    let deleted = bench.store.write(move |it| it.step_snap_in(id, &delete, None, &inputs)).await;
    assert!(matches!(deleted.expect("written"), Transition::Moved { .. }));
    assert_eq!(look(&bench.store, bench.source).1, None);
    assert!(matches!(bench.accept(stale).await.expect("written"), Acceptance::Stale));
    assert_eq!(look(&bench.store, bench.source).1, None);
}
