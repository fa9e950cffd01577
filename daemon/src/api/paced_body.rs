//! A body that may come for long, as long as it comes fast enough. Nothing else is known of it here.
//!
//! It has some seconds in hand; waiting for bytes takes from them, and bytes that come give them back.
//! So a sender may rest for that long, and a slow one is cut off however regularly it sends, while what
//! the daemon itself takes time for is nobody's fault.

use std::time::Duration;

use actix_web::web;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::error::{ApiError, Code};

/// What gives back one second.
const BYTES_PER_SECOND: u64 = 1024;

/// A body and its pace.
pub(super) struct PacedBody {
    payload: web::Payload,
    pace: Pace,
}

/// How long a sender may still be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    most: Duration,
    left: Duration,
}

impl Pace {
    fn new(most: Duration) -> Pace {
        Pace { most, left: most }
    }

    /// So many bytes came after such a wait.
    fn came(&mut self, waited: Duration, bytes: usize) {
        let micros = (bytes as u64).saturating_mul(1_000_000) / BYTES_PER_SECOND;
        let left = self.left.saturating_sub(waited).saturating_add(Duration::from_micros(micros));
        // What came fast is no leave to be slow for long.
        self.left = left.min(self.most);
    }
}

impl PacedBody {
    /// With so many seconds in hand.
    pub(super) fn new(payload: web::Payload, seconds: u64) -> PacedBody {
        PacedBody { payload, pace: Pace::new(Duration::from_secs(seconds)) }
    }

    /// The next bytes, if they come in time; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Option<web::Bytes>, ApiError> {
        let began = Instant::now();
        match tokio::time::timeout(self.pace.left, self.payload.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => {
                self.pace.came(began.elapsed(), bytes.len());
                Ok(Some(bytes))
            }
            Ok(Some(Err(error))) => {
                Err(ApiError::new(Code::BadRequest, format!("the body broke off: {error}")))
            }
            Err(_) => {
                let message = format!(
                    "the body came too slowly: {BYTES_PER_SECOND} bytes a second are expected, and \
                     a rest of {} s at most (`limits.request_body_seconds`)",
                    self.pace.most.as_secs()
                );
                Err(ApiError::new(Code::RequestTimeout, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds a sender is cut off who sends so much every so often; nothing when that
    /// is not within a day.
    fn lasts(bytes: usize, every_seconds: u64) -> Option<u64> {
        let mut pace = Pace::new(Duration::from_secs(30));
        let every = Duration::from_secs(every_seconds);
        let mut at = 0;
        while at < 24 * 60 * 60 {
            if every >= pace.left {
                return Some(at + pace.left.as_secs());
            }
            pace.came(every, bytes);
            at += every_seconds;
        }
        None
    }

    #[test]
    fn who_sends_too_slowly_is_cut_off_however_regularly() {
        assert_eq!(lasts(0, 40), Some(30));
        assert_eq!(lasts(1, 29), Some(30));
        assert_eq!(lasts(1, 1), Some(30));
        assert!(lasts(1000, 1).is_some_and(|it| it < 24 * 60 * 60));
        assert_eq!(lasts(1024, 1), None);
        assert_eq!(lasts(29 * 1024, 29), None);
        assert!(lasts(1 << 30, 29).is_none());
    }

    #[test]
    fn what_came_fast_is_no_leave_to_be_slow() {
        let mut pace = Pace::new(Duration::from_secs(30));
        pace.came(Duration::ZERO, 1 << 30);
        assert_eq!(pace.left, Duration::from_secs(30));
        pace.came(Duration::from_secs(29), 1);
        assert!(pace.left < Duration::from_millis(1_001), "{pace:?}");
        pace.came(Duration::from_secs(40), 2048);
        assert_eq!(pace.left, Duration::from_secs(2));
    }
}
