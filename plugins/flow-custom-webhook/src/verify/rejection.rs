//! Why a request is refused: a word for counters, little for the caller, all for the log.
//!
//! Whoever is not verified learns nothing that helps to forge; whoever is verified is told what is
//! wrong with the body. Messages name headers and clocks, never a secret or a signature.

use std::borrow::Cow;

/// What counters group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The header of the signature, or one that is signed with it, is not there.
    MissingSignature,
    /// No configured secret makes the signature.
    BadSignature,
    /// The signature is right, and too old or from the future.
    StaleTimestamp,
    /// There is no token.
    MissingToken,
    /// There is a token, and it is another one.
    BadToken,
    /// What was sent is not what the scheme or its type says.
    Malformed,
    /// Neither POST nor a handshake.
    MethodNotAllowed,
    /// A policy answered with an error.
    Policy,
    /// A policy has nothing for the request.
    Undefined,
    /// A policy failed.
    PolicyFailed,
    /// A policy cannot be asked: the body is not what its type says.
    BadRequest,
}

impl Reason {
    /// As counters name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Reason::MissingSignature => "missing_signature",
            Reason::BadSignature => "bad_signature",
            Reason::StaleTimestamp => "stale_timestamp",
            Reason::MissingToken => "missing_token",
            Reason::BadToken => "bad_token",
            Reason::Malformed => "malformed",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::Policy => "policy",
            Reason::Undefined => "undefined",
            Reason::PolicyFailed => "policy_failed",
            Reason::BadRequest => "bad_request",
        }
    }
}

/// A refused request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reason: Reason,
    pub(crate) status: u16,
    /// The stable code of the answer.
    pub(crate) code: &'static str,
    /// For the caller.
    pub(crate) public: Cow<'static, str>,
    /// For the owner of the source.
    pub(crate) message: String,
    /// A header of the answer.
    pub(crate) header: Option<(&'static str, &'static str)>,
}

impl Rejection {
    /// Not from who it should be.
    pub(super) fn unauthenticated(reason: Reason, message: impl Into<String>) -> Rejection {
        Rejection {
            reason,
            status: 401,
            code: "unauthenticated",
            public: "the request is not authenticated".into(),
            message: message.into(),
            header: None,
        }
    }

    /// A signature or timestamp that cannot be one.
    pub(super) fn malformed(message: impl Into<String>) -> Rejection {
        Rejection {
            reason: Reason::Malformed,
            status: 400,
            code: "bad_request",
            public: "the request is not understood".into(),
            message: message.into(),
            header: None,
        }
    }

    /// A body of a verified sender that cannot be taken; the sender is told why.
    pub(super) fn body(message: impl Into<String>) -> Rejection {
        let message = message.into();
        Rejection { public: message.clone().into(), ..Rejection::malformed(message) }
    }

    /// A method that is not for events.
    pub(crate) fn method(method: &str, allowed: &'static str) -> Rejection {
        let method: String = method.chars().take(16).filter(char::is_ascii_graphic).collect();
        Rejection {
            reason: Reason::MethodNotAllowed,
            status: 405,
            code: "method_not_allowed",
            public: format!("this takes {allowed}").into(),
            message: format!("the method {method} is not taken, only {allowed}"),
            header: Some(("Allow", allowed)),
        }
    }
}
