//! What the kernel enforces on a runner, and what it does not, for the pool and for people.

use serde::{Deserialize, Serialize};

/// What the kernel enforces on a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// The version of Landlock's interface that was used; 0 for none.
    pub landlock_abi: u8,
    /// Only the files of the profile can be opened.
    pub files: bool,
    /// System calls are limited to the list of the profile.
    pub syscalls: bool,
    /// No privileges can be gained.
    pub no_new_privileges: bool,
    /// What is missing, for people. While [`SandboxReport::is_full`] it is belt beside braces.
    pub missing: Vec<String>,
    /// What works less well here than it could, although nothing is less safe: no network for
    /// programs, no private `/tmp`.
    #[serde(default)]
    pub reduced: Vec<String>,
}

impl SandboxReport {
    /// Whether the layers that hold code in are all there. Landlock's rules for emptying files, TCP
    /// and signals come with later kernels; the lists of system calls cover all three.
    pub fn is_full(&self) -> bool {
        self.files && self.syscalls && self.no_new_privileges
    }
}
