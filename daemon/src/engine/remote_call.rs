//! Calls of functions whose code is on a server of the author's own (runtime `remote`), and the
//! hooks whose outcome such a server reports later.
//!
//! What is sent and what an answer means is `functions::remote`'s; here the requests are made. They
//! go to the testing URL's own host and port and nowhere else: whoever may create versions has said
//! that this place may be reached, be it on this host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::egress::{Egress, EgressError};
use crate::functions::outcome::{
    Failure, FailureKind, LogLevel, LogLine, MadeRequest, Outcome, RunReport,
};
use crate::functions::pool::{SecretTexts, mask};
use crate::functions::remote::{Exchange, TestingUrl, handed_over, read_answer};
use crate::lifecycle::system_update::AwaitedHook;
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse, Redirects};
use crate::model::id::RunId;
use crate::model::run::{AttemptOutcome, RunTrigger};

/// The most that an answer may have, as for what runner processes return.
const MOST_BYTES: usize = 1024 * 1024;

/// Calls servers, and remembers which of them are to report.
#[derive(Clone)]
pub struct RemoteServers {
    egress: Arc<Egress>,
    awaited: Arc<Mutex<HashMap<RunId, Awaited>>>,
}

struct Awaited {
    call: u64,
    hook: AwaitedHook,
    answer: oneshot::Sender<Value>,
    /// Why its last report was refused: what to tell if no other one comes.
    refused: Option<String>,
}

/// One call.
pub struct RemoteCall<'a> {
    /// The server.
    pub url: TestingUrl,
    /// The run.
    pub run: RunId,
    /// Which call of that run: a hook that is called again has the same one.
    pub call: u64,
    /// What caused it, which says how the event is handed over.
    pub trigger: &'a RunTrigger,
    /// The payload, for what a hook was told.
    pub payload: &'a Bytes,
    /// The event object.
    pub event: Bytes,
    /// The most that it may take.
    pub timeout: Duration,
    /// Texts to be masked in what comes back.
    pub secrets: SecretTexts,
}

impl RemoteServers {
    /// Over the daemon's egress.
    pub fn new(egress: Arc<Egress>) -> RemoteServers {
        RemoteServers { egress, awaited: Arc::default() }
    }

    /// The hook whose outcome is awaited of this call of a run.
    pub fn awaited(&self, run: RunId, call: u64) -> Option<AwaitedHook> {
        self.awaiting().get(&run).filter(|it| it.call == call).map(|it| it.hook)
    }

    /// Hands over what a hook's server reported; says whether somebody still waits for it.
    pub fn report(&self, run: RunId, call: u64, answer: Value) -> bool {
        let mut awaiting = self.awaiting();
        if awaiting.get(&run).is_none_or(|it| it.call != call) {
            return false;
        }
        let awaited = awaiting.remove(&run);
        awaited.is_some_and(|it| it.answer.send(answer).is_ok())
    }

    /// A report of this call was not taken; another one may follow.
    pub fn report_refused(&self, run: RunId, call: u64, why: String) {
        if let Some(awaited) = self.awaiting().get_mut(&run).filter(|it| it.call == call) {
            awaited.refused = Some(why);
        }
    }

    fn awaiting(&self) -> MutexGuard<'_, HashMap<RunId, Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a function. The outer error is an attempt that was not begun: there is no server.
    pub async fn call(&self, call: RemoteCall<'_>) -> Result<RunReport, AttemptOutcome> {
        let began = Instant::now();
        let (mut logs, mut requests) = (Vec::new(), Vec::new());
        let outcome = match (how(call.trigger), awaited_hook(call.trigger, call.payload)) {
            (Exchange::Sync, _) => self.call_and_wait(&call, &mut requests).await?,
            (Exchange::Async, None) => {
                let handed = self.hand_over(&call, &mut requests).await?;
                handed.map_or_else(
                    |it| it,
                    |()| {
                        logs.push(handed_over_line(
                            &call.url,
                            began,
                            "what becomes of it there, and what \
                        it logs, is the server's",
                        ));
                        Outcome::Succeeded { result: RawValue::NULL.to_owned() }
                    },
                )
            }
            (Exchange::Async, Some(hook)) => {
                // Before the event leaves: the report may be faster than the answer.
                let waiting = Waiting::begin(self, (call.run, call.call), hook);
                match self.hand_over(&call, &mut requests).await? {
                    Err(outcome) => outcome,
                    Ok(()) => {
                        logs.push(handed_over_line(
                            &call.url,
                            began,
                            "its outcome comes with \
                            snap-ins.system-update",
                        ));
                        waiting
                            .outcome(call.timeout.saturating_sub(began.elapsed()), call.timeout)
                            .await
                    }
                }
            }
        };
        let report = RunReport { outcome, logs, requests, duration: began.elapsed() };
        Ok(mask(report, call.secrets).await)
    }

    async fn call_and_wait(
        &self,
        call: &RemoteCall<'_>,
        requests: &mut Vec<MadeRequest>,
    ) -> Result<Outcome, AttemptOutcome> {
        match self.post(call, Exchange::Sync, call.event.clone(), requests).await? {
            Ok(response) => read_answer(response.status, &response.body)
                .ok_or_else(|| is_down(&call.url, response.status)),
            Err(outcome) => Ok(outcome),
        }
    }

    async fn hand_over(
        &self,
        call: &RemoteCall<'_>,
        requests: &mut Vec<MadeRequest>,
    ) -> Result<Result<(), Outcome>, AttemptOutcome> {
        let mut body = Vec::with_capacity(call.event.len() + 2);
        body.push(b'[');
        body.extend_from_slice(&call.event);
        body.push(b']');
        match self.post(call, Exchange::Async, body.into(), requests).await? {
            Ok(response) => {
                let taken = handed_over(response.status, &response.body);
                let taken = taken.ok_or_else(|| is_down(&call.url, response.status))?;
                Ok(taken)
            }
            Err(outcome) => Ok(Err(outcome)),
        }
    }

    async fn post(
        &self,
        call: &RemoteCall<'_>,
        exchange: Exchange,
        body: Bytes,
        requests: &mut Vec<MadeRequest>,
    ) -> Result<Result<OutgoingResponse, Outcome>, AttemptOutcome> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = OutgoingRequest {
            method: "POST".to_owned(),
            url: call.url.endpoint(exchange),
            headers: vec![
                header("content-type", "application/json"),
                header("accept", "application/json"),
            ],
            body,
            timeout: call.timeout,
            redirects: Redirects::Refuse,
        };
        let (began, target) = (Instant::now(), request.url.clone());
        let destination = call.url.destination();
        // A developer's own host is meant; whatever else is refused to all stays refused.
        let internal = if call.url.is_this_host() { vec![destination.clone()] } else { Vec::new() };
        let rules = EgressRules { internal, ..EgressRules::only(vec![destination]) };
        let failed = |kind, message: String| Ok(Err(Outcome::Failed(Failure::new(kind, message))));
        let answer = self.egress.send_up_to(request, &rules, MOST_BYTES).await;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
        requests.push(MadeRequest {
            method: "POST".to_owned(),
            target,
            at_ms: 0,
            duration_ms,
            status: answer.as_ref().ok().map(|it| it.status),
            error: answer.as_ref().err().map(EgressError::to_string),
        });
        match answer {
            Ok(response) => Ok(Ok(response)),
            Err(EgressError::NoConnection { reason, .. }) => Err(nobody_there(&call.url, &reason)),
            // It may have begun: the host's side cannot know.
            Err(EgressError::Failed { reason, .. }) => Ok(Err(Outcome::Interrupted {
                reason: format!(
                    "the connection to the server of the testing URL at {} broke: {reason}",
                    call.url.origin()
                ),
            })),
            Err(EgressError::TimedOut { .. }) => failed(
                FailureKind::Timeout,
                format!(
                    "the server of the testing URL did not answer within {} s",
                    call.timeout.as_secs()
                ),
            ),
            Err(error @ EgressError::TooLarge { .. }) => {
                failed(FailureKind::OutputTooLarge, error.to_string())
            }
            Err(error @ (EgressError::InvalidRequest(_) | EgressError::Refused(_))) => failed(
                FailureKind::Refused,
                format!("the server of the testing URL cannot be called: {error}"),
            ),
        }
    }
}

/// A server is started again all the time while a function is written: its events wait.
fn nobody_there(url: &TestingUrl, why: &str) -> AttemptOutcome {
    let reason = format!(
        "nobody answers at {} ({why}): start the server of the version's testing URL there",
        url.origin()
    );
    AttemptOutcome::Postponed { reason }
}

fn is_down(url: &TestingUrl, status: u16) -> AttemptOutcome {
    nobody_there(url, &format!("what stands before it answered {status}"))
}

fn handed_over_line(url: &TestingUrl, began: Instant, and_then: &str) -> LogLine {
    LogLine {
        level: LogLevel::Info,
        at_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        message: format!("handed over to {}: {and_then}", url.origin()),
    }
}

/// How an event is handed over (spec §2.4).
fn how(trigger: &RunTrigger) -> Exchange {
    match trigger {
        RunTrigger::Automation { .. } => Exchange::Async,
        RunTrigger::Hook { hook } if hook == "activate" || hook == "deactivate" => Exchange::Async,
        RunTrigger::Hook { .. }
        | RunTrigger::Call
        | RunTrigger::Command { .. }
        | RunTrigger::SnapKitAction { .. }
        | RunTrigger::SnapComponent { .. }
        | RunTrigger::ConfigurationPage { .. }
        | RunTrigger::Operation { .. } => Exchange::Sync,
    }
}

/// Whether it is a hook whose outcome may be reported later.
pub(super) fn may_report(trigger: &RunTrigger) -> bool {
    awaited_hook(trigger, &Bytes::new()).is_some()
}

/// The hook whose outcome is reported later, with what it is told.
fn awaited_hook(trigger: &RunTrigger, payload: &Bytes) -> Option<AwaitedHook> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        is_deletion: bool,
    }
    match trigger {
        RunTrigger::Hook { hook } if hook == "activate" => Some(AwaitedHook::Activate),
        RunTrigger::Hook { hook } if hook == "deactivate" => {
            let told = serde_json::from_slice(payload);
            let Told { is_deletion } = told.unwrap_or(Told { is_deletion: false });
            Some(AwaitedHook::Deactivate { is_deletion })
        }
        RunTrigger::Hook { .. }
        | RunTrigger::Automation { .. }
        | RunTrigger::Call
        | RunTrigger::Command { .. }
        | RunTrigger::SnapKitAction { .. }
        | RunTrigger::SnapComponent { .. }
        | RunTrigger::ConfigurationPage { .. }
        | RunTrigger::Operation { .. } => None,
    }
}

/// Somebody waits for a report; nobody any more when this is dropped.
struct Waiting<'a> {
    servers: &'a RemoteServers,
    run: RunId,
    answer: oneshot::Receiver<Value>,
}

impl<'a> Waiting<'a> {
    fn begin(
        servers: &'a RemoteServers,
        (run, call): (RunId, u64),
        hook: AwaitedHook,
    ) -> Waiting<'a> {
        let (sender, answer) = oneshot::channel();
        let awaited = Awaited { call, hook, answer: sender, refused: None };
        servers.awaiting().insert(run, awaited);
        Waiting { servers, run, answer }
    }

    async fn outcome(mut self, patience: Duration, timeout: Duration) -> Outcome {
        match tokio::time::timeout(patience, &mut self.answer).await {
            Ok(Ok(answer)) => match RawValue::from_string(answer.to_string()) {
                Ok(result) => Outcome::Succeeded { result },
                Err(error) => {
                    Outcome::Failed(Failure::new(FailureKind::BadOutput, error.to_string()))
                }
            },
            // Another attempt of the same run has taken its place.
            Ok(Err(_)) => Outcome::Interrupted { reason: "the hook was called again".to_owned() },
            Err(_) => Outcome::Failed(Failure::new(
                FailureKind::Timeout,
                format!(
                    "the server of the testing URL took the event, but did not report how it went \
                     (snap-ins.system-update) within {} s{}",
                    timeout.as_secs(),
                    self.refused(),
                ),
            )),
        }
    }

    /// What was wrong with the report that did come.
    fn refused(&self) -> String {
        let awaited = self.servers.awaiting();
        let why = awaited.get(&self.run).and_then(|it| it.refused.as_ref());
        why.map(|it| format!("; what it reported was refused: {it}")).unwrap_or_default()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        let mut awaited = self.servers.awaiting();
        // That of a later attempt is not ours to remove.
        if awaited.get(&self.run).is_some_and(|it| it.answer.is_closed()) {
            awaited.remove(&self.run);
        }
    }
}
