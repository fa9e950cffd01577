//! jq programs: compiled once, shared between threads, and run within limits.
//!
//! A program is text of a snap-in's author or of somebody who may create webhooks, and its input is
//! what strangers send. So it must be impossible to hang the daemon with one, to crash it or to make
//! it eat the machine's memory. jaq by itself promises none of that: `def f: f; f` never ends,
//! `"a" * 1e12` aborts, a deep value overflows the stack when it is dropped. What we add:
//!
//! - [`limits`]: time, steps, memory, nesting and the depth of the stack are counted in everything
//!   that jaq does, and a run that is over a limit is unwound.
//! - [`value`]: values of our own, in which every operation is counted.
//! - [`program`]: a run starts on the caller's thread with little of everything, which is enough for
//!   filters; what needs more starts again on a thread of its own with a large stack. Programs have
//!   no side effects, so running twice is the same as once.
//!
//! A crate of its own, because plugins run such programs too; each library has its own threads for
//! them.
//!
//! Must never: let a program see anything but its input and the variables that it declares.

mod access;
mod arithmetic;
mod compile;
mod limits;
mod natives;
mod program;
mod regex;
mod value;

#[cfg(test)]
mod tests;

pub use compile::CompileError;
pub use limits::Limit;
pub use program::{Program, RunError};
