//! Authorizations under way: somebody was sent to an external system with a `state`, and comes back
//! with it at most once. The `state` itself is not stored, and the verifier is in an envelope.

use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::record::{decode, encode};
use super::records::AuthorizationRecord;
use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::model::id::KeyringId;
use crate::model::keyring::KeyringOwner;

/// An authorization that was begun, with its sealed half.
#[derive(Clone, Debug)]
pub struct BegunAuthorization {
    /// What was begun.
    pub record: AuthorizationRecord,
    /// The envelope.
    pub sealed: Vec<u8>,
}

fn hash(state: &str) -> [u8; 32] {
    // A state is 256 random bits: nothing slower than one hash is needed to keep it secret.
    Sha256::digest(state).into()
}

impl WriteTables<'_> {
    /// Begins an authorization in place of those that are over and of one for the same keyring.
    /// Envelope and id of it are the store's.
    pub fn begin_authorization(
        &mut self,
        state: &str,
        new: &AuthorizationRecord,
        seal: &dyn Fn(u128) -> Vec<u8>,
    ) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        self.forget_authorizations(|it| it.expires_ms <= now_ms || it.owner == new.owner)?;
        let envelope = KeyringId(self.new_id());
        let record = AuthorizationRecord { envelope, ..new.clone() };
        self.authorizations()?.insert(&hash(state), encode(&record)?.as_slice())?;
        self.put_envelope(envelope.0, &seal(envelope.0))
    }

    /// Takes an authorization out: it can be used once, and only before it expires.
    pub fn take_authorization(
        &mut self,
        state: &str,
    ) -> Result<Option<BegunAuthorization>, StoreError> {
        let row = self.authorizations()?.remove(&hash(state))?.map(|it| it.value().to_vec());
        let Some(row) = row else { return Ok(None) };
        let record: AuthorizationRecord = decode(&row)?;
        let sealed = self.envelopes()?.remove(record.envelope.0)?.map(|it| it.value().to_vec());
        let is_over = record.expires_ms <= self.now_ms();
        Ok(sealed.filter(|_| !is_over).map(|sealed| BegunAuthorization { record, sealed }))
    }

    /// Removes the authorizations that `unwanted` picks.
    pub(super) fn forget_authorizations(
        &mut self,
        unwanted: impl Fn(&AuthorizationRecord) -> bool,
    ) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for row in self.authorizations()?.iter()? {
            let (key, value) = row?;
            let record: AuthorizationRecord = decode(value.value())?;
            if unwanted(&record) {
                found.push((*key.value(), record.envelope));
            }
        }
        for (key, envelope) in found {
            self.authorizations()?.remove(&key)?;
            self.remove_envelope(envelope.0)?;
        }
        Ok(())
    }
}

impl ReadTables {
    /// The authorization with this `state`, if it is under way: strangers must not cause writes.
    pub fn authorization(
        &self,
        state: &str,
        now_ms: u64,
    ) -> Result<Option<AuthorizationRecord>, StoreError> {
        let table = self.table(schema::AUTHORIZATIONS)?;
        let Some(row) = table.get(&hash(state))? else { return Ok(None) };
        let record: AuthorizationRecord = decode(row.value())?;
        Ok(Some(record).filter(|it| it.expires_ms > now_ms))
    }

    /// The authorization that is under way for an owner's keyring.
    pub fn authorization_of(
        &self,
        owner: &KeyringOwner,
        now_ms: u64,
    ) -> Result<Option<AuthorizationRecord>, StoreError> {
        for row in self.table(schema::AUTHORIZATIONS)?.iter()? {
            let record: AuthorizationRecord = decode(row?.1.value())?;
            if record.owner == *owner && record.expires_ms > now_ms {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}
