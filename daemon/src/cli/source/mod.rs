//! `mortise source`: event sources. One file for each subject that is more than one call and its table.

mod dry_run;
mod page;
mod raw_request;
mod recorded;
mod scheduled;
pub(super) mod which;

use clap::Subcommand;
use serde_json::json;

use super::arguments::{About, Page};
use super::client::{narrowed, paged};
use super::connection::Client;
use super::show::{self, View};
use super::{Failure, payload};
use which::id_of;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SourceCommand {
    /// List event sources
    List {
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        page: Page,
    },
    /// Show all about an event source on one page: what came, what became of it, and why not
    #[command(after_help = "Examples:
  mortise source show prod/team/sync/github       scope of the snap-in, and name of the source
  mortise source show SOURCE --json | jq .event_source.counts")]
    Show {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Show an event source and how to set it up
    Get {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Show what an event source had to say lately
    Logs {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Show what did not become an event lately, where it came from, and why
    #[command(after_help = "\
The last 100 are kept, until the daemon stops. What is the same is one line; TIMES says how often it \
came.

Examples:
  mortise source refusals prod/team/sync/github
  mortise source refusals SOURCE --json | jq '.refusals[] | select(.reason == \"bad_signature\")'")]
    Refusals {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Take no events for a while
    Pause {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Take events again
    Resume {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Take no events until somebody unblocks it, also over upgrades
    #[command(after_help = "\
It answers 404, as a paused one does, and cannot be resumed.

Example:
  mortise source block prod/team/sync/github --reason 'its sender floods us, ticket 4711'")]
    Block {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
        /// Why, for whoever wonders
        #[arg(long)]
        reason: String,
    },
    /// Take events again after it was blocked; one that was paused before is paused again
    #[command(after_help = "Example:
  mortise source unblock prod/team/sync/github")]
    Unblock {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
    },
    /// Give it another trigger URL; the one before goes on working for a while
    #[command(after_help = "\
Both trigger URLs work until the overlap ends; the one before answers 404 then. Where the manifest says \
how the source is registered at an external system, that is done again at once. Rotating again ends the \
oldest one at once.

Examples:
  mortise source rotate-token prod/team/sync/github
  mortise source rotate-token SOURCE --overlap-seconds 0      # it has leaked")]
    RotateToken {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
        /// For how long the one before goes on working: 0 to 2592000, a day when absent
        #[arg(long, value_name = "SECONDS")]
        overlap_seconds: Option<u64>,
    },
    /// Publish an event by hand
    Publish {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
        /// As automations name it, such as `custom:my-event`
        event_type: String,
        /// Any JSON, @FILE, or - for standard input
        payload: String,
    },
    /// Try a request, an event or a wake-up: shows what would come of it, and stores nothing
    Test(dry_run::Test),
    /// Keep the next requests that reach the trigger URL, for looking at them
    Record(recorded::Record),
    /// Show requests that were recorded
    Recorded(recorded::Recorded),
    /// Publish an event later
    Schedule(scheduled::Schedule),
    /// Take back an event that is to be published later
    #[command(after_help = "Example:
  mortise source unschedule SOURCE reminder-7")]
    Unschedule {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
        /// The key that it was scheduled with
        event_key: String,
    },
    /// List events that are to be published later, next due first
    #[command(after_help = "Examples:
  mortise source scheduled SOURCE
  mortise source scheduled SOURCE --json --with-payload")]
    Scheduled {
        /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
        source: String,
        /// Show the events themselves too, with --json
        #[arg(long, requires = "json")]
        with_payload: bool,
        #[command(flatten)]
        page: Page,
    },
}

/// Does what a command about sources says.
pub(super) fn run(client: &Client, as_json: bool, command: SourceCommand) -> Result<(), Failure> {
    let which = |source: &str| Ok::<_, Failure>(json!({ "id": id_of(client, source)? }));
    let (name, parameters, view) = match command {
        SourceCommand::List { about, page } => {
            ("event-sources.list", paged(page, narrowed(about, json!({}))), View::SOURCES)
        }
        SourceCommand::Show { source } => {
            return page::show(client, as_json, &id_of(client, &source)?);
        }
        SourceCommand::Get { source } => ("event-sources.get", which(&source)?, View::SOURCE),
        SourceCommand::Logs { source } => ("event-sources.logs", which(&source)?, View::SOURCE_LOG),
        SourceCommand::Refusals { source } => {
            ("event-sources.refusals", which(&source)?, View::REFUSALS)
        }
        SourceCommand::Pause { source } => ("event-sources.pause", which(&source)?, View::SOURCE),
        SourceCommand::Resume { source } => ("event-sources.resume", which(&source)?, View::SOURCE),
        SourceCommand::Block { source, reason } => {
            let body = json!({ "id": id_of(client, &source)?, "reason": reason });
            ("event-sources.block", body, View::SOURCE)
        }
        SourceCommand::Unblock { source } => {
            ("event-sources.unblock", which(&source)?, View::SOURCE)
        }
        SourceCommand::RotateToken { source, overlap_seconds } => {
            let mut body = which(&source)?;
            if let Some(seconds) = overlap_seconds {
                body["overlap_seconds"] = json!(seconds);
            }
            ("event-sources.rotate-token", body, View::SOURCE)
        }
        SourceCommand::Publish { source, event_type, payload } => {
            let payload = payload::any("the payload", &payload)?;
            let id = id_of(client, &source)?;
            let body = json!({ "id": id, "event_type": event_type, "payload": payload });
            ("event-sources.publish", body, View::EVERYTHING)
        }
        SourceCommand::Test(options) => return dry_run::run(client, as_json, &options),
        SourceCommand::Record(options) => return recorded::record(client, as_json, &options),
        SourceCommand::Recorded(options) => return recorded::show(client, as_json, &options),
        SourceCommand::Schedule(options) => {
            return scheduled::schedule(client, as_json, &options);
        }
        SourceCommand::Unschedule { source, event_key } => {
            return scheduled::unschedule(client, as_json, &id_of(client, &source)?, &event_key);
        }
        SourceCommand::Scheduled { source, with_payload, page } => {
            return scheduled::list(client, as_json, &id_of(client, &source)?, with_payload, page);
        }
    };
    show::answer(&client.call(name, &parameters)?, &view, as_json)
}
