//! Artifacts: files that are kept, from wherever their bytes come.
//!
//! Owns the way of bytes into the store ([`upload`]) and out of it, in chunks, and the limits on them.
//! What may come from whom is the API's affair.
//!
//! Invariant: never is a whole artifact in memory: an upload holds what one transaction stores, about a
//! megabyte, a download one chunk. A transaction has no more than that of all uploads together, so that
//! they delay events by little.

mod error;
mod sweep;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

pub use error::ArtifactError;
pub use upload::{Start, Uploading};

use crate::config::ArtifactSettings;
use crate::model::id::{ArtifactId, ContentId};
use crate::store::{ArtifactRecord, NewArtifact, Store, StoreError};

/// Uploads at the same time; each may hold about two megabytes.
const MOST_UPLOADS: usize = 32;
/// Bytes that one transaction takes, in chunks.
const CHUNKS_AT_ONCE: usize = 4;
/// How long an upload may wait for its turn.
const TURN: Duration = Duration::from_secs(5);

/// All artifacts. Clones are handles to the same.
#[derive(Clone)]
pub struct Artifacts(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    settings: ArtifactSettings,
    uploads: Arc<Semaphore>,
    /// Held while chunks are on their way to the disk.
    writing: Semaphore,
    /// Something is left over that can be removed.
    leftovers: Notify,
}

impl Artifacts {
    /// In this store, within these limits.
    pub fn new(store: Arc<Store>, settings: ArtifactSettings) -> Artifacts {
        Artifacts(Arc::new(Shared {
            store,
            settings,
            uploads: Arc::new(Semaphore::new(MOST_UPLOADS)),
            writing: Semaphore::new(1),
            leftovers: Notify::new(),
        }))
    }

    /// Prepares an artifact, whose bytes are to come.
    pub async fn prepare(&self, new: NewArtifact) -> Result<ArtifactId, ArtifactError> {
        self.check_room()?;
        if let Some(size) = new.size {
            self.check_size(size)?;
        }
        Ok(self.0.store.write(move |tables| tables.create_artifact(&new)).await?)
    }

    /// What is known of an artifact.
    pub fn find(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>, StoreError> {
        self.0.store.read(|tables| tables.artifact(id))
    }

    /// A chunk of an artifact's content; nothing when the artifact was deleted. Blocks for as long as
    /// the disk takes.
    pub fn chunk(&self, content: ContentId, index: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.store.read(|tables| tables.chunk(content, index))
    }

    /// Deletes an artifact; says whether there was one.
    pub async fn delete(&self, id: ArtifactId) -> Result<bool, StoreError> {
        let deleted = self.0.store.write(move |tables| tables.delete_artifact(id)).await?;
        self.0.leftovers.notify_one();
        Ok(deleted)
    }

    /// The most bytes that an artifact may have.
    pub fn most_bytes(&self) -> u64 {
        self.0.settings.bytes
    }

    fn check_size(&self, size: u64) -> Result<(), ArtifactError> {
        let limit = self.0.settings.bytes;
        if size > limit { Err(ArtifactError::TooLarge { limit }) } else { Ok(()) }
    }

    fn check_room(&self) -> Result<(), ArtifactError> {
        if self.0.store.has_room() { Ok(()) } else { Err(ArtifactError::NoRoom) }
    }
}
