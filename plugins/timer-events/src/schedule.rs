//! The times of a timer: what comes next, which is the latest, and how far jitter moves it.
//!
//! All in milliseconds of the Unix epoch. Pure: nothing here knows what time it is.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cron::Cron;

/// When a timer is due.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    /// At the times of a cron line.
    Cron { cron: Box<Cron>, zone: TimeZone },
    /// Every so many milliseconds from an anchor.
    Interval { every_ms: u64 },
}

/// Missed times are counted up to here.
pub(crate) const MOST_COUNTED: u64 = 1_000;

impl Schedule {
    /// The first time after `after`.
    pub(crate) fn next(&self, anchor: u64, after: u64) -> Option<u64> {
        match self {
            Schedule::Cron { cron, zone } => {
                let after = Timestamp::from_millisecond(i64::try_from(after).ok()?).ok()?;
                u64::try_from(cron.next(zone, after)?.as_millisecond()).ok()
            }
            Schedule::Interval { every_ms } => {
                let (anchor, after, every) =
                    (i128::from(anchor), i128::from(after), i128::from(*every_ms));
                let rounds = (after - anchor).div_euclid(every) + 1;
                u64::try_from(anchor + rounds * every).ok()
            }
        }
    }

    /// The last time from `first`, which is one, up to `at`.
    pub(crate) fn latest(&self, anchor: u64, first: u64, at: u64) -> u64 {
        // Whether there is a time after `from` and up to `at`.
        let is_before = |from: u64| self.next(anchor, from).is_some_and(|next| next <= at);
        if !is_before(first) {
            return first;
        }
        // There is one after `low`, and none after `high`.
        let (mut low, mut high) = (first, at);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.next(anchor, low).unwrap_or(first)
    }

    /// How many times there are from `first`, which is one, to `last`; at most [`MOST_COUNTED`].
    pub(crate) fn count(&self, anchor: u64, first: u64, last: u64) -> u64 {
        let mut count = 1;
        let mut time = first;
        while count < MOST_COUNTED
            && let Some(next) = self.next(anchor, time).filter(|it| *it <= last)
        {
            (count, time) = (count + 1, next);
        }
        count
    }
}

/// A number below `below` that is the same for the same seed and time.
pub(crate) fn jitter(seed: u64, time: u64, below: u64) -> u64 {
    if below == 0 {
        return 0;
    }
    // SplitMix64.
    let mut mixed = (seed ^ time).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) % below
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cron(line: &str) -> Schedule {
        Schedule::Cron { cron: Box::new(Cron::parse(line).unwrap()), zone: TimeZone::UTC }
    }

    #[test]
    fn intervals_keep_their_phase() {
        let schedule = Schedule::Interval { every_ms: 100 };
        assert_eq!(schedule.next(30, 30), Some(130));
        assert_eq!(schedule.next(30, 129), Some(130));
        assert_eq!(schedule.next(30, 130), Some(230));
        assert_eq!(schedule.next(1_030, 0), Some(30));
        assert_eq!(schedule.latest(30, 130, 999), 930);
        assert_eq!(schedule.count(30, 130, 930), 9);
    }

    #[test]
    fn counting_ends() {
        assert_eq!(cron("* * * * * *").count(0, 1_000, u64::MAX >> 8), MOST_COUNTED);
    }

    proptest! {
        #[test]
        fn the_latest_is_the_last_before_the_next(
            line in prop::sample::select(vec!["* * * * * *", "0 3 * * *", "7 */5 * * 1", "0 0 29 2 *"]),
            start in 0..4_000_000_000_000u64,
            length in 0..100_000_000_000u64,
        ) {
            let schedule = cron(line);
            let first = schedule.next(0, start).unwrap();
            let at = first + length;
            let latest = schedule.latest(0, first, at);
            prop_assert!((first..=at).contains(&latest));
            prop_assert!(schedule.next(0, latest).unwrap() > at);
            prop_assert_eq!(schedule.next(0, latest - 1), Some(latest));
        }

        #[test]
        fn jitter_stays_below(seed: u64, time: u64, below in 1..100_000u64) {
            prop_assert!(jitter(seed, time, below) < below);
        }
    }
}
