//! The HTTP edge: the only folder that knows actix-web, and the home of all wire types.
//!
//! [`routes`] is the one table of everything that can be called, with the right that each needs. The same
//! application is served on TCP and on the Unix socket. One file for each resource holds its wire types
//! and handlers; the rest is what they share.
//!
//! | what | modules |
//! |---|---|
//! | the server, and the way of a request to a handler | [`server`], [`routes`], [`dispatch`], [`parameters`], [`idempotency`], [`error`], [`openapi`] |
//! | who calls, and what he may | [`access`], [`peers`], [`principals`], [`roles`], [`rights`], [`extent`], [`object_rights`], [`tokens`] |
//! | what many calls have in common | [`lists`], [`times`], [`uploads`] |
//! | trigger URLs, and where external systems send people back to | [`hooks`], [`authorize`] |
//! | packages and versions | [`packages`], [`versions`] |
//! | snap-ins | [`snap_ins`], [`snap_in_view`], [`upgrades`], [`user_level`], [`system_update`], [`configuration_pages`] |
//! | secrets | [`keyrings`], [`keyring_view`], [`developer_keyrings`], [`keys`] |
//! | what is displayed and called | [`commands`], [`functions`], [`operations`], [`snap_components`], [`snap_kit_actions`] |
//! | event sources | [`event_sources`], [`source_view`], [`source_control`], [`scheduled`], [`dry_runs`], [`recordings`] |
//! | events and runs | [`events`], [`replays`], [`runs`], [`dead_letters`] |
//! | objects | [`object_types`], [`objects`], [`object_calls`], [`views`], [`tags`] |
//! | webhooks that go out | [`webhooks`], [`webhook_deliveries`] |
//! | artifacts | [`artifacts`], [`artifact_parents`], [`artifact_transfer`], [`byte_ranges`], [`form_data`], [`paced_body`], [`disposition`] |
//! | how the daemon is | [`system`] |
//!
//! Must never: decide (that is `lifecycle`), touch redb, or show a stored type as it is.

mod access;
mod artifact_parents;
mod artifact_transfer;
mod artifacts;
mod audit;
mod auditing;
mod authorize;
mod byte_ranges;
mod commands;
mod configuration_pages;
mod dead_letters;
mod deliveries;
mod developer_keyrings;
mod dispatch;
mod disposition;
mod dry_runs;
mod error;
mod event_sources;
mod events;
mod extent;
mod form_data;
mod functions;
mod hooks;
mod idempotency;
mod integrations;
mod keyring_view;
mod keyrings;
mod keys;
mod lists;
mod masking;
mod object_calls;
mod object_rights;
mod object_types;
mod objects;
mod occurrences;
mod openapi;
mod operations;
mod outgoing_routes;
mod paced_body;
mod packages;
mod parameters;
mod peers;
mod principals;
mod recordings;
mod replays;
pub mod rights;
mod roles;
mod routes;
mod runs;
mod scheduled;
mod server;
mod snap_components;
mod snap_in_view;
mod snap_ins;
mod snap_kit_actions;
mod source_control;
mod source_view;
mod subscriptions;
mod system;
mod system_update;
#[cfg(test)]
mod table_tests;
mod tags;
mod times;
mod tokens;
mod upgrades;
mod uploads;
mod user_level;
mod versions;
mod views;
mod webhook_deliveries;
mod webhooks;

use std::sync::Arc;

pub(crate) use access::CAUSE_HEADER;
pub use error::{ApiError, Code};
pub use idempotency::UnderWay;
pub use openapi::document as openapi_document;
pub use peers::WrongTokens;
pub use server::{Bound, Listeners, bind};
pub(crate) use tokens::PREFIX as TOKEN_PREFIX;

use snap_in_view::MissingThing;

use crate::actors::{AskError, Services};
use crate::config::{Limits, PeerRule};
use crate::egress::Egress;
use crate::engine::access::Access;
use crate::engine::artifacts::Artifacts;
use crate::engine::intake::Intake;
use crate::engine::invocation::Invoker;
use crate::engine::key_rotation::KeyKeeper;
use crate::engine::keyrings::Keyrings;
use crate::engine::objects::{ObjectError, Objects};
use crate::engine::refused_calls::RefusedCallLog;
use crate::engine::runtimes::Runtimes;
use crate::engine::scheduled::Scheduler;
use crate::engine::tell::Tell;
use crate::engine::webhooks::Webhooks;
use crate::operations::{Asker, OperationError, Operations};
use crate::secrets::{ServiceTokens, UrlSigner};

/// What handlers work with.
pub struct Api {
    /// Store, routes, plugins and the rest.
    pub services: Services,
    /// What is asked of snap-ins.
    pub operations: Operations,
    /// Secrets of snap-ins.
    pub keyrings: Keyrings,
    /// Where events come in.
    pub intake: Arc<Intake>,
    /// What is to be published later.
    pub scheduler: Scheduler,
    /// Objects and their types.
    pub objects: Objects,
    /// What functions run by.
    pub runtimes: Runtimes,
    /// Calls functions for callers who wait.
    pub invoker: Invoker,
    /// Outgoing webhooks.
    pub webhooks: Webhooks,
    /// Files that are kept.
    pub artifacts: Artifacts,
    /// Signs the URLs by which those come and go.
    pub url_signer: UrlSigner,
    /// Reads the tokens of functions.
    pub tokens: ServiceTokens,
    /// Changes the master key.
    pub key_keeper: KeyKeeper,
    /// Tells people and other systems what happened.
    pub tell: Tell,
    /// Calls with an `Idempotency-Key` that are being carried out.
    pub under_way: UnderWay,
    /// Fetches what callers name by a URL.
    pub egress: Arc<Egress>,
    /// Bounds on what comes in.
    pub limits: Limits,
    /// Who there is and who may do what.
    pub access: Access,
    /// Who is an owner on the Unix socket, beside root.
    pub owner_uids: Vec<u32>,
    /// Who others on the Unix socket are.
    pub peers: Vec<PeerRule>,
    /// Calls that were refused.
    pub refused_calls: RefusedCallLog,
    /// Who sent wrong tokens.
    pub wrong_tokens: WrongTokens,
    /// How the daemon is reached from outside, without a slash at its end.
    pub public_url: String,
    /// Whether the daemon is ready, and what it says about itself.
    pub status: Arc<Status>,
}

pub use system::{RuntimeStatus, Status};

impl From<AskError> for ApiError {
    fn from(error: AskError) -> ApiError {
        let message = error.to_string();
        match error {
            AskError::Refused(_)
            | AskError::IsBlocked(_)
            | AskError::ChangedMeanwhile
            | AskError::TooManySources => ApiError::new(Code::Conflict, message),
            AskError::NoSuchSnapIn
            | AskError::NoSuchSource
            | AskError::NoSuchUser
            | AskError::NoSuchVersion => ApiError::new(Code::NotFound, message),
            AskError::Store(error) => error.into(),
            AskError::TimedOut => ApiError::new(Code::Unavailable, message).unfinished(),
        }
    }
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> ApiError {
        let message = error.to_string();
        match error {
            OperationError::Ask(error) => error.into(),
            OperationError::NoSuchSnapIn
            | OperationError::NoSuchVersion(_)
            | OperationError::NoSuchFunction(_)
            | OperationError::NoPastVersion => ApiError::new(Code::NotFound, message),
            OperationError::Report(_) => ApiError::new(Code::Conflict, message),
            OperationError::NotActive(_) | OperationError::NotDisplayed => {
                ApiError::new(Code::Conflict, message)
            }
            OperationError::NoSuchPart { known, .. } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                ApiError::new(Code::NotFound, message).allowing(&known)
            }
            OperationError::NothingToDraw(_)
            | OperationError::AnotherAction(_)
            | OperationError::NoAction => ApiError::new(Code::Invalid, message),
            OperationError::PayloadTooLarge(_) => ApiError::new(Code::TooLarge, message),
            OperationError::SameVersion | OperationError::Busy | OperationError::OwnHook => {
                ApiError::new(Code::Conflict, message)
            }
            OperationError::Inputs(problems) => {
                let problems = problems.into_iter().map(InputFinding::from).collect::<Vec<_>>();
                ApiError::new(Code::Invalid, message).listing("inputs", &problems)
            }
            OperationError::NotReady(missing) => {
                let missing = missing.iter().map(MissingThing::of).collect::<Vec<_>>();
                ApiError::new(Code::NotReady, message).listing("missing", &missing)
            }
            OperationError::Hook { hook, run, message: said } => {
                let hook = serde_json::json!({
                    "type": crate::actors::hooks::name(hook),
                    "run": run,
                    "message": said,
                });
                ApiError::new(Code::HookRefused, message).with("hook", hook)
            }
            OperationError::Objects(error) => error.into(),
            OperationError::Registration(_) => ApiError::new(Code::Invalid, message),
            OperationError::KeyringNeeded(_) => ApiError::new(Code::Conflict, message),
            OperationError::Keyring(error) => error.into(),
            OperationError::NoAnswer(_) => ApiError::new(Code::Unavailable, message).unfinished(),
        }
    }
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> ApiError {
        let message = error.to_string();
        match error {
            ObjectError::NoSuchType { known, .. } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                ApiError::new(Code::NotFound, message).allowing(&known)
            }
            ObjectError::NoSuchObject { .. } => ApiError::new(Code::NotFound, message),
            ObjectError::Fields { problems, .. }
            | ObjectError::Definition { problems, .. }
            | ObjectError::View { problems, .. } => {
                ApiError::new(Code::Invalid, message).listing("fields", &problems)
            }
            ObjectError::Changed { version } => ApiError::new(Code::Conflict, message)
                .with("current_version", serde_json::json!(version)),
            ObjectError::ReferredTo { by, .. } => {
                ApiError::new(Code::Conflict, message).listing("referred_to_by", &by)
            }
            ObjectError::Query(problem) => {
                let allowed: Vec<&str> = problem.allowed.iter().map(String::as_str).collect();
                let error = ApiError::field(&problem.field, message);
                if allowed.is_empty() { error } else { error.allowing(&allowed) }
            }
            ObjectError::WouldBreak(report) => object_types::broken(message, &report),
            ObjectError::TypeExists(_)
            | ObjectError::TypeInUse { .. }
            | ObjectError::DefinedOtherwise { .. }
            | ObjectError::ViewDefinedOtherwise { .. }
            | ObjectError::TypesBusy => ApiError::new(Code::Conflict, message),
            ObjectError::NotWritten(_) => ApiError::new(Code::Forbidden, message),
            ObjectError::TooBusy => ApiError::new(Code::Unavailable, message),
            ObjectError::Store(error) => error.into(),
        }
    }
}

impl rights::Caller {
    /// Who asks, in the terms of `operations`.
    fn asker(&self) -> Asker {
        let is_snap_in = match self.principal {
            rights::Principal::ServiceAccount { .. } | rights::Principal::Actor { .. } => true,
            rights::Principal::Host(_) => false,
        };
        Asker { name: self.principal.name(), cause: self.cause, is_snap_in }
    }
}

/// A wrong value of an input, as callers see it.
#[derive(serde::Serialize)]
struct InputFinding {
    input: String,
    message: String,
    allowed: Vec<String>,
}

impl From<crate::configuration::inputs::InputProblem> for InputFinding {
    fn from(problem: crate::configuration::inputs::InputProblem) -> InputFinding {
        let crate::configuration::inputs::InputProblem { input, message, allowed } = problem;
        InputFinding { input, message, allowed }
    }
}
