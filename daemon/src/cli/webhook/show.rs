//! Webhooks and what they were sent, for people: pages and tables that fit a terminal. Pure but for what
//! prints them.

use serde_json::Value;

use super::text;
use crate::cli::Failure;
use crate::cli::show::{self, View, heading, plain};
use crate::cli::table::{Column, Fit, cut, table};
use crate::cli::terminal;

/// Lines of an answer that are shown.
const MOST_LINES: usize = 20;

const WEBHOOKS: [Column; 5] = [
    ("ID", Fit::Whole),
    ("STATUS", Fit::Whole),
    ("QUEUED", Fit::Drop),
    ("URL", Fit::Cut),
    ("EVENTS", Fit::Drop),
];

const DELIVERIES: [Column; 7] = [
    ("EVENT", Fit::Whole),
    ("TYPE", Fit::Cut),
    ("STATE", Fit::Whole),
    ("ANSWER", Fit::Whole),
    ("ATTEMPTS", Fit::Drop),
    ("HAPPENED", Fit::Drop),
    ("WHAT", Fit::Cut),
];

const ATTEMPTS: [Column; 4] =
    [("DATE", Fit::Whole), ("MS", Fit::Whole), ("ANSWER", Fit::Whole), ("WHAT", Fit::Cut)];

/// All webhooks.
pub(super) fn list(answer: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return show::answer(answer, &View::EVERYTHING, true);
    }
    let row = |it: &Value| {
        let (url, events) = (text(&it["url"]), joined(&it["event_types"]));
        vec![text(&it["id"]), text(&it["status"]), text(&it["queued"]), url, events]
    };
    show::print(&drawn(&WEBHOOKS, &answer["webhooks"], row, terminal::width()))
}

/// One webhook.
pub(super) fn one(answer: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return show::answer(answer, &View::EVERYTHING, true);
    }
    show::print(&page(&answer["webhook"], heading))
}

/// What a webhook was sent.
pub(super) fn deliveries(answer: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return show::answer(answer, &View::EVERYTHING, true);
    }
    show::print(&drawn(&DELIVERIES, &answer["deliveries"], delivery_row, terminal::width()))?;
    if let Some(cursor) = answer["next_cursor"].as_str() {
        eprintln!("there are more: --cursor {}", plain(cursor));
    }
    Ok(())
}

/// One event for a webhook.
pub(super) fn delivery(answer: &Value, as_json: bool, with_body: bool) -> Result<(), Failure> {
    if as_json {
        return show::answer(answer, &View::EVERYTHING, true);
    }
    show::print(&delivery_page(answer, with_body, heading, terminal::width()))
}

fn drawn(
    columns: &[Column],
    rows: &Value,
    row: impl Fn(&Value) -> Vec<String>,
    width: Option<usize>,
) -> String {
    let rows: Vec<_> = rows.as_array().into_iter().flatten().map(row).collect();
    table(columns, &rows, width)
}

fn delivery_row(it: &Value) -> Vec<String> {
    let keys = ["id", "type", "state", "last_status", "attempts", "created_date", "error"];
    keys.iter().map(|key| text(&it[*key])).collect()
}

fn joined(list: &Value) -> String {
    let all: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
    all.join(", ")
}

/// The page of a webhook. Nothing on it is cut: people copy from it.
fn page(webhook: &Value, heading: impl Fn(&str) -> String) -> String {
    let of = |key: &str| text(&webhook[key]);
    let mut lines = vec![heading(&format!("{}: {}", of("id"), of("status")))];
    if !of("reason").is_empty() {
        let reason = super::wait::with_advice(&of("reason"), &of("url"));
        lines.push(format!("  {reason}"));
    }
    lines.push(String::new());
    let headers: Vec<String> =
        webhook["headers"].as_array().into_iter().flatten().map(|it| text(&it["name"])).collect();
    let on_degraded = match webhook["on_degraded"].as_str() {
        Some("hold") => "events wait".to_owned(),
        Some("fail") => "events fail without an attempt".to_owned(),
        _ => of("on_degraded"),
    };
    let in_order =
        if webhook["in_order"] == true { "one change of an object at a time" } else { "" };
    let until = of("previous_secret_until");
    let until = if until.is_empty() { until } else { format!("signs too, until {until}") };
    for (name, value) in [
        ("url", of("url")),
        ("events", joined(&webhook["event_types"])),
        ("headers", headers.join(", ")),
        ("filter", of("filter")),
        ("when degraded", on_degraded),
        ("order", in_order.to_owned()),
        ("at once", of("concurrency")),
        ("per second", of("per_second")),
        ("queued", of("queued")),
        ("asked next", of("next_challenge_date")),
        ("created", by(webhook, "created")),
        ("modified", by(webhook, "modified")),
        ("secret before", until),
        ("secret", of("secret")),
        ("for libraries", of("standard_secret")),
    ] {
        if !value.is_empty() {
            lines.push(format!("  {name:<14}  {value}"));
        }
    }
    if !of("secret").is_empty() {
        lines.push("\nThe secret is shown this once.".to_owned());
    }
    lines.join("\n")
}

fn by(webhook: &Value, what: &str) -> String {
    let date = text(&webhook[format!("{what}_date")]);
    format!("{date} by {}", text(&webhook[format!("{what}_by")]))
}

/// The page of an event for a webhook.
fn delivery_page(
    answer: &Value,
    with_body: bool,
    heading: impl Fn(&str) -> String,
    width: Option<usize>,
) -> String {
    let of = |key: &str| text(&answer["delivery"][key]);
    let head = format!("{}: {} {}", of("id"), of("type"), of("state"));
    let mut lines = vec![heading(&head)];
    for (name, key) in [
        ("object", "object"),
        ("happened", "created_date"),
        ("sent next", "next_attempt_date"),
        ("why", "error"),
    ] {
        if !of(key).is_empty() {
            lines.push(format!("  {name:<9}  {}", of(key)));
        }
    }
    let attempts = answer["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if attempts.is_empty() {
        let yet = if answer["delivery"]["state"] == "queued" { " yet" } else { "" };
        lines.push(format!("\nIt was not sent{yet}."));
    } else {
        lines.push(format!("\n{}", heading("Attempts, oldest first")));
        let row = |it: &Value| {
            ["date", "milliseconds", "status", "error"].iter().map(|key| text(&it[*key])).collect()
        };
        lines.push(drawn(&ATTEMPTS, &answer["attempts"], row, width));
    }
    let last = attempts.last().and_then(|it| it["answer"].as_str()).unwrap_or_default().trim();
    if !last.is_empty() {
        lines.push(format!("\n{}", heading("The last answer")));
        lines.extend(block(last, width).take(MOST_LINES));
    }
    if with_body {
        lines.push(format!("\n{}", heading("The body")));
        // As it is understood: for what is signed, members have another order.
        lines.extend(format!("{:#}", answer["body"]).lines().map(|it| format!("  {}", plain(it))));
    }
    lines.join("\n")
}

fn block(text: &str, width: Option<usize>) -> impl Iterator<Item = String> {
    let most = width.unwrap_or(usize::MAX);
    text.lines().map(move |it| cut(&format!("  {}", plain(it)), most))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "whk_01k9zx6yq8n3j4v5w6x7y8z9a1";

    fn same(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn tables_fit_80_columns() {
        let error = "127.0.0.1:9000 did not answer within 3 s, as it had before that";
        let rows = json!([{
            "id": ID, "type": "timeline_entry_created", "state": "delivered", "last_status": 503,
            "attempts": 3, "created_date": "2026-05-01T09:59:00.000Z", "error": error,
        }]);
        let shown = drawn(&DELIVERIES, &rows, delivery_row, Some(80));
        assert!(shown.lines().all(|it| it.chars().count() <= 80), "{shown}");
        assert!(shown.contains(ID) && shown.contains("503"), "{shown}");
        let answer = json!({
            "delivery": rows[0],
            "attempts": [{
                "date": "2026-05-01T09:59:00.000Z", "milliseconds": 3001, "error": error,
                "answer": "",
            }, {
                "date": "2026-05-01T09:59:30.000Z", "milliseconds": 12, "status": 503,
                "error": "answered 503", "answer": format!("no\u{7}\n{}", "x".repeat(200)),
            }],
            "body": { "id": ID },
        });
        let shown = delivery_page(&answer, false, same, Some(80));
        let table = shown.split("oldest first").nth(1).unwrap_or_default();
        assert!(table.lines().all(|it| it.chars().count() <= 80), "{shown}");
        assert!(!shown.contains('\u{7}') && !shown.contains("The body"), "{shown}");
        assert!(delivery_page(&answer, true, same, None).contains("The body\n  {"));
    }

    #[test]
    fn a_page_has_the_secret_only_when_it_comes() {
        let mut webhook = json!({
            "id": ID, "status": "unverified", "url": "http://127.0.0.1:9/", "queued": 0,
            "event_types": ["work_created", "work_updated"],
            "headers": [{ "name": "authorization", "value": "********" }],
            "on_degraded": "hold", "in_order": true, "concurrency": 8,
            "created_date": "D", "created_by": "admin",
        });
        let shown = page(&webhook, same);
        assert!(shown.starts_with(&format!("{ID}: unverified\n\n  url ")), "{shown}");
        assert!(shown.contains("work_created, work_updated") && !shown.contains("***"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        webhook["secret"] = json!("s3cr3t-s3cr3t");
        assert!(page(&webhook, same).ends_with("The secret is shown this once."));
    }
}
