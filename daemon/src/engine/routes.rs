//! The routing snapshot: what requests to trigger URLs find, without waiting for anybody.
//!
//! Invariant: a snapshot is published after the commit it reflects. Whoever planned with an older
//! one is told so by the writer, which knows the generation, and plans again.
//!
//! There are many small snapshots rather than one: whoever publishes copies the one that he changes,
//! and ten thousand sources that open one after the other would copy a large one ten thousand times.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::keyrings::Masks;
use super::recording::Recorder;
use super::refusals::RefusalLog;
use super::source_counts::Counters;
use super::source_log::SourceLog;
use crate::clock::Clock;
use crate::model::id::SourceId;
use crate::plugins::SourceInstance;
use crate::routing::Route;
use crate::store::PreviousToken;

/// A source that takes events.
#[derive(Clone)]
pub struct OpenSource {
    /// What its events lead to.
    pub route: Route,
    /// The plugin's instance.
    pub instance: SourceInstance,
    /// The secret part of its trigger URL.
    pub token: Arc<str>,
    /// The one before, while it is known too.
    pub previous: Option<PreviousToken>,
    /// Where its owner reads what happened.
    pub log: Arc<SourceLog>,
    /// Where he reads what was refused.
    pub refusals: Arc<RefusalLog>,
    /// What became of its inputs.
    pub counts: Arc<Counters>,
    /// What is taken out of what its plugin says.
    pub masks: Masks,
    /// How many more of its requests are recorded.
    pub recorder: Arc<Recorder>,
    /// How many runs of its snap-in wait.
    pub depth: Arc<AtomicUsize>,
    /// Which changes of objects it gets, when its type gets any.
    pub changes: Option<WantedChanges>,
}

/// The changes of objects that a source gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedChanges {
    /// Their event types, such as `work_created`.
    pub event_types: Arc<[String]>,
    /// What `$user` stands for in its filter.
    pub user: Arc<str>,
}

type Snapshot = HashMap<Arc<str>, Arc<OpenSource>>;

/// How many snapshots there are.
const SHARDS: usize = 256;

/// Every source that takes events, by the secret part of its trigger URL, and by the one before.
pub struct Routes {
    shards: Box<[ArcSwap<Snapshot>]>,
    /// Which snapshot a token is in: tokens are secret, but somebody may choose what he asks for.
    hasher: RandomState,
    by_source: Mutex<BySource>,
    published: watch::Sender<()>,
    clock: Clock,
}

/// Every source that takes events, by its id, and by the changes of objects that it gets.
#[derive(Default)]
struct BySource {
    open: HashMap<SourceId, Arc<OpenSource>>,
    by_change: HashMap<String, HashSet<SourceId>>,
}

impl BySource {
    fn insert(&mut self, source: &Arc<OpenSource>) -> Option<Arc<OpenSource>> {
        let id = source.route.source;
        let before = self.remove(id);
        for event_type in source.changes.iter().flat_map(|it| it.event_types.iter()) {
            self.by_change.entry(event_type.clone()).or_default().insert(id);
        }
        self.open.insert(id, source.clone());
        before
    }

    fn remove(&mut self, id: SourceId) -> Option<Arc<OpenSource>> {
        let before = self.open.remove(&id)?;
        for event_type in before.changes.iter().flat_map(|it| it.event_types.iter()) {
            if let Some(sources) = self.by_change.get_mut(event_type) {
                sources.remove(&id);
                if sources.is_empty() {
                    self.by_change.remove(event_type);
                }
            }
        }
        Some(before)
    }
}

impl Routes {
    /// None.
    pub fn new(clock: Clock) -> Routes {
        Routes {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            hasher: RandomState::new(),
            by_source: Mutex::default(),
            published: watch::Sender::new(()),
            clock,
        }
    }

    /// The source with this token, if it takes events. A token of before is known until its time,
    /// whether or not somebody has taken it away by then.
    pub fn by_token(&self, token: &str) -> Option<Arc<OpenSource>> {
        let source = self.shard(token).load().get(token).cloned()?;
        let is_over = |it: &PreviousToken| it.token == token && it.until_ms <= self.clock.now_ms();
        (!source.previous.as_ref().is_some_and(is_over)).then_some(source)
    }

    /// The source with this id, if it takes events.
    pub fn by_id(&self, source: SourceId) -> Option<Arc<OpenSource>> {
        self.sources().open.get(&source).cloned()
    }

    /// The sources that get changes of these event types, if they take events.
    pub fn wanting<'a>(&self, event_types: impl IntoIterator<Item = &'a String>) -> Vec<SourceId> {
        let sources = self.sources();
        let wanting: HashSet<SourceId> = event_types
            .into_iter()
            .filter_map(|it| sources.by_change.get(it))
            .flatten()
            .copied()
            .collect();
        wanting.into_iter().collect()
    }

    fn sources(&self) -> MutexGuard<'_, BySource> {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a source, or replaces what its events lead to.
    pub fn publish(&self, source: Arc<OpenSource>) {
        let mut by_source = self.sources();
        let before = by_source.insert(&source);
        for token in source.tokens() {
            self.change(token, |snapshot| snapshot.insert(token.into(), source.clone()));
        }
        // Last: one that stays is never missing.
        for token in before.iter().flat_map(|it| it.tokens()) {
            if !source.tokens().any(|it| it == token) {
                self.change(token, |snapshot| snapshot.remove(token));
            }
        }
        drop(by_source);
        self.published.send_replace(());
    }

    /// Closes a source, unless something newer than `published` was published for it.
    pub fn withdraw(&self, published: &Arc<OpenSource>) {
        let id = published.route.source;
        let mut by_source = self.sources();
        if by_source.open.get(&id).is_some_and(|it| Arc::ptr_eq(it, published)) {
            for token in published.tokens() {
                self.change(token, |snapshot| snapshot.remove(token));
            }
            by_source.remove(id);
        }
        drop(by_source);
        self.published.send_replace(());
    }

    /// How many sources are open.
    pub fn count(&self) -> usize {
        self.sources().open.len()
    }

    /// Waits until something else than `seen` is published for its source, for a while.
    pub async fn newer_than(&self, seen: &Arc<OpenSource>, patience: Duration) {
        let mut published = self.published.subscribe();
        let id = seen.route.source;
        let is_same = || self.by_id(id).is_some_and(|now| Arc::ptr_eq(&now, seen));
        let wait = async {
            loop {
                published.mark_unchanged();
                if !is_same() || published.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whether it has changed or not, the caller looks again.
        let _ = tokio::time::timeout(patience, wait).await;
    }

    fn shard(&self, token: &str) -> &ArcSwap<Snapshot> {
        let at = usize::try_from(self.hasher.hash_one(token) % SHARDS as u64).unwrap_or(0);
        &self.shards[at]
    }

    /// Changes the snapshot that a token is in. Called with `by_source` held: one change at a time.
    fn change<A>(&self, token: &str, change: impl FnOnce(&mut Snapshot) -> A) {
        let shard = self.shard(token);
        let mut snapshot = Snapshot::clone(&shard.load());
        change(&mut snapshot);
        shard.store(Arc::new(snapshot));
    }
}

impl OpenSource {
    fn tokens(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.token).chain(self.previous.iter().map(|it| it.token.as_str()))
    }
}

impl Default for Routes {
    fn default() -> Routes {
        Routes::new(Clock::default())
    }
}
