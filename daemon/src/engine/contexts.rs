//! What the runs of a snap-in need beside their event: manifest, ids, code. Read from the store on
//! first use and kept, because a version never changes; a snap-in's part is dropped when it changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::id::{SnapInId, SourceId, VersionId};
use crate::model::manifest::Manifest;
use crate::store::{BlobHash, SnapInRecord, Store, StoreError};

/// A version, as far as running its functions goes.
#[derive(Debug)]
pub struct VersionContext {
    /// The manifest.
    pub manifest: Manifest,
    /// Where its code is.
    pub code: Option<BlobHash>,
}

/// A snap-in, as far as running its functions goes.
#[derive(Debug)]
pub struct SnapInContext {
    /// The snap-in.
    pub record: SnapInRecord,
    /// Names and ids of its sources.
    pub sources: Vec<(String, SourceId)>,
}

/// The contexts that have been needed.
pub struct Contexts {
    store: Arc<Store>,
    versions: Mutex<HashMap<VersionId, Arc<VersionContext>>>,
    snap_ins: Mutex<HashMap<SnapInId, Arc<SnapInContext>>>,
}

/// How many versions are kept; the rest is read again.
const MOST_VERSIONS: usize = 4096;

impl Contexts {
    /// None yet.
    pub fn new(store: Arc<Store>) -> Contexts {
        Contexts { store, versions: Mutex::default(), snap_ins: Mutex::default() }
    }

    /// A version; nothing when there is none (any more).
    pub fn version(&self, id: VersionId) -> Result<Option<Arc<VersionContext>>, StoreError> {
        let known = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(record) = self.store.read(|tables| tables.version(id))? else { return Ok(None) };
        let code = record.code.as_deref().map(BlobHash::parse).transpose()?;
        let context = Arc::new(VersionContext { manifest: record.manifest, code });
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= MOST_VERSIONS {
            versions.clear();
        }
        versions.insert(id, context.clone());
        Ok(Some(context))
    }

    /// A snap-in; nothing when there never was one.
    pub fn snap_in(&self, id: SnapInId) -> Result<Option<Arc<SnapInContext>>, StoreError> {
        let known = self.snap_ins.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let context = self.store.read(|tables| {
            let Some(record) = tables.snap_in(id)? else { return Ok(None) };
            let mut sources = Vec::with_capacity(record.sources.len());
            for source in &record.sources {
                if let Some(it) = tables.source(*source)? {
                    sources.push((it.name, *source));
                }
            }
            Ok(Some(Arc::new(SnapInContext { record, sources })))
        })?;
        if let Some(context) = &context {
            let mut snap_ins = self.snap_ins.lock().unwrap_or_else(PoisonError::into_inner);
            snap_ins.insert(id, context.clone());
        }
        Ok(context)
    }

    /// A snap-in has changed, or is gone.
    pub fn forget(&self, id: SnapInId) {
        self.snap_ins.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// A version is gone.
    pub fn forget_version(&self, id: VersionId) {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// The prepared code of a version.
    pub fn code(&self, hash: BlobHash) -> Result<Vec<u8>, StoreError> {
        self.store
            .read(|tables| tables.blob(hash))?
            .ok_or_else(|| StoreError::Corrupt(format!("the code blob {hash} is missing")))
    }
}
