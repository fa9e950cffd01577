//! Another trigger URL for an event source: the new one is made, and then made known at the external
//! system where the manifest says how. What cannot be made known there is tried again with the next
//! activation; the trigger URL before goes on working meanwhile, for as long as was asked for.
//!
//! And sources of people that could not be opened for want of a secret: they are tried again when
//! their person sets it, because nobody else would.

use super::{OperationError, Operations};
use crate::actors::{ChangeSource, RotateToken};
use crate::connections::references::references;
use crate::lifecycle::source::Change;
use crate::model::id::{SnapInId, SourceId, UserId};
use crate::model::snap_in::{SnapInState, SourceStatus};
use crate::store::{NewToken, SourceRecord};

impl Operations {
    /// Gives a source another trigger URL.
    pub async fn rotate_token(
        &self,
        snap_in: SnapInId,
        source: SourceId,
        token: NewToken,
    ) -> Result<SourceRecord, OperationError> {
        let record = self.ask(snap_in, RotateToken { source, token }).await??;
        if record.outdated_registrations.is_empty() {
            return Ok(record);
        }
        let state = self.services.store.read(|tables| tables.snap_in(snap_in))?.map(|it| it.state);
        // While it is being activated or deactivated, that registers or takes back everything.
        if state == Some(SnapInState::Active) {
            let registered = self.services.registrar.register(snap_in).await;
            registered.map_err(OperationError::Registration)?;
        }
        Ok(record)
    }

    /// Tries the sources of a person again that the daemon has blocked, and whose config refers to a
    /// keyring that he has set. One that somebody else blocked stays as it is.
    pub(super) async fn try_sources_again(
        &self,
        snap_in: SnapInId,
        user: UserId,
        keyring: &str,
    ) -> Result<(), OperationError> {
        let super::Present { record, version } = self.look(snap_in)?;
        for id in record.sources {
            let Some(source) = self.services.store.read(|tables| tables.source(id))? else {
                continue;
            };
            let is_waiting = source.user == Some(user)
                && source.status == SourceStatus::Blocked
                && source.block.is_none();
            let declared = version.manifest.event_source(&source.name);
            let refers = declared
                .is_some_and(|it| references(&it.config).iter().any(|it| it.keyring == keyring));
            if is_waiting && refers {
                self.ask(snap_in, ChangeSource { source: id, change: Change::Unblock }).await??;
            }
        }
        Ok(())
    }
}
