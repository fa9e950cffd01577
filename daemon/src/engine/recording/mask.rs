//! What of a request is kept: headers and query without secrets. Pure. A header or parameter that is
//! a secret by its name is masked whole, and so is every value that holds a secret of the source,
//! whatever form it has there. Names stay: they are what people look for.

use crate::engine::keyrings::Masks;
use crate::manifest::{self, MASK, names_secret_of_request};

/// The headers to keep, and what was masked in them.
pub(super) fn headers(
    headers: &[(String, String)],
    masks: &Masks,
) -> (Vec<(String, String)>, Vec<String>) {
    let mut masked = Vec::new();
    let kept = headers.iter().map(|(name, value)| {
        let shown = value_of(name, value, masks);
        if shown != *value {
            masked.push(format!("header {name}"));
        }
        (name.clone(), shown)
    });
    (kept.collect(), masked)
}

/// The query to keep, and what was masked in it.
pub(super) fn query(query: &str, masks: &Masks) -> (String, Vec<String>) {
    let mut masked = Vec::new();
    let kept: Vec<String> = query
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = decoded(name);
            if value.is_empty() {
                // Some senders send a bare token.
                let shown = masks.mask(name);
                return if shown == *name && masks.mask(&plain) == plain {
                    pair.to_owned()
                } else {
                    masked.push("query".to_owned());
                    MASK.to_owned()
                };
            }
            let is_secret = value_of(&plain, value, masks) != value
                || masks.mask(&decoded(value)) != decoded(value);
            if is_secret {
                masked.push(format!("query {plain}"));
                return format!("{name}={MASK}");
            }
            pair.to_owned()
        })
        .collect();
    (kept.join("&"), masked)
}

/// A URL that a plugin wants to request, for people.
pub fn mask_url(url: &str, masks: &Masks) -> String {
    let url = manifest::mask_url(url);
    match url.split_once('?') {
        Some((before, after)) => {
            let (parameters, fragment) = match after.split_once('#') {
                Some((parameters, fragment)) => (parameters, format!("#{fragment}")),
                None => (after, String::new()),
            };
            masks.mask(&format!("{before}?{}{fragment}", query(parameters, masks).0))
        }
        None => masks.mask(&url),
    }
}

fn value_of(name: &str, value: &str, masks: &Masks) -> String {
    if value.is_empty() {
        return String::new();
    }
    if names_secret_of_request(name) || masks.mask(value) != value {
        return MASK.to_owned();
    }
    value.to_owned()
}

/// A part of a query without its percent signs, as far as they mean anything.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let escaped = digits
            .filter(|it| *first == b'%' && it.bytes().all(|it| it.is_ascii_hexdigit()))
            .and_then(|it| u8::from_str_radix(it, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn masks() -> Masks {
        Masks::default()
            .and_literals_of(&json!({ "secret": "hidden one/&", "other": "plain text" }))
    }

    #[test]
    fn headers_by_name_and_by_what_they_hold() {
        let basic = format!("x {}", STANDARD.encode("user:hidden one/&"));
        let given = [
            ("authorization", "Bearer abc"),
            ("x-gitlab-token", "t"),
            ("x-hub-signature-256", "sha256=ab"),
            ("x-note", "it is hidden one/&!"),
            ("x-basic", &basic),
            ("cookie", ""),
            ("x-other", "plain text"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (kept, masked) = headers(&given, &masks());
        let values: Vec<_> = kept.iter().map(|(_, it)| it.as_str()).collect();
        assert_eq!(values, [MASK, MASK, "sha256=ab", MASK, MASK, "", "plain text"]);
        let names = ["authorization", "x-gitlab-token", "x-note", "x-basic"];
        assert_eq!(masked, names.map(|it| format!("header {it}")));
    }

    #[test]
    fn queries_by_name_and_by_what_they_hold() {
        for (given, kept) in [
            ("", ""),
            ("a=1&b", "a=1&b"),
            ("a=1&token=x&c=", "a=1&token=********&c="),
            ("api%5Fkey=x", "api%5Fkey=********"),
            ("a=hidden+one%2F%26", "a=********"),
            ("a=hidden%20one%2f%26x&b=2", "a=********&b=2"),
            ("hidden%20one%2f%26", "********"),
            ("a=%zz%", "a=%zz%"),
            ("challenge=abc&hub.mode=subscribe", "challenge=abc&hub.mode=subscribe"),
        ] {
            assert_eq!(query(given, &masks()).0, kept, "{given}");
        }
        assert_eq!(query("a=1&token=x", &masks()).1, ["query token"]);
    }

    #[test]
    fn urls_keep_their_places() {
        assert_eq!(
            mask_url("https://u:pass@host/p?a=1&key=k#end", &masks()),
            "https://u:********@host/p?a=1&key=********#end"
        );
        assert!(!mask_url("https://host/hidden%20one%2F&/x", &masks()).contains("hidden"));
    }

    proptest! {
        #[test]
        fn no_query_is_too_strange(text in ".{0,60}") {
            let (kept, _) = query(&text, &Masks::default());
            prop_assert_eq!(kept.matches('&').count(), text.matches('&').count());
        }
    }
}
