//! The actor of one snap-in. Its mailbox serialises the lifecycle: every handler is synchronous or
//! atomic, and every wait in one has a deadline.

use std::collections::HashMap;
use std::time::Duration;

use actix::WeakAddr;
use actix::prelude::*;
use serde_json::{Map, Value};
use tokio::time::error::Elapsed;
use tracing::{error, info, warn};

use super::Services;
use super::effects;
use super::registry::{Ended, Registry, Whose};
use super::source::{OpenState, Source, Update, Wanted};
use crate::lifecycle::snap_in::{Effect, Event, Refusal};
use crate::lifecycle::source::{self, IsBlocked};
use crate::model::id::{EffectId, SnapInId, SourceId};
use crate::model::snap_in::{SnapInState, SourceStatus};
use crate::store::{
    Answer, Configuration, NewToken, SnapInRecord, SourceChange, SourceRecord, StoreError,
    Transition, UserChange, UserOutcome, UserSettingsRecord,
};

/// How long the store may take for one transition.
const STORE_DEADLINE: Duration = Duration::from_secs(10);

/// The actor of one snap-in.
pub struct SnapIn {
    id: SnapInId,
    record: SnapInRecord,
    services: Services,
    registry: WeakAddr<Registry>,
    sources: HashMap<SourceId, Addr<Source>>,
}

/// Something happens to the snap-in, or is asked of it.
#[derive(Message)]
#[rtype(result = "Result<SnapInRecord, AskError>")]
pub struct Ask {
    /// What.
    pub event: Event,
    /// The effect whose outcome it is.
    pub done: Option<EffectId>,
    /// Inputs that a hook answered with, checked.
    pub inputs: Map<String, Value>,
}

impl Ask {
    /// Asks for something that no effect has led to.
    pub fn of(event: Event) -> Ask {
        Ask { event, done: None, inputs: Map::new() }
    }
}

/// Changes its inputs, or the version that it is of.
#[derive(Message)]
#[rtype(result = "Result<SnapInRecord, AskError>")]
pub struct Configure(pub Configuration);

/// Its configuration was changed in the store by somebody else: bring everything in line.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reload;

/// Pauses a source, resumes it, blocks or unblocks it.
#[derive(Message)]
#[rtype(result = "Result<SourceRecord, AskError>")]
pub struct ChangeSource {
    /// Which.
    pub source: SourceId,
    /// How.
    pub change: source::Change,
}

/// Gives a source another trigger URL.
#[derive(Message)]
#[rtype(result = "Result<SourceRecord, AskError>")]
pub struct RotateToken {
    /// Which.
    pub source: SourceId,
    /// The new one, and for how long the one before is known.
    pub token: NewToken,
}

/// Changes what a person has set for himself, and opens or closes his sources.
#[derive(Message)]
#[rtype(result = "Result<UserSettingsRecord, AskError>")]
pub struct ChangeUser(pub UserChange);

/// A source's actor has died.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SourceEnded(pub(super) SourceId);

/// A source can take no events, for a reason that does not pass by itself.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SourceFailed {
    pub(super) source: SourceId,
    pub(super) problem: String,
}

/// Makes the actor panic; for tests of what happens then.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Panic;

/// Why nothing happened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// The lifecycle does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was deleted.
    #[error("there is no such snap-in")]
    NoSuchSnapIn,
    /// It has no such source.
    #[error("there is no such event source")]
    NoSuchSource,
    /// Nobody of that id is known.
    #[error("there is no such user")]
    NoSuchUser,
    /// Everything that is open stands in one record.
    #[error("so many users have enabled the snap-in that it can open no more event sources")]
    TooManySources,
    /// Somebody was faster.
    #[error("its configuration was changed meanwhile: look at it again, then try again")]
    ChangedMeanwhile,
    /// Somebody blocked the source.
    #[error(transparent)]
    IsBlocked(#[from] IsBlocked),
    /// Its package has no such version.
    #[error("its package has no such version")]
    NoSuchVersion,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store took too long; it may still happen.
    #[error("the database did not answer within {} s; look again what became of it", STORE_DEADLINE.as_secs())]
    TimedOut,
}

impl SnapIn {
    pub(super) fn new(
        id: SnapInId,
        record: SnapInRecord,
        services: Services,
        registry: WeakAddr<Registry>,
    ) -> SnapIn {
        SnapIn { id, record, services, registry, sources: HashMap::new() }
    }

    /// Brings sources and dispatcher in line with the state that is stored.
    fn follow_state(&mut self, generations: &[(SourceId, u64)], ctx: &mut Context<SnapIn>) {
        self.services.contexts.forget(self.id);
        for (source, generation) in generations {
            self.update_source(*source, *generation, ctx);
        }
        // Those that it has no more: its version changed, or a person left.
        self.sources.retain(|source, address| {
            let stays = self.record.sources.contains(source);
            if !stays && let Err(error) = address.try_send(Update { wanted: None }) {
                warn!(%source, %error, "a source that is gone could not be told; it is dropped");
            }
            stays
        });
        let state = &self.record.state;
        self.services.dispatcher.set_open(self.id, state.runs_start());
        match state {
            SnapInState::Inactive | SnapInState::Error { .. } | SnapInState::Deleted => {
                self.services.invoker.retire(self.id);
            }
            SnapInState::Draft
            | SnapInState::Activating
            | SnapInState::Active
            | SnapInState::Deactivating { .. } => {}
        }
        self.services.changes.ring();
    }

    /// Tells a source what is wanted of it now, starting its actor if there is none.
    fn update_source(&mut self, source: SourceId, generation: u64, ctx: &mut Context<SnapIn>) {
        let wanted = match self.wanted(source, generation) {
            Ok(wanted) => wanted,
            Err(error) => {
                error!(snap_in = %self.id, %source, %error, "a source cannot be brought in line");
                return;
            }
        };
        if wanted.is_some() {
            // Before anybody waits for it: what it said the last time is not about this.
            self.services.source_logs.open_state_sender(source).send_if_modified(|it| {
                let opens = !matches!(it, OpenState::Open);
                if opens {
                    *it = OpenState::Opening;
                }
                opens
            });
        }
        let known = self.sources.get(&source).filter(|it| it.connected()).cloned();
        let address = known.unwrap_or_else(|| {
            let myself = ctx.address().downgrade();
            let address = Source::new(source, self.id, self.services.clone(), myself).start();
            self.sources.insert(source, address.clone());
            address
        });
        // The handler is synchronous and its mailbox holds updates only, which come one by one
        // from here; when it is full nevertheless the source is stuck, and built again.
        if let Err(error) = address.try_send(Update { wanted }) {
            warn!(snap_in = %self.id, %source, %error, "a source's actor takes no more");
            self.sources.remove(&source);
            ctx.notify(SourceEnded(source));
        }
    }

    fn wanted(&self, source: SourceId, generation: u64) -> Result<Option<Wanted>, StoreError> {
        // One that is detached, or of a person who has disabled the snap-in, stays closed.
        if !self.record.state.sources_open() || !self.record.sources.contains(&source) {
            return Ok(None);
        }
        let Some(record) = self.services.store.read(|tables| tables.source(source))? else {
            return Ok(None);
        };
        let Some(version) = self.services.contexts.version(self.record.version)? else {
            return Ok(None);
        };
        let takes_events = match record.status {
            SourceStatus::Active => true,
            SourceStatus::Paused | SourceStatus::Blocked => false,
        };
        Ok(takes_events.then(|| Wanted {
            record,
            version_id: self.record.version,
            version,
            automations: self.record.automations.clone(),
            service_account: self.record.service_account,
            generation,
        }))
    }

    /// What its sources say about themselves, for the effect that waits for them.
    fn open_states(&self) -> Vec<(SourceId, tokio::sync::watch::Receiver<OpenState>)> {
        self.record
            .sources
            .iter()
            .map(|it| (*it, self.services.source_logs.open_state(*it)))
            .collect()
    }

    fn begin_effects(&self, found: Vec<(EffectId, Effect)>, ctx: &mut Context<SnapIn>) {
        for (id, effect) in found {
            if self.services.under_way.begin(id) {
                effects::begin(
                    effects::Task {
                        id,
                        effect,
                        snap_in: self.id,
                        record: self.record.clone(),
                        sources: self.open_states(),
                        services: self.services.clone(),
                        registry: self.registry.clone(),
                        inputs: Map::new(),
                    },
                    ctx,
                );
            }
        }
    }
}

impl Actor for SnapIn {
    type Context = Context<SnapIn>;

    fn started(&mut self, ctx: &mut Context<SnapIn>) {
        let found = self.services.store.read(|tables| {
            let mut generations = Vec::with_capacity(self.record.sources.len());
            for source in &self.record.sources {
                generations.push((*source, tables.route_generation(*source)?));
            }
            Ok((generations, tables.pending_effects()?))
        });
        match found {
            Ok((generations, pending)) => {
                self.follow_state(&generations, ctx);
                let mine = pending.into_iter().filter(|it| it.snap_in == self.id);
                self.begin_effects(mine.map(|it| (it.id, it.effect)).collect(), ctx);
            }
            Err(error) => error!(snap_in = %self.id, %error, "a snap-in cannot be started"),
        }
    }

    fn stopped(&mut self, _ctx: &mut Context<SnapIn>) {
        if let Some(registry) = self.registry.upgrade() {
            let panicked = std::thread::panicking();
            // When the registry is too busy to hear it, it notices at the next question.
            let _ = registry.try_send(Ended { whose: Whose::SnapIn(self.id), panicked });
        }
    }
}

impl SnapIn {
    /// Takes over what was stored of a source.
    fn source_changed(
        &mut self,
        source: SourceId,
        result: Result<Result<SourceChange, StoreError>, Elapsed>,
        ctx: &mut Context<SnapIn>,
    ) -> Result<SourceRecord, AskError> {
        match result.map_err(|_| AskError::TimedOut)?? {
            SourceChange::Changed { record, generation } => {
                self.update_source(source, generation, ctx);
                self.services.changes.ring();
                Ok(*record)
            }
            SourceChange::Refused(refused) => Err(refused.into()),
            SourceChange::NoSuchSource => Err(AskError::NoSuchSource),
        }
    }

    /// Takes over what a transition stored.
    fn moved(
        &mut self,
        result: Result<Result<Transition, StoreError>, Elapsed>,
        asked: &str,
        ctx: &mut Context<SnapIn>,
    ) -> Result<SnapInRecord, AskError> {
        match result.map_err(|_| AskError::TimedOut)?? {
            Transition::Moved { record, generations, effects } => {
                info!(
                    snap_in = %self.id,
                    from = self.record.state.name(),
                    to = record.state.name(),
                    asked,
                    reason = record.state.reason(),
                    "a snap-in changed"
                );
                self.record = *record;
                self.follow_state(&generations, ctx);
                self.begin_effects(effects, ctx);
                if self.record.state == SnapInState::Deleted {
                    ctx.stop();
                }
                Ok(self.record.clone())
            }
            Transition::Refused(refusal) => Err(refusal.into()),
            Transition::NoSuchSnapIn => Err(AskError::NoSuchSnapIn),
            Transition::ChangedMeanwhile => Err(AskError::ChangedMeanwhile),
            Transition::NoSuchVersion => Err(AskError::NoSuchVersion),
        }
    }
}

/// What the store answers, if that is in time. What comes later is stored nevertheless: the actor
/// then looks at everything again.
async fn in_time<A: 'static>(
    mut answer: Answer<A>,
    actor: WeakAddr<SnapIn>,
) -> Result<Result<A, StoreError>, Elapsed> {
    let result = tokio::time::timeout(STORE_DEADLINE, &mut answer).await;
    if result.is_err() {
        actix::spawn(async move {
            let _ = answer.await;
            if let Some(actor) = actor.upgrade()
                && let Err(error) = actor.send(Reload).await
            {
                error!(%error, "a snap-in did not hear of a late commit");
            }
        });
    }
    result
}

impl Handler<Ask> for SnapIn {
    type Result = AtomicResponse<SnapIn, Result<SnapInRecord, AskError>>;

    fn handle(
        &mut self,
        Ask { event, done, inputs }: Ask,
        ctx: &mut Context<SnapIn>,
    ) -> Self::Result {
        let id = self.id;
        let asked = event.name();
        let step = self.services.store.write(move |it| it.step_snap_in(id, &event, done, &inputs));
        let step = in_time(step, ctx.address().downgrade());
        AtomicResponse::new(Box::pin(
            step.into_actor(self).map(move |result, this, ctx| this.moved(result, asked, ctx)),
        ))
    }
}

impl Handler<Configure> for SnapIn {
    type Result = AtomicResponse<SnapIn, Result<SnapInRecord, AskError>>;

    fn handle(&mut self, Configure(wanted): Configure, ctx: &mut Context<SnapIn>) -> Self::Result {
        let id = self.id;
        let asked = if wanted.version.is_some() { "change_version" } else { "configure" };
        let change = self.services.store.write(move |it| it.configure_snap_in(id, &wanted));
        let change = in_time(change, ctx.address().downgrade());
        AtomicResponse::new(Box::pin(
            change.into_actor(self).map(move |result, this, ctx| this.moved(result, asked, ctx)),
        ))
    }
}

impl Handler<Reload> for SnapIn {
    type Result = ();

    fn handle(&mut self, _: Reload, ctx: &mut Context<SnapIn>) {
        let found = self.services.store.read(|tables| {
            let Some(record) = tables.snap_in(self.id)? else { return Ok(None) };
            let mut generations = Vec::with_capacity(record.sources.len());
            for source in &record.sources {
                generations.push((*source, tables.route_generation(*source)?));
            }
            Ok(Some((record, generations, tables.pending_effects()?)))
        });
        match found {
            Ok(Some((record, generations, pending))) => {
                self.record = record;
                self.follow_state(&generations, ctx);
                let mine = pending.into_iter().filter(|it| it.snap_in == self.id);
                self.begin_effects(mine.map(|it| (it.id, it.effect)).collect(), ctx);
                if self.record.state == SnapInState::Deleted {
                    ctx.stop();
                }
            }
            Ok(None) => {}
            Err(error) => error!(snap_in = %self.id, %error, "a snap-in cannot be read again"),
        }
    }
}

impl Handler<ChangeSource> for SnapIn {
    type Result = AtomicResponse<SnapIn, Result<SourceRecord, AskError>>;

    fn handle(&mut self, message: ChangeSource, ctx: &mut Context<SnapIn>) -> Self::Result {
        let ChangeSource { source, change } = message;
        let write = self.services.store.write(move |it| it.change_source(source, &change));
        let write = in_time(write, ctx.address().downgrade());
        AtomicResponse::new(Box::pin(
            write
                .into_actor(self)
                .map(move |result, this, ctx| this.source_changed(source, result, ctx)),
        ))
    }
}

impl Handler<RotateToken> for SnapIn {
    type Result = AtomicResponse<SnapIn, Result<SourceRecord, AskError>>;

    fn handle(&mut self, message: RotateToken, ctx: &mut Context<SnapIn>) -> Self::Result {
        let RotateToken { source, token } = message;
        let write = self.services.store.write(move |it| it.rotate_source_token(source, &token));
        let write = in_time(write, ctx.address().downgrade());
        AtomicResponse::new(Box::pin(
            write
                .into_actor(self)
                .map(move |result, this, ctx| this.source_changed(source, result, ctx)),
        ))
    }
}

impl Handler<ChangeUser> for SnapIn {
    type Result = AtomicResponse<SnapIn, Result<UserSettingsRecord, AskError>>;

    fn handle(
        &mut self,
        ChangeUser(change): ChangeUser,
        ctx: &mut Context<SnapIn>,
    ) -> Self::Result {
        let id = self.id;
        let write = self.services.store.write(move |tables| tables.change_user(id, &change));
        let write = in_time(write, ctx.address().downgrade());
        AtomicResponse::new(Box::pin(write.into_actor(self).map(move |result, this, ctx| {
            match result.map_err(|_| AskError::TimedOut)?? {
                UserOutcome::Changed { settings, record, generations } => {
                    this.record = *record;
                    this.follow_state(&generations, ctx);
                    Ok(settings)
                }
                UserOutcome::Refused(refusal) => Err(refusal.into()),
                UserOutcome::TooManySources => Err(AskError::TooManySources),
                UserOutcome::NoSuchSnapIn => Err(AskError::NoSuchSnapIn),
                UserOutcome::NoSuchUser => Err(AskError::NoSuchUser),
            }
        })))
    }
}

impl Handler<SourceEnded> for SnapIn {
    type Result = ();

    fn handle(&mut self, SourceEnded(source): SourceEnded, ctx: &mut Context<SnapIn>) {
        match self.services.store.read(|tables| tables.route_generation(source)) {
            Ok(generation) => self.update_source(source, generation, ctx),
            Err(error) => error!(%source, %error, "a source that died cannot be started again"),
        }
    }
}

impl Handler<SourceFailed> for SnapIn {
    type Result = ();

    fn handle(&mut self, failed: SourceFailed, ctx: &mut Context<SnapIn>) {
        let SourceFailed { source, problem } = &failed;
        let found = self.services.store.read(|tables| tables.source(*source));
        if found.is_ok_and(|it| it.is_some_and(|it| it.user.is_some())) {
            // One person's source is no reason to stop the others.
            let change = source::Change::Fail { problem: problem.clone() };
            ctx.notify(ChangeSource { source: *source, change });
            return;
        }
        // While it is being activated, the effect that waits for its sources says so itself.
        if self.record.state == SnapInState::Active {
            let reason = format!("event source {}: {}", failed.source, failed.problem);
            ctx.notify(Ask::of(Event::SystemError { reason }));
        }
    }
}

#[cfg(test)]
impl Handler<Panic> for SnapIn {
    type Result = ();

    fn handle(&mut self, _: Panic, _ctx: &mut Context<SnapIn>) {
        panic!("a test asked for it");
    }
}
