//! Making, changing and deleting objects, with the change that is told of each, in one transaction.

use bytes::Bytes;
use redb::ReadableTable;

use super::super::StoreError;
use super::super::record::{decode_with_tail, encode_with_tail};
use super::super::tables::WriteTables;
use super::DISPLAY;
use crate::model::event::Cause;
use crate::model::id::{ChangeId, text_of};
use crate::model::object::{
    FieldNumber, NewChange, ObjectHead, ObjectKey, StoredObject, TypeNumber, Verb,
};
use crate::objects::document::document;
use crate::objects::index::{self, Entry};

/// More of them are not named when they keep an object from being deleted.
const MOST_REFERRERS: usize = 20;

/// Who writes, to an object of which type, as it was at which revision of the types.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Revision of all types that the write was decided by.
    pub revision: u64,
    /// Name of the type.
    pub object_type: String,
    /// What ids of its objects start with.
    pub id_prefix: String,
    /// Name of the principal.
    pub actor: String,
    /// What caused it.
    pub cause: Cause,
}

/// An object to be made.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Who and what.
    pub writing: Writing,
    /// The number of its type.
    pub kind: TypeNumber,
    /// Its id, where something has it already that becomes an object; a new one when absent.
    pub id: Option<u128>,
    /// Its own fields, a JSON object that was checked.
    pub fields: Bytes,
    /// The rows of the index that its fields lead to.
    pub index: Vec<Entry>,
    /// The objects that it refers to.
    pub references: Vec<ObjectKey>,
    /// What its display id starts with.
    pub display_prefix: Option<String>,
}

/// An object to be changed.
#[derive(Clone, Debug)]
pub struct ObjectUpdate {
    /// Who and what.
    pub writing: Writing,
    /// Which object.
    pub key: ObjectKey,
    /// The version that the change was decided by.
    pub version: u64,
    /// Its own fields afterwards.
    pub fields: Bytes,
    /// The rows of the index that go.
    pub gone: Vec<Entry>,
    /// The rows of the index that come.
    pub new: Vec<Entry>,
    /// The objects that it refers to afterwards.
    pub references: Vec<ObjectKey>,
}

/// An object to be deleted.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Who and what.
    pub writing: Writing,
    /// Which object.
    pub key: ObjectKey,
    /// The version that the deletion was decided by.
    pub version: u64,
    /// The rows of the index that its fields led to.
    pub index: Vec<Entry>,
    /// Fields of other types, and of its own, that may refer to it.
    pub referrers: Vec<(TypeNumber, FieldNumber)>,
}

/// Rows of the index for an object that was there before they were wanted.
#[derive(Clone, Debug)]
pub struct Indexing {
    /// Which object.
    pub key: ObjectKey,
    /// The version that they were made of.
    pub version: u64,
    /// They.
    pub index: Vec<Entry>,
    /// The objects that it refers to in fields that are new in the index.
    pub references: Vec<ObjectKey>,
}

/// How adding rows to the index went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// They are there.
    Done,
    /// The types are others than those that the rows were made by.
    Stale,
    /// An object that one refers to has gone meanwhile.
    NoSuchTarget,
}

/// An object that was made, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenObject {
    /// As it is now; a deleted one as it was.
    pub object: StoredObject,
    /// The change that is told of it.
    pub change: ChangeId,
}

/// How a write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectWrite {
    /// It is done.
    Done(Box<WrittenObject>),
    /// The types are others than those that it was decided by.
    Stale,
    /// There is no such object.
    NoSuchObject,
    /// It has another version than the one that the write was decided by.
    Changed {
        /// That one.
        version: u64,
    },
    /// It refers to an object that is not there.
    NoSuchTarget(ObjectKey),
    /// These refer to it.
    ReferredTo {
        /// Some of them.
        by: Vec<ObjectKey>,
        /// Whether there are others.
        more: bool,
    },
}

impl WriteTables<'_> {
    /// Makes an object.
    pub fn create_object(&mut self, new: &NewObject) -> Result<ObjectWrite, StoreError> {
        if self.types_revision()? != new.writing.revision {
            return self.made_nothing(ObjectWrite::Stale);
        }
        if let Some(missing) = self.missing_target(&new.references, None)? {
            return self.made_nothing(ObjectWrite::NoSuchTarget(missing));
        }
        let id = match new.id {
            Some(id) => id,
            None => self.new_id(),
        };
        let key = ObjectKey { kind: new.kind, id };
        if let Some(row) = self.objects()?.get((key.kind, key.id))? {
            let (head, _) = decode_with_tail::<ObjectHead>(row.value())?;
            return Ok(ObjectWrite::Changed { version: head.version });
        }
        let display_id = match &new.display_prefix {
            Some(prefix) => {
                Some(format!("{prefix}-{}", self.count_up(&format!("{DISPLAY}{prefix}"))?))
            }
            None => None,
        };
        let actor = &new.writing.actor;
        let head = ObjectHead {
            version: 1,
            modified_ms: self.now_ms(),
            created_by: actor.clone(),
            modified_by: actor.clone(),
            display_id,
        };
        let row = encode_with_tail(&head, &new.fields)?;
        self.objects()?.insert((key.kind, key.id), row.as_slice())?;
        self.index_standard(key, None, Some(&head))?;
        self.index_own(key, &[], &new.index)?;
        let count = self.object_counts()?.get(key.kind)?.map_or(0, |it| it.value());
        self.object_counts()?.insert(key.kind, count + 1)?;
        let after = document(&new.writing.id_prefix, key, &head, &new.fields);
        let change =
            self.tell(&new.writing, Verb::Created, key, head.version, None, Some(after.into()))?;
        let object = StoredObject { key, head, fields: new.fields.clone() };
        Ok(ObjectWrite::Done(Box::new(WrittenObject { object, change })))
    }

    /// Changes an object.
    pub fn update_object(&mut self, update: &ObjectUpdate) -> Result<ObjectWrite, StoreError> {
        if self.types_revision()? != update.writing.revision {
            return Ok(ObjectWrite::Stale);
        }
        let key = update.key;
        let prefix = &update.writing.id_prefix;
        let (before, old) = match self.at_version(key, update.version, prefix)? {
            Ok(found) => found,
            Err(other) => return Ok(other),
        };
        if let Some(missing) = self.missing_target(&update.references, Some(key))? {
            return Ok(ObjectWrite::NoSuchTarget(missing));
        }
        let head = ObjectHead {
            version: before.version + 1,
            modified_ms: self.now_ms(),
            modified_by: update.writing.actor.clone(),
            ..before.clone()
        };
        let row = encode_with_tail(&head, &update.fields)?;
        self.objects()?.insert((key.kind, key.id), row.as_slice())?;
        self.index_standard(key, Some(&before), Some(&head))?;
        self.index_own(key, &update.gone, &update.new)?;
        let after = document(prefix, key, &head, &update.fields);
        let change = self.tell(
            &update.writing,
            Verb::Updated,
            key,
            head.version,
            Some(old.into()),
            Some(after.into()),
        )?;
        let object = StoredObject { key, head, fields: update.fields.clone() };
        Ok(ObjectWrite::Done(Box::new(WrittenObject { object, change })))
    }

    /// Deletes an object that no other refers to.
    pub fn delete_object(&mut self, deletion: &Deletion) -> Result<ObjectWrite, StoreError> {
        if self.types_revision()? != deletion.writing.revision {
            return Ok(ObjectWrite::Stale);
        }
        let key = deletion.key;
        let prefix = &deletion.writing.id_prefix;
        let (head, old) = match self.at_version(key, deletion.version, prefix)? {
            Ok(found) => found,
            Err(other) => return Ok(other),
        };
        let (by, more) = self.referrers_of(key, prefix, &deletion.referrers)?;
        if !by.is_empty() {
            return Ok(ObjectWrite::ReferredTo { by, more });
        }
        let fields = {
            let removed = self.objects()?.remove((key.kind, key.id))?;
            let removed = removed.ok_or_else(|| StoreError::corrupt("an object that vanished"))?;
            Bytes::copy_from_slice(decode_with_tail::<ObjectHead>(removed.value())?.1)
        };
        self.index_standard(key, Some(&head), None)?;
        self.index_own(key, &deletion.index, &[])?;
        // They belong to nothing from here on, and go in time.
        self.detach_artifacts_of(&text_of(prefix, key.id))?;
        let count = self.object_counts()?.get(key.kind)?.map_or(0, |it| it.value());
        self.object_counts()?.insert(key.kind, count.saturating_sub(1))?;
        let change =
            self.tell(&deletion.writing, Verb::Deleted, key, head.version, Some(old.into()), None)?;
        let object = StoredObject { key, head, fields };
        Ok(ObjectWrite::Done(Box::new(WrittenObject { object, change })))
    }

    /// Adds rows of the index for objects that are still as they were, all or none.
    pub fn index_objects(
        &mut self,
        revision: u64,
        objects: &[Indexing],
    ) -> Result<Indexed, StoreError> {
        if self.types_revision()? != revision {
            return Ok(Indexed::Stale);
        }
        let mut same = Vec::new();
        for it in objects {
            // What was written since brought its rows with it.
            let is_same = match self.objects()?.get((it.key.kind, it.key.id))? {
                Some(row) => decode_with_tail::<ObjectHead>(row.value())?.0.version == it.version,
                None => false,
            };
            if is_same {
                if self.missing_target(&it.references, Some(it.key))?.is_some() {
                    return Ok(Indexed::NoSuchTarget);
                }
                same.push(it);
            }
        }
        for it in same {
            self.index_own(it.key, &[], &it.index)?;
        }
        Ok(Indexed::Done)
    }

    /// The object before a change, and as a document, if it is at the version that was looked at.
    fn at_version(
        &mut self,
        key: ObjectKey,
        version: u64,
        prefix: &str,
    ) -> Result<Result<(ObjectHead, Vec<u8>), ObjectWrite>, StoreError> {
        let Some(row) = self.objects()?.get((key.kind, key.id))? else {
            return Ok(Err(ObjectWrite::NoSuchObject));
        };
        let (head, fields) = decode_with_tail::<ObjectHead>(row.value())?;
        if head.version != version {
            return Ok(Err(ObjectWrite::Changed { version: head.version }));
        }
        let old = document(prefix, key, &head, fields);
        Ok(Ok((head, old)))
    }

    fn missing_target(
        &mut self,
        references: &[ObjectKey],
        own: Option<ObjectKey>,
    ) -> Result<Option<ObjectKey>, StoreError> {
        for target in references {
            if Some(*target) != own && self.objects()?.get((target.kind, target.id))?.is_none() {
                return Ok(Some(*target));
            }
        }
        Ok(None)
    }

    fn referrers_of(
        &mut self,
        key: ObjectKey,
        prefix: &str,
        fields: &[(TypeNumber, FieldNumber)],
    ) -> Result<(Vec<ObjectKey>, bool), StoreError> {
        let value = index::text(&text_of(prefix, key.id));
        let mut by = Vec::new();
        for (kind, field) in fields {
            let start = [index::field_start(*kind, *field), value.clone()].concat();
            let end = index::after(start.clone());
            for row in self.object_index()?.range(start.as_slice()..end.as_slice())? {
                let row = row?.0;
                let Some((_, id)) = index::parts(row.value()) else {
                    return Err(StoreError::corrupt("a row of the index that is too short"));
                };
                let referrer = ObjectKey { kind: *kind, id };
                // What refers to itself goes with itself.
                if referrer == key || by.contains(&referrer) {
                    continue;
                }
                if by.len() == MOST_REFERRERS {
                    return Ok((by, true));
                }
                by.push(referrer);
            }
        }
        Ok((by, false))
    }

    /// Rows of the fields that all objects have.
    pub(super) fn index_standard(
        &mut self,
        key: ObjectKey,
        before: Option<&ObjectHead>,
        after: Option<&ObjectHead>,
    ) -> Result<(), StoreError> {
        let before = before.map(standard_entries).unwrap_or_default();
        let after = after.map(standard_entries).unwrap_or_default();
        let (gone, new) = index::difference(before, after);
        self.index_own(key, &gone, &new)
    }

    pub(super) fn index_own(
        &mut self,
        key: ObjectKey,
        gone: &[Entry],
        new: &[Entry],
    ) -> Result<(), StoreError> {
        let table = self.object_index()?;
        for entry in gone {
            table.remove(index::row(key, entry.field, &entry.value).as_slice())?;
        }
        for entry in new {
            table.insert(index::row(key, entry.field, &entry.value).as_slice(), ())?;
        }
        Ok(())
    }

    pub(super) fn tell(
        &mut self,
        writing: &Writing,
        verb: Verb,
        key: ObjectKey,
        version: u64,
        old: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Result<ChangeId, StoreError> {
        self.record_change(&NewChange {
            object_type: writing.object_type.clone(),
            verb,
            object: text_of(&writing.id_prefix, key.id),
            version,
            old,
            new,
            actor: writing.actor.clone(),
            cause: writing.cause,
        })
    }
}

fn standard_entries(head: &ObjectHead) -> Vec<Entry> {
    let mut entries = vec![
        Entry { field: index::MODIFIED, value: index::time(head.modified_ms) },
        Entry { field: index::CREATED_BY, value: index::text(&head.created_by) },
        Entry { field: index::MODIFIED_BY, value: index::text(&head.modified_by) },
    ];
    if let Some(display_id) = &head.display_id {
        entries.push(Entry { field: index::DISPLAY_ID, value: index::text(display_id) });
    }
    entries
}
