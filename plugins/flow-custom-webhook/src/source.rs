//! The source: one request in, one decision out.
//!
//! A request is verified first, if `verify` is configured; then its event is made natively, or by
//! the policy. Who is to blame decides the answer. The request: 401 if it is not from who it should
//! be, 400 for a body that is not what its type says, or for which a policy has no result. The
//! policy: 500, and nothing is published. Time or memory: a transient fault, which the daemon
//! answers with 503. The caller learns no details, the log of the source does. Nothing here keeps
//! state from one request to the next.

use std::time::Duration;

use mortise_plugin::{
    Event, Fault, Host, HttpRequest, HttpResponse, LogLevel, LogLine, Payload, Problem, Refusal,
    ResponseBody, Source, SourceCall, SourceInput, SourceOutput,
};
use serde_json::json;

use crate::input::InputBuilder;
use crate::output::{self, Decision};
use crate::policy::{Evaluation, Policy, Verdict};
use crate::verify::{Answered, Delivery, Outcome, Passed, Reason, Refused, Rejection, Verify};

/// Longest evaluation, in milliseconds.
const MAX_EVALUATION_MS: u64 = 100;

/// One configured `flow-custom-webhook`.
pub(crate) struct WebhookSource {
    /// Who decides about requests.
    pub(crate) decides: Decides,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
    /// For what goes wrong in a way that has no answer to carry the line.
    pub(crate) host: Host,
}

/// Who decides about requests.
pub(crate) enum Decides {
    /// A policy, about all.
    Policy(Box<Shaper>),
    /// A native preset.
    Verify(Box<Verify>),
    /// A policy, about those that are verified.
    Both(Box<Verify>, Box<Shaper>),
}

/// A policy with what it needs.
pub(crate) struct Shaper {
    /// The compiled policy.
    pub(crate) policy: Policy,
    /// Makes the input documents.
    pub(crate) inputs: InputBuilder,
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
        match &self.decides {
            // Only sent by CloudEvents' handshake, which policies were not written for.
            Decides::Policy(_) if request.method == "OPTIONS" => {
                Ok(refused(request, Rejection::method("OPTIONS", "GET, POST")))
            }
            Decides::Policy(shaper) => {
                self.shape(shaper, call, request, body, Delivery::default(), Vec::new())
            }
            Decides::Verify(verify) => {
                let log = match admit(verify, call, request, body)? {
                    Ok(log) => log,
                    Err(output) => return Ok(output),
                };
                Ok(match verify.events(request, body) {
                    Ok(Outcome::Answered(Answered(response))) => {
                        SourceOutput { response: Some(response), log, ..SourceOutput::default() }
                    }
                    Ok(Outcome::Events { events, bodies, response }) => {
                        SourceOutput { events, bodies, response, log, ..SourceOutput::default() }
                    }
                    Err(rejection) => refused(request, rejection),
                })
            }
            Decides::Both(verify, shaper) => {
                let log = match admit(verify, call, request, body)? {
                    Ok(log) => log,
                    Err(output) => return Ok(output),
                };
                match verify.delivery(request, body) {
                    Ok(Ok(delivery)) => self.shape(shaper, call, request, body, delivery, log),
                    Ok(Err(Answered(response))) => Ok(SourceOutput {
                        response: Some(response),
                        log,
                        ..SourceOutput::default()
                    }),
                    Err(rejection) => Ok(refused(request, rejection)),
                }
            }
        }
    }

    /// Lets the policy decide about a request; what it does not say of the delivery is given.
    fn shape(
        &self,
        shaper: &Shaper,
        call: &SourceCall,
        request: &HttpRequest,
        body: &[u8],
        delivery: Delivery,
        mut log: Vec<LogLine>,
    ) -> Result<SourceOutput, Fault> {
        let input = match shaper.inputs.build(request, body) {
            Ok(input) => input,
            Err(error) => {
                let message = error.to_string();
                log.push(about(request, LogLevel::Warn, &message));
                let public = message.clone();
                return Ok(refusal(400, "bad_request", &public, Reason::BadRequest, message, log));
            }
        };
        let limit = Duration::from_millis(call.deadline_ms.min(MAX_EVALUATION_MS));
        let Evaluation { verdict, prints } =
            shaper.policy.evaluate(input.value.clone(), call.now_ms, limit);
        log.extend(prints.into_iter().map(|message| LogLine { level: LogLevel::Debug, message }));

        let failure = match verdict {
            Verdict::Output(value) => match output::read(&value, &input) {
                Ok(decision) => return Ok(accepted(decision, delivery, log)),
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
                return Ok(refusal(400, "bad_request", public, Reason::Undefined, message, log));
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
        let message = format!("the policy failed: {failure}");
        log.push(about(request, LogLevel::Error, &message));
        let public = "the policy of this event source failed";
        Ok(refusal(500, "policy_failed", public, Reason::PolicyFailed, message, log))
    }
}

/// Verifies a request: the log so far, or the answer.
fn admit(
    verify: &Verify,
    call: &SourceCall,
    request: &HttpRequest,
    body: &[u8],
) -> Result<Result<Vec<LogLine>, SourceOutput>, Fault> {
    match verify.admit(call.now_ms, request, body) {
        Ok(Ok(Passed { secret: 0 })) => Ok(Ok(Vec::new())),
        // Whoever changes a secret wants to see when the other one is no longer needed.
        Ok(Ok(Passed { secret })) => {
            let message = format!("secret {} of the list suited", secret + 1);
            Ok(Ok(vec![LogLine { level: LogLevel::Debug, message }]))
        }
        Ok(Err(Answered(response))) => {
            Ok(Err(SourceOutput { response: Some(response), ..SourceOutput::default() }))
        }
        Err(Refused::Request(rejection)) => Ok(Err(refused(request, rejection))),
        Err(Refused::Pending) => {
            Err(Fault::permanent("`verify.secret` names a keyring whose secret was not put in"))
        }
    }
}

fn accepted(decision: Decision, delivery: Delivery, mut log: Vec<LogLine>) -> SourceOutput {
    if !decision.dropped_headers.is_empty() {
        let names = decision.dropped_headers.join(", ");
        let message = format!("response headers that belong to the daemon were left out: {names}");
        log.push(LogLine { level: LogLevel::Warn, message });
    }
    let refused = match (&decision.event, &decision.response) {
        (None, Some(response)) if response.status >= 400 => Some(Refusal {
            reason: Reason::Policy.word().to_owned(),
            message: format!("the policy answered {}", response.status),
        }),
        (_, _) => None,
    };
    let event = decision.event.map(|event| Event {
        dedup_key: event.dedup_key.or(delivery.dedup_key),
        sync_id: event.sync_id.or(delivery.sync_id),
        ..event
    });
    SourceOutput {
        events: event.into_iter().collect(),
        response: decision.response,
        bodies: decision.bodies,
        refused,
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

/// A request that `verify` refuses.
fn refused(request: &HttpRequest, rejection: Rejection) -> SourceOutput {
    let Rejection { reason, status, code, public, message, header } = rejection;
    let log = vec![about(request, LogLevel::Warn, &message)];
    let mut output = refusal(status, code, &public, reason, message, log);
    if let (Some(response), Some((name, value))) = (&mut output.response, header) {
        response.headers.push((name.to_owned(), value.to_owned()));
    }
    output
}

fn refusal(
    status: u16,
    code: &str,
    public: &str,
    reason: Reason,
    message: String,
    log: Vec<LogLine>,
) -> SourceOutput {
    let body = json!({ "status": status, "code": code, "type": code, "message": public });
    let headers = vec![("Content-Type".to_owned(), "application/problem+json".to_owned())];
    let response = HttpResponse { status, headers, body: ResponseBody::Json(body) };
    let refused = Some(Refusal { reason: reason.word().to_owned(), message });
    SourceOutput { response: Some(response), refused, log, ..SourceOutput::default() }
}

/// A line about one request: who and how, never what.
fn about(request: &HttpRequest, level: LogLevel, message: &str) -> LogLine {
    let HttpRequest { method, peer, .. } = request;
    LogLine { level, message: format!("{message} ({method} from {peer})") }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
