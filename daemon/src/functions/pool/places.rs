//! Who may have a process: a bounded number of places, shared fairly between snap-ins.
//!
//! Pure bookkeeping, generic over what sits on a place so that it can be tested without processes.
//! A process serves one snap-in for its life, so giving a place to another snap-in costs the start
//! of a process; hence a snap-in keeps a process for a while ([`SLICE`]) even when others wait.
//!
//! One place is kept from each snap-in, so that none can keep all others waiting with runs that take
//! long.
//!
//! Invariant: a snap-in waits only while every place is taken and none is idle, or while it has all
//! the places that it may have; in either case a place is given back that it can take.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::functions::kind::RunnerKind;
use crate::model::id::{SnapInId, VersionId};

/// How long a snap-in may keep a process for its own waiting runs while others wait.
const SLICE: Duration = Duration::from_millis(50);

/// What sits on a place.
pub(super) trait Occupant {
    fn snap_in(&self) -> SnapInId;
    fn version(&self) -> Option<VersionId>;
    fn kind(&self) -> RunnerKind;
}

/// What a process is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub snap_in: SnapInId,
    pub version: VersionId,
    pub kind: RunnerKind,
}

impl Asked {
    /// Whether a process can serve this, at the price of loading its version.
    fn is_served_by(self, process: &impl Occupant) -> bool {
        process.snap_in() == self.snap_in
            && process.kind() == self.kind
            && (self.kind.changes_version()
                || process.version().is_none_or(|version| version == self.version))
    }
}

/// The right to use one place.
pub(super) enum Grant<P> {
    /// A process of the snap-in, idle.
    Use(P),
    /// A free place; what sat on it before is handed out to be ended.
    Start { evicted: Option<P> },
}

impl<P> Grant<P> {
    /// The process to use, if there is one; what has to go is ended.
    pub(super) fn into_process(self) -> Option<P> {
        match self {
            Grant::Use(process) => Some(process),
            Grant::Start { evicted } => {
                drop(evicted);
                None
            }
        }
    }
}

pub(super) enum Answer<P> {
    Granted(Grant<P>),
    Wait(oneshot::Receiver<Ticketed<P>>),
    /// Too many wait already.
    Full,
    /// No more runs are taken.
    Closed,
}

/// A grant together with the number under which it is given back.
pub(super) struct Ticketed<P> {
    pub ticket: u64,
    pub grant: Grant<P>,
}

/// What to do after something was given back; to be done outside of the lock.
pub(super) struct Given<P> {
    pub hand_over: Option<(oneshot::Sender<Ticketed<P>>, Ticketed<P>)>,
    pub end: Option<P>,
}

pub(super) struct Places<P> {
    most: usize,
    most_waiting: usize,
    used: usize,
    // The longest idle first.
    idle: VecDeque<Idle<P>>,
    busy: HashMap<u64, Busy>,
    waiting: HashMap<SnapInId, VecDeque<Waiter<P>>>,
    // Snap-ins with somebody waiting, the next to be served first.
    turns: VecDeque<SnapInId>,
    waiting_count: usize,
    next_ticket: u64,
    closed: bool,
}

type Waiter<P> = (Asked, oneshot::Sender<Ticketed<P>>);

struct Idle<P> {
    process: P,
    since: Instant,
}

struct Busy {
    snap_in: SnapInId,
    slice_began: Instant,
    retired: bool,
}

impl<P: Occupant> Places<P> {
    pub(super) fn new(most: usize, most_waiting: usize) -> Places<P> {
        Places {
            most,
            most_waiting,
            used: 0,
            idle: VecDeque::new(),
            busy: HashMap::new(),
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            waiting_count: 0,
            next_ticket: 0,
            closed: false,
        }
    }

    /// Asks for a process, one that holds the version already if there is one.
    pub(super) fn ask(&mut self, asked: Asked, now: Instant) -> (u64, Answer<P>) {
        let snap_in = asked.snap_in;
        if self.closed {
            return (0, Answer::Closed);
        }
        let own = self
            .position(|it| asked.is_served_by(it) && it.version() == Some(asked.version))
            .or_else(|| self.position(|it| asked.is_served_by(it)));
        let own = own.filter(|_| self.has_share(snap_in));
        if let Some(idle) = own.and_then(|it| self.idle.remove(it)) {
            return self.granted(snap_in, now, Grant::Use(idle.process));
        }
        if self.has_share(snap_in) {
            if self.used < self.most {
                self.used += 1;
                return self.granted(snap_in, now, Grant::Start { evicted: None });
            }
            if let Some(idle) = self.idle.pop_front() {
                return self.granted(snap_in, now, Grant::Start { evicted: Some(idle.process) });
            }
        }
        if self.waiting_count >= self.most_waiting {
            return (0, Answer::Full);
        }
        let (sender, receiver) = oneshot::channel();
        let line = self.waiting.entry(snap_in).or_default();
        if line.is_empty() {
            self.turns.push_back(snap_in);
        }
        line.push_back((asked, sender));
        self.waiting_count += 1;
        (0, Answer::Wait(receiver))
    }

    /// Whether a snap-in may have one more place.
    fn has_share(&self, snap_in: SnapInId) -> bool {
        let taken = self.busy.values().filter(|it| it.snap_in == snap_in).count();
        // Of two or fewer places nothing can be kept without halving what a snap-in can do.
        let most = if self.most > 2 { self.most - 1 } else { self.most };
        taken < most
    }

    fn position(&self, fits: impl Fn(&P) -> bool) -> Option<usize> {
        // The most recently used first: its memory is warm.
        self.idle.iter().rposition(|it| fits(&it.process))
    }

    fn granted(&mut self, snap_in: SnapInId, now: Instant, grant: Grant<P>) -> (u64, Answer<P>) {
        (self.ticket(snap_in, now), Answer::Granted(grant))
    }

    fn ticket(&mut self, snap_in: SnapInId, slice_began: Instant) -> u64 {
        self.next_ticket += 1;
        self.busy.insert(self.next_ticket, Busy { snap_in, slice_began, retired: false });
        self.next_ticket
    }

    /// Gives a place back, with the process that sits on it if that is fit for another run.
    pub(super) fn give_back(&mut self, ticket: u64, process: Option<P>, now: Instant) -> Given<P> {
        let Some(busy) = self.busy.remove(&ticket) else {
            return Given { hand_over: None, end: process };
        };
        let (process, end) = match process {
            Some(process) if busy.retired || self.closed => (None, Some(process)),
            process => (process, None),
        };
        let own_waiter =
            process.is_some() && now.saturating_duration_since(busy.slice_began) < SLICE;
        let waiter = match own_waiter.then(|| self.next_of(busy.snap_in)).flatten() {
            Some(waiter) => Some((waiter, busy.slice_began)),
            None => self.next_turn().map(|waiter| (waiter, now)),
        };
        let Some(((asked, waiter), slice_began)) = waiter else {
            match process {
                Some(process) => self.idle.push_back(Idle { process, since: now }),
                None => self.used -= 1,
            }
            return Given { hand_over: None, end };
        };
        let grant = match process {
            Some(process) if asked.is_served_by(&process) => Grant::Use(process),
            evicted => Grant::Start { evicted },
        };
        let ticket = self.ticket(asked.snap_in, slice_began);
        Given { hand_over: Some((waiter, Ticketed { ticket, grant })), end }
    }

    /// The longest waiting of one snap-in that has not given up.
    fn next_of(&mut self, snap_in: SnapInId) -> Option<Waiter<P>> {
        let line = self.waiting.get_mut(&snap_in)?;
        let mut found = None;
        while let Some(waiter) = line.pop_front() {
            self.waiting_count -= 1;
            if !waiter.1.is_closed() {
                found = Some(waiter);
                break;
            }
        }
        if line.is_empty() {
            self.waiting.remove(&snap_in);
            self.turns.retain(|it| *it != snap_in);
        }
        found
    }

    fn next_turn(&mut self) -> Option<Waiter<P>> {
        // Each once at most; who has all that it may have is passed over.
        for _ in 0..self.turns.len() {
            let snap_in = self.turns.front().copied()?;
            self.turns.rotate_left(1);
            if self.has_share(snap_in)
                && let Some(waiter) = self.next_of(snap_in)
            {
                return Some(waiter);
            }
        }
        None
    }

    /// Lets no process of `snap_in` serve another run; returns the idle ones, to be ended.
    pub(super) fn retire(&mut self, snap_in: SnapInId) -> Vec<P> {
        for busy in self.busy.values_mut().filter(|it| it.snap_in == snap_in) {
            busy.retired = true;
        }
        self.take_idle(|it| it.process.snap_in() == snap_in)
    }

    /// Takes the processes that have been idle since before `before`, to be ended.
    pub(super) fn take_idle_since(&mut self, before: Instant) -> Vec<P> {
        self.take_idle(|it| it.since < before)
    }

    /// Takes no more runs; returns what is to be ended. Those who wait learn it by their channel.
    pub(super) fn close(&mut self) -> Vec<P> {
        self.closed = true;
        self.waiting.clear();
        self.turns.clear();
        self.waiting_count = 0;
        self.take_idle(|_| true)
    }

    fn take_idle(&mut self, fits: impl Fn(&Idle<P>) -> bool) -> Vec<P> {
        let (taken, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.idle).into_iter().partition(|it| fits(it));
        self.idle = kept;
        self.used -= taken.len();
        taken.into_iter().map(|it| it.process).collect()
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.busy.len(), self.idle.len(), self.waiting_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Fake(SnapInId, Option<VersionId>);

    impl Occupant for Fake {
        fn snap_in(&self) -> SnapInId {
            self.0
        }
        fn version(&self) -> Option<VersionId> {
            self.1
        }
        fn kind(&self) -> RunnerKind {
            RunnerKind::Quickjs
        }
    }

    fn asked(snap_in: SnapInId) -> Asked {
        Asked { snap_in, version: V, kind: RunnerKind::Quickjs }
    }

    const A: SnapInId = SnapInId(1);
    const B: SnapInId = SnapInId(2);
    const C: SnapInId = SnapInId(3);
    const V: VersionId = VersionId(1);

    fn start(places: &mut Places<Fake>, snap_in: SnapInId, now: Instant) -> (u64, Option<Fake>) {
        match places.ask(asked(snap_in), now) {
            (ticket, Answer::Granted(Grant::Start { evicted })) => (ticket, evicted),
            _ => panic!("expected a free place"),
        }
    }

    fn wait(
        places: &mut Places<Fake>,
        snap_in: SnapInId,
        now: Instant,
    ) -> oneshot::Receiver<Ticketed<Fake>> {
        match places.ask(asked(snap_in), now) {
            (_, Answer::Wait(receiver)) => receiver,
            _ => panic!("expected to wait"),
        }
    }

    fn give(places: &mut Places<Fake>, ticket: u64, process: Option<Fake>, now: Instant) {
        if let Some((sender, ticketed)) = places.give_back(ticket, process, now).hand_over {
            assert!(sender.send(ticketed).is_ok());
        }
    }

    #[test]
    fn an_idle_process_serves_its_snap_in_and_the_longest_idle_makes_room() {
        let now = Instant::now();
        let mut places = Places::new(2, 10);
        let (a, _) = start(&mut places, A, now);
        let (b, _) = start(&mut places, B, now);
        give(&mut places, a, Some(Fake(A, Some(V))), now);
        give(&mut places, b, Some(Fake(B, Some(V))), now);
        assert!(matches!(places.ask(asked(B), now).1, Answer::Granted(Grant::Use(Fake(B, _)))));
        let (_, evicted) = start(&mut places, C, now);
        assert_eq!(evicted, Some(Fake(A, Some(V))));
    }

    #[test]
    fn snap_ins_take_turns_and_a_slice_spares_restarts() {
        let now = Instant::now();
        let mut places = Places::new(1, 10);
        let (ticket, _) = start(&mut places, A, now);
        let mut first = wait(&mut places, A, now);
        let mut second = wait(&mut places, A, now);
        let mut other = wait(&mut places, B, now);
        give(&mut places, ticket, Some(Fake(A, None)), now);
        let ticket = first.try_recv().expect("within its slice").ticket;
        assert!(other.try_recv().is_err());
        give(&mut places, ticket, Some(Fake(A, None)), now + SLICE);
        // A's turn comes first, then B's, though A has asked more often.
        let served = second.try_recv().or_else(|_| other.try_recv()).expect("somebody is served");
        give(&mut places, served.ticket, Some(Fake(A, None)), now + SLICE * 3);
        assert!(second.try_recv().is_ok() || other.try_recv().is_ok());
        assert_eq!(places.counts(), (1, 0, 0));
    }

    #[test]
    fn one_snap_in_cannot_keep_the_others_waiting() {
        let now = Instant::now();
        let mut places = Places::new(3, 10);
        let (first, _) = start(&mut places, A, now);
        let (_, _) = start(&mut places, A, now);
        let mut waits = wait(&mut places, A, now);
        let (other, _) = start(&mut places, B, now);
        // The place of another is not for it, and stays there for whoever comes.
        give(&mut places, other, Some(Fake(B, Some(V))), now);
        assert!(waits.try_recv().is_err());
        assert!(matches!(places.ask(asked(B), now).1, Answer::Granted(Grant::Use(Fake(B, _)))));
        // Its own is.
        give(&mut places, first, Some(Fake(A, Some(V))), now + SLICE * 2);
        assert!(matches!(waits.try_recv().expect("its turn").grant, Grant::Use(Fake(A, _))));
        assert_eq!(places.counts(), (3, 0, 0));
    }

    #[test]
    fn who_gave_up_is_passed_over_and_the_line_is_bounded() {
        let now = Instant::now();
        let mut places = Places::new(1, 2);
        let (ticket, _) = start(&mut places, A, now);
        drop(wait(&mut places, B, now));
        let mut kept = wait(&mut places, C, now);
        assert!(matches!(places.ask(asked(A), now).1, Answer::Full));
        give(&mut places, ticket, None, now);
        assert!(matches!(kept.try_recv().expect("next").grant, Grant::Start { evicted: None }));
    }

    #[test]
    fn retired_and_closed_processes_serve_no_more() {
        let now = Instant::now();
        let mut places = Places::new(2, 10);
        let (a, _) = start(&mut places, A, now);
        let (b, _) = start(&mut places, B, now);
        give(&mut places, b, Some(Fake(B, None)), now);
        assert_eq!(places.retire(B).len(), 1);
        assert!(places.retire(A).is_empty());
        assert!(places.give_back(a, Some(Fake(A, None)), now).end.is_some());
        assert_eq!(places.counts(), (0, 0, 0));
        let (a, _) = start(&mut places, A, now);
        assert!(places.close().is_empty());
        assert!(matches!(places.ask(asked(A), now).1, Answer::Closed));
        assert!(places.give_back(a, Some(Fake(A, None)), now).end.is_some());
    }
}
