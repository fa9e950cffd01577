//! The registry: finds the actor of a snap-in, starts them all at start, and builds one again whose
//! actor died. actix's own supervisor does not do that after a panic.

use std::collections::HashMap;
use std::time::Duration;

use actix::prelude::*;
use tracing::{error, warn};

use super::Services;
use super::snap_in::SnapIn;
use crate::model::id::SnapInId;
use crate::model::snap_in::SnapInState;
use crate::store::StoreError;

/// How often an actor is built again before it is left alone until somebody asks for it.
const MOST_DEATHS: u32 = 10;
/// Deaths that are further apart than this have nothing to do with each other.
const FORGIVEN_AFTER_MS: u64 = 60 * 60 * 1000;
/// Before the first time; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Knows the actor of every snap-in.
pub struct Registry {
    services: Services,
    snap_ins: HashMap<SnapInId, Addr<SnapIn>>,
    /// How often an actor has died lately, and when it last did.
    deaths: HashMap<SnapInId, (u32, u64)>,
}

/// Asks for the actor of a snap-in; nothing when there is no such snap-in.
#[derive(Message)]
#[rtype(result = "Result<Option<Addr<SnapIn>>, StoreError>")]
pub struct Find(pub SnapInId);

/// An actor has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ended {
    pub(super) id: SnapInId,
    pub(super) panicked: bool,
}

impl Registry {
    /// Starts a registry, and an actor for every snap-in that is not deleted.
    pub fn start(services: Services) -> Addr<Registry> {
        Registry { services, snap_ins: HashMap::new(), deaths: HashMap::new() }.start()
    }

    fn find(
        &mut self,
        id: SnapInId,
        myself: &Addr<Registry>,
    ) -> Result<Option<Addr<SnapIn>>, StoreError> {
        if let Some(known) = self.snap_ins.get(&id).filter(|it| it.connected()) {
            return Ok(Some(known.clone()));
        }
        let record = self.services.store.read(|tables| tables.snap_in(id))?;
        let Some(record) = record.filter(|it| it.state != SnapInState::Deleted) else {
            return Ok(None);
        };
        let actor = SnapIn::new(id, record, self.services.clone(), myself.downgrade());
        let address = actor.start();
        self.snap_ins.insert(id, address.clone());
        Ok(Some(address))
    }
}

impl Actor for Registry {
    type Context = Context<Registry>;

    fn started(&mut self, ctx: &mut Context<Registry>) {
        let myself = ctx.address();
        let living = match self.services.store.read(|tables| tables.living_snap_ins()) {
            Ok(living) => living,
            Err(error) => {
                error!(%error, "the snap-ins cannot be read");
                return;
            }
        };
        for (id, record) in living {
            let actor = SnapIn::new(id, record, self.services.clone(), myself.downgrade());
            self.snap_ins.insert(id, actor.start());
        }
    }
}

impl Handler<Find> for Registry {
    type Result = Result<Option<Addr<SnapIn>>, StoreError>;

    fn handle(&mut self, Find(id): Find, ctx: &mut Context<Registry>) -> Self::Result {
        self.find(id, &ctx.address())
    }
}

impl Handler<Ended> for Registry {
    type Result = ();

    fn handle(&mut self, Ended { id, panicked }: Ended, ctx: &mut Context<Registry>) {
        self.snap_ins.remove(&id);
        if !panicked {
            self.deaths.remove(&id);
            return;
        }
        let now_ms = self.services.clock.now_ms();
        let (deaths, last_ms) = self.deaths.entry(id).or_default();
        if now_ms.saturating_sub(*last_ms) > FORGIVEN_AFTER_MS {
            *deaths = 0;
        }
        *last_ms = now_ms;
        *deaths += 1;
        if *deaths > MOST_DEATHS {
            error!(snap_in = %id, "its actor panics again and again; it is left alone until asked for");
            return;
        }
        let pause = FIRST_PAUSE * 2u32.saturating_pow(*deaths - 1);
        warn!(snap_in = %id, ?pause, "its actor panicked and is built again");
        ctx.run_later(pause, move |registry, ctx| {
            if let Err(error) = registry.find(id, &ctx.address()) {
                error!(snap_in = %id, %error, "its actor cannot be built again");
            }
        });
    }
}
