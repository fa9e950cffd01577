//! Which run starts next. Plain data without clock, store or threads: the [`super::dispatcher`] tells
//! it what happened and asks what to start.
//!
//! - Snap-ins take turns, and within a snap-in its functions do, so that one that floods the queue
//!   delays nobody but itself.
//! - A function has at most its `limit` of attempts under way.
//! - Runs of one function with the same `sync_id` form a group that waits for its head: the next one
//!   is not startable before the head has *ended*, also while that waits for another attempt.
//! - A closed snap-in starts nothing.
//!
//! Invariant: every run known here is in exactly one of `ready`, a group's `waiting`, `timers` (with
//! its ticket in `delayed`) or `started`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::dispatcher::EventAtHand;
use crate::model::id::{RunId, SnapInId, VersionId};

/// A run that waits, with what is needed to start it.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) run: RunId,
    pub(super) snap_in: SnapInId,
    pub(super) version: VersionId,
    pub(super) function: Arc<str>,
    pub(super) sync_id: Option<Arc<str>>,
    /// How many attempts of the function may be under way.
    pub(super) limit: u32,
    /// The event, when it was at hand; else it is read from the store.
    pub(super) event: Option<EventAtHand>,
}

type FunctionKey = (VersionId, Arc<str>);
type GroupKey = (FunctionKey, Arc<str>);

impl Ticket {
    fn function_key(&self) -> FunctionKey {
        (self.version, self.function.clone())
    }

    fn group_key(&self) -> Option<GroupKey> {
        // By name only: order must hold over a change of version too.
        let function = (VersionId(0), self.function.clone());
        self.sync_id.clone().map(|it| (function, it))
    }
}

#[derive(Debug, Default)]
struct FunctionLane {
    ready: VecDeque<Ticket>,
    under_way: u32,
}

#[derive(Debug, Default)]
struct Lane {
    /// Whether the state of the snap-in lets runs start.
    open: bool,
    /// Whether something that they need is not there at the moment.
    held: bool,
    /// Functions that have something ready, in the order of their turns.
    turns: VecDeque<FunctionKey>,
    functions: HashMap<FunctionKey, FunctionLane>,
    /// Per group: those that wait behind its head.
    groups: HashMap<GroupKey, VecDeque<Ticket>>,
    /// Whether the lane stands in the queue's turns.
    queued: bool,
    waiting: usize,
    started: usize,
}

/// All runs that have not ended, as far as this process is concerned.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: HashMap<SnapInId, Lane>,
    turns: VecDeque<SnapInId>,
    timers: BTreeMap<(u64, RunId), SnapInId>,
    delayed: HashMap<RunId, (u64, Ticket)>,
    started: HashMap<RunId, Started>,
    /// How many runs hold their event in memory.
    events_at_hand: usize,
}

#[derive(Debug)]
struct Started {
    ticket: Ticket,
    /// Whether it counts against its function's limit.
    under_way: bool,
}

impl Queue {
    /// How many runs, waiting or started, hold their event in memory.
    pub(super) fn events_at_hand(&self) -> usize {
        self.events_at_hand
    }

    /// Adds a run behind those that are there.
    pub(super) fn push(&mut self, ticket: Ticket) {
        self.events_at_hand += usize::from(ticket.event.is_some());
        let lane = self.lanes.entry(ticket.snap_in).or_default();
        lane.waiting += 1;
        if let Some(key) = ticket.group_key() {
            if let Some(behind_head) = lane.groups.get_mut(&key) {
                behind_head.push_back(ticket);
                return;
            }
            lane.groups.insert(key, VecDeque::new());
        }
        self.make_ready(ticket, false);
    }

    /// Adds a run that waits for another attempt; it is the head of its group.
    pub(super) fn push_later(&mut self, ticket: Ticket, at_ms: u64) {
        self.events_at_hand += usize::from(ticket.event.is_some());
        let lane = self.lanes.entry(ticket.snap_in).or_default();
        if let Some(key) = ticket.group_key() {
            if let Some(behind_head) = lane.groups.get_mut(&key) {
                lane.waiting += 1;
                behind_head.push_back(ticket);
                return;
            }
            lane.groups.insert(key, VecDeque::new());
        }
        lane.waiting += 1;
        self.delay(ticket, at_ms);
    }

    /// Opens or closes a snap-in.
    pub(super) fn set_open(&mut self, snap_in: SnapInId, open: bool) {
        let lane = self.lanes.entry(snap_in).or_default();
        lane.open = open;
        self.give_turn(snap_in);
        self.forget_if_empty(snap_in);
    }

    /// Holds the runs of a snap-in, or lets them go.
    pub(super) fn set_held(&mut self, snap_in: SnapInId, held: bool) {
        let lane = self.lanes.entry(snap_in).or_default();
        lane.held = held;
        self.give_turn(snap_in);
        self.forget_if_empty(snap_in);
    }

    /// The next run to start, if one may. It counts as started from now on.
    pub(super) fn take(&mut self) -> Option<Ticket> {
        while let Some(snap_in) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&snap_in) else { continue };
            lane.queued = false;
            if !lane.open || lane.held {
                continue;
            }
            let Some(ticket) = lane.take() else { continue };
            lane.waiting -= 1;
            lane.started += 1;
            self.give_turn(snap_in);
            self.started.insert(ticket.run, Started { ticket: ticket.clone(), under_way: true });
            return Some(ticket);
        }
        None
    }

    /// The attempt is over; its function may start another. The run is not settled yet.
    pub(super) fn release(&mut self, run: RunId) {
        let Some(started) = self.started.get_mut(&run) else { return };
        if std::mem::take(&mut started.under_way) {
            let (snap_in, key) = (started.ticket.snap_in, started.ticket.function_key());
            self.free_slot(snap_in, &key);
        }
    }

    /// A started run has ended, or is gone: the next of its group may start.
    pub(super) fn ended(&mut self, run: RunId) {
        self.release(run);
        let Some(Started { ticket, .. }) = self.started.remove(&run) else { return };
        self.events_at_hand -= usize::from(ticket.event.is_some());
        if let Some(lane) = self.lanes.get_mut(&ticket.snap_in) {
            lane.started -= 1;
        }
        self.leave_group(&ticket);
        self.forget_if_empty(ticket.snap_in);
    }

    /// A started run waits for another attempt. Its group waits with it.
    pub(super) fn again(&mut self, run: RunId, at_ms: u64) {
        self.release(run);
        let Some(Started { ticket, .. }) = self.started.remove(&run) else { return };
        if let Some(lane) = self.lanes.get_mut(&ticket.snap_in) {
            lane.started -= 1;
            lane.waiting += 1;
        }
        self.delay(ticket, at_ms);
    }

    /// A started run did not start after all; it goes first when its snap-in opens again.
    pub(super) fn put_back(&mut self, run: RunId) {
        self.release(run);
        let Some(Started { ticket, .. }) = self.started.remove(&run) else { return };
        if let Some(lane) = self.lanes.get_mut(&ticket.snap_in) {
            lane.started -= 1;
            lane.waiting += 1;
        }
        self.make_ready(ticket, true);
    }

    /// Makes ready what is due.
    pub(super) fn wake_due(&mut self, now_ms: u64) {
        while let Some(entry) = self.timers.first_entry() {
            let (at_ms, run) = *entry.key();
            if at_ms > now_ms {
                return;
            }
            entry.remove();
            if let Some((_, ticket)) = self.delayed.remove(&run) {
                self.make_ready(ticket, false);
            }
        }
    }

    /// Makes a delayed run due at once. Answers whether there was one.
    pub(super) fn hurry(&mut self, run: RunId) -> bool {
        let Some((at_ms, ticket)) = self.delayed.remove(&run) else { return false };
        self.timers.remove(&(at_ms, run));
        self.make_ready(ticket, false);
        true
    }

    /// When the next delayed run is due.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.timers.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Forgets a run that has not started, because it was cancelled. A started one ends by itself.
    pub(super) fn remove(&mut self, run: RunId, snap_in: SnapInId) {
        if let Some((at_ms, ticket)) = self.delayed.remove(&run) {
            self.timers.remove(&(at_ms, run));
            self.forget_waiting(&ticket);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&snap_in) else { return };
        for function in lane.functions.values_mut() {
            if let Some(place) = function.ready.iter().position(|it| it.run == run) {
                if let Some(ticket) = function.ready.remove(place) {
                    self.forget_waiting(&ticket);
                }
                return;
            }
        }
        for behind_head in lane.groups.values_mut() {
            if let Some(place) = behind_head.iter().position(|it| it.run == run) {
                let removed = behind_head.remove(place);
                self.events_at_hand -= usize::from(removed.is_some_and(|it| it.event.is_some()));
                lane.waiting -= 1;
                self.forget_if_empty(snap_in);
                return;
            }
        }
    }

    /// How many runs of a snap-in wait.
    pub(super) fn waiting(&self, snap_in: SnapInId) -> usize {
        self.lanes.get(&snap_in).map_or(0, |it| it.waiting)
    }

    /// How many runs of a snap-in have started and not been settled.
    pub(super) fn started(&self, snap_in: SnapInId) -> usize {
        self.lanes.get(&snap_in).map_or(0, |it| it.started)
    }

    /// How many runs have started and not been settled.
    pub(super) fn all_started(&self) -> usize {
        self.started.len()
    }

    /// Whether the run is known here.
    pub(super) fn is_started(&self, run: RunId) -> bool {
        self.started.contains_key(&run)
    }

    fn forget_waiting(&mut self, ticket: &Ticket) {
        self.events_at_hand -= usize::from(ticket.event.is_some());
        if let Some(lane) = self.lanes.get_mut(&ticket.snap_in) {
            lane.waiting -= 1;
        }
        self.leave_group(ticket);
        self.forget_if_empty(ticket.snap_in);
    }

    fn delay(&mut self, ticket: Ticket, at_ms: u64) {
        self.timers.insert((at_ms, ticket.run), ticket.snap_in);
        self.delayed.insert(ticket.run, (at_ms, ticket));
    }

    fn make_ready(&mut self, ticket: Ticket, first: bool) {
        let snap_in = ticket.snap_in;
        let key = ticket.function_key();
        let lane = self.lanes.entry(snap_in).or_default();
        let function = lane.functions.entry(key.clone()).or_default();
        if function.ready.is_empty() {
            lane.turns.push_back(key);
        }
        if first {
            function.ready.push_front(ticket);
        } else {
            function.ready.push_back(ticket);
        }
        self.give_turn(snap_in);
    }

    fn free_slot(&mut self, snap_in: SnapInId, key: &FunctionKey) {
        let Some(lane) = self.lanes.get_mut(&snap_in) else { return };
        if let Some(function) = lane.functions.get_mut(key) {
            function.under_way = function.under_way.saturating_sub(1);
            if function.ready.is_empty() && function.under_way == 0 {
                lane.functions.remove(key);
            }
        }
        self.give_turn(snap_in);
    }

    /// The head of a group has ended: its next one becomes ready.
    fn leave_group(&mut self, ticket: &Ticket) {
        let Some(key) = ticket.group_key() else { return };
        let Some(lane) = self.lanes.get_mut(&ticket.snap_in) else { return };
        let Some(behind_head) = lane.groups.get_mut(&key) else { return };
        match behind_head.pop_front() {
            Some(next) => self.make_ready(next, false),
            None => {
                lane.groups.remove(&key);
            }
        }
    }

    /// Puts a snap-in in the queue for turns, if it may have something to start.
    fn give_turn(&mut self, snap_in: SnapInId) {
        if let Some(lane) = self.lanes.get_mut(&snap_in)
            && lane.open
            && !lane.held
            && !lane.queued
            && lane.may_start()
        {
            lane.queued = true;
            self.turns.push_back(snap_in);
        }
    }

    fn forget_if_empty(&mut self, snap_in: SnapInId) {
        if let Some(lane) = self.lanes.get(&snap_in)
            && !lane.open
            && !lane.held
            && lane.waiting == 0
            && lane.started == 0
        {
            self.lanes.remove(&snap_in);
        }
    }
}

impl Lane {
    fn may_start(&self) -> bool {
        self.turns.iter().any(|key| self.functions.get(key).is_some_and(FunctionLane::may_start))
    }

    fn take(&mut self) -> Option<Ticket> {
        for _ in 0..self.turns.len() {
            let key = self.turns.pop_front()?;
            let Some(function) = self.functions.get_mut(&key) else { continue };
            if !function.may_start() {
                if !function.ready.is_empty() {
                    self.turns.push_back(key);
                }
                continue;
            }
            let ticket = function.ready.pop_front()?;
            function.under_way += 1;
            if !function.ready.is_empty() {
                self.turns.push_back(key);
            }
            return Some(ticket);
        }
        None
    }
}

impl FunctionLane {
    fn may_start(&self) -> bool {
        self.ready.front().is_some_and(|it| self.under_way < it.limit.max(1))
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
