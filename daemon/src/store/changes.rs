//! Changes of objects, in the order of their commits: written in the transaction of the change, and
//! read by consumers, each behind a cursor of its own.
//!
//! Rows stand by event type and then by id, because nobody reads all of them: a source that wants one
//! rare event of a busy store finds it at once, and has nothing to write down for those that it does
//! not want. Ids of changes only grow, in the order of commits, so that a cursor is one: everything up
//! to it is done with.
//!
//! Every source that takes events has a cursor, from the commit on that opens it to the one that
//! closes it: so nothing is missed while it is being opened after a start, and nothing that happened
//! while it was paused comes later. Those of types that get no changes have one too, which costs a row
//! and spares this folder knowing types.
//!
//! Must never: lose a change (the row is there if and only if the change is); remove one that a
//! consumer has not passed.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use redb::ReadableTable;
use tokio::sync::Notify;

use super::record::{Record, decode_with_tail, encode_with_tail};
use super::records::SourceRecord;
use super::tables::{ReadTables, WriteTables, get};
use super::{StoreError, schema};
use crate::model::id::{ChangeId, SourceId};
use crate::model::object::{Change, ChangeHead, NewChange};
use crate::model::snap_in::SourceStatus;

/// Changes that are read at a time, in bytes; a single one may be larger.
const MOST_BYTES: usize = 4 << 20;

impl Record for ChangeHead {
    const NAME: &'static str = "change";
}

/// A step of a consumer: it was here, and is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadChanges {
    /// Where its cursor has to be still.
    pub from: ChangeId,
    /// Where it is afterwards.
    pub to: ChangeId,
}

/// A change that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChange {
    /// Which.
    pub id: ChangeId,
    /// What; absent when whoever looks has it already.
    pub change: Option<Change>,
}

/// Rung after every commit with changes, with their event types.
#[derive(Debug, Default)]
pub struct ChangeBell {
    listeners: Mutex<Vec<Weak<Heard>>>,
}

/// What somebody has not answered yet.
#[derive(Debug, Default)]
struct Heard {
    event_types: Mutex<BTreeSet<String>>,
    rung: Notify,
}

/// Somebody who listens to the bell. He hears of what was rung since he began to.
#[derive(Debug)]
pub struct ChangeListener(Arc<Heard>);

impl ChangeBell {
    pub(super) fn ring(&self, event_types: &BTreeSet<String>) {
        if event_types.is_empty() {
            return;
        }
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            let Some(heard) = listener.upgrade() else { return false };
            let mut rung = heard.event_types.lock().unwrap_or_else(PoisonError::into_inner);
            rung.extend(event_types.iter().cloned());
            heard.rung.notify_one();
            true
        });
    }

    /// Begins to listen.
    pub fn listen(&self) -> ChangeListener {
        let heard = Arc::<Heard>::default();
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::downgrade(&heard));
        ChangeListener(heard)
    }
}

impl ChangeListener {
    /// Waits until it has been rung since this was answered last.
    pub async fn heard(&self) -> BTreeSet<String> {
        loop {
            let heard = {
                let mut event_types =
                    self.0.event_types.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *event_types)
            };
            if !heard.is_empty() {
                return heard;
            }
            self.0.rung.notified().await;
        }
    }
}

impl WriteTables<'_> {
    /// Writes a change down, after all that were before it.
    pub fn record_change(&mut self, new: &NewChange) -> Result<ChangeId, StoreError> {
        let id = ChangeId(self.new_id());
        let old = new.old.as_deref().unwrap_or_default();
        let head = ChangeHead {
            at_ms: self.now_ms(),
            object_type: new.object_type.clone(),
            verb: new.verb,
            object: new.object.clone(),
            version: new.version,
            old_bytes: u32::try_from(old.len())
                .map_err(|_| StoreError::corrupt("an object of over 4 GiB"))?,
            actor: new.actor.clone(),
            cause: new.cause,
        };
        let mut tail = Vec::with_capacity(old.len() + new.new.as_ref().map_or(0, Bytes::len));
        tail.extend_from_slice(old);
        tail.extend_from_slice(new.new.as_deref().unwrap_or_default());
        let row = encode_with_tail(&head, &tail)?;
        let event_type = head.event_type();
        self.changes()?.insert((event_type.as_str(), id.0), row.as_slice())?;
        self.ring_for(event_type);
        Ok(id)
    }

    /// Moves the cursor of a consumer. Answers whether it was where it had to be.
    pub fn move_cursor(&mut self, consumer: &str, step: ReadChanges) -> Result<bool, StoreError> {
        let table = self.cursors()?;
        if table.get(consumer)?.map(|it| it.value()) != Some(step.from.0) {
            return Ok(false);
        }
        table.insert(consumer, step.to.0)?;
        Ok(true)
    }

    /// What has become of a source: it takes events of its snap-in, if that does, or it does not. Who
    /// begins to take them gets the changes from here on.
    pub(super) fn follow_source(
        &mut self,
        id: SourceId,
        snap_in_takes_events: bool,
    ) -> Result<(), StoreError> {
        let source = get::<SourceRecord>(self.sources()?, id.0)?;
        let is_active = source.is_some_and(|it| match it.status {
            SourceStatus::Active => true,
            SourceStatus::Paused | SourceStatus::Blocked => false,
        });
        if snap_in_takes_events && is_active {
            self.begin_reading(&id.to_string())
        } else {
            self.stop_reading(&id.to_string())
        }
    }

    /// Makes somebody a consumer of the changes from here on, unless he is one.
    pub fn begin_reading(&mut self, consumer: &str) -> Result<(), StoreError> {
        if self.cursors()?.get(consumer)?.is_none() {
            let here = self.new_id();
            self.cursors()?.insert(consumer, here)?;
        }
        Ok(())
    }

    /// Somebody is a consumer no more.
    pub fn stop_reading(&mut self, consumer: &str) -> Result<(), StoreError> {
        self.cursors()?.remove(consumer)?;
        Ok(())
    }

    /// The same as [`WriteTables::begin_reading`] for a source that was open before there were
    /// cursors, if it is as it was planned with. Answers whether it is.
    pub fn begin_reading_source(
        &mut self,
        source: SourceId,
        generation: u64,
    ) -> Result<bool, StoreError> {
        if self.route_generations()?.get(source.0)?.map(|it| it.value()) != Some(generation) {
            return Ok(false);
        }
        self.begin_reading(&source.to_string())?;
        Ok(true)
    }

    /// Removes up to `most` changes from before `before`, which everybody who needs them has passed.
    /// The last one of each event type stays. Answers whether there are more.
    pub fn prune_changes(&mut self, before: ChangeId, most: usize) -> Result<bool, StoreError> {
        let table = self.changes()?;
        for event_type in event_types(table)? {
            let mut old = Vec::new();
            let rows = (event_type.as_str(), 0)..=(event_type.as_str(), u128::MAX);
            let last = table.range(rows)?.next_back().transpose()?;
            let end = last.map_or(0, |(key, _)| key.value().1).min(before.0);
            let rows = (event_type.as_str(), 0)..(event_type.as_str(), end);
            for row in table.range(rows)?.take(most) {
                old.push(row?.0.value().1);
            }
            for id in &old {
                table.remove((event_type.as_str(), *id))?;
            }
            if old.len() == most {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl ReadTables {
    /// Where a consumer is, if there is one of that name.
    pub fn cursor(&self, consumer: &str) -> Result<Option<ChangeId>, StoreError> {
        Ok(self.table(schema::CURSORS)?.get(consumer)?.map(|it| ChangeId(it.value())))
    }

    /// Every consumer, and where it is.
    pub fn cursors(&self) -> Result<Vec<(String, ChangeId)>, StoreError> {
        let rows = self.table(schema::CURSORS)?;
        let rows = rows.iter()?.map(|row| {
            let (consumer, at) = row?;
            Ok((consumer.value().to_owned(), ChangeId(at.value())))
        });
        rows.collect()
    }

    /// Up to `most` changes of these types after a place, in order; fewer when they are large. Those
    /// that `has` are not read.
    pub fn changes_after(
        &self,
        event_types: &[String],
        after: ChangeId,
        most: usize,
        has: impl Fn(ChangeId) -> bool,
    ) -> Result<Vec<FoundChange>, StoreError> {
        let table = self.table(schema::CHANGES)?;
        let mut found = Vec::new();
        let mut heads = Vec::new();
        for event_type in event_types.iter().map(String::as_str).collect::<BTreeSet<_>>() {
            let rest =
                (Bound::Excluded((event_type, after.0)), Bound::Included((event_type, u128::MAX)));
            let mut rows = table.range::<(&str, u128)>(rest)?;
            if let Some(first) = rows.next() {
                heads.push((first?, rows));
            }
        }
        let mut bytes = 0;
        while found.len() < most && bytes < MOST_BYTES {
            // A source wants few types: looking at all heads is as good as a heap.
            let next = heads.iter().enumerate().min_by_key(|(_, ((key, _), _))| key.value().1);
            let Some((at, _)) = next else { break };
            let ((key, value), mut rows) = heads.swap_remove(at);
            let id = ChangeId(key.value().1);
            let change = match has(id) {
                true => None,
                false => Some(read_change(id, value.value())?),
            };
            bytes += change.as_ref().map_or(0, |_| value.value().len());
            found.push(FoundChange { id, change });
            if let Some(next) = rows.next() {
                heads.push((next?, rows));
            }
        }
        Ok(found)
    }

    /// The first change of these types after a place.
    pub fn first_change_after(
        &self,
        event_types: &[String],
        after: ChangeId,
    ) -> Result<Option<ChangeId>, StoreError> {
        let found = self.changes_after(event_types, after, 1, |_| true)?;
        Ok(found.first().map(|it| it.id))
    }

    /// The greatest id of a change, or of a cursor. Every object was told of in a change, whose id is
    /// greater than its own, and the last changes stay.
    pub(super) fn greatest_change(&self) -> Result<u128, StoreError> {
        let table = self.table(schema::CHANGES)?;
        let mut greatest = 0;
        for event_type in event_types(&table)? {
            let rows = (event_type.as_str(), 0)..=(event_type.as_str(), u128::MAX);
            let last = table.range(rows)?.next_back().transpose()?;
            greatest = greatest.max(last.map_or(0, |(key, _)| key.value().1));
        }
        for (_, at) in self.cursors()? {
            greatest = greatest.max(at.0);
        }
        Ok(greatest)
    }
}

/// Every event type that there is a change of. They are few.
fn event_types(
    table: &impl ReadableTable<(&'static str, u128), &'static [u8]>,
) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let rest = match found.last() {
            Some(last) => Bound::Excluded((last.as_str(), u128::MAX)),
            None => Bound::Unbounded,
        };
        let next = table.range::<(&str, u128)>((rest, Bound::Unbounded))?.next().transpose()?;
        let Some((key, _)) = next else { return Ok(found) };
        let event_type = key.value().0.to_owned();
        drop(key);
        found.push(event_type);
    }
}

fn read_change(id: ChangeId, row: &[u8]) -> Result<Change, StoreError> {
    let (head, tail) = decode_with_tail::<ChangeHead>(row)?;
    let (old, new) = tail
        .split_at_checked(head.old_bytes as usize)
        .ok_or_else(|| StoreError::corrupt("truncated change record"))?;
    let some = |part: &[u8]| (!part.is_empty()).then(|| Bytes::copy_from_slice(part));
    Ok(Change { id, old: some(old), new: some(new), head })
}
