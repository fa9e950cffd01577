//! The connection of an integration: how it is sealed, and the opened instance of its plugin, which is
//! kept for a while.
//!
//! Whoever uses it holds the gate open. A change closes it: nothing begins with the connection of before,
//! and what is under way with it ends or is cut off, before the change is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mortise_plugin::{Fault, LogLevel, Problem, Role};
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Shared;
use crate::configuration::secret_parts::with_parts;
use crate::configuration::write_only::secrets;
use crate::functions::pool::{SecretTexts, mask_texts};
use crate::model::id::IntegrationId;
use crate::plugins::{CallError, LogSink, OpenError, SinkInstance};
use crate::routing::template::cut;
use crate::secrets::Vault;
use crate::store::{IntegrationRecord, StoreError};

/// How long a connection is used without looking at what is stored.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How long what is under way with a connection of before may take to end.
const GRACE: Duration = Duration::from_secs(3);
/// Characters of a plugin's text that are looked at; less is kept.
const MOST_TEXT: usize = 20_000;

/// A connection that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error("it is gone")]
    Gone,
    #[error("its connection cannot be read ({0}); set it anew with integrations.update")]
    Lost(String),
    #[error(transparent)]
    Plugin(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An open connection.
pub(super) struct Opened {
    pub(super) instance: SinkInstance,
    pub(super) generation: u64,
    /// Whether its type keeps conversations together.
    pub(super) threads: bool,
    pub(super) secrets: Confidential,
    since: Instant,
    /// Which change of what is stored this comes after.
    changes: u64,
}

impl Opened {
    fn is_fresh(&self, changes: u64) -> bool {
        self.changes == changes && self.since.elapsed() < KEPT
    }
}

/// The secrets of a connection and their parts, which are taken out of all that its plugin says: services
/// repeat them in their answers, also taken apart, and plugins cut those off.
#[derive(Clone)]
pub(super) struct Confidential(SecretTexts);

impl Confidential {
    pub(super) fn of(schema: &Value, connection: &Value) -> Confidential {
        Confidential(with_parts(secrets(schema, connection)).into())
    }

    /// A text without them, in whatever form, and without what is left of one where it was cut off.
    pub(super) fn text(&self, text: &str) -> String {
        let mut clean = cut(text, MOST_TEXT);
        mask_texts(std::iter::once(&mut clean), &self.0);
        clean
    }

    pub(super) fn problems(&self, problems: Vec<Problem>) -> Vec<Problem> {
        let clean = |it: Problem| Problem {
            path: self.text(&it.path),
            message: self.text(&it.message),
            ..it
        };
        problems.into_iter().map(clean).collect()
    }

    pub(super) fn open_error(&self, error: OpenError) -> OpenError {
        match error {
            OpenError::Config { kind, problems } => {
                OpenError::Config { kind, problems: self.problems(problems) }
            }
            OpenError::Call(CallError::Fault(fault)) => OpenError::Call(CallError::Fault(Fault {
                message: self.text(&fault.message),
                problems: self.problems(fault.problems),
                ..fault
            })),
            OpenError::Call(CallError::BadAnswer(what)) => {
                OpenError::Call(CallError::BadAnswer(self.text(&what)))
            }
            other @ (OpenError::UnknownType { .. }
            | OpenError::Call(_)
            | OpenError::ThreadsLost { .. }) => other,
        }
    }

    fn log_sink(&self, name: String) -> LogSink {
        let (secrets, write) = (self.clone(), log_of(name));
        Arc::new(move |level, message| write(level, &secrets.text(message)))
    }
}

/// What stands between a connection and those who use it.
pub(super) struct Gate {
    slot: RwLock<Option<Arc<Opened>>>,
    cut: watch::Sender<()>,
    /// Counts the changes of what is stored.
    changes: AtomicU64,
}

/// A connection in use. A change of it waits for this to be dropped.
pub(super) struct InUse<'a> {
    pub(super) opened: Arc<Opened>,
    cut: watch::Receiver<()>,
    _slot: RwLockReadGuard<'a, Option<Arc<Opened>>>,
}

impl InUse<'_> {
    /// Comes back when it has to be given up.
    pub(super) async fn cut_off(&mut self) {
        if self.cut.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { slot: RwLock::default(), cut: watch::Sender::new(()), changes: AtomicU64::new(0) }
    }
}

impl Gate {
    /// What is stored is another one: nothing begins with the connection of before any more. To be called
    /// when the change is committed, whoever still waits for it.
    pub(super) fn outdate(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The connection as it is stored, or as it was at most a quarter of an hour ago, when nothing was
    /// changed since then.
    pub(super) async fn enter(
        &self,
        shared: &Shared,
        id: IntegrationId,
    ) -> Result<InUse<'_>, NotOpened> {
        loop {
            // Before the slot is looked at, so that no cut is missed.
            let cut = self.cut.subscribe();
            let slot = self.slot.read().await;
            // Before the store is read, so that a change meanwhile is noticed the next time.
            let changes = self.changes.load(Ordering::Acquire);
            if let Some(opened) = slot.as_ref().filter(|it| it.is_fresh(changes)) {
                return Ok(InUse { opened: opened.clone(), cut, _slot: slot });
            }
            drop(slot);
            let mut slot = self.slot.write().await;
            if slot.as_ref().is_none_or(|it| !it.is_fresh(changes)) {
                *slot = None;
                *slot = Some(Arc::new(open(shared, id, changes).await?));
            }
        }
    }

    /// Drops the connection. When this comes back, nothing uses the one of before.
    pub(super) async fn close(&self) {
        let write = self.slot.write();
        tokio::pin!(write);
        // Nobody comes in while this waits: the lock is given out in order.
        let mut slot = tokio::select! {
            slot = &mut write => slot,
            () = tokio::time::sleep(GRACE) => {
                self.cut.send_replace(());
                write.await
            }
        };
        *slot = None;
    }
}

async fn open(shared: &Shared, id: IntegrationId, changes: u64) -> Result<Opened, NotOpened> {
    let read = shared.store.read(|tables| {
        let Some(record) = tables.integration(id)? else { return Ok(None) };
        Ok(Some((record, tables.envelope(id.0)?)))
    })?;
    let Some((record, sealed)) = read else { return Err(NotOpened::Gone) };
    let connection = unseal(&shared.vault, id, sealed.as_deref())?;
    let name = label(&record);
    let kind = shared.plugins.find(Role::Sink, &record.kind);
    let schema = kind.map(|it| &it.descriptor.config_schema).unwrap_or(&Value::Null);
    let secrets = Confidential::of(schema, &connection);
    let log = secrets.log_sink(name.clone());
    let instance = shared.plugins.open_sink(&record.kind, &connection, &name, log).await;
    let instance = instance.map_err(|error| secrets.open_error(error))?;
    Ok(Opened {
        instance,
        generation: record.generation,
        threads: kind.is_some_and(|it| it.descriptor.threads),
        secrets,
        since: Instant::now(),
        changes,
    })
}

/// How reports name it.
pub(super) fn label(record: &IntegrationRecord) -> String {
    format!("{} {}", record.kind, record.name)
}

fn log_of(name: String) -> LogSink {
    Arc::new(move |level, message| match level {
        LogLevel::Debug => tracing::debug!(integration = name, "{message}"),
        LogLevel::Info => tracing::info!(integration = name, "{message}"),
        LogLevel::Warn => tracing::warn!(integration = name, "{message}"),
        LogLevel::Error => tracing::error!(integration = name, "{message}"),
    })
}

/// Opens the envelope of an integration.
pub(super) fn unseal(
    vault: &Vault,
    id: IntegrationId,
    sealed: Option<&[u8]>,
) -> Result<Value, NotOpened> {
    let sealed = sealed.ok_or_else(|| NotOpened::Lost("it is missing".to_owned()))?;
    let plain = vault.open(id.0, sealed).map_err(|error| NotOpened::Lost(error.to_string()))?;
    serde_json::from_slice(&plain).map_err(|_| NotOpened::Lost("it is no JSON".to_owned()))
}

/// Seals a connection. To be called inside the operation that stores it.
pub(super) fn seal(vault: &Vault, id: IntegrationId, connection: &Value) -> Vec<u8> {
    vault.seal(id.0, &Zeroizing::new(connection.to_string().into_bytes()))
}
