//! Query strings, form bodies and header names, read as Go's standard library reads them.
//!
//! The platform whose policies run here unmodified is written in Go; its policies depend on which
//! pairs are dropped and how names are written.

use std::collections::BTreeMap;

use regorus::Value;

use crate::bytes;

/// As many pairs as Go takes, too. Each costs a body of a few bytes much more than those bytes, and
/// strangers may send them.
const MOST_PAIRS: usize = 10_000;

/// There are more pairs than are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPairs;

impl std::fmt::Display for TooManyPairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a form or query has more than {MOST_PAIRS} fields")
    }
}

/// Go's `url.ParseQuery`, as policies see it: name to list of values. Pairs with a `;` or a broken
/// escape are dropped.
pub(crate) fn parse(query: &[u8]) -> Result<Value, TooManyPairs> {
    if query.iter().filter(|it| **it == b'&').count() >= MOST_PAIRS {
        return Err(TooManyPairs);
    }
    let mut pairs: BTreeMap<Vec<u8>, Vec<Value>> = BTreeMap::new();
    for pair in query.split(|byte| *byte == b'&') {
        if pair.is_empty() || pair.contains(&b';') {
            continue;
        }
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        let (Some(name), Some(value)) = (unescape(name), unescape(value)) else { continue };
        pairs.entry(name).or_default().push(text(&value));
    }
    let pairs: BTreeMap<Value, Value> =
        pairs.into_iter().map(|(name, values)| (text(&name), Value::from(values))).collect();
    Ok(Value::from(pairs))
}

/// Go's `url.QueryUnescape`; `None` for a broken escape.
pub(crate) fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(*rest.next()?)? << 4 | hex_digit(*rest.next()?)?,
            byte => *byte,
        });
    }
    Some(decoded)
}

/// Go's `textproto.CanonicalMIMEHeaderKey`: `x-signature-256` is `X-Signature-256`. A name with a
/// character that no header name may have stays as it is.
pub(crate) fn canonical_header(name: &str) -> String {
    if !name.bytes().all(is_token) {
        return name.to_owned();
    }
    let mut canonical = String::with_capacity(name.len());
    let mut first = true;
    for character in name.chars() {
        canonical.push(if first {
            character.to_ascii_uppercase()
        } else {
            character.to_ascii_lowercase()
        });
        first = character == '-';
    }
    canonical
}

/// Whether a byte may stand in a header name.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn text(bytes: &[u8]) -> Value {
    Value::from(bytes::to_text(bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &str) {
        let read = parse(query.as_bytes()).unwrap();
        assert_eq!(crate::render::to_json(&read, 1000).unwrap(), expected);
    }

    #[test]
    fn pairs_are_bounded() {
        let pairs = |count: usize| vec!["a"; count].join("&");
        let Ok(Value::Object(all)) = parse(pairs(MOST_PAIRS).as_bytes()) else {
            panic!("it is taken")
        };
        assert_eq!(all.len(), 1);
        assert_eq!(parse(pairs(MOST_PAIRS + 1).as_bytes()), Err(TooManyPairs));
        assert!(parse("&".repeat(1 << 20).as_bytes()).is_err());
    }

    #[test]
    fn the_seeds_sample() {
        check("a=1&b=2&b=3&c[]=4&c[]=5", r#"{"a":["1"],"b":["2","3"],"c[]":["4","5"]}"#);
    }

    #[test]
    fn pairs_are_read_as_go_reads_them() {
        check("", "{}");
        check("&&a&=b&c=", r#"{"":["b"],"a":[""],"c":[""]}"#);
        check("a+b=c%20d%2B&A=1", r#"{"A":["1"],"a b":["c d+"]}"#);
        check("a=b=c", r#"{"a":["b=c"]}"#);
        check("bad=%zz&worse=%&a;b=1&good=1", r#"{"good":["1"]}"#);
        check("{\"hello\":\"world\"}", r#"{"{\"hello\":\"world\"}":[""]}"#);
    }

    #[test]
    fn names_are_canonical() {
        for (name, canonical) in [
            ("x-signature-256", "X-Signature-256"),
            ("content-type", "Content-Type"),
            ("www-authenticate", "Www-Authenticate"),
            ("x--a", "X--A"),
            ("x y", "x y"),
            ("etag", "Etag"),
        ] {
            assert_eq!(canonical_header(name), canonical);
        }
    }
}
