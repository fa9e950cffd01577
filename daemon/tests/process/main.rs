//! Programs of snap-ins as their users see them: real executables under a real supervisor, through
//! the pool with the built binary. Nothing is faked but the other end of the network.

mod breakout;
mod contract;
mod harness;
mod lifetime;
mod network;

#[path = "../common/folder.rs"]
mod folder;
#[path = "../common/reports.rs"]
mod reports;
