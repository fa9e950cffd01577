//! When sources want to be woken, and what they keep from one wake-up to the next. Written with the
//! events that a wake-up led to, in one transaction ([`super::AcceptEvents::timer`]).

use super::records::TimerRecord;
use super::tables::{ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::id::SourceId;

impl WriteTables<'_> {
    /// Replaces what is kept of a source's timer.
    pub(super) fn put_timer(
        &mut self,
        source: SourceId,
        timer: &TimerRecord,
    ) -> Result<(), StoreError> {
        put(self.timers()?, source.0, timer)
    }

    /// A source is gone for good.
    pub(super) fn forget_timer(&mut self, source: SourceId) -> Result<(), StoreError> {
        self.timers()?.remove(source.0)?;
        Ok(())
    }
}

impl ReadTables {
    /// What is kept of a source's timer; nothing when it was never woken.
    pub fn timer(&self, source: SourceId) -> Result<Option<TimerRecord>, StoreError> {
        get(&self.table(schema::TIMERS)?, source.0)
    }
}
