//! The configuration of one source, from JSON to what decides about its requests.
//!
//! Keys that are not known are tolerated, because real manifests have them (a `filter` that
//! belongs one level up), but they are reported by `check`: they do nothing here.

use mortise_plugin::{Fault, Host, Problem};
use serde_json::{Value, json};

use crate::diagnose::sentence;
use crate::input::InputBuilder;
use crate::policy::Policy;
use crate::source::{Decides, Shaper, WebhookSource};
use crate::verify;

/// What is known at the top.
const KNOWN: [&str; 3] = ["policy", "verify", "parameters"];

/// JSON Schema of the configuration.
pub(crate) fn schema() -> Value {
    let mut examples = vec![json!({
        "policy": "package rego\n\noutput = {\"event\": input.request.body, \
                   \"event_key\": \"received\"} {\n  input.request.method == \"POST\"\n}\n"
    })];
    examples.extend(verify::examples());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "anyOf": [{ "required": ["policy"] }, { "required": ["verify"] }],
        "properties": {
            "policy": {
                "type": "string",
                "minLength": 1,
                "maxLength": crate::policy::MAX_POLICY,
                "title": "Policy",
                "description": "A Rego policy of package `rego` whose rule `output` gives \
                                `event` and `event_key`, or `response`. Rego v0 and v1 are taken. \
                                With `verify` it sees verified requests only.",
                "contentMediaType": "application/vnd.openpolicyagent.policy"
            },
            "verify": verify::schema(),
            "parameters": {
                "title": "Parameters",
                "description": "Any JSON, such as the secret; the policy sees it as \
                                `input.parameters`."
            }
        },
        "additionalProperties": true,
        "examples": examples
    })
}

/// Compiles a configuration, or says everything that is wrong with it.
pub(crate) fn open(config: &Value, host: Host) -> Result<WebhookSource, Fault> {
    let given = |name: &str| config.get(name).filter(|it| !it.is_null());
    let mut problems = Vec::new();
    let verify = given("verify").map(verify::open).and_then(|it| kept(it, &mut problems));
    let shaper =
        given("policy").map(|it| shaper(it, config)).and_then(|it| kept(it, &mut problems));
    let decides = match (verify, shaper) {
        (None, Some(shaper)) => Some(Decides::Policy(Box::new(shaper))),
        (Some(verify), None) => Some(Decides::Verify(Box::new(verify))),
        (Some(verify), Some(shaper)) => Some(Decides::Both(Box::new(verify), Box::new(shaper))),
        (None, None) => None,
    };
    match decides {
        Some(decides) if problems.is_empty() => {
            let warnings = warnings(config, &decides);
            Ok(WebhookSource { decides, warnings, host })
        }
        Some(_) | None => Err(refused(problems)),
    }
}

fn refused(mut problems: Vec<Problem>) -> Fault {
    if problems.is_empty() {
        let message = "give `verify`, such as `{scheme: github, secret: TEXT}`, or `policy`, a \
                       Rego policy, or both";
        problems.push(Problem::at("", message));
    }
    let first = problems.first();
    let message = match first.filter(|it| it.path == "policy" && it.location.is_some()) {
        Some(first) => format!("the policy does not compile: {}", sentence(first)),
        None => first.map(|it| format!("{} {}", it.path, it.message)).unwrap_or_default(),
    };
    Fault::config(message.trim(), problems)
}

fn kept<T>(made: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    made.map_err(|found| problems.extend(found)).ok()
}

fn shaper(policy: &Value, config: &Value) -> Result<Shaper, Vec<Problem>> {
    let Some(policy) = policy.as_str() else {
        return Err(vec![Problem::at("policy", "`policy` must be a string: a Rego policy")]);
    };
    let policy = Policy::compile(policy)?;
    let parameters = config.get("parameters").unwrap_or(&Value::Null).to_string();
    let parameters = crate::json::parse(parameters.as_bytes()).map_err(|error| {
        vec![Problem::at("parameters", format!("`parameters` cannot be read: {error}"))]
    })?;
    Ok(Shaper { policy, inputs: InputBuilder::new(parameters.value) })
}

fn warnings(config: &Value, decides: &Decides) -> Vec<Problem> {
    let Value::Object(fields) = config else { return Vec::new() };
    let mut warnings = Problem::unknown_keys(config, "", &KNOWN);
    match decides {
        Decides::Policy(_) => {}
        Decides::Verify(_) => {
            if fields.contains_key("parameters") {
                let message = "does nothing here: parameters are for a `policy`";
                warnings.push(Problem::at("parameters", message));
            }
        }
        Decides::Both(verify, _) => {
            if verify.has_own_event_key() {
                let message = "does nothing here: the policy beside it gives the event key";
                warnings.push(Problem::at("verify.event_key", message));
            }
        }
    }
    warnings
}
