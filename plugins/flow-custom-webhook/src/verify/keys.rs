//! Keys of signatures, prepared once: an HMAC key is hashed when a source is opened, not for each
//! request. Comparison takes as long for a near miss as for a wild guess.

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// Bytes of a tag.
    pub(super) fn length(self) -> usize {
        match self {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

/// A prepared HMAC key.
#[derive(Clone)]
pub(super) enum MacKey {
    Sha1(Box<Hmac<Sha1>>),
    Sha256(Box<Hmac<Sha256>>),
    Sha512(Box<Hmac<Sha512>>),
}

/// A computed tag.
pub(super) struct Tag {
    bytes: [u8; 64],
    length: usize,
}

impl MacKey {
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<MacKey> {
        fn prepared<H: EagerHash>(key: &[u8]) -> Option<Box<Hmac<H>>> {
            Some(Box::new(<Hmac<H> as KeyInit>::new_from_slice(key).ok()?))
        }
        Some(match algorithm {
            Algorithm::Sha1 => MacKey::Sha1(prepared(key)?),
            Algorithm::Sha256 => MacKey::Sha256(prepared(key)?),
            Algorithm::Sha512 => MacKey::Sha512(prepared(key)?),
        })
    }

    /// The tag over what `feed` gives, piece by piece.
    pub(super) fn tag(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Tag {
        fn finish(mac: impl Mac, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Tag {
            let mut mac = mac;
            feed(&mut |piece| mac.update(piece));
            let tag = mac.finalize().into_bytes();
            let mut bytes = [0; 64];
            let length = tag.len().min(bytes.len());
            bytes[..length].copy_from_slice(&tag[..length]);
            Tag { bytes, length }
        }
        match self {
            MacKey::Sha1(mac) => finish(Hmac::clone(mac), feed),
            MacKey::Sha256(mac) => finish(Hmac::clone(mac), feed),
            MacKey::Sha512(mac) => finish(Hmac::clone(mac), feed),
        }
    }
}

impl Tag {
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        self.bytes[..self.length].ct_eq(presented).into()
    }
}
