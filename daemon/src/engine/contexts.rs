//! What the runs of a snap-in need beside their event: manifest, ids, code. Read from the store on
//! first use and kept, because a version never changes; a snap-in's part is dropped when it changes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::configuration::inputs;
use crate::model::id::{KeyringId, SnapInId, SourceId, VersionId};
use crate::model::manifest::{ChosenRuntime, Level, Manifest, Runtime};
use crate::store::{BlobHash, ReadTables, SnapInRecord, Store, StoreError};

/// A version, as far as running its functions goes.
#[derive(Debug)]
pub struct VersionContext {
    /// The manifest.
    pub manifest: Manifest,
    /// Where its prepared code is.
    pub code: Option<BlobHash>,
    /// Where all its files are, when a function needs them on the disk.
    pub files: Option<BlobHash>,
    /// Where events are posted for functions with the runtime `remote`.
    pub testing_url: Option<String>,
    /// What runs each function, and why.
    pub runtimes: BTreeMap<String, ChosenRuntime>,
}

impl VersionContext {
    /// What runs a function.
    pub fn runtime(&self, function: &str) -> Runtime {
        self.runtimes.get(function).map_or(Runtime::Quickjs, |it| it.runtime)
    }

    /// The file that is started for a function, for the runtimes that have one.
    pub fn entry(&self, function: &str) -> Option<&str> {
        self.runtimes.get(function)?.entry.as_deref()
    }
}

/// A snap-in, as far as running its functions goes.
#[derive(Debug)]
pub struct SnapInContext {
    /// The snap-in.
    pub record: SnapInRecord,
    /// Names and ids of its organization sources.
    pub sources: Vec<(String, SourceId)>,
    /// Values of organization inputs in effect, for the version that it is of.
    inputs: Map<String, Value>,
}

impl SnapInContext {
    /// A snap-in as `record` says, which need not be stored: hooks are asked about a configuration
    /// before it is in effect.
    pub fn of(
        record: SnapInRecord,
        manifest: &Manifest,
        tables: &ReadTables,
    ) -> Result<SnapInContext, StoreError> {
        let mut sources = Vec::with_capacity(record.sources.len());
        for source in &record.sources {
            if let Some(it) = tables.source(*source)?
                && it.user.is_none()
            {
                sources.push((it.name, *source));
            }
        }
        let inputs = inputs::in_effect(manifest, Level::Organization, &record.inputs);
        Ok(SnapInContext { record, sources, inputs })
    }

    /// Organization keyrings that a version declares and that are set, by name: those that a
    /// function called as `operation` gets, or one called in another way. What only operations
    /// declare is for them alone: nothing else of the snap-in said that it needs the secret.
    pub fn keyrings(
        &self,
        manifest: &Manifest,
        operation: Option<&str>,
    ) -> BTreeMap<String, KeyringId> {
        let declared = manifest.keyrings.iter().filter(|it| it.level == Level::Organization);
        let is_for = |operations: &[String]| {
            operations.is_empty()
                || operation.is_some_and(|slug| operations.iter().any(|it| it == slug))
        };
        declared
            .filter(|it| is_for(&it.operations))
            .filter_map(|it| Some((it.name.clone(), *self.record.keyrings.get(&it.name)?)))
            .collect()
    }

    /// `global_values` for a function of `version`, which may be one that the snap-in was of when
    /// the run was queued.
    pub fn inputs(&self, version: VersionId, manifest: &Manifest) -> Cow<'_, Map<String, Value>> {
        if version == self.record.version {
            return Cow::Borrowed(&self.inputs);
        }
        Cow::Owned(inputs::in_effect(manifest, Level::Organization, &self.record.inputs))
    }
}

/// The contexts that have been needed.
pub struct Contexts {
    store: Arc<Store>,
    versions: Mutex<HashMap<VersionId, Arc<VersionContext>>>,
    snap_ins: Mutex<Known>,
}

/// The snap-ins that have been needed since they last changed.
#[derive(Default)]
struct Known {
    by_id: HashMap<SnapInId, Arc<SnapInContext>>,
    /// Counts the changes, so that what was read before one is not kept after it.
    changes: u64,
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
        let files = record.files.as_deref().map(BlobHash::parse).transpose()?;
        let context = Arc::new(VersionContext {
            manifest: record.manifest,
            code,
            files,
            testing_url: record.testing_url,
            runtimes: record.runtimes,
        });
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= MOST_VERSIONS {
            versions.clear();
        }
        versions.insert(id, context.clone());
        Ok(Some(context))
    }

    /// A snap-in; nothing when there never was one.
    pub fn snap_in(&self, id: SnapInId) -> Result<Option<Arc<SnapInContext>>, StoreError> {
        let changes = {
            let known = self.snap_ins.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.by_id.get(&id) {
                return Ok(Some(known.clone()));
            }
            known.changes
        };
        let Some(record) = self.store.read(|tables| tables.snap_in(id))? else { return Ok(None) };
        let version = self.version(record.version)?;
        let nothing = Manifest::default();
        let manifest = version.as_ref().map_or(&nothing, |it| &it.manifest);
        let context = self.store.read(|tables| SnapInContext::of(record, manifest, tables))?;
        let context = Arc::new(context);
        let mut known = self.snap_ins.lock().unwrap_or_else(PoisonError::into_inner);
        if known.changes == changes {
            known.by_id.insert(id, context.clone());
        }
        Ok(Some(context))
    }

    /// A snap-in has changed, or is gone.
    pub fn forget(&self, id: SnapInId) {
        let mut known = self.snap_ins.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_id.remove(&id);
        known.changes += 1;
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
