//! What of a source's config may be shown to whoever must not see its secrets.
//!
//! Owns the words by which a secret is known. Pure. It must never look at values to decide: a secret
//! has no shape. A text of code, such as a policy, is shown as it is: secrets do not belong there.

use mortise_plugin::reference::{Piece, pieces};
use serde_json::{Map, Value};

/// What stands in the place of a secret.
pub const MASK: &str = "********";

/// Words that make a key name a secret, wherever they stand in it.
const SECRET_WORDS: [&str; 20] = [
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "hmac",
    "key",
    "keys",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "pat",
    "pin",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];

/// Words that make a header or parameter of a request one that lets its bearer in.
const LETS_IN: [&str; 6] = ["assertion", "bearer", "cert", "jwt", "session", "sid"];

/// Words beside `key` that make it a name of something rather than a secret.
const PLAIN_KEYS: [&str; 12] = [
    "dedup",
    "event",
    "foreign",
    "group",
    "id",
    "name",
    "object",
    "order",
    "partition",
    "primary",
    "public",
    "sort",
];

/// The same with every secret replaced: what stands under a key that names a secret, the `value`
/// beside such a `name`, and the password in a URL. What is empty, true or false hides nothing.
pub fn mask_secrets(config: &Value) -> Value {
    match config {
        Value::Object(members) => Value::Object(mask_members(members)),
        Value::Array(items) => Value::Array(items.iter().map(mask_secrets).collect()),
        Value::String(text) => Value::String(mask_url(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => config.clone(),
    }
}

/// The texts that [`mask_secrets`] replaces.
pub fn named_secrets(config: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    collect(config, &mask_secrets(config), &mut found);
    found
}

/// Both have the same shape.
fn collect<'a>(config: &'a Value, masked: &Value, found: &mut Vec<&'a str>) {
    match (config, masked) {
        (Value::String(text), Value::String(masked)) => {
            if masked == MASK {
                found.push(text);
            } else if let Some(password) = password(text).filter(|_| text != masked) {
                found.push(password);
            }
        }
        (Value::Array(items), Value::Array(masked)) => {
            items.iter().zip(masked).for_each(|(it, masked)| collect(it, masked, found));
        }
        (Value::Object(members), Value::Object(masked)) => {
            for (key, it) in members {
                collect(it, masked.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (
            Value::String(_)
            | Value::Array(_)
            | Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_),
            _,
        ) => {}
    }
}

/// Whether a header of a request, or a parameter of its query, is a secret by its name. Signatures
/// are none, and neither are keys that say which request it is.
pub fn names_secret_of_request(name: &str) -> bool {
    let words = words(name);
    if words.iter().any(|word| ["idempotency", "signature"].contains(&word.as_str())) {
        return false;
    }
    let others: Vec<_> = words.iter().filter(|word| *word != "hmac").cloned().collect();
    let lets_in = others.iter().any(|word| LETS_IN.contains(&word.as_str()));
    lets_in || names_secret(&others.join("-"))
}

fn mask_members(members: &Map<String, Value>) -> Map<String, Value> {
    let is_named = ["name", "key", "header"]
        .iter()
        .filter_map(|key| members.get(*key)?.as_str())
        .any(names_secret);
    // Of such a pair, the name is to be seen.
    let is_pair = members.contains_key("value");
    let mask = |(key, value): (&String, &Value)| {
        let masked = match key.as_str() {
            "value" if is_named => mask_all(value),
            "key" if is_pair => mask_secrets(value),
            _ if names_secret(key) => mask_all(value),
            _ => mask_secrets(value),
        };
        (key.clone(), masked)
    };
    members.iter().map(mask).collect()
}

fn mask_all(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::String(text) if text.is_empty() || is_reference_only(text) => value.clone(),
        Value::String(_) | Value::Number(_) => Value::from(MASK),
        Value::Array(items) => Value::Array(items.iter().map(mask_all).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, it)| (key.clone(), mask_all(it))).collect())
        }
    }
}

/// Whether a text only says where the secret is.
fn is_reference_only(text: &str) -> bool {
    matches!(pieces(text).as_slice(), [Piece::Reference(_)])
}

/// Whether a key names a secret: `webhookSecret`, `X-API-Key` and `access_token` do, `event_key` and
/// `keyboard` do not.
fn names_secret(key: &str) -> bool {
    let words = words(key);
    let is_plain_key = words.iter().any(|word| PLAIN_KEYS.contains(&word.as_str()));
    words.iter().any(|word| match word.as_str() {
        "key" | "keys" => !is_plain_key,
        word => SECRET_WORDS.contains(&word),
    })
}

/// The words of a key in snake, kebab, camel or any other case, in lower case.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last_is_lower = false;
    for c in key.chars() {
        let begins = c.is_uppercase() && last_is_lower;
        if (begins || !c.is_alphabetic()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphabetic()) {
            word.extend(c.to_lowercase());
        }
        last_is_lower = c.is_lowercase();
    }
    words
}

/// Of `https://user:password@host/` the password.
pub fn mask_url(text: &str) -> String {
    let Some(password) = password_place(text) else { return text.to_owned() };
    format!("{}{MASK}{}", &text[..password.start], &text[password.end..])
}

fn password(text: &str) -> Option<&str> {
    text.get(password_place(text)?)
}

fn password_place(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://").map(|at| at + 3)?;
    let authority = text[start..].split(['/', '?', '#', ' ', '\n']).next().unwrap_or_default();
    let (user_info, _) = authority.rsplit_once('@')?;
    let (user, password) = user_info.split_once(':')?;
    let from = start + user.len() + 1;
    Some(from..from + password.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn knows_secrets_by_name() {
        for key in [
            "secret",
            "Secret",
            "webhook_secret",
            "webhookSecret",
            "token",
            "access-token",
            "X-API-Key",
            "apiKey",
            "api_key",
            "key",
            "signing.key",
            "password",
            "Authorization",
            "client_credentials",
            "PAT",
            "proxy-auth",
            "secret1",
            "publicToken",
        ] {
            assert!(names_secret(key), "{key}");
        }
        for key in [
            "",
            "policy",
            "event_key",
            "eventKey",
            "keyboard",
            "public_key",
            "key_id",
            "sort-key",
            "author",
            "event_types",
            "tokenizer",
            "patch",
            "monkey",
            "jq_query",
            "secretary",
        ] {
            assert!(!names_secret(key), "{key}");
        }
    }

    #[test]
    fn masks_all_below_such_a_name_and_nothing_else() {
        let masked = mask_secrets(&json!({
            "policy": "package rego",
            "parameters": {"secret": "s3", "secrets": ["a", {"b": 7, "c": ""}], "limit": 3},
            "headers": [{"name": "X-Api-Key", "value": "k"}, {"key": "Accept", "value": "v"}],
            "use_token": true,
            "metadata": {"event_key": "daily"},
            "url": "https://me:pass@host/path?x=1",
            "other": ["https://me@host/", "redis://:p@h"],
        }));
        assert_eq!(
            masked,
            json!({
                "policy": "package rego",
                "parameters": {"secret": MASK, "secrets": [MASK, {"b": MASK, "c": ""}], "limit": 3},
                "headers": [{"name": "X-Api-Key", "value": MASK}, {"key": "Accept", "value": "v"}],
                "use_token": true,
                "metadata": {"event_key": "daily"},
                "url": "https://me:********@host/path?x=1",
                "other": ["https://me@host/", "redis://:********@h"],
            })
        );
    }

    #[test]
    fn what_is_masked_can_be_looked_for() {
        let config = json!({
            "parameters": {"secret": "s3", "secrets": ["a", {"b": 7, "c": ""}], "limit": 3},
            "headers": [{"name": "X-Api-Key", "value": "k"}],
            "urls": ["https://me:pass@host/path?x=1", "https://host/"],
        });
        assert_eq!(named_secrets(&config), ["k", "s3", "a", "pass"]);
    }

    #[test]
    fn signatures_of_requests_are_no_secrets() {
        for name in ["authorization", "cookie", "x-gitlab-token", "x-api-key", "token", "api_key"] {
            assert!(names_secret_of_request(name), "{name}");
        }
        for name in [
            "x-hub-signature-256",
            "x-shopify-hmac-sha256",
            "hmac",
            "idempotency-key",
            "x-signature-key",
            "content-type",
            "webhook-id",
            "",
        ] {
            assert!(!names_secret_of_request(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_and_no_text_is_too_strange(key in ".{0,20}", text in ".{0,40}") {
            let masked = mask_secrets(&json!({ key.clone(): text, "token": {key: "planted"} }));
            prop_assert!(!masked["token"].to_string().contains("planted"));
        }

        #[test]
        fn passwords_of_urls(password in "[^/?# \n@]{1,20}", rest in "[/a-z]{0,10}") {
            let url = format!("https://u:{password}@h/{rest}");
            prop_assert_eq!(mask_url(&url), format!("https://u:{MASK}@h/{rest}"));
        }
    }
}
