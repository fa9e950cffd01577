//! One runner process and the conversation with it during a run.
//!
//! The task that invokes a function owns the process and does its input and output itself: there
//! is no task and no queue between them. A run that is dropped in the middle takes its process
//! with it, because nobody could tell what state it is in.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keeper::{Keeper, Started, last_words};
use super::places::Occupant;
use super::redact::Redactor;
use super::{Fetch, Invocation};
use crate::functions::outcome::{Failure, FailureKind, LogLine, Outcome};
use crate::functions::protocol::{
    self, AfterRun, FetchAnswer, FetchHeader, FromRunner, PROTOCOL, RunHeader, ToRunner,
};
use crate::functions::runner::GRACE;
use crate::functions::sandbox::SandboxReport;
use crate::model::http::{OutgoingRequest, OutgoingResponse};
use crate::model::id::{SnapInId, VersionId};

/// How long a new process may take until it is in its sandbox.
const START_TIME: Duration = Duration::from_secs(10);
/// Requests of one run under way at once; the others wait.
const FETCHES_AT_ONCE: usize = 16;
/// A runner bounds its log itself; more than this means that it does not.
const MOST_LOG_LINES: usize = 2000;

pub(super) struct Process {
    snap_in: SnapInId,
    version: Option<VersionId>,
    child: Option<Child>,
    keeper: Keeper,
    socket: UnixStream,
    errors: io::PipeReader,
    incoming: BytesMut,
    sandbox: SandboxReport,
    between_runs: bool,
}

impl Occupant for Process {
    fn snap_in(&self) -> SnapInId {
        self.snap_in
    }

    fn version(&self) -> Option<VersionId> {
        self.version
    }
}

/// Why a run broke off in a way that ends its process.
enum Break {
    /// The process is gone or said something that is no frame.
    Lost,
    TimedOut,
    ShuttingDown,
}

impl Process {
    pub(super) async fn start(keeper: &Keeper, snap_in: SnapInId) -> io::Result<Process> {
        let Started { child, socket, errors } = keeper.start().await?;
        let mut process = Process {
            snap_in,
            version: None,
            child: Some(child),
            keeper: keeper.clone(),
            socket: UnixStream::from_std(socket)?,
            errors,
            incoming: BytesMut::with_capacity(16 * 1024),
            sandbox: SandboxReport::default(),
            between_runs: true,
        };
        match tokio::time::timeout(START_TIME, process.hello()).await {
            Ok(Ok(())) => Ok(process),
            Ok(Err(())) => {
                let (status, words) = process.end().await;
                Err(io::Error::other(format!(
                    "the runner process ended at its start: {} {words}",
                    describe_status(&status)
                )))
            }
            Err(_) => Err(io::Error::other("the runner process did not start in time")),
        }
    }

    async fn hello(&mut self) -> Result<(), ()> {
        loop {
            let frame = protocol::read_frame::<FromRunner>(&self.incoming).map_err(drop)?;
            if let Some(frame) = frame {
                let FromRunner::Hello { protocol: PROTOCOL, sandbox } = frame.header else {
                    return Err(());
                };
                self.sandbox = sandbox;
                self.incoming.advance(frame.length);
                return Ok(());
            }
            match self.socket.read_buf(&mut self.incoming).await {
                Ok(0) | Err(_) => return Err(()),
                Ok(_) => {}
            }
        }
    }

    pub(super) fn sandbox(&self) -> &SandboxReport {
        &self.sandbox
    }

    /// Whether it can take a run: alive, and nothing of an earlier run unsaid.
    pub(super) fn is_ready(&self) -> bool {
        // Asked of the kernel itself: the runtime hears of an end only when it next polls.
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let heard = rustix::net::recv(&self.socket, &mut [0; 1], flags);
        self.between_runs
            && self.incoming.is_empty()
            && heard.is_err_and(|error| error == rustix::io::Errno::AGAIN)
    }

    /// Whether it may serve another run.
    pub(super) fn is_reusable(&self) -> bool {
        self.between_runs && self.child.is_some()
    }

    /// Takes one run through the process. `code` is what it lacks of the run's version.
    pub(super) async fn run(
        &mut self,
        invocation: &Invocation,
        code: Option<&[u8]>,
        output_bytes: u64,
        fetch: &dyn Fetch,
        stop: watch::Receiver<bool>,
    ) -> (Outcome, Vec<LogLine>) {
        self.between_runs = false;
        let mut outgoing = Vec::with_capacity(invocation.event.len() + 512);
        if let Some(code) = code {
            protocol::write_frame(&mut outgoing, &ToRunner::Code, code);
            self.version = Some(invocation.version);
        }
        let header = RunHeader {
            function: invocation.function.clone(),
            timeout_ms: u64::try_from(invocation.timeout.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: invocation.memory_bytes,
            output_bytes,
            fresh: invocation.fresh,
        };
        protocol::write_frame(&mut outgoing, &ToRunner::Run(header), &invocation.event);
        let mut conversation = Conversation {
            invocation,
            fetch,
            redactor: Redactor::new(&invocation.secrets),
            deadline: Instant::now() + invocation.timeout,
            outgoing: Bytes::from(outgoing).into(),
            logs: Vec::new(),
            fetches: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            handles: HashMap::new(),
        };
        let end = conversation.hold(&mut self.socket, &mut self.incoming, stop).await;
        let Conversation { logs, redactor, .. } = conversation;
        let outcome = match end {
            Ok((outcome, after)) => {
                self.between_runs = after == AfterRun::Ready;
                outcome
            }
            Err(Break::TimedOut) => Outcome::Failed(Failure::new(
                FailureKind::Timeout,
                format!(
                    "the function took longer than its {} ms and did not let itself be stopped",
                    invocation.timeout.as_millis()
                ),
            )),
            Err(Break::ShuttingDown) => {
                Outcome::Interrupted { reason: "the daemon is shutting down".to_owned() }
            }
            Err(Break::Lost) => self.why_lost().await,
        };
        (redactor.outcome(outcome), logs)
    }

    /// What the end of a process in the middle of a run says about the run.
    async fn why_lost(&mut self) -> Outcome {
        use rustix::process::Signal;
        use std::os::unix::process::ExitStatusExt;
        let (status, words) = self.end().await;
        let described = describe_status(&status);
        tracing::warn!(snap_in = %self.snap_in, status = described, words, "runner process lost");
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        let is_own_fault = [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE]
            .iter()
            .chain([&Signal::SYS, &Signal::XCPU, &Signal::TRAP])
            .any(|it| Some(it.as_raw()) == signal);
        let panicked = status.is_ok_and(|it| it.code().is_some_and(|code| code != 0));
        if words.contains("memory allocation of") {
            Outcome::Failed(Failure::new(
                FailureKind::Memory,
                "the function wanted more memory than its process may have",
            ))
        } else if is_own_fault || panicked {
            Outcome::Failed(Failure::new(
                FailureKind::Crashed,
                format!("the function brought its process down ({described})"),
            ))
        } else {
            Outcome::Interrupted {
                reason: format!("the function's process was ended from outside ({described})"),
            }
        }
    }

    async fn end(&mut self) -> (io::Result<ExitStatus>, String) {
        let status = match self.child.take() {
            // A process whose socket is closed is about to end by itself, with a telling status.
            Some(child) => match wait_a_little(child).await {
                Ok(status) => Ok(status),
                Err(child) => self.keeper.end(child).await,
            },
            None => Err(io::Error::other("it was ended before")),
        };
        (status, last_words(&mut self.errors))
    }
}

/// Between the end of a process's descriptors and its status there is a moment.
async fn wait_a_little(mut child: Child) -> Result<ExitStatus, Child> {
    const STEP: Duration = Duration::from_millis(2);
    for _ in 0..250 {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => tokio::time::sleep(STEP).await,
            Err(_) => break,
        }
    }
    Err(child)
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Here, because it may be in the middle of what must stop now.
            let _killed = child.kill();
            self.keeper.end_later(child);
        }
    }
}

fn describe_status(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

struct Conversation<'a> {
    invocation: &'a Invocation,
    fetch: &'a dyn Fetch,
    redactor: Redactor<'a>,
    deadline: Instant,
    outgoing: BytesMut,
    logs: Vec<LogLine>,
    fetches: FuturesUnordered<BoxFuture<'a, (u64, Result<FetchResult, Aborted>)>>,
    waiting: VecDeque<(u64, FetchHeader, Bytes)>,
    handles: HashMap<u64, AbortHandle>,
}

type FetchResult = Result<OutgoingResponse, String>;

impl Conversation<'_> {
    async fn hold(
        &mut self,
        socket: &mut UnixStream,
        incoming: &mut BytesMut,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(Outcome, AfterRun), Break> {
        // Nearly always all of it, without a round through the event loop.
        if let Ok(written) = socket.try_write(&self.outgoing) {
            self.outgoing.advance(written);
        }
        let kill_at = tokio::time::sleep_until(self.deadline + GRACE);
        tokio::pin!(kill_at);
        let (mut reader, mut writer) = socket.split();
        loop {
            while let Some((header, body)) = take_frame(incoming)? {
                if let Some(outcome) = self.hear(header, body)? {
                    return Ok(outcome);
                }
            }
            tokio::select! {
                biased;
                read = reader.read_buf(incoming) => {
                    if !matches!(read, Ok(1..)) {
                        return Err(Break::Lost);
                    }
                }
                written = writer.write_buf(&mut self.outgoing), if !self.outgoing.is_empty() => {
                    written.map_err(|_| Break::Lost)?;
                }
                Some((id, result)) = self.fetches.next(), if !self.fetches.is_empty() => {
                    self.answer(id, result);
                }
                () = &mut kill_at => return Err(Break::TimedOut),
                changed = stop.wait_for(|it| *it) => {
                    // Without the pool there is nobody to run for.
                    drop(changed);
                    return Err(Break::ShuttingDown);
                }
            }
        }
    }

    fn hear(
        &mut self,
        header: FromRunner,
        body: Bytes,
    ) -> Result<Option<(Outcome, AfterRun)>, Break> {
        match header {
            FromRunner::Hello { .. } => Err(Break::Lost),
            FromRunner::Logs(lines) => {
                self.log(lines);
                Ok(None)
            }
            FromRunner::Fetch { id, request } => {
                self.waiting.push_back((id, request, body));
                self.start_fetches();
                Ok(None)
            }
            FromRunner::Abandon { id } => {
                self.waiting.retain(|(it, _, _)| *it != id);
                if let Some(handle) = self.handles.remove(&id) {
                    handle.abort();
                }
                Ok(None)
            }
            FromRunner::Done { failure, logs, after } => {
                self.log(logs);
                let outcome = match failure {
                    Some(failure) => Outcome::Failed(failure),
                    None => result_of(body)?,
                };
                Ok(Some((outcome, after)))
            }
        }
    }

    fn log(&mut self, mut lines: Vec<LogLine>) {
        lines.truncate(MOST_LOG_LINES.saturating_sub(self.logs.len()));
        for line in &mut lines {
            self.redactor.text(&mut line.message);
        }
        if let Some(follow) = &self.invocation.on_log
            && !lines.is_empty()
        {
            follow(&lines);
        }
        self.logs.append(&mut lines);
    }

    fn start_fetches(&mut self) {
        while self.handles.len() < FETCHES_AT_ONCE
            && let Some((id, request, body)) = self.waiting.pop_front()
        {
            let request = OutgoingRequest {
                method: request.method,
                url: request.url,
                headers: request.headers,
                body,
                timeout: self.deadline.saturating_duration_since(Instant::now()),
                redirects: request.redirects,
            };
            let (handle, registration) = AbortHandle::new_pair();
            self.handles.insert(id, handle);
            let sent = Abortable::new(self.fetch.fetch(self.invocation, request), registration);
            self.fetches.push(Box::pin(async move { (id, sent.await) }));
        }
    }

    fn answer(&mut self, id: u64, result: Result<FetchResult, Aborted>) {
        self.handles.remove(&id);
        let (answer, body) = match result {
            Err(Aborted) => return self.start_fetches(),
            Ok(Ok(OutgoingResponse { status, url, redirected, headers, body })) => {
                (FetchAnswer::Response { status, url, redirected, headers }, body)
            }
            Ok(Err(message)) => (FetchAnswer::Failed { message }, Bytes::new()),
        };
        let mut frame = Vec::with_capacity(body.len() + 1024);
        protocol::write_frame(&mut frame, &ToRunner::Fetched { id, answer }, &body);
        self.outgoing.extend_from_slice(&frame);
        self.start_fetches();
    }
}

fn take_frame(incoming: &mut BytesMut) -> Result<Option<(FromRunner, Bytes)>, Break> {
    let Some(frame) = protocol::read_frame::<FromRunner>(incoming).map_err(|_| Break::Lost)? else {
        return Ok(None);
    };
    let whole = incoming.split_to(frame.length).freeze();
    Ok(Some((frame.header, whole.slice(frame.body))))
}

fn result_of(body: Bytes) -> Result<Outcome, Break> {
    // Checked, not trusted: what comes out of a runner ends up in answers and in the store.
    let text = String::from_utf8(body.into()).map_err(|_| Break::Lost)?;
    let result = serde_json::value::RawValue::from_string(text).map_err(|_| Break::Lost)?;
    Ok(Outcome::Succeeded { result })
}
