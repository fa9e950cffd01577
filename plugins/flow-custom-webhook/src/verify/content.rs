//! What a signature is over: pieces of the request, in order, none of them copied.

use std::borrow::Cow;

use super::headers::{self, Headers};

/// A piece of the signed content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Text(Cow<'static, str>),
    /// The timestamp, as it was written.
    Timestamp,
    /// The id of the delivery.
    Id,
    /// The raw body.
    Body,
    /// The list of the headers that are signed too, as it was written.
    ListedNames,
    /// The values of those headers, with dots between them.
    ListedValues,
}

/// What the pieces are, for one request.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) headers: Headers<'a>,
    pub(super) timestamp: &'a str,
    pub(super) id: &'a str,
    pub(super) listed: &'a str,
    pub(super) body: &'a [u8],
}

impl Sources<'_> {
    /// Gives the content piece by piece.
    pub(super) fn feed(&self, parts: &[Part], to: &mut dyn FnMut(&[u8])) {
        for part in parts {
            match part {
                Part::Text(text) => to(text.as_bytes()),
                Part::Timestamp => to(&headers::bytes(self.timestamp)),
                Part::Id => to(&headers::bytes(self.id)),
                Part::Body => to(self.body),
                Part::ListedNames => to(&headers::bytes(self.listed)),
                Part::ListedValues => {
                    for (at, name) in self.listed.split(' ').enumerate() {
                        if at > 0 {
                            to(b".");
                        }
                        // One that is not there was found before.
                        let value = self.headers.one(name).ok().flatten().unwrap_or_default();
                        to(&headers::bytes(value));
                    }
                }
            }
        }
    }
}

/// Reads a template such as `{timestamp}.{body}`; what is wrong with it otherwise.
pub(super) fn template(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        if start > 0 {
            parts.push(Part::Text(rest[..start].to_owned().into()));
        }
        let Some(length) = rest[start..].find('}') else {
            return Err("a `{` has no `}`".to_owned());
        };
        parts.push(match &rest[start + 1..start + length] {
            "timestamp" => Part::Timestamp,
            "id" => Part::Id,
            "body" => Part::Body,
            other => {
                return Err(format!(
                    "`{{{other}}}` is not known; allowed are {{timestamp}}, {{id}} and {{body}}"
                ));
            }
        });
        rest = &rest[start + length + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned().into()));
    }
    if !parts.contains(&Part::Body) {
        return Err("`{body}` is missing, so that anything could be sent".to_owned());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let text = |it: &str| Part::Text(it.to_owned().into());
        assert_eq!(template("{body}"), Ok(vec![Part::Body]));
        assert_eq!(
            template("v0:{timestamp}:{body}"),
            Ok(vec![text("v0:"), Part::Timestamp, text(":"), Part::Body])
        );
        assert_eq!(template("{id}.{body}x"), Ok(vec![Part::Id, text("."), Part::Body, text("x")]));
        for (wrong, said) in [
            ("", "`{body}` is missing"),
            ("{timestamp}", "`{body}` is missing"),
            ("{body", "no `}`"),
            ("{body}{secret}", "`{secret}` is not known"),
        ] {
            let message = template(wrong).unwrap_err();
            assert!(message.contains(said), "{wrong}: {message}");
        }
    }
}
