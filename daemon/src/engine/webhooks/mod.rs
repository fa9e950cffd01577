//! Outgoing webhooks (seed 002): what they are, whom they tell of which change, and how that is sent.
//!
//! | file | owns |
//! |---|---|
//! | `definition` | what a webhook may be |
//! | `manage` | making, changing and deleting them |
//! | `interest` | which of them want a change |
//! | `message` | bodies and headers |
//! | `lane` | one endpoint: a task of its own |
//! | `send` | one request |
//! | `envelope` | what is secret about them |
//! | `prune` | removing what is old |
//!
//! Whether an endpoint is asked, gets events or is left alone is decided in `lifecycle/webhook.rs`.

pub mod definition;
mod envelope;
mod interest;
mod lane;
mod manage;
mod message;
mod prune;
mod send;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

pub use self::manage::{Change, Created, HeaderChange, ManageError, New, TypesChange};
use super::change_bodies::ChangeBodies;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::engine::outgoing::signals::Signals;
use crate::model::id::WebhookId;
use crate::secrets::Vault;
use crate::store::{Store, StoreError};

/// What every part of this folder works with.
pub struct Shared {
    store: Arc<Store>,
    clock: Clock,
    egress: Arc<Egress>,
    vault: Arc<Vault>,
    bodies: Arc<ChangeBodies>,
    settings: Settings,
    /// Which webhooks want which event types.
    wanting: Mutex<HashMap<String, Vec<WebhookId>>>,
    lanes: Mutex<HashMap<WebhookId, Lane>>,
}

/// What holds for all webhooks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an endpoint has for its answer.
    pub timeout: Duration,
    /// The waits after failed attempts.
    pub pauses_ms: Vec<u64>,
    /// How many deliveries of one webhook are queued.
    pub most_queued: u64,
    /// Larger bodies are not sent.
    pub largest_body: usize,
}

struct Lane {
    signals: Arc<Signals>,
    task: JoinHandle<()>,
}

/// What webhooks need of the rest of the daemon.
pub struct Parts {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// What time it is.
    pub clock: Clock,
    /// The way out.
    pub egress: Arc<Egress>,
    /// What their secrets are sealed with.
    pub vault: Arc<Vault>,
    /// What is told of changes.
    pub bodies: Arc<ChangeBodies>,
    /// What holds for all.
    pub settings: Settings,
    /// Where their tasks run.
    pub runtime: tokio::runtime::Handle,
}

/// All outgoing webhooks.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
}

impl Shared {
    /// A webhook is another one now: those who know it look again.
    fn changed(&self, id: WebhookId) {
        if let Err(error) = self.read_interests() {
            tracing::error!(%error, "which webhooks want events is as it was");
        }
        self.signal(id, Signals::changed);
    }

    fn read_interests(&self) -> Result<(), StoreError> {
        let mut wanting = HashMap::<String, Vec<WebhookId>>::new();
        for (id, record) in self.store.read(|tables| tables.webhooks())? {
            for event_type in record.event_types {
                wanting.entry(event_type).or_default().push(id);
            }
        }
        *self.wanting.lock().unwrap_or_else(PoisonError::into_inner) = wanting;
        Ok(())
    }

    fn signal(&self, id: WebhookId, signal: impl Fn(&Signals)) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&id) {
            signal(&lane.signals);
        }
    }

    /// For what is no change: a challenge.
    fn new_event_id(&self, now_ms: u64) -> u128 {
        let mut random = [0; 16];
        crate::random::fill(&mut random);
        (u128::from(now_ms) << 80) | (u128::from_le_bytes(random) >> 48)
    }
}

impl Webhooks {
    /// Begins to serve all that there are.
    pub fn start(parts: Parts) -> Result<Webhooks, StoreError> {
        let Parts { store, clock, egress, vault, bodies, settings, runtime } = parts;
        let bell = store.change_bell().listen();
        let shared = Shared {
            store,
            clock,
            egress,
            vault,
            bodies,
            settings,
            wanting: Mutex::default(),
            lanes: Mutex::default(),
        };
        let webhooks = Webhooks { shared: Arc::new(shared), runtime };
        webhooks.shared.read_interests()?;
        for (id, _) in webhooks.shared.store.read(|tables| tables.webhooks())? {
            webhooks.serve(id);
        }
        let woken = webhooks.clone();
        webhooks.runtime.spawn(async move {
            loop {
                woken.wake(&bell.heard().await);
            }
        });
        Ok(webhooks)
    }

    /// Begins nothing any more, and waits for the requests that are out.
    pub async fn stop(&self) {
        let lanes: Vec<Lane> = {
            let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.drain().map(|(_, lane)| lane).collect()
        };
        lanes.iter().for_each(|it| it.signals.stop());
        for lane in lanes {
            // What it had under way is stored, or made again at the next start.
            let _ = lane.task.await;
        }
    }

    /// Tells those who want changes of these types that there are some.
    fn wake(&self, event_types: &BTreeSet<String>) {
        let webhooks: BTreeSet<WebhookId> = {
            let wanting = self.shared.wanting.lock().unwrap_or_else(PoisonError::into_inner);
            event_types.iter().filter_map(|it| wanting.get(it)).flatten().copied().collect()
        };
        webhooks.iter().for_each(|it| self.shared.signal(*it, Signals::wake));
    }

    fn serve(&self, id: WebhookId) {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, lane| !lane.task.is_finished());
        lanes.entry(id).or_insert_with(|| {
            let signals = Arc::new(Signals::default());
            let task = self.runtime.spawn(keep_serving(self.shared.clone(), id, signals.clone()));
            Lane { signals, task }
        });
    }
}

/// Serves an endpoint, and begins again from the store when that panicked.
async fn keep_serving(shared: Arc<Shared>, id: WebhookId, signals: Arc<Signals>) {
    const PAUSE: Duration = Duration::from_secs(5);
    loop {
        match tokio::spawn(lane::run(shared.clone(), id, signals.clone())).await {
            Ok(()) => return,
            Err(error) => tracing::error!(webhook = %id, %error, "what serves a webhook panicked"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
