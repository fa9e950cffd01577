//! Recording of requests that reach a trigger URL: the next few, for whoever asked for them.
//!
//! Owns when one is kept, and what of it. A source that records nothing pays one relaxed load per
//! request; one that does hands a copy to the writer after the answer was decided, and waits for
//! nothing. Must never keep a secret of the source, or what is one by its name ([`mask`]).

mod mask;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use mortise_plugin::HttpRequest;
use sha2::{Digest, Sha256};
use tracing::warn;

pub use mask::mask_url;

use super::intake::{IntakeError, Taken};
use super::routes::OpenSource;
use super::source_log::SourceLogs;
use crate::model::recording::{RecordedRequest, RequestOutcome};
use crate::store::{MOST_BODY_BYTES, Store, StoreError};

/// How many more requests of a source are recorded. The store knows it too, and has the last word.
#[derive(Debug, Default)]
pub struct Recorder(AtomicU32);

impl Recorder {
    /// Whether any is. All that a source pays that records nothing.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// From now on so many.
    pub fn set(&self, left: u32) {
        self.0.store(left, Ordering::Relaxed);
    }

    fn take_one(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Goes on where recording stood when the daemon ended.
pub fn recover(store: &Store, logs: &SourceLogs) -> Result<(), StoreError> {
    for (source, left) in store.read(|tables| tables.wanted_recordings())? {
        logs.recorder(source).set(left);
    }
    Ok(())
}

/// A request that is wanted, until it is known what became of it.
pub struct Wanted {
    open: Arc<OpenSource>,
    request: HttpRequest,
    body: Bytes,
    received_ms: u64,
}

impl Wanted {
    pub(super) fn new(
        open: Arc<OpenSource>,
        request: HttpRequest,
        body: Bytes,
        received_ms: u64,
    ) -> Wanted {
        Wanted { open, request, body, received_ms }
    }

    /// Keeps it, if it is wanted still. Nobody waits for the disk.
    pub fn keep(self, store: &Arc<Store>, became: Became) {
        let recorder = self.open.recorder.clone();
        if !store.has_room() || !recorder.take_one() {
            return;
        }
        let source = self.open.route.source;
        let (recorded, body) = self.recorded(became);
        let written =
            store.write(move |tables| tables.keep_recorded(source, &recorded, &body).map(|_| ()));
        tokio::spawn(async move {
            if let Err(error) = written.await {
                recorder.give_back();
                warn!(%source, %error, "a request could not be recorded");
            }
        });
    }

    fn recorded(self, became: Became) -> (RecordedRequest, Bytes) {
        let masks = &self.open.masks;
        let mut headers = self.request.headers;
        // The server has lost their order, but not that of those with the same name.
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (headers, masked_headers) = mask::headers(&headers, masks);
        let (query, masked_parameters) = mask::query(&self.request.query_raw, masks);
        let is_cut = self.body.len() > MOST_BODY_BYTES;
        let recorded = RecordedRequest {
            received_ms: self.received_ms,
            method: self.request.method,
            query,
            headers,
            peer: self.request.peer,
            masked: masked_headers.into_iter().chain(masked_parameters).collect(),
            body_bytes: self.body.len() as u64,
            cut_sha256: is_cut.then(|| hex::encode(Sha256::digest(&self.body))),
            outcome: became.outcome,
            status: became.status,
            reason: became.reason,
            message: became.message.map(|it| masks.mask(&it)),
            events: became.events,
        };
        let kept = self.body.len().min(MOST_BODY_BYTES);
        (recorded, self.body.slice(..kept))
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Became {
    outcome: RequestOutcome,
    status: u16,
    reason: Option<String>,
    message: Option<String>,
    events: Vec<crate::model::id::EventId>,
}

impl Became {
    /// What the intake made of it; what the sender is told is known later.
    pub fn of(taken: &Result<Taken, IntakeError>) -> Became {
        match taken {
            Ok(taken) => {
                let status = taken.response.as_ref().map(|it| it.status);
                let (reason, message) = match &taken.refused {
                    Some(it) => (Some(it.reason.clone()), Some(it.message.clone())),
                    None => (None, None),
                };
                Became {
                    outcome: RequestOutcome::of(
                        !taken.events.is_empty(),
                        taken.refused.is_some(),
                        status,
                    ),
                    status: 0,
                    reason,
                    message,
                    events: taken.events.iter().map(|(id, _)| *id).collect(),
                }
            }
            Err(error) => Became {
                outcome: RequestOutcome::Failed,
                status: 0,
                reason: None,
                message: Some(error.to_string()),
                events: Vec::new(),
            },
        }
    }

    /// With what the sender is told.
    pub fn answered(self, status: u16) -> Became {
        Became { status, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_taken_than_are_wanted() {
        let recorder = Recorder::default();
        assert!(!recorder.is_on() && !recorder.take_one());
        recorder.set(2);
        assert!(recorder.take_one() && recorder.take_one() && !recorder.take_one());
        recorder.give_back();
        assert!(recorder.is_on() && recorder.take_one() && !recorder.is_on());
    }

    #[test]
    fn what_the_intake_refuses_has_failed() {
        let became = Became::of(&Err(IntakeError::Busy)).answered(503);
        assert_eq!((became.outcome, became.status), (RequestOutcome::Failed, 503));
        assert!(became.message.is_some_and(|it| it.contains("try again later")));
    }
}
