//! A message as a mail, with a plain and an HTML part.
//!
//! Whatever is in a message is content: headers are encoded and in one line, and both parts are in an
//! encoding in which neither a header nor the boundary between parts can be written.

use std::time::{Duration, SystemTime};

use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MessageId,
};
use lettre::message::{MultiPart, MultiPartKind, SinglePart};
use mortise_plugin::{Delivery, Fault, Message};
use mortise_sinks::{clean, level_sign, one_line, plain, shortened, shortened_to_bytes};

use crate::sink::Mailer;

const MOST_SUBJECT: usize = 200;
/// Of a text; whoever wants more follows the link.
const MOST_TEXT: usize = 200_000;
const MOST_FIELDS: usize = 100;
const MOST_FIELD: usize = 5_000;
const LONGEST_ID: usize = 250;

/// The id of a delivery's mail, the same over all attempts.
pub(crate) fn message_id(mailer: &Mailer, delivery: &str) -> String {
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || "._-".contains(*it);
    let id: String = delivery.chars().filter(is_plain).take(100).collect();
    let domain = mailer.from.email.domain();
    let domain = if domain.is_ascii() { domain } else { "mortise.invalid" };
    format!("<{id}.mortise@{domain}>")
}

/// The whole mail. `id` is its own.
pub(crate) fn write(
    mailer: &Mailer,
    delivery: &Delivery,
    id: &str,
    now_ms: u64,
) -> Result<Vec<u8>, Fault> {
    let message = &bounded(&clean(&delivery.message));
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
    let mut mail = lettre::Message::builder()
        .from(mailer.from.clone())
        .date(date)
        .subject(subject(&mailer.subject_prefix, message))
        .header(MessageId::from(id.to_owned()))
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Mortise-Trigger", &shortened(&ascii(&delivery.trigger), 200)));
    for recipient in &mailer.to {
        mail = mail.to(recipient.clone());
    }
    if let Some(reply_to) = &mailer.reply_to {
        mail = mail.reply_to(reply_to.clone());
    }
    if let Some(first) = delivery.thread.as_deref().filter(|it| is_id(it) && *it != id) {
        mail = mail.in_reply_to(first.to_owned()).references(first.to_owned());
    }
    let text = part(ContentType::TEXT_PLAIN, plain_part(message));
    let written = if mailer.has_html {
        // At most 70 characters are allowed.
        let unique: String = id.chars().filter(|it| it.is_ascii_alphanumeric()).take(60).collect();
        let boundary = format!("=_{unique}");
        let html = part(ContentType::TEXT_HTML, html_part(message));
        let parts = MultiPart::builder().kind(MultiPartKind::Alternative).boundary(boundary);
        mail.multipart(parts.singlepart(text).singlepart(html))
    } else {
        mail.singlepart(text)
    };
    match written {
        Ok(mail) => Ok(mail.formatted()),
        Err(error) => Err(Fault::permanent(format!("no mail can be made of the message: {error}"))),
    }
}

/// Whether a text is the id of a mail, and nothing more.
pub(crate) fn is_id(text: &str) -> bool {
    let inner = text.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    text.len() <= LONGEST_ID
        && inner.is_some_and(|it| {
            it.contains('@') && it.bytes().all(|it| it.is_ascii_graphic() && !b"<>".contains(&it))
        })
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn ascii(text: &str) -> String {
    one_line(text).chars().map(|it| if it.is_ascii() { it } else { '?' }).collect()
}

fn subject(prefix: &str, message: &Message) -> String {
    let title = format!("{} {}", level_sign(message.level), one_line(&message.title));
    let subject = if prefix.is_empty() { title } else { format!("{prefix} {title}") };
    shortened(&subject, MOST_SUBJECT)
}

fn part(kind: ContentType, text: String) -> SinglePart {
    // In this encoding every `=` is written as `=3D`, and the boundary begins with one.
    let encoding = ContentTransferEncoding::QuotedPrintable;
    SinglePart::builder().header(kind).header(encoding).body(text)
}

fn bounded(message: &Message) -> Message {
    let fields = message.fields.iter().take(MOST_FIELDS);
    let fields = fields.map(|(name, value)| {
        (shortened(&one_line(name), 200), shortened_to_bytes(value.trim(), MOST_FIELD))
    });
    Message {
        title: shortened(&one_line(&message.title), 1_000),
        text: shortened_to_bytes(&message.text, MOST_TEXT),
        level: message.level,
        fields: fields.collect(),
        link: message.link.clone().filter(|it| it.len() <= MOST_FIELD),
    }
}

fn plain_part(message: &Message) -> String {
    format!("{}\n\n{}\n", message.title, plain(message)).replace("\r\n", "\n").replace('\n', "\r\n")
}

fn html_part(message: &Message) -> String {
    let mut html = format!("<p><strong>{}</strong></p>\r\n", escaped(&message.title));
    if !message.text.trim().is_empty() {
        html.push_str(&format!(
            "<div style=\"white-space: pre-wrap\">{}</div>\r\n",
            escaped(message.text.trim())
        ));
    }
    if !message.fields.is_empty() {
        html.push_str("<table>\r\n");
        for (name, value) in &message.fields {
            html.push_str(&format!(
                "<tr><th align=\"left\" valign=\"top\">{}</th><td>{}</td></tr>\r\n",
                escaped(name),
                escaped(value)
            ));
        }
        html.push_str("</table>\r\n");
    }
    let link = message.link.as_deref();
    let link = link.filter(|it| it.starts_with("https://") || it.starts_with("http://"));
    if let Some(link) = link {
        html.push_str(&format!("<p><a href=\"{}\">Details</a></p>\r\n", escaped(link)));
    }
    html
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
