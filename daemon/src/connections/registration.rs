//! Requests that make a trigger URL known to an external system and take it back. Pure.
//!
//! Two kinds of fields meet here: those of instructions (`{{source.trigger_url}}`) and the
//! placeholders of a keyring (`[ACCESS_TOKEN]`). Both become placeholders, so that every value is
//! written for where it stands: in a URL, a header or a body.

use std::collections::BTreeMap;

use serde_json::Value;

use super::placeholders::{PlaceholderError, Values, encode};
use super::request::{Request, shown_host};
use super::secret::SecretText;
use crate::model::manifest::RegistrationRequest;

/// What the fields of a registration stand for.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// `{{source.name}}`.
    pub name: &'a str,
    /// `{{source.trigger_url}}`.
    pub trigger_url: &'a str,
    /// `{{source.config.FIELD}}`, nested with dots.
    pub config: &'a Value,
    /// `{{registration.id}}`, once there is one.
    pub registration: Option<&'a str>,
}

/// Makes the request. A body that is no text is sent as JSON.
pub fn render(
    request: &RegistrationRequest,
    fields: Fields<'_>,
    values: Values,
) -> Result<Request, PlaceholderError> {
    let mut known = BTreeMap::new();
    let mut take = |text: &str| with_brackets(text, fields, &mut known);
    // What the author of the manifest configured may be several segments of a path, `owner/name`.
    let (path, query) = match request.url.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.url.as_str(), None),
    };
    let mut url = take(&with_segments(path, fields));
    if let Some(query) = query {
        url.push('?');
        url.push_str(&take(query));
    }
    let headers: Vec<(&String, String)> =
        request.headers.iter().map(|(name, value)| (name, take(value))).collect();
    let body = request.body.as_ref().map(|body| map_texts(body, &mut take));
    let values = values.with_fields(&known);

    let host = shown_host(&request.url, &values);
    let url = values.url(&url, "the `url`")?;
    let mut written = Vec::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        written.push((name.clone(), values.header(&value, &format!("the header `{name}`"))?));
    }
    let has = |wanted: &str, all: &[(String, SecretText)]| {
        all.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    let body = match &body {
        None => SecretText::default(),
        Some(Value::String(text)) => values.plain(text, "the `body`")?,
        Some(other) => {
            if !has("content-type", &written) {
                written.push(("content-type".to_owned(), "application/json".into()));
            }
            filled(other, &values)?.to_string().into()
        }
    };
    if !has("accept", &written) {
        written.push(("accept".to_owned(), "application/json".into()));
    }
    Ok(Request { method: request.method.name().to_owned(), url, headers: written, body, host })
}

/// Fills in the configured values of a path, their slashes kept and all else encoded.
fn with_segments(path: &str, fields: Fields<'_>) -> String {
    map_fields(path, |name| {
        let value = name.starts_with("source.config.").then(|| fields.value(name)).flatten()?;
        let segments: Vec<String> = value.split('/').map(encode).collect();
        Some(segments.join("/"))
    })
}

/// Writes `{{source.name}}` as `[source.name]`, and notes what that stands for. A field that nothing
/// is known of stays as it is: it may be text in another template language.
fn with_brackets(
    text: &str,
    fields: Fields<'_>,
    known: &mut BTreeMap<String, SecretText>,
) -> String {
    map_fields(text, |name| {
        known.insert(name.to_owned(), fields.value(name)?.into());
        Some(format!("[{name}]"))
    })
}

/// Replaces each `{{ field }}` that `replace` knows.
fn map_fields(text: &str, mut replace: impl FnMut(&str) -> Option<String>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, end)) = after.split_once("}}") else { break };
        whole.push_str(before);
        match replace(inside.trim()) {
            Some(text) => whole.push_str(&text),
            None => whole.push_str(&format!("{{{{{inside}}}}}")),
        }
        rest = end;
    }
    whole.push_str(rest);
    whole
}

impl Fields<'_> {
    fn value(&self, name: &str) -> Option<String> {
        match name {
            "source.name" => Some(self.name.to_owned()),
            "source.trigger_url" => Some(self.trigger_url.to_owned()),
            "registration.id" => self.registration.map(str::to_owned),
            _ => {
                let path = name.strip_prefix("source.config.")?;
                let mut value = self.config;
                for step in path.split('.') {
                    value = value.get(step)?;
                }
                match value {
                    Value::String(text) => Some(text.clone()),
                    Value::Null | Value::Object(_) | Value::Array(_) => None,
                    Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                }
            }
        }
    }
}

fn map_texts(value: &Value, take: &mut impl FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(take(text)),
        Value::Array(items) => items.iter().map(|it| map_texts(it, take)).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, it)| (name.clone(), map_texts(it, take)));
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn filled(value: &Value, values: &Values) -> Result<Value, PlaceholderError> {
    Ok(match value {
        Value::String(text) => values.plain(text, "the `body`")?.reveal().into(),
        Value::Array(items) => {
            Value::Array(items.iter().map(|it| filled(it, values)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let mut written = serde_json::Map::new();
            for (name, it) in members {
                written.insert(name.clone(), filled(it, values)?);
            }
            Value::Object(written)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::manifest::RegistrationMethod;

    #[test]
    fn values_are_written_for_where_they_stand() {
        let request = RegistrationRequest {
            url: "https://api.example.com/repos/{{ source.config.repo }}/hooks?by={{source.name}}"
                .to_owned(),
            method: RegistrationMethod::Post,
            headers: [("authorization".to_owned(), "token [ACCESS_TOKEN]".to_owned())].into(),
            body: Some(json!({
                "config": { "url": "{{source.trigger_url}}", "secret": "[API_KEY]" },
                "events": ["push"], "note": "{{other.template}} [x]", "active": true,
            })),
            id_jq: None,
        };
        let config = json!({ "repo": "a/b c" });
        let fields = Fields {
            name: "hook \"one\"",
            trigger_url: "https://here/hooks/t",
            config: &config,
            registration: None,
        };
        let values =
            Values::default().with_access_token(&"tok".into()).with_api_key(&"k\"ey".into());
        let made = render(&request, fields, values).expect("rendered");
        assert_eq!(
            made.url.reveal(),
            "https://api.example.com/repos/a/b%20c/hooks?by=hook%20%22one%22"
        );
        assert_eq!(made.headers[0].1.reveal(), "token tok");
        let body: Value = serde_json::from_str(made.body.reveal()).expect("JSON");
        assert_eq!(body["config"], json!({ "url": "https://here/hooks/t", "secret": "k\"ey" }));
        assert_eq!(body["note"], "{{other.template}} [x]");
        assert!(made.headers.iter().any(|(name, _)| name == "content-type"));
    }

    #[test]
    fn an_id_goes_into_the_request_that_takes_it_back() {
        let request = RegistrationRequest {
            url: "https://api.example.com/hooks/{{registration.id}}".to_owned(),
            method: RegistrationMethod::Delete,
            ..RegistrationRequest::default()
        };
        let fields = Fields {
            name: "hook",
            trigger_url: "https://here/hooks/t",
            config: &Value::Null,
            registration: Some("../../admin"),
        };
        let made = render(&request, fields, Values::default());
        let url = made.map(|it| it.url.reveal().to_owned());
        assert_eq!(url.as_deref(), Ok("https://api.example.com/hooks/..%2F..%2Fadmin"));
    }
}
