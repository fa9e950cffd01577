//! A connection as it is given: whole, or value by value. Secrets come from files or standard input; there
//! is no option that takes one, because others on the host see the arguments of a command.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::Connection;
use crate::cli::connection::Client;
use crate::cli::{Failure, files, payload};

/// What the daemon shows in place of a secret; sent back, it keeps it.
const MASK: &str = "********";

impl Connection {
    /// Whether anything of it is given.
    pub(super) fn is_given(&self) -> bool {
        self.connection.is_some() || !self.set.is_empty() || !self.secret.is_empty()
    }

    /// Whether all of it is.
    pub(super) fn is_whole(&self) -> bool {
        self.connection.is_some()
    }
}

/// The connection that is meant: what is there, with what is given in its place. Nothing when nothing is
/// given.
pub(super) fn connection(given: &Connection, present: Value) -> Result<Option<Value>, Failure> {
    if !given.is_given() {
        return Ok(None);
    }
    let mut whole = match &given.connection {
        Some(text) => Value::Object(payload::object("the connection", text)?),
        None => present,
    };
    for it in &given.set {
        let (key, value) = parts(it, "--set KEY=VALUE")?;
        put(&mut whole, key, plain(value))?;
    }
    for it in &given.secret {
        let (key, from) = parts(it, "--secret KEY=@FILE, or KEY=- for standard input")?;
        put(&mut whole, key, json!(secret(key, from)?.as_str()))?;
    }
    Ok(Some(whole))
}

/// Refuses a secret for a place that is not for one: it would be shown to whoever may see the connection.
/// Of places below the first level the type alone knows. And a secret among the arguments of the command,
/// which others on the host see.
pub(super) fn check_secrets(
    client: &Client,
    given: &Connection,
    kind: &str,
) -> Result<(), Failure> {
    if given.secret.is_empty() && given.set.is_empty() {
        return Ok(());
    }
    let types = client.call("integrations.types", &json!({}))?;
    let types = types["types"].as_array().cloned().unwrap_or_default();
    let Some(found) = types.iter().find(|it| it["name"] == kind) else {
        // The daemon says which there are.
        return Ok(());
    };
    for it in &given.set {
        let (key, value) = parts(it, "--set KEY=VALUE")?;
        let mut schema = &found["schema"];
        let mut is_secret = false;
        for step in key.split('.') {
            schema = below(schema, step);
            is_secret |= schema["writeOnly"] == true;
        }
        let value = plain(value);
        if holds_secret(schema, &value) || is_secret && !is_none(&value) {
            // Without the value.
            return Err(Failure::usage(format!(
                "--set {key}: this is a secret of the type {kind}, and others on this host see the \
                 arguments of commands: write --secret {key}=@FILE, or --secret {key}=- for standard \
                 input. Whoever may have seen it knows it now: have another one made"
            )));
        }
    }
    let properties = found["schema"]["properties"].as_object().cloned().unwrap_or_default();
    for it in &given.secret {
        let (key, _) = parts(it, "--secret KEY=@FILE, or KEY=- for standard input")?;
        if key.contains('.') || properties.get(key).is_some_and(|it| it["writeOnly"] == true) {
            continue;
        }
        let known =
            properties.iter().filter(|it| it.1["writeOnly"] == true).map(|it| it.0.as_str());
        let known = known.collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!(
            "`{key}` is no secret of the type {kind}, and would be shown: its secrets are {known}"
        )));
    }
    Ok(())
}

/// What the schema says of a member.
fn below<'a>(schema: &'a Value, member: &str) -> &'a Value {
    match &schema["properties"][member] {
        Value::Null => &schema["additionalProperties"],
        found => found,
    }
}

/// Whether a value takes a secret away, or keeps it, rather than being one.
fn is_none(value: &Value) -> bool {
    value.is_null() || *value == json!(MASK)
}

fn holds_secret(schema: &Value, value: &Value) -> bool {
    if schema["writeOnly"] == true {
        return !is_none(value);
    }
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, it)| holds_secret(below(schema, name), it))
        }
        Value::Array(all) => all.iter().any(|it| holds_secret(&schema["items"], it)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn parts<'a>(given: &'a str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    given
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        // Without the text, which may be a secret.
        .ok_or_else(|| Failure::usage(format!("a value of the connection is given as {form}")))
}

/// JSON when it is some, otherwise the text itself.
fn plain(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(_) => json!(text),
    }
}

fn secret(key: &str, from: &str) -> Result<Zeroizing<String>, Failure> {
    let what = format!("the secret {key}");
    let text = match from.strip_prefix('@') {
        Some("") => {
            return Err(Failure::usage(format!(
                "{what}: the name of the file is missing after `@`"
            )));
        }
        Some(file) => {
            let opened = files::open(file.as_ref())?;
            files::text(files::bytes(opened, files::MOST_SECRET, file)?, file)?
        }
        None if from == "-" => {
            payload::take_standard_input(&what)?;
            files::standard_input(&what)?
        }
        None => {
            return Err(Failure::usage(format!(
                "{what}: others on this host see the arguments of commands: write {key}=@FILE, or \
                 {key}=- for standard input"
            )));
        }
    };
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Puts a value where dots lead.
fn put(whole: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    let mut at = whole;
    let steps: Vec<&str> = path.split('.').collect();
    let (last, above) = steps.split_last().unwrap_or((&path, &[]));
    for step in above {
        if !at.is_object() {
            break;
        }
        at = &mut at[*step];
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    match at.as_object_mut() {
        Some(members) => {
            members.insert((*last).to_owned(), value);
            Ok(())
        }
        None => Err(Failure::usage(format!("{path} leads into something that is no object"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(connection: Option<&str>, set: &[&str]) -> Connection {
        Connection {
            connection: connection.map(str::to_owned),
            set: set.iter().map(|it| (*it).to_owned()).collect(),
            secret: Vec::new(),
        }
    }

    #[test]
    fn a_value_of_a_secret_place_is_one() {
        let schema = json!({ "properties": {
            "url": { "type": "string" },
            "token": { "type": "string", "writeOnly": true },
            "headers": { "additionalProperties": { "type": "string", "writeOnly": true } },
            "to": { "type": "array", "items": { "properties": { "key": { "writeOnly": true } } } },
        }});
        let holds = |value: Value| holds_secret(&schema, &value);
        assert!(holds(json!({ "token": "hush" })) && holds(json!({ "headers": { "x": "hush" } })));
        assert!(holds(json!({ "to": [{}, { "key": 1 }] })));
        assert!(!holds(json!({ "url": "x", "token": null, "headers": {}, "to": [{}] })));
        assert!(!holds(json!({ "token": MASK })));
        assert_eq!(below(below(&schema, "headers"), "x")["writeOnly"], true);
    }

    #[test]
    fn a_connection_is_given_whole_or_in_parts() {
        let meant = |it: &Connection, present| connection(it, present).ok().flatten();
        assert_eq!(meant(&of(None, &[]), json!({ "a": 1 })), None);
        let present = json!({ "token": "********", "to": { "channel": "#a" } });
        let changed = meant(&of(None, &["to.channel=#b", "n=3", "new.deep=x"]), present.clone());
        let expected = json!({
            "token": "********", "to": { "channel": "#b" }, "n": 3, "new": { "deep": "x" },
        });
        assert_eq!(changed, Some(expected));
        let whole = meant(&of(Some(r#"{"url": "x"}"#), &["a=true"]), present);
        assert_eq!(whole, Some(json!({ "url": "x", "a": true })));
        assert!(connection(&of(None, &["novalue"]), json!({})).is_err());
        assert!(connection(&of(None, &["a.b=1"]), json!({ "a": "text" })).is_err());
        let mut secret = of(None, &[]);
        secret.secret.push("token=hunter22".to_owned());
        let refused = connection(&secret, json!({})).expect_err("it is on the command line");
        assert!(!refused.message.contains("hunter22"), "{}", refused.message);
    }
}
