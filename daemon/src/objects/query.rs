//! What a list asks for: columns, conditions on them, an order, and where a page begins.

use std::ops::Bound;

use serde_json::Value;

use super::index;
use super::path;
use crate::model::object::{FieldNumber, ObjectHead, ObjectKey, StoredObject, TypeNumber};
use crate::model::object_type::{IndexKind, IndexedField};

/// Something that lists can be filtered and sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in requests.
    pub path: String,
    /// Where its values are found in order.
    pub place: Place,
    /// How its values are ordered.
    pub kind: IndexKind,
    /// Whether no object has several values there.
    pub has_one: bool,
}

/// Where the values of a column are found in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// They are the ids.
    Id,
    /// They are in the ids, which begin with the time at which they were made.
    Created,
    /// In the index.
    Index(FieldNumber),
}

/// The columns that every type has.
pub fn standard_columns() -> Vec<Column> {
    let column =
        |path: &str, place, kind| Column { path: path.to_owned(), place, kind, has_one: true };
    vec![
        column("id", Place::Id, IndexKind::Value),
        column("created_date", Place::Created, IndexKind::Time),
        column("modified_date", Place::Index(index::MODIFIED), IndexKind::Time),
        column("created_by", Place::Index(index::CREATED_BY), IndexKind::Value),
        column("modified_by", Place::Index(index::MODIFIED_BY), IndexKind::Value),
        column("display_id", Place::Index(index::DISPLAY_ID), IndexKind::Value),
    ]
}

impl From<&IndexedField> for Column {
    fn from(field: &IndexedField) -> Column {
        Column {
            path: field.path.clone(),
            place: Place::Index(field.number),
            kind: field.kind,
            has_one: field.has_one,
        }
    }
}

impl Column {
    /// Whether every object has exactly one row for it, or at least one, so that a list in its order
    /// has all of them. Objects without a display id have no row for it.
    pub fn has_all(&self) -> bool {
        self.place != Place::Index(index::DISPLAY_ID)
    }
}

/// A condition: a column and what its value must be. Of several values of an object one is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Of which column.
    pub column: Column,
    /// What.
    pub test: Test,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// One of these.
    AnyOf(Vec<Operand>),
    /// None of these, nor any other value of the object.
    NoneOf(Vec<Operand>),
    /// Between two.
    Range(Span),
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operand {
    /// Encoded whole.
    pub whole: Vec<u8>,
    /// Encoded as in the index.
    pub cut: Vec<u8>,
}

impl Operand {
    /// A value of a column.
    pub fn of(value: &Value, kind: IndexKind) -> Operand {
        Operand { whole: index::whole(value, kind), cut: index::cut(value, kind) }
    }
}

/// A range of values of one sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, by whole values.
    pub from: Bound<Vec<u8>>,
    /// Where it ends, by whole values.
    pub to: Bound<Vec<u8>>,
    /// What no value of it sorts before, in the index.
    pub start: Vec<u8>,
    /// What every value of it sorts before, in the index, whatever the id.
    pub end: Vec<u8>,
}

impl Condition {
    /// Whether the index alone shows that a condition holds. Otherwise the object has to be looked at.
    pub fn is_exact(&self) -> bool {
        match &self.test {
            Test::AnyOf(operands) => operands.iter().all(|it| it.whole == it.cut),
            Test::NoneOf(_) | Test::Range(_) => false,
        }
    }

    /// Whether it holds for an object.
    pub fn holds(&self, key: ObjectKey, id: &str, head: &ObjectHead, fields: &Value) -> bool {
        let values = whole_values(&self.column, key, id, head, fields);
        match &self.test {
            Test::AnyOf(operands) => values.iter().any(|it| has(operands, it)),
            Test::NoneOf(operands) => !values.iter().any(|it| has(operands, it)),
            Test::Range(span) => values.iter().any(|it| span.holds(it)),
        }
    }
}

fn has(operands: &[Operand], value: &[u8]) -> bool {
    operands.iter().any(|it| it.whole == value)
}

impl Span {
    fn holds(&self, value: &[u8]) -> bool {
        let after_start = match &self.from {
            Bound::Included(from) => value >= from.as_slice(),
            Bound::Excluded(from) => value > from.as_slice(),
            Bound::Unbounded => true,
        };
        let before_end = match &self.to {
            Bound::Included(to) => value <= to.as_slice(),
            Bound::Excluded(to) => value < to.as_slice(),
            Bound::Unbounded => true,
        };
        after_start && before_end
    }
}

/// The values of a column that an object has, whole; null when there is none.
fn whole_values(
    column: &Column,
    key: ObjectKey,
    id: &str,
    head: &ObjectHead,
    fields: &Value,
) -> Vec<Vec<u8>> {
    let text = |text: &str| vec![index::whole(&Value::from(text), IndexKind::Value)];
    match column.place {
        Place::Id => text(id),
        Place::Created => vec![index::time(key.created_ms())],
        Place::Index(index::MODIFIED) => vec![index::time(head.modified_ms)],
        Place::Index(index::CREATED_BY) => text(&head.created_by),
        Place::Index(index::MODIFIED_BY) => text(&head.modified_by),
        Place::Index(index::DISPLAY_ID) => match &head.display_id {
            Some(display_id) => text(display_id),
            None => vec![index::whole(&Value::Null, IndexKind::Value)],
        },
        Place::Index(_) => {
            let found = path::values(fields, &column.path);
            match found.is_empty() {
                true => vec![index::whole(&Value::Null, IndexKind::Value)],
                false => found.into_iter().map(|it| index::whole(it, column.kind)).collect(),
            }
        }
    }
}

/// The value that an object stands at in a list that is sorted by a column, as in the index: of
/// several the least, or the greatest where the list goes down.
pub fn sort_value(sort: &Sort, object: &StoredObject, fields: &Value) -> Vec<u8> {
    let text = |text: &str| index::text(text);
    match sort.column.place {
        Place::Id | Place::Created => Vec::new(),
        Place::Index(index::MODIFIED) => index::time(object.head.modified_ms),
        Place::Index(index::CREATED_BY) => text(&object.head.created_by),
        Place::Index(index::MODIFIED_BY) => text(&object.head.modified_by),
        Place::Index(index::DISPLAY_ID) => {
            text(object.head.display_id.as_deref().unwrap_or_default())
        }
        Place::Index(_) => {
            let found = path::values(fields, &sort.column.path);
            let encoded = found.into_iter().map(|it| index::cut(it, sort.column.kind));
            let value = if sort.descending { encoded.max() } else { encoded.min() };
            value.unwrap_or_else(|| index::cut(&Value::Null, IndexKind::Value))
        }
    }
}

/// An order: by a column, and by age where that is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub column: Column,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl Sort {
    /// Oldest first.
    pub fn by_age() -> Sort {
        let column = Column {
            path: "created_date".to_owned(),
            place: Place::Created,
            kind: IndexKind::Time,
            has_one: true,
        };
        Sort { column, descending: false }
    }
}

/// A place in a list: between two objects, or where one is that has gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The value by which the list is sorted, as in the index; empty when it is by age.
    pub value: Vec<u8>,
    /// The id.
    pub id: u128,
}

/// Which objects, in which order, and which part of them.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of which type.
    pub kind: TypeNumber,
    /// What ids of its objects start with.
    pub id_prefix: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// In which order.
    pub sort: Sort,
    /// At most so many.
    pub limit: usize,
    /// What was shown last; absent for the beginning.
    pub from: Option<Position>,
    /// Whether the page before is wanted.
    pub backwards: bool,
}

/// Part of a list, in its order.
#[derive(Clone, Debug, Default)]
pub struct ObjectPage {
    /// The objects. There may be fewer than were asked for, and more to come.
    pub rows: Vec<StoredObject>,
    /// Where the page before this one ends.
    pub before: Option<Position>,
    /// Where the page after this one begins.
    pub after: Option<Position>,
}

/// How many objects there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// So many were found.
    pub count: u64,
    /// Whether that is all of them: counting ends at a number of objects that were looked at.
    pub is_exact: bool,
}
