//! Reads tar archives, plain or gzipped.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::collect::{Collector, refused};
use super::{ArchiveError, ArchiveFile, Limits};

const BLOCK: usize = 512;

/// Headers, long names and padding, for each entry that is allowed.
const OVERHEAD_PER_ENTRY: u64 = 4 * BLOCK as u64;

/// Padding at the end, and slack for small archives.
const OVERHEAD: u64 = 1 << 20;

/// The first block is a header with a right sum, or the end of an archive without files.
pub(super) fn starts_like_tar(bytes: &[u8]) -> bool {
    let Some(block) = bytes.first_chunk::<BLOCK>() else { return false };
    let header = tar::Header::from_byte_slice(block);
    let sum_before = block[..148].iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let sum_after = block[156..].iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let sum = sum_before + sum_after + 8 * u32::from(b' ');
    header.cksum().is_ok_and(|written| written == sum)
        || (bytes.len() >= 2 * BLOCK && bytes[..2 * BLOCK].iter().all(|byte| *byte == 0))
}

pub(super) fn read_gzipped(
    bytes: &[u8],
    limits: &Limits,
) -> Result<Vec<ArchiveFile>, ArchiveError> {
    read(MultiGzDecoder::new(bytes), limits)
}

pub(super) fn read(unpacked: impl Read, limits: &Limits) -> Result<Vec<ArchiveFile>, ArchiveError> {
    // The tar reader takes names of any length into memory; this bound holds for them too.
    let entries = limits.files.saturating_mul(2) as u64;
    let most = limits
        .total_bytes
        .saturating_add(entries.saturating_mul(OVERHEAD_PER_ENTRY))
        .saturating_add(OVERHEAD);
    let mut bounded = Bounded { inner: unpacked, left: most, overrun: false };
    let result = read_entries(&mut bounded, limits);
    if bounded.overrun {
        let allowed = format!("{} bytes unpacked", limits.total_bytes);
        return Err(ArchiveError::TooMuch { allowed });
    }
    result
}

fn read_entries(
    bounded: &mut Bounded<impl Read>,
    limits: &Limits,
) -> Result<Vec<ArchiveFile>, ArchiveError> {
    let mut collector = Collector::new(limits);
    let mut archive = Archive::new(&mut *bounded);
    for entry in archive.entries().map_err(damaged)? {
        read_entry(&mut entry.map_err(damaged)?, &mut collector)?;
    }
    // To its very end, so that the checksum of a gzip stream is looked at.
    io::copy(bounded, &mut io::sink()).map_err(damaged)?;
    Ok(collector.finish())
}

fn read_entry(
    entry: &mut Entry<'_, impl Read>,
    collector: &mut Collector<'_>,
) -> Result<(), ArchiveError> {
    let path = entry.path_bytes().into_owned();
    let objection = match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            if is_sparse(entry)? {
                return Err(refused(&path, "is a sparse file; only plain files are allowed"));
            }
            let mode = entry.header().mode().map_err(damaged)?;
            let size = entry.size();
            // The oldest archives mark a directory by its slash alone.
            if path.ends_with(b"/") && size == 0 {
                return collector.directory(&path);
            }
            return collector.file(&path, mode & 0o111 != 0, size, entry);
        }
        EntryType::Directory => return collector.directory(&path),
        // What `git archive` puts first: attributes of the archive, not a file.
        EntryType::XGlobalHeader => return collector.count_other(),
        EntryType::Symlink => "is a symbolic link; only files are allowed",
        EntryType::Link => "is a hard link; only files are allowed",
        EntryType::Char | EntryType::Block => "is a device; only files are allowed",
        EntryType::Fifo => "is a named pipe; only files are allowed",
        EntryType::GNUSparse => "is a sparse file; only plain files are allowed",
        _ => "is of an unknown kind; only files are allowed",
    };
    Err(refused(&path, objection))
}

/// The newer way to write a sparse file looks like a regular file with attributes.
fn is_sparse(entry: &mut Entry<'_, impl Read>) -> Result<bool, ArchiveError> {
    let Some(attributes) = entry.pax_extensions().map_err(damaged)? else { return Ok(false) };
    for attribute in attributes {
        if attribute.map_err(damaged)?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn damaged(error: io::Error) -> ArchiveError {
    ArchiveError::Damaged { detail: error.to_string() }
}

/// Fails once more was read than is allowed.
struct Bounded<R> {
    inner: R,
    left: u64,
    overrun: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            self.overrun = true;
            return Err(io::Error::other("more bytes unpacked than are allowed"));
        };
        self.left = left;
        Ok(read)
    }
}
