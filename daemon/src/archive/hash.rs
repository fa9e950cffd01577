//! The identity of a code archive: what is in it, not how it was packed.

use sha2::{Digest, Sha256};

use super::ArchiveFile;

/// So that this hash is never one of something else, and can be changed.
const DOMAIN: &[u8] = b"mortise archive 1\n";

/// SHA-256 over paths, executable bits and bytes in the order of the paths. The same tree has the
/// same hash whatever its order, format, compression, times and owners were.
pub fn content_hash(files: &[ArchiveFile]) -> [u8; 32] {
    let mut sorted: Vec<&ArchiveFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    for file in sorted {
        // Lengths first: no two trees run together into the same bytes.
        hash.update((file.path.len() as u64).to_le_bytes());
        hash.update(file.path.as_bytes());
        hash.update([u8::from(file.executable)]);
        hash.update((file.bytes.len() as u64).to_le_bytes());
        hash.update(&file.bytes);
    }
    hash.finalize().into()
}
