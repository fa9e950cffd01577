//! Intake: an input at a source becomes durable events, and only then an answer (design §3, 1–3).
//!
//! This is the hot path. It reads a snapshot, calls the plugin, hands one operation to the writer
//! and waits for the commit; it never waits on an actor. When the routes have changed meanwhile the
//! writer says so, nothing was stored, and the whole way is gone again with the new ones.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use mortise_plugin::{
    Event, HttpRequest, HttpResponse, LogLevel, Payload, Refusal, SourceCall, SourceIds,
    SourceInput, SourceOutput,
};
use serde::de::IgnoredAny;

use super::dispatcher::{Dispatcher, EventAtHand, QueuedRun};
use super::invocation::too_large;
use super::recording::Wanted;
use super::refusals::Refused;
use super::routes::{OpenSource, Routes};
use super::source_counts::Failure;
use super::source_log::{OpenState, SourceLogs};
use crate::clock::Clock;
use crate::model::event::{Cause, DEV_OID, MOST_PAYLOAD_BYTES};
use crate::model::id::{EventId, SourceId};
use crate::plugins::{CallError, EffectLimits, PerformEffect, call_with_effects};
use crate::routing::Route;
use crate::store::{
    AcceptEvents, Acceptance, FromSchedule, NewEvent, PlannedRun, ReadChanges, Store, StoreError,
    TimerRecord,
};

/// What a plugin may take for one input.
pub const CALL_DEADLINE: Duration = Duration::from_secs(2);
/// Effects that a plugin may ask for on the way to one answer.
const EFFECTS: EffectLimits = EffectLimits { rounds: 4, deadline: Duration::from_secs(10) };
/// How often the way is gone again when routes change.
pub(super) const MOST_ROUNDS: usize = 5;
/// How long a changed route may take to be published.
pub(super) const PUBLICATION: Duration = Duration::from_millis(500);

/// What came of an input.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The source that took it.
    pub source: SourceId,
    /// The events that it led to, in order; with whether each was stored before.
    pub events: Vec<(EventId, bool)>,
    /// Why there is no event, when the plugin says so. Of a request it may hold secrets of the source.
    pub refused: Option<Refusal>,
    /// The plugin's own answer, for an HTTP request.
    pub response: Option<HttpResponse>,
    /// Bodies that the answer refers to.
    pub bodies: Vec<Vec<u8>>,
}

/// Why nothing was taken. Nothing of the input was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    /// No source with that token or id takes events: unknown, paused, blocked, or not activated.
    #[error("no event source takes requests here")]
    NoSuchSource,
    /// Too many runs wait.
    #[error("{waiting} runs of this snap-in are waiting already; try again later")]
    QueueFull {
        /// How many.
        waiting: usize,
    },
    /// Too many requests wait for plugins.
    #[error("too many requests are being worked on; try again later")]
    Busy,
    /// The plugin did not answer in time.
    #[error("the source could not answer: {0}")]
    TimedOut(String),
    /// It failed in a way that may pass.
    #[error("the source could not answer: {0}")]
    Unavailable(String),
    /// The source is wrong, not the request: its policy failed, its answer was unusable.
    #[error("the source failed: {0}")]
    Broken(String),
    /// The plugin does not take this kind of input.
    #[error("the source does not take this: {0}")]
    Unsupported(String),
    /// The plugin made no event of what somebody publishes, and says why.
    #[error("the source refuses this: {0}")]
    Refused(String),
    /// An event with the key that it was given is pending.
    #[error("an event with this key is pending")]
    KeyPending {
        /// When that one is due.
        due_ms: u64,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntakeError {
    /// What it is counted as; there is nobody to count for when the source takes no events.
    pub fn failure(&self) -> Option<Failure> {
        Some(match self {
            // Whoever asked for it twice is told so; what is refused is counted by its reason.
            IntakeError::NoSuchSource
            | IntakeError::KeyPending { .. }
            | IntakeError::Refused(_) => return None,
            IntakeError::QueueFull { .. } => Failure::QueueFull,
            IntakeError::Busy => Failure::Busy,
            IntakeError::TimedOut(_) => Failure::TimedOut,
            IntakeError::Unavailable(_) => Failure::Unavailable,
            IntakeError::Broken(_) => Failure::Source,
            IntakeError::Unsupported(_) => Failure::Unsupported,
            IntakeError::Store(StoreError::Full) => Failure::DiskFull,
            IntakeError::Store(_) => Failure::Store,
        })
    }
}

/// Takes inputs in.
pub struct Intake {
    /// What is open.
    pub routes: Arc<Routes>,
    /// Where sources stand that are not open.
    pub source_logs: Arc<SourceLogs>,
    /// Where events go.
    pub store: Arc<Store>,
    /// Who is told of queued runs.
    pub dispatcher: Dispatcher,
    /// Who performs what plugins ask for.
    pub effects: Arc<dyn PerformEffect>,
    /// Wall time.
    pub clock: Clock,
    /// Runs of one snap-in that may wait.
    pub most_queued: usize,
}

impl Intake {
    /// Takes a request to a trigger URL. In `wanted` comes the request itself when it is recorded.
    pub async fn http(
        &self,
        token: &str,
        request: HttpRequest,
        body: Bytes,
        cause: Cause,
        wanted: &mut Option<Wanted>,
    ) -> Result<Taken, IntakeError> {
        let recorded = OnceLock::new();
        let find = || {
            let open = self.routes.by_token(token)?;
            if open.recorder.is_on() {
                recorded.get_or_init(|| (open.clone(), self.clock.now_ms()));
            }
            Some(open)
        };
        let idempotency_key = idempotency_key(&request);
        let origin = Origin { cause, idempotency_key, scheduled: FromSchedule::No };
        let input = SourceInput::Http(request);
        let taken = self.take(find, &input, &body, origin).await;
        if let (Some((open, received_ms)), SourceInput::Http(request)) =
            (recorded.into_inner(), input)
        {
            *wanted = Some(Wanted::new(open, request, body, received_ms));
        }
        match taken {
            Err(IntakeError::NoSuchSource) => Err(self.why_closed(token)?),
            other => other,
        }
    }

    /// Takes a payload that somebody publishes by hand; once, when he has a key for it.
    pub async fn publish(
        &self,
        source: SourceId,
        event_type: String,
        payload: Bytes,
        cause: Cause,
        idempotency_key: Option<String>,
    ) -> Result<Taken, IntakeError> {
        let find = || self.routes.by_id(source);
        let input = SourceInput::Published { event_type };
        let origin = Origin { cause, idempotency_key, scheduled: FromSchedule::No };
        published(self.take(find, &input, &payload, origin).await?)
    }

    /// The same under a key, which a pending event may have.
    pub(super) async fn publish_keyed(
        &self,
        source: SourceId,
        event_type: String,
        payload: Bytes,
        cause: Cause,
        scheduled: FromSchedule,
    ) -> Result<Taken, IntakeError> {
        let find = || self.routes.by_id(source);
        let origin = Origin { cause, idempotency_key: None, scheduled };
        let input = SourceInput::Published { event_type };
        published(self.take(find, &input, &payload, origin).await?)
    }

    /// Whether a source that is not open will be in a moment: a sender that is told 404 may give up
    /// for good. Right after a start, policies are still being compiled.
    fn why_closed(&self, token: &str) -> Result<IntakeError, StoreError> {
        let found =
            self.store.read(|tables| tables.open_source_by_token(token, self.clock.now_ms()))?;
        let Some(source) = found else { return Ok(IntakeError::NoSuchSource) };
        let state = self.source_logs.open_state(source).borrow().clone();
        Ok(match state {
            OpenState::Opening | OpenState::Open => {
                IntakeError::Unavailable("it is being opened; try again".to_owned())
            }
            OpenState::Closed | OpenState::Failed(_) => IntakeError::NoSuchSource,
        })
    }

    async fn take(
        &self,
        find: impl Fn() -> Option<Arc<OpenSource>>,
        input: &SourceInput,
        body: &Bytes,
        origin: Origin,
    ) -> Result<Taken, IntakeError> {
        let mut last = None;
        for _ in 0..MOST_ROUNDS {
            let source = find().ok_or(IntakeError::NoSuchSource)?;
            match self.take_once(&source, input, body, &origin).await {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) => self.routes.newer_than(&source, PUBLICATION).await,
                Err(error) => {
                    source.counts.failed_with(&error);
                    return Err(error);
                }
            }
            last = Some(source);
        }
        let error = IntakeError::Unavailable("its snap-in is being changed; try again".to_owned());
        if let Some(source) = last {
            source.counts.failed_with(&error);
        }
        Err(error)
    }

    /// Takes an input as its source is now; nothing, when it is not any more what was planned with.
    async fn take_once(
        &self,
        source: &OpenSource,
        input: &SourceInput,
        body: &Bytes,
        origin: &Origin,
    ) -> Result<Option<Taken>, IntakeError> {
        self.check_bounds(source)?;
        let answer = self.call(source, input.clone(), body.clone()).await;
        let mut output = answer.map_err(|error| match input {
            SourceInput::Published { .. } => not_published(error),
            SourceInput::Http(_)
            | SourceInput::Mail(_)
            | SourceInput::Tick(_)
            | SourceInput::Object(_)
            | SourceInput::Poll(_)
            | SourceInput::Response { .. }
            | SourceInput::Check {} => failed(error),
        })?;
        let route = &source.route;
        let mut events = self.planned(source, &output, body)?;
        if let Some(key) = &origin.idempotency_key {
            dedup_by(key, &mut events);
        }
        if events.is_empty() {
            let from = Whence::of(input);
            source.without_event(from, &output, self.clock.now_ms());
            // Floods are refused here, and looking for secrets costs more than all else the daemon
            // does with one: whoever sent a request is not told, and its recording looks itself.
            if let Some(refusal) = output.refused.as_mut().filter(|_| !from.is_request) {
                refusal.message = source.masks.mask(&refusal.message);
            }
            return Ok(Some(taken(route.source, Vec::new(), output)));
        }
        let scheduled = origin.scheduled.clone();
        Ok(match self.accept(source, events, origin.cause, None, scheduled, None).await? {
            Acceptance::Stored(stored) => {
                let events = stored.iter().map(|it| (it.id, it.duplicate)).collect();
                Some(taken(route.source, events, output))
            }
            Acceptance::Stale => None,
            Acceptance::KeyPending { due_ms } => return Err(IntakeError::KeyPending { due_ms }),
        })
    }

    /// A request was turned away before anybody looked what it is: too large, cut off, of a method
    /// that is not taken. It counts as refused, if a source takes requests there.
    pub fn turned_away(&self, token: &str, refused: Refused<'_>) {
        if let Some(source) = self.routes.by_token(token) {
            source.refused(refused, self.clock.now_ms());
        }
    }

    /// A request failed, and was answered with this. It is counted already.
    pub fn not_answered(&self, token: &str, refused: Refused<'_>) {
        if let Some(source) = self.routes.by_token(token) {
            source.refusals.add(refused, &source.masks, self.clock.now_ms());
        }
    }

    pub(super) fn check_bounds(&self, source: &OpenSource) -> Result<(), IntakeError> {
        if !self.store.has_room() {
            return Err(StoreError::Full.into());
        }
        let waiting = source.depth.load(Ordering::Relaxed);
        if waiting >= self.most_queued {
            return Err(IntakeError::QueueFull { waiting });
        }
        Ok(())
    }

    pub(super) async fn call(
        &self,
        source: &OpenSource,
        input: SourceInput,
        body: Bytes,
    ) -> Result<SourceOutput, CallError> {
        let now_ms = self.clock.now_ms();
        let deadline_ms = u64::try_from(CALL_DEADLINE.as_millis()).unwrap_or(u64::MAX);
        let ids = SourceIds {
            event_source_id: Some(source.route.source.to_string()),
            dev_oid: Some(DEV_OID.to_owned()),
        };
        let asked = Whence::of(&input).asked;
        let call = SourceCall { now_ms, deadline_ms, source: ids, input };
        let answer =
            call_with_effects(&source.instance, call, body, self.effects.as_ref(), EFFECTS).await;
        match answer {
            Ok(output) => {
                for line in &output.log {
                    // Strangers cause these lines: the journal gets each thing once in a row.
                    let said = source.log.say(now_ms, line.level, &line.message, &source.masks);
                    if let Some(said) = said {
                        let id = source.route.source;
                        tracing::info!(source = %id, said, "an event source says");
                    }
                }
                Ok(output)
            }
            Err(mut error) => {
                if let CallError::Fault(fault) = &mut error {
                    fault.message = source.masks.mask(&fault.message);
                }
                if !matches!(error, CallError::Busy) {
                    let message = format!("a {asked} could not be answered: {error}");
                    if source.log.add(now_ms, LogLevel::Error, &message) {
                        let id = source.route.source;
                        tracing::warn!(source = %id, %error, "a plugin call failed");
                    }
                }
                Err(error)
            }
        }
    }

    /// What the plugin's events lead to.
    pub(super) fn planned(
        &self,
        source: &OpenSource,
        output: &SourceOutput,
        body: &Bytes,
    ) -> Result<Vec<NewEvent>, IntakeError> {
        let now_ms = self.clock.now_ms();
        let events = planned(&source.route, output, body).map_err(|problem| {
            source.log.add(now_ms, LogLevel::Error, &problem);
            IntakeError::Broken(problem)
        })?;
        for event in events.iter().filter(|it| it.payload.len() > MOST_PAYLOAD_BYTES) {
            source.log.add(now_ms, LogLevel::Error, &too_large(event.payload.len()));
        }
        Ok(events)
    }

    pub(super) async fn accept(
        &self,
        source: &OpenSource,
        events: Vec<NewEvent>,
        cause: Cause,
        timer: Option<TimerRecord>,
        scheduled: FromSchedule,
        read: Option<ReadChanges>,
    ) -> Result<Acceptance, StoreError> {
        let route = &source.route;
        let at_hand: Vec<_> = events
            .iter()
            .map(|it| EventAtHand {
                event_type: it.event_type.as_str().into(),
                payload: it.payload.clone(),
            })
            .collect();
        let new = AcceptEvents {
            source: route.source,
            snap_in: route.snap_in,
            generation: route.generation,
            cause,
            user: route.user,
            events,
            dedup_window_ms: route.dedup_window_ms,
            timer,
            scheduled,
            read,
        };
        let dispatcher = self.dispatcher.clone();
        let acceptance = self
            .store
            .write_then(
                move |tables| tables.accept_events(&new),
                move |acceptance| {
                    let Acceptance::Stored(stored) = acceptance else { return };
                    let mut queued = Vec::new();
                    for event in stored {
                        queued.extend(event.runs.iter().map(|run| QueuedRun {
                            run: run.clone(),
                            event: at_hand.get(event.at).cloned(),
                        }));
                    }
                    dispatcher.queued(queued);
                },
            )
            .await?;
        if let Acceptance::Stored(stored) = &acceptance {
            let duplicate = stored.iter().filter(|it| it.duplicate).count() as u64;
            let accepted = stored.len() as u64 - duplicate;
            source.counts.stored(accepted, duplicate, self.clock.now_ms());
        }
        Ok(acceptance)
    }
}

/// The status that stands for a default answer.
const OK: u16 = 200;
/// Statuses from here on say that a request is not taken.
const FIRST_REFUSAL: u16 = 400;

/// Where an input came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whence<'a> {
    peer: &'a str,
    method: &'a str,
    /// What it is called in the log of its source.
    asked: &'static str,
    /// Whether somebody waits for an answer to a request.
    is_request: bool,
}

impl Whence<'_> {
    /// The daemon woke the source.
    pub(super) const TICK: Whence<'static> = Whence::other("tick");
    /// An object changed.
    pub(super) const CHANGE: Whence<'static> = Whence::other("change");
    /// An event was due that had been scheduled.
    pub(super) const SCHEDULE: Whence<'static> = Whence::other("schedule");

    const fn other(asked: &'static str) -> Whence<'static> {
        Whence { peer: "", method: asked, asked, is_request: false }
    }

    fn of(input: &SourceInput) -> Whence<'_> {
        match input {
            SourceInput::Http(HttpRequest { peer, method, .. }) => {
                Whence { peer, method, asked: "request", is_request: true }
            }
            SourceInput::Tick(_) => Whence::TICK,
            SourceInput::Published { .. } => {
                Whence { asked: "request", ..Whence::other("publish") }
            }
            SourceInput::Check {} => Whence::other("check"),
            SourceInput::Mail(_) => Whence::other("mail"),
            SourceInput::Object(_) => Whence::CHANGE,
            SourceInput::Poll(_) => Whence::other("poll"),
            SourceInput::Response { .. } => Whence::other("response"),
        }
    }
}

impl OpenSource {
    /// An input led to no event: what its plugin says about that is counted. A tick that finds
    /// nothing is nobody's request.
    pub(super) fn without_event(&self, from: Whence<'_>, output: &SourceOutput, now_ms: u64) {
        let Whence { peer, method, is_request, asked: _ } = from;
        let status = output.response.as_ref().map_or(OK, |it| it.status);
        let status_reason;
        let (reason, message) = match &output.refused {
            Some(refusal) => (refusal.reason.as_str(), refusal.message.as_str()),
            None if is_request && status >= FIRST_REFUSAL => {
                status_reason = format!("status_{status}");
                (status_reason.as_str(), "the source answered so, and led to no event")
            }
            None if is_request => return self.counts.answered(),
            None => return,
        };
        let status = is_request.then_some(status);
        self.refused(Refused { peer, method, status, reason, message }, now_ms);
    }

    pub(super) fn refused(&self, refused: Refused<'_>, now_ms: u64) {
        self.counts.refused(refused.reason, &self.masks, now_ms);
        self.refusals.add(refused, &self.masks, now_ms);
    }
}

/// Where an input comes from.
struct Origin {
    cause: Cause,
    /// What its sender calls it.
    idempotency_key: Option<String>,
    scheduled: FromSchedule,
}

/// What the sender of a request calls it, so that a repetition is known as one.
pub fn idempotency_key(request: &HttpRequest) -> Option<String> {
    const LONGEST: usize = 255;
    let header = request.headers.iter().find(|(name, _)| name == "idempotency-key");
    // Another one is no key of ours: the sender's vendor may mean something else by it.
    header.map(|(_, key)| key.clone()).filter(|it| (1..=LONGEST).contains(&it.len()))
}

/// Events that their plugin has no dedup key for get one of the key that their request came with.
pub fn dedup_by(key: &str, events: &mut [NewEvent]) {
    let without = events.iter_mut().filter(|it| it.dedup_key.is_none());
    for (place, event) in without.enumerate() {
        event.dedup_key = Some(format!("idempotency-key:{place}:{key}"));
    }
}

/// Whoever publishes gets no answer of the plugin's own: what it refuses is an error for him.
fn published(taken: Taken) -> Result<Taken, IntakeError> {
    match &taken.refused {
        Some(refusal) if taken.events.is_empty() => {
            Err(IntakeError::Refused(refusal.message.clone()))
        }
        Some(_) | None => Ok(taken),
    }
}

/// What is answered for an input.
pub fn taken(source: SourceId, events: Vec<(EventId, bool)>, output: SourceOutput) -> Taken {
    let SourceOutput { refused, response, bodies, .. } = output;
    Taken { source, events, refused, response, bodies }
}

/// What the plugin's events lead to. An error says what is wrong with the plugin's answer.
pub fn planned(
    route: &Route,
    output: &SourceOutput,
    body: &Bytes,
) -> Result<Vec<NewEvent>, String> {
    let mut events = Vec::with_capacity(output.events.len());
    for event in &output.events {
        let runs = route
            .matches(&event.event_type)
            .map(|it| PlannedRun {
                automation: it.automation,
                function: it.function,
                version: route.version,
                ordered: it.ordered,
            })
            .collect();
        events.push(NewEvent {
            event_type: event.event_type.clone(),
            payload: payload_of(event, output, body)?,
            dedup_key: event.dedup_key.clone(),
            sync_id: event.sync_id.clone(),
            runs,
            cause: None,
        });
    }
    Ok(events)
}

fn payload_of(event: &Event, output: &SourceOutput, body: &Bytes) -> Result<Bytes, String> {
    let payload = match &event.payload {
        Payload::Json(value) => return Ok(Bytes::from(value.to_string())),
        Payload::Input => body.clone(),
        Payload::Body(place) => {
            output.bodies.get(*place).map(|it| Bytes::copy_from_slice(it)).ok_or_else(|| {
                format!("event `{}` refers to body {place}, which is not there", event.event_type)
            })?
        }
    };
    // Everything after this relies on it: the payload is pasted into the function's event.
    serde_json::from_slice::<IgnoredAny>(&payload)
        .map_err(|it| format!("the payload of event `{}` is no JSON: {it}", event.event_type))?;
    Ok(payload)
}

/// What a sender is told of a call without an answer.
pub fn failed(error: CallError) -> IntakeError {
    use mortise_plugin::FaultKind;
    match error {
        CallError::Busy => IntakeError::Busy,
        CallError::Stuck | CallError::Deadline(_) | CallError::OverallDeadline(_) => {
            IntakeError::TimedOut(error.to_string())
        }
        CallError::BadAnswer(_) | CallError::TooManyEffects(_) => {
            IntakeError::Broken(error.to_string())
        }
        CallError::Fault(fault) => match fault.kind {
            FaultKind::Transient => IntakeError::Unavailable(fault.message),
            FaultKind::Unsupported => IntakeError::Unsupported(fault.message),
            FaultKind::Config | FaultKind::Permanent | FaultKind::Panicked | FaultKind::Unknown => {
                IntakeError::Broken(fault.message)
            }
        },
    }
}

/// Whether the same call may go well later: then the input waits, when the daemon has it from itself.
/// Otherwise it is about this input.
pub(super) fn passes(error: &CallError) -> bool {
    use mortise_plugin::FaultKind;
    match error {
        CallError::Busy
        | CallError::Stuck
        | CallError::Deadline(_)
        | CallError::OverallDeadline(_) => true,
        CallError::BadAnswer(_) | CallError::TooManyEffects(_) => false,
        CallError::Fault(fault) => match fault.kind {
            FaultKind::Transient | FaultKind::Config | FaultKind::Unknown => true,
            FaultKind::Permanent | FaultKind::Unsupported | FaultKind::Panicked => false,
        },
    }
}

/// The same for what somebody publishes: what a plugin will never take is not its own mistake then.
pub(super) fn not_published(error: CallError) -> IntakeError {
    use mortise_plugin::FaultKind;
    match error {
        CallError::Fault(fault) if fault.kind == FaultKind::Permanent => {
            IntakeError::Unsupported(fault.message)
        }
        other => failed(other),
    }
}
