//! What is different between two things that a manifest declares, field by field. Knows no field;
//! the caller says which part may hold secrets and is then named only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longer values are not shown, only that they differ.
const MAX_SHOWN: usize = 60;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Difference {
    /// Its place, such as `ui.is_hidden`.
    pub field: String,
    /// What it was, as JSON; absent when it was not there, is long, or may be secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Difference {
    /// For people: `field_type "int" → "text"`.
    pub fn line(&self) -> String {
        match (&self.before, &self.after) {
            (None, None) => format!("{} changed", self.field),
            (Some(before), None) => format!("{} was {before}", self.field),
            (None, Some(after)) => format!("{} is {after}", self.field),
            (Some(before), Some(after)) => format!("{} {before} → {after}", self.field),
        }
    }
}

/// The fields in which two objects differ, in the order of their places. Values below a field of `hidden` are not
/// shown.
pub fn differences(before: &Value, after: &Value, hidden: &[&str]) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), hidden, &mut found);
    found.sort_by(|a, b| a.field.cmp(&b.field));
    found
}

fn compare(
    place: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    hidden: &[&str],
    found: &mut Vec<Difference>,
) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let (left, right) = match (before, after) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => (left, right),
        (Some(Value::Object(left)), None) => (left, &empty),
        (None, Some(Value::Object(right))) => (&empty, right),
        _ => return found.push(difference(place, before, after, hidden)),
    };
    // An object that is empty on both sides and yet differs: it was not there.
    if left.is_empty() && right.is_empty() {
        return found.push(difference(place, before, after, hidden));
    }
    let only_right = right.keys().filter(|key| !left.contains_key(*key));
    for key in left.keys().chain(only_right) {
        let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        compare(&inner, left.get(key), right.get(key), hidden, found);
    }
}

fn difference(
    place: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    hidden: &[&str],
) -> Difference {
    let top = place.split('.').next().unwrap_or_default();
    let show = |value: Option<&Value>| {
        let text = value.filter(|_| !hidden.contains(&top))?.to_string();
        (text.chars().count() <= MAX_SHOWN).then_some(text)
    };
    // One side alone would read as if the other were not there.
    let (before_shown, after_shown) = (show(before), show(after));
    let is_cut =
        before.is_some() != before_shown.is_some() || after.is_some() != after_shown.is_some();
    let (before, after) = if is_cut { (None, None) } else { (before_shown, after_shown) };
    Difference { field: place.to_owned(), before, after }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_told_by_their_place() {
        let before = json!({
            "a": 1, "b": {"c": [1], "d": "x"}, "gone": {"e": 1}, "same": null,
            "config": {"secret": "s3cret", "policy": "x"}, "long": "x".repeat(100),
        });
        let after = json!({
            "a": 2, "b": {"c": [1, 2], "d": "x"}, "new": true, "same": null, "empty": {},
            "config": {"secret": "s4cret", "policy": "x"}, "long": "short",
        });
        let lines: Vec<String> =
            differences(&before, &after, &["config"]).iter().map(Difference::line).collect();
        assert_eq!(
            lines,
            [
                "a 1 → 2",
                "b.c [1] → [1,2]",
                "config.secret changed",
                "empty is {}",
                "gone.e was 1",
                "long changed",
                "new is true",
            ]
        );
        assert_eq!(differences(&before, &before, &[]), []);
    }
}
