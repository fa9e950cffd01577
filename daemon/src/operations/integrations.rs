//! What a caller asks of an integration: look, ask its plugin, then one transaction by its actor.

use mortise_plugin::Problem;

use super::{ACTOR_DEADLINE, Operations};
use crate::actors::{
    ChangeIntegration, DeleteIntegration, FindIntegration, Integration, MadeIntegration,
    MakeIntegration, TestIntegration,
};
use crate::engine::tell::{IntegrationChange, NewIntegration, TellError};
use crate::model::id::IntegrationId;
use crate::store::{IntegrationRecord, StoreError};

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
        self.ask_integration(id, ChangeIntegration(change)).await?
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
        answer.map_err(|error| match (error, self.is_there(id)) {
            // It was deleted while this waited.
            (actix::MailboxError::Closed, Ok(false)) => TellError::NoSuchIntegration,
            (_, Err(error)) => error.into(),
            (actix::MailboxError::Closed | actix::MailboxError::Timeout, Ok(_)) => {
                TellError::NoAnswer("the integration")
            }
        })
    }

    fn is_there(&self, id: IntegrationId) -> Result<bool, StoreError> {
        self.services.store.read(|tables| tables.has_integration(id))
    }
}
