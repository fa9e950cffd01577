//! Envelopes: how a secret is stored. One authenticated ciphertext (XChaCha20-Poly1305), bound to the
//! id of its owner, so that an envelope that is copied to another row does not open.
//!
//! Form: `[form: 1 byte][key id: 4 bytes][nonce: 24 bytes][ciphertext and tag]`. The key id is not
//! secret: it says which master key sealed it, while a rotation is under way.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::MasterKey;

const FORM: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;
const HEAD: usize = 1 + KEY_ID + NONCE;

/// Seals and opens envelopes.
pub struct Vault {
    key_id: [u8; KEY_ID],
    cipher: XChaCha20Poly1305,
}

/// Why an envelope does not open. Never says anything of what is inside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It is no envelope, or was changed, or belongs to another owner.
    #[error("a stored secret cannot be opened: it was damaged or moved")]
    Damaged,
    /// It was sealed with a key that is not here.
    #[error(
        "a stored secret was sealed with another master key: give back the key that this database \
         was written with, or set the secret anew"
    )]
    OtherKey,
}

impl Vault {
    /// With a key derived from the host's.
    pub fn new(master: &MasterKey) -> Vault {
        let key = Zeroizing::new(master.derive("mortise envelope v1"));
        let id = master.derive("mortise envelope key id v1");
        let mut key_id = [0; KEY_ID];
        key_id.copy_from_slice(&id[..KEY_ID]);
        Vault { key_id, cipher: XChaCha20Poly1305::new(&Key::from(*key)) }
    }

    /// Seals a secret for its owner: the id of the row that it is stored for.
    pub fn seal(&self, owner: u128, secret: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        crate::random::fill(&mut nonce);
        let payload = Payload { msg: secret, aad: &owner.to_be_bytes() };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("secrets are far smaller than what the cipher can take");
        let mut envelope = Vec::with_capacity(HEAD + sealed.len());
        envelope.push(FORM);
        envelope.extend_from_slice(&self.key_id);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&sealed);
        envelope
    }

    /// Opens the envelope of an owner.
    pub fn open(&self, owner: u128, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (head, sealed) = envelope.split_at_checked(HEAD).ok_or(VaultError::Damaged)?;
        let (form, head) = head.split_first().ok_or(VaultError::Damaged)?;
        let (key_id, nonce) = head.split_at_checked(KEY_ID).ok_or(VaultError::Damaged)?;
        if *form != FORM {
            return Err(VaultError::Damaged);
        }
        if key_id != self.key_id {
            return Err(VaultError::OtherKey);
        }
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| VaultError::Damaged)?;
        let payload = Payload { msg: sealed, aad: &owner.to_be_bytes() };
        let opened = self.cipher.decrypt(&XNonce::from(nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| VaultError::Damaged)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_for_its_owner_and_key_only() {
        let state = tempfile::tempdir().expect("tempdir");
        let vault = Vault::new(&MasterKey::load(None, state.path()).expect("made"));
        let mut envelope = vault.seal(7, b"open sesame");
        assert_eq!(vault.open(7, &envelope).expect("opens").as_slice(), b"open sesame");
        assert_eq!(vault.open(8, &envelope), Err(VaultError::Damaged));
        let other = tempfile::tempdir().expect("tempdir");
        let other = Vault::new(&MasterKey::load(None, other.path()).expect("made"));
        assert_eq!(other.open(7, &envelope), Err(VaultError::OtherKey));
        let last = envelope.len() - 1;
        envelope[last] ^= 1;
        assert_eq!(vault.open(7, &envelope), Err(VaultError::Damaged));
        assert_eq!(vault.open(7, b"short"), Err(VaultError::Damaged));
    }
}
