//! What artifacts belong to, and who may see them for that. Of an object they are known by its id,
//! whatever it was called by: who may read objects of its type may read its artifacts, and who may write
//! them may attach some. Ids of anything else are texts that nobody looks up.

use std::sync::Arc;

use super::Api;
use super::error::ApiError;
use super::object_rights::{Granted, Wish, granted};
use super::rights::{Caller, Reach};
use crate::engine::objects::Catalog;
use crate::model::artifact::is_parent;
use crate::store::ArtifactRecord;

/// The id that is stored of what somebody names, when he may do that with it.
pub(super) fn parent_id(
    api: &Api,
    caller: &Caller,
    text: &str,
    wish: Wish,
) -> Result<String, ApiError> {
    if !is_parent(text) {
        let message = "parent_id is no id: expected 1 to 200 visible ASCII characters";
        return Err(ApiError::field("parent_id", message));
    }
    let catalog = api.objects.catalog();
    let found = api.services.store.read(|tables| {
        if let Some((_, key)) = catalog.key_of(text) {
            return Ok(Some((key, tables.object(key)?.is_some())));
        }
        for kind in catalog.types() {
            if let Some(key) = tables.object_by_display_id(kind.number, text)? {
                return Ok(Some((key, true)));
            }
        }
        Ok(None)
    })?;
    let Some((key, is_there)) = found else { return Ok(text.to_owned()) };
    if let Some(kind) = catalog.by_number(key.kind) {
        granted(api, caller)?.check(kind, wish)?;
    }
    if !is_there {
        return Err(ApiError::field("parent_id", format!("there is no object `{text}`")));
    }
    Ok(catalog.id_text(key))
}

/// Which artifacts a caller sees: owners all of them, a snap-in those that it brought, and those of
/// objects that it may read.
pub(super) struct Seen<'a> {
    caller: &'a Caller,
    catalog: Arc<Catalog>,
    granted: Granted,
}

impl Seen<'_> {
    pub(super) fn by<'a>(api: &Api, caller: &'a Caller) -> Result<Seen<'a>, ApiError> {
        Ok(Seen { caller, catalog: api.objects.catalog(), granted: granted(api, caller)? })
    }

    pub(super) fn has(&self, record: &ArtifactRecord) -> bool {
        let of_object = || {
            let parent = record.parent.as_deref()?;
            let (kind, _) = self.catalog.key_of(parent)?;
            Some(self.granted.check(kind, Wish::Read).is_ok())
        };
        is_own(self.caller, record) || of_object().unwrap_or_default()
    }
}

/// Whether a caller may change an artifact: owners any, a snap-in those that it brought.
pub(super) fn is_own(caller: &Caller, record: &ArtifactRecord) -> bool {
    match &caller.reach {
        Reach::All => true,
        Reach::SnapIn(own) => record.snap_in == Some(*own),
        Reach::Under(_) | Reach::Integrations(_) => false,
    }
}
