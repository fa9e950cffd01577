//! The `output` document of a policy: read, checked, and turned into what the daemon does.
//!
//! The document is its author's; whatever is wrong with it is an error of the policy, never of the
//! request, and then nothing is published.

use mortise_plugin::{Event, HttpResponse, Payload, ResponseBody};
use regorus::{Rc, Value};

use crate::input::Input;
use crate::render::{self, RenderError};
use crate::{bytes, query};

/// Largest payload or response body.
const MAX_BODY: usize = 16 << 20;
/// Longest `event_key`, `sync_id` and `dedup_key` in bytes.
const MAX_KEY: usize = 256;
/// Most response headers.
const MAX_HEADERS: usize = 64;
/// Headers that belong to the connection, which is the daemon's.
const DAEMONS_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a policy decided.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// The event to publish.
    pub(crate) event: Option<Event>,
    /// The answer to the caller.
    pub(crate) response: Option<HttpResponse>,
    /// The texts that both refer to.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// Response headers that were left out.
    pub(crate) dropped_headers: Vec<String>,
}

/// Reads the document; what is wrong with it otherwise.
pub(crate) fn read(output: &Value, input: &Input) -> Result<Decision, String> {
    let Value::Object(_) = output else {
        return Err("`output` must be an object with `event` and `event_key`, or `response`".into());
    };
    let mut decision = Decision::default();
    if let Some(event) = field(output, "event") {
        let payload = payload(event, input, &mut decision)?;
        let key = text(output, "event_key")?
            .filter(|key| !key.is_empty())
            .ok_or("`event_key` must be a non-empty string when there is an `event`")?;
        decision.event = Some(Event {
            event_type: format!("custom:{key}"),
            payload,
            dedup_key: text(output, "dedup_key")?.filter(|key| !key.is_empty()),
            sync_id: text(output, "sync_id")?.filter(|id| !id.is_empty()),
        });
    }
    if let Some(response) = field(output, "response") {
        decision.response = Some(read_response(response, &mut decision)?);
    }
    Ok(decision)
}

fn payload(event: &Value, input: &Input, decision: &mut Decision) -> Result<Payload, String> {
    if input.raw_is_body && is_same(event, &input.body) {
        return Ok(Payload::Input);
    }
    let text = json(event, "event")?;
    decision.bodies.push(text.into_bytes());
    Ok(Payload::Body(decision.bodies.len() - 1))
}

fn read_response(response: &Value, decision: &mut Decision) -> Result<HttpResponse, String> {
    let Value::Object(_) = response else {
        return Err("`response` must be an object".into());
    };
    let status = match field(response, "status_code") {
        None => 200,
        Some(status) => status
            .as_u16()
            .ok()
            .filter(|status| (200..=599).contains(status))
            .ok_or("`response.status_code` must be a whole number from 200 to 599")?,
    };
    let mut headers = Vec::new();
    if let Some(map) = field(response, "headers") {
        read_headers(map, &mut headers, decision)?;
    }
    let body = match field(response, "body") {
        None => ResponseBody::Default,
        Some(Value::String(text)) => ResponseBody::Text(bytes::to_unicode(text).into_owned()),
        Some(value) => {
            let text = json(value, "response.body")?;
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            }
            decision.bodies.push(text.into_bytes());
            ResponseBody::Body(decision.bodies.len() - 1)
        }
    };
    Ok(HttpResponse { status, headers, body })
}

fn read_headers(
    map: &Value,
    headers: &mut Vec<(String, String)>,
    decision: &mut Decision,
) -> Result<(), String> {
    let Value::Object(map) = map else {
        return Err("`response.headers` must be an object of strings".into());
    };
    if map.len() > MAX_HEADERS {
        return Err(format!("`response.headers` may have {MAX_HEADERS} entries"));
    }
    for (name, value) in map.iter_sorted() {
        let (Value::String(name), Value::String(value)) = (name, value) else {
            return Err("`response.headers` must be an object of strings".into());
        };
        if name.is_empty() || !name.bytes().all(query::is_token) {
            return Err("`response.headers` has a name that no header may have".into());
        }
        let value = bytes::to_unicode(value).into_owned();
        if value.chars().any(|character| character.is_control() && character != '\t') {
            return Err(format!("`response.headers[\"{name}\"]` has control characters"));
        }
        if DAEMONS_HEADERS.iter().any(|theirs| name.eq_ignore_ascii_case(theirs)) {
            decision.dropped_headers.push(name.to_string());
        } else {
            headers.push((name.to_string(), value));
        }
    }
    Ok(())
}

/// A field that is there and not null.
fn field<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Object(fields) = object else { return None };
    fields.get(&Value::from(name)).filter(|value| **value != Value::Null)
}

fn text(object: &Value, name: &str) -> Result<Option<String>, String> {
    match field(object, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_KEY => {
            Ok(Some(bytes::to_unicode(text).into_owned()))
        }
        Some(_) => Err(format!("`{name}` must be a string of at most {MAX_KEY} bytes")),
    }
}

fn json(value: &Value, name: &str) -> Result<String, String> {
    render::to_json(value, MAX_BODY).map_err(|error| match error {
        RenderError::TooMuch => format!("`{name}` is larger than 16 MiB or nested too deeply"),
        RenderError::NotJson => format!("`{name}` has a number that JSON does not know"),
    })
}

/// Whether `a` is `b` itself, not merely equal to it: looks at one pointer, not at the contents.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
        (Value::Array(a), Value::Array(b)) => Rc::ptr_eq(a, b),
        (Value::String(a), Value::String(b)) => Rc::ptr_eq(a, b),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => false,
    }
}
