//! What becomes of a message that a sink was handed, and of the integration behind it: retries that
//! wait longer each time, and a circuit that opens when nothing gets through. Pure.
//!
//! An open circuit holds what waits: nothing is sent, so nothing uses up attempts. When its time is over
//! one message tries the way; whether that one gets through decides, and it costs no attempt either. So
//! an outage of a day loses nothing.

use serde::{Deserialize, Serialize};

use super::attempts::{Next, Tries};

/// How long a message waits after each attempt that failed; after the last of them it is given up.
pub const PAUSES_MS: [u64; 7] =
    [2_000, 10_000, 30_000, 2 * 60_000, 10 * 60_000, 30 * 60_000, 60 * 60_000];
/// Failures in a row, of whichever messages, at which the circuit opens.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long it stays open at first; twice as long each time after.
const FIRST_OPEN_MS: u64 = 15_000;
/// The longest that it stays open.
const LONGEST_OPEN_MS: u64 = 10 * 60_000;
/// How long at first when the sink says that its configuration is wrong: a change of that closes it.
const FIRST_OPEN_CONFIG_MS: u64 = 2 * 60_000;
/// How often one message may be put off by the other side before that counts as a failure.
const MOST_THROTTLED: u32 = 24;
/// The longest that the other side may put one off, whatever it says.
const LONGEST_THROTTLE_MS: u64 = 60 * 60_000;

/// What came of handing a message to the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Taken,
    /// It wants it later, and says when.
    Throttled {
        /// How long it wants to be left alone.
        pause_ms: u64,
        /// What it said.
        reason: String,
    },
    /// It may work later.
    Transient {
        /// What happened.
        reason: String,
    },
    /// The configuration is wrong: no message will get through until that is changed.
    Config {
        /// What is wrong.
        reason: String,
    },
    /// This message will never be taken.
    Permanent {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// What went wrong.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Taken => None,
            Outcome::Throttled { reason, .. }
            | Outcome::Transient { reason }
            | Outcome::Config { reason }
            | Outcome::Permanent { reason } => Some(reason),
        }
    }
}

/// What happens to a message after an attempt. `holds` says that the circuit is open after it, or was
/// tried with it: then it does not count. `jitter` is 0 to 1000: how much of a quarter is added to its
/// pause, so that messages that failed together do not come back together.
pub fn after_attempt(
    tries: Tries,
    outcome: &Outcome,
    holds: bool,
    jitter: u16,
    now_ms: u64,
) -> (Tries, Next) {
    match outcome {
        Outcome::Taken => (tries, Next::Delivered),
        Outcome::Permanent { .. } => {
            (Tries { failed: tries.failed.saturating_add(1), ..tries }, Next::GivenUp)
        }
        Outcome::Throttled { pause_ms, .. } if tries.throttled < MOST_THROTTLED => {
            let tries = Tries { throttled: tries.throttled + 1, ..tries };
            (tries, Next::Again { at_ms: now_ms.saturating_add(throttle_ms(*pause_ms)) })
        }
        // The circuit says when.
        Outcome::Config { .. } => (tries, Next::Again { at_ms: now_ms }),
        Outcome::Transient { .. } if holds => (tries, Next::Again { at_ms: now_ms }),
        Outcome::Throttled { .. } | Outcome::Transient { .. } => {
            let failed = tries.failed.saturating_add(1);
            let pause = usize::try_from(tries.failed).ok().and_then(|it| PAUSES_MS.get(it));
            let next = match pause {
                Some(pause) => {
                    let more = pause / 4 * u64::from(jitter.min(1_000)) / 1_000;
                    Next::Again { at_ms: now_ms.saturating_add(pause + more) }
                }
                None => Next::GivenUp,
            };
            (Tries { failed, ..tries }, next)
        }
    }
}

/// How long the other side is left alone.
pub fn throttle_ms(asked_ms: u64) -> u64 {
    asked_ms.clamp(500, LONGEST_THROTTLE_MS)
}

/// Whether messages get through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Circuit {
    /// They do, as far as is known.
    Closed {
        /// Failures since one did.
        #[serde(default)]
        failures: u32,
    },
    /// They do not.
    Open {
        /// Since when, milliseconds of the Unix epoch.
        since_ms: u64,
        /// When one is tried.
        until_ms: u64,
        /// How often one was.
        probes: u32,
        /// Why.
        reason: String,
        /// Whether it is the configuration that is wrong.
        #[serde(default)]
        config: bool,
    },
}

impl Default for Circuit {
    fn default() -> Circuit {
        Circuit::Closed { failures: 0 }
    }
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// As much as rate and concurrency allow.
    Open,
    /// One message, to see whether it gets through.
    OneProbe,
    /// Nothing.
    Closed {
        /// Until then, milliseconds of the Unix epoch.
        until_ms: u64,
    },
}

impl Circuit {
    /// What may be sent now.
    pub fn gate(&self, now_ms: u64) -> Gate {
        match self {
            Circuit::Closed { .. } => Gate::Open,
            // A clock that was set back must not hold everything for ever.
            Circuit::Open { since_ms, until_ms, .. }
                if *until_ms <= now_ms || now_ms < since_ms.saturating_sub(60_000) =>
            {
                Gate::OneProbe
            }
            Circuit::Open { until_ms, .. } => Gate::Closed { until_ms: *until_ms },
        }
    }

    /// Whether messages are held.
    pub fn is_open(&self) -> bool {
        match self {
            Circuit::Open { .. } => true,
            Circuit::Closed { .. } => false,
        }
    }

    /// What it is after an attempt.
    pub fn after(&self, outcome: &Outcome, now_ms: u64) -> Circuit {
        match outcome {
            // Who refuses one message for what it is, or wants to be left alone for a while, is there.
            Outcome::Taken | Outcome::Permanent { .. } | Outcome::Throttled { .. } => {
                Circuit::default()
            }
            Outcome::Config { reason } => self.opened(reason, true, now_ms),
            Outcome::Transient { reason } => match self {
                Circuit::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                    Circuit::Closed { failures: failures + 1 }
                }
                Circuit::Closed { .. } | Circuit::Open { .. } => self.opened(reason, false, now_ms),
            },
        }
    }

    fn opened(&self, reason: &str, config: bool, now_ms: u64) -> Circuit {
        let reason = reason.to_owned();
        let first_ms = if config { FIRST_OPEN_CONFIG_MS } else { FIRST_OPEN_MS };
        match self {
            Circuit::Closed { .. } => {
                let until_ms = now_ms.saturating_add(first_ms);
                Circuit::Open { since_ms: now_ms, until_ms, probes: 0, reason, config }
            }
            // Others were under way when it opened: they say nothing new.
            Circuit::Open { until_ms, .. } if now_ms < *until_ms => self.clone(),
            Circuit::Open { since_ms, probes, .. } => {
                let probes = probes.saturating_add(1);
                let pause_ms = (first_ms << probes.min(16)).min(LONGEST_OPEN_MS);
                let (since_ms, until_ms) = (*since_ms, now_ms.saturating_add(pause_ms));
                Circuit::Open { since_ms, until_ms, probes, reason, config }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transient() -> Outcome {
        Outcome::Transient { reason: "no answer".to_owned() }
    }

    fn config() -> Outcome {
        Outcome::Config { reason: "bad token".to_owned() }
    }

    #[test]
    fn retries_wait_longer_each_time_and_end() {
        let (mut tries, mut now_ms, mut pauses) = (Tries::default(), 0, Vec::new());
        loop {
            let (after, next) = after_attempt(tries, &transient(), false, 0, now_ms);
            tries = after;
            match next {
                Next::Again { at_ms } => {
                    pauses.push(at_ms - now_ms);
                    now_ms = at_ms;
                }
                Next::GivenUp => break,
                Next::Delivered => panic!("it failed"),
            }
        }
        assert_eq!(pauses, PAUSES_MS);
        let (_, Next::Again { at_ms }) =
            after_attempt(Tries::default(), &transient(), false, 1_000, 0)
        else {
            panic!("it is tried again");
        };
        assert_eq!(at_ms, 2_500, "a quarter more at most");
        let refused = Outcome::Permanent { reason: "too long".to_owned() };
        assert_eq!(after_attempt(Tries::default(), &refused, false, 0, 0).1, Next::GivenUp);
    }

    #[test]
    fn what_is_held_costs_nothing() {
        let tries = Tries { failed: 6, throttled: 3 };
        for (outcome, holds) in [(transient(), true), (config(), false), (config(), true)] {
            let next = Next::Again { at_ms: 7 };
            assert_eq!(after_attempt(tries, &outcome, holds, 0, 7), (tries, next));
        }
        let throttled = Outcome::Throttled { pause_ms: 9_000, reason: String::new() };
        let (after, next) = after_attempt(tries, &throttled, false, 0, 1_000);
        assert_eq!((after.failed, after.throttled, next), (6, 4, Next::Again { at_ms: 10_000 }));
        let often = Tries { failed: 0, throttled: MOST_THROTTLED };
        assert_eq!(after_attempt(often, &throttled, false, 0, 0).0.failed, 1);
    }

    #[test]
    fn the_circuit_opens_after_failures_in_a_row_and_one_gets_it_closed() {
        let mut circuit = Circuit::default();
        for _ in 0..FAILURES_TO_OPEN - 1 {
            circuit = circuit.after(&transient(), 0);
            assert_eq!(circuit.gate(0), Gate::Open);
        }
        assert_eq!(circuit.after(&Outcome::Taken, 0), Circuit::default(), "in a row");
        circuit = circuit.after(&transient(), 100);
        assert_eq!(circuit.gate(100), Gate::Closed { until_ms: 15_100 });
        assert_eq!(circuit.after(&transient(), 5_000), circuit, "those that were under way");
        assert_eq!(circuit.gate(15_100), Gate::OneProbe);
        let longer = circuit.after(&transient(), 15_100);
        assert_eq!(longer.gate(15_101), Gate::Closed { until_ms: 45_100 });
        assert_eq!(longer.after(&Outcome::Taken, 50_000).gate(50_000), Gate::Open);
        let wrong = Circuit::default().after(&config(), 0);
        assert!(matches!(wrong, Circuit::Open { until_ms: 120_000, config: true, .. }));
        assert_eq!(longer.gate(0), Gate::Closed { until_ms: 45_100 });
        let later = Circuit::default().after(&config(), 10_000_000);
        assert_eq!(later.gate(0), Gate::OneProbe, "the clock was set back");
    }

    proptest! {
        #[test]
        fn nothing_is_held_for_longer_than_ten_minutes(
            steps in proptest::collection::vec((0u8..5, 0u64..2_000_000), 1..60)
        ) {
            let (mut circuit, mut now_ms) = (Circuit::default(), 0u64);
            for (what, after_ms) in steps {
                now_ms += after_ms;
                let outcome = match what {
                    0 => Outcome::Taken,
                    1 => config(),
                    2 => Outcome::Permanent { reason: String::new() },
                    _ => transient(),
                };
                circuit = circuit.after(&outcome, now_ms);
                if let Gate::Closed { until_ms } = circuit.gate(now_ms) {
                    prop_assert!(until_ms > now_ms && until_ms - now_ms <= LONGEST_OPEN_MS);
                }
                if outcome == Outcome::Taken {
                    prop_assert!(!circuit.is_open());
                }
            }
        }
    }
}
