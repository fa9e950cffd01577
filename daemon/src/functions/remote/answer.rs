//! What a server's answer means.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Exchange;
use crate::functions::outcome::{Failure, FailureKind, Outcome};

/// Of a body that is no answer, this much is shown.
const SHOWN: usize = 300;

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    function_result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Value>,
}

/// Whether any answer of this status says that the server is not up: what stands before it (a tunnel, a
/// proxy) answers in its place.
pub(super) fn is_down(status: u16) -> bool {
    matches!(status, 502 | 503)
}

/// 504: what stands before the server has waited for it in vain. The server is up and may have done it.
fn did_not_answer_in_time(status: u16) -> Option<Outcome> {
    let reason = "what stands before the server of the testing URL answered 504: the server took longer \
                  than that waits";
    (status == 504).then(|| Outcome::Interrupted { reason: reason.to_owned() })
}

/// What the answer of a server that was asked to run a function means; nothing when it is not up.
pub fn read_answer(status: u16, body: &[u8]) -> Option<Outcome> {
    if is_down(status) {
        return None;
    }
    if let Some(outcome) = did_not_answer_in_time(status) {
        return Some(outcome);
    }
    if !(200..300).contains(&status) {
        return Some(Outcome::Failed(no_success(Exchange::Sync, status, body)));
    }
    let wire: Wire = match serde_json::from_slice(body) {
        Ok(wire) => wire,
        Err(error) => {
            let message = format!(
                "the server of the testing URL did not answer with JSON of the form \
                 {{\"function_result\": ..., \"error\": ...}} ({error}); it answered: {}",
                shown(body)
            );
            return Some(Outcome::Failed(Failure::new(FailureKind::BadOutput, message)));
        }
    };
    Some(match wire.error {
        None | Some(Value::Null) => {
            Outcome::Succeeded { result: wire.function_result.unwrap_or_else(null) }
        }
        Some(error) => Outcome::Failed(failure(&error)),
    })
}

/// Whether a server has taken an event; nothing when it is not up.
pub fn handed_over(status: u16, body: &[u8]) -> Option<Result<(), Outcome>> {
    if is_down(status) {
        return None;
    }
    if (200..300).contains(&status) {
        return Some(Ok(()));
    }
    let failed = || Outcome::Failed(no_success(Exchange::Async, status, body));
    Some(Err(did_not_answer_in_time(status).unwrap_or_else(failed)))
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn no_success(exchange: Exchange, status: u16, body: &[u8]) -> Failure {
    let path = match exchange {
        Exchange::Sync => "/handle/sync",
        Exchange::Async => "/handle/async",
    };
    let hint = match status {
        404 | 405 => format!("; does it serve POST {path} below the testing URL?"),
        401 | 403 => "; does it let the daemon in?".to_owned(),
        _ => String::new(),
    };
    let message =
        format!("the server of the testing URL answered {status}{hint}; it said: {}", shown(body));
    Failure::new(FailureKind::Refused, message)
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let mut short: String = text.chars().take(SHOWN).filter(|it| !it.is_control()).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    short
}

/// `error` of an answer: what the function threw, or what the server has against the request.
fn failure(error: &Value) -> Failure {
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    if let Some(kind) = text("err_type") {
        let said = text("err_msg").unwrap_or_default();
        let kind_of = match kind {
            "FUNCTION_NOT_FOUND" => FailureKind::NotFound,
            // Of these the daemon would be to blame, or something between it and the server.
            "FUNCTION_NAME_NOT_PROVIDED" | "INVALID_REQUEST" => FailureKind::Refused,
            _ => FailureKind::Thrown,
        };
        let message = match said {
            "" => format!("the server of the testing URL answered {kind}"),
            said => format!("the server of the testing URL answered {kind}: {said}"),
        };
        return Failure { name: kind.to_owned(), ..Failure::new(kind_of, message) };
    }
    // The harness wraps what was thrown; a server of somebody's own may not.
    thrown(error.get("error").unwrap_or(error))
}

fn thrown(value: &Value) -> Failure {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let message = match (value, text("message")) {
        (Value::String(message), _) => message.clone(),
        (_, Some(message)) => message.to_owned(),
        (Value::Object(members), None)
            if members.keys().all(|it| it == "retry" || it == "refresh") =>
        {
            // An `Error` has no members that JSON shows.
            "the function threw an error whose message the server did not send; its own log says more"
                .to_owned()
        }
        (other, None) => other.to_string(),
    };
    // The same rule as everywhere: a boolean `retry` or `refresh` makes it a FunctionExecutionError.
    let asks = flag("retry").is_some() || flag("refresh").is_some();
    let name = text("name").unwrap_or(if asks { "FunctionExecutionError" } else { "Error" });
    Failure {
        name: name.to_owned(),
        stack: text("stack").map(str::to_owned),
        retry: flag("retry"),
        refresh: flag("refresh").unwrap_or_default(),
        ..Failure::new(FailureKind::Thrown, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, Failure> {
        match read_answer(200, text.as_bytes()).expect("it is up") {
            Outcome::Succeeded { result } => Ok(result.get().to_owned()),
            Outcome::Failed(failure) => Err(failure),
            Outcome::Interrupted { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn results_are_read_as_they_are() {
        assert_eq!(read(r#"{"function_result": {"a": 1.10}}"#), Ok(r#"{"a": 1.10}"#.to_owned()));
        assert_eq!(read("{}"), Ok("null".to_owned()));
        assert_eq!(read(r#"{"function_result": null, "error": null}"#), Ok("null".to_owned()));
    }

    #[test]
    fn errors_are_told_apart() {
        for (text, kind, name, message, retry, refresh) in [
            (
                r#"{"error":{"error":"no input"}}"#,
                FailureKind::Thrown,
                "Error",
                "no input",
                None,
                false,
            ),
            (
                r#"{"error":{"error":{"message":"later","retry":true}}}"#,
                FailureKind::Thrown,
                "FunctionExecutionError",
                "later",
                Some(true),
                false,
            ),
            (
                r#"{"error":{"error":{"retry":true,"refresh":true}}}"#,
                FailureKind::Thrown,
                "FunctionExecutionError",
                "did not send",
                Some(true),
                true,
            ),
            (
                r#"{"error":{"error":{"refresh":true,"message":"m"}}}"#,
                FailureKind::Thrown,
                "FunctionExecutionError",
                "m",
                None,
                true,
            ),
            (
                r#"{"error":{"error":{"retry":"yes","message":"m"}}}"#,
                FailureKind::Thrown,
                "Error",
                "m",
                None,
                false,
            ),
            (
                r#"{"error":{"error":{}}}"#,
                FailureKind::Thrown,
                "Error",
                "did not send",
                None,
                false,
            ),
            (
                r#"{"error":{"error":{"name":"TypeError","message":"x is"}}}"#,
                FailureKind::Thrown,
                "TypeError",
                "x is",
                None,
                false,
            ),
            (
                r#"{"error":{"error":{"code":7}}}"#,
                FailureKind::Thrown,
                "Error",
                "{\"code\":7}",
                None,
                false,
            ),
            (r#"{"error":"plain"}"#, FailureKind::Thrown, "Error", "plain", None, false),
            (
                r#"{"error":{"err_type":"FUNCTION_NOT_FOUND","err_msg":"no f"}}"#,
                FailureKind::NotFound,
                "FUNCTION_NOT_FOUND",
                "no f",
                None,
                false,
            ),
            (
                r#"{"error":{"err_type":"INVALID_REQUEST"}}"#,
                FailureKind::Refused,
                "INVALID_REQUEST",
                "INVALID_REQUEST",
                None,
                false,
            ),
        ] {
            let failure = read(text).expect_err(text);
            assert_eq!((failure.kind, failure.name.as_str()), (kind, name), "{text}");
            assert!(failure.message.contains(message), "{text}: {}", failure.message);
            assert_eq!((failure.retry, failure.refresh), (retry, refresh), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_says_what_came_instead() {
        let failure = read("<html>hello").expect_err("no JSON");
        assert_eq!(failure.kind, FailureKind::BadOutput);
        assert!(failure.message.contains("<html>hello"), "{}", failure.message);
        let long = "x".repeat(5000);
        assert!(read(&long).expect_err("no JSON").message.len() < 700);
        let Some(Outcome::Failed(failure)) = read_answer(404, b"") else { panic!("no failure") };
        assert!(failure.message.contains("answered 404"), "{}", failure.message);
        assert!(failure.message.contains("POST /handle/sync"), "{}", failure.message);
        assert_eq!(failure.retry, None);
    }

    #[test]
    fn a_server_that_is_not_up_has_no_answer() {
        assert!(read_answer(502, b"tunnel").is_none());
        assert!(handed_over(503, b"").is_none());
        assert!(matches!(handed_over(204, b""), Some(Ok(()))));
        assert!(handed_over(200, b"anything").is_some_and(|it| it.is_ok()));
        assert!(handed_over(500, b"").is_some_and(|it| it.is_err()));
    }

    #[test]
    fn a_server_that_is_slow_may_have_done_it() {
        let interrupted = |it: Option<Outcome>| matches!(it, Some(Outcome::Interrupted { .. }));
        assert!(interrupted(read_answer(504, b"<html>")));
        assert!(interrupted(handed_over(504, b"").and_then(Result::err)));
    }
}
