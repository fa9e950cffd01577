//! Functions as their users see them: real code in real runner processes.
//!
//! Every test goes through the pool with the built binary; nothing is faked but the network.

#![expect(clippy::disallowed_methods, reason = "these tests measure real time")]

mod compiled;
mod contract;
mod failures;
mod harness;
mod hosting;
mod modules;
mod network;
mod platform;

#[path = "../common/reports.rs"]
mod reports;
