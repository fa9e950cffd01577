//! What a person sets for himself in a snap-in: whether he has enabled it, and his inputs. His event
//! sources follow from that. No hook is asked: the contract has none for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Asker, OperationError, Operations, Present, refuse_unless_allowed};
use crate::actors::ChangeUser;
use crate::configuration::inputs;
use crate::configuration::readiness::{Configured, Missing, missing_of_user};
use crate::engine::contexts::VersionContext;
use crate::lifecycle::snap_in::Event;
use crate::model::id::{SnapInId, UserId};
use crate::model::manifest::Level;
use crate::model::snap_in::SnapInState;
use crate::store::{SnapInRecord, UserChange, UserSettingsRecord};

/// A person's part of a snap-in.
pub struct UserLevel {
    /// The snap-in.
    pub record: SnapInRecord,
    /// Its version.
    pub version: Arc<VersionContext>,
    /// What he has set.
    pub settings: UserSettingsRecord,
}

impl UserLevel {
    /// What he, who has this name, has to set before he can enable it.
    pub fn missing(&self, name: &str) -> Vec<Missing> {
        let keyrings = BTreeMap::new();
        let configured = Configured {
            snap_in: self.record.scope.as_str(),
            inputs: &self.settings.inputs,
            keyrings: &keyrings,
        };
        missing_of_user(&self.version.manifest, configured, name)
    }
}

impl Operations {
    /// A person's part of a snap-in as it is.
    pub fn user_level(&self, id: SnapInId, user: UserId) -> Result<UserLevel, OperationError> {
        let Present { record, version } = self.look(id)?;
        let settings = self.services.store.read(|tables| tables.user_settings(id, user))?;
        Ok(UserLevel { record, version, settings: settings.unwrap_or_default() })
    }

    /// Enables a snap-in for a person, with these values of his inputs; nothing may be missing then.
    pub async fn enable_user(
        &self,
        asker: &Asker,
        id: SnapInId,
        user: UserId,
        changes: &Map<String, Value>,
    ) -> Result<UserLevel, OperationError> {
        self.change_user(asker, id, user, Some(true), changes).await
    }

    /// Disables it; what he has set is kept.
    pub async fn disable_user(
        &self,
        asker: &Asker,
        id: SnapInId,
        user: UserId,
    ) -> Result<UserLevel, OperationError> {
        self.change_user(asker, id, user, Some(false), &Map::new()).await
    }

    /// Changes his inputs: all that are given, or none.
    pub async fn update_user(
        &self,
        asker: &Asker,
        id: SnapInId,
        user: UserId,
        changes: &Map<String, Value>,
    ) -> Result<UserLevel, OperationError> {
        self.change_user(asker, id, user, None, changes).await
    }

    async fn change_user(
        &self,
        asker: &Asker,
        id: SnapInId,
        user: UserId,
        enabled: Option<bool>,
        changes: &Map<String, Value>,
    ) -> Result<UserLevel, OperationError> {
        let _lease = self.leases.take(id, asker.cause.run).await?;
        let before = self.user_level(id, user)?;
        refuse_unless_allowed(&before.record.state, &Event::Configure)?;
        let manifest = &before.version.manifest;
        let stored = &before.settings;
        let inputs = inputs::change(manifest, Level::User, &stored.inputs, changes)
            .map_err(OperationError::Inputs)?;
        let settings = UserSettingsRecord {
            enabled: enabled.unwrap_or(stored.enabled),
            inputs,
            ..stored.clone()
        };
        // A person who has enabled it anew has the sources that the version has now.
        if settings == *stored && enabled != Some(true) {
            return Ok(before);
        }
        let after = UserLevel { settings, ..before };
        if enabled == Some(true) {
            let record = self.services.store.read(|tables| tables.user(user))?;
            let missing = after.missing(&record.map(|it| it.name).unwrap_or_default());
            if !missing.is_empty() {
                return Err(OperationError::NotReady(missing));
            }
        }
        let change = UserChange { user, enabled, inputs: Some(after.settings.inputs) };
        self.ask(id, ChangeUser(change)).await??;
        let changed = self.user_level(id, user)?;
        if enabled.is_some() && changed.record.state == SnapInState::Active {
            // Otherwise the next activation does it.
            self.services.registrar.register(id).await.map_err(OperationError::Registration)?;
        }
        Ok(changed)
    }
}
