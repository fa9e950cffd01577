//! How often something died, and whether it is worth building again.

use std::time::Duration;

/// How often it is built again before it is left alone until somebody asks for it.
const MOST_DEATHS: u32 = 10;
/// Deaths that are further apart than this have nothing to do with each other.
const FORGIVEN_AFTER_MS: u64 = 60 * 60 * 1000;
/// Before the first time; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The deaths of one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deaths {
    count: u32,
    last_ms: u64,
}

impl Deaths {
    /// It died once more. Answers how long to wait before it is built again; nothing when it dies again
    /// and again.
    pub(super) fn one_more(&mut self, now_ms: u64) -> Option<Duration> {
        if now_ms.saturating_sub(self.last_ms) > FORGIVEN_AFTER_MS {
            self.count = 0;
        }
        self.last_ms = now_ms;
        self.count = self.count.saturating_add(1);
        let doublings = self.count - 1;
        (doublings < MOST_DEATHS).then(|| FIRST_PAUSE * 2u32.saturating_pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_and_are_forgiven() {
        let mut deaths = Deaths::default();
        let pauses: Vec<_> = (0..MOST_DEATHS).map(|_| deaths.one_more(1_000_000)).collect();
        assert_eq!(pauses[0], Some(FIRST_PAUSE));
        assert_eq!(pauses[9], Some(FIRST_PAUSE * 512));
        assert_eq!(deaths.one_more(1_000_000), None);
        assert_eq!(deaths.one_more(1_000_001 + FORGIVEN_AFTER_MS), Some(FIRST_PAUSE));
    }
}
