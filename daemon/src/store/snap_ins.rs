//! Snap-ins and their lifecycle.

use std::collections::BTreeMap;

use redb::ReadableTable;
use serde_json::{Map, Value};

use super::objects::Told;
use super::records::{EffectRecord, SnapInRecord};
use super::sources::NewSource;
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, record::decode, schema};
use crate::lifecycle::hook_answer::write_over;
use crate::lifecycle::snap_in::{self, Decision, Event, Refusal};
use crate::model::id::{
    AutomationId, EffectId, PackageId, ServiceAccountId, SnapInId, SourceId, VersionId,
};
use crate::model::manifest::Tag;
use crate::model::scope::{Extent, Scope};
use crate::model::snap_in::SnapInState;

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
            sources.push(self.add_source(&NewSource {
                snap_in: id,
                name,
                kind,
                token: token.clone(),
                user: None,
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
        self.tell_snap_in(id, &record, Told::by(&new.created_by))?;
        Ok(Creation::Created(id))
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
        let takes_events = next.sources_open();
        record.state = next;
        record.changed_ms = self.now_ms();
        put(self.snap_ins()?, id.0, &record)?;
        self.tell_snap_in(id, &record, Told::BY_DAEMON)?;
        self.snap_in_moved(id, (&state_before, version_before), &record)?;
        let mut generations = Vec::new();
        if routes_change {
            for source in &record.sources {
                generations.push((*source, self.bump_generation(*source)?));
                self.follow_source(*source, takes_events)?;
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
            self.forget_source(*source)?;
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
}
