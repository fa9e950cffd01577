//! How the task that sends for one receiver is told that there is something to do, and the loop that it
//! runs in.
//!
//! Must never wait for such a task: what is said is looked at when it has time.

use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;

use crate::store::StoreError;

/// How long a lane waits when the store does not answer.
pub const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What a lane was told. What is said twice is done once.
#[derive(Debug, Default)]
pub struct Signals {
    changed: AtomicBool,
    requeued: AtomicBool,
    stopped: AtomicBool,
    #[cfg(test)]
    panics: AtomicBool,
    notify: Notify,
}

impl Signals {
    /// There may be more in its queue.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// What it serves is another one now, or gone.
    pub fn changed(&self) {
        self.changed.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Older deliveries are in its queue again.
    pub fn requeued(&self) {
        self.requeued.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// The daemon stops: nothing is begun any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Makes what serves panic, once; for tests of what happens then.
    #[cfg(test)]
    pub fn panic(&self) {
        self.panics.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Comes back when something was said.
    pub async fn heard(&self) {
        self.notify.notified().await;
    }
}

/// What sends for one receiver.
pub trait Lane: Send {
    /// Reads what it serves by now. False when that is gone.
    fn look_again(&mut self) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Its queue is read from the beginning again.
    fn read_anew(&mut self);

    /// Does what can be done, and waits for something to happen. False when there is nothing left to
    /// serve.
    fn turn(&mut self, signals: &Signals) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Serves until there is nothing left to serve or the daemon stops. `name` is for the log.
pub async fn serve(lane: &mut impl Lane, signals: &Signals, name: impl Display) {
    signals.changed();
    loop {
        match look_and_turn(lane, signals).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                warn!(receiver = %name, %error, "what is sent waits for the store");
                tokio::time::sleep(STORE_PAUSE).await;
                signals.changed();
            }
        }
    }
}

async fn look_and_turn(lane: &mut impl Lane, signals: &Signals) -> Result<bool, StoreError> {
    if signals.stopped.load(Ordering::Acquire) {
        return Ok(false);
    }
    #[cfg(test)]
    assert!(!signals.panics.swap(false, Ordering::AcqRel), "a test asked for it");
    if signals.changed.swap(false, Ordering::AcqRel) && !lane.look_again().await? {
        return Ok(false);
    }
    if signals.requeued.swap(false, Ordering::AcqRel) {
        lane.read_anew();
    }
    lane.turn(signals).await
}
