//! The actor of one event source: holds the plugin's instance, and keeps the route published while
//! the snap-in wants it. While it is, sources of types that take ticks are woken,
//! those at which events can be scheduled get what is due, and those that want changes of objects
//! are told of them.
//!
//! Opening an instance takes time (a policy is compiled), so it happens outside the mailbox and
//! comes back as a message.

use std::sync::Arc;
use std::time::Duration;

use actix::WeakAddr;
use actix::prelude::*;
use mortise_plugin::{Role, TypeDescriptor};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Services;
use super::snap_in::{SnapIn, SourceEnded, SourceFailed};
use crate::connections::references::references;
use crate::engine::contexts::VersionContext;
use crate::engine::keyrings::{KeyringError, Masks, Stamp};
use crate::engine::routes::{OpenSource, WantedChanges};
pub(super) use crate::engine::source_log::OpenState;
use crate::engine::timers;
use crate::model::id::{AutomationId, ServiceAccountId, SnapInId, SourceId, UserId, VersionId};
use crate::plugins::{LogSink, OpenError, SourceInstance};
use crate::routing::Route;
use crate::store::SourceRecord;

/// When an opening that failed for a reason that may pass is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

/// The actor of one source.
pub(super) struct Source {
    id: SourceId,
    snap_in: SnapInId,
    services: Services,
    parent: WeakAddr<SnapIn>,
    wanted: Option<Wanted>,
    instance: Option<Instance>,
    /// Counts the openings, so that one that was overtaken is dropped.
    opening: u64,
    published: Option<Arc<OpenSource>>,
    /// While it is woken: since which opening of its plugin, and how that is ended.
    woken: Option<(u64, timers::Opening)>,
    /// The same for events that are scheduled.
    scheduled: Option<(u64, timers::Opening)>,
    /// The same for changes of objects.
    told: Option<(u64, timers::Opening)>,
    state: Arc<watch::Sender<OpenState>>,
    /// What wakes it when the trigger URL before the present one is over.
    overlap: Option<SpawnHandle>,
    /// Whether it is told when secrets change.
    hears_of_secrets: bool,
}

/// An instance, and what it was opened with.
struct Instance {
    source: SourceInstance,
    version: VersionId,
    secrets: Stamp,
    masks: Masks,
}

/// Why an instance could not be opened.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    #[error(transparent)]
    Secret(#[from] KeyringError),
    #[error(transparent)]
    Plugin(#[from] OpenError),
}

/// A secret was set, renewed or removed somewhere.
#[derive(Message)]
#[rtype(result = "()")]
struct SecretsChanged;

/// What a source is to take events for.
pub(super) struct Wanted {
    pub(super) record: SourceRecord,
    pub(super) version_id: VersionId,
    pub(super) version: Arc<VersionContext>,
    pub(super) automations: Vec<AutomationId>,
    /// The identity of the snap-in.
    pub(super) service_account: ServiceAccountId,
    pub(super) generation: u64,
}

/// What is wanted of the source from now on; nothing: that it takes no events.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Update {
    pub(super) wanted: Option<Wanted>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Opened {
    opening: u64,
    result: Result<Instance, NotOpened>,
}

impl Source {
    pub(super) fn new(
        id: SourceId,
        snap_in: SnapInId,
        services: Services,
        parent: WeakAddr<SnapIn>,
    ) -> Source {
        let state = services.source_logs.open_state_sender(id);
        Source {
            id,
            snap_in,
            services,
            parent,
            wanted: None,
            instance: None,
            opening: 0,
            published: None,
            woken: None,
            scheduled: None,
            told: None,
            state,
            overlap: None,
            hears_of_secrets: false,
        }
    }

    fn follow(&mut self, ctx: &mut Context<Source>) {
        if let Some(waiting) = self.overlap.take() {
            ctx.cancel_future(waiting);
        }
        let Some(wanted) = &self.wanted else {
            self.withdraw();
            self.instance = None;
            self.opening += 1;
            self.state.send_replace(OpenState::Closed);
            return;
        };
        match &self.instance {
            Some(instance) if instance.version == wanted.version_id => {
                let (source, masks) = (instance.source.clone(), instance.masks.clone());
                self.publish(source, masks);
                self.await_end_of_overlap(ctx);
                self.state.send_replace(OpenState::Open);
                self.open_again_for_secrets(ctx);
            }
            Some(_) | None => self.open(ctx),
        }
    }

    /// The trigger URL before the present one is taken away when its time has come. Whoever sends to
    /// it looks at the time himself: this only clears up.
    fn await_end_of_overlap(&mut self, ctx: &mut Context<Source>) {
        let Some(wanted) = &mut self.wanted else { return };
        let now_ms = self.services.clock.now_ms();
        if let Some(previous) = wanted.record.previous_token_at(now_ms) {
            let wait = Duration::from_millis(previous.until_ms - now_ms);
            // The clock may have been set: it follows once more, and looks.
            self.overlap = Some(ctx.run_later(wait, |source, ctx| {
                source.overlap = None;
                source.follow(ctx);
            }));
        } else if let Some(previous) = wanted.record.previous_token.take() {
            let id = self.id;
            let write =
                self.services.store.write(move |it| it.forget_previous_token(id, &previous));
            let write = async move {
                if let Err(error) = write.await {
                    warn!(source = %id, %error, "a trigger URL that is over stays in the database");
                }
            };
            actix::spawn(write);
        }
    }

    /// Whose secrets have changed is opened with the new ones; until it is, it goes on with the old.
    fn open_again_for_secrets(&mut self, ctx: &mut Context<Source>) {
        let (Some(wanted), Some(instance)) = (&self.wanted, &self.instance) else { return };
        if instance.secrets.is_empty() {
            return;
        }
        match self.services.secrets.stamp(self.snap_in, wanted.record.user, &wanted.config()) {
            Ok(stamp) if stamp == instance.secrets => {}
            Ok(_) => self.begin_opening(ctx),
            Err(error) => warn!(source = %self.id, %error, "its secrets cannot be looked at"),
        }
    }

    fn publish(&mut self, instance: SourceInstance, masks: Masks) {
        let Some(wanted) = &self.wanted else { return };
        let route = Route::new(
            self.id,
            &wanted.record.name,
            self.snap_in,
            wanted.version_id,
            wanted.generation,
            &wanted.version.manifest,
            &wanted.automations,
        )
        .for_user(wanted.record.user);
        let now_ms = self.services.clock.now_ms();
        let services = self.services.clone();
        let kind = services.plugins.find(Role::Source, &wanted.record.kind);
        let source = Arc::new(OpenSource {
            changes: kind.and_then(|it| wanted.changes(&it.descriptor)),
            route,
            instance,
            token: wanted.record.token.as_str().into(),
            previous: wanted.record.previous_token_at(now_ms).cloned(),
            log: self.services.source_logs.of(self.id),
            refusals: self.services.source_logs.refusals(self.id),
            counts: self.services.source_counts.of(self.id),
            masks,
            recorder: self.services.source_logs.recorder(self.id),
            depth: self.services.dispatcher.depth(self.snap_in),
        });
        self.services.routes.publish(source.clone());
        self.published = Some(source);
        // After the route: a wake-up without one is lost.
        let Some(kind) = kind else { return };
        let descriptor = &kind.descriptor;
        let is_new = |it: Option<(u64, timers::Opening)>| {
            it.is_none_or(|(opening, _)| opening != self.opening)
        };
        if descriptor.takes_ticks && is_new(self.woken) {
            self.woken = Some((self.opening, self.services.timers.opened(self.id)));
        }
        if descriptor.takes_scheduled && is_new(self.scheduled) {
            self.scheduled = Some((self.opening, self.services.scheduled.opened(self.id)));
        }
        if descriptor.object_event_types.is_some() && is_new(self.told) {
            self.told = Some((self.opening, self.services.fan_out.opened(self.id)));
        }
    }

    fn withdraw(&mut self) {
        if let Some((_, opening)) = self.woken.take() {
            self.services.timers.closed(self.id, opening);
        }
        if let Some((_, opening)) = self.scheduled.take() {
            self.services.scheduled.closed(self.id, opening);
        }
        if let Some((_, opening)) = self.told.take() {
            self.services.fan_out.closed(self.id, opening);
        }
        if let Some(published) = self.published.take() {
            self.services.routes.withdraw(&published);
        }
    }

    fn open(&mut self, ctx: &mut Context<Source>) {
        if self.wanted.is_some() {
            self.state.send_replace(OpenState::Opening);
            self.begin_opening(ctx);
        }
    }

    fn begin_opening(&mut self, ctx: &mut Context<Source>) {
        let Some(wanted) = &self.wanted else { return };
        self.opening += 1;
        let (opening, version) = (self.opening, wanted.version_id);
        let (snap_in, user) = (self.snap_in, wanted.record.user);
        let kind = wanted.record.kind.clone();
        let name = format!("{} of {}", wanted.record.name, self.snap_in);
        let config = wanted.config();
        let has_references = !references(&config).is_empty();
        let (log, clock) = (self.services.source_logs.of(self.id), self.services.clock.clone());
        let services = self.services.clone();
        let opened = async move {
            let open = async move {
                let (config, secrets, masks) = filled(&services, snap_in, user, config).await?;
                let said = masks.clone();
                let sink: LogSink = Arc::new(move |level, message: &str| {
                    log.add(clock.now_ms(), level, &said.mask(message));
                });
                let source = services.plugins.open_source(&kind, &config, &name, sink).await?;
                Ok(Instance { source, version, secrets, masks })
            };
            Opened { opening, result: open.await }
        };
        ctx.add_message_stream(futures_util::stream::once(opened));
        if has_references && !self.hears_of_secrets {
            self.hears_of_secrets = true;
            let changes = self.services.secrets.changes();
            ctx.add_message_stream(futures_util::stream::unfold(
                changes,
                |mut changes| async move {
                    changes.changed().await.ok().map(|()| (SecretsChanged, changes))
                },
            ));
        }
    }
}

/// A config with its secrets in it, what it was made with, and what is to be masked from then on.
pub async fn filled(
    services: &Services,
    snap_in: SnapInId,
    user: Option<UserId>,
    config: Value,
) -> Result<(Value, Stamp, Masks), KeyringError> {
    if references(&config).is_empty() {
        let masks = Masks::default().and_literals_of(&config);
        return Ok((config, Stamp::new(), masks));
    }
    let mut filled = services.secrets.fill(snap_in, user, config.clone()).await?;
    let (full, stamp) = (std::mem::take(&mut filled.config), std::mem::take(&mut filled.stamp));
    Ok((full, stamp, filled.into_masks().and_literals_of(&config)))
}

impl Wanted {
    /// What the manifest says; secrets are not in it.
    fn config(&self) -> Value {
        let declared = self.version.manifest.event_source(&self.record.name);
        declared.map(|it| it.config.clone()).unwrap_or_default()
    }

    /// The changes of objects that it gets, when its type gets any.
    fn changes(&self, descriptor: &TypeDescriptor) -> Option<WantedChanges> {
        let pointer = descriptor.object_event_types.as_deref()?;
        let config = self.config();
        let listed = config.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let event_types = listed.filter_map(Value::as_str).map(str::to_owned).collect();
        let user = match self.record.user {
            Some(user) => user.to_string(),
            None => self.service_account.to_string(),
        };
        Some(WantedChanges { event_types, user: user.into() })
    }
}

impl Actor for Source {
    type Context = Context<Source>;

    fn stopped(&mut self, _ctx: &mut Context<Source>) {
        self.withdraw();
        if std::thread::panicking()
            && let Some(parent) = self.parent.upgrade()
        {
            // When it is too busy to hear it, it notices at the next change.
            let _ = parent.try_send(SourceEnded(self.id));
        }
    }
}

impl Handler<Update> for Source {
    type Result = ();

    fn handle(&mut self, Update { wanted }: Update, ctx: &mut Context<Source>) {
        self.wanted = wanted;
        self.follow(ctx);
    }
}

impl Handler<Opened> for Source {
    type Result = ();

    fn handle(&mut self, opened: Opened, ctx: &mut Context<Source>) {
        if opened.opening != self.opening {
            return;
        }
        match opened.result {
            Ok(instance) => {
                info!(source = %self.id, snap_in = %self.snap_in, "a source is open");
                self.instance = Some(instance);
                self.follow(ctx);
            }
            Err(error) => {
                warn!(source = %self.id, snap_in = %self.snap_in, %error, "a source cannot be opened");
                let log = self.services.source_logs.of(self.id);
                let message = format!("the source cannot be opened: {error}");
                log.add(self.services.clock.now_ms(), mortise_plugin::LogLevel::Error, &message);
                self.opening_failed(&error, ctx);
            }
        }
    }
}

impl Handler<SecretsChanged> for Source {
    type Result = ();

    fn handle(&mut self, _: SecretsChanged, ctx: &mut Context<Source>) {
        self.open_again_for_secrets(ctx);
    }
}

impl Source {
    fn opening_failed(&mut self, error: &NotOpened, ctx: &mut Context<Source>) {
        match error {
            // Nothing but another version, plugin or secret helps.
            NotOpened::Plugin(OpenError::UnknownType { .. } | OpenError::Config { .. }) => {
                self.failed(error.to_string());
            }
            NotOpened::Secret(error) if !error.may_pass() => {
                self.withdraw();
                self.instance = None;
                self.failed(error.to_string());
            }
            // The plugin was busy or stuck, or a token cannot be renewed: senders are told 503 until
            // it opens, or it goes on with the secrets of before.
            NotOpened::Secret(_)
            | NotOpened::Plugin(OpenError::Call(_) | OpenError::ThreadsLost { .. }) => {
                ctx.run_later(OPEN_AGAIN, |source, ctx| source.follow(ctx));
            }
        }
    }

    fn failed(&self, problem: String) {
        self.state.send_replace(OpenState::Failed(problem.clone()));
        if let Some(parent) = self.parent.upgrade() {
            // When it is too busy to hear it, the log of the source still says so.
            let _ = parent.try_send(SourceFailed { source: self.id, problem });
        }
    }
}
