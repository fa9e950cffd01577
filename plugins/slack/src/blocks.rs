//! A message as Block Kit: a header, sections for the text, contexts for fields and link. Everything within
//! the limits that Slack documents, so that a long message is a shorter one and not a lost one.
//!
//! What is written is what is shown: blocks are plain text, in which nothing is markup, and where Slack
//! knows no plain text, the markup is switched off and the three characters are escaped that mean
//! something all the same. So nothing in a message is bold, calls people or hides where a link goes.

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
    json!({ "text": fallback(message), "mrkdwn": false, "blocks": blocks(message) })
}

fn fallback(message: &Message) -> String {
    let title = format!("{} {}", level_sign(message.level), one_line(&message.title));
    let parts = [title, message.text.trim().to_owned(), field_lines(message)];
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    fitted(&parts.join("\n"), MOST_TEXT, Kind::Escaped)
}

fn blocks(message: &Message) -> Vec<Value> {
    let title = format!("{} {}", level_sign(message.level), one_line(&message.title));
    let header = json!({
        "type": "header",
        "text": plain(&shortened(&title, MOST_HEADER)),
    });
    let mut blocks = vec![header];
    for text in sections(message.text.trim()) {
        blocks.push(json!({ "type": "section", "text": plain(&text) }));
    }
    let mut elements: Vec<Value> = message.fields.iter().map(|it| plain(&field(it))).collect();
    // The link is worth more than the last of very many fields.
    let room = (MOST_BLOCKS - blocks.len()) * MOST_ELEMENTS - 1;
    elements.truncate(room);
    elements.extend(message.link.as_deref().and_then(link));
    for elements in elements.chunks(MOST_ELEMENTS) {
        blocks.push(json!({ "type": "context", "elements": elements }));
    }
    blocks
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

fn field((name, value): &(String, String)) -> String {
    let name = fitted(&one_line(name), 200, Kind::Plain);
    let value = fitted(value.trim(), MOST_ELEMENT - 300, Kind::Plain);
    format!("{name}: {value}")
}

/// What cannot be a link without meaning something else is none.
fn link(url: &str) -> Option<Value> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
    let fits = url.len() + 12 <= MOST_ELEMENT && !url.contains(|it: char| it.is_whitespace());
    let text = format!("<{url}|Details>");
    (is_web && fits).then(|| json!({ "type": "mrkdwn", "text": text, "verbatim": true }))
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
            length = section.chars().map(self::width).sum();
            if sections.len() == MOST_SECTIONS {
                let more = section.chars().count() + 1;
                section.clear();
                return cut(sections, more + rest.count());
            }
        }
        section.push(character);
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

/// How long a character is when it is escaped: nobody says how those of plain text are counted.
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

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Escaped,
}

/// In at most so many characters, and never cut within an escape.
fn fitted(text: &str, most: usize, kind: Kind) -> String {
    let whole: usize = text.chars().map(width).sum();
    let room = if whole <= most { most } else { most.saturating_sub(1) };
    let mut fitted = String::new();
    let mut length = 0;
    for character in text.chars() {
        length += width(character);
        if length > room {
            fitted.push('\u{2026}');
            break;
        }
        match kind {
            Kind::Plain => fitted.push(character),
            Kind::Escaped => push_escaped(&mut fitted, character),
        }
    }
    fitted
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
        let text = "It threw: <b>no & such</b>\nsecond line";
        assert_eq!(blocks[1]["text"]["text"], text);
        let elements = blocks[2]["elements"].as_array().unwrap();
        assert_eq!(elements[1]["text"], "Attempt: 3 < 4");
        let link = "<https://mortise.example.com/runs/run_01?a=1&amp;b=2|Details>";
        assert_eq!(elements[2]["text"], link);
        assert!(arguments["text"].as_str().unwrap().contains("Run: run_01\nAttempt: 3 &lt; 4"));
        let empty = Message { title: "x".to_owned(), ..Message::default() };
        assert_eq!(super::blocks(&empty).len(), 1);
    }

    #[test]
    fn nothing_in_a_message_is_markup() {
        let text = "*bold* _slanted_ ~struck~ `code` ```\nmore\n``` > quoted :fire: @here #ops\n\
                    <!here> <@U1> <https://evil.example|https://good.example> &lt;";
        let message = Message {
            title: "<!channel> *x*".to_owned(),
            text: text.to_owned(),
            fields: vec![("<!everyone>".to_owned(), "<!subteam^S1> _x_".to_owned())],
            link: Some("https://a.example/|x><!channel>".to_owned()),
            level: MessageLevel::Info,
        };
        let arguments = arguments(&message);
        assert_eq!(arguments["mrkdwn"], false, "nothing in it is bold");
        let fallback = arguments["text"].as_str().unwrap();
        assert!(!fallback.contains(['<', '>']) && fallback.contains("&lt;@U1&gt;"), "{fallback}");
        let plain = |text: &str| json!({ "type": "plain_text", "text": text, "emoji": false });
        let blocks = &arguments["blocks"];
        assert_eq!(blocks[0]["text"], plain("\u{2139}\u{fe0f} <!channel> *x*"));
        assert_eq!(blocks[1]["text"], plain(text));
        assert_eq!(blocks[2]["elements"][0], plain("<!everyone>: <!subteam^S1> _x_"));
        let link = "<https://a.example/%7Cx%3E%3C!channel%3E|Details>";
        let link = json!({ "type": "mrkdwn", "text": link, "verbatim": true });
        assert_eq!(blocks[2]["elements"][1], link);
        assert_eq!(arguments.to_string().matches("\"mrkdwn\"").count(), 2);
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
        assert!(sections[..10].iter().all(|it| it.chars().count() == 600));
        assert_eq!(sections[10], "\u{2026} (94000 more characters)");
    }
}
