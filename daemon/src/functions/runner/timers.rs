//! When timers are due. The callbacks stay in JavaScript; here are only their ids.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Timers {
    next_id: u32,
    // In the order in which they fire: by time, then by the order in which they were armed.
    due: BTreeMap<(Instant, u64), u32>,
    armed: HashMap<u32, Armed>,
    sequence: u64,
    held: usize,
}

struct Armed {
    key: (Instant, u64),
    held: bool,
}

impl Timers {
    pub(super) fn arm(&mut self, now: Instant, delay: Duration, held: bool) -> u32 {
        self.next_id = self.next_id.wrapping_add(1).max(1);
        self.arm_as(self.next_id, now, delay, held);
        self.next_id
    }

    pub(super) fn arm_as(&mut self, id: u32, now: Instant, delay: Duration, held: bool) {
        self.disarm(id);
        self.sequence += 1;
        let key = (now + delay, self.sequence);
        self.due.insert(key, id);
        self.armed.insert(id, Armed { key, held });
        self.held += usize::from(held);
    }

    pub(super) fn disarm(&mut self, id: u32) {
        if let Some(armed) = self.armed.remove(&id) {
            self.due.remove(&armed.key);
            self.held -= usize::from(armed.held);
        }
    }

    /// A timer that is not held does not keep a run waiting.
    pub(super) fn hold(&mut self, id: u32, held: bool) {
        if let Some(armed) = self.armed.get_mut(&id) {
            self.held -= usize::from(armed.held);
            self.held += usize::from(held);
            armed.held = held;
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the first timer that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        let (key, id) = self.due.first_key_value().map(|(key, id)| (*key, *id))?;
        if key.0 > now {
            return None;
        }
        self.disarm(id);
        Some(id)
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }
}
