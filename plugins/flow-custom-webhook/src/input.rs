//! The `input` document of a policy, built from one request.
//!
//! Bodies: a form is read like a query string; with a JSON content type the body must be JSON and
//! is refused otherwise, because a policy that sees null instead would silently lose the event;
//! any other body is JSON if it can be read as JSON, and null if not (`body_raw` has it in full).
//! An empty body is null. A JSON body that is nested too deeply is refused whatever its type says.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mortise_plugin::HttpRequest;
use regorus::Value;

use crate::json::{self, JsonError};
use crate::query::TooManyPairs;
use crate::{bytes, query};

/// The input of one evaluation.
pub(crate) struct Input {
    /// The document.
    pub(crate) value: Value,
    /// `input.request.body`, once more.
    pub(crate) body: Value,
    /// The raw body is JSON that every reader understands as `body`: an event that is
    /// `input.request.body` may be stored as it was received.
    pub(crate) raw_is_body: bool,
}

/// Why no input is made of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// Its body says that it is JSON, and is none that is taken.
    Json(JsonError),
    /// Its body or query has too many fields.
    Fields(TooManyPairs),
}

impl std::fmt::Display for NotRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotRead::Json(error) => write!(f, "the body is not taken as JSON: {error}"),
            NotRead::Fields(error) => error.fmt(f),
        }
    }
}

impl From<JsonError> for NotRead {
    fn from(error: JsonError) -> NotRead {
        NotRead::Json(error)
    }
}

impl From<TooManyPairs> for NotRead {
    fn from(error: TooManyPairs) -> NotRead {
        NotRead::Fields(error)
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
    Other,
}

/// Builds input documents for one source; names that occur in each are made once.
pub(crate) struct InputBuilder {
    parameters: Value,
    names: Names,
}

struct Names {
    parameters: Value,
    request: Value,
    method: Value,
    query: Value,
    query_raw: Value,
    headers: Value,
    body: Value,
    body_raw: Value,
}

impl InputBuilder {
    /// `parameters` is the `input.parameters` of every request.
    pub(crate) fn new(parameters: Value) -> InputBuilder {
        let names = Names {
            parameters: Value::from("parameters"),
            request: Value::from("request"),
            method: Value::from("method"),
            query: Value::from("query"),
            query_raw: Value::from("query_raw"),
            headers: Value::from("headers"),
            body: Value::from("body"),
            body_raw: Value::from("body_raw"),
        };
        InputBuilder { parameters, names }
    }

    /// The input for one request, or why it is refused.
    pub(crate) fn build(&self, request: &HttpRequest, raw: &[u8]) -> Result<Input, NotRead> {
        let names = &self.names;
        let query = query::parse(request.query_raw.as_bytes())?;
        let (body, raw_is_body) = read_body(content_kind(&request.headers), raw)?;
        let fields = BTreeMap::from([
            (names.method.clone(), Value::from(request.method.as_str())),
            (names.query.clone(), query),
            (names.query_raw.clone(), text(request.query_raw.as_bytes())),
            (names.headers.clone(), headers(&request.headers)),
            (names.body.clone(), body.clone()),
            (names.body_raw.clone(), Value::from(STANDARD.encode(raw))),
        ]);
        let value = Value::from(BTreeMap::from([
            (names.parameters.clone(), self.parameters.clone()),
            (names.request.clone(), Value::from(fields)),
        ]));
        Ok(Input { value, body, raw_is_body })
    }
}

fn read_body(kind: Kind, raw: &[u8]) -> Result<(Value, bool), NotRead> {
    if kind == Kind::Form {
        return Ok((query::parse(raw)?, false));
    }
    if raw.is_empty() {
        return Ok((Value::Null, false));
    }
    match json::parse(raw) {
        Ok(document) => Ok((document.value, !document.duplicate_keys)),
        Err(JsonError::Syntax { .. }) if kind == Kind::Other => Ok((Value::Null, false)),
        Err(error) => Err(error.into()),
    }
}

fn content_kind(headers: &[(String, String)]) -> Kind {
    let Some((_, content_type)) =
        headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    else {
        return Kind::Other;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/x-www-form-urlencoded" => Kind::Form,
        "application/json" | "text/json" => Kind::Json,
        other if other.ends_with("+json") => Kind::Json,
        _ => Kind::Other,
    }
}

/// The last of several headers with the same name counts.
fn headers(headers: &[(String, String)]) -> Value {
    let map: BTreeMap<Value, Value> = headers
        .iter()
        .map(|(name, value)| (Value::from(query::canonical_header(name)), header_value(value)))
        .collect();
    Value::from(map)
}

/// Header values arrive as Latin-1 text, one character per byte; policies see the bytes.
fn header_value(value: &str) -> Value {
    if value.is_ascii() {
        return Value::from(value);
    }
    match value.chars().map(|character| u8::try_from(u32::from(character))).collect() {
        Ok(bytes) => {
            let bytes: Vec<u8> = bytes;
            text(&bytes)
        }
        Err(_) => text(value.as_bytes()),
    }
}

fn text(raw: &[u8]) -> Value {
    Value::from(bytes::to_text(raw).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> HttpRequest {
        let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        HttpRequest {
            method: "POST".into(),
            query_raw: "a=1&b=2&b=3".into(),
            headers,
            peer: "192.0.2.1".into(),
        }
    }

    fn build(headers: &[(&str, &str)], raw: &[u8]) -> Result<Input, NotRead> {
        InputBuilder::new(Value::from("p")).build(&request(headers), raw)
    }

    #[test]
    fn the_document_is_that_of_the_seed() {
        let input = build(&[("x-a", "1"), ("x-a", "2"), ("content-type", "text/plain")], b"[1]");
        assert_eq!(
            crate::render::to_json(&input.unwrap().value, 1000).unwrap(),
            "{\"parameters\":\"p\",\"request\":{\"body\":[1],\"body_raw\":\"WzFd\",\
             \"headers\":{\"Content-Type\":\"text/plain\",\"X-A\":\"2\"},\"method\":\"POST\",\
             \"query\":{\"a\":[\"1\"],\"b\":[\"2\",\"3\"]},\"query_raw\":\"a=1&b=2&b=3\"}}"
        );
    }

    #[test]
    fn bodies_are_read_by_type() {
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let json = ("Content-Type", "application/vnd.api+json");
        let body = |header, raw: &[u8]| build(&[header], raw).map(|i| i.body.to_string());
        assert_eq!(body(form, b"a=1&a=2").unwrap(), "{\"a\":[\"1\",\"2\"]}");
        assert_eq!(body(form, b"{\"a\":1}").unwrap(), "{\"{\\\"a\\\":1}\":[\"\"]}");
        assert_eq!(body(form, b"").unwrap(), "{}");
        assert_eq!(body(json, b"{\"a\":1}").unwrap(), "{\"a\":1}");
        assert_eq!(body(json, b"").unwrap(), "null");
        assert!(body(json, b"{").is_err());
        assert_eq!(body(("x", "y"), b"{").unwrap(), "null");
        assert_eq!(body(("x", "y"), b"\xff\x00").unwrap(), "null");
        assert!(body(("x", "y"), "[".repeat(5000).as_bytes()).is_err());
    }

    #[test]
    fn only_unambiguous_json_may_be_stored_as_received() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (header, raw, expected) in [
            (("x", "y"), &b"{\"a\":1}"[..], true),
            (("x", "y"), b"{\"a\":1,\"a\":2}", false),
            (("x", "y"), b"", false),
            (form, b"{\"a\":1}", false),
        ] {
            assert_eq!(build(&[header], raw).unwrap().raw_is_body, expected);
        }
    }

    #[test]
    fn header_bytes_survive() {
        assert_eq!(header_value("gr\u{c3}\u{bc}n"), Value::from("gr\u{fc}n"));
        assert_eq!(header_value("\u{ff}"), text(&[0xff]));
    }
}
