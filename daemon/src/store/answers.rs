//! Answers to calls that were sent with an `Idempotency-Key`, for a day: whoever repeats such a call
//! gets the same answer, and nothing is done twice. Answers with secrets must never come here.
//!
//! That a call is carried out is stored in the very transaction of its change, as its row of the audit
//! log is: whoever carries it out does so within [`keyed`], and the first write of that task that changes
//! something takes the key along. A daemon that is killed before the answer is stored knows that much.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::ReadableTable;

use super::record::{decode, encode};
use super::records::{AnswerRecord, CallProgress};
use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};

/// How long an answer is remembered.
pub const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// A call with a key, which is stored with the first thing that it changes.
#[derive(Debug)]
pub struct KeyTicket {
    call: [u8; 32],
    body_hash: String,
    reach: String,
    /// Whether another task carries it out: what is stored then is that it begins.
    is_ahead: bool,
    is_stored: AtomicBool,
}

tokio::task_local! {
    static TICKET: Arc<KeyTicket>;
}

impl KeyTicket {
    /// For a call.
    pub fn new(call: [u8; 32], body_hash: String, reach: String, is_ahead: bool) -> Arc<KeyTicket> {
        Arc::new(KeyTicket { call, body_hash, reach, is_ahead, is_stored: AtomicBool::new(false) })
    }

    /// Whether it is on the disk.
    pub fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Acquire)
    }

    /// What is stored of the call once it is answered.
    pub fn answered(&self, answer: String, now_ms: u64) -> AnswerRecord {
        self.record(CallProgress::Answered(answer), now_ms)
    }

    fn record(&self, progress: CallProgress, answered_ms: u64) -> AnswerRecord {
        let (body_hash, reach) = (self.body_hash.clone(), self.reach.clone());
        AnswerRecord { body_hash, answered_ms, reach, progress }
    }

    /// The call of this task that is not stored yet.
    pub(super) fn pending() -> Option<Arc<KeyTicket>> {
        TICKET.try_with(Arc::clone).ok().filter(|it| !it.is_stored())
    }

    /// Stores it in the transaction of its change.
    pub(super) fn append(&self, tables: &mut WriteTables<'_>) -> Result<(), StoreError> {
        let audit = tables.audit_row();
        let progress = match self.is_ahead {
            true => CallProgress::Begun { audit },
            false => CallProgress::Done { audit },
        };
        let record = self.record(progress, tables.now_ms());
        tables.remember_answer(&self.call, &record)
    }

    /// It is on the disk.
    pub(super) fn committed(&self) {
        self.is_stored.store(true, Ordering::Release);
    }
}

/// Carries out what a call does; its first write that changes something takes the key along.
pub async fn keyed<F: Future>(ticket: Arc<KeyTicket>, work: F) -> F::Output {
    TICKET.scope(ticket, work).await
}

impl WriteTables<'_> {
    /// Remembers an answer.
    pub fn remember_answer(
        &mut self,
        call: &[u8; 32],
        answer: &AnswerRecord,
    ) -> Result<(), StoreError> {
        self.answers()?.insert(call, encode(answer)?.as_slice())?;
        Ok(())
    }

    /// Forgets a call, which may be sent again.
    pub fn forget_answer(&mut self, call: &[u8; 32]) -> Result<(), StoreError> {
        self.answers()?.remove(call)?;
        Ok(())
    }

    /// Forgets the answers that are old enough.
    pub fn forget_answers(&mut self) -> Result<(), StoreError> {
        let before_ms = self.now_ms().saturating_sub(REMEMBERED_MS);
        let mut old = Vec::new();
        for row in self.answers()?.iter()? {
            let (call, value) = row?;
            if decode::<AnswerRecord>(value.value())?.answered_ms < before_ms {
                old.push(*call.value());
            }
        }
        for call in old {
            self.answers()?.remove(&call)?;
        }
        Ok(())
    }
}

impl ReadTables {
    /// The answer that is remembered of a call.
    pub fn answer(&self, call: &[u8; 32], now_ms: u64) -> Result<Option<AnswerRecord>, StoreError> {
        let Some(row) = self.table(schema::ANSWERS)?.get(call)? else { return Ok(None) };
        let answer: AnswerRecord = decode(row.value())?;
        Ok((answer.answered_ms.saturating_add(REMEMBERED_MS) > now_ms).then_some(answer))
    }
}
