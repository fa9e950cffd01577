//! Calling a function while somebody waits for what it returns: by name, as a command, an action, a
//! page or an operation. One commit, with the result, and no queued row (design §3, "Hot path").

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{OperationError, Operations};
use crate::actors::Services;
use crate::engine::invocation::{Call, Invoker};
use crate::lifecycle::snap_in::Event;
use crate::model::actor::Actor;
use crate::model::event::{Cause, MOST_PAYLOAD_BYTES};
use crate::model::id::{RunId, SnapInId, UserId};
use crate::model::run::{
    AttemptOutcome, RunError, RunHead, RunLogLine, RunRequest, RunState, RunTrigger,
};
use crate::store::StoreError;

/// A function to be called.
#[derive(Clone, Debug)]
pub struct Calling {
    /// Its id, when the payload holds it; a new one otherwise.
    pub run: Option<RunId>,
    /// The snap-in; it has to be ACTIVE.
    pub snap_in: SnapInId,
    /// Name of the function.
    pub function: String,
    /// As what it is called.
    pub trigger: RunTrigger,
    /// Valid JSON.
    pub payload: Bytes,
    /// `execution_metadata.event_type`; empty for none.
    pub event_type: String,
    /// `context.source_id`: the id of the command, action and so on; empty for none.
    pub source_id: String,
    /// `context.user_id`: on whose behalf it runs, when it is not who gave the order.
    pub user: Option<UserId>,
    /// Who gave the order, for commands and snap-kit actions: the function gets a token for him.
    pub actor: Option<Actor>,
    /// Name of the principal that gave the order, for the record.
    pub ordered_by: Option<String>,
    /// How long a function may take that does not say so itself; the setting
    /// `functions.call_timeout_seconds` when absent.
    pub default_timeout: Option<Duration>,
    /// Whether it is for configuring the snap-in, which is possible before it is ACTIVE, too.
    pub configures: bool,
    /// What led to the call.
    pub cause: Cause,
}

impl Calling {
    /// A call by nobody in particular: the fields that are left have no value.
    pub fn new(
        snap_in: SnapInId,
        function: String,
        trigger: RunTrigger,
        payload: Bytes,
        cause: Cause,
    ) -> Calling {
        Calling {
            run: None,
            snap_in,
            function,
            trigger,
            payload,
            event_type: String::new(),
            source_id: String::new(),
            user: None,
            actor: None,
            ordered_by: None,
            default_timeout: None,
            configures: false,
            cause,
        }
    }
}

/// What came of it; the run is stored.
#[derive(Clone, Debug)]
pub struct Called {
    /// The run.
    pub run: RunId,
    /// Succeeded or failed.
    pub state: RunState,
    /// What the function returned.
    pub result: Option<Box<RawValue>>,
    /// Why there is no result.
    pub error: Option<RunError>,
    /// What it logged.
    pub logs: Vec<RunLogLine>,
    /// What it called out to.
    pub requests: Vec<RunRequest>,
}

impl Operations {
    /// Calls a function and waits for its end. Once it has begun it is carried to that end and
    /// recorded, also when the caller does not wait any longer.
    pub async fn call(&self, calling: Calling) -> Result<Called, OperationError> {
        let Calling { snap_in, function, trigger, payload, user, cause, .. } = calling;
        let Calling { run, event_type, source_id, actor, ordered_by, default_timeout, .. } =
            calling;
        let present = self.look(snap_in)?;
        if payload.len() > MOST_PAYLOAD_BYTES {
            return Err(OperationError::PayloadTooLarge(payload.len()));
        }
        let state = present.record.state;
        if calling.configures {
            super::refuse_unless_allowed(&state, &Event::Configure)?;
        } else if !state.runs_start() {
            return Err(OperationError::NotActive(state));
        }
        if !self.services.store.has_room() {
            return Err(StoreError::Full.into());
        }
        if present.version.manifest.function(&function).is_none() {
            return Err(OperationError::NoSuchFunction(function));
        }
        let run = run.unwrap_or_else(|| self.invoker.new_run());
        let now_ms = self.services.clock.now_ms();
        let version = present.record.version;
        let head = RunHead {
            cause,
            user,
            ordered_by,
            ..RunHead::new(snap_in, version, function, trigger, now_ms)
        };
        let call =
            Call { actor, default_timeout, ..Call::new(run, head, payload, event_type, source_id) };
        let carried = carry_out(self.services.clone(), self.invoker.clone(), call);
        let called = self.services.calls.carry(carried).await;
        called.ok_or(OperationError::NoAnswer("what calls functions"))?
    }
}

/// The call itself, and its record.
async fn carry_out(
    services: Services,
    invoker: Invoker,
    call: Call,
) -> Result<Called, OperationError> {
    let (run, mut head) = (call.run, call.head.clone());
    let execution = services.calls.unless_cut_off(invoker.call(call)).await;
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
    head.end_with(state, execution.outcome, services.clock.now_ms());
    let output = execution.output;
    let called = Called {
        run,
        state,
        result: output.result.clone(),
        error,
        logs: output.logs.clone(),
        requests: output.requests.clone(),
    };
    services.store.write(move |it| it.record_run(run, &head, &output)).await?;
    Ok(called)
}
