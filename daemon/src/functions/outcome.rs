//! What one run came to: its result or the reason why there is none, and its log.
//!
//! Plain data without behaviour; both the runner and the pool make it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Everything that a run left behind.
#[derive(Debug)]
pub struct RunReport {
    /// Result, failure or interruption.
    pub outcome: Outcome,
    /// What the function wrote to its console, in order.
    pub logs: Vec<LogLine>,
    /// What it called out to, in order of the beginnings.
    pub requests: Vec<MadeRequest>,
    /// From the moment a process was at hand to the outcome.
    pub duration: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// The function returned; `undefined` is `null` here.
    Succeeded {
        /// What it returned, as JSON.
        result: Box<RawValue>,
    },
    /// The function failed by itself: running it again is up to its retry policy.
    Failed(Failure),
    /// The host cut the run off; it says nothing about the function and may be run again.
    Interrupted {
        /// Why, for the run's record.
        reason: String,
    },
}

/// Why a function failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, which is stable and may be matched on.
    pub kind: FailureKind,
    /// The name of the thrown error, such as `TypeError`.
    pub name: String,
    /// What went wrong, for people.
    pub message: String,
    /// Where, one frame a line, in terms of the files of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The boolean `retry` property of the thrown error, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// Whether the thrown error asked for new keyrings, tokens and inputs before a retry.
    #[serde(default)]
    pub refresh: bool,
    /// The exit status of a program that ended with another one than 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The function threw, or its promise was rejected.
    Thrown,
    /// It took longer than it may.
    Timeout,
    /// It wanted more memory than it may have.
    Memory,
    /// It recursed too deep.
    StackOverflow,
    /// The version has no function of that name.
    NotFound,
    /// A module of the version could not be loaded.
    Load,
    /// Its promise can never settle: nothing is left that could do it.
    NeverSettled,
    /// What it returned is no JSON.
    BadOutput,
    /// What it returned is larger than allowed.
    OutputTooLarge,
    /// It brought its own process down.
    Crashed,
    /// The host cannot run code as configured, such as without a sandbox.
    Refused,
}

impl Failure {
    /// A failure that no JavaScript error stands behind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        let name = match kind {
            FailureKind::Thrown | FailureKind::Load => "Error",
            FailureKind::Timeout => "TimeoutError",
            FailureKind::Memory => "MemoryError",
            FailureKind::StackOverflow => "RangeError",
            FailureKind::NotFound => "FunctionNotFound",
            FailureKind::NeverSettled => "NeverSettledError",
            FailureKind::BadOutput | FailureKind::OutputTooLarge => "OutputError",
            FailureKind::Crashed => "CrashError",
            FailureKind::Refused => "RefusedError",
        };
        Failure {
            kind,
            name: name.to_owned(),
            message: message.into(),
            stack: None,
            retry: None,
            refresh: false,
            exit_status: None,
        }
    }
}

/// One line that the function wrote to its console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How it was written.
    pub level: LogLevel,
    /// Milliseconds since the run began in its process.
    pub at_ms: u64,
    /// The text, without a line break at its end.
    pub message: String,
}

/// A request that a function made, or a connection that it opened; nothing secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeRequest {
    /// The HTTP method, or `CONNECT`.
    pub method: String,
    /// Scheme, host, port and path, or `host:port`.
    pub target: String,
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// Milliseconds that it took; absent when it did not end before the run did.
    pub duration_ms: Option<u64>,
    /// The status of the response.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
}

/// The levels of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// `console.debug` and `console.trace`.
    Debug,
    /// `console.log` and `console.info`.
    Info,
    /// `console.warn`, and what the runtime itself has to say.
    Warn,
    /// `console.error`.
    Error,
}
