//! `mortise integration`, `supply`, `subscription`, `delivery`, `occurrence`, `milestone` and `why`: whom
//! the daemon tells of what, and why it did not.

mod given;
mod subscription;
pub(super) mod which;
mod why;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::arguments::Page;
use super::client::{paged, without_nulls};
use super::connection::Client;
use super::show::{self, View};
use super::{Failure, payload};
pub(super) use subscription::{SubscriptionCommand, run as run_subscription};
use which::{Names, id_of, maybe_id_of};
pub(super) use why::run as why;

const INTEGRATIONS: View = View::Table(
    "integrations",
    &[
        ("ID", "id"),
        ("TYPE", "type"),
        ("NAME", "name"),
        ("ON", "enabled"),
        ("HEALTH", "health"),
        ("QUEUED", "queued"),
        ("CREATED", "created_date"),
    ],
);
const INTEGRATION: View = View::One("integration");
const SUPPLIES: View = View::Table(
    "supplies",
    &[("SCOPE", "scope"), ("CREATED", "created_date"), ("BY", "created_by")],
);
const DELIVERIES: View = View::Table(
    "deliveries",
    &[
        ("ID", "id"),
        ("THROUGH", "said_integration"),
        ("STATE", "state"),
        ("ATTEMPTS", "attempt_count"),
        ("WHAT", "title"),
        ("CREATED", "queued_date"),
    ],
);
const OCCURRENCES: View = View::Table(
    "occurrences",
    &[("ID", "id"), ("TRIGGER", "trigger"), ("SCOPE", "scope"), ("CREATED", "date")],
);

/// The connection of an integration, in parts.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Connection {
    /// The whole connection: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    connection: Option<String>,
    /// A value of the connection, such as default_channel=#ops; dots lead into it. JSON is taken as such
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A secret of the connection: from a file, or - for standard input
    #[arg(long = "secret", value_name = "KEY=@FILE")]
    secret: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum IntegrationCommand {
    /// Make an integration: a configured sink
    #[command(after_help = "\
What a connection holds is in the schema of its type: mortise call integrations.types. Secrets are never \
given on the command line: they come from a file or standard input, and are shown to nobody again.

Examples:
  mortise integration create slack ops --for-all --set default_channel=#ops \\
      --secret bot_token=@token.txt
  pass show slack | mortise integration create slack ops --set default_channel=#ops \\
      --secret bot_token=-
  mortise integration create http pager --connection @pager.json --supply prod/payments")]
    Create {
        /// A sink type, such as slack or http
        #[arg(value_name = "TYPE")]
        kind: String,
        /// Unique within its type
        name: String,
        #[command(flatten)]
        connection: Connection,
        /// Let it serve everything on the host
        #[arg(long)]
        for_all: bool,
        /// Let it serve this prefix of scopes; can be given several times
        #[arg(long, value_name = "SCOPE")]
        supply: Vec<String>,
        /// Make it switched off: what happens meanwhile is never told
        #[arg(long)]
        off: bool,
        /// Messages under way at once: 1 to 64, 4 when absent
        #[arg(long)]
        concurrency: Option<u16>,
        /// Messages that begin in one second at most; as many as there are when absent
        #[arg(long)]
        per_second: Option<u32>,
    },
    /// List integrations, and whether they work
    List {
        /// Only those of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show an integration, without its connection
    #[command(
        visible_alias = "get",
        after_help = "Examples:
  mortise integration show slack/ops
  mortise integration show slack/ops --json | jq -r .integration.id"
    )]
    Show {
        /// Type and name as in slack/ops, or id
        integration: String,
    },
    /// Show the connection, with masks in place of its secrets
    Connection {
        /// Type and name as in slack/ops, or id
        integration: String,
    },
    /// Change an integration; nothing is sent with what was there before when this comes back
    #[command(after_help = "\
What is not given stays, the secrets of the connection too, unless something that says where they \
go is another one, such as a URL, a host or a port: give each --secret again then. While an \
integration is off, what is queued waits; what happens meanwhile is not queued, and nobody is told \
of it later.

Examples:
  mortise integration update slack/ops --secret bot_token=@new-token.txt
  mortise integration update slack/ops --set default_channel=#incidents
  mortise integration update slack/ops --off")]
    Update {
        /// Type and name as in slack/ops, or id
        integration: String,
        #[command(flatten)]
        connection: Connection,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        /// Switch it on
        #[arg(long, conflicts_with = "off")]
        on: bool,
        /// Switch it off: what is queued waits, what happens meanwhile is never told
        #[arg(long)]
        off: bool,
        /// Let it serve everything on the host, or not
        #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
        for_all: Option<bool>,
        /// Messages under way at once: 1 to 64
        #[arg(long)]
        concurrency: Option<u16>,
        /// Messages that begin in one second at most; 0 for as many as there are
        #[arg(long)]
        per_second: Option<u32>,
    },
    /// Show whether it works
    Test {
        /// Type and name as in slack/ops, or id
        integration: String,
    },
    /// Delete an integration with its connection, supplies and subscriptions
    Delete {
        /// Type and name as in slack/ops, or id
        integration: String,
    },
    /// List the sink types that there are
    Types,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SupplyCommand {
    /// Let an integration serve a scope
    #[command(after_help = "Examples:
  mortise supply add slack/ops prod
  mortise supply add slack/ops prod/payments")]
    Add {
        /// Type and name as in slack/ops, or id
        integration: String,
        /// stack, stack/namespace or stack/namespace/snap-in
        scope: String,
    },
    /// List the scopes that an integration serves
    List {
        /// Type and name as in slack/ops, or id
        integration: String,
    },
    /// Let it serve a scope no more
    Remove {
        /// Type and name as in slack/ops, or id
        integration: String,
        /// stack, stack/namespace or stack/namespace/snap-in
        scope: String,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeliveryCommand {
    /// List messages through integrations, newest first
    #[command(after_help = "Examples:
  mortise delivery list --state dead
  mortise delivery list --integration slack/ops --json | jq '.deliveries[].attempts'")]
    List {
        /// Only those through this one
        #[arg(long)]
        integration: Option<String>,
        /// Only those in this state: queued, delivered, dead
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show a message with its attempts
    #[command(visible_alias = "get")]
    Show {
        /// Id of the message, as delivery list has it
        delivery: String,
    },
    /// Send an ended message again, or all dead letters of an integration
    #[command(after_help = "Examples:
  mortise delivery redeliver dlv_01k9...
  mortise delivery redeliver --all-of slack/ops")]
    #[command(group = ArgGroup::new("which").required(true).args(["delivery", "all_of"]))]
    Redeliver {
        /// Id of the message, as delivery list has it
        delivery: Option<String>,
        /// All dead letters of this integration
        #[arg(long, value_name = "INTEGRATION")]
        all_of: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OccurrenceCommand {
    /// List what was worth telling, newest first
    #[command(after_help = "Examples:
  mortise occurrence list --trigger run.*
  mortise occurrence list --scope prod/payments")]
    List {
        /// Only those of this trigger, or of a kind such as run.*
        #[arg(long)]
        trigger: Option<String>,
        /// Only those under this prefix of a scope
        #[arg(long)]
        scope: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show an occurrence as filters and templates see it
    #[command(visible_alias = "get")]
    Show {
        /// Id of the occurrence
        occurrence: String,
    },
    /// Publish one: subscribers to custom.NAME are told of it
    #[command(after_help = "\
Without --snap-in it is under no scope: it goes only through integrations that serve everything \
(--for-all), and to subscriptions without a scope.

Examples:
  mortise occurrence publish backup.done 'The backup is done' --level success
  mortise occurrence publish disk.full 'The disk is full' --level error --data '{\"host\": \"db1\"}'")]
    Publish {
        /// a-z, 0-9, `_`, `-`, `.`
        name: String,
        /// One line
        title: String,
        /// The rest
        #[arg(long, default_value = "")]
        message: String,
        /// info, success, warning or error
        #[arg(long, default_value = "info")]
        level: String,
        /// The snap-in that it is about: id or scope
        #[arg(long)]
        snap_in: Option<String>,
        /// More: a JSON object, @FILE, or - for standard input
        #[arg(long, default_value = "{}")]
        data: String,
    },
}

/// Reports on a longer piece of work.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Without --snap-in it is under no scope: it goes only through integrations that serve everything \
(--for-all), and to subscriptions without a scope.

Examples:
  mortise milestone migration-7 started 'Moving 3 databases'
  mortise milestone migration-7 done 'All of them are moved' --level success")]
pub(in crate::cli) struct Milestone {
    /// Which piece of work: messages about the same one stand together
    work: String,
    /// Which point of it: subscribers to milestone.KIND are told
    kind: String,
    /// What there is to say
    message: String,
    /// info, success, warning or error
    #[arg(long, default_value = "info")]
    level: String,
    /// The snap-in that works: id or scope
    #[arg(long)]
    snap_in: Option<String>,
    /// More: a JSON object, @FILE, or - for standard input
    #[arg(long, default_value = "{}")]
    data: String,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("expected yes or no".to_owned()),
    }
}

/// `mortise integration`.
pub(in crate::cli) fn run(
    client: &Client,
    as_json: bool,
    command: IntegrationCommand,
) -> Result<(), Failure> {
    let which = |text: &str| Ok::<_, Failure>(json!({ "id": id_of(client, text)? }));
    let (name, parameters, view) = match command {
        IntegrationCommand::Create {
            kind,
            name,
            connection,
            for_all,
            supply,
            off,
            concurrency,
            per_second,
        } => {
            given::check_secrets(client, &connection, &kind)?;
            let connection = given::connection(&connection, json!({}))?.unwrap_or(json!({}));
            let new = without_nulls(json!({
                "type": kind,
                "name": name,
                "connection": connection,
                "supplied_to_all": for_all,
                "enabled": !off,
                "concurrency": concurrency,
                "per_second": per_second,
            }));
            let made = client.call("integrations.create", &new)?;
            let id = made["integration"]["id"].clone();
            for scope in supply {
                let supply = json!({ "integration": id, "scope": scope });
                client.call("supplies.create", &supply).map_err(|mut failure| {
                    failure.message.push_str(&format!(
                        "\n{kind}/{name} was made, without a supply to `{scope}`"
                    ));
                    failure
                })?;
            }
            show::warn(&made);
            let shown = client.call("integrations.get", &json!({ "id": id }))?;
            return show::answer(&shown, &INTEGRATION, as_json);
        }
        IntegrationCommand::List { kind, page } => {
            ("integrations.list", paged(page, json!({ "type": kind })), INTEGRATIONS)
        }
        IntegrationCommand::Show { integration } => {
            ("integrations.get", which(&integration)?, INTEGRATION)
        }
        IntegrationCommand::Connection { integration } => {
            let answer = client.call("integrations.get-connection", &which(&integration)?)?;
            let shown = if as_json { &answer } else { &answer["connection"] };
            return show::print(&show::plain(&format!("{shown:#}")));
        }
        IntegrationCommand::Update {
            integration,
            connection,
            name,
            on,
            off,
            for_all,
            concurrency,
            per_second,
        } => {
            let id = id_of(client, &integration)?;
            let mut change = without_nulls(json!({
                "id": id,
                "name": name,
                "supplied_to_all": for_all,
                "concurrency": concurrency,
            }));
            if on || off {
                change["enabled"] = json!(on);
            }
            if let Some(most) = per_second {
                change["per_second"] = if most == 0 { Value::Null } else { json!(most) };
            }
            if connection.is_given() {
                // What is shown of it goes back: the masks keep what is stored.
                let present = match connection.is_whole() {
                    true => json!({}),
                    false => client.call("integrations.get-connection", &json!({ "id": id }))?
                        ["connection"]
                        .clone(),
                };
                let about = client.call("integrations.get", &json!({ "id": id }))?;
                let kind = about["integration"]["type"].as_str().unwrap_or_default();
                given::check_secrets(client, &connection, kind)?;
                if let Some(whole) = given::connection(&connection, present)? {
                    change["connection"] = whole;
                }
            }
            let changed = client.call("integrations.update", &change)?;
            show::warn(&changed);
            return show::answer(&changed, &INTEGRATION, as_json);
        }
        IntegrationCommand::Test { integration } => {
            let answer = client.slow_call(
                "the integration is tried",
                "integrations.test",
                &which(&integration)?,
            )?;
            if as_json {
                show::answer(&answer, &View::EVERYTHING, true)?;
            }
            if answer["success"] == true {
                return if as_json { Ok(()) } else { show::print("it works") };
            }
            let error = answer["error"].as_str().unwrap_or_default();
            return Err(Failure::refused(format!("it does not work: {}", show::plain(error))));
        }
        IntegrationCommand::Delete { integration } => {
            ("integrations.delete", which(&integration)?, View::DONE)
        }
        IntegrationCommand::Types => (
            "integrations.types",
            json!({}),
            View::Table(
                "types",
                &[("NAME", "name"), ("TITLE", "title"), ("DESCRIPTION", "description")],
            ),
        ),
    };
    show::answer(&client.call(name, &parameters)?, &view, as_json)
}

/// `mortise supply`.
pub(in crate::cli) fn run_supply(
    client: &Client,
    as_json: bool,
    command: SupplyCommand,
) -> Result<(), Failure> {
    let (name, integration, scope, view) = match command {
        SupplyCommand::Add { integration, scope } => {
            ("supplies.create", integration, Some(scope), View::One("supply"))
        }
        SupplyCommand::List { integration } => ("supplies.list", integration, None, SUPPLIES),
        SupplyCommand::Remove { integration, scope } => {
            ("supplies.delete", integration, Some(scope), View::DONE)
        }
    };
    let id = id_of(client, &integration)?;
    let asked = without_nulls(json!({ "integration": id, "scope": scope }));
    show::answer(&client.call(name, &asked)?, &view, as_json)
}

/// `mortise delivery`.
pub(in crate::cli) fn run_delivery(
    client: &Client,
    as_json: bool,
    command: DeliveryCommand,
) -> Result<(), Failure> {
    let (name, parameters, view) = match command {
        DeliveryCommand::List { integration, state, page } => {
            let integration = maybe_id_of(client, integration.as_deref())?;
            let asked = paged(page, json!({ "integration": integration, "state": state }));
            let mut answer = client.call("deliveries.list", &asked)?;
            if !as_json {
                say_integrations(client, &mut answer["deliveries"])?;
            }
            return show::answer(&answer, &DELIVERIES, as_json);
        }
        DeliveryCommand::Show { delivery } => {
            ("deliveries.get", json!({ "id": delivery }), View::One("delivery"))
        }
        DeliveryCommand::Redeliver { delivery: Some(id), .. } => {
            ("deliveries.redeliver", json!({ "id": id }), View::EVERYTHING)
        }
        DeliveryCommand::Redeliver { delivery: None, all_of } => {
            let id = id_of(client, &all_of.unwrap_or_default())?;
            ("deliveries.redeliver", json!({ "integration": id }), View::EVERYTHING)
        }
    };
    show::answer(&client.call(name, &parameters)?, &view, as_json)
}

/// `mortise occurrence`.
pub(in crate::cli) fn run_occurrence(
    client: &Client,
    as_json: bool,
    command: OccurrenceCommand,
) -> Result<(), Failure> {
    let (name, parameters, view) = match command {
        OccurrenceCommand::List { trigger, scope, page } => {
            let asked = paged(page, json!({ "trigger": trigger, "scope": scope }));
            ("occurrences.list", asked, OCCURRENCES)
        }
        OccurrenceCommand::Show { occurrence } => {
            ("occurrences.get", json!({ "id": occurrence }), View::One("occurrence"))
        }
        OccurrenceCommand::Publish { name, title, message, level, snap_in, data } => {
            let data = payload::object("the data", &data)?;
            let asked = without_nulls(json!({
                "name": name, "title": title, "message": message, "level": level,
                "snap_in": snap_in, "data": data,
            }));
            ("occurrences.publish", asked, View::EVERYTHING)
        }
    };
    show::answer(&client.call(name, &parameters)?, &view, as_json)
}

/// `mortise milestone`.
pub(in crate::cli) fn report(
    client: &Client,
    as_json: bool,
    milestone: Milestone,
) -> Result<(), Failure> {
    let Milestone { work, kind, message, level, snap_in, data } = milestone;
    let data = payload::object("the data", &data)?;
    let asked = without_nulls(json!({
        "work": work, "kind": kind, "message": message, "level": level, "snap_in": snap_in,
        "data": data,
    }));
    show::answer(&client.call("milestones.report", &asked)?, &View::EVERYTHING, as_json)
}

/// Rows of something that goes through integrations say which, by name.
fn say_integrations(client: &Client, rows: &mut Value) -> Result<(), Failure> {
    let Some(rows) = rows.as_array_mut() else { return Ok(()) };
    let names = Names::of(client, rows.iter().map(|it| &it["integration"]))?;
    for row in rows {
        row["said_integration"] = names.say(&row["integration"]).into();
    }
    Ok(())
}
