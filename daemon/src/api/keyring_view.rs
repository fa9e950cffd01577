//! How a keyring is shown: what it is of, what state it is in, what it may be. The secret itself is
//! never in it, only a mask that keeps it when it is sent back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::lists::time;
use crate::connections::secret::MASK;
use crate::connections::types::{ConnectionKind, ConnectionType, TypeError};
use crate::engine::keyrings::Located;
use crate::model::id::UserId;
use crate::model::keyring::{ExternalOrganization, KeyringOwner, KeyringState};
use crate::store::KeyringRecord;

/// No user has this id.
pub(super) const NOBODY: UserId = UserId(0);

/// A keyring of a snap-in, without its secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct Keyring {
    /// Absent while it was never set.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    snap_in: String,
    name: String,
    /// `organization` or `user`.
    level: &'static str,
    /// Whose it is, at user level.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// missing, pending, ready or broken.
    pub(super) state: &'static str,
    /// What is wrong, when it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Until when somebody who was sent to grant access has to be back.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaited_until_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Whether the snap-in can do without it.
    optional: bool,
    /// Slugs of the operations whose functions alone get it; empty when every function does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operations: Vec<String>,
    /// Whether the present version declares it; one that only an earlier version had is kept.
    declared: bool,
    /// What it may be of.
    types: Vec<KeyringType>,
    #[serde(flatten)]
    set: Option<SetKeyring>,
}

/// What there is to say of a keyring that was set.
#[derive(Serialize, JsonSchema)]
struct SetKeyring {
    /// Id of its type.
    #[serde(rename = "type")]
    type_id: String,
    /// A mask, for one text. Sent back as it is, it keeps what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'static str>,
    /// A mask for each field that has a value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, &'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdomain: Option<String>,
    /// Whose account it is at the external system.
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<ExternalOrganization>,
    /// Whether the external system has confirmed it.
    verified: bool,
    /// What was granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    /// When its access token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_date: Option<String>,
    /// Whether its access token is renewed without anybody's doing.
    refreshable: bool,
    created_date: String,
    changed_date: String,
    /// When somebody last set or granted it; a renewal leaves it as it is.
    set_date: String,
    changed_by: String,
}

/// A type that a keyring may be of.
#[derive(Serialize, JsonSchema)]
struct KeyringType {
    id: String,
    /// `secret` (set it) or `oauth2` (connect it); `unusable` when it cannot be used.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// What is asked for; empty for one text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    /// What can be asked for at the external system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    /// Whether it asks for a subdomain.
    needs_subdomain: bool,
    /// What a reader should know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Field {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    optional: bool,
}

pub(super) fn keyring(located: Located) -> Keyring {
    let types = located.types();
    let awaited_until_ms = located.awaited_until_ms;
    let is_connection = located.is_connection();
    let Located { owner, declared, found, .. } = located;
    let (level, user) = match &owner {
        KeyringOwner::User { user, .. } => {
            ("user", Some(*user).filter(|it| *it != NOBODY).map(|it| it.to_string()))
        }
        KeyringOwner::SnapIn { .. } | KeyringOwner::Developer { .. } => ("organization", None),
    };
    let state = found.as_ref().map(|(_, record)| record.state.clone());
    let ids = declared.iter().flat_map(|it| it.types.clone());
    Keyring {
        id: found.as_ref().map(|(id, _)| id.to_string()),
        snap_in: owner.snap_in().map(|it| it.to_string()).unwrap_or_default(),
        name: owner.name().to_owned(),
        level,
        user,
        state: match (&state, awaited_until_ms) {
            (Some(state), _) => state.name(),
            (None, Some(_)) => KeyringState::Pending.name(),
            (None, None) => "missing",
        },
        awaited_until_date: awaited_until_ms.map(time),
        reason: match state {
            Some(KeyringState::Broken { reason }) => Some(reason),
            Some(KeyringState::Pending | KeyringState::Ready) | None => None,
        },
        display_name: declared.as_ref().and_then(|it| it.display_name.clone()),
        description: declared.as_ref().and_then(|it| it.description.clone()),
        optional: declared.as_ref().is_none_or(|it| it.optional),
        operations: declared.as_ref().map(|it| it.operations.clone()).unwrap_or_default(),
        declared: declared.is_some(),
        types: ids.zip(types).map(|(id, it)| keyring_type(id, it)).collect(),
        set: found.map(|(_, record)| set_keyring(record, is_connection)),
    }
}

fn set_keyring(record: KeyringRecord, is_connection: bool) -> SetKeyring {
    let is_one_text = record.fields.is_empty() && !is_connection;
    SetKeyring {
        type_id: record.type_id,
        secret: is_one_text.then_some(MASK),
        fields: record.fields.into_iter().map(|id| (id, MASK)).collect(),
        subdomain: record.subdomain,
        organization: record.organization,
        verified: record.verified,
        scopes: record.scopes,
        expires_date: record.expires_ms.map(time),
        refreshable: record.refreshable,
        created_date: time(record.created_ms),
        changed_date: time(record.changed_ms),
        set_date: time(record.set_ms.max(record.created_ms)),
        changed_by: record.changed_by,
    }
}

fn keyring_type(id: String, found: Result<ConnectionType, TypeError>) -> KeyringType {
    match found {
        Ok(found) => {
            let kind = found.kind_name();
            let (fields, scopes) = match found.kind {
                ConnectionKind::Secret(config) => (config.fields, Vec::new()),
                ConnectionKind::Oauth2(oauth2) => (Vec::new(), oauth2.scopes),
            };
            KeyringType {
                id,
                kind,
                name: found.name,
                description: found.description,
                fields: fields
                    .into_iter()
                    .map(|it| Field {
                        id: it.id,
                        name: it.name,
                        description: it.description,
                        optional: it.is_optional,
                    })
                    .collect(),
                scopes: scopes.into_iter().map(|it| it.value).collect(),
                needs_subdomain: found.is_subdomain,
                warning: found.warning,
            }
        }
        Err(error) => KeyringType {
            id,
            kind: "unusable",
            name: None,
            description: None,
            fields: Vec::new(),
            scopes: Vec::new(),
            needs_subdomain: false,
            warning: Some(error.to_string()),
        },
    }
}
