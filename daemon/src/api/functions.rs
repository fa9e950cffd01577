//! `functions.call`: a function is called, and the caller waits for what it returns. One commit,
//! with the result, and no queued row.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{ApiError, Code};
use super::rights::Caller;
use super::{Api, snap_ins};
use crate::engine::invocation::Call as FunctionCall;
use crate::model::run::{AttemptOutcome, RunError, RunHead, RunLogLine, RunState, RunTrigger};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// Id or scope; it has to be ACTIVE.
    snap_in: String,
    /// Name of the function.
    function: String,
    /// The payload that it gets; `{}` when absent.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    payload: Option<Box<RawValue>>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Called {
    run: String,
    state: RunState,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
    logs: Vec<RunLogLine>,
}

pub(super) async fn call(api: Arc<Api>, caller: Caller, call: Call) -> Result<Called, ApiError> {
    let (snap_in, record) = snap_ins::find(&api, &caller, &call.snap_in)?;
    if !record.state.runs_start() {
        let message = format!(
            "the snap-in is {}: functions run only while it is ACTIVE",
            record.state.name()
        );
        return Err(ApiError::new(Code::Conflict, message));
    }
    if !api.services.store.has_room() {
        return Err(crate::store::StoreError::Full.into());
    }
    let version = api.services.contexts.version(record.version)?;
    let known = version.as_ref().is_some_and(|it| it.manifest.function(&call.function).is_some());
    if !known {
        return Err(ApiError::not_found("function", &call.function));
    }
    let started_ms = api.services.clock.now_ms();
    let run = api.invoker.new_run();
    let mut head = RunHead {
        cause: caller.cause,
        ..RunHead::new(snap_in, record.version, call.function, RunTrigger::Call, started_ms)
    };
    let payload = match call.payload {
        Some(payload) => String::from(Box::<str>::from(payload)).into(),
        None => bytes::Bytes::from_static(b"{}"),
    };
    let execution = api
        .invoker
        .call(FunctionCall::new(run, head.clone(), payload, String::new(), String::new()))
        .await;
    let (state, error) = match &execution.outcome {
        AttemptOutcome::Succeeded => (RunState::Succeeded, None),
        AttemptOutcome::Failed(error) => (RunState::Failed, Some(error.clone())),
        AttemptOutcome::Interrupted { reason }
        | AttemptOutcome::Postponed { reason }
        | AttemptOutcome::Cancelled { reason } => {
            let (kind, message) = ("interrupted".to_owned(), reason.clone());
            (RunState::Failed, Some(RunError { kind, message, ..RunError::default() }))
        }
    };
    head.end_with(state, execution.outcome, api.services.clock.now_ms());
    let output = execution.output;
    let (result, logs) = (output.result.clone(), output.logs.clone());
    api.services.store.write(move |tables| tables.record_run(run, &head, &output)).await?;
    Ok(Called { run: run.to_string(), state, result, error, logs })
}
