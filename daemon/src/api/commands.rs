//! `commands.*`: what people type, such as `/workbench status`. Only those of ACTIVE snap-ins can be
//! given; who may use snap-ins may give them, and the function gets a token that names him.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::{ApiError, Code};
use super::functions::Called;
use super::lists::{Paging, cursor};
use super::rights::Caller;
use super::{Api, extent, user_level};
use crate::configuration::suggest::{nearest, quoted};
use crate::model::actor::Actor;
use crate::model::event::DEV_OID;
use crate::model::id::SnapInId;
use crate::model::manifest;
use crate::model::run::RunTrigger;
use crate::operations::Calling;
use crate::store::SnapInRecord;

/// What stands in ids of commands behind that of the snap-in.
const IN_IDS: &str = "/commands/";
/// What surfaces are called in payloads: `display:discussions`.
const SURFACE_PREFIX: &str = "display:";
/// Where a command is given when neither caller nor manifest says.
const DEFAULT_SURFACE: &str = "discussions";
/// So many commands are named to somebody who looked for one.
const MOST_NAMED: usize = 20;

/// A command.
#[derive(Serialize, JsonSchema)]
pub(super) struct Command {
    /// `<snap-in>/commands/<namespace>/<name>`; the same as long as the snap-in is there.
    id: String,
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_hint: Option<String>,
    surfaces: Vec<Surface>,
    /// `enabled`, or `disabled` while its snap-in is not ACTIVE.
    status: &'static str,
    snap_in: String,
    scope: String,
    function: String,
}

/// Where a command can be given.
#[derive(Serialize, JsonSchema)]
pub(super) struct Surface {
    surface: String,
    object_types: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneCommand {
    command: Command,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyCommands {
    commands: Vec<Command>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CommandsList")]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    /// Only those in this namespace.
    #[serde(default)]
    namespace: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CommandsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CommandsExecute")]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    namespace: String,
    name: String,
    /// Id or scope, when several snap-ins have the command.
    #[serde(default)]
    snap_in: Option<String>,
    /// What follows the command, as it was typed.
    #[serde(default)]
    parameters: String,
    /// Id of the object where it was given, such as that of a ticket.
    #[serde(default)]
    source_id: Option<String>,
    /// Where it was given: a surface of the command, the first one when absent.
    #[serde(default)]
    surface: Option<String>,
}

/// A command that a snap-in has.
struct Offered {
    snap_in: SnapInId,
    record: SnapInRecord,
    command: manifest::Command,
}

impl Offered {
    fn id(&self) -> String {
        let manifest::Command { namespace, name, .. } = &self.command;
        format!("{}{IN_IDS}{namespace}/{name}", self.snap_in)
    }

    fn is_active(&self) -> bool {
        self.record.state.runs_start()
    }

    fn shown(self) -> Command {
        let (id, scope) = (self.id(), self.record.scope.to_string());
        let status = if self.is_active() { "enabled" } else { "disabled" };
        let manifest::Command { name, namespace, description, surfaces, usage_hint, function } =
            self.command;
        let surface = |it: manifest::CommandSurface| Surface {
            surface: it.surface,
            object_types: it.object_types,
        };
        Command {
            id,
            namespace,
            name,
            description,
            usage_hint,
            surfaces: surfaces.into_iter().map(surface).collect(),
            status,
            snap_in: self.snap_in.to_string(),
            scope,
            function,
        }
    }
}

/// All that the caller may know of and that are wanted, in the order of their names.
fn offered(
    api: &Api,
    caller: &Caller,
    snap_in: Option<&str>,
    scope: Option<&str>,
    is_wanted: impl Fn(&manifest::Command) -> bool,
) -> Result<Vec<Offered>, ApiError> {
    let mut offered = Vec::new();
    for (id, record) in extent::living(api, caller, snap_in, scope)? {
        let Some(version) = api.services.contexts.version(record.version)? else { continue };
        for command in version.manifest.commands.iter().filter(|it| is_wanted(it)) {
            let (record, command) = (record.clone(), command.clone());
            offered.push(Offered { snap_in: id, record, command });
        }
    }
    offered.sort_by(|a, b| {
        let key = |it: &Offered| (it.command.namespace.clone(), it.command.name.clone());
        (key(a), &a.record.scope).cmp(&(key(b), &b.record.scope))
    });
    Ok(offered)
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyCommands, ApiError> {
    let page = list.paging.oldest_first()?;
    let is_wanted =
        |it: &manifest::Command| list.namespace.as_ref().is_none_or(|name| it.namespace == *name);
    let (snap_in, scope) = (list.snap_in.as_deref(), list.scope.as_deref());
    let mut all = offered(&api, &caller, snap_in, scope, is_wanted)?;
    all.retain(Offered::is_active);
    let (commands, next) = extent::page_of(all, page);
    let commands = commands.into_iter().map(Offered::shown).collect();
    Ok(ManyCommands { commands, next_cursor: cursor(next) })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneCommand, ApiError> {
    let is_wanted = |it: &manifest::Command| {
        which.id.ends_with(&format!("{IN_IDS}{}/{}", it.namespace, it.name))
    };
    let mut all = offered(&api, &caller, None, None, is_wanted)?.into_iter();
    let found = all.find(|it| it.id() == which.id);
    let found = found.ok_or_else(|| ApiError::not_found("command", &which.id))?;
    Ok(OneCommand { command: found.shown() })
}

pub(super) async fn execute(
    api: Arc<Api>,
    caller: Caller,
    execute: Execute,
) -> Result<Called, ApiError> {
    let snap_in = execute.snap_in.as_deref();
    let is_it =
        |it: &manifest::Command| it.namespace == execute.namespace && it.name == execute.name;
    let mut all = offered(&api, &caller, snap_in, None, is_it)?;
    if all.is_empty() {
        // For the words only.
        all = offered(&api, &caller, snap_in, None, |_| true)?;
    }
    let offered = choose(all, &execute.namespace, &execute.name)?;
    let surface = surface_of(&offered.command, execute.surface.as_deref())?;
    let (user, record) = user_level::person_or_new(&api, &caller, None).await?;
    let run = api.invoker.new_run();
    let id = offered.id();
    let payload = json!({
        "actor_id": user,
        "command_id": id,
        "dev_org": DEV_OID,
        "parameters": execute.parameters,
        "parent_id": offered.snap_in,
        "request_id": run,
        "source_id": execute.source_id.unwrap_or_default(),
        "surface": surface,
    });
    let manifest::Command { namespace, name, function, .. } = offered.command;
    let trigger = RunTrigger::Command { namespace, name };
    let payload = Bytes::from(payload.to_string());
    let calling = Calling {
        run: Some(run),
        source_id: id,
        actor: Some(Actor { user, name: record.name }),
        ordered_by: Some(caller.principal.name()),
        ..Calling::new(offered.snap_in, function, trigger, payload, caller.cause)
    };
    Ok(api.operations.call(calling).await?.into())
}

/// The one command of that name that can be given.
fn choose(all: Vec<Offered>, namespace: &str, name: &str) -> Result<Offered, ApiError> {
    let is_it = |it: &Offered| it.command.namespace == namespace && it.command.name == name;
    let (named, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_it);
    let (mut active, inactive): (Vec<_>, Vec<_>) = named.into_iter().partition(Offered::is_active);
    let asked = format!("{namespace} {name}");
    if active.len() > 1 {
        let scopes: Vec<_> = active.iter().map(|it| it.record.scope.as_str()).collect();
        let message = format!(
            "{} snap-ins have the command {}: say with `snap_in` which one is meant, {}",
            scopes.len(),
            quoted(&asked),
            scopes.join(", ")
        );
        return Err(ApiError::new(Code::Conflict, message).allowing(&scopes));
    }
    if let Some(offered) = active.pop() {
        return Ok(offered);
    }
    if let Some(Offered { record, .. }) = inactive.first() {
        let message = format!(
            "the snap-in {} has the command {}, but it is {}: activate it first",
            record.scope,
            quoted(&asked),
            record.state.name()
        );
        return Err(ApiError::new(Code::Conflict, message));
    }
    let mut names: Vec<String> = others
        .iter()
        .filter(|it| it.is_active())
        .map(|it| format!("{} {}", it.command.namespace, it.command.name))
        .collect();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let message = match nearest(&asked, names.iter().copied()) {
        Some(near) => format!("there is no command {}, did you mean `{near}`?", quoted(&asked)),
        None => format!("there is no command {}", quoted(&asked)),
    };
    let named = names.get(..MOST_NAMED).unwrap_or(&names);
    Err(ApiError::new(Code::NotFound, message).allowing(named))
}

/// The surface as payloads have it.
fn surface_of(command: &manifest::Command, asked: Option<&str>) -> Result<String, ApiError> {
    let first = command.surfaces.first().map_or(DEFAULT_SURFACE, |it| it.surface.as_str());
    let name = asked.map_or(first, |it| it.strip_prefix(SURFACE_PREFIX).unwrap_or(it));
    let known: Vec<_> = command.surfaces.iter().map(|it| it.surface.as_str()).collect();
    if !known.is_empty() && !known.contains(&name) {
        let message = format!("the command cannot be given on the surface {}", quoted(name));
        return Err(ApiError::field("surface", message).allowing(&known));
    }
    Ok(format!("{SURFACE_PREFIX}{name}"))
}
