//! For tests of what lies above tables: a database in memory, and something installed in it.

use redb::backends::InMemoryBackend;

pub use super::database::BackendLocation;
pub(crate) use super::faults::FaultyDisk;
use super::{
    Creation, IntegrationRecord, Location, NewSnapIn, NewVersion, Options, PackageRecord, Store,
    StoreError, VersionCreation,
};
use crate::clock::Clock;
use crate::model::id::SnapInId;
use crate::model::manifest::Manifest;
use crate::model::scope::Scope;

/// A store on `location` whose clock stands at `now_ms`.
pub fn open(location: Box<dyn Location>, now_ms: u64) -> Store {
    let options = Options { cache_bytes: 1 << 20 };
    Store::open(location, options, 0, Clock::manual(now_ms)).expect("opens")
}

/// A store in memory whose clock stands at `now_ms`.
pub fn in_memory(now_ms: u64) -> Store {
    open(Box::new(BackendLocation(InMemoryBackend::new)), now_ms)
}

/// A database in memory, on a disk that has less room than is kept free.
struct NearlyFull;

impl Location for NearlyFull {
    fn open(&self, options: &Options) -> Result<redb::Database, StoreError> {
        BackendLocation(InMemoryBackend::new).open(options)
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(1)
    }
}

/// A store whose disk is nearly full.
pub fn nearly_full() -> Store {
    let options = Options { cache_bytes: 1 << 20 };
    Store::open(Box::new(NearlyFull), options, 2, Clock::manual(0)).expect("opens")
}

/// Installs a manifest, in DRAFT, with so many sources of type `kind` and automations.
pub async fn install(
    store: &Store,
    manifest: Manifest,
    kind: &str,
    sources: usize,
    automations: usize,
) -> SnapInId {
    let kind = kind.to_owned();
    let installed = store.write(move |tables| {
        let package = tables.create_package(&PackageRecord {
            slug: "p".to_owned(),
            description: String::new(),
            created_ms: tables.now_ms(),
            created_by: "test".to_owned(),
        })?;
        let package = package.expect("the first of its name");
        let VersionCreation::Created(version) = tables.create_version(&NewVersion {
            package,
            content_hash: "00".to_owned(),
            manifest_text: String::new(),
            manifest: manifest.clone(),
            code: None,
            files: None,
            testing_url: None,
            runtimes: std::collections::BTreeMap::new(),
            warnings: Vec::new(),
            created_by: "test".to_owned(),
        })?
        else {
            panic!("the first of its content")
        };
        let Creation::Created(snap_in) = tables.create_snap_in(&NewSnapIn {
            tags: manifest.tags.clone(),
            inputs: serde_json::Map::new(),
            version,
            package,
            scope: Scope::default_for("p").expect("valid"),
            sources: vec![("s".to_owned(), kind.clone(), "secret".to_owned()); sources],
            automations,
            created_by: "test".to_owned(),
        })?
        else {
            panic!("the first at its scope")
        };
        Ok(snap_in)
    });
    installed.await.expect("written")
}

/// An integration of a type that no plugin has.
pub fn integration(name: &str) -> IntegrationRecord {
    IntegrationRecord {
        name: name.to_owned(),
        kind: "test".to_owned(),
        enabled: true,
        supplied_to_all: true,
        concurrency: 1,
        per_second: None,
        generation: 1,
        created_ms: 0,
        created_by: "test".to_owned(),
        modified_ms: 0,
        modified_by: "test".to_owned(),
    }
}
