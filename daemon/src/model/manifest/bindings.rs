//! What calls a function, and what is created with a snap-in. Plain data; every `function` and
//! `source` here names one that the manifest declares.

use serde::{Deserialize, Serialize};

use super::Keyring;

/// Binds a source and event types to a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Automation {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub source: String,
    pub event_types: Vec<String>,
    pub function: String,
}

/// A slash command; the pair of namespace and name is its identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub name: String,
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surfaces: Vec<CommandSurface>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_hint: Option<String>,
    pub function: String,
}

/// A place where a command can be given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandSurface {
    pub surface: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub object_types: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapKitAction {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub function: String,
}

/// A piece of user interface that a function draws.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapComponent {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_kit_action_name: Option<String>,
    /// The function that draws it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initializer: Option<String>,
    /// Its content when no function draws it; its shape is the user interface's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_kit_body: Option<serde_json::Value>,
}

/// A function that is called at a step of a snap-in's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    #[serde(rename = "type")]
    pub hook_type: HookType,
    pub function: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookType {
    Validate,
    Activate,
    Deactivate,
    Update,
}

/// The pages on which a snap-in is configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigurationHandlers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<ConfigurationHandler>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<ConfigurationHandler>,
}

impl ConfigurationHandlers {
    pub fn is_empty(&self) -> bool {
        self.organization.is_none() && self.user.is_none()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigurationHandler {
    /// The function that builds the page.
    pub initializer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_kit_action_name: Option<String>,
}

/// A node of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub name: String,
    /// The name when the manifest has none.
    pub slug: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub function: String,
    /// Only `action` is known. Manifests call it `type`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub operation_type: Option<String>,
    /// As declared; they are among the manifest's keyrings too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyrings: Vec<Keyring>,
    /// Field descriptors, as they were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_fields: Vec<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_fields: Vec<serde_json::Value>,
    /// `execute_options.default_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_timeout_seconds: Option<u32>,
}

/// A bulk import; kept, not acted on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Import {
    pub slug: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub extractor_function: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader_function: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_connection_types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// A tag that is made at installation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tag {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
