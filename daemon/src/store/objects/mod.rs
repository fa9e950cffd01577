//! Objects of types that are defined at run time.
//!
//! A write is decided outside, by the types at one revision and the object at one version; here both
//! are compared, and what is found to be another is answered and not written. The rows of the index
//! that come and go are handed in. Must never look into an object's fields, nor validate one.

mod list;
mod own;
mod read;
#[cfg(test)]
mod tests;
mod types;
mod write;

use serde::{Deserialize, Serialize};

pub(super) use own::{Told, trigger_name};
pub use read::TypesAt;
pub use types::{TypeChange, TypesWrite};
pub use write::{
    Deletion, Indexed, Indexing, NewObject, ObjectUpdate, ObjectWrite, Writing, WrittenObject,
};

use super::record::Record;
use crate::model::object::{FieldNumber, ObjectHead};
use crate::model::object_type::{Defined, Origin};

/// The counter that grows whenever a type changes.
const REVISION: &str = "object types";
/// The counter of types.
const NUMBER: &str = "object type numbers";
/// What stands before the prefix of display ids in the name of their counter.
const DISPLAY: &str = "display id ";

/// A type of objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectTypeRecord {
    /// What its objects are checked by.
    #[serde(flatten)]
    pub current: Defined,
    /// What it is to become, while its objects are looked at: writes obey both.
    #[serde(default)]
    pub candidate: Option<Defined>,
    /// Fields whose rows in the index are to go.
    #[serde(default)]
    pub retired: Vec<FieldNumber>,
    /// The number that the next indexed field gets.
    pub next_field: FieldNumber,
    /// Revision of all types at which this one last changed.
    pub revision: u64,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
    /// When it was last changed.
    pub modified_ms: u64,
    /// Name of the principal that changed it last.
    pub modified_by: String,
}

impl Record for ObjectTypeRecord {
    const NAME: &'static str = "object type";
}
impl Record for ObjectHead {
    const NAME: &'static str = "object";
}
