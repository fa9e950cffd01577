//! Waiting for a snap-in to be in a state that lasts.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;

/// What the daemon says of an event source that it could not remove from an external system.
const STILL_REGISTERED: &str = "is still registered";

/// How long one call of the API waits.
pub(in crate::cli) const WAIT_SECONDS: u32 = 60;

/// The snap-in of an answer, once its hooks have ended.
pub(in crate::cli) fn settled(
    client: &Client,
    what: &str,
    answer: Value,
) -> Result<Value, Failure> {
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
    // What is left behind at an external system is not mended by going into service again.
    let next = if reason.contains(STILL_REGISTERED) {
        format!(
            "mortise snap-in deactivate {scope} or delete {scope} again; with --force, the \
             registration stays there"
        )
    } else {
        format!("mortise snap-in activate {scope}")
    };
    Err(Failure::refused(format!(
        "the snap-in is in ERROR: {reason}\nits page: mortise snap-in show {scope}; after mending: \
         {next}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_fits_what_went_wrong() {
        let said = |reason: &str| {
            let snap_in = json!({ "state": "ERROR", "scope": "a/b/c", "reason": reason });
            refuse_error(&snap_in).expect_err("it is in ERROR").message
        };
        assert!(said("the hook failed").ends_with("mortise snap-in activate a/b/c"));
        let left = said("event source `hook` is still registered: it answered 500");
        assert!(left.contains("snap-in deactivate a/b/c") && left.contains("--force"), "{left}");
        assert!(!left.contains("activate a/b/c\n") && !left.contains("snap-in activate"), "{left}");
    }
}
