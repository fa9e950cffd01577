//! Changes of keyrings: checked against their type, then the snap-in's hooks are asked, then stored.

use serde_json::Map;

use super::{Asker, Change, OperationError, Operations, Present, Proposal, refuse_unless_allowed};
use crate::actors::{Configure, Reload};
use crate::configuration::inputs;
use crate::engine::invocation::OfferedKeyring;
use crate::engine::keyrings::{Prepared, SetRequest};
use crate::lifecycle::snap_in::Event;
use crate::model::id::{KeyringId, SnapInId};
use crate::model::keyring::KeyringOwner;
use crate::model::manifest::Level;
use crate::model::snap_in::SnapInState;
use crate::store::{Configuration, KeyringRecord};

impl Operations {
    /// Sets a keyring. For one of the organization level the snap-in's hooks are asked first, with
    /// the new secret in place of the old one.
    pub async fn set_keyring(
        &self,
        asker: &Asker,
        request: SetRequest,
    ) -> Result<(KeyringId, KeyringRecord), OperationError> {
        let KeyringOwner::SnapIn { snap_in, .. } = request.owner else {
            let prepared = self.keyrings.prepare(request).await?;
            return self.commit_keyring(prepared).await;
        };
        let lease = self.leases.take(snap_in, asker.cause.run).await?;
        let Present { record, version } = self.look(snap_in)?;
        refuse_unless_allowed(&record.state, &Event::Configure)?;
        let prepared = self.keyrings.prepare(request).await?;
        let previous_inputs =
            inputs::in_effect(&version.manifest, Level::Organization, &record.inputs);
        let offered = OfferedKeyring {
            name: prepared.owner().name().to_owned(),
            secret: prepared.for_functions().clone().into_inner(),
        };
        let before = record.inputs.clone();
        let proposal = Proposal {
            record,
            version,
            change: Change { previous_inputs, offered: Some(offered) },
        };
        let inputs = self.ask_hooks(&lease, asker, snap_in, proposal).await?;
        let set = self.commit_keyring(prepared).await?;
        if inputs != before {
            let Present { record, .. } = self.look(snap_in)?;
            let (revision, changed_by) = (record.revision, asker.name.clone());
            let configuration = Configuration { revision, inputs, version: None, changed_by };
            self.ask(snap_in, Configure(configuration)).await??;
        }
        Ok(set)
    }

    /// Removes a keyring with its secret. One that a snap-in needs while it functions stays.
    pub async fn remove_keyring(
        &self,
        asker: &Asker,
        owner: KeyringOwner,
    ) -> Result<KeyringId, OperationError> {
        let Some(snap_in) = owner.snap_in() else { return Ok(self.keyrings.remove(owner).await?) };
        let _lease = self.leases.take(snap_in, asker.cause.run).await?;
        let Present { record, version } = self.look(snap_in)?;
        refuse_unless_allowed(&record.state, &Event::Configure)?;
        let is_shared = matches!(owner, KeyringOwner::SnapIn { .. });
        let is_needed = version.manifest.keyring(owner.name()).is_some_and(|it| !it.optional);
        if is_shared && is_needed && record.state == SnapInState::Active {
            return Err(OperationError::KeyringNeeded(owner.name().to_owned()));
        }
        let removed = self.keyrings.remove(owner).await?;
        self.reload(snap_in).await;
        Ok(removed)
    }

    async fn commit_keyring(
        &self,
        prepared: Prepared,
    ) -> Result<(KeyringId, KeyringRecord), OperationError> {
        let snap_in = prepared.owner().snap_in();
        let set = self.keyrings.commit(prepared).await?;
        if let Some(snap_in) = snap_in {
            self.reload(snap_in).await;
        }
        Ok(set)
    }

    /// Tells the actor that the store knows more than it does.
    pub async fn reload(&self, snap_in: SnapInId) {
        if let Err(error) = self.ask(snap_in, Reload).await {
            // It reads everything again when it starts, and whenever its state changes.
            tracing::warn!(%snap_in, %error, "a snap-in did not hear of a change");
        }
    }
}

impl Change {
    /// Nothing but the inputs changes.
    pub(super) fn of_inputs(previous_inputs: Map<String, serde_json::Value>) -> Change {
        Change { previous_inputs, offered: None }
    }
}
