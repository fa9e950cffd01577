//! Changes of inputs, and activation: what is checked before either, and in which order.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Asker, Change, OperationError, Operations, Present, Proposal, refuse_unless_allowed};
use crate::actors::{Ask, Configure};
use crate::configuration::inputs;
use crate::configuration::readiness::{self, BoundKeyring, Configured};
use crate::lifecycle::snap_in::Event;
use crate::model::id::SnapInId;
use crate::model::keyring::KeyringState;
use crate::model::manifest::{HookType, Level, Manifest, Operation};
use crate::store::{Configuration, KeyringRecord, SnapInRecord, StoreError};

impl Operations {
    /// Changes organization inputs: all that are given, or none.
    ///
    /// A snap-in that writes its own hidden inputs keeps state in them; its hooks are not asked
    /// about that.
    pub async fn update(
        &self,
        asker: &Asker,
        id: SnapInId,
        changes: &Map<String, Value>,
    ) -> Result<SnapInRecord, OperationError> {
        let lease = self.leases.take(id, asker.cause.run).await?;
        let Present { record, version } = self.look(id)?;
        refuse_unless_allowed(&record.state, &Event::Configure)?;
        let manifest = &version.manifest;
        let changed = inputs::change(manifest, Level::Organization, &record.inputs, changes)
            .map_err(OperationError::Inputs)?;
        if changed == record.inputs {
            return Ok(record);
        }
        let revision = record.revision;
        let inputs = if asker.is_snap_in && are_hidden(manifest, changes) {
            changed
        } else {
            let previous_inputs = inputs::in_effect(manifest, Level::Organization, &record.inputs);
            let record = SnapInRecord { inputs: changed, ..record };
            let proposal = Proposal { record, version, change: Change::of_inputs(previous_inputs) };
            self.ask_hooks(&lease, asker, id, proposal).await?
        };
        let changed_by = asker.name.clone();
        let configuration = Configuration { revision, inputs, version: None, changed_by };
        Ok(self.ask(id, Configure(configuration)).await??)
    }

    /// Activates it: nothing may be missing, and the validate hook must agree.
    pub async fn activate(
        &self,
        asker: &Asker,
        id: SnapInId,
    ) -> Result<SnapInRecord, OperationError> {
        let lease = self.leases.take(id, asker.cause.run).await?;
        let Present { record, version } = self.look(id)?;
        refuse_unless_allowed(&record.state, &Event::Activate)?;
        self.refuse_unless_ready(&record, &version.manifest)?;
        // Before its hooks: they may want to make objects.
        self.declare_types(asker, &record, &version).await?;
        let none = Change::of_inputs(Map::new());
        let inputs =
            self.ask_hook(HookType::Validate, &lease, asker, id, &record, &version, &none).await?;
        Ok(self.ask(id, Ask { event: Event::Activate, done: None, inputs }).await??)
    }

    /// What is missing before it can function.
    pub fn missing(
        &self,
        record: &SnapInRecord,
        manifest: &Manifest,
    ) -> Result<Vec<readiness::Missing>, StoreError> {
        let keyrings = self.bound_keyrings(record)?;
        Ok(readiness::missing(manifest, configured(record, &keyrings)))
    }

    /// What one of its operations lacks.
    pub fn missing_of_operation(
        &self,
        record: &SnapInRecord,
        manifest: &Manifest,
        operation: &Operation,
    ) -> Result<Vec<readiness::Missing>, StoreError> {
        let keyrings = self.bound_keyrings(record)?;
        Ok(readiness::missing_of_operation(manifest, operation, configured(record, &keyrings)))
    }

    /// Whether something would still be missing after a change.
    pub(super) fn is_unfinished(
        &self,
        record: &SnapInRecord,
        manifest: &Manifest,
        change: &Change,
    ) -> Result<bool, StoreError> {
        let mut keyrings = self.bound_keyrings(record)?;
        if let Some(offered) = &change.offered {
            let ready =
                BoundKeyring { type_id: offered.type_id.clone(), state: KeyringState::Ready };
            keyrings.insert(offered.name.clone(), ready);
        }
        Ok(!readiness::missing(manifest, configured(record, &keyrings)).is_empty())
    }

    pub(super) fn refuse_unless_ready(
        &self,
        record: &SnapInRecord,
        manifest: &Manifest,
    ) -> Result<(), OperationError> {
        let missing = self.missing(record, manifest)?;
        if missing.is_empty() { Ok(()) } else { Err(OperationError::NotReady(missing)) }
    }

    /// The organization keyrings that are bound, by name.
    pub(super) fn bound_keyrings(
        &self,
        record: &SnapInRecord,
    ) -> Result<BTreeMap<String, BoundKeyring>, StoreError> {
        self.services.store.read(|tables| {
            let mut bound = BTreeMap::new();
            for (name, id) in &record.keyrings {
                if let Some(KeyringRecord { type_id, state, .. }) = tables.keyring(*id)? {
                    bound.insert(name.clone(), BoundKeyring { type_id, state });
                }
            }
            Ok(bound)
        })
    }
}

/// What a snap-in is configured with, in the terms of `configuration`.
pub(super) fn configured<'a>(
    record: &'a SnapInRecord,
    keyrings: &'a BTreeMap<String, BoundKeyring>,
) -> Configured<'a> {
    Configured { snap_in: record.scope.as_str(), inputs: &record.inputs, keyrings }
}

fn are_hidden(manifest: &Manifest, changes: &Map<String, Value>) -> bool {
    changes.keys().all(|name| {
        manifest.input(Level::Organization, name).is_some_and(|input| input.ui.is_hidden)
    })
}
