//! `mortise why`: who was told of something, who was not, and why.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, View};

/// Explains what is known of an id.
pub(in crate::cli) fn run(client: &Client, as_json: bool, id: &str) -> Result<(), Failure> {
    let answer = client.call("integrations.explain", &json!({ "id": id }))?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    show::print(&show::plain(&page(&answer)))
}

fn page(answer: &Value) -> String {
    let mut lines = Vec::new();
    let occurrences = answer["occurrences"].as_array().into_iter().flatten();
    for explained in occurrences {
        let occurrence = &explained["occurrence"];
        let text = |key: &str| occurrence[key].as_str().unwrap_or_default().to_owned();
        lines.push(format!("{}  {}  {}", text("trigger"), text("id"), text("date")));
        let place = text("scope");
        if !place.is_empty() {
            lines.push(format!("  at {place}"));
        }
        if explained["decided_date"].is_null() {
            lines.push("  it was not decided yet who is told".to_owned());
        }
        let decisions = explained["decisions"].as_array().cloned().unwrap_or_default();
        if decisions.is_empty() && !explained["decided_date"].is_null() {
            lines.push("  nobody was told: there was no integration".to_owned());
        }
        lines.extend(decisions.iter().map(decision));
        if explained["left_out"].as_u64().is_some_and(|it| it > 0) {
            lines
                .push(format!("  and {} decisions more that are not shown", explained["left_out"]));
        }
    }
    for note in answer["notes"].as_array().into_iter().flatten() {
        lines.push(note.as_str().unwrap_or_default().to_owned());
    }
    lines.join("\n")
}

fn decision(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or_default();
    let name = match (text("integration_type"), text("integration_name")) {
        ("", _) | (_, "") => text("integration").to_owned(),
        (kind, name) => format!("{kind}/{name}"),
    };
    let mut line = format!("  {name}: {} - {}", text("decision"), text("because"));
    for key in ["subscription", "delivery"] {
        if !text(key).is_empty() {
            line.push_str(&format!("\n      {key} {}", text(key)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_who_was_told_and_who_was_not() {
        let answer = json!({
            "occurrences": [{
                "occurrence": {
                    "trigger": "snap_in.failed", "id": "occ_1", "date": "2026", "scope": "a/b/c",
                },
                "decided_date": "2026",
                "decisions": [
                    {
                        "integration_type": "slack", "integration_name": "ops", "integration": "itg_1",
                        "decision": "told", "because": "it was delivered", "subscription": "sub_1",
                        "delivery": "dlv_1",
                    },
                    {
                        "integration": "itg_2", "decision": "no_supply",
                        "because": "the integration is not supplied to this scope",
                    },
                ],
                "left_out": 2,
            }],
            "notes": ["run_1: it has not ended"],
        });
        assert_eq!(
            page(&answer),
            "snap_in.failed  occ_1  2026\n  at a/b/c\n  slack/ops: told - it was delivered\n      \
             subscription sub_1\n      delivery dlv_1\n  itg_2: no_supply - the integration is not \
             supplied to this scope\n  and 2 decisions more that are not shown\nrun_1: it has not ended"
        );
    }
}
