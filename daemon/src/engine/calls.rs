//! Calls that somebody waits for, carried to their end whether he goes on waiting or not.
//!
//! Owns the tasks in which such calls run, so that a client that hangs up cuts nothing off: what a
//! function has done outside cannot be taken back, and its run has to say that it was done. How
//! long one takes is bounded by the function's own deadline. Must never know what is called.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::error;

use super::dispatcher::Execution;
use crate::lifecycle::run::RetryPolicy;
use crate::model::run::{AttemptOutcome, RunOutput};

/// The calls that are on.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runtime: Handle,
    under_way: watch::Sender<usize>,
    cut_off: watch::Sender<bool>,
}

/// One that is on; it is not any more when this is dropped, also by a panic.
struct UnderWay(Arc<Inner>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|it| *it -= 1);
    }
}

impl Calls {
    /// None yet. They run on `runtime`, which has to outlive whoever waits for them.
    pub fn new(runtime: Handle) -> Calls {
        let (under_way, cut_off) = (watch::Sender::new(0), watch::Sender::new(false));
        Calls(Arc::new(Inner { runtime, under_way, cut_off }))
    }

    /// Does the work and waits for it; it goes on when the caller does not wait any longer.
    /// Nothing when the work died of a mistake of its own.
    pub async fn carry<T, F>(&self, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.0.under_way.send_modify(|it| *it += 1);
        let under_way = UnderWay(self.0.clone());
        let task = self.0.runtime.spawn(async move {
            let _under_way = under_way;
            work.await
        });
        match task.await {
            Ok(done) => Some(done),
            Err(error) => {
                error!(%error, "a call of a function has died");
                None
            }
        }
    }

    /// An execution, or that it was interrupted because the daemon stops.
    pub async fn unless_cut_off(&self, execution: impl Future<Output = Execution>) -> Execution {
        let mut cut_off = self.0.cut_off.subscribe();
        tokio::select! {
            // What has ended has ended.
            biased;
            execution = execution => execution,
            _ = cut_off.wait_for(|it| *it) => interrupted(),
        }
    }

    /// Waits until none is on.
    pub async fn settled(&self) {
        // The sender is in `self`.
        let _ = self.0.under_way.subscribe().wait_for(|it| *it == 0).await;
    }

    /// The daemon cannot wait for them any longer.
    pub fn cut_off(&self) {
        self.0.cut_off.send_replace(true);
    }
}

fn interrupted() -> Execution {
    let reason = "the daemon stopped while it ran; nobody knows how far it came".to_owned();
    Execution {
        outcome: AttemptOutcome::Interrupted { reason },
        output: RunOutput::default(),
        // Nobody tries again what somebody waited for.
        policy: RetryPolicy { max_retries: 0, min_interval_ms: 0 },
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_begun_goes_on_without_its_caller() {
        let calls = Calls::new(Handle::current());
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let caller = tokio::spawn({
            let calls = calls.clone();
            async move {
                let work = async move {
                    begun.send(()).unwrap();
                    may_go_on.await.unwrap();
                    done.send(()).unwrap();
                };
                calls.carry(work).await
            }
        });
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(*calls.0.under_way.borrow(), 1);
        go_on.send(()).unwrap();
        is_done.await.unwrap();
        calls.settled().await;
        assert_eq!(*calls.0.under_way.borrow(), 0);
    }

    #[tokio::test]
    async fn one_that_dies_is_not_on_any_more() {
        let calls = Calls::new(Handle::current());
        let died: Option<()> = calls.carry(async { panic!("a mistake") }).await;
        assert_eq!(died, None);
        calls.settled().await;
    }

    #[tokio::test]
    async fn a_stop_interrupts_what_does_not_end() {
        let calls = Calls::new(Handle::current());
        let never = {
            let calls = calls.clone();
            async move { calls.unless_cut_off(std::future::pending()).await }
        };
        let caller = tokio::spawn({
            let calls = calls.clone();
            async move { calls.carry(never).await }
        });
        calls.cut_off();
        let execution = caller.await.unwrap().unwrap();
        assert!(matches!(execution.outcome, AttemptOutcome::Interrupted { .. }), "{execution:?}");
        calls.settled().await;
    }
}
