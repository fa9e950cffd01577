//! A scope: the path `stack/namespace/snap-in` at which a snap-in lives, and prefixes of it.
//!
//! Invariant: one to three segments, each 1 to 63 characters of `a-z`, `0-9`, `-`, `_` or `.`, that
//! start and end with a letter or digit. A prefix of whole segments names everything under it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
}
