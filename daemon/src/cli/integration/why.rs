//! `mortise why`: who was told of something, who was not, and why. What is the same for many is said
//! once; `--json` has each.

use serde_json::{Value, json};

use super::which;
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, View};

/// Names that are listed behind one reason.
const MOST_NAMES: usize = 12;
/// Notes of one kind that are shown one by one.
const MOST_ALIKE: usize = 2;

/// Explains what is known of something.
pub(in crate::cli) fn run(client: &Client, as_json: bool, said: &str) -> Result<(), Failure> {
    let id = id_of(client, said)?;
    let answer = client.call("integrations.explain", &json!({ "id": id }))?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    show::print(&show::plain(&page(&answer)))
}

/// What there is to ask about has an id; some of it a name, too.
fn id_of(client: &Client, said: &str) -> Result<String, Failure> {
    match said.split('/').count() {
        2 => which::id_of(client, said),
        3 => {
            let found = client.call("snap-ins.get", &json!({ "id": said }))?;
            Ok(found["snap_in"]["id"].as_str().unwrap_or_default().to_owned())
        }
        4 => crate::cli::source::which::id_of(client, said),
        1 if said.contains('_') => Ok(said.to_owned()),
        _ => Err(Failure::refused(format!(
            "`{said}` is nothing that can be asked about: expected the id of a run, an event, an \
             occurrence, a delivery (dlv_...), a snap-in, an event source or an integration; or a name: \
             stack/namespace/snap-in, the same with /NAME for an event source of it, or TYPE/NAME of an \
             integration, such as slack/ops"
        ))),
    }
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
            // Without the number, this is somebody who may not see all of them.
            lines.push(match explained["left_out"].as_u64() {
                Some(_) => "  nobody was told: there was no integration".to_owned(),
                None => "  who was told is not shown: you may see no integration that it is about"
                    .to_owned(),
            });
        }
        lines.extend(alike(&decisions).iter().map(|it| several(it)));
        if explained["left_out"].as_u64().is_some_and(|it| it > 0) {
            lines
                .push(format!("  and {} decisions more that are not shown", explained["left_out"]));
        }
    }
    lines.extend(notes(&answer["notes"]));
    lines.join("\n")
}

/// Decisions that say the same stand together, where the first of them was. Whoever was told stands
/// alone: his message has an id.
fn alike(decisions: &[Value]) -> Vec<Vec<&Value>> {
    let mut groups: Vec<Vec<&Value>> = Vec::new();
    for it in decisions {
        let same = |other: &Value| {
            ["decision", "because"].iter().all(|key| other[*key] == it[*key])
                && it["delivery"].is_null()
                && other["delivery"].is_null()
        };
        match groups.iter_mut().find(|group| same(group[0])) {
            Some(group) => group.push(it),
            None => groups.push(vec![it]),
        }
    }
    groups
}

fn several(group: &[&Value]) -> String {
    let [first, _, ..] = group else { return group.iter().map(|it| decision(it)).collect() };
    let mut names: Vec<(String, usize)> = Vec::new();
    for it in group {
        let name = name(it);
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => *times += 1,
            None => names.push((name, 1)),
        }
    }
    let shown = names.iter().take(MOST_NAMES).map(|(name, times)| match times {
        1 => name.clone(),
        times => format!("{name} ({times} subscriptions)"),
    });
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMES {
        shown.push_str(&format!(" and {} more; --json has all", names.len() - MOST_NAMES));
    }
    let text = |key: &str| first[key].as_str().unwrap_or_default();
    format!("  {} times {} - {}\n      {shown}", group.len(), text("decision"), text("because"))
}

fn name(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or_default();
    match (text("integration_type"), text("integration_name")) {
        ("", _) | (_, "") => text("integration").to_owned(),
        (kind, name) => format!("{kind}/{name}"),
    }
}

fn decision(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or_default();
    let mut line = format!("  {}: {} - {}", name(it), text("decision"), text("because"));
    for key in ["subscription", "delivery"] {
        if !text(key).is_empty() {
            line.push_str(&format!("\n      {key} {}", text(key)));
        }
    }
    line
}

/// Notes, those about several things that say the same as one.
fn notes(notes: &Value) -> Vec<String> {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for note in notes.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let is_id = |it: &str| it.contains('_') && !it.contains(' ');
        let (id, text) = match note.split_once(": ") {
            Some((id, text)) if is_id(id) => (Some(id), text),
            Some(_) | None => (None, note),
        };
        match said.iter_mut().find(|(known, _)| *known == text) {
            Some((_, ids)) => ids.extend(id),
            None => said.push((text, id.into_iter().collect())),
        }
    }
    let line = |(text, ids): (&str, Vec<&str>)| match ids.as_slice() {
        [] => vec![text.to_owned()],
        few if few.len() <= MOST_ALIKE => few.iter().map(|id| format!("{id}: {text}")).collect(),
        many => vec![format!("{} runs, of which {} is one: {text}", many.len(), many[0])],
    };
    said.into_iter().flat_map(line).collect()
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

    #[test]
    fn who_may_see_no_integration_is_not_told_that_there_is_none() {
        let answer = |decisions: Value| {
            json!({ "occurrences": [{
                "occurrence": { "trigger": "t", "id": "occ_1", "date": "2026" },
                "decided_date": "2026", "decisions": [], "left_out": decisions,
            }] })
        };
        assert!(page(&answer(json!(0))).ends_with("nobody was told: there was no integration"));
        assert!(page(&answer(Value::Null)).contains("not shown: you may see no integration"));
    }

    #[test]
    fn what_is_the_same_for_many_is_said_once() {
        let of = |name: &str, because: &str, delivery: Value| {
            json!({
                "integration_type": "slack", "integration_name": name, "decision": "no_demand",
                "because": because, "delivery": delivery,
            })
        };
        let mut decisions =
            vec![of("a", "other triggers", Value::Null), of("told", "queued", json!("dlv_1"))];
        decisions.extend((0..20).map(|it| of(&format!("n{it}"), "other triggers", Value::Null)));
        decisions.push(of("a", "other triggers", Value::Null));
        decisions.push(of("told", "queued", json!("dlv_2")));
        let lines: Vec<String> = alike(&decisions).iter().map(|it| several(it)).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        let many =
            "  22 times no_demand - other triggers\n      slack/a (2 subscriptions), slack/n0, ";
        assert!(lines[0].starts_with(many), "{}", lines[0]);
        assert!(lines[0].ends_with("slack/n10 and 9 more; --json has all"), "{}", lines[0]);
        assert!(lines[1].contains("dlv_1") && lines[2].contains("dlv_2"), "{lines:?}");
        let said =
            json!(["run_1: it ended", "no id", "run_2: it ended", "run_3: it ended", "run_4: not"]);
        let expected = ["3 runs, of which run_1 is one: it ended", "no id", "run_4: not"];
        assert_eq!(notes(&said), expected);
    }
}
