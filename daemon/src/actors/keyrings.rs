//! A keyring that broke takes its snap-in to ERROR; one that cannot be used at the moment holds its
//! runs.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::BoxFuture;
use tracing::warn;

use super::{Ask, AskError, Find, Registry};
use crate::engine::dispatcher::Dispatcher;
use crate::engine::keyrings::HearBroken;
use crate::lifecycle::snap_in::Event;
use crate::model::id::SnapInId;

/// How long an actor may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Hears of broken keyrings, and tells the actors of their snap-ins.
pub struct BrokenKeyrings {
    registry: Addr<Registry>,
    dispatcher: Dispatcher,
}

impl BrokenKeyrings {
    /// With the registry that knows the actors, and the dispatcher that starts runs.
    pub fn new(registry: Addr<Registry>, dispatcher: Dispatcher) -> BrokenKeyrings {
        BrokenKeyrings { registry, dispatcher }
    }
}

impl HearBroken for BrokenKeyrings {
    fn keyring_broken(&self, snap_in: SnapInId, reason: String) -> BoxFuture<'static, ()> {
        let registry = self.registry.clone();
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

    fn keyrings_wait(&self, snap_in: SnapInId, wait: bool) {
        self.dispatcher.set_held(snap_in, wait);
    }
}
