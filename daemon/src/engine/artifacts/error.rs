//! Why an artifact does not come to be.

use crate::store::StoreError;

/// Why bytes are not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such artifact, or not any more.
    #[error("there is no such artifact any more")]
    Gone,
    /// All of it is there.
    #[error("the artifact is complete and cannot be changed: prepare another one")]
    Complete,
    /// Bytes that are elsewhere than where it goes on.
    #[error("{received} bytes of the artifact are there: go on from there")]
    Moved {
        /// So many are there.
        received: u64,
    },
    /// It is larger than an artifact may be.
    #[error("the artifact is larger than the {limit} bytes that are allowed (`artifacts.bytes`)")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Another request sends it now.
    #[error("another request sends this artifact now: this one was ended")]
    TakenOver,
    /// Parts of it do not say the same of the whole.
    #[error(
        "an earlier part said that {said} bytes are to come, and this is {found}: send the \
             artifact anew, from its first byte, if the earlier part was wrong"
    )]
    OtherTotal {
        /// What was said.
        said: u64,
        /// What came, or is said now.
        found: u64,
    },
    /// What came is not what was announced.
    #[error("{what}: {found} came, announced was {expected}; nothing was kept, send it again")]
    Differs {
        /// Size or hash.
        what: &'static str,
        /// What came.
        found: String,
        /// What was to come.
        expected: String,
    },
    /// There are enough of them.
    #[error(
        "all artifacts together have the {limit} bytes that are allowed (`artifacts.total_bytes`): \
         delete some, or allow more"
    )]
    Full {
        /// Bytes.
        limit: u64,
    },
    /// The reserve of the disk is left alone.
    #[error("the disk is nearly full: no artifacts are taken until there is room")]
    NoRoom,
    /// Too many at the same time.
    #[error("too many artifacts are being uploaded at the moment; try again")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
