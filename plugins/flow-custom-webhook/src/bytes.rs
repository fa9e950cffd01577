//! Byte strings inside Rego strings.
//!
//! Strings of OPA are byte strings, strings of regorus are UTF-8. A signature over a body that is
//! not UTF-8 must be right all the same, so bytes are carried through losslessly: a byte that is
//! not part of valid UTF-8 becomes one of 128 private-use code points, and the builtins that care
//! about bytes (`crypto.*`, `base64.*`, `hex.*`) turn it back.
//!
//! Invariant: [`to_bytes`] undoes [`to_text`] for every sequence of bytes. A private-use code point
//! that occurs naturally is therefore carried as its four bytes; whatever enters a policy (body,
//! headers, query, parameters, decoded text) passes through [`to_text`], so nobody outside can
//! write text that a policy takes for other bytes.

use std::borrow::Cow;

/// U+10F780 to U+10F7FF, the end of the last private-use plane, stand for the bytes 80 to FF.
const BASE: u32 = 0x10_F700;

/// The first byte of every reserved code point in UTF-8; text without it needs no work.
const LEAD: u8 = 0xF4;

/// The text that stands for `bytes` inside a policy.
pub(crate) fn to_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !has_reserved(text)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_reserved(character) {
                let mut utf8 = [0; 4];
                for byte in character.encode_utf8(&mut utf8).bytes() {
                    push_byte(&mut text, byte);
                }
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            push_byte(&mut text, *byte);
        }
    }
    Cow::Owned(text)
}

/// The bytes that `text` stands for.
pub(crate) fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !has_reserved(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match reserved_byte(character) {
            Some(byte) => bytes.push(byte),
            None => {
                let mut utf8 = [0; 4];
                bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
    Cow::Owned(bytes)
}

/// `text` for the world outside, where strings are Unicode: what is not UTF-8 becomes U+FFFD, as
/// it does when OPA writes JSON.
pub(crate) fn to_unicode(text: &str) -> Cow<'_, str> {
    match to_bytes(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Whether `text` contains a code point that stands for a byte.
pub(crate) fn has_reserved(text: &str) -> bool {
    text.as_bytes().contains(&LEAD) && text.chars().any(is_reserved)
}

fn is_reserved(character: char) -> bool {
    reserved_byte(character).is_some()
}

fn reserved_byte(character: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(character).checked_sub(BASE)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

/// `byte` is 80 or above: bytes below are ASCII and never invalid.
fn push_byte(text: &mut String, byte: u8) {
    text.push(char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_itself() {
        for text in ["", "hello", "gr\u{fc}\u{df}e \u{1f600}", "\u{10ffff}", "\u{10f77f}"] {
            assert_eq!(to_text(text.as_bytes()), text);
            assert_eq!(to_bytes(text).as_ref(), text.as_bytes());
        }
    }

    #[test]
    fn a_reserved_code_point_cannot_pose_as_a_byte() {
        let posing = "\u{10f7ff}";
        assert_ne!(to_text(posing.as_bytes()), to_text(&[0xff]));
        assert_eq!(to_bytes(&to_text(posing.as_bytes())).as_ref(), posing.as_bytes());
        assert_eq!(to_unicode(&to_text(posing.as_bytes())), posing);
    }

    #[test]
    fn outside_what_is_not_utf8_is_replaced() {
        assert_eq!(to_unicode(&to_text(b"a\xffb")), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes: Vec<u8>) {
            let text = to_text(&bytes).into_owned();
            prop_assert_eq!(to_bytes(&text).into_owned(), bytes);
        }

        #[test]
        fn reserved_text_survives(text in "[\u{10f770}-\u{10f7ff}a\u{e9}]{0,20}") {
            let inside = to_text(text.as_bytes()).into_owned();
            prop_assert_eq!(to_bytes(&inside).into_owned(), text.as_bytes());
            prop_assert_eq!(to_unicode(&inside).into_owned(), text);
        }

        #[test]
        fn different_bytes_are_different_texts(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(a == b, to_text(&a) == to_text(&b));
        }
    }
}
