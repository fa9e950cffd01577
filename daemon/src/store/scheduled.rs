//! Events that are to be published later: pending ones by source and due time, and by key.
//!
//! An event is published and taken off this list in one transaction
//! ([`super::AcceptEvents::scheduled`]): one that was replaced or taken back in the meantime is not
//! there any more, and is not published then. Must never look at more of a source's pending events
//! than were asked for: there may be a million.

use bytes::Bytes;
use redb::ReadableTable;

use super::record::{decode_with_tail, encode_with_tail};
use super::records::ScheduledRecord;
use super::tables::{ReadTables, WriteTables};
use super::{Store, StoreError, schema};
use crate::model::id::SourceId;

/// How many events may be pending at one source.
pub const MOST_SCHEDULED: u64 = 2_000_000;
/// Payloads that are read at a time, in bytes; a single one may be larger.
const MOST_BYTES: usize = 4 << 20;
/// Rows that one transaction removes, so that it delays nobody.
const CHUNK: usize = 500;

/// Which pending event of a source: when it is due, and its id. One that replaces another has a place
/// of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it is due, milliseconds of the Unix epoch.
    pub due_ms: u64,
    /// Only grows: what was scheduled first for a time is published first.
    pub id: u128,
}

/// An event to be published later.
#[derive(Clone, Debug)]
pub struct NewScheduled {
    /// Where.
    pub source: SourceId,
    /// Such as `custom:my-event`.
    pub event_type: String,
    /// At most one pending event of the source has it.
    pub event_key: String,
    /// Valid JSON, kept as it is.
    pub payload: Bytes,
    /// When, milliseconds of the Unix epoch.
    pub due_ms: u64,
    /// Name of the principal.
    pub scheduled_by: String,
    /// Whether the pending event with that key, if there is one, gives way.
    pub replace: bool,
}

/// How scheduling went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// It is pending.
    Pending {
        /// Instead of another one.
        replaced: bool,
    },
    /// Another one with that key is, and was not to be replaced.
    KeyPending {
        /// When that one is due.
        due_ms: u64,
    },
    /// [`MOST_SCHEDULED`] are pending.
    TooMany,
    /// The source is gone.
    NoSuchSource,
}

/// How taking an event back went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unschedule {
    /// It will not be published.
    Done,
    /// None with that key is pending.
    NotPending,
}

/// What events that are stored have to do with the schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FromSchedule {
    /// Nothing.
    #[default]
    No,
    /// They were due: each place with how many of the events came of it, in order. All of these
    /// places are empty afterwards.
    Due(Vec<(Place, usize)>),
    /// They are published at once under a key.
    Now {
        /// The key.
        event_key: String,
        /// Whether the pending event with that key, if there is one, gives way.
        replace: bool,
    },
}

/// Which of the events are to be stored.
pub(super) enum TakenFromSchedule {
    All,
    These(Vec<bool>),
    KeyPending { due_ms: u64 },
}

/// A pending event.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledEvent {
    /// Where it is, and when it is due.
    pub place: Place,
    /// What is kept of it.
    pub record: ScheduledRecord,
    /// What it will be published with.
    pub payload: Bytes,
}

/// Part of a source's pending events, next due first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScheduledPage {
    /// The events.
    pub rows: Vec<ScheduledEvent>,
    /// Where the next page starts; absent at the end.
    pub next: Option<Place>,
}

/// What is due at a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DueEvents {
    /// Those that are, the longest first; not necessarily all.
    pub rows: Vec<ScheduledEvent>,
    /// When the first of the others is due, which may be past.
    pub next_ms: Option<u64>,
}

impl Store {
    /// Removes what was scheduled at sources that are gone, in steps: there may be a million events.
    pub async fn forget_scheduled_of_gone_sources(&self) -> Result<(), StoreError> {
        for source in self.read(|tables| tables.sources_gone_with_scheduled())? {
            while self.write(move |tables| tables.forget_scheduled(source, CHUNK)).await? {}
        }
        Ok(())
    }
}

impl WriteTables<'_> {
    /// Adds a pending event, or puts it in the place of the one with its key.
    pub fn schedule(&mut self, new: &NewScheduled) -> Result<Scheduling, StoreError> {
        if self.sources()?.get(new.source.0)?.is_none() {
            return self.made_nothing(Scheduling::NoSuchSource);
        }
        let pending = self.pending_place(new.source, &new.event_key)?;
        match pending {
            Some(place) if !new.replace => {
                return self.made_nothing(Scheduling::KeyPending { due_ms: place.due_ms });
            }
            Some(place) => {
                self.take_scheduled(new.source, place)?;
            }
            None if self.count_scheduled(new.source)? >= MOST_SCHEDULED => {
                return self.made_nothing(Scheduling::TooMany);
            }
            None => {}
        }
        let id = self.new_id();
        let record = ScheduledRecord {
            event_type: new.event_type.clone(),
            event_key: new.event_key.clone(),
            created_ms: self.now_ms(),
            scheduled_by: new.scheduled_by.clone(),
        };
        let row = encode_with_tail(&record, &new.payload)?;
        self.scheduled()?.insert((new.source.0, new.due_ms, id), row.as_slice())?;
        let key = (new.source.0, new.event_key.as_str());
        self.scheduled_keys()?.insert(key, (new.due_ms, id))?;
        let count = self.count_scheduled(new.source)?;
        self.scheduled_counts()?.insert(new.source.0, count + 1)?;
        Ok(Scheduling::Pending { replaced: pending.is_some() })
    }

    /// Takes back the pending event with a key.
    pub fn unschedule(&mut self, source: SourceId, key: &str) -> Result<Unschedule, StoreError> {
        Ok(match self.pending_place(source, key)? {
            Some(place) => {
                self.take_scheduled(source, place)?;
                Unschedule::Done
            }
            None => Unschedule::NotPending,
        })
    }

    /// Takes events off the schedule that are stored now; says which of them are.
    pub(super) fn take_from_schedule(
        &mut self,
        source: SourceId,
        scheduled: &FromSchedule,
    ) -> Result<TakenFromSchedule, StoreError> {
        match scheduled {
            FromSchedule::No => Ok(TakenFromSchedule::All),
            FromSchedule::Due(places) => {
                let mut live = Vec::new();
                for (place, events) in places {
                    let was_there = self.take_scheduled(source, *place)?;
                    live.extend(std::iter::repeat_n(was_there, *events));
                }
                Ok(TakenFromSchedule::These(live))
            }
            FromSchedule::Now { event_key, replace } => {
                match self.pending_place(source, event_key)? {
                    Some(place) if !replace => {
                        return Ok(TakenFromSchedule::KeyPending { due_ms: place.due_ms });
                    }
                    Some(place) => {
                        self.take_scheduled(source, place)?;
                    }
                    None => {}
                }
                Ok(TakenFromSchedule::All)
            }
        }
    }

    /// Removes up to `most` pending events of a source that is gone; answers whether there are more.
    pub fn forget_scheduled(&mut self, source: SourceId, most: usize) -> Result<bool, StoreError> {
        if self.sources()?.get(source.0)?.is_some() {
            return Ok(false);
        }
        let mut places = Vec::new();
        for row in self.scheduled()?.range((source.0, 0, 0)..=(source.0, u64::MAX, u128::MAX))? {
            if places.len() == most {
                break;
            }
            let (_, due_ms, id) = row?.0.value();
            places.push(Place { due_ms, id });
        }
        for place in &places {
            self.take_scheduled(source, *place)?;
        }
        if places.len() < most {
            self.scheduled_counts()?.remove(source.0)?;
        }
        Ok(places.len() == most)
    }

    fn pending_place(&mut self, source: SourceId, key: &str) -> Result<Option<Place>, StoreError> {
        let found = self.scheduled_keys()?.get((source.0, key))?;
        Ok(found.map(|it| Place { due_ms: it.value().0, id: it.value().1 }))
    }

    /// Empties a place; answers whether there was an event in it.
    fn take_scheduled(&mut self, source: SourceId, place: Place) -> Result<bool, StoreError> {
        let record = {
            let removed = self.scheduled()?.remove((source.0, place.due_ms, place.id))?;
            let Some(removed) = removed else { return Ok(false) };
            decode_with_tail::<ScheduledRecord>(removed.value())?.0
        };
        self.scheduled_keys()?.remove((source.0, record.event_key.as_str()))?;
        match self.count_scheduled(source)? {
            0 | 1 => self.scheduled_counts()?.remove(source.0)?,
            more => self.scheduled_counts()?.insert(source.0, more - 1)?,
        };
        Ok(true)
    }

    fn count_scheduled(&mut self, source: SourceId) -> Result<u64, StoreError> {
        Ok(self.scheduled_counts()?.get(source.0)?.map_or(0, |it| it.value()))
    }
}

impl ReadTables {
    /// How many events are pending at a source.
    pub fn count_scheduled(&self, source: SourceId) -> Result<u64, StoreError> {
        Ok(self.table(schema::SCHEDULED_COUNTS)?.get(source.0)?.map_or(0, |it| it.value()))
    }

    /// Pending events of a source, next due first: at most `limit`, and fewer when they are large.
    pub fn list_scheduled(
        &self,
        source: SourceId,
        from: Option<Place>,
        limit: usize,
    ) -> Result<ScheduledPage, StoreError> {
        self.scheduled_until(source, from, u64::MAX, limit)
    }

    /// Up to `most` events of a source that are due at `now_ms`, and when the next one is.
    pub fn due_scheduled(
        &self,
        source: SourceId,
        now_ms: u64,
        most: usize,
    ) -> Result<DueEvents, StoreError> {
        let page = self.scheduled_until(source, None, now_ms, most)?;
        Ok(DueEvents { rows: page.rows, next_ms: page.next.map(|it| it.due_ms) })
    }

    fn scheduled_until(
        &self,
        source: SourceId,
        from: Option<Place>,
        last_ms: u64,
        limit: usize,
    ) -> Result<ScheduledPage, StoreError> {
        let from = from.unwrap_or(Place { due_ms: 0, id: 0 });
        let mut page = ScheduledPage::default();
        let mut bytes = 0;
        let rows = (source.0, from.due_ms, from.id)..=(source.0, u64::MAX, u128::MAX);
        for row in self.table(schema::SCHEDULED)?.range(rows)? {
            let (key, value) = row?;
            let (_, due_ms, id) = key.value();
            let place = Place { due_ms, id };
            if due_ms > last_ms || page.rows.len() == limit || bytes >= MOST_BYTES {
                page.next = Some(place);
                break;
            }
            let (record, payload) = decode_with_tail(value.value())?;
            bytes += payload.len();
            let payload = Bytes::copy_from_slice(payload);
            page.rows.push(ScheduledEvent { place, record, payload });
        }
        Ok(page)
    }

    /// Sources that are gone, and whose pending events are not.
    pub fn sources_gone_with_scheduled(&self) -> Result<Vec<SourceId>, StoreError> {
        let sources = self.table(schema::SOURCES)?;
        let mut gone = Vec::new();
        for row in self.table(schema::SCHEDULED_COUNTS)?.iter()? {
            let source = row?.0.value();
            if sources.get(source)?.is_none() {
                gone.push(SourceId(source));
            }
        }
        Ok(gone)
    }
}
