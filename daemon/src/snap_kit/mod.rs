//! Snap-kit: the pages, panels and buttons that functions describe as JSON.
//!
//! Owns which elements there are ([`schema`]), and what is wrong with a body: everything at once, each
//! with its path, what is allowed there and the name that was probably meant ([`check()`]). It must
//! never call a function, keep a body or draw one.
//!
//! What would leave people with a page that cannot be drawn or answered is an error: something
//! missing, or of the wrong type. What this program does not know is a warning, because the public
//! documents do not say that their list is whole, and what is new there must not break a page here.
//!
//! Invariant: the work is linear in the size of what is checked, which is bounded beforehand, and
//! the list of problems is bounded too.

mod body;
mod check;
mod problem;
mod schema;
#[cfg(test)]
mod tests;

pub use body::{Body, returned};
pub use check::{Checked, Surroundings, check};
pub use problem::{Problem, ProblemCode, Severity};

/// The longest body, as JSON.
pub const MAX_BYTES: usize = 128 << 10;
/// The most elements in one body, options and cells of tables included.
pub const MAX_ELEMENTS: usize = 5_000;
/// How deep elements may lie in one another.
pub const MAX_DEPTH: usize = 16;
