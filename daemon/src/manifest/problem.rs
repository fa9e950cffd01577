//! What is wrong with a manifest, said so that its author can act: where, what, and what is allowed.
//!
//! Owns the list of problems of one parse and its bound. It must never stop a parse by itself.

use std::fmt;

use serde::Serialize;

use super::node::Place;
use crate::configuration::suggest::shorten;

pub(super) use crate::configuration::suggest::quoted;

/// More than anyone reads at once; it also bounds the work on hostile input.
const MAX_PROBLEMS: usize = 200;

/// As many as still help, when a whole section is allowed.
const MAX_ALLOWED: usize = 50;

/// A path is cut to this many characters.
const MAX_PATH: usize = 240;

/// One problem. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// The file of the archive that it is in; absent for the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    pub line: u32,
    pub column: u32,
    /// Such as `automations[0].source`; empty when it is about the file.
    pub path: String,
    pub message: String,
    /// The choices, when they can be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No version can be made of it.
    Error,
    /// Accepted, but probably not what was meant.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write!(f, "{}:{}: {severity}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.allowed.is_empty() {
            write!(f, " (allowed: {})", self.allowed.join(", "))?;
        }
        Ok(())
    }
}

/// The problems of one parse, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn error(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.add(Severity::Error, place, path, message.into(), Vec::new());
    }

    pub(super) fn warn(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.add(Severity::Warning, place, path, message.into(), Vec::new());
    }

    pub(super) fn error_allowing<'a>(
        &mut self,
        place: Place,
        path: &str,
        message: impl Into<String>,
        allowed: impl IntoIterator<Item = &'a str>,
    ) {
        let allowed = allowed.into_iter().take(MAX_ALLOWED).map(str::to_owned).collect();
        self.add(Severity::Error, place, path, message.into(), allowed);
    }

    pub(super) fn warn_allowing<'a>(
        &mut self,
        place: Place,
        path: &str,
        message: impl Into<String>,
        allowed: impl IntoIterator<Item = &'a str>,
    ) {
        let allowed = allowed.into_iter().take(MAX_ALLOWED).map(str::to_owned).collect();
        self.add(Severity::Warning, place, path, message.into(), allowed);
    }

    /// Whether more are still taken: what costs time to say is not worked out otherwise.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_PROBLEMS
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All of them by place.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by(|a, b| {
            (a.line, a.column, a.severity, &a.path).cmp(&(b.line, b.column, b.severity, &b.path))
        });
        if self.is_full() {
            let last = self.found.last().map_or((1, 1), |problem| (problem.line, problem.column));
            self.found.push(Problem {
                severity: Severity::Warning,
                file: None,
                line: last.0,
                column: last.1,
                path: String::new(),
                message: format!("at most {MAX_PROBLEMS} problems are listed; there may be more"),
                allowed: Vec::new(),
            });
        }
        self.found
    }

    fn add(
        &mut self,
        severity: Severity,
        place: Place,
        path: &str,
        message: String,
        allowed: Vec<String>,
    ) {
        if self.is_full() {
            // A warning must not push an error out: the verdict depends on errors alone.
            let replaceable =
                self.found.iter().rposition(|problem| problem.severity == Severity::Warning);
            match (severity, replaceable) {
                (Severity::Error, Some(index)) => drop(self.found.remove(index)),
                (Severity::Error, None) | (Severity::Warning, _) => return,
            }
        }
        let path = shorten(path, MAX_PATH);
        self.found.push(Problem {
            severity,
            file: None,
            line: place.line,
            column: place.column,
            path,
            message,
            allowed,
        });
    }
}
