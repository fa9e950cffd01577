//! Wakes sources when they are due: one task, a queue in memory ([`due`]), and for each wake-up a
//! task that asks the plugin and stores what it answers ([`wake`]).
//!
//! The queue is made anew at each start: every source is woken when it opens, with the cursor that is
//! in the store, so that its plugin decides what becomes of times that were missed. Nothing is looked
//! at in between but the clock, once a minute, because it may be set.
//!
//! Must never: wake a source twice at a time; wait for a plugin or the store in the task that keeps
//! the queue.

mod due;
mod wake;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, info};

use crate::clock::Clock;
use crate::model::id::SourceId;
use due::Due;

/// Wake-ups under way at the same time. Most of each is the wait for a commit, which they share.
const MOST_AT_ONCE: usize = 256;
/// The least between two wake-ups of a source that asks for ticks.
pub const SHORTEST_TICK: Duration = Duration::from_millis(100);
/// How often the clock is looked at when nothing is due.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);
/// A clock that is behind by more was set back.
const STEP_MS: u64 = 1_000;

/// What came of a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It is stored; the source wants to be woken next at this time, or never again.
    Next(Option<u64>),
    /// Nothing was stored, and the source's log says why. It is tried again.
    Failed {
        /// Not before so many milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// Whoever wakes a source: asks its plugin, and stores what that answers.
pub trait Wake: Send + Sync + 'static {
    /// Wakes a source. There is one wake-up of a source at a time.
    fn wake(&self, source: SourceId) -> BoxFuture<'_, Woken>;
}

enum Command {
    Opened(SourceId, u64),
    Sooner(SourceId, u64),
    Closed(SourceId, u64),
    Stop,
}

/// One opening of a source, for closing it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening(u64);

/// The way to the task.
#[derive(Clone)]
pub struct Timers {
    commands: mpsc::UnboundedSender<Command>,
    openings: Arc<AtomicU64>,
    died: watch::Sender<bool>,
}

impl Timers {
    /// Starts the task. Between two wake-ups of one source that succeed, at least `shortest` passes.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        wake: Arc<dyn Wake>,
        clock: Clock,
        shortest: Duration,
    ) -> Timers {
        let (commands, inbox) = mpsc::unbounded_channel();
        let state = State {
            due: Due::new(u64::try_from(shortest.as_millis()).unwrap_or(u64::MAX)),
            wake,
            clock,
            tasks: JoinSet::new(),
            awake: HashMap::new(),
            seen: None,
        };
        let task = runtime.spawn(state.run(inbox));
        let died = watch::Sender::new(false);
        let teller = died.clone();
        runtime.spawn(async move {
            if let Err(error) = task.await {
                error!(%error, "what wakes sources has died: no timer fires any more");
                teller.send_replace(true);
            }
        });
        Timers { commands, openings: Arc::default(), died }
    }

    /// A source is open, or is so with another configuration: it is woken at once.
    pub fn opened(&self, source: SourceId) -> Opening {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        self.tell(Command::Opened(source, opening));
        Opening(opening)
    }

    /// A source is closed, and woken no more.
    pub fn closed(&self, source: SourceId, opening: Opening) {
        self.tell(Command::Closed(source, opening.0));
    }

    /// An open source has something to do at a time that it may not know of.
    pub fn sooner(&self, source: SourceId, due_ms: u64) {
        self.tell(Command::Sooner(source, due_ms));
    }

    /// Wakes no source any more. What is cut off is stored whole or not at all.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Comes back only if the task has died of a mistake of its own.
    pub async fn died(&self) {
        if self.died.subscribe().wait_for(|it| *it).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn tell(&self, command: Command) {
        // It has stopped, or died, which is said elsewhere.
        let _ = self.commands.send(command);
    }
}

/// What the task owns.
struct State {
    due: Due,
    wake: Arc<dyn Wake>,
    clock: Clock,
    tasks: JoinSet<Woken>,
    /// The source that each task wakes.
    awake: HashMap<Id, SourceId>,
    /// What the clock showed when it was last looked at.
    seen: Option<(Instant, u64)>,
}

impl State {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        loop {
            let now_ms = self.look_at_clock();
            let room = MOST_AT_ONCE - self.tasks.len().min(MOST_AT_ONCE);
            for source in self.due.take(now_ms, room) {
                self.begin(source);
            }
            let wait = self.wait_ms(now_ms).map_or(LOOK_AT_CLOCK, Duration::from_millis);
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Opened(source, opening)) => {
                        self.due.open(source, opening, self.clock.now_ms());
                    }
                    Some(Command::Sooner(source, due_ms)) => self.due.sooner(source, due_ms),
                    Some(Command::Closed(source, opening)) => self.due.close(source, opening),
                    Some(Command::Stop) | None => return,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep(wait.min(LOOK_AT_CLOCK)) => {}
            }
        }
    }

    /// How long there is nothing to do, if what is due has room.
    fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let next = self.due.next_ms()?;
        (self.tasks.len() < MOST_AT_ONCE).then(|| next.saturating_sub(now_ms))
    }

    fn look_at_clock(&mut self) -> u64 {
        let (now, now_ms) = (Instant::now(), self.clock.now_ms());
        if let Some((then, then_ms)) = self.seen.replace((now, now_ms))
            && was_set_back(then_ms, now_ms, now.duration_since(then))
        {
            info!("the clock was set back: every timer is asked again");
            self.due.wake_all(now_ms);
        }
        now_ms
    }

    fn begin(&mut self, source: SourceId) {
        let wake = self.wake.clone();
        let task = self.tasks.spawn(async move { wake.wake(source).await });
        self.awake.insert(task.id(), source);
    }

    fn ended(&mut self, ended: Result<(Id, Woken), JoinError>) {
        let (task, woken) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                error!(%error, "waking a source failed by a mistake of the daemon's own");
                (error.id(), Woken::Failed { retry_after_ms: None })
            }
        };
        if let Some(source) = self.awake.remove(&task) {
            self.due.ended(source, woken, self.clock.now_ms());
        }
    }
}

/// Whether a clock that showed `then_ms` shows less now than it had to after `elapsed`.
fn was_set_back(then_ms: u64, now_ms: u64, elapsed: Duration) -> bool {
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_add(STEP_MS) < then_ms.saturating_add(elapsed)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Says when it woke a source, and has it woken again a second later.
    struct EverySecond {
        clock: Clock,
        woken: mpsc::UnboundedSender<(u128, u64)>,
    }

    impl Wake for EverySecond {
        fn wake(&self, source: SourceId) -> BoxFuture<'_, Woken> {
            let now_ms = self.clock.now_ms();
            self.woken.send((source.0, now_ms)).expect("the test listens");
            assert!(source.0 != 13, "a mistake that a test makes");
            async move { Woken::Next(Some(now_ms + 1_000)) }.boxed()
        }
    }

    struct Bench {
        clock: Clock,
        timers: Timers,
        woken: mpsc::UnboundedReceiver<(u128, u64)>,
    }

    impl Bench {
        fn new(clock: Clock) -> Bench {
            let (teller, woken) = mpsc::unbounded_channel();
            let wake = Arc::new(EverySecond { clock: clock.clone(), woken: teller });
            let runtime = tokio::runtime::Handle::current();
            Bench {
                timers: Timers::start(&runtime, wake, clock.clone(), SHORTEST_TICK),
                clock,
                woken,
            }
        }

        /// The next source that is woken, and when.
        async fn next(&mut self) -> (u128, u64) {
            let next = tokio::time::timeout(Duration::from_secs(20), self.woken.recv());
            next.await.expect("in time").expect("the task lives")
        }

        fn open(&self, source: u128) -> Opening {
            self.timers.opened(SourceId(source))
        }
    }

    #[tokio::test]
    async fn an_open_source_is_woken_in_time_and_never_early() {
        let mut bench = Bench::new(Clock::System);
        let opening = bench.open(1);
        let (_, mut last_ms) = bench.next().await;
        for _ in 0..2 {
            let (_, now_ms) = bench.next().await;
            assert!(now_ms >= last_ms + 1_000, "{last_ms} {now_ms}");
            last_ms = now_ms;
        }
        bench.timers.closed(SourceId(1), opening);
        bench.open(2);
        for _ in 0..2 {
            assert_eq!(bench.next().await.0, 2, "the other one is closed");
        }
    }

    #[tokio::test]
    async fn more_than_may_be_woken_at_once_are_all_woken() {
        let mut bench = Bench::new(Clock::manual(7));
        let sources = 100..100 + 3 * MOST_AT_ONCE as u128;
        for source in sources.clone() {
            bench.open(source);
        }
        let mut woken = Vec::new();
        for _ in sources.clone() {
            woken.push(bench.next().await.0);
        }
        woken.sort_unstable();
        assert!(woken.into_iter().eq(sources));
    }

    #[tokio::test]
    async fn a_clock_that_is_set_is_followed() {
        const HOUR: u64 = 3_600_000;
        let mut bench = Bench::new(Clock::manual(10 * HOUR));
        bench.open(1);
        assert_eq!(bench.next().await, (1, 10 * HOUR));
        bench.clock.advance(HOUR);
        // Anything that happens makes it look.
        bench.open(2);
        assert_eq!(bench.next().await, (1, 11 * HOUR));
        assert_eq!(bench.next().await, (2, 11 * HOUR));
        bench.clock.advance(HOUR.wrapping_neg());
        bench.open(3);
        let mut woken = [bench.next().await, bench.next().await, bench.next().await];
        woken.sort_unstable();
        assert_eq!(woken, [(1, 10 * HOUR), (2, 10 * HOUR), (3, 10 * HOUR)]);
    }

    #[tokio::test]
    async fn what_comes_sooner_is_seen_at_once() {
        let mut bench = Bench::new(Clock::System);
        bench.open(1);
        let (_, first_ms) = bench.next().await;
        let soon_ms = first_ms + 300;
        // It waits for a second from then; whether it knows that already or not is the same.
        bench.timers.sooner(SourceId(1), soon_ms);
        let (_, now_ms) = bench.next().await;
        assert!((soon_ms..first_ms + 1_000).contains(&now_ms), "{first_ms} {now_ms}");
        bench.timers.sooner(SourceId(2), 0);
        assert_eq!(bench.next().await.0, 1, "the other one is not open");
    }

    #[tokio::test]
    async fn a_mistake_costs_one_wake_up() {
        let mut bench = Bench::new(Clock::System);
        bench.open(13);
        assert_eq!(bench.next().await.0, 13);
        assert_eq!(bench.next().await.0, 13, "tried again");
        bench.open(1);
        assert_eq!(bench.next().await.0, 1);
    }

    #[test]
    fn clocks_that_are_set_back() {
        let minute = Duration::from_secs(60);
        assert!(!was_set_back(0, 60_000, minute));
        assert!(!was_set_back(0, 59_500, minute), "slowed down a little");
        assert!(was_set_back(100_000, 50_000, minute));
        assert!(was_set_back(100_000, 130_000, minute), "by half a minute");
        assert!(!was_set_back(100_000, 9_000_000, minute), "set forward");
    }
}
