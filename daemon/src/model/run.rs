//! A run: one invocation of a function, with its attempts, result and log.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::Cause;
use super::id::{AutomationId, EventId, RunId, SnapInId, UserId, VersionId};

/// What is kept of a run, beside its result and log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHead {
    /// The snap-in it belongs to.
    pub snap_in: SnapInId,
    /// The version that was current when it was queued; it stays with it.
    pub version: VersionId,
    /// Name of the function in that version.
    pub function: String,
    /// What it was queued for.
    pub trigger: RunTrigger,
    /// Where it is.
    pub state: RunState,
    /// When it was queued, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// When it came to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// For a run that waits for another attempt: not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<u64>,
    /// The ordering key, when its function asks for order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_id: Option<String>,
    /// Every attempt, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Attempts before the last manual retry; they do not count against the limits.
    #[serde(default)]
    pub forgiven: u32,
    /// What caused it.
    #[serde(default)]
    pub cause: Cause,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<RunId>,
    /// Whether its event had its runs before, and was replayed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_replay: bool,
    /// On whose behalf it runs, when its event came from a source of his.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Name of the principal that called the function and waited for it; nobody's for what events and
    /// the lifecycle cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_by: Option<String>,
}

impl RunHead {
    /// A run that has not started.
    pub fn new(
        snap_in: SnapInId,
        version: VersionId,
        function: String,
        trigger: RunTrigger,
        created_ms: u64,
    ) -> RunHead {
        RunHead {
            snap_in,
            version,
            function,
            trigger,
            state: RunState::Queued,
            created_ms,
            ended_ms: None,
            not_before_ms: None,
            sync_id: None,
            attempts: Vec::new(),
            forgiven: 0,
            cause: Cause::default(),
            replay_of: None,
            is_replay: false,
            user: None,
            ordered_by: None,
        }
    }

    /// Ends a run that was never queued, after its only attempt.
    pub fn end_with(&mut self, state: RunState, outcome: AttemptOutcome, ended_ms: u64) {
        let (started_ms, ended_ms) = (self.created_ms, Some(ended_ms));
        self.state = state;
        self.ended_ms = ended_ms;
        self.attempts = vec![Attempt { started_ms, ended_ms, outcome: Some(outcome) }];
    }
}

/// What a run was queued for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTrigger {
    /// An automation matched an event.
    Automation {
        /// The automation.
        automation: AutomationId,
        /// The event.
        event: EventId,
    },
    /// Somebody called the function and waits for the answer.
    Call,
    /// A lifecycle hook, such as `activate`.
    Hook {
        /// Which.
        hook: String,
    },
    /// Somebody gave a command.
    Command {
        /// Its namespace in the manifest.
        namespace: String,
        /// Its name in the namespace.
        name: String,
    },
    /// Somebody pressed a button or sent a form of a page that the snap-in had drawn.
    SnapKitAction {
        /// Its name in the manifest.
        action: String,
    },
    /// A component is drawn for the first time.
    SnapComponent {
        /// Its name in the manifest.
        component: String,
    },
    /// The page is drawn on which the snap-in is configured.
    ConfigurationPage {
        /// `organization` or `user`.
        level: String,
    },
    /// A workflow called an operation.
    Operation {
        /// Its slug in the manifest.
        slug: String,
    },
}

impl RunTrigger {
    /// The event, if an event it was.
    pub fn event(&self) -> Option<EventId> {
        match self {
            RunTrigger::Automation { event, .. } => Some(*event),
            RunTrigger::Call
            | RunTrigger::Hook { .. }
            | RunTrigger::Command { .. }
            | RunTrigger::SnapKitAction { .. }
            | RunTrigger::SnapComponent { .. }
            | RunTrigger::ConfigurationPage { .. }
            | RunTrigger::Operation { .. } => None,
        }
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for its turn.
    Queued,
    /// An attempt has been claimed and may have started.
    Running,
    /// Waits for its next attempt.
    Retrying,
    /// The function returned.
    Succeeded,
    /// The function failed and may not be run again.
    Failed,
    /// All attempts were used up: a dead letter, kept until it is replayed or purged.
    Dead,
    /// Given up because somebody said so or its snap-in was deleted.
    Cancelled,
}

impl RunState {
    /// Whether nothing more will happen by itself.
    pub fn is_final(self) -> bool {
        match self {
            RunState::Queued | RunState::Running | RunState::Retrying => false,
            RunState::Succeeded | RunState::Failed | RunState::Dead | RunState::Cancelled => true,
        }
    }

    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Queued => "queued",
            RunState::Running => "running",
            RunState::Retrying => "retrying",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::Dead => "dead",
            RunState::Cancelled => "cancelled",
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was claimed, milliseconds of the Unix epoch.
    pub started_ms: u64,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The function returned.
    Succeeded,
    /// The function failed by itself.
    Failed(RunError),
    /// The host cut it off: a crash, a kill, a restart.
    Interrupted {
        /// What happened.
        reason: String,
    },
    /// It was not begun: something that it needs is out of order and may be mended. It is no fault
    /// of the function, nor of the host.
    Postponed {
        /// What.
        reason: String,
    },
    /// Somebody cancelled the run.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// How a function failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunError {
    /// `timeout`, `memory`, `thrown`, `not_found`, and so on.
    pub kind: String,
    /// Name of the thrown error's class, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What was wrong.
    pub message: String,
    /// The stack, mapped back to the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Whether the function asked to be run again (`FunctionExecutionError`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// Whether it asked for keyrings, tokens and inputs to be made anew before that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refresh: bool,
}

/// The large part of a run, stored behind its head.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunOutput {
    /// What the function returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// What it logged in its last attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<RunLogLine>,
    /// What it called out to in its last attempt, in order of the beginnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RunRequest>,
}

/// A request that a function made, or a connection that it opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunRequest {
    /// The HTTP method, or `CONNECT` for a connection of which the daemon sees no more.
    pub method: String,
    /// Scheme, host, port and path, or `host:port`; secrets are masked, and there is never a query.
    pub target: String,
    /// When it began, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// How long it took; absent when it did not end before the run did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The status of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunLogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// When, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// What.
    pub message: String,
}
