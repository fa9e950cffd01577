//! Carrying out the effects of lifecycle changes, outside any mailbox.
//!
//! Each is idempotent, has deadlines, and stays in the outbox until it is done. Its outcome goes to
//! the snap-in's actor as a message, by way of the registry, because the actor may have died and
//! been built again meanwhile.

use std::sync::Arc;
use std::time::Duration;

use actix::WeakAddr;
use actix::prelude::*;
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tracing::{error, warn};

use super::Services;
use super::hooks::{self, HookCall};
use super::registry::{Find, Registry};
use super::snap_in::{Ask, SnapIn};
use super::source::OpenState;
use crate::engine::contexts::SnapInContext;
use crate::lifecycle::snap_in::{Effect, Event, Hook, HookOutcome};
use crate::model::event::Cause;
use crate::model::id::{EffectId, RunId, SnapInId, SourceId};
use crate::model::manifest::HookType;
use crate::store::{SnapInRecord, StoreError};

/// How long sources may take to open before an activation fails.
const OPENING: Duration = Duration::from_secs(15);
/// How long running runs may take before a deactivation goes on without them.
const DRAINING: Duration = Duration::from_secs(15 * 60);
/// The same, when it is forced.
const DRAINING_FORCED: Duration = Duration::from_secs(2);
/// How long the registry and the actor may take to hear of an outcome.
const HEARING: Duration = Duration::from_secs(30);
/// Runs that one transaction cancels.
const CANCEL_CHUNK: usize = 500;

/// An effect to carry out.
pub(super) struct Task {
    pub(super) id: EffectId,
    pub(super) effect: Effect,
    pub(super) snap_in: SnapInId,
    pub(super) record: SnapInRecord,
    pub(super) sources: Vec<(SourceId, watch::Receiver<OpenState>)>,
    pub(super) services: Services,
    pub(super) registry: WeakAddr<Registry>,
    /// What the hook wrote.
    pub(super) inputs: Map<String, Value>,
}

/// Begins to carry it out; it goes on when the actor dies.
pub(super) fn begin(task: Task, _ctx: &mut Context<SnapIn>) {
    actix::spawn(async move {
        let (id, under_way) = (task.id, task.services.under_way.clone());
        carry_out(task).await;
        under_way.end(id);
    });
}

async fn carry_out(mut task: Task) {
    match task.effect.clone() {
        Effect::RunHook(hook) => {
            let outcome = match hook {
                Hook::Activate => task.activate().await,
                Hook::Deactivate { force, is_deletion } => {
                    task.deactivate(force, is_deletion).await
                }
            };
            task.report(hook, outcome).await;
        }
        Effect::CancelRuns { reason } => task.cancel_runs(&reason).await,
    }
}

impl Task {
    async fn activate(&mut self) -> HookOutcome {
        for (source, state) in &mut self.sources {
            let settled = state.wait_for(|it| *it != OpenState::Opening);
            let problem = match tokio::time::timeout(OPENING, settled).await {
                Ok(Ok(state)) => match &*state {
                    OpenState::Failed(problem) => problem.clone(),
                    // Closed: somebody paused it, which is no reason not to activate the rest.
                    OpenState::Open | OpenState::Opening | OpenState::Closed => continue,
                },
                Ok(Err(_)) => "its actor has ended".to_owned(),
                Err(_) => format!("it took longer than {} s to open", OPENING.as_secs()),
            };
            let found = self.services.store.read(|tables| tables.source(*source));
            if found.is_ok_and(|it| it.is_some_and(|it| it.user.is_some())) {
                warn!(%source, problem, "a person's source does not open; the others do");
                continue;
            }
            return HookOutcome::Failed { message: format!("event source {source}: {problem}") };
        }
        if let Err(message) = self.services.registrar.register(self.snap_in).await {
            return HookOutcome::Failed { message };
        }
        self.call_hook(HookType::Activate, Bytes::from_static(b"{}")).await
    }

    async fn deactivate(&mut self, force: bool, is_deletion: bool) -> HookOutcome {
        let patience = if force { DRAINING_FORCED } else { DRAINING };
        let quiet = self.services.dispatcher.quiet(self.snap_in);
        if tokio::time::timeout(patience, quiet).await.is_err() {
            warn!(snap_in = %self.snap_in, "runs are still under way; the deactivation goes on");
        }
        let payload = serde_json::json!({ "force_deactivate": force, "is_deletion": is_deletion });
        let hook = self.call_hook(HookType::Deactivate, Bytes::from(payload.to_string())).await;
        if matches!(hook, HookOutcome::Failed { .. }) && !force {
            return hook;
        }
        // Last, when nothing can come in any more; without force, what stays behind outside has to
        // be known to whoever asked.
        let outcome = match self.services.registrar.unregister(self.snap_in).await {
            Ok(()) => hook,
            Err(message) => {
                if force {
                    warn!(snap_in = %self.snap_in, message, "something stays behind outside");
                }
                HookOutcome::Failed { message }
            }
        };
        if is_deletion && (force || outcome == HookOutcome::Succeeded) {
            // The secrets go with the snap-in: whoever they came from should not count on them.
            self.services.registrar.give_up(self.snap_in).await;
        }
        outcome
    }

    /// Calls the snap-in's hook; one that has none succeeds.
    async fn call_hook(&mut self, hook: HookType, payload: Bytes) -> HookOutcome {
        let version = match self.services.contexts.version(self.record.version) {
            Ok(Some(version)) => version,
            Ok(None) => return HookOutcome::Failed { message: "its version is gone".to_owned() },
            Err(error) => return HookOutcome::Failed { message: error.to_string() },
        };
        let record = self.record.clone();
        let context =
            self.services.store.read(|tables| SnapInContext::of(record, &version.manifest, tables));
        let context = match context {
            Ok(context) => Arc::new(context),
            Err(error) => return HookOutcome::Failed { message: error.to_string() },
        };
        let call = HookCall {
            hook,
            // The same over a repetition after a crash: the hook sees that it is called again.
            run: RunId(self.id.0),
            snap_in: self.snap_in,
            context,
            version,
            payload,
            previous_inputs: None,
            offered: None,
            cause: Cause::default(),
        };
        match hooks::call(&self.services, call).await {
            Ok(inputs) => {
                self.inputs = inputs;
                HookOutcome::Succeeded
            }
            Err(message) => {
                let message = format!("the {} hook failed: {message}", hooks::name(hook));
                HookOutcome::Failed { message }
            }
        }
    }

    /// Tells the snap-in's actor, however often that has to be tried.
    async fn report(&self, hook: Hook, outcome: HookOutcome) {
        let mut pause = Duration::from_millis(100);
        loop {
            let event = Event::HookFinished { hook, outcome: outcome.clone() };
            match self.tell(event).await {
                Ok(()) => return,
                Err(problem) => {
                    error!(snap_in = %self.snap_in, problem, "the end of a hook is not stored yet");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    async fn tell(&self, event: Event) -> Result<(), String> {
        // Without a registry the daemon is stopping; the outbox keeps the effect.
        let Some(registry) = self.registry.upgrade() else { return Ok(()) };
        let found = registry.send(Find(self.snap_in)).timeout(HEARING).await;
        let found = found.map_err(|it| it.to_string())?.map_err(|it| it.to_string())?;
        let Some(actor) = found else { return Ok(()) };
        let ask = Ask { event, done: Some(self.id), inputs: self.inputs.clone() };
        match actor.send(ask).timeout(HEARING).await.map_err(|it| it.to_string())? {
            // A refusal is an answer too: nobody waits for this outcome any more.
            Ok(_) | Err(super::AskError::Refused(_) | super::AskError::NoSuchSnapIn) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn cancel_runs(&self, reason: &str) {
        loop {
            match self.cancel_some(reason).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    error!(snap_in = %self.snap_in, %error, "runs are not cancelled yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Cancels a part; answers whether there may be more.
    async fn cancel_some(&self, reason: &str) -> Result<bool, StoreError> {
        let (snap_in, effect, reason) = (self.snap_in, self.id, reason.to_owned());
        let cancelled = self
            .services
            .store
            .write(move |tables| {
                let cancelled = tables.cancel_runs_of(snap_in, &reason, CANCEL_CHUNK)?;
                if cancelled.len() < CANCEL_CHUNK {
                    tables.effect_done(effect)?;
                }
                Ok(cancelled)
            })
            .await?;
        let more = cancelled.len() == CANCEL_CHUNK;
        self.services.dispatcher.cancelled(snap_in, cancelled);
        Ok(more)
    }
}
