//! The records that are stored, one type per table. They are the database's own: what the API shows
//! has types of its own, and the two change independently.

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::lifecycle::snap_in::Effect;
use crate::model::event::EventHead;
use crate::model::id::{AutomationId, PackageId, ServiceAccountId, SnapInId, SourceId, VersionId};
use crate::model::manifest::Manifest;
use crate::model::run::RunHead;
use crate::model::scope::Scope;
use crate::model::snap_in::{SnapInState, SourceStatus};

/// A named line of versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Unique on the host.
    pub slug: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// When, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that created it.
    pub created_by: String,
}

/// Manifest and code; never changed after it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// The package it belongs to.
    pub package: PackageId,
    /// Counts from 1 within the package.
    pub number: u32,
    /// SHA-256 over manifest and files, hex.
    pub content_hash: String,
    /// The manifest as written.
    pub manifest_text: String,
    /// The manifest as understood.
    pub manifest: Manifest,
    /// Blob of the prepared code, hex; absent for a version without functions.
    #[serde(default)]
    pub code: Option<String>,
    /// What was questionable about it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// When, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that created it.
    pub created_by: String,
}

/// One installation of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapInRecord {
    /// What is installed.
    pub version: VersionId,
    /// The package of that version.
    pub package: PackageId,
    /// Where it lives.
    pub scope: Scope,
    /// Where it is in its life.
    pub state: SnapInState,
    /// The identity under which it acts.
    pub service_account: ServiceAccountId,
    /// Its sources, in manifest order.
    pub sources: Vec<SourceId>,
    /// Ids of its automations, in manifest order.
    pub automations: Vec<AutomationId>,
    /// When it was installed, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// When its state last changed.
    pub changed_ms: u64,
    /// Name of the principal that installed it.
    pub created_by: String,
}

/// A configured source of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The snap-in that it belongs to.
    pub snap_in: SnapInId,
    /// Name in the manifest.
    pub name: String,
    /// The plugin's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The secret part of its trigger URL.
    pub token: String,
    /// Whether it takes events while its snap-in does.
    pub status: SourceStatus,
    /// Why it is blocked.
    #[serde(default)]
    pub reason: Option<String>,
}

/// An effect that has not been carried out yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// The snap-in whose lifecycle gave rise to it.
    pub snap_in: SnapInId,
    /// What is to be done.
    pub effect: Effect,
}

/// An API token; the token itself is not stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// For people.
    pub name: String,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
}

impl Record for PackageRecord {
    const NAME: &'static str = "package";
}
impl Record for VersionRecord {
    const NAME: &'static str = "version";
}
impl Record for SnapInRecord {
    const NAME: &'static str = "snap-in";
}
impl Record for SourceRecord {
    const NAME: &'static str = "source";
}
impl Record for EffectRecord {
    const NAME: &'static str = "effect";
}
impl Record for TokenRecord {
    const NAME: &'static str = "token";
}
impl Record for EventHead {
    const NAME: &'static str = "event";
}
impl Record for RunHead {
    const NAME: &'static str = "run";
}
