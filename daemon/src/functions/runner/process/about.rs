//! What a `process` runner has to know of a version: agreed with whoever lays its folder out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The body of the `Code` frame of a `process` runner, as JSON.
///
/// The folder and all folders in it must have mode 0755, files 0644 and executables 0755, whatever the
/// umask: under root the programs run as another user, who gets at nothing but this folder (those
/// above it may be closed to everybody).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The folder, absolute and without symbolic links; the one that the runner was started with.
    pub path: PathBuf,
    /// For each function the executable, relative to the folder: the manifest's `entry_point`.
    pub entry_points: BTreeMap<String, String>,
}
