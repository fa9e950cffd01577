//! The dispatcher: gives queued runs to whoever executes them, and stores what becomes of them.
//!
//! One task owns the [`Queue`] and hears of everything as a [`Command`]. It never waits: claims,
//! executions and results are tasks of their own that report back.
//!
//! ```text
//!  queued ──take──▶ claim (commit) ──▶ execute ──▶ settle (commit) ──▶ ended | again at …
//!                     │ snap-in not active: put back     │ store down: tried again until it works
//! ```
//!
//! Invariant: an attempt is on the disk before it starts, and its end before the next run of its
//! group starts. A run that the daemon did not see end is found at the next start by [`recover`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

use super::changes::Changes;
use super::queue::{Queue, Ticket};
use crate::clock::Clock;
use crate::lifecycle::run::RetryPolicy;
use crate::model::id::{RunId, SnapInId, VersionId};
use crate::model::run::{AttemptOutcome, RunHead, RunOutput, RunState};
use crate::store::{Claim, FinishedAttempt, OpenRun, Settled, Store, StoreError};

/// Executes attempts. It may take its time, and is dropped when the daemon stops.
pub trait Execute: Send + Sync + 'static {
    /// Runs one attempt to its end.
    fn execute(&self, attempt: StartedAttempt) -> BoxFuture<'static, Execution>;
    /// How many attempts of a function may be under way.
    fn concurrency(&self, version: VersionId, function: &str) -> u32;
}

/// An attempt that has been claimed.
#[derive(Clone, Debug)]
pub struct StartedAttempt {
    /// The run.
    pub run: RunId,
    /// The run as it was claimed.
    pub head: RunHead,
    /// The event, when it was at hand.
    pub event: Option<EventAtHand>,
}

/// An event that need not be read back.
#[derive(Clone, Debug)]
pub struct EventAtHand {
    /// Its type.
    pub event_type: Arc<str>,
    /// Its payload.
    pub payload: Bytes,
}

/// How an attempt went.
#[derive(Clone, Debug)]
pub struct Execution {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Result and log.
    pub output: RunOutput,
    /// The function's retry policy.
    pub policy: RetryPolicy,
}

/// A queued run with its event, when that is at hand.
#[derive(Clone, Debug)]
pub struct QueuedRun {
    /// The run.
    pub run: OpenRun,
    /// The event.
    pub event: Option<EventAtHand>,
}

enum Command {
    Queued(Vec<QueuedRun>),
    SetOpen(SnapInId, bool),
    SetHeld(SnapInId, bool),
    NotStarted(RunId, NotStarted),
    Running(RunId, AbortHandle),
    Executed(RunId),
    Settled(RunId, Settled),
    Cancelled(SnapInId, Vec<RunId>),
    Hurried(Box<OpenRun>),
    AwaitQuiet(SnapInId, oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// Why a run that was to start did not.
enum NotStarted {
    /// Its snap-in is not active.
    Held,
    /// It has ended meanwhile.
    Gone,
    /// The store did not take the claim.
    StoreFailed(StoreError),
}

/// The way to the dispatcher.
#[derive(Clone)]
pub struct Dispatcher {
    commands: mpsc::UnboundedSender<Command>,
    depths: Depths,
    died: watch::Sender<bool>,
}

/// How many runs of each snap-in wait, for the bound on queues.
#[derive(Clone, Debug, Default)]
struct Depths(Arc<Mutex<HashMap<SnapInId, Arc<AtomicUsize>>>>);

impl Depths {
    fn of(&self, snap_in: SnapInId) -> Arc<AtomicUsize> {
        let mut depths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        depths.entry(snap_in).or_default().clone()
    }
}

impl Dispatcher {
    /// Starts the dispatcher on the runtime that `spawn` spawns on.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        store: Arc<Store>,
        execute: Arc<dyn Execute>,
        changes: Changes,
        clock: Clock,
        most_started: usize,
    ) -> Dispatcher {
        let (commands, inbox) = mpsc::unbounded_channel();
        let depths = Depths::default();
        let state = State {
            queue: Queue::default(),
            store,
            execute,
            changes,
            clock,
            most_started,
            commands: commands.clone(),
            depths: depths.clone(),
            running: HashMap::new(),
            quiet_waiters: Vec::new(),
            stopping: None,
        };
        let task = runtime.spawn(state.run(inbox));
        let died = watch::Sender::new(false);
        let teller = died.clone();
        runtime.spawn(async move {
            if let Err(error) = task.await {
                error!(%error, "the dispatcher has died: no run starts any more");
                teller.send_replace(true);
            }
        });
        Dispatcher { commands, depths, died }
    }

    /// Comes back only if the dispatcher has died of a mistake of its own. Everything it knew is in
    /// the store, so a new start of the daemon goes on where it stopped.
    pub async fn died(&self) {
        if self.died.subscribe().wait_for(|it| *it).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs were queued; called in commit order.
    pub fn queued(&self, runs: Vec<QueuedRun>) {
        if !runs.is_empty() {
            self.tell(Command::Queued(runs));
        }
    }

    /// A snap-in's runs may start, or may not.
    pub fn set_open(&self, snap_in: SnapInId, open: bool) {
        self.tell(Command::SetOpen(snap_in, open));
    }

    /// A snap-in's runs cannot do without something that is not there at the moment, or can again.
    pub fn set_held(&self, snap_in: SnapInId, held: bool) {
        self.tell(Command::SetHeld(snap_in, held));
    }

    /// Runs were cancelled in the store; those that run are ended.
    pub fn cancelled(&self, snap_in: SnapInId, runs: Vec<RunId>) {
        if !runs.is_empty() {
            self.tell(Command::Cancelled(snap_in, runs));
        }
    }

    /// A run is to be tried (again) now: it waited for its next attempt, or had ended.
    pub fn hurry(&self, run: OpenRun) {
        self.tell(Command::Hurried(Box::new(run)));
    }

    /// Waits until no run of the snap-in is under way.
    pub async fn quiet(&self, snap_in: SnapInId) {
        let (told, quiet) = oneshot::channel();
        self.tell(Command::AwaitQuiet(snap_in, told));
        // When the dispatcher has gone, nothing is under way either.
        let _ = quiet.await;
    }

    /// Starts nothing more and waits until what has started is settled.
    pub async fn stop(&self) {
        let (told, stopped) = oneshot::channel();
        self.tell(Command::Stop(told));
        let _ = stopped.await;
    }

    /// How many runs of a snap-in wait; kept up to date behind the caller's back.
    pub fn depth(&self, snap_in: SnapInId) -> Arc<AtomicUsize> {
        self.depths.of(snap_in)
    }

    fn tell(&self, command: Command) {
        // The dispatcher ends only with the process.
        let _ = self.commands.send(command);
    }
}

struct State {
    queue: Queue,
    store: Arc<Store>,
    execute: Arc<dyn Execute>,
    changes: Changes,
    clock: Clock,
    most_started: usize,
    commands: mpsc::UnboundedSender<Command>,
    depths: Depths,
    running: HashMap<RunId, AbortHandle>,
    quiet_waiters: Vec<(SnapInId, oneshot::Sender<()>)>,
    stopping: Option<oneshot::Sender<()>>,
}

/// How many runs keep their event in memory; the others read it from the store.
const MOST_EVENTS_AT_HAND: usize = 4096;
/// The largest payload that is kept in memory while its run waits.
const LARGEST_KEPT_PAYLOAD: usize = 16 * 1024;
/// How long a run waits whose claim the store did not take.
const STORE_RETRY_MS: u64 = 500;

impl State {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        loop {
            let now_ms = self.clock.now_ms();
            let sleep = self.queue.next_due_ms().map(|due| {
                // At most a minute, so that a clock that is set forward is noticed.
                Duration::from_millis(due.saturating_sub(now_ms).clamp(1, 60_000))
            });
            let command = match sleep {
                Some(sleep) => tokio::time::timeout(sleep, inbox.recv()).await,
                None => Ok(inbox.recv().await),
            };
            match command {
                Ok(Some(command)) => self.hear(command),
                Ok(None) => return,
                Err(_) => {}
            }
            while let Ok(command) = inbox.try_recv() {
                self.hear(command);
            }
            self.queue.wake_due(self.clock.now_ms());
            self.start_what_may();
            self.tell_waiters();
        }
    }

    fn hear(&mut self, command: Command) {
        match command {
            Command::Queued(runs) => {
                for QueuedRun { run, event } in runs {
                    self.enqueue(run, event);
                }
            }
            Command::SetOpen(snap_in, open) => self.queue.set_open(snap_in, open),
            Command::SetHeld(snap_in, held) => self.queue.set_held(snap_in, held),
            Command::NotStarted(run, NotStarted::Held) => self.queue.put_back(run),
            Command::NotStarted(run, NotStarted::Gone) => self.queue.ended(run),
            Command::NotStarted(run, NotStarted::StoreFailed(error)) => {
                warn!(%run, %error, "a run could not be claimed and waits");
                self.queue.again(run, self.clock.now_ms() + STORE_RETRY_MS);
            }
            Command::Running(run, task) => {
                if self.queue.is_started(run) {
                    self.running.insert(run, task);
                } else {
                    // Cancelled between claim and start.
                    task.abort();
                }
            }
            Command::Executed(run) => self.queue.release(run),
            Command::Settled(run, Settled::Ended(_) | Settled::Gone) => {
                self.running.remove(&run);
                self.queue.ended(run);
                self.changes.ring();
            }
            Command::Settled(run, Settled::Again { at_ms }) => {
                self.running.remove(&run);
                self.queue.again(run, at_ms);
                self.changes.ring();
            }
            Command::Cancelled(snap_in, runs) => {
                for run in runs {
                    if self.queue.is_started(run) {
                        if let Some(task) = self.running.remove(&run) {
                            task.abort();
                        }
                        self.queue.ended(run);
                    } else {
                        self.queue.remove(run, snap_in);
                    }
                }
                self.note_depth(snap_in);
                self.changes.ring();
            }
            Command::Hurried(run) => {
                if !self.queue.hurry(run.id) {
                    self.enqueue(*run, None);
                }
            }
            Command::AwaitQuiet(snap_in, told) => self.quiet_waiters.push((snap_in, told)),
            Command::Stop(told) => self.stopping = Some(told),
        }
    }

    fn enqueue(&mut self, run: OpenRun, event: Option<EventAtHand>) {
        let OpenRun { id, head } = run;
        let event = event.filter(|it| {
            it.payload.len() <= LARGEST_KEPT_PAYLOAD
                && self.queue.events_at_hand() < MOST_EVENTS_AT_HAND
        });
        let snap_in = head.snap_in;
        let ticket = Ticket {
            run: id,
            snap_in,
            version: head.version,
            limit: self.execute.concurrency(head.version, &head.function),
            function: head.function.into(),
            sync_id: head.sync_id.map(Into::into),
            event,
        };
        match head.not_before_ms {
            Some(at_ms) => self.queue.push_later(ticket, at_ms),
            None => self.queue.push(ticket),
        }
        self.note_depth(snap_in);
    }

    fn note_depth(&self, snap_in: SnapInId) {
        self.depths.of(snap_in).store(self.queue.waiting(snap_in), Ordering::Relaxed);
    }

    /// Claims as many runs as may start, in one transaction.
    fn start_what_may(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let mut tickets = Vec::new();
        while self.queue.all_started() < self.most_started
            && let Some(ticket) = self.queue.take()
        {
            self.note_depth(ticket.snap_in);
            tickets.push(ticket);
        }
        if tickets.is_empty() {
            return;
        }
        let runs: Vec<_> = tickets.iter().map(|it| it.run).collect();
        let claims = self.store.write(move |tables| tables.claim_runs(&runs));
        let (commands, execute, store) =
            (self.commands.clone(), self.execute.clone(), self.store.clone());
        tokio::spawn(async move {
            match claims.await {
                Ok(claims) => {
                    for (ticket, claim) in tickets.into_iter().zip(claims) {
                        start(ticket, claim, &commands, &execute, &store);
                    }
                }
                Err(error) => {
                    for ticket in tickets {
                        let why = NotStarted::StoreFailed(error.clone());
                        let _ = commands.send(Command::NotStarted(ticket.run, why));
                    }
                }
            }
        });
    }

    fn tell_waiters(&mut self) {
        let queue = &self.queue;
        for (_, told) in
            self.quiet_waiters.extract_if(.., |(snap_in, _)| queue.started(*snap_in) == 0)
        {
            // Whoever waited may have gone.
            let _ = told.send(());
        }
        if queue.all_started() == 0
            && let Some(told) = self.stopping.take_if(|it| !it.is_closed())
        {
            let _ = told.send(());
            // Still stopping: nothing starts after that.
            self.stopping = Some(oneshot::channel().0);
        }
    }
}

fn start(
    ticket: Ticket,
    claim: Claim,
    commands: &mpsc::UnboundedSender<Command>,
    execute: &Arc<dyn Execute>,
    store: &Arc<Store>,
) {
    let run = ticket.run;
    let head = match claim {
        Claim::Claimed(head) => head,
        Claim::Held => {
            let _ = commands.send(Command::NotStarted(run, NotStarted::Held));
            return;
        }
        Claim::Gone => {
            let _ = commands.send(Command::NotStarted(run, NotStarted::Gone));
            return;
        }
    };
    let attempt = StartedAttempt { run, head: *head, event: ticket.event };
    let execution = execute.execute(attempt);
    let (told, store) = (commands.clone(), store.clone());
    let task = tokio::spawn(async move {
        let Execution { outcome, output, policy } = execution.await;
        let _ = told.send(Command::Executed(run));
        let end = Arc::new(FinishedAttempt { run, outcome, output, policy });
        let settled = settle(&store, end).await;
        let _ = told.send(Command::Settled(run, settled));
    });
    let _ = commands.send(Command::Running(run, task.abort_handle()));
}

/// Stores the end of an attempt, however long the store takes to work again.
async fn settle(store: &Store, end: Arc<FinishedAttempt>) -> Settled {
    let mut pause = Duration::from_millis(100);
    loop {
        let attempt = end.clone();
        match store.write(move |tables| tables.finish_attempt(&attempt)).await {
            Ok(settled) => return settled,
            Err(error) => {
                error!(run = %end.run, %error, "the end of a run could not be stored; trying again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// What a start finds: every run that has not ended, in order. Those that had started are
/// interrupted, which gives them another attempt or ends them.
pub async fn recover(store: &Store) -> Result<Vec<QueuedRun>, StoreError> {
    const CHUNK: usize = 256;
    let open = store.read(|tables| tables.open_runs())?;
    let cut_off: Vec<_> =
        open.iter().filter(|it| it.head.state == RunState::Running).map(|it| it.id).collect();
    if !cut_off.is_empty() {
        info!(runs = cut_off.len(), "runs were cut off by the last stop and are tried again");
    }
    for chunk in cut_off.chunks(CHUNK) {
        let chunk = chunk.to_vec();
        store
            .write(move |tables| {
                for run in &chunk {
                    tables.finish_attempt(&interrupted(*run))?;
                }
                Ok(())
            })
            .await?;
    }
    let open = store.read(|tables| tables.open_runs())?;
    Ok(open.into_iter().map(|run| QueuedRun { run, event: None }).collect())
}

fn interrupted(run: RunId) -> FinishedAttempt {
    FinishedAttempt {
        run,
        outcome: AttemptOutcome::Interrupted {
            reason: "the daemon stopped while it ran".to_owned(),
        },
        output: RunOutput::default(),
        // Interruptions have a budget of their own; the function's policy plays no part.
        policy: RetryPolicy { max_retries: 0, min_interval_ms: 0 },
    }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
