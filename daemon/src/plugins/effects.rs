//! Calls that want something done before they answer.
//!
//! Owns the loop: call, perform the effect that the answer asks for, call again with its outcome,
//! until there is an answer without one. It must never perform an effect itself; whoever can
//! ([`PerformEffect`]) does so under the daemon's guard.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use mortise_plugin::{Effect, EffectOutcome};
use tokio::time::{Instant, timeout, timeout_at};

use super::instance::{CallError, Instance};
use super::role::{InstanceRole, millis};
use crate::model::event::Cause;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct EffectRequest {
    /// The effect, as the plugin asked for it. Its `timeout_ms` is what is left at most.
    pub effect: Effect,
    /// The body that the effect refers to, empty when it has none.
    pub body: Bytes,
    /// What it is caused by, when it stands in a chain of causes.
    pub cause: Option<Cause>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct EffectAnswer {
    /// How it went.
    pub outcome: EffectOutcome,
    /// The body of the response, or what a program wrote.
    pub body: Bytes,
}

/// Whoever performs effects for plugins, under the address guard and deadlines of the daemon.
pub trait PerformEffect: Send + Sync {
    /// Performs one effect. A failure is an [`EffectOutcome::Failed`], which the plugin decides on.
    fn perform(
        &self,
        request: EffectRequest,
    ) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>>;
}

/// How far a plugin may go with effects.
#[derive(Clone, Copy, Debug)]
pub struct EffectLimits {
    /// So many effects in a row.
    pub rounds: usize,
    /// So much time altogether.
    pub deadline: Duration,
}

/// Makes a call, with as many effects as it asks for within `limits`.
pub async fn call_with_effects<R: InstanceRole>(
    instance: &Instance<R>,
    call: R::Call,
    body: Bytes,
    performer: &dyn PerformEffect,
    limits: EffectLimits,
) -> Result<R::Output, CallError> {
    // Dropping the loop is safe: a call in progress is watched to its own deadline.
    match timeout(limits.deadline, run(instance, call, body, performer, limits)).await {
        Ok(answer) => answer,
        Err(_) => Err(CallError::OverallDeadline(limits.deadline)),
    }
}

async fn run<R: InstanceRole>(
    instance: &Instance<R>,
    call: R::Call,
    body: Bytes,
    performer: &dyn PerformEffect,
    limits: EffectLimits,
) -> Result<R::Output, CallError> {
    let started = Instant::now();
    let end = started + limits.deadline;
    let (now_ms, call_deadline) = R::times(&call);
    let about = R::about(&call);
    let mut output = instance.call(call, body).await?;
    for _ in 0..limits.rounds {
        let Some(mut effect) = R::effect(&mut output) else { return Ok(output) };
        let state = effect.state.clone();
        let left = end.saturating_duration_since(Instant::now());
        let asked = Duration::from_millis(effect.timeout_ms);
        let allowed = asked.min(left);
        effect.timeout_ms = millis(allowed);
        let body = match effect.act.body() {
            // Its presence was checked with the answer.
            Some(index) => Bytes::from(R::bodies(&mut output).swap_remove(index)),
            None => Bytes::new(),
        };
        let performed = performer.perform(EffectRequest { effect, body, cause: None });
        let answer = match timeout_at(Instant::now() + allowed, performed).await {
            Ok(answer) => answer,
            // It was cut short by our limit, not by its own: that is not the plugin's to decide on.
            Err(_) if allowed < asked => {
                return Err(CallError::OverallDeadline(limits.deadline));
            }
            Err(_) => EffectAnswer {
                outcome: EffectOutcome::Failed {
                    message: format!("no answer within {} ms", millis(allowed)),
                    transient: true,
                },
                body: Bytes::new(),
            },
        };
        let now_ms = now_ms.saturating_add(millis(started.elapsed()));
        // Not shortened to what is left: a call cut short by our own limit is not the plugin's
        // fault, and must not get its instance stuck.
        let next = R::response_call(&about, now_ms, call_deadline, state, answer.outcome);
        output = instance.call(next, answer.body).await?;
    }
    match R::effect(&mut output) {
        None => Ok(output),
        Some(_) => Err(CallError::TooManyEffects(limits.rounds)),
    }
}
