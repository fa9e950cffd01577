//! Changes of a snap-in's configuration: inputs, and the version that it is of. One transaction each,
//! decided by reads first; what is configured is never deleted, only detached.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::StoreError;
use super::records::{PastVersion, SnapInRecord, SourceRecord, VersionRecord};
use super::snap_ins::Transition;
use super::tables::{WriteTables, get};
use crate::lifecycle::snap_in::Event;
use crate::model::id::{AutomationId, SnapInId, SourceId, VersionId};
use crate::model::manifest::{Level, Manifest};

/// How many versions a snap-in remembers that it was of.
const MOST_PAST_VERSIONS: usize = 50;

/// What a snap-in's configuration is changed to.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The revision that the change was decided for; another one means that somebody was faster.
    pub revision: u64,
    /// Every organization input that is set from now on.
    pub inputs: Map<String, Value>,
    /// The version that it is of from now on, when that changes.
    pub version: Option<VersionId>,
    /// Name of the principal that asked for it.
    pub changed_by: String,
}

impl WriteTables<'_> {
    /// Changes inputs and version of a snap-in, if its state and revision allow it.
    pub fn configure_snap_in(
        &mut self,
        id: SnapInId,
        configuration: &Configuration,
    ) -> Result<Transition, StoreError> {
        let Some(record) = get::<SnapInRecord>(self.snap_ins()?, id.0)? else {
            return Ok(Transition::NoSuchSnapIn);
        };
        if record.revision != configuration.revision {
            return Ok(Transition::ChangedMeanwhile);
        }
        let event = match configuration.version {
            Some(_) => Event::ChangeVersion,
            None => Event::Configure,
        };
        let version = match configuration.version {
            Some(version) => match get::<VersionRecord>(self.versions()?, version.0)? {
                Some(found) if found.package == record.package => Some((version, found.manifest)),
                Some(_) | None => return Ok(Transition::NoSuchVersion),
            },
            None => None,
        };
        let before = match version {
            Some(_) => get::<VersionRecord>(self.versions()?, record.version.0)?,
            None => None,
        };
        self.step(id, record, &event, |tables, record| {
            record.inputs = configuration.inputs.clone();
            record.revision += 1;
            let Some((version, manifest)) = &version else { return Ok(()) };
            let before = before.as_ref().map(|it| &it.manifest);
            tables.move_version(id, record, *version, before, manifest)?;
            let past = &mut record.past_versions;
            if let Some(last) = past.last_mut() {
                last.replaced_by.clone_from(&configuration.changed_by);
            }
            Ok(())
        })
    }

    /// Makes `record` one of another version: sources and automations keep their ids by name, new
    /// ones are made, those that are gone are detached.
    fn move_version(
        &mut self,
        id: SnapInId,
        record: &mut SnapInRecord,
        version: VersionId,
        before: Option<&Manifest>,
        manifest: &Manifest,
    ) -> Result<(), StoreError> {
        let until_ms = self.now_ms();
        let past = PastVersion { version: record.version, until_ms, replaced_by: String::new() };
        record.past_versions.push(past);
        let surplus = record.past_versions.len().saturating_sub(MOST_PAST_VERSIONS);
        record.past_versions.drain(..surplus);
        record.version = version;
        self.move_sources(id, record, manifest)?;
        self.move_automations(record, before, manifest);
        record.tags = self.tags_of(&manifest.tags)?;
        Ok(())
    }

    fn move_sources(
        &mut self,
        id: SnapInId,
        record: &mut SnapInRecord,
        manifest: &Manifest,
    ) -> Result<(), StoreError> {
        let mut known: Vec<(SourceId, SourceRecord)> = Vec::new();
        for source in record.sources.iter().chain(&record.detached_sources) {
            // Those of people are kept with what they have set.
            if let Some(found) = get::<SourceRecord>(self.sources()?, source.0)?
                && found.user.is_none()
            {
                known.push((*source, found));
            }
        }
        let mut kept = Vec::new();
        for declared in manifest.event_sources.iter().filter(|it| it.level == Level::Organization) {
            // One of another type is another source: whoever sends to its old trigger URL would not
            // be understood.
            let place = known
                .iter()
                .position(|(_, it)| it.name == declared.name && it.kind == declared.kind);
            let source = match place {
                Some(place) => known.swap_remove(place).0,
                None => self.declare_source(id, declared, None)?,
            };
            kept.push(source);
        }
        kept.extend(self.move_user_sources(id, manifest)?);
        for source in &record.sources {
            if !kept.contains(source) {
                // Whoever planned with it must see that it is gone.
                self.bump_generation(*source)?;
                self.stop_reading(&source.to_string())?;
            }
        }
        record.detached_sources = known.into_iter().map(|(source, _)| source).collect();
        record.detached_sources.sort_unstable();
        record.sources = kept;
        Ok(())
    }

    fn move_automations(
        &mut self,
        record: &mut SnapInRecord,
        before: Option<&Manifest>,
        manifest: &Manifest,
    ) {
        let mut known: BTreeMap<String, AutomationId> =
            std::mem::take(&mut record.detached_automations);
        let names = before.map(|it| it.automations.iter().map(|it| it.name.clone()));
        known.extend(names.into_iter().flatten().zip(record.automations.iter().copied()));
        record.automations = manifest
            .automations
            .iter()
            .map(|it| known.remove(&it.name).unwrap_or_else(|| AutomationId(self.new_id())))
            .collect();
        record.detached_automations = known;
    }
}
