//! Occurrences: written in the transaction that causes them, and read behind the cursor of what tells
//! people of them. Ids only grow, in the order of commits, so that a cursor is one.
//!
//! What is frequent and rarely wanted (a run that succeeded, or is tried again) is written only while
//! somebody subscribes to it; which scopes want it stands in one row that is read once in a commit.
//!
//! Must never: hold a secret; remove an occurrence that was not decided on.

use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::record::{Record, decode, decode_with_tail, encode, encode_with_tail};
use super::records::{SnapInRecord, SourceRecord};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get};
use super::webhooks::WebhookRecord;
use super::{StoreError, schema};
use crate::lifecycle::webhook::Status;
use crate::model::event::{Cause, MOST_HOPS};
use crate::model::id::{
    IntegrationId, OccurrenceId, RunId, SnapInId, SourceId, VersionId, WebhookId,
};
use crate::model::occurrence::{
    Level, MOST_OCCURRENCE_BYTES, MOST_TEXT, OccurrenceHead, Selector, Trigger,
};
use crate::model::run::{AttemptOutcome, RunError, RunHead, RunState};
use crate::model::scope::{Scope, ScopePrefix};
use crate::model::snap_in::{SnapInState, SourceStatus};
use crate::model::timestamp::rfc3339;

/// The row of [`schema::TELLING`] with the place up to which everything is decided.
const CURSOR: &str = "cursor";
/// The row with what is wanted of what is rarely wanted.
const WANTED: &str = "wanted";

/// Something worth telling.
#[derive(Clone, Debug)]
pub struct NewOccurrence {
    /// What happened.
    pub trigger: Trigger,
    /// How much it matters; as its trigger says when absent.
    pub level: Option<Level>,
    /// Where.
    pub scope: Option<Scope>,
    /// The snap-in there.
    pub snap_in: Option<SnapInId>,
    /// What it is about.
    pub subject: Option<String>,
    /// The longer piece of work that it belongs to.
    pub work: Option<String>,
    /// The integration that it is about.
    pub about: Option<IntegrationId>,
    /// Where in a chain of causes it stands.
    pub cause: Cause,
    /// Its own members.
    pub members: Map<String, Value>,
}

impl NewOccurrence {
    /// About the whole host, without anything to say.
    pub fn new(trigger: Trigger) -> NewOccurrence {
        NewOccurrence {
            trigger,
            level: None,
            scope: None,
            snap_in: None,
            subject: None,
            work: None,
            about: None,
            cause: Cause::default(),
            members: Map::new(),
        }
    }

    fn with(mut self, members: Value) -> NewOccurrence {
        if let Value::Object(members) = members {
            self.members = members.into_iter().filter(|(_, it)| !it.is_null()).collect();
        }
        self
    }
}

/// A written occurrence.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOccurrence {
    /// Which.
    pub id: OccurrenceId,
    /// What is the same for all.
    pub head: OccurrenceHead,
    /// Its own members.
    pub members: Map<String, Value>,
}

/// Scopes in which somebody wants to be told of what is not written down otherwise; nothing in a list
/// stands for the whole host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    succeeded: Vec<Option<ScopePrefix>>,
    #[serde(default)]
    will_retry: Vec<Option<ScopePrefix>>,
}

impl Record for Wanted {
    const NAME: &'static str = "what is wanted of runs";
}

impl Wanted {
    /// What some subscriptions want.
    pub(super) fn of<'a>(
        subscriptions: impl Iterator<Item = (&'a Selector, Option<&'a ScopePrefix>)>,
    ) -> Wanted {
        let mut wanted = Wanted::default();
        for (selector, scope) in subscriptions {
            for (trigger, scopes) in [
                (Trigger::RunSucceeded, &mut wanted.succeeded),
                (Trigger::RunWillRetry, &mut wanted.will_retry),
            ] {
                let scope = scope.cloned();
                if selector.wants(&trigger) && !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
        }
        for scopes in [&mut wanted.succeeded, &mut wanted.will_retry] {
            if scopes.contains(&None) {
                *scopes = vec![None];
            }
        }
        wanted
    }
}

fn holds(scopes: &[Option<ScopePrefix>], scope: Option<&Scope>) -> bool {
    scopes.iter().any(|it| match (it, scope) {
        (None, _) => true,
        (Some(prefix), Some(scope)) => prefix.holds(scope),
        (Some(_), None) => false,
    })
}

impl WriteTables<'_> {
    /// Writes an occurrence down, after all that were before it.
    pub fn occur(&mut self, new: &NewOccurrence) -> Result<OccurrenceId, StoreError> {
        let id = OccurrenceId(self.new_id());
        let head = OccurrenceHead {
            level: new.level.unwrap_or_else(|| new.trigger.level()),
            trigger: new.trigger.clone(),
            at_ms: self.now_ms(),
            scope: new.scope.clone(),
            snap_in: new.snap_in,
            subject: new.subject.clone(),
            work: new.work.clone(),
            about: new.about,
            cause: new.cause,
        };
        let mut members = new.members.clone();
        members.values_mut().for_each(shorten);
        let mut text = Value::Object(members).to_string();
        if text.len() > MOST_OCCURRENCE_BYTES {
            // Callers bound what comes from outside; nothing of ours is that long.
            text = "{}".to_owned();
        }
        self.occurrences()?.insert(id.0, encode_with_tail(&head, text.as_bytes())?.as_slice())?;
        if let Some(subject) = &head.subject {
            self.occurrence_subjects()?.insert((subject.as_str(), id.0), ())?;
        }
        self.ring_for_occurrences();
        Ok(id)
    }

    /// The state of a snap-in has become another one, or its version.
    pub(super) fn snap_in_moved(
        &mut self,
        id: SnapInId,
        before: (&SnapInState, VersionId),
        record: &SnapInRecord,
    ) -> Result<(), StoreError> {
        let (state, version) = before;
        let occurrence = |trigger| {
            let new = NewOccurrence::new(trigger);
            let new = NewOccurrence {
                scope: Some(record.scope.clone()),
                snap_in: Some(id),
                subject: Some(id.to_string()),
                ..new
            };
            new.with(json!({
                "state": record.state.name(),
                "reason": record.state.reason(),
                "package": record.package,
                "version": record.version,
                "previous_version": (version != record.version).then_some(version),
            }))
        };
        if version != record.version {
            self.occur(&occurrence(Trigger::SnapInUpgraded))?;
        }
        if *state == record.state {
            return Ok(());
        }
        let trigger = match &record.state {
            SnapInState::Active => Trigger::SnapInActivated,
            SnapInState::Inactive => Trigger::SnapInDeactivated,
            SnapInState::Error { .. } => Trigger::SnapInFailed,
            SnapInState::Deleted => Trigger::SnapInDeleted,
            // On its way, or not begun: there is nothing to tell yet.
            SnapInState::Draft | SnapInState::Activating | SnapInState::Deactivating { .. } => {
                return Ok(());
            }
        };
        self.occur(&occurrence(trigger))?;
        Ok(())
    }

    /// A run has ended.
    pub(super) fn run_ended(&mut self, id: RunId, head: &RunHead) -> Result<(), StoreError> {
        match head.state {
            RunState::Failed => self.run_occurs(Trigger::RunFailed, id, head, None),
            RunState::Dead => self.run_occurs(Trigger::RunDead, id, head, None),
            RunState::Succeeded => {
                if self.wanted()?.succeeded.is_empty() {
                    return Ok(());
                }
                self.run_occurs(Trigger::RunSucceeded, id, head, None)
            }
            RunState::Queued | RunState::Running | RunState::Retrying | RunState::Cancelled => {
                Ok(())
            }
        }
    }

    /// An attempt has failed, and there will be another.
    pub(super) fn run_will_retry(
        &mut self,
        id: RunId,
        head: &RunHead,
        at_ms: u64,
    ) -> Result<(), StoreError> {
        if self.wanted()?.will_retry.is_empty() {
            return Ok(());
        }
        self.run_occurs(Trigger::RunWillRetry, id, head, Some(at_ms))
    }

    fn run_occurs(
        &mut self,
        trigger: Trigger,
        id: RunId,
        head: &RunHead,
        next_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let snap_in = get::<SnapInRecord>(self.snap_ins()?, head.snap_in.0)?;
        let scope = snap_in.map(|it| it.scope);
        let wanted = self.wanted()?;
        let is_wanted = match trigger {
            Trigger::RunSucceeded => holds(&wanted.succeeded, scope.as_ref()),
            Trigger::RunWillRetry => holds(&wanted.will_retry, scope.as_ref()),
            _ => true,
        };
        if !is_wanted {
            return Ok(());
        }
        let outcome = head.attempts.last().and_then(|it| it.outcome.as_ref());
        let error = match outcome {
            Some(AttemptOutcome::Failed(RunError { kind, name, message, .. })) => {
                json!({ "kind": kind, "name": name, "message": message })
            }
            Some(
                AttemptOutcome::Interrupted { reason }
                | AttemptOutcome::Postponed { reason }
                | AttemptOutcome::Cancelled { reason },
            ) => json!({ "kind": "interrupted", "message": reason }),
            Some(AttemptOutcome::Succeeded) | None => Value::Null,
        };
        // Beyond the end of a chain it is written down all the same, and told to nobody.
        let beyond = Cause { run: Some(id), hops: MOST_HOPS + 1 };
        let new = NewOccurrence {
            scope,
            snap_in: Some(head.snap_in),
            subject: Some(id.to_string()),
            cause: head.cause.next(id).unwrap_or(beyond),
            ..NewOccurrence::new(trigger)
        };
        self.occur(&new.with(json!({
            "run": id,
            "function": head.function,
            "event": head.trigger.event(),
            "called_by": super::objects::trigger_name(&head.trigger),
            "attempts": head.attempts.len(),
            "next_attempt": next_ms.map(rfc3339),
            "error": error,
        })))?;
        Ok(())
    }

    /// An event source takes events, or does not.
    pub(super) fn source_moved(
        &mut self,
        id: SourceId,
        before: SourceStatus,
        record: &SourceRecord,
    ) -> Result<(), StoreError> {
        if before == record.status {
            return Ok(());
        }
        let trigger = match record.status {
            SourceStatus::Active => Trigger::SourceResumed,
            SourceStatus::Paused => Trigger::SourcePaused,
            SourceStatus::Blocked => Trigger::SourceBlocked,
        };
        let snap_in = get::<SnapInRecord>(self.snap_ins()?, record.snap_in.0)?;
        let new = NewOccurrence {
            scope: snap_in.map(|it| it.scope),
            snap_in: Some(record.snap_in),
            subject: Some(id.to_string()),
            ..NewOccurrence::new(trigger)
        };
        self.occur(&new.with(json!({
            "source": id,
            "source_name": record.name,
            "source_type": record.kind,
            "reason": record.reason,
            "blocked_by": record.block.as_ref().map(|it| &it.by),
        })))?;
        Ok(())
    }

    /// The standing of an outgoing webhook has become another one.
    pub(super) fn webhook_moved(
        &mut self,
        id: WebhookId,
        before: Status,
        record: &WebhookRecord,
    ) -> Result<(), StoreError> {
        let trigger = match (before, record.standing.status) {
            (before, after) if before == after => return Ok(()),
            (_, Status::Degraded) => Trigger::WebhookDegraded,
            (Status::Degraded, Status::Active) => Trigger::WebhookRecovered,
            (_, Status::Inactive) => Trigger::WebhookDisabled,
            // It is being verified, or was for the first time.
            (_, Status::Active | Status::Unverified) => return Ok(()),
        };
        let new = NewOccurrence { subject: Some(id.to_string()), ..NewOccurrence::new(trigger) };
        self.occur(&new.with(json!({
            "webhook": id,
            "host": record.host(),
            "status": record.standing.status.name(),
            "reason": record.standing.reason,
        })))?;
        Ok(())
    }

    /// What is wanted, read once in a commit.
    fn wanted(&mut self) -> Result<Wanted, StoreError> {
        if let Some(wanted) = &self.wanted_of_runs {
            return Ok(wanted.clone());
        }
        let row =
            self.telling()?.get(WANTED)?.map(|it| decode::<Wanted>(it.value())).transpose()?;
        let wanted = row.unwrap_or_default();
        self.wanted_of_runs = Some(wanted.clone());
        Ok(wanted)
    }

    /// Subscriptions want this from here on.
    pub(super) fn set_wanted(&mut self, wanted: Wanted) -> Result<(), StoreError> {
        self.telling()?.insert(WANTED, encode(&wanted)?.as_slice())?;
        self.wanted_of_runs = Some(wanted);
        Ok(())
    }

    /// Moves the cursor of decisions. Answers whether it was where it had to be.
    pub(super) fn move_telling(
        &mut self,
        from: OccurrenceId,
        to: OccurrenceId,
    ) -> Result<bool, StoreError> {
        let here = self.telling()?.get(CURSOR)?.map_or(0, |it| read_place(it.value()));
        if here != from.0 {
            return Ok(false);
        }
        self.telling()?.insert(CURSOR, to.0.to_be_bytes().as_slice())?;
        Ok(true)
    }

    /// Removes up to `most` occurrences from before `before`, or of which there are more than
    /// `most_kept`, with what was decided about them. Only those that were decided on. Answers whether
    /// there are more.
    pub fn prune_occurrences(
        &mut self,
        before: OccurrenceId,
        most_kept: u64,
        most: usize,
    ) -> Result<bool, StoreError> {
        let decided = self.telling()?.get(CURSOR)?.map_or(0, |it| read_place(it.value()));
        let surplus = self.occurrences()?.len()?.saturating_sub(most_kept);
        let mut old = Vec::new();
        for row in self.occurrences()?.range(..=decided)?.take(most) {
            let (id, value) = row?;
            let is_surplus = (old.len() as u64) < surplus;
            if id.value() >= before.0 && !is_surplus {
                break;
            }
            let (head, _) = decode_with_tail::<OccurrenceHead>(value.value())?;
            old.push((id.value(), head.subject));
        }
        for (id, subject) in &old {
            self.occurrences()?.remove(*id)?;
            self.decisions()?.remove(*id)?;
            if let Some(subject) = subject {
                self.occurrence_subjects()?.remove((subject.as_str(), *id))?;
            }
        }
        Ok(old.len() == most)
    }
}

impl ReadTables {
    /// An occurrence.
    pub fn occurrence(&self, id: OccurrenceId) -> Result<Option<StoredOccurrence>, StoreError> {
        let row = self.table(schema::OCCURRENCES)?.get(id.0)?;
        row.map(|it| read(id, it.value())).transpose()
    }

    /// Up to `most` occurrences after a place, in order.
    pub fn occurrences_after(
        &self,
        after: OccurrenceId,
        most: usize,
    ) -> Result<Vec<StoredOccurrence>, StoreError> {
        let Some(first) = after.0.checked_add(1) else { return Ok(Vec::new()) };
        let rows = self.table(schema::OCCURRENCES)?;
        rows.range(first..)?
            .take(most)
            .map(|row| {
                let (id, value) = row?;
                read(OccurrenceId(id.value()), value.value())
            })
            .collect()
    }

    /// The last occurrences about something, newest first.
    pub fn occurrences_about(
        &self,
        subject: &str,
        most: usize,
    ) -> Result<Vec<StoredOccurrence>, StoreError> {
        let rows = self.table(schema::OCCURRENCE_SUBJECTS)?;
        let mut found = Vec::new();
        for row in rows.range((subject, 0)..=(subject, u128::MAX))?.rev().take(most) {
            found.extend(self.occurrence(OccurrenceId(row?.0.value().1))?);
        }
        Ok(found)
    }

    /// Occurrences that `wanted` picks.
    pub fn list_occurrences(
        &self,
        page: PageRequest,
        wanted: impl Fn(&OccurrenceHead) -> bool,
    ) -> Result<Page<StoredOccurrence>, StoreError> {
        page.read(&self.table(schema::OCCURRENCES)?, |id, value| {
            let (head, _) = decode_with_tail::<OccurrenceHead>(value)?;
            if !wanted(&head) {
                return Ok(None);
            }
            read(OccurrenceId(id), value).map(Some)
        })
    }

    /// Up to where everything is decided.
    pub fn telling_cursor(&self) -> Result<OccurrenceId, StoreError> {
        let place = self.table(schema::TELLING)?.get(CURSOR)?;
        Ok(OccurrenceId(place.map_or(0, |it| read_place(it.value()))))
    }

    /// How many occurrences are kept.
    pub fn count_occurrences(&self) -> Result<u64, StoreError> {
        Ok(self.table(schema::OCCURRENCES)?.len()?)
    }
}

fn read(id: OccurrenceId, row: &[u8]) -> Result<StoredOccurrence, StoreError> {
    let (head, tail) = decode_with_tail::<OccurrenceHead>(row)?;
    let members = serde_json::from_slice(tail)
        .map_err(|it| StoreError::corrupt(format!("unreadable members of an occurrence: {it}")))?;
    Ok(StoredOccurrence { id, head, members })
}

fn read_place(row: &[u8]) -> u128 {
    row.try_into().map_or(0, u128::from_be_bytes)
}

/// Texts that others wrote are cut, wherever they stand.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(MOST_TEXT) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
