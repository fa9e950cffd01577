//! The pure part of objects: whether a definition makes sense ([`definition`]), whether fields are
//! right ([`check`]), what a change makes of them ([`merge`]), how values are written so that they
//! sort ([`index`]), what a filter means ([`filter`]), and how a list is best read ([`plan`]).
//!
//! Must never read a clock or the store: what has to be looked up is handed in.

pub mod check;
pub mod cursor;
pub mod definition;
pub mod document;
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
