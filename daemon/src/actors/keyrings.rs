//! A keyring that broke takes its snap-in to ERROR.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::BoxFuture;
use tracing::warn;

use super::{Ask, AskError, Find, Registry};
use crate::engine::keyrings::HearBroken;
use crate::lifecycle::snap_in::Event;
use crate::model::id::SnapInId;

/// How long an actor may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Hears of broken keyrings, and tells the actors of their snap-ins.
pub struct BrokenKeyrings(Addr<Registry>);

impl BrokenKeyrings {
    /// With the registry that knows the actors.
    pub fn new(registry: Addr<Registry>) -> BrokenKeyrings {
        BrokenKeyrings(registry)
    }
}

impl HearBroken for BrokenKeyrings {
    fn keyring_broken(&self, snap_in: SnapInId, reason: String) -> BoxFuture<'static, ()> {
        let registry = self.0.clone();
        Box::pin(async move {
            // Nobody is told twice: whoever keeps keyrings fresh finds what was missed, and comes
            // again.
            let found = registry.send(Find(snap_in)).timeout(DEADLINE).await;
            let Ok(Ok(Some(actor))) = found else {
                warn!(%snap_in, reason, "a snap-in did not hear that a keyring is broken");
                return;
            };
            match actor.send(Ask::of(Event::SystemError { reason })).timeout(DEADLINE).await {
                // It functions no more anyway.
                Ok(Ok(_) | Err(AskError::Refused(_) | AskError::NoSuchSnapIn)) => {}
                Ok(Err(error)) => warn!(%snap_in, %error, "a broken keyring was not heard of"),
                Err(error) => warn!(%snap_in, %error, "a broken keyring was not heard of"),
            }
        })
    }
}
