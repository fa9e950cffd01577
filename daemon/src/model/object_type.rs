//! Types of objects: what their objects look like, and how they are found. Plain data; whether a
//! definition makes sense is judged in `objects/definition.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::PackageId;

/// The definition of a type, as an admin or a manifest gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectType {
    /// Singular, in snake case: `timeline_entry`. It is the type's identity.
    pub name: String,
    /// Plural, in snake case, as answers have it; paths of calls have `-` instead of `_`.
    pub plural: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What ids of its objects start with, before the underscore.
    pub id_prefix: String,
    /// The field that says which object this is, to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title_field: Option<String>,
    /// Numbers that people call objects by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_id: Option<DisplayIds>,
    /// Fields that lists can be filtered and sorted by; dots lead into objects and arrays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexed: Vec<String>,
    /// Fields that name other objects, and of which types.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, Targets>,
    /// References that are shown as ids, with display id and type beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain_references: Vec<String>,
    /// Fields that are shown of an object where another one refers to it, beside its title.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summary: Vec<String>,
    /// Other names of indexed fields in filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter_aliases: BTreeMap<String, String>,
    /// Other names of fields in what callers send.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input_aliases: BTreeMap<String, String>,
    /// Members that callers may send and that are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// What the object is called in the events of its changes; its type's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_member: Option<String>,
    /// JSON Schema (2020-12) of its own fields.
    pub schema: Value,
}

/// Display ids such as `ISS-1`: a prefix and a number that counts up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DisplayIds {
    /// One prefix for all.
    Prefix(String),
    /// A prefix for each value of a field.
    ByField {
        /// The field.
        by: String,
        /// Value to prefix.
        prefixes: BTreeMap<String, String>,
    },
}

impl DisplayIds {
    /// Every prefix that they may have.
    pub fn prefixes(&self) -> Vec<&str> {
        match self {
            DisplayIds::Prefix(prefix) => vec![prefix],
            DisplayIds::ByField { prefixes, .. } => prefixes.values().map(String::as_str).collect(),
        }
    }
}

/// Which types a reference may lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// One, or with `*` any.
    One(String),
    /// One of these.
    Several(Vec<String>),
}

impl Targets {
    /// What stands for every type.
    pub const ANY: &'static str = "*";

    /// Whether a type is among them.
    pub fn has(&self, name: &str) -> bool {
        self.names().iter().any(|it| *it == name || *it == Targets::ANY)
    }

    /// As they are written.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Targets::One(name) => vec![name],
            Targets::Several(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// How the values of an indexed field are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// As JSON values.
    Value,
    /// As points in time, when they are texts in the form of RFC 3339.
    Time,
}

/// A field of a type that has rows in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedField {
    /// Its path, with dots.
    pub path: String,
    /// What stands for it in the index; never used for another field of this type.
    pub number: u16,
    /// How it is ordered.
    pub kind: IndexKind,
    /// Whether no object can have several values there. Not known of types that were stored before this was.
    #[serde(default)]
    pub has_one: bool,
}

/// Where a definition comes from. Several packages may bring the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// An admin made it.
    #[serde(default)]
    pub admin: bool,
    /// These packages declare it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageId>,
}

/// A definition, with the numbers of its fields in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Defined {
    /// The definition.
    pub definition: ObjectType,
    /// Its indexed fields, references among them.
    pub fields: Vec<IndexedField>,
}
