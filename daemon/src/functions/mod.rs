//! The runtimes of functions: how code is prepared, where it runs, and what comes back.
//!
//! Owns the runner processes and their sandbox, the JavaScript engine inside them and the pool that
//! hands runs to them. Must never let code of a snap-in run inside the daemon's own process, reach
//! the network other than through [`pool::Fetch`], or see another snap-in's data: a process serves
//! one installation for its life.
//!
//! ```text
//!   daemon                                   runner process (sandboxed, one snap-in)
//!   pool ── place, process ── protocol ────► runner ── engine ── modules, console, timers
//!     │                                          │
//!     └─ Fetch (the daemon's egress) ◄───────────┘ fetch
//! ```

pub mod choice;
pub mod code;
pub mod kind;
pub mod node_host;
pub mod outcome;
pub mod packages;
pub mod pool;
mod protocol;
pub mod remote;
pub mod runner;
pub mod sandbox;
