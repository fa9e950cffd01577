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

/// How making a token went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCreation {
    /// It can be used.
    Created,
    /// There is one of that name.
    NameTaken,
}

impl WriteTables<'_> {
    /// Stores a token by its hash, unless there is one of that name.
    pub fn create_token(
        &mut self,
        token: &str,
        record: &TokenRecord,
    ) -> Result<TokenCreation, StoreError> {
        if self.token_hash(&record.name)?.is_some() {
            return Ok(TokenCreation::NameTaken);
        }
        self.add_token(token, record)?;
        Ok(TokenCreation::Created)
    }

    /// Deletes the token of a name; says whether there was one.
    pub fn delete_token(&mut self, name: &str) -> Result<bool, StoreError> {
        let Some(hash) = self.token_hash(name)? else { return Ok(false) };
        Ok(self.tokens()?.remove(&hash)?.is_some())
    }

    fn token_hash(&mut self, name: &str) -> Result<Option<[u8; 32]>, StoreError> {
        for row in self.tokens()?.iter()? {
            let (hash, value) = row?;
            if decode::<TokenRecord>(value.value())?.name == name {
                return Ok(Some(*hash.value()));
            }
        }
        Ok(None)
    }
}

impl ReadTables {
    /// Every token, without what it is.
    pub fn list_tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let mut tokens = Vec::new();
        for row in self.table(schema::TOKENS)?.iter()? {
            tokens.push(decode(row?.1.value())?);
        }
        Ok(tokens)
    }

    /// Whether no token was ever made: the first start.
    pub fn has_no_tokens(&self) -> Result<bool, StoreError> {
        Ok(self.table(schema::TOKENS)?.first()?.is_none())
    }

    /// What a token is for, if it is one of ours.
    pub fn token(&self, token: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.table(schema::TOKENS)?.get(&hash(token))?.map(|it| decode(it.value())).transpose()
    }
}
