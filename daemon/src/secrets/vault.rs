//! Envelopes: how a secret is stored. One authenticated ciphertext (XChaCha20-Poly1305), bound to the
//! id of its owner, so that an envelope that is copied to another row does not open.
//!
//! Form: `[form: 1 byte][key id: 4 bytes][nonce: 24 bytes][ciphertext and tag]`. The key id is not
//! secret: it says which master key sealed it, while a rotation is under way.

use chacha20poly1305::XNonce;
use chacha20poly1305::aead::{Aead, Payload};
use zeroize::Zeroizing;

use super::master_key::{KeyId, MasterKey};
use super::master_keys::MasterKeys;

const FORM: u8 = 1;
const NONCE: usize = 24;
const HEAD: usize = 1 + KeyId::LENGTH + NONCE;

/// Seals envelopes with the master key in use, and opens those of all that are at hand.
#[derive(Clone)]
pub struct Vault {
    keys: MasterKeys,
}

/// Why an envelope does not open. Never says anything of what is inside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It is no envelope, or was changed, or belongs to another owner.
    #[error("a stored secret cannot be opened: it was damaged or moved; set it anew")]
    Damaged,
    /// It was sealed with a key that is not here.
    #[error(
        "a stored secret was sealed with another master key: give back the key that this database \
         was written with, or set the secret anew"
    )]
    OtherKey,
}

impl Vault {
    /// With the host's master keys.
    pub fn new(keys: &MasterKeys) -> Vault {
        Vault { keys: keys.clone() }
    }

    /// Seals a secret for its owner: the id of the row that it is stored for. To be called inside the
    /// operation that stores the envelope: one that is kept may come to name a key that has gone.
    pub fn seal(&self, owner: u128, secret: &[u8]) -> Vec<u8> {
        seal_with(&self.keys.ring().current, owner, secret)
    }

    /// Opens the envelope of an owner.
    pub fn open(&self, owner: u128, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let parts = Parts::of(envelope).ok_or(VaultError::Damaged)?;
        let ring = self.keys.ring();
        let mut outcome = Err(VaultError::OtherKey);
        for key in ring.all().filter(|it| it.id() == parts.key) {
            let payload = Payload { msg: parts.sealed, aad: &owner.to_be_bytes() };
            match key.envelopes.decrypt(&XNonce::from(parts.nonce), payload) {
                Ok(secret) => return Ok(Zeroizing::new(secret)),
                Err(_) => outcome = Err(VaultError::Damaged),
            }
        }
        outcome
    }

    /// An envelope of the same secret under the key in use; `None` when it is under that already.
    pub fn seal_again(&self, owner: u128, envelope: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let secret = self.open(owner, envelope)?;
        let ring = self.keys.ring();
        if Vault::sealed_with(envelope) == Some(ring.current.id()) {
            return Ok(None);
        }
        Ok(Some(seal_with(&ring.current, owner, &secret)))
    }

    /// Which key an envelope was sealed with; `None` when it is no envelope.
    pub fn sealed_with(envelope: &[u8]) -> Option<KeyId> {
        Parts::of(envelope).map(|it| it.key)
    }
}

struct Parts<'a> {
    key: KeyId,
    nonce: [u8; NONCE],
    sealed: &'a [u8],
}

impl Parts<'_> {
    fn of(envelope: &[u8]) -> Option<Parts<'_>> {
        let (head, sealed) = envelope.split_at_checked(HEAD)?;
        let (form, head) = head.split_first()?;
        let (key, nonce) = head.split_first_chunk()?;
        (*form == FORM).then_some(())?;
        Some(Parts { key: KeyId(*key), nonce: nonce.try_into().ok()?, sealed })
    }
}

fn seal_with(key: &MasterKey, owner: u128, secret: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    crate::random::fill(&mut nonce);
    let payload = Payload { msg: secret, aad: &owner.to_be_bytes() };
    let sealed = key
        .envelopes
        .encrypt(&XNonce::from(nonce), payload)
        .expect("secrets are far smaller than what the cipher can take");
    let mut envelope = Vec::with_capacity(HEAD + sealed.len());
    envelope.push(FORM);
    envelope.extend_from_slice(&key.id().0);
    envelope.extend_from_slice(&nonce);
    envelope.extend_from_slice(&sealed);
    envelope
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn make() -> (tempfile::TempDir, MasterKeys, Vault) {
        let state = tempfile::tempdir().expect("tempdir");
        let keys = MasterKeys::load(None, state.path()).expect("made");
        let vault = Vault::new(&keys);
        (state, keys, vault)
    }

    #[test]
    fn an_envelope_opens_for_its_owner_and_key_only() {
        let (_state, _, vault) = make();
        let (_other_state, _, other) = make();
        let envelope = vault.seal(7, b"open sesame");
        assert_eq!(vault.open(7, &envelope).expect("opens").as_slice(), b"open sesame");
        assert_eq!(vault.open(8, &envelope), Err(VaultError::Damaged));
        assert_eq!(other.open(7, &envelope), Err(VaultError::OtherKey));
        assert_ne!(vault.seal(7, b"open sesame"), envelope, "no nonce is used twice");
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_opens() {
        let (state, keys, vault) = make();
        let old = vault.seal(1, b"first");
        let key = keys.renew().expect("written");
        let new = vault.seal(2, b"second");
        assert_eq!(Vault::sealed_with(&new), Some(key));
        assert_ne!(Vault::sealed_with(&old), Some(key));
        for vault in [&vault, &Vault::new(&MasterKeys::load(None, state.path()).expect("read"))] {
            assert_eq!(vault.open(1, &old).expect("opens").as_slice(), b"first");
            assert_eq!(vault.open(2, &new).expect("opens").as_slice(), b"second");
        }
        let again = vault.seal_again(1, &old).expect("opens").expect("under another key");
        assert_eq!(Vault::sealed_with(&again), Some(key));
        assert_eq!(vault.seal_again(1, &again), Ok(None));
        assert_eq!(vault.seal_again(2, &old), Err(VaultError::Damaged));

        let (_, others) = keys.ids();
        keys.retire(&others).expect("written");
        keys.forget_retired();
        assert_eq!(vault.open(1, &old), Err(VaultError::OtherKey));
        assert_eq!(vault.open(1, &again).expect("opens").as_slice(), b"first");
    }

    proptest! {
        #[test]
        fn only_what_was_sealed_opens(
            owner: u128,
            other: u128,
            secret in proptest::collection::vec(any::<u8>(), 0..300),
            flipped: prop::sample::Index,
            bit in 0u8..8,
            end: prop::sample::Index,
        ) {
            let (_state, _, vault) = make();
            let envelope = vault.seal(owner, &secret);
            let opened = vault.open(owner, &envelope).expect("opens");
            prop_assert_eq!(opened.as_slice(), &secret[..]);
            if other != owner {
                prop_assert_eq!(vault.open(other, &envelope), Err(VaultError::Damaged));
            }
            let mut changed = envelope.clone();
            changed[flipped.index(envelope.len())] ^= 1 << bit;
            prop_assert!(vault.open(owner, &changed).is_err());
            prop_assert!(vault.open(owner, &envelope[..end.index(envelope.len())]).is_err());
            let mut longer = envelope.clone();
            longer.push(bit);
            prop_assert!(vault.open(owner, &longer).is_err());
            if secret.len() >= 6 {
                prop_assert!(!envelope.windows(secret.len()).any(|it| it == secret));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let (_state, _, vault) = make();
            prop_assert!(vault.open(1, &bytes).is_err());
            let _ = Vault::sealed_with(&bytes);
        }

        /// Whatever happens to the keys, each secret opens as long as its key is in the ring.
        #[test]
        fn secrets_survive_any_sequence_of_rotations(steps in proptest::collection::vec(0u8..4, 1..12)) {
            let (state, mut keys, mut vault) = make();
            let mut sealed: Vec<Vec<u8>> = Vec::new();
            for step in steps {
                match step {
                    0 => sealed.push(vault.seal(sealed.len() as u128, b"a secret")),
                    1 => drop(keys.renew()),
                    2 => {
                        for (owner, it) in sealed.iter_mut().enumerate() {
                            if let Some(again) = vault.seal_again(owner as u128, it).expect("opens") {
                                *it = again;
                            }
                        }
                        let (_, old) = keys.ids();
                        keys.retire(&old).expect("written");
                    }
                    _ => {
                        keys = MasterKeys::load(None, state.path()).expect("a restart");
                        vault = Vault::new(&keys);
                    }
                }
                for (owner, it) in sealed.iter().enumerate() {
                    let opened = vault.open(owner as u128, it).expect("opens");
                    prop_assert_eq!(opened.as_slice(), b"a secret");
                }
            }
        }
    }
}
