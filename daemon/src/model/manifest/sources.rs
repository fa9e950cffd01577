//! Event sources as a manifest declares them. Plain data; the config belongs to the plugin of the
//! source's type and is not understood here.

use std::collections::BTreeMap;

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
    /// How long an event with the dedup key of an earlier one is taken for the same. An addition of
    /// ours; a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_window_seconds: Option<u32>,
    /// How its trigger URL is made known to the external system. An addition of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// How a trigger URL is registered at the external system on activation, and taken back on
/// deactivation and deletion.
///
/// URL, header values and every text in a body may hold the fields of instructions
/// (`{{source.trigger_url}}`, `{{source.name}}`, `{{source.config.FIELD}}`) and the placeholders of
/// the keyring's type (`[ACCESS_TOKEN]`, `[API_KEY]`, `[SUBDOMAIN]`, a field's id); those of
/// `unregister` also `{{registration.id}}`, which is what `id_jq` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    pub register: RegistrationRequest,
    /// Absent when the external system forgets by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unregister: Option<RegistrationRequest>,
    /// The keyring whose placeholders are filled in; the manifest declares it, and for a source of
    /// the organization it is one of the organization or the developer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
}

/// One request of a registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegistrationRequest {
    pub url: String,
    pub method: RegistrationMethod,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// A jq program from the answer's JSON to the registration's id; only in `register`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_jq: Option<String>,
}

/// The method of a registration's request. When a manifest has none it is POST to register and
/// DELETE to unregister.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RegistrationMethod {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

impl RegistrationMethod {
    /// Every method with its name.
    pub const ALL: [(&'static str, RegistrationMethod); 5] = [
        ("GET", RegistrationMethod::Get),
        ("POST", RegistrationMethod::Post),
        ("PUT", RegistrationMethod::Put),
        ("PATCH", RegistrationMethod::Patch),
        ("DELETE", RegistrationMethod::Delete),
    ];

    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            RegistrationMethod::Get => "GET",
            RegistrationMethod::Post => "POST",
            RegistrationMethod::Put => "PUT",
            RegistrationMethod::Patch => "PATCH",
            RegistrationMethod::Delete => "DELETE",
        }
    }
}
