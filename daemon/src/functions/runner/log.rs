//! The log of one run: bounded in lines and bytes, with a note of what was dropped.

use std::time::Duration;

use tokio::time::Instant;

use crate::functions::outcome::{LogLevel, LogLine};

const MOST_LINES: usize = 1000;
const MOST_BYTES: usize = 64 * 1024;
const MOST_BYTES_PER_LINE: usize = 16 * 1024;
/// How long lines may wait before they are sent ahead of the result.
const HOLD: Duration = Duration::from_millis(100);

pub(super) struct RunLog {
    started: Instant,
    lines: Vec<LogLine>,
    oldest: Option<Instant>,
    count: usize,
    bytes: usize,
    dropped: usize,
}

impl RunLog {
    pub(super) fn new(started: Instant) -> RunLog {
        RunLog { started, lines: Vec::new(), oldest: None, count: 0, bytes: 0, dropped: 0 }
    }

    /// Whether a further line will be dropped.
    pub(super) fn is_full(&self) -> bool {
        self.count >= MOST_LINES || self.bytes >= MOST_BYTES
    }

    pub(super) fn push(&mut self, level: LogLevel, message: &str) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        let most = MOST_BYTES_PER_LINE.min(MOST_BYTES - self.bytes);
        let mut message = message.to_owned();
        if message.len() > most {
            let kept = (0..=most).rev().find(|it| message.is_char_boundary(*it)).unwrap_or(0);
            let left_out = message.len() - kept;
            message.truncate(kept);
            message.push_str(&format!("… ({left_out} more bytes)"));
        }
        self.count += 1;
        self.bytes += message.len();
        self.add(level, message);
    }

    /// A word of the runtime itself, which no bound holds back.
    pub(super) fn note(&mut self, level: LogLevel, message: String) {
        self.add(level, message);
    }

    fn add(&mut self, level: LogLevel, message: String) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.started);
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.oldest.get_or_insert(now);
        self.lines.push(LogLine { level, at_ms, message });
    }

    /// When waiting lines should be sent ahead.
    pub(super) fn due(&self) -> Option<Instant> {
        self.oldest.map(|it| it + HOLD)
    }

    pub(super) fn take(&mut self) -> Vec<LogLine> {
        self.oldest = None;
        std::mem::take(&mut self.lines)
    }

    /// The lines not yet sent, with a note about the dropped ones.
    pub(super) fn finish(&mut self) -> Vec<LogLine> {
        if self.dropped > 0 {
            self.note(
                LogLevel::Warn,
                format!(
                    "{} more lines were dropped: a run may log {MOST_LINES} lines and {} KiB",
                    self.dropped,
                    MOST_BYTES / 1024
                ),
            );
            self.dropped = 0;
        }
        self.take()
    }
}
