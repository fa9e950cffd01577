//! `mortise run logs --follow`: the lines of a run as they come, until it has ended.

use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::connection::Client;
use super::show::{self, plain};

/// Between two looks.
const TICK: Duration = Duration::from_millis(200);

/// Shows lines until the run has ended.
pub(super) fn follow(client: &Client, as_json: bool, run: &str) -> Result<(), Failure> {
    let mut shown = Shown::default();
    loop {
        let answer = client.call("runs.logs", &json!({ "id": run }))?;
        for line in shown.new_of(&answer) {
            if as_json {
                show::print(&line.to_string())?;
            } else {
                let (level, message) = (text(&line["level"]), text(&line["message"]));
                show::print(&plain(&format!("{level:<5} {message}")))?;
            }
        }
        if answer["preliminary"] != true {
            return Ok(());
        }
        std::thread::sleep(TICK);
    }
}

/// What was shown of the last attempt that was seen.
#[derive(Default)]
struct Shown {
    attempt: u64,
    lines: usize,
}

impl Shown {
    /// What an answer holds that was not shown.
    fn new_of<'a>(&mut self, answer: &'a Value) -> &'a [Value] {
        let attempt = answer["attempts"].as_u64().unwrap_or_default();
        let lines = answer["logs"].as_array().map(Vec::as_slice).unwrap_or_default();
        if attempt != self.attempt {
            *self = Shown { attempt, lines: 0 };
        }
        let new = lines.get(self.lines..).unwrap_or_default();
        self.lines = self.lines.max(lines.len());
        new
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_shown_once_for_each_attempt() {
        let mut shown = Shown::default();
        let mut new = |attempts: u64, logs: Value| {
            shown.new_of(&json!({ "attempts": attempts, "logs": logs })).len()
        };
        assert_eq!(new(0, json!([])), 0);
        assert_eq!(new(1, json!([1])), 1);
        assert_eq!(new(1, json!([1, 2, 3])), 2);
        // Between its end and the store.
        assert_eq!(new(1, json!([])), 0);
        assert_eq!(new(1, json!([1, 2, 3])), 0);
        assert_eq!(new(2, json!([1])), 1);
    }
}
