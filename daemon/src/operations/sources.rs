//! Another trigger URL for an event source: the new one is made, and then made known at the external
//! system where the manifest says how. What cannot be made known there is tried again with the next
//! activation; the trigger URL before goes on working meanwhile, for as long as was asked for.

use super::{OperationError, Operations};
use crate::actors::RotateToken;
use crate::model::id::{SnapInId, SourceId};
use crate::model::snap_in::SnapInState;
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
}
