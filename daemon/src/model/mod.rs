//! Plain data that every other module speaks of. No I/O, no clock, no foreign crate but serde.

pub mod event;
pub mod id;
pub mod manifest;
pub mod run;
pub mod scope;
pub mod snap_in;
