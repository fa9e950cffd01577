//! `mortise source`: event sources. One file for each subject that is more than one call and its table.

mod scheduled;

use clap::Subcommand;
use serde_json::json;

use super::arguments::{About, Page};
use super::client::{narrowed, paged};
use super::connection::Client;
use super::show::{self, View};
use super::{Failure, payload};

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
    let (name, parameters, view) = match command {
        SourceCommand::List { about, page } => {
            ("event-sources.list", paged(page, narrowed(about, json!({}))), View::SOURCES)
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
            let payload = payload::any("the payload", &payload)?;
            let body = json!({ "id": source, "event_type": event_type, "payload": payload });
            ("event-sources.publish", body, View::EVERYTHING)
        }
        SourceCommand::Schedule(options) => {
            return scheduled::schedule(client, as_json, &options);
        }
        SourceCommand::Unschedule { source, event_key } => {
            return scheduled::unschedule(client, as_json, &source, &event_key);
        }
        SourceCommand::Scheduled { source, with_payload, page } => {
            return scheduled::list(client, as_json, &source, with_payload, page);
        }
    };
    show::answer(&client.call(name, &parameters)?, &view, as_json)
}
