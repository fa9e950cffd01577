//! The log of one source: the last things its owner should know, such as a policy that gave no
//! answer. Bounded and in memory, because strangers cause these lines; the journal has them too.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mortise_plugin::LogLevel;
use tokio::sync::watch;

use super::keyrings::Masks;
use super::recording::Recorder;
use super::refusals::RefusalLog;
use crate::model::id::SourceId;

/// How many lines are kept per source.
const MOST_LINES: usize = 100;
/// Longer messages are cut.
const LONGEST_MESSAGE: usize = 1000;

/// One line, or several that said the same in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLogLine {
    /// When it was last said, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// What happened.
    pub message: String,
    /// How often in a row.
    pub times: u64,
}

/// The lines, oldest first.
#[derive(Debug, Default)]
pub struct SourceLog {
    lines: Mutex<Lines>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<SourceLogLine>,
    /// Hash of the last line before its secrets were taken out: the next one of a flood is known by
    /// it without that work. Keyed, so that nobody can make it fit.
    said: Option<u64>,
}

impl Lines {
    /// Whether it says something else than the last one.
    fn add(&mut self, at_ms: u64, level: LogLevel, message: &str) -> bool {
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        if let Some(last) = self.kept.back_mut()
            && last.level == level
            && last.message == message
        {
            last.at_ms = at_ms;
            last.times += 1;
            return false;
        }
        if self.kept.len() == MOST_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(SourceLogLine { at_ms, level, message, times: 1 });
        true
    }
}

impl SourceLog {
    /// Adds a line of the daemon. Answers whether it says something else than the last one.
    pub fn add(&self, at_ms: u64, level: LogLevel, message: &str) -> bool {
        let mut lines = self.open();
        lines.said = None;
        lines.add(at_ms, level, message)
    }

    /// Adds a line that a plugin said, without secrets. Answers the line as it is then, if it says
    /// something else than the last one.
    pub fn say(&self, at_ms: u64, level: LogLevel, said: &str, masks: &Masks) -> Option<String> {
        let mut lines = self.open();
        let hash = self.hasher.hash_one((std::mem::discriminant(&level), said));
        if lines.said == Some(hash)
            && let Some(last) = lines.kept.back_mut()
        {
            last.at_ms = at_ms;
            last.times += 1;
            return None;
        }
        // It may take a while, and nobody should wait for it.
        drop(lines);
        let masked = masks.mask(said);
        let mut lines = self.open();
        let is_new = lines.add(at_ms, level, &masked);
        lines.said = Some(hash);
        is_new.then_some(masked)
    }

    /// All lines that are kept.
    pub fn lines(&self) -> Vec<SourceLogLine> {
        self.open().kept.iter().cloned().collect()
    }

    fn open(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a source stands with opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenState {
    /// It takes no events, and is not meant to.
    Closed,
    /// Its plugin is compiling its configuration.
    Opening,
    /// It takes events.
    Open,
    /// It cannot take events, for this reason.
    Failed(String),
}

/// What is kept per source in memory, beside its actor: it outlives the actor's death.
#[derive(Debug, Default)]
pub struct SourceLogs(Mutex<HashMap<SourceId, Kept>>);

#[derive(Debug)]
struct Kept {
    log: Arc<SourceLog>,
    refusals: Arc<RefusalLog>,
    state: Arc<watch::Sender<OpenState>>,
    recorder: Arc<Recorder>,
}

impl SourceLogs {
    /// The log of a source.
    pub fn of(&self, source: SourceId) -> Arc<SourceLog> {
        self.with(source, |it| it.log.clone())
    }

    /// The log of refusals of a source.
    pub fn refusals(&self, source: SourceId) -> Arc<RefusalLog> {
        self.with(source, |it| it.refusals.clone())
    }

    /// Where a source stands, now and from now on. One that nobody has started yet is opening.
    pub fn open_state(&self, source: SourceId) -> watch::Receiver<OpenState> {
        self.with(source, |it| it.state.subscribe())
    }

    /// For the source's actor, which says where it stands.
    pub fn open_state_sender(&self, source: SourceId) -> Arc<watch::Sender<OpenState>> {
        self.with(source, |it| it.state.clone())
    }

    /// How many more of its requests are recorded.
    pub fn recorder(&self, source: SourceId) -> Arc<Recorder> {
        self.with(source, |it| it.recorder.clone())
    }

    /// A source is gone for good.
    pub fn forget(&self, source: SourceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&source);
    }

    fn with<T>(&self, source: SourceId, look: impl FnOnce(&Kept) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(all.entry(source).or_insert_with(|| Kept {
            log: Arc::default(),
            refusals: Arc::default(),
            state: Arc::new(watch::Sender::new(OpenState::Opening)),
            recorder: Arc::default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_counts_repetitions() {
        let log = SourceLog::default();
        for at_ms in 0..500 {
            log.add(at_ms, LogLevel::Warn, "the same");
        }
        for at_ms in 0..500 {
            log.add(at_ms, LogLevel::Warn, &format!("line {at_ms}"));
        }
        let lines = log.lines();
        assert_eq!((lines.len(), lines[0].message.as_str()), (MOST_LINES, "line 400"));
        let masks = Masks::default();
        assert_eq!(log.say(1, LogLevel::Warn, "said", &masks).as_deref(), Some("said"));
        assert_eq!(log.say(2, LogLevel::Warn, "said", &masks), None);
        assert!(log.say(2, LogLevel::Error, "said", &masks).is_some());
        assert!(log.add(3, LogLevel::Warn, "the daemon's own"));
        assert!(log.say(3, LogLevel::Error, "said", &masks).is_some(), "not what was said last");
        log.add(1, LogLevel::Info, &"x".repeat(5000));
        log.add(2, LogLevel::Info, &"x".repeat(5000));
        let last = log.lines().pop().expect("added");
        assert_eq!((last.times, last.message.len(), last.at_ms), (2, LONGEST_MESSAGE, 2));
    }
}
