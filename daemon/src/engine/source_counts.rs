//! What became of the inputs of each event source: numbers since some time, which outlive the daemon.
//!
//! Counting is part of the hot path and takes atomics and no lock. Every ten seconds, and when the
//! daemon stops, what has changed is written down in one transaction: whoever kills the daemon loses
//! the last seconds of the numbers, and nothing else.
//!
//! Must never: hold more than a few reasons per source, which plugins make up.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::intake::IntakeError;
use super::keyrings::Masks;
use crate::clock::Clock;
use crate::model::id::SourceId;
use crate::store::{SourceCountsRecord, Store, StoreError};

/// How many reasons of a source have a number of their own.
const MOST_REASONS: usize = 32;
/// Longer reasons are no reasons.
const LONGEST_REASON: usize = 48;
/// What all others are counted as.
pub const OTHER: &str = "other";
/// How often changes are written down.
const WRITE_DOWN: Duration = Duration::from_secs(10);

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why nothing became of an input that may have deserved something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure { $($(#[$doc])* $name,)* }

        impl Failure {
            /// All of them.
            pub const ALL: [Failure; [$($text),*].len()] = [$(Failure::$name),*];

            /// The name that users see.
            pub fn name(self) -> &'static str {
                match self { $(Failure::$name => $text,)* }
            }
        }
    };
}

failures! {
    /// The source's configuration, policy or plugin is wrong.
    Source = "source_failed";
    /// The plugin does not take such input.
    Unsupported = "unsupported";
    /// The plugin took too long.
    TimedOut = "timed_out";
    /// It could not be done just then.
    Unavailable = "unavailable";
    /// Too many requests waited for plugins.
    Busy = "busy";
    /// Too many runs waited.
    QueueFull = "queue_full";
    /// There was no room on the disk.
    DiskFull = "disk_full";
    /// The database failed.
    Store = "store_failed";
}

/// The numbers of one source.
#[derive(Debug)]
pub struct Counters {
    since_ms: u64,
    accepted: AtomicU64,
    duplicate: AtomicU64,
    answered: AtomicU64,
    /// Filled from the front; a reason has the same place ever after.
    reasons: [OnceLock<Box<str>>; MOST_REASONS],
    refused: [AtomicU64; MOST_REASONS],
    refused_otherwise: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
    /// Milliseconds of the Unix epoch; 0 for never.
    last_accepted_ms: AtomicU64,
    last_refused_ms: AtomicU64,
    /// Whether something is not written down.
    has_changed: AtomicBool,
}

impl Counters {
    /// Of a source that nothing has happened to.
    fn new(since_ms: u64) -> Counters {
        let none = SourceCountsRecord { since_ms, ..SourceCountsRecord::default() };
        let counters = Counters::of(&none);
        // Since when is worth keeping too.
        counters.has_changed.store(true, Ordering::Relaxed);
        counters
    }

    /// As they were written down.
    fn of(record: &SourceCountsRecord) -> Counters {
        let counters = Counters {
            since_ms: record.since_ms,
            accepted: record.accepted.into(),
            duplicate: record.duplicate.into(),
            answered: record.answered.into(),
            reasons: [const { OnceLock::new() }; MOST_REASONS],
            refused: [const { AtomicU64::new(0) }; MOST_REASONS],
            refused_otherwise: record.refused_otherwise.into(),
            failed: Failure::ALL
                .map(|it| record.failed.get(it.name()).copied().unwrap_or_default().into()),
            last_accepted_ms: record.last_accepted_ms.unwrap_or_default().into(),
            last_refused_ms: record.last_refused_ms.unwrap_or_default().into(),
            has_changed: AtomicBool::new(false),
        };
        for (reason, times) in &record.refused {
            counters.place_of(reason, &Masks::default()).fetch_add(*times, Ordering::Relaxed);
        }
        counters
    }

    /// Events were stored, and some had been before.
    pub fn stored(&self, accepted: u64, duplicate: u64, now_ms: u64) {
        if accepted > 0 {
            self.accepted.fetch_add(accepted, Ordering::Relaxed);
            self.last_accepted_ms.store(now_ms, Ordering::Relaxed);
        }
        if duplicate > 0 {
            self.duplicate.fetch_add(duplicate, Ordering::Relaxed);
        }
        self.changed();
    }

    /// An input was answered, and is no event.
    pub fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.changed();
    }

    /// An input deserved no event.
    pub fn refused(&self, reason: &str, masks: &Masks, now_ms: u64) {
        self.place_of(reason, masks).fetch_add(1, Ordering::Relaxed);
        self.last_refused_ms.store(now_ms, Ordering::Relaxed);
        self.changed();
    }

    fn failed(&self, failure: Failure) {
        let places = Failure::ALL.iter().zip(&self.failed);
        for (_, place) in places.filter(|(it, _)| **it == failure) {
            place.fetch_add(1, Ordering::Relaxed);
        }
        self.changed();
    }

    /// Something failed.
    pub fn failed_with(&self, error: &IntakeError) {
        if let Some(failure) = error.failure() {
            self.failed(failure);
        }
    }

    /// The numbers as they are.
    pub fn record(&self) -> SourceCountsRecord {
        let number = |it: &AtomicU64| it.load(Ordering::Relaxed);
        let time = |it: &AtomicU64| Some(number(it)).filter(|it| *it > 0);
        let reasons = self.reasons.iter().map_while(OnceLock::get).map(ToString::to_string);
        let refused: BTreeMap<_, _> = reasons.zip(self.refused.iter().map(number)).collect();
        let failed = Failure::ALL.iter().zip(&self.failed);
        let failed = failed.map(|(it, place)| (it.name().to_owned(), number(place)));
        SourceCountsRecord {
            since_ms: self.since_ms,
            accepted: number(&self.accepted),
            duplicate: number(&self.duplicate),
            answered: number(&self.answered),
            refused: refused.into_iter().filter(|it| it.1 > 0).collect(),
            refused_otherwise: number(&self.refused_otherwise),
            failed: failed.filter(|it| it.1 > 0).collect(),
            last_accepted_ms: time(&self.last_accepted_ms),
            last_refused_ms: time(&self.last_refused_ms),
        }
    }

    fn changed(&self) {
        // Who takes the mark away sees what was counted before it was set.
        self.has_changed.store(true, Ordering::Release);
    }

    /// Where a reason is counted: at its own place, if there is one for it.
    fn place_of(&self, reason: &str, masks: &Masks) -> &AtomicU64 {
        for (known, place) in self.reasons.iter().zip(&self.refused) {
            let is_it = match known.get() {
                Some(known) => **known == *reason,
                None if !is_reason(reason) || masks.mask(reason) != reason => break,
                // Whoever comes at the same time with another one was faster, and has the place.
                None => **known.get_or_init(|| reason.into()) == *reason,
            };
            if is_it {
                return place;
            }
        }
        &self.refused_otherwise
    }
}

/// Whether a text is one of a few fixed words, rather than something of the input.
fn is_reason(text: &str) -> bool {
    let is_plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    text != OTHER && (1..=LONGEST_REASON).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The numbers of all sources.
#[derive(Debug)]
pub struct SourceCounts {
    clock: Clock,
    all: Mutex<HashMap<SourceId, Arc<Counters>>>,
}

impl SourceCounts {
    /// As they were written down.
    pub fn open(store: &Store, clock: Clock) -> Result<SourceCounts, StoreError> {
        let records = store.read(|tables| tables.source_counts())?;
        let all = records.iter().map(|(id, it)| (*id, Arc::new(Counters::of(it)))).collect();
        Ok(SourceCounts { clock, all: Mutex::new(all) })
    }

    /// The numbers of a source.
    pub fn of(&self, source: SourceId) -> Arc<Counters> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(source).or_insert_with(|| Arc::new(Counters::new(self.clock.now_ms()))).clone()
    }

    /// Writes down what has changed.
    pub async fn write_down(&self, store: &Store) -> Result<(), StoreError> {
        let mut changed = Vec::new();
        for (id, counters) in self.all.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // What is counted from here on is a change again, whether or not it is in the record.
            if counters.has_changed.swap(false, Ordering::AcqRel) {
                changed.push((*id, counters.clone()));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = changed.iter().map(|(id, it)| (*id, it.record())).collect();
        match store.write(move |tables| tables.put_source_counts(&records)).await {
            Ok(gone) => {
                let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
                all.retain(|id, _| !gone.contains(id));
                Ok(())
            }
            Err(error) => {
                for (_, counters) in changed {
                    counters.has_changed.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Writes down for ever.
    pub async fn keep_written_down(self: Arc<Self>, store: Arc<Store>) {
        let mut ticks = tokio::time::interval(WRITE_DOWN);
        loop {
            ticks.tick().await;
            if let Err(error) = self.write_down(&store).await {
                warn!(%error, "the counts of event sources are written down later");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::Manifest;
    use crate::store::testing;

    fn reasons(record: &SourceCountsRecord) -> Vec<(&str, u64)> {
        record.refused.iter().map(|(reason, times)| (reason.as_str(), *times)).collect()
    }

    #[test]
    fn everything_is_counted_and_survives() {
        let counters = Counters::new(5);
        let masks = Masks::default();
        counters.stored(2, 1, 10);
        counters.stored(0, 1, 20);
        counters.answered();
        counters.refused("bad_signature", &masks, 30);
        counters.refused("bad_signature", &masks, 40);
        for odd in ["", "Bad Signature", &"x".repeat(LONGEST_REASON + 1), OTHER] {
            counters.refused(odd, &masks, 40);
        }
        counters.failed(Failure::QueueFull);
        let record = counters.record();
        assert_eq!((record.accepted, record.duplicate, record.answered), (2, 2, 1));
        assert_eq!(reasons(&record), [("bad_signature", 2)]);
        assert_eq!(record.refused_otherwise, 4);
        assert_eq!(record.failed, BTreeMap::from([("queue_full".to_owned(), 1)]));
        assert_eq!((record.last_accepted_ms, record.last_refused_ms), (Some(10), Some(40)));
        let again = Counters::of(&record);
        assert_eq!(again.record(), record);
        again.refused("bad_signature", &masks, 50);
        assert_eq!(reasons(&again.record()), [("bad_signature", 3)]);
    }

    #[test]
    fn reasons_are_bounded_and_exact_from_many_threads() {
        let counters = Counters::new(1);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..4_000 {
                        let reason = format!("reason_{}", n % 40);
                        counters.refused(&reason, &Masks::default(), 1);
                    }
                });
            }
        });
        let record = counters.record();
        assert_eq!(record.refused.len(), MOST_REASONS);
        assert!(record.refused.values().all(|it| *it == 800), "{record:?}");
        assert_eq!(record.refused_otherwise, 8 * 800);
    }

    #[tokio::test]
    async fn what_changed_is_written_down_once() {
        let store = testing::in_memory(1);
        let snap_in = testing::install(&store, Manifest::default(), "t", 2, 0).await;
        let record = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there");
        let clock = Clock::manual(70);
        let counts = SourceCounts::open(&store, clock.clone()).expect("read");
        counts.of(record.sources[0]).stored(3, 0, 71);
        counts.of(SourceId(1)).stored(1, 0, 71);
        counts.write_down(&store).await.expect("written");
        assert_eq!(counts.all.lock().expect("no panic").len(), 1, "one of them is none");
        clock.advance(100);
        let again = SourceCounts::open(&store, clock).expect("read");
        let kept = again.of(record.sources[0]);
        assert_eq!((kept.record().accepted, kept.record().since_ms), (3, 70));
        assert!(!kept.has_changed.load(Ordering::Relaxed));
        assert_eq!(again.of(record.sources[1]).record().since_ms, 170, "nobody had asked for it");
    }
}
