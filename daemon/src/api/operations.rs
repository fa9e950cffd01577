//! `operations.*`: nodes of workflows. One is called with data for its fields, and answers with an
//! `OperationOutput`, which is read here and shown with the run that it was.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor};
use super::rights::Caller;
use super::{Api, extent, snap_ins};
use crate::configuration::operation_inputs;
use crate::configuration::suggest::unknown;
use crate::lifecycle::operation_output::{self, FailureKind};
use crate::model::id::SnapInId;
use crate::model::manifest;
use crate::model::run::{RunError, RunLogLine, RunRequest, RunState, RunTrigger};
use crate::operations::{Called, Calling, OperationError};
use crate::store::SnapInRecord;

/// `metadata.type` and the input port when nobody says otherwise.
const DEFAULT_TYPE: &str = "action";
const DEFAULT_PORT: &str = "input";

/// An operation.
#[derive(Serialize, JsonSchema)]
pub(super) struct Operation {
    /// `<snap-in>/operations/<slug>`; the same as long as the snap-in is there.
    id: String,
    slug: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    snap_in: String,
    scope: String,
    function: String,
    /// What it takes, as the manifest describes it.
    input_fields: Vec<Value>,
    /// What it makes, as the manifest describes it.
    output_fields: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_timeout_seconds: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyOperations {
    operations: Vec<Operation>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OperationsList")]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OperationsExecute")]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    /// Id or scope; it has to be ACTIVE.
    snap_in: String,
    /// Which operation.
    slug: String,
    /// Values by name of field.
    #[serde(default)]
    data: Map<String, Value>,
    /// Where the data comes in; `input` when absent.
    #[serde(default)]
    input_port_name: Option<String>,
}

/// What came of an operation.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OperationsExecuted")]
pub(super) struct Executed {
    run: String,
    /// How the function ended. One that returned an error has succeeded as a run.
    state: RunState,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
    /// What left by ports of its own.
    port_outputs: Vec<Value>,
    /// Why it did not do what it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failed>,
    /// How the function failed, when it did not return.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_error: Option<RunError>,
    logs: Vec<RunLogLine>,
    /// What it called out to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<RunRequest>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    values: Vec<Value>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Failed {
    message: String,
    /// 0 unknown, 1 invalid request, 2 retry.
    #[serde(rename = "type")]
    kind: u8,
    /// Whether the same again may work.
    retryable: bool,
}

fn id_of(snap_in: SnapInId, slug: &str) -> String {
    format!("{snap_in}/operations/{slug}")
}

fn shown(snap_in: SnapInId, record: &SnapInRecord, operation: &manifest::Operation) -> Operation {
    let it = operation.clone();
    Operation {
        id: id_of(snap_in, &it.slug),
        slug: it.slug,
        name: it.name,
        display_name: it.display_name,
        description: it.description,
        kind: it.operation_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        snap_in: snap_in.to_string(),
        scope: record.scope.to_string(),
        function: it.function,
        input_fields: it.input_fields,
        output_fields: it.output_fields,
        default_timeout_seconds: it.default_timeout_seconds,
    }
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyOperations, ApiError> {
    let page = list.paging.oldest_first()?;
    let snap_ins = extent::living(&api, &caller, list.snap_in.as_deref(), list.scope.as_deref())?;
    let mut all = Vec::new();
    for (id, record) in snap_ins.into_iter().filter(|(_, it)| it.state.runs_start()) {
        if let Some(version) = api.services.contexts.version(record.version)? {
            all.extend(version.manifest.operations.iter().map(|it| shown(id, &record, it)));
        }
    }
    all.sort_by(|a, b| (&a.scope, &a.slug).cmp(&(&b.scope, &b.slug)));
    let (operations, next) = extent::page_of(all, page);
    Ok(ManyOperations { operations, next_cursor: cursor(next) })
}

pub(super) async fn execute(
    api: Arc<Api>,
    caller: Caller,
    execute: Execute,
) -> Result<Executed, ApiError> {
    let (snap_in, record) = snap_ins::find(&api, &caller, &execute.snap_in)?;
    let version = api.services.contexts.version(record.version)?;
    let version = version.ok_or_else(|| ApiError::not_found("snap-in", &execute.snap_in))?;
    let known = || version.manifest.operations.iter().map(|it| it.slug.as_str());
    let found = version.manifest.operations.iter().find(|it| it.slug == execute.slug);
    let operation = found.ok_or_else(|| {
        let message = unknown("operation", &execute.slug, known());
        ApiError::new(Code::NotFound, message).allowing(&known().collect::<Vec<_>>())
    })?;
    let data = operation_inputs::complete(operation, &execute.data);
    let data = data.map_err(OperationError::Inputs)?;
    let missing = api.operations.missing_of_operation(&record, &version.manifest, operation)?;
    if record.state.runs_start() && !missing.is_empty() {
        return Err(OperationError::NotReady(missing).into());
    }
    let package = api.services.store.read(|tables| tables.package(record.package))?;
    let payload = json!({
        "metadata": {
            "namespace": package.map(|it| it.slug).unwrap_or_default(),
            "slug": operation.slug,
            "type": operation.operation_type.as_deref().unwrap_or(DEFAULT_TYPE),
        },
        "input_port_name": execute.input_port_name.as_deref().unwrap_or(DEFAULT_PORT),
        "data": data,
    });
    let trigger = RunTrigger::Operation { slug: operation.slug.clone() };
    let payload = Bytes::from(payload.to_string());
    let timeout = operation.default_timeout_seconds.map(|it| u64::from(it.max(1)));
    let calling = Calling {
        ordered_by: Some(caller.principal.name()),
        source_id: id_of(snap_in, &operation.slug),
        default_timeout: timeout.map(std::time::Duration::from_secs),
        ..Calling::new(snap_in, operation.function.clone(), trigger, payload, caller.cause)
    };
    Ok(executed(api.operations.call(calling).await?))
}

fn executed(called: Called) -> Executed {
    let Called { run, state, result, error: run_error, logs, requests } = called;
    let mut executed = Executed {
        run: run.to_string(),
        state,
        output: None,
        port_outputs: Vec::new(),
        error: None,
        run_error,
        logs,
        requests,
    };
    if let Some(error) = &executed.run_error {
        let kind = match error.retry {
            true => FailureKind::RetryExecution,
            false => FailureKind::Unknown,
        };
        executed.error = Some(failed(error.message.clone(), kind));
        return executed;
    }
    match operation_output::read(result.as_ref().map(|it| it.get())) {
        Ok(output) => {
            executed.error = output.failure.map(|it| failed(it.message, it.kind));
            executed.output = Some(Output { values: output.values });
            executed.port_outputs = output.port_outputs;
        }
        Err(problem) => {
            let message = format!("the answer of the operation cannot be understood: {problem}");
            executed.error = Some(failed(message, FailureKind::Unknown));
        }
    }
    executed
}

fn failed(message: String, kind: FailureKind) -> Failed {
    Failed { message, kind: kind.number(), retryable: kind == FailureKind::RetryExecution }
}
