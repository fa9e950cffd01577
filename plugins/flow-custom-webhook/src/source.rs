//! The source: one request in, one decision out.
//!
//! Who is to blame decides the answer. The request: 400 (a body that is not what its type says, or
//! a policy with no result for it). The policy: 500, and nothing is published. Time or memory: a
//! transient fault, which the daemon answers with 503. The caller learns no details, the log of
//! the source does. Nothing here keeps state from one request to the next.

use std::time::Duration;

use mortise_plugin::{
    Event, Fault, Host, HttpRequest, HttpResponse, LogLevel, LogLine, Payload, Problem,
    ResponseBody, Source, SourceCall, SourceInput, SourceOutput,
};
use serde_json::json;

use crate::input::InputBuilder;
use crate::output::{self, Decision};
use crate::policy::{Evaluation, Policy, Verdict};

/// Longest evaluation, in milliseconds.
const MAX_EVALUATION_MS: u64 = 100;

/// One configured `flow-custom-webhook`.
pub(crate) struct WebhookSource {
    /// The compiled policy.
    pub(crate) policy: Policy,
    /// Makes the input documents.
    pub(crate) inputs: InputBuilder,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
    /// For what goes wrong in a way that has no answer to carry the line.
    pub(crate) host: Host,
}

impl Source for WebhookSource {
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
        match &call.input {
            SourceInput::Check {} => {
                Ok(SourceOutput { problems: self.warnings.clone(), ..SourceOutput::default() })
            }
            SourceInput::Http(request) => self.http(&call, request, body),
            SourceInput::Published { event_type } => published(event_type, body),
            SourceInput::Mail(_)
            | SourceInput::Tick(_)
            | SourceInput::Object(_)
            | SourceInput::Poll(_)
            | SourceInput::Response { .. } => {
                Err(Fault::unsupported("this source takes HTTP requests and published events only"))
            }
        }
    }
}

impl WebhookSource {
    fn http(
        &self,
        call: &SourceCall,
        request: &HttpRequest,
        body: &[u8],
    ) -> Result<SourceOutput, Fault> {
        let input = match self.inputs.build(request, body) {
            Ok(input) => input,
            Err(error) => {
                let message = format!("the body is not taken as JSON: {error}");
                let log = about(request, LogLevel::Warn, &message);
                return Ok(refusal(400, "bad_request", &message, vec![log]));
            }
        };
        let limit = Duration::from_millis(call.deadline_ms.min(MAX_EVALUATION_MS));
        let Evaluation { verdict, prints } =
            self.policy.evaluate(input.value.clone(), call.now_ms, limit);
        let mut log: Vec<LogLine> =
            prints.into_iter().map(|message| LogLine { level: LogLevel::Debug, message }).collect();

        let failure = match verdict {
            Verdict::Output(value) => match output::read(&value, &input) {
                Ok(decision) => return Ok(accepted(decision, log)),
                Err(message) => message,
            },
            Verdict::Failed(message) => message,
            Verdict::Undefined(notes) => {
                let mut message = "the policy gave no output for this request".to_owned();
                for note in notes {
                    message.push_str("; ");
                    message.push_str(&note);
                }
                log.push(about(request, LogLevel::Warn, &message));
                let public = "the request was not recognised";
                return Ok(refusal(400, "bad_request", public, log));
            }
            Verdict::OutOfBounds(message) => {
                for line in &log {
                    self.host.log(line.level, &line.message);
                }
                let line = about(
                    request,
                    LogLevel::Error,
                    &format!("the policy ran out of time or memory: {message}"),
                );
                self.host.log(line.level, &line.message);
                return Err(Fault::transient(format!("policy ran out of time: {message}")));
            }
        };
        log.push(about(request, LogLevel::Error, &format!("the policy failed: {failure}")));
        Ok(refusal(500, "policy_failed", "the policy of this event source failed", log))
    }
}

fn accepted(decision: Decision, mut log: Vec<LogLine>) -> SourceOutput {
    if !decision.dropped_headers.is_empty() {
        let names = decision.dropped_headers.join(", ");
        let message = format!("response headers that belong to the daemon were left out: {names}");
        log.push(LogLine { level: LogLevel::Warn, message });
    }
    SourceOutput {
        events: decision.event.into_iter().collect(),
        response: decision.response,
        bodies: decision.bodies,
        log,
        ..SourceOutput::default()
    }
}

/// Somebody publishes by hand: what the policy would have made is given.
fn published(event_type: &str, body: &[u8]) -> Result<SourceOutput, Fault> {
    let key = event_type.strip_prefix("custom:").unwrap_or(event_type);
    if key.is_empty() {
        return Err(Fault::permanent("the event type must be `custom:` and a key"));
    }
    if let Err(error) = crate::json::parse(body) {
        return Err(Fault::permanent(format!("the payload is not taken as JSON: {error}")));
    }
    let event = Event {
        event_type: format!("custom:{key}"),
        payload: Payload::Input,
        dedup_key: None,
        sync_id: None,
    };
    Ok(SourceOutput { events: vec![event], ..SourceOutput::default() })
}

fn refusal(status: u16, code: &str, message: &str, log: Vec<LogLine>) -> SourceOutput {
    let body = json!({ "status": status, "code": code, "type": code, "message": message });
    let headers = vec![("Content-Type".to_owned(), "application/problem+json".to_owned())];
    let response = HttpResponse { status, headers, body: ResponseBody::Json(body) };
    SourceOutput { response: Some(response), log, ..SourceOutput::default() }
}

/// A line about one request: who and how, never what.
fn about(request: &HttpRequest, level: LogLevel, message: &str) -> LogLine {
    let HttpRequest { method, peer, .. } = request;
    LogLine { level, message: format!("{message} ({method} from {peer})") }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
