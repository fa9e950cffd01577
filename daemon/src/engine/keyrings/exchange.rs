//! Requests to external systems: sent on the engine's own threads, so that one that was begun is
//! finished whoever stops waiting for it.

use std::time::Duration;

use bytes::Bytes;

use super::Keyrings;
use crate::connections::request::{Request, whereabouts};
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse, Redirects};

/// How long an external system may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What came back.
pub(super) struct Answer {
    /// Such as `POST at login.example.com`.
    pub(super) whereabouts: String,
    pub(super) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// Nothing did.
pub(super) struct NoAnswer {
    /// Such as `POST at login.example.com: no complete response within 20000 ms`.
    pub(super) message: String,
    /// Whether the same request may work later.
    pub(super) is_transient: bool,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The seconds that the other side asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.trim().parse().ok()
    }
}

impl Keyrings {
    /// Makes one request. Redirects are not followed: they would take secrets elsewhere.
    pub(super) async fn exchange(&self, request: Request) -> Result<Answer, NoAnswer> {
        let whereabouts = whereabouts(&request);
        let failed = |message: String, is_transient| NoAnswer {
            message: format!("{whereabouts}: {message}"),
            is_transient,
        };
        let Request { method, url, headers, body, .. } = request;
        let outgoing = OutgoingRequest {
            method,
            url: url.reveal().to_owned(),
            headers: headers
                .iter()
                .map(|(name, it)| (name.clone(), it.reveal().to_owned()))
                .collect(),
            body: Bytes::copy_from_slice(body.reveal().as_bytes()),
            timeout: TIMEOUT,
            redirects: Redirects::Manual,
        };
        let egress = self.0.parts.egress.clone();
        let sent = self
            .0
            .parts
            .runtime
            .spawn(async move { egress.send(outgoing, &EgressRules::default()).await });
        match sent.await {
            Ok(Ok(response)) => {
                let OutgoingResponse { status, headers, body, .. } = response;
                Ok(Answer { whereabouts, status, headers, body })
            }
            Ok(Err(error)) => Err(failed(error.to_string(), error.is_transient())),
            Err(_) => Err(failed("the daemon is stopping".to_owned(), true)),
        }
    }
}
