//! Calls of the API that were refused, counted by who, from where and which, and written into the audit
//! log once a minute. Strangers cause these: what is kept and what is written is bounded, and what does
//! not fit is counted together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::clock::Clock;
use crate::model::audit::{AuditEvent, RefusedCalls};
use crate::store::{Store, StoreError};

/// How many kinds of strangers' calls are told apart within a minute; each is a row.
const MOST: usize = 32;
/// The same for everybody whom we know, so that nobody hides what another one does.
const MOST_OF_ONE: usize = 8;
/// The same for all whom we know together.
const MOST_OF_KNOWN: usize = 256;
/// How often they are written down.
const MINUTE: Duration = Duration::from_secs(60);
/// Longer texts are cut.
const LONGEST: usize = 128;

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefusedCall {
    /// Its name; empty when there is none of it.
    pub call: String,
    /// Who made it; empty for nobody who is known.
    pub who: String,
    /// Where it came from.
    pub peer: String,
    /// What it was answered with.
    pub status: u16,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    times: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Count {
    fn note(counted: Option<Count>, now_ms: u64) -> Count {
        match counted {
            Some(it) => Count { times: it.times.saturating_add(1), last_ms: now_ms, ..it },
            None => Count { times: 1, first_ms: now_ms, last_ms: now_ms },
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    told_apart: HashMap<RefusedCall, Count>,
    others: Option<Count>,
}

impl Counts {
    fn note(&mut self, call: RefusedCall, now_ms: u64) {
        if let Some(known) = self.told_apart.get_mut(&call) {
            *known = Count::note(Some(*known), now_ms);
        } else if self.has_place(&call) {
            self.told_apart.insert(call, Count::note(None, now_ms));
        } else {
            self.others = Some(Count::note(self.others, now_ms));
        }
    }

    /// Whether one more of this caller is told apart.
    fn has_place(&self, call: &RefusedCall) -> bool {
        let of_same = self.told_apart.keys().filter(|it| it.who == call.who).count();
        if call.who.is_empty() {
            return of_same < MOST;
        }
        let known = self.told_apart.keys().filter(|it| !it.who.is_empty()).count();
        of_same < MOST_OF_ONE && known < MOST_OF_KNOWN
    }

    /// Rows for the log, in the order in which they began.
    fn rows(self) -> Vec<RefusedCalls> {
        let row = |call: RefusedCall, count: Count| RefusedCalls {
            call: call.call,
            who: call.who,
            peer: call.peer,
            status: call.status,
            times: count.times,
            first_ms: count.first_ms,
            last_ms: count.last_ms,
        };
        let others = self.others.map(|count| {
            let (call, who, peer) = <(String, String, String)>::default();
            (RefusedCall { call, who, peer, status: 0 }, count)
        });
        let mut rows: Vec<RefusedCalls> = self
            .told_apart
            .into_iter()
            .chain(others)
            .map(|(call, count)| row(call, count))
            .collect();
        rows.sort_by(|one, other| {
            (one.first_ms, &one.call, &one.peer).cmp(&(other.first_ms, &other.call, &other.peer))
        });
        rows
    }
}

/// The calls that were refused within this minute.
#[derive(Clone, Debug)]
pub struct RefusedCallLog {
    counts: Arc<Mutex<Counts>>,
    store: Arc<Store>,
    clock: Clock,
}

impl RefusedCallLog {
    /// Nothing was refused yet.
    pub fn new(store: Arc<Store>, clock: Clock) -> RefusedCallLog {
        RefusedCallLog { counts: Arc::default(), store, clock }
    }

    /// Counts one.
    pub fn note(&self, call: RefusedCall) {
        let cut = |text: String| text.chars().take(LONGEST).collect::<String>();
        let call = RefusedCall {
            call: cut(call.call),
            who: cut(call.who),
            peer: cut(call.peer),
            status: call.status,
        };
        let now_ms = self.clock.now_ms();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).note(call, now_ms);
    }

    /// Writes down what was counted since the last time.
    pub async fn write_down(&self) -> Result<(), StoreError> {
        let counts = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *counts)
        };
        let rows = counts.rows();
        if rows.is_empty() {
            return Ok(());
        }
        let events: Vec<AuditEvent> = rows.into_iter().map(AuditEvent::Refused).collect();
        self.store
            .write(move |tables| events.iter().try_for_each(|it| tables.append_audit(it).map(drop)))
            .await
    }

    /// Writes down for ever.
    pub async fn keep_written_down(self) {
        let mut ticks = tokio::time::interval(MINUTE);
        loop {
            ticks.tick().await;
            if let Err(error) = self.write_down().await {
                warn!(%error, "calls that were refused within a minute are not in the audit log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize) -> RefusedCall {
        RefusedCall {
            call: "runs.list".to_owned(),
            who: String::new(),
            peer: format!("10.0.0.{number}"),
            status: 401,
        }
    }

    #[test]
    fn the_same_is_one_row_and_there_are_few() {
        let mut counts = Counts::default();
        for at in 0..5 {
            counts.note(call(1), 1000 + at);
        }
        for number in 2..1000 {
            counts.note(call(number), 2000);
        }
        counts.note(RefusedCall { who: "user:ada".to_owned(), ..call(1) }, 3000);
        let rows = counts.rows();
        assert_eq!(rows.len(), MOST + 2);
        assert!(rows.iter().any(|it| it.who == "user:ada"), "strangers do not hide her");
        assert_eq!((rows[0].times, rows[0].first_ms, rows[0].last_ms), (5, 1000, 1004));
        let others = rows.iter().find(|it| it.peer.is_empty()).expect("the rest");
        assert_eq!(others.times, 1000 - 1 - MOST as u64);
    }

    #[test]
    fn nobody_hides_what_another_one_does() {
        let mut counts = Counts::default();
        let of = |who: &str, number: usize| RefusedCall { who: who.to_owned(), ..call(number) };
        for number in 0..100 {
            counts.note(of("user:eve", number), 1000);
        }
        counts.note(of("user:ada", 1), 2000);
        let rows = counts.rows();
        let of_one = |who: &str| rows.iter().filter(|it| it.who == who).count();
        assert_eq!((of_one("user:eve"), of_one("user:ada")), (MOST_OF_ONE, 1));
        assert_eq!(rows.iter().map(|it| it.times).sum::<u64>(), 101);
    }
}
