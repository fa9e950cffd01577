//! The jq programs of keyring types. What they get may hold secrets, so no error quotes it.

use serde_json::Value;

use super::KeyringError;
use crate::script::Program;

/// Runs a program of the manifest, named by its key there, for exactly one output.
pub(super) async fn run(key: &str, program: &str, input: &Value) -> Result<Value, KeyringError> {
    // A version is not made with one that does not compile; one of before may not, by now.
    let compiled = Program::compile(program)
        .map_err(|error| KeyringError::Program(format!("`{key}` does not compile: {error}")))?;
    compiled.run(input, &[]).await.map_err(|error| {
        KeyringError::Program(format!("`{key}` does not work: {}", error.without_values()))
    })
}
