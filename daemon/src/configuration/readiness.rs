//! stub
use crate::model::keyring::KeyringState;
use crate::model::manifest::Manifest;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
#[derive(Clone, Debug)]
pub enum Missing {
    Input { name: String },
    Keyring { name: String },
}
impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x")
    }
}
pub fn missing(
    _: &Manifest,
    _: &Map<String, Value>,
    _: &BTreeMap<String, KeyringState>,
) -> Vec<Missing> {
    Vec::new()
}
