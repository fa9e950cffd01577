//! `runs.*`: invocations of functions, with their attempts, results and logs.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::Caller;
use super::{Api, extent, snap_ins};
use crate::engine::dispatcher::QueuedRun;
use crate::model::id::RunId;
use crate::model::run::{
    AttemptOutcome, RunError, RunHead, RunLogLine, RunOutput, RunRequest, RunState, RunTrigger,
};
use crate::model::snap_in::SnapInState;
use crate::store::{OpenRun, Reopening, RunFilter};

/// One invocation of a function.
#[derive(Serialize, JsonSchema)]
pub(super) struct Run {
    id: String,
    snap_in: String,
    version: String,
    function: String,
    state: RunState,
    /// What called it.
    trigger: Trigger,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    automation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<String>,
    /// The key by which its function is run in order: it waits for earlier runs of the function with
    /// the same one. Absent when the function does not ask for order, or the event had no such key.
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_id: Option<String>,
    /// The run that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<String>,
    /// Whether its event had its runs before, and was replayed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_replay: bool,
    /// On whose behalf, when its event came from a source of his.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Name of who called the function and waited for it; absent for events and hooks. What it is run
    /// in order by is `sync_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ordered_by: Option<String>,
    created_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_date: Option<String>,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_date: Option<String>,
    attempts: Vec<RunAttempt>,
    /// What the function returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    result: Option<Box<RawValue>>,
    /// How the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
    /// What the last attempt called out to, once the run has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<RunRequest>,
    /// What the last attempt has logged so far: preliminary, and gone from here once the run has
    /// ended; `runs.logs` has it then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs_so_far: Vec<RunLogLine>,
}

/// What called a function.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Trigger {
    /// An event.
    Automation { automation: String, event: String },
    /// `functions.call`.
    Call,
    /// A step of the snap-in's life.
    Hook { hook: String },
    /// A command that somebody gave.
    Command { namespace: String, name: String },
    /// A button or a form.
    SnapKitAction { name: String },
    /// A component that was drawn.
    SnapComponent { name: String },
    /// The page on which the snap-in is configured: `organization` or `user`.
    ConfigurationPage { level: String },
    /// A node of a workflow.
    Operation { slug: String },
}

impl From<&RunTrigger> for Trigger {
    fn from(trigger: &RunTrigger) -> Trigger {
        match trigger {
            RunTrigger::Automation { automation, event } => {
                Trigger::Automation { automation: automation.to_string(), event: event.to_string() }
            }
            RunTrigger::Call => Trigger::Call,
            RunTrigger::Hook { hook } => Trigger::Hook { hook: hook.clone() },
            RunTrigger::Command { namespace, name } => {
                Trigger::Command { namespace: namespace.clone(), name: name.clone() }
            }
            RunTrigger::SnapKitAction { action } => Trigger::SnapKitAction { name: action.clone() },
            RunTrigger::SnapComponent { component } => {
                Trigger::SnapComponent { name: component.clone() }
            }
            RunTrigger::ConfigurationPage { level } => {
                Trigger::ConfigurationPage { level: level.clone() }
            }
            RunTrigger::Operation { slug } => Trigger::Operation { slug: slug.clone() },
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RunAttempt {
    started_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    /// `running`, `succeeded`, `failed`, `interrupted` or `cancelled`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneRun {
    run: Run,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyRuns {
    pub(super) runs: Vec<Run>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Logs {
    /// In the order of writing. Those of the last attempt; while that is on, those so far.
    logs: Vec<RunLogLine>,
    /// Whether the run has not ended, so that there may be more.
    preliminary: bool,
    state: RunState,
    /// Attempts that have begun.
    attempts: usize,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RunsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    id: String,
    /// Wait up to so many seconds, 60 at most, until it has ended.
    #[serde(default)]
    wait_seconds: u32,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RunsList")]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    pub(super) snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    pub(super) scope: Option<String>,
    /// Only those of this function.
    #[serde(default)]
    pub(super) function: Option<String>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<RunState>,
    #[serde(flatten)]
    pub(super) paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    id: String,
    /// Told to whoever looks at the run.
    #[serde(default)]
    reason: Option<String>,
}

pub(super) fn run(id: RunId, head: RunHead, output: RunOutput) -> Run {
    let trigger = Trigger::from(&head.trigger);
    let (mut event, mut automation, mut hook) = (None, None, None);
    match head.trigger {
        RunTrigger::Automation { automation: by, event: of } => {
            event = Some(of.to_string());
            automation = Some(by.to_string());
        }
        RunTrigger::Hook { hook: which } => hook = Some(which),
        RunTrigger::Call
        | RunTrigger::Command { .. }
        | RunTrigger::SnapKitAction { .. }
        | RunTrigger::SnapComponent { .. }
        | RunTrigger::ConfigurationPage { .. }
        | RunTrigger::Operation { .. } => {}
    }
    let error = head.attempts.last().and_then(|it| match &it.outcome {
        Some(AttemptOutcome::Failed(error)) => Some(error.clone()),
        _ => None,
    });
    let attempts = head.attempts.iter().map(|it| {
        let (outcome, reason) = match &it.outcome {
            None => ("running", None),
            Some(AttemptOutcome::Succeeded) => ("succeeded", None),
            Some(AttemptOutcome::Failed(error)) => ("failed", Some(error.message.clone())),
            Some(AttemptOutcome::Interrupted { reason }) => ("interrupted", Some(reason.clone())),
            Some(AttemptOutcome::Postponed { reason }) => ("postponed", Some(reason.clone())),
            Some(AttemptOutcome::Cancelled { reason }) => ("cancelled", Some(reason.clone())),
        };
        RunAttempt {
            started_date: time(it.started_ms),
            duration_ms: it.ended_ms.map(|end| end.saturating_sub(it.started_ms)),
            outcome,
            reason,
        }
    });
    Run {
        id: id.to_string(),
        snap_in: head.snap_in.to_string(),
        version: head.version.to_string(),
        state: head.state,
        trigger,
        event,
        automation,
        hook,
        sync_id: head.sync_id,
        replay_of: head.replay_of.map(|it| it.to_string()),
        is_replay: head.is_replay,
        user: head.user.map(|it| it.to_string()),
        ordered_by: head.ordered_by,
        created_date: time(head.created_ms),
        ended_date: head.ended_ms.map(time),
        next_attempt_date: head.not_before_ms.map(time),
        attempts: attempts.collect(),
        function: head.function,
        result: output.result,
        error,
        requests: output.requests,
        logs_so_far: Vec::new(),
    }
}

pub(super) fn find(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<(RunId, RunHead, RunOutput), ApiError> {
    let id: RunId = parse_id("id", text)?;
    let found = api.services.store.read(|tables| tables.run(id))?;
    let (head, output) = found.ok_or_else(|| ApiError::not_found("run", text))?;
    if !extent::reaches(api, caller, head.snap_in)? {
        return Err(ApiError::not_found("run", text));
    }
    Ok((id, head, output))
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, get: Get) -> Result<OneRun, ApiError> {
    let patience = Duration::from_secs(get.wait_seconds.min(snap_ins::LONGEST_WAIT_SECONDS).into());
    let look = || {
        let (id, head, output) = find(&api, &caller, &get.id)?;
        let is_final = head.state.is_final();
        let logs_so_far = so_far(&api, id, &head);
        let run = Run { logs_so_far, ..run(id, head, output) };
        Ok::<_, ApiError>((OneRun { run }, is_final))
    };
    api.services.changes.wait_for(patience, look).await
}

pub(super) async fn logs(api: Arc<Api>, caller: Caller, which: Which) -> Result<Logs, ApiError> {
    let (id, head, output) = find(&api, &caller, &which.id)?;
    let is_final = head.state.is_final();
    let logs = if is_final { output.logs } else { so_far(&api, id, &head) };
    Ok(Logs { logs, preliminary: !is_final, state: head.state, attempts: head.attempts.len() })
}

/// What the last attempt of a run has logged, while the store does not have it.
fn so_far(api: &Api, id: RunId, head: &RunHead) -> Vec<RunLogLine> {
    match head.state {
        RunState::Queued | RunState::Running | RunState::Retrying => api.invoker.logs_so_far(id),
        RunState::Succeeded | RunState::Failed | RunState::Dead | RunState::Cancelled => Vec::new(),
    }
}

/// What a list of runs is narrowed to.
pub(super) fn filter(api: &Api, caller: &Caller, list: &List) -> Result<RunFilter, ApiError> {
    let extent = extent::of_list(api, caller, list.snap_in.as_deref(), list.scope.as_deref())?;
    let states = list.state.into_iter().collect();
    Ok(RunFilter { extent, states, function: list.function.clone() })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<ManyRuns, ApiError> {
    let filter = filter(&api, &caller, &list)?;
    let page = list.paging.newest_first()?;
    let page = api.services.store.read(|tables| tables.list_runs(&filter, page))?;
    let rows = page.rows.into_iter();
    let runs = rows.map(|it| run(it.id, it.head, RunOutput::default())).collect();
    Ok(ManyRuns { runs, next_cursor: cursor(page.next) })
}

pub(super) async fn retry(api: Arc<Api>, caller: Caller, which: Which) -> Result<OneRun, ApiError> {
    let (id, _, _) = find(&api, &caller, &which.id)?;
    let (id, head) = reopen(&api, id).await?;
    Ok(OneRun { run: run(id, head, RunOutput::default()) })
}

/// Queues a run again that has failed, or hurries one that waits.
pub(super) async fn reopen(api: &Api, id: RunId) -> Result<(RunId, RunHead), ApiError> {
    match api.services.store.write(move |tables| tables.retry_run(id)).await? {
        Reopening::Queued(open) => {
            api.services.dispatcher.hurry(OpenRun::clone(&open));
            Ok((open.id, open.head))
        }
        Reopening::NotIn(state) => {
            let message = format!(
                "run {id} is {}: only runs of automations that failed, are dead, were cancelled or \
                 wait for their next attempt can be retried",
                state.name()
            );
            Err(ApiError::new(Code::Conflict, message))
        }
        Reopening::NoSuchRun => Err(ApiError::not_found("run", &id.to_string())),
    }
}

pub(super) async fn cancel(
    api: Arc<Api>,
    caller: Caller,
    cancel: Cancel,
) -> Result<OneRun, ApiError> {
    let (id, head, _) = find(&api, &caller, &cancel.id)?;
    let reason =
        cancel.reason.unwrap_or_else(|| format!("cancelled by {}", caller.principal.name()));
    let state = api.services.store.write(move |tables| tables.cancel_run(id, &reason)).await?;
    match state {
        Some(RunState::Cancelled) => {
            api.services.dispatcher.cancelled(head.snap_in, vec![id]);
            let (id, head, output) = find(&api, &caller, &cancel.id)?;
            Ok(OneRun { run: run(id, head, output) })
        }
        Some(state) => {
            let message = format!("run {id} is {} already", state.name());
            Err(ApiError::new(Code::Conflict, message))
        }
        None => Err(ApiError::not_found("run", &cancel.id)),
    }
}

pub(super) async fn replay(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneRun, ApiError> {
    let (id, head, _) = find(&api, &caller, &which.id)?;
    if head.trigger.event().is_none() {
        let message = "only runs of automations can be replayed: the others have no event";
        return Err(ApiError::new(Code::Conflict, message));
    }
    let found = api.services.store.read(|tables| {
        let Some(snap_in) = tables.snap_in(head.snap_in)? else { return Ok(None) };
        Ok(tables.version(snap_in.version)?.map(|version| (snap_in, version)))
    })?;
    let (snap_in, version) = found
        .filter(|(it, _)| it.state != SnapInState::Deleted)
        .ok_or_else(|| ApiError::new(Code::Conflict, "the snap-in of this run was deleted"))?;
    let Some(function) = version.manifest.function(&head.function) else {
        let message = format!("the installed version has no function `{}` any more", head.function);
        return Err(ApiError::new(Code::Conflict, message));
    };
    let new = RunHead {
        version: snap_in.version,
        sync_id: head.sync_id.filter(|_| function.supports_synchronization),
        state: RunState::Queued,
        ended_ms: None,
        not_before_ms: None,
        attempts: Vec::new(),
        forgiven: 0,
        replay_of: Some(id),
        is_replay: true,
        ordered_by: None,
        ..head
    };
    let dispatcher = api.services.dispatcher.clone();
    let queued = api
        .services
        .store
        .write_then(
            move |tables| tables.queue_new_run(&new),
            move |open| dispatcher.queued(vec![QueuedRun { run: open.clone(), event: None }]),
        )
        .await?;
    Ok(OneRun { run: run(queued.id, queued.head, RunOutput::default()) })
}
