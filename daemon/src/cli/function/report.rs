//! What a run came to, for people and for scripts.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Run;
use super::event::Completed;
use crate::cli::Failure;
use crate::cli::show::{self, plain};
use crate::functions::outcome::{
    self, FailureKind, LogLevel, LogLine, MadeRequest, Outcome, RunReport,
};

/// One run that has ended.
pub(super) struct Ended {
    pub(super) result: Option<Box<RawValue>>,
    /// Nothing when the function returned.
    pub(super) failure: Option<outcome::Failure>,
    logs: Vec<LogLine>,
    duration: Duration,
    requests: Vec<MadeRequest>,
}

impl Ended {
    pub(super) fn of(report: RunReport) -> Ended {
        let RunReport { outcome, logs, requests, duration } = report;
        let (result, failure) = match outcome {
            Outcome::Succeeded { result } => (Some(result), None),
            Outcome::Failed(failure) => (None, Some(failure)),
            // There is no daemon that would try again.
            Outcome::Interrupted { reason } => {
                (None, Some(outcome::Failure::new(FailureKind::Crashed, reason)))
            }
        };
        Ended { result, failure, logs, duration, requests }
    }

    fn milliseconds(&self) -> f64 {
        (self.duration.as_secs_f64() * 1e6).round() / 1e3
    }
}

/// Lines of the console, as they come.
pub(super) fn log_lines(lines: &[LogLine]) {
    for line in lines {
        eprintln!("{:<5} {}", level(line.level), plain(&line.message));
    }
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// The result on standard output, everything else on standard error.
pub(super) fn say(ended: &Ended, options: &Run, is_one_of_many: bool) -> Result<(), Failure> {
    if options.verbose {
        for request in &ended.requests {
            let outcome = match (&request.status, &request.error) {
                (Some(status), _) => status.to_string(),
                (None, Some(reason)) => reason.clone(),
                (None, None) => "it did not end before the function did".to_owned(),
            };
            let time = request.duration_ms.map_or(String::new(), |it| format!(" ({it} ms)"));
            let line = format!("{} {}: {outcome}{time}", request.method, request.target);
            eprintln!("request {}", plain(&line));
        }
    }
    match &ended.failure {
        Some(failure) => eprintln!("{}", plain(&failure_text(failure))),
        None => {
            let result = ended.result.as_ref().map(|it| it.get()).unwrap_or("null");
            let is_many = is_one_of_many || options.repeat > 1;
            // One line each when there are several, so that they can be told apart.
            let text = match serde_json::from_str::<Value>(result) {
                Ok(value) if !is_many => format!("{value:#}"),
                Ok(_) | Err(_) => result.to_owned(),
            };
            show::print(&plain(&text))?;
        }
    }
    Ok(())
}

fn failure_text(failure: &outcome::Failure) -> String {
    let outcome::Failure { name, message, stack, retry, refresh, .. } = failure;
    let mut text = format!("{name}: {message}");
    for frame in stack.iter().flat_map(|it| it.lines()).filter(|it| !it.trim().is_empty()) {
        text.push_str(&format!("\n    {}", frame.trim()));
    }
    if *retry == Some(true) {
        let with = if *refresh { ", with new keyrings, tokens and inputs" } else { "" };
        text.push_str(&format!("\n  it asks to be run again{with}"));
    }
    text
}

/// How long several runs took.
pub(super) fn durations<'a>(runs: impl Iterator<Item = &'a Ended>) -> String {
    let mut times: Vec<f64> = runs.map(Ended::milliseconds).collect();
    let Some(first) = times.first().copied() else { return String::new() };
    let count = times.len();
    let warm = times.split_off(1.min(times.len()));
    let mut sorted = warm;
    sorted.sort_by(f64::total_cmp);
    let at = |share: usize| sorted.get((sorted.len().saturating_sub(1)) * share / 100).copied();
    match (at(0), at(50), at(100)) {
        (Some(least), Some(median), Some(most)) => format!(
            "{count} runs: the first took {first:.3} ms, the others {least:.3} to {most:.3} ms, \
             half of them up to {median:.3} ms"
        ),
        _ => format!("{count} runs: the first took {first:.3} ms"),
    }
}

/// Everything about a run.
pub(super) fn as_json(ended: &Ended, of: &Completed) -> Value {
    let error = ended.failure.as_ref().map(|it| {
        let mut error = json!(it);
        error["kind"] = json!(it.kind);
        error
    });
    let requests: Vec<Value> = ended
        .requests
        .iter()
        .map(|it| {
            json!({
                "method": it.method, "target": it.target, "at_ms": it.at_ms,
                "duration_ms": it.duration_ms, "status": it.status, "error": it.error,
            })
        })
        .collect();
    json!({
        "succeeded": ended.failure.is_none(),
        "result": ended.result,
        "error": error,
        "logs": ended.logs,
        "requests": requests,
        "duration_ms": ended.milliseconds(),
        "filled": of.filled,
        "notes": of.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_where_and_what_was_asked_for() {
        let mut failure = outcome::Failure::new(FailureKind::Thrown, "no");
        failure.stack = Some("at run (src/a.ts:3:9)\n".to_owned());
        assert_eq!(failure_text(&failure), "Error: no\n    at run (src/a.ts:3:9)");
        failure.retry = Some(true);
        failure.refresh = true;
        assert!(
            failure_text(&failure).ends_with("run again, with new keyrings, tokens and inputs")
        );
    }

    #[test]
    fn the_first_of_several_runs_is_told_apart() {
        let ended = |milliseconds| Ended {
            result: None,
            failure: None,
            logs: Vec::new(),
            duration: Duration::from_millis(milliseconds),
            requests: Vec::new(),
        };
        let said = durations([&ended(30), &ended(3), &ended(1), &ended(2)].into_iter());
        let wanted = "4 runs: the first took 30.000 ms, the others 1.000 to 3.000 ms, half of them up to \
                      2.000 ms";
        assert_eq!(said, wanted);
        assert_eq!(durations([&ended(30)].into_iter()), "1 runs: the first took 30.000 ms");
    }
}
