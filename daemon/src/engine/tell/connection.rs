//! The connection of an integration: how it is sealed, and the opened instance of its plugin, which is
//! kept for a while.
//!
//! Whoever uses it holds the gate open. A change closes it: nothing begins with the connection of before,
//! and what is under way with it ends or is cut off, before the change is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mortise_plugin::{LogLevel, Role};
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Shared;
use crate::configuration::write_only::{MASK, secrets};
use crate::model::id::IntegrationId;
use crate::plugins::{LogSink, OpenError, SinkInstance};
use crate::secrets::Vault;
use crate::store::{IntegrationRecord, StoreError};

/// How long a connection is used without looking at what is stored.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How long what is under way with a connection of before may take to end.
const GRACE: Duration = Duration::from_secs(3);
/// Shorter secrets are not looked for in texts: they are parts of words.
const SHORTEST_SECRET: usize = 5;

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
    secrets: Vec<Zeroizing<String>>,
    since: Instant,
    /// Which change of what is stored this comes after.
    changes: u64,
}

impl Opened {
    fn is_fresh(&self, changes: u64) -> bool {
        self.changes == changes && self.since.elapsed() < KEPT
    }
}

impl Opened {
    /// A text of the plugin without the secrets that it was opened with.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in self.secrets.iter().filter(|it| it.len() >= SHORTEST_SECRET) {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), MASK);
            }
        }
        clean
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
    let instance =
        shared.plugins.open_sink(&record.kind, &connection, &name, log_of(name.clone())).await?;
    let kind = shared.plugins.find(Role::Sink, &record.kind);
    let schema = kind.map(|it| &it.descriptor.config_schema);
    let secrets = schema.map(|it| secrets(it, &connection)).unwrap_or_default();
    Ok(Opened {
        instance,
        generation: record.generation,
        threads: kind.is_some_and(|it| it.descriptor.threads),
        secrets: secrets.into_iter().map(Zeroizing::new).collect(),
        since: Instant::now(),
        changes,
    })
}

/// How reports name it.
pub(super) fn label(record: &IntegrationRecord) -> String {
    format!("{} {}", record.kind, record.name)
}

pub(super) fn log_of(name: String) -> LogSink {
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
