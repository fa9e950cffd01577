//! The records that are stored, one type per table. They are the database's own: what the API shows
//! has types of its own, and the two change independently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::StoreError;
use super::record::Record;
use crate::lifecycle::snap_in::Effect;
use crate::lifecycle::source::Block;
use crate::model::artifact::ArtifactState;
use crate::model::event::EventHead;
use crate::model::id::{
    AutomationId, ContentId, KeyringId, PackageId, RunId, ServiceAccountId, SnapInId, SourceId,
    TagId, UserId, VersionId,
};
use crate::model::keyring::{ExternalOrganization, KeyringOwner, KeyringState};
use crate::model::manifest::{ChosenRuntime, Manifest};
use crate::model::recording::{RecordedRequest, Recording};
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
    /// Blob of all its files, hex; absent when no function needs them on the disk.
    #[serde(default)]
    pub files: Option<String>,
    /// Where events are posted for functions with the runtime `remote`.
    #[serde(default)]
    pub testing_url: Option<String>,
    /// What runs each function, and why; a function that is not here runs in `quickjs`.
    #[serde(default)]
    pub runtimes: BTreeMap<String, ChosenRuntime>,
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
    /// Values of organization inputs that were set; the others have their defaults.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// Organization keyrings by their name in the manifest.
    #[serde(default)]
    pub keyrings: BTreeMap<String, KeyringId>,
    /// Tags by their name in the manifest.
    #[serde(default)]
    pub tags: BTreeMap<String, TagId>,
    /// Grows with every change of its configuration (version, inputs, keyrings).
    #[serde(default)]
    pub revision: u64,
    /// Versions that it was of before, oldest first.
    #[serde(default)]
    pub past_versions: Vec<PastVersion>,
    /// Sources of past versions that the present one does not have: closed, kept for a rollback.
    #[serde(default)]
    pub detached_sources: Vec<SourceId>,
    /// Automations of past versions that the present one does not have, by name.
    #[serde(default)]
    pub detached_automations: BTreeMap<String, AutomationId>,
    /// When it was installed, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// When its state last changed.
    pub changed_ms: u64,
    /// Name of the principal that installed it.
    pub created_by: String,
}

/// A version that a snap-in was of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastVersion {
    /// Which.
    pub version: VersionId,
    /// Until when, milliseconds of the Unix epoch.
    pub until_ms: u64,
    /// Name of the principal that replaced it.
    pub replaced_by: String,
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
    /// The one before, while it is known too.
    #[serde(default)]
    pub previous_token: Option<PreviousToken>,
    /// Whether it takes events while its snap-in does.
    pub status: SourceStatus,
    /// Why it is blocked.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who blocked it, when it was not the daemon.
    #[serde(default)]
    pub block: Option<Block>,
    /// Whose it is, when its level is the user's.
    #[serde(default)]
    pub user: Option<UserId>,
    /// What the external system calls the registration of its trigger URL, while there is one.
    #[serde(default)]
    pub registration: Option<String>,
    /// The same of registrations of trigger URLs that it had before, and that are not taken back yet.
    #[serde(default)]
    pub outdated_registrations: Vec<String>,
}

/// The secret part of a trigger URL that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousToken {
    /// It.
    pub token: String,
    /// From when on it is unknown, milliseconds of the Unix epoch.
    pub until_ms: u64,
}

/// What became of the inputs of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCountsRecord {
    /// Since when, milliseconds of the Unix epoch.
    pub since_ms: u64,
    /// Events that were stored.
    #[serde(default)]
    pub accepted: u64,
    /// Events that had been stored before.
    #[serde(default)]
    pub duplicate: u64,
    /// Inputs that were answered and led to no event, as they should.
    #[serde(default)]
    pub answered: u64,
    /// Inputs that deserved no event, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// The same, for further reasons.
    #[serde(default)]
    pub refused_otherwise: u64,
    /// Inputs of which nothing became because something failed, by what.
    #[serde(default)]
    pub failed: BTreeMap<String, u64>,
    /// When an event was stored last.
    #[serde(default)]
    pub last_accepted_ms: Option<u64>,
    /// When an input was refused last.
    #[serde(default)]
    pub last_refused_ms: Option<u64>,
}

/// A source that is woken: when next, and what it keeps until then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimerRecord {
    /// When it wants to be woken next, milliseconds of the Unix epoch; absent: not any more.
    #[serde(default)]
    pub due_ms: Option<u64>,
    /// When the last wake-up was due.
    #[serde(default)]
    pub last_ms: Option<u64>,
    /// What its plugin said last to be given again.
    #[serde(default)]
    pub cursor: Option<Value>,
}

/// An event that is to be published later; its payload is the tail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduledRecord {
    /// Such as `custom:my-event`.
    pub event_type: String,
    /// At most one pending event of the source has this key.
    pub event_key: String,
    /// When it was scheduled, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that scheduled it.
    pub scheduled_by: String,
}

/// A keyring, without its secret: that is an envelope under the same id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyringRecord {
    /// Whose it is.
    #[serde(flatten)]
    pub owner: KeyringOwner,
    /// Id of its type: built in, or one of the manifest's.
    #[serde(rename = "type")]
    pub type_id: String,
    /// Whether it can be used.
    #[serde(flatten)]
    pub state: KeyringState,
    /// `[SUBDOMAIN]`, for types that ask for one.
    #[serde(default)]
    pub subdomain: Option<String>,
    /// Whose account it is at the external system.
    #[serde(default)]
    pub organization: Option<ExternalOrganization>,
    /// OAuth2: when the access token expires, milliseconds of the Unix epoch.
    #[serde(default)]
    pub expires_ms: Option<u64>,
    /// OAuth2: whether there is a refresh token.
    #[serde(default)]
    pub refreshable: bool,
    /// OAuth2: what was granted.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Whether the external system has confirmed it.
    #[serde(default)]
    pub verified: bool,
    /// Which fields of its type have a value, when the type has fields.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Grows whenever its secret is replaced, so that what was made of an older one is not stored.
    #[serde(default)]
    pub generation: u64,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// When its secret last changed.
    pub changed_ms: u64,
    /// When somebody last set or granted it: a renewal is nobody's doing.
    #[serde(default)]
    pub set_ms: u64,
    /// Name of the principal that set it last.
    pub changed_by: String,
}

/// An authorization that somebody was sent to grant at an external system, until he comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuthorizationRecord {
    /// Whose keyring it will be.
    #[serde(flatten)]
    pub owner: KeyringOwner,
    /// The version whose manifest says how.
    pub version: VersionId,
    /// Whether the snap-in may be of another one.
    #[serde(default)]
    pub is_for_upgrade: bool,
    /// Id of the keyring's type.
    #[serde(rename = "type")]
    pub type_id: String,
    /// `[SUBDOMAIN]`.
    #[serde(default)]
    pub subdomain: Option<String>,
    /// The organization that is wanted, when there may be several.
    #[serde(default)]
    pub organization: Option<String>,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Where he comes back to; the server is told again when he has.
    pub redirect_uri: String,
    /// Owner of the envelope with the secret half of the authorization; no keyring has this id.
    pub envelope: KeyringId,
    /// Until when, milliseconds of the Unix epoch.
    pub expires_ms: u64,
    /// Name of the principal that began it.
    pub begun_by: String,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Unique: the name of the principal.
    pub name: String,
    /// When he was first heard of, milliseconds of the Unix epoch.
    pub created_ms: u64,
}

/// What a person has set for himself in a snap-in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserSettingsRecord {
    /// Whether he has enabled the snap-in for himself.
    pub enabled: bool,
    /// Values of user inputs that were set.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// User keyrings by their name in the manifest.
    #[serde(default)]
    pub keyrings: BTreeMap<String, KeyringId>,
    /// His event sources by their name in the manifest; kept while he has disabled it.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceId>,
    /// Sources that were of another type, in past versions: closed, kept for a rollback.
    #[serde(default)]
    pub detached_sources: Vec<SourceId>,
}

/// A snap-kit body that is displayed; the body itself is the tail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DisplayedRecord {
    /// The run that drew it; absent for one that stands in the manifest.
    #[serde(default)]
    pub run: Option<RunId>,
    /// When, milliseconds of the Unix epoch.
    pub displayed_ms: u64,
}

/// A tag: a name that things are marked with, one for the whole host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagRecord {
    /// Unique on the host.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
}

/// An effect that has not been carried out yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// The snap-in whose lifecycle gave rise to it.
    pub snap_in: SnapInId,
    /// What is to be done.
    pub effect: Effect,
}

/// What a call with an `Idempotency-Key` was answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// SHA-256 of the parameters, hex.
    pub body_hash: String,
    /// When, milliseconds of the Unix epoch.
    pub answered_ms: u64,
    /// On what its caller had the right of the call; empty in what an older daemon wrote.
    pub reach: String,
    /// How far it came.
    pub progress: CallProgress,
}

/// How far a call with an `Idempotency-Key` came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallProgress {
    /// It was about to be carried out, by another task than its own.
    Begun {
        /// The row of the audit log that says so.
        audit: Option<u64>,
    },
    /// It was carried out: this stands in the very transaction of its change.
    Done {
        /// The row of the audit log that says so.
        audit: Option<u64>,
    },
    /// It was answered, with this body.
    Answered(String),
}

/// A file that is kept; its bytes are parts under the id of its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// As whoever brought it calls it.
    pub file_name: String,
    /// Its media type.
    pub file_type: String,
    /// What of it is there.
    #[serde(flatten)]
    pub state: ArtifactState,
    /// Its bytes.
    pub content: ContentId,
    /// How many bytes it was said to have.
    #[serde(default)]
    pub expected_size: Option<u64>,
    /// SHA-256 that its bytes were said to have, hex.
    #[serde(default)]
    pub expected_sha256: Option<String>,
    /// How many bytes the parts that came say that it has.
    #[serde(default)]
    pub said_total: Option<u64>,
    /// The snap-in that brought it; absent for those of the host.
    #[serde(default)]
    pub snap_in: Option<SnapInId>,
    /// Id of what it belongs to.
    #[serde(default)]
    pub parent: Option<String>,
    /// When it was prepared, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// When bytes of it came last, or it was attached or detached.
    pub changed_ms: u64,
    /// Name of the principal that prepared it.
    pub created_by: String,
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
impl Record for SourceCountsRecord {
    const NAME: &'static str = "counts of a source";
}
impl Record for TimerRecord {
    const NAME: &'static str = "timer";
}
impl Record for ScheduledRecord {
    const NAME: &'static str = "scheduled event";
}
impl Record for KeyringRecord {
    const NAME: &'static str = "keyring";
}
impl Record for AuthorizationRecord {
    const NAME: &'static str = "authorization";
}
impl Record for UserRecord {
    const NAME: &'static str = "user";
}
impl Record for UserSettingsRecord {
    const NAME: &'static str = "user settings";
}
impl Record for DisplayedRecord {
    const NAME: &'static str = "displayed body";
}
impl Record for RecordedRequest {
    const NAME: &'static str = "recorded request";
}
impl Record for Recording {
    const NAME: &'static str = "recording";
}
impl Record for TagRecord {
    const NAME: &'static str = "tag";
}
impl Record for EffectRecord {
    const NAME: &'static str = "effect";
}
impl Record for AnswerRecord {
    const NAME: &'static str = "answer";
    /// 2: how far the call came, and on what its caller had the right.
    const VERSION: u8 = 2;

    fn from_older(version: u8, json: &[u8]) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct First {
            body_hash: String,
            answered_ms: u64,
            answer: String,
        }
        if version != 1 {
            return Err(StoreError::corrupt(format!("answer record of unknown version {version}")));
        }
        let First { body_hash, answered_ms, answer } = serde_json::from_slice(json)
            .map_err(|error| StoreError::corrupt(format!("unreadable answer record: {error}")))?;
        let progress = CallProgress::Answered(answer);
        Ok(AnswerRecord { body_hash, answered_ms, reach: String::new(), progress })
    }
}
impl Record for ArtifactRecord {
    const NAME: &'static str = "artifact";
}
impl Record for EventHead {
    const NAME: &'static str = "event";
}
impl Record for RunHead {
    const NAME: &'static str = "run";
}
