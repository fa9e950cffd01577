//! Keyrings on the command line. A secret is typed without an echo or comes on standard input; there
//! is no option that takes one, because others on the host see the arguments of a command.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::connection::Client;
use super::show::{self, View};
use super::{Failure, files, hidden};

#[derive(Debug, Subcommand)]
pub(super) enum KeyringCommand {
    /// Set a secret, typed without an echo or given on standard input
    #[command(after_help = "Examples:
  mortise keyring set default/default/github token
  pass show github | mortise keyring set default/default/github token
  echo '{\"user\": \"u\", \"password\": \"p\"}' | mortise keyring set my/jira/sync account")]
    Set {
        #[command(flatten)]
        which: Which,
        /// Which type, when the keyring may be of several
        #[arg(long = "type", value_name = "ID")]
        type_id: Option<String>,
        /// For types that ask for one: `acme` of acme.example.com
        #[arg(long)]
        subdomain: Option<String>,
        /// Id of the organization at the external system, when the secret is good for several
        #[arg(long, value_name = "ID")]
        organization: Option<String>,
        /// Take it without asking the external system
        #[arg(long)]
        skip_verification: bool,
    },
    /// Show a keyring, without its secret
    Get(Which),
    /// List the keyrings of a snap-in, or all that are set
    List {
        /// Id or scope
        snap_in: Option<String>,
        /// Only those in this state: missing, pending, ready, broken
        #[arg(long)]
        state: Option<String>,
        /// Also those of this user
        #[arg(long, requires = "snap_in")]
        user: Option<String>,
    },
    /// Connect by OAuth2: shows the page where a person grants access, and waits for him
    Connect {
        #[command(flatten)]
        which: Which,
        /// Which type, when the keyring may be of several
        #[arg(long = "type", value_name = "ID")]
        type_id: Option<String>,
        /// For types that ask for one: `acme` of acme.example.com
        #[arg(long)]
        subdomain: Option<String>,
        /// Id or name of the organization at the external system, when there may be several
        #[arg(long)]
        organization: Option<String>,
        /// Ask for this scope; all that the type lists when not given
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Do not wait until access is granted
        #[arg(long)]
        no_wait: bool,
    },
    /// Try a secret at the external system
    Verify(Which),
    /// Renew the access token of a connection now
    Refresh(Which),
    /// Give a connection up at the external system
    Revoke(Which),
    /// Delete a keyring with its secret
    Delete(Which),
}

/// One keyring.
#[derive(Args, Clone, Debug)]
pub(super) struct Which {
    /// Id or scope
    snap_in: String,
    /// Name in the manifest
    name: String,
    /// Whose, for a keyring of the user level; yours when not given
    #[arg(long)]
    user: Option<String>,
}

impl Which {
    fn parameters(&self) -> Value {
        without_nulls(json!({ "snap_in": self.snap_in, "name": self.name, "user": self.user }))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum DeveloperKeyringCommand {
    /// Set a secret that all installations of a package share
    #[command(after_help = "Examples:
  mortise developer-keyring set my-package api-key
  mortise developer-keyring set my-package oauth --client-id 3f2c   asks for the client secret")]
    Set {
        /// Id or slug
        package: String,
        /// As manifests name it
        name: String,
        /// It is a client of OAuth2 with this id; the secret is the client's
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// The client has no secret
        #[arg(long, requires = "client_id")]
        public: bool,
    },
    /// List the keyrings of developers
    List {
        /// Id or slug
        package: Option<String>,
    },
    /// Delete a keyring of a developer
    Delete {
        /// Id or slug of the package
        package: String,
        /// Its name in the manifest
        name: String,
    },
}

/// How often somebody is looked for who was sent to grant access.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const KEYRINGS: View = View::Table(
    "keyrings",
    &[
        ("SNAP-IN", "snap_in"),
        ("NAME", "name"),
        ("STATE", "state"),
        ("OPTIONAL", "optional"),
        ("TYPE", "type"),
        ("VERIFIED", "verified"),
        ("EXPIRES", "expires_date"),
        ("REASON", "reason"),
    ],
);
const DEVELOPER_KEYRINGS: View = View::Table(
    "developer_keyrings",
    &[("PACKAGE", "package"), ("NAME", "name"), ("TYPE", "type"), ("CHANGED", "changed_date")],
);

pub(super) fn run(client: &Client, as_json: bool, command: KeyringCommand) -> Result<(), Failure> {
    let (answer, view) = match command {
        KeyringCommand::Set { which, type_id, subdomain, organization, skip_verification } => {
            let mut body = with(
                &which,
                json!({
                    "type": type_id,
                    "subdomain": subdomain,
                    "organization": organization,
                    "skip_verification": skip_verification,
                }),
            );
            ask_for_secret(client, &which, &mut body, type_id.as_deref())?;
            (client.call("keyrings.set", &body)?, View::One("keyring"))
        }
        KeyringCommand::Get(which) => {
            let body = which.parameters();
            (client.call("keyrings.get", &body)?, View::One("keyring"))
        }
        KeyringCommand::List { snap_in, state, user } => {
            let body = without_nulls(json!({ "snap_in": snap_in, "state": state, "user": user }));
            (client.call("keyrings.list", &body)?, KEYRINGS)
        }
        KeyringCommand::Connect { which, type_id, subdomain, organization, scopes, no_wait } => {
            let body = with(
                &which,
                json!({
                    "type": type_id,
                    "subdomain": subdomain,
                    "organization": organization,
                    "scopes": if scopes.is_empty() { Value::Null } else { json!(scopes) },
                }),
            );
            let begun = client.call("keyrings.connect", &body)?;
            if no_wait {
                return show::answer(&begun, &View::EVERYTHING, as_json);
            }
            (say_and_wait(client, &which, &begun)?, View::One("keyring"))
        }
        KeyringCommand::Verify(which) => {
            let body = which.parameters();
            let tried = client.call("keyrings.verify", &body)?;
            let problem = tried["problem"].as_str().map(str::to_owned);
            let tried = if as_json { tried } else { for_people(client, tried) };
            show::answer(&tried, &View::One("keyring"), as_json)?;
            return match problem {
                Some(problem) => Err(Failure::refused(problem)),
                None => Ok(()),
            };
        }
        KeyringCommand::Refresh(which) => {
            let body = which.parameters();
            (client.call("keyrings.refresh", &body)?, View::One("keyring"))
        }
        KeyringCommand::Revoke(which) => {
            let body = which.parameters();
            (client.call("keyrings.revoke", &body)?, View::One("keyring"))
        }
        KeyringCommand::Delete(which) => {
            let body = which.parameters();
            (client.call("keyrings.delete", &body)?, View::DONE)
        }
    };
    let answer = if as_json { answer } else { for_people(client, answer) };
    show::answer(&answer, &view, as_json)
}

/// Keyrings with what people call their snap-ins and types.
fn for_people(client: &Client, mut answer: Value) -> Value {
    // A list is worth showing with ids, too, to somebody who may not list snap-ins.
    let named = |id: &Value| match client.try_call("snap-ins.get", &json!({ "id": id })) {
        Ok(Ok(found)) => found["snap_in"]["scope"].clone(),
        Ok(Err(_)) | Err(_) => id.clone(),
    };
    let mut scopes: BTreeMap<String, Value> = BTreeMap::new();
    let mut rename = |keyring: &mut Value| {
        if let Some(id) = keyring["snap_in"].as_str().filter(|it| !it.is_empty()) {
            let id = id.to_owned();
            let scope = scopes.entry(id.clone()).or_insert_with(|| named(&json!(id)));
            keyring["snap_in"] = scope.clone();
        }
        if let Some(types) = type_names(&keyring["types"]) {
            keyring["types"] = json!(types);
        }
    };
    if answer["keyring"].is_object() {
        rename(&mut answer["keyring"]);
    }
    if let Some(keyrings) = answer.get_mut("keyrings").and_then(Value::as_array_mut) {
        keyrings.iter_mut().for_each(rename);
    }
    answer
}

/// The types that a keyring may be of, in one text.
fn type_names(types: &Value) -> Option<String> {
    let name = |it: &Value| it["id"].as_str().or(it.as_str()).map(str::to_owned);
    let names: Vec<String> = types.as_array()?.iter().filter_map(name).collect();
    Some(names.join(", "))
}

pub(super) fn run_developer(
    client: &Client,
    as_json: bool,
    command: DeveloperKeyringCommand,
) -> Result<(), Failure> {
    let (answer, view) = match command {
        DeveloperKeyringCommand::Set { package, name, client_id, public } => {
            let mut body = json!({ "package": package, "name": name });
            match client_id {
                Some(id) => {
                    body["client_id"] = json!(id);
                    if !public {
                        body["client_secret"] = json!(*secret("Client secret: ")?);
                    }
                }
                None => body["secret"] = json!(*secret("Secret: ")?),
            }
            let answer = client.call("developer-keyrings.set", &body)?;
            (answer, View::One("developer_keyring"))
        }
        DeveloperKeyringCommand::List { package } => {
            let body = without_nulls(json!({ "package": package }));
            (client.call("developer-keyrings.list", &body)?, DEVELOPER_KEYRINGS)
        }
        DeveloperKeyringCommand::Delete { package, name } => {
            let body = json!({ "package": package, "name": name });
            (client.call("developer-keyrings.delete", &body)?, View::DONE)
        }
    };
    show::answer(&answer, &view, as_json)
}

/// Says where access is granted, and waits until it is or cannot be any more.
fn say_and_wait(client: &Client, which: &Which, begun: &Value) -> Result<Value, Failure> {
    let text = |key: &str| begun[key].as_str().unwrap_or_default();
    // Not among what is printed as the answer, which scripts read.
    eprintln!("Open this page and grant access, before {}:\n", text("expires_date"));
    eprintln!("  {}\n", text("authorize_url"));
    wait_for_grant(client, &which.parameters(), begun)?.map_err(Failure::refused)
}

/// Waits until somebody has granted what `keyrings.connect` began with this answer, and answers the
/// keyring; or why nobody can do so any more. `which` are parameters of `keyrings.get`.
pub(super) fn wait_for_grant(
    client: &Client,
    which: &Value,
    begun: &Value,
) -> Result<Result<Value, String>, Failure> {
    let before = &begun["keyring"];
    let mut was_awaited = true;
    loop {
        client.pause("waiting for the grant; Ctrl-C gives up", LOOK_EVERY);
        let found = client.call("keyrings.get", which)?;
        let now = &found["keyring"];
        if is_granted(before, now) {
            return Ok(Ok(found));
        }
        let is_awaited = !now["awaited_until_date"].is_null();
        // Who is back just now may be neither awaited nor taken in for a moment.
        if !is_awaited && !was_awaited {
            let message = "access was not granted: what went wrong was shown in the browser; \
                           connect it again";
            return Ok(Err(message.to_owned()));
        }
        was_awaited = is_awaited;
    }
}

/// Whether a keyring was granted since. What is renewed in the background was not.
fn is_granted(before: &Value, now: &Value) -> bool {
    let is_new = now["id"] != before["id"] || now["set_date"] != before["set_date"];
    is_new && now["state"] == "ready"
}

/// Puts the secret into the parameters of `keyrings.set`: from standard input as it is, or asked for
/// field by field on a terminal.
fn ask_for_secret(
    client: &Client,
    which: &Which,
    body: &mut Value,
    type_id: Option<&str>,
) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        body["secret"] = json!(*from_standard_input()?);
        return Ok(());
    }
    let found = client.call("keyrings.get", &which.parameters())?;
    let types = found["keyring"]["types"].as_array().cloned().unwrap_or_default();
    let mut fitting = types.iter().filter(|it| match type_id {
        Some(id) => it["id"] == id,
        None => it["kind"] == "secret",
    });
    // Whether it can be this one is for the daemon to say.
    let fields = fitting.next().and_then(|it| it["fields"].as_array()).cloned().unwrap_or_default();
    if fields.is_empty() {
        body["secret"] = json!(*prompt("Secret: ")?);
        return Ok(());
    }
    let mut given = Map::new();
    for field in fields {
        let id = field["id"].as_str().unwrap_or_default();
        let name = field["name"].as_str().unwrap_or(id);
        let optional = if field["optional"] == true { " (optional)" } else { "" };
        let value = prompt(&format!("{name}{optional}: "))?;
        if !(value.is_empty() && field["optional"] == true) {
            given.insert(id.to_owned(), json!(*value));
        }
    }
    body["fields"] = Value::Object(given);
    Ok(())
}

/// One secret: typed without an echo, or all of standard input.
fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    if std::io::stdin().is_terminal() { prompt(question) } else { from_standard_input() }
}

fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = hidden::ask(question)
        .map_err(|error| Failure::refused(format!("cannot read the secret: {error}")))?;
    typed.ok_or_else(|| Failure::refused("the input ended before there was a secret"))
}

/// Without the one end of line that commands such as `echo` add.
fn from_standard_input() -> Result<Zeroizing<String>, Failure> {
    let mut text = files::standard_input("the secret")?;
    let length = text.strip_suffix('\n').map(|it| it.strip_suffix('\r').unwrap_or(it).len());
    if let Some(length) = length {
        text.truncate(length);
    }
    Ok(text)
}

/// The parameters that name a keyring, and more.
fn with(which: &Which, more: Value) -> Value {
    let mut parameters = which.parameters();
    if let (Some(parameters), Value::Object(more)) =
        (parameters.as_object_mut(), without_nulls(more))
    {
        parameters.extend(more);
    }
    parameters
}

fn without_nulls(parameters: Value) -> Value {
    match parameters {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, it)| !it.is_null()).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_no_grant() {
        let before = json!({ "id": "1", "set_date": "a", "changed_date": "a", "state": "ready" });
        let with = |key: &str, value: &str| {
            let mut now = before.clone();
            now[key] = json!(value);
            now
        };
        assert!(!is_granted(&before, &before));
        assert!(!is_granted(&before, &with("changed_date", "b")));
        assert!(!is_granted(&before, &with("state", "broken")));
        assert!(is_granted(&before, &with("set_date", "b")));
        assert!(is_granted(&json!({ "state": "missing" }), &before));
        assert!(!is_granted(&before, &json!({ "state": "missing" })), "it was deleted");
    }
}
