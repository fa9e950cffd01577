//! The one place that asks the machine what time it is. Everything else is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time. Tests use one that stands still until it is moved.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's.
    #[default]
    System,
    /// Stands at so many milliseconds of the Unix epoch until somebody moves it.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands at `now_ms`.
    pub fn manual(now_ms: u64) -> Clock {
        Clock::Manual(Arc::new(AtomicU64::new(now_ms)))
    }

    /// Milliseconds of the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now_ms(&self) -> u64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            Clock::Manual(now_ms) => now_ms.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock on; the machine's clock moves by itself.
    pub fn advance(&self, by_ms: u64) {
        match self {
            Clock::System => {}
            Clock::Manual(now_ms) => {
                now_ms.fetch_add(by_ms, Ordering::SeqCst);
            }
        }
    }
}
