//! The life of a delivery: what an answer means, and when it is tried again (seed 002; Standard
//! Webhooks 1.0.0 for what the seed does not say). Pure.

use super::attempts::{Next, Tries};

/// How often an endpoint may put one off before that counts as a failure.
const MOST_THROTTLED: u32 = 24;
/// The longest that an endpoint may put one off, whatever it says.
const LONGEST_RETRY_AFTER_MS: u64 = 60 * 60_000;
/// How long, when it does not say.
const THROTTLE_PAUSE_MS: u64 = 5_000;

/// What an endpoint did with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Status {
        /// The status code.
        status: u16,
        /// What `Retry-After` asks for.
        retry_after_ms: Option<u64>,
    },
    /// There was no answer in time, or no connection.
    None {
        /// What went wrong.
        reason: String,
    },
    /// The request may not be made: the guard forbids the address.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has it.
    Taken,
    /// It wants it later.
    Throttled {
        /// How long it wants to be left alone.
        pause_ms: u64,
    },
    /// It wants nothing any more.
    Gone,
    /// It has it not.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What an answer means. Only 2xx is success; a redirect is a failure, because nobody vouches for where
/// it leads.
pub fn judge(answer: &Answer) -> Verdict {
    match answer {
        Answer::Status { status: 200..=299, retry_after_ms: _ } => Verdict::Taken,
        Answer::Status { status: 410, retry_after_ms: _ } => Verdict::Gone,
        Answer::Status { status: 429, retry_after_ms } => {
            throttled(retry_after_ms.unwrap_or(THROTTLE_PAUSE_MS))
        }
        Answer::Status { status: 503, retry_after_ms: Some(pause_ms) } => throttled(*pause_ms),
        Answer::Status { status: status @ 300..=399, retry_after_ms: _ } => Verdict::Failed {
            reason: format!("answered {status}, a redirect, which is not followed"),
        },
        Answer::Status { status, retry_after_ms: _ } => {
            Verdict::Failed { reason: format!("answered {status}") }
        }
        Answer::None { reason } | Answer::Refused { reason } => {
            Verdict::Failed { reason: reason.clone() }
        }
    }
}

fn throttled(pause_ms: u64) -> Verdict {
    Verdict::Throttled { pause_ms: pause_ms.clamp(1_000, LONGEST_RETRY_AFTER_MS) }
}

/// What happens after an attempt, and how often it was tried then. `pauses_ms` are the waits after the
/// first failed attempt, after the second and so on; after one more it has failed for good.
pub fn after_attempt(
    tried: Tries,
    verdict: &Verdict,
    pauses_ms: &[u64],
    now_ms: u64,
) -> (Tries, Next) {
    match verdict {
        Verdict::Taken => (tried, Next::Delivered),
        Verdict::Gone => (tried, Next::GivenUp),
        Verdict::Throttled { pause_ms } if tried.throttled < MOST_THROTTLED => {
            let tried = Tries { throttled: tried.throttled + 1, ..tried };
            (tried, Next::Again { at_ms: now_ms.saturating_add(*pause_ms) })
        }
        Verdict::Throttled { .. } | Verdict::Failed { .. } => {
            let failed = tried.failed.saturating_add(1);
            let pause = usize::try_from(tried.failed).ok().and_then(|it| pauses_ms.get(it));
            let next = match pause {
                Some(pause) => Next::Again { at_ms: now_ms.saturating_add(*pause) },
                None => Next::GivenUp,
            };
            (Tries { failed, ..tried }, next)
        }
    }
}

/// Milliseconds that a `Retry-After` header asks for: seconds, or a date.
pub fn retry_after_ms(header: &str, now_ms: u64) -> Option<u64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|it| it.is_ascii_digit()) {
        return Some(header.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    let at = httpdate::parse_http_date(header).ok()?;
    let at_ms = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    Some(u64::try_from(at_ms).unwrap_or(u64::MAX).saturating_sub(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the seed.
    const PAUSES_MS: [u64; 2] = [30_000, 180_000];

    fn after_attempt(tried: Tries, verdict: &Verdict, now_ms: u64) -> (Tries, Next) {
        super::after_attempt(tried, verdict, &PAUSES_MS, now_ms)
    }

    fn status(status: u16) -> Answer {
        Answer::Status { status, retry_after_ms: None }
    }

    fn failed() -> Verdict {
        Verdict::Failed { reason: "answered 500".to_owned() }
    }

    #[test]
    fn only_2xx_is_success() {
        for code in [200, 201, 204, 299] {
            assert_eq!(judge(&status(code)), Verdict::Taken);
        }
        for code in [100, 199, 301, 302, 307, 400, 401, 404, 500, 502, 503, 599] {
            assert!(matches!(judge(&status(code)), Verdict::Failed { .. }), "{code}");
        }
        assert_eq!(judge(&status(410)), Verdict::Gone);
        let none = Answer::None { reason: "no answer within 3 s".to_owned() };
        assert!(matches!(judge(&none), Verdict::Failed { reason } if reason.contains("3 s")));
    }

    #[test]
    fn three_attempts_at_once_after_30_s_and_after_3_minutes() {
        let (tried, next) = after_attempt(Tries::default(), &failed(), 1_000);
        assert_eq!(next, Next::Again { at_ms: 31_000 });
        let (tried, next) = after_attempt(tried, &failed(), 31_000);
        assert_eq!(next, Next::Again { at_ms: 211_000 });
        assert_eq!(
            after_attempt(tried, &failed(), 211_000),
            (Tries { failed: 3, throttled: 0 }, Next::GivenUp)
        );
        assert_eq!(after_attempt(tried, &Verdict::Taken, 0).1, Next::Delivered);
        assert_eq!(after_attempt(Tries::default(), &Verdict::Gone, 0).1, Next::GivenUp);
    }

    #[test]
    fn who_asks_for_time_gets_it_within_reason() {
        let asks = |retry_after_ms| judge(&Answer::Status { status: 429, retry_after_ms });
        assert_eq!(asks(Some(7_000)), Verdict::Throttled { pause_ms: 7_000 });
        assert_eq!(asks(None), Verdict::Throttled { pause_ms: THROTTLE_PAUSE_MS });
        assert_eq!(asks(Some(u64::MAX)), Verdict::Throttled { pause_ms: LONGEST_RETRY_AFTER_MS });
        assert_eq!(asks(Some(0)), Verdict::Throttled { pause_ms: 1_000 }, "no hot loop");
        let mut tried = Tries::default();
        let mut times = 0;
        loop {
            let (after, next) = after_attempt(tried, &asks(Some(1_000)), 0);
            times += 1;
            tried = after;
            if next == Next::GivenUp {
                break;
            }
        }
        assert_eq!((times, tried), (27, Tries { failed: 3, throttled: 24 }));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after_ms(" 120 ", 0), Some(120_000));
        assert_eq!(retry_after_ms("Thu, 01 Jan 1970 00:01:00 GMT", 50_000), Some(10_000));
        assert_eq!(retry_after_ms("Thu, 01 Jan 1970 00:01:00 GMT", 90_000), Some(0));
        assert_eq!(retry_after_ms("99999999999999999999", 0), Some(u64::MAX));
        assert_eq!((retry_after_ms("soon", 0), retry_after_ms("", 0)), (None, None));
    }
}
