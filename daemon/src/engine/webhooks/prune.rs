//! Removes deliveries that ended long ago, and those of webhooks that are gone, step by step. A webhook
//! that is so far behind that what waits for it would be removed by now is switched off: otherwise one dead
//! endpoint would keep every change for ever.

use std::time::Duration;

use tracing::warn;

use super::lane::take_step;
use super::{Shared, Webhooks};
use crate::engine::outgoing::signals::Signals;
use crate::lifecycle::webhook::Event;
use crate::model::id::{ChangeId, WebhookId, first_id_at};
use crate::store::{ReadTables, StoreError};

/// How often old deliveries are looked for.
const PRUNE: Duration = Duration::from_secs(10 * 60);
/// Rows that one transaction removes, so that it delays nobody.
const CHUNK: usize = 500;

impl Webhooks {
    /// Prunes for ever.
    pub async fn keep_pruned(self, keep_days: u64) {
        let mut ticks = tokio::time::interval(PRUNE);
        loop {
            ticks.tick().await;
            let keep_ms = keep_days.saturating_mul(24 * 60 * 60 * 1000);
            let before = first_id_at(self.shared.clock.now_ms().saturating_sub(keep_ms));
            if let Err(error) = prune(&self.shared, before).await {
                warn!(%error, "deliveries of webhooks are removed later");
            }
        }
    }
}

/// Removes what ended of changes before `before`, and all that is left of webhooks that are gone.
async fn prune(shared: &Shared, before: u128) -> Result<(), StoreError> {
    let store = &shared.store;
    for gone in store.read(|tables| tables.webhooks_gone_with_deliveries())? {
        while store.write(move |tables| tables.forget_deliveries(gone, CHUNK)).await? {}
    }
    for (id, record) in store.read(|tables| tables.webhooks())? {
        if store.read(|tables| is_behind(tables, id, &record.event_types, before))? {
            take_step(shared, id, &Event::TooFarBehind).await?;
            shared.signal(id, Signals::changed);
        }
        while store.write(move |tables| tables.prune_deliveries(id, before, CHUNK)).await? {}
    }
    Ok(())
}

/// Whether something waits for it since before then.
fn is_behind(
    tables: &ReadTables,
    id: WebhookId,
    event_types: &[String],
    before: u128,
) -> Result<bool, StoreError> {
    let queued = tables.queued_deliveries(id, None, 1)?;
    if queued.first().is_some_and(|it| it.event < before) {
        return Ok(true);
    }
    let Some(cursor) = tables.cursor(&id.to_string())? else { return Ok(false) };
    let next = tables.first_change_after(event_types, cursor)?;
    Ok(next.is_some_and(|it| it < ChangeId(before)))
}
