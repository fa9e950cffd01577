//! `mortise snap-in`: the commands that take more than one call, for people and for scripts.
//!
//! What is asked, converted, missing and shown is decided in pure parts ([`ask`], [`given`],
//! [`needs`], [`overview`], [`page`], [`secrets`]); the rest makes calls in the order that leaves
//! nothing half done. Must never ask where there is no terminal.

pub(super) mod arguments;
mod ask;
mod configure;
pub(super) mod fill;
mod finish;
pub(super) mod given;
mod install;
mod list;
mod needs;
pub(super) mod origin;
mod overview;
mod page;
mod secrets;
pub(super) mod settle;
mod upgrade;
mod user;

use serde_json::json;

use super::Failure;
use super::connection::Client;
use super::show::{self, View};
use arguments::SnapInCommand;

pub(super) use settle::refuse_error;

/// Does what a command says.
pub(super) fn run(client: &Client, as_json: bool, command: SnapInCommand) -> Result<(), Failure> {
    match command {
        SnapInCommand::Install(options) => install::install(client, as_json, &options),
        SnapInCommand::Upgrade(options) => upgrade::upgrade(client, as_json, &options),
        SnapInCommand::Rollback(options) => upgrade::rollback(client, as_json, &options),
        SnapInCommand::Set(options) => configure::set(client, as_json, &options),
        SnapInCommand::Show { snap_in } => page::show(client, as_json, &snap_in),
        SnapInCommand::List { scope, state, page } => {
            list::list(client, as_json, scope, state, page)
        }
        SnapInCommand::Create { version, scope } => {
            let mut parameters = json!({ "version": version });
            if let Some(scope) = scope {
                parameters["scope"] = json!(scope);
            }
            let answer = client.call("snap-ins.create", &parameters)?;
            show::answer(&answer, &View::SNAP_IN, as_json)
        }
        SnapInCommand::Get { snap_in } => {
            let answer = client.call("snap-ins.get", &json!({ "id": snap_in }))?;
            show::answer(&answer, &View::SNAP_IN, as_json)?;
            refuse_error(&answer["snap_in"])
        }
        SnapInCommand::Activate { snap_in } => {
            configure::step(client, as_json, "activate", json!({ "id": snap_in }))
        }
        SnapInCommand::Deactivate { snap_in, force } => {
            let parameters = json!({ "id": snap_in, "force": force });
            configure::step(client, as_json, "deactivate", parameters)
        }
        SnapInCommand::Delete { snap_in, force } => {
            let parameters = json!({ "id": snap_in, "force": force });
            configure::step(client, as_json, "delete", parameters)
        }
        SnapInCommand::Page { snap_in, user } => {
            crate::cli::snap_kit::page(client, as_json, &snap_in, user)
        }
        SnapInCommand::Enable(options) => user::enable(client, as_json, &options),
        SnapInCommand::Disable { snap_in, user } => {
            user::disable(client, as_json, &snap_in, user.as_deref())
        }
        SnapInCommand::SetUser(options) => user::set(client, as_json, &options),
        SnapInCommand::ShowUser { snap_in, user } => {
            user::show(client, as_json, &snap_in, user.as_deref())
        }
    }
}
