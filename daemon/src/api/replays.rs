//! `events.replay`: stored events again, as new runs that name the original.
//!
//! The automations of the present version decide, as if the event came in now; nothing of the event
//! is stored a second time, and no dedup key is in the way. The runs of one call are queued together
//! or not at all: whoever is told that it failed can call again without running anything twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id};
use super::rights::Caller;
use super::times::parse_time;
use super::{Api, event_sources, extent};
use crate::engine::dispatcher::QueuedRun;
use crate::model::event::EventHead;
use crate::model::id::{EventId, RunId, SnapInId, SourceId, created_ms, first_id_at};
use crate::model::run::{RunHead, RunTrigger};
use crate::model::snap_in::SnapInState;
use crate::routing::Route;
use crate::store::{OpenRun, StoreError};

/// Most events of one call that names them.
const MOST_NAMED: usize = 1000;

/// Which events: those that are named, or all that match.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EventsReplay")]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// These, in this order; nothing else is given then but `dry_run`.
    #[serde(default)]
    ids: Vec<String>,
    /// Those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Those of this source.
    #[serde(default)]
    event_source: Option<String>,
    /// Only those of this type.
    #[serde(default, rename = "type")]
    event_type: Option<String>,
    /// Only those that came at this time or later, RFC 3339.
    #[serde(default)]
    from_date: Option<String>,
    /// Only those that came before this time, RFC 3339.
    #[serde(default)]
    to_date: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
    #[serde(flatten)]
    paging: Paging,
}

/// What became of one event.
#[derive(Serialize, JsonSchema)]
pub(super) struct Replayed {
    event: String,
    /// The new runs; none in a dry run.
    runs: Vec<String>,
    /// Functions of the runs.
    functions: Vec<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyReplayed {
    /// In the order in which they run.
    events: Vec<Replayed>,
    /// How many runs were queued, or would be.
    runs: usize,
    /// Where to go on: a call takes as many events as its `limit`.
    next_cursor: Option<String>,
}

pub(super) async fn replay(
    api: Arc<Api>,
    caller: Caller,
    replay: Replay,
) -> Result<ManyReplayed, ApiError> {
    let (events, next) = match replay.ids.is_empty() {
        false => (named(&api, &caller, &replay)?, None),
        true => matching(&api, &caller, &replay)?,
    };
    let mut answer = ManyReplayed { events: Vec::new(), runs: 0, next_cursor: cursor(next) };
    let mut all = Vec::new();
    for (id, head) in events {
        let (heads, skipped) = match planned(&api, id, &head)? {
            Ok(heads) => (heads, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let functions = heads.iter().map(|it| it.function.clone()).collect();
        let replayed = Replayed { event: id.to_string(), runs: Vec::new(), functions, skipped };
        answer.events.push(replayed);
        all.extend(heads);
    }
    answer.runs = all.len();
    check_room(&api, &all)?;
    if !replay.dry_run {
        let mut queued = queue(&api, all).await?.into_iter();
        for replayed in &mut answer.events {
            let runs = queued.by_ref().take(replayed.functions.len());
            replayed.runs = runs.map(|it| it.id.to_string()).collect();
        }
    }
    Ok(answer)
}

/// Whether the queues of their snap-ins have room for all of them, and the disk.
fn check_room(api: &Api, heads: &[RunHead]) -> Result<(), ApiError> {
    if heads.is_empty() {
        return Ok(());
    }
    if !api.services.store.has_room() {
        return Err(StoreError::Full.into());
    }
    let mut new: HashMap<SnapInId, usize> = HashMap::new();
    for head in heads {
        *new.entry(head.snap_in).or_default() += 1;
    }
    let most = api.limits.queued_runs;
    for (snap_in, new) in new {
        let waiting = api.services.dispatcher.depth(snap_in).load(Ordering::Relaxed);
        if waiting + new > most {
            let message = format!(
                "{waiting} runs of {snap_in} are waiting already, and {new} more would be over the \
                 {most} that may: nothing was queued; try again later, or with fewer events"
            );
            return Err(ApiError::new(Code::Unavailable, message));
        }
    }
    Ok(())
}

type Events = Vec<(EventId, EventHead)>;

fn named(api: &Api, caller: &Caller, replay: &Replay) -> Result<Events, ApiError> {
    let has_filter = replay.snap_in.is_some()
        || replay.event_source.is_some()
        || replay.event_type.is_some()
        || replay.from_date.is_some()
        || replay.to_date.is_some()
        || replay.paging.is_given();
    if has_filter {
        let message = "name the events by `ids`, or say which by the other fields, not both";
        return Err(ApiError::field("ids", message));
    }
    if replay.ids.len() > MOST_NAMED {
        let message = format!("{} ids: at most {MOST_NAMED} in one call", replay.ids.len());
        return Err(ApiError::field("ids", message));
    }
    let mut events: Events = Vec::with_capacity(replay.ids.len());
    let mut seen = HashSet::new();
    for text in &replay.ids {
        let id: EventId = parse_id("ids", text)?;
        if !seen.insert(id) {
            return Err(ApiError::field("ids", format!("{text} is there twice")));
        }
        let found = api.services.store.read(|tables| tables.event(id))?;
        let (head, _) = found.ok_or_else(|| ApiError::not_found("event", text))?;
        if !extent::reaches(api, caller, head.snap_in)? {
            return Err(ApiError::not_found("event", text));
        }
        events.push((id, head));
    }
    Ok(events)
}

fn matching(
    api: &Api,
    caller: &Caller,
    replay: &Replay,
) -> Result<(Events, Option<u128>), ApiError> {
    let source: Option<SourceId> =
        replay.event_source.as_deref().map(|it| known_source(api, caller, it)).transpose()?;
    if replay.snap_in.is_none() && source.is_none() {
        let message = "say which events: `ids`, or those of a `snap_in` or `event_source`";
        return Err(ApiError::field("ids", message));
    }
    let extent = extent::of_list(api, caller, replay.snap_in.as_deref(), None)?;
    let date = |field: &str, text: &Option<String>| {
        text.as_deref().map(|it| parse_time(field, it)).transpose()
    };
    let from_ms = date("from_date", &replay.from_date)?.unwrap_or(0);
    let to_ms = date("to_date", &replay.to_date)?.unwrap_or(u64::MAX);
    if from_ms >= to_ms {
        return Err(ApiError::field("to_date", "to_date must be later than from_date"));
    }
    let mut page = replay.paging.oldest_first()?;
    page.from = Some(page.from.unwrap_or(0).max(first_id_at(from_ms)));
    let found = api.services.store.read(|tables| {
        tables.list_events(page, |head| {
            extent.has(head.snap_in)
                && source.is_none_or(|it| it == head.source)
                && replay.event_type.as_ref().is_none_or(|it| *it == head.event_type)
        })
    })?;
    let is_before = |id: u128| created_ms(id) < to_ms;
    let next = found.next.filter(|it| is_before(*it));
    let rows = found.rows.into_iter().filter(|(id, _, _)| is_before(id.0));
    Ok((rows.map(|(id, head, _)| (id, head)).collect(), next))
}

/// A source that the caller may know of. One that was deleted is none: its events have no automations.
fn known_source(api: &Api, caller: &Caller, text: &str) -> Result<SourceId, ApiError> {
    parse_id::<SourceId>("event_source", text)?;
    Ok(event_sources::find(api, caller, text)?.0)
}

/// The runs of an event, or why there are none.
fn planned(
    api: &Api,
    id: EventId,
    head: &EventHead,
) -> Result<Result<Vec<RunHead>, String>, ApiError> {
    let contexts = &api.services.contexts;
    let snap_in = contexts.snap_in(head.snap_in)?;
    let Some(snap_in) = snap_in.filter(|it| it.record.state != SnapInState::Deleted) else {
        return Ok(Err("its snap-in was deleted".to_owned()));
    };
    let source = api.services.store.read(|tables| tables.source(head.source))?;
    let version = contexts.version(snap_in.record.version)?;
    let (Some(source), Some(version)) = (source, version) else {
        return Ok(Err("its event source is gone".to_owned()));
    };
    let route = Route::new(
        head.source,
        &source.name,
        head.snap_in,
        snap_in.record.version,
        0,
        &version.manifest,
        &snap_in.record.automations,
    );
    let originals = originals(api, head)?;
    let runs: Vec<RunHead> = route
        .matches(&head.event_type)
        .map(|matched| {
            let automation = matched.automation;
            let trigger = RunTrigger::Automation { automation, event: id };
            let (version, function) = (snap_in.record.version, matched.function.to_string());
            RunHead {
                sync_id: head.sync_id.clone().filter(|_| matched.ordered),
                cause: head.cause,
                user: source.user,
                replay_of: originals.iter().find(|(_, it)| *it == trigger).map(|(run, _)| *run),
                is_replay: true,
                ..RunHead::new(head.snap_in, version, function, trigger, 0)
            }
        })
        .collect();
    if runs.is_empty() {
        let why = format!("no automation of `{}` listens for `{}`", source.name, head.event_type);
        return Ok(Err(why));
    }
    Ok(Ok(runs))
}

/// The runs that were queued with the event, as far as they are still known.
fn originals(api: &Api, head: &EventHead) -> Result<Vec<(RunId, RunTrigger)>, ApiError> {
    let found = api.services.store.read(|tables| {
        let mut found = Vec::with_capacity(head.runs.len());
        for run in &head.runs {
            found.extend(tables.run(*run)?.map(|(it, _)| (*run, it.trigger)));
        }
        Ok(found)
    })?;
    Ok(found)
}

async fn queue(api: &Api, heads: Vec<RunHead>) -> Result<Vec<OpenRun>, ApiError> {
    if heads.is_empty() {
        return Ok(Vec::new());
    }
    let dispatcher = api.services.dispatcher.clone();
    let queued = api.services.store.write_then(
        move |tables| {
            heads.iter().map(|it| tables.queue_new_run(it)).collect::<Result<Vec<_>, _>>()
        },
        move |runs| {
            let queued = runs.iter().map(|run| QueuedRun { run: run.clone(), event: None });
            dispatcher.queued(queued.collect());
        },
    );
    Ok(queued.await?)
}
