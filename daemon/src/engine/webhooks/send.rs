//! One request to an endpoint, from what is stored to what it came to.
//!
//! The attempt is stored before anything else is told of it: after a crash in between it is made again
//! with the same id.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mortise_jq::Program;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Shared;
use super::definition::{LONGEST_HEADER, LONGEST_URL};
use super::envelope::{self, Opened};
use super::message;
use crate::configuration::secret_parts::with_parts;
use crate::egress::EgressError;
use crate::functions::pool::{SecretTexts, mask_texts};
use crate::lifecycle::attempts::Next;
use crate::lifecycle::delivery::{Answer, Verdict, after_attempt, judge, retry_after_ms};
use crate::lifecycle::webhook::Status;
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse, Redirects};
use crate::model::id::{WebhookEventId, WebhookId};
use crate::secrets::WebhookSecrets;
use crate::store::{AttemptRecord, DeliveryState, SettledDelivery, StoreError, WebhookRecord};

/// How much of an answer is kept.
const KEPT_OF_ANSWER: usize = 1024;
/// How much of it is read: what is masked must not be cut before it is found.
const READ_OF_ANSWER: usize = KEPT_OF_ANSWER + 2 * LONGEST_MASKED;
/// The longest text that is masked.
const LONGEST_MASKED: usize =
    if LONGEST_HEADER > LONGEST_URL { LONGEST_HEADER } else { LONGEST_URL };
/// What is shorter may be a word of every text.
const SHORTEST_MASKED: usize = 8;
/// How much of the answer to a challenge is read.
const LONGEST_ECHO: usize = 16 * 1024;

/// Which changes are wanted.
pub(super) enum Filter {
    /// All.
    None,
    /// Those for which it is true.
    Program(Program),
    /// It compiled when it was stored, and does not now: nothing may go out unfiltered.
    Broken,
}

/// A webhook as it is called.
pub struct Endpoint {
    pub(super) id: WebhookId,
    pub(super) record: WebhookRecord,
    pub(super) filter: Filter,
    secrets: WebhookSecrets,
    headers: Vec<(String, String)>,
    /// What an endpoint may repeat, and nobody may read.
    masks: SecretTexts,
}

impl Endpoint {
    /// Reads one, and opens its secrets.
    pub(super) fn read(shared: &Shared, id: WebhookId) -> Result<Found, StoreError> {
        let read = shared.store.read(|tables| {
            let Some(record) = tables.webhook(id)? else { return Ok(None) };
            Ok(Some((record, tables.envelope(id.0)?)))
        })?;
        let Some((record, sealed)) = read else { return Ok(Found::Gone) };
        let opened = match envelope::open(&shared.vault, id, sealed.as_deref()) {
            Some(opened) => opened,
            // It is sent nothing, and stays as it is.
            None if record.standing.status == Status::Inactive => Opened::default(),
            None => return Ok(Found::WithoutSecret),
        };
        let previous = opened.previous.clone().map(Zeroizing::new);
        let secrets = WebhookSecrets { current: Zeroizing::new(opened.secret.clone()), previous };
        let headers = opened.headers.iter().map(|(name, it)| (name.clone(), it.clone())).collect();
        let masks = masked_texts(&record.url, &secrets, &opened.headers);
        let filter = match record.filter.as_deref().map(Program::compile) {
            None => Filter::None,
            Some(Ok(program)) => Filter::Program(program),
            Some(Err(_)) => Filter::Broken,
        };
        Ok(Found::There(Box::new(Endpoint { id, record, filter, secrets, headers, masks })))
    }

    /// Why its events fail without an attempt.
    pub(super) fn not_sent(&self) -> String {
        let standing = &self.record.standing;
        let reason = standing.reason.as_deref().unwrap_or("it is switched off");
        format!("not sent: the webhook is {}: {reason}", standing.status.name())
    }

    fn request(
        &self,
        event: WebhookEventId,
        body: Bytes,
        now_ms: u64,
        timeout: Duration,
    ) -> OutgoingRequest {
        let mut secrets = self.secrets.clone();
        // Here and not where it was read, because it ends by itself.
        if self.record.previous_secret_until_ms.is_none_or(|until| until <= now_ms) {
            secrets.previous = None;
        }
        OutgoingRequest {
            method: "POST".to_owned(),
            url: self.record.url.clone(),
            headers: message::headers(event, now_ms, &body, &secrets, &self.headers),
            body,
            timeout,
            // Handed back, and judged as any other answer.
            redirects: Redirects::Manual,
        }
    }
}

/// What there is of a webhook.
pub(super) enum Found {
    There(Box<Endpoint>),
    /// It was deleted.
    Gone,
    /// It cannot be called as it is.
    WithoutSecret,
}

/// What a delivery came to.
pub(super) struct Sent {
    pub(super) event: u128,
    pub(super) first_attempt_ms: u64,
    pub(super) verdict: Option<Verdict>,
    /// Nothing when it is not queued any more.
    pub(super) next: Option<Next>,
    pub(super) stored: Result<(), StoreError>,
}

/// Sends a queued delivery once, and stores what came of it.
pub(super) async fn deliver(shared: &Shared, endpoint: &Endpoint, event: u128) -> Sent {
    let mut sent = Sent { event, first_attempt_ms: 0, verdict: None, next: None, stored: Ok(()) };
    let id = endpoint.id;
    let (record, body) = match shared.store.read(|tables| tables.delivery(id, event)) {
        Ok(Some(found)) if found.0.state == DeliveryState::Queued => found,
        // Somebody else has ended it.
        Ok(Some(_) | None) => return sent,
        Err(error) => {
            sent.stored = Err(error);
            return sent;
        }
    };
    let now_ms = shared.clock.now_ms();
    let began = Instant::now();
    let timeout = shared.settings.timeout;
    let request = endpoint.request(WebhookEventId(event), body, now_ms, timeout);
    let outcome =
        shared.egress.send_and_cut(request, &EgressRules::default(), READ_OF_ANSWER).await;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = answer_of(&outcome, shared.clock.now_ms());
    let verdict = judge(&answer);
    let ended_ms = shared.clock.now_ms();
    let (tried, next) = after_attempt(record.tried, &verdict, &shared.settings.pauses_ms, ended_ms);
    let attempt = attempt_of(&outcome, &verdict, now_ms, took_ms, &endpoint.masks);
    // Attempts of before it was queued again are not of this delivery.
    let mut attempts = record.attempts.iter().filter(|it| it.at_ms >= record.queued_ms);
    sent.first_attempt_ms = attempts.next().map_or(now_ms, |it| it.at_ms);
    let settled = SettledDelivery { attempt, tried, next };
    match shared.store.write(move |tables| tables.settle_delivery(id, event, &settled)).await {
        Ok(state) => sent.next = state.map(|_| next),
        Err(error) => sent.stored = Err(error),
    }
    sent.verdict = Some(verdict);
    sent
}

/// Asks an endpoint to echo a challenge.
pub(super) async fn challenge(
    shared: &Shared,
    endpoint: &Endpoint,
    challenge: &str,
) -> Result<(), String> {
    let now_ms = shared.clock.now_ms();
    let event = WebhookEventId(shared.new_event_id(now_ms));
    let body = message::challenge(event, endpoint.id, now_ms, challenge);
    let request = endpoint.request(event, body.into(), now_ms, shared.settings.timeout);
    match shared.egress.send_and_cut(request, &EgressRules::default(), LONGEST_ECHO).await {
        Ok(response) => message::echoes(response.status, &response.body, challenge),
        Err(error) => Err(explain(&error)),
    }
}

fn answer_of(outcome: &Result<OutgoingResponse, EgressError>, now_ms: u64) -> Answer {
    match outcome {
        Ok(response) => {
            let header = response.headers.iter().find(|(name, _)| name == "retry-after");
            let retry_after_ms = header.and_then(|(_, value)| retry_after_ms(value, now_ms));
            Answer::Status { status: response.status, retry_after_ms }
        }
        Err(error @ (EgressError::Refused(_) | EgressError::InvalidRequest(_))) => {
            Answer::Refused { reason: explain(error) }
        }
        Err(error) => Answer::None { reason: explain(error) },
    }
}

fn attempt_of(
    outcome: &Result<OutgoingResponse, EgressError>,
    verdict: &Verdict,
    at_ms: u64,
    took_ms: u64,
    masks: &SecretTexts,
) -> AttemptRecord {
    let error = match verdict {
        Verdict::Taken => None,
        Verdict::Throttled { pause_ms } => {
            Some(format!("it wants to be left alone for {} s", pause_ms / 1000))
        }
        Verdict::Gone => Some("answered 410: it wants nothing any more".to_owned()),
        Verdict::Failed { reason } => Some(reason.clone()),
    };
    let response = outcome.as_ref().ok();
    let status = response.map(|it| it.status);
    let answer = response.map(|it| kept(&it.body, masks)).unwrap_or_default();
    AttemptRecord { at_ms, took_ms, status, error, answer }
}

/// The beginning of an answer, without what was sent along in confidence: some endpoints repeat it.
fn kept(body: &[u8], masks: &SecretTexts) -> String {
    let mut answer = String::from_utf8_lossy(body).into_owned();
    mask_texts(std::iter::once(&mut answer), masks);
    if body.len() >= READ_OF_ANSWER {
        // Where it was cut off there may be the beginning of one, written in hex or plain.
        let longest = masks.iter().map(|it| it.len()).max().unwrap_or_default();
        answer.truncate(answer.floor_char_boundary(answer.len().saturating_sub(2 * longest)));
    }
    answer.truncate(answer.floor_char_boundary(KEPT_OF_ANSWER));
    answer
}

/// The URL, which lets in whoever knows it, values of headers, and the secrets; and the parts of all.
fn masked_texts(
    url: &str,
    secrets: &WebhookSecrets,
    headers: &BTreeMap<String, String>,
) -> SecretTexts {
    let values = headers.values().map(String::as_str).chain([url]);
    let secrets = std::iter::once(&secrets.current).chain(&secrets.previous).map(|it| it.as_str());
    let all = values.chain(secrets).filter(|it| it.len() >= SHORTEST_MASKED);
    with_parts(all.map(str::to_owned)).into()
}

fn explain(error: &EgressError) -> String {
    match error {
        EgressError::TimedOut { host, timeout } => {
            format!("{host} did not answer within {} s", timeout.as_secs())
        }
        EgressError::InvalidRequest(_)
        | EgressError::Refused(_)
        | EgressError::NoConnection { .. }
        | EgressError::Failed { .. }
        | EgressError::TooLarge { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_repeats_is_masked_before_it_is_cut() {
        let url = "https://x.example/webhooks/PathSecret?api_key=QuerySecret";
        let secrets =
            WebhookSecrets { current: Zeroizing::new("s3cr3t-of-it".to_owned()), previous: None };
        let headers = [
            ("authorization", "Bearer 0123456789abcdef"),
            ("x-login", "Basic b3BzOmh1bnRlcjItb3Bz"),
            ("x-team", "ops"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let masks = masked_texts(url, &secrets, &headers);
        let answer = kept(b"you sent s3cr3t-of-it, 0123456789abcdef and ops", &masks);
        assert!(!answer.contains("s3cr3t") && !answer.contains("0123456789"), "{answer}");
        assert!(answer.ends_with(" and ops"), "{answer}");
        let answer = kept(
            b"Cannot POST /webhooks/PathSecret?api_key=QuerySecret (PathSecret, QuerySecret), hunter2-ops",
            &masks,
        );
        assert_eq!(answer, "Cannot POST [secret] ([secret], [secret]), [secret]");
        let padding = "\u{e4}".repeat(KEPT_OF_ANSWER / 2 - 3);
        let answer = kept(format!("{padding}0123456789abcdef").as_bytes(), &masks);
        assert!(answer.len() <= KEPT_OF_ANSWER && !answer.contains("0123"), "{answer}");
    }
}
