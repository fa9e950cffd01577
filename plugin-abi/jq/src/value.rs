//! The values that programs work on: JSON, shared rather than copied, with everything counted.
//!
//! Numbers are 64-bit integers or floats, which compare as numbers. Objects are ordered by key.
//! Every array and object knows a bound of how deep it is nested, so that none gets too deep to be
//! dropped, compared or written on an ordinary stack.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::Value as Json;

use super::limits::{allocate, nest, spend};

/// What an item of an array takes.
pub(super) const ITEM: usize = size_of::<Value>();
/// What an entry of an object takes, about.
pub(super) const ENTRY: usize = 64;

/// A JSON value.
#[derive(Clone, Debug, Default)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<List>),
    Map(Rc<Map>),
}

/// The items of an array.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub items: Vec<Value>,
    /// At least the levels of arrays and objects in here, this one included.
    pub levels: u32,
}

/// The entries of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub entries: BTreeMap<Rc<str>, Value>,
    pub levels: u32,
}

impl List {
    /// Puts a value in place of another, or at the end.
    pub fn put(&mut self, index: usize, value: Value) {
        self.levels = self.levels.max(nest(value.levels() + 1));
        match self.items.get_mut(index) {
            Some(item) => *item = value,
            None => self.items.push(value),
        }
    }

    /// The items as one's own, copied when somebody else has them too.
    pub fn owned(list: Rc<List>) -> List {
        Rc::try_unwrap(list).unwrap_or_else(|shared| {
            allocate(shared.items.len() * ITEM);
            (*shared).clone()
        })
    }
}

impl Map {
    pub fn put(&mut self, key: Rc<str>, value: Value) {
        self.levels = self.levels.max(nest(value.levels() + 1));
        if self.entries.insert(key, value).is_none() {
            allocate(ENTRY);
        }
    }

    /// The entries as one's own, copied when somebody else has them too.
    pub fn owned(map: Rc<Map>) -> Map {
        Rc::try_unwrap(map).unwrap_or_else(|shared| {
            allocate(shared.entries.len() * ENTRY);
            (*shared).clone()
        })
    }
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Value {
        let text = text.as_ref();
        allocate(text.len() + ITEM);
        Value::Text(text.into())
    }

    /// Text of bytes; what is not UTF-8 is replaced, as jq does.
    pub fn text_lossy(bytes: &[u8]) -> Value {
        Value::text(String::from_utf8_lossy(bytes))
    }

    /// An array of items that are counted already.
    pub fn list(items: Vec<Value>) -> Value {
        spend(items.len());
        let deepest = items.iter().map(Value::levels).max().unwrap_or_default();
        Value::List(Rc::new(List { items, levels: nest(deepest + 1) }))
    }

    pub fn levels(&self) -> u32 {
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 0,
            Value::List(list) => list.levels,
            Value::Map(map) => map.levels,
        }
    }

    pub fn is_truthy(&self) -> bool {
        !matches!(self, Value::Null | Value::Bool(false))
    }

    /// What kind of value it is, with an article.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "an array",
            Value::Map(_) => "an object",
        }
    }

    /// What jq's `type` says.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "boolean",
            _ => self.kind().rsplit(' ').next().unwrap_or_default(),
        }
    }

    /// A number as a whole number: nothing if it is none, or too large.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Float(number) => whole(*number),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as jq, whose numbers are floats")]
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub fn from_json(json: &Json) -> Value {
        spend(1);
        match json {
            Json::Null => Value::Null,
            Json::Bool(bool) => Value::Bool(*bool),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::text(text),
            Json::Array(items) => {
                allocate(items.len() * ITEM);
                Value::list(items.iter().map(Value::from_json).collect())
            }
            Json::Object(entries) => {
                let mut map = Map { levels: 1, ..Map::default() };
                for (key, value) in entries {
                    allocate(key.len());
                    map.put(key.as_str().into(), Value::from_json(value));
                }
                Value::Map(Rc::new(map))
            }
        }
    }

    /// As JSON. Floats that are whole become integers, as jq writes them; JSON has no NaN, which
    /// becomes null, and no infinity, which becomes the largest number.
    pub fn to_json(&self) -> Json {
        spend(1);
        allocate(size_of::<Json>());
        match self {
            Value::Null => Json::Null,
            Value::Bool(bool) => Json::Bool(*bool),
            Value::Int(number) => Json::from(*number),
            Value::Float(number) => match whole(*number) {
                Some(whole) => Json::from(whole),
                None if number.is_nan() => Json::Null,
                None => Json::from(number.clamp(f64::MIN, f64::MAX)),
            },
            Value::Text(text) => {
                allocate(text.len());
                Json::from(&**text)
            }
            Value::List(list) => Json::Array(list.items.iter().map(Value::to_json).collect()),
            Value::Map(map) => {
                let entries = map.entries.iter().map(|(key, value)| {
                    allocate(key.len() + ENTRY);
                    (key.to_string(), value.to_json())
                });
                Json::Object(entries.collect())
            }
        }
    }

    /// Writes it as compact JSON, as `tojson` and `tostring` do.
    pub fn write_json(&self, text: &mut String) {
        // Scalars are written by the library that knows about escapes and shortest floats.
        fn push(text: &mut String, piece: &str) {
            allocate(piece.len());
            text.push_str(piece);
        }
        spend(1);
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                push(text, &self.to_json().to_string());
            }
            Value::List(list) => {
                text.push('[');
                for (at, item) in list.items.iter().enumerate() {
                    push(text, if at == 0 { "" } else { "," });
                    item.write_json(text);
                }
                text.push(']');
            }
            Value::Map(map) => {
                text.push('{');
                for (at, (key, value)) in map.entries.iter().enumerate() {
                    push(text, if at == 0 { "" } else { "," });
                    push(text, &Json::from(&**key).to_string());
                    text.push(':');
                    value.write_json(text);
                }
                text.push('}');
            }
        }
    }

    /// jq's order of kinds: null, false, true, numbers, strings, arrays, objects.
    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 2,
            Value::Text(_) => 3,
            Value::List(_) => 4,
            Value::Map(_) => 5,
        }
    }

    /// `nan_below_nan` is jq's `<`, by which NaN is less than itself; sorting needs a real order.
    fn compare(&self, other: &Value, nan_below_nan: bool) -> Ordering {
        spend(1);
        match (self, other) {
            (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Value::Int(left), Value::Int(right)) => left.cmp(right),
            (Value::Text(left), Value::Text(right)) => {
                spend(left.len().min(right.len()) / 64);
                left.cmp(right)
            }
            (Value::List(left), Value::List(right)) => {
                let pairs = left.items.iter().zip(&right.items);
                pairs
                    .map(|(left, right)| left.compare(right, nan_below_nan))
                    .find(|it| it.is_ne())
                    .unwrap_or_else(|| left.items.len().cmp(&right.items.len()))
            }
            (Value::Map(left), Value::Map(right)) => {
                spend(left.entries.len().min(right.entries.len()));
                let values = left.entries.values().zip(right.entries.values());
                left.entries.keys().cmp(right.entries.keys()).then_with(|| {
                    let mut orders = values.map(|(left, right)| left.compare(right, nan_below_nan));
                    orders.find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
                })
            }
            (left, right) => match (left.number(), right.number()) {
                (Some(left), Some(right)) => match (left.is_nan(), right.is_nan()) {
                    (true, true) if !nan_below_nan => Ordering::Equal,
                    (true, _) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    (false, false) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
                },
                _ => left.rank().cmp(&right.rank()),
            },
        }
    }
}

/// A float as a whole number, if it is one that floats count exactly up to.
fn whole(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() <= 1e17;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 10^17")]
    fits.then_some(number as i64)
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.compare(other, true).is_eq()
    }
}

impl Eq for Value {}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        self.compare(other, false)
    }
}

#[expect(clippy::non_canonical_partial_ord_impl, reason = "by jq's `<`, NaN is less than NaN")]
impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.compare(other, true))
    }
}

/// The kind of the value only: jaq writes its errors with this, and what a program works on may be
/// a secret.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Value {
        let mut list = Vec::new();
        for item in items {
            allocate(ITEM);
            list.push(item);
        }
        Value::list(list)
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Value {
        Value::Bool(bool)
    }
}

impl From<isize> for Value {
    fn from(number: isize) -> Value {
        Value::Int(number as i64)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Float(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}
