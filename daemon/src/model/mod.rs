//! Plain data that every other module speaks of. No I/O, no clock, no foreign crate but serde's.

pub mod access;
pub mod actor;
pub mod artifact;
pub mod audit;
pub mod display;
pub mod event;
pub mod http;
pub mod id;
pub mod keyring;
pub mod manifest;
pub mod object;
pub mod object_type;
pub mod recording;
pub mod run;
pub mod scope;
pub mod snap_in;
pub mod timestamp;
pub mod view;
