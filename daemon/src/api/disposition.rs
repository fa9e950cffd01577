//! `Content-Disposition` (RFC 6266) of files that others have named. Pure.
//!
//! Invariant: whatever the name, the value is visible ASCII, the quotes close where they should, and no
//! path is in it.

/// Says that it is to be saved, and under which name.
pub(super) fn attachment(file_name: &str) -> String {
    let name = safe(file_name);
    let plain =
        |it: char| if (' '..='~').contains(&it) && !"\"\\%".contains(it) { it } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", encoded(&name))
}

/// The last part of a path, without what hides how it ends.
fn safe(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible = |it: char| if it.is_control() || turns_text(it) { '_' } else { it };
    let name: String = last.trim().chars().map(visible).collect();
    match name.as_str() {
        "" | "." | ".." => "artifact".to_owned(),
        _ => name,
    }
}

/// Characters by which `exe.jpg` can look like `gpj.exe`.
fn turns_text(it: char) -> bool {
    matches!(it, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// RFC 8187.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_name_breaks_the_header(name: String) {
            let header = attachment(&name);
            prop_assert!(header.bytes().all(|it| (0x20..0x7f).contains(&it)), "{}", header);
            prop_assert_eq!(header.matches('"').count(), 2);
            prop_assert!(!header.contains('/') && !header.contains('\\'));
        }
    }

    #[test]
    fn names_are_given_as_they_are_where_they_can_be() {
        for (name, plain, encoded) in [
            ("report.pdf", "report.pdf", "report.pdf"),
            ("Übersicht 1.txt", "_bersicht 1.txt", "%C3%9Cbersicht%201.txt"),
            ("../../etc/passwd", "passwd", "passwd"),
            ("C:\\x\\a.txt", "a.txt", "a.txt"),
            ("a\"; filename=\"b.exe", "a_; filename=_b.exe", "a%22%3B%20filename%3D%22b.exe"),
            ("a\r\nSet-Cookie: x", "a__Set-Cookie: x", "a__Set-Cookie%3A%20x"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe", "photo_gpj.exe"),
            ("..", "artifact", "artifact"),
            ("a/", "artifact", "artifact"),
        ] {
            let expected = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
            assert_eq!(attachment(name), expected, "{name}");
        }
    }
}
