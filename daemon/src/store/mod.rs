//! The database: the only folder that knows redb.
//!
//! [`schema`] lists the tables, [`records`] what is in them. Reading is a closure over
//! [`ReadTables`], writing one over [`WriteTables`] that the [`writer`] runs, together with others,
//! in one commit. The methods on those two, one file per subject, are all that can be done.
//!
//! Must never: run anything slow or foreign inside a transaction; answer before the commit; let a
//! redb type out.

mod access;
mod answers;
#[cfg(test)]
mod answers_tests;
mod artifacts;
#[cfg(test)]
mod artifacts_tests;
mod audit;
mod audit_prune;
#[cfg(test)]
mod audit_tests;
mod authorizations;
mod blobs;
mod changes;
#[cfg(test)]
mod changes_tests;
mod chunks;
mod configure;
mod database;
mod displayed;
mod envelopes;
mod error;
mod events;
#[cfg(test)]
mod faults;
mod keyrings;
#[cfg(test)]
mod lifecycle_tests;
mod migrate;
mod objects;
mod occurrences;
#[cfg(test)]
mod older_tests;
mod outbox;
mod packages;
mod record;
mod recordings;
mod records;
mod retention;
mod runs;
mod scheduled;
#[cfg(test)]
mod scheduled_tests;
mod schema;
mod snap_ins;
mod source_counts;
mod sources;
#[cfg(test)]
mod sources_tests;
mod tables;
mod tags;
mod telling;
#[cfg(test)]
mod telling_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod timers;
#[cfg(test)]
mod timers_tests;
mod users;
#[cfg(test)]
mod users_tests;
mod views;
mod webhooks;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use redb::ReadableTable;
use tokio::sync::{Notify, oneshot};

pub use access::{AccessOutcome, hash_of_token};
pub use answers::{KeyTicket, keyed};
pub use artifacts::{Attachment, Completion, Extension, NewArtifact, NewPart, Retention, Upload};
pub use audit::{
    AuditHash, AuditTicket, BEFORE_THE_FIRST, Broken, StoredAudit, Verified, audit_hash, audited,
};
pub use audit_prune::{AuditAnchor, AuditPruned};
pub use authorizations::BegunAuthorization;
pub use blobs::BlobHash;
pub use changes::{ChangeBell, ChangeListener, FoundChange, ReadChanges};
pub use configure::Configuration;
pub use database::{FileLocation, Location, Options};
pub use error::StoreError;
pub use events::{AcceptEvents, Acceptance, NewEvent, PlannedRun, StoredEvent};
pub use keyrings::{KeyringRemoval, KeyringSetting};
pub use objects::{
    Deletion, Indexed, Indexing, NewObject, ObjectTypeRecord, ObjectUpdate, ObjectWrite,
    TypeChange, TypesAt, TypesWrite, Writing, WrittenObject,
};
pub use occurrences::{NewOccurrence, StoredOccurrence};
pub use outbox::PendingEffect;
pub use packages::{NewVersion, PackageDeletion, VersionCreation};
pub use recordings::{MOST_BODY_BYTES, MOST_WANTED};
pub use records::{
    AnswerRecord, ArtifactRecord, AuthorizationRecord, CallProgress, DisplayedRecord,
    KeyringRecord, PackageRecord, PastVersion, PreviousToken, ScheduledRecord, SnapInRecord,
    SourceCountsRecord, SourceRecord, TagRecord, TimerRecord, UserRecord, UserSettingsRecord,
    VersionRecord,
};
pub use retention::PruneCursor;
pub use runs::{Claim, FinishedAttempt, OpenRun, Reopening, RunFilter, Settled};
pub use scheduled::{
    DueEvents, FromSchedule, MOST_SCHEDULED, NewScheduled, Place, ScheduledEvent, ScheduledPage,
    Scheduling, Unschedule,
};
pub use snap_ins::{Creation, NewSnapIn, Transition};
pub use sources::{NewToken, SourceChange};
pub use tables::{Page, PageRequest, ReadTables, WriteTables};
pub use telling::{
    DecidedOccurrence, DecisionsRecord, IntegrationRecord, ListedTelling, MOST_INTEGRATIONS,
    MOST_QUEUED_TELLINGS, MOST_SUBSCRIPTIONS, MOST_SUPPLIES, PlannedTelling, PutDemand,
    PutIntegration, SettledTelling, SubscriptionRecord, SupplyRecord, Telling, TellingAttempt,
    TellingFilter, TellingPlace, TellingRecord, TellingState, TellingStep, Tellings,
};
pub use users::{UserChange, UserOutcome};
pub use views::{MOST_VIEWS, ViewChange};
pub use webhooks::{
    AttemptRecord, DeliveryPlace, DeliveryRecord, DeliveryState, NewDelivery, PutWebhook,
    SettledDelivery, WebhookRecord,
};

use crate::clock::Clock;
use crate::model::id::IdSource;
use database::Databases;
use writer::WriterHandle;

/// The open store. Cheap to share; dropping it waits until what was handed to the writer is done.
pub struct Store {
    databases: Arc<Databases>,
    bells: Arc<Bells>,
    writer: Option<WriterHandle>,
    thread: Mutex<Option<JoinHandle<()>>>,
    reserve_bytes: u64,
    low_on_space: AtomicBool,
}

impl Store {
    /// Opens the database at `location`, creates or migrates it, and starts the writer.
    ///
    /// `reserve_bytes` are kept free for work in progress: when less is left, new events are
    /// refused with [`StoreError::Full`] while what was accepted can still be finished.
    pub fn open(
        location: Box<dyn Location>,
        options: Options,
        reserve_bytes: u64,
        clock: Clock,
    ) -> Result<Store, StoreError> {
        let databases = Arc::new(Databases::open(location, options)?);
        migrate::migrate(&databases)?;
        let last_id = databases.read(greatest_id)?;
        let bells = Arc::<Bells>::default();
        let ids = IdSource::after(last_id);
        let (writer, thread) = writer::start(databases.clone(), clock, ids, bells.clone())?;
        let store = Store {
            databases,
            bells,
            writer: Some(writer),
            thread: Mutex::new(Some(thread)),
            reserve_bytes,
            low_on_space: AtomicBool::new(false),
        };
        store.check_space();
        Ok(store)
    }

    /// Runs `look` on a picture of the last commit. Blocks for as long as that takes: short looks
    /// only on threads that serve others.
    pub fn read<A>(
        &self,
        look: impl FnOnce(&ReadTables) -> Result<A, StoreError>,
    ) -> Result<A, StoreError> {
        self.databases.read(look)
    }

    /// Runs `operation` in a transaction, and answers when that is on the disk.
    ///
    /// It may run more than once and must then do the same again. It is handed over at once,
    /// whether or not the answer is awaited.
    pub fn write<A: Send + 'static>(
        &self,
        operation: impl Fn(&mut WriteTables<'_>) -> Result<A, StoreError> + Send + 'static,
    ) -> Answer<A> {
        self.write_then(operation, |_| {})
    }

    /// Like [`Store::write`]; `committed` runs after the commit, in commit order, before the answer.
    pub fn write_then<A: Send + 'static>(
        &self,
        operation: impl Fn(&mut WriteTables<'_>) -> Result<A, StoreError> + Send + 'static,
        committed: impl FnOnce(&A) + Send + 'static,
    ) -> Answer<A> {
        let Some(writer) = &self.writer else { return Answer(None) };
        let (audit, key) = (AuditTicket::pending(), KeyTicket::pending());
        if audit.is_none() && key.is_none() {
            return Answer(Some(writer.submit(operation, committed)));
        }
        // The call that this is part of is written down with what it changes.
        let row = Arc::new(AtomicU64::new(0));
        let has_key = Arc::new(AtomicBool::new(false));
        let (written, kept) = (row.clone(), has_key.clone());
        let (appended, stored) = (audit.clone(), key.clone());
        let operation = move |tables: &mut WriteTables<'_>| {
            let answer = operation(tables)?;
            let is_change = !tables.has_made_nothing();
            let row = match appended.as_ref().filter(|_| is_change) {
                Some(audit) => audit.append(tables)?,
                None => 0,
            };
            let key = stored.as_ref().filter(|_| is_change);
            key.map(|it| it.append(tables)).transpose()?;
            written.store(row, Ordering::Release);
            kept.store(key.is_some(), Ordering::Release);
            Ok(answer)
        };
        let committed = move |answer: &A| {
            if let Some(audit) = &audit {
                audit.committed(row.load(Ordering::Acquire));
            }
            if let Some(key) = key
                && has_key.load(Ordering::Acquire)
            {
                key.committed();
            }
            committed(answer);
        };
        Answer(Some(writer.submit(operation, committed)))
    }

    /// What is rung after every commit with changes of objects.
    pub fn change_bell(&self) -> &ChangeBell {
        &self.bells.changes
    }

    /// What is rung after every commit with occurrences, or with other subscriptions. One may listen to
    /// it.
    pub fn occurrence_bell(&self) -> &Notify {
        &self.bells.occurrences
    }

    /// Whether events may be accepted, as far as room on the disk goes.
    pub fn has_room(&self) -> bool {
        !self.low_on_space.load(Ordering::Relaxed)
    }

    /// Whether the database had to be given up and is not open again yet.
    pub fn is_broken(&self) -> bool {
        self.databases.is_broken()
    }

    /// Looks how much room is left. Called every second or so.
    pub fn check_space(&self) {
        let low = self.databases.free_bytes().is_some_and(|it| it < self.reserve_bytes);
        if low != self.low_on_space.swap(low, Ordering::Relaxed) {
            if low {
                tracing::error!(
                    reserve_bytes = self.reserve_bytes,
                    "the disk is nearly full: new events are refused until there is room"
                );
            } else {
                tracing::info!("there is room on the disk again: events are accepted");
            }
        }
    }
}

/// What is rung after commits.
#[derive(Debug, Default)]
struct Bells {
    changes: ChangeBell,
    occurrences: Notify,
}

/// What a write will be answered with.
#[must_use = "without awaiting it nobody knows whether it is on the disk"]
pub struct Answer<A>(Option<oneshot::Receiver<Result<A, StoreError>>>);

impl<A> Future for Answer<A> {
    type Output = Result<A, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(answer) => {
                Pin::new(answer).poll(context).map(|it| it.unwrap_or(Err(StoreError::Unavailable)))
            }
            None => Poll::Ready(Err(StoreError::Unavailable)),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The last handle goes, the queue runs empty, the thread ends.
        self.writer = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("databases", &self.databases).finish_non_exhaustive()
    }
}

fn greatest_id(tables: &ReadTables) -> Result<u128, StoreError> {
    let mut greatest = tables.greatest_change()?;
    for table in schema::BY_ID {
        let table = tables.table(table)?;
        greatest = greatest.max(table.last()?.map_or(0, |(key, _)| key.value()));
    }
    // The bytes of an artifact have an id of their own.
    let parts = tables.table(schema::ARTIFACT_PARTS)?;
    greatest = greatest.max(parts.last()?.map_or(0, |(key, _)| key.value().0));
    Ok(greatest.max(tables.greatest_telling()?))
}
