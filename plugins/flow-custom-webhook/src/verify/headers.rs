//! The headers of one request. A header that matters must not be there twice: which one a proxy
//! before us looked at is not known.

use std::borrow::Cow;

use super::rejection::Rejection;

/// Names as received, values as Latin-1 text.
#[derive(Clone, Copy)]
pub(super) struct Headers<'a>(&'a [(String, String)]);

impl<'a> Headers<'a> {
    pub(super) fn new(headers: &'a [(String, String)]) -> Headers<'a> {
        Headers(headers)
    }

    /// The value of a header; refused when it is there twice.
    pub(super) fn one(self, name: &str) -> Result<Option<&'a str>, Rejection> {
        let mut values = self.0.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        let first = values.next();
        if values.next().is_some() {
            return Err(Rejection::malformed(format!("the header {name} is there twice")));
        }
        Ok(first.map(|(_, value)| value.trim()))
    }

    /// The first of several names that is there, with the name.
    pub(super) fn first<'n, N: AsRef<str>>(
        self,
        names: &'n [N],
    ) -> Result<Option<(&'n str, &'a str)>, Rejection> {
        for name in names {
            if let Some(value) = self.one(name.as_ref())? {
                return Ok(Some((name.as_ref(), value)));
            }
        }
        Ok(None)
    }

    /// Whether a header is there, however often.
    pub(super) fn has(self, name: &str) -> bool {
        self.0.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
    }

    /// All of them.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.trim()))
    }

    /// The media type of the body in lower case; empty when none is given.
    pub(super) fn media_type(self) -> Result<String, Rejection> {
        let whole = self.one("content-type")?.unwrap_or_default();
        Ok(whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

/// The bytes of a header value.
pub(super) fn bytes(value: &str) -> Cow<'_, [u8]> {
    if value.is_ascii() {
        return Cow::Borrowed(value.as_bytes());
    }
    match value.chars().map(|it| u8::try_from(u32::from(it))).collect::<Result<Vec<u8>, _>>() {
        Ok(bytes) => Cow::Owned(bytes),
        // No Latin-1, so it did not come over HTTP.
        Err(_) => Cow::Borrowed(value.as_bytes()),
    }
}

/// A header value as text; what is not UTF-8 is replaced.
pub(super) fn text(value: &str) -> Cow<'_, str> {
    match bytes(value) {
        Cow::Borrowed(_) => Cow::Borrowed(value),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
