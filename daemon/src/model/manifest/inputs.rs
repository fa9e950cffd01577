//! Typed configuration values of a snap-in, and field descriptors in general. Plain data.

use serde::{Deserialize, Serialize};

use super::Level;

/// One input: a value that an admin (organization) or each user sets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    pub level: Level,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub field_type: FieldType,
    /// What an array is made of; always there for [`FieldType::Array`], never otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_type: Option<FieldType>,
    /// Short names of the object types that an id may belong to; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_type: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_values: Vec<String>,
    #[serde(default)]
    pub is_required: bool,
    /// Already of the field's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_value: Option<serde_json::Value>,
    #[serde(default)]
    pub validators: Validators,
    #[serde(default)]
    pub ui: InputUi,
}

/// How an input is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputUi {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Not shown in forms; such inputs are used as state that functions write.
    #[serde(default)]
    pub is_hidden: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tooltip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name: Option<String>,
    /// Hints that only a console can understand, as they were written.
    #[serde(default, flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Limits on a value. Lengths count characters (or items of an array).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validators {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_len: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_len: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eq_len: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<serde_json::Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gte: Option<serde_json::Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<serde_json::Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lte: Option<serde_json::Number>,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    Array,
    Bool,
    Composite,
    Date,
    Double,
    Enum,
    Id,
    Int,
    JsonValue,
    RichText,
    Struct,
    #[default]
    Text,
    Timestamp,
    Tokens,
    Uenum,
    Unknown,
}

impl FieldType {
    /// Every type with its name in manifests.
    pub const ALL: [(&'static str, FieldType); 16] = [
        ("array", FieldType::Array),
        ("bool", FieldType::Bool),
        ("composite", FieldType::Composite),
        ("date", FieldType::Date),
        ("double", FieldType::Double),
        ("enum", FieldType::Enum),
        ("id", FieldType::Id),
        ("int", FieldType::Int),
        ("json_value", FieldType::JsonValue),
        ("rich_text", FieldType::RichText),
        ("struct", FieldType::Struct),
        ("text", FieldType::Text),
        ("timestamp", FieldType::Timestamp),
        ("tokens", FieldType::Tokens),
        ("uenum", FieldType::Uenum),
        ("unknown", FieldType::Unknown),
    ];

    /// The name in manifests.
    pub fn name(self) -> &'static str {
        let found = FieldType::ALL.iter().find(|(_, field_type)| *field_type == self);
        found.expect("ALL names every variant, which a test checks").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_stored_form() {
        for (name, field_type) in FieldType::ALL {
            assert_eq!(field_type.name(), name);
            assert_eq!(serde_json::to_value(field_type).unwrap(), name);
        }
    }
}
