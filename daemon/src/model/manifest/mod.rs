//! A manifest after parsing: what a version says it is made of, in one shape for both dialects.
//!
//! Owns the stored form: these types are written as JSON with the version record, so a field may be
//! added (with a default) but never renamed or given another meaning. What is absent from a manifest
//! is absent or empty here; defaults that depend on the host are decided by whoever acts on a field.
//! It must never read YAML, check anything or know a plugin: `crate::manifest` makes these values,
//! and only from a manifest without errors, so every reference by name resolves within it.
//!
//! Version 1 keys are stored under their version 2 names: `event-sources` and `globals` become
//! organization event sources and inputs, `connections` keyrings.

mod bindings;
mod functions;
mod inputs;
mod keyrings;
mod sources;

use serde::{Deserialize, Serialize};

pub use crate::model::object_type::ObjectType;

use super::view::View;

pub use bindings::{
    Automation, Command, CommandSurface, ConfigurationHandler, ConfigurationHandlers, Hook,
    HookType, Import, Operation, SnapComponent, SnapKitAction, Tag,
};
pub use functions::{ChosenRuntime, Function, RetryPolicy, Runtime};
pub use inputs::{FieldType, Input, InputUi, Validators};
pub use keyrings::{
    Authorize, DeveloperKeyring, ExternalRequest, Impersonation, Keyring, KeyringKind, KeyringType,
    OauthScope, RequestedScope, SecretConfig, SecretField, ServiceAccount, ServiceAccountScopes,
};
pub use sources::{EventSource, Level, Registration, RegistrationMethod, RegistrationRequest};

/// Everything that a manifest declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The dialect that the file was written in; the shape here is the same for both.
    pub version: ManifestVersion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyrings: Vec<Keyring>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub developer_keyrings: Vec<DeveloperKeyring>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyring_types: Vec<KeyringType>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_sources: Vec<EventSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Function>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automations: Vec<Automation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snap_kit_actions: Vec<SnapKitAction>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snap_components: Vec<SnapComponent>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    #[serde(default, skip_serializing_if = "ConfigurationHandlers::is_empty")]
    pub configuration_handler: ConfigurationHandlers,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub object_types: Vec<ObjectType>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<View>,
}

/// The dialect of a manifest file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestVersion {
    #[serde(rename = "1")]
    V1,
    #[default]
    #[serde(rename = "2")]
    V2,
}

impl Manifest {
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Names are unique over both levels, because an automation names its source by name alone.
    pub fn event_source(&self, name: &str) -> Option<&EventSource> {
        self.event_sources.iter().find(|source| source.name == name)
    }

    /// Where a source stands in the version 2 shape, such as `event_sources.organization[0]`: the
    /// path to give to `Places::locate` for what a plugin finds wrong in the source's config.
    pub fn event_source_path(&self, name: &str) -> Option<String> {
        let source = self.event_source(name)?;
        let peers = self.event_sources.iter().filter(|other| other.level == source.level);
        let index = peers.take_while(|other| other.name != name).count();
        Some(format!("event_sources.{}[{index}]", source.level.key()))
    }

    pub fn input(&self, level: Level, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.level == level && input.name == name)
    }

    /// Names are unique over both levels and the developer keyrings.
    pub fn keyring(&self, name: &str) -> Option<&Keyring> {
        self.keyrings.iter().find(|keyring| keyring.name == name)
    }

    pub fn developer_keyring(&self, name: &str) -> Option<&DeveloperKeyring> {
        self.developer_keyrings.iter().find(|keyring| keyring.name == name)
    }

    pub fn keyring_type(&self, id: &str) -> Option<&KeyringType> {
        self.keyring_types.iter().find(|keyring_type| keyring_type.id == id)
    }

    pub fn hook(&self, hook_type: HookType) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.hook_type == hook_type)
    }

    pub fn snap_kit_action(&self, name: &str) -> Option<&SnapKitAction> {
        self.snap_kit_actions.iter().find(|action| action.name == name)
    }

    pub fn command(&self, namespace: &str, name: &str) -> Option<&Command> {
        self.commands.iter().find(|command| command.namespace == namespace && command.name == name)
    }

    pub fn operation(&self, slug: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.slug == slug)
    }

    /// The automations that listen to a source, in the order of the manifest.
    pub fn automations_of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a Automation> {
        self.automations.iter().filter(move |automation| automation.source == source)
    }
}
