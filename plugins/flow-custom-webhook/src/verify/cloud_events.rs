//! CloudEvents 1.0 over HTTP: one in headers and body (binary), one in JSON (structured), several
//! in JSON (batched). In each mode the payload is the event in JSON, as the structured mode has it.
//!
//! A batch is taken whole or not at all.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::document::is_json;
use super::headers::{self, Headers};
use super::rejection::Rejection;
use super::shape;
use super::walk::{self, Pointer, Value};

/// Most events of a batch: each is stored.
const MOST: usize = 1000;

/// How an event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Binary,
    Structured,
    Batch,
}

/// What every CloudEvent has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) kind: String,
}

impl Attributes {
    /// Source and id are unique together. No source has a space.
    pub(super) fn dedup_key(&self) -> String {
        shape::bounded(format!("{} {}", self.source, self.id))
    }
}

/// How a request is a CloudEvent, if it says that it is one.
pub(super) fn mode(headers: Headers<'_>) -> Result<Option<Mode>, Rejection> {
    const REQUIRED: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
    match headers.media_type()?.as_str() {
        "application/cloudevents+json" => Ok(Some(Mode::Structured)),
        "application/cloudevents-batch+json" => Ok(Some(Mode::Batch)),
        other if other.starts_with("application/cloudevents") => Err(Rejection::body(
            "CloudEvents are taken in JSON only: application/cloudevents+json or \
             application/cloudevents-batch+json",
        )),
        _ => Ok(REQUIRED.iter().any(|it| headers.has(it)).then_some(Mode::Binary)),
    }
}

/// The events of a request, each in JSON; what is in them is not looked at yet.
pub(super) fn read<'b>(
    mode: Mode,
    headers: Headers<'_>,
    body: &'b [u8],
) -> Result<Vec<Cow<'b, [u8]>>, Rejection> {
    match mode {
        Mode::Structured => Ok(vec![Cow::Borrowed(body)]),
        Mode::Binary => Ok(vec![Cow::Owned(from_binary(headers, body)?)]),
        Mode::Batch => {
            let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
                Rejection::body(format!("the batch is no JSON list of events: {error}"))
            })?;
            if events.len() > MOST {
                let message = format!("the batch has {} events, {MOST} are allowed", events.len());
                return Err(Rejection::body(message));
            }
            Ok(events.into_iter().map(|it| Cow::Owned(it.get().as_bytes().to_vec())).collect())
        }
    }
}

/// What an event must have; everything that it lacks otherwise. `what` names it.
pub(super) fn attributes(text: &[u8], what: &str) -> Result<Attributes, Rejection> {
    const NAMES: [&str; 4] = ["specversion", "id", "source", "type"];
    let mut pointers = Vec::with_capacity(NAMES.len());
    for name in NAMES {
        pointers.push(Pointer::parse(&format!("/{name}")).map_err(Rejection::body)?);
    }
    let found = walk::walk(text, &pointers)
        .map_err(|error| Rejection::body(format!("{what} is not taken as JSON: {error}")))?;
    let text = |place: usize| match found.at(place) {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Text(_) | Value::Nothing | Value::Plain(_) | Value::Fraction | Value::Composed => {
            None
        }
    };
    let (Some(version), Some(id), Some(source), Some(kind)) = (text(0), text(1), text(2), text(3))
    else {
        let lacks = NAMES.iter().enumerate().filter(|(place, _)| text(*place).is_none());
        let lacks: Vec<String> = lacks.map(|(_, name)| format!("`{name}`")).collect();
        return Err(Rejection::body(format!(
            "{what} lacks {}, which must be a text that is not empty",
            lacks.join(" and ")
        )));
    };
    if version != "1.0" {
        return Err(Rejection::body(format!("{what} is not of `specversion` 1.0")));
    }
    Ok(Attributes { id, source, kind })
}

/// The structured form of an event in binary mode.
fn from_binary(headers: Headers<'_>, body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let mut out = Vec::with_capacity(body.len() + 512);
    let mut member = |name: &str, value: &[u8]| {
        out.push(if out.is_empty() { b'{' } else { b',' });
        out.extend_from_slice(quoted(name).as_bytes());
        out.push(b':');
        out.extend_from_slice(value);
    };
    for (header, value) in headers.iter() {
        let Some(name) = attribute(header) else { continue };
        headers.one(header)?;
        let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
        let taken = ["data", "data_base64", "datacontenttype"].contains(&name.as_str());
        if name.is_empty() || taken || !name.bytes().all(plain) {
            return Err(Rejection::body(format!(
                "the header ce-{name} names no attribute that a CloudEvent may have"
            )));
        }
        member(&name, quoted(&unescaped(&headers::bytes(value))).as_bytes());
    }
    if let Some(content_type) = headers.one("content-type")?.filter(|it| !it.is_empty()) {
        member("datacontenttype", quoted(&headers::text(content_type)).as_bytes());
    }
    if !body.is_empty() {
        let media_type = headers.media_type()?;
        // Looked at alone: pasted between braces, half an object could add attributes.
        let json = walk::walk(body, &[]);
        match (json, std::str::from_utf8(body)) {
            (Err(error), _) if is_json(&media_type) => {
                let message = format!("the data of the CloudEvent is no JSON: {error}");
                return Err(Rejection::body(message));
            }
            (Ok(_), _) if is_json(&media_type) || media_type.is_empty() => member("data", body),
            (_, Ok(text)) if media_type.starts_with("text/") => {
                member("data", quoted(text).as_bytes());
            }
            (_, _) => member("data_base64", quoted(&STANDARD.encode(body)).as_bytes()),
        }
    }
    out.push(b'}');
    Ok(out)
}

/// The attribute that a header is for.
fn attribute(header: &str) -> Option<String> {
    let (start, name) = header.split_at_checked(3)?;
    start.eq_ignore_ascii_case("ce-").then(|| name.to_ascii_lowercase())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `%20` and the like, which header values have for what is not printable ASCII.
fn unescaped(value: &[u8]) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        let mut byte = [0];
        let escape = after.get(..2).filter(|_| *first == b'%');
        match escape.map(|it| hex::decode_to_slice(it, &mut byte)) {
            Some(Ok(())) => {
                out.push(byte[0]);
                rest = &after[2..];
            }
            Some(Err(_)) | None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
