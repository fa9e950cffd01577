//! Scheduled events by the engine in this process, with a clock that stands still until the test moves
//! it: to the millisecond, which no test of a whole daemon can say. The plugin is the one that is
//! shipped, the database is a file.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mortise::clock::Clock;
use mortise::engine::changes::Changes;
use mortise::engine::dispatcher::{Dispatcher, Execute, Execution, StartedAttempt};
use mortise::engine::intake::Intake;
use mortise::engine::keyrings::Masks;
use mortise::engine::routes::{OpenSource, Routes};
use mortise::engine::scheduled::{Scheduled, Scheduler, ToSchedule};
use mortise::engine::source_counts::SourceCounts;
use mortise::engine::source_log::SourceLogs;
use mortise::model::event::Cause;
use mortise::model::id::{SnapInId, SourceId, VersionId};
use mortise::model::manifest::Manifest;
use mortise::model::scope::Scope;
use mortise::plugins::{
    EffectAnswer, EffectRequest, PerformEffect, PluginHost, PluginSettings, Trust,
};
use mortise::routing::Route;
use mortise::store::{
    Creation, FileLocation, NewSnapIn, NewVersion, Options, PackageRecord, PageRequest, Store,
    VersionCreation,
};
use mortise_tests::daemon::built;
use serde_json::json;

/// What the clock shows at first.
const START: u64 = 1_000_000;

/// No automation listens to anything here.
struct Nobody;

impl Execute for Nobody {
    fn execute(
        &self,
        _: StartedAttempt,
    ) -> Pin<Box<dyn Future<Output = Execution> + Send + 'static>> {
        Box::pin(std::future::pending())
    }

    fn concurrency(&self, _: VersionId, _: &str) -> u32 {
        1
    }
}

impl PerformEffect for Nobody {
    fn perform(&self, _: EffectRequest) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

struct Bench {
    clock: Clock,
    store: Arc<Store>,
    scheduler: Scheduler,
    sources: Vec<SourceId>,
    /// Instances go with it.
    _plugins: PluginHost,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// Two open sources of the type `flow-events`.
    async fn start() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START);
        let location = Box::new(FileLocation(directory.path().join("mortise.redb")));
        let options = Options { cache_bytes: 1 << 20 };
        let store = Arc::new(Store::open(location, options, 0, clock.clone()).unwrap());
        let (snap_in, version) = install(&store).await;
        let sources = store.read(|it| it.snap_in(snap_in)).unwrap().unwrap().sources;

        let trust = Trust::RootAndUser { uid: rustix::process::getuid().as_raw() };
        let plugin = directory.path().join("flow_events.so");
        std::fs::copy(built("libflow_events.so"), &plugin).unwrap();
        let plugins = PluginHost::load(PluginSettings::new(vec![plugin], trust));
        let runtime = tokio::runtime::Handle::current();
        let dispatcher = Dispatcher::start(
            &runtime,
            store.clone(),
            Arc::new(Nobody),
            Changes::new(),
            clock.clone(),
            1,
        );
        let (routes, source_logs) = (Arc::new(Routes::new(clock.clone())), Arc::default());
        let intake = Arc::new(Intake {
            routes: routes.clone(),
            source_logs,
            store: store.clone(),
            dispatcher: dispatcher.clone(),
            effects: Arc::new(Nobody),
            clock: clock.clone(),
            most_queued: 1_000,
        });
        let scheduler = Scheduler::start(&runtime, intake);
        let counts = SourceCounts::open(&store, clock.clone()).unwrap();
        let logs = SourceLogs::default();
        for source in &sources {
            let instance =
                plugins.open_source("flow-events", &json!({}), "it", Arc::new(|_, _| {})).await;
            let manifest = Manifest::default();
            let generation = store.read(|it| it.route_generation(*source)).unwrap();
            routes.publish(Arc::new(OpenSource {
                route: Route::new(*source, "s", snap_in, version, generation, &manifest, &[]),
                instance: instance.unwrap(),
                token: format!("token of {source}").into(),
                previous: None,
                log: logs.of(*source),
                refusals: logs.refusals(*source),
                counts: counts.of(*source),
                masks: Masks::default(),
                recorder: logs.recorder(*source),
                depth: dispatcher.depth(snap_in),
                changes: None,
            }));
            scheduler.timers().opened(*source);
        }
        Bench { clock, store, scheduler, sources, _plugins: plugins, _directory: directory }
    }

    async fn schedule(&self, source: usize, due_ms: u64, number: usize) -> Scheduled {
        let new = ToSchedule {
            source: self.sources[source],
            event_type: "custom:x".to_owned(),
            event_key: format!("{source} {due_ms} {number}"),
            payload: Bytes::from(number.to_string()),
            due_ms: Some(due_ms),
            replace: false,
            by: "test".to_owned(),
            cause: Cause::default(),
        };
        self.scheduler.schedule(new).await.unwrap()
    }

    /// Payloads of the events of a source and when they came, in order.
    fn events(&self, source: usize) -> Vec<(usize, u64)> {
        let page = PageRequest { from: None, limit: 10_000, newest_first: false };
        let id = self.sources[source];
        let found = self.store.read(|it| it.list_events(page, |head| head.source == id)).unwrap();
        let read = |payload: &[u8]| std::str::from_utf8(payload).unwrap().parse().unwrap();
        found.rows.iter().map(|(_, head, payload)| (read(payload), head.received_ms)).collect()
    }

    /// Moves the clock to a time, and waits until what publishes has looked at it: it has when what
    /// is due then at the second source is published, and the sources take their turns by time.
    async fn look_at(&self, now_ms: u64) {
        let before = self.events(1).len();
        self.schedule(1, now_ms, before).await;
        self.clock.advance(now_ms - self.clock.now_ms());
        // Anything that is said to it makes it look.
        self.scheduler.timers().sooner(self.sources[1], now_ms);
        self.wait_for(1, before + 1).await;
    }

    async fn wait_for(&self, source: usize, count: usize) {
        let wait = async {
            while self.events(source).len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }
}

async fn install(store: &Store) -> (SnapInId, VersionId) {
    let installed = store.write(|tables| {
        let package = tables.create_package(&PackageRecord {
            slug: "p".to_owned(),
            description: String::new(),
            created_ms: START,
            created_by: "test".to_owned(),
        })?;
        let package = package.unwrap();
        let VersionCreation::Created(version) = tables.create_version(&NewVersion {
            package,
            content_hash: "00".to_owned(),
            manifest_text: String::new(),
            manifest: Manifest::default(),
            code: None,
            files: None,
            testing_url: None,
            runtimes: BTreeMap::new(),
            warnings: Vec::new(),
            created_by: "test".to_owned(),
        })?
        else {
            panic!("the first of its content")
        };
        let source = |token: &str| ("s".to_owned(), "flow-events".to_owned(), token.to_owned());
        let Creation::Created(snap_in) = tables.create_snap_in(&NewSnapIn {
            tags: Vec::new(),
            inputs: serde_json::Map::new(),
            version,
            package,
            scope: Scope::default_for("p").unwrap(),
            sources: vec![source("one"), source("two")],
            automations: 0,
            created_by: "test".to_owned(),
        })?
        else {
            panic!("the first at its scope")
        };
        Ok((snap_in, version))
    });
    installed.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_published_in_its_millisecond_and_in_none_before() {
    let bench = Bench::start().await;
    let due_ms = START + 3_600_000;
    assert_eq!(bench.schedule(0, due_ms, 7).await, Scheduled::Pending { due_ms, replaced: false });
    for early_ms in [3_000_000, 1_000, 100, 1] {
        bench.look_at(due_ms - early_ms).await;
        assert!(bench.events(0).is_empty(), "{early_ms} ms early");
    }
    bench.look_at(due_ms).await;
    bench.wait_for(0, 1).await;
    assert_eq!(bench.events(0), [(7, due_ms)], "and not a millisecond late");

    // What is due now is not pending at all.
    assert!(matches!(bench.schedule(0, due_ms, 8).await, Scheduled::Published(_)));
    assert!(matches!(bench.schedule(0, due_ms + 1, 9).await, Scheduled::Pending { .. }));
    bench.look_at(due_ms + 1).await;
    bench.wait_for(0, 3).await;
    assert_eq!(bench.events(0), [(7, due_ms), (8, due_ms), (9, due_ms + 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_transaction_takes_are_published_once_each_and_in_order() {
    let bench = Bench::start().await;
    let due_ms = START + 10_000;
    for number in (0..700).rev() {
        // Two for each millisecond, the later ones first.
        bench.schedule(0, due_ms + number as u64 / 2, number).await;
    }
    bench.look_at(due_ms - 1).await;
    assert!(bench.events(0).is_empty());
    bench.look_at(due_ms + 100).await;
    bench.wait_for(0, 202).await;
    assert_eq!(bench.events(0).len(), 202, "those whose time has come");
    bench.look_at(due_ms + 350).await;
    bench.wait_for(0, 700).await;
    let mut numbers: Vec<usize> = bench.events(0).iter().map(|it| it.0).collect();
    // Of one millisecond, what was scheduled first.
    assert!(numbers.chunks(2).all(|pair| pair[0] == pair[1] + 1), "{numbers:?}");
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..700));
}
