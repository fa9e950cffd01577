//! What a failed poll means: what to tell the source's owner, and how long to wait.
//!
//! Pure. Must never: quote what the server sent, which may hold anything.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use mortise_plugin::LogLevel;

/// Waits double up to here, unless polls are further apart anyway.
const LONGEST_MS: u64 = 3_600_000;
/// No server makes us wait longer than this.
const LONGEST_RETRY_AFTER_MS: u64 = 24 * 3_600_000;

/// Why a poll came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) level: LogLevel,
    /// What was wrong, and what to do.
    pub(crate) message: String,
    /// How long the server wants to be left alone.
    pub(crate) retry_after_ms: Option<u64>,
}

impl Failure {
    /// Something that somebody has to look at.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { level: LogLevel::Error, message: message.into(), retry_after_ms: None }
    }

    /// Something that may pass by itself.
    pub(crate) fn passing(message: impl Into<String>) -> Failure {
        Failure { level: LogLevel::Warn, ..Failure::new(message) }
    }

    /// A status that is neither success nor 304.
    pub(crate) fn of_status(status: u16, retry_after: Option<&str>, now_ms: u64) -> Failure {
        let said = |what: &str| format!("the server answered {status}: {what}");
        match status {
            401 => Failure::new(said(
                "credentials are missing, wrong or expired; check the header or keyring that holds them",
            )),
            403 => {
                Failure::new(said("it does not allow this; check what the credentials may read"))
            }
            404 => Failure::new(said("nothing is there; check `url`")),
            410 => Failure::new(said("it is gone for good; change `url`, or take this source out")),
            429 => Failure {
                retry_after_ms: retry_after.and_then(|it| wait_asked_for(it, now_ms)),
                ..Failure::passing(said("it is asked too often; raise `every_seconds`"))
            },
            503 => Failure {
                retry_after_ms: retry_after.and_then(|it| wait_asked_for(it, now_ms)),
                ..Failure::passing(said("it is overloaded or being worked on"))
            },
            300..=399 => Failure::new(said("a redirect that leads nowhere; check `url`")),
            400..=499 => Failure::new(said(
                "it finds the request wrong; check `url`, `method`, `headers` and `body`",
            )),
            500..=599 => Failure::passing(said("it is in trouble itself")),
            _ => Failure::new(said("that is no answer to a request")),
        }
    }
}

/// `Retry-After`: seconds, or a date.
fn wait_asked_for(text: &str, now_ms: u64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000).min(LONGEST_RETRY_AFTER_MS));
    }
    let date = rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    let wait = u64::try_from(date).ok()?.saturating_sub(now_ms);
    Some(wait.min(LONGEST_RETRY_AFTER_MS))
}

/// How long to wait after so many failures in a row, at least one.
pub(crate) fn wait_ms(every_ms: u64, failures: u32, retry_after_ms: Option<u64>) -> u64 {
    let doublings = failures.saturating_sub(1).min(20);
    let doubled = every_ms.saturating_mul(1 << doublings);
    doubled.min(LONGEST_MS.max(every_ms)).max(retry_after_ms.unwrap_or(0))
}

/// A time as people read it.
pub(crate) fn shown(ms: u64) -> String {
    // Whole seconds: the rest is noise.
    let seconds = i64::try_from(ms / 1_000).ok();
    let time = seconds.and_then(|it| Timestamp::from_second(it).ok());
    time.map_or_else(|| ms.to_string(), |it| it.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let waits: Vec<u64> = (1..=6).map(|it| wait_ms(300_000, it, None) / 60_000).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert_eq!(wait_ms(1_000, u32::MAX, None), LONGEST_MS);
        assert_eq!(wait_ms(86_400_000, 9, None), 86_400_000, "it asks once a day anyway");
        assert_eq!(wait_ms(1_000, 1, Some(9_000)), 9_000);
        assert_eq!(wait_ms(60_000, 1, Some(9_000)), 60_000);
    }

    #[test]
    fn servers_say_how_long_to_wait() {
        // 1994-11-06T08:49:07Z
        let now = 784_111_747_000;
        for (text, wait) in [
            ("120", Some(120_000)),
            (" 5 ", Some(5_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999", Some(LONGEST_RETRY_AFTER_MS)),
            ("soon", None),
            ("-1", None),
        ] {
            for status in [429, 503] {
                let failure = Failure::of_status(status, Some(text), now);
                assert_eq!(failure.retry_after_ms, wait, "{text}");
            }
            assert_eq!(Failure::of_status(500, Some(text), now).retry_after_ms, None);
        }
    }

    #[test]
    fn a_status_says_what_to_do() {
        for (status, level, word) in [
            (401, LogLevel::Error, "keyring"),
            (403, LogLevel::Error, "credentials"),
            (404, LogLevel::Error, "`url`"),
            (410, LogLevel::Error, "for good"),
            (429, LogLevel::Warn, "`every_seconds`"),
            (503, LogLevel::Warn, "overloaded"),
            (502, LogLevel::Warn, "trouble"),
            (422, LogLevel::Error, "`body`"),
            (302, LogLevel::Error, "redirect"),
            (101, LogLevel::Error, "no answer"),
        ] {
            let failure = Failure::of_status(status, None, 0);
            assert_eq!(failure.level, level, "{status}");
            assert!(failure.message.starts_with(&format!("the server answered {status}: ")));
            assert!(failure.message.contains(word), "{}", failure.message);
        }
        assert_eq!(shown(784_111_747_999), "1994-11-06T08:49:07Z");
    }
}
