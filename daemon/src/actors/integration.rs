//! The actor of one integration. Its mailbox serialises what the integration is: changes and its end come
//! one after the other, each with one transaction, and are carried out whole even when whoever asked has
//! hung up. Its messages go out of a lane, a task that this looks after: one that panicked is begun again.
//!
//! A change waits in the mailbox for the plugin that looks at it: changes that were looked at beside it would
//! overtake each other, and an older token take the place of a newer one. A test runs beside the mailbox.
//! Must never wait without a deadline.

use actix::WeakAddr;
use actix::prelude::*;
use mortise_plugin::Problem;
use tracing::{error, warn};

use super::deaths::Deaths;
use super::registry::{Ended, Registry, Whose};
use crate::clock::Clock;
use crate::engine::tell::{IntegrationChange, LaneEnd, Tell, TellError};
use crate::model::id::IntegrationId;
use crate::store::IntegrationRecord;

/// The actor of one integration.
pub struct Integration {
    id: IntegrationId,
    tell: Tell,
    clock: Clock,
    registry: WeakAddr<Registry>,
    /// Whether its lane is looked after.
    is_served: bool,
    lane_deaths: Deaths,
}

/// Changes it, after all changes that came before. When this is answered, nothing is sent any more with what
/// it was before. Answers what it is, and what is questionable about its connection.
#[derive(Message)]
#[rtype(result = "Result<(IntegrationRecord, Vec<Problem>), TellError>")]
pub struct ChangeIntegration(pub IntegrationChange);

/// Deletes it. When this is answered, nothing is sent with it any more.
#[derive(Message)]
#[rtype(result = "Result<(), TellError>")]
pub struct DeleteIntegration;

/// Shows that it works; an error inside says why it does not.
#[derive(Message)]
#[rtype(result = "Result<Result<(), String>, TellError>")]
pub struct TestIntegration;

/// Makes the actor panic; for tests of what happens then.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Panic;

impl Integration {
    pub(super) fn new(
        id: IntegrationId,
        tell: Tell,
        clock: Clock,
        registry: WeakAddr<Registry>,
    ) -> Integration {
        let lane_deaths = Deaths::default();
        Integration { id, tell, clock, registry, is_served: false, lane_deaths }
    }

    /// Lets its messages go out, if they do not.
    fn serve(&mut self, ctx: &mut Context<Integration>) {
        if self.is_served {
            return;
        }
        self.is_served = true;
        let lane = self.tell.serve(self.id).into_actor(self);
        ctx.spawn(lane.map(|end, this, ctx| this.lane_ended(end, ctx)));
    }

    fn lane_ended(&mut self, end: LaneEnd, ctx: &mut Context<Integration>) {
        self.is_served = false;
        match end {
            LaneEnd::Over => {
                self.tell.forget(self.id);
                ctx.stop();
            }
            LaneEnd::Panicked => match self.lane_deaths.one_more(self.clock.now_ms()) {
                Some(pause) => {
                    warn!(integration = %self.id, ?pause, "its lane panicked and is begun again");
                    ctx.run_later(pause, Integration::serve);
                }
                None => error!(
                    integration = %self.id,
                    "its lane panics again and again; it sends nothing until it is changed or tested"
                ),
            },
        }
    }
}

impl Actor for Integration {
    type Context = Context<Integration>;

    fn started(&mut self, ctx: &mut Context<Integration>) {
        self.serve(ctx);
    }

    fn stopped(&mut self, _ctx: &mut Context<Integration>) {
        if let Some(registry) = self.registry.upgrade() {
            let panicked = std::thread::panicking();
            // When the registry is too busy to hear it, it notices at the next question.
            let _ = registry.try_send(Ended { whose: Whose::Integration(self.id), panicked });
        }
    }
}

impl Handler<ChangeIntegration> for Integration {
    type Result = AtomicResponse<Integration, Result<(IntegrationRecord, Vec<Problem>), TellError>>;

    fn handle(
        &mut self,
        ChangeIntegration(change): ChangeIntegration,
        ctx: &mut Context<Integration>,
    ) -> Self::Result {
        self.serve(ctx);
        let (tell, id) = (self.tell.clone(), self.id);
        let update = async move { tell.update(id, change).await };
        AtomicResponse::new(Box::pin(update.into_actor(self)))
    }
}

impl Handler<DeleteIntegration> for Integration {
    type Result = AtomicResponse<Integration, Result<(), TellError>>;

    fn handle(&mut self, _: DeleteIntegration, _: &mut Context<Integration>) -> Self::Result {
        let (tell, id) = (self.tell.clone(), self.id);
        let delete = async move { tell.delete(id).await };
        AtomicResponse::new(Box::pin(delete.into_actor(self).map(|outcome, _, ctx| {
            if outcome.is_ok() {
                ctx.stop();
            }
            outcome
        })))
    }
}

impl Handler<TestIntegration> for Integration {
    type Result = ResponseFuture<Result<Result<(), String>, TellError>>;

    fn handle(&mut self, _: TestIntegration, ctx: &mut Context<Integration>) -> Self::Result {
        self.serve(ctx);
        let (tell, id) = (self.tell.clone(), self.id);
        Box::pin(async move { tell.test(id).await })
    }
}

#[cfg(test)]
impl Handler<Panic> for Integration {
    type Result = ();

    fn handle(&mut self, _: Panic, _ctx: &mut Context<Integration>) {
        panic!("a test asked for it");
    }
}
