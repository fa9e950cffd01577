//! Ed25519 public keys.
//!
//! The signed content has to lie in one piece for this, so that it is copied once: the only place
//! here where a body is copied before its signature is known to be right.

use ring::signature::{ED25519, UnparsedPublicKey};

/// Bytes of a signature.
pub(super) const SIGNATURE: usize = 64;
/// Bytes of a public key.
pub(super) const KEY: usize = 32;

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublicKey([u8; KEY]);

impl PublicKey {
    pub(super) fn new(bytes: &[u8]) -> Option<PublicKey> {
        Some(PublicKey(bytes.try_into().ok()?))
    }

    pub(super) fn made(&self, signature: &[u8], content: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(content, signature).is_ok()
    }
}
