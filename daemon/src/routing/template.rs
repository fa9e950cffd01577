//! Templates of messages: text with tokens such as `{{error.message}}`, and nothing else: no code, no
//! conditions, no loops. Pure.
//!
//! Which tokens there are depends on the trigger; one that is not known is refused when the template is
//! saved, because a message with a hole in it is noticed when it is needed most.

use serde_json::Value;

use crate::model::occurrence::{COMMON, Family, Selector};

/// Characters of a template.
pub const MOST_TEMPLATE: usize = 4_000;
/// Characters of what comes of one token.
const MOST_VALUE: usize = 2_000;
/// Tokens of a template.
const MOST_TOKENS: usize = 50;

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is too long.
    #[error("it is longer than {MOST_TEMPLATE} characters")]
    TooLong,
    /// It has too many tokens.
    #[error("it has more than {MOST_TOKENS} tokens")]
    TooManyTokens,
    /// A token does not end.
    #[error("`{{{{{0}` has no `}}}}` at its end")]
    Open(String),
    /// There is no such token.
    #[error("unknown token `{{{{{token}}}}}`")]
    Unknown {
        /// What is written there.
        token: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Token(String),
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// The tokens that a template may have for a selector; what ends in `.*` has any below it.
pub fn tokens(selector: &Selector) -> Vec<&'static str> {
    let mut tokens = COMMON.to_vec();
    for member in selector.families().into_iter().flat_map(Family::members) {
        if !tokens.contains(member) {
            tokens.push(member);
        }
    }
    tokens
}

fn is_known(token: &str, known: &[&str]) -> bool {
    known.iter().any(|it| match it.strip_suffix(".*") {
        Some(above) => {
            let below = token.strip_prefix(above).and_then(|it| it.strip_prefix('.'));
            below.is_some_and(|it| it.split('.').all(|step| !step.is_empty()))
        }
        None => *it == token,
    })
}

impl Template {
    /// Reads a template whose tokens are checked against those that a selector has.
    pub fn parse(text: &str, selector: &Selector) -> Result<Template, TemplateError> {
        if text.chars().nth(MOST_TEMPLATE).is_some() {
            return Err(TemplateError::TooLong);
        }
        let known = tokens(selector);
        let template = Template::read(text)?;
        let all = template.0.iter().filter_map(|it| match it {
            Piece::Token(token) => Some(token),
            Piece::Text(_) => None,
        });
        if all.clone().count() > MOST_TOKENS {
            return Err(TemplateError::TooManyTokens);
        }
        let wrong = all.clone().find(|it| !is_known(it, &known));
        match wrong {
            Some(token) => Err(TemplateError::Unknown { token: token.chars().take(60).collect() }),
            None => Ok(template),
        }
    }

    /// Reads one that was checked before, or is our own.
    pub fn trusted(text: &str) -> Template {
        Template::read(text).unwrap_or_else(|_| Template(vec![Piece::Text(text.to_owned())]))
    }

    fn read(text: &str) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((token, behind)) = after.split_once("}}") else {
                return Err(TemplateError::Open(after.chars().take(20).collect()));
            };
            pieces.push(Piece::Token(token.trim().to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// The text for a document. What is not there is nothing.
    pub fn fill(&self, document: &Value) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Token(token) => text.push_str(&value_at(document, token)),
            }
        }
        text
    }
}

/// What stands at a path, as people read it.
pub fn value_at(document: &Value, path: &str) -> String {
    let mut at = document;
    for step in path.split('.') {
        let next = match at {
            Value::Object(members) => members.get(step),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|it| items.get(it)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        match next {
            Some(next) => at = next,
            None => return String::new(),
        }
    }
    let text = match at {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => at.to_string(),
    };
    cut(&text, MOST_VALUE)
}

/// At most so many characters, with a sign that there were more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::occurrence::Trigger;

    fn parse(text: &str, selector: &str) -> Result<Template, TemplateError> {
        Template::parse(text, &selector.parse().expect("a selector"))
    }

    #[test]
    fn tokens_are_filled_and_nothing_else_happens() {
        let document = json!({
            "scope": "prod/a/b", "attempts": 3, "error": { "message": "{{scope}} ${x} <b>" },
        });
        let template =
            parse("{{ scope }}: {{error.message}} ({{attempts}}){{event}}", "run.failed");
        assert_eq!(template.expect("good").fill(&document), "prod/a/b: {{scope}} ${x} <b> (3)");
        assert_eq!(parse("", "*").map(|it| it.fill(&document)), Ok(String::new()));
        assert_eq!(
            parse("a } b { c }}", "*").map(|it| it.fill(&document)),
            Ok("a } b { c }}".into())
        );
        let long = json!({ "scope": "x".repeat(5_000) });
        let filled = parse("{{scope}}", "*").expect("good").fill(&long);
        assert!(filled.ends_with('…') && filled.chars().count() == MOST_VALUE + 1);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let unknown = |text: &str, selector| match parse(text, selector) {
            Err(TemplateError::Unknown { token }) => token,
            other => panic!("{other:?}"),
        };
        assert_eq!(unknown("{{functoin}}", "run.failed"), "functoin");
        assert_eq!(unknown("{{error.message}}", "snap_in.failed"), "error.message");
        assert_eq!(unknown("{{error}}", "run.failed"), "error", "an object is no text");
        assert_eq!(unknown("{{data.}}", "custom.x"), "data.");
        assert_eq!(unknown("{{}}", "*"), "");
        assert!(parse("{{data.a.0.b}}{{message}}", "custom.x").is_ok());
        assert!(parse("{{error.message}}{{reason}}", "*").is_ok(), "one of its triggers has it");
        assert_eq!(parse("a {{scope", "*"), Err(TemplateError::Open("scope".to_owned())));
        assert_eq!(parse(&"x".repeat(MOST_TEMPLATE + 1), "*"), Err(TemplateError::TooLong));
        assert_eq!(parse(&"{{scope}}".repeat(51), "*"), Err(TemplateError::TooManyTokens));
    }

    #[test]
    fn the_templates_of_all_triggers_are_good() {
        let more = [Trigger::Milestone("k".into()), Trigger::Custom("n".into())];
        for trigger in Trigger::FIXED.iter().chain(&more) {
            let (title, text) = trigger.template();
            for template in [title, text] {
                let selector = Selector::One(trigger.clone());
                assert!(Template::parse(template, &selector).is_ok(), "{trigger}: {template}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,80}", value in ".{0,20}") {
            if let Ok(template) = parse(&text, "*") {
                template.fill(&json!({ "scope": value }));
            }
        }
    }
}
