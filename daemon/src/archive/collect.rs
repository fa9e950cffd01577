//! Gathers the files of an archive under the limits, whatever its format.
//!
//! Owns the counting and the rule that no two entries claim one path. It must never trust a size
//! that it did not count itself.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::path::{plain_path, shown};
use super::{ArchiveError, ArchiveFile, Limits};

/// The most that is set aside before a byte was read.
const FIRST_CAPACITY: u64 = 64 << 10;

pub(super) struct Collector<'l> {
    limits: &'l Limits,
    files: HashMap<String, ArchiveFile>,
    /// Every directory that a file or a directory entry names or implies.
    directories: HashSet<String>,
    other_entries: usize,
    total_bytes: u64,
}

impl<'l> Collector<'l> {
    pub(super) fn new(limits: &'l Limits) -> Collector<'l> {
        Collector {
            limits,
            files: HashMap::new(),
            directories: HashSet::new(),
            other_entries: 0,
            total_bytes: 0,
        }
    }

    /// Counts an entry that is no file, and takes note of it when it is a directory.
    pub(super) fn directory(&mut self, raw_path: &[u8]) -> Result<(), ArchiveError> {
        self.count_other()?;
        let path = plain_path(raw_path, self.limits)?;
        if !path.is_empty() {
            self.claim_directory(&path)?;
            self.claim_parents(&path)?;
        }
        Ok(())
    }

    pub(super) fn count_other(&mut self) -> Result<(), ArchiveError> {
        self.other_entries += 1;
        if self.other_entries > self.limits.files {
            let allowed = format!("{} directories", self.limits.files);
            return Err(ArchiveError::TooMuch { allowed });
        }
        Ok(())
    }

    pub(super) fn file(
        &mut self,
        raw_path: &[u8],
        executable: bool,
        declared_size: u64,
        content: impl Read,
    ) -> Result<(), ArchiveError> {
        let path = plain_path(raw_path, self.limits)?;
        if path.is_empty() || raw_path.ends_with(b"/") {
            return Err(refused(raw_path, "is a file with the name of a directory"));
        }
        if self.files.contains_key(&path) {
            return Err(refused(raw_path, "is there twice"));
        }
        if self.directories.contains(&path) {
            return Err(refused(raw_path, "is both a file and a directory"));
        }
        if self.files.len() >= self.limits.files {
            let allowed = format!("{} files", self.limits.files);
            return Err(ArchiveError::TooMuch { allowed });
        }
        self.claim_parents(&path)?;
        let bytes = self.read(raw_path, declared_size, content)?;
        self.files.insert(path.clone(), ArchiveFile { path, bytes, executable });
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<ArchiveFile> {
        let mut files: Vec<ArchiveFile> = self.files.into_values().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn read(
        &mut self,
        raw_path: &[u8],
        declared_size: u64,
        content: impl Read,
    ) -> Result<Vec<u8>, ArchiveError> {
        let left = self.limits.total_bytes - self.total_bytes;
        let most = left.min(self.limits.file_bytes);
        let capacity = usize::try_from(declared_size.min(FIRST_CAPACITY)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(capacity);
        // One byte more than is allowed tells "just fits" from "too much".
        content
            .take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| refused(raw_path, &format!("cannot be unpacked: {error}")))?;
        let size = bytes.len() as u64;
        if size > self.limits.file_bytes {
            let objection =
                format!("is too big; at most {} bytes are allowed", self.limits.file_bytes);
            return Err(refused(raw_path, &objection));
        }
        if size > left {
            let allowed = format!("{} bytes unpacked", self.limits.total_bytes);
            return Err(ArchiveError::TooMuch { allowed });
        }
        if size < declared_size {
            return Err(refused(raw_path, "is cut off"));
        }
        self.total_bytes += size;
        Ok(bytes)
    }

    fn claim_parents(&mut self, path: &str) -> Result<(), ArchiveError> {
        let mut path = path;
        while let Some((parent, _)) = path.rsplit_once('/') {
            self.claim_directory(parent)?;
            path = parent;
        }
        Ok(())
    }

    fn claim_directory(&mut self, path: &str) -> Result<(), ArchiveError> {
        if self.files.contains_key(path) {
            return Err(refused(path.as_bytes(), "is both a file and a directory"));
        }
        if !self.directories.contains(path) {
            self.directories.insert(path.to_owned());
        }
        Ok(())
    }
}

/// An entry that may not be there.
pub(super) fn refused(raw_path: &[u8], objection: &str) -> ArchiveError {
    let path = shown(&String::from_utf8_lossy(raw_path));
    ArchiveError::Entry { path, objection: objection.to_owned() }
}
