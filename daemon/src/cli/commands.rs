//! `mortise command` and `mortise operation`: what people and workflows ask of snap-ins. The result
//! goes to standard output alone, so that a script can use it; the log, when it is asked for, to
//! standard error.

use clap::Subcommand;
use serde_json::{Value, json};

use super::connection::Client;
use super::show::{self, View};
use super::{Failure, payload};
use crate::configuration::suggest;

const COMMANDS: View = View::Table(
    "commands",
    &[
        ("NAMESPACE", "namespace"),
        ("NAME", "name"),
        ("USAGE", "usage_hint"),
        ("SCOPE", "scope"),
        ("DESCRIPTION", "description"),
    ],
);
const OPERATIONS: View = View::Table(
    "operations",
    &[("SLUG", "slug"), ("NAME", "name"), ("SCOPE", "scope"), ("DESCRIPTION", "description")],
);

#[derive(Debug, Subcommand)]
pub(super) enum SlashCommand {
    /// List the commands of ACTIVE snap-ins
    List {
        /// Only those of this snap-in: id or scope
        snap_in: Option<String>,
        /// Only those of snap-ins under this prefix of a scope, such as prod/payments
        #[arg(long, conflicts_with = "snap_in")]
        scope: Option<String>,
    },
    /// Show one command
    #[command(after_help = "Examples:
  mortise command show workbench status
  mortise command show workbench status --snap-in prod/team/workbench")]
    Show {
        /// As command list has it
        namespace: String,
        /// As command list has it
        name: String,
        /// Id or scope, when several snap-ins have the command
        #[arg(long)]
        snap_in: Option<String>,
    },
    /// Give a command and print what it answers
    #[command(after_help = "Examples:
  mortise command run workbench status
  mortise command run workbench status -- ticket 12 --verbose
  mortise command run workbench status --snap-in prod/team/workbench --logs -- ticket 12")]
    Run {
        /// As command list has it
        namespace: String,
        /// As command list has it
        name: String,
        /// Id or scope, when several snap-ins have the command
        #[arg(long)]
        snap_in: Option<String>,
        /// Id of the object where it is given, such as that of a ticket
        #[arg(long, value_name = "ID")]
        source_id: Option<String>,
        /// Where it is given, when the command has several surfaces
        #[arg(long)]
        surface: Option<String>,
        /// Print what the function logs to standard error
        #[arg(long)]
        logs: bool,
        /// Handed over as one text, joined by spaces
        #[arg(last = true)]
        parameters: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum OperationCommand {
    /// List the operations of ACTIVE snap-ins
    List {
        /// Only those of this snap-in: id or scope
        snap_in: Option<String>,
        /// Only those of snap-ins under this prefix of a scope, such as prod/payments
        #[arg(long, conflicts_with = "snap_in")]
        scope: Option<String>,
    },
    /// Carry an operation out and print what it makes
    #[command(after_help = "Examples:
  mortise operation run prod/team/workbench file_report '{\"title\": \"It broke\"}'
  mortise operation run prod/team/workbench file_report @report.json
  jq '{title: .subject}' mail.json | mortise operation run prod/team/workbench file_report -")]
    Run {
        /// Id or scope of the snap-in
        snap_in: String,
        /// Its slug, as operation list has it
        slug: String,
        /// Values by name of field: a JSON object, @FILE, or - for standard input
        #[arg(default_value = "{}")]
        data: String,
        /// Where the data comes in
        #[arg(long, value_name = "NAME")]
        input_port: Option<String>,
        /// Print what the function logs to standard error
        #[arg(long)]
        logs: bool,
    },
}

/// `mortise command`.
pub(super) fn run(client: &Client, as_json: bool, command: SlashCommand) -> Result<(), Failure> {
    match command {
        SlashCommand::List { snap_in, scope } => list(
            client,
            as_json,
            ("commands.list", "commands"),
            &narrowed(snap_in, scope),
            &COMMANDS,
        ),
        SlashCommand::Show { namespace, name, snap_in } => {
            let id = id_of(client, &namespace, &name, snap_in)?;
            let answer = client.call("commands.get", &json!({ "id": id }))?;
            show::answer(&answer, &View::One("command"), as_json)
        }
        SlashCommand::Run { namespace, name, snap_in, source_id, surface, logs, parameters } => {
            let mut asked = json!({
                "namespace": namespace,
                "name": name,
                "parameters": parameters.join(" "),
            });
            for (key, value) in
                [("snap_in", snap_in), ("source_id", source_id), ("surface", surface)]
            {
                if let Some(value) = value {
                    asked[key] = value.into();
                }
            }
            let what = format!("{namespace} {name} runs");
            let answer = client.slow_call(&what, "commands.execute", &asked)?;
            show_logs(&answer, logs);
            if as_json {
                show::answer(&answer, &View::EVERYTHING, true)?;
            } else if answer["state"] == "succeeded" {
                show_result(&answer["result"])?;
            }
            refuse_failure(&answer, &answer["error"])
        }
    }
}

/// `mortise operation`.
pub(super) fn run_operation(
    client: &Client,
    as_json: bool,
    command: OperationCommand,
) -> Result<(), Failure> {
    match command {
        OperationCommand::List { snap_in, scope } => {
            let filter = narrowed(snap_in, scope);
            list(client, as_json, ("operations.list", "operations"), &filter, &OPERATIONS)
        }
        OperationCommand::Run { snap_in, slug, data, input_port, logs } => {
            let data = payload::object("the data", &data)?;
            let mut asked = json!({ "snap_in": snap_in, "slug": slug, "data": data });
            if let Some(port) = input_port {
                asked["input_port_name"] = port.into();
            }
            let answer = client.slow_call(&format!("{slug} runs"), "operations.execute", &asked)?;
            show_logs(&answer, logs);
            if as_json {
                show::answer(&answer, &View::EVERYTHING, true)?;
            } else if answer["error"].is_null() {
                let made = json!({
                    "output": answer["output"],
                    "port_outputs": answer["port_outputs"],
                });
                show::print(&format!("{made:#}"))?;
            }
            refuse_failure(&answer, &answer["error"])
        }
    }
}

/// The id of the only command of this name.
fn id_of(
    client: &Client,
    namespace: &str,
    name: &str,
    snap_in: Option<String>,
) -> Result<Value, Failure> {
    let all = client.list_all("commands.list", "commands", &narrowed(snap_in, None))?;
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let is_it = |it: &&Value| it["namespace"] == namespace && it["name"] == name;
    let found: Vec<&Value> = all.iter().filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok(one["id"].clone()),
        [] => {
            let names =
                all.iter().map(|it| format!("{} {}", text(it, "namespace"), text(it, "name")));
            let names: Vec<String> = names.collect();
            let wanted = format!("{namespace} {name}");
            let unknown = suggest::unknown("command", &wanted, names.iter().map(String::as_str));
            Err(Failure::refused(format!("{unknown}; those that there are: mortise command list")))
        }
        several => {
            let scopes: Vec<String> = several.iter().map(|it| text(it, "scope")).collect();
            Err(Failure::refused(format!(
                "several snap-ins have it: choose one with --snap-in (allowed: {})",
                scopes.join(", ")
            )))
        }
    }
}

fn narrowed(snap_in: Option<String>, scope: Option<String>) -> Value {
    let pairs = [("snap_in", snap_in), ("scope", scope)];
    let given = pairs.into_iter().filter_map(|(key, it)| Some((key.to_owned(), it?.into())));
    Value::Object(given.collect())
}

fn list(
    client: &Client,
    as_json: bool,
    (name, key): (&str, &str),
    filter: &Value,
    view: &View,
) -> Result<(), Failure> {
    let all = client.list_all(name, key, filter)?;
    show::answer(&json!({ key: all }), view, as_json)
}

fn show_logs(answer: &Value, wanted: bool) {
    for line in answer["logs"].as_array().into_iter().flatten().filter(|_| wanted) {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        eprintln!("{:<5} {}", text("level"), show::plain(text("message")));
    }
}

/// A text as it is, anything else as JSON.
fn show_result(result: &Value) -> Result<(), Failure> {
    match result {
        Value::Null => Ok(()),
        Value::String(text) => show::print(&show::plain(text)),
        other => show::print(&format!("{other:#}")),
    }
}

fn refuse_failure(answer: &Value, error: &Value) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    let text = |value: &Value| show::plain(value.as_str().unwrap_or_default());
    let kind = match &error["kind"] {
        Value::String(kind) if kind != "thrown" => format!(" ({kind})"),
        _ => String::new(),
    };
    let again = if error["retryable"] == true { "; the same again may work" } else { "" };
    let run = text(&answer["run"]);
    Err(Failure::refused(format!(
        "{}{kind}{again}\n  its run: mortise run show {run}",
        text(&error["message"])
    )))
}
