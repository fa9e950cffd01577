//! `http`: a request by template, for whatever has no type of its own.

use mortise_plugin::{Delivery, Fault, Problem, Receipt, TypeDescriptor};
use mortise_sinks::{Answer, check_url, fault_of_status, read_config, wrong};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::service::{Opened, Probe, Request, Service, Told, written};
use crate::signing::{self, Scheme};
use crate::template::{Json, Text, Values};

const METHODS: [&str; 3] = ["POST", "PUT", "PATCH"];
/// A larger body is none of a message.
const MOST_BODY: usize = 256 * 1024;
const MOST_HEADERS: usize = 50;
const LONGEST_ID: usize = 500;
/// Those that belong to the connection.
const NOT_OURS: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];

#[derive(Deserialize)]
struct Config {
    url: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<Value>,
    bearer_token: Option<String>,
    signing_secret: Option<String>,
    #[serde(default)]
    signing: Scheme,
    #[serde(default)]
    expected_status: Vec<u16>,
    message_id: Option<String>,
    thread: Option<String>,
    test_url: Option<String>,
    #[serde(default = "idempotency_key")]
    idempotency_header: String,
}

fn post() -> String {
    "POST".to_owned()
}

fn idempotency_key() -> String {
    "idempotency-key".to_owned()
}

/// A server that takes requests.
#[derive(Debug)]
pub(crate) struct Custom {
    method: &'static str,
    url: Text,
    headers: Vec<(String, Text)>,
    body: Json,
    bearer_token: Option<String>,
    signing: Option<(Scheme, String)>,
    expected_status: Vec<u16>,
    message_id: Option<String>,
    thread: Option<String>,
    test_url: Option<String>,
    idempotency_header: String,
}

impl Service for Custom {
    const TITLE: &'static str = "The server";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "http".to_owned(),
            title: "HTTP request".to_owned(),
            description: "Sends a request that you describe, for whatever has no type of its own."
                .to_owned(),
            config_schema: schema(),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Custom>, Fault> {
        let mut warnings = Vec::new();
        let config: Config = read_config(config)?;
        let mut problems = Vec::new();
        check_url("url", &url_without_tokens(&config.url), &mut problems);
        let origin = config.url.splitn(4, '/').take(3).collect::<String>();
        if origin.contains("{{") || origin.contains("}}") {
            problems.push(Problem::at(
                "url",
                "must have no tokens in its host: a message does not say where it goes",
            ));
        }
        let url = Text::read("url", &config.url, &mut problems);
        let method = METHODS.iter().find(|it| it.eq_ignore_ascii_case(&config.method)).copied();
        if method.is_none() {
            problems.push(Problem::at("method", format!("must be one of {}", METHODS.join(", "))));
        }
        let headers = headers(&config.headers, &mut problems);
        let is_line = |it: &str| it.bytes().all(|it| (b' '..=b'~').contains(&it));
        if config.bearer_token.as_deref().is_some_and(|it| !is_line(it)) {
            problems.push(Problem::at("bearer_token", "must be one line of ASCII"));
        }
        if let Some(test_url) = &config.test_url {
            check_url("test_url", test_url, &mut problems);
        }
        if !is_name(&config.idempotency_header) && !config.idempotency_header.is_empty() {
            problems.push(Problem::at("idempotency_header", "is no name of a header"));
        }
        let default = json!({
            "id": "{{id}}", "trigger": "{{trigger}}", "count": "{{count}}", "message": "{{message}}",
            "occurrences": "{{occurrences}}",
        });
        let body = Json::read("body", config.body.as_ref().unwrap_or(&default), &mut problems);
        if config.url.starts_with("http://") && config.bearer_token.is_some() {
            let message = "is not encrypted: the token can be read on the way";
            warnings.push(Problem::at("url", message));
        }
        let (Some(method), true) = (method, problems.is_empty()) else {
            return Err(wrong(problems));
        };
        let service = Custom {
            method,
            url,
            headers,
            body,
            bearer_token: config.bearer_token.filter(|it| !it.is_empty()),
            signing: config
                .signing_secret
                .filter(|it| !it.is_empty())
                .map(|it| (config.signing, it)),
            expected_status: config.expected_status,
            message_id: config.message_id,
            thread: config.thread,
            test_url: config.test_url,
            idempotency_header: config.idempotency_header.to_ascii_lowercase(),
        };
        Ok(Opened { service, warnings })
    }

    fn message(&self, delivery: &Delivery, now_ms: u64) -> Result<Request, Fault> {
        let values = Values::of(delivery, now_ms);
        let (body, kind) = match self.body.fill(&values) {
            Value::String(text) => (text.into_bytes(), "text/plain; charset=utf-8"),
            other => (written(&other), "application/json; charset=utf-8"),
        };
        if body.len() > MOST_BODY {
            let size = body.len();
            return Err(Fault::permanent(format!(
                "the body has {size} bytes; at most {MOST_BODY} are sent, use fewer tokens"
            )));
        }
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, it)| (name.clone(), it.in_header(&values))).collect();
        if !headers.iter().any(|it| it.0 == "content-type") {
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        if !self.idempotency_header.is_empty() {
            headers.push((self.idempotency_header.clone(), delivery.id.clone()));
        }
        if let Some(token) = &self.bearer_token {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        if let Some((scheme, secret)) = &self.signing {
            headers.extend(signing::headers(*scheme, secret, &delivery.id, now_ms, &body));
        }
        let url = self.url.in_url(&values);
        Ok(Request { method: self.method, url, headers, body: Some(body) })
    }

    fn is_success(&self, answer: &Answer<'_>) -> bool {
        match self.expected_status.as_slice() {
            [] => answer.is_success(),
            expected => expected.contains(&answer.status),
        }
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let body = answer.json();
        let found = |path: &Option<String>| {
            let path = path.as_deref()?;
            let text = match path.strip_prefix("header:") {
                Some(name) => answer.header(name.trim()).map(str::to_owned),
                None => body.as_ref().and_then(|it| at(it, path)),
            };
            text.filter(|it| !it.is_empty())
                .map(|it| it.chars().take(LONGEST_ID).collect::<String>())
        };
        let thread = told.thread.or_else(|| found(&self.thread));
        Ok(Receipt { message_id: found(&self.message_id), thread })
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        if answer.is_success() {
            let (status, expected) = (answer.status, &self.expected_status);
            return Fault::permanent(format!(
                "the server answered {status}, and not one of {expected:?}"
            ));
        }
        let wait = answer.retry_after_ms(now_ms);
        fault_of_status(Self::TITLE, answer.status, &answer.said(), wait)
    }

    fn probe(&self) -> Probe {
        match &self.test_url {
            Some(url) => {
                let request = Request::get(url.clone());
                Probe::Quiet(match &self.bearer_token {
                    Some(token) => request.bearer(token),
                    None => request,
                })
            }
            None => Probe::Message,
        }
    }
}

/// The value at a path such as `data.0.id`, as a text.
fn at(value: &Value, path: &str) -> Option<String> {
    let found = path.split('.').try_fold(value, |value, step| match value {
        Value::Array(list) => step.parse::<usize>().ok().and_then(|at| list.get(at)),
        other => other.get(step),
    })?;
    match found {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a URL looks like with values in it.
fn url_without_tokens(url: &str) -> String {
    let mut made = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((_, behind)) = after.split_once("}}") else { break };
        made.push_str(before);
        made.push('x');
        rest = behind;
    }
    made + rest
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
}

fn headers(given: &Map<String, Value>, problems: &mut Vec<Problem>) -> Vec<(String, Text)> {
    let mut headers = Vec::new();
    if given.len() > MOST_HEADERS {
        problems.push(Problem::at("headers", format!("are more than {MOST_HEADERS}")));
    }
    for (name, value) in given.iter().take(MOST_HEADERS) {
        let path = format!("headers.{name}");
        let lower = name.to_ascii_lowercase();
        let Some(text) = value.as_str() else {
            problems.push(Problem::at(path, "must be a text"));
            continue;
        };
        if !is_name(name) {
            problems.push(Problem::at(path, "is no name of a header"));
        } else if NOT_OURS.contains(&lower.as_str()) {
            problems.push(Problem::at(path, "is set by the connection; leave it out"));
        } else if !text.bytes().all(|it| (b' '..=b'~').contains(&it)) {
            problems.push(Problem::at(path, "must be one line of ASCII"));
        } else {
            headers.push((lower, Text::read(&path, text, problems)));
        }
    }
    headers
}

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "url": {
                "type": "string", "minLength": 8, "maxLength": 4000,
                "title": "URL",
                "description": "Where requests go. Tokens may stand after the host, such as \
                                `https://example.com/notify/{{trigger}}`. Put no secret here: it is shown."
            },
            "method": { "enum": METHODS, "default": "POST", "title": "Method" },
            "headers": {
                "type": "object", "default": {},
                "additionalProperties": {
                    "type": "string", "writeOnly": true, "maxLength": 4000,
                },
                "title": "Headers",
                "description": "More headers, with tokens if you like. Their values are secret: nobody \
                                can say which of them are keys."
            },
            "body": {
                "title": "Body",
                "description": "What is sent: any JSON, in whose texts tokens stand for values of the \
                                message, such as {\"text\": \"{{message.title}}\"}; a mere text is sent as \
                                plain text. A text that is one token becomes the value itself. Tokens: id, \
                                attempt, trigger, count, thread, now_ms, message, message.title, \
                                message.text, message.level, message.fields, message.link, message.plain, \
                                occurrence, occurrences, and occurrence. with a path below it. When \
                                absent: id, trigger, count, message and occurrences."
            },
            "bearer_token": {
                "type": "string", "writeOnly": true, "maxLength": 4000,
                "title": "Bearer token",
                "description": "Sent as `Authorization: Bearer ...`."
            },
            "signing_secret": {
                "type": "string", "writeOnly": true, "maxLength": 1000,
                "title": "Signing secret",
                "description": "With it every request is signed, so that the server knows who sent it."
            },
            "signing": {
                "enum": ["standard_webhooks", "sha256"], "default": "standard_webhooks",
                "title": "Signature",
                "description": "`standard_webhooks`: the headers webhook-id, webhook-timestamp and \
                                webhook-signature of standardwebhooks.com; `sha256`: x-hub-signature-256 \
                                over the body, as GitHub signs."
            },
            "expected_status": {
                "type": "array", "items": { "type": "integer", "minimum": 200, "maximum": 599 },
                "maxItems": 50, "default": [],
                "title": "Expected status",
                "description": "Answers that mean that the message was taken; any 2xx when empty."
            },
            "message_id": {
                "type": "string", "maxLength": 200,
                "title": "Where the message's id is",
                "description": "Where in the JSON of the answer, such as `data.id`, or `header:NAME`."
            },
            "thread": {
                "type": "string", "maxLength": 200,
                "title": "Where the thread is",
                "description": "The same for what later messages on the same work get as `{{thread}}`."
            },
            "test_url": {
                "type": "string", "maxLength": 4000,
                "title": "URL for tests",
                "description": "Asked with GET and the bearer token by a test. Without it, a test sends a \
                                message that says that it is one."
            },
            "idempotency_header": {
                "type": "string", "maxLength": 100, "default": "idempotency-key",
                "title": "Header with the delivery's id",
                "description": "The same id over all attempts, so that the server can tell repetitions; \
                                empty for none."
            }
        },
        "required": ["url"],
        "examples": [
            { "url": "https://example.com/hooks/ops" },
            {
                "url": "https://example.com/api/{{trigger}}", "bearer_token": "example",
                "headers": { "X-Team": "night" }, "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "body": { "summary": "{{message.title}}", "run": "{{occurrence.run}}" },
                "message_id": "data.id", "expected_status": [200, 202],
                "test_url": "https://example.com/api/health"
            }
        ]
    })
}

#[cfg(test)]
mod tests {
    use mortise_plugin::{FaultKind, Host, Plugin, Sink};
    use mortise_sinks::testing::{self, answer, answered, deliver, request};

    use super::*;
    use crate::Http;

    fn open(config: Value) -> Box<dyn Sink> {
        Http::open_sink("http", config, Host::silent()).unwrap()
    }

    fn problems(config: Value) -> Vec<String> {
        let fault = Http::open_sink("http", config, Host::silent()).err().unwrap();
        fault.problems.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn a_request_is_made_by_template() {
        let sink = open(json!({
            "url": "https://a.example/{{trigger}}?t={{message.title}}", "method": "put",
            "headers": { "X-Level": "{{message.level}}" }, "bearer_token": "secret",
            "signing_secret": "secret too", "signing": "sha256",
            "body": { "text": "{{message.title}}", "run": "{{occurrence.run}}" },
            "message_id": "data.0.id", "thread": "header:X-Thread", "expected_status": [201],
        }));
        let (http, body, state) = deliver(&*sink, testing::delivery());
        assert_eq!(http.method, "PUT");
        assert_eq!(
            http.url,
            "https://a.example/run.failed?t=sync%20failed%20in%20prod%2Fteam%2Fsync"
        );
        for (name, value) in [
            ("x-level", "error"),
            ("content-type", "application/json; charset=utf-8"),
            ("idempotency-key", "dlv_01hq"),
            ("authorization", "Bearer secret"),
        ] {
            assert!(http.headers.contains(&(name.to_owned(), value.to_owned())), "{name}");
        }
        assert!(http.headers.iter().any(|it| it.0 == "x-hub-signature-256"));
        assert_eq!(
            body,
            json!({
                "text": "sync failed in prod/team/sync", "run": { "id": "run_01", "attempt": 3 },
            })
        );
        let good = answered(201, &[("x-thread", "t1")]);
        let done = answer(&*sink, state.clone(), good, b"{\"data\":[{\"id\":7}]}").unwrap();
        let receipt = done.receipt.unwrap();
        assert_eq!(
            (receipt.message_id.as_deref(), receipt.thread.as_deref()),
            (Some("7"), Some("t1"))
        );
        let other = answer(&*sink, state.clone(), answered(200, &[]), b"").unwrap_err();
        assert!(other.kind == FaultKind::Permanent && other.message.contains("[201]"));
        let late = answer(&*sink, state, answered(429, &[("retry-after", "3")]), b"").unwrap_err();
        assert_eq!((late.kind, late.retry_after_ms), (FaultKind::Transient, Some(3_000)));
    }

    #[test]
    fn without_a_template_everything_is_sent() {
        let sink = open(json!({ "url": "https://a.example/" }));
        let (_, body, state) = deliver(&*sink, testing::delivery());
        assert_eq!(body["message"]["fields"]["Run"], "run_01");
        assert_eq!(body["count"], 1);
        let done = answer(&*sink, state, answered(204, &[]), b"").unwrap();
        assert_eq!(done.receipt, Some(Receipt::default()));
        let text = open(json!({ "url": "https://a.example/", "body": "{{message.plain}}" }));
        let output =
            testing::call(&*text, mortise_plugin::SinkInput::Deliver(testing::delivery()), b"");
        assert!(output.unwrap().bodies[0].starts_with(b"It threw"));
    }

    #[test]
    fn tests_are_quiet_if_they_can_be() {
        let loud = open(json!({ "url": "https://a.example/" }));
        let output = testing::call(&*loud, mortise_plugin::SinkInput::Test {}, b"").unwrap();
        let (http, body, state) = request(output);
        assert_eq!((http.method.as_str(), &body["trigger"]), ("POST", &json!("test")));
        let done = answer(&*loud, state, answered(200, &[]), b"").unwrap();
        assert!(done.receipt.is_none() && done.log[0].message.contains("test message"));
        let quiet = json!({ "url": "https://a.example/", "test_url": "https://a.example/up" });
        let quiet = open(quiet);
        let output = testing::call(&*quiet, mortise_plugin::SinkInput::Test {}, b"").unwrap();
        let (http, _, state) = request(output);
        assert_eq!((http.method.as_str(), http.url.as_str()), ("GET", "https://a.example/up"));
        assert!(answer(&*quiet, state, answered(401, &[]), b"").is_err());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let found = problems(json!({
            "url": "ftp://a", "method": "GET", "headers": { "Host": "x", "a b": "c", "ok": "a\nb" },
            "body": { "a": ["{{nonsense}}"] }, "bearer_token": "a\nb", "test_url": "x",
            "idempotency_header": "a b",
        }));
        let expected = [
            "url",
            "method",
            "headers.Host",
            "headers.a b",
            "headers.ok",
            "bearer_token",
            "test_url",
            "idempotency_header",
            "body.a[0]",
        ];
        assert_eq!(found, expected);
        assert_eq!(problems(json!({ "url": "https://{{id}}.example/" })), ["url"]);
        assert_eq!(problems(json!({ "url": "https://a.example{{id}}/" })), ["url"]);
    }
}
