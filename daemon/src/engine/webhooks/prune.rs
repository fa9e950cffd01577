//! Removes deliveries that ended long ago, and those of webhooks that are gone, step by step.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::clock::Clock;
use crate::model::id::first_id_at;
use crate::store::{Store, StoreError};

/// How often old deliveries are looked for.
const PRUNE: Duration = Duration::from_secs(10 * 60);
/// Rows that one transaction removes, so that it delays nobody.
const CHUNK: usize = 500;

/// Prunes for ever.
pub async fn keep_pruned(store: Arc<Store>, clock: Clock, keep_days: u64) {
    let mut ticks = tokio::time::interval(PRUNE);
    loop {
        ticks.tick().await;
        let keep_ms = keep_days.saturating_mul(24 * 60 * 60 * 1000);
        let before = first_id_at(clock.now_ms().saturating_sub(keep_ms));
        if let Err(error) = prune(&store, before).await {
            warn!(%error, "deliveries of webhooks are removed later");
        }
    }
}

/// Removes what ended of changes before `before`, and all that is left of webhooks that are gone.
async fn prune(store: &Store, before: u128) -> Result<(), StoreError> {
    for gone in store.read(|tables| tables.webhooks_gone_with_deliveries())? {
        while store.write(move |tables| tables.forget_deliveries(gone, CHUNK)).await? {}
    }
    for (id, _) in store.read(|tables| tables.webhooks())? {
        while store.write(move |tables| tables.prune_deliveries(id, before, CHUNK)).await? {}
    }
    Ok(())
}
