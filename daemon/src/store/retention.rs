//! Retention: what has ended and is old enough is removed. What has not ended is never pruned,
//! and neither is a dead letter.

use redb::ReadableTable;

use super::StoreError;
use super::record::decode_with_tail;
use super::tables::WriteTables;
use crate::model::event::EventHead;
use crate::model::id::created_ms;
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
        let (mut old, mut next) = (Vec::new(), None);
        for (looked_at, row) in self.runs_done()?.range(from..)?.enumerate() {
            let (id, value) = row?;
            let id = id.value();
            if created_ms(id) >= before_ms {
                break;
            }
            if looked_at == most {
                next = Some(id);
                break;
            }
            let (head, _) = decode_with_tail::<RunHead>(value.value())?;
            if head.state != RunState::Dead && head.ended_ms.is_some_and(|it| it < before_ms) {
                old.push(id);
            }
        }
        for id in old {
            self.runs_done()?.remove(id)?;
        }
        Ok(next)
    }

    fn prune_events(
        &mut self,
        before_ms: u64,
        from: u128,
        most: usize,
    ) -> Result<Option<u128>, StoreError> {
        let (mut old, mut next) = (Vec::new(), None);
        for (looked_at, row) in self.events()?.range(from..)?.enumerate() {
            let (id, value) = row?;
            let id = id.value();
            if created_ms(id) >= before_ms {
                break;
            }
            if looked_at == most {
                next = Some(id);
                break;
            }
            old.push((id, decode_with_tail::<EventHead>(value.value())?.0));
        }
        for (id, head) in old {
            if self.is_needed(&head)? {
                continue;
            }
            self.events()?.remove(id)?;
            if let Some(key) = &head.dedup_key {
                self.dedup()?.remove((head.source.0, key.as_str()))?;
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
