//! What waits in front of one receiver, and which of it goes next. Pure, and bounded: a window over what
//! the store holds, without bodies.

use std::collections::{BTreeMap, BTreeSet};

/// How many deliveries are read at once.
pub const WINDOW: usize = 1_000;
/// How many are known altogether, those for later included.
const MOST_KNOWN: usize = 20_000;

/// What has to be done before one may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    None,
    /// All that is older of its group.
    PerGroup,
    /// All that is older.
    Strict,
}

/// Something that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub id: u128,
    /// Not sent before, milliseconds of the Unix epoch.
    pub due_ms: u64,
    /// What belongs to the same thing, when there is one: that may have to go in order.
    pub group: Option<String>,
}

/// The window over one receiver's queue.
#[derive(Debug, Default)]
pub struct Line {
    known: BTreeMap<u128, Option<String>>,
    /// May be sent now, oldest first.
    ready: BTreeSet<u128>,
    /// Later, by time.
    waiting: BTreeSet<(u64, u128)>,
    under_way: BTreeSet<u128>,
    /// Of each group what is known, so that the oldest goes first.
    of_group: BTreeMap<String, BTreeSet<u128>>,
}

impl Line {
    /// Whether there is room for more of what the store holds: not for one at a time, because looking
    /// costs. Those that wait for their next attempt take no room, or enough of them would keep out what
    /// could be sent now.
    pub fn has_room(&self) -> bool {
        let soon = self.known.len().saturating_sub(self.waiting.len());
        soon <= WINDOW / 2 && self.known.len() < MOST_KNOWN
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Adds one of the store, unless it is known.
    pub fn add(&mut self, place: Place) {
        if self.known.contains_key(&place.id) {
            return;
        }
        if let Some(group) = &place.group {
            self.of_group.entry(group.clone()).or_default().insert(place.id);
        }
        self.known.insert(place.id, place.group);
        self.waiting.insert((place.due_ms, place.id));
    }

    /// The oldest one that is known.
    pub fn first(&self) -> Option<u128> {
        self.known.keys().next().copied()
    }

    /// Takes the next one to send: the oldest that is due and whose turn it is.
    pub fn take(&mut self, now_ms: u64, order: Order) -> Option<u128> {
        while let Some(due) = self.waiting.first().copied().filter(|it| it.0 <= now_ms) {
            self.waiting.remove(&due);
            self.ready.insert(due.1);
        }
        let next = self.ready.iter().copied().find(|it| match order {
            Order::None => true,
            Order::PerGroup => self.is_first_of_group(*it),
            Order::Strict => self.first() == Some(*it),
        })?;
        self.ready.remove(&next);
        self.under_way.insert(next);
        Some(next)
    }

    fn is_first_of_group(&self, id: u128) -> bool {
        let Some(Some(group)) = self.known.get(&id) else { return true };
        self.of_group.get(group).and_then(BTreeSet::first) == Some(&id)
    }

    /// One that was under way is to be sent again.
    pub fn again(&mut self, id: u128, due_ms: u64) {
        if self.under_way.remove(&id) {
            self.waiting.insert((due_ms, id));
        }
    }

    /// One that was under way is done.
    pub fn done(&mut self, id: u128) {
        if !self.under_way.remove(&id) {
            return;
        }
        if let Some(Some(group)) = self.known.remove(&id)
            && let Some(ids) = self.of_group.get_mut(&group)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_group.remove(&group);
            }
        }
    }

    /// Forgets all but what is under way: the store is asked again.
    pub fn forget_waiting(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        let known = std::mem::take(&mut self.known);
        *self = Line::default();
        for id in under_way {
            let group = known.get(&id).cloned().flatten();
            if let Some(group) = &group {
                self.of_group.entry(group.clone()).or_default().insert(id);
            }
            self.known.insert(id, group);
            self.under_way.insert(id);
        }
    }

    /// When the next one that waits is due; nothing when none waits.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.waiting.first().map(|it| it.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: u128, due_ms: u64, group: &str) -> Place {
        let group = (!group.is_empty()).then(|| group.to_owned());
        Place { id, due_ms, group }
    }

    fn line(places: &[(u128, u64, &str)]) -> Line {
        let mut line = Line::default();
        places.iter().for_each(|(event, due_ms, object)| line.add(place(*event, *due_ms, object)));
        line
    }

    #[test]
    fn the_oldest_that_is_due_goes_first() {
        let mut line = line(&[(1, 50, ""), (2, 0, ""), (3, 0, "")]);
        assert_eq!(line.take(10, Order::Strict), None, "the oldest one is not due");
        assert_eq!(line.take(10, Order::None), Some(2));
        assert_eq!(line.take(10, Order::None), Some(3));
        assert_eq!(line.take(10, Order::None), None);
        assert_eq!(line.next_due_ms(), Some(50));
        line.again(2, 40);
        line.done(3);
        assert_eq!((line.take(60, Order::None), line.take(60, Order::None)), (Some(1), Some(2)));
        assert_eq!(line.under_way(), 2);
    }

    #[test]
    fn in_order_an_object_waits_for_its_oldest() {
        let mut line = line(&[(1, 0, "a"), (2, 0, "a"), (3, 0, "b")]);
        assert_eq!(line.take(0, Order::PerGroup), Some(1));
        assert_eq!(line.take(0, Order::PerGroup), Some(3), "another object");
        assert_eq!(line.take(0, Order::PerGroup), None);
        line.again(1, 30_000);
        assert_eq!(
            line.take(10, Order::PerGroup),
            None,
            "the first one waits for its second attempt"
        );
        assert_eq!(line.take(30_000, Order::PerGroup), Some(1));
        line.done(1);
        assert_eq!(line.take(30_000, Order::PerGroup), Some(2));
    }

    #[test]
    fn in_strict_order_one_goes_at_a_time() {
        let mut line = line(&[(1, 0, "a"), (2, 0, "b")]);
        assert_eq!(line.take(0, Order::Strict), Some(1));
        assert_eq!(line.take(0, Order::Strict), None);
        line.done(1);
        assert_eq!((line.first(), line.take(0, Order::Strict)), (Some(2), Some(2)));
    }

    #[test]
    fn those_for_later_keep_nobody_out() {
        let mut line = Line::default();
        (0..5_000).for_each(|id| line.add(place(id, 60_000, "")));
        assert!(line.has_room());
        line.add(place(5_000, 0, ""));
        assert_eq!(line.take(0, Order::None), Some(5_000));
        assert_eq!(line.take(60_000, Order::None), Some(0));
        assert!(!line.has_room(), "all are due by now");
        (5_001..MOST_KNOWN as u128).for_each(|id| line.add(place(id, 90_000, "")));
        assert!(!line.has_room());
    }

    #[test]
    fn what_is_under_way_is_not_added_again() {
        let mut line = line(&[(1, 0, "a"), (2, 0, "a")]);
        assert_eq!(line.take(0, Order::None), Some(1));
        line.forget_waiting();
        line.add(place(1, 0, "a"));
        line.add(place(2, 0, "a"));
        assert_eq!(line.take(0, Order::None), Some(2));
        assert_eq!(line.take(0, Order::None), None);
        line.done(1);
        line.done(2);
        assert!(line.has_room() && line.first().is_none());
    }
}
