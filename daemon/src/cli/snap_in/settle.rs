//! Waiting for a snap-in to be in a state that lasts.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;

/// How long one call of the API waits.
pub(super) const WAIT_SECONDS: u32 = 60;

/// The snap-in of an answer, once its hooks have ended.
pub(super) fn settled(client: &Client, what: &str, answer: Value) -> Result<Value, Failure> {
    let mut snap_in = answer["snap_in"].clone();
    // Each hook has its own deadline: this ends.
    while matches!(snap_in["state"].as_str(), Some("ACTIVATING" | "DEACTIVATING")) {
        let parameters = json!({ "id": snap_in["id"], "wait_seconds": WAIT_SECONDS });
        snap_in = client.slow_call(what, "snap-ins.get", &parameters)?["snap_in"].clone();
    }
    Ok(snap_in)
}

/// A snap-in that ended in ERROR is no success for a script.
pub(in crate::cli) fn refuse_error(snap_in: &Value) -> Result<(), Failure> {
    if snap_in["state"] != "ERROR" {
        return Ok(());
    }
    let reason = snap_in["reason"].as_str().unwrap_or("no reason is known");
    let scope = snap_in["scope"].as_str().unwrap_or_default();
    Err(Failure::refused(format!(
        "the snap-in is in ERROR: {reason}\nits page: mortise snap-in show {scope}; after mending: \
         mortise snap-in activate {scope}"
    )))
}
