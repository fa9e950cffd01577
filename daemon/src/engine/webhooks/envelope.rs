//! What is secret about a webhook, as it is sealed: its secrets, and the headers that go with each
//! request, which often are credentials.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::id::WebhookId;
use crate::secrets::Vault;

/// The contents of an envelope.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Opened {
    /// The secret in use.
    pub secret: String,
    /// The one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Headers by name, in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.secret.zeroize();
        self.previous.zeroize();
        self.headers.values_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

/// Opens the envelope of a webhook. Nothing when it was given up with a lost key, or cannot be read.
pub fn open(vault: &Vault, id: WebhookId, sealed: Option<&[u8]>) -> Option<Opened> {
    let opened = vault.open(id.0, sealed?);
    let opened = opened.map_err(|error| error.to_string());
    let read = opened.and_then(|it| serde_json::from_slice(&it).map_err(|_| "no JSON".to_owned()));
    read.inspect_err(|error| tracing::warn!(webhook = %id, error, "its secrets cannot be read"))
        .ok()
}

/// Seals what is secret. To be called inside the operation that stores it.
pub fn seal(vault: &Vault, id: WebhookId, opened: &Opened) -> Vec<u8> {
    // Strings and a map of strings: there is nothing that cannot be written.
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(opened).unwrap_or_default());
    vault.seal(id.0, &plain)
}
