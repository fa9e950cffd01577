//! Keyrings: secrets and OAuth2 connections that are bound to a snap-in, a person's use of one, or
//! the developer of a package (seed 000, spec §1.3). Plain data; the secret itself is never here.

use serde::{Deserialize, Serialize};

use super::id::{PackageId, SnapInId, UserId};

/// Who a keyring belongs to. It is deleted with its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "owner", rename_all = "snake_case")]
pub enum KeyringOwner {
    /// Shared by all who use the snap-in.
    SnapIn {
        /// Which.
        snap_in: SnapInId,
        /// Name in the manifest.
        name: String,
    },
    /// One person's, for one snap-in.
    User {
        /// Which.
        snap_in: SnapInId,
        /// Whose.
        user: UserId,
        /// Name in the manifest.
        name: String,
    },
    /// The developer's: the same for every installation of the package.
    Developer {
        /// Which.
        package: PackageId,
        /// Name in the manifest.
        name: String,
    },
}

impl KeyringOwner {
    /// Name in the manifest.
    pub fn name(&self) -> &str {
        match self {
            KeyringOwner::SnapIn { name, .. }
            | KeyringOwner::User { name, .. }
            | KeyringOwner::Developer { name, .. } => name,
        }
    }

    /// The snap-in that uses it, when it is not the developer's.
    pub fn snap_in(&self) -> Option<SnapInId> {
        match self {
            KeyringOwner::SnapIn { snap_in, .. } | KeyringOwner::User { snap_in, .. } => {
                Some(*snap_in)
            }
            KeyringOwner::Developer { .. } => None,
        }
    }
}

/// Whether a keyring can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KeyringState {
    /// An OAuth2 authorization was begun and nobody has granted it yet.
    Pending,
    /// It has a secret.
    Ready,
    /// Its secret is of no use any more.
    Broken {
        /// What the other side said, for the one who must mend it.
        reason: String,
    },
}

impl KeyringState {
    /// The name that users see.
    pub fn name(&self) -> &'static str {
        match self {
            KeyringState::Pending => "pending",
            KeyringState::Ready => "ready",
            KeyringState::Broken { .. } => "broken",
        }
    }
}

/// The organization at the external system that a connection belongs to (`organization_data`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExternalOrganization {
    /// Its id there.
    pub id: String,
    /// Its name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
