//! What an operation answers: `OperationOutput {error?{message, type}, output?{values[]},
//! port_outputs[]}`, as it is or wrapped as `{serialization_format, data}` (spec §2.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// What an operation came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationOutput {
    /// Why it did not do what it was asked for.
    pub failure: Option<OperationFailure>,
    /// What it made, one value for each item.
    pub values: Vec<Value>,
    /// What leaves by ports of its own, as it was answered.
    pub port_outputs: Vec<Value>,
}

/// An error that an operation answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationFailure {
    /// For people.
    pub message: String,
    /// What kind of error.
    pub kind: FailureKind,
}

/// The kinds of errors of operations, with their numbers in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// 0.
    Unknown,
    /// 1: the inputs are wrong; the same again would fail again.
    InvalidRequest,
    /// 2: the same again may work.
    RetryExecution,
}

impl FailureKind {
    /// The number in the contract.
    pub fn number(self) -> u8 {
        match self {
            FailureKind::Unknown => 0,
            FailureKind::InvalidRequest => 1,
            FailureKind::RetryExecution => 2,
        }
    }

    fn of(value: Option<&Value>) -> FailureKind {
        let plain = |it: &str| it.to_lowercase().replace('_', "");
        match value {
            Some(Value::Number(it)) if it.as_u64() == Some(1) => FailureKind::InvalidRequest,
            Some(Value::Number(it)) if it.as_u64() == Some(2) => FailureKind::RetryExecution,
            // Some write the name of the constant.
            Some(Value::String(it)) if plain(it) == "invalidrequest" => FailureKind::InvalidRequest,
            Some(Value::String(it)) if plain(it) == "retryexecution" => FailureKind::RetryExecution,
            Some(_) | None => FailureKind::Unknown,
        }
    }
}

/// Reads what the function of an operation returned. An error says what is wrong with the answer.
pub fn read(result: Option<&str>) -> Result<OperationOutput, String> {
    let Some(text) = result else { return Ok(OperationOutput::default()) };
    let value = parse(text, "it is nested too deep to be read")?;
    match value {
        // A function that returns nothing has done what it was asked for.
        Value::Null => Ok(OperationOutput::default()),
        Value::Object(members) if members.contains_key("serialization_format") => {
            unwrap(&members).and_then(output)
        }
        Value::Object(members) => output(members),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(
            "it is no object: expected `{output: {values: [...]}, port_outputs: [...]}` or `{error: \
             {message, type}}`"
                .to_owned(),
        ),
    }
}

fn parse(text: &str, wrong: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|_| wrong.to_owned())
}

/// What is within `{serialization_format, data}`.
fn unwrap(members: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let wrong = "its `data` is neither a JSON object, nor the text of one, nor that in base 64; other \
                 formats, such as protobuf, cannot be read here";
    let data = match members.get("data") {
        Some(Value::Object(data)) => return Ok(data.clone()),
        Some(Value::String(text)) => text,
        Some(_) | None => return Err(wrong.to_owned()),
    };
    let value = match serde_json::from_str(data) {
        Ok(value) => value,
        Err(_) => {
            let bytes = STANDARD.decode(data.trim()).map_err(|_| wrong.to_owned())?;
            serde_json::from_slice(&bytes).map_err(|_| wrong.to_owned())?
        }
    };
    match value {
        Value::Object(data) => Ok(data),
        _ => Err(wrong.to_owned()),
    }
}

fn output(mut members: Map<String, Value>) -> Result<OperationOutput, String> {
    let known = ["error", "output", "port_outputs"];
    if !members.is_empty() && !known.iter().any(|it| members.contains_key(*it)) {
        return Err("it has none of `error`, `output` and `port_outputs`".to_owned());
    }
    let failure = match members.remove("error") {
        None | Some(Value::Null) => None,
        Some(Value::String(message)) => {
            Some(OperationFailure { message, kind: FailureKind::Unknown })
        }
        Some(Value::Object(error)) => Some(OperationFailure {
            message: match error.get("message") {
                Some(Value::String(message)) => message.clone(),
                Some(_) | None => "the operation failed and does not say why".to_owned(),
            },
            kind: FailureKind::of(error.get("type")),
        }),
        Some(_) => return Err("its `error` is no object with `message` and `type`".to_owned()),
    };
    let values = match members.remove("output") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(mut output)) => list(output.remove("values"), "output.values")?,
        Some(_) => return Err("its `output` is no object with `values`".to_owned()),
    };
    let port_outputs = list(members.remove("port_outputs"), "port_outputs")?;
    Ok(OperationOutput { failure, values, port_outputs })
}

fn list(value: Option<Value>, name: &str) -> Result<Vec<Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("its `{name}` is no list")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_operations_return() {
        let whole = json!({ "output": { "values": [{ "a": 1 }] }, "port_outputs": [{ "b": 2 }] });
        let expected = OperationOutput {
            failure: None,
            values: vec![json!({ "a": 1 })],
            port_outputs: vec![json!({ "b": 2 })],
        };
        let wrapped = |data: Value| json!({ "serialization_format": "json", "data": data });
        for answer in [
            whole.clone(),
            wrapped(whole.clone()),
            wrapped(json!(whole.to_string())),
            wrapped(json!(STANDARD.encode(whole.to_string()))),
        ] {
            assert_eq!(read(Some(&answer.to_string())), Ok(expected.clone()), "{answer}");
        }
        for nothing in ["null", "{}", r#"{"output": null, "port_outputs": []}"#] {
            assert_eq!(read(Some(nothing)), Ok(OperationOutput::default()), "{nothing}");
        }
        assert_eq!(read(None), Ok(OperationOutput::default()));
    }

    #[test]
    fn errors_of_operations_have_kinds() {
        use FailureKind::{InvalidRequest, RetryExecution, Unknown};
        for (written, kind) in [
            (json!(0), Unknown),
            (json!(1), InvalidRequest),
            (json!(2), RetryExecution),
            (json!("RetryExecution"), RetryExecution),
            (json!("INVALID_REQUEST"), InvalidRequest),
            (json!(7), Unknown),
            (Value::Null, Unknown),
        ] {
            let answer = json!({ "error": { "message": "no", "type": written } }).to_string();
            let failure = Some(OperationFailure { message: "no".to_owned(), kind });
            assert_eq!(read(Some(&answer)).map(|it| it.failure), Ok(failure), "{answer}");
        }
    }

    #[test]
    fn what_cannot_be_understood_says_why() {
        for (answer, expected) in [
            ("3", "no object"),
            ("\"CgQIARIA\"", "no object"),
            (r#"{"ticket": 1}"#, "none of"),
            (r#"{"output": [1]}"#, "`output`"),
            (r#"{"output": {"values": {}}}"#, "`output.values`"),
            (r#"{"port_outputs": 1}"#, "`port_outputs`"),
            (r#"{"error": 1}"#, "`error`"),
            (r#"{"serialization_format": "proto", "data": "CgQIARIA"}"#, "protobuf"),
            (r#"{"serialization_format": "json"}"#, "`data`"),
        ] {
            let error = read(Some(answer)).expect_err(answer);
            assert!(error.contains(expected), "{answer}: {error}");
        }
        let deep = format!(r#"{{"output": {}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(read(Some(&deep)).is_err_and(|it| it.contains("too deep")));
    }
}
