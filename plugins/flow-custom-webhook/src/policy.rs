//! One compiled policy, and its evaluation under limits.
//!
//! Which dialect of Rego a policy is written in is found out, not configured: it is read as Rego
//! v0, the dialect of the platform whose policies run here unmodified, with `import rego.v1` and
//! `import future.keywords` honoured; only if that fails, or if it uses a keyword of v1 without an
//! import ([`crate::lexical`]), as Rego v1. So a policy that is valid in both means what it has
//! always meant. If it is valid in neither, the reading that came further is reported.
//!
//! Invariant: an engine that failed is thrown away, never used again: regorus leaves state behind
//! when it stops half-way.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mortise_plugin::Problem;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, PolicyLengthConfig, Value};

use crate::builtins::{self, Notes};
use crate::diagnose::{FILE, from_error, problem, sentence};
use crate::{bytes, check, lexical};

/// Longest policy in bytes.
pub(crate) const MAX_POLICY: usize = 256 << 10;

/// The rule that gives the result.
const ENTRY: &str = "data.rego.output";

/// Steps between two looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// Stack of the thread that compiles. regorus parses and drops chains of operators by recursion,
/// and only the parsed policy tells how long they are.
const COMPILER_STACK: usize = 256 << 20;

/// Most lines that `print` adds to the log of one request, and their length.
const MAX_PRINTS: usize = 20;
const MAX_PRINT: usize = 500;

/// Engines kept for the next call; as many threads as call at once.
const MAX_IDLE: usize = 64;

/// A policy that can be evaluated from any thread.
pub(crate) struct Policy {
    pristine: Engine,
    idle: Mutex<Vec<Engine>>,
}

/// What came of one evaluation.
#[derive(Debug)]
pub(crate) struct Evaluation {
    /// The result.
    pub(crate) verdict: Verdict,
    /// What the policy printed.
    pub(crate) prints: Vec<String>,
}

/// The result of one evaluation.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The value of `output`.
    Output(Value),
    /// No rule `output` held; why calls on the way were undefined.
    Undefined(Vec<String>),
    /// The policy contradicts itself or works on the wrong types.
    Failed(String),
    /// The policy needs more time or memory than it is given.
    OutOfBounds(String),
}

impl Policy {
    /// Compiles a policy; all that is wrong with it otherwise.
    pub(crate) fn compile(text: &str) -> Result<Policy, Vec<Problem>> {
        if text.len() > MAX_POLICY {
            let message = format!("the policy has {} bytes, {MAX_POLICY} are allowed", text.len());
            return Err(vec![problem(message)]);
        }
        if bytes::has_reserved(text) {
            let message = "the policy contains a character of U+10F780 to U+10F7FF, which are \
                           reserved for bytes that are not text";
            return Err(vec![problem(message)]);
        }
        if let Some(problem) = lexical::too_costly(text) {
            return Err(vec![problem]);
        }
        let pristine = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("rego compiler".to_owned())
                .stack_size(COMPILER_STACK)
                .spawn_scoped(scope, || compile(text))
                .map_err(|error| vec![problem(format!("no thread to compile on: {error}"))])?
                .join()
                .unwrap_or_else(|_| Err(vec![problem("the compiler of Rego panicked")]))
        })?;
        Ok(Policy { pristine, idle: Mutex::new(Vec::new()) })
    }

    /// Evaluates `output` for one input; `now_ms` is the time that the policy sees.
    pub(crate) fn evaluate(&self, input: Value, now_ms: u64, limit: Duration) -> Evaluation {
        let mut engine = self.take();
        engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval: STEPS });
        engine.set_input(input);
        let (result, notes) = builtins::with_notes(now_ms, || engine.eval_rule(ENTRY.to_owned()));
        let prints = engine.take_prints().unwrap_or_default();
        let verdict = match (result, notes) {
            (_, Notes { limit: Some(limit), .. }) => Verdict::OutOfBounds(limit),
            (Ok(Value::Undefined), notes) => {
                self.give_back(engine);
                Verdict::Undefined(notes.undefined)
            }
            (Ok(value), _) => {
                self.give_back(engine);
                Verdict::Output(value)
            }
            (Err(error), _) if is_limit(&error) => {
                Verdict::OutOfBounds(format!("it did not end within {} ms", limit.as_millis()))
            }
            (Err(error), _) => Verdict::Failed(sentence(&from_error(&error))),
        };
        Evaluation { verdict, prints: shorten(prints) }
    }

    fn take(&self) -> Engine {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| self.pristine.clone())
    }

    fn give_back(&self, engine: Engine) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(engine);
        }
    }
}

/// How far a reading came: the stage, then line and column.
type Progress = (u8, u32, u32);

fn compile(text: &str) -> Result<Engine, Vec<Problem>> {
    let v0 = match compile_as(text, true) {
        Ok(engine) => return Ok(engine),
        Err(failure) => failure,
    };
    match compile_as(text, false) {
        Ok(engine) => Ok(engine),
        Err(v1) => Err(if v1.0 > v0.0 { v1.1 } else { v0.1 }),
    }
}

fn compile_as(text: &str, v0: bool) -> Result<Engine, (Progress, Vec<Problem>)> {
    let mut engine = Engine::new();
    engine.set_rego_v0(v0);
    // As in OPA: a builtin that cannot work with its operands is undefined.
    engine.set_strict_builtin_errors(false);
    engine.set_gather_prints(true);
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: NonZeroU32::MAX,
        ..PolicyLengthConfig::default()
    });
    if v0 && let Some(problem) = lexical::undeclared_keyword(text) {
        return Err(failure(0, vec![problem]));
    }
    engine
        .add_policy(FILE.to_owned(), text.to_owned())
        .map_err(|error| failure(0, vec![from_error(&error)]))?;
    let problems: Vec<Problem> =
        engine.get_modules().iter().flat_map(|module| check::check(module)).collect();
    if !problems.is_empty() {
        return Err(failure(2, problems));
    }
    builtins::register(&mut engine).map_err(|error| failure(2, vec![from_error(&error)]))?;
    engine
        .compile_with_entrypoint(&ENTRY.into())
        .map_err(|error| failure(1, vec![from_error(&error)]))?;
    Ok(engine)
}

fn failure(stage: u8, problems: Vec<Problem>) -> (Progress, Vec<Problem>) {
    let place = problems.first().and_then(|problem| problem.location);
    let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
    ((stage, line, column), problems)
}

/// regorus keeps the kind of an error on most ways, and only its words on some.
fn is_limit(error: &anyhow::Error) -> bool {
    error.downcast_ref::<LimitError>().is_some()
        || error.to_string().contains("execution exceeded time limit")
}

fn shorten(mut prints: Vec<String>) -> Vec<String> {
    prints.truncate(MAX_PRINTS);
    for line in &mut prints {
        if let Some((end, _)) = line.char_indices().nth(MAX_PRINT) {
            line.truncate(end);
        }
    }
    prints
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
