//! The registry: finds the actors of snap-ins and integrations, starts them all at start, and builds one
//! again that died. actix's own supervisor does not do that after a panic.

use std::collections::HashMap;
use std::fmt;

use actix::prelude::*;
use mortise_plugin::Problem;
use tracing::{error, warn};

use super::Services;
use super::deaths::Deaths;
use super::integration::Integration;
use super::snap_in::SnapIn;
use crate::engine::tell::{NewIntegration, TellError};
use crate::model::id::{IntegrationId, SnapInId};
use crate::model::snap_in::SnapInState;
use crate::store::{IntegrationRecord, SnapInRecord, StoreError};

/// Knows the actor of every snap-in and every integration.
pub struct Registry {
    services: Services,
    snap_ins: HashMap<SnapInId, Addr<SnapIn>>,
    integrations: HashMap<IntegrationId, Addr<Integration>>,
    deaths: HashMap<Whose, Deaths>,
}

/// Whose actor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    SnapIn(SnapInId),
    Integration(IntegrationId),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::SnapIn(id) => id.fmt(f),
            Whose::Integration(id) => id.fmt(f),
        }
    }
}

/// Asks for the actor of a snap-in; nothing when there is no such snap-in.
#[derive(Message)]
#[rtype(result = "Result<Option<Addr<SnapIn>>, StoreError>")]
pub struct Find(pub SnapInId);

/// Asks for the actor of an integration; nothing when there is no such integration.
#[derive(Message)]
#[rtype(result = "Result<Option<Addr<Integration>>, StoreError>")]
pub struct FindIntegration(pub IntegrationId);

/// Makes an integration and starts its actor, also when whoever asked has hung up meanwhile.
#[derive(Message)]
#[rtype(result = "Result<MadeIntegration, TellError>")]
pub struct MakeIntegration(pub NewIntegration);

/// An integration that was made.
#[derive(Clone, Debug)]
pub struct MadeIntegration {
    /// Its id.
    pub id: IntegrationId,
    /// What it is.
    pub record: IntegrationRecord,
    /// What is questionable about its connection.
    pub warnings: Vec<Problem>,
}

/// An actor has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ended {
    pub(super) whose: Whose,
    pub(super) panicked: bool,
}

impl Registry {
    /// Starts a registry, and an actor for every snap-in and every integration that is not deleted.
    pub fn start(services: Services) -> Addr<Registry> {
        let registry = Registry {
            services,
            snap_ins: HashMap::new(),
            integrations: HashMap::new(),
            deaths: HashMap::new(),
        };
        registry.start()
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
        Ok(Some(self.start_snap_in(id, record, myself)))
    }

    fn start_snap_in(
        &mut self,
        id: SnapInId,
        record: SnapInRecord,
        myself: &Addr<Registry>,
    ) -> Addr<SnapIn> {
        let actor = SnapIn::new(id, record, self.services.clone(), myself.downgrade());
        let address = actor.start();
        self.snap_ins.insert(id, address.clone());
        address
    }

    fn find_integration(
        &mut self,
        id: IntegrationId,
        myself: &Addr<Registry>,
    ) -> Result<Option<Addr<Integration>>, StoreError> {
        if let Some(known) = self.integrations.get(&id).filter(|it| it.connected()) {
            return Ok(Some(known.clone()));
        }
        let is_there = self.services.store.read(|tables| tables.has_integration(id))?;
        Ok(is_there.then(|| self.start_integration(id, myself)))
    }

    fn start_integration(
        &mut self,
        id: IntegrationId,
        myself: &Addr<Registry>,
    ) -> Addr<Integration> {
        let (tell, clock) = (self.services.tell.clone(), self.services.clock.clone());
        let address = Integration::new(id, tell, clock, myself.downgrade()).start();
        self.integrations.insert(id, address.clone());
        address
    }

    fn start_all(&mut self, myself: &Addr<Registry>) -> Result<(), StoreError> {
        let store = self.services.store.clone();
        for (id, record) in store.read(|tables| tables.living_snap_ins())? {
            self.start_snap_in(id, record, myself);
        }
        for (id, _, _) in store.read(|tables| tables.who_is_told())?.integrations {
            self.start_integration(id, myself);
        }
        Ok(())
    }
}

impl Actor for Registry {
    type Context = Context<Registry>;

    fn started(&mut self, ctx: &mut Context<Registry>) {
        if let Err(error) = self.start_all(&ctx.address()) {
            error!(%error, "what is installed cannot be read");
        }
    }
}

impl Handler<Find> for Registry {
    type Result = Result<Option<Addr<SnapIn>>, StoreError>;

    fn handle(&mut self, Find(id): Find, ctx: &mut Context<Registry>) -> Self::Result {
        self.find(id, &ctx.address())
    }
}

impl Handler<FindIntegration> for Registry {
    type Result = Result<Option<Addr<Integration>>, StoreError>;

    fn handle(
        &mut self,
        FindIntegration(id): FindIntegration,
        ctx: &mut Context<Registry>,
    ) -> Self::Result {
        self.find_integration(id, &ctx.address())
    }
}

impl Handler<MakeIntegration> for Registry {
    type Result = ResponseActFuture<Registry, Result<MadeIntegration, TellError>>;

    fn handle(
        &mut self,
        MakeIntegration(new): MakeIntegration,
        _: &mut Context<Registry>,
    ) -> Self::Result {
        let tell = self.services.tell.clone();
        let make = async move { tell.create(new).await };
        Box::pin(make.into_actor(self).map(|made, this, ctx| {
            let (id, record, warnings) = made?;
            this.start_integration(id, &ctx.address());
            Ok(MadeIntegration { id, record, warnings })
        }))
    }
}

impl Handler<Ended> for Registry {
    type Result = ();

    fn handle(&mut self, Ended { whose, panicked }: Ended, ctx: &mut Context<Registry>) {
        // Somebody may have asked for it meanwhile: then there is another one in its place.
        self.snap_ins.retain(|id, it| whose != Whose::SnapIn(*id) || it.connected());
        self.integrations.retain(|id, it| whose != Whose::Integration(*id) || it.connected());
        if !panicked {
            self.deaths.remove(&whose);
            return;
        }
        let now_ms = self.services.clock.now_ms();
        let Some(pause) = self.deaths.entry(whose).or_default().one_more(now_ms) else {
            error!(%whose, "its actor panics again and again; it is left alone until asked for");
            return;
        };
        warn!(%whose, ?pause, "its actor panicked and is built again");
        ctx.run_later(pause, move |registry, ctx| {
            let myself = ctx.address();
            let found = match whose {
                Whose::SnapIn(id) => registry.find(id, &myself).map(drop),
                Whose::Integration(id) => registry.find_integration(id, &myself).map(drop),
            };
            if let Err(error) = found {
                error!(%whose, %error, "its actor cannot be built again");
            }
        });
    }
}
