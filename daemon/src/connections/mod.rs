//! What keyrings are, decided: which type one has ([`types`]), what is in its envelope ([`secret`])
//! and what a change of it amounts to ([`change`]).
//!
//! Must never store, ask, wait or look at the time: `engine/keyrings` does. Secrets pass through
//! here as [`secret::SecretText`], which neither prints nor outlives its use, and no error holds one.

pub mod change;
pub mod destination;
pub mod oauth;
pub mod placeholders;
pub mod references;
pub mod registration;
pub mod request;
pub mod secret;
pub mod types;
pub mod verification;
