//! How a call fails: one kind that the daemon acts on, and a message for the one who must act.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What the daemon does about it.
    pub kind: FaultKind,
    /// What was wrong, lower case, no full stop, without secrets.
    pub message: String,
    /// For [`FaultKind::Config`]: everything that is wrong, not only the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// For [`FaultKind::Transient`]: not before that many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// What the daemon does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The configuration is wrong; nothing but a change of it helps.
    Config,
    /// It may work later. An HTTP caller gets 503, a delivery is tried again.
    Transient,
    /// It will never work for this input. A delivery is given up.
    Permanent,
    /// The plugin does not know this input.
    Unsupported,
    /// The plugin panicked. Set by the export macro.
    Panicked,
    /// A kind that this side of the boundary does not know yet.
    #[serde(other)]
    Unknown,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where in the configuration, such as `policy` or `parameters.secret`.
    pub path: String,
    /// What is wrong and what is allowed.
    pub message: String,
    /// Where inside the text at `path`, when that is itself a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// A place in a text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
}

impl Problem {
    /// A problem of a value, named by its path in the config; the config itself is the empty one.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into(), location: None }
    }

    /// One for each key of the object `value` that is none of `known`. `prefix` is where the object is,
    /// such as `filter.`; the config itself has none.
    ///
    /// No mistake by itself: whoever writes a key that does nothing wants to hear of it, and may mean
    /// another version of the plugin.
    pub fn unknown_keys(value: &Value, prefix: &str, known: &[&str]) -> Vec<Problem> {
        let keys = value.as_object().into_iter().flat_map(Map::keys);
        keys.filter(|it| !known.contains(&it.as_str()))
            .map(|key| {
                let message = match known {
                    [] => "is not known here, and ignored: there are no settings".to_owned(),
                    _ => format!("is not known here, and ignored; known: {}", known.join(", ")),
                };
                Problem::at(format!("{prefix}{key}"), message)
            })
            .collect()
    }
}

impl Fault {
    /// The plugin has no source type of this name.
    pub fn no_source_type(kind: &str) -> Fault {
        Fault::unsupported(format!("this plugin has no source type `{kind}`"))
    }

    /// The plugin has no sink type of this name.
    pub fn no_sink_type(kind: &str) -> Fault {
        Fault::unsupported(format!("this plugin has no sink type `{kind}`"))
    }

    /// A fault of `kind` with nothing but a message.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), problems: Vec::new(), retry_after_ms: None }
    }

    /// A wrong configuration, with every problem.
    pub fn config(message: impl Into<String>, problems: Vec<Problem>) -> Fault {
        Fault { problems, ..Fault::new(FaultKind::Config, message) }
    }

    /// Something that may work later.
    pub fn transient(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Transient, message)
    }

    /// The same fault, not to be tried again before so many milliseconds have passed.
    #[must_use]
    pub fn not_before(self, retry_after_ms: Option<u64>) -> Fault {
        Fault { retry_after_ms, ..self }
    }

    /// Something that will never work for this input.
    pub fn permanent(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Permanent, message)
    }

    /// An input or type that the plugin does not know.
    pub fn unsupported(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Unsupported, message)
    }
}
