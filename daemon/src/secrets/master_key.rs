//! One master key, and what is derived from it. Its bytes leave this folder for the key file only.

use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a master key, and of what is derived from one.
const LENGTH: usize = 32;

/// 256 random bits that secrets of this host hang on.
pub(super) struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; LENGTH]>,
    /// Seals and opens envelopes.
    pub(super) envelopes: XChaCha20Poly1305,
    /// Signs service-account tokens.
    pub(super) tokens: Zeroizing<[u8; LENGTH]>,
    /// Signs URLs of artifacts.
    pub(super) urls: Zeroizing<[u8; LENGTH]>,
}

/// Tells master keys apart. It is derived from the key, and says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; KeyId::LENGTH]);

impl KeyId {
    pub(super) const LENGTH: usize = 4;
}

impl MasterKey {
    /// A new one, from the system's random bytes.
    pub(super) fn new() -> MasterKey {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        crate::random::fill(bytes.as_mut_slice());
        MasterKey::from_bytes(bytes)
    }

    /// One that was written by [`MasterKey::to_text`]: so many bytes in hexadecimal.
    pub(super) fn from_text(text: &str) -> Option<MasterKey> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        Some(MasterKey::from_bytes(bytes))
    }

    /// For the key file.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.bytes.as_slice()))
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// Whether it is the same key.
    pub(super) fn is(&self, other: &MasterKey) -> bool {
        self.bytes == other.bytes
    }

    fn from_bytes(bytes: Zeroizing<[u8; LENGTH]>) -> MasterKey {
        // A key for one purpose: knowing it tells nothing about the others.
        let derive = |purpose: &str| Zeroizing::new(mac(bytes.as_slice(), purpose.as_bytes()));
        let mut id = [0; KeyId::LENGTH];
        id.copy_from_slice(&derive("mortise envelope key id v1")[..KeyId::LENGTH]);
        MasterKey {
            id: KeyId(id),
            envelopes: XChaCha20Poly1305::new(&Key::from(*derive("mortise envelope v1"))),
            tokens: derive("mortise service-account token v1"),
            urls: derive("mortise artifact url v1"),
            bytes,
        }
    }
}

/// HMAC-SHA256.
pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; LENGTH] {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gives_the_same_key_back_and_debug_gives_nothing_away() {
        let key = MasterKey::new();
        let text = key.to_text();
        let again = MasterKey::from_text(&text).expect("its own text");
        assert_eq!((again.id(), &again.tokens), (key.id(), &key.tokens));
        assert_ne!(MasterKey::new().id(), key.id());
        assert_ne!(key.tokens, key.bytes);
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.id().to_string()) && !text.contains(&key.id().to_string()));
        assert!(!shown.contains(&text[..16]), "{shown}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let text = "07".repeat(LENGTH);
        assert!(MasterKey::from_text(&text).is_some());
        for broken in ["", "07", &text[1..], &format!("{text}00"), &text.replace('7', "x")] {
            assert!(MasterKey::from_text(broken).is_none(), "{broken}");
        }
    }
}
