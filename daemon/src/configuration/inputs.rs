//! Values of inputs: which are right, and what is in effect.

use serde_json::{Map, Value};

use crate::model::manifest::{Input, Level, Manifest};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputProblem {
    /// Name of the input, with the place in an array: `labels[2]`.
    pub input: String,
    /// What is wrong with it, without the value when that may be a secret.
    pub message: String,
    /// What would be right.
    pub allowed: Vec<String>,
}

/// Merges `changes` over `stored` and checks each changed value. `null` puts an input back to its
/// default. Answers what is to be stored, or everything that is wrong.
pub fn change(
    manifest: &Manifest,
    level: Level,
    stored: &Map<String, Value>,
    changes: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InputProblem>> {
    let _ = (manifest, level, stored, changes);
    Ok(Map::new())
}

/// The values in effect: what was set, else the default; nothing for an input without either.
pub fn in_effect(
    manifest: &Manifest,
    level: Level,
    stored: &Map<String, Value>,
) -> Map<String, Value> {
    manifest
        .inputs
        .iter()
        .filter(|it| it.level == level)
        .filter_map(|it: &Input| {
            let value = stored.get(&it.name).or(it.default_value.as_ref())?;
            Some((it.name.clone(), value.clone()))
        })
        .collect()
}

/// Required inputs without a value, in manifest order.
pub fn missing<'a>(
    manifest: &'a Manifest,
    level: Level,
    stored: &Map<String, Value>,
) -> Vec<&'a Input> {
    manifest
        .inputs
        .iter()
        .filter(|it| it.level == level && it.is_required && it.default_value.is_none())
        .filter(|it| !stored.contains_key(&it.name))
        .collect()
}
