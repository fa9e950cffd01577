//! Removing what nobody wants any more: bytes of deleted artifacts, uploads that were never finished,
//! artifacts that belong to nothing. A little at a time, so that it delays nobody.

use std::time::Duration;

use tracing::warn;

use super::Artifacts;
use crate::clock::Clock;
use crate::store::{Retention, StoreError};

/// How often old artifacts are looked for.
const PRUNE: Duration = Duration::from_secs(10 * 60);
/// How long an upload may rest.
const KEEP_UNFINISHED_MS: u64 = 24 * 60 * 60 * 1000;
/// Rows that one transaction looks at.
const ROWS: usize = 500;
/// Parts that one transaction removes: beside each, its neighbour in the database is written anew.
const PARTS: usize = 8;

impl Artifacts {
    /// Removes for ever what is to go: also what a crash left over.
    pub async fn keep_swept(self, clock: Clock) {
        let mut ticks = tokio::time::interval(PRUNE);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if let Err(error) = self.prune(clock.now_ms()).await {
                        warn!(%error, "old artifacts are removed later");
                    }
                }
                () = self.0.leftovers.notified() => {}
            }
            if let Err(error) = self.sweep().await {
                warn!(%error, "bytes of deleted artifacts are removed later");
            }
        }
    }

    /// Removes artifacts that are old enough to go.
    pub(super) async fn prune(&self, now_ms: u64) -> Result<(), StoreError> {
        let days = self.0.settings.keep_loose_days;
        let retention = Retention {
            unfinished_before_ms: now_ms.saturating_sub(KEEP_UNFINISHED_MS),
            loose_before_ms: now_ms.saturating_sub(days.saturating_mul(24 * 60 * 60 * 1000)),
        };
        let mut place = Some(0);
        while let Some(from) = place {
            let prune = self.0.store.write(move |it| it.prune_artifacts(retention, from, ROWS));
            place = prune.await?;
        }
        Ok(())
    }

    /// Removes the bytes of contents that no artifact has.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        while self.0.store.write(|tables| tables.sweep_leftovers(PARTS)).await? {}
        Ok(())
    }
}
