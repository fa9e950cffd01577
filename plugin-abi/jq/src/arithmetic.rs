//! `+ - * / %` on values, as jq defines them. Sizes are counted before anything is made.

use std::collections::BTreeSet;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;

use super::limits::{allocate, spend};
use super::value::{ENTRY, ITEM, List, Map, Value};

type Error = jaq_core::Error<Value>;
type ValueResult = Result<Value, Error>;

/// The same operation on whole numbers, unless the result is too large, and on others.
fn numbers(
    (left, right): (Value, Value),
    operation: Math,
    whole: fn(i64, i64) -> Option<i64>,
    float: fn(f64, f64) -> f64,
) -> ValueResult {
    spend(2);
    if let (Value::Int(left), Value::Int(right)) = (&left, &right)
        && let Some(number) = whole(*left, *right)
    {
        return Ok(Value::Int(number));
    }
    match (left.number(), right.number()) {
        (Some(left), Some(right)) => Ok(Value::Float(float(left, right))),
        _ => Err(Error::math(left, operation, right)),
    }
}

impl Add for Value {
    type Output = ValueResult;

    fn add(self, other: Value) -> ValueResult {
        match (self, other) {
            (Value::Null, value) | (value, Value::Null) => Ok(value),
            (Value::Text(left), Value::Text(right)) => {
                allocate(left.len() + right.len() + ITEM);
                Ok(Value::Text([&*left, &*right].concat().into()))
            }
            (Value::List(left), Value::List(right)) => {
                let mut list = List::owned(left);
                allocate(right.items.len() * ITEM);
                spend(right.items.len());
                list.items.extend(right.items.iter().cloned());
                list.levels = list.levels.max(right.levels);
                Ok(Value::List(Rc::new(list)))
            }
            (Value::Map(left), Value::Map(right)) => {
                let mut map = Map::owned(left);
                allocate(right.entries.len() * ENTRY);
                spend(right.entries.len());
                let entries = right.entries.iter();
                map.entries.extend(entries.map(|(key, value)| (Rc::clone(key), value.clone())));
                map.levels = map.levels.max(right.levels);
                Ok(Value::Map(Rc::new(map)))
            }
            both => numbers(both, Math::Add, i64::checked_add, |left, right| left + right),
        }
    }
}

impl Sub for Value {
    type Output = ValueResult;

    fn sub(self, other: Value) -> ValueResult {
        match (self, other) {
            (Value::List(left), Value::List(right)) => {
                spend(right.items.len());
                let gone: BTreeSet<&Value> = right.items.iter().collect();
                let mut list = List::owned(left);
                list.items.retain(|it| !gone.contains(it));
                Ok(Value::List(Rc::new(list)))
            }
            both => numbers(both, Math::Sub, i64::checked_sub, |left, right| left - right),
        }
    }
}

impl Mul for Value {
    type Output = ValueResult;

    fn mul(self, other: Value) -> ValueResult {
        match (self, other) {
            (Value::Text(text), count @ (Value::Int(_) | Value::Float(_)))
            | (count @ (Value::Int(_) | Value::Float(_)), Value::Text(text)) => {
                Ok(repeated(&text, count.number().unwrap_or_default()))
            }
            (Value::Map(left), Value::Map(right)) => Ok(Value::Map(merged(left, &right))),
            both => numbers(both, Math::Mul, i64::checked_mul, |left, right| left * right),
        }
    }
}

/// A text so many times; null for no times, as jq has it.
fn repeated(text: &str, count: f64) -> Value {
    if count.is_nan() || count <= 0.0 {
        return Value::Null;
    }
    #[expect(clippy::cast_possible_truncation, reason = "more than usize is too many anyway")]
    #[expect(clippy::cast_sign_loss, reason = "it is above zero")]
    let count = count.ceil() as usize;
    let bytes = text.len().saturating_mul(count);
    allocate(bytes.saturating_add(ITEM));
    Value::Text(text.repeat(count).into())
}

/// Objects in both are merged in turn; of anything else, the right one stays.
fn merged(left: Rc<Map>, right: &Map) -> Rc<Map> {
    let mut map = Map::owned(left);
    for (key, value) in &right.entries {
        spend(1);
        let before = map.entries.remove(key);
        let value = match (before, value) {
            (Some(Value::Map(left)), Value::Map(right)) => Value::Map(merged(left, right)),
            (_, value) => value.clone(),
        };
        map.put(Rc::clone(key), value);
    }
    Rc::new(map)
}

impl Div for Value {
    type Output = ValueResult;

    fn div(self, other: Value) -> ValueResult {
        match (self, other) {
            (Value::Text(text), Value::Text(separator)) => Ok(split(&text, &separator)),
            // A whole result stays whole.
            both => numbers(
                both,
                Math::Div,
                |left, right| match left.checked_rem(right) {
                    Some(0) => left.checked_div(right),
                    Some(_) | None => None,
                },
                |left, right| left / right,
            ),
        }
    }
}

/// The pieces between separators; without a separator, the characters.
fn split(text: &str, separator: &str) -> Value {
    spend(text.len() / 64);
    if text.is_empty() {
        Value::list(Vec::new())
    } else if separator.is_empty() {
        text.chars().map(|it| Value::text(it.encode_utf8(&mut [0; 4]))).collect()
    } else {
        text.split(separator).map(Value::text).collect()
    }
}

impl Rem for Value {
    type Output = ValueResult;

    /// On whole numbers: jq drops fractions first. The sign is that of the left side.
    fn rem(self, other: Value) -> ValueResult {
        spend(1);
        let (Some(left), Some(right)) = (self.number(), other.number()) else {
            return Err(Error::math(self, Math::Rem, other));
        };
        if left.is_nan() || right.is_nan() {
            return Ok(Value::Float(f64::NAN));
        }
        #[expect(clippy::cast_possible_truncation, reason = "as jq: beyond the range, its end")]
        let whole = |value: &Value, number: f64| value.whole().unwrap_or(number as i64);
        let (dividend, divisor) = (whole(&self, left), whole(&other, right));
        match dividend.checked_rem(divisor) {
            Some(rest) => Ok(Value::Int(rest)),
            // The smallest number by -1.
            None if divisor != 0 => Ok(Value::Int(0)),
            None => Err(Error::math(self, Math::Rem, other)),
        }
    }
}

impl Neg for Value {
    type Output = ValueResult;

    fn neg(self) -> ValueResult {
        match (&self, self.number()) {
            (Value::Int(number), Some(float)) => {
                Ok(number.checked_neg().map_or(Value::Float(-float), Value::Int))
            }
            (_, Some(float)) => Ok(Value::Float(-float)),
            (_, None) => Err(Error::typ(self, "number")),
        }
    }
}
