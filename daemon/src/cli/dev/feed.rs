//! What happens to a snap-in, as it comes: events, runs with their logs, and what its event sources
//! have to say. Ids only grow, so what is new is what has a higher id than the last.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::say::Say;
use crate::cli::Failure;
use crate::cli::connection::Client;

/// Pages of a list that are read at once; what is older than that is left out.
const MOST_PAGES: usize = 10;
/// Open runs that are asked about at once.
const MOST_OPEN: usize = 50;

/// What was seen so far.
pub(super) struct Feed {
    snap_in: String,
    /// The last of each list.
    event: String,
    run: String,
    /// Runs that have not ended.
    open: BTreeMap<String, Shown>,
    /// Names of event sources, by id.
    sources: BTreeMap<String, String>,
    /// Lines of sources that were shown, by source.
    said: BTreeMap<String, Vec<(String, u64)>>,
    is_first_look_at_sources: bool,
}

/// What was shown of a run.
#[derive(Default)]
struct Shown {
    state: String,
    attempts: usize,
    lines: BTreeSet<String>,
}

impl Shown {
    /// Lines of an attempt that is on.
    fn say_so_far(&mut self, run: &Value, say: &mut Say) -> Result<(), Failure> {
        let lines = run["logs_so_far"].as_array().map(Vec::as_slice).unwrap_or_default();
        let new: Vec<&Value> =
            lines.iter().filter(|it| self.lines.insert(it.to_string())).collect();
        if new.is_empty() { Ok(()) } else { say.log(run, &new) }
    }
}

impl Feed {
    /// From the beginning: nothing was before.
    pub(super) fn of_new(snap_in: &str) -> Feed {
        Feed::after(snap_in, String::new(), String::new())
    }

    /// From here on.
    pub(super) fn begin(client: &Client, snap_in: &str) -> Result<Feed, Failure> {
        let last = |name: &str, key: &str| -> Result<String, Failure> {
            let answer = client.call(name, &json!({ "snap_in": snap_in, "limit": 1 }))?;
            Ok(answer[key][0]["id"].as_str().unwrap_or_default().to_owned())
        };
        let (event, run) = (last("events.list", "events")?, last("runs.list", "runs")?);
        Ok(Feed::after(snap_in, event, run))
    }

    fn after(snap_in: &str, event: String, run: String) -> Feed {
        Feed {
            snap_in: snap_in.to_owned(),
            event,
            run,
            open: BTreeMap::new(),
            sources: BTreeMap::new(),
            said: BTreeMap::new(),
            is_first_look_at_sources: true,
        }
    }

    /// Shows what is new.
    pub(super) fn look(
        &mut self,
        client: &Client,
        with_sources: bool,
        say: &mut Say,
    ) -> Result<(), Failure> {
        if with_sources {
            self.look_at_sources(client, say)?;
        }
        let events = self.newer(client, "events.list", "events", &self.event)?;
        for event in events {
            let id = event["event_source"].as_str().unwrap_or_default();
            let name = self.sources.get(id).map_or(id, String::as_str);
            say.event(&event, name)?;
            self.event = id_of(&event);
        }
        let runs = self.newer(client, "runs.list", "runs", &self.run)?;
        let known: Vec<String> = self.open.keys().take(MOST_OPEN).cloned().collect();
        for id in known {
            match client.try_call("runs.get", &json!({ "id": id }))? {
                Ok(answer) => self.show_run(client, &answer["run"], say)?,
                Err(refusal) if refusal.is_not_found() => drop(self.open.remove(&id)),
                Err(refusal) => return Err(refusal.into()),
            }
        }
        for run in runs {
            self.run = id_of(&run);
            self.open.insert(id_of(&run), Shown::default());
            self.show_run(client, &run, say)?;
        }
        Ok(())
    }

    /// What of a list is newer than the last that was seen, oldest first.
    fn newer(
        &self,
        client: &Client,
        name: &str,
        key: &str,
        last: &str,
    ) -> Result<Vec<Value>, Failure> {
        let mut parameters = json!({ "snap_in": self.snap_in, "limit": 50 });
        let mut newer = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = client.call(name, &parameters)?;
            let rows = answer[key].as_array().cloned().unwrap_or_default();
            let count = rows.len();
            newer.extend(rows.into_iter().filter(|it| id_of(it).as_str() > last));
            let is_all = newer.len() < count || answer["next_cursor"].is_null();
            if is_all || newer.last().is_some_and(|it| id_of(it).as_str() <= last) {
                break;
            }
            parameters["cursor"] = answer["next_cursor"].clone();
        }
        newer.reverse();
        Ok(newer)
    }

    fn show_run(&mut self, client: &Client, run: &Value, say: &mut Say) -> Result<(), Failure> {
        let id = id_of(run);
        let state = run["state"].as_str().unwrap_or_default();
        let attempts = run["attempts"].as_array().map_or(0, Vec::len);
        let Some(shown) = self.open.get_mut(&id) else { return Ok(()) };
        if shown.state == state && shown.attempts == attempts {
            return shown.say_so_far(run, say);
        }
        // Most runs have ended by the next look: that one began is worth no line of its own.
        let is_first_sight = shown.state.is_empty();
        let is_open = is_open(state);
        (shown.state, shown.attempts) = (state.to_owned(), attempts);
        if is_first_sight && matches!(state, "queued" | "running") {
            return shown.say_so_far(run, say);
        }
        // Lists leave results out.
        let whole = client.call("runs.get", &json!({ "id": id }))?;
        let answer = client.call("runs.logs", &json!({ "id": id }))?;
        let logs = answer["logs"].as_array().cloned().unwrap_or_default();
        let new: Vec<&Value> =
            logs.iter().filter(|it| shown.lines.insert(it.to_string())).collect();
        say.run(&whole["run"], &new)?;
        if !is_open {
            self.open.remove(&id);
        }
        Ok(())
    }

    fn look_at_sources(&mut self, client: &Client, say: &mut Say) -> Result<(), Failure> {
        let answer = client.call("event-sources.list", &json!({ "snap_in": self.snap_in }))?;
        for source in answer["event_sources"].as_array().into_iter().flatten() {
            let (id, name) = (id_of(source), source["name"].as_str().unwrap_or_default());
            self.sources.insert(id.clone(), name.to_owned());
            let answer = client.call("event-sources.logs", &json!({ "id": id }))?;
            let lines = answer["lines"].as_array().cloned().unwrap_or_default();
            let before = self.said.remove(&id).unwrap_or_default();
            let now: Vec<(String, u64)> = lines.iter().map(mark).collect();
            for (line, mark) in lines.iter().zip(&now) {
                if !before.contains(mark) && !self.is_first_look_at_sources {
                    say.source_log(name, line)?;
                }
            }
            self.said.insert(id, now);
        }
        self.is_first_look_at_sources = false;
        Ok(())
    }
}

/// What tells lines of a source apart: one that is said again counts on, at another time.
fn mark(line: &Value) -> (String, u64) {
    let text = format!("{} {}", line["date"], line["message"]);
    (text, line["times"].as_u64().unwrap_or_default())
}

fn is_open(state: &str) -> bool {
    matches!(state, "queued" | "running" | "retrying")
}

fn id_of(thing: &Value) -> String {
    thing["id"].as_str().unwrap_or_default().to_owned()
}
