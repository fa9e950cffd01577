//! Did you mean: the nearest of the allowed names.

/// Longer texts are no misspelt names, and comparing them costs the square of their length.
const MAX_COMPARED: usize = 40;

/// The allowed name that was probably meant, if one is near enough.
pub(super) fn nearest<'a>(
    wrong: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
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
