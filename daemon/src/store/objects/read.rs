//! Reading objects and their types.

use bytes::Bytes;
use redb::ReadableTable;

use super::super::record::{decode, decode_with_tail};
use super::super::tables::ReadTables;
use super::super::{StoreError, schema};
use super::{ObjectTypeRecord, REVISION};
use crate::model::object::{ObjectHead, ObjectKey, StoredObject, TypeNumber};
use crate::objects::index;

/// All types, as they were at one revision.
#[derive(Clone, Debug, Default)]
pub struct TypesAt {
    /// It.
    pub revision: u64,
    /// The types, by their numbers.
    pub types: Vec<(TypeNumber, ObjectTypeRecord)>,
}

impl ReadTables {
    /// The revision of all types.
    pub fn types_revision(&self) -> Result<u64, StoreError> {
        Ok(self.table(schema::COUNTERS)?.get(REVISION)?.map_or(0, |it| it.value()))
    }

    /// All types.
    pub fn object_types(&self) -> Result<TypesAt, StoreError> {
        let mut types = Vec::new();
        for row in self.table(schema::OBJECT_TYPES)?.iter()? {
            let (number, value) = row?;
            types.push((number.value(), decode(value.value())?));
        }
        Ok(TypesAt { revision: self.types_revision()?, types })
    }

    /// An object.
    pub fn object(&self, key: ObjectKey) -> Result<Option<StoredObject>, StoreError> {
        let table = self.table(schema::OBJECTS)?;
        let row = table.get((key.kind, key.id))?;
        row.map(|it| read_object(key, it.value())).transpose()
    }

    /// The object that people call so.
    pub fn object_by_display_id(
        &self,
        kind: TypeNumber,
        display_id: &str,
    ) -> Result<Option<ObjectKey>, StoreError> {
        let start = [index::field_start(kind, index::DISPLAY_ID), index::text(display_id)].concat();
        let end = index::after(start.clone());
        let table = self.table(schema::OBJECT_INDEX)?;
        let Some(row) = table.range(start.as_slice()..end.as_slice())?.next() else {
            return Ok(None);
        };
        Ok(index::parts(row?.0.value()).map(|(_, id)| ObjectKey { kind, id }))
    }

    /// How many objects a type has.
    pub fn count_all_objects(&self, kind: TypeNumber) -> Result<u64, StoreError> {
        Ok(self.table(schema::OBJECT_COUNTS)?.get(kind)?.map_or(0, |it| it.value()))
    }

    /// The id of the youngest object of a type.
    pub fn last_object(&self, kind: TypeNumber) -> Result<Option<u128>, StoreError> {
        let table = self.table(schema::OBJECTS)?;
        let mut rows = table.range((kind, 0)..=(kind, u128::MAX))?;
        Ok(rows.next_back().transpose()?.map(|(key, _)| key.value().1))
    }

    /// Up to `most` objects of a type after an id, oldest first.
    pub fn objects_after(
        &self,
        kind: TypeNumber,
        after: Option<u128>,
        most: usize,
    ) -> Result<Vec<StoredObject>, StoreError> {
        let first = match after {
            Some(after) => after.saturating_add(1),
            None => 0,
        };
        let mut objects = Vec::new();
        let table = self.table(schema::OBJECTS)?;
        for row in table.range((kind, first)..=(kind, u128::MAX))?.take(most) {
            let (key, value) = row?;
            objects.push(read_object(ObjectKey { kind, id: key.value().1 }, value.value())?);
        }
        Ok(objects)
    }
}

pub(super) fn read_object(key: ObjectKey, row: &[u8]) -> Result<StoredObject, StoreError> {
    let (head, fields) = decode_with_tail::<ObjectHead>(row)?;
    Ok(StoredObject { key, head, fields: Bytes::copy_from_slice(fields) })
}
