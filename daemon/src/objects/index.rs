//! How values are written as bytes that sort as they do: null, false, true, numbers, times, texts.
//!
//! No encoded value is the beginning of another, so a row of the index is the type, the field, a
//! value and an id one after the other, and the order of rows is the order of values and, within
//! equal ones, of ids. Long texts are cut in the index: whoever finds something by it looks at the
//! object again. Must never lose the order of two values, except that cut ones may become equal.

use std::collections::BTreeSet;

use serde_json::{Number, Value};

use crate::configuration::dates::is_timestamp;
use crate::model::object::{FieldNumber, ObjectKey, TypeNumber};
use crate::model::object_type::IndexKind;

/// Bytes of a text that are in the index.
pub const MOST_TEXT: usize = 96;

/// Fields that all objects have. Those of types begin at [`FIRST_OWN`].
pub const MODIFIED: FieldNumber = 0;
/// Who made it.
pub const CREATED_BY: FieldNumber = 1;
/// Who changed it last.
pub const MODIFIED_BY: FieldNumber = 2;
/// What people call it.
pub const DISPLAY_ID: FieldNumber = 3;
/// The first number for a field of a type.
pub const FIRST_OWN: FieldNumber = 16;

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const TIME: u8 = 5;
const TEXT: u8 = 6;
/// In texts, 0 is written as 0 and 255, and the end as 0 and 1, which is less than any other byte.
const ZERO: [u8; 2] = [0, 255];
const END: [u8; 2] = [0, 1];

/// A row of the index without its id: a field and the bytes of a value in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The field.
    pub field: FieldNumber,
    /// The value.
    pub value: Vec<u8>,
}

/// The whole value, for comparing it.
pub fn whole(value: &Value, kind: IndexKind) -> Vec<u8> {
    encode(value, kind, usize::MAX)
}

/// The value as it is in the index.
pub fn cut(value: &Value, kind: IndexKind) -> Vec<u8> {
    encode(value, kind, MOST_TEXT)
}

/// A text as it is in the index.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len().min(MOST_TEXT) + 3);
    put_text(text, MOST_TEXT, &mut bytes);
    bytes.extend(END);
    bytes
}

/// A time, milliseconds of the Unix epoch.
pub fn time(ms: u64) -> Vec<u8> {
    time_of(i128::from(ms) * 1_000_000)
}

/// What no text that begins like this sorts before, without an end.
pub fn text_start(start: &str, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_text(start, most, &mut bytes);
    bytes
}

/// Where the values of the same sort as an encoded one begin and end.
pub fn same_sort(encoded: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let tag = encoded.first().copied().unwrap_or(NULL);
    (vec![tag], vec![tag + 1])
}

/// What is after every row of a value, whatever its id.
pub fn after(mut value: Vec<u8>) -> Vec<u8> {
    value.extend([0xff; 17]);
    value
}

/// The text in an encoded whole value, if that is one.
pub fn text_in(whole: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(whole.len());
    let mut rest = whole.strip_prefix(&[TEXT])?.strip_suffix(&END)?;
    while let Some((byte, after)) = rest.split_first() {
        text.push(*byte);
        // The other half of an escaped 0.
        rest = if *byte == 0 { after.get(1..)? } else { after };
    }
    String::from_utf8(text).ok()
}

/// The millisecond of the Unix epoch that an encoded time is in; 0 for one before.
pub fn ms_of(encoded: &[u8]) -> Option<u64> {
    let (bytes, _) = encoded.strip_prefix(&[TIME])?.split_first_chunk::<16>()?;
    let nanoseconds = (u128::from_be_bytes(*bytes) ^ (1 << 127)).cast_signed();
    u64::try_from(nanoseconds.max(0) / 1_000_000).ok()
}

fn encode(value: &Value, kind: IndexKind, most: usize) -> Vec<u8> {
    match value {
        // What has no order is not found by its value; paths lead into it.
        Value::Null | Value::Array(_) | Value::Object(_) => vec![NULL],
        Value::Bool(false) => vec![FALSE],
        Value::Bool(true) => vec![TRUE],
        Value::Number(number) => number_of(number),
        Value::String(text) => {
            if kind == IndexKind::Time
                && let Some(nanoseconds) = nanoseconds(text)
            {
                return time_of(nanoseconds);
            }
            let mut bytes = Vec::with_capacity(text.len().min(most) + 3);
            put_text(text, most, &mut bytes);
            bytes.extend(END);
            bytes
        }
    }
}

/// Nanoseconds since 1970 of a time in the form of RFC 3339.
pub fn nanoseconds(text: &str) -> Option<i128> {
    if !is_timestamp(text) {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(|it| it.as_nanosecond())
}

fn put_text(text: &str, most: usize, bytes: &mut Vec<u8>) {
    bytes.push(TEXT);
    for byte in text.bytes().take(most) {
        match byte {
            0 => bytes.extend(ZERO),
            other => bytes.push(other),
        }
    }
}

fn time_of(nanoseconds: i128) -> Vec<u8> {
    let mut bytes = vec![TIME];
    let shifted = nanoseconds.cast_unsigned() ^ (1 << 127);
    bytes.extend(shifted.to_be_bytes());
    bytes
}

/// The nearest floating-point number, and how far the number is from it: integers of 64 bits are
/// told apart, and stand between those with a fraction.
fn number_of(number: &Number) -> Vec<u8> {
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let (nearest, rest) = match exact {
        Some(exact) => nearest(exact),
        None => (number.as_f64().unwrap_or_default(), 0),
    };
    // Minus zero is zero.
    let bits = (nearest + 0.0).to_bits();
    let sorted = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    let mut bytes = vec![NUMBER];
    bytes.extend(sorted.to_be_bytes());
    bytes.extend((rest.cast_unsigned() ^ (1 << 15)).to_be_bytes());
    bytes
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the loss is what is computed: half a step of a number of 64 bits, 1024 at most"
)]
fn nearest(exact: i128) -> (f64, i16) {
    let nearest = exact as f64;
    (nearest, (exact - nearest as i128) as i16)
}

/// What goes and what comes when the rows of an object change.
pub fn difference(before: Vec<Entry>, after: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let before: BTreeSet<Entry> = before.into_iter().collect();
    let after: BTreeSet<Entry> = after.into_iter().collect();
    let gone = before.difference(&after).cloned().collect();
    (gone, after.difference(&before).cloned().collect())
}

/// What all rows of a field begin with.
pub fn field_start(kind: TypeNumber, field: FieldNumber) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(field.to_be_bytes());
    bytes
}

/// A whole row.
pub fn row(object: ObjectKey, field: FieldNumber, value: &[u8]) -> Vec<u8> {
    let mut bytes = field_start(object.kind, field);
    bytes.extend_from_slice(value);
    bytes.extend(object.id.to_be_bytes());
    bytes
}

/// Value and id of a row.
pub fn parts(row: &[u8]) -> Option<(&[u8], u128)> {
    let (rest, id) = row.split_last_chunk::<16>()?;
    Some((rest.get(6..)?, u128::from_be_bytes(*id)))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1000i64..1000).prop_map(Value::from),
            any::<f64>()
                .prop_filter("JSON has no others", |it| it.is_finite())
                .prop_map(Value::from),
            (-50.0f64..50.0).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            "[\\x00-\\x02\u{ff}]{0,4}".prop_map(Value::from),
        ]
    }

    /// The order that is promised, computed in another way.
    fn order(a: &Value, b: &Value) -> Ordering {
        fn rank(value: &Value) -> u8 {
            match value {
                Value::Null | Value::Array(_) | Value::Object(_) => 0,
                Value::Bool(false) => 1,
                Value::Bool(true) => 2,
                Value::Number(_) => 3,
                Value::String(_) => 4,
            }
        }
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => match (integer(a), integer(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(a), None) => mixed(a, b.as_f64().unwrap()),
                (None, Some(b)) => mixed(b, a.as_f64().unwrap()).reverse(),
                (None, None) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()).unwrap(),
            },
            (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }

    fn integer(number: &Number) -> Option<i128> {
        number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
    }

    fn mixed(a: i128, b: f64) -> Ordering {
        if b >= 2f64.powi(100) {
            return Ordering::Less;
        }
        if b <= -(2f64.powi(100)) {
            return Ordering::Greater;
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        let whole = b.floor() as i128;
        a.cmp(&whole).then(if b > b.floor() { Ordering::Less } else { Ordering::Equal })
    }

    proptest! {
        #[test]
        fn bytes_sort_as_values_do(a in leaf(), b in leaf()) {
            let (x, y) = (whole(&a, IndexKind::Value), whole(&b, IndexKind::Value));
            prop_assert_eq!(x.cmp(&y), order(&a, &b), "{:?} {:?}", x, y);
        }

        #[test]
        fn no_value_begins_another(a in leaf(), b in leaf()) {
            let (x, y) = (whole(&a, IndexKind::Value), whole(&b, IndexKind::Value));
            prop_assert!(x == y || !(x.starts_with(&y) || y.starts_with(&x)));
        }

        #[test]
        fn cutting_keeps_the_order(a in "[ab]{90,100}", b in "[ab]{90,100}") {
            let (a, b) = (json!(a), json!(b));
            let (x, y) = (cut(&a, IndexKind::Value), cut(&b, IndexKind::Value));
            let order = order(&a, &b);
            prop_assert!(x.cmp(&y) == order || x == y);
        }

        #[test]
        fn rows_come_apart_again(kind: u32, field: u16, id: u128, value in leaf()) {
            let value = cut(&value, IndexKind::Value);
            let row = row(ObjectKey { kind, id }, field, &value);
            prop_assert_eq!(parts(&row), Some((value.as_slice(), id)));
        }

        #[test]
        fn rows_of_a_value_are_together(a in leaf(), b in leaf(), x: u128, y: u128) {
            let (a, b) = (cut(&a, IndexKind::Value), cut(&b, IndexKind::Value));
            let row = |value: &[u8], id| row(ObjectKey { kind: 1, id }, 2, value);
            prop_assert_eq!(row(&a, x).cmp(&row(&b, y)), a.cmp(&b).then(x.cmp(&y)));
            let start = field_start(1, 2);
            let end = after([start.as_slice(), &a].concat());
            prop_assert_eq!(row(&b, y) < end, b <= a);
        }
    }

    #[test]
    fn texts_and_times_can_be_read_again() {
        for it in ["", "work_1", "a\0\0b", "\0", "é"] {
            assert_eq!(text_in(&whole(&json!(it), IndexKind::Value)).as_deref(), Some(it));
        }
        assert_eq!(text_in(&whole(&json!(5), IndexKind::Value)), None);
        assert_eq!(ms_of(&time(1_769_860_800_001)), Some(1_769_860_800_001));
        assert_eq!(ms_of(&whole(&json!("1931-01-01T00:00:00Z"), IndexKind::Time)), Some(0));
    }

    #[test]
    fn times_sort_as_times_where_they_are_some() {
        let time = |text: &str| whole(&json!(text), IndexKind::Time);
        let order = [
            "1931-01-01T00:00:00Z",
            "2026-01-31T12:00:00.5+01:00",
            "2026-01-31T11:30:00Z",
            "2026-01-31T12:00:00Z",
        ];
        assert!(order.iter().map(|it| time(it)).is_sorted());
        assert_eq!(time("2026-01-31T12:00:00Z"), time("2026-01-31T13:00:00+01:00"));
        assert_eq!(time("2026-01-31T12:00:00.001Z"), super::time(1_769_860_800_001));
        // What is none is a text.
        assert!(time("soon") > time("9999-01-01T00:00:00Z"));
    }
}
