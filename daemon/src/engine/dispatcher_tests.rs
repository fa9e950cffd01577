//! The dispatcher with a real store in memory and attempts that end as the test says.

use std::collections::VecDeque;

use tokio::sync::Notify;

use super::*;
use crate::lifecycle::snap_in::{Event, Hook, HookOutcome};
use crate::model::event::Cause;
use crate::model::id::{AutomationId, SourceId};
use crate::model::manifest::Manifest;
use crate::model::run::RunError;
use crate::store::{AcceptEvents, Acceptance, NewEvent, PlannedRun, testing};

/// Ends attempts as `script` says, then with success; `None` hangs.
#[derive(Default)]
struct Script {
    script: Mutex<VecDeque<Option<AttemptOutcome>>>,
    started: Mutex<Vec<RunId>>,
    start: Notify,
}

impl Script {
    fn new(script: impl IntoIterator<Item = Option<AttemptOutcome>>) -> Arc<Script> {
        let script = Mutex::new(script.into_iter().collect());
        Arc::new(Script { script, ..Script::default() })
    }

    fn started(&self) -> Vec<RunId> {
        self.started.lock().expect("not poisoned").clone()
    }
}

struct Scripted(Arc<Script>);

impl Execute for Scripted {
    fn execute(&self, attempt: StartedAttempt) -> BoxFuture<'static, Execution> {
        let script = self.0.clone();
        Box::pin(async move {
            script.started.lock().expect("not poisoned").push(attempt.run);
            script.start.notify_waiters();
            let next = script.script.lock().expect("not poisoned").pop_front();
            let outcome = match next.unwrap_or(Some(AttemptOutcome::Succeeded)) {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            };
            let policy = RetryPolicy { max_retries: 2, min_interval_ms: 0 };
            Execution { outcome, output: RunOutput::default(), policy }
        })
    }

    fn concurrency(&self, _: VersionId, _: &str) -> u32 {
        2
    }
}

struct Bench {
    store: Arc<Store>,
    dispatcher: Dispatcher,
    changes: Changes,
    snap_in: SnapInId,
    source: SourceId,
}

impl Bench {
    async fn new(script: &Arc<Script>) -> Bench {
        let store = testing::in_memory(1000);
        let (snap_in, source) = install(&store).await;
        Bench::on(Arc::new(store), snap_in, source, script)
    }

    fn on(store: Arc<Store>, snap_in: SnapInId, source: SourceId, script: &Arc<Script>) -> Bench {
        let changes = Changes::new();
        let dispatcher = Dispatcher::start(
            &tokio::runtime::Handle::current(),
            store.clone(),
            Arc::new(Scripted(script.clone())),
            changes.clone(),
            Clock::manual(1000),
            8,
        );
        dispatcher.set_open(snap_in, true);
        Bench { store, dispatcher, changes, snap_in, source }
    }

    async fn accept(&self, sync_id: Option<&str>) -> RunId {
        let generation = self.store.read(|it| it.route_generation(self.source)).expect("read");
        let new = AcceptEvents {
            source: self.source,
            snap_in: self.snap_in,
            generation,
            cause: Cause::default(),
            user: None,
            dedup_window_ms: 86_400_000,
            timer: None,
            scheduled: crate::store::FromSchedule::No,
            read: None,
            events: vec![NewEvent {
                event_type: "x".to_owned(),
                payload: Bytes::from_static(b"{}"),
                dedup_key: None,
                sync_id: sync_id.map(str::to_owned),
                runs: vec![PlannedRun {
                    automation: AutomationId(1),
                    function: "f".into(),
                    version: VersionId(1),
                    ordered: true,
                }],
                cause: None,
            }],
        };
        let stored = self.store.write(move |it| it.accept_events(&new)).await.expect("written");
        let Acceptance::Stored(events) = stored else { panic!("nothing changed") };
        let run = events[0].runs[0].clone();
        let id = run.id;
        self.dispatcher.queued(vec![QueuedRun { run, event: None }]);
        id
    }

    async fn end_of(&self, run: RunId) -> RunState {
        let look = || {
            let state = self.store.read(|it| it.run(run))?.expect("there").0.state;
            Ok::<_, StoreError>((state, state.is_final()))
        };
        self.changes.wait_for(Duration::from_secs(10), look).await.expect("read")
    }

    async fn step(&self, event: Event) {
        let id = self.snap_in;
        self.store
            .write(move |it| it.step_snap_in(id, &event, None, &serde_json::Map::new()))
            .await
            .expect("written");
    }
}

async fn install(store: &Store) -> (SnapInId, SourceId) {
    let id = testing::install(store, Manifest::default(), "t", 1, 1).await;
    let activated = store.write(move |tables| {
        tables.step_snap_in(id, &Event::Activate, None, &serde_json::Map::new())?;
        let (hook, outcome) = (Hook::Activate, HookOutcome::Succeeded);
        tables.step_snap_in(
            id,
            &Event::HookFinished { hook, outcome },
            None,
            &serde_json::Map::new(),
        )
    });
    activated.await.expect("written");
    let record = store.read(|it| it.snap_in(id)).expect("read").expect("there");
    (id, record.sources[0])
}

fn failed(retry: bool) -> Option<AttemptOutcome> {
    Some(AttemptOutcome::Failed(RunError { retry, ..RunError::default() }))
}

#[tokio::test]
async fn a_run_is_tried_as_often_as_its_policy_says() {
    let script = Script::new([failed(true), failed(true), failed(true), failed(false)]);
    let bench = Bench::new(&script).await;
    let run = bench.accept(None).await;
    assert_eq!(bench.end_of(run).await, RunState::Dead);
    assert_eq!(script.started(), [run; 3]);
    let other = bench.accept(None).await;
    assert_eq!(bench.end_of(other).await, RunState::Failed);
}

#[tokio::test]
async fn a_group_keeps_its_order_over_retries() {
    let script = Script::new([failed(true)]);
    let bench = Bench::new(&script).await;
    let (first, second) = (bench.accept(Some("k")).await, bench.accept(Some("k")).await);
    assert_eq!(bench.end_of(second).await, RunState::Succeeded);
    assert_eq!(script.started(), [first, first, second]);
}

#[tokio::test]
async fn nothing_starts_after_its_snap_in_left_active_even_if_the_dispatcher_does_not_know() {
    let script = Script::new([]);
    let bench = Bench::new(&script).await;
    bench.step(Event::SystemError { reason: "lost".to_owned() }).await;
    let id = bench.snap_in;
    // Planned with the generation of now, as a run of a replay is.
    let generation = bench.store.read(|it| it.route_generation(bench.source)).expect("read");
    assert!(generation > 1);
    let run = bench.accept(None).await;
    bench.dispatcher.set_open(id, false);
    bench.dispatcher.quiet(id).await;
    assert!(script.started().is_empty());
    bench.step(Event::Activate).await;
    let (hook, outcome) = (Hook::Activate, HookOutcome::Succeeded);
    bench.step(Event::HookFinished { hook, outcome }).await;
    bench.dispatcher.set_open(id, true);
    assert_eq!(bench.end_of(run).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_cancelled_run_is_ended_also_while_it_runs() {
    let script = Script::new([None]);
    let bench = Bench::new(&script).await;
    let started = script.start.notified();
    let run = bench.accept(Some("k")).await;
    let behind = bench.accept(Some("k")).await;
    started.await;
    bench.store.write(move |it| it.cancel_run(run, "enough")).await.expect("written");
    bench.dispatcher.cancelled(bench.snap_in, vec![run]);
    assert_eq!(bench.end_of(behind).await, RunState::Succeeded);
    assert_eq!(bench.end_of(run).await, RunState::Cancelled);
    bench.dispatcher.quiet(bench.snap_in).await;
}

#[tokio::test]
async fn a_start_goes_on_with_what_was_cut_off() {
    let hanging = Script::new([None]);
    let before = Bench::new(&hanging).await;
    let started = hanging.start.notified();
    let run = before.accept(Some("k")).await;
    let behind = before.accept(Some("k")).await;
    started.await;

    let unfinished = recover(&before.store).await.expect("recovers");
    assert_eq!(unfinished.iter().map(|it| it.run.id).collect::<Vec<_>>(), [run, behind]);
    let script = Script::new([]);
    let after = Bench::on(before.store.clone(), before.snap_in, before.source, &script);
    after.dispatcher.queued(unfinished);
    assert_eq!(after.end_of(behind).await, RunState::Succeeded);
    assert_eq!(script.started(), [run, behind]);
    let (head, _) = after.store.read(|it| it.run(run)).expect("read").expect("there");
    assert!(matches!(head.attempts[0].outcome, Some(AttemptOutcome::Interrupted { .. })));
    assert_eq!((head.attempts.len(), head.state), (2, RunState::Succeeded));
}

#[tokio::test]
async fn stopping_waits_for_what_has_started_and_starts_nothing_more() {
    let script = Script::new([]);
    let bench = Bench::new(&script).await;
    let run = bench.accept(None).await;
    bench.end_of(run).await;
    bench.dispatcher.stop().await;
    let late = bench.accept(None).await;
    bench.dispatcher.quiet(bench.snap_in).await;
    assert_eq!(script.started(), [run]);
    let state = bench.store.read(|it| it.run(late)).expect("read").expect("there").0.state;
    assert_eq!(state, RunState::Queued);
}
