//! What waits in front of one endpoint, and which of it goes next. Pure, and bounded: a window over what
//! the store holds, without bodies.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::DeliveryPlace;

/// How many deliveries are held in memory.
pub const WINDOW: usize = 1_000;

/// What has to be done before one may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    None,
    /// All that is older of its object.
    PerObject,
    /// All that is older.
    Strict,
}

/// The window over one endpoint's queue.
#[derive(Debug, Default)]
pub struct Line {
    known: BTreeMap<u128, Option<String>>,
    /// May be sent now, oldest first.
    ready: BTreeSet<u128>,
    /// Later, by time.
    waiting: BTreeSet<(u64, u128)>,
    under_way: BTreeSet<u128>,
    /// Of each object what is known, so that the oldest goes first.
    of_object: BTreeMap<String, BTreeSet<u128>>,
}

impl Line {
    /// Whether there is room for more of what the store holds: not for one at a time, because looking
    /// costs.
    pub fn has_room(&self) -> bool {
        self.known.len() <= WINDOW / 2
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Adds one of the store, unless it is known.
    pub fn add(&mut self, place: DeliveryPlace) {
        if self.known.contains_key(&place.event) {
            return;
        }
        if let Some(object) = &place.object {
            self.of_object.entry(object.clone()).or_default().insert(place.event);
        }
        self.known.insert(place.event, place.object);
        self.waiting.insert((place.due_ms, place.event));
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
            Order::PerObject => self.is_first_of_object(*it),
            Order::Strict => self.first() == Some(*it),
        })?;
        self.ready.remove(&next);
        self.under_way.insert(next);
        Some(next)
    }

    fn is_first_of_object(&self, event: u128) -> bool {
        let Some(Some(object)) = self.known.get(&event) else { return true };
        self.of_object.get(object).and_then(BTreeSet::first) == Some(&event)
    }

    /// One that was under way is to be sent again.
    pub fn again(&mut self, event: u128, due_ms: u64) {
        if self.under_way.remove(&event) {
            self.waiting.insert((due_ms, event));
        }
    }

    /// One that was under way is done.
    pub fn done(&mut self, event: u128) {
        if !self.under_way.remove(&event) {
            return;
        }
        if let Some(Some(object)) = self.known.remove(&event)
            && let Some(events) = self.of_object.get_mut(&object)
        {
            events.remove(&event);
            if events.is_empty() {
                self.of_object.remove(&object);
            }
        }
    }

    /// Forgets all but what is under way: the store is asked again.
    pub fn forget_waiting(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        let known = std::mem::take(&mut self.known);
        *self = Line::default();
        for event in under_way {
            let object = known.get(&event).cloned().flatten();
            if let Some(object) = &object {
                self.of_object.entry(object.clone()).or_default().insert(event);
            }
            self.known.insert(event, object);
            self.under_way.insert(event);
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

    fn place(event: u128, due_ms: u64, object: &str) -> DeliveryPlace {
        let object = (!object.is_empty()).then(|| object.to_owned());
        DeliveryPlace { event, due_ms, object }
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
        assert_eq!(line.take(0, Order::PerObject), Some(1));
        assert_eq!(line.take(0, Order::PerObject), Some(3), "another object");
        assert_eq!(line.take(0, Order::PerObject), None);
        line.again(1, 30_000);
        assert_eq!(
            line.take(10, Order::PerObject),
            None,
            "the first one waits for its second attempt"
        );
        assert_eq!(line.take(30_000, Order::PerObject), Some(1));
        line.done(1);
        assert_eq!(line.take(30_000, Order::PerObject), Some(2));
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
