//! Who may do what: pure decisions. [`rights`] is the one table of rights and of the roles that have
//! them; [`state`] is everybody with his roles and tokens, and what that amounts to; [`change`]
//! decides whether somebody may change it.
//!
//! Must never: do I/O, know a route, or read a clock.

pub mod change;
pub mod rights;
pub mod state;
#[cfg(test)]
mod tests;

pub use change::{Change, Refusal};
pub use rights::{Right, RightSet};
pub use state::{KnownPrincipal, KnownToken, Powers, State};
