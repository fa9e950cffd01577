//! A body that was checked, and the way to it from what a function returned. Must never hold one that
//! was not checked.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::check::{Checked, Surroundings, check};
use super::problem::ProblemCode;
use super::{MAX_BYTES, MAX_DEPTH};

/// A body without errors: `{"snaps": [...]}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Body(Value);

impl Body {
    pub(super) fn new(snaps: Vec<Value>) -> Body {
        Body(json!({ "snaps": snaps }))
    }

    /// Nothing to be seen.
    pub fn empty() -> Body {
        Body::new(Vec::new())
    }

    /// One that was kept, and was checked before that.
    pub fn kept(json: &[u8]) -> Option<Body> {
        serde_json::from_slice(json).ok().map(Body)
    }

    /// As JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The element with this action id, which is what people press, choose or send.
    pub fn action(&self, action_id: &str) -> Option<&Value> {
        find_action(&self.0["snaps"], action_id)
    }

    /// The action ids of all elements, in the order of the body.
    pub fn action_ids(&self) -> Vec<&str> {
        let mut found = Vec::new();
        add_action_ids(&self.0["snaps"], &mut found);
        found
    }
}

fn add_action_ids<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| add_action_ids(it, found)),
        Value::Object(members) => {
            found.extend(members.get("action_id").and_then(Value::as_str));
            members.values().for_each(|it| add_action_ids(it, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn find_action<'v>(value: &'v Value, action_id: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.iter().find_map(|it| find_action(it, action_id)),
        Value::Object(members) => {
            if members.get("action_id").is_some_and(|it| it == action_id) {
                return Some(value);
            }
            members.values().find_map(|it| find_action(it, action_id))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// What a function returned, as far as this is about it.
#[derive(Deserialize)]
struct Returned<'a> {
    #[serde(borrow, default)]
    snap_kit_body: Option<&'a RawValue>,
}

/// Checks the `snap_kit_body` in what a function returned; nothing when there is none.
pub fn returned(result: &str, surroundings: Surroundings<'_>) -> Option<Checked> {
    // Whatever is no object has no body either.
    let returned: Returned<'_> = serde_json::from_str(result).ok()?;
    let given = returned.snap_kit_body?.get();
    if given == "null" {
        return None;
    }
    // White space counts here: it is what has to be read.
    if given.len() > MAX_BYTES {
        let message = format!("longer than {} KiB", MAX_BYTES >> 10);
        return Some(Checked::refused(ProblemCode::TooLarge, message));
    }
    Some(match serde_json::from_str::<Value>(given) {
        Ok(given) => check(&given, surroundings),
        Err(error) if error.to_string().contains("recursion") => {
            let message = format!("elements may lie in one another {MAX_DEPTH} deep");
            Checked::refused(ProblemCode::TooDeep, message)
        }
        Err(error) => Checked::refused(ProblemCode::Unreadable, error.to_string()),
    })
}
