//! `mortise webhook resend`: events that were sent or failed, once more.

use clap::Args;
use serde_json::{Value, json};

use super::given;
use crate::cli::connection::Client;
use crate::cli::{Failure, files, payload, show};

/// What one call takes.
const MOST: usize = 10_000;

#[derive(Args, Debug)]
pub(in crate::cli) struct Resend {
    /// Id of the webhook
    webhook: String,
    /// Ids of events; - reads them from standard input, one a line
    #[arg(value_name = "EVENT", required_unless_present = "since", conflicts_with_all = ["since", "until", "all"])]
    events: Vec<String>,
    /// What happened from then on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// What happened until then; now when absent
    #[arg(long, value_name = "TIME", requires = "since")]
    until: Option<String>,
    /// What was taken too
    #[arg(long, requires = "since")]
    all: bool,
}

/// Queues them again, and says how many.
pub(super) fn run(client: &Client, as_json: bool, options: &Resend) -> Result<(), Failure> {
    match &options.since {
        Some(since) => of_time(client, as_json, options, since),
        None => named(client, as_json, options),
    }
}

fn named(client: &Client, as_json: bool, options: &Resend) -> Result<(), Failure> {
    let events = match options.events.as_slice() {
        [only] if only == "-" => from_standard_input()?,
        given => given.to_vec(),
    };
    let mut queued = 0;
    for chunk in events.chunks(MOST) {
        let asked = json!({ "id": options.webhook, "events": chunk });
        queued += count(&client.call("webhooks.resend", &asked)?);
    }
    say(as_json, queued)?;
    let others = (events.len() as u64).saturating_sub(queued);
    if others > 0 {
        return Err(Failure::refused(format!(
            "{others} of {} are unknown, or waiting to be sent already",
            events.len()
        )));
    }
    Ok(())
}

fn from_standard_input() -> Result<Vec<String>, Failure> {
    payload::take_standard_input("the ids of events")?;
    let shown = "the ids of events on standard input";
    let bytes = files::bytes(std::io::stdin().lock(), files::MOST_TEXT, shown)?;
    let text = files::text(bytes, shown)?;
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn of_time(client: &Client, as_json: bool, options: &Resend, since: &str) -> Result<(), Failure> {
    let which = if options.all { "all" } else { "failed" };
    let since = given::time(since);
    let mut until = options.until.as_deref().map(given::time);
    let mut queued = 0;
    loop {
        let mut asked = json!({ "id": options.webhook, "since": since, "which": which });
        if let Some(until) = &until {
            asked["until"] = json!(until);
        }
        let answer = client.call("webhooks.resend", &asked).map_err(|failure| {
            match until.as_deref().filter(|_| queued > 0) {
                // The newest are queued: what is left is older.
                Some(until) => Failure {
                    message: format!(
                        "{}\n{queued} are queued; the others later: mortise webhook resend {} \
                         --since {since} --until {until}{}",
                        failure.message,
                        options.webhook,
                        if options.all { " --all" } else { "" },
                    ),
                    ..failure
                },
                None => failure,
            }
        })?;
        queued += count(&answer);
        match answer["more_until"].as_str() {
            // Where it does not get on, there is nothing more to be had.
            Some(more) if until.as_deref() != Some(more) => until = Some(more.to_owned()),
            Some(_) | None => return say(as_json, queued),
        }
    }
}

fn count(answer: &Value) -> u64 {
    answer["queued"].as_u64().unwrap_or_default()
}

fn say(as_json: bool, queued: u64) -> Result<(), Failure> {
    if as_json {
        return show::print(&format!("{:#}", json!({ "queued": queued })));
    }
    show::print(&format!("{queued} queued"))
}
