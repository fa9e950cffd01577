//! Which source is to be woken when. Pure: times are handed in. Must never let one source have two
//! wake-ups at a time.

use std::collections::{BTreeSet, HashMap};

use super::Woken;
use crate::model::id::SourceId;

/// When a wake-up that failed is tried again, for the first time.
const FIRST_RETRY_MS: u64 = 1_000;
/// The longest wait between two tries.
const LONGEST_RETRY_MS: u64 = 5 * 60_000;

/// The open sources, and when each is due.
#[derive(Debug)]
pub(super) struct Due {
    /// A source that asks to be woken at once is woken so much later, so that one that always does
    /// leaves room for others.
    shortest_ms: u64,
    slots: HashMap<SourceId, Slot>,
    /// The time and source of each slot that waits for one.
    times: BTreeSet<(u64, SourceId)>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Which opening it is open by; none: it was closed while it was being woken.
    opening: Option<u64>,
    /// When it is due, unless it is being woken.
    due_ms: Option<u64>,
    is_being_woken: bool,
    /// Whether it is to be woken again as soon as it has been.
    again: bool,
    /// When it is to be woken at the latest, as was said while it was being woken.
    sooner_ms: Option<u64>,
    /// Wake-ups in a row that failed.
    failures: u32,
}

impl Due {
    /// No source is open. Between two wake-ups of one that succeed, at least so much passes.
    pub(super) fn new(shortest_ms: u64) -> Due {
        Due { shortest_ms, slots: HashMap::new(), times: BTreeSet::new() }
    }

    /// A source is open: it is to be woken at once. It may be open already, with another
    /// configuration.
    pub(super) fn open(&mut self, source: SourceId, opening: u64, now_ms: u64) {
        let slot = self.slots.entry(source).or_default();
        slot.opening = Some(opening);
        slot.failures = 0;
        if slot.is_being_woken {
            slot.again = true;
        } else {
            self.set(source, Some(now_ms));
        }
    }

    /// A source that was opened so is closed. One that was opened anew since stays open.
    pub(super) fn close(&mut self, source: SourceId, opening: u64) {
        let Some(slot) = self.slots.get_mut(&source) else { return };
        if slot.opening != Some(opening) {
            return;
        }
        slot.opening = None;
        slot.again = false;
        slot.sooner_ms = None;
        self.set(source, None);
        self.slots.retain(|it, slot| *it != source || slot.is_being_woken);
    }

    /// A source has something to do at a time that it did not know of. One whose last wake-up failed
    /// waits nevertheless: the next one looks at everything.
    pub(super) fn sooner(&mut self, source: SourceId, due_ms: u64) {
        let Some(slot) = self.slots.get_mut(&source) else { return };
        if slot.opening.is_none() {
            return;
        }
        if slot.is_being_woken {
            slot.sooner_ms = Some(slot.sooner_ms.map_or(due_ms, |it| it.min(due_ms)));
        } else if slot.failures == 0 && slot.due_ms.is_none_or(|it| it > due_ms) {
            self.set(source, Some(due_ms));
        }
    }

    /// The clock was set back: what it shows now may come before what was waited for.
    pub(super) fn wake_all(&mut self, now_ms: u64) {
        let open: Vec<SourceId> =
            self.slots.iter().filter(|(_, it)| it.opening.is_some()).map(|(id, _)| *id).collect();
        for source in open {
            match self.slots.get_mut(&source) {
                Some(slot) if slot.is_being_woken => slot.again = true,
                Some(_) | None => self.set(source, Some(now_ms)),
            }
        }
    }

    /// When the next source is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.times.first().map(|it| it.0)
    }

    /// Sources that are due, the longest first, at most so many. They are being woken from here on.
    pub(super) fn take(&mut self, now_ms: u64, most: usize) -> Vec<SourceId> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((due_ms, source)) = self.times.first().copied()
            && due_ms <= now_ms
        {
            self.set(source, None);
            if let Some(slot) = self.slots.get_mut(&source) {
                slot.is_being_woken = true;
                taken.push(source);
            }
        }
        taken
    }

    /// A source has been woken.
    pub(super) fn ended(&mut self, source: SourceId, woken: Woken, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(&source) else { return };
        slot.is_being_woken = false;
        if slot.opening.is_none() {
            self.slots.remove(&source);
            return;
        }
        let again = std::mem::take(&mut slot.again);
        let sooner = slot.sooner_ms.take();
        let next = match woken {
            Woken::Next(next) => {
                slot.failures = 0;
                let next = next.into_iter().chain(sooner).min();
                next.map(|it| it.max(now_ms.saturating_add(self.shortest_ms)))
            }
            Woken::Failed { retry_after_ms } => {
                slot.failures = slot.failures.saturating_add(1);
                let wait = backoff_ms(slot.failures).max(retry_after_ms.unwrap_or(0));
                Some(now_ms.saturating_add(wait))
            }
        };
        self.set(source, if again { Some(now_ms) } else { next });
    }

    fn set(&mut self, source: SourceId, due_ms: Option<u64>) {
        let Some(slot) = self.slots.get_mut(&source) else { return };
        if let Some(before) = std::mem::replace(&mut slot.due_ms, due_ms) {
            self.times.remove(&(before, source));
        }
        if let Some(due_ms) = due_ms {
            self.times.insert((due_ms, source));
        }
    }
}

/// How long to wait after so many failures in a row, at least one.
fn backoff_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_RETRY_MS << doublings).min(LONGEST_RETRY_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: SourceId = SourceId(1);
    const B: SourceId = SourceId(2);
    const FAILED: Woken = Woken::Failed { retry_after_ms: None };

    fn woken_at(due: &mut Due, now_ms: u64) -> Vec<SourceId> {
        due.take(now_ms, usize::MAX)
    }

    #[test]
    fn an_opened_source_is_woken_at_once_then_when_it_asks_to_be() {
        let mut due = Due::new(100);
        due.open(A, 1, 1_000);
        due.open(B, 2, 1_001);
        assert_eq!(woken_at(&mut due, 1_000), [A]);
        assert_eq!(woken_at(&mut due, 1_001), [B]);
        assert_eq!(due.next_ms(), None);
        due.ended(A, Woken::Next(Some(9_000)), 1_002);
        due.ended(B, Woken::Next(Some(5_000)), 1_002);
        assert_eq!(due.next_ms(), Some(5_000));
        assert!(woken_at(&mut due, 4_999).is_empty());
        assert_eq!(woken_at(&mut due, 10_000), [B, A], "the one that waits longest first");
        due.ended(A, Woken::Next(None), 10_000);
        assert_eq!(due.next_ms(), None);
    }

    #[test]
    fn a_closed_source_is_not_woken_and_one_that_opens_again_is_at_once() {
        let mut due = Due::new(100);
        due.open(A, 1, 0);
        assert_eq!(woken_at(&mut due, 0), [A]);
        due.ended(A, Woken::Next(Some(500)), 0);
        due.close(A, 1);
        assert!(woken_at(&mut due, 1_000).is_empty());
        assert!(due.slots.is_empty() && due.times.is_empty());
        due.open(A, 2, 1_000);
        // Who closes it late means an opening that is over.
        due.close(A, 1);
        assert_eq!(woken_at(&mut due, 1_000), [A]);
    }

    #[test]
    fn one_wake_up_at_a_time() {
        let mut due = Due::new(100);
        due.open(A, 1, 0);
        assert_eq!(woken_at(&mut due, 0), [A]);
        due.close(A, 1);
        due.open(A, 2, 10);
        assert!(woken_at(&mut due, 10).is_empty(), "the first one is not over");
        due.ended(A, Woken::Next(Some(500)), 20);
        assert_eq!(woken_at(&mut due, 20), [A], "for the second opening");
        due.close(A, 2);
        due.ended(A, Woken::Next(Some(500)), 30);
        assert!(due.slots.is_empty() && due.times.is_empty());
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let mut due = Due::new(100);
        due.open(A, 1, 0);
        let mut waits = Vec::new();
        for _ in 0..11 {
            woken_at(&mut due, u64::MAX);
            due.ended(A, FAILED, 0);
            waits.push(due.next_ms().expect("tried again") / 1_000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        woken_at(&mut due, u64::MAX);
        due.ended(A, Woken::Failed { retry_after_ms: Some(900_000) }, 0);
        assert_eq!(due.next_ms(), Some(900_000));
        woken_at(&mut due, u64::MAX);
        due.ended(A, Woken::Next(Some(7_000)), 0);
        woken_at(&mut due, 7_000);
        due.ended(A, FAILED, 7_000);
        assert_eq!(due.next_ms(), Some(8_000), "counted anew after a success");
    }

    #[test]
    fn a_source_that_is_always_due_leaves_room() {
        let mut due = Due::new(100);
        due.open(A, 1, 1_000);
        woken_at(&mut due, 1_000);
        due.ended(A, Woken::Next(Some(3)), 1_000);
        assert_eq!(due.next_ms(), Some(1_100));
    }

    #[test]
    fn what_comes_sooner_is_not_waited_past() {
        let mut due = Due::new(0);
        due.sooner(A, 5);
        assert_eq!(due.next_ms(), None, "it is not open");
        due.open(A, 1, 0);
        assert_eq!(woken_at(&mut due, 0), [A]);
        // While it is being woken, it may have looked already.
        due.sooner(A, 700);
        due.sooner(A, 500);
        due.sooner(A, 600);
        due.ended(A, Woken::Next(Some(900)), 10);
        assert_eq!(due.next_ms(), Some(500));
        due.sooner(A, 800);
        assert_eq!(due.next_ms(), Some(500), "later than what it knows of");
        due.sooner(A, 20);
        assert_eq!(due.next_ms(), Some(20));
        assert_eq!(woken_at(&mut due, 20), [A]);
        due.ended(A, Woken::Next(None), 21);
        assert_eq!(due.next_ms(), None);
        due.sooner(A, 3);
        assert_eq!(due.next_ms(), Some(3), "late already");
        assert_eq!(woken_at(&mut due, 30), [A]);
        due.ended(A, FAILED, 30);
        due.sooner(A, 40);
        assert_eq!(due.next_ms(), Some(1_030), "the retry looks at everything");
        assert_eq!(woken_at(&mut due, 1_030), [A]);
        due.sooner(A, 50);
        due.close(A, 1);
        due.open(A, 2, 1_031);
        due.ended(A, Woken::Next(None), 1_031);
        assert_eq!(due.next_ms(), Some(1_031), "it was opened");
    }

    #[test]
    fn when_the_clock_is_set_back_all_are_asked() {
        let mut due = Due::new(100);
        due.open(A, 1, 50_000);
        due.open(B, 2, 50_000);
        assert_eq!(due.take(50_000, 1), [A]);
        due.wake_all(10_000);
        assert_eq!(woken_at(&mut due, 10_000), [B]);
        due.ended(A, Woken::Next(Some(60_000)), 10_000);
        assert_eq!(woken_at(&mut due, 10_000), [A]);
    }

    proptest! {
        /// Whatever happens in whatever order: no source is woken twice at a time, none while it is
        /// closed, and every time in the set is that of a slot.
        #[test]
        fn any_order_is_taken(steps in prop::collection::vec((0..6u8, 1..4u128, 0..50u64), 1..200)) {
            let mut due = Due::new(100);
            let mut open: HashMap<SourceId, u64> = HashMap::new();
            let mut awake = std::collections::HashSet::new();
            for (opening, (step, source, time)) in (1..).zip(steps) {
                let source = SourceId(source);
                match step {
                    0 => {
                        due.open(source, opening, time);
                        open.insert(source, opening);
                    }
                    1 => {
                        if let Some(opening) = open.remove(&source) {
                            due.close(source, opening);
                        }
                    }
                    2 => {
                        for taken in due.take(time, 2) {
                            prop_assert!(awake.insert(taken), "twice at a time");
                            prop_assert!(open.contains_key(&taken), "closed");
                        }
                    }
                    3 => {
                        if awake.remove(&source) {
                            let woken = if time % 3 == 0 { FAILED } else { Woken::Next(Some(time)) };
                            due.ended(source, woken, time);
                        }
                    }
                    4 => due.sooner(source, time),
                    _ => due.wake_all(time),
                }
                for (time, source) in &due.times {
                    prop_assert_eq!(due.slots[source].due_ms, Some(*time));
                }
                prop_assert!(due.slots.keys().all(|it| open.contains_key(it) || awake.contains(it)));
            }
        }
    }
}
