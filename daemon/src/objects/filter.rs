//! From a filter as it is written to conditions on columns.
//!
//! `{"state": "open", "rank": {"gte": 3}, "tags": ["a", "b"]}`: all members must hold. A list is any
//! of its values. Must never guess: what it does not know is told with what there is.

use std::ops::Bound;

use serde_json::{Map, Value};

use super::index;
use super::query::{Column, Condition, Operand, Span, Test};
use crate::configuration::suggest;
use crate::model::object_type::IndexKind;

/// What can be asked of a column.
pub const OPERATORS: [&str; 10] =
    ["eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "prefix", "exists"];
/// What ported callers write instead.
const OTHER_NAMES: [(&str, &str); 2] = [("after", "gt"), ("before", "lt")];
/// Values of one condition.
const MOST_VALUES: usize = 1_000;
/// Conditions of one filter.
const MOST_CONDITIONS: usize = 64;

/// What is wrong with a filter or an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryProblem {
    /// Where, such as `filter.rank`.
    pub field: String,
    /// What.
    pub message: String,
    /// What would be right.
    pub allowed: Vec<String>,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As JSON.
    Json,
    /// As in the query of a URL, where everything is text: `5` is a number or a text.
    Text,
}

/// Puts the id in the place of whatever a reference may be written as.
pub type Resolve<'a> = dyn FnMut(&Column, &Value) -> Result<Value, String> + 'a;

/// The conditions that a filter has. `place` is where it stands in the request, for what is wrong.
pub fn parse(
    filter: &Map<String, Value>,
    place: &str,
    columns: &[Column],
    written: Written,
    resolve: &mut Resolve<'_>,
) -> Result<Vec<Condition>, QueryProblem> {
    let mut parser = Parser { columns, written, resolve, conditions: Vec::new() };
    parser.members("", filter, place)?;
    if parser.conditions.len() > MOST_CONDITIONS {
        return Err(QueryProblem {
            field: place.to_owned(),
            message: format!("a filter has at most {MOST_CONDITIONS} conditions"),
            allowed: Vec::new(),
        });
    }
    Ok(parser.conditions)
}

struct Parser<'a, 'b> {
    columns: &'a [Column],
    written: Written,
    resolve: &'a mut Resolve<'b>,
    conditions: Vec<Condition>,
}

impl<'a> Parser<'a, '_> {
    fn members(
        &mut self,
        path: &str,
        members: &Map<String, Value>,
        place: &str,
    ) -> Result<(), QueryProblem> {
        for (name, value) in members {
            let path = joined(path, name);
            let place = joined(place, name);
            self.member(&path, value, &place)?;
        }
        Ok(())
    }

    fn member(&mut self, path: &str, value: &Value, place: &str) -> Result<(), QueryProblem> {
        let columns = self.columns;
        if let Some(column) = columns.iter().find(|it| it.path == path) {
            return match value {
                Value::Object(members) if is_nested(path, members, columns) => {
                    self.members(path, members, place)
                }
                Value::Object(operators) => self.operators(column, operators, place),
                Value::Array(_) => self.operator(column, "in", value, place),
                one => self.operator(column, "eq", one, place),
            };
        }
        // `modified_date.after` in a URL.
        if let Some((above, name)) = path.rsplit_once('.')
            && let Some(column) = columns.iter().find(|it| it.path == above)
            && !begins_some(path, columns)
        {
            return self.operator(column, name, value, place);
        }
        match value {
            Value::Object(members) if begins_some(path, columns) => {
                self.members(path, members, place)
            }
            _ => Err(unknown(path, place, columns)),
        }
    }

    fn operators(
        &mut self,
        column: &Column,
        operators: &Map<String, Value>,
        place: &str,
    ) -> Result<(), QueryProblem> {
        if operators.is_empty() {
            return Err(wrong_operator(place, "it is empty"));
        }
        for (name, value) in operators {
            // Ported callers say of what kind their filter for dates is.
            if name == "type" && value == "range" && column.kind == IndexKind::Time {
                continue;
            }
            self.operator(column, name, value, &joined(place, name))?;
        }
        Ok(())
    }

    fn operator(
        &mut self,
        column: &Column,
        name: &str,
        value: &Value,
        place: &str,
    ) -> Result<(), QueryProblem> {
        let Some(name) = operator(name) else {
            return Err(wrong_operator(place, &format!("there is no operator `{name}`")));
        };
        let wrong = |message: String| QueryProblem {
            field: place.to_owned(),
            message: format!("`{place}`: {message}"),
            allowed: Vec::new(),
        };
        let test = match name {
            "eq" => Test::AnyOf(self.operands(column, value).map_err(wrong)?),
            "ne" => Test::NoneOf(self.operands(column, value).map_err(wrong)?),
            "in" | "not_in" => {
                let one = std::slice::from_ref(value);
                let values = match (value, self.written) {
                    (Value::Array(values), _) => values.as_slice(),
                    (_, Written::Text) => one,
                    (_, Written::Json) => return Err(wrong("expected a list of values".into())),
                };
                if values.is_empty() || values.len() > MOST_VALUES {
                    return Err(wrong(format!(
                        "a list of 1 to {MOST_VALUES} values was expected, this has {}; leave it \
                         out if it is to say nothing",
                        values.len()
                    )));
                }
                let mut operands = Vec::new();
                for value in values {
                    operands.extend(self.operands(column, value).map_err(wrong)?);
                }
                operands.sort_unstable();
                operands.dedup();
                if name == "in" { Test::AnyOf(operands) } else { Test::NoneOf(operands) }
            }
            "exists" => {
                let null = vec![Operand::of(&Value::Null, column.kind)];
                match (value, value.as_str()) {
                    (Value::Bool(true), _) | (_, Some("true")) => Test::NoneOf(null),
                    (Value::Bool(false), _) | (_, Some("false")) => Test::AnyOf(null),
                    _ => return Err(wrong("expected true or false".into())),
                }
            }
            "prefix" => {
                let Some(text) = value.as_str() else { return Err(wrong("expected text".into())) };
                if column.kind == IndexKind::Time {
                    return Err(wrong("this field has times; use `gte` and `lt`".into()));
                }
                Test::Range(beginning(text))
            }
            // gt, gte, lt, lte.
            range => {
                let bound = self.bound(column, value).map_err(wrong)?;
                Test::Range(span(range, bound))
            }
        };
        self.add(Condition { column: column.clone(), test });
        Ok(())
    }

    /// Two ends of one range are one condition, if an object has one value only. It may have several,
    /// of which each end would be met by another: both are asked of the same.
    fn add(&mut self, new: Condition) {
        if let Test::Range(span) = &new.test {
            for old in &mut self.conditions {
                if let Test::Range(other) = &mut old.test
                    && old.column == new.column
                {
                    other.narrow(span);
                    return;
                }
            }
        }
        self.conditions.push(new);
    }

    /// What a value may mean.
    fn operands(&mut self, column: &Column, value: &Value) -> Result<Vec<Operand>, String> {
        match value {
            Value::Object(_) | Value::Array(_) => {}
            Value::String(text) if self.written == Written::Text => {
                let mut values = vec![(self.resolve)(column, value)?];
                if let Ok(other @ (Value::Bool(_) | Value::Number(_))) = serde_json::from_str(text)
                {
                    values.push(other);
                }
                return Ok(values.iter().map(|it| Operand::of(it, column.kind)).collect());
            }
            Value::Null => return Ok(vec![Operand::of(value, column.kind)]),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        let value = (self.resolve)(column, value)?;
        match value {
            Value::Object(_) | Value::Array(_) => {
                Err("expected null, true, false, a number or text".to_owned())
            }
            Value::String(text)
                if column.kind == IndexKind::Time && index::nanoseconds(&text).is_none() =>
            {
                Err(not_a_time(&text))
            }
            value => Ok(vec![Operand::of(&value, column.kind)]),
        }
    }

    fn bound(&mut self, column: &Column, value: &Value) -> Result<Operand, String> {
        let number = match (value, self.written) {
            (Value::String(text), Written::Text) => {
                serde_json::from_str::<serde_json::Number>(text).ok().map(Value::Number)
            }
            _ => None,
        };
        match number.as_ref().unwrap_or(value) {
            Value::String(text) if column.kind == IndexKind::Time => {
                index::nanoseconds(text).ok_or_else(|| not_a_time(text))?;
                Ok(Operand::of(value, column.kind))
            }
            value @ (Value::Number(_) | Value::String(_)) => Ok(Operand::of(value, column.kind)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err("expected a number or text".to_owned())
            }
        }
    }
}

fn operator(name: &str) -> Option<&'static str> {
    let name = OTHER_NAMES.iter().find(|it| it.0 == name).map_or(name, |it| it.1);
    OPERATORS.iter().find(|it| **it == name).copied()
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Whether members are fields below a column, and not operators.
fn is_nested(path: &str, members: &Map<String, Value>, columns: &[Column]) -> bool {
    begins_some(path, columns)
        && members.keys().all(|it| operator(it).is_none())
        && !members.is_empty()
}

fn begins_some(path: &str, columns: &[Column]) -> bool {
    columns.iter().any(|it| it.path.strip_prefix(path).is_some_and(|it| it.starts_with('.')))
}

/// A field that lists cannot be filtered or sorted by.
pub fn unknown(path: &str, place: &str, columns: &[Column]) -> QueryProblem {
    let names: Vec<&str> = columns.iter().map(|it| it.path.as_str()).collect();
    let near = suggest::nearest(path, names.iter().copied());
    let near = near.map_or_else(|| ".".to_owned(), |it| format!("; did you mean `{it}`?"));
    QueryProblem {
        field: place.to_owned(),
        message: format!(
            "`{path}` is not an indexed field of this type{near} Lists are filtered and sorted by \
             indexed fields only: {}",
            names.join(", ")
        ),
        allowed: names.iter().map(|it| (*it).to_owned()).collect(),
    }
}

fn wrong_operator(place: &str, message: &str) -> QueryProblem {
    QueryProblem {
        field: place.to_owned(),
        message: format!("`{place}`: {message}; expected {}", OPERATORS.join(", ")),
        allowed: OPERATORS.iter().map(|it| (*it).to_owned()).collect(),
    }
}

fn not_a_time(text: &str) -> String {
    format!(
        "`{}` is no date and time as in RFC 3339, such as 2026-01-31T12:00:00Z",
        text.chars().take(60).collect::<String>()
    )
}

fn beginning(text: &str) -> Span {
    let from = index::text_start(text, usize::MAX);
    let to = [from.as_slice(), &[0xff]].concat();
    let start = index::text_start(text, index::MOST_TEXT);
    let end = [start.as_slice(), &[0xff]].concat();
    Span { from: Bound::Included(from), to: Bound::Excluded(to), start, end }
}

fn span(operator: &str, bound: Operand) -> Span {
    let (first, past) = index::same_sort(&bound.whole);
    let Operand { whole, cut } = bound;
    // What was cut may be on either side: it is looked at again.
    match operator {
        "gt" => Span {
            from: Bound::Excluded(whole),
            to: Bound::Excluded(past.clone()),
            start: cut,
            end: past,
        },
        "gte" => Span {
            from: Bound::Included(whole),
            to: Bound::Excluded(past.clone()),
            start: cut,
            end: past,
        },
        "lt" => Span {
            from: Bound::Included(first.clone()),
            to: Bound::Excluded(whole),
            start: first,
            end: index::after(cut),
        },
        _ => Span {
            from: Bound::Included(first.clone()),
            to: Bound::Included(whole),
            start: first,
            end: index::after(cut),
        },
    }
}

impl Span {
    /// Makes it the part of it that is in another one too.
    fn narrow(&mut self, other: &Span) {
        fn is_later(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> bool {
            match (a, b) {
                (Bound::Unbounded, _) => false,
                (_, Bound::Unbounded) => true,
                (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b)) => a >= b,
                (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) => a > b,
            }
        }
        fn is_earlier(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> bool {
            match (a, b) {
                (Bound::Unbounded, _) => false,
                (_, Bound::Unbounded) => true,
                (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b)) => a <= b,
                (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) => a < b,
            }
        }
        if is_later(&other.from, &self.from) {
            self.from = other.from.clone();
        }
        if is_earlier(&other.to, &self.to) {
            self.to = other.to.clone();
        }
        if other.start > self.start {
            self.start.clone_from(&other.start);
        }
        if other.end < self.end {
            self.end.clone_from(&other.end);
        }
    }
}
