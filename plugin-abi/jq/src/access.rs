//! Reaching into values, as jaq wants to: `.[k]`, `.[a:b]`, `.[]`, and updates of each.
//!
//! Where jaq's own values differ from jq, these follow jq: null can be written into, and an array
//! grows when something is put behind its end.

use std::rc::Rc;

use jaq_core::box_iter::BoxIter;
use jaq_core::path::Opt;
use jaq_core::{Exn, ValT, ValX};

use super::limits::{allocate, spend};
use super::natives::indices;
use super::value::{ITEM, List, Map, Value};

type Error = jaq_core::Error<Value>;
type ValueResult = Result<Value, Error>;
type Slice<'a> = jaq_core::val::Range<&'a Value>;

impl From<jaq_core::val::Range<Value>> for Value {
    /// How a slice stands in a path: `{"start": …, "end": …}`.
    fn from(range: jaq_core::val::Range<Value>) -> Value {
        let mut map = Map { levels: 1, ..Map::default() };
        for (key, bound) in [("start", range.start), ("end", range.end)] {
            map.put(key.into(), bound.unwrap_or(Value::Null));
        }
        Value::Map(Rc::new(map))
    }
}

/// Where a slice begins and ends among so many, in order and within them.
fn bounds(range: &Slice<'_>, length: usize) -> Result<(usize, usize), Error> {
    let place = |bound: Option<&Value>, round: fn(f64) -> f64, default| match bound {
        None | Some(Value::Null) => Ok(default),
        Some(value) => match value.number() {
            Some(number) => Ok(position(round(number), length).min(length)),
            None => Err(Error::typ(value.clone(), "number")),
        },
    };
    let start = place(range.start, f64::floor, 0)?;
    let end = place(range.end, f64::ceil, length)?;
    Ok((start, end.max(start)))
}

/// A position that counts from the end if it is negative.
fn position(number: f64, length: usize) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
    let number = if number < 0.0 { number + length as f64 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "beyond the range, its end")]
    #[expect(clippy::cast_sign_loss, reason = "below zero, zero")]
    let position = number as usize;
    position
}

/// The place of an item: nothing if it is before the first.
fn item_place(number: f64, length: usize) -> Option<usize> {
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
    let before = number.is_nan() || number + (length as f64) < 0.0;
    (!before).then(|| position(number.floor(), length))
}

/// The bytes of a slice of characters.
fn char_range(text: &str, range: &Slice<'_>) -> Result<(usize, usize), Error> {
    spend(text.len() / 64);
    let (start, end) = bounds(range, text.chars().count())?;
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    Ok((byte(start), byte(end)))
}

/// The bounds that an object such as `{"start": 1, "end": 2}` means.
fn slice_of(map: &Map) -> Slice<'_> {
    map.entries.get("start")..map.entries.get("end")
}

impl ValT for Value {
    fn from_num(number: &str) -> ValueResult {
        if let Ok(whole) = number.parse() {
            return Ok(Value::Int(whole));
        }
        number.parse().map(Value::Float).map_err(Error::str)
    }

    fn from_map<I: IntoIterator<Item = (Value, Value)>>(entries: I) -> ValueResult {
        let mut map = Map { levels: 1, ..Map::default() };
        for (key, value) in entries {
            let Value::Text(key) = key else {
                return Err(Error::typ(key, "key of an object"));
            };
            map.put(key, value);
        }
        Ok(Value::Map(Rc::new(map)))
    }

    fn key_values(self) -> BoxIter<'static, Result<(Value, Value), Error>> {
        match self {
            Value::List(list) => Box::new((0..list.items.len()).map(move |at| {
                spend(1);
                Ok((Value::from(at), list.items[at].clone()))
            })),
            Value::Map(map) => {
                allocate(map.entries.len() * 2 * ITEM);
                let entries: Vec<_> =
                    map.entries.iter().map(|(k, v)| (Rc::clone(k), v.clone())).collect();
                Box::new(entries.into_iter().map(|(key, value)| Ok((Value::Text(key), value))))
            }
            other => Box::new(std::iter::once(Err(cannot_iterate(other)))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValueResult>> {
        match self {
            Value::List(list) => Box::new((0..list.items.len()).map(move |at| {
                spend(1);
                Ok(list.items[at].clone())
            })),
            Value::Map(map) => {
                allocate(map.entries.len() * ITEM);
                let values: Vec<_> = map.entries.values().cloned().collect();
                Box::new(values.into_iter().map(Ok))
            }
            other => Box::new(std::iter::once(Err(cannot_iterate(other)))),
        }
    }

    fn index(self, index: &Value) -> ValueResult {
        spend(1);
        let found = match (&self, index) {
            (Value::Null, _) => None,
            (Value::Map(map), Value::Text(key)) => map.entries.get(key).cloned(),
            (Value::List(list), Value::Int(_) | Value::Float(_)) => {
                let place = index.number().and_then(|it| item_place(it, list.items.len()));
                place.and_then(|at| list.items.get(at).cloned())
            }
            (Value::List(_), Value::List(_)) => return indices(&self, index),
            (Value::List(_) | Value::Text(_), Value::Map(slice)) => {
                return self.clone().range(slice_of(slice));
            }
            _ => return Err(Error::index(self, index.clone())),
        };
        Ok(found.unwrap_or(Value::Null))
    }

    fn range(self, range: Slice<'_>) -> ValueResult {
        match &self {
            Value::Null => Ok(Value::Null),
            Value::List(list) => {
                let (start, end) = bounds(&range, list.items.len())?;
                allocate((end - start) * ITEM);
                Ok(Value::list(list.items[start..end].to_vec()))
            }
            Value::Text(text) => {
                let (start, end) = char_range(text, &range)?;
                Ok(Value::text(&text[start..end]))
            }
            _ => Err(Error::typ(self, "array or string to take a part of")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        match self {
            Value::List(list) => List::owned(list).items.into_iter().flat_map(f).collect(),
            Value::Map(map) => {
                let mut new = Map { levels: 1, ..Map::default() };
                for (key, value) in Map::owned(map).entries {
                    if let Some(value) = f(value).next() {
                        new.put(key, value?);
                    }
                }
                Ok(Value::Map(Rc::new(new)))
            }
            other => opt.fail(other, |it| Exn::from(cannot_iterate(it))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        index: &Value,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        spend(1);
        match (self, index) {
            (whole @ (Value::List(_) | Value::Text(_) | Value::Null), Value::Map(slice)) => {
                whole.map_range(slice_of(slice), opt, f)
            }
            (Value::Map(map), Value::Text(key)) => entry_mapped(map, key, f),
            (Value::Null, Value::Text(key)) => match entry_mapped(Rc::default(), key, f)? {
                Value::Map(map) if map.entries.is_empty() => Ok(Value::Null),
                map => Ok(map),
            },
            (Value::List(list), Value::Int(_) | Value::Float(_)) => {
                item_mapped(list, index, opt, f)
            }
            (Value::Null, Value::Int(_) | Value::Float(_)) => {
                match item_mapped(Rc::default(), index, opt, f)? {
                    Value::List(list) if list.items.is_empty() => Ok(Value::Null),
                    list => Ok(list),
                }
            }
            (other, index) => opt.fail(other, |it| Exn::from(Error::index(it, index.clone()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        range: Slice<'_>,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        let mut list = match self {
            Value::List(list) => List::owned(list),
            Value::Null => List { levels: 1, ..List::default() },
            other => {
                return opt.fail(other, |it| {
                    Exn::from(Error::typ(it, "array whose part can be changed"))
                });
            }
        };
        let (start, end) = match bounds(&range, list.items.len()) {
            Ok(bounds) => bounds,
            Err(error) => {
                return opt.fail(Value::List(Rc::new(list)), |_| Exn::from(error));
            }
        };
        allocate((end - start) * ITEM);
        let part = Value::list(list.items[start..end].to_vec());
        let new = match f(part).next().transpose()? {
            None => Rc::default(),
            Some(Value::List(new)) => new,
            Some(other) => return Err(Exn::from(Error::typ(other, "array"))),
        };
        allocate(new.items.len() * ITEM);
        list.items.splice(start..end, new.items.iter().cloned());
        list.levels = list.levels.max(new.levels);
        Ok(Value::List(Rc::new(list)))
    }

    fn as_bool(&self) -> bool {
        self.is_truthy()
    }

    fn into_string(self) -> Value {
        if let Value::Text(_) = self {
            return self;
        }
        let mut text = String::new();
        self.write_json(&mut text);
        Value::Text(text.into())
    }
}

fn cannot_iterate(value: Value) -> Error {
    Error::typ(value, "array or object to go through")
}

/// Changes the entry of a key, which is null before if there is none; no output removes it.
fn entry_mapped<'a, I: Iterator<Item = ValX<'a, Value>>>(
    map: Rc<Map>,
    key: &Rc<str>,
    f: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let mut map = Map::owned(map);
    map.levels = map.levels.max(1);
    // Taken out, so that a change of it does not copy it.
    let before = map.entries.get_mut(key).map(std::mem::take);
    match f(before.unwrap_or_default()).next().transpose()? {
        Some(value) => map.put(Rc::clone(key), value),
        None => {
            map.entries.remove(key);
        }
    }
    Ok(Value::Map(Rc::new(map)))
}

/// Changes an item, which is null before if there is none; no output removes it.
fn item_mapped<'a, I: Iterator<Item = ValX<'a, Value>>>(
    list: Rc<List>,
    index: &Value,
    opt: Opt,
    f: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let length = list.items.len();
    let Some(at) = index.number().and_then(|it| item_place(it, length)) else {
        return opt.fail(Value::List(list), |_| {
            Exn::from(Error::typ(index.clone(), "index, because it is before the first item"))
        });
    };
    let mut list = List::owned(list);
    list.levels = list.levels.max(1);
    let before = list.items.get_mut(at).map(std::mem::take);
    match f(before.unwrap_or_default()).next().transpose()? {
        Some(value) => {
            if at >= length {
                allocate((at - length).saturating_add(1).saturating_mul(ITEM));
                list.items.resize(at, Value::Null);
            }
            list.put(at, value);
        }
        None if at < length => {
            list.items.remove(at);
        }
        None => {}
    }
    Ok(Value::List(Rc::new(list)))
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Value>>(self) -> Result<S, Value> {
        match self {
            Value::List(list) => Ok(List::owned(list).items.into_iter().collect()),
            other => Err(other),
        }
    }

    fn is_int(&self) -> bool {
        self.whole().is_some()
    }

    fn as_isize(&self) -> Option<isize> {
        self.whole().and_then(|it| isize::try_from(it).ok())
    }

    fn as_f64(&self) -> Option<f64> {
        self.number()
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Value::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => {
                // Whoever asks goes through them.
                spend(text.len() / 64);
                Some(text.as_bytes())
            }
            _ => None,
        }
    }

    fn as_sub_str(&self, sub: &[u8]) -> Value {
        Value::text_lossy(sub)
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Value {
        Value::text_lossy(bytes.as_ref())
    }
}
