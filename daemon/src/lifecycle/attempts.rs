//! How often something that goes out to others was tried, and what follows from that. Pure.

use serde::{Deserialize, Serialize};

/// How often it was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// Attempts that count.
    pub failed: u32,
    /// Attempts that the other side put off.
    #[serde(default)]
    pub throttled: u32,
}

/// What happens after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was taken.
    Delivered,
    /// Another attempt.
    Again {
        /// Not before, milliseconds of the Unix epoch.
        at_ms: u64,
    },
    /// Nothing: it is given up, until somebody has it sent again.
    GivenUp,
}
