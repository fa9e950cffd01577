//! Events that are to be published later: taking them ([`Scheduler`]), and publishing those that are
//! due ([`fire`]).
//!
//! There is a second queue of [`Timers`] with one slot for each open source, whatever number of events
//! is pending there: a wake-up publishes what is due and says when the next event is. Nothing is kept
//! in memory but that; a source that opens is looked at once.
//!
//! Must never: publish an event before its time, twice, or after it was taken back.

mod fire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::intake::{Intake, IntakeError};
use super::timers::Timers;
use crate::model::event::Cause;
use crate::model::id::{EventId, SourceId};
use crate::store::{
    FromSchedule, MOST_SCHEDULED, NewScheduled, Scheduling, StoreError, Unschedule,
};

/// How far ahead an event may be scheduled: ten years with their leap days.
pub const HORIZON_MS: u64 = 3_653 * 24 * 60 * 60 * 1_000;

/// An event to be published at some time.
#[derive(Clone, Debug)]
pub struct ToSchedule {
    /// Where.
    pub source: SourceId,
    /// As automations name it, such as `custom:my-event`.
    pub event_type: String,
    /// At most one pending event of the source has it.
    pub event_key: String,
    /// Valid JSON.
    pub payload: Bytes,
    /// Not before this, milliseconds of the Unix epoch; absent: at once.
    pub due_ms: Option<u64>,
    /// Whether the pending event with that key, if there is one, gives way.
    pub replace: bool,
    /// Name of the principal.
    pub by: String,
    /// What caused it. Only what is published at once goes on with the chain of causes.
    pub cause: Cause,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// It is pending.
    Pending {
        /// When it is due.
        due_ms: u64,
        /// Whether another one gave way.
        replaced: bool,
    },
    /// It was due, and is published.
    Published(Vec<EventId>),
}

/// Why nothing was scheduled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Another one with its key is pending.
    #[error("an event with this key is pending")]
    KeyPending {
        /// When that one is due.
        due_ms: u64,
    },
    /// It is further ahead than [`HORIZON_MS`].
    #[error("it is further ahead than 10 years")]
    TooFar {
        /// The last moment that would be taken.
        last_ms: u64,
    },
    /// [`MOST_SCHEDULED`] are pending.
    #[error(
        "{MOST_SCHEDULED} events are pending at this source already, which is as many as there can be"
    )]
    TooMany,
    /// The source is gone.
    #[error("there is no such event source")]
    NoSuchSource,
    /// It was due, and could not be published.
    #[error(transparent)]
    Intake(IntakeError),
}

impl From<StoreError> for ScheduleError {
    fn from(error: StoreError) -> ScheduleError {
        ScheduleError::Intake(error.into())
    }
}

/// Takes events that are to be published later.
#[derive(Clone)]
pub struct Scheduler {
    intake: Arc<Intake>,
    timers: Timers,
}

impl Scheduler {
    /// Starts what publishes them; the sources are told of as they open.
    pub fn start(runtime: &tokio::runtime::Handle, intake: Arc<Intake>) -> Scheduler {
        let wake = Arc::new(fire::Fire(intake.clone()));
        // One wake-up publishes a batch: the next may be due at once.
        let timers = Timers::start(runtime, wake, intake.clock.clone(), Duration::ZERO);
        Scheduler { intake, timers }
    }

    /// Who publishes them: for opening and closing sources, and for its end.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Takes an event: it is on the disk when this answers, pending or published.
    pub async fn schedule(&self, new: ToSchedule) -> Result<Scheduled, ScheduleError> {
        let now_ms = self.intake.clock.now_ms();
        let last_ms = now_ms.saturating_add(HORIZON_MS);
        match new.due_ms {
            Some(due_ms) if due_ms > last_ms => Err(ScheduleError::TooFar { last_ms }),
            Some(due_ms) if due_ms > now_ms => self.put(new, due_ms).await,
            Some(_) | None => self.publish(new, now_ms).await,
        }
    }

    /// Takes back the pending event with a key.
    pub async fn unschedule(
        &self,
        source: SourceId,
        event_key: String,
    ) -> Result<Unschedule, StoreError> {
        self.intake.store.write(move |tables| tables.unschedule(source, &event_key)).await
    }

    async fn publish(&self, new: ToSchedule, now_ms: u64) -> Result<Scheduled, ScheduleError> {
        let key = FromSchedule::Now { event_key: new.event_key.clone(), replace: new.replace };
        let (event_type, payload) = (new.event_type.clone(), new.payload.clone());
        let taken =
            self.intake.publish_keyed(new.source, event_type, payload, new.cause, key).await;
        match taken {
            Ok(taken) => {
                Ok(Scheduled::Published(taken.events.into_iter().map(|(id, _)| id).collect()))
            }
            // It is published as soon as the source is open, after those that were due before.
            Err(IntakeError::NoSuchSource) => {
                let due_ms = new.due_ms.unwrap_or(now_ms).min(now_ms);
                self.put(new, due_ms).await
            }
            Err(IntakeError::KeyPending { due_ms }) => Err(ScheduleError::KeyPending { due_ms }),
            Err(error) => Err(ScheduleError::Intake(error)),
        }
    }

    async fn put(&self, new: ToSchedule, due_ms: u64) -> Result<Scheduled, ScheduleError> {
        if !self.intake.store.has_room() {
            return Err(StoreError::Full.into());
        }
        let source = new.source;
        let row = NewScheduled {
            source,
            event_type: new.event_type,
            event_key: new.event_key,
            payload: new.payload,
            due_ms,
            scheduled_by: new.by,
            replace: new.replace,
        };
        let timers = self.timers.clone();
        let put = self.intake.store.write_then(
            move |tables| tables.schedule(&row),
            // Also when the caller has gone.
            move |done| match done {
                Scheduling::Pending { .. } => timers.sooner(source, due_ms),
                Scheduling::KeyPending { .. } | Scheduling::TooMany | Scheduling::NoSuchSource => {}
            },
        );
        match put.await? {
            Scheduling::Pending { replaced } => Ok(Scheduled::Pending { due_ms, replaced }),
            Scheduling::KeyPending { due_ms } => Err(ScheduleError::KeyPending { due_ms }),
            Scheduling::TooMany => Err(ScheduleError::TooMany),
            Scheduling::NoSuchSource => Err(ScheduleError::NoSuchSource),
        }
    }
}
