//! What is configured: the JSON Schema for people and forms, and all that a schema cannot say.
//!
//! Names that no change can have are a warning where the platform that the manifests come from has
//! them, and an error where nobody has: a source that waits for ever is the worse surprise.

use mortise_plugin::{Fault, Location, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::filter::{self, NotCompiled};
use crate::source::Changes;

/// More than there are kinds of changes worth hearing of.
const MOST_TYPES: usize = 256;
/// What the names of changes end in.
const VERBS: [&str; 3] = ["_created", "_updated", "_deleted"];

const KNOWN: [&str; 2] = ["event_types", "filter"];
const KNOWN_IN_FILTER: [&str; 1] = ["jq_query"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    event_types: Vec<String>,
    filter: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Filter {
    jq_query: Option<String>,
}

pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "event_types": {
                "type": "array", "items": { "type": "string" },
                "description": "The changes that are wanted: the name of an object type and \
                                `_created`, `_updated` or `_deleted`."
            },
            "filter": {
                "type": ["object", "null"],
                "properties": {
                    "jq_query": {
                        "type": ["string", "null"],
                        "description": "A jq program that gives true for the changes that are \
                                        wanted and false for the others. `.` is the event, and \
                                        `$user.id` whose source it is."
                    }
                }
            }
        },
        "examples": [
            { "event_types": ["work_created", "work_updated"] },
            {
                "event_types": ["work_created"],
                "filter": { "jq_query": ".work_created.work.type == \"issue\"" }
            },
            {
                "event_types": ["work_updated"],
                "filter": { "jq_query": ".work_updated.work.owned_by | any(.id == $user.id)" }
            }
        ]
    })
}

/// Opens a source, or says everything that is wrong with its configuration.
pub(crate) fn open(value: Value) -> Result<Changes, Fault> {
    let mut warnings = Problem::unknown_keys(&value, "", &KNOWN);
    warnings.extend(Problem::unknown_keys(&value["filter"], "filter.", &KNOWN_IN_FILTER));
    let config: Config = serde_json::from_value(value).map_err(|error| {
        Fault::config("the configuration is wrong", vec![Problem::at("", error.to_string())])
    })?;
    let mut problems = Vec::new();
    check_types(&config.event_types, &mut problems, &mut warnings);
    let filter = config.filter.and_then(|it| it.jq_query).and_then(|text| {
        if text.trim().is_empty() {
            let message = "is empty, so that every change of these types is an event";
            warnings.push(Problem::at("filter.jq_query", message));
            return None;
        }
        filter::shared(&text).map_err(|errors| problems.extend(located(errors))).ok()
    });
    if !problems.is_empty() {
        return Err(Fault::config("the configuration is wrong", problems));
    }
    Ok(Changes { event_types: config.event_types, filter, warnings })
}

fn check_types(types: &[String], problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    if types.is_empty() {
        let message = "name the changes that are wanted, such as `work_created`";
        problems.push(Problem::at("event_types", message));
    }
    if types.len() > MOST_TYPES {
        let message = format!("has {} names; at most {MOST_TYPES} are allowed", types.len());
        problems.push(Problem::at("event_types", message));
    }
    for (place, name) in types.iter().enumerate() {
        let path = format!("event_types[{place}]");
        if !is_snake_case(name) {
            let message = "is no name of a change: those are an object type in lower case with \
                           underscores, and what became of it, such as `work_created`";
            problems.push(Problem::at(path, message));
        } else if !VERBS.iter().any(|it| name.len() > it.len() && name.ends_with(it)) {
            let message = format!("never comes: changes of objects end in {}", VERBS.join(", "));
            warnings.push(Problem::at(path, message));
        }
    }
}

fn is_snake_case(name: &str) -> bool {
    name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
}

fn located(errors: NotCompiled) -> impl Iterator<Item = Problem> {
    errors.0.into_iter().map(|error| Problem {
        path: "filter.jq_query".to_owned(),
        message: error.message,
        location: Some(Location { line: error.line, column: error.column }),
    })
}

#[cfg(test)]
mod tests {
    use mortise_plugin::FaultKind;

    use super::*;

    fn problems(config: Value) -> Vec<(String, Option<Location>)> {
        let fault = open(config).expect_err("it is wrong");
        assert_eq!(fault.kind, FaultKind::Config);
        fault.problems.into_iter().map(|it| (it.path, it.location)).collect()
    }

    fn warnings(config: Value) -> Vec<String> {
        open(config).expect("it is right").warnings.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let found = problems(json!({
            "event_types": ["Work_created", "work_created", "work-updated", ""],
            "filter": { "jq_query": "true and\n  (" }
        }));
        let paths: Vec<_> = found.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(paths[..3], ["event_types[0]", "event_types[2]", "event_types[3]"]);
        assert_eq!(paths[3], "filter.jq_query");
        assert_eq!(found[3].1.map(|it| it.line), Some(2), "{found:?}");
        assert_eq!(problems(json!({})), [("event_types".to_owned(), None)]);
        assert_eq!(problems(json!({ "event_types": [] })).len(), 1);
        assert_eq!(problems(json!({ "event_types": "work_created" })).len(), 1);
        let unknown = json!({ "event_types": ["a_created"], "filter": { "jq_query": "$me.id" } });
        assert_eq!(problems(unknown)[0].0, "filter.jq_query");
    }

    #[test]
    fn what_is_questionable_is_a_warning() {
        let found = warnings(json!({
            "event_types": ["work_created", "group_member_added"],
            "filter": { "jq_query": " ", "more": 1 },
            "other": 1
        }));
        assert_eq!(found, ["other", "filter.more", "event_types[1]", "filter.jq_query"]);
    }

    #[test]
    fn no_filter_may_be_written_in_many_ways() {
        for filter in [json!(null), json!({}), json!({ "jq_query": null })] {
            let config = json!({ "event_types": ["work_created"], "filter": filter });
            let source = open(config).expect("it is right");
            assert!(source.filter.is_none() && source.warnings.is_empty());
        }
    }

    #[test]
    fn the_examples_of_the_schema_are_right() {
        for example in schema()["examples"].as_array().expect("a list") {
            assert!(warnings(example.clone()).is_empty(), "{example}");
        }
    }
}
