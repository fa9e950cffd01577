//! Tells event sources of changes of objects: reads what the store has written down, runs each change
//! through the plugins of the sources that want its type, and stores the events that come of it.
//!
//! There is a third queue of [`Timers`] with one slot for each open source of a type that gets changes.
//! A slot is due when the store has rung its bell for an event type that the source wants, and when the
//! source opens. A wake-up ([`tell`]) reads what is after the source's cursor, and stores events and
//! cursor in one transaction: nothing is lost, and nothing is published twice, whenever the daemon is
//! killed. Each source has a cursor of its own, so that one that cannot go on holds up nobody else.
//!
//! Must never: run inside the writer; drop a change because somebody is slow; wait for one source
//! before another is told.

mod prune;
mod tell;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use prune::keep_pruned;

use super::change_bodies::ChangeBodies;
use super::intake::Intake;
use super::timers::Timers;
use crate::model::id::{ChangeId, SourceId};
use crate::store::ChangeListener;

/// Calls of plugins at a time, of sources that answer at once. The others of their threads are for
/// requests, which somebody waits for.
const QUICK_CALLS: usize = 2;
/// The same for sources whose last call took long.
const SLOW_CALLS: usize = 1;

/// Tells sources of changes.
pub struct FanOut {
    intake: Arc<Intake>,
    bodies: Arc<ChangeBodies>,
    /// How far sources are beyond their cursors because nothing came of what they were told.
    ahead: Mutex<HashMap<SourceId, Ahead>>,
    quick: Semaphore,
    slow: Semaphore,
    /// Sources whose last call took long: they wait for one another, not the others for them.
    slow_sources: Mutex<HashSet<SourceId>>,
}

/// What a source has seen beyond its cursor. It is as true as the cursor while neither that nor the
/// source changes, and costs no commit; whoever kills the daemon has it looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    generation: u64,
    cursor: ChangeId,
    at: ChangeId,
    /// Changes in between.
    changes: usize,
}

impl FanOut {
    /// Starts what tells sources of changes; it hears of sources as they open.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        intake: Arc<Intake>,
        bodies: Arc<ChangeBodies>,
    ) -> Timers {
        let fan_out = Arc::new(FanOut {
            intake: intake.clone(),
            bodies,
            ahead: Mutex::default(),
            quick: Semaphore::new(QUICK_CALLS),
            slow: Semaphore::new(SLOW_CALLS),
            slow_sources: Mutex::default(),
        });
        let timers = Timers::start(runtime, fan_out, intake.clock.clone(), Duration::ZERO);
        let bell = intake.store.change_bell().listen();
        runtime.spawn(listen(bell, intake, timers.clone()));
        timers
    }
}

/// Wakes whoever wants what has changed, for ever.
async fn listen(bell: ChangeListener, intake: Arc<Intake>, timers: Timers) {
    loop {
        let event_types = bell.heard().await;
        for source in intake.routes.wanting(&event_types) {
            // As early as can be: the clock may be set.
            timers.sooner(source, 0);
        }
    }
}
