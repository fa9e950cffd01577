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
use super::source_log::SourceLog;
use crate::model::id::SourceId;
use crate::plugins::SourceInstance;
use crate::routing::Route;

/// A source that takes events.
#[derive(Clone)]
pub struct OpenSource {
    /// What its events lead to.
    pub route: Route,
    /// The plugin's instance.
    pub instance: SourceInstance,
    /// Where its owner reads what happened.
    pub log: Arc<SourceLog>,
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

/// Every source that takes events, by the secret part of its trigger URL.
pub struct Routes {
    shards: Box<[ArcSwap<Snapshot>]>,
    /// Which snapshot a token is in: tokens are secret, but somebody may choose what he asks for.
    hasher: RandomState,
    by_source: Mutex<HashMap<SourceId, Arc<str>>>,
    published: watch::Sender<()>,
}

impl Routes {
    /// None.
    pub fn new() -> Routes {
        Routes {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            hasher: RandomState::new(),
            by_source: Mutex::default(),
            published: watch::Sender::new(()),
        }
    }

    /// The source with this token, if it takes events.
    pub fn by_token(&self, token: &str) -> Option<Arc<OpenSource>> {
        self.shard(token).load().get(token).cloned()
    }

    /// The source with this id, if it takes events.
    pub fn by_id(&self, source: SourceId) -> Option<Arc<OpenSource>> {
        let token =
            self.by_source.lock().unwrap_or_else(PoisonError::into_inner).get(&source).cloned()?;
        self.by_token(&token)
    }

    /// Opens a source, or replaces what its events lead to.
    pub fn publish(&self, token: Arc<str>, source: Arc<OpenSource>) {
        let id = source.route.source;
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        by_source.insert(id, token.clone());
        self.change(&token, |snapshot| snapshot.insert(token.clone(), source));
        drop(by_source);
        self.published.send_replace(());
    }

    /// Closes a source, unless something newer than `published` was published for it.
    pub fn withdraw(&self, published: &Arc<OpenSource>) {
        let id = published.route.source;
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = by_source.get(&id).cloned() else { return };
        if self.by_token(&token).is_some_and(|it| Arc::ptr_eq(&it, published)) {
            self.change(&token, |snapshot| snapshot.remove(&token));
            by_source.remove(&id);
        }
        drop(by_source);
        self.published.send_replace(());
    }

    /// How many sources are open.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|it| it.load().len()).sum()
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

impl Default for Routes {
    fn default() -> Routes {
        Routes::new()
    }
}
