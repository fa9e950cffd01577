//! What an integration or a subscription may be. Pure; every error names the field, what is allowed, and
//! the nearest name where there is one.

use mortise_jq::Program;

use crate::configuration::suggest::{nearest, quoted, steers};
use crate::model::occurrence::{Family, Selector, Trigger, is_name};
use crate::routing::template::{Template, TemplateError, tokens};

/// Messages under way at once, when nothing is said.
pub const DEFAULT_CONCURRENCY: u16 = 4;
/// What may be said.
const CONCURRENCY: std::ops::RangeInclusive<u16> = 1..=64;
/// Messages that may begin in a second.
const PER_SECOND: std::ops::RangeInclusive<u32> = 1..=10_000;
/// The longest that occurrences are collected.
const LONGEST_GROUP_WAIT: u32 = 24 * 60 * 60;
/// Characters of a name.
const LONGEST_NAME: usize = 100;
/// Characters of a filter.
const LONGEST_FILTER: usize = 10_000;
/// Bytes of a connection.
const LARGEST_CONNECTION: usize = 64 * 1024;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Which.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// What there is instead, when that can be listed.
    pub allowed: Vec<String>,
}

fn invalid<T>(field: &'static str, message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field, message: message.into(), allowed: Vec::new() })
}

/// The name of a new integration, or a new name: those that there are already stay.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let is_name = !name.trim().is_empty()
        && name.trim() == name
        && name.chars().count() <= LONGEST_NAME
        && !name.chars().any(|it| it == '/' || is_unseen(it));
    if is_name {
        return Ok(());
    }
    invalid(
        "name",
        format!(
            "name is {}: expected 1 to {LONGEST_NAME} characters without spaces at its ends, none of them \
             `/`, which stands between type and name, a tab, the end of a line, or another character that \
             is not seen or turns the direction of writing",
            quoted(name)
        ),
    )
}

/// Characters with which two names look alike, or one looks like another one.
fn is_unseen(it: char) -> bool {
    steers(it) || matches!(it, '\u{200b}'..='\u{200d}')
}

/// How many messages may be under way at once.
pub fn check_concurrency(concurrency: u16) -> Result<(), Invalid> {
    if CONCURRENCY.contains(&concurrency) {
        return Ok(());
    }
    let (least, most) = (CONCURRENCY.start(), CONCURRENCY.end());
    invalid("concurrency", format!("concurrency is {concurrency}: expected {least} to {most}"))
}

/// How many messages may begin in a second.
pub fn check_rate(per_second: u32) -> Result<(), Invalid> {
    if PER_SECOND.contains(&per_second) {
        return Ok(());
    }
    let (least, most) = (PER_SECOND.start(), PER_SECOND.end());
    let message = format!(
        "per_second is {per_second}: expected {least} to {most}, or nothing for as many as there are"
    );
    invalid("per_second", message)
}

/// The whole configuration of a sink.
pub fn check_connection(connection: &serde_json::Value) -> Result<(), Invalid> {
    if !connection.is_object() {
        return invalid("connection", "connection is to be an object, as the type's schema says");
    }
    let bytes = connection.to_string().len();
    if bytes > LARGEST_CONNECTION {
        let message =
            format!("connection has {bytes} bytes: at most {LARGEST_CONNECTION} are allowed");
        return invalid("connection", message);
    }
    Ok(())
}

/// All triggers that have a name of their own, and their families.
pub fn trigger_names() -> Vec<String> {
    let mut names = vec!["*".to_owned()];
    names.extend(Family::ALL.iter().map(|it| format!("{}.*", it.name())));
    names.extend(Trigger::FIXED.iter().map(ToString::to_string));
    names.extend(["milestone.KIND".to_owned(), "custom.NAME".to_owned()]);
    names
}

/// What a subscription is about.
pub fn read_trigger(text: &str) -> Result<Selector, Invalid> {
    text.parse::<Selector>().map_err(|error| {
        let allowed = trigger_names();
        let near = nearest(text, allowed.iter().map(String::as_str));
        let near = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
        Invalid { field: "trigger", message: format!("trigger: {error}{near}"), allowed }
    })
}

/// A filter that compiles.
pub fn check_filter(filter: &str) -> Result<(), Invalid> {
    if filter.chars().nth(LONGEST_FILTER).is_some() {
        return invalid("filter", format!("filter is longer than {LONGEST_FILTER} characters"));
    }
    match Program::compile(filter) {
        Ok(_) => Ok(()),
        Err(error) => invalid("filter", format!("filter: {error}")),
    }
}

/// A template that is about what the subscription is about.
pub fn check_template(
    field: &'static str,
    template: &str,
    selector: &Selector,
) -> Result<(), Invalid> {
    let Err(error) = Template::parse(template, selector) else { return Ok(()) };
    let known = tokens(selector);
    let near = match &error {
        TemplateError::Unknown { token } => nearest(token, known.iter().copied()),
        TemplateError::TooLong | TemplateError::TooManyTokens | TemplateError::Open(_) => None,
    };
    let near = near.map(|it| format!(", did you mean `{{{{{it}}}}}`?")).unwrap_or_default();
    let allowed = known.into_iter().map(str::to_owned).collect();
    Err(Invalid { field, message: format!("{field}: {error}{near}"), allowed })
}

/// For how long occurrences of a kind are collected.
pub fn check_group_wait(seconds: u32) -> Result<(), Invalid> {
    if seconds <= LONGEST_GROUP_WAIT {
        return Ok(());
    }
    let message =
        format!("group_wait_seconds is {seconds}: expected 0 to {LONGEST_GROUP_WAIT} (a day)");
    invalid("group_wait_seconds", message)
}

/// The kind of a milestone, or the name of what is published.
pub fn check_word(field: &'static str, text: &str) -> Result<(), Invalid> {
    if is_name(text) {
        return Ok(());
    }
    let message = format!(
        "{field} is {}: expected 1 to 64 characters of a-z, 0-9, `_`, `-` and `.`",
        quoted(text)
    );
    invalid(field, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_what_was_meant() {
        let wrong = read_trigger("run.faild").expect_err("misspelt");
        assert!(wrong.message.contains("did you mean `run.failed`?"), "{wrong}");
        assert!(wrong.allowed.contains(&"snap_in.*".to_owned()));
        let selector = Selector::One(Trigger::RunFailed);
        let wrong = check_template("text", "{{error.mesage}}", &selector).expect_err("misspelt");
        assert!(wrong.message.contains("did you mean `{{error.message}}`?"), "{wrong}");
        assert!(wrong.allowed.contains(&"function".to_owned()));
        assert!(check_filter(".level ==").is_err_and(|it| it.field == "filter"));
        let unseen =
            ["a\nb", "a\tb", "a/b", "a\u{202e}b", "a\u{200b}b", "a\u{200d}b", "a\u{feff}b"];
        for name in unseen {
            let wrong = check_name(name).expect_err(name);
            assert!(wrong.message.contains("none of them `/`"), "{wrong}");
        }
        assert!(check_name("支払い é").is_ok());
        for name in ["", " x", &"x".repeat(LONGEST_NAME + 1)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("Ops channel").is_ok());
        assert!(check_concurrency(0).is_err() && check_rate(0).is_err());
        assert!(check_connection(&serde_json::json!("x")).is_err());
        assert!(check_group_wait(LONGEST_GROUP_WAIT + 1).is_err());
    }
}
