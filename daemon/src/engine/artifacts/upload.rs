//! An upload: bytes as they come, cut into chunks, hashed and stored a few at a time.
//!
//! What is not whole is lost when the daemon is killed, up to a megabyte; what was stored says where it
//! goes on. The hash of all is taken of what is in the store, once it is all there: so it says what will
//! be read, however many goes and restarts it took.

use sha2::{Digest, Sha256};

use super::senders::Sender;
use super::{ArtifactError, Artifacts, CHUNKS_AT_ONCE, TURN};
use crate::model::artifact::{ArtifactState, CHUNK_BYTES, Cutter, NewChunk, place_of};
use crate::model::id::ArtifactId;
use crate::store::{ArtifactRecord, Completion, Extension, NewPart, StoreError, Upload};

/// Where an upload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first byte; what is there is forgotten.
    Anew,
    /// After so many bytes, which are there.
    After(u64),
}

/// Bytes on their way into an artifact.
pub struct Uploading {
    artifacts: Artifacts,
    record: ArtifactRecord,
    /// What is on the disk.
    stored: Upload,
    cutter: Cutter,
    whole: Vec<NewChunk>,
    /// One of a few.
    sender: Sender,
}

impl Artifacts {
    /// Begins an upload, or goes on with one; whoever sends the artifact now is ended. `total` is how
    /// many bytes it is said to get altogether.
    pub async fn upload(
        &self,
        id: ArtifactId,
        start: Start,
        total: Option<u64>,
    ) -> Result<Uploading, ArtifactError> {
        let sender = self.0.senders.take_over(id, TURN).await?;
        self.check_room()?;
        let record = self.find(id)?.ok_or(ArtifactError::Gone)?;
        let ArtifactState::Uploading { received } = record.state else {
            return Err(ArtifactError::Complete);
        };
        let mut stored = match start {
            Start::After(at) if at != received => return Err(ArtifactError::Moved { received }),
            Start::After(0) | Start::Anew => {
                let restart = self.0.store.write(move |tables| tables.restart_artifact(id));
                let stored = restart.await?.ok_or(ArtifactError::Gone)?;
                self.0.leftovers.notify_one();
                stored
            }
            Start::After(received) => {
                check_total(&record, total)?;
                let content = record.content;
                Upload { artifact: id, content, received, total: record.said_total }
            }
        };
        stored.total = total.or(stored.total);
        let (index, kept) = place_of(stored.received);
        let tail = match kept {
            0 => Vec::new(),
            // It grows to a whole one.
            _ => {
                let mut tail = self.chunk(stored.content, index)?.ok_or(ArtifactError::Gone)?;
                tail.truncate(kept);
                tail.reserve_exact(CHUNK_BYTES.saturating_sub(kept));
                tail
            }
        };
        let cutter = Cutter::after(index, tail);
        let artifacts = self.clone();
        Ok(Uploading { artifacts, record, stored, cutter, whole: Vec::new(), sender })
    }
}

/// Whether a total that is said now is the one that an earlier part said.
pub fn check_total(record: &ArtifactRecord, total: Option<u64>) -> Result<(), ArtifactError> {
    match (record.said_total, total) {
        (Some(said), Some(found)) if said != found => {
            Err(ArtifactError::OtherTotal { said, found })
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

impl Uploading {
    /// Ends when another request sends the same artifact. What was not stored is not to be kept then:
    /// it would move the end under the other one.
    pub async fn taken_over(&self) {
        self.sender.taken_over().await;
    }

    /// How many bytes were taken so far, with those that are not stored yet.
    pub fn at(&self) -> u64 {
        self.cutter.at()
    }

    /// Takes the next bytes. A failure leaves what was stored.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), ArtifactError> {
        let end = self.at().saturating_add(bytes.len() as u64);
        self.artifacts.check_size(end)?;
        if let Some(expected) = self.record.expected_size.filter(|it| end > *it) {
            let found = format!("{end} bytes or more");
            return Err(self.refuse("size", found, format!("{expected} bytes")).await?);
        }
        if let Some(said) = self.stored.total.filter(|it| end > *it) {
            return Err(ArtifactError::OtherTotal { said, found: end });
        }
        while !bytes.is_empty() {
            let (chunk, left) = self.cutter.push(bytes);
            bytes = left;
            self.whole.extend(chunk);
            if self.whole.len() == CHUNKS_AT_ONCE {
                self.store(false).await?;
            }
        }
        Ok(())
    }

    /// Stores all that came, also of a chunk that is not whole, so that an upload can go on from there.
    pub async fn keep(&mut self) -> Result<u64, ArtifactError> {
        self.store(true).await?;
        Ok(self.stored.received)
    }

    /// All bytes have come: compares them with what was announced.
    pub async fn complete(mut self) -> Result<(ArtifactId, ArtifactRecord), ArtifactError> {
        let size = self.keep().await?;
        if let Some(expected) = self.record.expected_size.filter(|it| *it != size) {
            let (found, expected) = (format!("{size} bytes"), format!("{expected} bytes"));
            return Err(self.refuse("size", found, expected).await?);
        }
        if let Some(said) = self.stored.total.filter(|it| *it != size) {
            return Err(ArtifactError::OtherTotal { said, found: size });
        }
        let (artifacts, stored) = (self.artifacts.clone(), self.stored);
        let hash = tokio::task::spawn_blocking(move || hash_of(&artifacts, stored)).await;
        let hash = hash.map_err(|error| StoreError::Panicked(error.to_string()))??;
        if let Some(expected) = self.record.expected_sha256.clone().filter(|it| *it != hash) {
            return Err(self.refuse("SHA-256", hash, expected).await?);
        }
        let complete =
            self.artifacts.0.store.write(move |tables| tables.complete_artifact(stored, &hash));
        match complete.await? {
            Completion::Complete(record) => Ok((stored.artifact, *record)),
            Completion::Gone => Err(ArtifactError::Gone),
            Completion::Moved => Err(self.moved()),
        }
    }

    fn moved(&self) -> ArtifactError {
        let now = self.artifacts.find(self.stored.artifact);
        match now {
            Ok(Some(record)) => match record.state {
                ArtifactState::Uploading { received } => ArtifactError::Moved { received },
                ArtifactState::Complete { .. } => ArtifactError::Complete,
            },
            Ok(None) => ArtifactError::Gone,
            Err(error) => error.into(),
        }
    }

    /// Forgets what came, because it is not what was announced.
    async fn refuse(
        &self,
        what: &'static str,
        found: String,
        expected: String,
    ) -> Result<ArtifactError, ArtifactError> {
        let stored = self.stored;
        let restarted = self.artifacts.0.store.write(move |it| it.restart_upload(stored)).await?;
        if !restarted {
            // Others sent bytes meanwhile: what is wrong with these is nothing to them.
            return Ok(self.moved());
        }
        self.artifacts.0.leftovers.notify_one();
        Ok(ArtifactError::Differs { what, found, expected })
    }

    /// Puts whole chunks on the disk, and at the end also the one that is not.
    async fn store(&mut self, with_begun: bool) -> Result<(), ArtifactError> {
        let mut chunks = std::mem::take(&mut self.whole);
        if with_begun && self.cutter.at() > self.stored.received {
            chunks.extend(self.cutter.begun());
        }
        while !chunks.is_empty() {
            let rest = chunks.split_off(chunks.len().min(CHUNKS_AT_ONCE));
            self.store_together(chunks).await?;
            chunks = rest;
        }
        Ok(())
    }

    async fn store_together(&mut self, chunks: Vec<NewChunk>) -> Result<(), ArtifactError> {
        let artifacts = &self.artifacts.0;
        let hashed = tokio::task::spawn_blocking(move || {
            let hashed = chunks.into_iter().map(|chunk| {
                let hash = Sha256::digest(&chunk.bytes).into();
                NewPart { chunk, hash }
            });
            hashed.collect::<Vec<_>>()
        });
        let parts = hashed.await.map_err(|error| StoreError::Panicked(error.to_string()))?;
        // One at a time, or a commit would hold a megabyte of each upload.
        let _turn = artifacts.writing.acquire().await.map_err(|_| ArtifactError::Busy)?;
        self.artifacts.check_room()?;
        let (upload, limit) = (self.stored, artifacts.settings.total_bytes);
        let extend =
            artifacts.store.write(move |tables| tables.extend_artifact(upload, &parts, limit));
        match extend.await? {
            Extension::Stored(stored) => self.stored = stored,
            Extension::Gone => return Err(ArtifactError::Gone),
            Extension::Complete => return Err(ArtifactError::Complete),
            Extension::Moved { received } => return Err(ArtifactError::Moved { received }),
            Extension::Full => return Err(ArtifactError::Full { limit }),
        }
        Ok(())
    }
}

/// SHA-256 of what is in the store, hex.
fn hash_of(artifacts: &Artifacts, stored: Upload) -> Result<String, ArtifactError> {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < stored.received {
        let (index, _) = place_of(at);
        // Somebody may have begun anew meanwhile, or deleted it.
        let chunk = artifacts.chunk(stored.content, index)?.ok_or(ArtifactError::Gone)?;
        hash.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok(hex::encode(hash.finalize()))
}
