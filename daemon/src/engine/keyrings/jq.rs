//! The jq programs of keyring types and registrations. What they get may hold secrets, so no error
//! quotes it.

use mortise_jq::Program;
use serde_json::Value;

use super::KeyringError;

/// Runs a program of the manifest, named by its key there, for exactly one output.
pub(super) async fn run(key: &str, program: &str, input: &Value) -> Result<Value, KeyringError> {
    let failed = |why: String| KeyringError::Program(format!("`{key}`: {why}"));
    let text = program.to_owned();
    // It was compiled when its version was made; keeping that is not worth it for what runs when a
    // person sets something.
    let compiled = tokio::task::spawn_blocking(move || Program::compile(&text)).await;
    let program = match compiled {
        Ok(Ok(program)) => program,
        Ok(Err(error)) => return Err(failed(format!("it does not compile: {}", error.message))),
        Err(_) => return Err(failed("it could not be compiled".to_owned())),
    };
    program.run(input, &[]).await.map_err(|error| failed(error.without_values()))
}
