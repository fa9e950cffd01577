//! API tokens, by their hash. The tokens themselves are never stored.

use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::record::{decode, encode};
use super::records::TokenRecord;
use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};

fn hash(token: &str) -> [u8; 32] {
    // A token is 256 random bits: nothing slower than one hash is needed to keep it secret.
    Sha256::digest(token).into()
}

impl WriteTables<'_> {
    /// Stores a token by its hash.
    pub fn add_token(&mut self, token: &str, record: &TokenRecord) -> Result<(), StoreError> {
        self.tokens()?.insert(&hash(token), encode(record)?.as_slice())?;
        Ok(())
    }
}

impl ReadTables {
    /// Whether no token was ever made: the first start.
    pub fn has_no_tokens(&self) -> Result<bool, StoreError> {
        Ok(self.table(schema::TOKENS)?.first()?.is_none())
    }

    /// What a token is for, if it is one of ours.
    pub fn token(&self, token: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.table(schema::TOKENS)?.get(&hash(token))?.map(|it| decode(it.value())).transpose()
    }
}
