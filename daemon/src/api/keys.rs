//! `keys.*`: where the master keys are, what is sealed with which, and how one takes the place of
//! another.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::rights::Caller;
use super::snap_ins::LONGEST_WAIT_SECONDS;
use super::system::Nothing;
use crate::engine::key_rotation::{KeyStatus, RotationError, RotationState};
use crate::model::id::KeyringId;
use crate::secrets::{KeyError, KeyHome};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRotation {
    /// Wait up to so many seconds until every secret is sealed with the new key.
    #[serde(default)]
    wait_seconds: u32,
}

/// How things stand with the master keys.
#[derive(Serialize, JsonSchema)]
pub(super) struct MasterKeysShown {
    /// `file`, which the daemon changes itself, or `credential`, which its administrator changes.
    source: &'static str,
    /// Where the keys are.
    path: String,
    /// The key in use first.
    keys: Vec<MasterKeyShown>,
    /// `settled`, `sealing`, `removable` or `stuck`; `message` says what each means.
    state: &'static str,
    /// Keyrings whose secrets cannot be opened.
    damaged_keyrings: Vec<String>,
    /// What that means, and what is to be done.
    message: String,
}

/// One master key.
#[derive(Serialize, JsonSchema)]
pub(super) struct MasterKeyShown {
    /// Tells keys apart and says nothing about them.
    id: String,
    /// Whether it seals what is stored from now on.
    in_use: bool,
    /// How many secrets are sealed with it.
    secrets: u64,
}

pub(super) async fn status(
    api: Arc<Api>,
    _: Caller,
    _: Nothing,
) -> Result<MasterKeysShown, ApiError> {
    Ok(MasterKeysShown::of(api.key_keeper.status().await?))
}

pub(super) async fn rotate(
    api: Arc<Api>,
    caller: Caller,
    rotate: KeyRotation,
) -> Result<MasterKeysShown, ApiError> {
    let patience = Duration::from_secs(rotate.wait_seconds.min(LONGEST_WAIT_SECONDS).into());
    tracing::info!(by = caller.principal.name(), "the master key is to be changed");
    Ok(MasterKeysShown::of(api.key_keeper.rotate(patience).await?))
}

impl MasterKeysShown {
    fn of(status: KeyStatus) -> MasterKeysShown {
        let message = message(&status);
        let KeyStatus { home, keys, state, damaged, problem: _ } = status;
        let in_use = keys.first().map(|(id, _)| *id);
        MasterKeysShown {
            source: match home {
                KeyHome::File(_) => "file",
                KeyHome::Credential(_) => "credential",
            },
            path: home.path().display().to_string(),
            keys: keys
                .into_iter()
                .map(|(id, secrets)| MasterKeyShown {
                    id: id.to_string(),
                    in_use: Some(id) == in_use,
                    secrets,
                })
                .collect(),
            state: match state {
                RotationState::Settled => "settled",
                RotationState::Sealing { .. } => "sealing",
                RotationState::Removable => "removable",
                RotationState::Stuck => "stuck",
            },
            damaged_keyrings: damaged.into_iter().map(|it| KeyringId(it).to_string()).collect(),
            message,
        }
    }
}

fn message(status: &KeyStatus) -> String {
    let old = || {
        let unused = status.keys.iter().skip(1).filter(|(_, secrets)| *secrets == 0);
        unused.map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut message = match status.state {
        RotationState::Settled => "all secrets are sealed with the key in use".to_owned(),
        RotationState::Sealing { left } => format!(
            "{left} secrets are still to be sealed with the key in use; this goes on by itself, also \
             after a restart"
        ),
        RotationState::Removable => format!(
            "all secrets are sealed with the key in use: the line of {} may go from what the credential \
             is made from",
            old()
        ),
        RotationState::Stuck => "secrets that cannot be opened are sealed with an old key, which \
                                 therefore stays: set them anew or delete them, and restart the daemon"
            .to_owned(),
    };
    if let Some(problem) = &status.problem {
        message.push_str(&format!("; it does not go on, and is tried again: {problem}"));
    }
    message
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> ApiError {
        let message = error.to_string();
        match error {
            RotationError::Store(error) => error.into(),
            RotationError::Key(error) => match error {
                KeyError::Io { cause, .. } if cause.kind() == ErrorKind::StorageFull => {
                    ApiError::new(Code::DiskFull, message)
                }
                KeyError::Io { .. } => ApiError::new(Code::Internal, message),
                KeyError::Credential { .. }
                | KeyError::Changed { .. }
                | KeyError::TooMany { .. }
                | KeyError::Exposed { .. }
                | KeyError::Foreign { .. }
                | KeyError::Malformed { .. } => ApiError::new(Code::Conflict, message),
            },
        }
    }
}
