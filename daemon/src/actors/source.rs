//! The actor of one event source: holds the plugin's instance, and keeps the route published while
//! the snap-in wants it. While it is, sources of types that take ticks are woken.
//!
//! Opening an instance takes time (a policy is compiled), so it happens outside the mailbox and
//! comes back as a message.

use std::sync::Arc;
use std::time::Duration;

use actix::WeakAddr;
use actix::prelude::*;
use mortise_plugin::Role;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Services;
use super::snap_in::{SnapIn, SourceEnded, SourceFailed};
use crate::engine::contexts::VersionContext;
use crate::engine::routes::OpenSource;
pub(super) use crate::engine::source_log::OpenState;
use crate::engine::timers;
use crate::model::id::{AutomationId, SnapInId, SourceId, VersionId};
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
    /// The instance, and the version whose config it was opened with.
    instance: Option<(VersionId, SourceInstance)>,
    /// Counts the openings, so that one that was overtaken is dropped.
    opening: u64,
    published: Option<Arc<OpenSource>>,
    /// While it is woken: since which opening of its plugin, and how that is ended.
    woken: Option<(u64, timers::Opening)>,
    state: Arc<watch::Sender<OpenState>>,
}

/// What a source is to take events for.
pub(super) struct Wanted {
    pub(super) record: SourceRecord,
    pub(super) version_id: VersionId,
    pub(super) version: Arc<VersionContext>,
    pub(super) automations: Vec<AutomationId>,
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
    version: VersionId,
    result: Result<SourceInstance, OpenError>,
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
            state,
        }
    }

    fn follow(&mut self, ctx: &mut Context<Source>) {
        let Some(wanted) = &self.wanted else {
            self.withdraw();
            self.instance = None;
            self.opening += 1;
            self.state.send_replace(OpenState::Closed);
            return;
        };
        match &self.instance {
            Some((version, instance)) if *version == wanted.version_id => {
                self.publish(instance.clone());
                self.state.send_replace(OpenState::Open);
            }
            Some(_) | None => self.open(ctx),
        }
    }

    fn publish(&mut self, instance: SourceInstance) {
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
        let source = Arc::new(OpenSource {
            route,
            instance,
            log: self.services.source_logs.of(self.id),
            depth: self.services.dispatcher.depth(self.snap_in),
        });
        self.services.routes.publish(wanted.record.token.as_str().into(), source.clone());
        self.published = Some(source);
        // After the route: a wake-up without one is lost.
        if self.takes_ticks() && self.woken.is_none_or(|(opening, _)| opening != self.opening) {
            self.woken = Some((self.opening, self.services.timers.opened(self.id)));
        }
    }

    fn takes_ticks(&self) -> bool {
        let kind = self.wanted.as_ref().map(|it| it.record.kind.as_str()).unwrap_or_default();
        let known = self.services.plugins.find(Role::Source, kind);
        known.is_some_and(|it| it.descriptor.takes_ticks)
    }

    fn withdraw(&mut self) {
        if let Some((_, opening)) = self.woken.take() {
            self.services.timers.closed(self.id, opening);
        }
        if let Some(published) = self.published.take() {
            self.services.routes.withdraw(&published);
        }
    }

    fn open(&mut self, ctx: &mut Context<Source>) {
        let Some(wanted) = &self.wanted else { return };
        self.opening += 1;
        self.state.send_replace(OpenState::Opening);
        let (opening, version) = (self.opening, wanted.version_id);
        let kind = wanted.record.kind.clone();
        let name = format!("{} of {}", wanted.record.name, self.snap_in);
        let config = wanted
            .version
            .manifest
            .event_source(&wanted.record.name)
            .map(|it| it.config.clone())
            .unwrap_or_default();
        let (log, clock) = (self.services.source_logs.of(self.id), self.services.clock.clone());
        let sink: LogSink = Arc::new(move |level, message: &str| {
            log.add(clock.now_ms(), level, message);
        });
        let services = self.services.clone();
        let opened = async move {
            let result = services.plugins.open_source(&kind, &config, &name, sink).await;
            Opened { opening, version, result }
        };
        ctx.add_message_stream(futures_util::stream::once(opened));
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
                self.instance = Some((opened.version, instance));
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

impl Source {
    fn opening_failed(&mut self, error: &OpenError, ctx: &mut Context<Source>) {
        match error {
            // Nothing but another version or plugin helps.
            OpenError::UnknownType { .. } | OpenError::Config { .. } => {
                self.state.send_replace(OpenState::Failed(error.to_string()));
                if let Some(parent) = self.parent.upgrade() {
                    let problem = error.to_string();
                    // When it is too busy to hear it, the log of the source still says so.
                    let _ = parent.try_send(SourceFailed { source: self.id, problem });
                }
            }
            // The plugin was busy or stuck: senders are told 503 until it opens.
            OpenError::Call(_) | OpenError::ThreadsLost { .. } => {
                ctx.run_later(OPEN_AGAIN, |source, ctx| source.follow(ctx));
            }
        }
    }
}
