//! What the daemon has of its own, as objects: written in the transaction in which the thing itself
//! changes, with the change that is told of it.
//!
//! Must never: write a secret; be called for what changes nothing that is shown (it compares, so that
//! calling it once too often costs a look and nothing else).

use bytes::Bytes;
use redb::ReadableTable;
use serde_json::{Value, json};

use super::super::StoreError;
use super::super::record::{decode, decode_with_tail, encode_with_tail};
use super::super::records::{SnapInRecord, SourceRecord, VersionRecord};
use super::super::tables::WriteTables;
use super::super::telling::IntegrationRecord;
use super::super::webhooks::WebhookRecord;
use super::write::Writing;
use crate::model::event::{Cause, MOST_HOPS};
use crate::model::id::{IntegrationId, RunId, SnapInId, SourceId, VersionId, WebhookId};
use crate::model::object::{ObjectHead, ObjectKey, Verb};
use crate::model::run::{AttemptOutcome, RunHead, RunState, RunTrigger};
use crate::model::snap_in::SnapInState;
use crate::model::timestamp::rfc3339;
use crate::objects::document::document;
use crate::objects::index;
use crate::objects::own::{LAYOUT, OwnType};

/// The counter of layouts of what is kept here.
const LAYOUT_NAME: &str = "layout of own objects";
/// Who changes what nobody asked for.
const DAEMON: &str = "mortise";

/// What is told of a change: who did it, and what caused it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Told<'a> {
    by: &'a str,
    cause: Cause,
    /// Whether it is told at all.
    is_news: bool,
}

impl Told<'static> {
    /// Nobody in particular did it.
    pub(in super::super) const BY_DAEMON: Told<'static> =
        Told { by: DAEMON, cause: Cause { run: None, hops: 0 }, is_news: true };
    /// It is so already.
    const NOT: Told<'static> = Told { is_news: false, ..Told::BY_DAEMON };
}

impl<'a> Told<'a> {
    /// A principal did it.
    pub(in super::super) fn by(by: &'a str) -> Told<'a> {
        Told { by, ..Told::BY_DAEMON }
    }
}

impl WriteTables<'_> {
    /// A snap-in is as it is now.
    pub(in super::super) fn tell_snap_in(
        &mut self,
        id: SnapInId,
        record: &SnapInRecord,
        told: Told<'_>,
    ) -> Result<(), StoreError> {
        if record.state == SnapInState::Deleted {
            return self.drop_own(OwnType::SnapIn, id.0, told);
        }
        self.put_own(OwnType::SnapIn, id.0, &snap_in(record), told)
    }

    /// A version was made.
    pub(in super::super) fn tell_version(
        &mut self,
        id: VersionId,
        record: &VersionRecord,
    ) -> Result<(), StoreError> {
        let told = Told::by(&record.created_by);
        self.put_own(OwnType::SnapInVersion, id.0, &version(record), told)
    }

    /// A version is gone.
    pub(in super::super) fn tell_version_deleted(
        &mut self,
        id: VersionId,
    ) -> Result<(), StoreError> {
        self.drop_own(OwnType::SnapInVersion, id.0, Told::BY_DAEMON)
    }

    /// An event source is as it is now.
    pub(in super::super) fn tell_source(
        &mut self,
        id: SourceId,
        record: &SourceRecord,
    ) -> Result<(), StoreError> {
        self.put_own(OwnType::EventSource, id.0, &source(record), Told::BY_DAEMON)
    }

    /// An event source is gone.
    pub(in super::super) fn tell_source_deleted(&mut self, id: SourceId) -> Result<(), StoreError> {
        self.drop_own(OwnType::EventSource, id.0, Told::BY_DAEMON)
    }

    /// An integration is as it is now.
    pub(in super::super) fn tell_integration(
        &mut self,
        id: IntegrationId,
        record: &IntegrationRecord,
    ) -> Result<(), StoreError> {
        let told = Told::by(&record.modified_by);
        self.put_own(OwnType::Integration, id.0, &integration(record), told)
    }

    /// An integration is gone.
    pub(in super::super) fn tell_integration_deleted(
        &mut self,
        id: IntegrationId,
    ) -> Result<(), StoreError> {
        self.drop_own(OwnType::Integration, id.0, Told::BY_DAEMON)
    }

    /// An outgoing webhook is as it is now.
    pub(in super::super) fn tell_webhook(
        &mut self,
        id: WebhookId,
        record: &WebhookRecord,
    ) -> Result<(), StoreError> {
        self.put_own(OwnType::Webhook, id.0, &webhook(record), Told::by(&record.modified_by))
    }

    /// An outgoing webhook is gone.
    pub(in super::super) fn tell_webhook_deleted(
        &mut self,
        id: WebhookId,
    ) -> Result<(), StoreError> {
        self.drop_own(OwnType::Webhook, id.0, Told::BY_DAEMON)
    }

    /// A run has ended. What fails because of what it tells goes on with its chain of causes.
    pub(in super::super) fn tell_run_ended(
        &mut self,
        id: RunId,
        head: &RunHead,
    ) -> Result<(), StoreError> {
        match head.state {
            RunState::Failed | RunState::Dead => {
                let beyond = Cause { run: Some(id), hops: MOST_HOPS + 1 };
                let cause = head.cause.next(id).unwrap_or(beyond);
                let told = Told { cause, ..Told::BY_DAEMON };
                self.put_own(OwnType::FailedRun, id.0, &failed_run(head), told)
            }
            RunState::Queued
            | RunState::Running
            | RunState::Retrying
            | RunState::Succeeded
            | RunState::Cancelled => Ok(()),
        }
    }

    /// A run is not one that failed any more: it is queued again, or somebody has given it up.
    pub(in super::super) fn tell_run_gone(&mut self, id: RunId) -> Result<(), StoreError> {
        self.drop_own(OwnType::FailedRun, id.0, Told::BY_DAEMON)
    }

    /// A run is so old that it is forgotten, which is no news.
    pub(in super::super) fn forget_failed_run(&mut self, id: RunId) -> Result<(), StoreError> {
        self.drop_own(OwnType::FailedRun, id.0, Told::NOT)
    }

    /// Makes the objects of what was there before there were any, or makes them anew. Runs that failed
    /// before are not among them.
    pub fn lay_out_own_objects(&mut self) -> Result<(), StoreError> {
        if self.counters()?.get(LAYOUT_NAME)?.is_some_and(|it| it.value() == LAYOUT) {
            return Ok(());
        }
        for (id, record) in &rows::<VersionRecord>(self.versions()?)? {
            self.put_own(OwnType::SnapInVersion, *id, &version(record), Told::NOT)?;
        }
        for (id, record) in &rows::<SnapInRecord>(self.snap_ins()?)? {
            if record.state != SnapInState::Deleted {
                self.put_own(OwnType::SnapIn, *id, &snap_in(record), Told::NOT)?;
            }
        }
        for (id, record) in &rows::<SourceRecord>(self.sources()?)? {
            self.put_own(OwnType::EventSource, *id, &source(record), Told::NOT)?;
        }
        for (id, record) in &rows::<IntegrationRecord>(self.integrations()?)? {
            self.put_own(OwnType::Integration, *id, &integration(record), Told::NOT)?;
        }
        for (id, record) in &rows::<WebhookRecord>(self.webhooks()?)? {
            self.put_own(OwnType::Webhook, *id, &webhook(record), Told::NOT)?;
        }
        self.counters()?.insert(LAYOUT_NAME, LAYOUT)?;
        Ok(())
    }

    fn put_own(
        &mut self,
        own: OwnType,
        id: u128,
        fields: &Value,
        told: Told<'_>,
    ) -> Result<(), StoreError> {
        let key = ObjectKey { kind: own.number(), id };
        let before = self.own_object(key)?;
        if before.as_ref().is_some_and(|(_, it)| it == fields) {
            return Ok(());
        }
        let head = ObjectHead {
            version: before.as_ref().map_or(0, |(head, _)| head.version) + 1,
            modified_ms: self.now_ms(),
            created_by: before.as_ref().map_or(told.by, |(head, _)| &head.created_by).to_owned(),
            modified_by: told.by.to_owned(),
            display_id: None,
        };
        let text = fields.to_string();
        let row = encode_with_tail(&head, text.as_bytes())?;
        self.objects()?.insert((key.kind, key.id), row.as_slice())?;
        self.index_standard(key, before.as_ref().map(|it| &it.0), Some(&head))?;
        let old_rows = before.as_ref().map(|(_, it)| own.entries(it)).unwrap_or_default();
        let (gone, new) = index::difference(old_rows, own.entries(fields));
        self.index_own(key, &gone, &new)?;
        if before.is_none() {
            let count = self.object_counts()?.get(key.kind)?.map_or(0, |it| it.value());
            self.object_counts()?.insert(key.kind, count + 1)?;
        }
        let prefix = own.id_prefix();
        let old = before
            .map(|(head, fields)| document(prefix, key, &head, fields.to_string().as_bytes()));
        let new = document(prefix, key, &head, text.as_bytes());
        let verb = if old.is_some() { Verb::Updated } else { Verb::Created };
        self.tell_own(own, key, verb, head.version, old, Some(new), told)
    }

    fn drop_own(&mut self, own: OwnType, id: u128, told: Told<'_>) -> Result<(), StoreError> {
        let key = ObjectKey { kind: own.number(), id };
        let Some((head, fields)) = self.own_object(key)? else { return Ok(()) };
        self.objects()?.remove((key.kind, key.id))?;
        self.index_standard(key, Some(&head), None)?;
        self.index_own(key, &own.entries(&fields), &[])?;
        let count = self.object_counts()?.get(key.kind)?.map_or(0, |it| it.value());
        self.object_counts()?.insert(key.kind, count.saturating_sub(1))?;
        let old = document(own.id_prefix(), key, &head, fields.to_string().as_bytes());
        self.tell_own(own, key, Verb::Deleted, head.version, Some(old), None, told)
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of a change")]
    fn tell_own(
        &mut self,
        own: OwnType,
        key: ObjectKey,
        verb: Verb,
        version: u64,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        told: Told<'_>,
    ) -> Result<(), StoreError> {
        if !told.is_news {
            return Ok(());
        }
        let writing = Writing {
            revision: 0,
            object_type: own.name().to_owned(),
            id_prefix: own.id_prefix().to_owned(),
            actor: told.by.to_owned(),
            cause: told.cause,
        };
        let (old, new) = (old.map(Bytes::from), new.map(Bytes::from));
        self.tell(&writing, verb, key, version, old, new)?;
        Ok(())
    }

    fn own_object(&mut self, key: ObjectKey) -> Result<Option<(ObjectHead, Value)>, StoreError> {
        let Some(row) = self.objects()?.get((key.kind, key.id))? else { return Ok(None) };
        let (head, fields) = decode_with_tail::<ObjectHead>(row.value())?;
        let fields = serde_json::from_slice(fields)
            .map_err(|it| StoreError::corrupt(format!("unreadable fields of an object: {it}")))?;
        Ok(Some((head, fields)))
    }
}

fn rows<R: super::super::record::Record>(
    table: &impl ReadableTable<u128, &'static [u8]>,
) -> Result<Vec<(u128, R)>, StoreError> {
    let rows = table.iter()?.map(|row| {
        let (id, value) = row?;
        Ok((id.value(), decode(value.value())?))
    });
    rows.collect()
}

fn snap_in(record: &SnapInRecord) -> Value {
    without_nulls(json!({
        "scope": record.scope.as_str(),
        "state": record.state.name(),
        "reason": record.state.reason(),
        "package": record.package,
        "snap_in_version": record.version,
        "service_account": record.service_account,
    }))
}

fn version(record: &VersionRecord) -> Value {
    json!({
        "name": record.manifest.name,
        "package": record.package,
        "number": record.number,
        "content_hash": record.content_hash,
    })
}

/// Neither the path of its URL nor anything that goes with a request: those are where secrets are.
fn webhook(record: &WebhookRecord) -> Value {
    let host = record.host();
    without_nulls(json!({
        "host": host,
        "status": record.standing.status.name(),
        "reason": record.standing.reason,
        "event_types": record.event_types,
    }))
}

fn integration(record: &IntegrationRecord) -> Value {
    json!({
        "name": record.name,
        "type": record.kind,
        "enabled": record.enabled,
        "supplied_to_all": record.supplied_to_all,
    })
}

fn source(record: &SourceRecord) -> Value {
    without_nulls(json!({
        "name": record.name,
        "type": record.kind,
        "snap_in": record.snap_in,
        "user": record.user,
        "status": record.status.name(),
        "reason": record.reason,
        "blocked_by": record.block.as_ref().map(|it| &it.by),
    }))
}

fn failed_run(head: &RunHead) -> Value {
    let last = head.attempts.last().and_then(|it| it.outcome.as_ref());
    let error = match last {
        Some(AttemptOutcome::Failed(error)) => Some(json!({
            "kind": error.kind, "name": error.name, "message": error.message,
        })),
        Some(
            AttemptOutcome::Interrupted { reason }
            | AttemptOutcome::Postponed { reason }
            | AttemptOutcome::Cancelled { reason },
        ) => Some(json!({ "kind": "interrupted", "message": reason })),
        Some(AttemptOutcome::Succeeded) | None => None,
    };
    without_nulls(json!({
        "function": head.function,
        "state": head.state.name(),
        "snap_in": head.snap_in,
        "snap_in_version": head.version,
        "trigger": trigger_name(&head.trigger),
        "event": head.trigger.event(),
        "attempts": head.attempts.len(),
        "error": error,
        "ended_date": head.ended_ms.map(rfc3339),
    }))
}

/// What a run was called by, in a word.
pub(in super::super) fn trigger_name(trigger: &RunTrigger) -> &'static str {
    match trigger {
        RunTrigger::Automation { .. } => "automation",
        RunTrigger::Call => "call",
        RunTrigger::Hook { .. } => "hook",
        RunTrigger::Command { .. } => "command",
        RunTrigger::SnapKitAction { .. } => "snap_kit_action",
        RunTrigger::SnapComponent { .. } => "snap_component",
        RunTrigger::ConfigurationPage { .. } => "configuration_page",
        RunTrigger::Operation { .. } => "operation",
    }
}

/// Absent is what objects have instead.
fn without_nulls(mut fields: Value) -> Value {
    if let Some(members) = fields.as_object_mut() {
        members.retain(|_, it| !it.is_null());
    }
    fields
}
