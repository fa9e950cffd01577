//! The functions that policies may call beyond, or instead of, those of regorus.
//!
//! regorus looks an extension up before its own builtins, so one table both adds functions
//! (`crypto.*`) and replaces some (`base64.*`, and what could be made to allocate without bounds,
//! see [`crate::guards`]).
//!
//! As in OPA, a function that cannot work with its operands is undefined rather than an error; why
//! is noted, and the notes are logged when the policy comes to no result. A limit that is hit ends
//! the evaluation. Both travel in a thread-local that lives for one evaluation, because regorus
//! hands a function nothing but its operands.

use std::cell::RefCell;

use anyhow::anyhow;
use regorus::{Engine, Value};

use crate::{crypto, encoding, guards};

/// Longest string that a function may make.
pub(crate) const MAX_STRING: usize = 16 << 20;

/// How many notes are kept; a loop may make millions.
const MAX_NOTES: usize = 8;

/// A function of this plugin.
pub(crate) struct Builtin {
    /// The name that policies call.
    pub(crate) name: &'static str,
    /// How many operands it takes.
    pub(crate) arity: u8,
    /// What it does.
    pub(crate) run: fn(&[Value]) -> Result<Value, Refusal>,
}

/// Why a function gives no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The operands are wrong: the call is undefined. Never quotes an operand, it may be secret.
    Operand(String),
    /// The result would be larger than allowed: the evaluation ends.
    Limit(String),
}

impl Refusal {
    pub(crate) fn operand(message: impl Into<String>) -> Refusal {
        Refusal::Operand(message.into())
    }

    pub(crate) fn limit(message: impl Into<String>) -> Refusal {
        Refusal::Limit(message.into())
    }
}

/// What was noted while one policy was evaluated.
#[derive(Default)]
pub(crate) struct Notes {
    /// Why calls were undefined.
    pub(crate) undefined: Vec<String>,
    /// The limit that was hit.
    pub(crate) limit: Option<String>,
}

#[derive(Default)]
struct Evaluation {
    now_ns: i64,
    notes: Notes,
}

thread_local! {
    static CURRENT: RefCell<Evaluation> = RefCell::default();
}

/// Runs one evaluation on this thread; `now_ms` is what `time.now_ns` tells.
pub(crate) fn with_notes<T>(now_ms: u64, evaluate: impl FnOnce() -> T) -> (T, Notes) {
    let now_ns = i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    CURRENT.set(Evaluation { now_ns, notes: Notes::default() });
    let result = evaluate();
    (result, CURRENT.take().notes)
}

/// Every function of this plugin.
pub(crate) fn all() -> impl Iterator<Item = &'static Builtin> {
    CLOCK.iter().chain(crypto::BUILTINS).chain(encoding::BUILTINS).chain(guards::BUILTINS)
}

/// The clock is the daemon's.
const CLOCK: &[Builtin] = &[Builtin {
    name: "time.now_ns",
    arity: 0,
    run: |_| Ok(Value::from(CURRENT.with_borrow(|current| current.now_ns))),
}];

/// Adds all functions to an engine.
pub(crate) fn register(engine: &mut Engine) -> anyhow::Result<()> {
    for builtin in all() {
        let extension = move |operands: Vec<Value>| call(builtin, &operands);
        engine.add_extension(builtin.name.to_owned(), builtin.arity, Box::new(extension))?;
    }
    Ok(())
}

fn call(builtin: &'static Builtin, operands: &[Value]) -> anyhow::Result<Value> {
    match (builtin.run)(operands) {
        Ok(value) => Ok(value),
        Err(Refusal::Operand(message)) => {
            CURRENT.with_borrow_mut(|current| {
                let notes = &mut current.notes.undefined;
                if notes.len() < MAX_NOTES {
                    notes.push(format!("`{}` is undefined: {message}", builtin.name));
                }
            });
            Ok(Value::Undefined)
        }
        Err(Refusal::Limit(message)) => {
            let message = format!("`{}`: {message}", builtin.name);
            CURRENT.with_borrow_mut(|current| current.notes.limit = Some(message.clone()));
            Err(anyhow!(message))
        }
    }
}

/// The operand at `position`, which must be a string.
pub(crate) fn string(operands: &[Value], position: usize) -> Result<&str, Refusal> {
    match operands.get(position) {
        Some(Value::String(text)) => Ok(text),
        other => Err(Refusal::operand(format!(
            "operand {} must be a string but is {}",
            position + 1,
            type_name(other)
        ))),
    }
}

/// The operand at `position`, which must be a whole number of 64 bits.
pub(crate) fn integer(operands: &[Value], position: usize) -> Result<i64, Refusal> {
    match operands.get(position).map(Value::as_i64) {
        Some(Ok(number)) => Ok(number),
        _ => Err(Refusal::operand(format!(
            "operand {} must be a whole number of 64 bits but is {}",
            position + 1,
            type_name(operands.get(position))
        ))),
    }
}

/// The type of a value as Rego names it.
pub(crate) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Set(_)) => "a set",
        Some(Value::Object(_)) => "an object",
        Some(Value::Undefined) | None => "undefined",
    }
}
