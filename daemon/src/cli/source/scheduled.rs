//! `mortise source schedule`, `unschedule` and `scheduled`: events that are to be published later, with
//! times as people on this machine read them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cli::arguments::Page;
use crate::cli::client::paged;
use crate::cli::connection::Client;
use crate::cli::show::{self, View, plain};
use crate::cli::table::{Column, Fit, table};
use crate::cli::{Failure, payload, terminal};

const COLUMNS: [Column; 6] = [
    ("KEY", Fit::Whole),
    ("DUE", Fit::Whole),
    ("", Fit::Whole),
    ("TYPE", Fit::Cut),
    ("BYTES", Fit::Drop),
    ("BY", Fit::Drop),
];

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  mortise source schedule SOURCE reminder '{\"ticket\": 7}' --in 90m --key reminder-7
  mortise source schedule SOURCE reminder @event.json --at '2026-05-01 09:00' --key r --replace
  mortise source schedule SOURCE reminder '{}'           published at once

Automations listen to `custom:` and the type. A time without an offset is of this machine's time zone.")]
pub(in crate::cli) struct Schedule {
    /// Id, or the scope of its snap-in and its name: stack/namespace/snap-in/name
    source: String,
    /// Without `custom:`, which automations see before it
    event_type: String,
    /// Any JSON, @FILE, or - for standard input
    payload: String,
    /// Not before this time: 2026-05-01T09:00:00Z, or '2026-05-01 09:00'
    #[arg(long, value_name = "TIME", conflicts_with = "in")]
    at: Option<String>,
    /// Not before so much time has passed: 30s, 90m, 2h30m, 3d
    #[arg(long = "in", id = "in", value_name = "TIME")]
    after: Option<String>,
    /// At most one pending event of the source has this key; made up when absent
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Replace the pending event with that key, if there is one
    #[arg(long, requires = "key")]
    replace: bool,
}

/// Schedules an event and says when it will be published.
pub(super) fn schedule(client: &Client, as_json: bool, options: &Schedule) -> Result<(), Failure> {
    let text = payload::text("the payload", &options.payload)?;
    let (now, zone) = (now(), TimeZone::system());
    let at = match (&options.at, &options.after) {
        (Some(at), _) => Some(moment(at, &zone)?),
        (None, Some(after)) => Some(later(now, after)?),
        (None, None) => None,
    };
    let mut parameters = json!({
        "id": options.source,
        "event_type": options.event_type,
        "payload": STANDARD.encode(&text),
    });
    if let Some(at) = at {
        parameters["publish_at"] = json!(at.to_string());
    }
    if let Some(key) = &options.key {
        parameters["event_key"] = json!(key);
    }
    if options.replace {
        parameters["update_if_exists"] = json!(true);
    }
    let answer = client.call("event-sources.schedule", &parameters)?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    let key = plain(answer["event_key"].as_str().unwrap_or_default());
    let said = match answer["publish_date"].as_str() {
        Some(date) => {
            let verb = if answer["replaced"] == true { "replaced" } else { "scheduled" };
            format!("{verb} {key}: {} ({})", local(date, &zone), distance(date, now))
        }
        None => format!("published {key}"),
    };
    show::print(&said)
}

/// Takes an event back.
pub(super) fn unschedule(
    client: &Client,
    as_json: bool,
    source: &str,
    event_key: &str,
) -> Result<(), Failure> {
    let parameters = json!({ "id": source, "event_key": event_key });
    client.call_for_nothing("event-sources.unschedule", &parameters)?;
    show::answer(&json!({}), &View::DONE, as_json)
}

/// Lists what is pending.
pub(super) fn list(
    client: &Client,
    as_json: bool,
    source: &str,
    with_payload: bool,
    page: Page,
) -> Result<(), Failure> {
    let mut parameters = paged(page, json!({ "id": source }));
    if with_payload {
        parameters["with_payload"] = json!(true);
    }
    let answer = client.call("event-sources.list-scheduled", &parameters)?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    let rows = answer["scheduled_events"].as_array().map(Vec::as_slice).unwrap_or_default();
    show::print(&drawn(rows, now(), &TimeZone::system(), terminal::width()))?;
    if let Some(cursor) = answer["next_cursor"].as_str() {
        eprintln!("there are more, {} in all: --cursor {cursor}", answer["total"]);
    }
    Ok(())
}

fn drawn(rows: &[Value], now: Timestamp, zone: &TimeZone, width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| plain(row[key].as_str().unwrap_or_default());
            vec![
                text("event_key"),
                local(&text("publish_date"), zone),
                distance(&text("publish_date"), now),
                text("type"),
                row["payload_bytes"].to_string(),
                text("scheduled_by"),
            ]
        })
        .collect();
    table(&COLUMNS, &rows, width)
}

/// The machine's clock.
fn now() -> Timestamp {
    let now_ms = i64::try_from(crate::clock::Clock::System.now_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::MAX)
}

/// A time that somebody typed: with an offset, or of his own time zone.
fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let civil: Result<jiff::civil::DateTime, _> = text.parse();
    civil.and_then(|it| it.to_zoned(zone.clone())).map(|it| it.timestamp()).map_err(|_| {
        Failure::usage(format!(
            "`{text}` is no time: write 2026-05-01T09:00:00Z, or '2026-05-01 09:00' for this \
             machine's time zone"
        ))
    })
}

/// A time from now, such as `2h30m`.
fn later(now: Timestamp, text: &str) -> Result<Timestamp, Failure> {
    let wrong =
        || Failure::usage(format!("`{text}` is no length of time: write 30s, 90m, 2h30m or 3d"));
    let mut seconds: i64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit: i64 = match character {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count: i64 = number.parse().map_err(|_| wrong())?;
        number.clear();
        seconds =
            count.checked_mul(unit).and_then(|it| seconds.checked_add(it)).ok_or_else(wrong)?;
    }
    if text.is_empty() || !number.is_empty() {
        return Err(wrong());
    }
    now.checked_add(SignedDuration::from_secs(seconds)).map_err(|_| wrong())
}

/// A date of the API in the machine's time zone, to the second.
fn local(date: &str, zone: &TimeZone) -> String {
    match date.parse::<Timestamp>() {
        Ok(moment) => moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => date.to_owned(),
    }
}

/// How far away it is: `in 3 min`.
fn distance(date: &str, now: Timestamp) -> String {
    let Ok(moment) = date.parse::<Timestamp>() else { return String::new() };
    let seconds = moment.duration_since(now).as_secs();
    let (count, unit) = match seconds.unsigned_abs() {
        0 => return "now".to_owned(),
        it @ ..120 => (it, "s"),
        it @ ..7_200 => (it / 60, "min"),
        it @ ..172_800 => (it / 3_600, "h"),
        it => (it / 86_400, "d"),
    };
    if seconds < 0 { format!("{count} {unit} late") } else { format!("in {count} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let zone = TimeZone::get("Europe/Berlin").expect("it is bundled");
        for (text, meant) in [
            ("2026-05-01T09:00:00Z", "2026-05-01T09:00:00Z"),
            ("2026-05-01T09:00:00+05:30", "2026-05-01T03:30:00Z"),
            ("2026-05-01 09:00", "2026-05-01T07:00:00Z"),
            ("2026-01-01", "2025-12-31T23:00:00Z"),
        ] {
            assert_eq!(moment(text, &zone).expect(text), at(meant), "{text}");
        }
        assert_eq!(moment("tomorrow", &zone).expect_err("no time").exit_code, 2);
        let now = at("2026-05-01T00:00:00Z");
        for (text, meant) in [
            ("30s", "2026-05-01T00:00:30Z"),
            ("90m", "2026-05-01T01:30:00Z"),
            ("2h30m", "2026-05-01T02:30:00Z"),
            ("3d", "2026-05-04T00:00:00Z"),
        ] {
            assert_eq!(later(now, text).expect(text), at(meant), "{text}");
        }
        for text in ["", "5", "m", "3w", "-1h", "9999999999999999999d"] {
            assert_eq!(later(now, text).expect_err(text).exit_code, 2);
        }
    }

    #[test]
    fn the_table_says_when_and_how_long_that_is() {
        let zone = TimeZone::get("Europe/Berlin").expect("it is bundled");
        let row = |key: &str, date: &str| {
            json!({
                "event_key": key, "type": "custom:reminder", "publish_date": date,
                "payload_bytes": 12, "scheduled_by": "token:admin",
            })
        };
        let rows = [
            row("late\u{7}", "2026-05-01T09:59:00.000Z"),
            row("soon", "2026-05-01T10:03:10.500Z"),
            row("later", "2026-05-03T22:00:00.000Z"),
        ];
        assert_eq!(
            drawn(&rows, at("2026-05-01T10:00:00Z"), &zone, Some(80)),
            "KEY    DUE                             TYPE             BYTES  BY\n\
             late\u{fffd}  2026-05-01 11:59:00  60 s late  custom:reminder  12     token:admin\n\
             soon   2026-05-01 12:03:10  in 3 min   custom:reminder  12     token:admin\n\
             later  2026-05-04 00:00:00  in 2 d     custom:reminder  12     token:admin"
        );
    }
}
