//! `mortise snap-in list`: the table. Names rather than ids of packages and versions.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::page::short_date;
use crate::cli::Failure;
use crate::cli::arguments::Page;
use crate::cli::connection::Client;
use crate::cli::show::{self, plain};
use crate::cli::table::{Column, Fit, table};
use crate::cli::terminal;

const COLUMNS: [Column; 5] = [
    ("SCOPE", Fit::Whole),
    ("STATE", Fit::Whole),
    ("VERSION", Fit::Cut),
    ("CHANGED", Fit::Drop),
    ("ID", Fit::Drop),
];

/// Lists snap-ins.
pub(super) fn list(
    client: &Client,
    as_json: bool,
    scope: Option<String>,
    state: Option<String>,
    page: Page,
) -> Result<(), Failure> {
    let mut parameters = json!({ "limit": page.limit });
    for (name, value) in [("scope", scope), ("state", state), ("cursor", page.cursor)] {
        if let Some(value) = value {
            parameters[name] = json!(value);
        }
    }
    let answer = client.call("snap-ins.list", &parameters)?;
    if as_json {
        return show::print(&format!("{answer:#}"));
    }
    let snap_ins = answer["snap_ins"].as_array().cloned().unwrap_or_default();
    let versions = version_names(client, &snap_ins)?;
    let rows: Vec<Vec<String>> = snap_ins.iter().map(|it| row(it, &versions)).collect();
    show::print(&table(&COLUMNS, &rows, terminal::width()))?;
    if snap_ins.is_empty() {
        eprintln!("none; mortise snap-in install DIR|FILE|URL installs one");
    }
    if let Some(cursor) = answer["next_cursor"].as_str() {
        eprintln!("there are more: --cursor {cursor}");
    }
    Ok(())
}

fn row(snap_in: &Value, versions: &HashMap<String, String>) -> Vec<String> {
    let of = |key: &str| snap_in[key].as_str().unwrap_or_default().to_owned();
    let version = versions.get(&of("version")).cloned().unwrap_or_default();
    let state = match snap_in["reason"].as_str() {
        Some(reason) => format!("{}: {}", of("state"), crate::cli::table::cut(reason, 40)),
        None => of("state"),
    };
    vec![of("scope"), plain(&state), version, short_date(&of("changed_date")), of("id")]
}

/// `slug number` of each version that is installed.
fn version_names(client: &Client, snap_ins: &[Value]) -> Result<HashMap<String, String>, Failure> {
    let mut names = HashMap::new();
    let mut packages: Vec<&str> = snap_ins.iter().filter_map(|it| it["package"].as_str()).collect();
    packages.sort_unstable();
    packages.dedup();
    for package in packages {
        let found = client.call("packages.get", &json!({ "id": package }))?;
        let slug = found["package"]["slug"].as_str().unwrap_or_default();
        for version in
            client.list_all("versions.list", "versions", &json!({ "package": package }))?
        {
            let id = version["id"].as_str().unwrap_or_default().to_owned();
            names.insert(id, format!("{slug} {}", version["number"]));
        }
    }
    Ok(names)
}
