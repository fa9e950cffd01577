//! What is wrong with a body, and the bounded list of it. Must never judge.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::configuration::suggest::shorten;

/// More than anybody reads at once.
const MAX_PROBLEMS: usize = 100;
/// As many allowed names as still help.
const MAX_ALLOWED: usize = 50;
/// A path is cut to this many characters.
const MAX_PATH: usize = 240;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Whether it keeps the body from being displayed.
    pub severity: Severity,
    /// What kind of problem it is.
    pub code: ProblemCode,
    /// Where, within `snap_kit_body`, such as `body.snaps[2].elements[0].text`.
    pub path: String,
    /// What was found, and what was expected.
    pub message: String,
    /// The choices, when they can be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The body is not displayed.
    Error,
    /// It is displayed, but probably not as it was meant.
    Warning,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// Something that is needed is not there.
    Missing,
    /// A value of another type than is wanted.
    WrongType,
    /// A lower bound above the upper one.
    WrongRange,
    /// It cannot be read as JSON.
    Unreadable,
    /// It is longer than allowed.
    TooLarge,
    /// It lies deeper than allowed.
    TooDeep,
    /// There are more elements than allowed.
    TooMany,
    /// A list without entries where that makes no sense.
    Empty,
    /// A type of elements that is not known.
    UnknownType,
    /// A property that this type of elements does not have.
    UnknownProperty,
    /// A value that is not one of the known ones.
    UnknownValue,
    /// A snap-kit action that the manifest does not have.
    UnknownAction,
    /// An element where its type does not belong.
    Misplaced,
    /// What should be there once is there again.
    Duplicate,
    /// An initial choice that is none of the options.
    NoSuchOption,
    /// What people press here is sent to nobody.
    Unhandled,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// A place in a body, made into text only when there is something to say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Top,
    Member(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    pub(super) const TOP: Place<'static> = Place { above: None, step: Step::Top };

    pub(super) fn member(&'a self, name: &'a str) -> Place<'a> {
        Place { above: Some(self), step: Step::Member(name) }
    }

    pub(super) fn item(&'a self, index: usize) -> Place<'a> {
        Place { above: Some(self), step: Step::Item(index) }
    }

    fn text(&self) -> String {
        let mut path = self.above.map(Place::text).unwrap_or_default();
        match self.step {
            Step::Top => {}
            Step::Item(index) => path.push_str(&format!("[{index}]")),
            Step::Member(name) => {
                let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
                if name.is_empty() || !name.chars().all(is_word) {
                    let name = serde_json::Value::from(shorten(name, MAX_PATH));
                    path.push_str(&format!("[{name}]"));
                } else {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
            }
        }
        path
    }
}

/// The problems of one body, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Problem>,
    has_errors: bool,
}

impl Findings {
    pub(super) fn error(&mut self, code: ProblemCode, place: &Place<'_>, message: String) {
        self.add(Severity::Error, code, place, message, &[]);
    }

    pub(super) fn warn(&mut self, code: ProblemCode, place: &Place<'_>, message: String) {
        self.add(Severity::Warning, code, place, message, &[]);
    }

    pub(super) fn error_allowing(
        &mut self,
        code: ProblemCode,
        place: &Place<'_>,
        message: String,
        allowed: &[&str],
    ) {
        self.add(Severity::Error, code, place, message, allowed);
    }

    pub(super) fn warn_allowing(
        &mut self,
        code: ProblemCode,
        place: &Place<'_>,
        message: String,
        allowed: &[&str],
    ) {
        self.add(Severity::Warning, code, place, message, allowed);
    }

    /// Whether warnings are still taken: what costs time to say is not worked out otherwise.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_PROBLEMS
    }

    pub(super) fn has_errors(&self) -> bool {
        self.has_errors
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.found
    }

    fn add(
        &mut self,
        severity: Severity,
        code: ProblemCode,
        place: &Place<'_>,
        message: String,
        allowed: &[&str],
    ) {
        self.has_errors |= severity == Severity::Error;
        if self.is_full() {
            // A warning must not push an error out: errors are what has to be mended.
            let replaceable =
                self.found.iter().rposition(|problem| problem.severity == Severity::Warning);
            match (severity, replaceable) {
                (Severity::Error, Some(index)) => drop(self.found.remove(index)),
                (Severity::Error, None) | (Severity::Warning, _) => return,
            }
        }
        let allowed = allowed.iter().take(MAX_ALLOWED).map(|it| (*it).to_owned()).collect();
        let path = shorten(&place.text(), MAX_PATH);
        self.found.push(Problem { severity, code, path, message, allowed });
    }
}
