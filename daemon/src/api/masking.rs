//! What the audit log keeps of requests and answers: enough to see what was done, and no secret. The
//! log is kept for long, so of a request only what is known to be harmless is kept, and of what the API
//! shows, what looks like a secret is masked although it should be none.

use serde_json::{Map, Value, json};

/// In the place of what is not kept.
const MASK: &str = "********";
/// Longer texts are cut.
const LONGEST_TEXT: usize = 500;
/// Larger values are left out.
const LARGEST: usize = 8 * 1024;

/// Members of requests whose plain values are kept: names of things, and small choices.
const KEPT: [&str; 47] = [
    "all",
    "count",
    "description",
    "display_name",
    "dry_run",
    "enabled",
    "event",
    "event_type",
    "expires_at",
    "expires_in_seconds",
    "force",
    "function",
    "group_wait_seconds",
    "id",
    "integration",
    "kind",
    "level",
    "limit",
    "member",
    "name",
    "number",
    "object_type",
    "overlap_seconds",
    "package",
    "plural",
    "principal",
    "publish_at",
    "reason",
    "replace",
    "role",
    "roles",
    "run",
    "scope",
    "slug",
    "snap_in",
    "source",
    "state",
    "status",
    "subscription",
    "supplied_to_all",
    "supply",
    "title",
    "trigger",
    "type",
    "user",
    "version",
    "webhook",
];

/// What names of secrets have in them.
const SECRET_WORDS: [&str; 16] = [
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "authorization",
    "cookie",
    "private",
    "api_key",
    "apikey",
    "api-key",
    "connection",
    "signature",
    "signing",
    "bearer",
];

/// What texts begin with, or hold, that are secrets wherever they stand.
const SECRET_TEXTS: [&str; 6] = ["mta_", "mst_", "whsec_", "-----BEGIN", "Bearer ", "Basic "];

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "key" || name.ends_with("_key") || SECRET_WORDS.iter().any(|it| name.contains(it))
}

/// What is kept of a request.
pub(super) fn request(sent: &Map<String, Value>) -> Map<String, Value> {
    let kept = sent.iter().map(|(name, value)| {
        let is_kept = KEPT.contains(&name.as_str());
        (name.chars().take(64).collect(), if is_kept { plain(value) } else { MASK.into() })
    });
    // Whoever sends more than any call takes is told so, and what he sent is no news.
    kept.take(64).collect()
}

/// A plain value, or a list of such; anything else is no name and no choice.
fn plain(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => masked_text(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().take(64).map(plain).collect()
        }
        Value::Array(_) | Value::Object(_) => MASK.into(),
    }
}

/// What is kept of something that the API shows.
pub(super) fn shown(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => masked_text(text),
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::Object(members) => {
            let names_secret =
                members.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
            let masked = members.iter().map(|(name, value)| {
                // An input of that name, as it is shown: `{"name": ..., "value": ...}`.
                let is_secret = is_secret_name(name) || (names_secret && name == "value");
                let value = if is_secret { hidden(value) } else { shown(value) };
                (name.clone(), value)
            });
            Value::Object(masked.collect())
        }
    }
}

/// A value under the name of a secret. A number is how many there are, and a yes or no whether.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if text.is_empty() => value.clone(),
        Value::String(_) | Value::Array(_) | Value::Object(_) => MASK.into(),
    }
}

fn masked_text(text: &str) -> Value {
    if SECRET_TEXTS.iter().any(|it| text.contains(it)) {
        return MASK.into();
    }
    // Paths and parameters of URLs are what lets one in; names and passwords too.
    if let Some((scheme, rest)) = text.split_once("://") {
        let scheme: String = scheme.chars().rev().take_while(char::is_ascii_alphanumeric).collect();
        let scheme: String = scheme.chars().rev().collect();
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let is_all = authority == rest && host == authority;
        let host: String = host.chars().take(255).collect();
        let rest = if is_all { String::new() } else { format!("/{MASK}") };
        return format!("{scheme}://{host}{rest}").into();
    }
    match text.char_indices().nth(LONGEST_TEXT) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// What two views of a thing differ in, masked: before and after. What they have around the thing
/// (`{"snap_in": {...}}`, and warnings about it) is left out.
pub(super) fn difference(
    before: Option<&Value>,
    after: Option<&Value>,
) -> (Option<Value>, Option<Value>) {
    let (before, after) = (before.map(inner), after.map(inner));
    let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) else {
        return (before.map(bounded), after.map(bounded));
    };
    let only = |of: &Map<String, Value>, other: &Map<String, Value>| {
        let members = of.iter().filter(|(name, value)| other.get(*name) != Some(value));
        Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    (Some(bounded(&only(old, new))), Some(bounded(&only(new, old))))
}

fn inner(value: &Value) -> &Value {
    let Value::Object(members) = value else { return value };
    let mut about = members.iter().filter(|(name, _)| *name != "warnings");
    match (about.next(), about.next()) {
        (Some((_, only)), None) if only.is_object() => only,
        (_, _) => value,
    }
}

/// What somebody calls a thing; he may have put a secret there by mistake.
pub(super) fn name(text: &str) -> String {
    match masked_text(text) {
        Value::String(text) => text.chars().take(256).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            MASK.to_owned()
        }
    }
}

/// What a thing that the API shows is called: id, scope, name and the like, and `slack/ops`.
pub(super) fn names(view: &Value) -> Vec<String> {
    let thing = inner(view);
    let text = |key: &str| thing[key].as_str().filter(|it| masked_text(it) == **it);
    let mut names: Vec<String> = ["id", "scope", "slug", "name"]
        .iter()
        .filter_map(|it| text(it).map(str::to_owned))
        .collect();
    if let (Some(kind), Some(name)) = (text("type"), text("name")) {
        names.push(format!("{kind}/{name}"));
    }
    names
}

/// Masked, and no larger than a row may be: of what is larger, the members that fit.
fn bounded(value: &Value) -> Value {
    let masked = shown(value);
    let bytes = masked.to_string().len();
    if bytes <= LARGEST {
        return masked;
    }
    let Value::Object(members) = masked else { return json!({ "left_out_bytes": bytes }) };
    let mut room = LARGEST;
    let mut kept = Map::new();
    for (name, value) in members {
        let size = name.len() + value.to_string().len();
        if size <= room {
            room -= size;
            kept.insert(name, value);
        }
    }
    kept.insert("left_out_bytes".to_owned(), bytes.into());
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_only_what_is_harmless_is_kept() {
        let sent = json!({
            "id": "prod/team/sync", "name": "token", "secret": "hush", "fields": { "user": "hush" },
            "connection": { "url": "https://hush" }, "roles": ["reader"], "scope": { "a": "hush" },
            "reason": "because of mta_hush", "enabled": true, "hush_hush": 1,
        });
        let kept = Value::Object(request(sent.as_object().expect("an object")));
        assert_eq!(
            kept,
            json!({
                "id": "prod/team/sync", "name": "token", "secret": MASK, "fields": MASK,
                "connection": MASK, "roles": ["reader"], "scope": MASK, "reason": MASK,
                "enabled": true, "hush_hush": MASK,
            })
        );
    }

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        let view = json!({
            "token": "hush", "tokens": 3, "client_secret": "", "has_secret": true,
            "trigger_url": "http://host:1/hooks/hush", "plain": "https://host",
            "login": "https://ada:hush@host/x?hush", "nested": [{ "Api_Key": "hush" }],
            "inputs": [{ "name": "api_token", "value": "hush" }, { "name": "size", "value": 3 }],
        });
        assert_eq!(
            shown(&view),
            json!({
                "token": MASK, "tokens": 3, "client_secret": "", "has_secret": true,
                "trigger_url": format!("http://host:1/{MASK}"), "plain": "https://host",
                "login": format!("https://host/{MASK}"), "nested": [{ "Api_Key": MASK }],
                "inputs": [{ "name": "api_token", "value": MASK }, { "name": "size", "value": 3 }],
            })
        );
    }

    #[test]
    fn only_what_differs_is_kept_and_no_more_than_fits() {
        let before = json!({ "snap_in": { "id": "a", "state": "DRAFT", "gone": 1 } });
        let after = json!({ "snap_in": { "id": "a", "state": "ACTIVE", "new": 2 } });
        let (old, new) = difference(Some(&before), Some(&after));
        assert_eq!(old, Some(json!({ "state": "DRAFT", "gone": 1 })));
        assert_eq!(new, Some(json!({ "state": "ACTIVE", "new": 2 })));
        assert_eq!(
            difference(Some(&before), None).0,
            Some(json!({ "id": "a", "state": "DRAFT", "gone": 1 }))
        );
        let warned = json!({ "integration": { "id": "itg_1", "type": "slack", "name": "ops" }, "warnings": [] });
        assert_eq!(names(&warned), ["itg_1", "ops", "slack/ops"]);
        assert_eq!(
            names(&json!({ "snap_in": { "id": "a", "scope": "x/y/z", "name": "mta_hush" } })),
            ["a", "x/y/z"]
        );
        let large = json!({ "a": vec!["x"; 10_000], "b": 1 });
        let (_, kept) = difference(None, Some(&large));
        let kept = kept.expect("something");
        assert_eq!(kept["b"], 1);
        assert!(kept["left_out_bytes"].as_u64().is_some_and(|it| it > 10_000), "{kept}");
    }
}
