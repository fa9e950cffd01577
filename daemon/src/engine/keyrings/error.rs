//! Why a keyring could not be set or used.

use crate::connections::change::Problem;
use crate::connections::types::TypeError;
use crate::model::id::{PackageId, SnapInId};
use crate::secrets::VaultError;
use crate::store::StoreError;

/// Why a keyring could not be set or used. No text holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is no such snap-in, or its version is gone.
    #[error("there is no snap-in `{0}`")]
    NoSuchSnapIn(SnapInId),
    /// There is no such package.
    #[error("there is no package `{0}`")]
    NoSuchPackage(PackageId),
    /// Neither the manifest nor the snap-in has it.
    #[error("there is no keyring `{name}`")]
    NoSuchKeyring {
        /// What was asked for.
        name: String,
        /// What the manifest has.
        declared: Vec<String>,
    },
    /// It was never set.
    #[error("the keyring `{0}` has no secret: set or connect it first")]
    NotSet(String),
    /// The snap-in is on its way from one state to another.
    #[error("the snap-in is {0}: its keyrings can be changed when that has ended")]
    NotNow(&'static str),
    /// The snap-in was upgraded while its keyring was being checked.
    #[error("the snap-in has got another version meanwhile: look at its keyrings and try again")]
    OtherVersion,
    /// Its type cannot be used.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// Its type has to be named, or another one.
    #[error("{message}")]
    WrongType {
        /// What is wrong.
        message: String,
        /// Ids of types.
        allowed: Vec<String>,
    },
    /// What was sent cannot be its secret.
    #[error("{}", described(.0))]
    Invalid(Vec<Problem>),
    /// It is of no use any more.
    #[error("the keyring `{name}` is broken: {reason}")]
    Broken {
        /// Which.
        name: String,
        /// What the other side said.
        reason: String,
    },
    /// What is stored cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn described(problems: &[Problem]) -> String {
    let each: Vec<_> =
        problems.iter().map(|it| format!("`{}`: {}", it.field, it.message)).collect();
    each.join("; ")
}
