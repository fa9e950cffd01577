//! Changes of keyrings: checked against their type, then the snap-in's hooks are asked, then stored.

use serde_json::Map;

use super::leases::Lease;
use super::{Asker, Change, OperationError, Operations, Present, Proposal, refuse_unless_allowed};
use crate::actors::{Configure, Reload};
use crate::configuration::inputs;
use crate::engine::invocation::OfferedKeyring;
use crate::engine::keyrings::{Awaited, Granted, Prepared, Return, SetRequest};
use crate::lifecycle::snap_in::Event;
use crate::model::event::Cause;
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
        let lease = self.lease_for(asker, &request.owner).await?;
        let prepared = self.keyrings.prepare(request).await?;
        self.offer_keyring(asker, lease, prepared).await
    }

    /// Takes somebody back whom an external system has given access for a keyring. The snap-in's
    /// hooks are asked as for any other change. What was granted is given up when it is not stored.
    pub async fn grant_keyring(
        &self,
        back: Return,
    ) -> Result<(KeyringId, KeyringRecord), OperationError> {
        let Awaited { owner, by } = self.keyrings.awaited(&back)?;
        let asker = Asker { name: by, cause: Cause::default(), is_snap_in: false };
        // Before the code is used up: whoever has to wait may come again with it.
        let lease = self.lease_for(&asker, &owner).await?;
        let Granted { prepared, guard: _guard } = self.keyrings.granted(back).await?;
        let granted = prepared.clone();
        match self.offer_keyring(&asker, lease, prepared).await {
            Ok(set) => Ok(set),
            Err(error) => {
                self.keyrings.discard(granted).await;
                Err(error)
            }
        }
    }

    /// The right to change the keyring of an owner, for those that hooks are asked about.
    async fn lease_for(
        &self,
        asker: &Asker,
        owner: &KeyringOwner,
    ) -> Result<Option<Lease>, OperationError> {
        let KeyringOwner::SnapIn { snap_in, .. } = owner else { return Ok(None) };
        let lease = self.leases.take(*snap_in, asker.cause.run).await?;
        refuse_unless_allowed(&self.look(*snap_in)?.record.state, &Event::Configure)?;
        Ok(Some(lease))
    }

    /// Asks the hooks about a keyring that was prepared, and stores it when they agree.
    async fn offer_keyring(
        &self,
        asker: &Asker,
        lease: Option<Lease>,
        prepared: Prepared,
    ) -> Result<(KeyringId, KeyringRecord), OperationError> {
        let (Some(lease), KeyringOwner::SnapIn { snap_in, .. }) = (lease, prepared.owner()) else {
            return self.commit_keyring(prepared).await;
        };
        let snap_in = *snap_in;
        let Present { record, version } = self.look(snap_in)?;
        let declared = version.manifest.keyring(prepared.owner().name());
        if declared.is_none_or(|it| it.level != Level::Organization) {
            // It is for a version to come, whose hooks are asked when the snap-in moves to it.
            return self.commit_keyring(prepared).await;
        }
        let previous_inputs =
            inputs::in_effect(&version.manifest, Level::Organization, &record.inputs);
        let offered = OfferedKeyring {
            name: prepared.owner().name().to_owned(),
            type_id: prepared.type_id().to_owned(),
            secret: prepared.for_functions().clone().into_inner(),
        };
        let (before, revision) = (record.inputs.clone(), record.revision);
        let proposal = Proposal {
            record,
            version,
            change: Change { previous_inputs, offered: Some(offered) },
        };
        let inputs = self.ask_hooks(&lease, asker, snap_in, proposal).await?;
        let set = self.commit_keyring(prepared).await?;
        if inputs != before {
            // One more than was looked at: the keyring. Anything else in between was not asked about.
            let (revision, changed_by) = (revision + 1, asker.name.clone());
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
        let owner = prepared.owner().clone();
        let set = self.keyrings.commit(prepared).await?;
        if let Some(snap_in) = owner.snap_in() {
            self.reload(snap_in).await;
        }
        if let KeyringOwner::User { snap_in, user, name } = owner
            && let Err(error) = self.try_sources_again(snap_in, user, &name).await
        {
            // The secret is stored: enabling the snap-in again tries them too.
            tracing::warn!(%snap_in, %error, "sources of a user are not tried again");
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
