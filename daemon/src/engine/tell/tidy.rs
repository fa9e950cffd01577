//! What is kept of occurrences, decisions and messages, and for how long; and trouble with plugins, which
//! nobody else would write down.
//!
//! Must never: remove an occurrence that was not decided on, or a message that waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::warn;

use super::Shared;
use crate::model::id::{DeliveryId, OccurrenceId, first_id_at};
use crate::model::occurrence::Trigger;
use crate::plugins::LoadOutcome;
use crate::store::{NewOccurrence, StoreError};

/// How often old rows are looked for.
const TIDY: Duration = Duration::from_secs(60);
/// How often plugins are looked at.
const LOOK_AT_PLUGINS: Duration = Duration::from_secs(10);
/// Occurrences that are kept, however young.
pub(super) const MOST_KEPT: u64 = 200_000;
/// Rows that one transaction removes, so that it delays nobody.
const CHUNK: usize = 500;
/// Instances whose trouble is remembered; there are fewer.
const MOST_REMEMBERED: usize = 10_000;

/// Removes what is old enough, for ever.
pub(super) async fn keep_tidy(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TIDY);
    while !shared.is_stopped() {
        ticks.tick().await;
        if let Err(error) = tidy(&shared).await {
            warn!(%error, "old occurrences are removed later");
        }
    }
}

async fn tidy(shared: &Shared) -> Result<(), StoreError> {
    let store = &shared.store;
    let keep_ms = shared.keep_days.saturating_mul(24 * 60 * 60 * 1000);
    let before = first_id_at(shared.clock.now_ms().saturating_sub(keep_ms));
    let occurrences = OccurrenceId(before);
    while store.write(move |it| it.prune_occurrences(occurrences, MOST_KEPT, CHUNK)).await? {}
    for (id, is_there) in store.read(|tables| tables.integrations_with_tellings())? {
        if is_there {
            let before = DeliveryId(before);
            while store.write(move |it| it.prune_tellings(id, before, CHUNK)).await? {}
        } else {
            while store.write(move |it| it.forget_tellings(id, CHUNK)).await? {}
        }
    }
    Ok(())
}

/// Writes trouble with plugins down, for ever: once for each library and instance.
pub(super) async fn watch_plugins(shared: Arc<Shared>) {
    let mut told = BTreeSet::new();
    let mut ticks = tokio::time::interval(LOOK_AT_PLUGINS);
    while !shared.is_stopped() {
        ticks.tick().await;
        let mut trouble = Vec::new();
        let report = shared.plugins.report();
        for library in &report.libraries {
            if let LoadOutcome::Refused { reason } = &library.outcome {
                let name = library.path.file_name().unwrap_or_default().to_string_lossy();
                trouble.push((name.into_owned(), reason.clone()));
            }
        }
        for instance in report.instances.iter().filter(|it| it.stuck_calls > 0) {
            let reason = format!("a call for {} does not come back", instance.name);
            trouble.push((instance.kind.clone(), reason));
        }
        for (plugin, reason) in trouble {
            if told.len() >= MOST_REMEMBERED || !told.insert((plugin.clone(), reason.clone())) {
                continue;
            }
            let mut new = NewOccurrence::new(Trigger::PluginFailed);
            new.subject = Some(format!("plugin:{plugin}"));
            new.members.insert("plugin".to_owned(), json!(plugin));
            new.members.insert("reason".to_owned(), json!(reason));
            if let Err(error) = shared.store.write(move |tables| tables.occur(&new)).await {
                warn!(%error, "trouble with a plugin is not written down");
            }
        }
    }
}
