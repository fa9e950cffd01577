//! Moving a snap-in to another version of its package, forwards or back.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::configure::configured;
use super::{Asker, Change, OperationError, Operations, Present, refuse_unless_allowed};
use crate::actors::Configure;
use crate::configuration::inputs;
use crate::configuration::plan::{self, DetachedSource, Plan};
use crate::engine::contexts::VersionContext;
use crate::lifecycle::hook_answer::write_over;
use crate::lifecycle::snap_in::Event;
use crate::model::id::{SnapInId, VersionId};
use crate::model::manifest::{HookType, Level};
use crate::model::snap_in::SnapInState;
use crate::store::{Configuration, SnapInRecord, StoreError};

impl Operations {
    /// What moving it to `version` would mean.
    pub fn plan_upgrade(&self, id: SnapInId, version: VersionId) -> Result<Plan, OperationError> {
        let Present { record, version: before } = self.look(id)?;
        let after = self.version_for(&record, version)?;
        let keyrings = self.bound_keyrings(&record)?;
        let detached = self.services.store.read(|tables| {
            let mut detached = BTreeSet::new();
            for source in &record.detached_sources {
                let found = tables.source(*source)?.filter(|it| it.user.is_none());
                detached.extend(found.map(|it| DetachedSource { name: it.name, kind: it.kind }));
            }
            Ok(detached)
        })?;
        let configured = configured(&record, &keyrings);
        Ok(plan::plan(&before.manifest, &after.manifest, configured, &detached))
    }

    /// Moves it to `version`. One that functions must be ready for it, its validate hook must agree,
    /// and it is activated anew; events that arrive meanwhile are taken for the new version.
    pub async fn upgrade(
        &self,
        asker: &Asker,
        id: SnapInId,
        version: VersionId,
        changes: &Map<String, Value>,
    ) -> Result<SnapInRecord, OperationError> {
        let lease = self.leases.take(id, asker.cause.run).await?;
        let Present { record, version: _ } = self.look(id)?;
        refuse_unless_allowed(&record.state, &Event::ChangeVersion)?;
        if version == record.version {
            return Err(OperationError::SameVersion);
        }
        let after = self.version_for(&record, version)?;
        let changed = inputs::change(&after.manifest, Level::Organization, &record.inputs, changes)
            .map_err(OperationError::Inputs)?;
        let revision = record.revision;
        let mut proposed = SnapInRecord { version, inputs: changed, ..record };
        if proposed.state == SnapInState::Active {
            self.refuse_unless_ready(&proposed, &after.manifest)?;
            self.declare_types(asker, &proposed, &after).await?;
            let none = Change::of_inputs(Map::new());
            let written = self
                .ask_hook(HookType::Validate, &lease, asker, id, &proposed, &after, &none)
                .await?;
            write_over(&mut proposed.inputs, &written);
        }
        let configuration = Configuration {
            revision,
            inputs: proposed.inputs,
            version: Some(version),
            changed_by: asker.name.clone(),
        };
        Ok(self.ask(id, Configure(configuration)).await??)
    }

    /// The version that it was of before, if that is still kept.
    pub fn past_version(&self, id: SnapInId) -> Result<VersionId, OperationError> {
        let Present { record, version: _ } = self.look(id)?;
        self.version_below(&record)?.ok_or(OperationError::NoPastVersion)
    }

    /// The same for a snap-in that is at hand.
    pub fn version_below(&self, record: &SnapInRecord) -> Result<Option<VersionId>, StoreError> {
        for version in versions_below(record).into_iter().rev() {
            if self.services.contexts.version(version)?.is_some() {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn version_for(
        &self,
        record: &SnapInRecord,
        version: VersionId,
    ) -> Result<Arc<VersionContext>, OperationError> {
        let of_package = self.services.store.read(|tables| {
            Ok(tables.version(version)?.is_some_and(|it| it.package == record.package))
        })?;
        let found = if of_package { self.services.contexts.version(version)? } else { None };
        found.ok_or_else(|| OperationError::NoSuchVersion(version.to_string()))
    }
}

/// The versions that led to the present one, oldest first. What was left by going back is not among
/// them, so that going back twice does not go forward.
fn versions_below(record: &SnapInRecord) -> Vec<VersionId> {
    let mut way: Vec<VersionId> = Vec::new();
    let all = record.past_versions.iter().map(|it| it.version).chain([record.version]);
    for version in all {
        match way.iter().position(|it| *it == version) {
            Some(place) => way.truncate(place + 1),
            None => way.push(version),
        }
    }
    way.pop();
    way
}
