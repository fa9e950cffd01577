//! One configured source or sink: asynchronous calls onto the pool, with deadlines.
//!
//! Owns the way of one call: to bytes, over the boundary, back from bytes, checked. It must never
//! run a plugin's code on the caller's thread, its `stop` and destructor included, and it must never
//! trust an answer.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use abi_stable::std_types::{RResult, RSlice, RVec};
use bytes::Bytes;
use mortise_plugin::ffi_v1::InstanceBox;
use mortise_plugin::{Fault, FaultKind, LogLevel, Role};
use tokio::sync::oneshot;

use super::host::Registry;
use super::pool::{Lane, NotTaken};
use super::report::InstanceReport;
use super::role::{InstanceRole, SinkRole, SourceRole};
use super::watch::Watch;

/// Where a plugin's log lines go.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// An open source.
pub type SourceInstance = Instance<SourceRole>;
/// An open sink.
pub type SinkInstance = Instance<SinkRole>;

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// Too many calls wait. It may work later.
    #[error("too many calls of plugins are waiting")]
    Busy,
    /// An earlier call overran its deadline and has not returned.
    #[error("the plugin instance is stuck in an earlier call that overran its deadline")]
    Stuck,
    /// This call overran its deadline. From now on the instance is stuck.
    #[error("the plugin did not answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The plugin answered with a fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The plugin broke the contract.
    #[error("the plugin's answer is not usable: {0}")]
    BadAnswer(String),
    /// The plugin asked for effect after effect.
    #[error("the plugin asked for more than {0} effects in a row")]
    TooManyEffects(usize),
    /// Call and effects together took too long. The instance is not stuck.
    #[error("the plugin's call and its effects took longer than {} ms", .0.as_millis())]
    OverallDeadline(Duration),
}

/// Counts of one instance, see [`InstanceReport`].
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    faults: AtomicU64,
    panics: AtomicU64,
    bad_answers: AtomicU64,
}

impl Counts {
    fn count(&self, error: &CallError) {
        match error {
            CallError::Fault(fault) => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                if fault.kind == FaultKind::Panicked {
                    self.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
            CallError::BadAnswer(_) => {
                self.bad_answers.fetch_add(1, Ordering::Relaxed);
            }
            CallError::Busy
            | CallError::Stuck
            | CallError::Deadline(_)
            | CallError::TooManyEffects(_)
            | CallError::OverallDeadline(_) => {}
        }
    }
}

/// What an instance is, apart from the plugin's object.
pub(super) struct InstanceFacts {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) kind: String,
    pub(super) max_answer_bytes: usize,
    pub(super) close_deadline: Duration,
}

/// The plugin's object and all that belongs to it. Jobs keep it alive, so that it is stopped when
/// the last one is over.
pub(super) struct OpenInstance {
    /// Present until the destructor runs.
    object: Option<InstanceBox>,
    lane: Arc<Lane>,
    facts: InstanceFacts,
    counts: Counts,
    registry: Weak<Registry>,
}

impl OpenInstance {
    pub(super) fn new(
        object: InstanceBox,
        lane: Arc<Lane>,
        facts: InstanceFacts,
        registry: &Arc<Registry>,
    ) -> Arc<OpenInstance> {
        let instance = Arc::new(OpenInstance {
            object: Some(object),
            lane,
            facts,
            counts: Counts::default(),
            registry: Arc::downgrade(registry),
        });
        registry.add(instance.lane.id(), &instance);
        instance
    }

    pub(super) fn report(&self) -> InstanceReport {
        let lane = self.lane.counts();
        InstanceReport {
            name: self.facts.name.clone(),
            role: self.facts.role,
            kind: self.facts.kind.clone(),
            stuck_calls: lane.stuck,
            running: lane.running,
            queued: lane.queued,
            calls: self.counts.calls.load(Ordering::Relaxed),
            faults: self.counts.faults.load(Ordering::Relaxed),
            panics: self.counts.panics.load(Ordering::Relaxed),
            bad_answers: self.counts.bad_answers.load(Ordering::Relaxed),
            abandoned: lane.abandoned,
            returned: lane.returned,
        }
    }

    /// Runs on a thread of the pool.
    fn answer<R: InstanceRole>(&self, call: &R::Call, body: &[u8]) -> Result<R::Output, CallError> {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let answer = self.exchange::<R>(call, body);
        if let Err(error) = &answer {
            self.counts.count(error);
        }
        answer
    }

    fn exchange<R: InstanceRole>(
        &self,
        call: &R::Call,
        body: &[u8],
    ) -> Result<R::Output, CallError> {
        let document = serde_json::to_vec(call)
            .map_err(|error| CallError::BadAnswer(format!("cannot write the call: {error}")))?;
        let object = self.object.as_ref().expect("present until the destructor runs");
        let reply = match object.call(RSlice::from_slice(&document), RSlice::from_slice(body)) {
            RResult::ROk(reply) => reply,
            RResult::RErr(fault) => return Err(read_fault(&fault)),
        };
        let size = reply.document.len() + reply.bodies.iter().map(RVec::len).sum::<usize>();
        if size > self.facts.max_answer_bytes {
            return Err(CallError::BadAnswer(format!(
                "it has {size} bytes, at most {} are allowed",
                self.facts.max_answer_bytes
            )));
        }
        let mut output: R::Output = serde_json::from_slice(&reply.document)
            .map_err(|error| CallError::BadAnswer(error.to_string()))?;
        *R::bodies(&mut output) = reply.bodies.into_iter().map(RVec::into_vec).collect();
        match R::violation(&output, body) {
            Some(violation) => Err(CallError::BadAnswer(violation)),
            None => Ok(output),
        }
    }
}

impl Drop for OpenInstance {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(self.lane.id());
        }
        let Some(object) = self.object.take() else { return };
        let (done, closed) = oneshot::channel();
        let ticket = self.lane.push_last(Box::new(move || {
            object.stop();
            drop(object);
            let _ = done.send(Ok(()));
        }));
        Watch::new(self.lane.watcher(), ticket, closed, self.facts.close_deadline).aside();
    }
}

/// Longer fault messages are cut; they end up in logs and answers.
const MAX_MESSAGE_CHARS: usize = 4096;
const MAX_PROBLEMS: usize = 256;

pub(super) fn read_fault(json: &[u8]) -> CallError {
    match serde_json::from_slice::<Fault>(json) {
        Ok(mut fault) => {
            if let Some((end, _)) = fault.message.char_indices().nth(MAX_MESSAGE_CHARS) {
                fault.message.truncate(end);
            }
            fault.problems.truncate(MAX_PROBLEMS);
            CallError::Fault(fault)
        }
        Err(error) => CallError::BadAnswer(format!("its fault cannot be read: {error}")),
    }
}

/// One configured source or sink. Cheap to clone; when the last clone is gone, the instance is
/// stopped on a thread of the pool.
pub struct Instance<R: InstanceRole> {
    open: Arc<OpenInstance>,
    role: PhantomData<R>,
}

impl<R: InstanceRole> Clone for Instance<R> {
    fn clone(&self) -> Instance<R> {
        Instance { open: Arc::clone(&self.open), role: PhantomData }
    }
}

impl<R: InstanceRole> Instance<R> {
    pub(super) fn new(open: Arc<OpenInstance>) -> Instance<R> {
        Instance { open, role: PhantomData }
    }

    /// Makes one call. Its deadline is the one in the document, counted from when a thread takes it;
    /// the wait for a thread is bounded by the same time again.
    ///
    /// When the future is dropped, a call that has not begun is taken back, and one that has begun
    /// is watched to its deadline all the same.
    pub async fn call(&self, call: R::Call, body: Bytes) -> Result<R::Output, CallError> {
        let (_, deadline) = R::times(&call);
        let (sender, receiver) = oneshot::channel();
        let open = Arc::clone(&self.open);
        let ticket = self.open.lane.push(Box::new(move || {
            let answer = open.answer::<R>(&call, &body);
            // Gone before the caller knows, so that whoever drops the instance next stops it.
            drop(open);
            let _ = sender.send(answer);
        }));
        let ticket = ticket.map_err(not_taken)?;
        Watch::new(self.open.lane.watcher(), ticket, receiver, deadline).wait().await
    }

    /// How it is doing.
    pub fn report(&self) -> InstanceReport {
        self.open.report()
    }
}

impl<R: InstanceRole> std::fmt::Debug for Instance<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.open.facts.name)
            .field("kind", &self.open.facts.kind)
            .finish_non_exhaustive()
    }
}

pub(super) fn not_taken(reason: NotTaken) -> CallError {
    match reason {
        NotTaken::Busy => CallError::Busy,
        NotTaken::Stuck => CallError::Stuck,
    }
}
