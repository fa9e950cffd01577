//! jq programs as people write them, as enemies write them, and texts that are none.

mod errors;
mod hostile;
mod manual;
mod parsing;

use serde_json::Value as Json;

use super::{Program, RunError};

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn outputs(program: &str, input: &str) -> Result<Vec<Json>, RunError> {
    let program = Program::compile(program).unwrap_or_else(|error| panic!("{program}: {error}"));
    program.run_all_blocking(&json(input), &[], 100)
}

/// Asserts what a program gives, as JSON texts.
#[track_caller]
fn gives(program: &str, input: &str, expected: &[&str]) {
    let expected: Vec<Json> = expected.iter().map(|it| json(it)).collect();
    assert_eq!(outputs(program, input), Ok(expected), "{program}");
}
