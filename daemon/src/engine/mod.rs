//! What moves work: from an input to a durable event ([`intake`]), from a queued run to a function
//! and its stored result ([`dispatcher`]), what wakes sources ([`timers`]), events that are to be
//! published later ([`scheduled`]), objects and their types ([`objects`]), changes of objects on their
//! way to sources ([`fan_out`]) and to others ([`webhooks`]), secrets on their way to functions
//! ([`keyrings`]), files that are kept ([`artifacts`]), and what keeps the house in order
//! ([`housekeeping`]).
//!
//! Must never: wait on an actor's mailbox; know HTTP or a wire format.

pub mod access;
pub mod artifacts;
pub mod calls;
pub mod change_bodies;
pub mod changes;
pub mod contexts;
pub mod dispatcher;
pub mod fan_out;
mod handed_out;
pub mod housekeeping;
pub mod intake;
pub mod invocation;
pub mod key_check;
pub mod key_rotation;
pub mod keyrings;
mod live_logs;
pub mod local_package;
pub mod objects;
mod queue;
pub mod recording;
pub mod refusals;
pub mod refused_calls;
pub mod remote_call;
pub mod routes;
pub mod runtimes;
pub mod scheduled;
pub mod source_counts;
pub mod source_log;
pub mod timers;
mod turns;
pub mod version_files;
mod version_runtimes;
pub mod versions;
pub mod webhooks;
