//! Secrets by the id of their owner. They come sealed and go sealed: what is inside, and which key
//! opens it, only `secrets` knows.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::records::KeyringRecord;
use super::tables::{ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::keyring::KeyringState;

impl WriteTables<'_> {
    /// Stores the envelope of an owner in place of the one that he has.
    pub fn put_envelope(&mut self, owner: u128, envelope: &[u8]) -> Result<(), StoreError> {
        self.envelopes()?.insert(owner, envelope)?;
        Ok(())
    }

    /// Stores an envelope that was made of `expected`, if the owner still has that one. Says whether
    /// he had.
    pub fn replace_envelope(
        &mut self,
        owner: u128,
        expected: &[u8],
        envelope: &[u8],
    ) -> Result<bool, StoreError> {
        let table = self.envelopes()?;
        if table.get(owner)?.is_none_or(|it| it.value() != expected) {
            return Ok(false);
        }
        table.insert(owner, envelope)?;
        Ok(true)
    }

    /// Removes the envelopes that `is_lost` picks. Keyrings that had one are broken for `reason`
    /// then. Answers how many there were.
    pub fn forget_envelopes(
        &mut self,
        is_lost: impl Fn(&[u8]) -> bool,
        reason: &str,
    ) -> Result<usize, StoreError> {
        let mut owners = Vec::new();
        for row in self.envelopes()?.range(0u128..)? {
            let (owner, envelope) = row?;
            if is_lost(envelope.value()) {
                owners.push(owner.value());
            }
        }
        for owner in &owners {
            self.envelopes()?.remove(owner)?;
            if let Some(mut record) = get::<KeyringRecord>(self.keyrings()?, *owner)? {
                record.state = KeyringState::Broken { reason: reason.to_owned() };
                put(self.keyrings()?, *owner, &record)?;
            }
        }
        Ok(owners.len())
    }

    /// Removes the envelope of an owner, if he has one.
    pub fn remove_envelope(&mut self, owner: u128) -> Result<(), StoreError> {
        self.envelopes()?.remove(owner)?;
        Ok(())
    }
}

impl ReadTables {
    /// The envelope of an owner.
    pub fn envelope(&self, owner: u128) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.table(schema::ENVELOPES)?.get(owner)?.map(|it| it.value().to_vec()))
    }

    /// At most `limit` envelopes with their owners, from the owner `from` on, in order of owners.
    pub fn envelopes(&self, from: u128, limit: usize) -> Result<Vec<(u128, Vec<u8>)>, StoreError> {
        let rows = self.table(schema::ENVELOPES)?;
        rows.range(from..)?
            .take(limit)
            .map(|row| row.map(|(owner, it)| (owner.value(), it.value().to_vec())))
            .map(|row| row.map_err(StoreError::from))
            .collect()
    }

    /// How many envelopes there are of each kind, as `kind` tells from their bytes. Looks at all.
    pub fn count_envelopes<K: Ord>(
        &self,
        kind: impl Fn(&[u8]) -> K,
    ) -> Result<BTreeMap<K, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for row in self.table(schema::ENVELOPES)?.range(0u128..)? {
            *counts.entry(kind(row?.1.value())).or_default() += 1;
        }
        Ok(counts)
    }
}
