//! The threads that plugins run on.
//!
//! Owns a small fixed number of threads and a queue of *lanes*, one per instance. Lanes take turns,
//! and none may hold all threads, so that one busy or hanging instance leaves room for the others.
//! It knows nothing of plugins, only of work that may never come back: nothing can stop a thread
//! from outside, so a job past its deadline is *abandoned*; its thread counts as lost and is
//! replaced, up to a bound, and its lane takes no more work until the job returns.
//!
//! It must never run a job on the caller's thread, nor drop one while it holds its lock: a job's
//! destructor may push another.
//!
//! # Synchronization
//!
//! All state is behind one mutex. A job's ticket changes state by compare-and-swap; the changes that
//! go with a count (abandoned, done) are made under the mutex, so that the counts always agree.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much a pool may use.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Threads that take work, at least 2.
    pub threads: usize,
    /// Threads that may be lost before no more of them are replaced.
    pub lost_threads: usize,
    /// Jobs that may wait in one lane.
    pub queued_per_lane: usize,
    /// Jobs that may wait altogether.
    pub queued: usize,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        PoolLimits {
            threads: (2 * processors).max(4),
            lost_threads: 16,
            queued_per_lane: 1024,
            queued: 8192,
        }
    }
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Too many jobs wait.
    Busy,
    /// A job of this lane was abandoned and has not returned.
    Stuck,
}

/// What becomes of a job whose deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It had not begun and never will.
    Cancelled,
    /// It had begun; its thread is lost.
    Abandoned,
    /// It is over, and its result is there.
    Done,
    /// It was thrown out of the queue because its lane got stuck.
    Discarded,
}

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const CANCELLED: u8 = 3;
const ABANDONED: u8 = 4;
const DISCARDED: u8 = 5;

/// One job, as its caller sees it.
#[derive(Debug)]
pub(super) struct Ticket {
    state: AtomicU8,
    /// When it was queued, to know how much of the deadline was spent on waiting.
    queued_at: Instant,
    waited_micros: AtomicU64,
}

impl Ticket {
    fn advance(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn start(&self) -> bool {
        let waited = Instant::now().saturating_duration_since(self.queued_at);
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waited_micros.store(micros, Ordering::Release);
        self.advance(QUEUED, RUNNING)
    }

    /// Takes back a job that has not begun.
    pub(super) fn cancel(&self) -> bool {
        self.advance(QUEUED, CANCELLED)
    }

    /// Whether no thread has taken it yet.
    pub(super) fn is_queued(&self) -> bool {
        self.state.load(Ordering::Acquire) == QUEUED
    }

    /// How long it waited for a thread, when it has begun.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_micros.load(Ordering::Acquire))
    }

    /// Whether it was thrown out because its lane got stuck.
    pub(super) fn was_discarded(&self) -> bool {
        self.state.load(Ordering::Acquire) == DISCARDED
    }
}

struct Job {
    ticket: Arc<Ticket>,
    work: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
struct LaneState {
    /// For the log.
    name: Arc<str>,
    jobs: VecDeque<Job>,
    running: usize,
    /// Waits in `ready`.
    ready: bool,
    /// Its handle is gone: removed as soon as it is empty.
    closed: bool,
    stuck: u64,
    abandoned: u64,
    returned: u64,
}

#[derive(Default)]
struct State {
    lanes: HashMap<u64, LaneState>,
    ready: VecDeque<u64>,
    next_lane: u64,
    queued: usize,
    /// Threads that take work, idle ones included.
    threads: usize,
    idle: usize,
    lost: usize,
    /// The pool is gone: threads end when nothing is ready.
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    limits: PoolLimits,
    /// How many jobs of one lane run at once.
    running_per_lane: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a lane in the queue if it has work that may run now.
    fn make_ready(&self, state: &mut State, id: u64) {
        let Some(lane) = state.lanes.get_mut(&id) else { return };
        if lane.ready || lane.jobs.is_empty() || lane.running >= self.running_per_lane {
            return;
        }
        lane.ready = true;
        state.ready.push_back(id);
        // A thread that is not idle looks into the queue before it sleeps: no call into the kernel.
        if state.idle > 0 {
            self.wake.notify_one();
        }
    }

    fn start_thread(self: &Arc<Shared>, state: &mut State) {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("plugin".to_owned())
            // Policies and parsers of others recurse; only what is touched becomes memory.
            .stack_size(8 << 20)
            .spawn(move || work(&shared));
        match thread {
            Ok(_) => state.threads += 1,
            Err(error) => tracing::error!(%error, "cannot start a thread for plugin calls"),
        }
    }
}

/// What a thread does all its life.
fn work(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    loop {
        let Some(id) = state.ready.pop_front() else {
            if state.closed {
                state.threads -= 1;
                return;
            }
            state.idle += 1;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        let Some(lane) = state.lanes.get_mut(&id) else { continue };
        lane.ready = false;
        let Some(job) = lane.jobs.pop_front() else { continue };
        lane.running += 1;
        state.queued -= 1;
        shared.make_ready(&mut state, id);
        drop(state);

        let Job { ticket, work } = job;
        if ticket.start() {
            // What the plugin panics with was caught on its side; this is for our own mistakes.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("a plugin call panicked on the daemon's side");
            }
        } else {
            drop(work);
        }

        state = shared.lock();
        ticket.advance(RUNNING, DONE);
        let back_from_the_lost = ticket.state.load(Ordering::Acquire) == ABANDONED;
        if back_from_the_lost {
            state.lost -= 1;
            state.threads += 1;
        }
        if let Some(lane) = state.lanes.get_mut(&id) {
            lane.running -= 1;
            if back_from_the_lost {
                lane.stuck -= 1;
                lane.returned += 1;
                tracing::info!(instance = %lane.name, "a stuck plugin call has returned");
            }
            if lane.closed && lane.running == 0 && lane.jobs.is_empty() {
                state.lanes.remove(&id);
            } else {
                shared.make_ready(&mut state, id);
            }
        }
        if state.threads > shared.limits.threads {
            // Its replacement took its place.
            state.threads -= 1;
            return;
        }
    }
}

/// The pool. When it is dropped its threads end, those that are lost excepted.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    pub(super) fn start(limits: PoolLimits) -> Pool {
        let limits = PoolLimits { threads: limits.threads.max(2), ..limits };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            limits,
            running_per_lane: limits.threads - 1,
        });
        let mut state = shared.lock();
        for _ in 0..limits.threads {
            shared.start_thread(&mut state);
        }
        drop(state);
        Pool { shared }
    }

    /// A new lane; `name` is for the log.
    pub(super) fn lane(&self, name: &str) -> Lane {
        let mut state = self.shared.lock();
        let id = state.next_lane;
        state.next_lane += 1;
        state.lanes.insert(id, LaneState { name: Arc::from(name), ..LaneState::default() });
        Lane { shared: Arc::clone(&self.shared), id }
    }

    /// Whether so many threads are lost that no risk should be taken any more.
    pub(super) fn is_exhausted(&self) -> bool {
        let state = self.shared.lock();
        state.lost > self.shared.limits.lost_threads
    }

    pub(super) fn limits(&self) -> PoolLimits {
        self.shared.limits
    }

    /// Threads at work or idle, threads lost, jobs waiting.
    pub(super) fn counts(&self) -> PoolCounts {
        let state = self.shared.lock();
        PoolCounts { threads: state.threads, lost: state.lost, queued: state.queued }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

/// How a pool is doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolCounts {
    pub(super) threads: usize,
    pub(super) lost: usize,
    pub(super) queued: usize,
}

/// How a lane is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LaneCounts {
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) stuck: u64,
    pub(super) abandoned: u64,
    pub(super) returned: u64,
}

/// The handle of one lane. When it is dropped, what is queued still runs.
pub(super) struct Lane {
    shared: Arc<Shared>,
    id: u64,
}

impl Lane {
    /// The number of this lane, unique in its pool.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a job.
    pub(super) fn push(&self, work: Box<dyn FnOnce() + Send>) -> Result<Arc<Ticket>, NotTaken> {
        let mut state = self.shared.lock();
        if state.queued >= self.shared.limits.queued {
            return Err(NotTaken::Busy);
        }
        let Some(lane) = state.lanes.get_mut(&self.id) else { return Err(NotTaken::Stuck) };
        if lane.stuck > 0 {
            return Err(NotTaken::Stuck);
        }
        if lane.jobs.len() >= self.shared.limits.queued_per_lane {
            return Err(NotTaken::Busy);
        }
        Ok(self.add(&mut state, work))
    }

    /// Queues the job that cleans up. It is taken in any case.
    pub(super) fn push_last(&self, work: Box<dyn FnOnce() + Send>) -> Arc<Ticket> {
        self.add(&mut self.shared.lock(), work)
    }

    fn add(&self, state: &mut State, work: Box<dyn FnOnce() + Send>) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket {
            state: AtomicU8::new(QUEUED),
            queued_at: Instant::now(),
            waited_micros: AtomicU64::new(0),
        });
        if let Some(lane) = state.lanes.get_mut(&self.id) {
            lane.jobs.push_back(Job { ticket: Arc::clone(&ticket), work });
            state.queued += 1;
            self.shared.make_ready(state, self.id);
        }
        ticket
    }

    /// What gives up on jobs of this lane, also when the lane's handle is gone.
    pub(super) fn watcher(&self) -> LaneWatcher {
        LaneWatcher { shared: Arc::clone(&self.shared), id: self.id }
    }

    pub(super) fn counts(&self) -> LaneCounts {
        let state = self.shared.lock();
        state.lanes.get(&self.id).map_or_else(LaneCounts::default, |lane| LaneCounts {
            queued: lane.jobs.len(),
            running: lane.running,
            stuck: lane.stuck,
            abandoned: lane.abandoned,
            returned: lane.returned,
        })
    }
}

/// See [`Lane::watcher`].
#[derive(Clone)]
pub(super) struct LaneWatcher {
    shared: Arc<Shared>,
    id: u64,
}

impl LaneWatcher {
    /// Gives up on a job: takes it back if it has not begun, else counts its thread as lost.
    pub(super) fn give_up(&self, ticket: &Ticket) -> Overdue {
        if ticket.cancel() {
            return Overdue::Cancelled;
        }
        let mut state = self.shared.lock();
        if !ticket.advance(RUNNING, ABANDONED) {
            return if ticket.was_discarded() { Overdue::Discarded } else { Overdue::Done };
        }
        state.lost += 1;
        state.threads -= 1;
        let lost = state.lost;
        if lost <= self.shared.limits.lost_threads {
            self.shared.start_thread(&mut state);
        }
        // Those who wait in the lane would wait for nothing.
        let mut discarded = VecDeque::new();
        let mut name = Arc::from("");
        if let Some(lane) = state.lanes.get_mut(&self.id) {
            lane.stuck += 1;
            lane.abandoned += 1;
            discarded = std::mem::take(&mut lane.jobs);
            name = Arc::clone(&lane.name);
        }
        state.queued -= discarded.len();
        let left = state.threads;
        drop(state);
        for job in &discarded {
            job.ticket.advance(QUEUED, DISCARDED);
        }
        tracing::warn!(
            instance = %name,
            "a plugin call overran its deadline, the instance is stuck until it returns"
        );
        if lost > self.shared.limits.lost_threads {
            tracing::error!(
                lost,
                left,
                "too many threads are lost to plugin calls that do not end, restart the daemon"
            );
        }
        Overdue::Abandoned
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(lane) = state.lanes.get_mut(&self.id) {
            lane.closed = true;
            if lane.running == 0 && lane.jobs.is_empty() {
                state.lanes.remove(&self.id);
            }
        }
    }
}
