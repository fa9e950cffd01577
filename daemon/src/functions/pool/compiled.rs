//! Compiled code of versions, kept for processes to come: bookkeeping only.
//!
//! Kept in memory and not in the store: it is cheap to make anew, and what another build of the
//! engine has compiled could bring a process down. Bounded; the longest unused goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::id::VersionId;

/// The most that is kept, in bytes.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The most versions of which something is known.
const MOST_VERSIONS: usize = 4096;

#[derive(Default)]
pub(super) struct CompiledCodes {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_version: HashMap<VersionId, Entry>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    /// Nothing while it is being made, and for good when it could not be.
    code: Option<Arc<Vec<u8>>>,
    used: u64,
}

impl CompiledCodes {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Bookkeeping is complete at every point where it could panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The compiled code of a version, if there is any.
    pub(super) fn of(&self, version: VersionId) -> Option<Arc<Vec<u8>>> {
        let mut known = self.known();
        let now = known.next_use();
        let entry = known.by_version.get_mut(&version)?;
        entry.used = now;
        entry.code.clone()
    }

    /// Versions whose code there is.
    pub(super) fn count(&self) -> usize {
        self.known().by_version.values().filter(|it| it.code.is_some()).count()
    }

    /// Whether the caller shall make it: nobody has tried yet.
    pub(super) fn begin(&self, version: VersionId) -> bool {
        let mut known = self.known();
        if known.by_version.contains_key(&version) {
            return false;
        }
        let used = known.next_use();
        known.by_version.insert(version, Entry { code: None, used });
        known.make_room();
        true
    }

    /// Keeps what was made.
    pub(super) fn keep(&self, version: VersionId, code: Vec<u8>) {
        let mut known = self.known();
        let used = known.next_use();
        known.bytes += code.len();
        let entry = Entry { code: Some(Arc::new(code)), used };
        if let Some(Entry { code: Some(before), .. }) = known.by_version.insert(version, entry) {
            known.bytes -= before.len();
        }
        known.make_room();
    }
}

impl Known {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn make_room(&mut self) {
        while self.bytes > MOST_BYTES || self.by_version.len() > MOST_VERSIONS {
            let oldest = self.by_version.iter().min_by_key(|(_, it)| it.used).map(|(id, _)| *id);
            let Some(gone) = oldest.and_then(|it| self.by_version.remove(&it)) else { return };
            self.bytes -= gone.code.map_or(0, |it| it.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_made_once() {
        let codes = CompiledCodes::default();
        assert!(codes.begin(VersionId(1)));
        assert!(!codes.begin(VersionId(1)));
        assert_eq!(codes.of(VersionId(1)), None);
        codes.keep(VersionId(1), vec![1, 2]);
        assert_eq!(codes.of(VersionId(1)).as_deref(), Some(&vec![1, 2]));
        assert!(!codes.begin(VersionId(1)));
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let codes = CompiledCodes::default();
        let third = MOST_BYTES / 3 + 1;
        codes.keep(VersionId(1), vec![0; third]);
        codes.keep(VersionId(2), vec![0; third]);
        assert!(codes.of(VersionId(1)).is_some());
        codes.keep(VersionId(3), vec![0; third]);
        assert!(codes.of(VersionId(2)).is_none());
        assert!(codes.of(VersionId(1)).is_some() && codes.of(VersionId(3)).is_some());
        // One that is too large by itself is not kept.
        codes.keep(VersionId(4), vec![0; MOST_BYTES + 1]);
        assert!(codes.of(VersionId(4)).is_none());
    }
}
