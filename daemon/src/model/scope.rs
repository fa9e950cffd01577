//! A scope: the path `stack/namespace/snap-in` at which a snap-in lives, and prefixes of it.
//!
//! Invariant: one to three segments, each 1 to 63 characters of `a-z`, `0-9`, `-`, `_` or `.`, that
//! start and end with a letter or digit. A prefix of whole segments names everything under it.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::SnapInId;

/// The place of one snap-in: exactly three segments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no scope: expected stack/namespace/snap-in, each 1 to 63 characters of a-z, 0-9, \
     `-`, `_`, `.`, that start and end with a letter or digit"
)]
pub struct InvalidScope {
    text: String,
}

impl Scope {
    /// The scope of a snap-in whose installer named none: `default/default/<slug>`.
    pub fn default_for(slug: &str) -> Result<Scope, InvalidScope> {
        format!("default/default/{slug}").parse()
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `prefix` (one to three whole segments) names this scope or something above it.
    pub fn is_under(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        prefix.is_empty()
            || self
                .0
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Scope, InvalidScope> {
        let fits =
            text.len() <= 200 && text.split('/').count() == 3 && text.split('/').all(is_segment);
        if fits {
            Ok(Scope(text.to_owned()))
        } else {
            Err(InvalidScope { text: text.chars().take(80).collect() })
        }
    }
}

/// Whether `text` can be one segment of a scope, or the slug of a package.
pub fn is_segment(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|it| {
            it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, b'-' | b'_' | b'.')
        })
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Scope, InvalidScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One to three segments of a scope: everything under them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopePrefix(String);

/// A text that is no prefix of a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no prefix of a scope: expected stack, stack/namespace or stack/namespace/snap-in, \
     whole segments of a-z, 0-9, `-`, `_`, `.`"
)]
pub struct InvalidScopePrefix {
    text: String,
}

impl ScopePrefix {
    /// Whether it names this scope or something above it.
    pub fn holds(&self, scope: &Scope) -> bool {
        scope.is_under(&self.0)
    }

    /// Whether everything under the other one is under it too.
    pub fn covers(&self, other: &ScopePrefix) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        rest.is_some_and(|it| it.is_empty() || it.starts_with('/'))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScopePrefix {
    type Err = InvalidScopePrefix;

    fn from_str(text: &str) -> Result<ScopePrefix, InvalidScopePrefix> {
        let clean = text.strip_suffix('/').unwrap_or(text);
        let segments = clean.split('/').count();
        // What is a prefix becomes a scope when the missing segments are filled up.
        let whole = format!("{clean}{}", "/x".repeat(3usize.saturating_sub(segments)));
        match whole.parse::<Scope>() {
            Ok(_) => Ok(ScopePrefix(clean.to_owned())),
            Err(_) => Err(InvalidScopePrefix { text: text.chars().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for ScopePrefix {
    type Error = InvalidScopePrefix;

    fn try_from(text: String) -> Result<ScopePrefix, InvalidScopePrefix> {
        text.parse()
    }
}

impl From<ScopePrefix> for String {
    fn from(prefix: ScopePrefix) -> String {
        prefix.0
    }
}

impl fmt::Display for ScopePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which snap-ins something is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Every one.
    #[default]
    All,
    /// One.
    One(SnapInId),
    /// Those that live under a prefix, or lived there until they were deleted.
    These(HashSet<SnapInId>),
}

impl Extent {
    /// Whether it is about this one.
    pub fn has(&self, id: SnapInId) -> bool {
        match self {
            Extent::All => true,
            Extent::One(one) => *one == id,
            Extent::These(these) => these.contains(&id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_three_clean_segments_and_nothing_else() {
        for good in ["default/default/a", "prod/payments/github-sync", "a/b.c/d_e9"] {
            assert!(good.parse::<Scope>().is_ok(), "{good}");
        }
        for bad in ["", "a", "a/b", "a/b/c/d", "a//c", "A/b/c", "a/b/-c", "a/b/c ", "a/b/../c"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let scope: Scope = "prod/payments/sync".parse().expect("valid");
        for above in ["", "prod", "prod/", "prod/payments", "prod/payments/sync"] {
            assert!(scope.is_under(above), "{above}");
        }
        for other in ["pro", "prod/pay", "payments", "prod/payments/sync/x"] {
            assert!(!scope.is_under(other), "{other}");
        }
    }

    #[test]
    fn prefixes_are_whole_segments() {
        let scope: Scope = "prod/payments/sync".parse().expect("valid");
        for good in ["prod", "prod/", "prod/payments", "prod/payments/sync"] {
            assert!(good.parse::<ScopePrefix>().is_ok_and(|it| it.holds(&scope)), "{good}");
        }
        assert!("pro".parse::<ScopePrefix>().is_ok_and(|it| !it.holds(&scope)));
        for bad in ["", "/", "a//b", "A", "a/b/c/d", "a b", "*", "../x"] {
            assert!(bad.parse::<ScopePrefix>().is_err(), "{bad}");
        }
    }
}
