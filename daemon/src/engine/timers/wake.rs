//! One wake-up: what is kept of the timer goes to the plugin; its events, its next time and its cursor
//! come back and are stored in one transaction. When that is refused, because the source was changed
//! meanwhile, all of it is done again with the source as it is then.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise_plugin::{LogLevel, SourceInput, SourceOutput, Tick};
use tracing::warn;

use super::{Wake, Woken};
use crate::engine::intake::{Intake, IntakeError, MOST_ROUNDS, PUBLICATION, Whence, failed};
use crate::model::event::Cause;
use crate::model::id::SourceId;
use crate::plugins::CallError;
use crate::store::{Acceptance, FromSchedule, StoreError, TimerRecord};

impl Wake for Intake {
    fn wake(&self, source: SourceId) -> BoxFuture<'_, Woken> {
        async move {
            match self.tick(source).await {
                Ok(next) => Woken::Next(next),
                // Who opens it again says so.
                Err(NotWoken::Taking(IntakeError::NoSuchSource)) => Woken::Next(None),
                Err(NotWoken::Taking(error)) => {
                    if let Some(open) = self.routes.by_id(source) {
                        let message = format!("a tick was put off: {error}");
                        if open.log.add(self.clock.now_ms(), LogLevel::Warn, &message) {
                            warn!(%source, %error, "a tick was put off");
                        }
                    }
                    Woken::Failed { retry_after_ms: None }
                }
                // The log says so already.
                Err(NotWoken::Plugin(CallError::Fault(fault))) => {
                    Woken::Failed { retry_after_ms: fault.retry_after_ms }
                }
                Err(NotWoken::Plugin(_)) => Woken::Failed { retry_after_ms: None },
            }
        }
        .boxed()
    }
}

/// Why nothing came of a wake-up.
enum NotWoken {
    /// The plugin gave no answer.
    Plugin(CallError),
    /// The source is closed, or what it answered was not taken.
    Taking(IntakeError),
}

impl From<IntakeError> for NotWoken {
    fn from(error: IntakeError) -> NotWoken {
        NotWoken::Taking(error)
    }
}

impl From<StoreError> for NotWoken {
    fn from(error: StoreError) -> NotWoken {
        NotWoken::Taking(error.into())
    }
}

impl Intake {
    /// Wakes a source; answers when it wants to be woken next.
    async fn tick(&self, id: SourceId) -> Result<Option<u64>, NotWoken> {
        for _ in 0..MOST_ROUNDS {
            let source = self.routes.by_id(id).ok_or(IntakeError::NoSuchSource)?;
            if let Err(error) = self.check_bounds(&source) {
                source.counts.failed_with(&error);
                return Err(error.into());
            }
            let kept = self.store.read(|tables| tables.timer(id))?.unwrap_or_default();
            let tick = tick_of(&kept, self.clock.now_ms());
            let due_ms = tick.due_ms;
            let asked = self.call(&source, SourceInput::Tick(tick), Bytes::new()).await;
            if let Err(error) = &asked {
                source.counts.failed_with(&failed(error.clone()));
            }
            let output = match asked {
                Ok(output) => output,
                // It goes without saying in the source's log.
                Err(CallError::Busy) => return Err(failed(CallError::Busy).into()),
                Err(error) => return Err(NotWoken::Plugin(error)),
            };
            let next = after(&kept, due_ms, &output);
            let planned = self.planned(&source, &output, &Bytes::new());
            let events = planned.inspect_err(|it| source.counts.failed_with(it))?;
            if events.is_empty() {
                source.without_event(Whence::TICK, &output, self.clock.now_ms());
            }
            if events.is_empty() && is_same(&kept, &next) {
                return Ok(next.due_ms);
            }
            let due_ms = next.due_ms;
            match self
                .accept(&source, events, Cause::default(), Some(next), FromSchedule::No, None)
                .await?
            {
                Acceptance::Stored(_) => return Ok(due_ms),
                Acceptance::KeyPending { due_ms } => {
                    return Err(IntakeError::KeyPending { due_ms }.into());
                }
                Acceptance::Stale => self.routes.newer_than(&source, PUBLICATION).await,
            }
        }
        let changing = "its snap-in is being changed".to_owned();
        Err(IntakeError::Unavailable(changing).into())
    }
}

/// What the plugin is told: it may be woken earlier than it asked for.
fn tick_of(kept: &TimerRecord, now_ms: u64) -> Tick {
    Tick {
        due_ms: kept.due_ms.map_or(now_ms, |it| it.min(now_ms)),
        last_ms: kept.last_ms,
        cursor: kept.cursor.clone(),
    }
}

/// What is kept from now on.
fn after(kept: &TimerRecord, due_ms: u64, output: &SourceOutput) -> TimerRecord {
    TimerRecord {
        due_ms: output.next_tick_ms,
        last_ms: Some(due_ms),
        cursor: output.cursor.clone().or_else(|| kept.cursor.clone()),
    }
}

/// Whether nothing has to be stored: sources that are woken because they were opened mostly say again
/// what they said before.
fn is_same(kept: &TimerRecord, next: &TimerRecord) -> bool {
    kept.last_ms.is_some() && (kept.due_ms, &kept.cursor) == (next.due_ms, &next.cursor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wake_up_is_told_what_was_kept() {
        let first = tick_of(&TimerRecord::default(), 70);
        assert_eq!(first, Tick { due_ms: 70, last_ms: None, cursor: None });
        let kept = TimerRecord { due_ms: Some(90), last_ms: Some(50), cursor: Some(json!(1)) };
        let late = Tick { due_ms: 90, last_ms: Some(50), cursor: Some(json!(1)) };
        assert_eq!(tick_of(&kept, 100), late);
        assert_eq!(tick_of(&kept, 80), Tick { due_ms: 80, ..late }, "it was opened");
    }

    #[test]
    fn a_cursor_stays_until_another_is_set() {
        let kept = TimerRecord { due_ms: Some(90), last_ms: None, cursor: Some(json!(1)) };
        let mut output = SourceOutput { next_tick_ms: Some(200), ..SourceOutput::default() };
        let next = after(&kept, 90, &output);
        let cursor = Some(json!(1));
        assert_eq!(next, TimerRecord { due_ms: Some(200), last_ms: Some(90), cursor });
        assert!(!is_same(&kept, &next));
        output.cursor = Some(json!(2));
        let other = after(&next, 200, &output);
        assert_eq!(other.cursor, Some(json!(2)));
        assert!(!is_same(&next, &other));
        output.next_tick_ms = Some(300);
        let later = after(&other, 200, &output);
        assert!(!is_same(&other, &later));
        assert!(is_same(&later, &after(&later, 250, &output)));
    }
}
