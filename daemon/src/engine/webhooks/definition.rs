//! What a webhook may be: rules for URL, headers, secret and the rest (seed 002, spec §5). Pure; every
//! error names the field and what is allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::message::OWN_HEADERS;
use crate::egress::is_url;

/// Headers that somebody may set.
pub const MOST_HEADERS: usize = 8;
/// Event types of one webhook.
const MOST_EVENT_TYPES: usize = 100;
/// Bytes of a secret.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 8..=32;
/// Requests under way at once.
pub const CONCURRENCY: std::ops::RangeInclusive<u16> = 1..=64;
/// When nothing is said.
pub const DEFAULT_CONCURRENCY: u16 = 8;
pub const LONGEST_URL: usize = 2_048;
/// Characters of the value of a header.
pub const LONGEST_HEADER: usize = 1_024;

/// What is wrong with a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Which member.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

fn invalid<T>(field: &str, problem: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field: field.to_owned(), problem: problem.into() })
}

/// A URL that events can be sent to. Where it leads is checked when it is called.
pub fn check_url(url: &str) -> Result<(), Invalid> {
    let wrong = |problem: &str| invalid("url", problem);
    if url.len() > LONGEST_URL {
        return wrong(&format!("longer than {LONGEST_URL} bytes"));
    }
    let Some(rest) = ["http://", "https://"].iter().find_map(|it| {
        url.get(..it.len()).filter(|head| head.eq_ignore_ascii_case(it))?;
        url.get(it.len()..)
    }) else {
        return wrong("no absolute http or https URL");
    };
    if url.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return wrong("spaces and control characters have to be written as %20 and so on");
    }
    if url.contains('#') {
        return wrong("a fragment (#...) is never sent; leave it out");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return wrong("credentials do not belong into a URL, which is shown; set a header");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return wrong("it has no host");
    }
    if !is_url(url) {
        return wrong("its host or port cannot be one");
    }
    Ok(())
}

/// Names of event types, such as `work_created`; each once.
pub fn check_event_types(types: Vec<String>) -> Result<Vec<String>, Invalid> {
    let field = "event_types";
    if types.is_empty() {
        return invalid(field, "at least one, such as `work_created`");
    }
    if types.len() > MOST_EVENT_TYPES {
        return invalid(field, format!("at most {MOST_EVENT_TYPES}"));
    }
    for name in &types {
        let is_name = !name.is_empty()
            && name.len() <= 128
            && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
        let verbs = ["_created", "_updated", "_deleted"];
        if !is_name || !verbs.iter().any(|it| name.ends_with(it)) {
            return invalid(
                field,
                format!(
                    "`{name}` is no event type; they are TYPE_created, TYPE_updated and TYPE_deleted, such as `work_created`"
                ),
            );
        }
    }
    let mut seen = BTreeSet::new();
    Ok(types.into_iter().filter(|it| seen.insert(it.clone())).collect())
}

/// A header: its name in lower case, and its value.
pub fn check_header(name: &str, value: &str) -> Result<(String, String), Invalid> {
    let field = "headers";
    let is_name = !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_');
    if !is_name {
        return invalid(
            field,
            format!("`{name}` is no name: letters, digits, `-` and `_` are allowed"),
        );
    }
    let name = name.to_ascii_lowercase();
    let hop =
        ["connection", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect"];
    if OWN_HEADERS.contains(&name.as_str())
        || name.starts_with("x-mortise-")
        || hop.contains(&name.as_str())
    {
        return invalid(field, format!("`{name}` is set by Mortise itself"));
    }
    let is_value =
        value.len() <= LONGEST_HEADER && value.bytes().all(|it| (b' '..=b'~').contains(&it));
    if !is_value {
        return invalid(
            field,
            format!(
                "the value of `{name}` has to be at most {LONGEST_HEADER} printable ASCII characters"
            ),
        );
    }
    Ok((name, value.trim().to_owned()))
}

/// All headers of a webhook.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if headers.len() > MOST_HEADERS {
        return invalid("headers", format!("at most {MOST_HEADERS}, not {}", headers.len()));
    }
    Ok(())
}

/// A secret that somebody chose. Its text is the key, byte for byte.
pub fn check_secret(secret: &str) -> Result<(), Invalid> {
    if !SECRET_BYTES.contains(&secret.len()) {
        let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        return invalid("secret", format!("{least} to {most} bytes, not {}", secret.len()));
    }
    if !secret.bytes().all(|it| (b'!'..=b'~').contains(&it)) {
        return invalid(
            "secret",
            "printable ASCII characters without spaces, so that receivers read the same bytes",
        );
    }
    Ok(())
}

/// How many requests may be under way at once.
pub fn check_concurrency(concurrency: u16) -> Result<(), Invalid> {
    if !CONCURRENCY.contains(&concurrency) {
        return invalid("concurrency", format!("{} to {}", CONCURRENCY.start(), CONCURRENCY.end()));
    }
    Ok(())
}

/// How many requests may begin in a second.
pub fn check_rate(per_second: u32) -> Result<(), Invalid> {
    if !(1..=10_000).contains(&per_second) {
        return invalid("per_second", "1 to 10000; leave it out for no limit");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in
            ["https://example.com/a?b=c", "HTTP://127.0.0.1:9/", "http://[::1]:80/x", "https://e.x"]
        {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for (bad, what) in [
            ("ftp://example.com", "http or https"),
            ("/hooks", "http or https"),
            ("https://user:pass@example.com/", "credentials"),
            ("https://example.com/#a", "fragment"),
            ("https:///path", "no host"),
            ("https://:80/", "no host"),
            ("http://127.0.0.1:99999/", "host or port"),
            ("http://[::1/", "host or port"),
            ("https://example.com/a b", "%20"),
            ("httpß://", "http or https"),
        ] {
            let refused = check_url(bad).expect_err(bad);
            assert!(refused.field == "url" && refused.problem.contains(what), "{bad}: {refused}");
        }
        assert!(check_url(&format!("https://e.x/{}", "a".repeat(LONGEST_URL))).is_err());
    }

    #[test]
    fn event_types() {
        let types =
            |names: &[&str]| check_event_types(names.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(types(&["work_created", "a_deleted", "work_created"]).map(|it| it.len()), Ok(2));
        for bad in [&[][..], &["work"], &["Work_created"], &["_created "], &["verify"]] {
            assert!(types(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers() {
        assert_eq!(check_header("X-Team", " ops "), Ok(("x-team".to_owned(), "ops".to_owned())));
        assert!(check_header("Authorization", "Bearer x").is_ok());
        for bad in [
            "",
            "a b",
            "a:b",
            "Host",
            "content-type",
            "Webhook-Id",
            "x-mortise-anything",
            "connection",
        ] {
            assert!(check_header(bad, "v").is_err(), "{bad}");
        }
        for bad in ["a\r\nb: c", "ä", "\0"] {
            assert!(check_header("a", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets() {
        assert_eq!(check_secret("12345678"), Ok(()));
        assert_eq!(check_secret(&"x".repeat(32)), Ok(()));
        for bad in ["1234567", &"x".repeat(33), "with space", "ümlauts"] {
            assert!(check_secret(bad).is_err(), "{bad}");
        }
    }
}
