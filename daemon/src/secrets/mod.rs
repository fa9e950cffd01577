//! The host's master keys and what is derived from them: the only folder that knows ciphers.
//!
//! The keys come from a systemd credential or from a file of mode 0600 that is made at first start,
//! never from the environment. They never leave this folder: callers hand over what is to be sealed
//! or signed.

mod key_file;
mod master_key;
mod master_keys;
mod service_token;
mod signed_url;
mod vault;
mod webhook_signature;
mod webhook_verification;

pub use key_file::{KeyError, KeyHome};
pub use master_key::KeyId;
pub use master_keys::MasterKeys;
pub use service_token::{ServiceClaims, ServiceTokenError, ServiceTokens, TokenRun};
pub use signed_url::{SignatureError, UrlPurpose, UrlSigner};
pub use vault::{Vault, VaultError};
pub use webhook_signature::{WebhookSecrets, standard_form};
pub use webhook_verification::{Verification, VerificationKeys, verify};
