//! What a hook answers: nothing, or `{status, inputs_values}` (spec §2.4). The status says how it
//! went, the values are written to inputs.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::manifest::HookType;

/// The answer of a hook that returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookAnswer {
    /// Inputs to be written, by name.
    pub inputs_values: Map<String, Value>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    status: Option<Value>,
    #[serde(default)]
    inputs_values: Option<Value>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    reason: Option<Value>,
}

/// Reads what a hook returned; an error is the reason why it counts as failed.
///
/// Anything but an object counts as nothing: hooks return all kinds of things, and most of them
/// `undefined`.
pub fn read(hook: HookType, result: Option<&str>) -> Result<HookAnswer, String> {
    let Some(text) = result else { return Ok(HookAnswer::default()) };
    let wire = match serde_json::from_str::<Wire>(text) {
        Ok(wire) => wire,
        // It was JSON when it came: an object that cannot be read is one that is nested too deep.
        Err(_) if text.trim_start().starts_with('{') => {
            return Err("its answer is nested too deep to be read".to_owned());
        }
        Err(_) => return Ok(HookAnswer::default()),
    };
    let success = match hook {
        HookType::Activate => &["active"][..],
        HookType::Deactivate => &["inactive"],
        HookType::Validate | HookType::Update => &["active", "inactive", "ok", "success"],
    };
    match &wire.status {
        None | Some(Value::Null) => {}
        Some(Value::String(status)) if status.eq_ignore_ascii_case("error") => {
            let message =
                [wire.message, wire.reason].into_iter().flatten().find_map(|it| match it {
                    Value::String(text) => Some(text),
                    _ => None,
                });
            return Err(message.unwrap_or_else(|| "it answered with the status `error`".to_owned()));
        }
        Some(Value::String(status)) if success.iter().any(|it| status.eq_ignore_ascii_case(it)) => {
        }
        // A number is an HTTP status of something that the hook called, and none of ours.
        Some(Value::String(status)) => {
            return Err(format!(
                "it answered with the status `{status}`; allowed are `{}` and `error`",
                success.join("`, `")
            ));
        }
        Some(_) => {}
    }
    match wire.inputs_values {
        None | Some(Value::Null) => Ok(HookAnswer::default()),
        Some(Value::Object(inputs_values)) => Ok(HookAnswer { inputs_values }),
        Some(_) => Err("its `inputs_values` is no object of names and values".to_owned()),
    }
}

/// Writes values that a hook answered over the inputs; null puts one back to its default.
pub fn write_over(inputs: &mut Map<String, Value>, written: &Map<String, Value>) {
    for (name, value) in written {
        match value {
            Value::Null => inputs.remove(name),
            value => inputs.insert(name.clone(), value.clone()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(hook: HookType, text: &str) -> Result<Value, String> {
        read(hook, Some(text)).map(|it| Value::Object(it.inputs_values))
    }

    #[test]
    fn what_hooks_return() {
        use HookType::{Activate, Deactivate, Validate};
        let nothing = Ok(serde_json::json!({}));
        for text in ["null", "1", "\"active\"", "[]", "{}", r#"{"status": 200}"#, r#"{"x": 1}"#] {
            assert_eq!(values(Activate, text), nothing, "{text}");
        }
        assert_eq!(read(Activate, None), Ok(HookAnswer::default()));
        assert_eq!(values(Activate, r#"{"status": "active"}"#), nothing);
        assert_eq!(values(Deactivate, r#"{"status": "inactive", "inputs_values": null}"#), nothing);
        let written = values(Activate, r#"{"inputs_values": {"hook_id": 7}}"#);
        assert_eq!(written, Ok(serde_json::json!({"hook_id": 7})));
        let failed = values(Activate, r#"{"status": "error", "message": "no such board"}"#);
        assert_eq!(failed, Err("no such board".to_owned()));
        assert!(values(Validate, r#"{"status": "error"}"#).is_err());
        assert!(
            values(Activate, r#"{"status": "inactive"}"#).is_err_and(|it| it.contains("active"))
        );
        assert!(values(Activate, r#"{"inputs_values": [1]}"#).is_err());
        let deep =
            format!(r#"{{"inputs_values": {{"a": {}{}}}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(values(Activate, &deep).is_err_and(|it| it.contains("too deep")));
    }
}
