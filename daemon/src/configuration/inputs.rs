//! Values of the inputs of a snap-in: which may be stored, and what is in effect.
//!
//! Invariant: a change is stored whole or not at all, and nothing that was stored is lost by it:
//! values of inputs that the manifest does not have (any more) stay for a rollback.

use serde_json::{Map, Value};

use super::suggest::unknown;
use super::values::{check, value_bytes};
use crate::model::manifest::{FieldType, Input, Level, Manifest};

/// The largest sum of names and values that may be stored, as JSON.
pub const MAX_VALUES_BYTES: usize = 256 * 1024;
/// More problems are not listed.
pub const MAX_PROBLEMS: usize = 100;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputProblem {
    /// Name of the input, with the place in an array: `labels[2]`.
    pub input: String,
    /// What is wrong with it, without the value when that may be a secret.
    pub message: String,
    /// What would be right.
    pub allowed: Vec<String>,
}

/// Merges `changes` over `stored` and checks each changed value. `null` puts an input back to its
/// default. Answers what is to be stored, or everything that is wrong, in the order of the manifest.
pub fn change(
    manifest: &Manifest,
    level: Level,
    stored: &Map<String, Value>,
    changes: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InputProblem>> {
    let mut problems = Vec::new();
    let mut merged = stored.clone();
    for input in manifest.inputs.iter().filter(|it| it.level == level) {
        let Some(value) = changes.get(&input.name) else { continue };
        if !value.is_null() {
            problems.extend(wrong(input, value));
            merged.insert(input.name.clone(), value.clone());
        } else if input.is_required && input.default_value.is_none() {
            problems.push(InputProblem {
                input: input.name.clone(),
                message: "is required and has no default to go back to: give a value".to_owned(),
                allowed: input.allowed_values.clone(),
            });
        } else {
            merged.remove(&input.name);
        }
    }
    let unknown = changes.keys().filter(|name| manifest.input(level, name).is_none());
    problems.extend(unknown.map(|name| no_such_input(manifest, level, name)));
    problems.extend(too_much(manifest, level, &merged, changes));
    if problems.is_empty() {
        return Ok(merged);
    }
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        problems.push(InputProblem {
            input: "inputs_values".to_owned(),
            message: format!("has {more} more problems, which are not listed"),
            allowed: Vec::new(),
        });
    }
    Err(problems)
}

/// The values in effect: what was set, else the default; nothing for an input without either. A
/// value that was set for another version and is not right for this one is as if it were not set.
pub fn in_effect(
    manifest: &Manifest,
    level: Level,
    stored: &Map<String, Value>,
) -> Map<String, Value> {
    let of_level = manifest.inputs.iter().filter(|it| it.level == level);
    of_level
        .filter_map(|it| {
            let value = usable(it, stored).or(it.default_value.as_ref())?;
            Some((it.name.clone(), value.clone()))
        })
        .collect()
}

/// Required inputs without a value, in manifest order.
pub fn missing<'a>(
    manifest: &'a Manifest,
    level: Level,
    stored: &Map<String, Value>,
) -> Vec<&'a Input> {
    let of_level = manifest.inputs.iter().filter(|it| it.level == level);
    of_level
        .filter(|it| it.is_required && it.default_value.is_none())
        .filter(|it| usable(it, stored).is_none())
        .collect()
}

/// What was set for an input, if it is right for it.
pub fn usable<'a>(input: &Input, stored: &'a Map<String, Value>) -> Option<&'a Value> {
    stored.get(&input.name).filter(|it| check(input, it).is_empty())
}

/// Everything that is wrong with a value.
pub fn wrong(input: &Input, value: &Value) -> Vec<InputProblem> {
    let problems = check(input, value).into_iter().map(|it| InputProblem {
        input: match it.item {
            Some(index) => format!("{}[{index}]", input.name),
            None => input.name.clone(),
        },
        message: it.message,
        allowed: it.allowed,
    });
    problems.collect()
}

/// A value from what somebody typed, by the type of the input: `true`, `12`, `a,b` or `["a,b"]` for
/// an array, JSON where the type is JSON. Answers a value that is right for the input.
pub fn from_text(input: &Input, text: &str) -> Result<Value, InputProblem> {
    let value = match input.field_type {
        FieldType::Array => array_from_text(input, text)?,
        field_type => one_from_text(field_type, text).map_err(|it| typed_wrong(input, it))?,
    };
    match wrong(input, &value).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(value),
    }
}

fn array_from_text(input: &Input, text: &str) -> Result<Value, InputProblem> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| {
            typed_wrong(input, format!("begins with `[` but is no JSON: {error}"))
        });
    }
    if text.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    let base = input.base_type.unwrap_or(FieldType::Unknown);
    let items = text.split(',').enumerate().map(|(index, item)| {
        one_from_text(base, item.trim()).map_err(|message| InputProblem {
            input: format!("{}[{index}]", input.name),
            ..typed_wrong(input, message)
        })
    });
    items.collect::<Result<Vec<Value>, InputProblem>>().map(Value::Array)
}

fn one_from_text(field_type: FieldType, text: &str) -> Result<Value, String> {
    match field_type {
        FieldType::Bool => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Value::Bool(true)),
            "false" | "no" | "off" => Ok(Value::Bool(false)),
            _ => Err("is neither `true` nor `false`".to_owned()),
        },
        FieldType::Int => match text.trim().parse::<i64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err(format!("is no whole number from {} to {}", i64::MIN, i64::MAX)),
        },
        FieldType::Double => {
            let number = text.trim().parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).ok_or_else(|| "is no number".to_owned())
        }
        FieldType::Composite | FieldType::Struct => {
            serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))
        }
        // Whatever is no JSON is a text.
        FieldType::JsonValue | FieldType::Unknown | FieldType::Uenum => {
            Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
        }
        FieldType::Array
        | FieldType::Date
        | FieldType::Enum
        | FieldType::Id
        | FieldType::RichText
        | FieldType::Text
        | FieldType::Timestamp
        | FieldType::Tokens => Ok(Value::from(text)),
    }
}

fn typed_wrong(input: &Input, message: String) -> InputProblem {
    let allowed = match input.field_type {
        FieldType::Bool => vec!["true".to_owned(), "false".to_owned()],
        _ => input.allowed_values.clone(),
    };
    InputProblem { input: input.name.clone(), message, allowed }
}

fn no_such_input(manifest: &Manifest, level: Level, name: &str) -> InputProblem {
    let of_level = manifest.inputs.iter().filter(|it| it.level == level);
    let names: Vec<&str> = of_level.map(|it| it.name.as_str()).collect();
    let other = match level {
        Level::Organization => Level::User,
        Level::User => Level::Organization,
    };
    let message = match (manifest.input(other, name), level) {
        (Some(_), Level::Organization) => {
            "is an input of the user level: each user sets it with snap-ins.update-user".to_owned()
        }
        (Some(_), Level::User) => {
            "is an input of the organization level: set it with snap-ins.update".to_owned()
        }
        (None, _) => unknown("input", name, names.iter().copied()),
    };
    let input = super::suggest::shorten(name, 100);
    InputProblem { input, message, allowed: names.into_iter().map(str::to_owned).collect() }
}

/// Values that another version left behind are not counted: nobody could make room there.
fn too_much(
    manifest: &Manifest,
    level: Level,
    merged: &Map<String, Value>,
    changes: &Map<String, Value>,
) -> Option<InputProblem> {
    let counted = merged.iter().filter(|(name, _)| manifest.input(level, name).is_some());
    let bytes: usize = counted.map(|(name, value)| name.len() + value_bytes(value)).sum();
    // Making less of what is too much is always allowed.
    let is_growth = changes.values().any(|it| !it.is_null());
    (bytes > MAX_VALUES_BYTES && is_growth).then(|| InputProblem {
        input: "inputs_values".to_owned(),
        message: format!(
            "all values together are {bytes} bytes of JSON; at most {MAX_VALUES_BYTES} are allowed"
        ),
        allowed: Vec::new(),
    })
}
