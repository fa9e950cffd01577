//! Whether one value is right for an input: its type and its limits. Defaults of manifests and
//! values that people and functions set are checked here alike.
//!
//! A message never quotes a text, because people keep secrets in inputs. Exceptions are names that
//! are chosen from a list.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use super::dates::{is_date, is_timestamp};
use super::ids::{IdProblem, check_id};
use super::suggest::unknown;
use crate::model::manifest::{FieldType, Input, Validators};

/// The largest value, as JSON.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// The deepest nesting of a value: answers that hold one must stay readable for every client.
pub const MAX_VALUE_DEPTH: usize = 64;
/// The longest pattern.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// The most memory that a compiled pattern may take.
const MAX_PATTERN_SIZE: usize = 1 << 20;
/// So many wrong items of an array are named.
const MAX_ITEM_PROBLEMS: usize = 20;

/// One thing that is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueProblem {
    /// Which item of an array; nothing for the value as a whole.
    pub item: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// The choices, when they can be listed.
    pub allowed: Vec<String>,
    /// The type that was wanted, when it is of another one.
    pub wanted: Option<FieldType>,
}

impl ValueProblem {
    fn new(message: impl Into<String>) -> ValueProblem {
        ValueProblem { item: None, message: message.into(), allowed: Vec::new(), wanted: None }
    }
}

/// Everything that is wrong with `value` for `input`; nothing when it is right.
pub fn check(input: &Input, value: &Value) -> Vec<ValueProblem> {
    let bytes = value_bytes(value);
    if bytes > MAX_VALUE_BYTES {
        let message = format!("is {bytes} bytes of JSON; at most {MAX_VALUE_BYTES} are allowed");
        return vec![ValueProblem::new(message)];
    }
    if is_deeper_than(value, MAX_VALUE_DEPTH) {
        let message = format!("is nested deeper than the {MAX_VALUE_DEPTH} levels allowed");
        return vec![ValueProblem::new(message)];
    }
    let limits = match Limits::new(&input.validators) {
        Ok(limits) => limits,
        Err(why) => {
            let message = format!("cannot be checked, because the manifest's pattern {why}");
            return vec![ValueProblem::new(message)];
        }
    };
    if input.field_type != FieldType::Array {
        return check_one(input, input.field_type, &limits, value);
    }
    let Value::Array(items) = value else { return vec![mismatch(FieldType::Array, value)] };
    let base = input.base_type.unwrap_or(FieldType::Unknown);
    let mut problems = limits.length(items.len(), "items");
    let of_items = limits.of_items();
    let wrong = items.iter().enumerate().flat_map(|(index, item)| {
        let found = check_one(input, base, &of_items, item);
        found.into_iter().map(move |it| ValueProblem { item: Some(index), ..it })
    });
    problems.extend(wrong.take(MAX_ITEM_PROBLEMS));
    problems
}

/// How much of the limits a value takes.
pub fn value_bytes(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|it| is_deeper_than(it, levels - 1)),
        Value::Object(members) => {
            levels == 0 || members.values().any(|it| is_deeper_than(it, levels - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Why a pattern cannot be used, to follow "the pattern"; nothing when it can.
pub fn pattern_problem(pattern: &str) -> Option<String> {
    compile(pattern).err()
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too costly: its repetitions multiply".to_owned(),
        // The last line says what; those before show the pattern and where.
        other => {
            let text = other.to_string();
            let what = text.lines().last().unwrap_or_default();
            format!("is no regular expression: {}", what.trim_start_matches("error: "))
        }
    })
}

/// The limits of an input, ready to be applied to several items.
struct Limits<'a> {
    validators: &'a Validators,
    /// Whether lengths are those of texts, rather than of the array around them.
    lengths: bool,
    pattern: Option<Regex>,
}

impl<'a> Limits<'a> {
    fn new(validators: &'a Validators) -> Result<Limits<'a>, String> {
        let pattern = validators.pattern.as_deref().map(compile).transpose()?;
        Ok(Limits { validators, lengths: true, pattern })
    }

    fn of_items(&self) -> Limits<'a> {
        // A clone of a compiled pattern is a counted reference.
        Limits { validators: self.validators, lengths: false, pattern: self.pattern.clone() }
    }

    fn length(&self, length: usize, of: &str) -> Vec<ValueProblem> {
        let limit = |limit: Option<u32>| limit.and_then(|it| usize::try_from(it).ok());
        let must = |how: &str, limit: usize| {
            ValueProblem::new(format!("must have {how} {limit} {of}, has {length}"))
        };
        let Validators { min_len, max_len, eq_len, .. } = self.validators;
        let mut problems = Vec::new();
        problems.extend(limit(*min_len).filter(|it| length < *it).map(|it| must("at least", it)));
        problems.extend(limit(*max_len).filter(|it| length > *it).map(|it| must("at most", it)));
        problems.extend(limit(*eq_len).filter(|it| length != *it).map(|it| must("exactly", it)));
        problems
    }

    fn text(&self, text: &str) -> Vec<ValueProblem> {
        let Validators { prefix, suffix, contains, .. } = self.validators;
        let mut problems = Vec::new();
        if self.lengths {
            problems.extend(self.length(text.chars().count(), "characters"));
        }
        let mut demand = |holds: bool, what: &str, of: &str| {
            if !holds {
                problems.push(ValueProblem::new(format!("must {what} `{of}`")));
            }
        };
        if let Some(pattern) = &self.pattern {
            demand(pattern.is_match(text), "match the pattern", pattern.as_str());
        }
        if let Some(prefix) = prefix {
            demand(text.starts_with(prefix), "begin with", prefix);
        }
        if let Some(suffix) = suffix {
            demand(text.ends_with(suffix), "end with", suffix);
        }
        if let Some(contains) = contains {
            demand(text.contains(contains), "contain", contains);
        }
        problems
    }

    fn number(&self, number: &Number) -> Vec<ValueProblem> {
        let Validators { gt, gte, lt, lte, .. } = self.validators;
        let mut problems = Vec::new();
        let mut demand = |bound: &Option<Number>, what: &str, breaks: &[Ordering]| {
            if let Some(bound) = bound
                && breaks.contains(&compare(number, bound))
            {
                let message = format!("must be {what} {bound}, is {number}");
                problems.push(ValueProblem::new(message));
            }
        };
        demand(gt, "greater than", &[Ordering::Less, Ordering::Equal]);
        demand(gte, "at least", &[Ordering::Less]);
        demand(lt, "less than", &[Ordering::Greater, Ordering::Equal]);
        demand(lte, "at most", &[Ordering::Greater]);
        problems
    }
}

/// Exact between whole numbers; numbers of JSON are never NaN.
fn compare(a: &Number, b: &Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        }
    }
}

fn check_one(
    input: &Input,
    field_type: FieldType,
    limits: &Limits<'_>,
    value: &Value,
) -> Vec<ValueProblem> {
    match (field_type, value) {
        (FieldType::Bool, Value::Bool(_))
        | (FieldType::Composite | FieldType::Struct, Value::Object(_))
        | (FieldType::Array, Value::Array(_))
        | (FieldType::JsonValue | FieldType::Unknown, _) => Vec::new(),
        (FieldType::Enum, Value::String(text)) => choice(text, &input.allowed_values),
        // Either the name of a value or, on the platform, its number or its record.
        (FieldType::Uenum, Value::String(text)) if !input.allowed_values.is_empty() => {
            choice(text, &input.allowed_values)
        }
        (FieldType::Uenum, Value::String(_) | Value::Number(_) | Value::Object(_)) => Vec::new(),
        (FieldType::Int, Value::Number(number)) if number.is_i64() => limits.number(number),
        (FieldType::Int, Value::Number(number)) if number.is_u64() => {
            let message = format!("is greater than {}, the greatest `int`", i64::MAX);
            vec![ValueProblem::new(message)]
        }
        (FieldType::Double, Value::Number(number)) => limits.number(number),
        (FieldType::Text | FieldType::RichText | FieldType::Tokens, Value::String(text)) => {
            limits.text(text)
        }
        (FieldType::Tokens, Value::Array(tokens)) if tokens.iter().all(Value::is_string) => {
            tokens.iter().filter_map(Value::as_str).flat_map(|it| limits.text(it)).collect()
        }
        (FieldType::Id, Value::String(text)) => match check_id(text, &input.id_type) {
            Ok(()) => limits.text(text),
            Err(problem) => vec![wrong_id(problem, &input.id_type)],
        },
        (FieldType::Date, Value::String(text)) if is_date(text) => limits.text(text),
        (FieldType::Date, Value::String(_)) => {
            vec![ValueProblem::new("is no date of the form 2026-01-31")]
        }
        (FieldType::Timestamp, Value::String(text)) if is_timestamp(text) => limits.text(text),
        (FieldType::Timestamp, Value::String(_)) => {
            vec![ValueProblem::new("is no timestamp of the form 2026-01-31T12:00:00Z (RFC 3339)")]
        }
        (
            FieldType::Array
            | FieldType::Bool
            | FieldType::Composite
            | FieldType::Date
            | FieldType::Double
            | FieldType::Enum
            | FieldType::Id
            | FieldType::Int
            | FieldType::RichText
            | FieldType::Struct
            | FieldType::Text
            | FieldType::Timestamp
            | FieldType::Tokens
            | FieldType::Uenum,
            _,
        ) => vec![mismatch(field_type, value)],
    }
}

fn choice(text: &str, allowed: &[String]) -> Vec<ValueProblem> {
    if allowed.iter().any(|it| it == text) {
        return Vec::new();
    }
    let message = unknown("value", text, allowed.iter().map(String::as_str));
    vec![ValueProblem { allowed: allowed.to_vec(), ..ValueProblem::new(message) }]
}

fn wrong_id(problem: IdProblem, id_types: &[String]) -> ValueProblem {
    match problem {
        IdProblem::NoId => ValueProblem::new("is no id: one word without spaces is wanted"),
        IdProblem::OfAnotherType(found) => {
            let message = format!("is the id of another type, {}", super::suggest::quoted(&found));
            ValueProblem { allowed: id_types.to_vec(), ..ValueProblem::new(message) }
        }
    }
}

fn mismatch(wanted: FieldType, value: &Value) -> ValueProblem {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if wanted == FieldType::Int && number.is_f64() => {
            "a number with a decimal point"
        }
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let hint = match (wanted, value) {
        (FieldType::Int | FieldType::Double, Value::String(text))
            if text.parse::<f64>().is_ok() =>
        {
            "; write it without quotes"
        }
        (FieldType::Bool, Value::String(text)) if ["true", "false"].contains(&text.as_str()) => {
            "; write it without quotes"
        }
        (FieldType::Text | FieldType::RichText | FieldType::Id, Value::Number(_)) => {
            "; write it in quotes"
        }
        _ => "",
    };
    let message = format!("a value of type `{}` is wanted, found {found}{hint}", wanted.name());
    ValueProblem { wanted: Some(wanted), ..ValueProblem::new(message) }
}
