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

/// A type's schema, compiled once.
#[derive(Debug)]
pub(super) struct ConfigSchema(Validator);

impl ConfigSchema {
    /// Compiles `schema`. References are followed inside the schema only.
    pub(super) fn compile(schema: &Value) -> Result<ConfigSchema, String> {
        match jsonschema::options().build(schema) {
            Ok(validator) => Ok(ConfigSchema(validator)),
            Err(error) => Err(error.masked().to_string()),
        }
    }

    /// Everything that is wrong with `config`, at most [`MAX_PROBLEMS`] things.
    pub(super) fn problems(&self, config: &Value) -> Vec<Problem> {
        self.0
            .iter_errors(config)
            .take(MAX_PROBLEMS)
            .map(|error| Problem {
                path: dotted(error.instance_path().as_str()),
                message: message(&error),
                location: None,
            })
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
    error.masked().to_string()
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
        assert!(all.contains("\"policy\" is a required property"), "{all}");
        assert!(all.contains("parameters.secret: value is shorter than 8 characters"), "{all}");
        assert!(all.contains("polcy"), "{all}");
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
    fn a_schema_that_is_none_is_refused() {
        assert!(ConfigSchema::compile(&json!({ "type": "no such type" })).is_err());
        assert!(ConfigSchema::compile(&json!({ "$ref": "https://example.org/x.json" })).is_err());
    }
}
