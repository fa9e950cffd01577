//! One wake-up: the changes that a source has not seen go through its plugin, one by one in order, and
//! what comes of them is stored together with how far the source has come.
//!
//! What a plugin fails at for a reason that may pass is tried again later, with all that comes after
//! it. What it will never take is left out, and its source's log says so: it must not stand in the way
//! of the others for ever.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise_plugin::{Change, LogLevel, SourceInput, SourceOutput};
use tokio::time::Instant;
use tracing::warn;

use super::{Ahead, FanOut};
use crate::engine::change_bodies::Told;
use crate::engine::intake::{IntakeError, MOST_ROUNDS, PUBLICATION, Whence, failed, passes};
use crate::engine::refusals::Refused;
use crate::engine::routes::{OpenSource, WantedChanges};
use crate::engine::timers::{Wake, Woken};
use crate::model::event::{Cause, MOST_HOPS};
use crate::model::id::{ChangeId, SourceId};
use crate::plugins::CallError;
use crate::store::{Acceptance, FromSchedule, NewEvent, ReadChanges, StoreError};

/// Changes that one transaction takes.
const BATCH: usize = 256;
/// How long a wake-up asks before it stores what has come of it so far.
const LONGEST: Duration = Duration::from_secs(1);
/// A call that takes longer is slow.
const SLOW: Duration = Duration::from_millis(100);
/// When it is tried again to publish to a snap-in of which too many runs wait.
const QUEUE_FULL_MS: u64 = 1_000;

impl Wake for FanOut {
    fn wake(&self, source: SourceId) -> BoxFuture<'_, Woken> {
        async move {
            match self.tell(source).await {
                Ok(woken) => woken,
                Err(error) => {
                    if let Some(open) = self.intake.routes.by_id(source) {
                        let message = format!("changes of objects were put off: {error}");
                        let now_ms = self.intake.clock.now_ms();
                        if open.log.add(now_ms, LogLevel::Warn, &message) {
                            warn!(%source, %error, "changes of objects were put off");
                        }
                    }
                    Woken::Failed { retry_after_ms: None }
                }
            }
        }
        .boxed()
    }
}

/// What came of changes.
#[derive(Default)]
struct Batch {
    events: Vec<NewEvent>,
    /// The last one that was decided on.
    last: Option<ChangeId>,
    /// How many were.
    decided: usize,
    /// Why the rest is tried again later.
    stopped: Option<CallError>,
}

impl FanOut {
    /// Tells a source of what it has not seen; answers when there is something to do next.
    async fn tell(&self, id: SourceId) -> Result<Woken, IntakeError> {
        let intake = &self.intake;
        for _ in 0..MOST_ROUNDS {
            // Who opens it again says so.
            let Some(source) = intake.routes.by_id(id) else {
                self.forget(id);
                return Ok(Woken::Next(None));
            };
            let Some(wanted) = &source.changes else { return Ok(Woken::Next(None)) };
            let Some(ahead) = self.place_of(&source).await? else {
                intake.routes.newer_than(&source, PUBLICATION).await;
                continue;
            };
            let now_ms = intake.clock.now_ms();
            let room = intake.most_queued.saturating_sub(source.depth.load(Ordering::Relaxed));
            let most = BATCH.min(room.max(1));
            let changes = self.bodies.after(&wanted.event_types, ahead.at, most)?;
            if changes.is_empty() {
                return Ok(Woken::Next(None));
            }
            match intake.check_bounds(&source) {
                Ok(()) => {}
                Err(error @ IntakeError::QueueFull { .. }) => {
                    let message = format!("changes of objects were put off: {error}");
                    source.log.add(now_ms, LogLevel::Warn, &message);
                    return Ok(Woken::Next(Some(now_ms.saturating_add(QUEUE_FULL_MS))));
                }
                Err(error) => return Err(error),
            }
            let Batch { events, last, decided, stopped } =
                self.ask(&source, wanted, &changes).await;
            if let Some(last) = last {
                let seen = Ahead { at: last, changes: ahead.changes + decided, ..ahead };
                if events.is_empty() && seen.changes < BATCH {
                    self.remember(id, Some(seen));
                } else {
                    let read = Some(ReadChanges { from: ahead.cursor, to: last });
                    let (cause, from) = (Cause::default(), FromSchedule::No);
                    match intake.accept(&source, events, cause, None, from, read).await? {
                        Acceptance::Stored(_) => self.remember(id, None),
                        Acceptance::Stale => {
                            intake.routes.newer_than(&source, PUBLICATION).await;
                            continue;
                        }
                        Acceptance::KeyPending { due_ms } => {
                            return Err(IntakeError::KeyPending { due_ms });
                        }
                    }
                }
            }
            let is_all = decided == changes.len() && changes.len() < most;
            return Ok(match stopped {
                None if is_all => Woken::Next(None),
                None => Woken::Next(Some(intake.clock.now_ms())),
                Some(CallError::Fault(fault)) => {
                    Woken::Failed { retry_after_ms: fault.retry_after_ms }
                }
                Some(_) => Woken::Failed { retry_after_ms: None },
            });
        }
        Err(IntakeError::Unavailable("its snap-in is being changed".to_owned()))
    }

    /// How far a source has come; nothing when it is not any more what it was planned with.
    async fn place_of(&self, source: &OpenSource) -> Result<Option<Ahead>, StoreError> {
        let (id, generation) = (source.route.source, source.route.generation);
        let consumer = id.to_string();
        let store = &self.intake.store;
        let mut cursor = store.read(|tables| tables.cursor(&consumer))?;
        if cursor.is_none() {
            // Closed meanwhile, or open since before there were cursors.
            let began = store.write(move |it| it.begin_reading_source(id, generation)).await?;
            if !began {
                return Ok(None);
            }
            cursor = store.read(|tables| tables.cursor(&consumer))?;
        }
        let Some(cursor) = cursor else { return Ok(None) };
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ahead.get(&id).filter(|it| (it.generation, it.cursor) == (generation, cursor));
        let start = Ahead { generation, cursor, at: cursor, changes: 0 };
        Ok(Some(known.copied().unwrap_or(start)))
    }

    fn remember(&self, id: SourceId, ahead: Option<Ahead>) {
        let mut all = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match ahead {
            Some(ahead) => all.insert(id, ahead),
            None => all.remove(&id),
        };
    }

    fn forget(&self, id: SourceId) {
        self.remember(id, None);
        self.slow_sources.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Asks the plugin for each change, until it fails for a reason that may pass, or the time is up.
    async fn ask(
        &self,
        source: &OpenSource,
        wanted: &WantedChanges,
        changes: &[(ChangeId, Arc<Told>)],
    ) -> Batch {
        let mut batch = Batch::default();
        let began = Instant::now();
        for (id, change) in changes {
            if began.elapsed() > LONGEST {
                return batch;
            }
            if change.cause.hops <= MOST_HOPS {
                match self.ask_one(source, wanted, *id, change).await {
                    Ok(output) => self.plan(source, change, &output, &mut batch.events),
                    Err(error) if passes(&error) => {
                        batch.stopped = Some(error);
                        return batch;
                    }
                    Err(error) => source.counts.failed_with(&failed(error)),
                }
            } else {
                self.refuse_chain(source, change);
            }
            batch.last = Some(*id);
            batch.decided += 1;
        }
        batch
    }

    async fn ask_one(
        &self,
        source: &OpenSource,
        wanted: &WantedChanges,
        id: ChangeId,
        change: &Told,
    ) -> Result<SourceOutput, CallError> {
        let input = SourceInput::Object(Change {
            id: id.to_string(),
            event_type: change.event_type.clone(),
            object_id: change.object.clone(),
            user_id: Some(wanted.user.to_string()),
        });
        let slow_sources = || self.slow_sources.lock().unwrap_or_else(PoisonError::into_inner);
        let was_slow = slow_sources().contains(&source.route.source);
        let turn = if was_slow { &self.slow } else { &self.quick };
        // It is never closed.
        let _turn = turn.acquire().await;
        let began = Instant::now();
        let answer = self.intake.call(source, input, change.body.clone()).await;
        let is_slow = began.elapsed() > SLOW;
        if is_slow && !was_slow {
            slow_sources().insert(source.route.source);
        } else if was_slow && !is_slow {
            slow_sources().remove(&source.route.source);
        }
        answer
    }

    /// Adds the events that came of a change.
    fn plan(
        &self,
        source: &OpenSource,
        change: &Told,
        output: &SourceOutput,
        events: &mut Vec<NewEvent>,
    ) {
        match self.intake.planned(source, output, &change.body) {
            Ok(planned) => {
                if planned.is_empty() {
                    source.without_event(Whence::CHANGE, output, self.intake.clock.now_ms());
                }
                let cause = Some(change.cause);
                events.extend(planned.into_iter().map(|it| NewEvent { cause, ..it }));
            }
            // The log says so already.
            Err(error) => source.counts.failed_with(&error),
        }
    }

    /// A change that functions have caused one after the other, too often.
    fn refuse_chain(&self, source: &OpenSource, change: &Told) {
        let now_ms = self.intake.clock.now_ms();
        let message = format!(
            "`{}` is no event here: it would be number {} of a chain in which each event was caused \
             by a run of the last, and chains end after {MOST_HOPS}",
            change.event_type,
            MOST_HOPS + 1
        );
        if source.log.add(now_ms, LogLevel::Error, &message) {
            warn!(source = %source.route.source, message, "a chain of events is ended");
        }
        let reason = "chain_too_long";
        source.refused(Refused::by_ourselves("change", reason, &message), now_ms);
    }
}
