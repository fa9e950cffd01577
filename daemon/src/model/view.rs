//! Views: a saved question about the objects of one type, and which of their members are shown. Plain
//! data; whether one makes sense is judged in `objects/view.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::object_type::Origin;

/// A view, as an admin or a manifest gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Unique on the host; what people call it by.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Name of the type whose objects are shown.
    pub object_type: String,
    /// Which of them, as lists of objects take it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub filter: Map<String, Value>,
    /// In which order, as lists of objects take it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort_by: Vec<String>,
    /// What of each is shown; when none is named, what says which object it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Where its values are in an object as it is shown; dots lead into objects and lists.
    pub path: String,
    /// What stands above it; its path when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// A view as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredView {
    /// The view.
    pub view: View,
    /// Whose it is.
    pub origin: Origin,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
    /// When it was last changed, milliseconds of the Unix epoch.
    pub modified_ms: u64,
    /// Name of the principal that changed it last.
    pub modified_by: String,
}
