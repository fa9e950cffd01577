//! Errors of the API: `application/problem+json` (RFC 9457) with a stable `code`, and the members
//! `type` and `message` that callers written for the seeds' platform read.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::engine::intake::IntakeError;
use crate::manifest::Problem;
use crate::store::StoreError;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// An exhaustive list of all error codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All of them, for documents and tests.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The stable text.
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The HTTP status that it comes with.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// What it means, for people.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request is not what the call takes.
    BadRequest = "bad_request", 400, "the request is not what this call takes";
    /// The body is not JSON.
    InvalidJson = "invalid_json", 400, "the body is no valid JSON";
    /// No token, or none that is known.
    Unauthenticated = "unauthenticated", 401, "a valid token is needed";
    /// The token does not allow it.
    Forbidden = "forbidden", 403, "the caller has no right to this";
    /// There is no such thing.
    NotFound = "not_found", 404, "there is no such thing";
    /// The method is not allowed here.
    MethodNotAllowed = "method_not_allowed", 405, "this method is not allowed here";
    /// It took too long to send the request.
    RequestTimeout = "request_timeout", 408, "the request took too long to arrive";
    /// It contradicts what is there.
    Conflict = "conflict", 409, "this contradicts the present state";
    /// The key belongs to another call.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "this key was used for another call";
    /// A call with the same key has made it, and its answer held a secret.
    AlreadyCreated = "already_created", 409, "a call with this key has made it already";
    /// A call with the same key was carried out, and its answer is lost.
    AlreadyDone = "already_done", 409, "a call with this key was carried out already";
    /// A call with the same key began, and nobody knows how it ended.
    OutcomeUnknown = "outcome_unknown", 409, "a call with this key began, and how it ended is not known";
    /// A call with the same key is being carried out.
    InProgress = "in_progress", 409, "a call with this key is being carried out";
    /// An event with the same key is pending.
    AlreadyScheduled = "already_scheduled", 409, "an event with this key is pending";
    /// The body is too large.
    TooLarge = "too_large", 413, "the body is larger than allowed";
    /// A part of a file that it has not.
    RangeNotSatisfiable = "range_not_satisfiable", 416, "the file has no such part";
    /// What was uploaded cannot be used.
    Invalid = "invalid", 422, "what was sent cannot be used";
    /// Too much of it.
    TooManyRequests = "too_many_requests", 429, "too many requests";
    /// Something has to be configured first.
    NotReady = "not_ready", 422, "something has to be configured first";
    /// A hook of the snap-in said no.
    HookRefused = "hook_refused", 422, "a hook of the snap-in refused";
    /// A mistake of the daemon.
    Internal = "internal", 500, "the daemon failed";
    /// What the snap-in's author wrote failed.
    SourceFailed = "source_failed", 500, "the event source failed";
    /// Not at the moment.
    Unavailable = "unavailable", 503, "not possible at the moment";
    /// The disk is full.
    DiskFull = "disk_full", 507, "there is no room left on the disk";
    /// A chain of causes has become too long.
    ChainTooLong = "chain_too_long", 508, "this event is caused by a loop";
}

/// An answer that is an error.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    members: Map<String, Value>,
    retry_after_seconds: Option<u32>,
    /// Whether the audit log has a row of the call that it ended.
    is_audited: bool,
    /// Whether what was asked may still be done, by somebody who did not answer in time.
    is_unfinished: bool,
}

impl ApiError {
    /// An error with a message for whoever has to act.
    pub fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            message: message.into(),
            members: Map::new(),
            retry_after_seconds: match code {
                Code::Unavailable | Code::TooManyRequests | Code::InProgress => Some(1),
                Code::DiskFull => Some(30),
                _ => None,
            },
            is_audited: false,
            is_unfinished: false,
        }
    }

    /// The audit log has it, and whoever counts refusals need not.
    pub(super) fn audited(self) -> ApiError {
        ApiError { is_audited: true, ..self }
    }

    /// Nobody answered in time, and it may still be done.
    pub(super) fn unfinished(self) -> ApiError {
        ApiError { is_unfinished: true, ..self }
    }

    /// Whether it may still be done.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Whether the audit log has it.
    pub(super) fn is_audited(&self) -> bool {
        self.is_audited
    }

    /// Something that is not there.
    pub fn not_found(what: &str, name: &str) -> ApiError {
        ApiError::new(Code::NotFound, format!("there is no {what} `{name}`"))
    }

    /// A field that is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> ApiError {
        ApiError::new(Code::BadRequest, message).with("field", json!(field))
    }

    /// Something that did not answer in time.
    pub fn busy(what: &str) -> ApiError {
        ApiError::new(Code::Unavailable, format!("{what} did not answer in time; try again"))
    }

    /// A manifest or archive with everything that is wrong with it.
    pub fn problems(message: impl Into<String>, problems: &[Problem]) -> ApiError {
        ApiError::new(Code::Invalid, message).with("problems", json!(problems))
    }

    /// What callers can tell errors apart by.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A member of the answer beside code and message.
    #[cfg(test)]
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Lists things under a name of their own.
    pub fn listing(self, name: &str, things: &impl serde::Serialize) -> ApiError {
        self.with(name, json!(things))
    }

    /// Adds a member to the answer.
    pub(super) fn with(mut self, name: &str, value: Value) -> ApiError {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Says when it is worth another try.
    pub(super) fn retry_after(self, seconds: u32) -> ApiError {
        ApiError { retry_after_seconds: Some(seconds), ..self }
    }

    /// Says what is allowed.
    pub fn allowing(self, allowed: &[&str]) -> ApiError {
        self.with("allowed", json!(allowed))
    }

    /// The response.
    pub fn respond(&self) -> HttpResponse {
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({
            "type": self.code.text(),
            "title": self.code.title(),
            "status": self.code.status(),
            "code": self.code.text(),
            "detail": self.message,
            "message": self.message,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(self.members.clone());
        }
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header(("Retry-After", seconds.to_string()));
        }
        if self.code == Code::Unauthenticated {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.content_type("application/problem+json").body(body.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let message = error.to_string();
        match error {
            StoreError::Full => ApiError::new(Code::DiskFull, message),
            StoreError::Io(_) | StoreError::Unavailable => {
                ApiError::new(Code::Unavailable, message)
            }
            StoreError::Corrupt(_) | StoreError::TooNew { .. } | StoreError::Panicked(_) => {
                tracing::error!(error = message, "a call failed");
                ApiError::new(Code::Internal, message)
            }
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> ApiError {
        let message = error.to_string();
        match error {
            IntakeError::NoSuchSource => ApiError::new(Code::NotFound, message),
            IntakeError::QueueFull { .. }
            | IntakeError::Busy
            | IntakeError::TimedOut(_)
            | IntakeError::Unavailable(_) => ApiError::new(Code::Unavailable, message),
            IntakeError::Broken(_) => ApiError::new(Code::SourceFailed, message),
            IntakeError::Unsupported(_) => ApiError::new(Code::BadRequest, message),
            IntakeError::Refused(_) => ApiError::new(Code::Invalid, message),
            IntakeError::KeyPending { .. } => ApiError::new(Code::AlreadyScheduled, message),
            IntakeError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_say_what_they_mean() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|it| it.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()) && !code.title().is_empty());
        }
    }
}
