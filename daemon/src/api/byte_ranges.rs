//! Parts of a file, as HTTP names them: `Range` of a download (RFC 9110 §14.2), `Content-Range` of a
//! part that is sent (§14.4). Pure.

/// Whether one of the tags of an `If-None-Match` is that of a strong `tag` (RFC 9110 §13.1.2): it is
/// compared weakly, because caches and proxies make weak tags of strong ones.
pub(super) fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == tag)
}

/// What of a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included.
    Part { first: u64, last: u64 },
    /// Something that it has not.
    Nothing,
}

/// Reads a `Range`. What is not understood, and several parts at once, mean all of it, as the RFC allows.
pub(super) fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some(range) = range else { return Wanted::Whole };
    let Some((unit, ranges)) = range.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Wanted::Whole };
    let (first, last) = (number(first), number(last));
    match (first, last) {
        (Number::Is(first), Number::None) if first < size => Wanted::Part { first, last: size - 1 },
        (Number::Is(first), Number::Is(last)) if first > last => Wanted::Whole,
        (Number::Is(first), Number::Is(last)) if first < size => {
            Wanted::Part { first, last: last.min(size - 1) }
        }
        (Number::Is(_), Number::None | Number::Is(_)) => Wanted::Nothing,
        // The last so many.
        (Number::None, Number::Is(0)) => Wanted::Nothing,
        (Number::None, Number::Is(_)) if size == 0 => Wanted::Nothing,
        (Number::None, Number::Is(count)) => {
            Wanted::Part { first: size.saturating_sub(count), last: size - 1 }
        }
        (Number::None, Number::None) | (Number::Odd, _) | (_, Number::Odd) => Wanted::Whole,
    }
}

enum Number {
    None,
    Is(u64),
    Odd,
}

fn number(text: &str) -> Number {
    let text = text.trim();
    if text.is_empty() {
        return Number::None;
    }
    if !text.bytes().all(|it| it.is_ascii_digit()) {
        return Number::Odd;
    }
    // More than there can be is more than there is.
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

/// Which part of a file a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// From the first to the last byte, both included, of so many if that is known.
    Part { first: u64, last: u64, total: Option<u64> },
    /// Nothing: it asks how far the upload is, or says that these are all.
    Nothing { total: Option<u64> },
}

/// Reads a `Content-Range`; nothing when it is none.
pub(super) fn sent(text: &str) -> Option<Sent> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let whole = |text: &str| match number(text) {
        Number::Is(number) if number < u64::MAX => Some(number),
        Number::Is(_) | Number::None | Number::Odd => None,
    };
    let total = match total.trim() {
        "*" => None,
        total => Some(whole(total)?),
    };
    if range.trim() == "*" {
        return Some(Sent::Nothing { total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (whole(first)?, whole(last)?);
    let is_right = first <= last && total.is_none_or(|it| last < it);
    is_right.then_some(Sent::Part { first, last, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let part = |first, last| Wanted::Part { first, last };
        for (range, expected) in [
            ("bytes=0-9", part(0, 9)),
            ("bytes=0-0", part(0, 0)),
            ("Bytes = 5-", part(5, 99)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=-1", part(99, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=99-99999999999999999999999", part(99, 99)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=100-200", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=9-0", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("lines=0-9", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(range), 100), expected, "{range}");
        }
        assert_eq!(wanted(None, 100), Wanted::Whole);
        for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            assert_eq!(wanted(Some(range), 0), Wanted::Nothing, "{range} of nothing");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (tags, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("w/\"a\"", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(names(tags, "\"a\""), expected, "{tags}");
        }
    }

    #[test]
    fn content_ranges_are_right_or_refused() {
        let part = |first, last, total| Some(Sent::Part { first, last, total });
        for (text, expected) in [
            ("bytes 0-9/10", part(0, 9, Some(10))),
            ("bytes 5-5/*", part(5, 5, None)),
            ("Bytes  0-9/ 20", part(0, 9, Some(20))),
            ("bytes */10", Some(Sent::Nothing { total: Some(10) })),
            ("bytes */*", Some(Sent::Nothing { total: None })),
            ("bytes 0-10/10", None),
            ("bytes 9-0/10", None),
            ("bytes 0-9", None),
            ("bytes 0/10", None),
            ("bytes -9/10", None),
            ("bytes 0-99999999999999999999999/*", None),
            ("0-9/10", None),
            ("", None),
        ] {
            assert_eq!(sent(text), expected, "{text}");
        }
    }
}
