//! `mortise source`: event sources. One file for each subject that is more than one call and its table.

mod dry_run;
mod raw_request;
mod recorded;
mod scheduled;
mod which;

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
    /// Show an event source and how to set it up
    Get { source: String },
    /// Show what an event source had to say lately
    Logs { source: String },
    /// Take no events for a while
    Pause { source: String },
    /// Take events again
    Resume { source: String },
    /// Publish an event by hand
    Publish {
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
        source: String,
        /// The key that it was scheduled with
        event_key: String,
    },
    /// List events that are to be published later, next due first
    #[command(after_help = "Examples:
  mortise source scheduled SOURCE
  mortise source scheduled SOURCE --json --with-payload")]
    Scheduled {
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
        SourceCommand::Get { source } => ("event-sources.get", which(&source)?, View::SOURCE),
        SourceCommand::Logs { source } => ("event-sources.logs", which(&source)?, View::SOURCE_LOG),
        SourceCommand::Pause { source } => ("event-sources.pause", which(&source)?, View::SOURCE),
        SourceCommand::Resume { source } => ("event-sources.resume", which(&source)?, View::SOURCE),
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
