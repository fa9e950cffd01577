//! Retention: what has ended and is old enough is removed. What has not ended is never pruned,
//! and neither is a dead letter.

use redb::ReadableTable;

use super::StoreError;
use super::record::{Record, decode_with_tail};
use super::tables::WriteTables;
use crate::model::event::EventHead;
use crate::model::id::{RunId, created_ms};
use crate::model::run::{RunHead, RunState};

/// Where pruning stands; starts at the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneCursor {
    run: u128,
    event: u128,
}

impl WriteTables<'_> {
    /// Removes runs that ended, and events that came in, before `before_ms`. Looks at no more than
    /// `most` rows of each and answers where to go on; nothing when it has seen all.
    pub fn prune(
        &mut self,
        before_ms: u64,
        from: PruneCursor,
        most: usize,
    ) -> Result<Option<PruneCursor>, StoreError> {
        let run = self.prune_runs(before_ms, from.run, most)?;
        let event = self.prune_events(before_ms, from.event, most)?;
        if run.is_none() && event.is_none() {
            return Ok(None);
        }
        Ok(Some(PruneCursor { run: run.unwrap_or(u128::MAX), event: event.unwrap_or(u128::MAX) }))
    }

    fn prune_runs(
        &mut self,
        before_ms: u64,
        from: u128,
        most: usize,
    ) -> Result<Option<u128>, StoreError> {
        let (old, next) = old_rows::<RunHead>(self.runs_done()?, before_ms, from, most)?;
        for (id, head) in old {
            if head.state != RunState::Dead && head.ended_ms.is_some_and(|it| it < before_ms) {
                self.runs_done()?.remove(id)?;
                if head.state == RunState::Failed {
                    self.forget_failed_run(RunId(id))?;
                }
            }
        }
        Ok(next)
    }

    fn prune_events(
        &mut self,
        before_ms: u64,
        from: u128,
        most: usize,
    ) -> Result<Option<u128>, StoreError> {
        let (old, next) = old_rows::<EventHead>(self.events()?, before_ms, from, most)?;
        for (id, head) in old {
            if self.is_needed(&head)? {
                continue;
            }
            self.events()?.remove(id)?;
            if let Some(key) = &head.dedup_key {
                let key = (head.source.0, key.as_str());
                // A later event may have the key by now.
                let is_its_own = self.dedup()?.get(key)?.is_some_and(|it| it.value() == id);
                if is_its_own {
                    self.dedup()?.remove(key)?;
                }
            }
        }
        Ok(next)
    }

    /// Whether a run of the event may still read its payload.
    fn is_needed(&mut self, head: &EventHead) -> Result<bool, StoreError> {
        for run in &head.runs {
            if self.runs_open()?.get(run.0)?.is_some() || self.dead_letters()?.get(run.0)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Up to `most` rows from `from` on that were created before `before_ms`, and where the next ones
/// start.
type OldRows<R> = (Vec<(u128, R)>, Option<u128>);

fn old_rows<R: Record>(
    table: &impl ReadableTable<u128, &'static [u8]>,
    before_ms: u64,
    from: u128,
    most: usize,
) -> Result<OldRows<R>, StoreError> {
    let mut old = Vec::new();
    for row in table.range(from..)? {
        let (id, value) = row?;
        let id = id.value();
        if created_ms(id) >= before_ms {
            break;
        }
        if old.len() == most {
            return Ok((old, Some(id)));
        }
        old.push((id, decode_with_tail::<R>(value.value())?.0));
    }
    Ok((old, None))
}
