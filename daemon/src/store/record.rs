//! How a record becomes bytes: `[version][JSON]`, or `[version][u32 length][JSON][tail]` for those
//! with a raw part (a payload, a result) that is stored as it came.
//!
//! Invariant: a stored version is never reinterpreted. A record type that changes shape gets a new
//! [`Record::VERSION`] when the field is added, and reads the older ones in [`Record::from_older`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// Something that is stored as a row.
pub trait Record: Serialize + DeserializeOwned {
    /// Name for error messages.
    const NAME: &'static str;
    /// Version of the shape that is written.
    const VERSION: u8 = 1;

    /// Reads a shape that an older program wrote.
    fn from_older(version: u8, json: &[u8]) -> Result<Self, StoreError> {
        let _ = json;
        Err(StoreError::corrupt(format!("{} record of unknown version {version}", Self::NAME)))
    }
}

/// A record without a tail.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![R::VERSION];
    serde_json::to_writer(&mut bytes, record).map_err(|it| unwritable::<R>(&it))?;
    Ok(bytes)
}

/// Reads what [`encode`] wrote.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    let (version, json) = bytes.split_first().ok_or_else(truncated::<R>)?;
    parse(*version, json)
}

/// A record with a tail.
pub fn encode_with_tail<R: Record>(record: &R, tail: &[u8]) -> Result<Vec<u8>, StoreError> {
    const HEAD_GUESS: usize = 384;
    let mut bytes = Vec::with_capacity(HEAD_GUESS + tail.len());
    bytes.extend_from_slice(&[R::VERSION, 0, 0, 0, 0]);
    serde_json::to_writer(&mut bytes, record).map_err(|it| unwritable::<R>(&it))?;
    let length = u32::try_from(bytes.len() - 5)
        .map_err(|_| StoreError::corrupt(format!("{} record of over 4 GiB", R::NAME)))?;
    bytes[1..5].copy_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(tail);
    Ok(bytes)
}

/// Reads what [`encode_with_tail`] wrote.
pub fn decode_with_tail<R: Record>(bytes: &[u8]) -> Result<(R, &[u8]), StoreError> {
    let (version, rest) = bytes.split_first().ok_or_else(truncated::<R>)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(truncated::<R>)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (json, tail) = rest.split_at_checked(length).ok_or_else(truncated::<R>)?;
    Ok((parse(*version, json)?, tail))
}

fn parse<R: Record>(version: u8, json: &[u8]) -> Result<R, StoreError> {
    if version != R::VERSION {
        return R::from_older(version, json);
    }
    serde_json::from_slice(json)
        .map_err(|it| StoreError::corrupt(format!("unreadable {} record: {it}", R::NAME)))
}

fn truncated<R: Record>() -> StoreError {
    StoreError::corrupt(format!("truncated {} record", R::NAME))
}

fn unwritable<R: Record>(error: &serde_json::Error) -> StoreError {
    StoreError::corrupt(format!("{} record that cannot be written: {error}", R::NAME))
}
