//! What runs log while they are on: kept in memory, for people who watch. The store has the log of a
//! run once that has ended; what an attempt said that is followed by another is only here, until the
//! next one begins or room is needed.
//!
//! Must never hold more than it is allowed to, however much functions say, and never keep a run waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::invocation::level_name;
use crate::functions::outcome::LogLine;
use crate::functions::pool::LogListener;
use crate::model::id::RunId;
use crate::model::run::RunLogLine;

/// The most that is kept of one run, and of all, bytes.
const MOST_OF_RUN: usize = 256 * 1024;
const MOST_OF_ALL: usize = 16 * 1024 * 1024;
/// Attempts that have ended, of which something is kept.
const MOST_ENDED: usize = 256;
/// What a line takes beside its text.
const LINE: usize = 96;

/// The lines of the runs that are on.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveLogs(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    runs: HashMap<RunId, Lines>,
    bytes: usize,
    /// Those whose attempt has ended, the oldest first; some are gone or on again.
    ended: VecDeque<RunId>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<RunLogLine>,
    bytes: usize,
    /// No more is kept: what comes later would be without what came before.
    is_full: bool,
    has_ended: bool,
}

/// An attempt that is on. One that breaks off leaves nothing.
pub(super) struct Followed {
    all: LiveLogs,
    run: RunId,
}

impl LiveLogs {
    /// An attempt begins. Nothing is kept for it until it says something.
    pub(super) fn begin(&self, run: RunId) -> Followed {
        self.kept().forget(run);
        Followed { all: self.clone(), run }
    }

    /// What a run has logged so far.
    pub(super) fn of(&self, run: RunId) -> Vec<RunLogLine> {
        self.kept().runs.get(&run).map(|it| it.lines.clone()).unwrap_or_default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A line is there or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Hears the lines of an attempt that began then, milliseconds of the Unix epoch.
    pub(super) fn listener(&self, started_ms: u64) -> LogListener {
        let (all, run) = (self.all.clone(), self.run);
        Arc::new(move |lines: &[LogLine]| all.kept().add(run, started_ms, lines))
    }

    /// The attempt has ended, and this is what it said.
    pub(super) fn ended(&self, started_ms: u64, lines: &[LogLine]) {
        let mut kept = self.all.kept();
        kept.forget(self.run);
        if lines.is_empty() {
            return;
        }
        kept.add(self.run, started_ms, lines);
        if let Some(it) = kept.runs.get_mut(&self.run) {
            it.has_ended = true;
        }
        kept.ended.push_back(self.run);
        while kept.ended.len() > MOST_ENDED || (kept.bytes > MOST_OF_ALL / 2) {
            let Some(oldest) = kept.ended.pop_front() else { break };
            if kept.runs.get(&oldest).is_some_and(|it| it.has_ended) {
                kept.forget(oldest);
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut kept = self.all.kept();
        if kept.runs.get(&self.run).is_some_and(|it| !it.has_ended) {
            kept.forget(self.run);
        }
    }
}

impl Kept {
    fn forget(&mut self, run: RunId) {
        if let Some(gone) = self.runs.remove(&run) {
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }

    fn add(&mut self, run: RunId, started_ms: u64, lines: &[LogLine]) {
        let of_run = self.runs.entry(run).or_default();
        for line in lines {
            if of_run.is_full {
                return;
            }
            let bytes = line.message.len() + LINE;
            let mut line = RunLogLine {
                level: level_name(line.level).to_owned(),
                at_ms: started_ms.saturating_add(line.at_ms),
                message: line.message.clone(),
            };
            if of_run.bytes + bytes > MOST_OF_RUN || self.bytes + bytes > MOST_OF_ALL {
                of_run.is_full = true;
                "the rest is shown once it has ended".clone_into(&mut line.message);
                "info".clone_into(&mut line.level);
            }
            let bytes = line.message.len() + LINE;
            of_run.bytes += bytes;
            self.bytes += bytes;
            of_run.lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::outcome::LogLevel;

    fn line(message: &str) -> LogLine {
        LogLine { level: LogLevel::Warn, at_ms: 7, message: message.to_owned() }
    }

    #[test]
    fn lines_are_kept_as_long_as_their_run_is_on() {
        let all = LiveLogs::default();
        let one = all.begin(RunId(1));
        let other = all.begin(RunId(2));
        one.listener(1000)(&[line("a")]);
        other.listener(1000)(&[line("b")]);
        one.listener(1000)(&[line("c")]);
        let said = all.of(RunId(1));
        let said: Vec<_> = said.iter().map(|it| (it.at_ms, it.message.as_str())).collect();
        assert_eq!(said, [(1007, "a"), (1007, "c")]);
        drop(one);
        assert!(all.of(RunId(1)).is_empty());
        drop(other);
        // One guard: a second one in the same statement would wait for the first.
        let kept = all.kept();
        assert_eq!((kept.bytes, kept.runs.len()), (0, 0));
    }

    #[test]
    fn what_an_attempt_said_stays_until_the_next_one() {
        let all = LiveLogs::default();
        let first = all.begin(RunId(1));
        first.listener(0)(&[line("secret")]);
        first.ended(0, &[line("[secret]")]);
        drop(first);
        assert_eq!(all.of(RunId(1))[0].message, "[secret]");
        let second = all.begin(RunId(1));
        assert!(all.of(RunId(1)).is_empty());
        second.ended(0, &[line("b")]);
        drop(second);
        for run in 2..1000 {
            all.begin(RunId(run)).ended(0, &[line("c")]);
        }
        assert!(all.of(RunId(1)).is_empty());
        let kept = all.kept();
        assert!(kept.runs.len() <= MOST_ENDED && kept.ended.len() <= MOST_ENDED);
    }

    #[test]
    fn a_flood_of_one_run_leaves_room_for_others() {
        let all = LiveLogs::default();
        let flood = all.begin(RunId(1));
        let text = "x".repeat(10_000);
        for _ in 0..1000 {
            flood.listener(0)(&[line(&text)]);
        }
        let said = all.of(RunId(1));
        assert!(said.len() < 30, "{}", said.len());
        assert!(said.last().is_some_and(|it| it.message.contains("once it has ended")));
        let other = all.begin(RunId(2));
        other.listener(0)(&[line("b")]);
        assert_eq!(all.of(RunId(2))[0].message, "b");
    }

    #[test]
    fn many_floods_are_bounded_together() {
        let all = LiveLogs::default();
        let text = "x".repeat(10_000);
        let runs: Vec<_> = (0..200).map(|it| all.begin(RunId(it))).collect();
        for run in &runs {
            for _ in 0..30 {
                run.listener(0)(&[line(&text)]);
            }
        }
        let bytes = all.kept().bytes;
        assert!(bytes <= MOST_OF_ALL + runs.len() * 2 * LINE, "{bytes}");
        drop(runs);
        assert_eq!(all.kept().bytes, 0);
    }
}
