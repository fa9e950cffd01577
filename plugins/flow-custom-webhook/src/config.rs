//! The configuration of one source, from JSON to a compiled policy.
//!
//! Keys that are not known are tolerated, because real manifests have them (a `filter` that
//! belongs one level up), but they are reported by `check`: they do nothing here.

use mortise_plugin::{Fault, Host, Problem};
use serde_json::{Value, json};

use crate::diagnose::sentence;
use crate::input::InputBuilder;
use crate::policy::Policy;
use crate::source::WebhookSource;

/// JSON Schema of the configuration.
pub(crate) fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["policy"],
        "properties": {
            "policy": {
                "type": "string",
                "minLength": 1,
                "maxLength": crate::policy::MAX_POLICY,
                "title": "Policy",
                "description": "A Rego policy of package `rego` whose rule `output` gives \
                                `event` and `event_key`, or `response`. Rego v0 and v1 are taken.",
                "contentMediaType": "application/vnd.openpolicyagent.policy"
            },
            "parameters": {
                "title": "Parameters",
                "description": "Any JSON, such as the secret; the policy sees it as \
                                `input.parameters`."
            }
        },
        "additionalProperties": true,
        "examples": [{
            "policy": "package rego\n\noutput = {\"event\": input.request.body, \
                       \"event_key\": \"received\"} {\n  input.request.method == \"POST\"\n}\n"
        }]
    })
}

/// Compiles a configuration.
pub(crate) fn open(config: &Value, host: Host) -> Result<WebhookSource, Fault> {
    let Some(policy) = config.get("policy").and_then(Value::as_str) else {
        let message = "`policy` must be a string: a Rego policy";
        let problem =
            Problem { path: "policy".to_owned(), message: message.to_owned(), location: None };
        return Err(Fault::config(message, vec![problem]));
    };
    let policy = Policy::compile(policy).map_err(|problems| {
        let first = problems.first().map(sentence).unwrap_or_default();
        Fault::config(format!("the policy does not compile: {first}"), problems)
    })?;
    let parameters = config.get("parameters").unwrap_or(&Value::Null).to_string();
    let parameters = crate::json::parse(parameters.as_bytes()).map_err(|error| {
        let message = format!("`parameters` cannot be read: {error}");
        let path = "parameters".to_owned();
        let problem = Problem { path, message: message.clone(), location: None };
        Fault::config(message, vec![problem])
    })?;
    let inputs = InputBuilder::new(parameters.value);
    Ok(WebhookSource { policy, inputs, warnings: warnings(config), host })
}

fn warnings(config: &Value) -> Vec<Problem> {
    let Value::Object(fields) = config else { return Vec::new() };
    let unknown = fields.keys().filter(|key| !["policy", "parameters"].contains(&key.as_str()));
    unknown
        .map(|key| Problem {
            path: key.clone(),
            message: format!(
                "`{key}` is not known here and does nothing: known are `policy` and \
                              `parameters`"
            ),
            location: None,
        })
        .collect()
}
