//! Objects: what is kept of one beside its fields, and what is told of a change. Plain data.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::event::Cause;
use super::id::{self, ChangeId};

/// Number of a type, given when it is made and never again.
pub type TypeNumber = u32;

/// Number of a field in the index of its type.
pub type FieldNumber = u16;

/// An object: its type's number and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Of which type.
    pub kind: TypeNumber,
    /// Which; grows, and its first 48 bits are when it was made.
    pub id: u128,
}

impl ObjectKey {
    /// When it was made, milliseconds of the Unix epoch.
    pub fn created_ms(&self) -> u64 {
        id::created_ms(self.id)
    }
}

/// What is kept of an object beside its own fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHead {
    /// Counts its changes, from 1.
    pub version: u64,
    /// When it last changed, milliseconds of the Unix epoch.
    pub modified_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
    /// Name of the principal that changed it last.
    pub modified_by: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_id: Option<String>,
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Which.
    pub key: ObjectKey,
    /// What is kept beside its fields.
    pub head: ObjectHead,
    /// Its own fields: a JSON object, in which references are ids.
    pub fields: Bytes,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was deleted.
    Deleted,
}

impl Verb {
    /// The end of the name of its event: `work_created`.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Created => "created",
            Verb::Updated => "updated",
            Verb::Deleted => "deleted",
        }
    }
}

/// A change to an object, as it is written down in the transaction that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChange {
    /// Name of the object's type, such as `work`.
    pub object_type: String,
    /// What happened.
    pub verb: Verb,
    /// Id of the object, as text.
    pub object: String,
    /// Version of the object after it; of a deleted one the last.
    pub version: u64,
    /// The object before: a JSON object. Absent for one that was made.
    pub old: Option<Bytes>,
    /// The object after: a JSON object. Absent for one that was deleted.
    pub new: Option<Bytes>,
    /// Name of the principal that did it.
    pub actor: String,
    /// What caused it.
    pub cause: Cause,
}

/// What is kept of a change beside the object before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeHead {
    /// When, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// Name of the object's type.
    pub object_type: String,
    /// What happened.
    pub verb: Verb,
    /// Id of the object.
    pub object: String,
    /// Version of the object after it.
    pub version: u64,
    /// How many bytes of the tail are the object before.
    pub old_bytes: u32,
    /// Name of the principal that did it.
    pub actor: String,
    /// What caused it.
    #[serde(default)]
    pub cause: Cause,
}

impl ChangeHead {
    /// The type of its events, such as `work_created`.
    pub fn event_type(&self) -> String {
        format!("{}_{}", self.object_type, self.verb.name())
    }
}

/// A change, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which. Ids of changes grow in the order of commits.
    pub id: ChangeId,
    /// What is kept of it.
    pub head: ChangeHead,
    /// The object before, a JSON object; absent for one that was made.
    pub old: Option<Bytes>,
    /// The object after, a JSON object; absent for one that was deleted.
    pub new: Option<Bytes>,
}
