//! Removes changes that are old enough and that everybody has passed.
//!
//! A source that nothing happened to for a month has a cursor that is a month old. What it needs are
//! the changes of the types that it wants, so that is what is looked for: the first of these after its
//! cursor.

use std::sync::Arc;
use std::time::Duration;

use mortise_plugin::Role;
use tracing::warn;

use crate::clock::Clock;
use crate::engine::routes::Routes;
use crate::model::id::{ChangeId, SourceId, first_id_at};
use crate::plugins::PluginHost;
use crate::store::{ReadTables, Store, StoreError};

/// How often old changes are looked for.
const PRUNE: Duration = Duration::from_secs(10 * 60);
/// How long changes are kept that everybody has passed, for looking back.
const KEEP_MS: u64 = 24 * 60 * 60 * 1000;
/// Rows that one transaction removes, so that it delays nobody.
const CHUNK: usize = 500;

/// Prunes for ever.
pub async fn keep_pruned(
    routes: Arc<Routes>,
    plugins: Arc<PluginHost>,
    store: Arc<Store>,
    clock: Clock,
) {
    let gets_changes = |kind: &str| {
        let known = plugins.find(Role::Source, kind);
        // One of a type that is not known now may be of one that gets some.
        known.is_none_or(|it| it.descriptor.object_event_types.is_some())
    };
    let mut ticks = tokio::time::interval(PRUNE);
    loop {
        ticks.tick().await;
        let before = ChangeId(first_id_at(clock.now_ms().saturating_sub(KEEP_MS)));
        let needed = store.read(|tables| first_needed(tables, &routes, gets_changes, before));
        let pruned = match needed {
            Ok(before) => prune_before(&store, before).await,
            Err(error) => Err(error),
        };
        if let Err(error) = pruned {
            warn!(%error, "changes of objects are removed later");
        }
    }
}

/// The first change that somebody needs still, or `before` when that is earlier.
fn first_needed(
    tables: &ReadTables,
    routes: &Routes,
    gets_changes: impl Fn(&str) -> bool,
    before: ChangeId,
) -> Result<ChangeId, StoreError> {
    let mut needed = before;
    for (consumer, cursor) in tables.cursors()? {
        if cursor >= needed {
            continue;
        }
        let Ok(source) = consumer.parse::<SourceId>() else {
            needed = cursor;
            continue;
        };
        let open = routes.by_id(source);
        if let Some(wanted) = open.as_ref().and_then(|it| it.changes.as_ref()) {
            let next = tables.first_change_after(&wanted.event_types, cursor)?;
            needed = needed.min(next.unwrap_or(needed));
            continue;
        }
        // It is being opened, or of a type that gets none.
        let record = tables.source(source)?;
        if record.is_some_and(|it| gets_changes(&it.kind)) {
            needed = cursor;
        }
    }
    Ok(needed)
}

async fn prune_before(store: &Store, before: ChangeId) -> Result<(), StoreError> {
    while store.write(move |tables| tables.prune_changes(before, CHUNK)).await? {}
    Ok(())
}
