//! Who waits for a call, and gives up on it in time.
//!
//! Owns the rule of what a deadline covers, and that a call in progress is watched to its end even
//! when nobody waits for its answer any more: a client that disconnects must not hide a call that
//! hangs. It must never block.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::instance::CallError;
use super::pool::{LaneWatcher, Overdue, Ticket};

/// Longer deadlines mean this one; it keeps the arithmetic of instants from overflowing.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

type Answer<T> = Result<T, CallError>;

/// The one who waits for one call.
pub(super) struct Watch<T: Send + 'static> {
    lane: LaneWatcher,
    ticket: Arc<Ticket>,
    deadline: Duration,
    /// Taken when the watch is over.
    receiver: Option<Receiver<Answer<T>>>,
    /// Nobody waits for the answer.
    aside: bool,
}

impl<T: Send + 'static> Watch<T> {
    pub(super) fn new(
        lane: LaneWatcher,
        ticket: Arc<Ticket>,
        receiver: Receiver<Answer<T>>,
        deadline: Duration,
    ) -> Watch<T> {
        let deadline = deadline.min(LONGEST);
        Watch { lane, ticket, deadline, receiver: Some(receiver), aside: false }
    }

    /// Waits for the answer. The deadline covers the call itself; the wait for a thread before it is
    /// bounded by the same time again, and costs nobody but the caller.
    pub(super) async fn wait(mut self) -> Answer<T> {
        let answer = self.answer().await;
        self.receiver = None;
        answer
    }

    /// Goes on watching without anybody who waits, as long as there is a runtime to do it on.
    pub(super) fn aside(mut self) {
        let Some(receiver) = self.receiver.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let watch = Watch {
            lane: self.lane.clone(),
            ticket: Arc::clone(&self.ticket),
            deadline: self.deadline,
            receiver: Some(receiver),
            // A runtime that shuts down drops its tasks: then it ends.
            aside: true,
        };
        runtime.spawn(watch.wait());
    }

    async fn answer(&mut self) -> Answer<T> {
        let Some(receiver) = self.receiver.as_mut() else { return Err(CallError::Busy) };
        let mut due = Instant::now() + self.deadline;
        loop {
            if let Ok(received) = timeout_at(due, &mut *receiver).await {
                return received_answer(received, &self.ticket);
            }
            // What nobody waits for has time to begin, and must: it may be the clean-up.
            if !(self.aside && self.ticket.is_queued()) {
                break;
            }
            due += self.deadline;
        }
        if self.ticket.cancel() {
            return Err(CallError::Busy);
        }
        // It has begun, but perhaps late: it gets its whole time.
        let due = due + self.ticket.waited().min(self.deadline);
        if let Ok(received) = timeout_at(due, &mut *receiver).await {
            return received_answer(received, &self.ticket);
        }
        match self.lane.give_up(&self.ticket) {
            Overdue::Cancelled => Err(CallError::Busy),
            Overdue::Discarded => Err(CallError::Stuck),
            Overdue::Abandoned => Err(CallError::Deadline(self.deadline)),
            // The answer is sent before the job counts as done.
            Overdue::Done => received_answer(receiver.await, &self.ticket),
        }
    }
}

fn received_answer<T>(received: Result<Answer<T>, RecvError>, ticket: &Ticket) -> Answer<T> {
    match received {
        Ok(answer) => answer,
        Err(_) if ticket.was_discarded() => Err(CallError::Stuck),
        Err(_) => Err(CallError::BadAnswer("the call ended without one".to_owned())),
    }
}

impl<T: Send + 'static> Drop for Watch<T> {
    fn drop(&mut self) {
        if self.aside || self.receiver.is_none() || self.ticket.cancel() {
            return;
        }
        Watch {
            lane: self.lane.clone(),
            ticket: Arc::clone(&self.ticket),
            deadline: self.deadline,
            receiver: self.receiver.take(),
            aside: false,
        }
        .aside();
    }
}
