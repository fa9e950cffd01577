//! What is different between sources and sinks, so that everything else is written once.
//!
//! Owns the documents' differences and the check that an answer keeps the contract. It must never
//! look at what a document means.

use std::time::Duration;

use mortise_plugin::ffi_v1::{ROLE_SINK, ROLE_SOURCE};
use mortise_plugin::{
    Act, Effect, EffectOutcome, Payload, Problem, ResponseBody, Role, SinkCall, SinkInput,
    SinkOutput, SourceCall, SourceIds, SourceInput, SourceOutput,
};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

/// Source or sink.
pub trait InstanceRole: Send + Sync + 'static {
    /// The document of a call.
    type Call: Serialize + Send + 'static;
    /// The document of an answer.
    type Output: DeserializeOwned + Send + 'static;

    /// What all calls on the way to one answer say alike.
    type About: Send;

    /// Which role this is.
    const ROLE: Role;
    /// The same, in the binary layout.
    const CODE: u8;

    /// When the call was made, and how long it may take.
    fn times(call: &Self::Call) -> (u64, Duration);
    /// What follow-up calls repeat.
    fn about(call: &Self::Call) -> Self::About;
    /// The call that asks what is questionable about a config.
    fn check_call(now_ms: u64, deadline: Duration) -> Self::Call;
    /// The call that brings the outcome of an effect.
    fn response_call(
        about: &Self::About,
        now_ms: u64,
        deadline: Duration,
        state: Value,
        outcome: EffectOutcome,
    ) -> Self::Call;

    /// The effect that an answer asks for.
    fn effect(output: &mut Self::Output) -> Option<Effect>;
    /// The answer to a check.
    fn problems(output: Self::Output) -> Vec<Problem>;
    /// The bodies beside an answer.
    fn bodies(output: &mut Self::Output) -> &mut Vec<Vec<u8>>;
    /// What in an answer breaks the contract; `body` is that of the call.
    fn violation(output: &Self::Output, body: &[u8]) -> Option<String>;
}

/// Sources of events.
#[derive(Clone, Copy, Debug)]
pub struct SourceRole;

/// Receivers of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct SinkRole;

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl InstanceRole for SourceRole {
    type Call = SourceCall;
    type Output = SourceOutput;
    type About = SourceIds;
    const ROLE: Role = Role::Source;
    const CODE: u8 = ROLE_SOURCE;

    fn times(call: &SourceCall) -> (u64, Duration) {
        (call.now_ms, Duration::from_millis(call.deadline_ms))
    }

    fn about(call: &SourceCall) -> SourceIds {
        call.source.clone()
    }

    fn check_call(now_ms: u64, deadline: Duration) -> SourceCall {
        SourceCall::new(now_ms, millis(deadline), SourceInput::Check {})
    }

    fn response_call(
        source: &SourceIds,
        now_ms: u64,
        deadline: Duration,
        state: Value,
        outcome: EffectOutcome,
    ) -> SourceCall {
        let input = SourceInput::Response { state, outcome };
        SourceCall { now_ms, deadline_ms: millis(deadline), source: source.clone(), input }
    }

    fn effect(output: &mut SourceOutput) -> Option<Effect> {
        output.effect.take()
    }

    fn problems(output: SourceOutput) -> Vec<Problem> {
        output.problems
    }

    fn bodies(output: &mut SourceOutput) -> &mut Vec<Vec<u8>> {
        &mut output.bodies
    }

    fn violation(output: &SourceOutput, body: &[u8]) -> Option<String> {
        if let Some(effect) = &output.effect {
            // Whoever writes a manifest configures sources: no mails and no programs of the host.
            match effect.act {
                Act::Http(_) => {}
                Act::Smtp(_) | Act::Exec(_) => {
                    return Some("a source may ask for http effects only".to_owned());
                }
            }
            // Nothing else of the answer is used.
            return effect_violation(effect, output.bodies.len());
        }
        for (position, event) in output.events.iter().enumerate() {
            if event.event_type.is_empty() {
                return Some(format!("event {position} has no type"));
            }
            let payload = match event.payload {
                Payload::Json(_) => continue,
                Payload::Input => body,
                Payload::Body(index) => match output.bodies.get(index) {
                    Some(bytes) => bytes,
                    None => return Some(missing_body(index, output.bodies.len())),
                },
            };
            if let Err(error) = serde_json::from_slice::<IgnoredAny>(payload) {
                return Some(format!("the payload of event {position} is no JSON: {error}"));
            }
        }
        let response = output.response.as_ref()?;
        if !(200..=599).contains(&response.status) {
            return Some(format!("response status {} is not in 200..=599", response.status));
        }
        match response.body {
            ResponseBody::Body(index) if index >= output.bodies.len() => {
                Some(missing_body(index, output.bodies.len()))
            }
            ResponseBody::Body(_)
            | ResponseBody::Default
            | ResponseBody::Text(_)
            | ResponseBody::Json(_) => None,
        }
    }
}

impl InstanceRole for SinkRole {
    type Call = SinkCall;
    type Output = SinkOutput;
    type About = ();
    const ROLE: Role = Role::Sink;
    const CODE: u8 = ROLE_SINK;

    fn times(call: &SinkCall) -> (u64, Duration) {
        (call.now_ms, Duration::from_millis(call.deadline_ms))
    }

    fn about(_: &SinkCall) {}

    fn check_call(now_ms: u64, deadline: Duration) -> SinkCall {
        SinkCall { now_ms, deadline_ms: millis(deadline), input: SinkInput::Check {} }
    }

    fn response_call(
        (): &(),
        now_ms: u64,
        deadline: Duration,
        state: Value,
        outcome: EffectOutcome,
    ) -> SinkCall {
        let input = SinkInput::Response { state, outcome };
        SinkCall { now_ms, deadline_ms: millis(deadline), input }
    }

    fn effect(output: &mut SinkOutput) -> Option<Effect> {
        output.effect.take()
    }

    fn problems(output: SinkOutput) -> Vec<Problem> {
        output.problems
    }

    fn bodies(output: &mut SinkOutput) -> &mut Vec<Vec<u8>> {
        &mut output.bodies
    }

    fn violation(output: &SinkOutput, _body: &[u8]) -> Option<String> {
        effect_violation(output.effect.as_ref()?, output.bodies.len())
    }
}

fn effect_violation(effect: &Effect, bodies: usize) -> Option<String> {
    let index = effect.act.body()?;
    (index >= bodies).then(|| missing_body(index, bodies))
}

fn missing_body(index: usize, bodies: usize) -> String {
    format!("it refers to body {index} of {bodies}, counted from 0")
}
