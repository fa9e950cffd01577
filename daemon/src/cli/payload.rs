//! JSON on the command line: as it stands there, from a file (`@FILE`) or from standard input (`-`).
//! Owns how it is said where it came from and at which place it is wrong; what it means is not its
//! business.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use super::{Failure, files};

/// Whether standard input was read: there is nothing left of it then.
static STDIN_IS_READ: AtomicBool = AtomicBool::new(false);

/// Where a text came from.
enum Origin<'a> {
    Given(&'a str),
    File(&'a str),
    StandardInput,
}

/// Any JSON. `what` names it in messages, such as `the payload`.
pub(super) fn any(what: &str, given: &str) -> Result<Value, Failure> {
    let (origin, text) = read(what, given)?;
    parse(what, &origin, &text)
}

/// The text of any JSON, as it was written.
pub(super) fn text(what: &str, given: &str) -> Result<String, Failure> {
    let (origin, text) = read(what, given)?;
    parse(what, &origin, &text)?;
    Ok(text)
}

/// A JSON object.
pub(super) fn object(what: &str, given: &str) -> Result<Map<String, Value>, Failure> {
    let (origin, text) = read(what, given)?;
    let found = match parse(what, &origin, &text)? {
        Value::Object(members) => return Ok(members),
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
    };
    let place = match origin {
        Origin::Given(_) => String::new(),
        Origin::File(file) => format!("{file}: "),
        Origin::StandardInput => "standard input: ".to_owned(),
    };
    let message =
        format!("{what} is no JSON object: {place}it is {found}; write {{\"NAME\": ...}}");
    Err(Failure::usage(message))
}

/// Says that standard input is read for something, once.
pub(super) fn take_standard_input(what: &str) -> Result<(), Failure> {
    if STDIN_IS_READ.swap(true, Ordering::Relaxed) {
        let message = format!(
            "cannot read {what}: standard input was read already, and `-` can stand for one thing \
             only; use a file for the others"
        );
        return Err(Failure::usage(message));
    }
    Ok(())
}

fn read<'a>(what: &str, given: &'a str) -> Result<(Origin<'a>, String), Failure> {
    if given == "-" {
        take_standard_input(what)?;
        let shown = format!("{what} from standard input");
        let bytes = files::bytes(std::io::stdin().lock(), files::MOST_TEXT, &shown)?;
        let text = files::text(bytes, &shown)?;
        return Ok((Origin::StandardInput, text.as_str().to_owned()));
    }
    match given.strip_prefix('@') {
        Some("") => {
            Err(Failure::usage(format!("{what}: the name of the file is missing after `@`")))
        }
        Some(file) => Ok((Origin::File(file), files::read_text(file.as_ref())?)),
        None => Ok((Origin::Given(given), given.to_owned())),
    }
}

fn parse(what: &str, origin: &Origin<'_>, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("{}:{}", error.line(), error.column());
        let mut wrong = match text.trim().is_empty() {
            true => "it is empty".to_owned(),
            false => without_place(&error),
        };
        let place = match origin {
            Origin::Given(given) => {
                if std::path::Path::new(given).is_file() {
                    wrong.push_str(&format!("; to send what is in that file, write @{given}"));
                }
                format!("line {}, column {}", error.line(), error.column())
            }
            Origin::File(file) => format!("{file}:{place}"),
            Origin::StandardInput => format!("standard input:{place}"),
        };
        Failure::usage(format!("{what} is no JSON: {place}: {wrong}"))
    })
}

/// What is wrong, without the place, which is told in front of it.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&place).unwrap_or(&message).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(outcome: Result<impl std::fmt::Debug, Failure>) -> String {
        let failure = outcome.expect_err("it is wrong");
        assert_eq!(failure.exit_code, 2, "{}", failure.message);
        failure.message
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(any("the payload", "[1, 2]").ok(), Some(json!([1, 2])));
        let message = wrong(any("the payload", "{\n  \"a\": ,\n}"));
        assert_eq!(message, "the payload is no JSON: line 2, column 8: expected value");
        let message = wrong(any("the payload", " "));
        assert!(message.ends_with("it is empty"), "{message}");
        let message = wrong(any("the payload", "@"));
        assert!(message.contains("after `@`"), "{message}");
        let message = wrong(object("the data", "[1]"));
        assert!(message.starts_with("the data is no JSON object: it is a list"), "{message}");
    }

    #[test]
    fn files_are_named_with_line_and_column() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("payload.json");
        let shown = path.display().to_string();
        std::fs::write(&path, "{\n  \"a\": 1\n  \"b\": 2\n}").expect("it is ours");
        let message = wrong(any("the payload", &format!("@{shown}")));
        let expected = format!("the payload is no JSON: {shown}:3:3: expected `,` or `}}`");
        assert_eq!(message, expected);
        let message = wrong(any("the payload", &shown));
        assert!(message.ends_with(&format!("write @{shown}")), "{message}");
        std::fs::write(&path, "\"text\"").expect("it is ours");
        let message = wrong(object("the data", &format!("@{shown}")));
        assert!(message.contains(&format!("{shown}: it is a text")), "{message}");
        let missing = any("the payload", "@/nonexistent/x.json").expect_err("there is none");
        assert!(missing.message.contains("/nonexistent/x.json"), "{}", missing.message);
    }
}
