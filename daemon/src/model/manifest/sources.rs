//! Event sources as a manifest declares them. Plain data; the config belongs to the plugin of the
//! source's type and is not understood here.

use serde::{Deserialize, Serialize};

/// Who owns an instance: the host's organization (one per snap-in) or each user.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    #[default]
    Organization,
    User,
}

impl Level {
    /// The key of a manifest section that holds this level.
    pub fn key(self) -> &'static str {
        match self {
            Level::Organization => "organization",
            Level::User => "user",
        }
    }
}

/// A configured source of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventSource {
    pub level: Level,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The source type, which a plugin implements. Manifests call it `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Always an object; empty when the manifest has none.
    #[serde(default)]
    pub config: serde_json::Value,
    /// A Markdown template: see `crate::manifest::render_instructions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_instructions: Option<String>,
    /// A keyring that the source uses; version 1 manifests have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
}
