//! The daemon's side of the plugin boundary: loads libraries, opens instances, calls them.
//!
//! Owns everything that touches foreign code, and is the only folder that names `abi_stable`. It
//! must never let a plugin hold up or end the daemon: a library that does not load is refused alone
//! ([`LoadReport`]), a call has a deadline, a call that overruns it costs its instance and one
//! thread, and the caller's thread never runs a plugin's code.
//!
//! | module | owns |
//! |---|---|
//! | `trust` | who may have written a library |
//! | `library` | one library: header, layout, descriptor |
//! | `loader` | all libraries: which are refused, which types they add |
//! | `pool` | the threads that calls run on, and what happens to the ones that do not come back |
//! | `watch` | who waits for a call, and gives up on it in time |
//! | `role` | what is different between sources and sinks |
//! | `instance` | one configured source or sink |
//! | `schema` | configs against their type's JSON Schema |
//! | `effects` | calls that want something done before they answer |
//! | `host` | all of it together, as the rest of the daemon sees it |
//!
//! Libraries are never unloaded, because foreign thread-locals and statics cannot be taken down
//! safely: a plugin is upgraded by restarting the daemon.

mod effects;
mod host;
mod instance;
mod library;
mod loader;
mod pool;
#[cfg(test)]
mod pool_tests;
mod report;
mod role;
mod schema;
mod trust;
mod watch;

pub use effects::{EffectAnswer, EffectLimits, EffectRequest, PerformEffect, call_with_effects};
pub use host::{CheckReport, OpenError, PluginHost, PluginSettings, RegisteredType};
pub use instance::{CallError, Instance, LogSink, SinkInstance, SourceInstance};
pub use pool::PoolLimits;
pub use report::{InstanceReport, LoadOutcome, LoadReport, PluginReport};
pub use role::{InstanceRole, SinkRole, SourceRole};
pub use trust::{Trust, resolve_trusted};
