//! Secrets that are sent in the clear: a header, basic authentication, or the query.
//!
//! Compared as hashes, so that neither the time of comparing nor a core dump tells the secret's
//! length or text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Passed;
use super::headers::{self, Headers};
use super::rejection::{Reason, Rejection};
use super::signature::Name;
use crate::query;

/// Where the secret is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a header, behind a word such as `Bearer` or behind nothing.
    Header {
        /// Its name.
        name: Name,
        /// In front of the secret; upper and lower case are the same.
        prefix: String,
    },
    /// As `Authorization: Basic`, with a user name.
    Basic {
        /// The name.
        user: String,
    },
    /// As a parameter of the query.
    Query {
        /// Its name.
        name: String,
    },
}

/// How requests with a token are checked.
pub(super) struct TokenCheck {
    place: Place,
    digests: Vec<[u8; 32]>,
}

impl TokenCheck {
    pub(super) fn new(place: Place, secrets: &[&str]) -> TokenCheck {
        let digest = |secret: &&str| match &place {
            Place::Basic { user } => Sha256::digest(format!("{user}:{secret}")).into(),
            Place::Header { .. } | Place::Query { .. } => Sha256::digest(secret).into(),
        };
        let digests = secrets.iter().map(digest).collect();
        TokenCheck { place, digests }
    }

    pub(super) fn verify(
        &self,
        headers: Headers<'_>,
        query_raw: &str,
    ) -> Result<Passed, Rejection> {
        match &self.place {
            Place::Header { name, prefix } => {
                let Some(value) = headers.one(name)? else {
                    return Err(missing(format!("the header {name} is missing")));
                };
                let Some(token) = without(prefix, value) else {
                    let message = format!("the header {name} does not begin with `{prefix}`");
                    return Err(Rejection::unauthenticated(Reason::BadToken, message));
                };
                self.compare(&headers::bytes(token), || format!("the token in the header {name}"))
            }
            Place::Basic { .. } => {
                let challenge = Some(("WWW-Authenticate", "Basic realm=\"event source\""));
                let Some(value) = headers.one("authorization")? else {
                    let message = "the header Authorization is missing".to_owned();
                    // Many clients send a password only when they are asked to.
                    return Err(Rejection { header: challenge, ..missing(message) });
                };
                let pair = without("Basic ", value).and_then(|it| STANDARD.decode(it.trim()).ok());
                let Some(pair) = pair else {
                    let message = "the header Authorization is no basic authentication";
                    return Err(Rejection::unauthenticated(Reason::BadToken, message));
                };
                self.compare(&pair, || "the user name or the password".to_owned())
            }
            Place::Query { name } => {
                let mut values = query_raw.split('&').filter_map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (query::unescape(key.as_bytes())? == name.as_bytes())
                        .then(|| query::unescape(value.as_bytes()))?
                });
                let Some(token) = values.next() else {
                    return Err(missing(format!("the query has no `{name}`")));
                };
                if values.next().is_some() {
                    let message = format!("the query has `{name}` twice");
                    return Err(Rejection::malformed(message));
                }
                self.compare(&token, || format!("`{name}` of the query"))
            }
        }
    }

    fn compare(&self, token: &[u8], what: impl FnOnce() -> String) -> Result<Passed, Rejection> {
        let presented: [u8; 32] = Sha256::digest(token).into();
        let suits = self.digests.iter().position(|it| bool::from(it.ct_eq(&presented)));
        suits.map(|secret| Passed { secret }).ok_or_else(|| {
            let message = match self.digests.len() {
                1 => format!("{} is not the configured one", what()),
                count => format!("{} is none of the {count} configured ones", what()),
            };
            Rejection::unauthenticated(Reason::BadToken, message)
        })
    }
}

fn without<'v>(prefix: &str, value: &'v str) -> Option<&'v str> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn missing(message: String) -> Rejection {
    Rejection::unauthenticated(Reason::MissingToken, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: Place, headers: &[(&str, &str)], query: &str) -> Result<usize, String> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        TokenCheck::new(place, &["s3cret", "gr\u{fc}n"])
            .verify(Headers::new(&headers), query)
            .map(|it| it.secret)
            .map_err(|it| format!("{}: {}", it.reason.word(), it.message))
    }

    #[test]
    fn all_places() {
        let bearer =
            || Place::Header { name: "Authorization".into(), prefix: "Bearer ".to_owned() };
        assert_eq!(check(bearer(), &[("authorization", "bearer s3cret")], ""), Ok(0));
        // UTF-8, as Latin-1.
        assert_eq!(check(bearer(), &[("authorization", "Bearer gr\u{c3}\u{bc}n")], ""), Ok(1));
        for (value, said) in [
            ("Bearer s3cre", "bad_token: the token in the header Authorization is none of the 2"),
            ("Basic s3cret", "bad_token: the header Authorization does not begin with `Bearer `"),
            ("\u{fc}", "bad_token: the header Authorization does not begin"),
        ] {
            let message = check(bearer(), &[("authorization", value)], "").unwrap_err();
            assert!(message.starts_with(said), "{message}");
        }
        assert!(check(bearer(), &[], "").unwrap_err().starts_with("missing_token: "));
        let twice = [("authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")];
        assert!(check(bearer(), &twice, "").unwrap_err().starts_with("malformed: "));

        let basic = || Place::Basic { user: "alerts".to_owned() };
        let of = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(check(basic(), &[("authorization", &of("alerts:s3cret"))], ""), Ok(0));
        for wrong in [of("alerts:s3cre"), of("alert:s3cret"), of(""), "Basic ?".to_owned()] {
            let message = check(basic(), &[("authorization", &wrong)], "").unwrap_err();
            assert!(message.starts_with("bad_token: "), "{message}");
        }

        let query = || Place::Query { name: "to ken".to_owned() };
        assert_eq!(check(query(), &[], "a=b&to+ken=s3cret"), Ok(0));
        assert_eq!(check(query(), &[], "to%20ken=gr%C3%BCn"), Ok(1));
        assert!(check(query(), &[], "a=b").unwrap_err().starts_with("missing_token: "));
        assert!(check(query(), &[], "to+ken").unwrap_err().starts_with("bad_token: "));
        let twice = check(query(), &[], "to+ken=s3cret&to%20ken=x").unwrap_err();
        assert!(twice.starts_with("malformed: "), "{twice}");
    }
}
