//! Why a keyring could not be set or used.

use crate::connections::change::Problem;
use crate::connections::types::TypeError;
use crate::model::id::{PackageId, SnapInId, VersionId};
use crate::model::keyring::ExternalOrganization;
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
    /// The package of the snap-in has no such version.
    #[error("the package of the snap-in has no version `{0}`")]
    NoSuchVersion(VersionId),
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
    /// A subdomain is needed, or is none.
    #[error("{0}")]
    Subdomain(String),
    /// What the manifest says about requests to the external system cannot be carried out.
    #[error("the request to the external system cannot be made: {0}")]
    Request(String),
    /// A program of the manifest does not work with what it got.
    #[error("{0}")]
    Program(String),
    /// The external system does not take the secret.
    #[error("the external system does not take it: {0}")]
    Rejected(String),
    /// The external system does not answer, or cannot say at the moment.
    #[error("the external system cannot be asked at the moment: {0}")]
    Unreachable(String),
    /// The secret is good for several organizations, or not for the one that was named.
    #[error("name the organization that it is for as `organization`: {}", named(.0))]
    Organization(Vec<ExternalOrganization>),
    /// The client of OAuth2 that the developer provides is not there, or is none.
    #[error(
        "the developer keyring `{name}` is no OAuth2 client: {why}; set it with `mortise \
         developer-keyring set {package} {name} --client-id ID`"
    )]
    NoClient {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: String,
        /// Whose it is.
        package: PackageId,
    },
    /// A scope that the type does not list.
    #[error("the keyring type does not list the scope `{asked}`")]
    Scope {
        /// What was asked for.
        asked: String,
        /// What is listed.
        known: Vec<String>,
    },
    /// Nobody was sent away with this `state`, or he took too long, or was back already.
    #[error(
        "this authorization is not known here: it took longer than ten minutes, was used already, \
         or another one was begun after it; connect the keyring again"
    )]
    UnknownState,
    /// Access was not granted.
    #[error("access was not granted: {0}")]
    NotGranted(String),
    /// It is of no use any more.
    #[error("the keyring `{name}` is broken: {reason}")]
    Broken {
        /// Which.
        name: String,
        /// What the other side said.
        reason: String,
    },
    /// Its access token has expired, and cannot be renewed at the moment.
    #[error("the access token of the keyring `{name}` cannot be renewed at the moment: {reason}")]
    NotRenewed {
        /// Which.
        name: String,
        /// What the other side said.
        reason: String,
    },
    /// Its type does not say how the external system is asked.
    #[error("{0}")]
    NothingToAsk(String),
    /// It was removed or set anew in the meantime.
    #[error("the keyring was removed or set anew meanwhile; look at it again")]
    Gone,
    /// What is stored cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyringError {
    /// Whether the same may work later, without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            KeyringError::Unreachable(_)
            | KeyringError::NotRenewed { .. }
            | KeyringError::Store(_)
            | KeyringError::Gone => true,
            KeyringError::NoSuchSnapIn(_)
            | KeyringError::NoSuchPackage(_)
            | KeyringError::NoSuchVersion(_)
            | KeyringError::NoSuchKeyring { .. }
            | KeyringError::NotSet(_)
            | KeyringError::NotNow(_)
            | KeyringError::OtherVersion
            | KeyringError::Type(_)
            | KeyringError::WrongType { .. }
            | KeyringError::Invalid(_)
            | KeyringError::Subdomain(_)
            | KeyringError::Request(_)
            | KeyringError::Program(_)
            | KeyringError::Rejected(_)
            | KeyringError::Organization(_)
            | KeyringError::NoClient { .. }
            | KeyringError::Scope { .. }
            | KeyringError::UnknownState
            | KeyringError::NotGranted(_)
            | KeyringError::Broken { .. }
            | KeyringError::NothingToAsk(_)
            | KeyringError::Vault(_) => false,
        }
    }
}

fn named(organizations: &[ExternalOrganization]) -> String {
    const MOST: usize = 10;
    let each: Vec<_> = organizations
        .iter()
        .take(MOST)
        .map(|it| match &it.name {
            Some(name) => format!("{} ({name})", it.id),
            None => it.id.clone(),
        })
        .collect();
    let more = organizations.len().saturating_sub(MOST);
    if more > 0 { format!("{} and {more} more", each.join(", ")) } else { each.join(", ") }
}

fn described(problems: &[Problem]) -> String {
    let each: Vec<_> =
        problems.iter().map(|it| format!("`{}`: {}", it.field, it.message)).collect();
    each.join("; ")
}
