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
use crate::model::id::{ChangeId, SourceId, WebhookId, first_id_at};
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
        let wanted = |source| Some(routes.by_id(source)?.changes.as_ref()?.event_types.clone());
        let needed = store.read(|tables| first_needed(tables, wanted, gets_changes, before));
        let pruned = match needed {
            Ok(before) => prune_before(&store, before).await,
            Err(error) => Err(error),
        };
        if let Err(error) = pruned {
            warn!(%error, "changes of objects are removed later");
        }
    }
}

/// The first change that somebody needs still, or `before` when that is earlier. `wanted` are the types
/// of changes that an open source wants, and `gets_changes` says of a type of sources whether it gets
/// any.
fn first_needed(
    tables: &ReadTables,
    wanted: impl Fn(SourceId) -> Option<Arc<[String]>>,
    gets_changes: impl Fn(&str) -> bool,
    before: ChangeId,
) -> Result<ChangeId, StoreError> {
    let mut needed = before;
    for (consumer, cursor) in tables.cursors()? {
        if cursor >= needed {
            continue;
        }
        if let Ok(webhook) = consumer.parse::<WebhookId>() {
            let record = tables.webhook(webhook)?;
            let event_types = record.map(|it| it.event_types).unwrap_or_default();
            let next = tables.first_change_after(&event_types, cursor)?;
            needed = needed.min(next.unwrap_or(needed));
            continue;
        }
        let Ok(source) = consumer.parse::<SourceId>() else {
            needed = cursor;
            continue;
        };
        if let Some(event_types) = wanted(source) {
            let next = tables.first_change_after(&event_types, cursor)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::snap_in::Event;
    use crate::model::event::Cause;
    use crate::model::manifest::Manifest;
    use crate::model::object::{NewChange, Verb};
    use crate::store::testing;

    async fn change(store: &Store, object_type: &str) -> ChangeId {
        let new = NewChange {
            object_type: object_type.to_owned(),
            verb: Verb::Created,
            object: "work_1".to_owned(),
            version: 1,
            old: None,
            new: None,
            actor: "test".to_owned(),
            cause: Cause::default(),
        };
        store.write(move |tables| tables.record_change(&new)).await.expect("written")
    }

    #[tokio::test]
    async fn what_somebody_needs_stays() {
        let store = testing::in_memory(1_000);
        let snap_in = testing::install(&store, Manifest::default(), "t", 1, 0).await;
        let activate = move |tables: &mut crate::store::WriteTables<'_>| {
            tables.step_snap_in(snap_in, &Event::Activate, None, &serde_json::Map::new())
        };
        store.write(activate).await.expect("written");
        let tags = change(&store, "tag").await;
        let work = change(&store, "work").await;
        let end = change(&store, "tag").await;
        let needed = |wanted: Option<&str>, gets_changes: bool, before: ChangeId| {
            let wanted: Option<Arc<[String]>> = wanted.map(|it| Arc::from([it.to_owned()]));
            let needed = store
                .read(|tables| first_needed(tables, |_| wanted.clone(), |_| gets_changes, before));
            needed.expect("read")
        };
        assert_eq!(needed(Some("work_created"), true, end), work);
        assert_eq!(needed(Some("work_created"), true, tags), tags, "those are not old enough");
        assert_eq!(needed(Some("part_created"), true, end), end, "there is none that it wants");
        assert!(needed(None, true, end) < tags, "it is being opened, and may want any");
        assert_eq!(needed(None, false, end), end, "its type gets none");
        store.write(|tables| tables.begin_reading("hooks")).await.expect("written");
        assert_eq!(needed(None, false, end), end, "it begins after the last one");

        prune_before(&store, work).await.expect("written");
        let types = ["tag_created".to_owned(), "work_created".to_owned()];
        let left = store.read(|it| it.changes_after(&types, ChangeId(0), 10, |_| true));
        let left: Vec<_> = left.expect("read").into_iter().map(|it| it.id).collect();
        assert_eq!(left, [work, end]);
    }
}
