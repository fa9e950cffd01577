//! Functions on Node.js as their users see them: real packages in real, sandboxed processes.
//!
//! Every test goes through the pool with the built binary and the Node.js of this host.

mod breakout;
mod contract;
mod failures;
mod harness;
mod leftovers;
mod network;
mod npm;
mod sandbox;

#[path = "../common/folder.rs"]
mod folder;
#[path = "../common/reports.rs"]
mod reports;
