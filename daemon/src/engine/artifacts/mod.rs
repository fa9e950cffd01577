//! Artifacts: files that are kept, from wherever their bytes come.
//!
//! Owns the way of bytes into the store ([`upload`]) and out of it, in chunks, and the limits on them;
//! [`senders`] says whose turn it is to bring them.
//! What may come from whom is the API's affair.
//!
//! Invariant: never is a whole artifact in memory: an upload holds what one transaction stores, about a
//! megabyte, a download one chunk. A transaction has no more than that of all uploads together, so that
//! they delay events by little.

mod error;
mod senders;
mod sweep;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use senders::Senders;
use tokio::sync::{Notify, Semaphore};

pub use error::ArtifactError;
pub use upload::{Start, Uploading, check_total};

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
    senders: Senders,
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
            senders: Senders::new(MOST_UPLOADS),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::artifact::CHUNK_BYTES;
    use crate::store::testing;

    const NOW: u64 = 1_800_000_000_000;
    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn artifacts(store: Store) -> Artifacts {
        let settings =
            ArtifactSettings { bytes: 1 << 30, total_bytes: 1 << 30, keep_loose_days: 3 };
        Artifacts::new(Arc::new(store), settings)
    }

    fn named(name: &str) -> NewArtifact {
        NewArtifact {
            file_name: name.to_owned(),
            file_type: "text/plain".to_owned(),
            size: None,
            sha256: None,
            snap_in: None,
            parent: None,
            created_by: "me".to_owned(),
        }
    }

    async fn bring(artifacts: &Artifacts, pieces: &[&[u8]]) -> ArtifactId {
        let id = artifacts.prepare(named("a")).await.expect("prepared");
        let mut uploading = artifacts.upload(id, Start::Anew, None).await.expect("begun");
        for piece in pieces {
            uploading.push(piece).await.expect("taken");
        }
        uploading.complete().await.expect("complete").0
    }

    #[tokio::test]
    async fn equal_files_share_chunks_however_they_came() {
        let artifacts = artifacts(testing::in_memory(NOW));
        let bytes: Vec<u8> = (0..6 * CHUNK_BYTES + 5).map(|it| it.to_le_bytes()[0]).collect();
        bring(&artifacts, &[&bytes]).await;
        let stored = || artifacts.0.store.read(|it| it.artifact_bytes()).expect("read");
        let before = stored();
        let id = artifacts.prepare(named("b")).await.expect("prepared");
        let mut at = 0;
        for end in [1, 700_000, 700_001, 1_400_000, bytes.len()] {
            let start = Start::After(u64::try_from(at).expect("small"));
            let mut uploading = artifacts.upload(id, start, None).await.expect("goes on");
            uploading.push(&bytes[at..end]).await.expect("taken");
            assert_eq!(uploading.keep().await.expect("stored"), end as u64);
            at = end;
        }
        let uploading = artifacts.upload(id, Start::After(at as u64), None).await.expect("goes on");
        let (_, record) = uploading.complete().await.expect("complete");
        let whole = bring(&artifacts, &[&bytes]).await;
        let whole = artifacts.find(whole).expect("read").expect("there");
        assert_eq!(record.state, whole.state);
        artifacts.sweep().await.expect("swept");
        assert_eq!(stored(), before);
    }

    #[tokio::test]
    async fn a_disk_that_is_nearly_full_takes_nothing() {
        let artifacts = artifacts(testing::nearly_full());
        let refused = artifacts.prepare(named("a")).await;
        assert!(matches!(refused, Err(ArtifactError::NoRoom)), "{refused:?}");
        let refused = artifacts.upload(ArtifactId(1), Start::Anew, None).await;
        assert!(matches!(refused.err(), Some(ArtifactError::NoRoom)));
    }

    #[tokio::test]
    async fn what_nobody_wants_goes_in_time() {
        let artifacts = artifacts(testing::in_memory(NOW));
        let unfinished = artifacts.prepare(named("a")).await.expect("prepared");
        let loose = bring(&artifacts, &[b"loose"]).await;
        let kept = async |now_ms| {
            artifacts.prune(now_ms).await.expect("pruned");
            artifacts.sweep().await.expect("swept");
            [unfinished, loose].map(|id| artifacts.find(id).expect("read").is_some())
        };
        assert_eq!(kept(NOW + DAY).await, [true, true]);
        assert_eq!(kept(NOW + DAY + 1).await, [false, true]);
        assert_eq!(kept(NOW + 3 * DAY).await, [false, true]);
        assert_eq!(kept(NOW + 3 * DAY + 1).await, [false, false]);
        assert_eq!(artifacts.0.store.read(|it| it.artifact_bytes()).expect("read"), 0);
    }
}
