//! What is done now and then: looking how much room is left, pruning what is old enough.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::functions::packages::Packages;
use crate::store::{AuditPruned, PruneCursor, Store, StoreError};

/// How often the room on the disk is looked at.
const LOOK_AT_SPACE: Duration = Duration::from_secs(1);
/// How often old rows are looked for.
const PRUNE: Duration = Duration::from_secs(10 * 60);
/// How often files of versions are looked at that nobody wants any more.
const TIDY: Duration = Duration::from_secs(30);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long recorded requests are kept: they are for looking at now.
const KEEP_RECORDED_MS: u64 = 7 * DAY_MS;
/// Rows that one transaction looks at, so that it delays nobody.
const CHUNK: usize = 500;

/// Looks at the room on the disk for ever.
pub async fn watch_space(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(LOOK_AT_SPACE);
    loop {
        ticks.tick().await;
        store.check_space();
    }
}

/// Removes files of versions for ever that were in use when they were to go.
pub async fn keep_tidy(packages: Packages) {
    let mut ticks = tokio::time::interval(TIDY);
    loop {
        ticks.tick().await;
        packages.tidy();
    }
}

/// Removes for ever what was scheduled at sources that are gone.
pub async fn forget_scheduled(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(TIDY);
    loop {
        ticks.tick().await;
        if let Err(error) = store.forget_scheduled_of_gone_sources().await {
            warn!(%error, "scheduled events of deleted sources are removed later");
        }
    }
}

/// Prunes for ever.
pub async fn keep_pruned(store: Arc<Store>, clock: Clock, keep_days: u64) {
    let mut ticks = tokio::time::interval(PRUNE);
    loop {
        ticks.tick().await;
        let keep_ms = keep_days.saturating_mul(DAY_MS);
        let before_ms = clock.now_ms().saturating_sub(keep_ms);
        let recorded_before_ms = clock.now_ms().saturating_sub(KEEP_RECORDED_MS);
        if let Err(error) = prune_recorded_before(&store, recorded_before_ms).await {
            warn!(%error, "recorded requests are removed later");
        }
        match prune_before(&store, before_ms).await {
            Ok(()) => info!(keep_days, "pruned what is old enough"),
            Err(error) => warn!(%error, "pruning failed and is tried again later"),
        }
    }
}

/// Prunes the audit log for ever; not at all when it is kept for 0 days.
pub async fn keep_audit_pruned(store: Arc<Store>, clock: Clock, keep_days: u64) {
    if keep_days == 0 {
        return;
    }
    let mut ticks = tokio::time::interval(PRUNE);
    loop {
        ticks.tick().await;
        let keep_ms = keep_days.saturating_mul(DAY_MS);
        let before_ms = clock.now_ms().saturating_sub(keep_ms);
        // By whole days: each pruning is a row of the log itself.
        match prune_audit_before(&store, before_ms - before_ms % DAY_MS).await {
            Ok(None) => {}
            Ok(Some(row)) => {
                error!(
                    row,
                    "the audit log is not as it was written, and is not pruned: audit.verify"
                );
            }
            Err(error) => warn!(%error, "the audit log is pruned later"),
        }
    }
}

/// Removes the oldest rows of the audit log. Answers the row that stood in the way, because it is not as
/// it was written.
pub async fn prune_audit_before(store: &Store, before_ms: u64) -> Result<Option<u64>, StoreError> {
    loop {
        match store.write(move |tables| tables.prune_audit(before_ms, CHUNK)).await? {
            AuditPruned::More => {}
            AuditPruned::All => return Ok(None),
            AuditPruned::Broken(row) => return Ok(Some(row)),
        }
    }
}

/// Removes every event and ended run from before `before_ms` that nothing needs any more.
pub async fn prune_before(store: &Store, before_ms: u64) -> Result<(), StoreError> {
    let mut cursor = PruneCursor::default();
    while let Some(next) = store.write(move |tables| tables.prune(before_ms, cursor, CHUNK)).await?
    {
        cursor = next;
    }
    store.write(|tables| tables.forget_answers()).await
}

/// Removes every request that was recorded before `before_ms`.
async fn prune_recorded_before(store: &Store, before_ms: u64) -> Result<(), StoreError> {
    let mut place = Some((0, 0));
    while let Some(from) = place {
        place = store.write(move |it| it.prune_recorded(before_ms, from, CHUNK)).await?;
    }
    Ok(())
}
