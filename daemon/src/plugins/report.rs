//! What the operator is told about plugins: plain data, made for the API and the log.
//!
//! Owns the shapes only; it must never compute anything.

use std::path::PathBuf;

use mortise_plugin::Role;
use serde::Serialize;

/// What became of one library, or of one place where libraries were looked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// The library, or the directory.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: LoadOutcome,
}

/// What became of one library.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadOutcome {
    /// Its types can be used.
    Loaded {
        /// The plugin's name for itself.
        name: String,
        /// The plugin's version.
        version: String,
        /// Source types that it adds.
        sources: Vec<String>,
        /// Sink types that it adds.
        sinks: Vec<String>,
    },
    /// It adds nothing, for this reason, in one line.
    Refused {
        /// What is wrong and what is allowed.
        reason: String,
    },
}

/// One open instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceReport {
    /// What it was opened for, such as an event source's id.
    pub name: String,
    /// Source or sink.
    pub role: Role,
    /// Its type.
    pub kind: String,
    /// Calls that overran their deadline and have not come back. While there are any, the instance
    /// is stuck and takes no calls.
    pub stuck_calls: u64,
    /// Calls running, the stuck ones included.
    pub running: usize,
    /// Calls waiting for a thread.
    pub queued: usize,
    /// Calls made, ever.
    pub calls: u64,
    /// Calls that were answered with a fault, panics included.
    pub faults: u64,
    /// Calls that panicked.
    pub panics: u64,
    /// Calls whose answer broke the contract.
    pub bad_answers: u64,
    /// Calls that overran their deadline, ever.
    pub abandoned: u64,
    /// Of those, calls that came back later. An instance whose calls are all back is healthy again.
    pub returned: u64,
}

/// Everything about plugins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginReport {
    /// Every library that was looked at.
    pub libraries: Vec<LoadReport>,
    /// Every open instance.
    pub instances: Vec<InstanceReport>,
    /// Threads that take calls.
    pub threads: usize,
    /// Threads that are lost to calls past their deadline.
    pub lost_threads: usize,
    /// How many may be lost before nothing can be opened any more and the lost ones are no longer
    /// replaced.
    pub lost_threads_allowed: usize,
    /// Calls waiting for a thread.
    pub queued: usize,
}
