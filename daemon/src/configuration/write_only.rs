//! Secrets in a document whose schema says which of its values are (`"writeOnly": true`): shown as
//! [`MASK`], and a mask that is sent back stands for what is stored. Pure.
//!
//! What a schema does not speak of is a secret too: nobody knows what it is. So are members of an object
//! whose others it describes; an object of which it describes nothing is meant to be as it is, but for
//! the document as a whole.

use serde_json::{Map, Value};

/// What is shown in place of a secret.
pub const MASK: &str = "********";
/// What marks the places of secrets here: no text that anybody sends.
const PLACE: &str = "\u{0}secret";
/// How deep documents are followed. What is deeper is all secret.
const DEEPEST: usize = 16;
/// How many schemas are followed that hold for one value. What has more is all secret.
const MOST_SCHEMAS: usize = 256;

/// A mask that cannot stand for anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Nothing is stored there.
    #[error(
        "`{MASK}` stands for what is stored, and nothing is stored at `{path}`: send the value itself"
    )]
    NothingStored {
        /// Where, with dots.
        path: String,
    },
    /// Whoever may change an address must not have a secret sent there that he does not know.
    #[error(
        "`{path}` is another one: a secret is kept only while it goes where it went, so send the \
         secrets themselves too, in place of `{MASK}`"
    )]
    Elsewhere {
        /// What says where it goes, with dots.
        path: String,
    },
}

/// Parts of the names of values that say where something goes, and how it is protected on the way.
const ADDRESSES: [&str; 13] = [
    "url",
    "host",
    "server",
    "address",
    "endpoint",
    "domain",
    "program",
    "port",
    "encryption",
    "tls",
    "ssl",
    "verify",
    "certificate",
];

/// The document with masks in place of its secrets.
pub fn masked(schema: &Value, document: &Value) -> Value {
    mask_with(MASK, schema, document)
}

fn mask_with(mark: &str, schema: &Value, document: &Value) -> Value {
    let mut shown = document.clone();
    mask(schema, &[schema], &mut shown, mark, 0);
    shown
}

/// The secret texts of a document.
pub fn secrets(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(&mask_with(PLACE, schema, document), document, &mut found);
    found
}

/// What is meant by a document with masks in it, in the place of a stored one.
pub fn unmasked(schema: &Value, given: &Value, stored: &Value) -> Result<Value, NotKept> {
    // Only where a secret belongs: elsewhere a mask is a text like any other.
    let shown = mask_with(PLACE, schema, given);
    let masks = mask_with(PLACE, schema, stored);
    let meant = keep(given, &shown, Some((stored, &masks)), "")?;
    if meant != *given {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        addresses(&with_defaults(schema, stored), &masks, "", &mut before);
        addresses(&with_defaults(schema, &meant), &shown, "", &mut after);
        if let Some((path, _)) = after.into_iter().find(|it| !before.contains(it)) {
            return Err(NotKept::Elsewhere { path });
        }
    }
    Ok(meant)
}

/// The document with what holds where it says nothing: a secret must not go to a default either.
fn with_defaults(schema: &Value, document: &Value) -> Value {
    let mut whole = document.clone();
    let properties = schema.get("properties").and_then(Value::as_object);
    if let (Some(members), Some(properties)) = (whole.as_object_mut(), properties) {
        for (name, property) in properties {
            if let Some(default) = property.get("default")
                && members.get(name).is_none_or(Value::is_null)
            {
                members.insert(name.clone(), default.clone());
            }
        }
    }
    whole
}

/// What says where something goes, with its path. `shown` is the same with all secrets masked.
fn addresses(document: &Value, shown: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let is_secret = shown == PLACE;
    // All of a secret is one.
    let within = |it: Option<&'_ Value>| {
        if is_secret { shown.clone() } else { it.cloned().unwrap_or_default() }
    };
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                addresses(value, &within(shown.get(name)), &below(path, name), found);
            }
        }
        Value::Array(items) => {
            // Their order says nothing.
            for (at, value) in items.iter().enumerate() {
                addresses(value, &within(shown.get(at)), &below(path, "*"), found);
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            let name = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
            let leads_somewhere = ADDRESSES.iter().any(|it| name.contains(it))
                || document.as_str().is_some_and(|it| !is_secret && it.contains("://"));
            if leads_somewhere {
                found.push((path.to_owned(), document.clone()));
            }
        }
        Value::Null => {}
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The schemas that hold for a value by one schema: itself, and those it refers to and combines. Nothing
/// when they are too many.
fn followed<'a>(root: &'a Value, schemas: &[&'a Value]) -> Option<Vec<&'a Value>> {
    let mut all: Vec<&Value> = schemas.to_vec();
    let mut at = 0;
    while let Some(schema) = all.get(at).copied() {
        at += 1;
        if all.len() > MOST_SCHEMAS {
            return None;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|it| root.pointer(it));
            // A schema that refers to itself says nothing more the second time.
            all.extend(target.filter(|it| !all.iter().any(|known| std::ptr::eq(*known, *it))));
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            all.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
        }
        for key in ["if", "then", "else"] {
            all.extend(schema.get(key));
        }
    }
    Some(all)
}

/// The schemas of a member by those of its object; nothing when they do not speak of it, though they do
/// of others.
fn member<'a>(schemas: &[&'a Value], name: &str) -> Option<Vec<&'a Value>> {
    let (mut below, mut is_known, mut speaks) = (Vec::new(), false, false);
    for schema in schemas {
        let own = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        speaks |= own.is_some() || patterns.is_some();
        let found = own.and_then(|it| it.get(name));
        below.extend(found);
        is_known |= found.is_some();
        // Which of them are meant is not looked at: one that is secret makes it secret.
        if found.is_none()
            && let Some(patterns) = patterns
        {
            below.extend(patterns.values());
        }
        match schema.get("additionalProperties") {
            None | Some(Value::Bool(false)) => {}
            // Whatever is there is meant to be there, and is shown.
            Some(Value::Bool(true)) => is_known = true,
            Some(others) if found.is_none() => {
                below.push(others);
                is_known = true;
            }
            Some(_) => {}
        }
    }
    // Of a pattern only what it hides is believed.
    (is_known || !speaks).then_some(below)
}

fn mask(root: &Value, schemas: &[&Value], value: &mut Value, mark: &str, depth: usize) {
    let schemas = followed(root, schemas).filter(|_| depth <= DEEPEST);
    let is_shown =
        |it: &&Vec<&Value>| !it.iter().any(|it| it.get("writeOnly") == Some(&Value::Bool(true)));
    let Some(schemas) = schemas.as_ref().filter(is_shown) else { return hide(value, mark) };
    match value {
        Value::Object(members) => {
            let describes = |it: &&Value| {
                it.get("properties").is_some() || it.get("additionalProperties").is_some()
            };
            let is_blank = depth == 0 && !schemas.iter().any(describes);
            for (name, value) in members {
                match member(schemas, name).filter(|_| !is_blank) {
                    Some(below) => mask(root, &below, value, mark, depth + 1),
                    None => hide(value, mark),
                }
            }
        }
        Value::Array(items) => {
            let below: Vec<&Value> = schemas
                .iter()
                .flat_map(|it| {
                    let places = it.get("prefixItems").and_then(Value::as_array);
                    places.into_iter().flatten().chain(it.get("items"))
                })
                .collect();
            items.iter_mut().for_each(|it| mask(root, &below, it, mark, depth + 1));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hide(value: &mut Value, mark: &str) {
    if !value.is_null() {
        *value = Value::String(mark.to_owned());
    }
}

fn collect(shown: &Value, real: &Value, found: &mut Vec<String>) {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            for (name, real) in real {
                collect(shown.get(name).unwrap_or(&Value::Null), real, found);
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            shown.iter().zip(real).for_each(|(shown, real)| collect(shown, real, found));
        }
        (Value::String(shown), real) if shown == PLACE => texts(real, found),
        _ => {}
    }
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|it| texts(it, found)),
        Value::Object(members) => members.values().for_each(|it| texts(it, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `given` with what is stored at its masks; `shown` is the same with all secrets masked. The items of a
/// list are known by what is shown of them, not by their place: whoever takes the first out of a list must
/// not give its secret to the second.
fn keep(
    given: &Value,
    shown: &Value,
    stored: Option<(&Value, &Value)>,
    path: &str,
) -> Result<Value, NotKept> {
    match (given, shown) {
        (Value::String(given), Value::String(shown)) if given == MASK && shown == PLACE => {
            match stored {
                Some((stored, Value::String(masked))) if masked == PLACE => Ok(stored.clone()),
                Some(_) | None => Err(NotKept::NothingStored { path: path.to_owned() }),
            }
        }
        (Value::Object(given), Value::Object(shown)) => {
            let mut kept = Map::new();
            for (name, value) in given {
                let shown = shown.get(name).unwrap_or(&Value::Null);
                let stored =
                    stored.and_then(|(real, shown)| Some((real.get(name)?, shown.get(name)?)));
                kept.insert(name.clone(), keep(value, shown, stored, &below(path, name))?);
            }
            Ok(Value::Object(kept))
        }
        (Value::Array(given), Value::Array(shown)) => {
            let empty = Vec::new();
            let list = |it: Option<&'_ Value>| it.and_then(Value::as_array).cloned();
            let real = list(stored.map(|it| it.0)).unwrap_or_default();
            let masks = list(stored.map(|it| it.1)).unwrap_or(empty);
            let mut free: Vec<Option<(&Value, &Value)>> =
                real.iter().zip(&masks).map(Some).collect();
            let mut kept = Vec::with_capacity(given.len());
            for (at, (value, shown)) in given.iter().zip(shown).enumerate() {
                let same = free.iter().position(|it| it.is_some_and(|(_, masked)| masked == shown));
                let stored = same.and_then(|it| free.get_mut(it)).and_then(Option::take);
                kept.push(keep(value, shown, stored, &below(path, &at.to_string()))?);
            }
            Ok(Value::Array(kept))
        }
        (given, _) => Ok(given.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "url": { "type": "string" }, "name": {},
                "token": { "type": "string", "writeOnly": true },
                "auth": { "oneOf": [{ "$ref": "#/$defs/basic" }, { "type": "null" }] },
                "headers": { "additionalProperties": { "type": "string", "writeOnly": true } },
                "to": { "items": { "properties": {
                    "name": {}, "key": { "writeOnly": true },
                } } },
            },
            "$defs": { "basic": { "properties": { "user": {}, "password": { "writeOnly": true } } } },
        })
    }

    fn stored() -> Value {
        json!({
            "url": "https://x", "token": "t0", "auth": { "user": "u", "password": "p0" },
            "headers": { "a": "h0" },
            "to": [{ "name": "one", "key": "k1" }, { "name": "two", "key": "k2" }],
        })
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let shown = masked(&schema(), &stored());
        assert_eq!(
            shown,
            json!({
                "url": "https://x", "token": MASK, "auth": { "user": "u", "password": MASK },
                "headers": { "a": MASK },
                "to": [{ "name": "one", "key": MASK }, { "name": "two", "key": MASK }],
            })
        );
        assert_eq!(unmasked(&schema(), &shown, &stored()), Ok(stored()), "nothing has changed");
        let mut all = secrets(&schema(), &stored());
        all.sort();
        assert_eq!(all, ["h0", "k1", "k2", "p0", "t0"]);
    }

    #[test]
    fn a_mask_keeps_what_is_stored_and_nothing_else() {
        let given = json!({ "name": MASK, "token": "t1", "headers": { "a": MASK } });
        let meant = unmasked(&schema(), &given, &stored());
        assert_eq!(meant, Ok(json!({ "name": MASK, "token": "t1", "headers": { "a": "h0" } })));
        // The second one has become the first.
        let given = json!({ "to": [{ "name": "two", "key": MASK }] });
        let meant = unmasked(&schema(), &given, &stored());
        assert_eq!(meant, Ok(json!({ "to": [{ "name": "two", "key": "k2" }] })));
        for (given, path) in [
            (json!({ "headers": { "b": MASK } }), "headers.b"),
            (json!({ "to": [{ "name": "three", "key": MASK }] }), "to.0.key"),
            (json!({ "auth": { "user": "x", "password": MASK } }), ""),
        ] {
            match unmasked(&schema(), &given, &stored()) {
                Err(NotKept::NothingStored { path: at }) => assert_eq!(at, path),
                Err(NotKept::Elsewhere { path }) => panic!("nothing leads elsewhere: {path}"),
                // Of an object the members stay, whatever else is changed in it.
                Ok(meant) => assert_eq!(meant["auth"]["password"], "p0", "{given}"),
            }
        }
        let nothing = unmasked(&schema(), &json!({ "token": MASK }), &json!({}));
        assert_eq!(nothing, Err(NotKept::NothingStored { path: "token".to_owned() }));
    }

    #[test]
    fn a_secret_goes_nowhere_else() {
        let elsewhere = |given: Value| match unmasked(&schema(), &given, &stored()) {
            Err(NotKept::Elsewhere { path }) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(elsewhere(json!({ "url": "https://evil", "token": MASK })), "url");
        assert_eq!(
            elsewhere(json!({ "x": { "smtp_host": "evil" }, "token": MASK })),
            "x.smtp_host"
        );
        let known = json!({ "url": "https://new", "token": "t1" });
        assert_eq!(unmasked(&schema(), &known, &stored()), Ok(known), "who knows it may");
        let kept = json!({ "token": MASK, "name": "x" });
        assert!(unmasked(&schema(), &kept, &stored()).is_ok());
    }

    #[test]
    fn what_a_schema_does_not_speak_of_is_secret() {
        let token = json!({ "deep": ["planted"], "n": 7 });
        let shown = |schema: Value| masked(&schema, &json!({ "known": { "a": 1 }, "tokn": token }));
        let hidden = json!({ "known": { "a": 1 }, "tokn": MASK });
        for schema in [
            json!({ "properties": { "known": {} } }),
            json!({ "properties": { "known": {} }, "additionalProperties": false }),
            json!({ "properties": { "known": {} }, "patternProperties": { "^t": {} } }),
            json!({ "allOf": [{ "properties": { "known": {} } }, {}] }),
        ] {
            assert_eq!(shown(schema.clone()), hidden, "{schema}");
        }
        for schema in [json!({}), json!(true), json!({ "type": "object" })] {
            assert_eq!(shown(schema), json!({ "known": MASK, "tokn": MASK }), "it says nothing");
        }
        for others in [json!(true), json!({}), json!({ "type": "object" })] {
            let schema = json!({ "properties": { "known": {} }, "additionalProperties": others });
            assert_eq!(shown(schema)["tokn"], token, "it is meant to be there");
        }
        let (schema, stored) = (json!({ "properties": {} }), json!({ "tokn": token }));
        assert_eq!(unmasked(&schema, &json!({ "tokn": MASK }), &stored), Ok(stored.clone()));
        assert_eq!(secrets(&schema, &stored), ["planted"]);
        // Deeper than anybody looks, and with more schemas than anybody reads.
        let mut deep = json!("planted");
        for _ in 0..40 {
            deep = json!({ "a": [deep] });
        }
        let schema = json!({ "properties": { "a": {} }, "additionalProperties": true });
        assert!(!masked(&schema, &deep).to_string().contains("planted"));
        let many: Vec<Value> = (0..1_000).map(|_| json!({})).collect();
        let schema = json!({ "properties": { "a": { "anyOf": many } } });
        assert_eq!(masked(&schema, &json!({ "a": "planted" })), json!({ "a": MASK }));
        let knot = json!({ "properties": { "a": { "$ref": "#/properties/a" } } });
        assert_eq!(masked(&knot, &json!({ "a": 1 })), json!({ "a": 1 }));
    }

    #[test]
    fn a_secret_address_is_an_address() {
        let schema = json!({ "properties": {
            "webhook_url": { "writeOnly": true }, "token": { "writeOnly": true },
        } });
        let stored = json!({ "webhook_url": "https://x/1", "token": "t0" });
        let elsewhere = json!({ "webhook_url": "https://evil", "token": MASK });
        let refused = unmasked(&schema, &elsewhere, &stored);
        assert_eq!(refused, Err(NotKept::Elsewhere { path: "webhook_url".to_owned() }));
        for kept in [
            json!({ "webhook_url": MASK, "token": MASK }),
            json!({ "webhook_url": MASK, "token": "t1" }),
            json!({ "webhook_url": "https://x/1", "token": MASK }),
        ] {
            assert!(unmasked(&schema, &kept, &stored).is_ok(), "{kept}");
        }
    }

    #[test]
    fn a_secret_goes_by_no_weaker_way_and_to_no_default() {
        let mut schema = schema();
        schema["properties"]["server_url"] = json!({ "default": "https://public.example" });
        schema["properties"]["encryption"] = json!({ "default": "starttls" });
        let stored = json!({ "server_url": "https://x", "encryption": "implicit", "token": "t0" });
        for given in [
            json!({ "server_url": "https://x", "encryption": "none", "token": MASK }),
            json!({ "server_url": "https://x", "token": MASK }),
            json!({ "encryption": "implicit", "token": MASK }),
            json!({ "server_url": null, "encryption": "implicit", "token": MASK }),
        ] {
            let refused = unmasked(&schema, &given, &stored);
            assert!(matches!(refused, Err(NotKept::Elsewhere { .. })), "{given}: {refused:?}");
        }
        // Whoever knows the secret may, and saying the default changes nothing.
        let given = json!({ "encryption": "none", "token": "t1" });
        assert_eq!(unmasked(&schema, &given, &stored), Ok(given));
        let stored = json!({ "token": "t0" });
        let given = json!({ "encryption": "starttls", "token": MASK });
        let meant = json!({ "encryption": "starttls", "token": "t0" });
        assert_eq!(unmasked(&schema, &given, &stored), Ok(meant));
    }
}
