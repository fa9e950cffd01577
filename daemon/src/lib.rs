//! The Mortise daemon, as a library.
//!
//! In reading order: time ([`clock`]), plain data ([`model`]), decisions without side effects ([`access`],
//! [`lifecycle`], [`routing`], [`configuration`], [`connections`], [`objects`]), one folder per foreign crate that touches the
//! world ([`manifest`], [`archive`], [`store`], [`secrets`], [`plugins`], [`functions`],
//! [`egress`]), the [`engine`] that moves work, the [`actors`] that serialise lifecycles, the
//! [`operations`] that take several steps, and the edges ([`api`], [`cli`]). [`run`] puts them
//! together. Dependencies point up this list only; `tests/tidy.rs` checks that.

pub mod clock;
pub mod config;
pub mod model;
pub mod random;

pub mod access;
pub mod configuration;
pub mod connections;
pub mod lifecycle;
pub mod objects;
pub mod routing;
pub mod snap_kit;

pub mod archive;
pub mod egress;
pub mod functions;
pub mod manifest;
pub mod plugins;
pub mod secrets;
pub mod store;

pub mod engine;

pub mod actors;

pub mod operations;

pub mod api;

pub mod run;

pub mod cli;
