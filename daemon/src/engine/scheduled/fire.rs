//! One wake-up: what is due at a source goes through its plugin, event by event in order of their
//! times, and becomes events and runs; these are stored, and what was due is removed, in one
//! transaction.
//!
//! What a plugin fails at for a reason that may pass is tried again later, with all that comes after
//! it. What it will never take is dropped, counted as refused or failed, and its source's log says so:
//! it must not stand in the way of the others for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise_plugin::{LogLevel, SourceInput};
use tracing::{info, warn};

use crate::engine::intake::{
    Intake, IntakeError, MOST_ROUNDS, PUBLICATION, Whence, not_published, passes,
};
use crate::engine::routes::OpenSource;
use crate::engine::timers::{Wake, Woken};
use crate::model::event::Cause;
use crate::model::id::SourceId;
use crate::plugins::CallError;
use crate::store::{Acceptance, FromSchedule, NewEvent, Place, ScheduledEvent};

/// Events that one transaction publishes.
const BATCH: usize = 256;
/// When it is tried again to publish to a snap-in of which too many runs wait.
const QUEUE_FULL_MS: u64 = 1_000;
/// What is published so much too late was waited for in vain, and the log says so.
const LATE_MS: u64 = 60_000;

/// Publishes what is due.
pub(super) struct Fire(pub(super) Arc<Intake>);

impl Wake for Fire {
    fn wake(&self, source: SourceId) -> BoxFuture<'_, Woken> {
        async move {
            match self.fire(source).await {
                Ok(woken) => woken,
                Err(error) => {
                    if let Some(open) = self.0.routes.by_id(source) {
                        open.counts.failed_with(&error);
                        let message = format!("scheduled events were put off: {error}");
                        if open.log.add(self.0.clock.now_ms(), LogLevel::Warn, &message) {
                            warn!(%source, %error, "scheduled events were put off");
                        }
                    }
                    Woken::Failed { retry_after_ms: None }
                }
            }
        }
        .boxed()
    }
}

/// What came of the events that were due.
#[derive(Default)]
struct Batch {
    events: Vec<NewEvent>,
    /// Each place with how many of the events came of it: none, when it is dropped.
    places: Vec<(Place, usize)>,
    /// Why the rest is tried again later.
    stopped: Option<CallError>,
}

impl Fire {
    /// Publishes a batch; answers when there is something to do next.
    async fn fire(&self, id: SourceId) -> Result<Woken, IntakeError> {
        let intake = &self.0;
        for _ in 0..MOST_ROUNDS {
            // Who opens it again says so.
            let Some(source) = intake.routes.by_id(id) else { return Ok(Woken::Next(None)) };
            let now_ms = intake.clock.now_ms();
            let room = intake.most_queued.saturating_sub(source.depth.load(Ordering::Relaxed));
            let most = BATCH.min(room.max(1));
            let due = intake.store.read(|tables| tables.due_scheduled(id, now_ms, most))?;
            let Some(first) = due.rows.first() else { return Ok(Woken::Next(due.next_ms)) };
            match intake.check_bounds(&source) {
                Ok(()) => {}
                Err(error @ IntakeError::QueueFull { .. }) => {
                    let message = format!("scheduled events were put off: {error}");
                    source.log.add(now_ms, LogLevel::Warn, &message);
                    return Ok(Woken::Next(Some(now_ms.saturating_add(QUEUE_FULL_MS))));
                }
                Err(error) => return Err(error),
            }
            let late_ms = now_ms.saturating_sub(first.place.due_ms);
            let batch = self.ask(&source, &due.rows).await;
            let Batch { events, places, stopped } = batch;
            if !places.is_empty() {
                let from = FromSchedule::Due(places);
                let accepted = intake.accept(&source, events, Cause::default(), None, from, None);
                match accepted.await? {
                    Acceptance::Stored(_) => {}
                    Acceptance::Stale => {
                        intake.routes.newer_than(&source, PUBLICATION).await;
                        continue;
                    }
                    Acceptance::KeyPending { due_ms } => {
                        return Err(IntakeError::KeyPending { due_ms });
                    }
                }
                if late_ms > LATE_MS {
                    let message = "scheduled events were published more than a minute late: the \
                                   source was closed, or the daemon did not run";
                    if source.log.add(now_ms, LogLevel::Warn, message) {
                        info!(source = %id, late_ms, "scheduled events were published late");
                    }
                }
            }
            return Ok(match stopped {
                None => Woken::Next(due.next_ms),
                Some(CallError::Fault(fault)) => {
                    Woken::Failed { retry_after_ms: fault.retry_after_ms }
                }
                Some(_) => Woken::Failed { retry_after_ms: None },
            });
        }
        Err(IntakeError::Unavailable("its snap-in is being changed".to_owned()))
    }

    /// Asks the plugin for each event, until it fails for a reason that may pass.
    async fn ask(&self, source: &OpenSource, due: &[ScheduledEvent]) -> Batch {
        let mut batch = Batch::default();
        for row in due {
            let input = SourceInput::Published { event_type: row.record.event_type.clone() };
            let asked = self.0.call(source, input, row.payload.clone()).await;
            let planned = match asked {
                Ok(output) => {
                    self.0.planned(source, &output, &row.payload).map(|events| (events, output))
                }
                Err(error) if passes(&error) => {
                    source.counts.failed_with(&not_published(error.clone()));
                    self.say(source, row, "was put off", &error);
                    batch.stopped = Some(error);
                    return batch;
                }
                Err(error) => Err(not_published(error)),
            };
            match planned {
                Ok((events, output)) => {
                    if events.is_empty() {
                        let now_ms = self.0.clock.now_ms();
                        source.without_event(Whence::SCHEDULE, &output, now_ms);
                        if let Some(refusal) = &output.refused {
                            let what = "was dropped: the source refuses it";
                            self.say(source, row, what, &refusal.message);
                        }
                    }
                    batch.places.push((row.place, events.len()));
                    batch.events.extend(events);
                }
                Err(error) => {
                    source.counts.failed_with(&error);
                    self.say(source, row, "was dropped", &error);
                    batch.places.push((row.place, 0));
                }
            }
        }
        batch
    }

    fn say(
        &self,
        source: &OpenSource,
        row: &ScheduledEvent,
        what: &str,
        why: &dyn std::fmt::Display,
    ) {
        let (id, key) = (source.route.source, row.record.event_key.as_str());
        let message = source.masks.mask(&format!("the scheduled event `{key}` {what}: {why}"));
        if source.log.add(self.0.clock.now_ms(), LogLevel::Error, &message) {
            warn!(source = %id, message, "a scheduled event was not published");
        }
    }
}
