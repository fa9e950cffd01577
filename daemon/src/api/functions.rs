//! `functions.call`: a function is called, and the caller waits for what it returns. One commit,
//! with the result, and no queued row.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ApiError;
use super::rights::Caller;
use super::{Api, snap_ins};
use crate::model::run::{RunError, RunLogLine, RunRequest, RunState, RunTrigger};
use crate::operations::{self, Calling};

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
    /// What it called out to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<RunRequest>,
}

impl From<operations::Called> for Called {
    fn from(called: operations::Called) -> Called {
        let operations::Called { run, state, result, error, logs, requests } = called;
        Called { run: run.to_string(), state, result, error, logs, requests }
    }
}

/// A payload as callers send it, or `{}`.
pub(super) fn payload_or_empty(payload: Option<Box<RawValue>>) -> Bytes {
    match payload {
        Some(payload) => String::from(Box::<str>::from(payload)).into(),
        None => Bytes::from_static(b"{}"),
    }
}

pub(super) async fn call(api: Arc<Api>, caller: Caller, call: Call) -> Result<Called, ApiError> {
    let (snap_in, _) = snap_ins::find(&api, &caller, &call.snap_in)?;
    let payload = payload_or_empty(call.payload);
    let calling = Calling {
        ordered_by: Some(caller.principal.name()),
        ..Calling::new(snap_in, call.function, RunTrigger::Call, payload, caller.cause)
    };
    Ok(api.operations.call(calling).await?.into())
}
