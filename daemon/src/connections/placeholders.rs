//! Placeholders such as `[ACCESS_TOKEN]` in what a manifest says about requests, and how a value is
//! written where one stands: a value must never become syntax of a URL, a header or a body.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::secret::{MASK, SecretText};

/// The names that placeholders have beside the fields of a type.
const NAMES: [&str; 10] = [
    "ACCESS_TOKEN",
    "API_KEY",
    "CLIENT_CREDENTIALS_BASE64",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "ORGANIZATION_ID",
    "REFRESH_TOKEN",
    "SCOPE",
    "SCOPES",
    "SUBDOMAIN",
];

/// Those whose values may be shown.
const PUBLIC: [&str; 5] = ["CLIENT_ID", "ORGANIZATION_ID", "SCOPE", "SCOPES", "SUBDOMAIN"];

/// What placeholders stand for.
#[derive(Clone, Debug, Default)]
pub struct Values {
    named: BTreeMap<&'static str, SecretText>,
    fields: BTreeMap<String, SecretText>,
}

/// Why a text with placeholders cannot be made into what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// There is no value for it.
    #[error("`[{name}]` in {place} has no value")]
    NoValue {
        /// The placeholder.
        name: String,
        /// Where it stands.
        place: String,
    },
    /// Its value cannot stand there.
    #[error("the value of `[{name}]` cannot stand in {place}: {why}")]
    Unsuitable {
        /// The placeholder.
        name: String,
        /// Where it stands.
        place: String,
        /// What is allowed.
        why: &'static str,
    },
    /// It is no URL with or without values.
    #[error("{0} is no http or https URL")]
    NoUrl(String),
}

/// A piece of a text.
enum Piece<'a> {
    Text(&'a str),
    /// The name without its brackets, and its value if there is one.
    Placeholder(&'a str, Option<&'a str>),
}

impl Values {
    /// What an access token is for.
    pub fn with_access_token(self, value: &SecretText) -> Values {
        self.with("ACCESS_TOKEN", value.clone())
    }

    /// What renews an access token.
    pub fn with_refresh_token(self, value: &SecretText) -> Values {
        self.with("REFRESH_TOKEN", value.clone())
    }

    /// The secret that is stored.
    pub fn with_api_key(self, value: &SecretText) -> Values {
        self.with("API_KEY", value.clone())
    }

    /// The client of OAuth2, and both halves as `Authorization: Basic` takes them.
    pub fn with_client(self, id: &str, secret: Option<&SecretText>) -> Values {
        let values = self.with("CLIENT_ID", id.into());
        let Some(secret) = secret else { return values };
        let pair = SecretText::from(format!("{id}:{}", secret.reveal()));
        values
            .with("CLIENT_SECRET", secret.clone())
            .with("CLIENT_CREDENTIALS_BASE64", STANDARD.encode(pair.reveal()).into())
    }

    /// Scopes, with what stands between them.
    pub fn with_scopes(self, joined: &str) -> Values {
        self.with("SCOPE", joined.into()).with("SCOPES", joined.into())
    }

    /// The subdomain at the external system.
    pub fn with_subdomain(self, value: Option<&str>) -> Values {
        match value {
            Some(value) => self.with("SUBDOMAIN", value.into()),
            None => self,
        }
    }

    /// The organization at the external system.
    pub fn with_organization(self, id: Option<&str>) -> Values {
        match id {
            Some(id) => self.with("ORGANIZATION_ID", id.into()),
            None => self,
        }
    }

    /// The fields of a type.
    pub fn with_fields(mut self, fields: &BTreeMap<String, SecretText>) -> Values {
        self.fields.extend(fields.iter().map(|(id, it)| (id.clone(), it.clone())));
        self
    }

    fn with(mut self, name: &'static str, value: SecretText) -> Values {
        self.named.insert(name, value);
        self
    }

    /// Every value that must not be shown. Scopes, organization, subdomain and client id may be.
    pub fn secrets(&self) -> Vec<&str> {
        let named = self.named.iter().filter(|(name, _)| !PUBLIC.contains(name));
        named
            .map(|(_, it)| it.reveal())
            .chain(self.fields.values().map(SecretText::reveal))
            .collect()
    }

    /// A text as it can be shown: with the mask in place of every value that must not be.
    pub fn shown(&self, text: &str) -> String {
        let pieces = self.pieces(text).into_iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Placeholder(name, Some(value)) if PUBLIC.contains(&name) => value,
            Piece::Placeholder(..) => MASK,
        });
        pieces.collect()
    }

    /// Whether a text has a placeholder with this name.
    pub fn mentions(text: &str, name: &str) -> bool {
        brackets(text).any(|(_, inside, _)| inside == name)
    }

    /// The value of a placeholder; nothing when the brackets are none.
    fn look_up(&self, name: &str) -> Option<Option<&str>> {
        if let Some(known) = NAMES.iter().find(|it| **it == name) {
            return Some(self.named.get(known).map(SecretText::reveal));
        }
        let field = self.fields.get(name).or_else(|| {
            let mut fields = self.fields.iter();
            fields.find(|(id, _)| id.eq_ignore_ascii_case(name)).map(|(_, it)| it)
        });
        field.map(|it| Some(it.reveal()))
    }

    fn pieces<'a>(&'a self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for (start, name, end) in brackets(text) {
            if let Some(value) = self.look_up(name) {
                pieces.push(Piece::Text(&text[from..start]));
                pieces.push(Piece::Placeholder(name, value));
                from = end;
            }
        }
        pieces.push(Piece::Text(&text[from..]));
        pieces
    }

    /// Puts values into a text, each written by `write`, which says why one cannot stand there.
    fn expand(
        &self,
        text: &str,
        place: &str,
        write: impl Fn(&str, &mut String) -> Result<(), &'static str>,
    ) -> Result<SecretText, PlaceholderError> {
        let mut whole = String::with_capacity(text.len() + 256);
        for piece in self.pieces(text) {
            match piece {
                Piece::Text(text) => whole.push_str(text),
                Piece::Placeholder(name, Some(value)) => {
                    write(value, &mut whole).map_err(|why| PlaceholderError::Unsuitable {
                        name: name.to_owned(),
                        place: place.to_owned(),
                        why,
                    })?;
                }
                Piece::Placeholder(name, None) => {
                    let (name, place) = (name.to_owned(), place.to_owned());
                    return Err(PlaceholderError::NoValue { name, place });
                }
            }
        }
        Ok(whole.into())
    }

    /// A value on its own: of a parameter, before it is encoded for where that goes.
    pub fn plain(&self, text: &str, place: &str) -> Result<SecretText, PlaceholderError> {
        self.expand(text, place, |value, whole| {
            whole.push_str(value);
            Ok(())
        })
    }

    /// The value of a header.
    pub fn header(&self, text: &str, place: &str) -> Result<SecretText, PlaceholderError> {
        self.expand(text, place, |value, whole| {
            if value.chars().any(char::is_control) {
                return Err("a header takes no line breaks and no other control characters");
            }
            whole.push_str(value);
            Ok(())
        })
    }

    /// A URL: each value is encoded for the part that it stands in, and no value changes where the
    /// request goes unless it stands in the host, where it can be nothing but a part of a name. At
    /// the very beginning it may be the URL of the external system.
    pub fn url(&self, text: &str, place: &str) -> Result<SecretText, PlaceholderError> {
        let no_url = || PlaceholderError::NoUrl(place.to_owned());
        let text = text.trim();
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (base, rest) = match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?', '[']) => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let authority = self.authority(authority, place)?;
                (format!("{scheme}://{}", authority.reveal()), rest)
            }
            _ => {
                let end = text.find(']').ok_or_else(no_url)? + 1;
                let (start, rest) = text.split_at(end);
                let base = self.expand(start, place, write_base)?;
                (base.reveal().to_owned(), rest)
            }
        };
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(no_url());
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut url = base;
        for (at, segment) in path.split('/').enumerate() {
            if at > 0 {
                url.push('/');
            }
            let written = self.expand(segment, place, write_encoded)?;
            // `%2e%2e` is as good as `..` to those who read URLs.
            let dots = written.reveal().replace("%2E", ".").replace("%2e", ".");
            if (dots == "." || dots == "..") && dots != segment {
                let name = segment.trim_matches(['[', ']', '.']).to_owned();
                let why = "a path takes no `.` and no `..`";
                return Err(PlaceholderError::Unsuitable { name, place: place.to_owned(), why });
            }
            url.push_str(written.reveal());
        }
        if let Some(query) = query {
            url.push('?');
            url.push_str(self.expand(query, place, write_encoded)?.reveal());
        }
        Ok(url.into())
    }

    fn authority(&self, text: &str, place: &str) -> Result<SecretText, PlaceholderError> {
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, text),
        };
        let host = self.expand(host, place, |value, whole| {
            let is_name = !value.is_empty()
                && value.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it));
            if !is_name {
                return Err("a host takes letters, digits, `-` and `.` only");
            }
            whole.push_str(value);
            Ok(())
        })?;
        let Some(user) = user else { return Ok(host) };
        let user = self.expand(user, place, write_encoded)?;
        Ok(format!("{}@{}", user.reveal(), host.reveal()).into())
    }
}

/// Everything in brackets that could be a placeholder: where it begins, its name, where it ends.
fn brackets(text: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    text.match_indices('[').filter_map(|(start, _)| {
        let inside = &text[start + 1..];
        let length = inside
            .find(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != '-' && it != '.')?;
        let is_closed = length > 0 && inside[length..].starts_with(']');
        is_closed.then(|| (start, &inside[..length], start + length + 2))
    })
}

fn write_encoded(value: &str, whole: &mut String) -> Result<(), &'static str> {
    encode_into(value, whole);
    Ok(())
}

/// The URL of an external system that is somebody's own.
fn write_base(value: &str, whole: &mut String) -> Result<(), &'static str> {
    const WHY: &str = "expected a URL such as https://example.com";
    let value = value.trim_end_matches('/');
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._~:/%".contains(&it);
    if !host.is_some_and(|it| !it.is_empty() && it.bytes().all(allowed)) {
        return Err(WHY);
    }
    whole.push_str(value);
    Ok(())
}

/// Percent-encodes everything but the characters that never mean anything (RFC 3986 §2.3).
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    encode_into(value, &mut encoded);
    encoded
}

fn encode_into(value: &str, whole: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            whole.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(whole, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> Values {
        let fields = BTreeMap::from([
            ("token".to_owned(), SecretText::from("t/&?k")),
            ("site".to_owned(), SecretText::from("https://jira.example.com/base/")),
        ]);
        Values::default()
            .with_subdomain(Some("acme"))
            .with_api_key(&"key value".into())
            .with_client("id", Some(&"secret".into()))
            .with_scopes("read write")
            .with_fields(&fields)
    }

    fn url(text: &str) -> Result<String, PlaceholderError> {
        values().url(text, "the url").map(|it| it.reveal().to_owned())
    }

    #[test]
    fn values_are_written_for_where_they_stand() {
        for (text, expected) in [
            ("https://[SUBDOMAIN].example.com/x", "https://acme.example.com/x"),
            ("https://e.com/a/[API_KEY]/b", "https://e.com/a/key%20value/b"),
            ("https://e.com/a?t=[token]&u=1", "https://e.com/a?t=t%2F%26%3Fk&u=1"),
            ("https://e.com/[TOKEN]", "https://e.com/t%2F%26%3Fk"),
            ("[site]/rest/[token]", "https://jira.example.com/base/rest/t%2F%26%3Fk"),
            ("https://[CLIENT_ID]:[token]@e.com/", "https://id:t%2F%26%3Fk@e.com/"),
            ("https://e.com/?fields[name]=1#part", "https://e.com/?fields[name]=1"),
            ("https://e.com?s=[SCOPE]&[SCOPES]", "https://e.com?s=read%20write&read%20write"),
        ] {
            assert_eq!(url(text).as_deref(), Ok(expected), "{text}");
        }
        let header = values().header("Basic [CLIENT_CREDENTIALS_BASE64]", "h");
        assert_eq!(header.expect("a header").reveal(), "Basic aWQ6c2VjcmV0");
    }

    #[test]
    fn what_cannot_stand_somewhere_is_refused_without_quoting_it() {
        for text in [
            "https://[token].example.com/",
            "https://[API_KEY]/",
            "https://e.com/[REFRESH_TOKEN]",
            "[token]/x",
            "ftp://e.com/",
            "e.com/[token]",
            "",
        ] {
            let error = url(text).expect_err(text).to_string();
            assert!(!error.contains("key value") && !error.contains("t/&"), "{error}");
        }
        let dots = Values::default().with_api_key(&"..".into());
        assert!(dots.url("https://e.com/a/[API_KEY]/b", "u").is_err());
        let half = Values::default().with_api_key(&".".into());
        assert!(half.url("https://e.com/a/.[API_KEY]/b", "u").is_err());
        let lines = Values::default().with_api_key(&"a\r\nHost: evil".into());
        assert!(lines.header("[API_KEY]", "h").is_err());
    }

    #[test]
    fn brackets_that_are_no_placeholder_stay() {
        for text in ["[]", "[", "a[0]", "[a b]", "[unknown]", "]["] {
            assert_eq!(values().plain(text, "p").expect("stays").reveal(), text);
        }
    }

    proptest! {
        /// Whatever a value is, it changes neither host nor shape of a URL, and no header has a
        /// line of its own.
        #[test]
        fn no_value_becomes_syntax(value in ".*") {
            let values = Values::default().with_api_key(&value.as_str().into());
            if let Ok(url) = values.url("https://e.com/a/[API_KEY]/b?c=[API_KEY]&d=1", "u") {
                let url = url.reveal();
                let rest = url.strip_prefix("https://e.com/a/").expect("the same host");
                prop_assert_eq!(rest.matches('/').count(), 1);
                prop_assert_eq!(rest.matches('?').count(), 1);
                prop_assert_eq!(rest.matches('&').count(), 1);
                prop_assert!(url.is_ascii() && !url.contains(['#', ' ', '\\']));
            }
            if let Ok(header) = values.header("X [API_KEY]", "h") {
                prop_assert!(!header.reveal().contains(['\r', '\n', '\0']));
            }
            if let Ok(url) = values.url("https://[API_KEY].e.com/", "u") {
                prop_assert!(url.reveal().ends_with(".e.com/"));
                prop_assert!(!url.reveal()[8..].trim_end_matches('/').contains(['/', '@', ':', '?']));
            }
        }

        #[test]
        fn any_text_is_read(text in ".*") {
            let _ = values().url(&text, "u");
            let _ = values().plain(&text, "p");
        }
    }
}
