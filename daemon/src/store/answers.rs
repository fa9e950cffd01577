//! Answers to calls that were sent with an `Idempotency-Key`, for a day: whoever repeats such a call
//! gets the same answer, and nothing is done twice. Answers with secrets must never come here.

use redb::ReadableTable;

use super::record::{decode, encode};
use super::records::AnswerRecord;
use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};

/// How long an answer is remembered.
pub const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

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
