//! Where a text of a request is taken from: a header, a place in the body, or the configuration.

use std::borrow::Cow;

use super::headers::{self, Headers};
use super::signature::Name;
use super::walk::{Found, Value};

/// Where one text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    /// In a header.
    Header(Name),
    /// In the body, at this one of the pointers that are looked for.
    Pointer(usize),
    /// Always this.
    Fixed(String),
}

impl Selector {
    /// The text; none when it is missing or empty, and for what is no text, number or truth value.
    pub(super) fn text<'a>(
        &'a self,
        headers: Headers<'a>,
        found: &'a Found,
    ) -> Option<Cow<'a, str>> {
        let text = match self {
            Selector::Header(name) => headers::text(headers.one(name).ok().flatten()?),
            Selector::Pointer(place) => match found.at(*place) {
                Value::Text(text) | Value::Plain(text) => Cow::Borrowed(text.as_str()),
                Value::Nothing | Value::Fraction | Value::Composed => return None,
            },
            Selector::Fixed(text) => Cow::Borrowed(text.as_str()),
        };
        (!text.is_empty()).then_some(text)
    }
}
