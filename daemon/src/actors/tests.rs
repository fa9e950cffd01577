//! The actors with a real store in memory and hooks that do as the test says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use actix::Addr;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise_plugin::EffectOutcome;
use tokio::sync::Semaphore;

use super::snap_in::Panic;
use super::*;
use crate::engine::access::Access;
use crate::engine::dispatcher::{Execute, Execution, StartedAttempt};
use crate::engine::invocation::Call;
use crate::engine::tell;
use crate::engine::timers::{Wake, Woken};
use crate::lifecycle::run::RetryPolicy;
use crate::lifecycle::snap_in::Event;
use crate::model::id::{SnapInId, SourceId, VersionId};
use crate::model::manifest::{EventSource, Function, Hook, HookType, Manifest};
use crate::model::run::{AttemptOutcome, RunError, RunOutput};
use crate::model::snap_in::SnapInState;
use crate::plugins::{EffectAnswer, EffectRequest, PerformEffect, PluginSettings, Trust};
use crate::secrets::{MasterKeys, Vault};
use crate::store::{SnapInRecord, testing};

/// Hooks wait for a permit, then end as told.
struct Hooks {
    permits: Semaphore,
    called: Mutex<Vec<String>>,
    failing: bool,
}

impl Hooks {
    fn new(permits: usize, failing: bool) -> Arc<Hooks> {
        Arc::new(Hooks { permits: Semaphore::new(permits), called: Mutex::default(), failing })
    }

    fn called(&self) -> Vec<String> {
        self.called.lock().expect("no test panics while it holds it").clone()
    }
}

struct NoRegistrations;

impl RegisterSources for NoRegistrations {
    fn register(&self, _: SnapInId) -> BoxFuture<'static, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn unregister(&self, _: SnapInId) -> BoxFuture<'static, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn give_up(&self, _: SnapInId) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// No config here refers to one.
struct NoSecrets(watch::Sender<()>);

impl FillConfigs for NoSecrets {
    fn fill(
        &self,
        snap_in: SnapInId,
        _: Option<UserId>,
        _: Value,
    ) -> BoxFuture<'static, Result<FilledConfig, KeyringError>> {
        async move { Err(KeyringError::NoSuchSnapIn(snap_in)) }.boxed()
    }

    fn stamp(&self, _: SnapInId, _: Option<UserId>, _: &Value) -> Result<Stamp, KeyringError> {
        Ok(Stamp::new())
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

struct Caller(Arc<Hooks>);

impl CallHook for Caller {
    fn call_hook(&self, call: Call) -> BoxFuture<'static, Execution> {
        let hooks = self.0.clone();
        async move {
            hooks.called.lock().expect("not poisoned").push(call.event_type);
            hooks.permits.acquire().await.expect("never closed").forget();
            let message = "the hook says no".to_owned();
            let error = RunError { kind: "thrown".to_owned(), message, ..RunError::default() };
            ended(if hooks.failing {
                AttemptOutcome::Failed(error)
            } else {
                AttemptOutcome::Succeeded
            })
        }
        .boxed()
    }

    fn retire(&self, _: SnapInId) {}
}

struct NoTimers;

impl Wake for NoTimers {
    fn wake(&self, _: SourceId) -> BoxFuture<'_, Woken> {
        async { Woken::Next(None) }.boxed()
    }
}

fn no_timers() -> Timers {
    let runtime = tokio::runtime::Handle::current();
    Timers::start(&runtime, Arc::new(NoTimers), Clock::manual(1), Duration::ZERO)
}

/// There are no plugins to ask for any.
struct NoEffects;

impl PerformEffect for NoEffects {
    fn perform(&self, _: EffectRequest) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>> {
        let failed = EffectOutcome::Failed { message: "none".to_owned(), transient: false };
        async { EffectAnswer { outcome: failed, body: Bytes::new() } }.boxed()
    }
}

/// Nothing is ever executed in these tests.
struct NoFunctions;

impl Execute for NoFunctions {
    fn execute(&self, _: StartedAttempt) -> BoxFuture<'static, Execution> {
        async { ended(AttemptOutcome::Succeeded) }.boxed()
    }

    fn concurrency(&self, _: VersionId, _: &str) -> u32 {
        1
    }
}

fn ended(outcome: AttemptOutcome) -> Execution {
    let policy = RetryPolicy { max_retries: 0, min_interval_ms: 0 };
    Execution { outcome, output: RunOutput::default(), policy }
}

fn manifest_with_hooks() -> Manifest {
    let hook = |hook_type| Hook { hook_type, function: "f".to_owned() };
    Manifest {
        functions: vec![Function { name: "f".to_owned(), ..Function::default() }],
        hooks: vec![hook(HookType::Activate), hook(HookType::Deactivate)],
        ..Manifest::default()
    }
}

pub(super) struct Bench {
    pub(super) services: Services,
    pub(super) registry: Addr<Registry>,
    id: SnapInId,
}

impl Bench {
    /// One snap-in without anything.
    pub(super) async fn plain() -> Bench {
        Bench::new(Manifest::default(), &Hooks::new(0, false)).await
    }

    async fn new(manifest: Manifest, hooks: &Arc<Hooks>) -> Bench {
        let store = Arc::new(testing::in_memory(1));
        let sources = manifest.event_sources.len();
        let id = testing::install(&store, manifest, "no-such-type", sources, 0).await;
        Bench::on(store, id, hooks)
    }

    /// Actors on a store, as after a start.
    fn on(store: Arc<Store>, id: SnapInId, hooks: &Arc<Hooks>) -> Bench {
        let changes = Changes::new();
        let dispatcher = Dispatcher::start(
            &tokio::runtime::Handle::current(),
            store.clone(),
            Arc::new(NoFunctions),
            changes.clone(),
            Clock::manual(1),
            4,
        );
        let settings = PluginSettings::new(Vec::new(), Trust::Root);
        let plugins = Arc::new(PluginHost::load(settings));
        let clock = Clock::manual(1);
        let state = tempfile::tempdir().expect("a directory");
        let keys = MasterKeys::load(None, state.path()).expect("a key is made");
        let tell = Tell::start(tell::Parts {
            store: store.clone(),
            plugins: plugins.clone(),
            effects: Arc::new(NoEffects),
            vault: Arc::new(Vault::new(&keys)),
            access: Access::open(store.clone(), clock.clone()).expect("empty tables"),
            clock,
            runtime: tokio::runtime::Handle::current(),
            keep_days: 1,
        });
        let source_counts = SourceCounts::open(&store, Clock::manual(1)).expect("an empty table");
        let services = Services::new(Parts {
            contexts: Arc::new(Contexts::new(store.clone())),
            store,
            routes: Arc::default(),
            timers: no_timers(),
            scheduled: no_timers(),
            fan_out: no_timers(),
            plugins,
            dispatcher,
            invoker: Arc::new(Caller(hooks.clone())),
            calls: Calls::new(tokio::runtime::Handle::current()),
            registrar: Arc::new(NoRegistrations),
            secrets: Arc::new(NoSecrets(watch::Sender::new(()))),
            tell,
            changes,
            source_counts: Arc::new(source_counts),
            source_logs: Arc::default(),
            clock: Clock::manual(1),
            under_way: EffectsUnderWay::default(),
        });
        let registry = Registry::start(services.clone());
        Bench { services, registry, id }
    }

    async fn ask(&self, event: Event) -> Result<SnapInRecord, AskError> {
        let found = self.registry.send(Find(self.id)).await.expect("the registry lives");
        let actor = found.expect("the store reads").expect("it exists");
        actor.send(Ask::of(event)).await.expect("the actor lives")
    }

    fn state(&self) -> SnapInState {
        let record = self.services.store.read(|it| it.snap_in(self.id)).expect("read");
        record.expect("there").state
    }

    /// Waits until the state is one that `wanted` takes.
    async fn until(&self, wanted: impl Fn(&SnapInState) -> bool) -> SnapInState {
        let look = || {
            let state = self.state();
            let satisfied = wanted(&state);
            Ok::<_, ()>((state, satisfied))
        };
        let patience = Duration::from_secs(10);
        self.services.changes.wait_for(patience, look).await.expect("looking cannot fail")
    }

    async fn until_settled(&self) -> SnapInState {
        self.until(|it| !it.is_transitory()).await
    }

    fn pending_effects(&self) -> usize {
        self.services.store.read(|it| it.pending_effects()).expect("read").len()
    }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(test);
}

#[test]
fn without_hooks_it_becomes_active_inactive_and_deleted() {
    run(async {
        let hooks = Hooks::new(0, false);
        let bench = Bench::new(Manifest::default(), &hooks).await;
        let record = bench.ask(Event::Activate).await.expect("allowed");
        assert_eq!(record.state, SnapInState::Activating);
        assert_eq!(bench.until_settled().await, SnapInState::Active);
        bench.ask(Event::Deactivate { force: false }).await.expect("allowed");
        assert_eq!(bench.until_settled().await, SnapInState::Inactive);
        bench.ask(Event::Delete { force: false }).await.expect("allowed");
        assert_eq!(bench.until_settled().await, SnapInState::Deleted);
        let found = bench.registry.send(Find(bench.id)).await.expect("it lives");
        assert!(found.expect("the store reads").is_none());
        assert!(hooks.called().is_empty());
    });
}

#[test]
fn hooks_are_called_and_a_second_request_meanwhile_is_refused_at_once() {
    run(async {
        let hooks = Hooks::new(0, false);
        let bench = Bench::new(manifest_with_hooks(), &hooks).await;
        bench.ask(Event::Activate).await.expect("allowed");
        let refusal = bench.ask(Event::Deactivate { force: false }).await.expect_err("too early");
        assert!(refusal.to_string().contains("wait until its activation has ended"), "{refusal}");
        hooks.permits.add_permits(1);
        assert_eq!(bench.until_settled().await, SnapInState::Active);
        assert_eq!(hooks.called(), ["hook:snap_in_activate"]);
        assert_eq!(bench.pending_effects(), 0);
    });
}

#[test]
fn a_hook_that_fails_leads_to_error_and_force_gets_past_it() {
    run(async {
        let hooks = Hooks::new(10, true);
        let bench = Bench::new(manifest_with_hooks(), &hooks).await;
        bench.ask(Event::Activate).await.expect("allowed");
        let SnapInState::Error { reason } = bench.until_settled().await else {
            panic!("its hook failed")
        };
        assert!(reason.contains("the hook says no"), "{reason}");
        bench.ask(Event::Delete { force: false }).await.expect("allowed");
        assert!(matches!(bench.until_settled().await, SnapInState::Error { .. }));
        bench.ask(Event::Delete { force: true }).await.expect("allowed");
        assert_eq!(bench.until_settled().await, SnapInState::Deleted);
    });
}

#[test]
fn a_start_finishes_what_a_crash_cut_off() {
    run(async {
        let hanging = Hooks::new(0, false);
        let before = Bench::new(manifest_with_hooks(), &hanging).await;
        before.ask(Event::Activate).await.expect("allowed");
        assert_eq!((before.state(), before.pending_effects()), (SnapInState::Activating, 1));

        let hooks = Hooks::new(1, false);
        let after = Bench::on(before.services.store.clone(), before.id, &hooks);
        assert_eq!(after.until_settled().await, SnapInState::Active);
        assert_eq!(hooks.called(), ["hook:snap_in_activate"]);
        assert_eq!(after.pending_effects(), 0);
    });
}

#[test]
fn an_actor_that_panics_is_built_again_and_its_hook_not_repeated() {
    run(async {
        let hooks = Hooks::new(0, false);
        let bench = Bench::new(manifest_with_hooks(), &hooks).await;
        bench.ask(Event::Activate).await.expect("allowed");
        let found = bench.registry.send(Find(bench.id)).await.expect("it lives");
        let actor = found.expect("the store reads").expect("it exists");
        assert!(actor.send(Panic).await.is_err(), "it panicked");
        hooks.permits.add_permits(1);
        assert_eq!(bench.until_settled().await, SnapInState::Active);
        assert_eq!(hooks.called(), ["hook:snap_in_activate"]);
        bench.ask(Event::Deactivate { force: false }).await.expect("the new actor answers");
    });
}

#[test]
fn a_source_that_does_not_open_is_named_as_the_reason() {
    run(async {
        let hooks = Hooks::new(0, false);
        let source = EventSource { name: "s".to_owned(), ..EventSource::default() };
        let manifest = Manifest { event_sources: vec![source], ..Manifest::default() };
        let bench = Bench::new(manifest, &hooks).await;
        bench.ask(Event::Activate).await.expect("allowed");
        let SnapInState::Error { reason } = bench.until_settled().await else {
            panic!("its source cannot open")
        };
        assert!(reason.contains("no-such-type"), "{reason}");
    });
}
