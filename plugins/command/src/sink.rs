//! The sink: a delivery in, a run of the program out; its end in, a receipt out.

use mortise_plugin::{
    Act, Delivery, Effect, EffectOutcome, ExecEffect, ExecEnd, Fault, FaultKind, LogLevel, Receipt,
    Sink, SinkCall, SinkInput, SinkOutput,
};
use mortise_sinks::{one_line, shortened, test_message};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a program says about itself by its exit status (sysexits.h).
const TRY_AGAIN: i32 = 75;
const WRONG_CONFIGURATION: i32 = 78;
/// What it takes to begin and to hear of the end; the program itself has all of its time.
const BEGINNING_MS: u64 = 1_000;
/// Of an id of a program's own.
const LONGEST_ID: usize = 500;

/// A program, and what it is handed each time.
pub(crate) struct Command {
    pub(crate) program: String,
    pub(crate) timeout_ms: u64,
    pub(crate) settings: Map<String, Value>,
    pub(crate) secret: Option<String>,
}

/// What travels with a run.
#[derive(Serialize, Deserialize)]
struct Asked {
    is_test: bool,
}

impl Sink for Command {
    fn call(&self, call: SinkCall, body: &[u8]) -> Result<SinkOutput, Fault> {
        match call.input {
            SinkInput::Check {} => Ok(SinkOutput::default()),
            SinkInput::Deliver(delivery) => Ok(self.run(json!(delivery), false)),
            SinkInput::Test {} => {
                let delivery = Delivery {
                    id: "test".to_owned(),
                    attempt: 1,
                    trigger: "test".to_owned(),
                    message: test_message(),
                    occurrences: Vec::new(),
                    count: 0,
                    thread: None,
                };
                Ok(self.run(json!(delivery), true))
            }
            SinkInput::Response { state, outcome } => {
                let Ok(Asked { is_test }) = serde_json::from_value(state) else {
                    return Err(Fault::permanent("the state of the run came back changed"));
                };
                let output = self.ended(&outcome, body)?;
                Ok(if is_test { SinkOutput { receipt: None, ..output } } else { output })
            }
        }
    }
}

impl Command {
    fn run(&self, mut input: Value, is_test: bool) -> SinkOutput {
        input["test"] = json!(is_test);
        input["settings"] = Value::Object(self.settings.clone());
        if let Some(secret) = &self.secret {
            input["secret"] = json!(secret);
        }
        let exec = ExecEffect { program: self.program.clone(), stdin: Some(0) };
        let effect = Effect {
            state: json!(Asked { is_test }),
            timeout_ms: self.timeout_ms + BEGINNING_MS,
            act: Act::Exec(exec),
        };
        SinkOutput::ask(effect, Some(input.to_string().into_bytes()))
    }

    fn ended(&self, outcome: &EffectOutcome, stdout: &[u8]) -> Result<SinkOutput, Fault> {
        let (end, stderr) = match outcome {
            EffectOutcome::Exec { end, stderr } => (end, stderr),
            EffectOutcome::Failed { message, transient: true } => {
                return Err(Fault::transient(message.as_str()));
            }
            EffectOutcome::Failed { message, transient: false } => {
                return Err(Fault::config(message.as_str(), Vec::new()));
            }
            EffectOutcome::Http { .. } | EffectOutcome::Smtp(_) => {
                return Err(Fault::permanent("the outcome is none of a program"));
            }
        };
        let program = &self.program;
        let fault = |kind, what: &str| {
            let words = match self.secret.as_deref().filter(|it| !it.is_empty()) {
                Some(secret) => stderr.replace(secret, "********"),
                None => stderr.clone(),
            };
            let words = match one_line(&words).as_str() {
                "" => "nothing on standard error".to_owned(),
                words => shortened(words, 500),
            };
            Err(Fault::new(kind, format!("`{program}` {what}: {words}")))
        };
        match end {
            ExecEnd::Exited { status: 0 } => {}
            ExecEnd::Exited { status: TRY_AGAIN } => {
                return fault(FaultKind::Transient, "asks to be tried again (exit status 75)");
            }
            ExecEnd::Exited { status: WRONG_CONFIGURATION } => {
                let what = "says that its configuration is wrong (exit status 78)";
                return fault(FaultKind::Config, what);
            }
            ExecEnd::Exited { status } => {
                return fault(FaultKind::Permanent, &format!("failed with exit status {status}"));
            }
            ExecEnd::TimedOut {} => {
                let what = format!("took longer than its {} s", self.timeout_ms / 1_000);
                return fault(FaultKind::Transient, &what);
            }
            ExecEnd::Broken { reason } => {
                let what = format!("broke ({})", shortened(&one_line(reason), 300));
                return fault(FaultKind::Permanent, &what);
            }
        }
        let said: Value = serde_json::from_slice(stdout).unwrap_or_default();
        let text = |name: &str| {
            let id = said[name].as_str().filter(|it| !it.is_empty());
            id.map(|it| it.chars().take(LONGEST_ID).collect::<String>())
        };
        let receipt = Receipt { message_id: text("message_id"), thread: text("thread") };
        Ok(SinkOutput::done(receipt).with_log(LogLevel::Debug, format!("`{program}` ended well")))
    }
}

#[cfg(test)]
mod tests {
    use mortise_plugin::{Host, Plugin};
    use mortise_sinks::testing::{self, answer, call};

    use super::*;
    use crate::{Commands, KIND};

    fn open(config: Value) -> Box<dyn Sink> {
        Commands::open_sink(KIND, config, Host::silent()).unwrap()
    }

    fn asked(output: SinkOutput) -> (ExecEffect, u64, Value, Value) {
        let Some(Effect { act: Act::Exec(exec), state, timeout_ms }) = output.effect else {
            panic!("no run")
        };
        let stdin = serde_json::from_slice(&output.bodies[0]).unwrap();
        (exec, timeout_ms, stdin, state)
    }

    fn exited(status: i32) -> EffectOutcome {
        let stderr = "first\nthe token hunter2 is bad".to_owned();
        EffectOutcome::Exec { end: ExecEnd::Exited { status }, stderr }
    }

    #[test]
    fn a_delivery_is_json_on_standard_input() {
        let sink = open(json!({
            "program": "page", "timeout_seconds": 9, "settings": { "team": "night" },
            "secret": "hunter2",
        }));
        let delivery = Delivery { thread: Some("t1".to_owned()), ..testing::delivery() };
        let output = call(&*sink, SinkInput::Deliver(delivery), b"").unwrap();
        let (exec, timeout_ms, stdin, state) = asked(output);
        assert_eq!((exec.program.as_str(), timeout_ms), ("page", 10_000));
        assert_eq!(stdin["id"], "dlv_01hq");
        assert_eq!(stdin["message"]["level"], "error");
        assert_eq!(stdin["message"]["fields"][0], json!(["Run", "run_01"]));
        assert_eq!(stdin["occurrences"][0]["run"]["id"], "run_01");
        assert_eq!((&stdin["test"], &stdin["thread"]), (&json!(false), &json!("t1")));
        assert_eq!(
            (&stdin["settings"]["team"], &stdin["secret"]),
            (&json!("night"), &json!("hunter2"))
        );
        let said = b"{\"message_id\":\"m1\",\"thread\":\"t1\"}";
        let receipt = answer(&*sink, state.clone(), exited(0), said).unwrap().receipt.unwrap();
        assert_eq!(receipt.message_id.as_deref(), Some("m1"));
        assert_eq!(receipt.thread.as_deref(), Some("t1"));
        for nothing in [&b""[..], b"[]", b"5", b"{\"message_id\":7}"] {
            let done = answer(&*sink, state.clone(), exited(0), nothing).unwrap();
            assert_eq!(done.receipt, Some(Receipt::default()));
        }
    }

    #[test]
    fn ends_are_told_apart() {
        let sink = open(json!({ "program": "page", "secret": "hunter2" }));
        let output = call(&*sink, SinkInput::Deliver(testing::delivery()), b"").unwrap();
        let (_, _, _, state) = asked(output);
        let end = |end| EffectOutcome::Exec { end, stderr: String::new() };
        let failed = |transient| EffectOutcome::Failed { message: "no".to_owned(), transient };
        for (outcome, kind) in [
            (exited(75), FaultKind::Transient),
            (exited(78), FaultKind::Config),
            (exited(1), FaultKind::Permanent),
            (exited(127), FaultKind::Permanent),
            (end(ExecEnd::TimedOut {}), FaultKind::Transient),
            (end(ExecEnd::Broken { reason: "SIGSEGV".to_owned() }), FaultKind::Permanent),
            (failed(true), FaultKind::Transient),
            (failed(false), FaultKind::Config),
            (testing::answered(200, &[]), FaultKind::Permanent),
        ] {
            let fault = answer(&*sink, state.clone(), outcome.clone(), b"").unwrap_err();
            assert_eq!(fault.kind, kind, "{outcome:?}");
            assert!(!fault.message.contains("hunter2"), "{}", fault.message);
        }
        let fault = answer(&*sink, state, exited(78), b"").unwrap_err();
        assert!(fault.message.ends_with("first the token ******** is bad"), "{}", fault.message);
    }

    #[test]
    fn a_test_is_a_run_that_knows_it_is_one() {
        let sink = open(json!({ "program": "page" }));
        let (_, timeout_ms, stdin, state) = asked(call(&*sink, SinkInput::Test {}, b"").unwrap());
        assert_eq!((timeout_ms, &stdin["test"]), (16_000, &json!(true)));
        assert_eq!(stdin["secret"], Value::Null);
        let done = answer(&*sink, state, exited(0), b"").unwrap();
        assert!(done.receipt.is_none() && done.effect.is_none());
    }

    #[test]
    fn a_program_is_a_name() {
        for bad in ["", "../x", "/bin/sh", "a b", ".x", "-x"] {
            let found = Commands::open_sink(KIND, json!({ "program": bad }), Host::silent());
            assert!(found.is_err_and(|it| it.problems[0].path == "program"), "{bad}");
        }
        let long = json!({ "program": "a", "timeout_seconds": 61 });
        assert!(Commands::open_sink(KIND, long, Host::silent()).is_err());
    }
}
