//! The pure part of objects.
//!
//! | module | owns |
//! |---|---|
//! | [`definition`] | whether a definition makes sense, and the numbers of its fields |
//! | [`check`] | whether fields are right by the schema, and what is said when they are not |
//! | [`estimate`] | whether that could become too much to say |
//! | [`merge`] | what a change makes of fields |
//! | [`path`] | the values at a path of names, those in lists too |
//! | [`document`] | the one JSON form of an object: its standard fields and its own |
//! | [`index`] | how values are written so that they sort |
//! | [`filter`] | what a filter means |
//! | [`query`] | what a list asks for: columns, conditions, an order |
//! | [`plan`] | how a list is best read |
//! | [`cursor`] | where a list goes on |
//! | [`view`] | whether a view makes sense |
//! | [`own`] | the types of the daemon's own things |
//! | [`wire`] | other names and forms in which ported callers send fields |
//!
//! Must never read a clock or the store: what has to be looked up is handed in.

pub mod check;
pub mod cursor;
pub mod definition;
pub mod document;
pub mod estimate;
pub mod filter;
pub mod index;
pub mod merge;
pub mod own;
pub mod path;
pub mod plan;
pub mod query;
pub mod view;
pub mod wire;

/// What is wrong with a field, for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldProblem {
    /// Its path, such as `tags[1].name`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, where that can be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

impl FieldProblem {
    /// A problem for which no choices can be listed.
    pub fn new(field: &str, message: impl Into<String>) -> FieldProblem {
        FieldProblem { field: field.to_owned(), message: message.into(), allowed: Vec::new() }
    }

    /// In one line.
    pub fn line(&self) -> String {
        if self.field.is_empty() {
            return self.message.clone();
        }
        format!("`{}`: {}", self.field, self.message)
    }
}
