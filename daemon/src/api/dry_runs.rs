//! `event-sources.test`: tries an input at a source and shows what it would come to. Stores nothing.
//! Must never show a secret of the source: whoever may set it up can set secrets, not read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_plugin::HttpRequest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{ApiError, Code};
use super::hooks::{METHODS, respond};
use super::lists::{parse_id, time};
use super::rights::Caller;
use super::times::parse_time;
use super::{Api, CAUSE_HEADER, event_sources};
use crate::engine::intake::{IntakeError, Taken};
use crate::engine::keyrings::Masks;
use crate::model::id::{RecordedId, SourceId};
use crate::model::recording::RequestOutcome;
use crate::operations::{NotTried, Trial, Tried, TriedEvent, dry_run};

/// What is tried. Exactly one of `request`, `recorded`, `published` and `tick`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesTest")]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    /// The source.
    id: String,
    /// A request to the trigger URL.
    #[serde(default)]
    request: Option<Request>,
    /// A request that was recorded, by its id. It is tried as of when it came, unless `now` says
    /// something else.
    #[serde(default)]
    recorded: Option<String>,
    /// Headers that replace those of the recorded request, such as one that was masked.
    #[serde(default)]
    headers: Option<Headers>,
    /// Something that somebody publishes.
    #[serde(default)]
    published: Option<PublishedInput>,
    /// A wake-up.
    #[serde(default)]
    tick: Option<TickInput>,
    /// What the source is told the time is, RFC 3339; the present time when absent.
    #[serde(default)]
    now: Option<String>,
}

/// A request to a trigger URL.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesTestRequest")]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// `POST` when absent.
    #[serde(default)]
    method: Option<String>,
    /// Without the `?`.
    #[serde(default)]
    query: String,
    #[serde(default)]
    headers: Headers,
    /// A text as it is, or any other JSON as it is written, which is `application/json` unless a header
    /// says otherwise.
    #[serde(default)]
    #[schemars(with = "Option<Value>")]
    body: Option<Box<RawValue>>,
    /// The same for bytes.
    #[serde(default)]
    body_base64: Option<String>,
    /// Address of the sender.
    #[serde(default)]
    peer: String,
}

/// By name, or as pairs when one comes several times.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Headers {
    Pairs(Vec<(String, String)>),
    ByName(BTreeMap<String, String>),
}

impl Default for Headers {
    fn default() -> Headers {
        Headers::Pairs(Vec::new())
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesTestPublished")]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedInput {
    /// As automations name it, such as `custom:my-event`.
    event_type: String,
    /// Any JSON.
    #[schemars(with = "Value")]
    payload: Box<RawValue>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventSourcesTestTick")]
#[serde(deny_unknown_fields)]
pub(super) struct TickInput {
    /// When it was due, RFC 3339; now, when absent.
    #[serde(default)]
    due_date: Option<String>,
    /// Instead of the cursor that the source keeps.
    #[serde(default)]
    cursor: Option<Value>,
}

/// What would have come of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tested {
    #[schemars(with = "String")]
    outcome: RequestOutcome,
    /// Why there is no event, in a word that counters know too.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Why, for people.
    message: String,
    /// Why an instance of the source was opened for this; absent when the open one was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary_instance: Option<String>,
    /// What the source was told the time is.
    now_date: String,
    /// What the sender would get. Ids of nothing but zeros stand for those of events to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<SenderGets>,
    /// The events that would be stored.
    events: Vec<EventToBe>,
    /// What the source would request before it decides. Nothing was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_request: Option<WouldRequest>,
    /// When it would want to be woken next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_tick_date: Option<String>,
    /// The cursor that it would want kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Value>,
    /// What the source had to say, such as what its policy prints.
    log: Vec<Said>,
    /// How long the source took, microseconds.
    took_us: u64,
    /// Why something else would happen in earnest, and what was not as it was sent.
    notes: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SenderGets {
    status: u16,
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// A body that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct EventToBe {
    #[serde(rename = "type")]
    event_type: String,
    payload: Value,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_id: Option<String>,
    /// Whether it would not be stored, because one with its dedup key was before.
    would_be_duplicate: bool,
    /// The id of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_event: Option<String>,
    /// What would run.
    automations: Vec<AutomationToRun>,
    /// Why nothing would run.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct AutomationToRun {
    id: String,
    name: String,
    function: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WouldRequest {
    method: String,
    url: String,
    /// Names only.
    headers: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Said {
    level: String,
    message: String,
}

/// An input as a source is called with it.
struct Input {
    trial: Trial,
    body: Vec<u8>,
    /// When it came, for a recorded one.
    received_ms: Option<u64>,
    /// What was masked when it was recorded, and was not given again.
    masked: Vec<String>,
}

pub(super) async fn test(api: Arc<Api>, caller: Caller, test: Test) -> Result<Tested, ApiError> {
    let found = event_sources::find(&api, &caller, &test.id)?;
    let now = test.now.as_deref().map(|it| parse_time("now", it)).transpose()?;
    let Input { trial, body, received_ms, masked } = input(&api, found.0, test)?;
    let is_http = matches!(trial, Trial::Http(_));
    let now = now.or(received_ms);
    let most_queued = api.intake.most_queued;
    let mut tried = dry_run(&api.services, found, trial, body.into(), now, most_queued).await?;
    if !masked.is_empty() && tried.outcome != RequestOutcome::Accepted {
        tried.notes.push(format!(
            "{} was masked when this was recorded, and is not what was sent: give it again in \
             `headers`, or try the whole as `request`",
            masked.join(", ")
        ));
    }
    Ok(shown(tried, is_http))
}

fn input(api: &Api, source: SourceId, test: Test) -> Result<Input, ApiError> {
    let plain = |trial, body| Input { trial, body, received_ms: None, masked: Vec::new() };
    if test.headers.is_some() && test.recorded.is_none() {
        let message =
            "`headers` replaces those of a recorded request; those of another one are in it";
        return Err(ApiError::field("headers", message));
    }
    match (test.request, test.recorded, test.published, test.tick) {
        (Some(request), None, None, None) => {
            let (request, body) = asked(request)?;
            Ok(plain(Trial::Http(request), body))
        }
        (None, Some(id), None, None) => recorded(api, source, &id, test.headers),
        (None, None, Some(published), None) => {
            event_sources::check_event_type("published.event_type", &published.event_type)?;
            let trial = Trial::Published { event_type: published.event_type };
            Ok(plain(trial, published.payload.get().as_bytes().to_vec()))
        }
        (None, None, None, Some(tick)) => {
            let due_ms =
                tick.due_date.as_deref().map(|it| parse_time("tick.due_date", it)).transpose()?;
            Ok(plain(Trial::Tick { due_ms, cursor: tick.cursor }, Vec::new()))
        }
        _ => {
            let message = "say what is to be tried, in exactly one way";
            let ways = ["request", "recorded", "published", "tick"];
            Err(ApiError::new(Code::BadRequest, message).allowing(&ways))
        }
    }
}

fn recorded(
    api: &Api,
    source: SourceId,
    text: &str,
    overrides: Option<Headers>,
) -> Result<Input, ApiError> {
    let id: RecordedId = parse_id("recorded", text)?;
    let found = api.services.store.read(|tables| tables.recorded_request(source, id))?;
    let (kept, body) = found.ok_or_else(|| ApiError::not_found("recorded request", text))?;
    if kept.cut_sha256.is_some() {
        let message = format!(
            "only the first {} of {} bytes of its body were kept, so it cannot be tried: send it whole \
             as `request`",
            body.len(),
            kept.body_bytes
        );
        return Err(ApiError::new(Code::Conflict, message));
    }
    let overrides = plain_headers(overrides.unwrap_or_default(), "headers")?;
    let is_given = |name: &str| overrides.iter().any(|(it, _)| it == name);
    let headers = kept.headers.into_iter().filter(|(name, _)| !is_given(name));
    let headers: Vec<_> = headers.chain(overrides.clone()).collect();
    let masked = kept.masked.into_iter();
    let masked = masked.filter(|it| !it.strip_prefix("header ").is_some_and(is_given)).collect();
    let request =
        HttpRequest { method: kept.method, query_raw: kept.query, headers, peer: kept.peer };
    let received_ms = Some(kept.received_ms);
    Ok(Input { trial: Trial::Http(request), body, received_ms, masked })
}

fn asked(request: Request) -> Result<(HttpRequest, Vec<u8>), ApiError> {
    let method = request.method.unwrap_or_else(|| "POST".to_owned()).to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) {
        let message =
            format!("trigger URLs take GET and POST, not {method}: a sender would get 405");
        return Err(ApiError::field("request.method", message).allowing(&METHODS));
    }
    let mut headers = plain_headers(request.headers, "request.headers")?;
    let body = match (request.body, request.body_base64) {
        (Some(_), Some(_)) => {
            let message = "a request has a `body` or a `body_base64`, not both";
            return Err(ApiError::field("request.body", message));
        }
        (None, None) => Vec::new(),
        (None, Some(text)) => STANDARD.decode(&text).map_err(|error| {
            ApiError::field("request.body_base64", format!("body_base64 is none: {error}"))
        })?,
        (Some(json), None) => match serde_json::from_str::<String>(json.get()) {
            Ok(text) => text.into_bytes(),
            Err(_) => {
                if !headers.iter().any(|(name, _)| name == "content-type") {
                    headers.push(("content-type".to_owned(), "application/json".to_owned()));
                }
                json.get().as_bytes().to_vec()
            }
        },
    };
    let query_raw = request.query.strip_prefix('?').unwrap_or(&request.query).to_owned();
    Ok((HttpRequest { method, query_raw, headers, peer: request.peer }, body))
}

/// As they come in over HTTP: names in lower case, values as Latin-1.
fn plain_headers(headers: Headers, field: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs: Vec<_> = match headers {
        Headers::Pairs(pairs) => pairs,
        Headers::ByName(names) => names.into_iter().collect(),
    };
    let mut plain = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = name.to_ascii_lowercase();
        let is_name = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(ApiError::field(field, format!("`{name}` is no name of a header")));
        }
        let is_value = |it: char| it == '\t' || (!it.is_control() && u32::from(it) < 256);
        if !value.chars().all(is_value) {
            let message =
                format!("the header `{name}` holds what no header can: allowed is Latin-1");
            return Err(ApiError::field(field, message));
        }
        if name != CAUSE_HEADER {
            plain.push((name, value.trim().to_owned()));
        }
    }
    Ok(plain)
}

fn shown(tried: Tried, is_http: bool) -> Tested {
    let masks = &tried.masks;
    let said = |line: mortise_plugin::LogLine| Said {
        level: format!("{:?}", line.level).to_lowercase(),
        message: line.message,
    };
    let waits = tried.would_request.is_some();
    Tested {
        response: (is_http && !waits).then(|| sender_gets(tried.taken, masks)),
        outcome: tried.outcome,
        reason: tried.reason,
        message: tried.message,
        temporary_instance: tried.temporary,
        now_date: time(tried.now_ms),
        events: tried.events.into_iter().map(event).collect(),
        would_request: tried.would_request.map(|(method, url, headers)| WouldRequest {
            method,
            url,
            headers,
        }),
        next_tick_date: tried.next_tick_ms.map(time),
        cursor: tried.cursor,
        log: tried.log.into_iter().map(said).collect(),
        took_us: u64::try_from(tried.took.as_micros()).unwrap_or(u64::MAX),
        notes: tried.notes,
    }
}

fn event(event: TriedEvent) -> EventToBe {
    let automation = |(id, name, function): (crate::model::id::AutomationId, _, _)| {
        AutomationToRun { id: id.to_string(), name, function }
    };
    EventToBe {
        event_type: event.event_type,
        payload: event.payload,
        payload_bytes: event.payload_bytes,
        dedup_key: event.dedup_key,
        sync_id: event.sync_id,
        would_be_duplicate: event.is_duplicate,
        first_event: event.first.map(|it| it.to_string()),
        automations: event.automations.into_iter().map(automation).collect(),
        message: event.unheard,
    }
}

/// The very response that a sender would get, but for the secrets in it.
fn sender_gets(taken: Result<Taken, IntakeError>, masks: &Masks) -> SenderGets {
    let answered = taken.map_err(ApiError::from).and_then(respond);
    let response: HttpResponse = answered.unwrap_or_else(|error| error.respond());
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), masks.mask(&value))
        })
        .collect();
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let masked = masks.mask(&text);
    let is_text = std::str::from_utf8(&body).is_ok() || masked != text;
    let (body, body_base64) = match (body.is_empty(), is_text) {
        (true, _) => (None, None),
        (false, true) => (Some(masked), None),
        (false, false) => (None, Some(STANDARD.encode(&body))),
    };
    SenderGets { status, headers, body, body_base64 }
}

impl From<NotTried> for ApiError {
    fn from(error: NotTried) -> ApiError {
        match error {
            NotTried::Gone | NotTried::Detached(_) => {
                ApiError::new(Code::Conflict, error.to_string())
            }
            NotTried::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: Value) -> Result<(HttpRequest, Vec<u8>), ApiError> {
        asked(serde_json::from_value(value).expect("it is one"))
    }

    #[test]
    fn a_request_is_as_it_would_come_in() {
        let text =
            r#"{"headers": {"X-One": " a ", "Mortise-Cause": "x"}, "body": {"b": 1.0,"a":2}}"#;
        let (plain, body) = asked(serde_json::from_str(text).expect("JSON")).expect("taken");
        assert_eq!(plain.method, "POST");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(plain.headers, [pair("x-one", "a"), pair("content-type", "application/json")]);
        assert_eq!(body, br#"{"b": 1.0,"a":2}"#, "signatures are over bytes");

        let given = json!({
            "method": "get", "query": "?a=1", "headers": [["A", "1"], ["a", "2"]], "body": "text",
        });
        let (plain, body) = request(given).expect("taken");
        assert_eq!((plain.method.as_str(), plain.query_raw.as_str()), ("GET", "a=1"));
        assert_eq!(plain.headers, [pair("a", "1"), pair("a", "2")]);
        assert_eq!(body, b"text");
        assert_eq!(request(json!({ "body_base64": "/w==" })).expect("taken").1, [255]);
        for wrong in [
            json!({ "method": "PUT" }),
            json!({ "body": 1, "body_base64": "" }),
            json!({ "body_base64": "?" }),
            json!({ "headers": { "a b": "c" } }),
            json!({ "headers": { "a": "c\r\nd: e" } }),
            json!({ "headers": { "a": "€" } }),
        ] {
            let error = request(wrong.clone()).expect_err("refused");
            assert_eq!(error.code(), Code::BadRequest, "{wrong}");
        }
    }
}
