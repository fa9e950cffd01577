//! The HTTP edge: the only folder that knows actix-web, and the home of all wire types.
//!
//! [`routes`] is the one table of everything that can be called, with the right that each needs; the
//! OpenAPI document is made from it. One file per resource holds its wire types and handlers.
//! [`hooks`] serves trigger URLs. The same application is served on TCP and on the Unix socket.
//!
//! Must never: decide (that is `lifecycle`), touch redb, or show a stored type as it is.

mod access;
mod dead_letters;
mod dispatch;
mod error;
mod event_sources;
mod events;
mod functions;
mod hooks;
mod lists;
mod openapi;
mod packages;
pub mod rights;
mod routes;
mod runs;
mod server;
mod snap_ins;
mod system;
mod uploads;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;

pub(crate) use access::CAUSE_HEADER;
pub use error::{ApiError, Code};
pub use openapi::document as openapi_document;
pub use server::{Bound, Listeners, bind};

use crate::actors::{AskError, Find, Registry, Services};
use crate::config::Limits;
use crate::egress::Egress;
use crate::engine::intake::Intake;
use crate::engine::invocation::Invoker;
use crate::model::id::SnapInId;
use crate::secrets::ServiceTokens;

/// How long an actor may take to answer.
const ACTOR_DEADLINE: Duration = Duration::from_secs(30);

/// What handlers work with.
pub struct Api {
    /// Store, routes, plugins and the rest.
    pub services: Services,
    /// Where lifecycles are asked for.
    pub registry: Addr<Registry>,
    /// Where events come in.
    pub intake: Intake,
    /// Calls functions for callers who wait.
    pub invoker: Invoker,
    /// Reads the tokens of functions.
    pub tokens: ServiceTokens,
    /// Fetches what callers name by a URL.
    pub egress: Arc<Egress>,
    /// Bounds on what comes in.
    pub limits: Limits,
    /// Who is an owner on the Unix socket, beside root.
    pub owner_uids: Vec<u32>,
    /// How the daemon is reached from outside, without a slash at its end.
    pub public_url: String,
    /// Whether the daemon is ready, and what it says about itself.
    pub status: Arc<Status>,
}

pub use system::Status;

impl Api {
    /// Asks something of a snap-in's actor.
    async fn ask_snap_in<M>(&self, id: SnapInId, message: M) -> Result<M::Result, ApiError>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        crate::actors::SnapIn: actix::Handler<M>,
    {
        let found = self.registry.send(Find(id)).timeout(ACTOR_DEADLINE).await;
        let found = found.map_err(|_| ApiError::busy("the registry of snap-ins"))??;
        let actor = found.ok_or_else(|| ApiError::not_found("snap-in", &id.to_string()))?;
        let answer = actor.send(message).timeout(ACTOR_DEADLINE).await;
        answer.map_err(|_| ApiError::busy("the snap-in"))
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> ApiError {
        let message = error.to_string();
        match error {
            AskError::Refused(_) => ApiError::new(Code::Conflict, message),
            AskError::NoSuchSnapIn | AskError::NoSuchSource => {
                ApiError::new(Code::NotFound, message)
            }
            AskError::Store(error) => error.into(),
            AskError::TimedOut => ApiError::new(Code::Unavailable, message),
        }
    }
}
