//! Secrets in the configs of event sources: which keyrings a config refers to, and the config with
//! the secrets put in. Pure. What it makes holds secrets in the open: it goes to the plugin that is
//! opened with it, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use mortise_plugin::reference::{KeyringReference, Piece, pieces};
use serde_json::Value;

use super::secret::SecretText;

/// Shorter secrets are not masked: they would be found in every text.
const SHORTEST_MASKED: usize = 4;

/// The keyrings that texts of a config refer to. Keys are never looked at.
pub fn references(config: &Value) -> BTreeSet<KeyringReference> {
    let mut found = BTreeSet::new();
    each_text(config, &mut |text| {
        for piece in pieces(text) {
            match piece {
                Piece::Reference(reference) => {
                    found.insert(reference);
                }
                Piece::Text(_) | Piece::Unknown(_) => {}
            }
        }
    });
    found
}

/// The config with every reference replaced that `secrets` knows.
pub fn fill(config: &Value, secrets: &BTreeMap<KeyringReference, SecretText>) -> Value {
    match config {
        Value::String(text) => Value::String(fill_text(text, secrets)),
        Value::Array(items) => items.iter().map(|it| fill(it, secrets)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(key, it)| (key.clone(), fill(it, secrets))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => config.clone(),
    }
}

/// The config without the items of lists that are nothing but a reference to one of these, as long as
/// another item of the list stays: of several secrets that are each enough, one need not be there.
pub fn without_absent(config: &Value, absent: &BTreeSet<KeyringReference>) -> Value {
    let is_absent = |item: &Value| match item {
        Value::String(text) => match pieces(text).as_slice() {
            [Piece::Reference(reference)] => absent.contains(reference),
            _ => false,
        },
        Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            false
        }
    };
    match config {
        Value::Array(items) if items.iter().all(is_absent) => config.clone(),
        Value::Array(items) => {
            items.iter().filter(|it| !is_absent(it)).map(|it| without_absent(it, absent)).collect()
        }
        Value::Object(members) => Value::Object(
            members.iter().map(|(key, it)| (key.clone(), without_absent(it, absent))).collect(),
        ),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => config.clone(),
    }
}

/// A text of a plugin without the secrets that its config was filled with.
pub fn mask<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut masked = text.to_owned();
    for secret in secrets {
        if secret.len() >= SHORTEST_MASKED && masked.contains(secret) {
            masked = masked.replace(secret, super::secret::MASK);
        }
    }
    masked
}

fn fill_text(text: &str, secrets: &BTreeMap<KeyringReference, SecretText>) -> String {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(part) | Piece::Unknown(part) => filled.push_str(part),
            Piece::Reference(reference) => match secrets.get(&reference) {
                Some(secret) => filled.push_str(secret.reveal()),
                None => filled.push_str(&written(&reference)),
            },
        }
    }
    filled
}

/// A reference as it is written.
pub fn written(reference: &KeyringReference) -> String {
    match &reference.field {
        None => format!("${{{{ keyrings.{} }}}}", reference.keyring),
        Some(field) => format!("${{{{ keyrings.{}.{field} }}}}", reference.keyring),
    }
}

fn each_text(value: &Value, look: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|it| each_text(it, look)),
        Value::Object(members) => members.values().for_each(|it| each_text(it, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(keyring: &str, field: Option<&str>) -> KeyringReference {
        KeyringReference { keyring: keyring.to_owned(), field: field.map(str::to_owned) }
    }

    #[test]
    fn every_text_is_filled_and_nothing_else() {
        let config = json!({
            "verify": { "secret": ["${{ keyrings.a }}", "${{keyrings.b.x}}"], "tolerance": 3 },
            "${{ keyrings.key }}": "Bearer ${{ keyrings.a }}, ${{ inputs.no }}",
        });
        let (a, b) = (reference("a", None), reference("b", Some("x")));
        assert_eq!(references(&config), BTreeSet::from([a.clone(), b.clone()]));
        let mut secrets = BTreeMap::from([(a, SecretText::from("one ${{ keyrings.b.x }}"))]);
        let filled = fill(&config, &secrets);
        // What a secret says is not looked at again, and what is not known stays as it is written.
        let once = "one ${{ keyrings.b.x }}";
        assert_eq!(filled["verify"]["secret"], json!([once, "${{ keyrings.b.x }}"]));
        assert_eq!(
            filled["${{ keyrings.key }}"],
            json!("Bearer one ${{ keyrings.b.x }}, ${{ inputs.no }}")
        );
        secrets.insert(b, SecretText::from("two"));
        assert_eq!(fill(&config, &secrets)["verify"]["secret"], json!([once, "two"]));
    }

    #[test]
    fn of_several_secrets_those_that_are_absent_are_left_out() {
        let (old, new) = ("${{ keyrings.old }}", "${{keyrings.new}}");
        let config = json!({
            "verify": { "secret": [new, old, "text", format!("Bearer {old}")] },
            "all": [old], "one": old, "none": [], "deep": [{ "of": [old, new] }],
        });
        let absent = BTreeSet::from([reference("old", None)]);
        let left = without_absent(&config, &absent);
        assert_eq!(left["verify"]["secret"], json!([new, "text", format!("Bearer {old}")]));
        assert_eq!(left["deep"], json!([{ "of": [new] }]));
        // Without any of them there would be no secret at all.
        for same in ["all", "one", "none"] {
            assert_eq!(left[same], config[same]);
        }
        assert_eq!(without_absent(&config, &BTreeSet::new()), config);
    }

    #[test]
    fn secrets_are_masked_in_what_a_plugin_says() {
        let secrets = ["hidden-one", "abc"];
        assert_eq!(mask("abc: hidden-one is wrong", secrets), "abc: ******** is wrong");
    }
}
