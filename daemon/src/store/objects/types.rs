//! Types of objects, and the rows of the index while a type changes.

use redb::ReadableTable;

use super::super::StoreError;
use super::super::record::{decode, encode};
use super::super::tables::WriteTables;
use super::{NUMBER, ObjectTypeRecord, REVISION};
use crate::model::object::{FieldNumber, TypeNumber};
use crate::objects::index;

/// A change to the types.
#[derive(Clone, Debug)]
pub enum TypeChange {
    /// A new one.
    Create(Box<ObjectTypeRecord>),
    /// One becomes another.
    Put(TypeNumber, Box<ObjectTypeRecord>),
    /// One goes, if it has no objects.
    Delete(TypeNumber),
}

/// How a change to the types went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypesWrite {
    /// It is done, and this is the revision of all types now.
    Done(u64),
    /// The types are others than those that it was decided by.
    Stale,
    /// This many objects are of the type that was to go.
    HasObjects(u64),
}

impl WriteTables<'_> {
    /// The revision of all types.
    pub(in super::super) fn types_revision(&mut self) -> Result<u64, StoreError> {
        Ok(self.counters()?.get(REVISION)?.map_or(0, |it| it.value()))
    }

    /// Changes types, all or none, if they are those of `revision`. The records get the new revision.
    pub fn change_object_types(
        &mut self,
        revision: u64,
        changes: &[TypeChange],
    ) -> Result<TypesWrite, StoreError> {
        if self.types_revision()? != revision {
            return Ok(TypesWrite::Stale);
        }
        for change in changes {
            if let TypeChange::Delete(number) = change
                && let Some(count) = self.object_counts()?.get(number)?
                && count.value() > 0
            {
                return Ok(TypesWrite::HasObjects(count.value()));
            }
        }
        let next = revision + 1;
        self.counters()?.insert(REVISION, next)?;
        for change in changes {
            let (number, record) = match change {
                TypeChange::Create(record) => {
                    let number = self.count_up(NUMBER)?;
                    let number = TypeNumber::try_from(number)
                        .map_err(|_| StoreError::corrupt("more types than have a number"))?;
                    let mut record = record.as_ref().clone();
                    record.created_ms = self.now_ms();
                    (number, record)
                }
                TypeChange::Put(number, record) => (*number, record.as_ref().clone()),
                TypeChange::Delete(number) => {
                    self.object_types()?.remove(number)?;
                    self.object_counts()?.remove(number)?;
                    continue;
                }
            };
            let record = ObjectTypeRecord { revision: next, modified_ms: self.now_ms(), ..record };
            self.object_types()?.insert(number, encode(&record)?.as_slice())?;
        }
        Ok(TypesWrite::Done(next))
    }

    /// Drops what types were to become when the daemon ended: nobody goes on with it.
    pub fn drop_candidates(&mut self) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for row in self.object_types()?.iter()? {
            let (number, value) = row?;
            let mut record: ObjectTypeRecord = decode(value.value())?;
            if let Some(candidate) = record.candidate.take() {
                let kept = &record.current.fields;
                let gone = candidate.fields.iter().filter(|it| !kept.contains(it));
                record.retired.extend(gone.map(|it| it.number));
                changes.push(TypeChange::Put(number.value(), Box::new(record)));
            }
        }
        if !changes.is_empty() {
            let revision = self.types_revision()?;
            self.change_object_types(revision, &changes)?;
        }
        Ok(())
    }

    /// Removes up to `most` rows of a field from the index; answers whether there are more.
    pub fn forget_field(
        &mut self,
        kind: TypeNumber,
        field: FieldNumber,
        most: usize,
    ) -> Result<bool, StoreError> {
        let start = index::field_start(kind, field);
        let end = index::after(start.clone());
        let mut rows = Vec::new();
        for row in self.object_index()?.range(start.as_slice()..end.as_slice())?.take(most) {
            rows.push(row?.0.value().to_vec());
        }
        for row in &rows {
            self.object_index()?.remove(row.as_slice())?;
        }
        Ok(rows.len() == most)
    }

    /// The next number of a counter, from 1.
    pub(in super::super) fn count_up(&mut self, name: &str) -> Result<u64, StoreError> {
        let next = self.counters()?.get(name)?.map_or(0, |it| it.value()) + 1;
        self.counters()?.insert(name, next)?;
        Ok(next)
    }
}
