//! How a snap-in is shown: everything that a person asks for when he looks at one.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Api;
use super::error::ApiError;
use super::lists::time;
use crate::configuration::inputs;
use crate::configuration::readiness::{Missing, MissingKind};
use crate::model::id::SnapInId;
use crate::model::keyring::KeyringState;
use crate::model::manifest::{FieldType, Input, Level, Manifest};
use crate::store::SnapInRecord;

/// One installation of a version.
#[derive(Serialize, JsonSchema)]
pub(super) struct SnapIn {
    id: String,
    scope: String,
    package: String,
    version: String,
    /// DRAFT, ACTIVATING, ACTIVE, ERROR, DEACTIVATING, INACTIVE or DELETED.
    state: &'static str,
    /// What is wrong, in ERROR.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    event_sources: Vec<String>,
    service_account: String,
    created_date: String,
    changed_date: String,
    created_by: String,
}

/// A snap-in with its configuration.
#[derive(Serialize, JsonSchema)]
pub(super) struct Detail {
    #[serde(flatten)]
    pub(super) snap_in: SnapIn,
    /// Slug of its package.
    package_slug: String,
    /// Number of its version within the package.
    version_number: u32,
    /// Name in the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Organization inputs, in the order of the manifest.
    inputs: Vec<InputValue>,
    /// Organization keyrings, in the order of the manifest. Never a secret.
    keyrings: Vec<KeyringShown>,
    /// Tags by name.
    tags: std::collections::BTreeMap<String, String>,
    /// What it needs before it can be activated.
    missing: Vec<MissingThing>,
    /// Versions that it was of before, oldest first.
    past_versions: Vec<PastVersion>,
    /// Where a rollback leads that names no version; absent when there is none to go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback_version: Option<String>,
    /// Grows with every change of its configuration.
    revision: u64,
}

/// An input with its value.
#[derive(Serialize, JsonSchema)]
pub(super) struct InputValue {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    field_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_values: Vec<String>,
    is_required: bool,
    /// Not for people: state that functions keep.
    is_hidden: bool,
    /// The value in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_value: Option<Value>,
    /// Whether the value was set, rather than being the default.
    is_set: bool,
}

/// A keyring, without its secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyringShown {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Ids of the types that it may be of.
    types: Vec<String>,
    optional: bool,
    /// Slugs of the operations whose functions alone get it; empty when every function does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operations: Vec<String>,
    /// missing, pending, ready or broken.
    state: &'static str,
    /// What is wrong, when it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When its access token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_date: Option<String>,
}

/// Something that has to be set before an activation.
#[derive(Serialize, JsonSchema)]
pub(super) struct MissingThing {
    /// `input` or `keyring`.
    kind: &'static str,
    name: String,
    /// What is the matter with it, to follow its name.
    message: String,
    /// The command that mends it.
    command: String,
}

/// A version that a snap-in was of.
#[derive(Serialize, JsonSchema)]
pub(super) struct PastVersion {
    version: String,
    until_date: String,
    replaced_by: String,
}

impl MissingThing {
    pub(super) fn of(missing: &Missing) -> MissingThing {
        let kind = match missing.kind {
            MissingKind::Input => "input",
            MissingKind::Keyring => "keyring",
        };
        let Missing { name, message, command, .. } = missing.clone();
        MissingThing { kind, name, message, command }
    }
}

impl SnapIn {
    pub(super) fn of(id: SnapInId, record: &SnapInRecord) -> SnapIn {
        SnapIn {
            id: id.to_string(),
            scope: record.scope.to_string(),
            package: record.package.to_string(),
            version: record.version.to_string(),
            state: record.state.name(),
            reason: record.state.reason().map(str::to_owned),
            event_sources: record.sources.iter().map(ToString::to_string).collect(),
            service_account: record.service_account.to_string(),
            created_date: time(record.created_ms),
            changed_date: time(record.changed_ms),
            created_by: record.created_by.clone(),
        }
    }
}

impl Detail {
    pub(super) fn of(api: &Api, id: SnapInId, record: &SnapInRecord) -> Result<Detail, ApiError> {
        let found = api.services.store.read(|tables| {
            let mut keyrings = Vec::with_capacity(record.keyrings.len());
            for (name, id) in &record.keyrings {
                keyrings.extend(tables.keyring(*id)?.map(|it| (name.clone(), *id, it)));
            }
            Ok((tables.version(record.version)?, tables.package(record.package)?, keyrings))
        })?;
        let (version, package, keyrings) = found;
        let nothing = Manifest::default();
        let manifest = version.as_ref().map_or(&nothing, |it| &it.manifest);
        let in_effect = inputs::in_effect(manifest, Level::Organization, &record.inputs);
        let organization = |level: Level| level == Level::Organization;
        let shown_keyrings =
            manifest.keyrings.iter().filter(|it| organization(it.level)).map(|it| {
                let bound = keyrings.iter().find(|(name, _, _)| *name == it.name);
                let state = bound.map(|(_, _, record)| &record.state);
                KeyringShown {
                    name: it.name.clone(),
                    id: bound.map(|(_, id, _)| id.to_string()),
                    display_name: it.display_name.clone(),
                    description: it.description.clone(),
                    types: it.types.clone(),
                    optional: it.optional,
                    operations: it.operations.clone(),
                    state: state.map_or("missing", KeyringState::name),
                    reason: match state {
                        Some(KeyringState::Broken { reason }) => Some(reason.clone()),
                        Some(KeyringState::Pending | KeyringState::Ready) | None => None,
                    },
                    expires_date: bound.and_then(|(_, _, record)| record.expires_ms).map(time),
                }
            });
        let missing = api.operations.missing(record, manifest)?;
        Ok(Detail {
            snap_in: SnapIn::of(id, record),
            package_slug: package.map(|it| it.slug).unwrap_or_default(),
            version_number: version.as_ref().map_or(0, |it| it.number),
            name: manifest.name.clone(),
            description: manifest.description.clone(),
            inputs: manifest
                .inputs
                .iter()
                .filter(|it| organization(it.level))
                .map(|it| input_value(it, record.inputs.contains_key(&it.name), &in_effect))
                .collect(),
            keyrings: shown_keyrings.collect(),
            tags: record.tags.iter().map(|(name, id)| (name.clone(), id.to_string())).collect(),
            missing: missing.iter().map(MissingThing::of).collect(),
            past_versions: record.past_versions.iter().map(past_version).collect(),
            rollback_version: api.operations.version_below(record)?.map(|it| it.to_string()),
            revision: record.revision,
        })
    }
}

pub(super) fn input_value(
    input: &Input,
    is_set: bool,
    in_effect: &serde_json::Map<String, Value>,
) -> InputValue {
    InputValue {
        name: input.name.clone(),
        display_name: input.ui.display_name.clone(),
        description: input.description.clone(),
        field_type: input.field_type.name(),
        base_type: input.base_type.map(FieldType::name),
        allowed_values: input.allowed_values.clone(),
        is_required: input.is_required,
        is_hidden: input.ui.is_hidden,
        value: in_effect.get(&input.name).cloned(),
        default_value: input.default_value.clone(),
        is_set,
    }
}

fn past_version(past: &crate::store::PastVersion) -> PastVersion {
    PastVersion {
        version: past.version.to_string(),
        until_date: time(past.until_ms),
        replaced_by: past.replaced_by.clone(),
    }
}
