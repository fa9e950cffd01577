//! The log of refusals of one source: what did not become an event lately, where it came from, and
//! why. In memory and bounded, because strangers cause these lines; the counts are what is exact.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use super::keyrings::Masks;

/// How many are kept per source.
const MOST: usize = 100;
/// Longer messages are cut.
const LONGEST_MESSAGE: usize = 500;
/// Longer ones of what strangers made up, such as methods, are cut.
const LONGEST_WORD: usize = 48;

/// Something that did not become an event.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The address that it came from; empty when it came over no network.
    pub peer: &'a str,
    /// The method of the request, or what it was instead.
    pub method: &'a str,
    /// What was answered, when it was a request.
    pub status: Option<u16>,
    /// What it is counted as.
    pub reason: &'a str,
    /// What exactly was wrong.
    pub message: &'a str,
}

impl<'a> Refused<'a> {
    /// What the daemon came with itself.
    pub fn by_ourselves(method: &'a str, reason: &'a str, message: &'a str) -> Refused<'a> {
        Refused { peer: "", method, status: None, reason, message }
    }
}

/// One entry: a refusal, or several of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When the first one was, milliseconds of the Unix epoch.
    pub first_ms: u64,
    /// When the last one was.
    pub last_ms: u64,
    /// How many.
    pub times: u64,
    /// Where they came from.
    pub peer: String,
    /// How.
    pub method: String,
    /// What the last one was answered.
    pub status: Option<u16>,
    /// What they are counted as.
    pub reason: String,
    /// What exactly was wrong.
    pub message: String,
}

/// An entry, and what is known of those who came for it.
#[derive(Debug)]
struct Entry {
    /// Hash of what the last one brought, before secrets were taken out and it was cut: the next one
    /// of a flood is known by it without that work. Keyed, so that nobody can make it fit.
    brought: u64,
    refusal: Refusal,
}

/// The entries, the one that came last at the end.
#[derive(Debug, Default)]
pub struct RefusalLog {
    entries: Mutex<VecDeque<Entry>>,
    hasher: RandomState,
    /// Those that came while another was being written.
    unseen: AtomicU64,
}

impl Refusal {
    fn new(refused: Refused<'_>, masks: &Masks, now_ms: u64) -> Refusal {
        let cut =
            |text: &str, most: usize| -> String { masks.mask(text).chars().take(most).collect() };
        Refusal {
            first_ms: now_ms,
            last_ms: now_ms,
            times: 1,
            peer: cut(refused.peer, LONGEST_WORD),
            method: cut(refused.method, LONGEST_WORD),
            status: refused.status,
            reason: cut(refused.reason, LONGEST_WORD),
            message: cut(refused.message, LONGEST_MESSAGE),
        }
    }

    /// Whether they are one entry, as far as people see.
    fn is_like(&self, other: &Refusal) -> bool {
        self.peer == other.peer
            && self.method == other.method
            && self.reason == other.reason
            && self.message == other.message
    }
}

impl RefusalLog {
    /// Adds one. Of a flood only as many are looked at as one thread can look at.
    pub fn add(&self, refused: Refused<'_>, masks: &Masks, now_ms: u64) {
        let mut entries = match self.entries.try_lock() {
            Ok(entries) => entries,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.unseen.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let Refused { peer, method, status, reason, message } = refused;
        let brought = self.hasher.hash_one((peer, method, reason, message));
        let same = entries.iter().rposition(|it| it.brought == brought);
        let same = same.or_else(|| {
            let new = Refusal::new(refused, masks, now_ms);
            let same = entries.iter().rposition(|it| it.refusal.is_like(&new));
            if same.is_none() {
                if entries.len() == MOST {
                    entries.pop_front();
                }
                entries.push_back(Entry { brought, refusal: new });
            }
            same
        });
        let Some(mut entry) = same.and_then(|at| entries.remove(at)) else { return };
        entry.brought = brought;
        entry.refusal.times += 1;
        entry.refusal.last_ms = now_ms;
        entry.refusal.status = status;
        entries.push_back(entry);
    }

    /// All entries that are kept, and how many refusals are in none because there were too many.
    pub fn entries(&self) -> (Vec<Refusal>, u64) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        (entries.iter().map(|it| it.refusal.clone()).collect(), self.unseen.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(peer: &str, now_ms: u64, log: &RefusalLog) {
        let (method, status, reason) = ("POST", Some(401), "bad_signature");
        let refused = Refused { peer, method, status, reason, message: "no" };
        log.add(refused, &Masks::default(), now_ms);
    }

    #[test]
    fn is_bounded_and_counts_what_is_the_same() {
        let log = RefusalLog::default();
        for now_ms in 0..500 {
            refused("a", now_ms, &log);
            refused("b", now_ms, &log);
        }
        let (entries, unseen) = log.entries();
        assert_eq!((entries.len(), unseen), (2, 0));
        assert_eq!((entries[0].times, entries[0].first_ms, entries[0].last_ms), (500, 0, 499));
        refused("a", 600, &log);
        assert_eq!(log.entries().0[1].times, 501, "the last one is at the end");
        for n in 0..300 {
            refused(&format!("peer {n}"), 700 + n, &log);
        }
        let (entries, _) = log.entries();
        assert_eq!((entries.len(), entries[0].peer.as_str()), (MOST, "peer 200"));
    }

    #[test]
    fn what_is_long_is_cut_and_nobody_waits() {
        let log = RefusalLog::default();
        let long = "x".repeat(10_000);
        let refused =
            |message| Refused { peer: &long, method: &long, status: None, reason: &long, message };
        log.add(refused(&long), &Masks::default(), 1);
        let (entries, _) = log.entries();
        let sizes = (entries[0].peer.len(), entries[0].message.len());
        assert_eq!(sizes, (LONGEST_WORD, LONGEST_MESSAGE));
        let held = log.entries.lock().expect("no panic");
        log.add(refused("other"), &Masks::default(), 2);
        drop(held);
        let (entries, unseen) = log.entries();
        assert_eq!((entries.len(), unseen), (1, 1));
    }
}
