//! What pool and runner say to each other during one run, requests and log lines included.
//!
//! Reads and writes at once: a runner that sends a large request while a large answer is on its way
//! to it must not lock up both.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::redact::Redactor;
use super::requests::{Requests, Said};
use super::tunnels::Tunnels;
use super::{Fetch, Invocation};
use crate::functions::outcome::{Failure, FailureKind, LogLine, Outcome};
use crate::functions::protocol::{self, AfterRun, FetchAnswer, FetchHeader, FromRunner, ToRunner};
use crate::functions::runner::GRACE;
use crate::model::http::{OutgoingRequest, OutgoingResponse};

/// Requests of one run under way at once; the others wait.
const FETCHES_AT_ONCE: usize = 16;
/// With so much unsaid to a runner, its connections say no more until it has read some of it.
const MOST_UNSAID: usize = 512 * 1024;
/// A runner bounds its log itself; more than this means that it does not.
const MOST_LOG_LINES: usize = 2000;
const MOST_LOG_BYTES: usize = 1024 * 1024;
/// The same for each text of a failure.
const MOST_FAILURE_BYTES: usize = 64 * 1024;
/// Requests of one run that may wait or be under way.
const MOST_FETCHES: usize = 10_000;
/// What may be in a frame beside a body, which is as large as the memory of the run at most.
const AROUND_A_BODY: usize = 16 * 1024 * 1024;

/// Why a run broke off in a way that ends its process.
pub(super) enum Break {
    /// The process is gone or said something that is no frame.
    Lost,
    TimedOut,
    ShuttingDown,
}

pub(super) struct Conversation<'a> {
    invocation: &'a Invocation,
    fetch: &'a dyn Fetch,
    redactor: Redactor<'a>,
    deadline: Instant,
    outgoing: BytesMut,
    logs: Vec<LogLine>,
    /// The files that are worth having compiled.
    pub(super) loaded: Option<Vec<String>>,
    requests: Requests,
    fetches: FuturesUnordered<BoxFuture<'a, (u64, Result<FetchResult, Aborted>)>>,
    waiting: VecDeque<(u64, FetchHeader, Bytes)>,
    handles: HashMap<u64, (AbortHandle, usize)>,
    /// Bytes of the bodies of requests that wait or are under way.
    held: usize,
    most_held: usize,
    most_output: u64,
    logged_bytes: usize,
    tunnels: Tunnels<'a>,
}

type FetchResult = Result<OutgoingResponse, String>;

impl<'a> Conversation<'a> {
    /// One that begins with `outgoing`: the code, if need be, and the run.
    pub(super) fn new(
        invocation: &'a Invocation,
        fetch: &'a dyn Fetch,
        outgoing: Vec<u8>,
        most_output: u64,
    ) -> Conversation<'a> {
        let memory = usize::try_from(invocation.memory_bytes).unwrap_or(usize::MAX);
        Conversation {
            invocation,
            fetch,
            redactor: Redactor::new(&invocation.secrets),
            deadline: Instant::now() + invocation.timeout,
            outgoing: Bytes::from(outgoing).into(),
            logs: Vec::new(),
            loaded: None,
            requests: Requests::new(),
            fetches: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            handles: HashMap::new(),
            held: 0,
            most_held: memory.clamp(AROUND_A_BODY, protocol::LARGEST_FRAME - AROUND_A_BODY),
            most_output,
            logged_bytes: 0,
            tunnels: Tunnels::new(invocation, fetch),
        }
    }

    /// What was logged and called, and what masks secrets in the rest.
    pub(super) fn into_parts(self) -> (Said, Redactor<'a>) {
        let (requests, line) = self.requests.into_list(&self.redactor);
        let mut logs = self.logs;
        logs.extend(line);
        (Said { logs, requests }, self.redactor)
    }

    /// Talks until the run is over.
    pub(super) async fn hold(
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
            while let Some((header, body)) = take_frame(incoming, self.most_held + AROUND_A_BODY)? {
                if let Some(outcome) = self.hear(header, body)? {
                    return Ok(outcome);
                }
            }
            let listens = self.outgoing.len() < MOST_UNSAID;
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
                (header, body) = self.tunnels.next(listens) => {
                    self.say(&header, &body);
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
            FromRunner::Hello { .. } | FromRunner::Compiled => Err(Break::Lost),
            FromRunner::Loaded { files } => {
                self.loaded = Some(files);
                Ok(None)
            }
            FromRunner::Logs(lines) => {
                self.log(lines);
                Ok(None)
            }
            FromRunner::Fetch { id, request } => {
                self.take_fetch(id, request, body);
                Ok(None)
            }
            FromRunner::Connect { id, host, port } => {
                self.requests.connects(id, &host, port);
                if let Some((header, body)) = self.tunnels.connect(id, host, port) {
                    self.say(&header, &body);
                }
                Ok(None)
            }
            FromRunner::Send { id } => {
                self.tunnels.send(id, body);
                Ok(None)
            }
            FromRunner::Taken { id, bytes } => {
                self.tunnels.taken(id, bytes);
                Ok(None)
            }
            FromRunner::Close { id } => {
                self.requests.closed(id, None);
                self.tunnels.close(id);
                Ok(None)
            }
            FromRunner::Abandon { id } => {
                let held = &mut self.held;
                self.waiting.retain(|(it, _, body)| {
                    let stays = *it != id;
                    if !stays {
                        *held = held.saturating_sub(body.len());
                    }
                    stays
                });
                if let Some((handle, bytes)) = self.handles.remove(&id) {
                    self.held = self.held.saturating_sub(bytes);
                    handle.abort();
                }
                Ok(None)
            }
            FromRunner::Done { failure, logs, after } => {
                self.log(logs);
                let outcome = match failure {
                    Some(failure) => Outcome::Failed(bounded(failure)),
                    None => result_of(body, self.most_output)?,
                };
                Ok(Some((outcome, after)))
            }
        }
    }

    fn log(&mut self, mut lines: Vec<LogLine>) {
        lines.truncate(MOST_LOG_LINES.saturating_sub(self.logs.len()));
        for line in &mut lines {
            shorten(&mut line.message, MOST_LOG_BYTES - self.logged_bytes);
            self.logged_bytes += line.message.len();
        }
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

    /// What waits is bounded like what a run may hold itself: else it would hold it here.
    fn take_fetch(&mut self, id: u64, request: FetchHeader, body: Bytes) {
        let is_too_much = self.held + body.len() > self.most_held
            || self.waiting.len() + self.handles.len() >= MOST_FETCHES;
        if is_too_much {
            let message = format!(
                "too many requests at once: at most {MOST_FETCHES} requests, with {} bytes, may wait \
                 or be under way; await some of them first",
                self.most_held
            );
            let answer = FetchAnswer::Failed { message };
            return self.say(&ToRunner::Fetched { id, answer }, &[]);
        }
        self.held += body.len();
        self.waiting.push_back((id, request, body));
        self.start_fetches();
    }

    fn start_fetches(&mut self) {
        while self.handles.len() < FETCHES_AT_ONCE
            && let Some((id, request, body)) = self.waiting.pop_front()
        {
            self.requests.fetches(id, &request.method, &request.url);
            let request = OutgoingRequest {
                method: request.method,
                url: request.url,
                headers: request.headers,
                body,
                timeout: self.deadline.saturating_duration_since(Instant::now()),
                redirects: request.redirects,
            };
            let (handle, registration) = AbortHandle::new_pair();
            self.handles.insert(id, (handle, request.body.len()));
            let sent = Abortable::new(self.fetch.fetch(self.invocation, request), registration);
            self.fetches.push(Box::pin(async move { (id, sent.await) }));
        }
    }

    fn answer(&mut self, id: u64, result: Result<FetchResult, Aborted>) {
        if let Some((_, bytes)) = self.handles.remove(&id) {
            self.held = self.held.saturating_sub(bytes);
        }
        self.requests.fetched(id, &result);
        let (answer, body) = match result {
            Err(Aborted) => return self.start_fetches(),
            Ok(Ok(OutgoingResponse { status, url, redirected, headers, body })) => {
                (FetchAnswer::Response { status, url, redirected, headers }, body)
            }
            Ok(Err(message)) => (FetchAnswer::Failed { message }, Bytes::new()),
        };
        self.say(&ToRunner::Fetched { id, answer }, &body);
        self.start_fetches();
    }

    fn say(&mut self, header: &ToRunner, body: &[u8]) {
        if let ToRunner::Connected { id, error: Some(error) } = header {
            self.requests.closed(*id, Some(error));
        } else if let ToRunner::Closed { id, error } = header {
            self.requests.closed(*id, error.as_deref());
        }
        let mut frame = Vec::with_capacity(body.len() + 1024);
        protocol::write_frame(&mut frame, header, body);
        self.outgoing.extend_from_slice(&frame);
    }
}

fn take_frame(incoming: &mut BytesMut, most: usize) -> Result<Option<(FromRunner, Bytes)>, Break> {
    let length = protocol::frame_length(incoming).map_err(|_| Break::Lost)?;
    if length.is_some_and(|it| it > most) {
        return Err(Break::Lost);
    }
    let Some(frame) = protocol::read_frame::<FromRunner>(incoming).map_err(|_| Break::Lost)? else {
        return Ok(None);
    };
    let whole = incoming.split_to(frame.length).freeze();
    Ok(Some((frame.header, whole.slice(frame.body))))
}

fn result_of(body: Bytes, most: u64) -> Result<Outcome, Break> {
    // Checked, not trusted: what comes out of a runner ends up in answers and in the store.
    let length = body.len();
    if u64::try_from(length).unwrap_or(u64::MAX) > most {
        let message = format!("the function's result is {length} bytes, the limit is {most}");
        return Ok(Outcome::Failed(Failure::new(FailureKind::OutputTooLarge, message)));
    }
    let text = String::from_utf8(body.into()).map_err(|_| Break::Lost)?;
    let result = serde_json::value::RawValue::from_string(text).map_err(|_| Break::Lost)?;
    Ok(Outcome::Succeeded { result })
}

/// A failure as large as a runner makes it, unless it is not the runner that speaks.
fn bounded(mut failure: Failure) -> Failure {
    let Failure { name, message, stack, kind: _, retry: _, refresh: _ } = &mut failure;
    for text in [Some(name), Some(message), stack.as_mut()].into_iter().flatten() {
        shorten(text, MOST_FAILURE_BYTES);
    }
    failure
}

fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let kept = (0..=most).rev().find(|it| text.is_char_boundary(*it)).unwrap_or_default();
        text.truncate(kept);
    }
}
