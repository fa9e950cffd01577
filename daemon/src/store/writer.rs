//! The writer: one thread that owns every write transaction.
//!
//! What waits is grouped into one commit, and **only after the commit is anybody answered**. Nothing
//! slow runs in here: no script, no filter, no plugin, no network.
//!
//! Each operation decides by reading, then writes. When one fails or panics the whole batch is
//! rolled back and its operations are tried one by one, so that it alone is answered with the error;
//! operations must therefore give the same result when applied again. After an I/O error redb
//! refuses every write until the database is opened anew: the writer does that, and answers
//! [`StoreError::Full`] or [`StoreError::Io`] meanwhile.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::WriteTransaction;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::Bells;
use super::StoreError;
use super::database::Databases;
use super::tables::WriteTables;
use crate::clock::Clock;
use crate::model::id::IdSource;
use crate::random::RandomPool;

/// How many operations may wait. Past that, callers are told that the store is unavailable.
const MOST_WAITING: usize = 8192;
/// How many operations go into one commit.
const MOST_IN_BATCH: usize = 1024;
/// How often a database that failed is opened anew.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

/// An operation on its way to the disk.
trait Job: Send {
    /// Applies it within a transaction. Called again when the batch was rolled back.
    fn apply(&mut self, tables: &mut WriteTables<'_>) -> Result<(), StoreError>;
    /// It is on the disk: runs what has to happen in commit order, then answers.
    fn committed(self: Box<Self>);
    /// It is not, and will not be.
    fn failed(self: Box<Self>, error: StoreError);
}

struct Write<O, A, C> {
    operation: O,
    answer: Option<A>,
    committed: C,
    reply: oneshot::Sender<Result<A, StoreError>>,
}

impl<O, A, C> Job for Write<O, A, C>
where
    O: Fn(&mut WriteTables<'_>) -> Result<A, StoreError> + Send,
    A: Send,
    C: FnOnce(&A) + Send,
{
    fn apply(&mut self, tables: &mut WriteTables<'_>) -> Result<(), StoreError> {
        self.answer = None;
        self.answer = Some((self.operation)(tables)?);
        Ok(())
    }

    fn committed(self: Box<Self>) {
        if let Some(answer) = self.answer {
            (self.committed)(&answer);
            // Nobody waits any more: the caller has gone, what he asked for is done all the same.
            let _ = self.reply.send(Ok(answer));
        }
    }

    fn failed(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }
}

/// The way to the writer. The thread ends when the last handle is gone.
#[derive(Clone)]
pub(super) struct WriterHandle {
    jobs: SyncSender<Box<dyn Job>>,
}

impl WriterHandle {
    /// Hands over `operation`; `committed` runs on the writer's thread in commit order, before the
    /// answer is given.
    pub(super) fn submit<O, A, C>(
        &self,
        operation: O,
        committed: C,
    ) -> oneshot::Receiver<Result<A, StoreError>>
    where
        O: Fn(&mut WriteTables<'_>) -> Result<A, StoreError> + Send + 'static,
        A: Send + 'static,
        C: FnOnce(&A) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { operation, answer: None, committed, reply });
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                job.failed(StoreError::Unavailable);
            }
        }
        answer
    }
}

/// Starts the thread.
pub(super) fn start(
    databases: Arc<Databases>,
    clock: Clock,
    ids: IdSource,
    bells: Arc<Bells>,
) -> Result<(WriterHandle, JoinHandle<()>), StoreError> {
    let (jobs, queue) = sync_channel(MOST_WAITING);
    let thread = std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || {
            let random = RandomPool::new();
            Writer { databases, clock, ids, random, bells }.run(&queue);
        })
        .map_err(|it| StoreError::Io(format!("cannot start the writer thread: {it}")))?;
    Ok((WriterHandle { jobs }, thread))
}

struct Writer {
    databases: Arc<Databases>,
    clock: Clock,
    ids: IdSource,
    random: RandomPool,
    bells: Arc<Bells>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(MOST_IN_BATCH);
        loop {
            match queue.recv_timeout(REOPEN_EVERY) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {
                    self.reopen_if_broken();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            batch.extend(queue.try_iter().take(MOST_IN_BATCH - 1));
            self.reopen_if_broken();
            self.commit(&mut batch);
        }
    }

    fn reopen_if_broken(&self) {
        if !self.databases.is_broken() {
            return;
        }
        match self.databases.reopen() {
            Ok(()) => info!("the database is open again"),
            Err(error) => warn!(%error, "the database cannot be opened again yet"),
        }
    }

    /// Writes the batch, as one if that works and one by one if not.
    fn commit(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        match self.commit_together(batch) {
            Ok(()) => batch.drain(..).for_each(Job::committed),
            Err(failure) if failure.poisons() || batch.len() == 1 => {
                for job in batch.drain(..) {
                    job.failed(failure.clone());
                }
            }
            Err(_) => {
                for job in batch.drain(..) {
                    self.commit(&mut vec![job]);
                }
            }
        }
    }

    fn commit_together(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let (ids, random) = (&mut self.ids, &mut self.random);
        let mut news = (BTreeSet::new(), false);
        let outcome = self.databases.write(|txn| {
            news = apply_all(txn, ids, random, now_ms, batch)?;
            Ok(())
        });
        if let Err(failure) = &outcome
            && failure.poisons()
        {
            error!(error = %failure, "a commit failed; nothing of it was acknowledged");
            self.databases.mark_broken();
        }
        if outcome.is_ok() {
            let (changed, has_occurrences) = news;
            self.bells.changes.ring(&changed);
            if has_occurrences {
                self.bells.occurrences.notify_one();
            }
        }
        outcome
    }
}

fn apply_all(
    txn: &WriteTransaction,
    ids: &mut IdSource,
    random: &mut RandomPool,
    now_ms: u64,
    batch: &mut [Box<dyn Job>],
) -> Result<(BTreeSet<String>, bool), StoreError> {
    let mut tables = WriteTables::new(txn, ids, random, now_ms);
    for job in batch {
        tables.begin_operation();
        catch_unwind(AssertUnwindSafe(|| job.apply(&mut tables)))
            .unwrap_or_else(|panic| Err(StoreError::Panicked(panic_message(panic.as_ref()))))?;
    }
    Ok(tables.into_news())
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|it| (*it).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Ends a transaction that [`Databases::write`] began.
pub(super) fn finish(
    txn: WriteTransaction,
    outcome: Result<(), StoreError>,
) -> Result<(), StoreError> {
    match outcome {
        Ok(()) => Ok(txn.commit()?),
        Err(error) => {
            // A transaction that cannot even be rolled back is dropped, which redb treats the same.
            let _ = txn.abort();
            Err(error)
        }
    }
}
