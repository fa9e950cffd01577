//! What is configured: the JSON Schema for people and forms, and all that a schema cannot say.

use std::collections::BTreeMap;

use mortise_plugin::reference::is_reference;
use mortise_plugin::{Fault, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::Programs;
use crate::memory::fingerprint;
use crate::source::Poller;
use crate::template::{Request, is_header_value};

const MOST_EVERY_S: u64 = 7 * 24 * 3600;
const MOST_JITTER_S: u64 = 24 * 3600;
/// Asking more often than this is worth a warning.
const OFTEN_S: u64 = 10;
const DEFAULT_EVERY_S: u64 = 300;
const DEFAULT_MOST: usize = 100;
const MOST_MOST: usize = 1_000;
const DEFAULT_TYPE: &str = "poll.item";

const KNOWN: [&str; 16] = [
    "url",
    "method",
    "headers",
    "body",
    "every_seconds",
    "jitter_seconds",
    "format",
    "items_jq",
    "id_jq",
    "time_jq",
    "cursor_jq",
    "cursor_first",
    "more_jq",
    "event_type",
    "first",
    "max_items",
];

/// Headers that are the daemon's or ours.
const TAKEN: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "if-modified-since",
    "if-none-match",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// How responses are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Auto,
    Json,
    Rss,
    Atom,
    Text,
}

/// What becomes of what is there at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum First {
    #[default]
    Skip,
    Emit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Method {
    #[default]
    #[serde(rename = "GET", alias = "get")]
    Get,
    #[serde(rename = "POST", alias = "post")]
    Post,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    url: String,
    method: Method,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    every_seconds: Option<u64>,
    jitter_seconds: u64,
    format: Format,
    items_jq: Option<String>,
    id_jq: Option<String>,
    time_jq: Option<String>,
    cursor_jq: Option<String>,
    cursor_first: String,
    more_jq: Option<String>,
    event_type: Option<String>,
    first: First,
    max_items: Option<usize>,
}

pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "url": {
                "type": "string",
                "description": "What is asked, http or https. `{{cursor}}` stands for the cursor, \
                                `${{ keyrings.NAME }}` for a secret."
            },
            "method": { "enum": ["GET", "POST", "get", "post"], "default": "GET" },
            "headers": {
                "type": "object", "additionalProperties": { "type": "string" }, "default": {},
                "description": "Headers of the request; their values may hold the cursor and secrets."
            },
            "body": {
                "type": "string",
                "description": "The body of a POST; it may hold the cursor and secrets."
            },
            "every_seconds": {
                "type": "integer", "minimum": 1, "maximum": MOST_EVERY_S, "default": DEFAULT_EVERY_S,
                "description": "How often it is asked. After failures less and less often, up to once \
                                an hour."
            },
            "jitter_seconds": {
                "type": "integer", "minimum": 0, "maximum": MOST_JITTER_S, "default": 0,
                "description": "Up to so many seconds later, differently each time."
            },
            "format": {
                "enum": ["auto", "json", "rss", "atom", "text"], "default": "auto",
                "description": "How responses are read; `rss` and `atom` read either. A text is one \
                                item that is new when it has changed."
            },
            "items_jq": {
                "type": "string",
                "description": "JSON only: gives the items, as a list or one by one, oldest first. By \
                                default the response itself, or what is in it if it is a list."
            },
            "id_jq": {
                "type": "string", "default": ".id",
                "description": "JSON only: what tells an item apart from all others."
            },
            "time_jq": {
                "type": "string",
                "description": "JSON only: what items are sorted by."
            },
            "cursor_jq": {
                "type": "string",
                "description": "JSON only: from the response, what stands for `{{cursor}}` next time; \
                                null keeps it as it is."
            },
            "cursor_first": {
                "type": "string", "default": "",
                "description": "What stands for `{{cursor}}` before there is one."
            },
            "more_jq": {
                "type": "string",
                "description": "JSON only: true when the server has more at the new cursor, which is \
                                then asked for at once."
            },
            "event_type": { "type": "string", "default": DEFAULT_TYPE },
            "first": {
                "enum": ["emit", "skip"], "default": "skip",
                "description": "What becomes of what is there at the first poll: events, or nothing."
            },
            "max_items": {
                "type": "integer", "minimum": 1, "maximum": MOST_MOST, "default": DEFAULT_MOST,
                "description": "How many events a poll makes at most; the next one follows soon."
            }
        },
        "required": ["url"],
        "examples": [
            { "url": "https://blog.example/feed.xml" },
            {
                "url": "https://api.example/issues?since={{cursor}}",
                "headers": { "Authorization": "Bearer ${{ keyrings.api }}" },
                "every_seconds": 60, "items_jq": ".issues", "cursor_jq": ".issues | map(.updated) | max",
                "id_jq": "\"\\(.id) \\(.updated)\""
            }
        ]
    })
}

/// Opens a source, or says everything that is wrong with its configuration.
pub(crate) fn open(value: Value) -> Result<Poller, Fault> {
    let unknown = Problem::unknown_keys(&value, "", &KNOWN);
    let config: Config = serde_json::from_value(value).map_err(|error| {
        Fault::config("the configuration is wrong", vec![Problem::at("", error.to_string())])
    })?;
    let mut problems = Vec::new();
    let request = request(&config, &mut problems);
    let every_s = config.every_seconds.unwrap_or(DEFAULT_EVERY_S);
    let most = config.max_items.unwrap_or(DEFAULT_MOST);
    let event_type = config.event_type.clone().unwrap_or_else(|| DEFAULT_TYPE.to_owned());
    if !(1..=MOST_EVERY_S).contains(&every_s) {
        problems.push(Problem::at(
            "every_seconds",
            format!("must be from 1 to {MOST_EVERY_S}, a week"),
        ));
    }
    if config.jitter_seconds > MOST_JITTER_S {
        problems
            .push(Problem::at("jitter_seconds", format!("must be at most {MOST_JITTER_S}, a day")));
    }
    if !(1..=MOST_MOST).contains(&most) {
        problems.push(Problem::at("max_items", format!("must be from 1 to {MOST_MOST}")));
    }
    if event_type.is_empty() || event_type.contains(char::is_whitespace) {
        problems.push(Problem::at("event_type", "must be a word, such as `custom:news`"));
    }
    let programs = Programs {
        items: config.items_jq.as_deref().unwrap_or("."),
        id: config.id_jq.as_deref().unwrap_or(".id?"),
        time: config.time_jq.as_deref(),
        cursor: config.cursor_jq.as_deref(),
        more: config.more_jq.as_deref(),
    };
    let setup = setup(&config, &programs);
    let compiled = programs.compile(&mut problems);
    let warnings = warnings(&config, &request, unknown, every_s);
    match compiled {
        Some(program) if problems.is_empty() => Ok(Poller {
            request,
            setup,
            every_ms: every_s * 1_000,
            jitter_ms: config.jitter_seconds * 1_000,
            format: config.format,
            program,
            cursor_first: config.cursor_first,
            event_type,
            first: config.first,
            most,
            warnings,
        }),
        Some(_) | None => Err(Fault::config("the configuration is wrong", problems)),
    }
}

/// What is polled: another one begins anew. Where secrets mostly are, in the query, the headers and
/// the body, does not count, so that nothing is lost or repeated when they are renewed.
fn setup(config: &Config, programs: &Programs<'_>) -> String {
    let place = config.url.split(['?', '#']).next().unwrap_or_default();
    let is_text = if config.format == Format::Text { "text" } else { "" };
    let time = programs.time.unwrap_or_default();
    fingerprint([place, is_text, programs.items, programs.id, time], 8)
}

fn request(config: &Config, problems: &mut Vec<Problem>) -> Request {
    if let Err(message) = check_url(&config.url) {
        problems.push(Problem::at("url", message));
    }
    for (name, value) in &config.headers {
        let path = format!("headers.{name}");
        let lower = name.to_ascii_lowercase();
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it));
        if !is_name {
            problems.push(Problem::at(&path, "is no name of a header"));
        } else if TAKEN.contains(&lower.as_str()) {
            problems.push(Problem::at(&path, "is set by the daemon itself; leave it out"));
        }
        if !is_reference(value) && !is_header_value(value) {
            problems.push(Problem::at(&path, "must be one line of ASCII"));
        }
    }
    if config.body.is_some() && config.method == Method::Get {
        problems.push(Problem::at("body", "has a place in a POST only; set `method: POST`"));
    }
    if !is_reference(&config.cursor_first) && !is_header_value(&config.cursor_first) {
        problems.push(Problem::at("cursor_first", "must be one line of ASCII"));
    }
    let mut headers: Vec<(String, String)> = config
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    let add = |headers: &mut Vec<(String, String)>, name: &str, value: &str| {
        if !headers.iter().any(|it| it.0 == name) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    };
    add(&mut headers, "accept", accepted(config.format));
    if let Some(body) = &config.body {
        let is_json = serde_json::from_str::<Value>(body).is_ok();
        let kind = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        add(&mut headers, "content-type", kind);
    }
    let method = match config.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    Request {
        method: method.to_owned(),
        url: config.url.clone(),
        headers,
        body: config.body.clone(),
    }
}

fn accepted(format: Format) -> &'static str {
    const FEEDS: &str = "application/atom+xml, application/rss+xml, application/xml;q=0.9, \
                         text/xml;q=0.9, */*;q=0.5";
    match format {
        Format::Auto => {
            "application/json, application/atom+xml, application/rss+xml, application/xml;q=0.9, \
             text/xml;q=0.9, */*;q=0.5"
        }
        Format::Json => "application/json, */*;q=0.5",
        Format::Rss | Format::Atom => FEEDS,
        Format::Text => "text/plain, */*;q=0.5",
    }
}

/// A URL with a secret in it that is not put in yet is not looked at.
fn check_url(url: &str) -> Result<(), &'static str> {
    if is_reference(url) {
        return Ok(());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("must be a whole URL, such as `https://blog.example/feed.xml`");
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err("must begin with `http://` or `https://`");
    }
    if rest.split(['/', '?', '#']).next().is_none_or(str::is_empty) {
        return Err("has no host");
    }
    if url.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Err("holds a space or control character; write `%20` for a space");
    }
    Ok(())
}

fn warnings(
    config: &Config,
    request: &Request,
    unknown: Vec<Problem>,
    every_s: u64,
) -> Vec<Problem> {
    let mut warnings = unknown;
    if every_s < OFTEN_S {
        let message = format!("asks every {every_s} s; many servers block who asks that often");
        warnings.push(Problem::at("every_seconds", message));
    }
    let programs = [
        ("items_jq", &config.items_jq),
        ("id_jq", &config.id_jq),
        ("time_jq", &config.time_jq),
        ("cursor_jq", &config.cursor_jq),
        ("more_jq", &config.more_jq),
    ];
    if matches!(config.format, Format::Rss | Format::Atom | Format::Text) {
        for (path, _) in programs.into_iter().filter(|it| it.1.is_some()) {
            warnings.push(Problem::at(
                path,
                "has a meaning for JSON only, and `format` says otherwise",
            ));
        }
    }
    for place in request.other_places() {
        let message =
            format!("`{{{{{place}}}}}` stays as it is: only `{{{{cursor}}}}` stands for something");
        warnings.push(Problem::at("", message));
    }
    if config.cursor_jq.is_some() && !request.has_place() {
        let message = "is not used: neither `url` nor `headers` nor `body` holds `{{cursor}}`";
        warnings.push(Problem::at("cursor_jq", message));
    }
    if config.cursor_jq.is_none() && request.has_place() {
        warnings
            .push(Problem::at("cursor_jq", "is missing, so `{{cursor}}` is always the first one"));
    }
    if config.more_jq.is_some() && config.cursor_jq.is_none() {
        warnings.push(Problem::at("more_jq", "is not used without `cursor_jq`"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: Value) -> Vec<(String, String)> {
        let fault = open(config).err().unwrap();
        fault.problems.into_iter().map(|it| (it.path, it.message)).collect()
    }

    fn warned(config: Value) -> Vec<String> {
        open(config).ok().unwrap().warnings.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn everything_at_once() {
        let found = problems(json!({
            "url": "ftp://a.example/", "headers": { "Host": "x", "a b": "c", "c": "d\n" },
            "body": "x", "every_seconds": 0, "jitter_seconds": 100_000, "max_items": 0,
            "event_type": "", "items_jq": ".[", "id_jq": "x", "cursor_first": "\n",
        }));
        let paths: Vec<&str> = found.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(
            paths,
            [
                "url",
                "headers.Host",
                "headers.a b",
                "headers.c",
                "body",
                "cursor_first",
                "every_seconds",
                "jitter_seconds",
                "max_items",
                "event_type",
                "items_jq",
                "id_jq"
            ]
        );
    }

    #[test]
    fn urls_are_checked_unless_they_hold_secrets() {
        for url in ["", "a.example", "mailto://x", "http:///x", "https://?", "https://a.example/ b"]
        {
            assert_eq!(problems(json!({ "url": url }))[0].0, "url", "{url}");
        }
        for url in [
            "https://a.example",
            "HTTP://127.0.0.1:8/{{cursor}}",
            "${{ keyrings.base }}/feed",
            "https://a.example/?key=${{ keyrings.a.key }}",
        ] {
            assert!(open(json!({ "url": url })).is_ok(), "{url}");
        }
        assert!(problems(json!({ "url": 5 }))[0].0.is_empty());
        assert_eq!(problems(json!({}))[0].0, "url");
        assert_eq!(problems(json!([]))[0].0, "url");
    }

    #[test]
    fn secrets_are_taken_where_they_may_stand() {
        let secret = "Bearer ${{ keyrings.api }}";
        let config = json!({
            "url": "https://a.example", "method": "post", "headers": { "Authorization": secret },
            "body": "{\"token\": \"${{ keyrings.api }}\"}",
        });
        let request = open(config).ok().unwrap().request;
        assert!(request.headers.contains(&("authorization".to_owned(), secret.to_owned())));
        assert!(
            request.headers.contains(&("content-type".to_owned(), "application/json".to_owned()))
        );
    }

    #[test]
    fn what_is_questionable_is_told() {
        let url = "https://a.example";
        assert!(warned(json!({ "url": url })).is_empty());
        assert_eq!(
            warned(json!({ "url": url, "evry": 5, "every_seconds": 5, "cursor_jq": ".a" })),
            ["evry", "every_seconds", "cursor_jq"]
        );
        assert_eq!(warned(json!({ "url": url, "format": "rss", "id_jq": ".a" })), ["id_jq"]);
        let place = format!("{url}/{{{{cursor}}}}");
        assert_eq!(warned(json!({ "url": place, "more_jq": "true" })), ["cursor_jq", "more_jq"]);
    }

    #[test]
    fn a_renewed_secret_is_no_other_setup() {
        let setup = |config: Value| open(config).ok().unwrap().setup;
        let plain = setup(json!({ "url": "https://a.example/x?key=1" }));
        let renewed = json!({ "url": "https://a.example/x?key=2", "headers": { "a": "b" } });
        assert_eq!(setup(renewed), plain);
        for other in [
            json!({ "url": "https://a.example/y" }),
            json!({ "url": "https://a.example/x", "items_jq": ".x" }),
            json!({ "url": "https://a.example/x", "format": "text" }),
        ] {
            assert_ne!(setup(other.clone()), plain, "{other}");
        }
    }
}
