//! Native presets: requests of known senders are verified and made events without a policy.
//!
//! `verify` of the configuration names a scheme and its secrets. A request is verified first, on
//! its raw bytes; only then is its body parsed, to find the event key and the delivery's id.
//! Nothing here reads a clock, keeps anything of a request, or says a secret.
//!
//! | module | owns |
//! |---|---|
//! | `schemes` | the table of senders: what they sign, where they name event and delivery |
//! | `config`, `members`, `schema` | what is configured, and all that is wrong with it |
//! | `signature`, `presented`, `content`, `keys`, `ed25519` | signatures: as presented, over what, by which key |
//! | `token`, `timestamp` | secrets sent in the clear; how old a request may be |
//! | `headers`, `rejection` | headers of one request; why it is refused, for the caller and for the log |
//! | `shape`, `selector`, `walk`, `document` | a verified body to a payload, event key, order and dedup key |
//! | `cloud_events`, `handshake` | CloudEvents in three modes; requests that only want an answer |

mod cloud_events;
mod config;
mod content;
mod document;
mod ed25519;
mod handshake;
mod headers;
mod keys;
mod members;
mod presented;
mod rejection;
mod schema;
mod schemes;
mod selector;
mod shape;
mod signature;
mod timestamp;
mod token;
mod walk;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors_tests;

use std::borrow::Cow;

use mortise_plugin::{Event, HttpRequest, HttpResponse, Payload};

pub(crate) use config::open;
pub(crate) use rejection::{Reason, Rejection};
pub(crate) use schema::{examples, schema};

use cloud_events::Mode;
use handshake::Handshake;
use headers::Headers;
use schemes::Answer;
use shape::Shape;
use signature::SignatureCheck;
use token::TokenCheck;

/// A compiled `verify`.
pub(crate) struct Verify {
    check: Check,
    shape: Shape,
    handshake: Handshake,
    cloud_events: CloudEvents,
    answer: Answer,
    /// Forms of this sender may hold the whole payload in one field.
    form_payload: bool,
}

/// How a request proves who sent it.
enum Check {
    Signature(SignatureCheck),
    Token(TokenCheck),
    /// A signature if there is one, a token in the clear otherwise.
    Either {
        signature: Option<SignatureCheck>,
        token: Option<TokenCheck>,
    },
    /// A secret is still a reference to a keyring: the manifest is being checked.
    Pending,
}

/// Whether requests are CloudEvents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloudEvents {
    /// Those that say so.
    Recognised,
    /// All.
    Required,
    /// None, whatever they say.
    Never,
}

/// What is known of the sender once a request is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Which of the configured secrets suited, from 0.
    pub(crate) secret: usize,
}

/// A request that needs no event.
pub(crate) struct Answered(pub(crate) HttpResponse);

/// What a verified request leads to.
pub(crate) enum Outcome {
    /// An answer, and nothing else.
    Answered(Answered),
    /// Events, and the answer if it is not the daemon's own.
    Events { events: Vec<Event>, bodies: Vec<Vec<u8>>, response: Option<HttpResponse> },
}

/// What the sender says about a delivery, for an event that a policy shapes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) dedup_key: Option<String>,
    pub(crate) sync_id: Option<String>,
}

/// Why there is no outcome.
pub(crate) enum Refused {
    /// The request does not deserve one.
    Request(Rejection),
    /// There is no secret to compare with.
    Pending,
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Refused {
        Refused::Request(rejection)
    }
}

impl Verify {
    /// Whether the request is from who it should be. `None`: it is one that needs no proof and is
    /// answered as it is.
    pub(crate) fn admit(
        &self,
        now_ms: u64,
        request: &HttpRequest,
        body: &[u8],
    ) -> Result<Result<Passed, Answered>, Refused> {
        let headers = Headers::new(&request.headers);
        if request.method == "OPTIONS" && self.cloud_events == CloudEvents::Required {
            return Ok(Err(Answered(handshake::cloud_events(headers)?)));
        }
        if request.method != "POST" {
            let allowed = match self.cloud_events {
                CloudEvents::Required => "POST, OPTIONS",
                CloudEvents::Recognised | CloudEvents::Never => "POST",
            };
            return Err(Rejection::method(&request.method, allowed).into());
        }
        let passed = match &self.check {
            Check::Signature(check) => check.verify(now_ms, headers, body)?,
            Check::Token(check) => check.verify(headers, &request.query_raw)?,
            Check::Either { signature: Some(check), token: None } => {
                check.verify(now_ms, headers, body)?
            }
            Check::Either { signature: Some(check), token: Some(_) } if check.concerns(headers) => {
                check.verify(now_ms, headers, body)?
            }
            Check::Either { token: Some(check), .. } => {
                check.verify(headers, &request.query_raw)?
            }
            Check::Pending | Check::Either { signature: None, token: None } => {
                return Err(Refused::Pending);
            }
        };
        Ok(Ok(passed))
    }

    /// Makes events of a request that was admitted.
    pub(crate) fn events(&self, request: &HttpRequest, body: &[u8]) -> Result<Outcome, Rejection> {
        let headers = Headers::new(&request.headers);
        if let Some(mode) = self.mode(headers)? {
            return self.cloud_events(mode, headers, body);
        }
        let text = document::read(headers, body, self.form_payload)?;
        let found = self.shape.walk(&text, "the body")?;
        if let Some(response) = self.handshake.answer(&found)? {
            return Ok(Outcome::Answered(Answered(response)));
        }
        let key = self.shape.event_key(headers, &found)?;
        let mut bodies = Vec::new();
        let event = Event {
            event_type: format!("custom:{key}"),
            payload: payload(text, &mut bodies),
            dedup_key: self.shape.dedup_key(headers, &found),
            sync_id: self.shape.sync_id(headers, &found)?,
        };
        let response = match self.answer {
            Answer::Ids => None,
            Answer::Empty => Some(handshake::empty(200)),
            Answer::Discord if self.handshake.is_discord_event(&found) => {
                Some(handshake::empty(204))
            }
            Answer::Discord => None,
        };
        Ok(Outcome::Events { events: vec![event], bodies, response })
    }

    /// What a policy beside this does not have to say; or a handshake that it need not know.
    pub(crate) fn delivery(
        &self,
        request: &HttpRequest,
        body: &[u8],
    ) -> Result<Result<Delivery, Answered>, Rejection> {
        let headers = Headers::new(&request.headers);
        if let Some(mode) = self.mode(headers)? {
            let outcome = self.cloud_events(mode, headers, body)?;
            let Outcome::Events { mut events, .. } = outcome else {
                return Ok(Ok(Delivery::default()));
            };
            // A policy makes one event of a batch: the key of none of its events would suit.
            let only = if events.len() == 1 { events.pop() } else { None };
            return Ok(Ok(only.map_or_else(Delivery::default, |it| Delivery {
                dedup_key: it.dedup_key,
                sync_id: it.sync_id,
            })));
        }
        if !self.shape.reads_body() {
            return Ok(Ok(Delivery {
                dedup_key: self.shape.dedup_key(headers, &walk::Found::default()),
                sync_id: self.shape.sync_id(headers, &walk::Found::default())?,
            }));
        }
        let text = document::read(headers, body, self.form_payload)?;
        let found = self.shape.walk(&text, "the body")?;
        if let Some(response) = self.handshake.answer(&found)? {
            return Ok(Err(Answered(response)));
        }
        Ok(Ok(Delivery {
            dedup_key: self.shape.dedup_key(headers, &found),
            sync_id: self.shape.sync_id(headers, &found)?,
        }))
    }

    fn mode(&self, headers: Headers<'_>) -> Result<Option<Mode>, Rejection> {
        match self.cloud_events {
            CloudEvents::Never => Ok(None),
            CloudEvents::Recognised => cloud_events::mode(headers),
            CloudEvents::Required => match cloud_events::mode(headers)? {
                Some(mode) => Ok(Some(mode)),
                None => Err(Rejection::body(
                    "only CloudEvents are taken here: with the header `ce-specversion`, or with the \
                     content type application/cloudevents+json or application/cloudevents-batch+json",
                )),
            },
        }
    }

    fn cloud_events(
        &self,
        mode: Mode,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<Outcome, Rejection> {
        let texts = cloud_events::read(mode, headers, body)?;
        let (mut events, mut bodies) = (Vec::with_capacity(texts.len()), Vec::new());
        for (at, text) in texts.into_iter().enumerate() {
            let place = match mode {
                Mode::Batch => format!("event {at} of the batch"),
                Mode::Binary | Mode::Structured => "the CloudEvent".to_owned(),
            };
            let found = self.shape.walk(&text, &place)?;
            let attributes = cloud_events::attributes(&text, &place)?;
            let key = match self.shape.own_event_key() {
                true => self.shape.event_key(headers, &found)?,
                false => shape::checked("`type`", attributes.kind.clone())?,
            };
            let dedup_key = match self.shape.own_dedup_key() {
                true => self.shape.dedup_key(headers, &found),
                false => Some(attributes.dedup_key()),
            };
            events.push(Event {
                event_type: format!("custom:{key}"),
                payload: payload(text, &mut bodies),
                dedup_key,
                sync_id: self.shape.sync_id(headers, &found)?,
            });
        }
        Ok(Outcome::Events { events, bodies, response: None })
    }

    /// Whether the event key is configured, which does nothing beside a policy.
    pub(crate) fn has_own_event_key(&self) -> bool {
        self.shape.own_event_key()
    }
}

fn payload(text: Cow<'_, [u8]>, bodies: &mut Vec<Vec<u8>>) -> Payload {
    match text {
        Cow::Borrowed(_) => Payload::Input,
        Cow::Owned(text) => {
            bodies.push(text);
            Payload::Body(bodies.len() - 1)
        }
    }
}
