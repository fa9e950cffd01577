//! What is in the envelope of a keyring, and the text type that keeps it from being shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// What stands for a secret wherever one is shown. Sent back, it means: keep what is stored.
pub const MASK: &str = "********";

/// A text that is overwritten when it is dropped and that no formatting shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text itself: for the request, envelope or function that it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The text itself, still overwritten when it is dropped.
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }

    /// Whether it is what stands for a secret.
    pub fn is_mask(&self) -> bool {
        self.reveal() == MASK
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> SecretText {
        SecretText(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> SecretText {
        SecretText(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// For the envelope only; nothing else may serialize it.
impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.reveal())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretText, D::Error> {
        String::deserialize(deserializer).map(SecretText::from)
    }
}

/// What a keyring's envelope holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyringSecret {
    /// One text.
    Plain {
        /// As it was given.
        secret: SecretText,
    },
    /// What was asked for field by field.
    Fields {
        /// As they were given, so that one of them can be changed alone.
        fields: BTreeMap<String, SecretText>,
        /// What was made of them.
        secret: SecretText,
    },
    /// OAuth2.
    Tokens(Tokens),
}

/// What an OAuth2 server has given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Goes to functions.
    pub access_token: SecretText,
    /// Never leaves but for the server that gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<SecretText>,
}

impl KeyringSecret {
    /// What functions get.
    pub fn for_functions(&self) -> &SecretText {
        match self {
            KeyringSecret::Plain { secret } | KeyringSecret::Fields { secret, .. } => secret,
            KeyringSecret::Tokens(tokens) => &tokens.access_token,
        }
    }

    /// The form that is sealed.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Large enough for nearly all of them, so that no copy is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, self).expect("texts and maps of texts are JSON");
        bytes
    }

    /// Reads what [`KeyringSecret::to_bytes`] wrote; nothing when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<KeyringSecret> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret_and_the_envelope_keeps_it() {
        let tokens = Tokens {
            access_token: "at-hidden".into(),
            refresh_token: Some("rt-hidden".to_owned().into()),
        };
        let fields = BTreeMap::from([("user".to_owned(), SecretText::from("u-hidden"))]);
        for secret in [
            KeyringSecret::Plain { secret: "p-hidden".into() },
            KeyringSecret::Fields { fields, secret: "s-hidden".into() },
            KeyringSecret::Tokens(tokens),
        ] {
            assert!(!format!("{secret:?}").contains("hidden"));
            assert_eq!(KeyringSecret::from_bytes(&secret.to_bytes()), Some(secret));
        }
        assert_eq!(KeyringSecret::from_bytes(b"{}"), None);
    }
}
