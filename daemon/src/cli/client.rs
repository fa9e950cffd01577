//! The client's commands: the one call that each stands for, and the few that take several.

use serde_json::{Value, json};

use super::Failure;
use super::arguments::{
    About, Command, Connection, DeadLetterCommand, DeadLetters, EventCommand, FunctionCommand,
    PackageCommand, Page, RunCommand, VersionCommand,
};
use super::connection::Client;
use super::show::{self, View};
use super::snap_in::arguments::Source;
use super::snap_in::{self, origin};
use super::{
    artifact, audit, commands, dev, integration, keyrings, keys, object_types, objects, payload,
    people, replay, run_logs, run_show, snap_kit, source, tokens, views, webhook,
};

/// How long lifecycle commands wait.
pub(super) const WAIT_SECONDS: u32 = 60;

/// Makes the calls of a command and shows what came back.
pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Failure> {
    let client = Client::connect(connection)?;
    match command {
        Command::Version {
            command: VersionCommand::Create { source, package, create_package },
        } => {
            let answer = create_version(&client, &source, &package, create_package)?;
            return show::answer(&answer, &View::VERSION, connection.json);
        }
        Command::Version { command: VersionCommand::Dev(options) } => {
            return dev::run(&client, connection.json, &options);
        }
        Command::SnapIn { command } => return snap_in::run(&client, connection.json, command),
        Command::Keyring { command } => return keyrings::run(&client, connection.json, command),
        Command::DeveloperKeyring { command } => {
            return keyrings::run_developer(&client, connection.json, command);
        }
        Command::User { command } => return people::user(&client, connection.json, command),
        Command::Group { command } => return people::group(&client, connection.json, command),
        Command::ServiceAccount { command } => {
            return people::account(&client, connection.json, command);
        }
        Command::Role { command } => return tokens::role(&client, connection.json, command),
        Command::Token { command } => return tokens::run(&client, connection.json, command),
        Command::Audit { command } => return audit::run(&client, connection.json, command),
        Command::Plugins => return plugins(&client, connection.json),
        Command::Whoami => return tokens::whoami(&client, connection.json),
        Command::Run { command: RunCommand::Logs { run, follow: true } } => {
            return run_logs::follow(&client, connection.json, &run);
        }
        Command::Run { command: RunCommand::Get { run, wait } } => {
            return run_show::run(&client, connection.json, &run, wait);
        }
        Command::Slash { command } => return commands::run(&client, connection.json, command),
        Command::Operation { command } => {
            return commands::run_operation(&client, connection.json, command);
        }
        Command::Source { command } => return source::run(&client, connection.json, command),
        Command::View { command } => return views::run(&client, connection.json, command),
        Command::Event { command: EventCommand::Replay(which) } => {
            return replay::run(&client, connection.json, &which);
        }
        Command::ObjectType { command } => {
            return object_types::run(&client, connection.json, command);
        }
        Command::Object { command } => return objects::run(&client, connection.json, command),
        Command::Artifact { command } => return artifact::run(&client, connection.json, command),
        Command::Integration { command } => {
            return integration::run(&client, connection.json, command);
        }
        Command::Supply { command } => {
            return integration::run_supply(&client, connection.json, command);
        }
        Command::Subscription { command } => {
            return integration::run_subscription(&client, connection.json, command);
        }
        Command::Delivery { command } => {
            return integration::run_delivery(&client, connection.json, command);
        }
        Command::Occurrence { command } => {
            return integration::run_occurrence(&client, connection.json, command);
        }
        Command::Milestone(milestone) => {
            return integration::report(&client, connection.json, milestone);
        }
        Command::Why { what } => return integration::why(&client, connection.json, &what),
        Command::Webhook { command } => return webhook::run(&client, connection.json, command),
        Command::Key { command } => return keys::run(&client, connection.json, &command),
        Command::Component { command } => {
            return snap_kit::component(&client, connection.json, command);
        }
        Command::Action { command } => return snap_kit::action(&client, connection.json, command),
        _ => {}
    }
    let (name, parameters, view) = call_of(command)?;
    let answer = client.call(&name, &parameters)?;
    show::answer(&answer, &view, connection.json)?;
    failed_state(&answer)
}

/// `mortise plugins`: why some were refused stands below the table, whole.
fn plugins(client: &Client, as_json: bool) -> Result<(), Failure> {
    let mut answer = client.call("system.plugins", &json!({}))?;
    let mut refused = Vec::new();
    if !as_json {
        for plugin in answer["plugins"].as_array_mut().into_iter().flatten() {
            let path = plugin["path"].as_str().unwrap_or_default();
            if plugin["loaded"] != true {
                refused.push(format!("{path}: {}", plugin["detail"].as_str().unwrap_or_default()));
            }
            let detail = plugin["detail"].as_str().filter(|_| plugin["loaded"] == true);
            let detail = detail.unwrap_or("see below").to_owned();
            plugin["library"] = path.rsplit('/').next().unwrap_or_default().into();
            plugin["detail"] = detail.into();
        }
    }
    show::answer(&answer, &View::PLUGINS, as_json)?;
    match refused.as_slice() {
        [] => Ok(()),
        some => show::print(&show::plain(&format!("\nnot loaded:\n  {}", some.join("\n  ")))),
    }
}

/// The one call that a command stands for.
fn call_of(command: Command) -> Result<(String, Value, View), Failure> {
    let (name, parameters, view) = match command {
        Command::Package { command } => match command {
            PackageCommand::Create { slug, description } => (
                "packages.create",
                json!({ "slug": slug, "description": description }),
                View::PACKAGE,
            ),
            PackageCommand::List(page) => ("packages.list", paged(page, json!({})), View::PACKAGES),
            PackageCommand::Get { package } => {
                ("packages.get", json!({ "id": package }), View::PACKAGE)
            }
            PackageCommand::Delete { package } => {
                ("packages.delete", json!({ "id": package }), View::DONE)
            }
        },
        Command::Version { command } => match command {
            VersionCommand::List { package, page } => {
                ("versions.list", paged(page, json!({ "package": package })), View::VERSIONS)
            }
            VersionCommand::Get { version } => {
                ("versions.get", json!({ "id": version }), View::VERSION)
            }
            VersionCommand::Delete { version } => {
                ("versions.delete", json!({ "id": version }), View::DONE)
            }
            VersionCommand::Create { .. }
            | VersionCommand::Validate { .. }
            | VersionCommand::Dev(_)
            | VersionCommand::Init(_) => {
                return Err(not_one_call());
            }
        },
        Command::Event { command } => match command {
            EventCommand::List { about, event_type, page } => (
                "events.list",
                paged(page, narrowed(about, json!({ "type": event_type }))),
                View::EVENTS,
            ),
            EventCommand::Get { event } => ("events.get", json!({ "id": event }), View::EVENT),
            EventCommand::Replay(_) => return Err(not_one_call()),
        },
        Command::Run { command } => match command {
            RunCommand::List { about, state, function, page } => (
                "runs.list",
                paged(page, narrowed(about, json!({ "state": state, "function": function }))),
                View::RUNS,
            ),
            RunCommand::Get { .. } => return Err(not_one_call()),
            RunCommand::Logs { run, .. } => ("runs.logs", json!({ "id": run }), View::RUN_LOG),
            RunCommand::Retry { run } => ("runs.retry", json!({ "id": run }), View::RUN),
            RunCommand::Cancel { run, reason } => {
                ("runs.cancel", json!({ "id": run, "reason": reason }), View::RUN)
            }
            RunCommand::Replay { run } => ("runs.replay", json!({ "id": run }), View::RUN),
        },
        Command::DeadLetter { command } => match command {
            DeadLetterCommand::List { about, page } => {
                ("dead-letters.list", paged(page, narrowed(about, json!({}))), View::RUNS)
            }
            DeadLetterCommand::Replay(which) => {
                ("dead-letters.replay", chosen(which), View::EVERYTHING)
            }
            DeadLetterCommand::Purge(which) => {
                ("dead-letters.purge", chosen(which), View::EVERYTHING)
            }
        },
        Command::Function { command: FunctionCommand::Call { snap_in, function, payload } } => {
            let payload = payload::any("the payload", &payload)?;
            let body = json!({ "snap_in": snap_in, "function": function, "payload": payload });
            ("functions.call", body, View::EVERYTHING)
        }
        Command::Function { command: FunctionCommand::Run(_) | FunctionCommand::List { .. } } => {
            return Err(not_one_call());
        }
        Command::Status => ("system.status", json!({}), View::Status),
        Command::Call { name, parameters } => {
            let parameters = payload::any("the parameters", &parameters)?;
            return Ok((name, parameters, View::EVERYTHING));
        }
        Command::Key { .. }
        | Command::Plugins
        | Command::User { .. }
        | Command::Group { .. }
        | Command::ServiceAccount { .. }
        | Command::Role { .. }
        | Command::Token { .. }
        | Command::Audit { .. }
        | Command::Whoami
        | Command::Webhook { .. }
        | Command::Integration { .. }
        | Command::Supply { .. }
        | Command::Subscription { .. }
        | Command::Delivery { .. }
        | Command::Occurrence { .. }
        | Command::Milestone(_)
        | Command::Why { .. }
        | Command::ObjectType { .. }
        | Command::Object { .. }
        | Command::Artifact { .. }
        | Command::Source { .. }
        | Command::View { .. }
        | Command::Component { .. }
        | Command::Action { .. }
        | Command::Slash { .. }
        | Command::Operation { .. }
        | Command::Keyring { .. }
        | Command::DeveloperKeyring { .. }
        | Command::Serve { .. }
        | Command::Quickstart { .. }
        | Command::Config { .. }
        | Command::Man { .. }
        | Command::Completions { .. }
        | Command::SnapIn { .. } => {
            return Err(not_one_call());
        }
    };
    Ok((name.to_owned(), parameters, view))
}

fn not_one_call() -> Failure {
    Failure::failed("this command is more than one call")
}

pub(super) fn paged(page: Page, mut parameters: Value) -> Value {
    parameters["limit"] = json!(page.limit);
    parameters["cursor"] = json!(page.cursor);
    without_nulls(parameters)
}

pub(super) fn without_nulls(parameters: Value) -> Value {
    match parameters {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, it)| !it.is_null()).collect())
        }
        other => other,
    }
}

/// What is asked for, of some snap-ins only.
pub(super) fn narrowed(about: About, mut parameters: Value) -> Value {
    parameters["snap_in"] = json!(about.snap_in);
    parameters["scope"] = json!(about.scope);
    parameters
}

fn chosen(which: DeadLetters) -> Value {
    let all = which.all.then_some(true);
    without_nulls(json!({ "id": which.run, "snap_in": which.snap_in, "all": all }))
}

/// What failed is no success for a script.
fn failed_state(answer: &Value) -> Result<(), Failure> {
    snap_in::refuse_error(&answer["snap_in"])?;
    if answer["run"].is_string() && answer["state"] == "failed" {
        return Err(Failure::refused("the function failed"));
    }
    Ok(())
}

/// Creates a version from what it is made of.
pub(super) fn create_version(
    client: &Client,
    source: &Source,
    package: &str,
    create_package: bool,
) -> Result<Value, Failure> {
    let upload = origin::upload(source)?;
    let mut is_new = false;
    if create_package {
        let found = client.try_call("packages.get", &json!({ "id": package }))?;
        if found.is_err_and(|it| it.is_not_found()) {
            client.call("packages.create", &json!({ "slug": package }))?;
            is_new = true;
        }
    }
    origin::create(client, upload, package).map_err(|mut failure| {
        // A package was wanted for the version alone. It is deleted only while it is empty.
        let emptied = is_new && failure.exit_code == 1;
        if emptied && client.call("packages.delete", &json!({ "id": package })).is_err() {
            failure.message.push_str(&format!("\nthe package {package} was created, and is empty"));
        }
        failure
    })
}
