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
//! | `change` | making, changing, testing and deleting integrations |
//! | `manage` | supplies and subscriptions, and what is published |
//! | `connection` | their connections: sealed, opened, given up |
//! | `fan_out` | who is told of what, and what is said |
//! | `lane` | one integration: a task of its own |
//! | `send` | one message |
//! | `explain` | who was told of something, and who was not, and why |
//! | `tidy` | what is kept, and for how long |

mod change;
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

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::change::{Connection, IntegrationChange, NewIntegration};
use self::lane::Handle;
pub use self::manage::{NewSubscription, SubscriptionChange, TellError};
use crate::clock::Clock;
use crate::engine::access::Access;
use crate::model::id::IntegrationId;
use crate::plugins::{PerformEffect, PluginHost};
use crate::secrets::Vault;
use crate::store::Store;

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
    /// Who owns integrations.
    pub access: Access,
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
    access: Access,
    clock: Clock,
    keep_days: u64,
    stopped: AtomicBool,
    lanes: Mutex<HashMap<IntegrationId, Lane>>,
}

struct Lane {
    handle: Arc<Handle>,
    task: JoinHandle<()>,
    /// True when it has ended as it should; closed before that when it panicked.
    is_over: watch::Receiver<bool>,
}

/// How a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneEnd {
    /// There is nothing left to serve, or the daemon stops.
    Over,
    /// It panicked. What it had under way is made again by the next one.
    Panicked,
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
    /// Begins to decide who is told of what. Messages go out of the integrations that are served
    /// ([`Tell::serve`]), by their actors.
    pub fn start(parts: Parts) -> Tell {
        let Parts { store, plugins, effects, vault, access, clock, runtime, keep_days } = parts;
        let shared = Shared {
            store,
            plugins,
            effects,
            vault,
            access,
            clock,
            keep_days,
            stopped: AtomicBool::new(false),
            lanes: Mutex::default(),
        };
        let tell = Tell { shared: Arc::new(shared), runtime };
        tell.runtime.spawn(fan_out::run(tell.clone()));
        tell.runtime.spawn(tidy::keep_tidy(tell.shared.clone()));
        tell.runtime.spawn(tidy::watch_plugins(tell.shared.clone()));
        tell
    }

    /// Begins nothing any more, and waits for what is out.
    pub async fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        let lanes: Vec<Lane> = {
            let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.drain().map(|(_, lane)| lane).collect()
        };
        lanes.iter().for_each(|it| it.handle.signals.stop());
        for lane in lanes {
            // What it had under way is stored, or made again at the next start.
            let _ = lane.task.await;
        }
    }

    fn lane(&self, id: IntegrationId) -> Option<Arc<Handle>> {
        let lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&id).map(|it| it.handle.clone())
    }

    /// There may be something new for an integration.
    fn wake(&self, id: IntegrationId) {
        if let Some(lane) = self.lane(id) {
            lane.signals.wake();
        }
    }

    /// Lets messages go out of an integration. There is one lane for it, however often this is called;
    /// what comes back is how it ends.
    pub fn serve(&self, id: IntegrationId) -> impl Future<Output = LaneEnd> + use<> {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lanes.remove(&id);
        let lane = match before {
            Some(lane) if !lane.task.is_finished() => lane,
            // The gate stays: somebody may be at it.
            Some(ended) => self.begin(id, ended.handle),
            None => self.begin(id, Arc::default()),
        };
        let mut is_over = lane.is_over.clone();
        lanes.insert(id, lane);
        async move {
            let ended = is_over.wait_for(|it| *it).await;
            if ended.is_ok() { LaneEnd::Over } else { LaneEnd::Panicked }
        }
    }

    /// Which task an integration's messages go out of, and how it is made to panic.
    #[cfg(test)]
    pub fn lane_task(&self, id: IntegrationId) -> Option<(tokio::task::Id, impl FnOnce())> {
        let lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.get(&id)?;
        let handle = lane.handle.clone();
        Some((lane.task.id(), move || handle.signals.panic()))
    }

    fn begin(&self, id: IntegrationId, handle: Arc<Handle>) -> Lane {
        let (over, is_over) = watch::channel(false);
        if self.shared.is_stopped() {
            handle.signals.stop();
        }
        let lane = lane::run(self.shared.clone(), id, handle.clone());
        let task = self.runtime.spawn(async move {
            lane.await;
            over.send_replace(true);
        });
        Lane { handle, task, is_over }
    }

    /// The lane of an integration is over: nothing is known of it any more.
    pub fn forget(&self, id: IntegrationId) {
        self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
