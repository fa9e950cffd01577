//! What a caller asks of a snap-in or an integration that takes several steps: look, check, ask its hooks
//! or its plugin, then one transaction by its actor. Whatever fails before the transaction leaves
//! everything as it was.
//!
//! Owns the order of those steps and the lease that keeps two changes of one configuration apart.
//! Must never decide what is right (that is `configuration` and `lifecycle`), write to the store
//! past the actor, or know of HTTP.

mod calling;
mod configure;
mod displaying;
mod dry_run;
mod integrations;
mod keyrings;
mod leases;
mod sources;
mod system_update;
mod upgrade;
mod user_level;

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::actors::hooks::{self, HookCall};
use crate::actors::{AskError, Find, Registry, Services};
use crate::configuration::inputs::InputProblem;
use crate::configuration::readiness::Missing;
use crate::configuration::suggest::unknown;
use crate::engine::contexts::{SnapInContext, VersionContext};
use crate::engine::invocation::{Invoker, OfferedKeyring};
use crate::engine::keyrings::{KeyringError, Keyrings};
use crate::engine::objects::{ObjectError, Objects, Who};
use crate::lifecycle::hook_answer::write_over;
use crate::lifecycle::snap_in::{self, Event, Refusal};
use crate::model::event::{Cause, MOST_PAYLOAD_BYTES};
use crate::model::id::{RunId, SnapInId};
use crate::model::manifest::HookType;
use crate::model::snap_in::SnapInState;
use crate::store::{SnapInRecord, StoreError};
pub use calling::{Called, Calling};
pub use displaying::{Displayed, Drawn, Pressed, Pressing, Reaction, Rendering, action_id};
pub use dry_run::{NotTried, Trial, Tried, TriedEvent, dry_run};
use leases::{Lease, Leases};
pub use user_level::UserLevel;

/// How long an actor may take to answer.
const ACTOR_DEADLINE: Duration = Duration::from_secs(30);

/// Carries out what callers ask of snap-ins and integrations.
pub struct Operations {
    services: Services,
    registry: Addr<Registry>,
    invoker: Invoker,
    keyrings: Keyrings,
    objects: Objects,
    leases: Leases,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Name of the principal, for the record.
    pub name: String,
    /// What caused the question, when a run did.
    pub cause: Cause,
    /// Whether it is the snap-in itself, by its service account.
    pub is_snap_in: bool,
}

/// Why nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OperationError {
    /// There is none.
    #[error("there is no such snap-in")]
    NoSuchSnapIn,
    /// There is none, or it is of another package.
    #[error("the package of this snap-in has no version `{0}`")]
    NoSuchVersion(String),
    /// Functions run only while it is ACTIVE.
    #[error("the snap-in is {}: functions run only while it is ACTIVE", .0.name())]
    NotActive(SnapInState),
    /// Nothing is run for it.
    #[error(
        "the payload is {0} bytes of JSON: functions are called with at most {MOST_PAYLOAD_BYTES}"
    )]
    PayloadTooLarge(usize),
    /// Its version has no function of that name.
    #[error("the version of this snap-in has no function `{0}`")]
    NoSuchFunction(String),
    /// Its version has no component, page or action of that name.
    #[error("{}", unknown(thing, name, known.iter().map(String::as_str)))]
    NoSuchPart {
        /// What.
        thing: &'static str,
        /// What it was called.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No function draws the component, and no body stands in the manifest.
    #[error(
        "the snap component `{0}` has neither an `initializer` nor a `snap_kit_body`: there is \
         nothing to draw"
    )]
    NothingToDraw(String),
    /// What people do where this is displayed goes to another action.
    #[error("what people do here is sent to the snap-kit action `{0}`")]
    AnotherAction(String),
    /// What people do where this is displayed goes nowhere.
    #[error(
        "what people do here is sent to nobody: the manifest names no `snap_kit_action_name` for it"
    )]
    NoAction,
    /// What was pressed is not known, and so neither is its value.
    #[error(
        "nothing is displayed here (any more), so what was pressed has no value: draw it anew, or send \
         what is displayed as `body`, or the `value` with the action"
    )]
    NotDisplayed,
    /// It is of that version already.
    #[error("the snap-in is of this version already")]
    SameVersion,
    /// It was never of another version that is still there.
    #[error(
        "there is no earlier version to go back to: the snap-in was of none that is still kept"
    )]
    NoPastVersion,
    /// Values of inputs are wrong; all of them are here.
    #[error("{}", describe_inputs(.0))]
    Inputs(Vec<InputProblem>),
    /// What it needs before it can function; all of it is here.
    #[error("{}", describe_missing(.0))]
    NotReady(Vec<Missing>),
    /// A hook of the snap-in does not agree.
    #[error("the {} hook refused: {message}", hooks::name(*hook))]
    Hook {
        /// Which.
        hook: HookType,
        /// Its run, whose log says more.
        run: RunId,
        /// What it said.
        message: String,
    },
    /// Somebody else is at it.
    #[error(
        "another change of this snap-in's configuration is under way; try again when it has ended"
    )]
    Busy,
    /// The caller is the hook that this change waits for.
    #[error(
        "a hook cannot change the configuration that it is asked about: return \
         `{{inputs_values: {{...}}}}` instead"
    )]
    OwnHook,
    /// A keyring cannot go while the snap-in functions.
    #[error(
        "the snap-in needs the keyring `{0}` while it is ACTIVE: set another secret, or deactivate it first"
    )]
    KeyringNeeded(String),
    /// A keyring is not right, or cannot be stored.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// What was asked for is done, but a trigger URL is not registered.
    #[error("it is done, but {0}; it is tried again with the next activation")]
    Registration(String),
    /// The object types that its manifest declares cannot be had.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The snap-in cannot report this now.
    #[error(transparent)]
    Report(#[from] crate::lifecycle::system_update::Refused),
    /// An actor did not answer.
    #[error("{0} did not answer in time; try again")]
    NoAnswer(&'static str),
    /// The lifecycle does not allow it, or the store failed.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> OperationError {
        OperationError::Ask(AskError::Store(error))
    }
}

impl From<Refusal> for OperationError {
    fn from(refusal: Refusal) -> OperationError {
        OperationError::Ask(AskError::Refused(refusal))
    }
}

/// A snap-in as it is now, with its version.
struct Present {
    record: SnapInRecord,
    version: Arc<VersionContext>,
}

/// A configuration that is not stored yet.
struct Proposal {
    record: SnapInRecord,
    version: Arc<VersionContext>,
    change: Change,
}

/// What hooks are told about a change, beside the configuration that it leads to.
struct Change {
    /// The inputs before, for the update hook.
    previous_inputs: Map<String, Value>,
    /// A keyring that is not stored yet.
    offered: Option<OfferedKeyring>,
}

impl Operations {
    /// With everything it needs.
    pub fn new(
        services: Services,
        registry: Addr<Registry>,
        invoker: Invoker,
        keyrings: Keyrings,
        objects: Objects,
    ) -> Operations {
        Operations { services, registry, invoker, keyrings, objects, leases: Leases::default() }
    }

    /// Asks something of a snap-in's actor.
    pub async fn ask<M>(&self, id: SnapInId, message: M) -> Result<M::Result, OperationError>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        crate::actors::SnapIn: actix::Handler<M>,
    {
        let found = self.registry.send(Find(id)).timeout(ACTOR_DEADLINE).await;
        let found = found.map_err(|_| OperationError::NoAnswer("the registry of snap-ins"))??;
        let actor = found.ok_or(OperationError::NoSuchSnapIn)?;
        let answer = actor.send(message).timeout(ACTOR_DEADLINE).await;
        answer.map_err(|_| OperationError::NoAnswer("the snap-in"))
    }

    /// Makes the types and views of objects that a version declares, as far as they are not there.
    async fn declare_types(
        &self,
        asker: &Asker,
        record: &SnapInRecord,
        version: &VersionContext,
    ) -> Result<(), OperationError> {
        let manifest = &version.manifest;
        let (types, views) = (&manifest.object_types, &manifest.views);
        if types.is_empty() && views.is_empty() && manifest.tags.is_empty() {
            return Ok(());
        }
        let package = record.package;
        let slug = self.services.store.read(|tables| tables.package(package))?;
        let slug = slug.map_or_else(|| package.to_string(), |it| it.slug);
        let who = Who { name: asker.name.clone(), cause: asker.cause };
        self.objects.declare(&who, package, &slug, types).await?;
        self.objects.declare_views(&who, package, &slug, views).await?;
        self.objects.adopt_tags(&who).await?;
        Ok(())
    }

    fn look(&self, id: SnapInId) -> Result<Present, OperationError> {
        let record = self.services.store.read(|tables| tables.snap_in(id))?;
        let record = record.ok_or(OperationError::NoSuchSnapIn)?;
        let version = self.services.contexts.version(record.version)?;
        let version =
            version.ok_or_else(|| OperationError::NoSuchVersion(record.version.to_string()))?;
        Ok(Present { record, version })
    }

    /// Asks the validate hook about a configuration, and the update hook when the snap-in functions.
    /// While something is still missing neither is asked: hooks are written for whole configurations,
    /// and whoever sets one thing after the other must be able to get there.
    /// Answers the inputs with what the hooks wrote to them.
    async fn ask_hooks(
        &self,
        lease: &Lease,
        asker: &Asker,
        id: SnapInId,
        proposal: Proposal,
    ) -> Result<Map<String, Value>, OperationError> {
        let Proposal { mut record, version, change } = proposal;
        if self.is_unfinished(&record, &version.manifest, &change)? {
            return Ok(record.inputs);
        }
        let mut hooks = vec![HookType::Validate];
        if record.state == SnapInState::Active {
            hooks.push(HookType::Update);
        }
        for hook in hooks {
            let written = self.ask_hook(hook, lease, asker, id, &record, &version, &change).await?;
            write_over(&mut record.inputs, &written);
        }
        Ok(record.inputs)
    }

    #[expect(clippy::too_many_arguments, reason = "one call of one hook, spelled out")]
    async fn ask_hook(
        &self,
        hook: HookType,
        lease: &Lease,
        asker: &Asker,
        id: SnapInId,
        record: &SnapInRecord,
        version: &Arc<VersionContext>,
        change: &Change,
    ) -> Result<Map<String, Value>, OperationError> {
        if version.manifest.hook(hook).is_none() {
            return Ok(Map::new());
        }
        let record = record.clone();
        let context = self
            .services
            .store
            .read(|tables| SnapInContext::of(record, &version.manifest, tables))?;
        let run = self.invoker.new_run();
        lease.runs_hook(run);
        let call = HookCall {
            hook,
            run,
            snap_in: id,
            context: Arc::new(context),
            version: version.clone(),
            payload: Bytes::from_static(b"{}"),
            previous_inputs: (hook == HookType::Update).then(|| change.previous_inputs.clone()),
            offered: change.offered.clone(),
            cause: asker.cause,
        };
        hooks::call(&self.services, call).await.map_err(|message| OperationError::Hook {
            hook,
            run,
            message,
        })
    }
}

/// Refuses what the lifecycle would refuse, before any work is done for it.
fn refuse_unless_allowed(state: &SnapInState, event: &Event) -> Result<(), Refusal> {
    snap_in::step(state, event).map(|_| ())
}

fn describe_inputs(problems: &[InputProblem]) -> String {
    let list: Vec<String> =
        problems.iter().map(|it| format!("`{}`: {}", it.input, it.message)).collect();
    format!("{} wrong: {}", count(problems.len(), "input is", "inputs are"), list.join("; "))
}

fn describe_missing(missing: &[Missing]) -> String {
    let list: Vec<String> = missing.iter().map(Missing::line).collect();
    format!("{} missing: {}", count(missing.len(), "thing is", "things are"), list.join("; "))
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
