//! Tags: names that things are marked with, one set for the whole host. A manifest's tags are found
//! or made at installation, and outlive the snap-in: others may have marked things with them.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::records::TagRecord;
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, record::decode, schema};
use crate::model::id::TagId;
use crate::model::manifest::Tag;
use crate::model::object::TypeNumber;

impl WriteTables<'_> {
    /// The tag of a name, made if there is none. A description is taken over only where there is
    /// none yet.
    pub fn tag_by_name_or_new(
        &mut self,
        name: &str,
        description: Option<&str>,
    ) -> Result<TagId, StoreError> {
        let known = self.tag_names()?.get(name)?.map(|it| TagId(it.value()));
        let record = match known {
            Some(id) => get::<TagRecord>(self.tags()?, id.0)?.map(|it| (id, it)),
            None => None,
        };
        let description = description.map(str::to_owned);
        let (id, record) = match record {
            Some((id, known)) if known.description.is_some() || description.is_none() => {
                return Ok(id);
            }
            Some((id, known)) => (id, TagRecord { description, ..known }),
            None => {
                let created_ms = self.now_ms();
                let id = TagId(self.new_id());
                self.tag_names()?.insert(name, id.0)?;
                (id, TagRecord { name: name.to_owned(), description, created_ms })
            }
        };
        put(self.tags()?, id.0, &record)?;
        Ok(id)
    }

    /// The tags of a manifest by name, each found or made.
    pub(super) fn tags_of(&mut self, tags: &[Tag]) -> Result<BTreeMap<String, TagId>, StoreError> {
        let mut found = BTreeMap::new();
        for tag in tags {
            let id = self.tag_by_name_or_new(&tag.name, tag.description.as_deref())?;
            found.insert(tag.name.clone(), id);
        }
        Ok(found)
    }
}

impl ReadTables {
    /// A tag.
    pub fn tag(&self, id: TagId) -> Result<Option<TagRecord>, StoreError> {
        get(&self.table(schema::TAGS)?, id.0)
    }

    /// The tag of a name.
    pub fn tag_by_name(&self, name: &str) -> Result<Option<TagId>, StoreError> {
        Ok(self.table(schema::TAG_NAMES)?.get(name)?.map(|it| TagId(it.value())))
    }

    /// Tags that are no objects of a type.
    pub fn tags_without_object(
        &self,
        kind: TypeNumber,
    ) -> Result<Vec<(TagId, TagRecord)>, StoreError> {
        let objects = self.table(schema::OBJECTS)?;
        let mut found = Vec::new();
        for row in self.table(schema::TAGS)?.iter()? {
            let (id, value) = row?;
            if objects.get((kind, id.value()))?.is_none() {
                found.push((TagId(id.value()), decode(value.value())?));
            }
        }
        Ok(found)
    }

    /// Tags that `wanted` picks, oldest first.
    pub fn list_tags(
        &self,
        page: PageRequest,
        wanted: impl Fn(TagId) -> bool,
    ) -> Result<Page<(TagId, TagRecord)>, StoreError> {
        page.read(&self.table(schema::TAGS)?, |id, value| {
            if !wanted(TagId(id)) {
                return Ok(None);
            }
            Ok(Some((TagId(id), decode(value)?)))
        })
    }
}
