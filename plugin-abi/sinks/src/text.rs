//! Texts that fit, and messages as plain text.

use mortise_plugin::Message;

const CUT: char = '\u{2026}';

/// At most so many characters, with a sign where something was left out.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push(CUT);
    short
}

/// At most so many bytes, with a sign where something was left out.
pub fn shortened_to_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let most = most.saturating_sub(CUT.len_utf8());
    let end = (0..=most).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    format!("{}{CUT}", text[..end].trim_end())
}

/// All in one line, without control characters.
pub fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// More than any service takes, so that nothing is written out only to be cut.
const MOST_TITLE: usize = 2_000;
const MOST_TEXT: usize = 200_000;
const MOST_FIELDS: usize = 500;
const MOST_FIELD: usize = 20_000;

/// A message without control characters but line breaks and tabs, which no service shows, and bounded.
pub fn clean(message: &Message) -> Message {
    let clean = |text: &str, most: usize| -> String {
        let is_shown = |it: u8| matches!(it, b' '..=b'~' | b'\n' | b'\t');
        // Nearly every text.
        if text.len() <= most && text.bytes().all(is_shown) {
            return text.to_owned();
        }
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let shown = text.chars().filter(|it| !it.is_control() || *it == '\n' || *it == '\t');
        shortened(&shown.take(most + 1).collect::<String>(), most)
    };
    let fields = message.fields.iter().take(MOST_FIELDS);
    Message {
        title: clean(&message.title, MOST_TITLE),
        text: clean(&message.text, MOST_TEXT),
        level: message.level,
        fields: fields.map(|(name, it)| (clean(name, MOST_TITLE), clean(it, MOST_FIELD))).collect(),
        link: message
            .link
            .clone()
            .filter(|it| it.len() <= MOST_TITLE && !it.contains(char::is_control)),
    }
}

/// The fields, one a line.
pub fn field_lines(message: &Message) -> String {
    let lines = message.fields.iter().map(|(name, value)| format!("{}: {value}", one_line(name)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A message without its title, as plain text: text, fields, link, with an empty line between.
pub fn plain(message: &Message) -> String {
    let link = message.link.clone().unwrap_or_default();
    let parts = [message.text.trim_end().to_owned(), field_lines(message), link];
    parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// A text as it may stand in a path or query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab\u{2026}");
        assert_eq!(shortened("a  d", 3), "a\u{2026}");
        assert_eq!(shortened("\u{e9}\u{e9}\u{e9}", 2), "\u{e9}\u{2026}");
        assert_eq!(shortened_to_bytes("\u{e9}\u{e9}\u{e9}", 6), "\u{e9}\u{e9}\u{e9}");
        assert_eq!(shortened_to_bytes("\u{e9}\u{e9}\u{e9}\u{e9}", 6), "\u{e9}\u{2026}");
        for most in 0..5 {
            assert!(shortened_to_bytes("abcdefgh", most).len() <= most.max(3));
        }
        assert_eq!(one_line(" a\r\n b\0c "), "a b c");
        assert_eq!(encoded("a b/\u{e9}"), "a%20b%2F%C3%A9");
    }

    #[test]
    fn messages_are_read_aloud() {
        let message = Message {
            title: "T".to_owned(),
            text: "one\ntwo\n".to_owned(),
            fields: vec![("a\n".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())],
            link: Some("https://a.example/".to_owned()),
            ..Message::default()
        };
        assert_eq!(plain(&message), "one\ntwo\n\na: 1\nb: 2\n\nhttps://a.example/");
        assert_eq!(plain(&Message::default()), "");
        let odd = Message {
            title: "a\0b".to_owned(),
            text: "one\r\ntwo\u{1b}[31m\tx".to_owned(),
            link: Some("https://a.example/\n".to_owned()),
            ..Message::default()
        };
        let odd = clean(&odd);
        assert_eq!((odd.title.as_str(), odd.text.as_str()), ("ab", "one\ntwo[31m\tx"));
        assert_eq!(odd.link, None);
    }
}
