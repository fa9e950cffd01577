//! `mortise source record` and `recorded`: raw requests, as they reached the trigger URL.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::raw_request;
use super::which::id_of;
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, View};

/// How often is looked for what came in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const RECORDED: View = View::Table(
    "recorded",
    &[
        ("ID", "id"),
        ("METHOD", "method"),
        ("STATUS", "status"),
        ("OUTCOME", "outcome"),
        ("REASON", "reason"),
        ("RECEIVED", "received_date"),
        ("BYTES", "body_bytes"),
    ],
);

#[derive(Args, Debug)]
#[command(after_help = "\
Recorded are requests that are refused too, also after the daemon was started again. Secrets in \
headers and query are masked, bodies are kept as they are: up to 1 MiB each and 16 MiB together, for \
7 days. Nothing is recorded while the source takes no requests.

Examples:
  mortise source record prod/team/sync/github --count 5 --follow
  mortise source record SOURCE --stop
  mortise source record SOURCE --clear")]
pub(in crate::cli) struct Record {
    /// Id, or scope of its snap-in and its name
    source: String,
    /// So many requests, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["stop", "clear"])]
    count: u32,
    /// Wait until they have come, and show each
    #[arg(long, conflicts_with_all = ["stop", "clear"])]
    follow: bool,
    /// Record no more
    #[arg(long, conflicts_with = "clear")]
    stop: bool,
    /// Forget those that were recorded
    #[arg(long)]
    clear: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  mortise source recorded prod/team/sync/github
  mortise source recorded SOURCE rec_…
  mortise source recorded SOURCE rec_… --raw > delivery.http
  mortise source test SOURCE --request delivery.http")]
pub(in crate::cli) struct Recorded {
    /// Id, or scope of its snap-in and its name
    source: String,
    /// Show this one whole
    recorded: Option<String>,
    /// As it goes over the wire: --request takes it back
    #[arg(long, requires = "recorded")]
    raw: bool,
}

/// `mortise source record`.
pub(super) fn record(client: &Client, as_json: bool, options: &Record) -> Result<(), Failure> {
    let id = id_of(client, &options.source)?;
    if options.stop || options.clear {
        let name = if options.stop { "record-stop" } else { "record-clear" };
        let answer = client.call(&format!("event-sources.{name}"), &json!({ "id": id }))?;
        return show::answer(&answer, &View::One("recording"), as_json);
    }
    let before = ids(&recorded(client, &id)?);
    let asked = json!({ "id": id, "count": options.count });
    let answer = client.call("event-sources.record", &asked)?;
    if answer["recording"]["open"] == false {
        eprintln!("the source takes no requests now: nothing is recorded until it does");
    }
    if options.follow {
        return follow(client, as_json, &id, before);
    }
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    let left = &answer["recording"]["left"];
    let which = &options.source;
    show::print(&format!("recording the next {left}; see them: mortise source recorded {which}"))
}

/// Shows each request when it has come, until none is wanted any more.
fn follow(client: &Client, as_json: bool, id: &str, mut seen: Vec<String>) -> Result<(), Failure> {
    loop {
        let answer = recorded(client, id)?;
        for it in answer["recorded"].as_array().into_iter().flatten() {
            let text = |key: &str| show::plain(it[key].as_str().unwrap_or_default());
            if seen.contains(&text("id")) {
                continue;
            }
            seen.push(text("id"));
            if as_json {
                show::print(&it.to_string())?;
                continue;
            }
            let why = match (text("reason"), text("message")) {
                (reason, message) if reason.is_empty() => message,
                (reason, message) => format!("{reason}: {message}"),
            };
            let line = format!(
                "{}  {}  {}  {} {why}",
                text("id"),
                text("method"),
                it["status"],
                text("outcome")
            );
            show::print(line.trim_end())?;
        }
        if answer["recording"]["left"] == 0 {
            return Ok(());
        }
        let left = &answer["recording"]["left"];
        client.pause(&format!("{left} more requests"), LOOK_EVERY);
    }
}

/// `mortise source recorded`.
pub(super) fn show(client: &Client, as_json: bool, options: &Recorded) -> Result<(), Failure> {
    let id = id_of(client, &options.source)?;
    let Some(one) = &options.recorded else {
        let answer = recorded(client, &id)?;
        show::answer(&answer, &RECORDED, as_json)?;
        let left = answer["recording"]["left"].as_u64().unwrap_or_default();
        if left > 0 && !as_json {
            eprintln!("{left} more are recorded when they come");
        }
        return Ok(());
    };
    let asked = json!({ "id": id, "recorded": one });
    let answer = client.call("event-sources.get-recorded", &asked)?;
    if !options.raw {
        return show::answer(&answer, &View::One("recorded"), as_json);
    }
    let shown = &answer["recorded"];
    if shown["cut_body_sha256"].is_string() {
        eprintln!("only the beginning of its {} bytes of body was kept", shown["body_bytes"]);
    }
    let masked: Vec<_> =
        shown["masked"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !masked.is_empty() {
        eprintln!("masked: {}", show::plain(&masked.join(", ")));
    }
    let raw = raw_request::write(&shown["request"]).map_err(Failure::failed)?;
    print_bytes(&raw)
}

fn recorded(client: &Client, id: &str) -> Result<Value, Failure> {
    client.call("event-sources.recorded", &json!({ "id": id }))
}

fn ids(answer: &Value) -> Vec<String> {
    let all = answer["recorded"].as_array().into_iter().flatten();
    all.filter_map(|it| Some(it["id"].as_str()?.to_owned())).collect()
}

/// Bytes as they are; that nobody reads on is no failure.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
