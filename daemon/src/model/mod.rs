//! Plain data that every other module speaks of. No I/O, no clock, no foreign crate but serde.

pub mod http;
pub mod id;
