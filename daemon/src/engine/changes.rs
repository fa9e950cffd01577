//! A bell that rings whenever a run ends or a snap-in moves, for callers who wait for that.
//!
//! It carries nothing: whoever hears it looks at the store again.

use std::time::Duration;

use tokio::sync::watch;

/// The bell.
#[derive(Clone, Debug)]
pub struct Changes(watch::Sender<()>);

impl Changes {
    /// A bell that has not rung.
    pub fn new() -> Changes {
        Changes(watch::Sender::new(()))
    }

    /// Rings it.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Looks with `look` now and after every ring, until it finds something or `patience` is over;
    /// then answers what it found last.
    pub async fn wait_for<T, E>(
        &self,
        patience: Duration,
        mut look: impl FnMut() -> Result<(T, bool), E>,
    ) -> Result<T, E> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut bell = self.0.subscribe();
        loop {
            bell.mark_unchanged();
            let (seen, satisfied) = look()?;
            if satisfied || tokio::time::timeout_at(deadline, bell.changed()).await.is_err() {
                return Ok(seen);
            }
        }
    }
}

impl Default for Changes {
    fn default() -> Changes {
        Changes::new()
    }
}
