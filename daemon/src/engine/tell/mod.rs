//! Telling people and other systems what happened: occurrences go through integrations to whoever
//! subscribes to them.
//!
//! Each integration has a lane of its own ([`lane`]): queue, rate, attempts, circuit. It finds its work in
//! the store, so that nothing is lost when the daemon is killed, and so that no integration waits for
//! another.
//!
//! | module | owns |
//! |---|---|
//! | `definition` | what an integration or a subscription may be |
//! | `manage` | making, changing, testing and deleting them |
//! | `connection` | their connections: sealed, opened, given up |
//! | `fan_out` | who is told of what, and what is said |
//! | `lane` | one integration: a task of its own |
//! | `send` | one message |
//! | `explain` | who was told of something, and who was not, and why |
//! | `tidy` | what is kept, and for how long |

mod connection;
pub mod definition;
pub mod explain;
mod fan_out;
mod lane;
mod manage;
mod send;
mod tidy;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use self::lane::Signals;
pub use self::manage::{
    Connection, IntegrationChange, NewIntegration, NewSubscription, SubscriptionChange, TellError,
};
use crate::clock::Clock;
use crate::model::id::IntegrationId;
use crate::plugins::{PerformEffect, PluginHost};
use crate::secrets::Vault;
use crate::store::{Store, StoreError};

/// What telling needs of the rest of the daemon.
pub struct Parts {
    /// Where all of it is kept.
    pub store: Arc<Store>,
    /// Where sinks come from.
    pub plugins: Arc<PluginHost>,
    /// Who does what plugins ask for.
    pub effects: Arc<dyn PerformEffect>,
    /// What connections are sealed with.
    pub vault: Arc<Vault>,
    /// What time it is.
    pub clock: Clock,
    /// Where its tasks run.
    pub runtime: tokio::runtime::Handle,
    /// For how many days what has ended is kept.
    pub keep_days: u64,
}

/// What every part of this folder works with.
struct Shared {
    store: Arc<Store>,
    plugins: Arc<PluginHost>,
    effects: Arc<dyn PerformEffect>,
    vault: Arc<Vault>,
    clock: Clock,
    keep_days: u64,
    stopped: AtomicBool,
    lanes: Mutex<HashMap<IntegrationId, Lane>>,
}

struct Lane {
    signals: Arc<Signals>,
    task: JoinHandle<()>,
}

/// All that tells people of things.
#[derive(Clone)]
pub struct Tell {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Tell {
    /// Begins to tell.
    pub fn start(parts: Parts) -> Result<Tell, StoreError> {
        let Parts { store, plugins, effects, vault, clock, runtime, keep_days } = parts;
        let shared = Shared {
            store,
            plugins,
            effects,
            vault,
            clock,
            keep_days,
            stopped: AtomicBool::new(false),
            lanes: Mutex::default(),
        };
        let tell = Tell { shared: Arc::new(shared), runtime };
        for (id, _, _) in tell.shared.store.read(|tables| tables.who_is_told())?.integrations {
            tell.serve(id);
        }
        tell.runtime.spawn(fan_out::run(tell.clone()));
        tell.runtime.spawn(tidy::keep_tidy(tell.shared.clone()));
        tell.runtime.spawn(tidy::watch_plugins(tell.shared.clone()));
        Ok(tell)
    }

    /// Begins nothing any more, and waits for what is out.
    pub async fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
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

    fn signals(&self, id: IntegrationId) -> Option<Arc<Signals>> {
        let lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&id).map(|it| it.signals.clone())
    }

    /// There may be something new for an integration.
    fn wake(&self, id: IntegrationId) {
        if let Some(signals) = self.signals(id) {
            signals.wake();
        }
    }

    fn serve(&self, id: IntegrationId) -> Arc<Signals> {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, lane| !lane.task.is_finished());
        let lane = lanes.entry(id).or_insert_with(|| {
            let signals = Arc::<Signals>::default();
            let task = self.runtime.spawn(lane::run(self.shared.clone(), id, signals.clone()));
            Lane { signals, task }
        });
        lane.signals.clone()
    }
}
