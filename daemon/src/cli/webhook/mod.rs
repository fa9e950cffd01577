//! `mortise webhook`: outgoing webhooks, and a receiver to try them with. One file for each subject that
//! is more than one call and its table.

mod change;
mod given;
mod listen;
mod resend;
mod show;
mod wait;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Connection, Page};
use super::client::paged;
use super::connection::Client;
use super::show::{self as shown, View};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WebhookCommand {
    /// Make a webhook; its secret is shown this once
    #[command(after_help = "\
The endpoint is sent a challenge at once and has three minutes for echoing it; events are sent from then \
on. Secrets are never given on the command line: they come from a file or standard input.

Examples:
  mortise webhook create https://example.com/hook --event work_created --event work_updated
  (umask 077; mortise webhook create https://example.com/hook --event work_created \\
      --print-secret > secret)
  mortise webhook create https://example.com/hook --event work_created --wait \\
      --header authorization=@token.txt --filter '.work_created.work.type == \"ticket\"'
  pass show hook | mortise webhook create URL --event work_created --secret-file -")]
    Create(change::Create),
    /// List webhooks
    #[command(after_help = "Examples:
  mortise webhook list
  mortise webhook list --json | jq -r '.webhooks[] | select(.status != \"active\") | .id, .reason'")]
    List,
    /// Show a webhook: where it stands, and why
    #[command(visible_alias = "get")]
    Show {
        /// Id of the webhook
        webhook: String,
    },
    /// Change a webhook; another URL is verified before it gets anything
    #[command(after_help = "\
What is not given stays. Another secret is made with `mortise webhook rotate`.

Examples:
  mortise webhook update WEBHOOK --add-event work_deleted
  mortise webhook update WEBHOOK --endpoint https://new.example.com/hook --wait
  mortise webhook update WEBHOOK --header authorization=@token.txt
  mortise webhook update WEBHOOK --remove-header x-team          one that it has
  mortise webhook update WEBHOOK --filter @only-tickets.jq --on-degraded hold")]
    Update(change::Update),
    /// Ask the endpoint at once whether it wants events, and send them when it echoes
    #[command(after_help = "Example:
  mortise webhook activate WEBHOOK --wait")]
    Activate {
        /// Id of the webhook
        webhook: String,
        /// Wait until it is active, or until its endpoint was asked in vain
        #[arg(long)]
        wait: bool,
    },
    /// Send nothing any more; what is queued fails
    Deactivate {
        /// Id of the webhook
        webhook: String,
    },
    /// Delete a webhook with what it was sent
    Delete {
        /// Id of the webhook
        webhook: String,
    },
    /// Give a webhook another secret, which is shown this once
    #[command(after_help = "\
Until the overlap ends, requests are signed with the secret before too, in webhook-signature and in \
X-Mortise-Signature-Previous. The endpoint is asked again; what happens meanwhile waits. Without \
an overlap, give the receiver the secret that is printed meanwhile: the challenge is signed with it.

Examples:
  (umask 077; mortise webhook rotate WEBHOOK --print-secret > secret)
  mortise webhook rotate WEBHOOK --overlap-seconds 0 --wait      it has leaked
  pass show hook | mortise webhook rotate WEBHOOK --secret-file -")]
    Rotate(change::Rotate),
    /// Send an object as it is now, as the event `TYPE_fetched`
    #[command(after_help = "Examples:
  mortise webhook fetch WEBHOOK ISS-1 --type work
  mortise webhook fetch WEBHOOK work_01k9...              the type is known by the id")]
    Fetch {
        /// Id of the webhook
        webhook: String,
        /// Id, or display id with its type
        object: String,
        /// Name or plural of the type
        #[arg(long = "type", value_name = "TYPE")]
        object_type: Option<String>,
    },
    /// List what a webhook was sent, newest first
    #[command(after_help = "Examples:
  mortise webhook deliveries WEBHOOK
  mortise webhook deliveries WEBHOOK --state failed --json | jq -r '.deliveries[].id'")]
    Deliveries {
        /// Id of the webhook
        webhook: String,
        /// Only those in this state
        #[arg(long)]
        state: Option<State>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one event for a webhook: every attempt, and what was answered
    #[command(after_help = "Examples:
  mortise webhook delivery WEBHOOK EVENT --body
  mortise webhook delivery WEBHOOK EVENT --json | jq .body")]
    Delivery {
        /// Id of the webhook
        webhook: String,
        /// Id of the event, as webhook deliveries lists it
        event: String,
        /// Show what is sent, too
        #[arg(long)]
        body: bool,
    },
    /// Send events again that failed or were taken, with the ids that they had
    #[command(after_help = "\
A time is RFC 3339, or so long ago: 90s, 30m, 2h, 7d. Of a time, what failed is sent again; with --all, \
what was taken too.

Examples:
  mortise webhook resend WEBHOOK EVENT
  mortise webhook resend WEBHOOK --since 2h
  mortise webhook resend WEBHOOK --since 2026-01-31T12:00:00Z --until 2026-01-31T13:00:00Z --all
  mortise webhook deliveries WEBHOOK --state failed --json | jq -r '.deliveries[].id' |
      mortise webhook resend WEBHOOK -")]
    Resend(resend::Resend),
    /// Receive webhooks here, verify them and show them; needs no daemon
    #[command(after_help = "\
Challenges are echoed. With the secret, every signature of a request is verified: X-Mortise-Signature, \
X-DevRev-Signature, and webhook-signature of Standard Webhooks with its time; a wrong one is answered 401, \
and said with its reason. --status, --fail-first, --retry-after, --delay and --no-echo show what becomes \
of an endpoint that does not do well. The daemon does not reach this host unless its configuration \
allows it: [egress] allow = [\"127.0.0.1:9000\"].

Exit codes: 0 it was ended, or --count events came; 1 a signature was wrong.

Examples:
  mortise webhook listen 9000 --register --event work_created
  mortise webhook listen 9000 --secret-file secret --body
  mortise webhook listen 9000 --status 503 --fail-first 2      # the third attempt is taken
  mortise webhook listen 9000 --delay 4                        # too slow: 3 seconds are allowed
  mortise webhook listen 9000 --json --count 1 | jq 'select(.kind == \"event\").body'")]
    Listen(listen::Listen),
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum State {
    /// To be sent, perhaps again
    Queued,
    /// The endpoint has it
    Delivered,
    /// It failed for good
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Delivered => "delivered",
            State::Failed => "failed",
        }
    }
}

/// Receives webhooks, without a daemon.
pub(super) fn listen(connection: &Connection, options: &listen::Listen) -> Result<(), Failure> {
    listen::run(connection, options)
}

/// Makes the calls and shows what came back.
pub(super) fn run(client: &Client, as_json: bool, command: WebhookCommand) -> Result<(), Failure> {
    match command {
        WebhookCommand::Create(options) => change::create(client, as_json, &options),
        WebhookCommand::Update(options) => change::update(client, as_json, options),
        WebhookCommand::Rotate(options) => change::rotate(client, as_json, &options),
        WebhookCommand::Activate { webhook, wait } => {
            change::switch(client, as_json, &webhook, "activate", wait)
        }
        WebhookCommand::Deactivate { webhook } => {
            change::switch(client, as_json, &webhook, "deactivate", false)
        }
        WebhookCommand::List => show::list(&client.call("webhooks.list", &json!({}))?, as_json),
        WebhookCommand::Show { webhook } => {
            show::one(&client.call("webhooks.get", &json!({ "id": webhook }))?, as_json)
        }
        WebhookCommand::Delete { webhook } => {
            let answer = client.call("webhooks.delete", &json!({ "id": webhook }))?;
            shown::answer(&answer, &View::DONE, as_json)
        }
        WebhookCommand::Fetch { webhook, object, object_type } => {
            let mut asked = json!({ "id": webhook, "object": object });
            if let Some(object_type) = object_type {
                asked["type"] = json!(object_type);
            }
            let answer = client.call("webhooks.fetch", &asked)?;
            if as_json {
                return shown::answer(&answer, &View::EVERYTHING, true);
            }
            shown::print(&shown::plain(answer["event"].as_str().unwrap_or_default()))
        }
        WebhookCommand::Deliveries { webhook, state, page } => {
            let state = state.map(State::name);
            let asked = paged(page, json!({ "id": webhook, "state": state }));
            show::deliveries(&client.call("webhooks.deliveries", &asked)?, as_json)
        }
        WebhookCommand::Delivery { webhook, event, body } => {
            let asked = json!({ "id": webhook, "event": event });
            show::delivery(&client.call("webhooks.delivery", &asked)?, as_json, body)
        }
        WebhookCommand::Resend(options) => resend::run(client, as_json, &options),
        WebhookCommand::Listen(_) => Err(Failure::failed("this command needs no daemon")),
    }
}

/// A text of the daemon, on one line.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    shown::plain(&text.replace(['\n', '\r', '\t'], " "))
}
