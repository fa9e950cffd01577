//! What the store promises: answers after the commit, alone in one's failure, back after the disk
//! is, each event once, each run in one place.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::database::BackendLocation;
use super::faults::{FaultyDisk, Weather};
use super::*;
use crate::lifecycle::run::RetryPolicy;
use crate::lifecycle::snap_in::{Event, HookOutcome};
use crate::model::event::Cause;
use crate::model::id::{RunId, SnapInId, SourceId, VersionId};
use crate::model::manifest::Manifest;
use crate::model::run::{AttemptOutcome, RunError, RunOutput, RunState};

const NOW: u64 = 1_800_000_000_000;

fn open(disk: &FaultyDisk) -> Store {
    open_at(disk, NOW)
}

fn open_at(disk: &FaultyDisk, now_ms: u64) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), now_ms)
}

/// A store with one ACTIVE snap-in with one source.
struct Fixture {
    store: Store,
    disk: FaultyDisk,
    snap_in: SnapInId,
    source: SourceId,
    version: VersionId,
}

async fn fixture() -> Fixture {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let snap_in = testing::install(&store, Manifest::default(), "t", 1, 1).await;
    let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
    let (source, version) = (record.sources[0], record.version);
    let fixture = Fixture { store, disk, snap_in, source, version };
    fixture.activate().await;
    fixture
}

impl Fixture {
    async fn step(&self, event: Event) -> Transition {
        let id = self.snap_in;
        self.store
            .write(move |it| it.step_snap_in(id, &event, None, &serde_json::Map::new()))
            .await
            .expect("written")
    }

    async fn activate(&self) {
        let Transition::Moved { effects, .. } = self.step(Event::Activate).await else {
            panic!("it can be activated")
        };
        let crate::lifecycle::snap_in::Effect::RunHook(hook) = effects[0].1 else {
            panic!("a hook is run")
        };
        self.step(Event::HookFinished { hook, outcome: HookOutcome::Succeeded }).await;
    }

    fn generation(&self) -> u64 {
        self.store.read(|it| it.route_generation(self.source)).expect("read")
    }

    fn new_event(&self, payload: &str, dedup_key: Option<&str>) -> AcceptEvents {
        AcceptEvents {
            source: self.source,
            snap_in: self.snap_in,
            generation: self.generation(),
            cause: Cause::default(),
            user: None,
            dedup_window_ms: 86_400_000,
            timer: None,
            scheduled: FromSchedule::No,
            read: None,
            events: vec![NewEvent {
                event_type: "custom:x".to_owned(),
                payload: payload.to_owned().into(),
                dedup_key: dedup_key.map(str::to_owned),
                sync_id: None,
                runs: vec![PlannedRun {
                    automation: crate::model::id::AutomationId(1),
                    function: "f".into(),
                    version: self.version,
                    ordered: false,
                }],
                cause: None,
            }],
        }
    }

    async fn accept(&self, new: AcceptEvents) -> Result<Acceptance, StoreError> {
        self.store.write(move |it| it.accept_events(&new)).await
    }

    async fn accept_one(&self, payload: &str) -> StoredEvent {
        match self.accept(self.new_event(payload, None)).await.expect("written") {
            Acceptance::Stored(mut events) => events.remove(0),
            other => panic!("nothing changed meanwhile: {other:?}"),
        }
    }

    async fn claim(&self, run: RunId) -> Claim {
        let mut claims = self.store.write(move |it| it.claim_runs(&[run])).await.expect("written");
        claims.remove(0)
    }

    async fn finish(&self, run: RunId, outcome: AttemptOutcome, max_retries: u32) -> Settled {
        let policy = RetryPolicy { max_retries, min_interval_ms: 7 };
        let end = FinishedAttempt { run, outcome, output: RunOutput::default(), policy };
        self.store.write(move |it| it.finish_attempt(&end)).await.expect("written")
    }

    fn state_of(&self, run: RunId) -> RunState {
        self.store.read(|it| it.run(run)).expect("read").expect("there").0.state
    }

    fn count_events(&self) -> usize {
        count_events(&self.store)
    }
}

fn count_events(store: &Store) -> usize {
    let page = PageRequest { from: None, limit: 1000, newest_first: true };
    store.read(|it| it.list_events(page, |_| true)).expect("read").rows.len()
}

fn failed(retry: bool) -> AttemptOutcome {
    AttemptOutcome::Failed(RunError { retry, ..RunError::default() })
}

#[tokio::test]
async fn what_was_answered_survives_a_power_cut_at_any_moment() {
    let fixture = fixture().await;
    for n in 1..=20 {
        fixture.accept_one(&n.to_string()).await;
        let survivor = open(&fixture.disk.after_power_cut());
        assert_eq!(count_events(&survivor), n);
    }
}

#[tokio::test]
async fn many_writers_share_commits_and_each_gets_its_own_answer() {
    let fixture = fixture().await;
    let store = &fixture.store;
    let waiting: Vec<_> =
        (0..500u64).map(|n| store.write(move |tables| Ok((n, tables.new_id())))).collect();
    let mut last = 0;
    for (n, answer) in (0..).zip(waiting) {
        let (own, id) = answer.await.expect("written");
        assert_eq!(own, n);
        assert!(id > last, "in the order of handing over");
        last = id;
    }
}

#[tokio::test]
async fn one_that_panics_or_fails_takes_nobody_with_it() {
    let fixture = fixture().await;
    let before = fixture.store.write(|_| Ok(1));
    let panics = fixture.store.write::<()>(|_| panic!("on purpose"));
    let new = fixture.new_event("{}", None);
    let fails = fixture.store.write::<()>(move |tables| {
        tables.accept_events(&new)?;
        Err(StoreError::corrupt("on purpose"))
    });
    let after = fixture.store.write(|_| Ok(2));
    assert!(matches!(before.await, Ok(1)));
    let panicked = panics.await.expect_err("it panicked").to_string();
    assert!(panicked.contains("on purpose"), "{panicked}");
    assert!(matches!(fails.await, Err(StoreError::Corrupt(_))));
    assert!(matches!(after.await, Ok(2)));
    assert_eq!(fixture.count_events(), 0, "what a failed operation wrote is rolled back");
}

#[tokio::test]
async fn commits_are_told_in_order_and_before_their_answer() {
    let fixture = fixture().await;
    let told = Arc::new(AtomicUsize::new(0));
    let answers: Vec<_> = (0..100)
        .map(|n| {
            let told = told.clone();
            fixture.store.write_then(
                move |_| Ok(n),
                move |n| {
                    assert_eq!(told.fetch_add(1, Ordering::SeqCst), *n);
                },
            )
        })
        .collect();
    for (n, answer) in answers.into_iter().enumerate() {
        answer.await.expect("written");
        assert!(told.load(Ordering::SeqCst) > n);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    for weather in [
        Weather::Failing(ErrorKind::StorageFull),
        Weather::Failing(ErrorKind::Other),
        Weather::SyncFailing,
    ] {
        let fixture = fixture().await;
        fixture.accept_one("1").await;
        fixture.disk.set_weather(weather);
        let refused = fixture.accept(fixture.new_event("2", None)).await.expect_err("no room");
        match weather {
            Weather::Failing(ErrorKind::StorageFull) => {
                assert!(matches!(refused, StoreError::Full), "{refused}");
            }
            _ => assert!(matches!(refused, StoreError::Io(_)), "{refused}"),
        }
        fixture.disk.set_weather(Weather::Fine);
        let mut tries = 0;
        let recovered = loop {
            match fixture.store.write(|_| Ok(())).await {
                Ok(()) => break true,
                Err(_) if tries < 100 => tries += 1,
                Err(_) => break false,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(recovered, "{weather:?}");
        fixture.accept_one("3").await;
        let found = fixture.count_events();
        // A failed sync may or may not have reached the disk; what was acknowledged did.
        assert!((2..=3).contains(&found), "{weather:?}: {found}");
        assert!(count_events(&open(&fixture.disk.after_power_cut())) >= 2);
    }
}

#[tokio::test]
async fn an_event_is_stored_once_per_dedup_key_also_within_a_batch() {
    let fixture = fixture().await;
    let mut new = fixture.new_event("1", Some("k"));
    new.events.push(new.events[0].clone());
    let Acceptance::Stored(both) = fixture.accept(new).await.expect("written") else {
        panic!("nothing changed")
    };
    assert_eq!((both[0].duplicate, both[1].duplicate), (false, true));
    assert_eq!((both[0].id, both[1].runs.len()), (both[1].id, 0));
    let Acceptance::Stored(again) =
        fixture.accept(fixture.new_event("2", Some("k"))).await.expect("written")
    else {
        panic!("nothing changed")
    };
    assert_eq!((again[0].id, again[0].duplicate), (both[0].id, true));
    assert_eq!(fixture.count_events(), 1);
}

#[tokio::test]
async fn events_planned_before_a_change_are_refused_whole() {
    let fixture = fixture().await;
    let planned = fixture.new_event("1", None);
    fixture.step(Event::Deactivate { force: false }).await;
    let answer = fixture.accept(planned).await.expect("written");
    assert!(matches!(answer, Acceptance::Stale));
    assert_eq!(fixture.count_events(), 0);
}

#[tokio::test]
async fn runs_start_only_while_active_and_end_in_one_place() {
    let fixture = fixture().await;
    let run = fixture.accept_one("1").await.runs[0].id;
    fixture.step(Event::SystemError { reason: "lost".to_owned() }).await;
    assert!(matches!(fixture.claim(run).await, Claim::Held));
    fixture.activate().await;
    assert!(matches!(fixture.claim(run).await, Claim::Claimed(_)));
    assert_eq!(fixture.state_of(run), RunState::Running);
    let again = fixture.finish(run, failed(true), 1).await;
    assert_eq!(again, Settled::Again { at_ms: NOW + 7 });
    fixture.claim(run).await;
    assert_eq!(fixture.finish(run, failed(true), 1).await, Settled::Ended(RunState::Dead));
    assert_eq!(fixture.finish(run, failed(true), 1).await, Settled::Gone);
    assert!(matches!(fixture.claim(run).await, Claim::Gone));

    let page = PageRequest { from: None, limit: 10, newest_first: false };
    let filter = RunFilter::default();
    let dead = |store: &Store| {
        store.read(|it| it.list_dead_letters(&filter, page)).expect("read").rows.len()
    };
    assert_eq!(dead(&fixture.store), 1);
    let reopened = fixture.store.write(move |it| it.retry_run(run)).await.expect("written");
    assert!(matches!(reopened, Reopening::Queued(_)));
    assert_eq!((dead(&fixture.store), fixture.state_of(run)), (0, RunState::Queued));
    fixture.claim(run).await;
    let retried = fixture.finish(run, failed(true), 1).await;
    assert_eq!(retried, Settled::Again { at_ms: NOW + 7 }, "with a new budget");
}

#[tokio::test]
async fn deleting_cancels_what_has_not_ended() {
    let fixture = fixture().await;
    let mut runs = Vec::new();
    for n in 0..5 {
        runs.push(fixture.accept_one(&n.to_string()).await.runs[0].id);
    }
    fixture.claim(runs[0]).await;
    fixture.finish(runs[0], AttemptOutcome::Succeeded, 0).await;
    let snap_in = fixture.snap_in;
    let cancelled = fixture
        .store
        .write(move |it| it.cancel_runs_of(snap_in, "its snap-in was deleted", 100))
        .await
        .expect("written");
    assert_eq!(cancelled, runs[1..]);
    assert_eq!(fixture.state_of(runs[0]), RunState::Succeeded);
    assert_eq!(fixture.state_of(runs[1]), RunState::Cancelled);
    assert!(fixture.store.read(|it| it.open_runs()).expect("read").is_empty());
}

#[tokio::test]
async fn pages_cover_open_and_ended_runs_once_each_in_order() {
    let fixture = fixture().await;
    let mut runs = Vec::new();
    for n in 0..23 {
        let run = fixture.accept_one(&n.to_string()).await.runs[0].id;
        if n % 3 == 0 {
            fixture.claim(run).await;
            fixture.finish(run, AttemptOutcome::Succeeded, 0).await;
        }
        runs.push(run);
    }
    for newest_first in [false, true] {
        let (mut seen, mut from) = (Vec::new(), None);
        loop {
            let page = PageRequest { from, limit: 4, newest_first };
            let page =
                fixture.store.read(|it| it.list_runs(&RunFilter::default(), page)).expect("read");
            assert!(page.rows.len() <= 4);
            seen.extend(page.rows.iter().map(|it| it.id));
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        if newest_first {
            seen.reverse();
        }
        assert_eq!(seen, runs);
    }
}

#[tokio::test]
async fn pruning_spares_what_has_not_ended_and_dead_letters() {
    let fixture = fixture().await;
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.push(fixture.accept_one(&n.to_string()).await.runs[0].id);
    }
    for (run, outcome) in [(runs[0], AttemptOutcome::Succeeded), (runs[1], failed(true))] {
        fixture.claim(run).await;
        fixture.finish(run, outcome, 0).await;
    }
    let mut cursor = PruneCursor::default();
    while let Some(next) =
        fixture.store.write(move |it| it.prune(NOW + 1, cursor, 1)).await.expect("written")
    {
        cursor = next;
    }
    assert!(fixture.store.read(|it| it.run(runs[0])).expect("read").is_none());
    assert_eq!(fixture.state_of(runs[1]), RunState::Dead);
    assert_eq!(fixture.state_of(runs[2]), RunState::Queued);
    assert_eq!(fixture.count_events(), 3);
}

#[tokio::test]
async fn blobs_are_whole_or_not_there_and_orphans_are_swept() {
    let fixture = fixture().await;
    let bytes: Vec<u8> = (0..1_600_000u32).map(|it| it.to_le_bytes()[0]).collect();
    let hash = fixture.store.put_blob(bytes.clone().into()).await.expect("written");
    assert_eq!(fixture.store.read(|it| it.blob(hash)).expect("read"), Some(bytes));
    // Of another one only some chunks were stored when the daemon was killed.
    let begun = vec![7; 5 * 256 * 1024];
    let other = BlobHash::of(&begun);
    let more = fixture.store.write(move |it| it.put_chunks(other, &begun, 0)).await;
    assert_eq!(more.expect("written"), Some(4));
    assert_eq!(fixture.store.read(|it| it.blob(other)).expect("read"), None);
    let swept = fixture.store.write(|it| it.sweep_blobs()).await.expect("written");
    assert_eq!(swept, 2);
    assert_eq!(fixture.store.read(|it| it.blob(hash)).expect("read"), None);
}

#[tokio::test]
async fn blobs_go_with_the_last_version_that_has_them() {
    let fixture = fixture().await;
    let record = PackageRecord {
        slug: "blobs".to_owned(),
        description: String::new(),
        created_ms: NOW,
        created_by: "me".to_owned(),
    };
    let package = fixture.store.write(move |it| it.create_package(&record)).await;
    let package = package.expect("written").expect("new");
    let (code, files) = (BlobHash::of(b"code"), BlobHash::of(b"files"));
    let make = async |content: &str| {
        let new = NewVersion {
            package,
            content_hash: content.to_owned(),
            manifest_text: String::new(),
            manifest: Manifest::default(),
            code: Some(code),
            files: Some(files),
            testing_url: None,
            runtimes: std::collections::BTreeMap::new(),
            warnings: Vec::new(),
            created_by: "me".to_owned(),
        };
        fixture.store.write(move |it| it.create_version(&new)).await.expect("written")
    };
    let put = async |hash, bytes: &'static [u8]| {
        assert_eq!(fixture.store.put_blob(bytes.into()).await.expect("written"), hash);
    };
    put(code, b"code").await;
    assert!(matches!(make("1").await, VersionCreation::BlobsGone), "only with all it refers to");
    put(files, b"files").await;
    let VersionCreation::Created(one) = make("1").await else { panic!("not created") };
    let VersionCreation::Created(two) = make("2").await else { panic!("not created") };
    let delete = async |id| {
        let gone = fixture.store.write(move |it| it.delete_version(id)).await.expect("written");
        assert_eq!(gone, PackageDeletion::Deleted);
    };
    let are_there = || {
        [code, files]
            .map(|it| fixture.store.read(|tables| tables.blob(it)).expect("read").is_some())
    };
    delete(one).await;
    assert_eq!(are_there(), [true, true], "the other one has them");
    delete(two).await;
    assert_eq!(are_there(), [false, false]);
    // An upload that found them there before has to bring them again.
    assert!(matches!(make("3").await, VersionCreation::BlobsGone));
}

#[tokio::test]
async fn ids_go_on_growing_after_a_restart_with_a_clock_set_back() {
    let fixture = fixture().await;
    let first = fixture.accept_one("1").await.id;
    let store = open_at(&fixture.disk.after_power_cut(), 1);
    let next = store.write(|tables| Ok(tables.new_id())).await.expect("written");
    assert!(next > first.0);
}

#[tokio::test]
async fn a_token_is_found_by_itself_and_by_nothing_else() {
    let fixture = fixture().await;
    assert!(fixture.store.read(|it| it.has_no_tokens()).expect("read"));
    let record = serde_json::json!({ "name": "admin", "created_ms": NOW });
    let record = serde_json::from_value(record).expect("one of before there were principals");
    let add = fixture.store.write(move |it: &mut WriteTables<'_>| it.add_token("secret", &record));
    add.await.expect("written");
    let access = fixture.store.read(|it| it.access()).expect("read");
    let find = |token: &str| access.tokens.iter().any(|it| it.0 == hash_of_token(token));
    assert!(find("secret") && !find("secre") && !find(""));
}
