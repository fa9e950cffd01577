//! How the store fails, folded from the database's many errors into what a caller does about it.

use std::io;

/// A failure of the store. Refusals for reasons of content are not failures; operations answer them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room on the disk. Free some; the daemon recovers by itself.
    #[error("no room left on the disk that holds the database")]
    Full,
    /// The disk or file system failed.
    #[error("the disk that holds the database failed: {0}")]
    Io(String),
    /// A row is not what it should be.
    #[error("the database holds something unreadable: {0}")]
    Corrupt(String),
    /// The database was made by a newer program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: \
         install the newer program again, downgrades are not supported"
    )]
    TooNew {
        /// In the file.
        found: u64,
        /// By this program.
        known: u64,
    },
    /// The operation panicked; it alone was undone.
    #[error("an internal error: the operation panicked: {0}")]
    Panicked(String),
    /// The store is shutting down or being reopened after a failure.
    #[error("the database is not available at the moment")]
    Unavailable,
}

impl StoreError {
    /// A row that is not what it should be.
    pub fn corrupt(what: impl Into<String>) -> StoreError {
        StoreError::Corrupt(what.into())
    }

    /// Whether nothing can be written until the database has been reopened.
    pub(super) fn poisons(&self) -> bool {
        match self {
            StoreError::Full | StoreError::Io(_) => true,
            StoreError::Corrupt(_)
            | StoreError::TooNew { .. }
            | StoreError::Panicked(_)
            | StoreError::Unavailable => false,
        }
    }
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> StoreError {
        match error {
            redb::StorageError::Io(error) => from_io(&error),
            redb::StorageError::PreviousIo => StoreError::Io(error.to_string()),
            redb::StorageError::DatabaseClosed => StoreError::Unavailable,
            other => StoreError::Corrupt(other.to_string()),
        }
    }
}

fn from_io(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full
        }
        _ => StoreError::Io(error.to_string()),
    }
}

/// The database's other errors are a storage error in a coat.
macro_rules! through_storage_error {
    ($($outer:ident),*) => {$(
        impl From<redb::$outer> for StoreError {
            fn from(error: redb::$outer) -> StoreError {
                use redb::$outer as Outer;
                match error {
                    Outer::Storage(inner) => inner.into(),
                    other => StoreError::Corrupt(other.to_string()),
                }
            }
        }
    )*};
}

through_storage_error!(TableError, CommitError, TransactionError, DatabaseError);
