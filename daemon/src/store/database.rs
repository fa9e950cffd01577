//! The open database, and how it is opened again after a failure.
//!
//! redb poisons its handle after any I/O error, also after the disk has room again. Readers and the
//! writer therefore go through [`Databases`], which can put a new handle in place of the old one.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

#[cfg(test)]
use redb::StorageBackend;
use redb::{Database, ReadableDatabase, WriteTransaction};

use super::StoreError;
use super::tables::ReadTables;
use super::writer::finish;

/// Where the database's bytes are.
pub trait Location: Send + Sync {
    /// Opens the database, creating it when there is none.
    fn open(&self, options: &Options) -> Result<Database, StoreError>;
    /// How many bytes are free for it; unknown for some.
    fn free_bytes(&self) -> Option<u64>;
}

/// How the database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory that redb may use as its page cache, in bytes.
    pub cache_bytes: usize,
}

impl Options {
    fn builder(&self) -> redb::Builder {
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache_bytes);
        builder
    }
}

/// A file.
pub struct FileLocation(pub PathBuf);

impl Location for FileLocation {
    fn open(&self, options: &Options) -> Result<Database, StoreError> {
        Ok(options.builder().create(&self.0)?)
    }

    fn free_bytes(&self) -> Option<u64> {
        let directory = self.0.parent()?;
        let numbers = rustix::fs::statvfs(directory).ok()?;
        Some(numbers.f_bavail.saturating_mul(numbers.f_frsize))
    }
}

/// A backend that is made anew for each opening: memory, or one that fails on purpose.
#[cfg(test)]
pub struct BackendLocation<F>(pub F);

#[cfg(test)]
impl<B: StorageBackend, F: Fn() -> B + Send + Sync> Location for BackendLocation<F> {
    fn open(&self, options: &Options) -> Result<Database, StoreError> {
        Ok(options.builder().create_with_backend((self.0)())?)
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// The database as it is open now.
pub(super) struct Databases {
    location: Box<dyn Location>,
    options: Options,
    current: RwLock<Option<Database>>,
    broken: AtomicBool,
}

impl Databases {
    pub(super) fn open(
        location: Box<dyn Location>,
        options: Options,
    ) -> Result<Databases, StoreError> {
        let database = location.open(&options)?;
        Ok(Databases {
            location,
            options,
            current: RwLock::new(Some(database)),
            broken: AtomicBool::new(false),
        })
    }

    /// Runs `apply` in a write transaction and commits it, or rolls it back when it fails.
    pub(super) fn write(
        &self,
        apply: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let database = current.as_ref().ok_or(StoreError::Unavailable)?;
        let mut txn = database.begin_write()?;
        // Without it, opening after a crash walks the whole file.
        txn.set_quick_repair(true);
        let outcome = apply(&txn);
        finish(txn, outcome)
    }

    /// Runs `look` on the database itself; for migrations, which cannot rely on tables.
    pub(super) fn with<A>(
        &self,
        look: impl FnOnce(&Database) -> Result<A, StoreError>,
    ) -> Result<A, StoreError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        look(current.as_ref().ok_or(StoreError::Unavailable)?)
    }

    /// Runs `look` on a picture of the last commit.
    pub(super) fn read<A>(
        &self,
        look: impl FnOnce(&ReadTables) -> Result<A, StoreError>,
    ) -> Result<A, StoreError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let database = current.as_ref().ok_or(StoreError::Unavailable)?;
        look(&ReadTables::new(database.begin_read()?))
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Puts a new handle in place of a broken one.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // The old handle holds the lock of the file: it goes first.
        *current = None;
        *current = Some(self.location.open(&self.options)?);
        self.broken.store(false, Ordering::Release);
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.location.free_bytes()
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Databases").field("broken", &self.is_broken()).finish_non_exhaustive()
    }
}
