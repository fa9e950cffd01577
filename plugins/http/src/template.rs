//! Tokens in texts and JSON: `{{message.title}}` stands for a value of the delivery, and nothing else can be
//! written. There is no code in a template.
//!
//! In a URL a value is encoded, in a header it is one line of ASCII. A text of JSON that is one token and
//! nothing more becomes the value itself, whatever it is; within a longer text a value is written out.

use std::borrow::Cow;

use mortise_plugin::{Delivery, Message, Problem};
use mortise_sinks::{encoded, one_line, plain};
use serde_json::{Value, json};

/// Every token but those below `occurrence.`.
const TOKENS: [&str; 15] = [
    "id",
    "attempt",
    "trigger",
    "count",
    "thread",
    "now_ms",
    "message",
    "message.title",
    "message.text",
    "message.level",
    "message.fields",
    "message.link",
    "message.plain",
    "occurrence",
    "occurrences",
];
/// What of an occurrence is wanted.
const OF_OCCURRENCE: &str = "occurrence.";

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Token(String),
}

/// A text with tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text(Vec<Piece>);

/// JSON with tokens in its texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Text(Text),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    Other(Value),
}

/// What tokens stand for in one delivery. Made when they are asked for: a delivery may have 20 occurrences,
/// and most templates want a title.
pub(crate) struct Values<'a> {
    delivery: &'a Delivery,
    now_ms: u64,
}

impl<'a> Values<'a> {
    pub(crate) fn of(delivery: &'a Delivery, now_ms: u64) -> Values<'a> {
        Values { delivery, now_ms }
    }

    fn of_token(&self, token: &str) -> Cow<'a, Value> {
        let Values { delivery, now_ms } = *self;
        let message = &delivery.message;
        Cow::Owned(match token {
            "id" => json!(delivery.id),
            "attempt" => json!(delivery.attempt),
            "trigger" => json!(delivery.trigger),
            "count" => json!(delivery.count),
            "thread" => json!(delivery.thread),
            "now_ms" => json!(now_ms),
            "message" => json!({
                "title": message.title,
                "text": message.text,
                "level": message.level.name(),
                "fields": fields(message),
                "link": message.link,
                "plain": plain(message),
            }),
            "message.title" => json!(message.title),
            "message.text" => json!(message.text),
            "message.level" => json!(message.level.name()),
            "message.fields" => fields(message),
            "message.link" => json!(message.link),
            "message.plain" => json!(plain(message)),
            "occurrences" => Value::Array(delivery.occurrences.clone()),
            _ => return self.of_occurrence(token),
        })
    }

    /// The first occurrence, or what it has at a path.
    fn of_occurrence(&self, token: &str) -> Cow<'a, Value> {
        let mut steps = token.split('.').skip(1);
        let first = self.delivery.occurrences.first().unwrap_or(&Value::Null);
        Cow::Borrowed(steps.try_fold(first, at).unwrap_or(&Value::Null))
    }

    fn text(&self, token: &str) -> String {
        match self.of_token(token).as_ref() {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

fn fields(message: &Message) -> Value {
    let fields = message.fields.iter().map(|(name, value)| (name.clone(), json!(value)));
    Value::Object(fields.collect())
}

fn at<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    }
}

impl Text {
    /// Reads a text; tokens that there are not are problems.
    pub(crate) fn read(path: &str, text: &str, problems: &mut Vec<Problem>) -> Text {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((token, behind)) = after.split_once("}}") else {
                problems.push(Problem::at(path, "has `{{` without `}}` after it"));
                break;
            };
            let token = token.trim();
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            if let Some(problem) = wrong_token(token) {
                problems.push(Problem::at(path, problem));
            }
            pieces.push(Piece::Token(token.to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Text(pieces)
    }

    fn join(&self, values: &Values<'_>, change: impl Fn(String) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Token(token) => change(values.text(token)),
        });
        pieces.collect()
    }

    pub(crate) fn plain(&self, values: &Values<'_>) -> String {
        self.join(values, |it| it)
    }

    pub(crate) fn in_url(&self, values: &Values<'_>) -> String {
        self.join(values, |it| encoded(&it))
    }

    pub(crate) fn in_header(&self, values: &Values<'_>) -> String {
        self.join(values, |it| {
            one_line(&it).chars().map(|it| if it.is_ascii() { it } else { '?' }).collect()
        })
    }
}

impl Json {
    /// Reads JSON; tokens that there are not are problems.
    pub(crate) fn read(path: &str, value: &Value, problems: &mut Vec<Problem>) -> Json {
        match value {
            Value::String(text) => Json::Text(Text::read(path, text, problems)),
            Value::Array(list) => {
                let read = |(at, it)| Json::read(&format!("{path}[{at}]"), it, problems);
                Json::List(list.iter().enumerate().map(read).collect())
            }
            Value::Object(object) => {
                let mut read = Vec::with_capacity(object.len());
                for (name, it) in object {
                    read.push((name.clone(), Json::read(&format!("{path}.{name}"), it, problems)));
                }
                Json::Object(read)
            }
            other => Json::Other(other.clone()),
        }
    }

    pub(crate) fn fill(&self, values: &Values<'_>) -> Value {
        match self {
            Json::Text(Text(pieces)) => match pieces.as_slice() {
                [Piece::Token(token)] => values.of_token(token).into_owned(),
                pieces => Value::String(Text(pieces.to_vec()).plain(values)),
            },
            Json::List(list) => list.iter().map(|it| it.fill(values)).collect(),
            Json::Object(object) => Value::Object(
                object.iter().map(|(name, it)| (name.clone(), it.fill(values))).collect(),
            ),
            Json::Other(value) => value.clone(),
        }
    }
}

fn wrong_token(token: &str) -> Option<String> {
    let below = token.strip_prefix(OF_OCCURRENCE);
    let is_path = |it: &str| {
        it.split('.').all(|step| {
            !step.is_empty() && step.chars().all(|it| it.is_alphanumeric() || "_-".contains(it))
        })
    };
    if TOKENS.contains(&token) || below.is_some_and(is_path) {
        return None;
    }
    let shown: String = token.chars().take(60).collect();
    // `title` is `message.title` to most who write it.
    let meant = TOKENS.iter().find(|it| it.rsplit('.').next() == Some(token)).or_else(|| {
        let near = |it: &&&str| distance(it, token) <= 2;
        TOKENS.iter().filter(near).min_by_key(|it| distance(it, token))
    });
    let meant = meant.map_or(String::new(), |it| format!(", did you mean `{it}`?"));
    Some(format!(
        "there is no token `{shown}`{meant} There are {}, and `occurrence.` with a path below it",
        TOKENS.join(", ")
    ))
}

/// How many letters have to be changed, put in or taken out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(60).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (place, found) in other.iter().enumerate() {
            let cost = corner + usize::from(*found != letter);
            corner = row[place + 1];
            row[place + 1] = cost.min(corner + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use mortise_sinks::testing;

    use super::*;

    fn filled(template: Value) -> Value {
        let mut problems = Vec::new();
        let json = Json::read("body", &template, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        json.fill(&Values::of(&testing::delivery(), 5))
    }

    #[test]
    fn tokens_become_values() {
        let made = filled(json!({
            "a": "{{message.title}}!", "b": ["{{ attempt }}", "{{count}}x", 7, null],
            "c": "{{occurrence.run.attempt}}", "d": "{{occurrences}}", "e": "{{thread}}",
            "f": "x{{thread}}y", "g": "{{message.fields}}", "h": "{{occurrence.no.such}}",
        }));
        assert_eq!(made["a"], "sync failed in prod/team/sync!");
        assert_eq!(made["b"], json!([1, "1x", 7, null]));
        assert_eq!(made["c"], 3);
        assert_eq!(made["d"][0]["run"]["id"], "run_01");
        assert_eq!(
            (&made["e"], &made["f"], &made["h"]),
            (&Value::Null, &json!("xy"), &Value::Null)
        );
        assert_eq!(made["g"]["Run"], "run_01");
    }

    #[test]
    fn values_are_never_read_as_templates_or_syntax() {
        let mut delivery = testing::delivery();
        delivery.message.title = "{{id}}\"}\r\nX: y/\u{e9}?".to_owned();
        let values = Values::of(&delivery, 5);
        let text = Text::read("x", "<{{message.title}}>", &mut Vec::new());
        assert_eq!(text.plain(&values), "<{{id}}\"}\r\nX: y/\u{e9}?>");
        assert_eq!(text.in_header(&values), "<{{id}}\"} X: y/??>");
        assert_eq!(text.in_url(&values), "<%7B%7Bid%7D%7D%22%7D%0D%0AX%3A%20y%2F%C3%A9%3F>");
    }

    #[test]
    fn unknown_tokens_are_told_with_the_nearest() {
        let wrong = |text: &str| {
            let mut problems = Vec::new();
            let _text = Text::read("body.a", text, &mut problems);
            problems.first().map(|it| it.message.clone()).unwrap_or_default()
        };
        assert!(wrong("{{title}}").contains("did you mean `message.title`?"));
        assert!(wrong("{{mesage.text}}").contains("did you mean `message.text`?"));
        assert!(wrong("{{env.HOME}}").contains("There are id, attempt"));
        assert!(wrong("{{occurrence.}}").contains("no token"));
        assert!(wrong("{{id").contains("without `}}`"));
        assert_eq!(wrong("{{occurrence.a.0.b-c}} {{ id }} }} {"), "");
    }
}
