//! The service account, and the secrets that a snap-in declares: keyrings, the developer's own, and
//! custom keyring types. Plain data; no secret is ever in it, only the description of one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Level;

/// The identity under which a snap-in acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceAccount {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default)]
    pub scopes: ServiceAccountScopes,
}

/// What the service account asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceAccountScopes {
    /// Rights of its own. Manifests call it `self`.
    #[serde(default, rename = "self", skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<RequestedScope>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub impersonate: Vec<Impersonation>,
}

/// One right, such as `ticket:write`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestedScope {
    pub scope: String,
    #[serde(default)]
    pub optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Rights to act in the name of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Impersonation {
    pub act_as: String,
    #[serde(default)]
    pub scopes: Vec<RequestedScope>,
}

/// A secret that must be bound to a snap-in (organization) or may be by each user (user).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Keyring {
    pub level: Level,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Ids of built-in or custom types; never empty.
    #[serde(default)]
    pub types: Vec<String>,
    /// Always true for user keyrings and those of operations.
    #[serde(default)]
    pub optional: bool,
    /// Slugs of the operations that declare it, when nothing else does: only their functions get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
}

/// A secret that comes with the version and that installers do not see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeveloperKeyring {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

/// A custom kind of keyring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyringType {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Absent only when `reference_keyring` names the type to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KeyringKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_system_name: Option<String>,
    #[serde(default)]
    pub is_subdomain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_keyring: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_config: Option<SecretConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<OauthScope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_delimiter: Option<String>,
    /// The developer keyring with client id and secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize: Option<Authorize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<ExternalRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<ExternalRequest>,
    /// Read from the type itself or from its `secret_config`; both are in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_data: Option<ExternalRequest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyringKind {
    Secret,
    Oauth2,
}

/// How a secret is asked for, changed and tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretConfig {
    /// Empty means one plain secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<SecretField>,
    /// A jq program from the fields to the secret that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_transform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_verification: Option<ExternalRequest>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretField {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default)]
    pub is_optional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OauthScope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub value: String,
}

/// Where and how a user grants access.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Authorize {
    pub auth_url: String,
    pub token_url: String,
    /// Only `authorization_code` is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub auth_query_parameters: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_query_parameters: BTreeMap<String, String>,
}

/// A request with placeholders such as `[ACCESS_TOKEN]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExternalRequest {
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Manifests write `query_params` or `query_parameters`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query_parameters: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_jq: Option<String>,
}
