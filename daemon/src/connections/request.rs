//! From what a manifest says about a request to the request itself, and what of the answer may be
//! shown.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::placeholders::{PlaceholderError, Values, encode};
use super::secret::{MASK, SecretText};
use crate::model::manifest::ExternalRequest;

/// The most characters of an answer that are shown.
const LONGEST_EXCERPT: usize = 200;
/// The most bytes of an answer that are looked at for that.
const LOOKED_AT: usize = 64 * 1024;
/// A shorter text is found everywhere.
const SHORTEST_SECRET: usize = 4;

/// A request with all values in it. It holds secrets: nothing prints it.
pub struct Request {
    /// In capitals.
    pub method: String,
    /// With its query.
    pub url: SecretText,
    /// Names and values.
    pub headers: Vec<(String, SecretText)>,
    /// Empty for none.
    pub body: SecretText,
    /// Where it goes, as it can be shown: fields of a keyring may stand in a host.
    pub host: String,
}

/// Where parameters go when the request does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A question: `GET`, parameters in the query, unless the content type says otherwise.
    Ask,
    /// An endpoint of OAuth2 (RFC 6749 §3.2): `POST`, parameters in the body, as a form.
    Endpoint,
}

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyForm {
    Form,
    Json,
}

/// Makes a request. `more` are parameters that come on top of what the manifest says.
pub fn render(
    request: &ExternalRequest,
    style: Style,
    values: &Values,
    more: &BTreeMap<String, SecretText>,
) -> Result<Request, PlaceholderError> {
    let default = match style {
        Style::Ask => "GET",
        Style::Endpoint => "POST",
    };
    let method = request.method.as_deref().unwrap_or(default).trim().to_ascii_uppercase();
    let mut url = values.url(&request.url, "the `url`")?;
    let host = shown_host(&request.url, values);
    let mut headers = Vec::with_capacity(request.headers.len() + 2);
    for (name, value) in &request.headers {
        headers.push((name.clone(), values.header(value, &format!("the header `{name}`"))?));
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in &request.query_parameters {
        let value = values.plain(value, &format!("the parameter `{name}`"))?;
        parameters.insert(name.clone(), value);
    }
    parameters.extend(more.iter().map(|(name, it)| (name.clone(), it.clone())));
    let mut body = SecretText::default();
    match body_form(&method, style, &request.headers) {
        Some(BodyForm::Form) => {
            body = form(&parameters);
            push_if_absent(&mut headers, "content-type", "application/x-www-form-urlencoded");
        }
        Some(BodyForm::Json) => {
            let members = parameters.iter().map(|(name, it)| (name.clone(), it.reveal().into()));
            body = Value::Object(members.collect::<Map<_, _>>()).to_string().into();
        }
        None if parameters.is_empty() => {}
        None => {
            let joint = if url.reveal().contains('?') { '&' } else { '?' };
            url = format!("{}{joint}{}", url.reveal(), form(&parameters).reveal()).into();
        }
    }
    push_if_absent(&mut headers, "accept", "application/json");
    Ok(Request { method, url, headers, body, host })
}

fn body_form(method: &str, style: Style, headers: &BTreeMap<String, String>) -> Option<BodyForm> {
    if matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS") {
        return None;
    }
    let content_type = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = content_type.map(|(_, it)| it.to_ascii_lowercase()).unwrap_or_default();
    if content_type.contains("json") {
        Some(BodyForm::Json)
    } else if content_type.contains("form-urlencoded") || style == Style::Endpoint {
        Some(BodyForm::Form)
    } else {
        None
    }
}

/// `application/x-www-form-urlencoded`, with nothing that is not encoded.
pub fn form(parameters: &BTreeMap<String, SecretText>) -> SecretText {
    let mut whole = String::with_capacity(1024);
    for (name, value) in parameters {
        if !whole.is_empty() {
            whole.push('&');
        }
        whole.push_str(&encode(name));
        whole.push('=');
        whole.push_str(&encode(value.reveal()));
    }
    whole.into()
}

fn push_if_absent(headers: &mut Vec<(String, SecretText)>, name: &str, value: &str) {
    if !headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name)) {
        headers.push((name.to_owned(), value.into()));
    }
}

/// Method and host, for messages: the rest may hold secrets.
pub fn whereabouts(request: &Request) -> String {
    format!("{} at {}", request.method, request.host)
}

/// The host of a URL with placeholders, as it can be shown.
pub fn shown_host(url: &str, values: &Values) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    values.shown(host.trim())
}

/// A piece of an answer that can be shown: one line, not long, without any of the secrets however
/// they are written.
pub fn excerpt(body: &[u8], secrets: &[&str]) -> String {
    let looked_at = &body[..body.len().min(LOOKED_AT)];
    let mut text = String::from_utf8_lossy(looked_at).into_owned();
    let mut forms: Vec<String> = secrets.iter().flat_map(|it| written_forms(it)).collect();
    // The longest first: one may be a part of another.
    forms.sort_by_key(|it| std::cmp::Reverse(it.len()));
    for form in forms.iter().filter(|it| it.len() >= SHORTEST_SECRET) {
        text = text.replace(form.as_str(), MASK);
    }
    let text = text.replace(|it: char| it.is_control(), " ");
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST_EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How a secret may come back in an answer.
fn written_forms(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    vec![
        json.trim_matches('"').to_owned(),
        html,
        encode(secret),
        encode(secret).replace("%20", "+"),
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        secret.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
    }

    fn values() -> Values {
        Values::default().with_api_key(&"k&y".into()).with_subdomain(Some("acme"))
    }

    fn request(method: Option<&str>, headers: &[(&str, &str)]) -> ExternalRequest {
        ExternalRequest {
            url: "https://[SUBDOMAIN].e.com/me?a=1".to_owned(),
            method: method.map(str::to_owned),
            headers: map(headers),
            query_parameters: map(&[("key", "[API_KEY]")]),
            response_jq: None,
        }
    }

    fn rendered(style: Style, method: Option<&str>, headers: &[(&str, &str)]) -> (String, String) {
        let more = BTreeMap::from([("z".to_owned(), SecretText::from("9"))]);
        let made = render(&request(method, headers), style, &values(), &more).expect("a request");
        (format!("{} {}", made.method, made.url.reveal()), made.body.reveal().to_owned())
    }

    #[test]
    fn parameters_go_where_they_belong() {
        let form_type = [("Content-Type", "application/x-www-form-urlencoded")];
        let json_type = [("content-type", "application/json; charset=utf-8")];
        let in_query = "https://acme.e.com/me?a=1&key=k%26y&z=9";
        let bare = "https://acme.e.com/me?a=1";
        let form_body = "key=k%26y&z=9";
        for (style, method, headers, line, body) in [
            (Style::Ask, None, &[][..], format!("GET {in_query}"), ""),
            (Style::Ask, Some("post"), &[], format!("POST {in_query}"), ""),
            (Style::Ask, Some("POST"), &form_type, format!("POST {bare}"), form_body),
            (Style::Endpoint, None, &[], format!("POST {bare}"), form_body),
            (Style::Endpoint, Some("GET"), &form_type, format!("GET {in_query}"), ""),
            (
                Style::Endpoint,
                Some("POST"),
                &json_type,
                format!("POST {bare}"),
                r#"{"key":"k&y","z":"9"}"#,
            ),
        ] {
            assert_eq!(rendered(style, method, headers), (line, body.to_owned()));
        }
    }

    #[test]
    fn only_method_and_host_are_named() {
        let ask = ExternalRequest {
            url: "https://u:[API_KEY]@e.com:8443/[API_KEY]".to_owned(),
            ..ExternalRequest::default()
        };
        let made = render(&ask, Style::Ask, &values(), &BTreeMap::new()).expect("a request");
        assert_eq!(whereabouts(&made), "GET at e.com:8443");
        let fields = BTreeMap::from([("host".to_owned(), SecretText::from("hidden"))]);
        let values = values().with_fields(&fields);
        let ask = ExternalRequest {
            url: "https://[host].[SUBDOMAIN].e.com/me".to_owned(),
            ..ExternalRequest::default()
        };
        let made = render(&ask, Style::Ask, &values, &BTreeMap::new()).expect("a request");
        assert_eq!(whereabouts(&made), "GET at ********.acme.e.com");
    }

    #[test]
    fn excerpts_are_short_and_hold_no_secret() {
        let secret = "s3cr\"t &x";
        for body in [
            format!("bad key {secret}"),
            format!("{{\"error\": {}}}", Value::from(secret)),
            format!("<p>{}</p>", secret.replace('&', "&amp;").replace('"', "&quot;")),
            format!("see ?key={}", encode(secret)),
            format!("Basic {}", STANDARD.encode(secret)),
        ] {
            let shown = excerpt(body.as_bytes(), &[secret]);
            assert!(shown.contains(MASK) && !shown.contains("s3cr"), "{shown}");
        }
        let long = excerpt("a\r\n\u{1b}[31m b".repeat(100).as_bytes(), &[]);
        assert_eq!(long.chars().count(), LONGEST_EXCERPT + 1);
        assert!(!long.contains(char::is_control), "{long:?}");
    }
}
