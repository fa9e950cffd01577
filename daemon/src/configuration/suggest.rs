//! How a message names what somebody wrote: quoted and cut, and with the nearest of the allowed
//! names. Must never judge a value.

/// Where a text is quoted in a message, it is cut to this many characters.
const MAX_QUOTED: usize = 60;

/// Longer texts are no misspelt names, and comparing them costs the square of their length.
const MAX_COMPARED: usize = 40;

/// "unknown THING `x`, did you mean `y`?"
pub fn unknown<'a>(thing: &str, name: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, allowed) {
        Some(near) => format!("unknown {thing} {}, did you mean `{near}`?", quoted(name)),
        None => format!("unknown {thing} {}", quoted(name)),
    }
}

/// A text as it stands in a message: cut, without control characters, in backticks.
pub fn quoted(text: &str) -> String {
    let printable: String = text
        .chars()
        .take(MAX_QUOTED + 1)
        .map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    format!("`{}`", shorten(&printable, MAX_QUOTED))
}

/// Whether a character changes how others are displayed instead of being displayed itself: control
/// characters, marks of writing direction, with which a text shows as another one, and other invisible
/// ones. Joiners are none: scripts and emoji need them, and they reach their neighbours only.
pub fn steers(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The first `most` characters.
pub fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The allowed name that was probably meant, if one is near enough.
pub fn nearest<'a>(wrong: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > MAX_COMPARED {
        return None;
    }
    let plain = normalise(wrong);
    let most = (plain.chars().count() / 3).max(1);
    allowed
        .into_iter()
        .filter(|name| name.len() <= MAX_COMPARED && name.len().abs_diff(wrong.len()) <= most)
        .map(|name| (strsim::osa_distance(&plain, &normalise(name)), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Case and the choice between hyphen, underscore and space are the commonest slips.
fn normalise(name: &str) -> String {
    name.to_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_other_words_alone() {
        let keys = ["event_sources", "functions", "name", "source", "function"];
        for (wrong, expected) in [
            ("event-sources", Some("event_sources")),
            ("Functions", Some("functions")),
            ("funtion", Some("function")),
            ("sourec", Some("source")),
            ("nmae", Some("name")),
            ("colour", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, keys), expected, "{wrong}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), keys), None);
    }
}
