//! A message as Block Kit: a header, sections for the text, contexts for fields and link. Everything within
//! the limits that Slack documents, so that a long message is a shorter one and not a lost one.
//!
//! What is written is what is shown: the three characters with which Slack's markup begins are escaped,
//! so that nothing in a message calls people or hides where a link goes.

use mortise_plugin::Message;
use mortise_sinks::{clean, field_lines, level_sign, one_line, shortened};
use serde_json::{Value, json};

/// Of a header.
const MOST_HEADER: usize = 150;
/// Of the text of a section.
const MOST_SECTION: usize = 3_000;
/// Of an element of a context; a section's fields have as many.
const MOST_ELEMENT: usize = 2_000;
const MOST_ELEMENTS: usize = 10;
const MOST_BLOCKS: usize = 50;
/// Of the text that stands for the blocks in notifications.
const MOST_TEXT: usize = 40_000;
/// Sections of text: more than that nobody reads in a channel.
const MOST_SECTIONS: usize = 10;

/// A message as the arguments `text` and `blocks`.
pub(crate) fn arguments(message: &Message) -> Value {
    let message = &clean(message);
    json!({ "text": fallback(message), "blocks": blocks(message) })
}

fn fallback(message: &Message) -> String {
    let title = format!("{} {}", level_sign(message.level), one_line(&message.title));
    let parts = [title, message.text.trim().to_owned(), field_lines(message)];
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    escaped_to(&parts.join("\n"), MOST_TEXT)
}

fn blocks(message: &Message) -> Vec<Value> {
    let title = format!("{} {}", level_sign(message.level), one_line(&message.title));
    let header = json!({
        "type": "header",
        // Plain text knows no markup, and so nothing to escape.
        "text": { "type": "plain_text", "text": shortened(&title, MOST_HEADER), "emoji": false },
    });
    let mut blocks = vec![header];
    for text in sections(message.text.trim()) {
        let text = json!({ "type": "mrkdwn", "text": text, "verbatim": true });
        blocks.push(json!({ "type": "section", "text": text }));
    }
    let mut elements: Vec<Value> = message.fields.iter().map(|it| element(&field(it))).collect();
    // The link is worth more than the last of very many fields.
    let room = (MOST_BLOCKS - blocks.len()) * MOST_ELEMENTS - 1;
    elements.truncate(room);
    elements.extend(message.link.as_deref().and_then(link).map(|it| element(&it)));
    for elements in elements.chunks(MOST_ELEMENTS) {
        blocks.push(json!({ "type": "context", "elements": elements }));
    }
    blocks
}

fn element(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn field((name, value): &(String, String)) -> String {
    let name = escaped_to(&one_line(name), 200);
    let value = escaped_to(value.trim(), MOST_ELEMENT - 300);
    format!("*{name}:* {value}")
}

/// What cannot be a link without meaning something else is none.
fn link(url: &str) -> Option<String> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
    let fits = url.len() + 12 <= MOST_ELEMENT && !url.contains(|it: char| it.is_whitespace());
    (is_web && fits).then(|| format!("<{url}|Details>"))
}

/// The text in pieces that are sections, each as long as it may be and broken between lines if it can be.
fn sections(text: &str) -> Vec<String> {
    let mut sections = Vec::new();
    let mut section = String::new();
    let mut length = 0;
    let mut rest = text.chars();
    for character in rest.by_ref() {
        let width = width(character);
        if length + width > MOST_SECTION {
            let next = match section.rfind('\n').filter(|at| *at > 0) {
                Some(at) => section.split_off(at + 1),
                None => String::new(),
            };
            sections.push(std::mem::replace(&mut section, next));
            length = section.chars().count();
            if sections.len() == MOST_SECTIONS {
                let more = section.chars().count() + 1;
                section.clear();
                return cut(sections, more + rest.count());
            }
        }
        push_escaped(&mut section, character);
        length += width;
    }
    sections.push(section);
    sections.retain(|it| !it.trim().is_empty());
    sections
}

fn cut(mut sections: Vec<String>, more: usize) -> Vec<String> {
    let note = format!("\u{2026} ({more} more characters)");
    sections.retain(|it| !it.trim().is_empty());
    sections.push(note);
    sections
}

fn width(character: char) -> usize {
    match character {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        _ => 1,
    }
}

fn push_escaped(text: &mut String, character: char) {
    match character {
        '&' => text.push_str("&amp;"),
        '<' => text.push_str("&lt;"),
        '>' => text.push_str("&gt;"),
        other => text.push(other),
    }
}

/// Escaped, in at most so many characters, and never cut within an escape.
fn escaped_to(text: &str, most: usize) -> String {
    let whole: usize = text.chars().map(width).sum();
    let room = if whole <= most { most } else { most.saturating_sub(1) };
    let mut escaped = String::new();
    let mut length = 0;
    for character in text.chars() {
        length += width(character);
        if length > room {
            escaped.push('\u{2026}');
            break;
        }
        push_escaped(&mut escaped, character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use mortise_plugin::MessageLevel;
    use mortise_sinks::testing;

    use super::*;

    fn characters(value: &Value) -> usize {
        value.as_str().unwrap_or_else(|| panic!("no text but {value}")).chars().count()
    }

    #[test]
    fn a_message_is_header_section_and_context() {
        let arguments = arguments(&testing::delivery().message);
        let blocks = arguments["blocks"].as_array().unwrap();
        let kinds: Vec<_> = blocks.iter().map(|it| it["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["header", "section", "context"]);
        assert_eq!(blocks[0]["text"]["text"], "\u{1f534} sync failed in prod/team/sync");
        let text = "It threw: &lt;b&gt;no &amp; such&lt;/b&gt;\nsecond line";
        assert_eq!(blocks[1]["text"]["text"], text);
        let elements = blocks[2]["elements"].as_array().unwrap();
        assert_eq!(elements[1]["text"], "*Attempt:* 3 &lt; 4");
        let link = "<https://mortise.example.com/runs/run_01?a=1&amp;b=2|Details>";
        assert_eq!(elements[2]["text"], link);
        assert!(arguments["text"].as_str().unwrap().contains("Run: run_01\nAttempt: 3 &lt; 4"));
        let empty = Message { title: "x".to_owned(), ..Message::default() };
        assert_eq!(super::blocks(&empty).len(), 1);
    }

    #[test]
    fn nothing_in_a_message_calls_people() {
        let message = Message {
            title: "<!channel>".to_owned(),
            text: "<!here> <@U1> <https://evil.example|https://good.example>".to_owned(),
            fields: vec![("<!everyone>".to_owned(), "<!subteam^S1>".to_owned())],
            link: Some("https://a.example/|x><!channel>".to_owned()),
            level: MessageLevel::Info,
        };
        let arguments = arguments(&message);
        let mut all = arguments.clone();
        // A header is plain text.
        all["blocks"][0] = Value::Null;
        assert!(!all.to_string().contains("<!") && !all.to_string().contains("<@"), "{all}");
        let link = "<https://a.example/%7Cx%3E%3C!channel%3E|Details>";
        assert_eq!(arguments["blocks"][2]["elements"][1]["text"], link);
        for bad in ["javascript:alert(1)", "https://a b", "slack://x"] {
            assert_eq!(super::link(bad), None, "{bad}");
        }
    }

    #[test]
    fn everything_fits_however_long_it_is() {
        for (text, fields) in
            [("&", 0), ("<", 3), ("line\n", 9), ("word ", 600), ("\u{1f600}", 490)]
        {
            let message = Message {
                title: text.repeat(500),
                text: text.repeat(40_000),
                fields: vec![(text.repeat(300), text.repeat(2_500)); fields],
                link: Some("https://a.example/".to_owned()),
                level: MessageLevel::Error,
            };
            let arguments = arguments(&message);
            assert!(characters(&arguments["text"]) <= MOST_TEXT);
            let blocks = arguments["blocks"].as_array().unwrap();
            assert!(blocks.len() <= MOST_BLOCKS, "{}", blocks.len());
            assert!(characters(&blocks[0]["text"]["text"]) <= MOST_HEADER);
            for block in &blocks[1..] {
                if block["type"] == "section" {
                    assert!((1..=MOST_SECTION).contains(&characters(&block["text"]["text"])));
                }
                for element in block["elements"].as_array().into_iter().flatten() {
                    assert!((1..=MOST_ELEMENT).contains(&characters(&element["text"])));
                }
            }
            let last = blocks.last().unwrap()["elements"].as_array().unwrap().last().unwrap();
            assert_eq!(last["text"], "<https://a.example/|Details>");
        }
    }

    #[test]
    fn long_texts_are_broken_between_lines_and_nothing_is_lost() {
        let line = "0123456789".repeat(10);
        let text = vec![line.as_str(); 100].join("\n");
        let sections = sections(&text);
        assert_eq!(sections.len(), 4);
        assert_eq!(sections.concat(), text);
        assert!(sections[..3].iter().all(|it| it.ends_with('\n')));
        let endless = "&".repeat(100_000);
        let sections = super::sections(&endless);
        assert_eq!(sections.len(), MOST_SECTIONS + 1);
        assert!(sections[..10].iter().all(|it| it.chars().count() == 3_000));
        assert_eq!(sections[10], "\u{2026} (94000 more characters)");
    }
}
