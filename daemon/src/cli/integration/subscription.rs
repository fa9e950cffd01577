//! `mortise subscription`: what people want to be told of.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{id_of, maybe_id_of, say_integrations};
use crate::cli::arguments::Page;
use crate::cli::client::{paged, without_nulls};
use crate::cli::connection::Client;
use crate::cli::show::{self, View};
use crate::cli::{Failure, files};

const SUBSCRIPTIONS: View = View::Table(
    "subscriptions",
    &[
        ("ID", "id"),
        ("THROUGH", "said_integration"),
        ("TRIGGER", "trigger"),
        ("SCOPE", "scope"),
        ("FILTER", "filter"),
        ("CREATED", "created_date"),
    ],
);

/// What a subscription is about.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct About {
    /// Only there: stack, stack/namespace or stack/namespace/snap-in
    #[arg(long)]
    scope: Option<String>,
    /// Only those for which this jq program is true, or @FILE
    #[arg(long, value_name = "JQ")]
    filter: Option<String>,
    /// The title of messages, with tokens such as {{scope}}
    #[arg(long)]
    title: Option<String>,
    /// Their text, or @FILE
    #[arg(long)]
    text: Option<String>,
    /// Collect so many seconds for one message
    #[arg(long, value_name = "SECONDS")]
    group_wait: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SubscriptionCommand {
    /// Be told of something through an integration
    #[command(after_help = "\
A message goes out where the integration is supplied, too: mortise supply add. What is under no \
scope (webhook.*, plugin.failed, integration.*, what is published or reported without --snap-in) \
goes only through integrations that serve everything (--for-all), and never to a subscription with \
--scope. run.* and * have every run written down that succeeds, whatever the filter: give them a \
--scope.

Examples:
  mortise subscription create slack/ops snap_in.failed --scope prod
  mortise subscription create slack/ops run.dead --scope prod --group-wait 60
  mortise subscription create slack/ops 'run.*' --scope prod/payments --filter '.level == \"error\"'
  mortise subscription create slack/ops run.failed --title '{{function}}: {{error.message}}'")]
    Create {
        /// Id, or type and name as in slack/ops
        integration: String,
        /// Such as snap_in.failed, run.* or *; mortise subscription triggers has all
        trigger: String,
        #[command(flatten)]
        about: About,
    },
    /// List subscriptions
    List {
        /// Only those of this integration
        #[arg(long)]
        integration: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show a subscription
    #[command(visible_alias = "get")]
    Show {
        /// Id of the subscription
        subscription: String,
    },
    /// Change a subscription; what is not given stays, an empty text takes away
    #[command(after_help = "Examples:
  mortise subscription update SUBSCRIPTION --group-wait 300
  mortise subscription update SUBSCRIPTION --filter ''       without a filter")]
    Update {
        /// Id of the subscription
        subscription: String,
        /// Another trigger, such as snap_in.failed, run.* or *
        #[arg(long)]
        trigger: Option<String>,
        #[command(flatten)]
        about: About,
    },
    /// Delete a subscription
    Delete {
        /// Id of the subscription
        subscription: String,
    },
    /// List what can be subscribed to
    #[command(after_help = "Examples:
  mortise subscription triggers
  mortise subscription triggers --json | jq '.triggers[] | {trigger, tokens}'")]
    Triggers,
}

/// A text as it stands there, or from a file.
fn text(given: String) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        Some(file) => Ok(files::read_text(file.as_ref())?.trim_end().to_owned()),
        None => Ok(given),
    }
}

/// What is given of a subscription. Nothing stays nothing; an empty text is null.
fn asked(about: About, mut asked: Value) -> Result<Value, Failure> {
    let About { scope, filter, title, text: body, group_wait } = about;
    for (key, given) in [("scope", scope), ("filter", filter), ("title", title), ("text", body)] {
        if let Some(given) = given {
            let given = text(given)?;
            asked[key] = if given.is_empty() { Value::Null } else { json!(given) };
        }
    }
    if let Some(seconds) = group_wait {
        asked["group_wait_seconds"] = json!(seconds);
    }
    Ok(asked)
}

/// `mortise subscription`.
pub(in crate::cli) fn run(
    client: &Client,
    as_json: bool,
    command: SubscriptionCommand,
) -> Result<(), Failure> {
    let one = View::One("subscription");
    let (name, parameters, view) = match command {
        SubscriptionCommand::Create { integration, trigger, about } => {
            let new = json!({ "integration": id_of(client, &integration)?, "trigger": trigger });
            ("subscriptions.create", without_nulls(asked(about, new)?), one)
        }
        SubscriptionCommand::List { integration, page } => {
            let integration = maybe_id_of(client, integration.as_deref())?;
            let asked = paged(page, json!({ "integration": integration }));
            let mut answer = client.call("subscriptions.list", &asked)?;
            if !as_json {
                say_integrations(client, &mut answer["subscriptions"])?;
            }
            return show::answer(&answer, &SUBSCRIPTIONS, as_json);
        }
        SubscriptionCommand::Show { subscription } => {
            ("subscriptions.get", json!({ "id": subscription }), one)
        }
        SubscriptionCommand::Update { subscription, trigger, about } => {
            let mut change = json!({ "id": subscription });
            if let Some(trigger) = trigger {
                change["trigger"] = json!(trigger);
            }
            ("subscriptions.update", asked(about, change)?, one)
        }
        SubscriptionCommand::Delete { subscription } => {
            ("subscriptions.delete", json!({ "id": subscription }), View::DONE)
        }
        SubscriptionCommand::Triggers => (
            "triggers.list",
            json!({}),
            View::Table(
                "triggers",
                &[("TRIGGER", "trigger"), ("LEVEL", "level"), ("WHAT", "title")],
            ),
        ),
    };
    show::answer(&client.call(name, &parameters)?, &view, as_json)
}
