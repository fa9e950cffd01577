//! Snap-ins and their event sources.

use std::collections::BTreeMap;

use redb::ReadableTable;
use serde_json::{Map, Value};

use super::records::{EffectRecord, SnapInRecord, SourceRecord};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, record::decode, schema};
use crate::lifecycle::hook_answer::write_over;
use crate::lifecycle::snap_in::{self, Decision, Event, Refusal};
use crate::model::id::{
    AutomationId, EffectId, PackageId, ServiceAccountId, SnapInId, SourceId, UserId, VersionId,
};
use crate::model::manifest::EventSource;
use crate::model::manifest::Tag;
use crate::model::scope::{Extent, Scope};
use crate::model::snap_in::{SnapInState, SourceStatus};
use crate::random::secret_text;

/// A snap-in to be created, in DRAFT.
#[derive(Clone, Debug)]
pub struct NewSnapIn {
    /// The version to install.
    pub version: VersionId,
    /// The package of that version.
    pub package: PackageId,
    /// Where it is to live.
    pub scope: Scope,
    /// Name, type and trigger token of each organization-level source, in manifest order.
    pub sources: Vec<(String, String, String)>,
    /// How many automations the manifest has.
    pub automations: usize,
    /// The tags of the manifest.
    pub tags: Vec<Tag>,
    /// Organization inputs that are set from the start, checked.
    pub inputs: Map<String, Value>,
    /// Name of the principal that installs it.
    pub created_by: String,
}

/// How creating a snap-in went.
#[derive(Clone, Debug)]
pub enum Creation {
    /// It exists now.
    Created(SnapInId),
    /// Another one lives at that scope.
    ScopeTaken(SnapInId),
    /// The version was deleted meanwhile.
    NoSuchVersion,
}

/// What a lifecycle event did.
#[derive(Clone, Debug)]
pub enum Transition {
    /// It moved on.
    Moved {
        /// The snap-in as it is now.
        record: Box<SnapInRecord>,
        /// Generation of the route of each of its sources from now on.
        generations: Vec<(SourceId, u64)>,
        /// The effects to carry out; they are in the outbox.
        effects: Vec<(EffectId, snap_in::Effect)>,
    },
    /// It did not.
    Refused(Refusal),
    /// There is no such snap-in.
    NoSuchSnapIn,
    /// Its configuration is not the one any more that the change was decided for.
    ChangedMeanwhile,
    /// Its package has no such version (any more).
    NoSuchVersion,
}

impl WriteTables<'_> {
    /// Creates a snap-in in DRAFT, with its sources and their trigger URLs.
    pub fn create_snap_in(&mut self, new: &NewSnapIn) -> Result<Creation, StoreError> {
        if let Some(other) = self.snap_in_scopes()?.get(new.scope.as_str())? {
            return Ok(Creation::ScopeTaken(SnapInId(other.value())));
        }
        if self.versions()?.get(new.version.0)?.is_none() {
            return Ok(Creation::NoSuchVersion);
        }
        let id = SnapInId(self.new_id());
        let mut sources = Vec::with_capacity(new.sources.len());
        for (name, kind, token) in &new.sources {
            sources.push(self.add_source(SourceRecord {
                snap_in: id,
                name: name.clone(),
                kind: kind.clone(),
                token: token.clone(),
                status: SourceStatus::Active,
                reason: None,
                user: None,
                registration: None,
            })?);
        }
        let automations = (0..new.automations).map(|_| AutomationId(self.new_id())).collect();
        let record = SnapInRecord {
            version: new.version,
            package: new.package,
            scope: new.scope.clone(),
            state: SnapInState::Draft,
            service_account: ServiceAccountId(self.new_id()),
            sources,
            automations,
            inputs: new.inputs.clone(),
            keyrings: BTreeMap::new(),
            tags: self.tags_of(&new.tags)?,
            revision: 0,
            past_versions: Vec::new(),
            detached_sources: Vec::new(),
            detached_automations: BTreeMap::new(),
            created_ms: self.now_ms(),
            changed_ms: self.now_ms(),
            created_by: new.created_by.clone(),
        };
        put(self.snap_ins()?, id.0, &record)?;
        self.snap_in_scopes()?.insert(new.scope.as_str(), id.0)?;
        Ok(Creation::Created(id))
    }

    /// Makes a source as a manifest declares it, for everybody or for one person.
    pub(super) fn declare_source(
        &mut self,
        snap_in: SnapInId,
        declared: &EventSource,
        user: Option<UserId>,
    ) -> Result<SourceId, StoreError> {
        self.add_source(SourceRecord {
            snap_in,
            name: declared.name.clone(),
            kind: declared.kind.clone(),
            token: secret_text(),
            status: SourceStatus::Active,
            reason: None,
            user,
            registration: None,
        })
    }

    /// Makes a source and its trigger URL.
    pub(super) fn add_source(&mut self, record: SourceRecord) -> Result<SourceId, StoreError> {
        let source = SourceId(self.new_id());
        put(self.sources()?, source.0, &record)?;
        self.source_tokens()?.insert(record.token.as_str(), source.0)?;
        self.route_generations()?.insert(source.0, 1)?;
        Ok(source)
    }

    /// Steps the lifecycle: the next state and its effects in one transaction. `done`, the effect
    /// whose outcome this event is, leaves the outbox with it, also when the event is refused; an
    /// effect that is not there any more was overtaken, and its outcome is not awaited.
    /// `inputs` are those that a hook answered with, checked; they are written over the others, and
    /// null puts one back to its default.
    pub fn step_snap_in(
        &mut self,
        id: SnapInId,
        event: &Event,
        done: Option<EffectId>,
        inputs: &Map<String, Value>,
    ) -> Result<Transition, StoreError> {
        let was_overtaken = match done {
            Some(done) => self.outbox()?.remove(done.0)?.is_none(),
            None => false,
        };
        let Some(record) = get::<SnapInRecord>(self.snap_ins()?, id.0)? else {
            return Ok(Transition::NoSuchSnapIn);
        };
        if was_overtaken {
            return Ok(Transition::Refused(Refusal::NotAwaited(record.state.name())));
        }
        self.step(id, record, event, |_, record| {
            if !inputs.is_empty() {
                write_over(&mut record.inputs, inputs);
                record.revision += 1;
            }
            Ok(())
        })
    }

    /// Steps a snap-in that was read in this transaction, changing what else changes with it.
    pub(super) fn step(
        &mut self,
        id: SnapInId,
        mut record: SnapInRecord,
        event: &Event,
        change: impl FnOnce(&mut Self, &mut SnapInRecord) -> Result<(), StoreError>,
    ) -> Result<Transition, StoreError> {
        let Decision { next, effects } = match snap_in::step(&record.state, event) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Transition::Refused(refusal)),
        };
        let (state_before, version_before) = (record.state.clone(), record.version);
        change(self, &mut record)?;
        if next != state_before {
            // A hook that still runs for the state that is left has nobody to report to.
            self.forget_hooks(id)?;
        }
        let mut stored_effects = Vec::with_capacity(effects.len());
        for effect in effects {
            let effect_id = self.new_id();
            let effect_record = EffectRecord { snap_in: id, effect: effect.clone() };
            put(self.outbox()?, effect_id, &effect_record)?;
            stored_effects.push((EffectId(effect_id), effect));
        }
        if next == SnapInState::Deleted {
            self.forget_names(&record)?;
            self.forget_keyrings(id, &record)?;
            self.forget_users(id)?;
            self.forget_displayed(id)?;
        }
        // What events lead to depends on state and version only: an input that a function writes for
        // itself must not make every event on its way be planned anew.
        let routes_change = next != state_before || record.version != version_before;
        record.state = next;
        record.changed_ms = self.now_ms();
        put(self.snap_ins()?, id.0, &record)?;
        let mut generations = Vec::new();
        if routes_change {
            for source in &record.sources {
                generations.push((*source, self.bump_generation(*source)?));
            }
        }
        Ok(Transition::Moved { record: Box::new(record), generations, effects: stored_effects })
    }

    /// Takes the hooks of a snap-in out of the outbox.
    fn forget_hooks(&mut self, id: SnapInId) -> Result<(), StoreError> {
        let mut hooks = Vec::new();
        for row in self.outbox()?.iter()? {
            let (effect, value) = row?;
            let record: EffectRecord = decode(value.value())?;
            if record.snap_in == id && matches!(record.effect, snap_in::Effect::RunHook(_)) {
                hooks.push(effect.value());
            }
        }
        for hook in hooks {
            self.outbox()?.remove(hook)?;
        }
        Ok(())
    }

    /// Frees the scope and closes the trigger URLs of a snap-in that is deleted.
    fn forget_names(&mut self, record: &SnapInRecord) -> Result<(), StoreError> {
        self.snap_in_scopes()?.remove(record.scope.as_str())?;
        for source in record.sources.iter().chain(&record.detached_sources) {
            if let Some(source) = get::<SourceRecord>(self.sources()?, source.0)? {
                self.source_tokens()?.remove(source.token.as_str())?;
            }
            self.sources()?.remove(source.0)?;
            self.forget_timer(*source)?;
            self.forget_recordings(*source)?;
        }
        Ok(())
    }

    /// Sets the status of a source; answers its record and the new generation, or nothing when
    /// there is no such source.
    pub fn set_source_status(
        &mut self,
        id: SourceId,
        status: SourceStatus,
        reason: Option<&str>,
    ) -> Result<Option<(SourceRecord, u64)>, StoreError> {
        let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)? else {
            return Ok(None);
        };
        record.status = status;
        record.reason = reason.map(str::to_owned);
        put(self.sources()?, id.0, &record)?;
        let generation = self.bump_generation(id)?;
        Ok(Some((record, generation)))
    }

    /// Notes what the external system calls the registration of a source, or that there is none.
    pub fn set_source_registration(
        &mut self,
        id: SourceId,
        registration: Option<&str>,
    ) -> Result<(), StoreError> {
        if let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)? {
            record.registration = registration.map(str::to_owned);
            put(self.sources()?, id.0, &record)?;
        }
        Ok(())
    }

    pub(super) fn bump_generation(&mut self, id: SourceId) -> Result<u64, StoreError> {
        let table = self.route_generations()?;
        let generation = table.get(id.0)?.map_or(0, |it| it.value()) + 1;
        table.insert(id.0, generation)?;
        Ok(generation)
    }

    /// The state of a snap-in, as this transaction sees it.
    pub(super) fn snap_in_state(
        &mut self,
        id: SnapInId,
    ) -> Result<Option<SnapInState>, StoreError> {
        Ok(get::<SnapInRecord>(self.snap_ins()?, id.0)?.map(|it| it.state))
    }
}

impl ReadTables {
    /// A snap-in, also a deleted one.
    pub fn snap_in(&self, id: SnapInId) -> Result<Option<SnapInRecord>, StoreError> {
        get(&self.table(schema::SNAP_INS)?, id.0)
    }

    /// The snap-in at a scope.
    pub fn snap_in_by_scope(&self, scope: &str) -> Result<Option<SnapInId>, StoreError> {
        Ok(self.table(schema::SNAP_IN_SCOPES)?.get(scope)?.map(|it| SnapInId(it.value())))
    }

    /// The generation of a source's route.
    pub fn route_generation(&self, id: SourceId) -> Result<u64, StoreError> {
        Ok(self.table(schema::ROUTE_GENERATIONS)?.get(id.0)?.map_or(0, |it| it.value()))
    }

    /// Snap-ins that `wanted` picks, oldest first.
    pub fn list_snap_ins(
        &self,
        page: PageRequest,
        wanted: impl Fn(&SnapInRecord) -> bool,
    ) -> Result<Page<(SnapInId, SnapInRecord)>, StoreError> {
        page.read(&self.table(schema::SNAP_INS)?, |id, value| {
            let record: SnapInRecord = decode(value)?;
            Ok(wanted(&record).then_some((SnapInId(id), record)))
        })
    }

    /// Snap-ins of `extent` that `wanted` picks, oldest first.
    pub fn list_snap_ins_of(
        &self,
        extent: &Extent,
        page: PageRequest,
        wanted: impl Fn(&SnapInRecord) -> bool,
    ) -> Result<Page<(SnapInId, SnapInRecord)>, StoreError> {
        page.read(&self.table(schema::SNAP_INS)?, |id, value| {
            if !extent.has(SnapInId(id)) {
                return Ok(None);
            }
            let record: SnapInRecord = decode(value)?;
            Ok(wanted(&record).then_some((SnapInId(id), record)))
        })
    }

    /// Every snap-in that is not deleted.
    pub fn living_snap_ins(&self) -> Result<Vec<(SnapInId, SnapInRecord)>, StoreError> {
        let all = PageRequest { from: None, limit: usize::MAX, newest_first: false };
        let mut living = Vec::new();
        let mut from = None;
        loop {
            let page = self.list_snap_ins(PageRequest { from, ..all }, |it| {
                it.state != SnapInState::Deleted
            })?;
            living.extend(page.rows);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(living),
            }
        }
    }

    /// An event source.
    pub fn source(&self, id: SourceId) -> Result<Option<SourceRecord>, StoreError> {
        get(&self.table(schema::SOURCES)?, id.0)
    }

    /// The source with a trigger token, if it and its snap-in are meant to take events now.
    pub fn open_source_by_token(&self, token: &str) -> Result<Option<SourceId>, StoreError> {
        let Some(id) = self.table(schema::SOURCE_TOKENS)?.get(token)?.map(|it| it.value()) else {
            return Ok(None);
        };
        let Some(source) = self.source(SourceId(id))? else { return Ok(None) };
        let snap_in = self.snap_in(source.snap_in)?;
        let open = source.status == SourceStatus::Active
            && snap_in
                .is_some_and(|it| it.state.sources_open() && it.sources.contains(&SourceId(id)));
        Ok(open.then_some(SourceId(id)))
    }

    /// Event sources of some snap-ins.
    pub fn list_sources(
        &self,
        extent: &Extent,
        page: PageRequest,
    ) -> Result<Page<(SourceId, SourceRecord)>, StoreError> {
        page.read(&self.table(schema::SOURCES)?, |id, value| {
            let record: SourceRecord = decode(value)?;
            let wanted = extent.has(record.snap_in);
            Ok(wanted.then_some((SourceId(id), record)))
        })
    }
}
