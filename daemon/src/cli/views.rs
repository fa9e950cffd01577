//! `mortise view`: saved questions about objects, and the tables that answer them.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::arguments::Page;
use super::client::paged;
use super::connection::Client;
use super::show::{self, View};
use super::table::{self, Fit};
use super::{Failure, payload, terminal};

const VIEWS: View = View::Table(
    "views",
    &[
        ("NAME", "name"),
        ("TYPE", "object_type"),
        ("TITLE", "title"),
        ("SORTED BY", "/sort_by/0"),
        ("CHANGED", "modified_date"),
        ("DESCRIPTION", "description"),
    ],
);

#[derive(Debug, Subcommand)]
pub(super) enum ViewCommand {
    /// List views
    List {
        /// Only those of this type of objects, such as work
        #[arg(long = "type", value_name = "TYPE")]
        object_type: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show the table of a view
    #[command(after_help = "Examples:
  mortise view show open-tickets
  mortise view show open-tickets --limit 20
  mortise view show open-tickets --json | jq '.rows[].cells'")]
    Show {
        /// Name or id
        view: String,
        #[command(flatten)]
        page: Page,
    },
    /// Show what a view asks for, and which columns it has
    Get {
        /// Name or id
        view: String,
    },
    /// Create a view
    #[command(after_help = "\
Only indexed fields can be filtered and sorted by: mortise object-type get TYPE. Columns are paths with \
dots into the object as it is shown, with a title behind `=`; --column can be given several times.

Examples:
  mortise view create open-tickets --type work --filter '{\"type\": \"ticket\", \"stage.name\": \"queued\"}'
  mortise view create late --type work --sort target_close_date \\
    --column display_id=Nr --column title --column owned_by.display_name=Owner
  mortise view create late --replace --type work --sort target_close_date")]
    Create {
        /// Unique on the host: a-z, 0-9, `-`, `_`, `.`
        name: String,
        /// The type of its objects, such as work
        #[arg(long = "type", value_name = "TYPE")]
        object_type: String,
        /// Which of them: a JSON object, @FILE, or - for standard input
        #[arg(long, value_name = "JSON", default_value = "{}")]
        filter: String,
        /// In which order: a field, with `:desc` behind it for the greatest first
        #[arg(long, value_name = "FIELD[:desc]")]
        sort: Vec<String>,
        /// What is shown of each
        #[arg(long, value_name = "PATH[=TITLE]")]
        column: Vec<String>,
        /// What stands above the table
        #[arg(long)]
        title: Option<String>,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// Put it in the place of the view of that name
        #[arg(long)]
        replace: bool,
    },
    /// Delete a view; its objects stay
    Delete {
        /// Name or id
        view: String,
    },
}

/// Does what a command about views says.
pub(super) fn run(client: &Client, as_json: bool, command: ViewCommand) -> Result<(), Failure> {
    match command {
        ViewCommand::List { object_type, page } => {
            let mut asked = paged(page, json!({}));
            if let Some(object_type) = object_type {
                asked["object_type"] = object_type.into();
            }
            show::answer(&client.call("views.list", &asked)?, &VIEWS, as_json)
        }
        ViewCommand::Show { view, page } => {
            let answer = client.call("views.run", &paged(page, json!({ "id": view })))?;
            if as_json {
                return show::answer(&answer, &View::EVERYTHING, true);
            }
            for warning in answer["warnings"].as_array().into_iter().flatten() {
                eprintln!("{}", show::plain(warning.as_str().unwrap_or_default()));
            }
            let drawn = draw(&answer, terminal::width());
            if let Some(title) = answer["view"]["title"].as_str() {
                show::print(&show::heading(&show::plain(title)))?;
            }
            show::print(&drawn.table)?;
            if !drawn.left_out.is_empty() {
                let names = drawn.left_out.join(", ");
                eprintln!("too narrow for: {names}; --json shows everything");
            }
            if let Some(cursor) = answer["next_cursor"].as_str() {
                eprintln!("there are more: --cursor {cursor}");
            }
            Ok(())
        }
        ViewCommand::Get { view } => {
            let answer = client.call("views.get", &json!({ "id": view }))?;
            show::answer(&answer, &View::One("view"), as_json)
        }
        ViewCommand::Create {
            name,
            object_type,
            filter,
            sort,
            column,
            title,
            description,
            replace,
        } => {
            let mut view = json!({
                "object_type": object_type,
                "filter": payload::object("the filter", &filter)?,
                "sort_by": sort,
                "columns": column.iter().map(|it| column_of(it)).collect::<Vec<_>>(),
                "title": title,
                "description": description,
            });
            let is_there = replace && client.try_call("views.get", &json!({ "id": name }))?.is_ok();
            let call = if is_there { "views.update" } else { "views.create" };
            view[if is_there { "id" } else { "name" }] = name.into();
            show::answer(&client.call(call, &view)?, &View::One("view"), as_json)
        }
        ViewCommand::Delete { view } => {
            let answer = client.call("views.delete", &json!({ "id": view }))?;
            show::answer(&answer, &View::DONE, as_json)
        }
    }
}

fn column_of(text: &str) -> Value {
    match text.split_once('=') {
        Some((path, title)) => json!({ "path": path, "title": title }),
        None => json!({ "path": text }),
    }
}

/// A table, and the titles of columns that the terminal has no room for.
#[derive(Debug, PartialEq)]
struct Drawn {
    table: String,
    left_out: Vec<String>,
}

/// What a column needs at least.
const LEAST: usize = 12;
const GAP: usize = 2;

/// Pure: the width is handed in.
fn draw(answer: &Value, width: Option<usize>) -> Drawn {
    let none = Vec::new();
    let columns = answer["columns"].as_array().unwrap_or(&none);
    let text = |value: &Value| show::plain(value.as_str().unwrap_or_default());
    let titles: Vec<String> = columns
        .iter()
        .map(|it| {
            let title = if it["title"].is_string() { &it["title"] } else { &it["path"] };
            text(title).to_uppercase()
        })
        .collect();
    let rows = answer["rows"].as_array().unwrap_or(&none);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| (0..titles.len()).map(|at| cell(&row["cells"][at])).collect())
        .collect();
    let fits: Vec<Fit> = columns.iter().map(|it| fit(&text(&it["path"]))).collect();
    let kept = match width {
        Some(width) => how_many_fit(&titles, &fits, &cells, width),
        None => titles.len(),
    };
    let heads: Vec<_> = titles.iter().map(String::as_str).zip(fits).take(kept).collect();
    let cells: Vec<Vec<String>> =
        cells.into_iter().map(|row| row.into_iter().take(kept).collect()).collect();
    Drawn { table: table::table(&heads, &cells, width), left_out: titles[kept..].to_vec() }
}

/// Ids are copied; of everything else the beginning says what it is.
fn fit(path: &str) -> Fit {
    match path.rsplit('.').next() {
        Some("id" | "display_id") => Fit::Whole,
        Some(_) | None => Fit::Cut,
    }
}

/// As many from the left as there is room for when all are cut as far as they may be; at least one.
fn how_many_fit(titles: &[String], fits: &[Fit], cells: &[Vec<String>], width: usize) -> usize {
    let mut taken = 0;
    for (at, title) in titles.iter().enumerate() {
        let lengths = cells.iter().map(|row| row[at].chars().count());
        let whole = lengths.chain([title.chars().count()]).max().unwrap_or_default();
        let least = match fits[at] {
            Fit::Whole => whole,
            Fit::Cut | Fit::Drop => whole.min(LEAST),
        };
        taken += least + if at == 0 { 0 } else { GAP };
        if taken > width && at > 0 {
            return at;
        }
    }
    titles.len()
}

/// One line, whatever the value holds: of an object its name, of a list each item.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(&date(text).unwrap_or_else(|| text.clone())),
        Value::Bool(it) => if *it { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => match name_of(members) {
            Some(name) => one_line(name),
            None => one_line(&value.to_string()),
        },
    }
}

/// To the minute: seconds are seldom what somebody looks for in a table.
fn date(text: &str) -> Option<String> {
    let is_time = text.len() >= 20
        && text.is_ascii()
        && text.ends_with('Z')
        && text.as_bytes().get(10) == Some(&b'T')
        && text[..10].bytes().all(|it| it.is_ascii_digit() || it == b'-');
    is_time.then(|| format!("{} {}", &text[..10], &text[11..16]))
}

/// What an object is called: a reference comes with the title of what it leads to.
fn name_of(members: &Map<String, Value>) -> Option<&str> {
    let known = ["display_name", "name", "title", "full_name"];
    let text = |key: &str| members.get(key).and_then(Value::as_str).filter(|it| !it.is_empty());
    known.into_iter().chain(["display_id", "id"]).find_map(text).or_else(|| {
        // A tag with its value is an object around a reference.
        members.values().find_map(|it| name_of(it.as_object()?))
    })
}

fn one_line(text: &str) -> String {
    show::plain(&text.replace(['\n', '\r', '\t'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({
            "columns": [
                { "path": "display_id", "title": "Nr" },
                { "path": "title" },
                { "path": "owned_by" },
                { "path": "modified_date", "title": "Changed" },
            ],
            "rows": [
                { "id": "work_1", "cells": [
                    "ISS-1", "Stairs are\nout of order again",
                    [{ "id": "devu_1", "display_id": "DEVU-1", "display_name": "Ada" },
                     { "id": "devu_2", "display_id": "DEVU-2" }],
                    "2026-11-21T16:00:59.123Z",
                ] },
                { "id": "work_2", "cells": ["ISS-12", true, [], null] },
            ],
        })
    }

    #[test]
    fn references_are_shown_by_name_and_times_to_the_minute() {
        let drawn = draw(&answer(), None);
        assert_eq!(
            drawn.table,
            "NR      TITLE                          OWNED_BY     CHANGED\n\
             ISS-1   Stairs are out of order again  Ada, DEVU-2  2026-11-21 16:00\n\
             ISS-12  yes"
        );
        assert!(drawn.left_out.is_empty());
    }

    #[test]
    fn the_table_fits_the_terminal() {
        for width in [72, 60, 50, 40, 30, 20, 10] {
            let drawn = draw(&answer(), Some(width));
            let widest = drawn.table.lines().map(|it| it.chars().count()).max().unwrap_or_default();
            assert!(widest <= width.max(6), "{width}:\n{}", drawn.table);
            assert!(drawn.table.contains("ISS-12"), "{width}: ids stay:\n{}", drawn.table);
        }
        assert_eq!(draw(&answer(), Some(30)).left_out, ["OWNED_BY", "CHANGED"]);
    }

    #[test]
    fn what_an_object_is_called_is_found() {
        for (value, shown) in [
            (json!({ "tag": { "id": "tag_1", "name": "vip" }, "value": "x" }), "vip"),
            (json!({ "name": "queued", "ordinal": 1 }), "queued"),
            (json!({ "id": "devu_1", "type": "dev_user" }), "devu_1"),
            (json!({ "a": 1 }), "{\"a\":1}"),
            (json!("2026-13-99 is no time"), "2026-13-99 is no time"),
            (json!("\u{1b}[31mred"), "\u{fffd}[31mred"),
        ] {
            assert_eq!(cell(&value), shown, "{value}");
        }
    }
}
