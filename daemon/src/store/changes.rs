//! Changes of objects, in the order of their commits: written in the transaction of the change, read
//! by whoever wants to know of them behind a cursor of his own.
//!
//! Must never lose one: the row is there if and only if the change is.

use bytes::Bytes;
use redb::ReadableTable;

use super::StoreError;
use super::record::{Record, decode_with_tail, encode_with_tail};
use super::schema;
use super::tables::{ReadTables, WriteTables};
use crate::model::id::ChangeId;
use crate::model::object::{Change, ChangeHead, NewChange};

impl Record for ChangeHead {
    const NAME: &'static str = "change";
}

impl WriteTables<'_> {
    /// Writes a change down, after all that were before it; answers its place.
    pub fn record_change(&mut self, new: &NewChange) -> Result<u64, StoreError> {
        let old = new.old.as_deref().unwrap_or_default();
        let head = ChangeHead {
            id: ChangeId(self.new_id()),
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
        // Pruning leaves the last row, so that no number is given twice.
        let seq = self.changes()?.last()?.map_or(0, |(key, _)| key.value()) + 1;
        self.changes()?.insert(seq, row.as_slice())?;
        Ok(seq)
    }
}

impl ReadTables {
    /// Up to `most` changes after a place, in order.
    pub fn changes_after(&self, seq: u64, most: usize) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        let Some(first) = seq.checked_add(1) else { return Ok(changes) };
        for row in self.table(schema::CHANGES)?.range(first..)?.take(most) {
            let (key, value) = row?;
            changes.push(read_change(key.value(), value.value())?);
        }
        Ok(changes)
    }
}

fn read_change(seq: u64, row: &[u8]) -> Result<Change, StoreError> {
    let (head, tail) = decode_with_tail::<ChangeHead>(row)?;
    let (old, new) = tail
        .split_at_checked(head.old_bytes as usize)
        .ok_or_else(|| StoreError::corrupt("truncated change record"))?;
    let some = |part: &[u8]| (!part.is_empty()).then(|| Bytes::copy_from_slice(part));
    Ok(Change { seq, old: some(old), new: some(new), head })
}
