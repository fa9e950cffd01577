//! The audit log: rows that are only ever added, each chained to the one before by a hash, so that one
//! that was changed, taken out or put in between is noticed.
//!
//! A call that changes something is written down in the very transaction that changes it: whoever
//! carries a call out does so within [`audited`], and the first write of that task takes the row along.
//! No daemon is ever killed between the two.
//!
//! Must never: change a row, or remove one but from the oldest end (`audit_prune.rs`); be handed a secret.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::tables::{Page, PageRequest, ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::model::audit::{AuditEvent, AuditFilter, AuditRow, AuditedCall};

/// Version of a row: `[version][SHA-256][JSON]`.
const VERSION: u8 = 1;
const HASH_BYTES: usize = 32;

/// Links a row to the one before.
pub type AuditHash = [u8; HASH_BYTES];

/// What the first row is chained to.
pub const BEFORE_THE_FIRST: AuditHash = [0; HASH_BYTES];

/// A row with what chains it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAudit {
    /// Its place.
    pub seq: u64,
    /// SHA-256 of the hash of the row before and of `json`.
    pub hash: AuditHash,
    /// The row as it was written.
    pub json: String,
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The first row that is not as it was written.
    pub seq: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What looking at some rows of the chain found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// How many rows were looked at.
    pub checked: u64,
    /// The last that was, and its hash.
    pub last: (u64, AuditHash),
    /// The first that is wrong.
    pub broken: Option<Broken>,
    /// Whether there are more.
    pub has_more: bool,
}

/// The hash of a row.
pub fn audit_hash(before: &AuditHash, json: &[u8]) -> AuditHash {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(json);
    hash.finalize().into()
}

/// A call that is to be written down with the first thing that it changes.
#[derive(Debug)]
pub struct AuditTicket {
    call: AuditedCall,
    /// The row, once it is on the disk.
    begun: AtomicU64,
}

tokio::task_local! {
    static TICKET: Arc<AuditTicket>;
}

impl AuditTicket {
    /// For a call.
    pub fn new(call: AuditedCall) -> Arc<AuditTicket> {
        Arc::new(AuditTicket { call, begun: AtomicU64::new(0) })
    }

    /// The row that says that it began, if something was changed.
    pub fn begun(&self) -> Option<u64> {
        Some(self.begun.load(Ordering::Acquire)).filter(|it| *it != 0)
    }

    /// The call of this task that is not written down yet.
    pub(super) fn pending() -> Option<Arc<AuditTicket>> {
        TICKET.try_with(Arc::clone).ok().filter(|it| it.begun().is_none())
    }

    /// Writes it down in the transaction of its change.
    pub(super) fn append(&self, tables: &mut WriteTables<'_>) -> Result<u64, StoreError> {
        tables.append_audit(&AuditEvent::Begun { call: self.call.clone() })
    }

    /// It is on the disk; 0 when that write changed nothing.
    pub(super) fn committed(&self, seq: u64) {
        self.begun.store(seq, Ordering::Release);
    }
}

/// Carries out what a call does; its first write takes the row along.
pub async fn audited<F: Future>(ticket: Arc<AuditTicket>, work: F) -> F::Output {
    TICKET.scope(ticket, work).await
}

pub(super) fn decode(bytes: &[u8]) -> Result<(AuditHash, &[u8]), StoreError> {
    let truncated = || StoreError::corrupt("truncated audit row");
    let (version, rest) = bytes.split_first().ok_or_else(truncated)?;
    if *version != VERSION {
        return Err(StoreError::corrupt(format!("audit row of unknown version {version}")));
    }
    let (hash, json) = rest.split_first_chunk::<HASH_BYTES>().ok_or_else(truncated)?;
    Ok((*hash, json))
}

pub(super) fn parse(json: &[u8]) -> Result<AuditRow, StoreError> {
    serde_json::from_slice(json)
        .map_err(|error| StoreError::corrupt(format!("unreadable audit row: {error}")))
}

pub(super) fn seq_of(key: u128) -> u64 {
    u64::try_from(key).unwrap_or(u64::MAX)
}

impl WriteTables<'_> {
    /// Adds a row; answers its place.
    pub fn append_audit(&mut self, event: &AuditEvent) -> Result<u64, StoreError> {
        let (last, before) = match self.audit()?.last()? {
            Some((key, value)) => (seq_of(key.value()), decode(value.value())?.0),
            None => (0, BEFORE_THE_FIRST),
        };
        let row = AuditRow { seq: last + 1, at_ms: self.now_ms(), event: event.clone() };
        let json = serde_json::to_vec(&row)
            .map_err(|error| StoreError::corrupt(format!("audit row: {error}")))?;
        let hash = audit_hash(&before, &json);
        let mut bytes = Vec::with_capacity(1 + HASH_BYTES + json.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&hash);
        bytes.extend_from_slice(&json);
        self.audit()?.insert(u128::from(row.seq), bytes.as_slice())?;
        if let AuditEvent::Done { begun: Some(begun), .. } = event {
            self.audit_ends()?.insert(u128::from(*begun), u128::from(row.seq))?;
        }
        match event {
            AuditEvent::Begun { .. } => self.note_audit_row(row.seq),
            // That something ended is no part of what it did.
            AuditEvent::Done { .. } | AuditEvent::Refused(_) => self.made_nothing(())?,
        }
        Ok(row.seq)
    }
}

impl ReadTables {
    /// Rows, newest first; one that says that a call began is left out when there is one that says how
    /// it ended.
    pub fn list_audit(
        &self,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditRow>, StoreError> {
        let ends = self.table(schema::AUDIT_ENDS)?;
        let rows = self.table(schema::AUDIT)?;
        // The index is in no hash: a row counts only for what it says itself.
        let has_ended = |begun: u128| -> Result<bool, StoreError> {
            let Some(end) = ends.get(begun)? else { return Ok(false) };
            let Some(end) = rows.get(end.value())? else { return Ok(false) };
            Ok(match parse(decode(end.value())?.1)?.event {
                AuditEvent::Done { begun: Some(of), .. } => u128::from(of) == begun,
                AuditEvent::Done { begun: None, .. }
                | AuditEvent::Begun { .. }
                | AuditEvent::Refused(_) => false,
            })
        };
        page.read(&self.table(schema::AUDIT)?, |key, value| {
            let row = parse(decode(value)?.1)?;
            if !filter.wants(&row) {
                return Ok(None);
            }
            let has_ended = match row.event {
                AuditEvent::Begun { .. } => has_ended(key)?,
                AuditEvent::Done { .. } | AuditEvent::Refused(_) => false,
            };
            Ok((!has_ended).then_some(row))
        })
    }

    /// Every row as it was written, oldest first, from a place on.
    pub fn export_audit(&self, from: u64, limit: usize) -> Result<Vec<StoredAudit>, StoreError> {
        let mut rows = Vec::new();
        for row in self.table(schema::AUDIT)?.range(u128::from(from)..)?.take(limit) {
            let (key, value) = row?;
            let (hash, json) = decode(value.value())?;
            let json = String::from_utf8_lossy(json).into_owned();
            rows.push(StoredAudit { seq: seq_of(key.value()), hash, json });
        }
        Ok(rows)
    }

    /// When the oldest row was written; nothing when that cannot be read, which verifying tells of.
    pub fn first_audit_ms(&self) -> Result<Option<u64>, StoreError> {
        let table = self.table(schema::AUDIT)?;
        let first = table.first()?;
        let row = first.and_then(|(_, it)| parse(decode(it.value()).ok()?.1).ok());
        Ok(row.map(|it| it.at_ms))
    }

    /// The hash of a row.
    pub fn audit_hash_of(&self, seq: u64) -> Result<Option<AuditHash>, StoreError> {
        let row = self.table(schema::AUDIT)?.get(u128::from(seq))?;
        row.map(|it| decode(it.value()).map(|it| it.0)).transpose()
    }

    /// Looks at no more than `most` rows of the chain, from a place on; from where the log begins, when
    /// that is later.
    pub fn verify_audit(&self, from: u64, most: usize) -> Result<Verified, StoreError> {
        let (start, chained_to) = match self.audit_anchor()? {
            Some(anchor) => (anchor.seq + 1, anchor.hash),
            None => (1, BEFORE_THE_FIRST),
        };
        let first = from.max(start);
        let mut before = match first {
            first if first == start => Some(chained_to),
            later => self.audit_hash_of(later - 1)?,
        };
        let mut found = Verified {
            checked: 0,
            last: (first - 1, before.unwrap_or(BEFORE_THE_FIRST)),
            broken: None,
            has_more: false,
        };
        if before.is_none() {
            let what = "there is no such row to go on from";
            found.broken = Some(Broken { seq: first - 1, what });
            return Ok(found);
        }
        let table = self.table(schema::AUDIT)?;
        for row in table.range(u128::from(first)..)? {
            if found.checked == most as u64 {
                found.has_more = true;
                break;
            }
            let (key, value) = row?;
            let expected = found.last.0 + 1;
            let what = match (seq_of(key.value()) == expected, before, decode(value.value())) {
                (false, _, _) | (true, None, _) => Some("rows before it are missing"),
                (true, _, Err(_)) => Some("it cannot be read"),
                (true, Some(before), Ok((hash, json))) => {
                    found.last = (expected, hash);
                    let says = parse(json).ok().map(|it| it.seq);
                    if audit_hash(&before, json) != hash {
                        Some("it does not go with its hash and the row before")
                    } else if says != Some(expected) {
                        Some("it says that it is another row")
                    } else {
                        None
                    }
                }
            };
            if let Some(what) = what {
                found.broken = Some(Broken { seq: expected, what });
                break;
            }
            found.checked += 1;
            before = Some(found.last.1);
        }
        Ok(found)
    }
}
