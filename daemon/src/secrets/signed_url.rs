//! What stands in a URL that opens one artifact, to whoever has it and until a time: a MAC over what it
//! is for. As with tokens of functions, the master key in use signs, and what an older one has signed is
//! good for as long as that is at hand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::master_key::mac;
use super::master_keys::MasterKeys;
use crate::model::id::ArtifactId;

/// What a URL is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlPurpose {
    /// Reading the artifact.
    Download,
    /// Sending its bytes.
    Upload,
}

impl UrlPurpose {
    fn text(self) -> &'static str {
        match self {
            UrlPurpose::Download => "download",
            UrlPurpose::Upload => "upload",
        }
    }
}

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It was not made by this host, or for something else, or its key is gone.
    #[error("this URL was not made by this host, or was changed, or the master key was replaced")]
    Invalid,
    /// It was good once.
    #[error("this URL has expired")]
    Expired,
}

/// Signs and checks.
#[derive(Clone)]
pub struct UrlSigner {
    keys: MasterKeys,
}

impl UrlSigner {
    /// With the host's master keys.
    pub fn new(keys: &MasterKeys) -> UrlSigner {
        UrlSigner { keys: keys.clone() }
    }

    /// The signature of a URL that is good until `until_ms`.
    pub fn sign(&self, purpose: UrlPurpose, artifact: ArtifactId, until_ms: u64) -> String {
        let message = message(purpose, artifact, until_ms);
        URL_SAFE_NO_PAD.encode(mac(self.keys.ring().current.urls.as_slice(), message.as_bytes()))
    }

    /// Whether a signature is genuine and has not expired.
    pub fn check(
        &self,
        purpose: UrlPurpose,
        artifact: ArtifactId,
        until_ms: u64,
        signature: &str,
        now_ms: u64,
    ) -> Result<(), SignatureError> {
        let tag = URL_SAFE_NO_PAD.decode(signature).map_err(|_| SignatureError::Invalid)?;
        let message = message(purpose, artifact, until_ms);
        let is_ours = self.keys.ring().all().any(|key| {
            let mut expected = Hmac::<Sha256>::new_from_slice(key.urls.as_slice())
                .expect("HMAC takes keys of any length");
            expected.update(message.as_bytes());
            // In constant time.
            expected.verify_slice(&tag).is_ok()
        });
        if !is_ours {
            return Err(SignatureError::Invalid);
        }
        // After the signature: who forges one is told nothing of times.
        if until_ms <= now_ms {
            return Err(SignatureError::Expired);
        }
        Ok(())
    }
}

fn message(purpose: UrlPurpose, artifact: ArtifactId, until_ms: u64) -> String {
    format!("{}\n{artifact}\n{until_ms}", purpose.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_purpose_one_artifact_and_one_time() {
        let state = tempfile::tempdir().expect("tempdir");
        let keys = MasterKeys::load(None, state.path()).expect("made");
        let signer = UrlSigner::new(&keys);
        let (id, until) = (ArtifactId(7), 2000);
        let good = signer.sign(UrlPurpose::Download, id, until);
        let check = |purpose, id, until, signature: &str, now| {
            signer.check(purpose, id, until, signature, now)
        };
        let download = UrlPurpose::Download;
        assert_eq!(check(download, id, until, &good, 1999), Ok(()));
        assert_eq!(check(download, id, until, &good, 2000), Err(SignatureError::Expired));
        let invalid = Err(SignatureError::Invalid);
        assert_eq!(check(UrlPurpose::Upload, id, until, &good, 1000), invalid);
        assert_eq!(check(download, ArtifactId(8), until, &good, 1000), invalid);
        assert_eq!(check(download, id, until + 1, &good, 1000), invalid);
        for broken in ["", "x", &good[1..], &good.to_uppercase()] {
            assert_eq!(check(download, id, until, broken, 1000), invalid, "{broken}");
        }

        // It outlives a change of keys until the old one is forgotten.
        let (old, _) = keys.ids();
        keys.renew().expect("written");
        keys.retire(&[old]).expect("written");
        assert_eq!(check(download, id, until, &good, 1000), Ok(()));
        keys.forget_retired();
        assert_eq!(check(download, id, until, &good, 1000), invalid);
    }
}
