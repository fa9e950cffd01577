//! Asking a person for values: what a question says, and what an answer means. Decides and speaks
//! through [`Dialogue`]; it must never call the daemon, and never show a secret again.

use serde_json::Value;

use super::given::describe;
use crate::cli::Failure;
use crate::cli::show::plain;
use crate::cli::terminal::Dialogue;
use crate::configuration::inputs;
use crate::model::manifest::{FieldType, Input};

/// Asks for one input until the answer is right. `present` is its value now, which stays when the
/// answer is empty; nothing is answered then.
pub(super) fn for_input(
    dialogue: &mut impl Dialogue,
    input: &Input,
    present: Option<&Value>,
) -> Result<Option<Value>, Failure> {
    dialogue.say(&question(input))?;
    let prompt = match present {
        Some(value) => format!("  [{}] > ", plain(&shown(value))),
        None => "  > ".to_owned(),
    };
    loop {
        let answer = dialogue.line(&prompt)?.ok_or_else(|| ended(&input.name))?;
        let answer = answer.trim();
        if answer.is_empty() {
            if present.is_some() || !input.is_required {
                return Ok(None);
            }
            dialogue.say("  it is required: give a value")?;
            continue;
        }
        match inputs::from_text(input, chosen(input, answer)) {
            Ok(value) => return Ok(Some(value)),
            Err(problem) => dialogue.say(&format!("  {}", plain(&describe(&problem))))?,
        }
    }
}

/// A yes-or-no question; an empty answer is `default`.
pub(super) fn confirm(
    dialogue: &mut impl Dialogue,
    question: &str,
    default: bool,
) -> Result<bool, Failure> {
    let choices = if default { "[Y/n]" } else { "[y/N]" };
    loop {
        let Some(answer) = dialogue.line(&format!("{question} {choices} "))? else {
            return Ok(false);
        };
        match answer.trim().to_lowercase().as_str() {
            "" => return Ok(default),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => dialogue.say("yes or no?")?,
        }
    }
}

/// A choice from a list, by number; answers its place.
pub(super) fn choose(
    dialogue: &mut impl Dialogue,
    what: &str,
    options: &[String],
) -> Result<usize, Failure> {
    for (at, option) in options.iter().enumerate() {
        dialogue.say(&format!("    {}) {}", at + 1, plain(option)))?;
    }
    loop {
        let answer = dialogue.line(&format!("  {what} [1] > "))?.ok_or_else(|| ended(what))?;
        let answer = answer.trim();
        if answer.is_empty() && !options.is_empty() {
            return Ok(0);
        }
        match answer.parse::<usize>() {
            Ok(number) if (1..=options.len()).contains(&number) => return Ok(number - 1),
            _ => dialogue.say(&format!("  a number from 1 to {}", options.len()))?,
        }
    }
}

/// What a question says, without its prompt.
fn question(input: &Input) -> String {
    let title = input.ui.display_name.as_deref().unwrap_or(&input.name);
    let needed = if input.is_required { "required" } else { "optional" };
    let how = if input.field_type == FieldType::Array { ", with commas" } else { "" };
    let kind = format!("{}{how}", kind(input));
    let mut lines = vec![format!("\n{} ({}, {kind}, {needed})", plain(title), plain(&input.name))];
    let about = [input.description.as_deref(), input.ui.tooltip.as_deref()];
    for text in about.into_iter().flatten() {
        lines.extend(plain(text.trim()).lines().map(|it| format!("  {it}")));
    }
    if let Some(example) = &input.ui.placeholder {
        lines.push(format!("  such as {}", plain(example)));
    }
    for (at, value) in input.allowed_values.iter().enumerate() {
        lines.push(format!("    {}) {}", at + 1, plain(value)));
    }
    lines.join("\n")
}

/// The type of an input, for people.
pub(super) fn kind(input: &Input) -> String {
    match (input.field_type, input.base_type) {
        (FieldType::Bool, _) => "yes or no".to_owned(),
        (FieldType::Array, Some(base)) => format!("list of {}", base.name()),
        (FieldType::Array, None) => "list".to_owned(),
        (field_type, _) => field_type.name().to_owned(),
    }
}

/// A value as it can be typed again.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => {
            let plain = |it: &Value| match it {
                Value::String(text) if !text.contains(',') => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let items: Option<Vec<String>> = items.iter().map(plain).collect();
            items.map_or_else(|| value.to_string(), |items| items.join(", "))
        }
        Value::Null | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A number stands for the allowed value at that place, unless it is itself one.
fn chosen<'a>(input: &'a Input, answer: &'a str) -> &'a str {
    if input.field_type == FieldType::Array || input.allowed_values.iter().any(|it| it == answer) {
        return answer;
    }
    let place = answer.parse::<usize>().ok().and_then(|it| it.checked_sub(1));
    place.and_then(|it| input.allowed_values.get(it)).map_or(answer, String::as_str)
}

/// Somebody who ends the input wants out.
pub(super) fn ended(what: &str) -> Failure {
    Failure::refused(format!("the input ended before there was an answer for `{what}`"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;

    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;
    use crate::model::manifest::Validators;

    /// Somebody who gives these answers in this order.
    #[derive(Default)]
    pub(in crate::cli) struct Somebody {
        pub(in crate::cli) answers: VecDeque<&'static str>,
        pub(in crate::cli) heard: String,
    }

    impl Somebody {
        pub(in crate::cli) fn with(answers: &[&'static str]) -> Somebody {
            Somebody { answers: answers.iter().copied().collect(), heard: String::new() }
        }
    }

    impl Dialogue for Somebody {
        fn say(&mut self, text: &str) -> Result<(), Failure> {
            self.heard.push_str(text);
            self.heard.push('\n');
            Ok(())
        }

        fn line(&mut self, prompt: &str) -> Result<Option<String>, Failure> {
            self.heard.push_str(prompt);
            Ok(self.answers.pop_front().map(str::to_owned))
        }

        fn secret(&mut self, prompt: &str) -> Result<Option<Zeroizing<String>>, Failure> {
            self.heard.push_str(prompt);
            Ok(self.answers.pop_front().map(|it| Zeroizing::new(it.to_owned())))
        }
    }

    fn input(field_type: FieldType, is_required: bool) -> Input {
        Input { name: "it".to_owned(), field_type, is_required, ..Input::default() }
    }

    fn asked(input: &Input, present: Option<Value>, answers: &[&'static str]) -> (Value, String) {
        let mut somebody = Somebody::with(answers);
        let answer = for_input(&mut somebody, input, present.as_ref());
        let answer = answer.unwrap_or_else(|it| panic!("{}: {}", it.message, somebody.heard));
        assert!(somebody.answers.is_empty(), "{}", somebody.heard);
        (answer.unwrap_or_default(), somebody.heard)
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_for_again() {
        let mut count = input(FieldType::Int, true);
        count.description = Some("How many.".to_owned());
        count.validators = Validators { lte: Some(9.into()), ..Validators::default() };
        let (value, heard) = asked(&count, None, &["many", "10", "", "7"]);
        assert_eq!(value, 7);
        for hint in ["(it, int, required)", "How many.", "whole number", "at most 9", "required:"] {
            assert!(heard.contains(hint), "{hint} in {heard}");
        }
    }

    #[test]
    fn an_empty_answer_keeps_what_is_there() {
        let (value, heard) = asked(&input(FieldType::Text, true), Some(json!("old")), &[""]);
        assert_eq!(value, Value::Null);
        assert!(heard.contains("[old] > "), "{heard}");
        assert_eq!(asked(&input(FieldType::Text, false), None, &[""]).0, Value::Null);
        let (value, heard) = asked(&input(FieldType::Bool, false), Some(json!(true)), &["off"]);
        assert_eq!(value, false);
        assert!(heard.contains("[yes] > "), "{heard}");
    }

    #[test]
    fn allowed_values_can_be_chosen_by_number() {
        let mut level = input(FieldType::Enum, true);
        level.allowed_values = vec!["low".to_owned(), "high".to_owned(), "1".to_owned()];
        assert_eq!(asked(&level, None, &["2"]).0, "high");
        assert_eq!(asked(&level, None, &["low"]).0, "low");
        // The value itself, not the first.
        assert_eq!(asked(&level, None, &["1"]).0, "1");
        let (value, heard) = asked(&level, None, &["9", "high"]);
        assert_eq!(value, "high");
        assert!(heard.contains("2) high") && heard.contains("allowed: low, high"), "{heard}");
    }

    #[test]
    fn lists_are_typed_with_commas() {
        let mut labels = input(FieldType::Array, false);
        labels.base_type = Some(FieldType::Text);
        let (value, heard) = asked(&labels, Some(json!(["x", "y"])), &["a, b"]);
        assert_eq!(value, json!(["a", "b"]));
        assert!(heard.contains("[x, y] > "), "{heard}");
        assert_eq!(shown(&json!(["a,b", "c"])), r#"["a,b","c"]"#);
    }

    #[test]
    fn what_a_stranger_wrote_does_not_steer_the_terminal() {
        let mut evil = input(FieldType::Text, false);
        evil.description = Some("\u{1b}[2Jgone".to_owned());
        let (_, heard) = asked(&evil, None, &[""]);
        assert!(!heard.contains('\u{1b}'), "{heard:?}");
    }

    #[test]
    fn the_end_of_the_input_is_a_way_out() {
        let mut nobody = Somebody::default();
        let failure = for_input(&mut nobody, &input(FieldType::Text, true), None);
        assert!(failure.is_err_and(|it| it.message.contains("`it`")));
        assert!(!confirm(&mut nobody, "Go on?", true).unwrap_or(true));
    }

    #[test]
    fn confirmations_and_choices() {
        let confirmed = |answers: &[&'static str], default| {
            confirm(&mut Somebody::with(answers), "Go on?", default).ok()
        };
        assert_eq!(confirmed(&[""], true), Some(true));
        assert_eq!(confirmed(&[""], false), Some(false));
        assert_eq!(confirmed(&["what", "Y"], false), Some(true));
        let options = ["a".to_owned(), "b".to_owned()];
        let choice =
            |answers: &[&'static str]| choose(&mut Somebody::with(answers), "which", &options).ok();
        assert_eq!(choice(&["0", "x", "2"]), Some(1));
        assert_eq!(choice(&[""]), Some(0));
    }
}
