//! The host's master key and what is derived from it: the only folder that knows ciphers.
//!
//! The key comes from a systemd credential or from a file of mode 0600 that is made at first start,
//! never from the environment. It never leaves this folder: callers hand over what is to be signed.

mod master_key;
mod service_token;
mod vault;

pub use master_key::{KeyError, MasterKey};
pub use service_token::{ServiceClaims, ServiceTokenError, ServiceTokens};
pub use vault::{Vault, VaultError};
