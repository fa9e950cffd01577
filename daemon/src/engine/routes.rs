//! The routing snapshot: what requests to trigger URLs find, without waiting for anybody.
//!
//! Invariant: a snapshot is published after the commit it reflects. Whoever planned with an older
//! one is told so by the writer, which knows the generation, and plans again.
//!
//! There are many small snapshots rather than one: whoever publishes copies the one that he changes,
//! and ten thousand sources that open one after the other would copy a large one ten thousand times.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
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
}

type Snapshot = HashMap<Arc<str>, Arc<OpenSource>>;

/// How many snapshots there are.
const SHARDS: usize = 256;

/// Every source that takes events, by the secret part of its trigger URL, and by the one before.
pub struct Routes {
    shards: Box<[ArcSwap<Snapshot>]>,
    /// Which snapshot a token is in: tokens are secret, but somebody may choose what he asks for.
    hasher: RandomState,
    by_source: Mutex<HashMap<SourceId, Arc<OpenSource>>>,
    published: watch::Sender<()>,
    clock: Clock,
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
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner).get(&source).cloned()
    }

    /// Opens a source, or replaces what its events lead to.
    pub fn publish(&self, source: Arc<OpenSource>) {
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let before = by_source.insert(source.route.source, source.clone());
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
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if by_source.get(&id).is_some_and(|it| Arc::ptr_eq(it, published)) {
            for token in published.tokens() {
                self.change(token, |snapshot| snapshot.remove(token));
            }
            by_source.remove(&id);
        }
        drop(by_source);
        self.published.send_replace(());
    }

    /// How many sources are open.
    pub fn count(&self) -> usize {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner).len()
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
