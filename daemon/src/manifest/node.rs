//! The tree between YAML text and the manifest: values with their places.
//!
//! Owns the shape of the tree and its way to JSON. It must never know a manifest key. Children are
//! shared, so that an alias costs nothing until somebody walks it.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

/// A place in the manifest's text, counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    pub(super) const START: Place = Place { line: 1, column: 1 };
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Arc<Vec<Node>>),
    Map(Arc<Vec<Entry>>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<str>,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// As written, after the unfolding of its style.
    pub(super) text: Arc<str>,
    pub(super) layout: Layout,
    /// Without quotes, so that its text decides its type.
    pub(super) plain: bool,
    pub(super) core: Core,
}

/// What a scalar is in the YAML 1.2 core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Core {
    Null,
    Bool(bool),
    Int(i64),
    /// Above the range of `i64`.
    UInt(u64),
    Float(f64),
    Text,
}

/// How lines of a scalar's text lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A literal block: line `n` of the text is `first_line + n - 1`, shifted right by `indent`.
    Block { first_line: u32, indent: u32 },
    /// Verbatim in one line, from this column on.
    OneLine { column: u32 },
    /// Folded or escaped: positions inside are not those of the file.
    Folded,
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(Scalar { core: Core::Null, .. }))
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| &*entry.key == key),
            Kind::Scalar(_) | Kind::List(_) => None,
        }
    }

    /// What it is, for "expected ..., found ...".
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
            Kind::Scalar(scalar) => match scalar.core {
                Core::Null => "nothing",
                Core::Bool(_) => "a boolean",
                Core::Int(_) | Core::UInt(_) | Core::Float(_) => "a number",
                Core::Text => "text",
            },
        }
    }

    /// The same as JSON, or the place of the first value that JSON cannot express.
    pub(super) fn to_json(&self) -> Result<Value, Place> {
        Ok(match &self.kind {
            Kind::Scalar(scalar) => match scalar.core {
                Core::Null => Value::Null,
                Core::Bool(value) => Value::Bool(value),
                Core::Int(value) => Value::from(value),
                Core::UInt(value) => Value::from(value),
                Core::Float(value) => Value::Number(Number::from_f64(value).ok_or(self.place)?),
                Core::Text => Value::String(scalar.text.as_ref().to_owned()),
            },
            Kind::List(items) => {
                Value::Array(items.iter().map(Node::to_json).collect::<Result<_, _>>()?)
            }
            Kind::Map(entries) => {
                let mut object = Map::new();
                for entry in entries.iter() {
                    object.insert(entry.key.as_ref().to_owned(), entry.value.to_json()?);
                }
                Value::Object(object)
            }
        })
    }
}
