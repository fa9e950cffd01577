//! RSS and Atom to items: an object of our own for each entry, which does not depend on the kind of
//! feed, nor on the crate that reads them.
//!
//! A feed is looked through before it is read: entities of its own (which can multiply without end)
//! and elements nested too deep are refused.

use feed_rs::model::{Entry, Feed, Link, Text};
use serde_json::{Value, json};

use crate::json::{MOST_ITEMS, Reading};
use crate::memory::Item;

/// How deep elements may be nested.
const MOST_NESTED: usize = 200;
/// Longer contents and summaries are cut, in characters: an event has room for so much.
const LONGEST_TEXT: usize = 50_000;

/// Reads a feed, oldest entry first. Errors quote nothing of it.
pub(crate) fn read(text: &str) -> Result<Reading, String> {
    let text = without_declaration(text);
    look_through(text)?;
    let parser = feed_rs::parser::Builder::new()
        // Ours come after the link; the default is random in the end.
        .id_generator(|_, _, _| String::new())
        .sanitize_content(false)
        .build();
    let feed = parser.parse(text.as_bytes()).map_err(|error| explain(&error))?;
    if feed.entries.len() > MOST_ITEMS {
        let count = feed.entries.len();
        return Err(format!("it has {count} entries; at most {MOST_ITEMS} are taken"));
    }
    let head = head(&feed);
    let mut entries: Vec<&Entry> = feed.entries.iter().collect();
    // Feeds have the newest first.
    entries.reverse();
    if entries.iter().all(|it| time(it).is_some()) {
        entries.sort_by_key(|it| time(it));
    }
    let items = entries.into_iter().map(|it| item(it, &head)).collect();
    Ok(Reading { items, ..Reading::default() })
}

fn explain(error: &feed_rs::parser::ParseFeedError) -> String {
    use feed_rs::parser::ParseFeedError;
    match error {
        ParseFeedError::ParseError(_) => {
            "it is no feed: neither RSS 0.9 to 2.0 nor Atom".to_owned()
        }
        ParseFeedError::XmlReader(_) | ParseFeedError::IoError(_) => {
            "it is no feed: its XML is broken".to_owned()
        }
        ParseFeedError::JsonSerde(_) | ParseFeedError::JsonUnsupportedVersion(_) => {
            "it is JSON, not XML; set `format: json`".to_owned()
        }
    }
}

/// A text without the declaration in front, whose encoding is no longer that of the text.
fn without_declaration(text: &str) -> &str {
    let start = text.trim_start();
    match start.strip_prefix("<?xml").and_then(|it| it.split_once("?>")) {
        Some((_, rest)) => rest,
        None => start,
    }
}

/// Refuses what no feed has, by a look at its tags.
fn look_through(text: &str) -> Result<(), String> {
    let mut depth = 0usize;
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let end = if rest.starts_with("<!--") {
            rest.find("-->").map(|it| it + 3)
        } else if rest.starts_with("<![CDATA[") {
            rest.find("]]>").map(|it| it + 3)
        } else if rest.starts_with("<?") {
            rest.find("?>").map(|it| it + 2)
        } else if rest.starts_with("<!") {
            let end = rest.find('>');
            if rest[..end.unwrap_or(rest.len())].contains('[') {
                return Err("it declares entities of its own, which no feed needs".to_owned());
            }
            end.map(|it| it + 1)
        } else {
            let end = end_of_tag(rest);
            let tag = &rest[..end.unwrap_or(rest.len())];
            if tag.starts_with("</") {
                depth = depth.saturating_sub(1);
            } else if !tag.ends_with("/>") {
                depth += 1;
            }
            end
        };
        if depth > MOST_NESTED {
            return Err(format!("its elements are nested deeper than {MOST_NESTED} levels"));
        }
        let Some(end) = end else { break };
        rest = &rest[end..];
    }
    Ok(())
}

/// Where a tag ends; quotes may hold what looks like its end.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

fn time(entry: &Entry) -> Option<i64> {
    entry.published.or(entry.updated).map(|it| it.timestamp_millis())
}

fn head(feed: &Feed) -> Value {
    json!({ "title": plain(feed.title.as_ref()), "link": link(&feed.links) })
}

fn item(entry: &Entry, head: &Value) -> Item {
    let date = |it: Option<_>| it.map(iso);
    let link = link(&entry.links);
    let content = entry.content.as_ref().and_then(|it| it.body.as_deref()).map(cut);
    let authors: Vec<&str> = entry.authors.iter().filter_map(|it| it.name.as_deref()).collect();
    let categories: Vec<&str> = entry.categories.iter().map(|it| it.term.as_str()).collect();
    let mut payload = json!({
        "id": null,
        "title": plain(entry.title.as_ref()),
        "link": link,
        "published": date(entry.published),
        "updated": date(entry.updated),
        "summary": entry.summary.as_ref().map(|it| cut(&it.content)),
        "content": content,
        "author": if authors.is_empty() { None } else { Some(authors.join(", ")) },
        "categories": categories,
        "feed": head,
    });
    let id = match (entry.id.as_str(), link) {
        ("", Some(link)) => link.to_owned(),
        // Nothing names it: it is what it says.
        ("", None) => crate::memory::long_hash(&payload.to_string()),
        (id, _) => id.to_owned(),
    };
    payload["id"] = Value::from(id.as_str());
    Item { id, payload }
}

/// A date in UTC, by seconds.
fn iso<Z>(date: Z) -> String
where
    Z: Into<std::time::SystemTime>,
{
    let time: std::time::SystemTime = date.into();
    jiff::Timestamp::try_from(time)
        .and_then(|it| jiff::Timestamp::from_second(it.as_second()))
        .map(|it| it.to_string())
        .unwrap_or_default()
}

fn plain(text: Option<&Text>) -> Option<String> {
    text.map(|it| cut(it.content.trim()))
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

/// The link to the page itself.
fn link(links: &[Link]) -> Option<&str> {
    let is_page = |it: &&Link| it.rel.as_deref().is_none_or(|rel| rel == "alternate");
    links.iter().find(is_page).or(links.first()).map(|it| it.href.as_str())
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
