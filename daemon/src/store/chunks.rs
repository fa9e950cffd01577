//! Chunks of artifacts: by their hash, each once, however many artifacts have it.
//!
//! Invariant: a chunk is there as long as a part names it, and no longer: both are written, and the uses
//! counted, in one transaction. So a crash leaves no orphan among chunks. What it may leave is a content
//! that no artifact has, and each of those is in `artifact_leftovers` until its parts are removed.

use redb::ReadableTable;

use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::model::artifact::NewChunk;
use crate::model::id::ContentId;

/// The row of the total.
const BYTES: &str = "bytes";

/// A chunk that is to be stored, with its SHA-256.
#[derive(Clone, Debug)]
pub struct NewPart {
    /// Which chunk of the content it is.
    pub chunk: NewChunk,
    /// Of its bytes.
    pub hash: [u8; 32],
}

impl WriteTables<'_> {
    /// How many bytes more there would be with these.
    pub(super) fn bytes_of_new(&mut self, parts: &[NewPart]) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for part in parts {
            if self.chunk_uses()?.get(&part.hash)?.is_none() {
                bytes += part.chunk.bytes.len() as u64;
            }
        }
        Ok(bytes)
    }

    /// Makes it a part of a content, in place of the one that was there.
    pub(super) fn put_part(
        &mut self,
        content: ContentId,
        part: &NewPart,
    ) -> Result<(), StoreError> {
        let bytes = part.chunk.bytes.as_slice();
        // First this, so that the same chunk again is not removed in between.
        let uses = self.chunk_uses()?.get(&part.hash)?.map_or(0, |it| it.value().0);
        let size = u32::try_from(bytes.len())
            .map_err(|_| StoreError::corrupt("a chunk of more than 4 GiB"))?;
        self.chunk_uses()?.insert(&part.hash, (uses + 1, size))?;
        if uses == 0 {
            self.chunks()?.insert(&part.hash, bytes)?;
            let total = self.chunk_bytes()?;
            self.chunk_totals()?.insert(BYTES, total.saturating_add(u64::from(size)))?;
        }
        let place = (content.0, part.chunk.index);
        let before = self.artifact_parts()?.insert(place, &part.hash)?.map(|it| *it.value());
        match before {
            Some(hash) => self.drop_use(&hash),
            None => Ok(()),
        }
    }

    fn drop_use(&mut self, hash: &[u8; 32]) -> Result<(), StoreError> {
        let Some((uses, size)) = self.chunk_uses()?.get(hash)?.map(|it| it.value()) else {
            return Err(StoreError::corrupt(format!("chunk {} is not counted", hex::encode(hash))));
        };
        if uses > 1 {
            self.chunk_uses()?.insert(hash, (uses - 1, size))?;
            return Ok(());
        }
        self.chunk_uses()?.remove(hash)?;
        self.chunks()?.remove(hash)?;
        let total = self.chunk_bytes()?;
        self.chunk_totals()?.insert(BYTES, total.saturating_sub(u64::from(size)))?;
        Ok(())
    }

    /// Bytes of all chunks.
    pub(super) fn chunk_bytes(&mut self) -> Result<u64, StoreError> {
        Ok(self.chunk_totals()?.get(BYTES)?.map_or(0, |it| it.value()))
    }

    /// No artifact has this content any more: its parts are removed by and by.
    pub(super) fn leave_over(&mut self, content: ContentId) -> Result<(), StoreError> {
        self.artifact_leftovers()?.insert(content.0, ())?;
        Ok(())
    }

    /// Removes up to `most` parts of contents that no artifact has; says whether there are more.
    pub fn sweep_leftovers(&mut self, most: usize) -> Result<bool, StoreError> {
        let Some(content) = self.artifact_leftovers()?.first()?.map(|(it, _)| it.value()) else {
            return Ok(false);
        };
        let mut parts = Vec::new();
        for row in self.artifact_parts()?.range((content, 0)..=(content, u32::MAX))?.take(most) {
            let (place, hash) = row?;
            parts.push((place.value(), *hash.value()));
        }
        for (place, hash) in &parts {
            self.artifact_parts()?.remove(place)?;
            self.drop_use(hash)?;
        }
        if parts.len() < most {
            self.artifact_leftovers()?.remove(content)?;
        }
        Ok(true)
    }
}

impl ReadTables {
    /// A chunk of a content.
    pub fn chunk(&self, content: ContentId, index: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let parts = self.table(schema::ARTIFACT_PARTS)?;
        let Some(hash) = parts.get((content.0, index))?.map(|it| *it.value()) else {
            return Ok(None);
        };
        let chunk = self.table(schema::CHUNKS)?.get(&hash)?.map(|it| it.value().to_vec());
        match chunk {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(StoreError::corrupt(format!("chunk {} is gone", hex::encode(hash)))),
        }
    }

    /// Bytes of the chunks of all artifacts; equal ones count once.
    pub fn artifact_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.table(schema::CHUNK_TOTALS)?.get(BYTES)?.map_or(0, |it| it.value()))
    }
}
