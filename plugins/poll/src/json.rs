//! JSON to items, by jq.
//!
//! What is configured are several small programs; they are run as one, which costs one start and has
//! one limit of time: a call of a plugin that takes too long is abandoned and its instance lost.
//! `mortise_jq` bounds steps, memory and nesting.

use std::time::Duration;

use mortise_jq::Program;
use mortise_plugin::{Location, Problem};
use serde_json::Value;

use crate::memory::Item;

/// What the programs may take together, well below the two seconds of a call.
const TIME: Duration = Duration::from_millis(1_000);
/// How many items a response may have. More are no list of news.
pub(crate) const MOST_ITEMS: usize = 10_000;
/// How long a cursor may be.
const LONGEST_CURSOR: usize = 4_096;

/// The programs as they are configured.
pub(crate) struct Programs<'a> {
    pub(crate) items: &'a str,
    pub(crate) id: &'a str,
    pub(crate) time: Option<&'a str>,
    pub(crate) cursor: Option<&'a str>,
    pub(crate) more: Option<&'a str>,
}

/// What a response holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// In the order in which they are to be emitted.
    pub(crate) items: Vec<Item>,
    /// Items that had no id, and are told apart by all that they hold.
    pub(crate) without_id: usize,
    pub(crate) cursor: Option<String>,
    /// Whether the server has more at the new cursor.
    pub(crate) more: bool,
}

impl Programs<'_> {
    /// Compiles them; what is wrong is told for each.
    pub(crate) fn compile(&self, problems: &mut Vec<Problem>) -> Option<Program> {
        let before = problems.len();
        let each = [
            ("items_jq", Some(self.items)),
            ("id_jq", Some(self.id)),
            ("time_jq", self.time),
            ("cursor_jq", self.cursor),
            ("more_jq", self.more),
        ];
        for (path, text) in each {
            if let Some(Err(error)) = text.map(Program::compile) {
                let location = Location { line: error.line, column: error.column };
                problems.push(Problem {
                    path: path.to_owned(),
                    message: error.message,
                    location: Some(location),
                });
            }
        }
        if problems.len() > before {
            return None;
        }
        // Each is a whole program, so brackets around it cannot be closed from inside; the ends of
        // lines end its comments.
        let sorted = if self.time.is_some() { " | sort_by(.time)" } else { "" };
        let text = format!(
            "{{items: ([({}\n)] | if length == 1 and (.[0] | type) == \"array\" then .[0] else . end \
             | map({{item: ., id: ([({}\n)] | .[0]), time: ([({}\n)] | .[0])}}){sorted}), \
             cursor: ([({}\n)] | .[0]), more: ([({}\n)] | .[0])}}",
            self.items,
            self.id,
            self.time.unwrap_or("null"),
            self.cursor.unwrap_or("null"),
            self.more.unwrap_or("false"),
        );
        match Program::compile(&text) {
            Ok(program) => Some(program),
            Err(_) => {
                let message = "the programs are too long or nested too deep together".to_owned();
                problems.push(Problem { path: "items_jq".to_owned(), message, location: None });
                None
            }
        }
    }
}

/// Reads a response. Errors quote nothing of it.
pub(crate) fn read(program: &Program, text: &str) -> Result<Reading, String> {
    let body: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let mut found = program
        .run_within(&body, &[], TIME)
        .map_err(|error| format!("jq: {}", error.without_values()))?;
    let Value::Array(list) = found["items"].take() else {
        return Err("jq: gave no list of items".to_owned());
    };
    if list.len() > MOST_ITEMS {
        let count = list.len();
        return Err(format!("it has {count} items; at most {MOST_ITEMS} are taken, ask for less"));
    }
    let mut reading = Reading { cursor: cursor(&found["cursor"])?, ..Reading::default() };
    reading.more = found["more"] == Value::Bool(true);
    for mut entry in list {
        let payload = entry["item"].take();
        let id = match entry["id"].take() {
            Value::Null => {
                reading.without_id += 1;
                payload.to_string()
            }
            Value::String(id) => id,
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string()
            }
        };
        reading.items.push(Item { id, payload });
    }
    Ok(reading)
}

fn cursor(value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err("`cursor_jq` gave no text, number or null".to_owned());
        }
    };
    if text.len() > LONGEST_CURSOR {
        return Err(format!("`cursor_jq` gave a text longer than {LONGEST_CURSOR} bytes"));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Programs<'_> =
        Programs { items: ".", id: ".id?", time: None, cursor: None, more: None };

    fn reading(programs: &Programs<'_>, body: &Value) -> Result<Reading, String> {
        let mut problems = Vec::new();
        let program = programs.compile(&mut problems);
        read(&program.unwrap_or_else(|| panic!("{problems:?}")), &body.to_string())
    }

    fn ids(programs: &Programs<'_>, body: &Value) -> Vec<String> {
        reading(programs, body).unwrap().items.into_iter().map(|it| it.id).collect()
    }

    #[test]
    fn items_are_a_list_or_outputs_or_one() {
        let list = json!([{ "id": "a" }, { "id": 2 }, { "id": [3] }]);
        assert_eq!(ids(&PLAIN, &list), ["a", "2", "[3]"]);
        assert_eq!(ids(&PLAIN, &json!({ "id": "one" })), ["one"]);
        let page = json!({ "items": [{ "id": "a" }, { "id": "b" }] });
        for items in [".items", ".items[]", ".items # a comment", "def f: .items; f[]"] {
            assert_eq!(ids(&Programs { items, ..PLAIN }, &page), ["a", "b"], "{items}");
        }
        assert_eq!(ids(&Programs { items: "empty", ..PLAIN }, &page), Vec::<String>::new());
        let one_of_two = Programs { items: ".items[:1]", id: "empty, 1", ..PLAIN };
        assert_eq!(ids(&one_of_two, &page), ["1"]);
    }

    #[test]
    fn items_without_an_id_are_told_apart_by_all_of_them() {
        let found = reading(&PLAIN, &json!([1, { "a": 1 }, { "id": null }])).unwrap();
        assert_eq!(found.without_id, 3);
        let ids: Vec<&str> = found.items.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["1", r#"{"a":1}"#, r#"{"id":null}"#]);
        assert_eq!(found.items[0].payload, json!(1));
    }

    #[test]
    fn time_sorts_and_cursors_are_texts() {
        let programs = Programs {
            time: Some(".at"),
            cursor: Some("map(.at) | max"),
            more: Some("length == 2"),
            ..PLAIN
        };
        let page = json!([{ "id": "late", "at": 9 }, { "id": "early", "at": 3 }]);
        let found = reading(&programs, &page).unwrap();
        assert_eq!(found.items[0].id, "early");
        assert_eq!((found.cursor.as_deref(), found.more), (Some("9"), true));
        assert_eq!(reading(&programs, &json!([])).unwrap().cursor, None);
        for (cursor, says) in [("{}", "no text"), ("\"x\" * 5000", "longer than")] {
            let programs = Programs { cursor: Some(cursor), ..PLAIN };
            assert!(reading(&programs, &json!([])).unwrap_err().contains(says), "{cursor}");
        }
    }

    #[test]
    fn programs_that_are_wrong_are_named() {
        let mut problems = Vec::new();
        let programs = Programs {
            items: ".) | (.",
            id: ".id |",
            time: Some("nope"),
            cursor: Some(".a"),
            more: None,
        };
        assert!(programs.compile(&mut problems).is_none());
        let paths: Vec<&str> = problems.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["items_jq", "id_jq", "time_jq"]);
        assert!(problems.iter().all(|it| it.location.is_some()));
    }

    #[test]
    fn hostile_programs_and_responses_are_stopped() {
        for items in [
            "def f: f; f",
            "[range(1e9)]",
            "[limit(20000; repeat(1))]",
            "\"a\" * 1e12",
            "reduce range(1e6) as $x (null; [.])",
            "error(\"quoted\")",
        ] {
            let error = reading(&Programs { items, ..PLAIN }, &json!({})).unwrap_err();
            assert!(!error.contains("quoted"), "{error}");
        }
        let program = PLAIN.compile(&mut Vec::new()).unwrap();
        for text in ["", "{", "nul", &"[".repeat(100_000), "{\"a\":1}}"] {
            assert!(read(&program, text).unwrap_err().starts_with("it is no JSON"));
        }
        let huge = format!("[{}1]", "1,".repeat(2_000_000));
        assert!(read(&program, &huge).is_err());
    }
}
