//! stub
use crate::model::keyring::KeyringState;
use crate::model::manifest::Manifest;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
#[derive(Clone, Debug, serde::Serialize)]
pub struct Plan;
impl Plan {
    pub fn lines(&self) -> Vec<String> {
        Vec::new()
    }
}
pub fn plan(
    _: &Manifest,
    _: &Manifest,
    _: &Map<String, Value>,
    _: &BTreeMap<String, KeyringState>,
) -> Plan {
    Plan
}
