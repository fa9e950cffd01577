//! `mortise audit`: who changed what, whether the log is as it was written, and the log elsewhere.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Failure;
use super::arguments::Page;
use super::client::{paged, without_nulls};
use super::connection::Client;
use super::show::{self, View};

/// Rows that one call of an export asks for.
const PAGE: usize = 500;

pub(super) const ROWS: View = View::Table(
    "rows",
    &[
        ("SEQ", "seq"),
        ("DATE", "said_date"),
        ("WHO", "who"),
        ("CALL", "call"),
        ("OUTCOME", "said_outcome"),
        ("WHAT", "said_target"),
        ("PEER", "peer"),
    ],
);

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List what was changed and what was refused, newest first
    #[command(after_help = "\
Shown is what was asked for, to the minute; --json has the rest: what was sent, and what was \
different before and after, with secrets masked. `unknown` is a call that began and of which nobody \
knows how it ended, because the daemon was killed. Calls that were refused are counted, and written \
down once a minute. A change that was refused when it had begun already is `failed 403`, among the \
changes.

Examples:
  mortise audit list --call snap-ins. --from 2026-01-31T00:00:00Z
  mortise audit list --who user:ada
  mortise audit list --refused
  mortise audit list --target prod/team/sync --json | jq '.rows[] | {date, who, before, after}'")]
    List {
        /// Only this call; one that ends in a dot stands for all that begin so
        #[arg(long)]
        call: Option<String>,
        /// Only what this one did: such as user:ada, token:ci, uid:0, or an id
        #[arg(long)]
        who: Option<String>,
        /// Only what came from this IP address, or unix:UID
        #[arg(long)]
        peer: Option<String>,
        /// Only what is about this: by id, or by the name, scope or TYPE/NAME that it had then
        #[arg(long, value_name = "NAME|ID")]
        target: Option<String>,
        /// Only calls that were refused before they began, by caller, call and minute
        #[arg(long, conflicts_with = "changes")]
        refused: bool,
        /// Only changes, those that failed too
        #[arg(long)]
        changes: bool,
        /// Not before: RFC 3339
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Before: RFC 3339
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Say whether the log is as it was written
    #[command(after_help = "\
It ends with a place and a hash. Whoever keeps those elsewhere, and hands them in the next time, learns \
whether rows were taken from the end, too.

Examples:
  mortise audit verify
  mortise audit verify --known 1234:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9")]
    Verify {
        /// A place and its hash, as the last time ended with
        #[arg(long, value_name = "SEQ:HASH", value_parser = known)]
        known: Option<Known>,
    },
    /// Print the log as lines of JSON, oldest first
    #[command(after_help = "\
Each line is {\"seq\", \"hash\", \"row\"}: the hash is the SHA-256 of the hash of the line before (32 bytes; \
zeros before row 1) and of the bytes of `row` as they stand there. When rows before the first were \
pruned, standard error has the hash that it is chained to.

Examples:
  mortise audit export > audit.jsonl
  mortise audit export --from 1235 >> audit.jsonl")]
    Export {
        /// The first place
        #[arg(long, value_name = "SEQ", default_value_t = 1)]
        from: u64,
    },
}

/// A place of the log and its hash.
#[derive(Clone, Debug)]
pub(super) struct Known {
    seq: u64,
    hash: String,
}

fn known(text: &str) -> Result<Known, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
    match parts {
        Some((seq, hash)) if hash.len() == 64 => Ok(Known { seq, hash: hash.to_owned() }),
        Some(_) | None => Err("expected a number, a colon, and a hash of 64 digits".to_owned()),
    }
}

/// Makes the calls and shows what came back.
pub(super) fn run(client: &Client, as_json: bool, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { call, who, peer, target, refused, changes, from, until, page } => {
            let kind = if refused { Some("refused") } else { changes.then_some("changes") };
            let asked = json!({
                "call": call, "who": who, "peer": peer, "target": target, "kind": kind,
                "from": from, "until": until,
            });
            let mut answer = client.call("audit.list", &paged(page, asked))?;
            if !as_json {
                answer["rows"].as_array_mut().into_iter().flatten().for_each(say);
            }
            show::answer(&answer, &ROWS, as_json)
        }
        AuditCommand::Verify { known } => verify(client, as_json, known.as_ref()),
        AuditCommand::Export { from } => export(client, from),
    }
}

fn say(row: &mut Value) {
    let date = row["date"].as_str().unwrap_or_default();
    let date: String = date.chars().take(16).map(|it| if it == 'T' { ' ' } else { it }).collect();
    let outcome = row["outcome"].as_str().unwrap_or_default();
    let outcome = match (row["times"].as_u64(), row["status"].as_u64()) {
        (Some(times), Some(status)) => format!("{status} x{times}"),
        (Some(times), None) => format!("{outcome} x{times}"),
        (None, Some(status @ 400..)) => format!("{outcome} {status}"),
        (None, _) => outcome.to_owned(),
    };
    row["said_target"] = target_of(row).into();
    row["said_date"] = date.into();
    row["said_outcome"] = outcome.into();
}

/// What a row is about: by a name that it had then, rather than by its id.
fn target_of(row: &Value) -> String {
    let target = row["target"].as_str().unwrap_or_default();
    let is_id = target.split_once('_').is_some_and(|(_, it)| it.len() == 26);
    // Other things that were named have a kind before a colon.
    let names = row["also"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.filter(|it| !it.contains(':')).collect();
    let best = names.iter().find(|it| it.contains('/')).or_else(|| names.first());
    best.filter(|_| is_id).map_or(target, |it| it).to_owned()
}

fn verify(client: &Client, as_json: bool, known: Option<&Known>) -> Result<(), Failure> {
    let mut asked = json!({});
    if let Some(known) = known {
        asked = json!({ "known_seq": known.seq, "known_hash": known.hash });
    }
    let mut checked = 0;
    let mut known_is_pruned = false;
    let answer = loop {
        let answer = client.call("audit.verify", &asked)?;
        known_is_pruned |= answer["known_is_pruned"] == json!(true);
        checked += answer["checked"].as_u64().unwrap_or_default();
        match answer["next_cursor"].as_str() {
            Some(cursor) => asked = json!({ "cursor": cursor }),
            None => break answer,
        }
    };
    if as_json {
        let mut answer = answer.clone();
        answer["checked"] = checked.into();
        answer["known_is_pruned"] = known_is_pruned.into();
        show::answer(&answer, &View::EVERYTHING, true)?;
    }
    let text = |key: &str| show::plain(answer[key].as_str().unwrap_or_default());
    if answer["ok"] != json!(true) {
        let (seq, problem) = (&answer["first_broken"], text("problem"));
        return Err(Failure::refused(format!("the log is broken at row {seq}: {problem}")));
    }
    if as_json {
        return Ok(());
    }
    if answer["last_seq"] == json!(0) {
        return show::print("the log has no rows yet");
    }
    let mut said = format!("{checked} rows are as they were written");
    if let Some(date) = answer["first_date"].as_str() {
        said.push_str(&format!(", from row {} of {} on", answer["first_seq"], show::plain(date)));
    }
    if let Some(known) = known.filter(|_| known_is_pruned) {
        said.push_str(&format!(
            "\nrow {}, whose hash is known, was pruned since: nothing is left to compare it with, and the \
             rest is whole; know the last row from now on",
            known.seq
        ));
    }
    said.push_str(&before(&answer["pruned"]).map(|it| format!("\n{it}")).unwrap_or_default());
    show::print(&format!("{said}\nthe last is\n{}:{}", answer["last_seq"], text("last_hash")))
}

/// What there was before the first row, in words.
fn before(pruned: &Value) -> Option<String> {
    let text = |key: &str| show::plain(pruned[key].as_str().unwrap_or_default());
    pruned["last_seq"].as_u64().map(|last| {
        format!(
            "rows up to {last} were pruned on {}, as audit.keep_days says; {last} had the hash\n{}",
            text("date"),
            text("last_hash")
        )
    })
}

fn export(client: &Client, from: u64) -> Result<(), Failure> {
    let mut cursor = Some(format!("{from:x}"));
    let mut is_first = true;
    while let Some(place) = cursor {
        let asked = without_nulls(json!({ "limit": PAGE, "cursor": place }));
        let answer = client.call("audit.export", &asked)?;
        // Whoever checks the chain needs what it begins with.
        if is_first
            && answer["pruned"]["last_seq"].as_u64().is_some_and(|it| it >= from)
            && let Some(said) = before(&answer["pruned"])
        {
            eprintln!("{said}");
        }
        is_first = false;
        let lines = answer["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let lines: Vec<&str> = lines.collect();
        if !lines.is_empty() {
            show::print(&lines.join("\n"))?;
        }
        cursor = answer["next_cursor"].as_str().map(str::to_owned);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_said_in_one_line() {
        let said = |mut row: Value| {
            say(&mut row);
            (row["said_date"].clone(), row["said_outcome"].clone())
        };
        let date = "2026-01-31T12:00:00.000Z";
        let done = said(json!({ "date": date, "outcome": "done", "status": 200 }));
        assert_eq!(done, (json!("2026-01-31 12:00"), json!("done")));
        let failed = said(json!({ "date": date, "outcome": "failed", "status": 409 }));
        assert_eq!(failed.1, "failed 409");
        let refused =
            said(json!({ "date": date, "outcome": "refused", "status": 401, "times": 3 }));
        assert_eq!(refused.1, "401 x3");
    }

    #[test]
    fn rows_are_about_names_rather_than_ids() {
        let id = "itg_01k00000000000000000000000";
        let of = |target: &str, also: Value| target_of(&json!({ "target": target, "also": also }));
        assert_eq!(of(id, json!(["ops", "slack/ops"])), "slack/ops");
        assert_eq!(of(id, json!(["user:ada"])), id, "that is whom it was granted to");
        assert_eq!(of("ada", json!(["usr_1"])), "ada");
    }

    #[test]
    fn a_known_place_is_a_number_and_a_hash() {
        assert!(known(&format!("7:{}", "a".repeat(64))).is_ok_and(|it| it.seq == 7));
        for wrong in ["", "7", "7:", "x:aa", ":"] {
            assert!(known(wrong).is_err(), "{wrong}");
        }
    }
}
