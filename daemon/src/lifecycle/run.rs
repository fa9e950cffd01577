//! The life of a run: what an attempt's end means (spec §2.5, design §3 "At least once, in order").
//!
//! A failure is the function's own and is retried only when it says so (`retry: true`) and its
//! policy has attempts left. An interruption is the host's fault and is run again, a bounded number
//! of times, because a run that takes the daemon down each time must not do so for ever.

use crate::model::run::{Attempt, AttemptOutcome, RunState};

/// How often a run that the host cut off is started again.
pub const MOST_INTERRUPTIONS: usize = INTERRUPTION_PAUSES_MS.len();
/// How long it waits each time. At once after the first, which mostly is a restart; what is out of
/// order for longer, such as a disk, must not use all of them up within a moment.
const INTERRUPTION_PAUSES_MS: [u64; 3] = [0, 2_000, 30_000];

/// How long a run that was put off waits the first time; twice as long each time after.
const FIRST_PAUSE_MS: u64 = 5_000;
/// The longest that it waits.
const LONGEST_PAUSE_MS: u64 = 5 * 60_000;
/// How often a run is put off: for about a day.
pub const MOST_POSTPONEMENTS: usize = 300;

/// The retry policy of a function (manifest `config.runtime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a failed attempt that asks for it is repeated.
    pub max_retries: u32,
    /// How long to wait before that.
    pub min_interval_ms: u64,
}

/// What happens after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing; the run ended in this state.
    End(RunState),
    /// Another attempt at that time, milliseconds of the Unix epoch.
    Again {
        /// Not before.
        at_ms: u64,
    },
}

/// What happens after the last of `attempts`, which has just ended.
///
/// `attempts` are those that count: none from before a manual retry.
pub fn after_attempt(attempts: &[Attempt], policy: RetryPolicy, now_ms: u64) -> Next {
    let Some(outcome) = attempts.last().and_then(|it| it.outcome.as_ref()) else {
        return Next::Again { at_ms: now_ms };
    };
    match outcome {
        AttemptOutcome::Succeeded => Next::End(RunState::Succeeded),
        AttemptOutcome::Cancelled { .. } => Next::End(RunState::Cancelled),
        AttemptOutcome::Failed(error) if !error.retry => Next::End(RunState::Failed),
        AttemptOutcome::Failed(_) => {
            let failures = count(attempts, |it| matches!(it, AttemptOutcome::Failed(_)));
            if failures <= policy.max_retries as usize {
                Next::Again { at_ms: now_ms.saturating_add(policy.min_interval_ms) }
            } else {
                Next::End(RunState::Dead)
            }
        }
        AttemptOutcome::Postponed { .. } => {
            let postponements =
                count(attempts, |it| matches!(it, AttemptOutcome::Postponed { .. }));
            if postponements > MOST_POSTPONEMENTS {
                return Next::End(RunState::Dead);
            }
            let doublings = u32::try_from(postponements - 1).unwrap_or(u32::MAX).min(16);
            let pause = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
            Next::Again { at_ms: now_ms.saturating_add(pause) }
        }
        AttemptOutcome::Interrupted { .. } => {
            let interruptions =
                count(attempts, |it| matches!(it, AttemptOutcome::Interrupted { .. }));
            let pause = interruptions.checked_sub(1).and_then(|it| INTERRUPTION_PAUSES_MS.get(it));
            if let Some(pause) = pause {
                Next::Again { at_ms: now_ms.saturating_add(*pause) }
            } else {
                Next::End(RunState::Dead)
            }
        }
    }
}

fn count(attempts: &[Attempt], of: impl Fn(&AttemptOutcome) -> bool) -> usize {
    attempts.iter().filter(|it| it.outcome.as_ref().is_some_and(&of)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::run::RunError;

    fn failed(retry: bool) -> AttemptOutcome {
        AttemptOutcome::Failed(RunError { retry, ..RunError::default() })
    }

    fn interrupted() -> AttemptOutcome {
        AttemptOutcome::Interrupted { reason: "killed".to_owned() }
    }

    fn ended(outcome: AttemptOutcome) -> Attempt {
        Attempt { started_ms: 0, ended_ms: Some(1), outcome: Some(outcome) }
    }

    fn check(outcomes: &[AttemptOutcome], max_retries: u32, expected: Next) {
        let attempts: Vec<_> = outcomes.iter().cloned().map(ended).collect();
        let policy = RetryPolicy { max_retries, min_interval_ms: 500 };
        assert_eq!(after_attempt(&attempts, policy, 1000), expected, "{outcomes:?}");
    }

    #[test]
    fn only_what_asks_for_it_is_retried() {
        check(&[AttemptOutcome::Succeeded], 5, Next::End(RunState::Succeeded));
        check(&[failed(false)], 5, Next::End(RunState::Failed));
        check(&[failed(true)], 0, Next::End(RunState::Dead));
        check(&[failed(true)], 1, Next::Again { at_ms: 1500 });
        check(&[failed(true), failed(true)], 1, Next::End(RunState::Dead));
        check(&[failed(true), AttemptOutcome::Succeeded], 1, Next::End(RunState::Succeeded));
    }

    #[test]
    fn interruptions_have_a_budget_of_their_own() {
        check(&[interrupted()], 0, Next::Again { at_ms: 1000 });
        check(&[failed(true), interrupted()], 1, Next::Again { at_ms: 1000 });
        check(&[interrupted(), failed(true)], 0, Next::End(RunState::Dead));
        check(&vec![interrupted(); 2], 0, Next::Again { at_ms: 3000 });
        check(&vec![interrupted(); 3], 0, Next::Again { at_ms: 31_000 });
        check(&vec![interrupted(); 4], 0, Next::End(RunState::Dead));
    }

    #[test]
    fn what_is_put_off_waits_longer_each_time_and_costs_no_attempt() {
        let off = AttemptOutcome::Postponed { reason: "no token".to_owned() };
        check(std::slice::from_ref(&off), 0, Next::Again { at_ms: 6000 });
        check(&vec![off.clone(); 3], 0, Next::Again { at_ms: 21_000 });
        check(&vec![off.clone(); 200], 0, Next::Again { at_ms: 301_000 });
        check(&vec![off.clone(); 301], 0, Next::End(RunState::Dead));
        check(&[off.clone(), failed(true)], 1, Next::Again { at_ms: 1500 });
        check(&[off, interrupted()], 0, Next::Again { at_ms: 1000 });
    }

    proptest! {
        #[test]
        fn every_run_comes_to_an_end(kinds in proptest::collection::vec(0u8..4, 0..200), max_retries in 0u32..20) {
            let mut attempts = Vec::new();
            let policy = RetryPolicy { max_retries, min_interval_ms: 1 };
            for (n, kind) in kinds.into_iter().enumerate() {
                let outcome = match kind { 0 => failed(true), 1 => interrupted(), 2 => failed(false), _ => AttemptOutcome::Succeeded };
                attempts.push(ended(outcome));
                if matches!(after_attempt(&attempts, policy, 0), Next::End(_)) { return Ok(()); }
                prop_assert!(n < max_retries as usize + MOST_INTERRUPTIONS);
            }
        }
    }
}
