//! Configs against the JSON Schema of their type.
//!
//! Owns the compiled schema and the wording of its problems. It must never fetch a schema from
//! elsewhere, and never repeat a config's values: they may be secret.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use mortise_plugin::Problem;
use serde_json::Value;

/// More than that nobody reads at once, and a long array can have a problem in every element.
const MAX_PROBLEMS: usize = 100;
/// Characters that are repeated of a key that nobody knows.
const MAX_KEY: usize = 80;

/// A type's schema, compiled once.
#[derive(Debug)]
pub(super) struct ConfigSchema {
    validator: Validator,
    /// The keys that it describes.
    known: Vec<String>,
    /// Whether it says itself what it thinks of others.
    speaks_of_others: bool,
}

impl ConfigSchema {
    /// Compiles `schema`. References are followed inside the schema only.
    pub(super) fn compile(schema: &Value) -> Result<ConfigSchema, String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let known = properties.into_iter().flat_map(|it| it.keys().cloned()).collect();
        let speaks_of_others = schema.get("additionalProperties").is_some();
        match jsonschema::options().build(schema) {
            Ok(validator) => Ok(ConfigSchema { validator, known, speaks_of_others }),
            Err(error) => Err(error.masked().to_string()),
        }
    }

    /// Keys of a config that the schema does not describe. No mistake by themselves, but when
    /// something else is wrong, such as one that is missing, they may be the reason.
    pub(super) fn unknown(&self, config: &Value) -> Vec<Problem> {
        if self.known.is_empty() || self.speaks_of_others {
            return Vec::new();
        }
        let keys = config.as_object().into_iter().flat_map(|it| it.keys());
        let unknown = keys.filter(|it| !self.known.contains(it));
        unknown.take(MAX_PROBLEMS).map(|it| self.not_known(it)).collect()
    }

    fn not_known(&self, key: &str) -> Problem {
        let message = match self.known.as_slice() {
            [] => "is not known here".to_owned(),
            known => format!("is not known here; known are {}", known.join(", ")),
        };
        // It may be a value that stands in the wrong place, and a long one.
        let path = key.chars().take(MAX_KEY).collect();
        Problem { path, message, location: None }
    }

    /// Everything that is wrong with `config`, at most [`MAX_PROBLEMS`] things.
    pub(super) fn problems(&self, config: &Value) -> Vec<Problem> {
        self.validator
            .iter_errors(config)
            .flat_map(|error| {
                let path = dotted(error.instance_path().as_str());
                match error.kind() {
                    ValidationErrorKind::AdditionalProperties { unexpected } if path.is_empty() => {
                        unexpected.iter().take(MAX_PROBLEMS).map(|it| self.not_known(it)).collect()
                    }
                    _ => vec![Problem { path, message: message(&error), location: None }],
                }
            })
            .take(MAX_PROBLEMS)
            .collect()
    }
}

/// What is wrong, without values. "None of these" is said in the names that are missing.
fn message(error: &ValidationError<'_>) -> String {
    if let ValidationErrorKind::AnyOf { context } = error.kind() {
        let missing = context.iter().map(|branch| match branch.as_slice() {
            [one] => match one.kind() {
                ValidationErrorKind::Required { property } => property.as_str(),
                _ => None,
            },
            _ => None,
        });
        if let Some(names) = missing.collect::<Option<Vec<&str>>>() {
            let names: Vec<String> = names.iter().map(|it| format!("\"{it}\"")).collect();
            return format!("{} is required", names.join(" or "));
        }
    }
    match error.kind() {
        // The crate names the first few of many.
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().into_iter().flatten();
            let options: Vec<String> = options.map(ToString::to_string).collect();
            format!("must be one of {}", options.join(", "))
        }
        ValidationErrorKind::Required { property: Value::String(name) } => {
            format!("\"{name}\" is required")
        }
        _ => error.masked().to_string(),
    }
}

/// `/parameters/keys/0` becomes `parameters.keys.0`, as people write it.
fn dotted(pointer: &str) -> String {
    let steps = pointer.split('/').skip(1);
    steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(config: Value) -> Vec<String> {
        let schema = ConfigSchema::compile(&json!({
            "type": "object",
            "properties": {
                "policy": { "type": "string" },
                "parameters": {
                    "type": "object",
                    "properties": { "secret": { "type": "string", "minLength": 8 } },
                },
            },
            "required": ["policy"],
            "additionalProperties": false,
        }));
        let problems = schema.unwrap().problems(&config);
        problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect()
    }

    #[test]
    fn all_problems_are_told_with_their_path_and_without_values() {
        assert_eq!(check(json!({ "policy": "x" })), Vec::<String>::new());
        let problems = check(json!({ "parameters": { "secret": "hunter2" }, "polcy": 1 }));
        assert_eq!(problems.len(), 3, "{problems:?}");
        let all = problems.join("\n");
        assert!(all.contains("\"policy\" is required"), "{all}");
        assert!(all.contains("parameters.secret: value is shorter than 8 characters"), "{all}");
        assert!(all.contains("polcy: is not known here; known are parameters, policy"), "{all}");
        assert!(!all.contains("hunter2"), "{all}");
    }

    #[test]
    fn one_of_several_names_is_asked_for() {
        let schema = json!({ "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] });
        let problems = ConfigSchema::compile(&schema).unwrap().problems(&json!({ "c": "hunter2" }));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, "\"a\" or \"b\" is required");
    }

    #[test]
    fn all_that_is_allowed_is_named_and_what_is_not_known() {
        let compile = |schema: Value| ConfigSchema::compile(&schema).unwrap();
        let schema = compile(json!({ "properties": {
            "format": { "enum": ["a", "b", "c", "d", "e", 6, null] }, "url": {},
        }}));
        let config = json!({ "format": "hunter2", "ulr": "hunter2" });
        let problems = schema.problems(&config);
        assert_eq!(problems[0].message, r#"must be one of "a", "b", "c", "d", "e", 6, null"#);
        let unknown = schema.unknown(&config);
        assert_eq!((unknown.len(), unknown[0].path.as_str()), (1, "ulr"));
        assert_eq!(unknown[0].message, "is not known here; known are format, url");
        assert!(schema.unknown(&json!([])).is_empty());
        let strict = json!({ "properties": { "a": {} }, "additionalProperties": false });
        assert!(compile(strict).unknown(&json!({ "b": 1 })).is_empty(), "it says so itself");
        assert!(compile(json!({})).unknown(&json!({ "b": 1 })).is_empty(), "any key is right");
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        assert!(ConfigSchema::compile(&json!({ "type": "no such type" })).is_err());
        assert!(ConfigSchema::compile(&json!({ "$ref": "https://example.org/x.json" })).is_err());
    }
}
