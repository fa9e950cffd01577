//! Accepting events: each with its runs, in one transaction (design §3, step 3).

use std::sync::Arc;

use bytes::Bytes;
use redb::ReadableTable;

use super::changes::ReadChanges;
use super::record::{decode_with_tail, encode_with_tail};
use super::records::TimerRecord;
use super::runs::OpenRun;
use super::scheduled::{FromSchedule, TakenFromSchedule};
use super::tables::{Page, PageRequest, ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::model::event::{Cause, EventHead};
use crate::model::id::{
    AutomationId, EventId, RunId, SnapInId, SourceId, UserId, VersionId, created_ms,
};
use crate::model::run::{RunHead, RunTrigger};

/// Events of one source, to be stored together.
#[derive(Clone, Debug)]
pub struct AcceptEvents {
    /// The source.
    pub source: SourceId,
    /// The snap-in that it belongs to.
    pub snap_in: SnapInId,
    /// The generation of the route that `events[].runs` were planned with.
    pub generation: u64,
    /// What caused them.
    pub cause: Cause,
    /// Whose the source is, when its level is the user's.
    pub user: Option<UserId>,
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// How long a dedup key is remembered.
    pub dedup_window_ms: u64,
    /// What is kept of the source's timer from now on, when a wake-up led to this.
    pub timer: Option<TimerRecord>,
    /// Whether they were scheduled.
    pub scheduled: FromSchedule,
    /// How far their source has read the changes of objects with this, when those led to it.
    pub read: Option<ReadChanges>,
}

/// An event to be stored.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Such as `custom:my-event`.
    pub event_type: String,
    /// Valid JSON, stored as it is.
    pub payload: Bytes,
    /// At most one event of the source has this key, as long as it is remembered.
    pub dedup_key: Option<String>,
    /// Ordering key.
    pub sync_id: Option<String>,
    /// One run per automation that matches.
    pub runs: Vec<PlannedRun>,
    /// What caused it, when that is not what caused the others.
    pub cause: Option<Cause>,
}

/// A run to be queued with its event.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    /// The automation that matched.
    pub automation: AutomationId,
    /// Its function.
    pub function: Arc<str>,
    /// The version that is current.
    pub version: VersionId,
    /// Whether the function asks for order by `sync_id`.
    pub ordered: bool,
}

/// What became of [`AcceptEvents`].
#[derive(Clone, Debug)]
pub enum Acceptance {
    /// All are on the disk, in the order given, without those that had been scheduled and are not any
    /// more.
    Stored(Vec<StoredEvent>),
    /// The route, or what their source has read, has changed since they were planned with: plan again.
    Stale,
    /// An event with the same key is pending, and is not to be replaced.
    KeyPending {
        /// When that one is due.
        due_ms: u64,
    },
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Which of those that were given it is.
    pub at: usize,
    /// Its id; that of the first one, for a duplicate.
    pub id: EventId,
    /// Whether an event with its dedup key was there already. Nothing was stored then.
    pub duplicate: bool,
    /// The runs that were queued.
    pub runs: Vec<OpenRun>,
}

impl WriteTables<'_> {
    /// Stores events and queues their runs, and what is kept of the timer that they came from.
    pub fn accept_events(&mut self, new: &AcceptEvents) -> Result<Acceptance, StoreError> {
        let generation = self.route_generations()?.get(new.source.0)?.map(|it| it.value());
        if generation != Some(new.generation) {
            return self.made_nothing(Acceptance::Stale);
        }
        if let Some(read) = &new.read
            && !self.move_cursor(&new.source.to_string(), *read)?
        {
            return self.made_nothing(Acceptance::Stale);
        }
        let live = match self.take_from_schedule(new.source, &new.scheduled)? {
            TakenFromSchedule::All => None,
            TakenFromSchedule::These(live) => Some(live),
            TakenFromSchedule::KeyPending { due_ms } => {
                return self.made_nothing(Acceptance::KeyPending { due_ms });
            }
        };
        let mut stored = Vec::with_capacity(new.events.len());
        for (at, event) in new.events.iter().enumerate() {
            if live.as_ref().is_none_or(|it| it.get(at) == Some(&true)) {
                stored.push(self.accept_event(new, at, event)?);
            }
        }
        if let Some(timer) = &new.timer {
            self.put_timer(new.source, timer)?;
        }
        Ok(Acceptance::Stored(stored))
    }

    fn accept_event(
        &mut self,
        new: &AcceptEvents,
        at: usize,
        event: &NewEvent,
    ) -> Result<StoredEvent, StoreError> {
        if let Some(key) = &event.dedup_key {
            let first = self.dedup()?.get((new.source.0, key.as_str()))?.map(|it| it.value());
            let now_ms = self.now_ms();
            let is_remembered =
                |id: u128| created_ms(id).saturating_add(new.dedup_window_ms) > now_ms;
            if let Some(id) = first.filter(|it| is_remembered(*it)) {
                let id = EventId(id);
                return Ok(StoredEvent { at, id, duplicate: true, runs: Vec::new() });
            }
        }
        let id = EventId(self.new_id());
        let mut runs = Vec::with_capacity(event.runs.len());
        for planned in &event.runs {
            runs.push(self.queue_run(new, event, id, planned)?);
        }
        let head = EventHead {
            source: new.source,
            snap_in: new.snap_in,
            event_type: event.event_type.clone(),
            received_ms: self.now_ms(),
            dedup_key: event.dedup_key.clone(),
            sync_id: event.sync_id.clone(),
            cause: event.cause.unwrap_or(new.cause),
            runs: runs.iter().map(|it| it.id).collect(),
        };
        self.events()?.insert(id.0, encode_with_tail(&head, &event.payload)?.as_slice())?;
        if let Some(key) = &event.dedup_key {
            self.dedup()?.insert((new.source.0, key.as_str()), id.0)?;
        }
        Ok(StoredEvent { at, id, duplicate: false, runs })
    }

    fn queue_run(
        &mut self,
        new: &AcceptEvents,
        event: &NewEvent,
        event_id: EventId,
        planned: &PlannedRun,
    ) -> Result<OpenRun, StoreError> {
        let trigger = RunTrigger::Automation { automation: planned.automation, event: event_id };
        let function = planned.function.to_string();
        let head = RunHead {
            sync_id: event.sync_id.clone().filter(|_| planned.ordered),
            cause: event.cause.unwrap_or(new.cause),
            user: new.user,
            ..RunHead::new(new.snap_in, planned.version, function, trigger, self.now_ms())
        };
        self.add_open_run(head)
    }

    /// Adds a run that has not ended.
    pub(super) fn add_open_run(&mut self, head: RunHead) -> Result<OpenRun, StoreError> {
        let id = RunId(self.new_id());
        self.runs_open()?.insert(id.0, encode_with_tail(&head, &[])?.as_slice())?;
        Ok(OpenRun { id, head })
    }
}

impl ReadTables {
    /// The event that another one with this key would be a duplicate of now.
    pub fn first_event(
        &self,
        source: SourceId,
        key: &str,
        window_ms: u64,
        now_ms: u64,
    ) -> Result<Option<EventId>, StoreError> {
        let first = self.table(schema::DEDUP)?.get((source.0, key))?.map(|it| it.value());
        let is_remembered = |id: &u128| created_ms(*id).saturating_add(window_ms) > now_ms;
        Ok(first.filter(is_remembered).map(EventId))
    }

    /// An event and its payload.
    pub fn event(&self, id: EventId) -> Result<Option<(EventHead, Bytes)>, StoreError> {
        let Some(row) = self.table(schema::EVENTS)?.get(id.0)? else { return Ok(None) };
        let (head, payload) = decode_with_tail::<EventHead>(row.value())?;
        Ok(Some((head, Bytes::copy_from_slice(payload))))
    }

    /// Events that `wanted` picks, with their payloads.
    pub fn list_events(
        &self,
        page: PageRequest,
        wanted: impl Fn(&EventHead) -> bool,
    ) -> Result<Page<(EventId, EventHead, Bytes)>, StoreError> {
        page.read(&self.table(schema::EVENTS)?, |id, value| {
            let (head, payload) = decode_with_tail::<EventHead>(value)?;
            Ok(wanted(&head).then(|| (EventId(id), head, Bytes::copy_from_slice(payload))))
        })
    }
}
