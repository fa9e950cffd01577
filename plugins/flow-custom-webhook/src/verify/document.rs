//! A verified body as the JSON that functions get.
//!
//! JSON stays as it was received, byte for byte. A form becomes `{"name": ["value", ...]}`, as
//! policies see it; an empty body null; and anything else `{"body_base64": ..., "content_type":
//! ...}`, because a sender that is verified should not lose what it has to say.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regorus::Value;
use serde_json::json;

use super::headers::Headers;
use super::rejection::Rejection;
use super::walk;
use crate::{query, render};

/// Longest form in JSON: `\u0000` takes six bytes for one.
const MOST_FORM: usize = 16 << 20;

/// The JSON of a body. What has a JSON type is not looked into yet.
pub(super) fn read<'b>(
    headers: Headers<'_>,
    body: &'b [u8],
    form_payload: bool,
) -> Result<Cow<'b, [u8]>, Rejection> {
    let media_type = headers.media_type()?;
    if media_type == "application/x-www-form-urlencoded" {
        return form(body, form_payload).map(Cow::Owned);
    }
    if body.is_empty() {
        return Ok(Cow::Owned(b"null".to_vec()));
    }
    if is_json(&media_type) || walk::walk(body, &[]).is_ok() {
        return Ok(Cow::Borrowed(body));
    }
    let content_type = headers.one("content-type")?;
    let text = json!({ "body_base64": STANDARD.encode(body), "content_type": content_type });
    Ok(Cow::Owned(text.to_string().into_bytes()))
}

/// Whether bodies of a media type are JSON.
pub(super) fn is_json(media_type: &str) -> bool {
    matches!(media_type, "application/json" | "text/json") || media_type.ends_with("+json")
}

/// GitHub and Slack can send JSON as the field `payload` of a form, and nothing beside it.
fn form(body: &[u8], form_payload: bool) -> Result<Vec<u8>, Rejection> {
    let fields = query::parse(body).map_err(|error| Rejection::body(error.to_string()))?;
    if form_payload
        && let Value::Object(all) = &fields
        && all.len() == 1
        && let Some(Value::Array(values)) = all.get(&Value::from("payload"))
        && let [Value::String(payload)] = values.as_slice()
    {
        return Ok(crate::bytes::to_bytes(payload).into_owned());
    }
    render::to_json(&fields, MOST_FORM)
        .map(String::into_bytes)
        .map_err(|_| Rejection::body("the form is larger than 16 MiB in JSON"))
}
