//! Functions as a manifest declares them. Plain data; a limit that is absent is the host's to set,
//! and one that is present is a wish which the host may lower.

use serde::{Deserialize, Serialize};

/// A function of the version's code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Also the key in `functionFactory` and, by custom, the folder's name.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Runs of one `sync_id` go one after another; without it a `sync_id` is ignored.
    #[serde(default)]
    pub supports_synchronization: bool,
    #[serde(default)]
    pub retry: RetryPolicy,
    #[serde(default)]
    pub runtime: Runtime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// A new context for every run, at the price of its start.
    #[serde(default)]
    pub fresh_context: bool,
    /// The file to start when the runtime cannot know it: the executable of `process`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<String>,
}

/// `config.runtime` of a function: how a run is repeated that asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Seconds between attempts, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<u32>,
}

/// What runs a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// The host decides from the code of the version.
    #[default]
    Auto,
    Quickjs,
    Node,
    Process,
    Remote,
}

impl Runtime {
    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Auto => "auto",
            Runtime::Quickjs => "quickjs",
            Runtime::Node => "node",
            Runtime::Process => "process",
            Runtime::Remote => "remote",
        }
    }
}

/// What runs a function of a version, settled when the version was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenRuntime {
    /// Never `auto`.
    pub runtime: Runtime,
    /// For people: what in the manifest or in the archive settled it.
    pub why: String,
    /// The file of the version that is started: the main module for `node`, the executable for
    /// `process`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}
