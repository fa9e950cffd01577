//! One message, from what is stored to what the sink said.
//!
//! The attempt is stored before anything else is told of it: after a crash in between it is made again
//! with the same id.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mortise_plugin::{
    Delivery, FaultKind, Message as SinkMessage, MessageLevel, Problem, Receipt, SinkCall,
    SinkInput,
};
use serde_json::Value;
use tokio::time::Instant;

use super::Shared;
use super::connection::{Gate, NotOpened, Opened};
use crate::lifecycle::sending::Outcome;
use crate::model::event::Cause;
use crate::model::id::{DeliveryId, IntegrationId};
use crate::model::integration::Message;
use crate::model::occurrence::Level;
use crate::plugins::{
    CallError, EffectAnswer, EffectLimits, EffectRequest, OpenError, PerformEffect,
    call_with_effects,
};
use crate::routing::message::{document, together};
use crate::routing::template::cut;
use crate::store::{StoreError, TellingAttempt, TellingRecord};

/// How long one call of the plugin may take.
const CALL_MS: u64 = 2_000;
/// How long a message may take, with all that the plugin asks for: a command may take a minute.
const LIMITS: EffectLimits = EffectLimits { rounds: 6, deadline: Duration::from_secs(75) };
/// How long showing that a connection works may take.
const TEST_LIMITS: EffectLimits = EffectLimits { rounds: 6, deadline: Duration::from_secs(10) };
/// Characters that are kept of what went wrong.
const MOST_ERROR: usize = 500;
/// Characters of what a sink calls a message or a conversation.
const MOST_REFERENCE: usize = 1_000;

/// Does what a plugin asks for with what that is caused by, so that a message that comes back as an event
/// goes on with its chain.
struct Caused<'a> {
    inner: &'a dyn PerformEffect,
    cause: Cause,
}

impl PerformEffect for Caused<'_> {
    fn perform(
        &self,
        request: EffectRequest,
    ) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>> {
        self.inner.perform(EffectRequest { cause: Some(self.cause), ..request })
    }
}

/// What came of an attempt.
pub(super) struct Tried {
    pub(super) id: DeliveryId,
    pub(super) what: What,
}

pub(super) enum What {
    /// It was made.
    Made(Box<Made>),
    /// It is not queued any more.
    Gone,
    /// Nothing can be read.
    Store(StoreError),
}

pub(super) struct Made {
    pub(super) record: TellingRecord,
    pub(super) outcome: Outcome,
    pub(super) attempt: TellingAttempt,
    pub(super) thread: Option<String>,
    /// The connection was changed in the middle: it says nothing of the one that is there now.
    pub(super) was_cut: bool,
}

/// Hands a queued message to the sink once.
pub(super) async fn attempt(
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    integration: IntegrationId,
    id: DeliveryId,
) -> Tried {
    let what = match attempt_it(&shared, &gate, integration, id).await {
        Ok(what) => what,
        Err(error) => What::Store(error),
    };
    Tried { id, what }
}

async fn attempt_it(
    shared: &Shared,
    gate: &Gate,
    integration: IntegrationId,
    id: DeliveryId,
) -> Result<What, StoreError> {
    let Some(mut record) = shared.store.read(|tables| tables.telling(integration, id))? else {
        return Ok(What::Gone);
    };
    if record.gathers {
        let closed =
            shared.store.write(move |tables| tables.close_telling(integration, id)).await?;
        let Some(closed) = closed else { return Ok(What::Gone) };
        record = closed;
    }
    let (at_ms, began) = (shared.clock.now_ms(), Instant::now());
    let (mut answer, mut generation, mut was_cut) = (None, 0, false);
    let outcome = match gate.enter(shared, integration).await {
        Ok(mut connection) => {
            let opened = connection.opened.clone();
            generation = opened.generation;
            let (call, cause) = call_of(shared, integration, id, &record, &opened)?;
            let effects = Caused { inner: shared.effects.as_ref(), cause };
            let asked = call_with_effects(&opened.instance, call, Bytes::new(), &effects, LIMITS);
            let said = tokio::select! {
                said = asked => Some(said),
                // The connection is another one by now: nothing more may be sent with this one.
                () = connection.cut_off() => None,
            };
            was_cut = said.is_none();
            match said {
                None => Outcome::Transient {
                    reason: "it was cut off, because the integration was changed".to_owned(),
                },
                Some(Ok(output)) => {
                    answer = output.receipt.map(|it| Receipt {
                        message_id: it.message_id.map(|it| opened.secrets.text(&it)),
                        ..it
                    });
                    match &answer {
                        Some(_) => Outcome::Taken,
                        None => Outcome::Permanent {
                            reason: "the plugin answered without a receipt".to_owned(),
                        },
                    }
                }
                Some(Err(error)) => outcome_of(&error, &opened),
            }
        }
        Err(NotOpened::Gone) => return Ok(What::Gone),
        Err(NotOpened::Store(error)) => return Err(error),
        Err(error) => not_opened(&error),
    };
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Receipt { message_id, thread } = answer.unwrap_or_default();
    let attempt = TellingAttempt {
        at_ms,
        took_ms,
        status: if was_cut { "cut_off" } else { status(&outcome) }.to_owned(),
        error: outcome.reason().map(|it| cut(it, MOST_ERROR)),
        message_id: message_id.map(|it| cut(&it, MOST_REFERENCE)),
        generation,
    };
    // One that is too long to be kept is no good cut off.
    let thread = thread.filter(|it| it.len() <= MOST_REFERENCE);
    Ok(What::Made(Box::new(Made { record, outcome, attempt, thread, was_cut })))
}

fn call_of(
    shared: &Shared,
    integration: IntegrationId,
    id: DeliveryId,
    record: &TellingRecord,
    opened: &Opened,
) -> Result<(SinkCall, Cause), StoreError> {
    let (occurrences, thread, cause) = shared.store.read(|tables| {
        let mut occurrences: Vec<Value> = Vec::with_capacity(record.occurrences.len());
        let mut cause = Cause::default();
        for id in &record.occurrences {
            // An old one may be gone; what is said of it stays.
            let found = tables.occurrence(*id)?;
            let of_it = found.as_ref().map(|it| it.head.cause).unwrap_or_default();
            // The longest chain counts: a loop must not hide among others.
            if of_it.hops > cause.hops {
                cause = of_it;
            }
            occurrences.extend(found.map(|it| document(it.id, &it.head, &it.members)));
        }
        let thread = match &record.work {
            Some(work) if opened.threads => tables.telling_thread(integration, work)?,
            Some(_) | None => None,
        };
        Ok((occurrences, thread, cause))
    })?;
    let message = together(&record.trigger, &record.message, &record.titles, record.count);
    let delivery = Delivery {
        id: id.to_string(),
        attempt: record.attempt_count.saturating_add(1),
        trigger: record.trigger.to_string(),
        message: for_sink(message),
        occurrences,
        count: record.count,
        thread,
    };
    let input = SinkInput::Deliver(delivery);
    let call = SinkCall { now_ms: shared.clock.now_ms(), deadline_ms: CALL_MS, input };
    Ok((call, cause))
}

fn for_sink(message: Message) -> SinkMessage {
    let Message { title, text, level, fields } = message;
    let level = match level {
        Level::Info => MessageLevel::Info,
        Level::Success => MessageLevel::Success,
        Level::Warning => MessageLevel::Warning,
        Level::Error => MessageLevel::Error,
    };
    SinkMessage { title, text, level, fields, link: None }
}

/// What a call that brought no answer means for the message.
fn outcome_of(error: &CallError, opened: &Opened) -> Outcome {
    let reason = opened.secrets.text(&error.to_string());
    match error {
        CallError::Fault(fault) => match fault.kind {
            FaultKind::Config => {
                let mut reason = reason;
                let problems = fault.problems.iter().take(3).cloned().collect();
                for Problem { path, message, .. } in opened.secrets.problems(problems) {
                    reason.push_str(&format!("; {path}: {message}"));
                }
                Outcome::Config { reason }
            }
            FaultKind::Transient => match fault.retry_after_ms {
                Some(pause_ms) => Outcome::Throttled { pause_ms, reason },
                None => Outcome::Transient { reason },
            },
            FaultKind::Permanent | FaultKind::Unsupported => Outcome::Permanent { reason },
            // Whether it passes, nobody knows: its attempts are counted.
            FaultKind::Panicked | FaultKind::Unknown => Outcome::Transient { reason },
        },
        CallError::BadAnswer(_) | CallError::TooManyEffects(_) => Outcome::Permanent { reason },
        CallError::Busy
        | CallError::Stuck
        | CallError::Deadline(_)
        | CallError::OverallDeadline(_) => Outcome::Transient { reason },
    }
}

fn not_opened(error: &NotOpened) -> Outcome {
    let reason = error.to_string();
    match error {
        NotOpened::Plugin(OpenError::Config { problems, .. }) => {
            let problems: Vec<String> =
                problems.iter().take(3).map(|it| format!("{}: {}", it.path, it.message)).collect();
            Outcome::Config { reason: format!("{reason}: {}", problems.join("; ")) }
        }
        NotOpened::Plugin(OpenError::UnknownType { .. }) | NotOpened::Lost(_) => {
            Outcome::Config { reason }
        }
        NotOpened::Plugin(OpenError::Call(_) | OpenError::ThreadsLost { .. })
        | NotOpened::Gone
        | NotOpened::Store(_) => Outcome::Transient { reason },
    }
}

fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Taken => "taken",
        Outcome::Throttled { .. } => "throttled",
        Outcome::Transient { .. } => "transient",
        Outcome::Config { .. } => "config",
        Outcome::Permanent { .. } => "permanent",
    }
}

/// Shows that a connection works; an error says why it does not.
pub(super) async fn test(
    shared: &Shared,
    gate: &Gate,
    integration: IntegrationId,
) -> Result<(), String> {
    let mut connection = gate
        .enter(shared, integration)
        .await
        .map_err(|error| not_opened(&error).reason().unwrap_or_default().to_owned())?;
    let opened = connection.opened.clone();
    let input = SinkInput::Test {};
    let call = SinkCall { now_ms: shared.clock.now_ms(), deadline_ms: CALL_MS, input };
    let (effects, body) = (shared.effects.as_ref(), Bytes::new());
    let asked = call_with_effects(&opened.instance, call, body, effects, TEST_LIMITS);
    let said = tokio::select! {
        said = asked => said,
        () = connection.cut_off() => return Err("it was changed in the middle".to_owned()),
    };
    match said {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = outcome_of(&error, &opened);
            Err(cut(reason.reason().unwrap_or("it failed"), MOST_ERROR))
        }
    }
}
