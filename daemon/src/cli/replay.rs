//! `mortise event replay`: stored events again, page by page when there are many.

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::connection::Client;
use super::show::{self, plain};
use super::source::which::id_of;

/// Events of one call.
const PAGE: usize = 500;

/// Which events.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// These events
    #[arg(value_name = "EVENT", required_unless_present_any = ["snap_in", "source"])]
    events: Vec<String>,
    /// Those of this snap-in: id or scope
    #[arg(long, conflicts_with = "events")]
    snap_in: Option<String>,
    /// Those of this event source: id, or the scope of its snap-in and its name
    #[arg(long, conflicts_with = "events")]
    source: Option<String>,
    /// Only those of this type
    #[arg(long = "type", conflicts_with = "events")]
    event_type: Option<String>,
    /// Only those that came at this time or later, such as 2026-01-31T22:00:00Z
    #[arg(long, conflicts_with = "events", value_name = "TIME")]
    from: Option<String>,
    /// Only those that came before this time
    #[arg(long, conflicts_with = "events", value_name = "TIME")]
    to: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Replays them, and says what became of each.
pub(super) fn run(client: &Client, as_json: bool, replay: &Replay) -> Result<(), Failure> {
    let mut said = Said::default();
    if replay.events.is_empty() {
        let source = replay.source.as_deref().map(|it| id_of(client, it)).transpose()?;
        let mut parameters = json!({
            "snap_in": replay.snap_in, "event_source": source, "type": replay.event_type,
            "from_date": replay.from, "to_date": replay.to, "dry_run": replay.dry_run, "limit": PAGE,
        });
        loop {
            let answer = client.call("events.replay", &parameters).map_err(|it| said.so_far(it))?;
            said.take(&answer, as_json)?;
            match &answer["next_cursor"] {
                Value::String(next) => parameters["cursor"] = json!(next),
                _ => break,
            }
        }
    } else {
        for events in replay.events.chunks(PAGE) {
            let parameters = json!({ "ids": events, "dry_run": replay.dry_run });
            let answer = client.call("events.replay", &parameters).map_err(|it| said.so_far(it))?;
            said.take(&answer, as_json)?;
        }
    }
    if as_json {
        let all = json!({ "events": said.events, "runs": said.runs });
        return show::print(&format!("{all:#}"));
    }
    let Said { runs, skipped, seen, .. } = said;
    let would = if replay.dry_run { "would be queued" } else { "queued" };
    show::print(&format!("{seen} events: {runs} runs {would}, {skipped} events without one"))
}

#[derive(Default)]
struct Said {
    /// For JSON only: of a person's millions, only the numbers are kept.
    events: Vec<Value>,
    seen: usize,
    runs: u64,
    skipped: usize,
    /// The event that came last.
    last: String,
}

impl Said {
    /// An error after some were replayed: whoever tries again should begin after those.
    fn so_far(&self, error: Failure) -> Failure {
        if self.seen == 0 {
            return error;
        }
        let message = format!(
            "{}\n{} events, up to {}, are done: go on with those that came after it",
            error.message, self.seen, self.last
        );
        Failure { message, ..error }
    }

    fn take(&mut self, answer: &Value, as_json: bool) -> Result<(), Failure> {
        self.runs += answer["runs"].as_u64().unwrap_or_default();
        for event in answer["events"].as_array().into_iter().flatten() {
            self.seen += 1;
            self.last = event["event"].as_str().unwrap_or_default().to_owned();
            self.skipped += usize::from(event["skipped"].is_string());
            if as_json {
                self.events.push(event.clone());
            } else {
                show::print(&plain(&line(event)))?;
            }
        }
        Ok(())
    }
}

fn line(event: &Value) -> String {
    let list = |key: &str| {
        let texts = event[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(", ")
    };
    let id = event["event"].as_str().unwrap_or_default();
    match event["skipped"].as_str() {
        Some(why) => format!("{id}  skipped: {why}"),
        None if list("runs").is_empty() => format!("{id}  would run {}", list("functions")),
        None => format!("{id}  {}", list("runs")),
    }
}
