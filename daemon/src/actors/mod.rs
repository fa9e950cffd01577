//! The actors: the only folder that knows actix's.
//!
//! One actor per snap-in serialises its lifecycle: message → [`crate::lifecycle`] → one transaction
//! → answer. One actor per source holds the plugin's instance and keeps the source's route published
//! while its snap-in wants it. One actor per integration serialises its changes and looks after the lane
//! that its messages go out of. The [`Registry`] finds them, and builds one again that died.
//!
//! Must never: decide anything (that is `lifecycle`); wait in a mailbox for anything but the store, a
//! plugin that looks at a change, or what is still sent with a connection that was changed, each with a
//! deadline; keep state that is not in the store. What takes time is an *effect*: it
//! runs outside the mailbox and comes back as a message ([`effects`]).

mod deaths;
mod effects;
pub mod hooks;
mod integration;
#[cfg(test)]
mod integration_tests;
mod keyrings;
mod registry;
mod snap_in;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

pub use integration::{ChangeIntegration, DeleteIntegration, Integration, TestIntegration};
pub use keyrings::BrokenKeyrings;
pub use registry::{Find, FindIntegration, MadeIntegration, MakeIntegration, Registry};
pub use snap_in::{
    Ask, AskError, ChangeSource, ChangeUser, Configure, Reload, RotateToken, SnapIn,
};
pub use source::filled;

use crate::clock::Clock;
use crate::engine::calls::Calls;
use crate::engine::changes::Changes;
use crate::engine::contexts::Contexts;
use crate::engine::dispatcher::{Dispatcher, Execution};
use crate::engine::invocation::{Call, Invoker};
use crate::engine::keyrings::{FilledConfig, KeyringError, Keyrings, Stamp};
use crate::engine::routes::Routes;
use crate::engine::source_counts::SourceCounts;
use crate::engine::source_log::SourceLogs;
use crate::engine::tell::Tell;
use crate::engine::timers::Timers;
use crate::model::id::{EffectId, SnapInId, UserId};
use crate::plugins::PluginHost;
use crate::store::Store;

/// What every actor needs.
#[derive(Clone)]
pub struct Services(Arc<Parts>);

/// The parts of [`Services`].
pub struct Parts {
    /// All state.
    pub store: Arc<Store>,
    /// Manifests and code.
    pub contexts: Arc<Contexts>,
    /// Where open sources are published.
    pub routes: Arc<Routes>,
    /// Who wakes open sources.
    pub timers: Timers,
    /// Who publishes to open sources what was scheduled.
    pub scheduled: Timers,
    /// Who tells open sources of changes of objects.
    pub fan_out: Timers,
    /// Source types.
    pub plugins: Arc<PluginHost>,
    /// Who starts runs.
    pub dispatcher: Dispatcher,
    /// Who calls hooks.
    pub invoker: Arc<dyn CallHook>,
    /// Calls of functions that somebody waits for.
    pub calls: Calls,
    /// Who registers sources at external systems.
    pub registrar: Arc<dyn RegisterSources>,
    /// Who puts secrets into the configs of sources.
    pub secrets: Arc<dyn FillConfigs>,
    /// Who tells of what happened, through integrations.
    pub tell: Tell,
    /// Rung after every change of state.
    pub changes: Changes,
    /// Logs of sources.
    pub source_logs: Arc<SourceLogs>,
    /// What became of their inputs.
    pub source_counts: Arc<SourceCounts>,
    /// Wall time.
    pub clock: Clock,
    /// Effects that a task of this process is carrying out.
    pub under_way: EffectsUnderWay,
}

impl Services {
    /// Shares the parts.
    pub fn new(parts: Parts) -> Services {
        Services(Arc::new(parts))
    }
}

impl std::ops::Deref for Services {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Calls the hooks of a snap-in, and ends its processes.
pub trait CallHook: Send + Sync + 'static {
    /// Calls one function of a snap-in as a hook; an error is for people.
    fn call_hook(&self, call: Call) -> BoxFuture<'static, Execution>;
    /// Ends the processes of a snap-in that functions no more.
    fn retire(&self, snap_in: SnapInId);
}

impl CallHook for Invoker {
    fn call_hook(&self, call: Call) -> BoxFuture<'static, Execution> {
        let this = self.clone();
        Box::pin(async move { this.call(call).await })
    }

    fn retire(&self, snap_in: SnapInId) {
        Invoker::retire(self, snap_in);
    }
}

/// What a snap-in has at external systems: its trigger URLs are made known there and taken back, its
/// connections given up. Errors are for people.
pub trait RegisterSources: Send + Sync + 'static {
    /// Registers what is not registered.
    fn register(&self, snap_in: SnapInId) -> BoxFuture<'static, Result<(), String>>;
    /// Takes back what is registered.
    fn unregister(&self, snap_in: SnapInId) -> BoxFuture<'static, Result<(), String>>;
    /// Gives up its connections, as far as that can be done.
    fn give_up(&self, snap_in: SnapInId) -> BoxFuture<'static, ()>;
}

impl RegisterSources for Keyrings {
    fn register(&self, snap_in: SnapInId) -> BoxFuture<'static, Result<(), String>> {
        let this = self.clone();
        Box::pin(async move { this.register_sources(snap_in).await })
    }

    fn unregister(&self, snap_in: SnapInId) -> BoxFuture<'static, Result<(), String>> {
        let this = self.clone();
        Box::pin(async move { this.unregister_sources(snap_in).await })
    }

    fn give_up(&self, snap_in: SnapInId) -> BoxFuture<'static, ()> {
        let this = self.clone();
        Box::pin(async move { this.give_up_all(snap_in).await })
    }
}

/// Puts the secrets that it refers to into the config of a source.
pub trait FillConfigs: Send + Sync + 'static {
    /// The config to open a plugin with.
    fn fill(
        &self,
        snap_in: SnapInId,
        user: Option<UserId>,
        config: Value,
    ) -> BoxFuture<'static, Result<FilledConfig, KeyringError>>;
    /// Which secrets it would be filled with now.
    fn stamp(
        &self,
        snap_in: SnapInId,
        user: Option<UserId>,
        config: &Value,
    ) -> Result<Stamp, KeyringError>;
    /// Changes whenever a secret does.
    fn changes(&self) -> watch::Receiver<()>;
}

impl FillConfigs for Keyrings {
    fn fill(
        &self,
        snap_in: SnapInId,
        user: Option<UserId>,
        config: Value,
    ) -> BoxFuture<'static, Result<FilledConfig, KeyringError>> {
        let this = self.clone();
        Box::pin(async move { this.fill_config(snap_in, user, &config).await })
    }

    fn stamp(
        &self,
        snap_in: SnapInId,
        user: Option<UserId>,
        config: &Value,
    ) -> Result<Stamp, KeyringError> {
        Keyrings::stamp(self, snap_in, user, config)
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.secrets_changed()
    }
}

/// The effects that are being carried out, so that an actor that is built again repeats none.
#[derive(Clone, Debug, Default)]
pub struct EffectsUnderWay(Arc<Mutex<HashSet<EffectId>>>);

impl EffectsUnderWay {
    /// Whether nobody carried it out yet; from now on, somebody does.
    fn begin(&self, effect: EffectId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(effect)
    }

    fn end(&self, effect: EffectId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&effect);
    }
}
