//! What services have in common: texts without meaning, and checks of what is configured.

use mortise_plugin::{Fault, Message, Problem, Receipt};
use mortise_sinks::{check_url, level_sign, one_line, wrong};
use serde_json::{Value, json};

use crate::service::Told;

/// The title with a sign of how bad it is.
pub(super) fn headline(message: &Message) -> String {
    format!("{} {}", level_sign(message.level), one_line(&message.title))
}

/// With a backslash before each of `marks`.
pub(super) fn backslashed(text: &str, marks: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if marks.contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// With nothing that names people: what stands after an `@` is no longer next to it.
pub(super) fn without_mentions(text: &str) -> String {
    text.replace('@', "@\u{200b}")
}

/// For HTML.
pub(super) fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// A link that is one of the web.
pub(super) fn web_link(message: &Message) -> Option<&str> {
    let link = message.link.as_deref()?;
    let is_web = link.starts_with("https://") || link.starts_with("http://");
    (is_web && link.bytes().all(|it| it.is_ascii_graphic())).then_some(link)
}

/// A property of a schema.
pub(super) fn secret(title: &str, description: &str) -> Value {
    json!({
        "type": "string", "writeOnly": true, "minLength": 1, "maxLength": 4000,
        "title": title, "description": description,
    })
}

/// A property of a schema.
pub(super) fn text(title: &str, description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 1000,
        "title": title, "description": description,
    })
}

/// A property of a schema: where a service is.
pub(super) fn url(title: &str, default: &str, description: &str) -> Value {
    let mut property = json!({
        "type": "string", "format": "uri", "minLength": 8, "maxLength": 2000,
        "title": title, "description": description,
    });
    if !default.is_empty() {
        property["default"] = json!(default);
    }
    property
}

/// Checks of a configuration, which say everything that is wrong.
#[derive(Default)]
pub(super) struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    /// A URL without the slash at its end.
    pub(super) fn url(&mut self, path: &str, url: &str) -> String {
        check_url(path, url.trim(), &mut self.problems);
        url.trim().trim_end_matches('/').to_owned()
    }

    /// One word of ASCII, such as a token.
    pub(super) fn word(&mut self, path: &str, word: &str) -> String {
        let word = word.trim();
        if word.is_empty() || !word.bytes().all(|it| it.is_ascii_graphic()) {
            self.wrong(path, "must be one word of ASCII");
        }
        word.to_owned()
    }

    pub(super) fn wrong(&mut self, path: &str, message: &str) {
        self.problems.push(Problem::at(path, message));
    }

    pub(super) fn end(self) -> Result<(), Fault> {
        if self.problems.is_empty() { Ok(()) } else { Err(wrong(self.problems)) }
    }
}

/// A receipt with the id at `path` of an answer, a JSON pointer; nothing there is no fault.
pub(super) fn receipt(body: Option<&Value>, path: &str, thread: Option<String>) -> Receipt {
    let id = body.and_then(|it| it.pointer(path)).and_then(|it| match it {
        Value::String(text) => Some(text.chars().take(500).collect::<String>()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    Receipt { message_id: id, thread }
}

/// The same without threads.
pub(super) fn lone_receipt(body: Option<&Value>, path: &str, _told: Told) -> Receipt {
    receipt(body, path, None)
}

/// A text of an answer, in one line.
pub(super) fn said_at(body: Option<&Value>, path: &str) -> String {
    let text = body.and_then(|it| it.pointer(path)).and_then(Value::as_str).unwrap_or_default();
    one_line(&text.chars().take(300).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        assert_eq!(backslashed("a*b_[c](d)", "*_[]()"), "a\\*b\\_\\[c\\]\\(d\\)");
        assert_eq!(html("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
        assert!(!without_mentions("@here").contains("@h"));
        let link = |link: &str| {
            let message = Message { link: Some(link.to_owned()), ..Message::default() };
            web_link(&message).is_some()
        };
        assert!(link("https://a.example/?a=1") && !link("javascript:x") && !link("https://a b"));
    }
}
