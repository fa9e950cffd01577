//! The client: one request per command, over the Unix socket or a URL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::arguments::{
    Command, Connection, DeadLetterCommand, DeadLetters, EventCommand, FunctionCommand,
    PackageCommand, Page, RunCommand, SnapInCommand, SourceCommand, VersionCommand,
};
use super::show::{self, View};
use super::{files, keys};

/// Longer than the longest wait of the API.
const TIMEOUT: Duration = Duration::from_secs(90);
/// How long lifecycle commands wait.
pub(super) const WAIT_SECONDS: u32 = 60;
const DEFAULT_SOCKET: &str = "/run/mortise/mortise.sock";

/// Makes the calls of a command and shows what came back.
pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Failure> {
    let client = Client::connect(connection)?;
    match command {
        Command::Version { command: VersionCommand::Validate { path } } => {
            return validate(&client, connection.json, &path);
        }
        Command::Version { command: VersionCommand::Create { path, package, create_package } } => {
            let answer = create_version(&client, &path, &package, create_package)?;
            return show::answer(&answer, &View::VERSION, connection.json);
        }
        Command::SnapIn { command: SnapInCommand::Install { path, package, scope } } => {
            return install(&client, connection.json, &path, package, scope);
        }
        Command::Key { command } => return keys::run(&client, connection.json, &command),
        _ => {}
    }
    let (name, parameters, view) = call_of(command)?;
    let answer = client.call(&name, &parameters)?;
    show::answer(&answer, &view, connection.json)?;
    failed_state(&answer)
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
            VersionCommand::Create { .. } | VersionCommand::Validate { .. } => {
                return Err(not_one_call());
            }
        },
        Command::SnapIn { command } => match command {
            SnapInCommand::Create { version, scope } => {
                ("snap-ins.create", json!({ "version": version, "scope": scope }), View::SNAP_IN)
            }
            SnapInCommand::List { scope, state, page } => (
                "snap-ins.list",
                paged(page, json!({ "scope": scope, "state": state })),
                View::SNAP_INS,
            ),
            SnapInCommand::Get { snap_in } => {
                ("snap-ins.get", json!({ "id": snap_in }), View::SNAP_IN)
            }
            SnapInCommand::Activate { snap_in } => (
                "snap-ins.activate",
                json!({ "id": snap_in, "wait_seconds": WAIT_SECONDS }),
                View::SNAP_IN,
            ),
            SnapInCommand::Deactivate { snap_in, force } => (
                "snap-ins.deactivate",
                json!({ "id": snap_in, "force": force, "wait_seconds": WAIT_SECONDS }),
                View::SNAP_IN,
            ),
            SnapInCommand::Delete { snap_in, force } => (
                "snap-ins.delete",
                json!({ "id": snap_in, "force": force, "wait_seconds": WAIT_SECONDS }),
                View::SNAP_IN,
            ),
            SnapInCommand::Install { .. } => return Err(not_one_call()),
        },
        Command::Source { command } => match command {
            SourceCommand::List { snap_in, page } => {
                ("event-sources.list", paged(page, json!({ "snap_in": snap_in })), View::SOURCES)
            }
            SourceCommand::Get { source } => {
                ("event-sources.get", json!({ "id": source }), View::SOURCE)
            }
            SourceCommand::Logs { source } => {
                ("event-sources.logs", json!({ "id": source }), View::SOURCE_LOG)
            }
            SourceCommand::Pause { source } => {
                ("event-sources.pause", json!({ "id": source }), View::SOURCE)
            }
            SourceCommand::Resume { source } => {
                ("event-sources.resume", json!({ "id": source }), View::SOURCE)
            }
            SourceCommand::Publish { source, event_type, payload } => {
                let payload = parse("the payload", &payload)?;
                let body = json!({ "id": source, "event_type": event_type, "payload": payload });
                ("event-sources.publish", body, View::EVERYTHING)
            }
        },
        Command::Event { command } => match command {
            EventCommand::List { snap_in, event_type, page } => (
                "events.list",
                paged(page, json!({ "snap_in": snap_in, "type": event_type })),
                View::EVENTS,
            ),
            EventCommand::Get { event } => ("events.get", json!({ "id": event }), View::EVENT),
        },
        Command::Run { command } => match command {
            RunCommand::List { snap_in, state, function, page } => (
                "runs.list",
                paged(page, json!({ "snap_in": snap_in, "state": state, "function": function })),
                View::RUNS,
            ),
            RunCommand::Get { run, wait } => {
                ("runs.get", json!({ "id": run, "wait_seconds": wait }), View::RUN)
            }
            RunCommand::Logs { run } => ("runs.logs", json!({ "id": run }), View::RUN_LOG),
            RunCommand::Retry { run } => ("runs.retry", json!({ "id": run }), View::RUN),
            RunCommand::Cancel { run, reason } => {
                ("runs.cancel", json!({ "id": run, "reason": reason }), View::RUN)
            }
            RunCommand::Replay { run } => ("runs.replay", json!({ "id": run }), View::RUN),
        },
        Command::DeadLetter { command } => match command {
            DeadLetterCommand::List { snap_in, page } => {
                ("dead-letters.list", paged(page, json!({ "snap_in": snap_in })), View::RUNS)
            }
            DeadLetterCommand::Replay(which) => {
                ("dead-letters.replay", chosen(which), View::EVERYTHING)
            }
            DeadLetterCommand::Purge(which) => {
                ("dead-letters.purge", chosen(which), View::EVERYTHING)
            }
        },
        Command::Function { command: FunctionCommand::Call { snap_in, function, payload } } => {
            let payload = parse("the payload", &payload)?;
            let body = json!({ "snap_in": snap_in, "function": function, "payload": payload });
            ("functions.call", body, View::EVERYTHING)
        }
        Command::Status => ("system.status", json!({}), View::EVERYTHING),
        Command::Plugins => ("system.plugins", json!({}), View::PLUGINS),
        Command::Call { name, parameters } => {
            let parameters = parse("the parameters", &parameters)?;
            return Ok((name, parameters, View::EVERYTHING));
        }
        Command::Serve { .. }
        | Command::Quickstart { .. }
        | Command::Config { .. }
        | Command::Key { .. } => {
            return Err(not_one_call());
        }
    };
    Ok((name.to_owned(), parameters, view))
}

fn not_one_call() -> Failure {
    Failure::failed("this command is more than one call")
}

fn parse(what: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure { message: format!("{what} is no JSON: {error}"), exit_code: 2 })
}

fn paged(page: Page, mut parameters: Value) -> Value {
    parameters["limit"] = json!(page.limit);
    parameters["cursor"] = json!(page.cursor);
    without_nulls(parameters)
}

fn without_nulls(parameters: Value) -> Value {
    match parameters {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, it)| !it.is_null()).collect())
        }
        other => other,
    }
}

fn chosen(which: DeadLetters) -> Value {
    let all = which.all.then_some(true);
    without_nulls(json!({ "id": which.run, "snap_in": which.snap_in, "all": all }))
}

/// A snap-in that ended in ERROR is no success for a script.
fn failed_state(answer: &Value) -> Result<(), Failure> {
    let snap_in = &answer["snap_in"];
    if snap_in["state"] == "ERROR" {
        let reason = snap_in["reason"].as_str().unwrap_or("no reason is known");
        return Err(Failure::refused(format!("the snap-in is in ERROR: {reason}")));
    }
    if answer["run"].is_string() && answer["state"] == "failed" {
        return Err(Failure::refused("the function failed"));
    }
    Ok(())
}

fn validate(client: &Client, as_json: bool, path: &Path) -> Result<(), Failure> {
    let file = if path.is_dir() { path.join("manifest.yaml") } else { path.to_owned() };
    let manifest = files::read_text(&file)?;
    let answer = client.call("versions.validate", &json!({ "manifest": manifest }))?;
    show::findings(&answer, &file, as_json)?;
    if answer["valid"] == true {
        Ok(())
    } else {
        Err(Failure::refused(format!("{} is not valid", file.display())))
    }
}

/// Creates a version from a directory or archive.
pub(super) fn create_version(
    client: &Client,
    path: &Path,
    package: &str,
    create_package: bool,
) -> Result<Value, Failure> {
    if create_package {
        let found = client.try_call("packages.get", &json!({ "id": package }))?;
        if found.is_err() {
            client.call("packages.create", &json!({ "slug": package }))?;
        }
    }
    let archive = files::archive(path)?;
    client.call("versions.create", &json!({ "package": package, "archive": archive }))
}

fn install(
    client: &Client,
    as_json: bool,
    path: &Path,
    package: Option<String>,
    scope: Option<String>,
) -> Result<(), Failure> {
    let package = match package {
        Some(package) => package,
        None => files::slug_of(path)?,
    };
    let created = create_version(client, path, &package, true)?;
    let version = &created["version"]["id"];
    let installed =
        client.call("snap-ins.create", &json!({ "version": version, "scope": scope }))?;
    let id = &installed["snap_in"]["id"];
    let body = json!({ "id": id, "wait_seconds": WAIT_SECONDS });
    let answer = client.call("snap-ins.activate", &body)?;
    show::answer(&answer, &View::SNAP_IN, as_json)?;
    failed_state(&answer)?;
    if !as_json {
        let sources = client.call("event-sources.list", &json!({ "snap_in": id }))?;
        show::answer(&sources, &View::SOURCES, false)?;
    }
    Ok(())
}

/// A connection to the daemon.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    base: String,
    token: Option<String>,
    /// For error messages.
    whereabouts: String,
}

impl Client {
    /// By the options, or else by the environment, or else by the default socket.
    fn connect(connection: &Connection) -> Result<Client, Failure> {
        let token = match &connection.token_file {
            Some(file) => Some(files::read_text(file)?.trim().to_owned()),
            None => variable("MORTISE_TOKEN"),
        };
        if let Some(url) = connection.url.clone().or_else(|| variable("MORTISE_URL"))
            && connection.socket.is_none()
        {
            return Client::to_url(&url, token);
        }
        let socket = connection
            .socket
            .clone()
            .or_else(|| variable("MORTISE_SOCKET").map(PathBuf::from))
            .unwrap_or_else(|| DEFAULT_SOCKET.into());
        let http = reqwest::Client::builder().unix_socket(socket.clone());
        Client::new(http, "http://mortise".to_owned(), token, socket.display().to_string())
    }

    /// To a daemon at a URL.
    pub(super) fn to_url(url: &str, token: Option<String>) -> Result<Client, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        Client::new(reqwest::Client::builder(), base.clone(), token, base)
    }

    fn new(
        http: reqwest::ClientBuilder,
        base: String,
        token: Option<String>,
        whereabouts: String,
    ) -> Result<Client, Failure> {
        // A client without TLS needs no provider, but its builder asks for one all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = http
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::failed(format!("cannot make requests: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Client { http, runtime, base, token, whereabouts })
    }

    /// A call of the API; what the daemon refuses is a failure.
    pub(super) fn call(&self, name: &str, parameters: &Value) -> Result<Value, Failure> {
        self.try_call(name, parameters)?
    }

    /// A call of the API; the outer failure is that of the connection.
    fn try_call(&self, name: &str, parameters: &Value) -> Result<Result<Value, Failure>, Failure> {
        let headers = [("content-type", "application/json")];
        let url = format!("{}/api/v1/{name}", self.base);
        let (status, body) = self.post(&url, &headers, parameters.to_string(), true)?;
        let answer: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
        Ok(match status {
            200..300 => Ok(answer),
            500.. => Err(Failure::failed(show::problem(status, &answer))),
            _ => Err(Failure::refused(show::problem(status, &answer))),
        })
    }

    /// A POST to any URL; answers status and body.
    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
        with_token: bool,
    ) -> Result<(u16, String), Failure> {
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| with_token) {
            request = request.bearer_auth(token);
        }
        let exchange = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.text().await?))
        };
        self.runtime.block_on(exchange).map_err(|error| {
            let cause = innermost(&error);
            Failure::unreachable(format!(
                "cannot reach the daemon at {}: {cause}; is it running? Name it with --socket, \
                 --url, MORTISE_SOCKET or MORTISE_URL",
                self.whereabouts
            ))
        })
    }
}

/// The cause that says what happened, at the end of a chain of wrappers.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[expect(clippy::disallowed_methods, reason = "the client is where its environment is read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}
