//! The jq programs of keyring types and registrations. What they get may hold secrets, so no error
//! quotes it.

use serde_json::Value;

use super::KeyringError;
use crate::script::Program;

/// Runs a program of the manifest, named by its key there, for exactly one output.
pub(super) async fn run(key: &str, program: &str, input: &Value) -> Result<Value, KeyringError> {
    // Compiled each time: it happens when a secret is set, and versions are checked when made.
    let compiled = Program::compile(program)
        .map_err(|error| KeyringError::Program(format!("`{key}` is no jq program: {error}")))?;
    compiled
        .run(input, &[])
        .await
        .map_err(|error| KeyringError::Program(format!("`{key}`: {}", error.without_values())))
}
