//! Blobs: files and prepared code of versions, as hashed rows of at most 256 KiB.
//!
//! Invariant: a blob's chunks are written before its row in `blobs`, and that before any row that
//! refers to it; no transaction has more than [`CHUNKS_AT_ONCE`] of them, so that it delays nobody.
//! What a deleted version alone referred to goes with it; whatever else nobody refers to, and chunks
//! without a row, are swept at start. A version is stored only while its blobs are there.

use std::collections::HashSet;
use std::sync::Arc;

use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::tables::{ReadTables, WriteTables};
use super::{Store, StoreError, records::VersionRecord, schema};

const CHUNK: usize = 256 * 1024;
/// About a megabyte.
const CHUNKS_AT_ONCE: usize = 4;

/// SHA-256 of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> BlobHash {
        BlobHash(Sha256::digest(bytes).into())
    }

    /// Reads the hexadecimal form that records hold.
    pub fn parse(text: &str) -> Result<BlobHash, StoreError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash)
            .map_err(|_| StoreError::corrupt(format!("`{text}` is no blob hash")))?;
        Ok(BlobHash(hash))
    }
}

impl std::fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for BlobHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl WriteTables<'_> {
    /// Stores some chunks of `bytes`, unless all are there already; answers where to go on, and
    /// nothing when all are stored.
    pub(super) fn put_chunks(
        &mut self,
        hash: BlobHash,
        bytes: &[u8],
        from: usize,
    ) -> Result<Option<usize>, StoreError> {
        if self.blobs()?.get(&hash.0)?.is_some() {
            return Ok(None);
        }
        let mut chunks = (0u32..).zip(bytes.chunks(CHUNK)).skip(from);
        for (place, chunk) in chunks.by_ref().take(CHUNKS_AT_ONCE) {
            self.blob_chunks()?.insert((&hash.0, place), chunk)?;
        }
        if chunks.next().is_some() {
            return Ok(Some(from + CHUNKS_AT_ONCE));
        }
        // A version that had the same ones may have been deleted meanwhile, and they went with it.
        let stored = self.blob_chunks()?.range((&hash.0, 0)..=(&hash.0, u32::MAX))?.count();
        if stored < bytes.len().div_ceil(CHUNK) {
            return Ok(Some(0));
        }
        self.blobs()?.insert(&hash.0, bytes.len() as u64)?;
        Ok(None)
    }

    /// Removes a blob, unless a version refers to it.
    pub(super) fn drop_blob(&mut self, hash: &str) -> Result<(), StoreError> {
        for row in self.versions()?.iter()? {
            let version: VersionRecord = super::record::decode(row?.1.value())?;
            if version.code.iter().chain(&version.files).any(|it| it == hash) {
                return Ok(());
            }
        }
        let hash = BlobHash::parse(hash)?.0;
        self.blobs()?.remove(&hash)?;
        self.blob_chunks()?.retain_in((&hash, 0)..=(&hash, u32::MAX), |_, _| false)?;
        Ok(())
    }

    /// Whether there is such a blob.
    pub(super) fn has_blob(&mut self, hash: BlobHash) -> Result<bool, StoreError> {
        Ok(self.blobs()?.get(&hash.0)?.is_some())
    }

    /// Removes every blob that no version refers to; answers how many.
    pub fn sweep_blobs(&mut self) -> Result<usize, StoreError> {
        let mut wanted = HashSet::new();
        for row in self.versions()?.iter()? {
            let version: VersionRecord = super::record::decode(row?.1.value())?;
            for hash in version.code.iter().chain(&version.files) {
                wanted.insert(BlobHash::parse(hash)?.0);
            }
        }
        self.blobs()?.retain(|hash, _| wanted.contains(hash))?;
        // One row of each blob is looked at, not every chunk: they are all of the database at worst.
        let (mut orphans, mut from) = (Vec::new(), [0; 32]);
        loop {
            let next = self.blob_chunks()?.range((&from, 0)..)?.next().transpose()?;
            let Some(hash) = next.map(|(place, _)| *place.value().0) else { break };
            if !wanted.contains(&hash) {
                orphans.push(hash);
            }
            let Some(after) = next_hash(&hash) else { break };
            from = after;
        }
        for hash in &orphans {
            self.blob_chunks()?.retain_in((hash, 0)..=(hash, u32::MAX), |_, _| false)?;
        }
        Ok(orphans.len())
    }
}

/// The hash after this one, if it is not the last.
fn next_hash(hash: &[u8; 32]) -> Option<[u8; 32]> {
    let mut next = *hash;
    for byte in next.iter_mut().rev() {
        let (more, is_over) = byte.overflowing_add(1);
        *byte = more;
        if !is_over {
            return Some(next);
        }
    }
    None
}

impl Store {
    /// Stores bytes under their hash, unless they are there already, in several transactions.
    pub async fn put_blob(&self, bytes: Arc<[u8]>) -> Result<BlobHash, StoreError> {
        let hash = BlobHash::of(&bytes);
        let mut from = Some(0);
        while let Some(at) = from {
            let bytes = bytes.clone();
            from = self.write(move |tables| tables.put_chunks(hash, &bytes, at)).await?;
        }
        Ok(hash)
    }
}

impl ReadTables {
    /// The blob with this hash.
    pub fn blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(size) = self.table(schema::BLOBS)?.get(&hash.0)?.map(|it| it.value()) else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        for row in self.table(schema::BLOB_CHUNKS)?.range((&hash.0, 0)..=(&hash.0, u32::MAX))? {
            bytes.extend_from_slice(row?.1.value());
        }
        if bytes.len() as u64 != size {
            return Err(StoreError::corrupt(format!("blob {hash} is incomplete")));
        }
        Ok(Some(bytes))
    }
}
