//! The oldest end of the audit log: rows that are older than the administrator wants to keep. What is
//! left is still a chain: it begins at the anchor, which is the place and the hash of the last row that
//! was pruned.
//!
//! Must never: take a row from anywhere else; take one that is not as it was written, which is evidence.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::audit::{BEFORE_THE_FIRST, audit_hash, decode, parse, seq_of};
use super::record::{self, Record};
use super::tables::{ReadTables, WriteTables};
use super::{AuditHash, StoreError, schema};
use crate::model::audit::{AuditEvent, AuditedCall};

/// The only key of the table.
const KEY: u8 = 0;

/// Where the log begins, because rows before were pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAnchor {
    /// The last row that was pruned; how many were, for they count from 1.
    pub seq: u64,
    /// Its hash, which the first row that is left is chained to.
    pub hash: AuditHash,
    /// When it was written, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// When it was pruned.
    pub pruned_ms: u64,
    /// Rows that were pruned since the log said so itself.
    unsaid: u64,
}

impl Record for AuditAnchor {
    const NAME: &'static str = "anchor of the audit log";
}

/// What a step of pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditPruned {
    /// There may be more that is old enough.
    More,
    /// There is nothing left that is.
    All,
    /// This row is not as it was written: it stays, and so do those after it.
    Broken(u64),
}

impl WriteTables<'_> {
    /// Takes no more than `most` rows from the oldest end that were written before `before_ms`. The newest
    /// row stays. When nothing more is to be taken, a row of the log says what was.
    pub fn prune_audit(&mut self, before_ms: u64, most: usize) -> Result<AuditPruned, StoreError> {
        let mut anchor = self.audit_anchor()?.get(KEY)?.map(|it| record::decode(it.value()));
        let mut anchor: Option<AuditAnchor> = anchor.take().transpose()?;
        let mut before = anchor.as_ref().map_or(BEFORE_THE_FIRST, |it| it.hash);
        let first = anchor.as_ref().map_or(1, |it| it.seq + 1);
        let newest = self.audit()?.last()?.map(|it| it.0.value()).unwrap_or_default();
        let mut old = Vec::new();
        let mut last = None;
        let mut outcome = AuditPruned::All;
        for (expected, row) in (first..).zip(self.audit()?.range(..newest)?) {
            let (key, value) = row?;
            let as_written = decode(value.value()).and_then(|(hash, json)| {
                let row = parse(json)?;
                let is_next = seq_of(key.value()) == expected && row.seq == expected;
                Ok((is_next && audit_hash(&before, json) == hash).then_some((hash, row.at_ms)))
            });
            let Some((hash, at_ms)) = as_written.ok().flatten() else {
                outcome = AuditPruned::Broken(expected);
                break;
            };
            if at_ms >= before_ms {
                break;
            }
            if old.len() == most {
                outcome = AuditPruned::More;
                break;
            }
            old.push(key.value());
            last = Some((expected, hash, at_ms));
            before = hash;
        }
        let pruned_ms = self.now_ms();
        if let Some((seq, hash, at_ms)) = last {
            let unsaid = anchor.map_or(0, |it| it.unsaid) + old.len() as u64;
            anchor = Some(AuditAnchor { seq, hash, at_ms, pruned_ms, unsaid });
        }
        for key in &old {
            self.audit()?.remove(*key)?;
            self.audit_ends()?.remove(*key)?;
        }
        let Some(mut anchor) = anchor else { return Ok(outcome) };
        if outcome != AuditPruned::More && anchor.unsaid > 0 {
            self.append_audit(&said(&anchor))?;
            anchor.unsaid = 0;
        } else if old.is_empty() {
            return Ok(outcome);
        }
        let bytes = record::encode(&anchor)?;
        self.audit_anchor()?.insert(KEY, bytes.as_slice())?;
        Ok(outcome)
    }
}

/// What the log says of its own pruning.
fn said(anchor: &AuditAnchor) -> AuditEvent {
    let call = AuditedCall {
        call: "audit.prune".to_owned(),
        who: "mortise".to_owned(),
        principal: None,
        token: None,
        run: None,
        peer: String::new(),
        target: Some(format!("rows up to {}", anchor.seq)),
        also: Vec::new(),
        request: Map::new(),
    };
    let after = json!({
        "rows": anchor.unsaid, "last_seq": anchor.seq, "last_hash": hex::encode(anchor.hash),
    });
    let after = Some(after);
    AuditEvent::Done { call, begun: None, status: 200, code: None, before: None, after }
}

impl ReadTables {
    /// Where the log begins; nothing when it has all its rows.
    pub fn audit_anchor(&self) -> Result<Option<AuditAnchor>, StoreError> {
        let row = self.table(schema::AUDIT_ANCHOR)?.get(KEY)?;
        row.map(|it| record::decode(it.value())).transpose()
    }
}
