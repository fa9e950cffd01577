//! Views by id and by name. Must not know what a view means, nor whether its type is there: one
//! outlives its type, and says so when it is run.

use redb::ReadableTable;

use super::record::{Record, decode};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::id::ViewId;
use crate::model::view::StoredView;

/// How many views a host may have.
pub const MOST_VIEWS: u64 = 10_000;

/// How writing a view went.
#[derive(Clone, Debug, PartialEq)]
pub enum ViewChange {
    /// It is written.
    Done(ViewId),
    /// Another one has the name.
    NameTaken(ViewId),
    /// There is no such view.
    NoSuchView,
    /// It was changed since it was looked at.
    Changed,
    /// There are [`MOST_VIEWS`].
    TooMany,
}

impl Record for StoredView {
    const NAME: &'static str = "view";
}

impl WriteTables<'_> {
    /// Adds a view.
    pub fn create_view(&mut self, new: &StoredView) -> Result<ViewChange, StoreError> {
        let other = self.view_names()?.get(new.view.name.as_str())?.map(|it| ViewId(it.value()));
        if let Some(other) = other {
            return self.made_nothing(ViewChange::NameTaken(other));
        }
        if redb::ReadableTableMetadata::len(self.views()?)? >= MOST_VIEWS {
            return self.made_nothing(ViewChange::TooMany);
        }
        let id = self.new_id();
        put(self.views()?, id, new)?;
        self.view_names()?.insert(new.view.name.as_str(), id)?;
        Ok(ViewChange::Done(ViewId(id)))
    }

    /// Puts another one in the place of the view that was looked at.
    pub fn replace_view(
        &mut self,
        id: ViewId,
        seen: &StoredView,
        new: &StoredView,
    ) -> Result<ViewChange, StoreError> {
        let Some(present) = get::<StoredView>(self.views()?, id.0)? else {
            return Ok(ViewChange::NoSuchView);
        };
        // Tried again after it was done already, it is what it is to become.
        if present != *seen && present != *new {
            return Ok(ViewChange::Changed);
        }
        if present.view.name != new.view.name {
            let other = self.view_names()?.get(new.view.name.as_str())?.map(|it| it.value());
            if let Some(other) = other {
                return Ok(ViewChange::NameTaken(ViewId(other)));
            }
            self.view_names()?.remove(present.view.name.as_str())?;
            self.view_names()?.insert(new.view.name.as_str(), id.0)?;
        }
        put(self.views()?, id.0, new)?;
        Ok(ViewChange::Done(id))
    }

    /// Deletes a view; answers whether it was there.
    pub fn delete_view(&mut self, id: ViewId) -> Result<bool, StoreError> {
        let Some(present) = get::<StoredView>(self.views()?, id.0)? else { return Ok(false) };
        self.views()?.remove(id.0)?;
        self.view_names()?.remove(present.view.name.as_str())?;
        Ok(true)
    }
}

impl ReadTables {
    /// A view.
    pub fn view(&self, id: ViewId) -> Result<Option<StoredView>, StoreError> {
        get(&self.table(schema::VIEWS)?, id.0)
    }

    /// The view of a name.
    pub fn view_by_name(&self, name: &str) -> Result<Option<ViewId>, StoreError> {
        Ok(self.table(schema::VIEW_NAMES)?.get(name)?.map(|it| ViewId(it.value())))
    }

    /// Views, oldest first, or those of one type.
    pub fn list_views(
        &self,
        page: PageRequest,
        object_type: Option<&str>,
    ) -> Result<Page<(ViewId, StoredView)>, StoreError> {
        page.read(&self.table(schema::VIEWS)?, |id, value| {
            let stored: StoredView = decode(value)?;
            let is_wanted = object_type.is_none_or(|it| it == stored.view.object_type);
            Ok(is_wanted.then_some((ViewId(id), stored)))
        })
    }
}
