//! Calling a hook of a snap-in and reading what it answered (spec §3.1). Every call is a run that
//! can be looked at, whoever waits for it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tracing::warn;

use super::Services;
use crate::configuration::inputs;
use crate::engine::contexts::{SnapInContext, VersionContext};
use crate::engine::invocation::{Call, OfferedKeyring};
use crate::lifecycle::hook_answer;
use crate::model::event::Cause;
use crate::model::id::{RunId, SnapInId};
use crate::model::manifest::{HookType, Level};
use crate::model::run::{AttemptOutcome, RunHead, RunState, RunTrigger};

/// A hook to be called.
pub struct HookCall {
    /// Which.
    pub hook: HookType,
    /// The run that it will be.
    pub run: RunId,
    /// The snap-in.
    pub snap_in: SnapInId,
    /// The configuration that it is called with.
    pub context: Arc<SnapInContext>,
    /// The version that the configuration is of.
    pub version: Arc<VersionContext>,
    /// A JSON object.
    pub payload: Bytes,
    /// The inputs before a change, for the update hook.
    pub previous_inputs: Option<Map<String, Value>>,
    /// A keyring that it is asked about, and that is not stored yet.
    pub offered: Option<OfferedKeyring>,
    /// What led to the call.
    pub cause: Cause,
}

/// Name of a hook, as in manifests and in `hook:snap_in_<name>`.
pub fn name(hook: HookType) -> &'static str {
    match hook {
        HookType::Validate => "validate",
        HookType::Activate => "activate",
        HookType::Deactivate => "deactivate",
        HookType::Update => "update",
    }
}

/// Calls the hook; a snap-in that has none answers nothing, which is success. Answers the inputs
/// that it wrote, checked, or for people why it failed. Once it has begun it is carried to its end
/// and recorded, also when nobody waits for it any longer.
pub async fn call(services: &Services, call: HookCall) -> Result<Map<String, Value>, String> {
    if call.version.manifest.hook(call.hook).is_none() {
        return Ok(Map::new());
    }
    let answer = services.calls.carry(carry_out(services.clone(), call)).await;
    answer.unwrap_or_else(|| Err("the daemon could not call it; its log says why".to_owned()))
}

async fn carry_out(services: Services, call: HookCall) -> Result<Map<String, Value>, String> {
    let HookCall { hook, run, snap_in, context, version, payload, .. } = call;
    let HookCall { previous_inputs, offered, cause, .. } = call;
    let Some(declared) = version.manifest.hook(hook) else { return Ok(Map::new()) };
    let name = name(hook);
    let mut head = RunHead {
        cause,
        ..RunHead::new(
            snap_in,
            context.record.version,
            declared.function.clone(),
            RunTrigger::Hook { hook: name.to_owned() },
            services.clock.now_ms(),
        )
    };
    let (event_type, source_id) = (format!("hook:snap_in_{name}"), snap_in.to_string());
    let stored_inputs = context.record.inputs.clone();
    // Not cut off by a stop: what the lifecycle waits for is asked again after the next start.
    let execution = services
        .invoker
        .call_hook(Call {
            proposed: Some(context),
            previous_inputs,
            offered,
            ..Call::new(run, head.clone(), payload, event_type, source_id)
        })
        .await;
    let answer = match &execution.outcome {
        AttemptOutcome::Succeeded => {
            let result = execution.output.result.as_ref().map(|it| it.get());
            hook_answer::read(hook, result)
                .and_then(|answer| checked(&version, &stored_inputs, answer.inputs_values))
        }
        AttemptOutcome::Failed(error) => Err(match error.kind.as_str() {
            // What an author throws is written for the one who configures the snap-in.
            "thrown" => error.message.clone(),
            kind => format!("{} ({kind})", error.message),
        }),
        AttemptOutcome::Interrupted { reason }
        | AttemptOutcome::Postponed { reason }
        | AttemptOutcome::Cancelled { reason } => Err(reason.clone()),
    };
    let state = if answer.is_ok() { RunState::Succeeded } else { RunState::Failed };
    head.end_with(state, execution.outcome, services.clock.now_ms());
    let output = execution.output;
    let stored = services.store.write(move |it| it.record_run(run, &head, &output)).await;
    if let Err(error) = stored {
        warn!(%run, %error, "the run of a hook could not be recorded");
    }
    answer
}

/// The inputs that a hook wrote, in the form in which they are stored.
fn checked(
    version: &VersionContext,
    stored: &Map<String, Value>,
    written: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    if written.is_empty() {
        return Ok(written);
    }
    match inputs::change(&version.manifest, Level::Organization, stored, &written) {
        // As they are stored; null says that one is put back to its default.
        Ok(all) => Ok(written
            .into_iter()
            .map(|(name, _)| {
                let value = all.get(&name).cloned().unwrap_or(Value::Null);
                (name, value)
            })
            .collect()),
        Err(problems) => {
            let list: Vec<String> =
                problems.iter().map(|it| format!("{}: {}", it.input, it.message)).collect();
            Err(format!("its inputs_values are wrong: {}", list.join("; ")))
        }
    }
}
