//! The filters that are written in Rust: jaq's, less what reaches outside or cannot be bounded,
//! and ours for what depends on our values.

use std::rc::Rc;

use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{RunPtr, ValT as _};

use super::compile::Kind;
use super::limits::{allocate, spend};
use super::regex::{Parts, search};
use super::value::{ITEM, List, Map, Value};

type Error = jaq_core::Error<Value>;
type ValueResult = Result<Value, Error>;

/// Filters of jq that there are not, and what to do instead.
pub(super) const REFUSED: [(&str, &str); 16] = [
    ("env", "programs see no environment"),
    ("input", "a program gets one value, as `.`"),
    ("inputs", "a program gets one value, as `.`"),
    ("input_filename", "a program gets one value, as `.`"),
    ("input_line_number", "a program gets one value, as `.`"),
    ("get_search_list", "programs read no files"),
    ("halt", "a program cannot end the daemon; use `empty` or `error`"),
    ("halt_error", "a program cannot end the daemon; use `error`"),
    ("now", "programs see no clock; take the time from the value that they get"),
    ("localtime", "programs see no time zone; use `gmtime`"),
    ("strflocaltime", "programs see no time zone; use `strftime`"),
    ("stderr", "programs write nothing; leave it out"),
    ("input_line", "a program gets one value, as `.`"),
    ("$ENV", "programs see no environment"),
    ("jn", "it takes too long for large orders"),
    ("yn", "it takes too long for large orders"),
];

/// Filters of jaq that ours stand in for.
const REPLACED: [&str; 5] = ["matches", "split_matches", "split_", "debug_empty", "stderr_empty"];

fn is_refused(name: &str) -> bool {
    REFUSED.iter().any(|(refused, _)| *refused == name)
}

pub(super) fn all() -> impl Iterator<Item = Fun<Kind>> {
    let theirs = jaq_core::funs::<Kind>().chain(jaq_std::funs::<Kind>());
    let theirs = theirs.filter(|(name, ..)| !is_refused(name) && !REPLACED.contains(name));
    theirs.chain(ours().into_iter().map(run::<Kind>))
}

/// Definitions in jq: jaq's, less those that ours stand in for, and ours.
pub(super) fn definitions() -> Vec<jaq_core::load::parse::Def<&'static str>> {
    let ours = jaq_core::load::parse(include_str!("defs.jq"), |it| it.defs());
    let mut ours = ours.unwrap_or_default();
    // These are natives of ours.
    const NATIVE: [&str; 6] = ["null", "true", "false", "type", "tonumber", "delpaths"];
    let theirs = jaq_core::defs().chain(jaq_std::defs());
    let theirs = theirs.filter(|it| !is_refused(it.name) && !NATIVE.contains(&it.name));
    // A definition sees only those before it: ours take the places of theirs.
    let replaced = theirs.map(|theirs| {
        let same =
            ours.iter().position(|it| it.name == theirs.name && it.args.len() == theirs.args.len());
        same.map_or(theirs, |at| ours.remove(at))
    });
    let mut all: Vec<_> = replaced.collect();
    all.append(&mut ours);
    all
}

fn ours() -> Vec<Filter<RunPtr<Kind>>> {
    vec![
        ("null", v(0), |_| bome(Ok(Value::Null))),
        ("true", v(0), |_| bome(Ok(Value::Bool(true)))),
        ("false", v(0), |_| bome(Ok(Value::Bool(false)))),
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tojson", v(0), |cv| {
            let mut text = String::new();
            cv.1.write_json(&mut text);
            bome(Ok(Value::Text(text.into())))
        }),
        ("tonumber", v(0), |cv| bome(to_number(cv.1))),
        ("type", v(0), |cv| bome(Ok(Value::text(cv.1.type_name())))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("contains", v(1), |cv| {
            unary(cv, |value, other| contains(&value, &other).map(Value::Bool))
        }),
        ("has", v(1), |cv| unary(cv, |value, key| has(value, &key))),
        ("indices", v(1), |cv| unary(cv, |value, other| indices(&value, &other))),
        ("bsearch", v(1), |cv| unary(cv, |value, other| binary_search(value, &other))),
        ("delpaths", v(1), |cv| unary(cv, delete_paths)),
        ("matches", v(2), |cv| bome(searched(cv, Parts { between: false, matches: true }))),
        ("split_matches", v(2), |cv| bome(searched(cv, Parts { between: true, matches: true }))),
        ("split_", v(2), |cv| bome(searched(cv, Parts { between: true, matches: false }))),
        // What `debug` says has nowhere to go.
        ("debug_empty", v(0), |_| Box::new(std::iter::empty())),
    ]
}

fn searched(mut cv: jaq_core::Cv<'_, Kind>, parts: Parts) -> ValueResult {
    let flags = cv.0.pop_var();
    let pattern = cv.0.pop_var();
    search(&cv.1, &pattern, &flags, parts)
}

fn from_json(value: &Value) -> ValueResult {
    let Value::Text(text) = value else {
        return Err(Error::typ(value.clone(), "string with JSON"));
    };
    // The shortest texts, such as `[[],[],…`, become values of so many times their size.
    allocate(text.len().saturating_mul(24));
    match serde_json::from_str(text) {
        Ok(json) => Ok(Value::from_json(&json)),
        Err(_) => Err(Error::typ(value.clone(), "JSON, which it is not")),
    }
}

fn to_number(value: Value) -> ValueResult {
    match &value {
        Value::Int(_) | Value::Float(_) => Ok(value),
        Value::Text(text) => {
            let text = text.trim();
            let is_plain = text.bytes().all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it));
            let number = if is_plain { Value::from_num(text).ok() } else { None };
            number.ok_or_else(|| Error::typ(value.clone(), "number, which it does not spell"))
        }
        _ => Err(Error::typ(value, "number")),
    }
}

fn length(value: Value) -> ValueResult {
    match &value {
        Value::Null => Ok(Value::Int(0)),
        Value::Bool(_) => Err(Error::typ(value, "something with a length")),
        Value::Int(number) => {
            Ok(number.checked_abs().map_or_else(|| Value::Float(-(*number as f64)), Value::Int))
        }
        Value::Float(number) => Ok(Value::Float(number.abs())),
        Value::Text(text) => {
            spend(text.len() / 64);
            Ok(Value::from(text.chars().count()))
        }
        Value::List(list) => Ok(Value::from(list.items.len())),
        Value::Map(map) => Ok(Value::from(map.entries.len())),
    }
}

fn has(value: Value, key: &Value) -> ValueResult {
    match (&value, key) {
        (Value::Map(map), Value::Text(key)) => Ok(Value::Bool(map.entries.contains_key(key))),
        (Value::List(list), Value::Int(_) | Value::Float(_)) => {
            let place = key.number().filter(|it| *it >= 0.0);
            #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
            Ok(Value::Bool(place.is_some_and(|it| it < list.items.len() as f64)))
        }
        _ => Err(Error::index(value, key.clone())),
    }
}

/// Whether a part of `value` is like `other`: strings by substring, arrays and objects in turn.
fn contains(value: &Value, other: &Value) -> Result<bool, Error> {
    spend(1);
    match (value, other) {
        (Value::Text(text), Value::Text(part)) => {
            spend(text.len() / 16);
            Ok(text.contains(&**part))
        }
        (Value::List(list), Value::List(parts)) => {
            for part in &parts.items {
                let mut found = false;
                for item in &list.items {
                    if item.type_name() == part.type_name() && contains(item, part)? {
                        found = true;
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(map), Value::Map(parts)) => {
            for (key, part) in &parts.entries {
                match map.entries.get(key) {
                    Some(item) if item.type_name() == part.type_name() => {
                        if !contains(item, part)? {
                            return Ok(false);
                        }
                    }
                    Some(_) | None => return Ok(false),
                }
            }
            Ok(true)
        }
        _ if value.type_name() == other.type_name() => Ok(value == other),
        _ => Err(Error::typ(other.clone(), "part of another kind of value")),
    }
}

/// Where `other` is in a string (in bytes, as jq up to 1.7 counts), or in an array.
pub(super) fn indices(value: &Value, other: &Value) -> ValueResult {
    match (value, other) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Text(text), Value::Text(part)) => {
            spend(text.len() / 16);
            if part.is_empty() {
                return Ok(Value::list(Vec::new()));
            }
            let mut found = Vec::new();
            let (mut from, mut chars) = (0, 0);
            while let Some(at) = text[from..].find(&**part) {
                spend(1 + at / 16);
                allocate(ITEM);
                chars += text[from..from + at].chars().count();
                found.push(Value::from(chars));
                // They may overlap: on from the next character.
                let step = text[from + at..].chars().next().map_or(1, char::len_utf8);
                from += at + step;
                chars += 1;
            }
            Ok(Value::list(found))
        }
        (Value::List(_), Value::List(parts)) if parts.items.is_empty() => Ok(Value::Null),
        (Value::List(list), Value::List(parts)) => {
            let windows = list.items.windows(parts.items.len()).enumerate();
            let found = windows.filter(|(_, it)| **it == *parts.items.as_slice());
            Ok(found.map(|(at, _)| Value::from(at)).collect())
        }
        (Value::List(list), other) => {
            let found = list.items.iter().enumerate().filter(|(_, it)| *it == other);
            Ok(found.map(|(at, _)| Value::from(at)).collect())
        }
        _ => Err(Error::index(value.clone(), other.clone())),
    }
}

fn binary_search(value: Value, other: &Value) -> ValueResult {
    let Value::List(list) = &value else { return Err(Error::typ(value, "array")) };
    Ok(match list.items.binary_search(other) {
        Ok(at) => Value::from(at),
        Err(at) => Value::Int(-1 - i64::try_from(at).unwrap_or(i64::MAX)),
    })
}

/// Removes what is at each path; the last first, so that none moves another.
fn delete_paths(value: Value, paths: Value) -> ValueResult {
    let Value::List(paths) = paths else { return Err(Error::typ(paths, "array of paths")) };
    let mut paths = List::owned(paths).items;
    paths.sort();
    paths.into_iter().rev().try_fold(value, |value, path| match path {
        Value::List(path) => delete_path(value, &path.items),
        other => Err(Error::typ(other, "path, which is an array")),
    })
}

fn delete_path(value: Value, path: &[Value]) -> ValueResult {
    let Some((step, rest)) = path.split_first() else { return Ok(Value::Null) };
    if matches!(value, Value::Null) {
        return Ok(value);
    }
    let inner = value.clone().index(step)?;
    if rest.is_empty() {
        return without(value, step);
    }
    if matches!(inner, Value::Null) {
        return Ok(value);
    }
    let inner = delete_path(inner, rest)?;
    let set = value
        .map_index(step, jaq_core::path::Opt::Essential, |_| std::iter::once(Ok(inner.clone())));
    set.map_err(|error| {
        let error: Result<Error, _> = error.get_err();
        error.unwrap_or_else(|_| Error::typ(step.clone(), "step of a path"))
    })
}

/// Without the entry, item or part at `step`.
fn without(value: Value, step: &Value) -> ValueResult {
    match (value, step) {
        (Value::Map(map), Value::Text(key)) => {
            let mut map = Map::owned(map);
            map.entries.remove(key);
            Ok(Value::Map(Rc::new(map)))
        }
        (value @ Value::List(_), step) => {
            // Behind the end there is nothing to remove; an update to nothing does the rest.
            let none = |_| std::iter::empty();
            let removed = value.map_index(step, jaq_core::path::Opt::Optional, none);
            removed.map_err(|error| {
                let error: Result<Error, _> = error.get_err();
                error.unwrap_or_else(|_| Error::typ(step.clone(), "step of a path"))
            })
        }
        (value, step) => Err(Error::index(value, step.clone())),
    }
}
