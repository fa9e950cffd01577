//! The states of a snap-in, and what each of them means for events and runs (seed 000, design §3).

use serde::{Deserialize, Serialize};

/// Where an installation is in its life. Each state carries the data that exists only in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SnapInState {
    /// Being configured. Trigger URLs exist but are closed.
    Draft,
    /// The activate hook runs. Sources are open, runs are held.
    Activating,
    /// Functioning.
    Active,
    /// Not functioning, for `reason`. Nothing new is accepted, what is queued is held.
    Error {
        /// What went wrong, for the one who must mend it.
        reason: String,
    },
    /// Running runs finish, then the deactivate hook runs.
    Deactivating {
        /// Go on even when the hook fails.
        force: bool,
        /// Whether the snap-in is deleted at the end.
        is_deletion: bool,
    },
    /// Paused by somebody. Nothing new is accepted, what is queued is held.
    Inactive,
    /// Gone. Kept as a row so that its events and runs can still be explained.
    Deleted,
}

impl SnapInState {
    /// The name that users see.
    pub fn name(&self) -> &'static str {
        match self {
            SnapInState::Draft => "DRAFT",
            SnapInState::Activating => "ACTIVATING",
            SnapInState::Active => "ACTIVE",
            SnapInState::Error { .. } => "ERROR",
            SnapInState::Deactivating { .. } => "DEACTIVATING",
            SnapInState::Inactive => "INACTIVE",
            SnapInState::Deleted => "DELETED",
        }
    }

    /// What is wrong, in ERROR.
    pub fn reason(&self) -> Option<&str> {
        match self {
            SnapInState::Error { reason } => Some(reason),
            SnapInState::Draft
            | SnapInState::Activating
            | SnapInState::Active
            | SnapInState::Deactivating { .. }
            | SnapInState::Inactive
            | SnapInState::Deleted => None,
        }
    }

    /// Whether its sources take events. Open from ACTIVATING: activate hooks register trigger URLs
    /// outside, and the other side pings them at once.
    pub fn sources_open(&self) -> bool {
        match self {
            SnapInState::Activating | SnapInState::Active => true,
            SnapInState::Draft
            | SnapInState::Error { .. }
            | SnapInState::Deactivating { .. }
            | SnapInState::Inactive
            | SnapInState::Deleted => false,
        }
    }

    /// Whether queued runs may start.
    pub fn runs_start(&self) -> bool {
        matches!(self, SnapInState::Active)
    }

    /// Whether a hook or background work will move it on without anybody asking.
    pub fn is_transitory(&self) -> bool {
        matches!(self, SnapInState::Activating | SnapInState::Deactivating { .. })
    }
}

/// Whether a source takes events while its snap-in does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceStatus {
    /// It does.
    Active,
    /// Somebody paused it; it answers 404.
    Paused,
    /// Somebody blocked it, or its configuration or its plugin does not work; it answers 404 until
    /// that is mended.
    Blocked,
}

impl SourceStatus {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            SourceStatus::Active => "active",
            SourceStatus::Paused => "paused",
            SourceStatus::Blocked => "blocked",
        }
    }
}
