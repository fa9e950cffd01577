//! What a caller asks of an integration: look, ask its plugin, then one transaction by its actor.

use super::{ACTOR_DEADLINE, Operations};
use crate::actors::{
    DeleteIntegration, FindIntegration, Integration, MadeIntegration, MakeIntegration, PutProposal,
    TestIntegration,
};
use crate::engine::tell::{IntegrationChange, NewIntegration, Put, TellError};
use crate::model::id::IntegrationId;
use crate::store::IntegrationRecord;
use mortise_plugin::Problem;

/// How often a change is proposed anew because somebody else changed the same.
const TRIES: usize = 16;

const REGISTRY: &str = "the registry of integrations";

impl Operations {
    /// Makes an integration and lets its messages go out.
    pub async fn make_integration(
        &self,
        new: NewIntegration,
    ) -> Result<MadeIntegration, TellError> {
        let made = self.registry.send(MakeIntegration(new)).timeout(ACTOR_DEADLINE).await;
        made.map_err(|_| TellError::NoAnswer(REGISTRY))?
    }

    /// Changes an integration. When this comes back, nothing is sent any more with what was there before.
    pub async fn change_integration(
        &self,
        id: IntegrationId,
        change: IntegrationChange,
    ) -> Result<(IntegrationRecord, Vec<Problem>), TellError> {
        let tell = &self.services.tell;
        for _ in 0..TRIES {
            let proposal = tell.propose(id, change.clone()).await?;
            match self.ask_integration(id, PutProposal(proposal)).await?? {
                Put::Stored { record, warnings } => return Ok((record, warnings)),
                Put::Stale => {}
            }
        }
        Err(TellError::Busy("others change the same integration".to_owned()))
    }

    /// Deletes an integration with its connection. When this comes back, nothing is sent with it any more.
    pub async fn delete_integration(&self, id: IntegrationId) -> Result<(), TellError> {
        self.ask_integration(id, DeleteIntegration).await?
    }

    /// Shows that an integration works; an error inside says why it does not.
    pub async fn test_integration(
        &self,
        id: IntegrationId,
    ) -> Result<Result<(), String>, TellError> {
        self.ask_integration(id, TestIntegration).await?
    }

    async fn ask_integration<M>(
        &self,
        id: IntegrationId,
        message: M,
    ) -> Result<M::Result, TellError>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Integration: actix::Handler<M>,
    {
        let found = self.registry.send(FindIntegration(id)).timeout(ACTOR_DEADLINE).await;
        let found = found.map_err(|_| TellError::NoAnswer(REGISTRY))??;
        let actor = found.ok_or(TellError::NoSuchIntegration)?;
        let answer = actor.send(message).timeout(ACTOR_DEADLINE).await;
        answer.map_err(|_| TellError::NoAnswer("the integration"))
    }
}
