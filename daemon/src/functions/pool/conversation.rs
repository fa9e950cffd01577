//! What pool and runner say to each other during one run, requests and log lines included.
//!
//! Reads and writes at once: a runner that sends a large request while a large answer is on its way
//! to it must not lock up both.
//!
//! A function of `node` may speak in its runner's place. So everything that comes is bounded here,
//! whatever runners do themselves, and what no runner says ends the run. Must never let what comes
//! keep the run from its end: the deadline goes first.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::line::Line;
use super::redact::Redactor;
use super::requests::{Requests, Said};
use super::tunnels::Tunnels;
use super::{Fetch, Invocation};
use crate::functions::outcome::{Failure, FailureKind, LogLine, Outcome};
use crate::functions::protocol::{
    self, AfterRun, BadFrame, FetchAnswer, FetchHeader, FromRunner, Lengths, ToRunner, WINDOW,
};
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
/// So many times a run is told that it wants too much; then it is ended.
const MOST_REFUSALS: usize = 50_000;
/// The most that a frame's header may have: no runner's is nearly as large.
const LARGEST_HEADER: usize = 4 * 1024 * 1024;
/// The body of a frame that has no use for one.
const LARGEST_OTHER_BODY: usize = 64 * 1024;
/// The least that requests which wait or are under way may hold together, and how much larger than
/// allowed a result may be so that the run is told how large it was.
const ROOM: usize = 16 * 1024 * 1024;
/// Frames of one turn; then it is looked at the clock, and others have theirs.
const FRAMES_PER_TURN: usize = 64;

/// Why a run broke off in a way that ends its process.
pub(super) enum Break {
    /// The process is gone.
    Lost,
    /// It said what no runner says.
    Nonsense(String),
    TimedOut,
    ShuttingDown,
}

pub(super) struct Conversation<'a> {
    invocation: &'a Invocation,
    fetch: &'a dyn Fetch,
    redactor: Redactor<'a>,
    began: Instant,
    deadline: Instant,
    outgoing: BytesMut,
    /// The header of the frame that is coming was looked at, and its body may come.
    may_come: bool,
    logs: Vec<LogLine>,
    /// The files that are worth having compiled.
    pub(super) loaded: Option<Vec<String>>,
    requests: Requests,
    fetches: FuturesUnordered<BoxFuture<'a, (u64, Result<FetchResult, Aborted>)>>,
    waiting: Line<(FetchHeader, Bytes)>,
    handles: HashMap<u64, (AbortHandle, usize)>,
    /// Bytes of requests that wait or are under way.
    held: usize,
    refusals: usize,
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
        let began = Instant::now();
        Conversation {
            invocation,
            fetch,
            redactor: Redactor::new(&invocation.secrets),
            began,
            deadline: began + invocation.timeout,
            outgoing: Bytes::from(outgoing).into(),
            may_come: false,
            logs: Vec::new(),
            loaded: None,
            requests: Requests::new(),
            fetches: FuturesUnordered::new(),
            waiting: Line::new(),
            handles: HashMap::new(),
            held: 0,
            refusals: 0,
            most_held: memory.clamp(ROOM, protocol::LARGEST_FRAME - ROOM),
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
        let end = self.deadline + GRACE;
        // Beside the budget that reading uses up: whoever keeps the socket full is ended in time.
        let kill_at = tokio::task::unconstrained(tokio::time::sleep_until(end));
        tokio::pin!(kill_at);
        let (mut reader, mut writer) = socket.split();
        loop {
            let mut frames = 0;
            while frames < FRAMES_PER_TURN
                && let Some((header, body)) = self.take_frame(incoming)?
            {
                if let Some(outcome) = self.hear(header, body)? {
                    return Ok(outcome);
                }
                frames += 1;
            }
            // There may be more at hand: nothing is read until that is heard.
            let more = frames == FRAMES_PER_TURN;
            // The timer needs somebody who drives it, and that may be this thread.
            if more && Instant::now() >= end {
                return Err(Break::TimedOut);
            }
            let listens = self.outgoing.len() < MOST_UNSAID;
            tokio::select! {
                biased;
                () = &mut kill_at => return Err(Break::TimedOut),
                changed = tokio::task::unconstrained(stop.wait_for(|it| *it)) => {
                    // Without the pool there is nobody to run for.
                    drop(changed);
                    return Err(Break::ShuttingDown);
                }
                read = reader.read_buf(incoming), if !more => {
                    if !matches!(read, Ok(1..)) {
                        return Err(Break::Lost);
                    }
                }
                written = writer.write_buf(&mut self.outgoing), if !self.outgoing.is_empty() => {
                    written.map_err(|_| Break::Lost)?;
                }
                Some((id, result)) = self.fetches.next(), if listens && !self.fetches.is_empty() => {
                    self.answer(id, result);
                }
                (header, body) = self.tunnels.next(listens) => {
                    self.say(&header, &body);
                }
                () = tokio::task::yield_now(), if more => {}
            }
        }
    }

    /// The first frame, once all of it is there. What is too large is not waited for.
    fn take_frame(
        &mut self,
        incoming: &mut BytesMut,
    ) -> Result<Option<(FromRunner, Bytes)>, Break> {
        let Some(Lengths { header, body }) = protocol::frame_lengths(incoming)? else {
            return Ok(None);
        };
        if header > LARGEST_HEADER {
            return Err(nonsense(format!(
                "a frame with a header of {header} bytes, where {LARGEST_HEADER} are allowed"
            )));
        }
        let Some(frame) = protocol::read_frame::<FromRunner>(incoming)? else {
            if body > LARGEST_OTHER_BODY
                && !self.may_come
                && let Some(header) = protocol::read_header(incoming)?
            {
                self.check_body(&header, body)?;
                self.may_come = true;
            }
            return Ok(None);
        };
        if body > LARGEST_OTHER_BODY && !self.may_come {
            self.check_body(&frame.header, body)?;
        }
        self.may_come = false;
        let whole = incoming.split_to(frame.length).freeze();
        Ok(Some((frame.header, whole.slice(frame.body))))
    }

    fn check_body(&self, header: &FromRunner, body: usize) -> Result<(), Break> {
        let most = match header {
            FromRunner::Fetch { .. } => self.most_held,
            FromRunner::Send { .. } => WINDOW,
            FromRunner::Done { failure: None, .. } => {
                usize::try_from(self.most_output).unwrap_or(usize::MAX).saturating_add(ROOM)
            }
            FromRunner::Done { failure: Some(_), .. }
            | FromRunner::Hello { .. }
            | FromRunner::Abandon { .. }
            | FromRunner::Connect { .. }
            | FromRunner::Taken { .. }
            | FromRunner::Close { .. }
            | FromRunner::Compiled
            | FromRunner::Loaded { .. }
            | FromRunner::Logs(_) => LARGEST_OTHER_BODY,
        };
        if body > most {
            return Err(nonsense(format!(
                "a frame with a body of {body} bytes, where {most} are allowed"
            )));
        }
        Ok(())
    }

    fn hear(
        &mut self,
        header: FromRunner,
        body: Bytes,
    ) -> Result<Option<(Outcome, AfterRun)>, Break> {
        match header {
            FromRunner::Hello { .. } | FromRunner::Compiled => {
                Err(nonsense("a frame that has no place in a run".to_owned()))
            }
            FromRunner::Loaded { files } => {
                self.loaded = Some(files);
                Ok(None)
            }
            FromRunner::Logs(lines) => {
                self.log(lines);
                Ok(None)
            }
            FromRunner::Fetch { id, request } => {
                self.take_fetch(id, request, body)?;
                Ok(None)
            }
            FromRunner::Connect { id, host, port } => {
                self.requests.connects(id, &host, port);
                if let Some((header, body)) = self.tunnels.connect(id, host, port) {
                    self.refuse(&header, &body)?;
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
                if let Some((header, body)) = self.waiting.remove(id) {
                    self.held = self.held.saturating_sub(weight(&header, &body));
                }
                // It keeps its place until it has really ended.
                if let Some((handle, _)) = self.handles.get(&id) {
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
        if lines.is_empty() {
            return;
        }
        let so_far = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        for line in &mut lines {
            shorten(&mut line.message, MOST_LOG_BYTES.saturating_sub(self.logged_bytes));
            self.logged_bytes += line.message.len();
            // Nobody logs in the future.
            line.at_ms = line.at_ms.min(so_far);
        }
        for line in &mut lines {
            self.redactor.text(&mut line.message);
        }
        if let Some(follow) = &self.invocation.on_log {
            follow(&lines);
        }
        self.logs.append(&mut lines);
    }

    /// What waits is bounded like what a run may hold itself: else it would hold it here.
    fn take_fetch(&mut self, id: u64, header: FetchHeader, body: Bytes) -> Result<(), Break> {
        if self.handles.contains_key(&id) || self.waiting.has(id) {
            return Err(nonsense(format!("a second request {id} while the first is on")));
        }
        let bytes = weight(&header, &body);
        let is_too_much = self.held + bytes > self.most_held
            || self.waiting.len() + self.handles.len() >= MOST_FETCHES;
        if is_too_much {
            let message = format!(
                "too many requests at once: at most {MOST_FETCHES} requests, with {} bytes, may wait \
                 or be under way; await some of them first",
                self.most_held
            );
            let answer = FetchAnswer::Failed { message };
            return self.refuse(&ToRunner::Fetched { id, answer }, &[]);
        }
        self.held += bytes;
        if self.waiting.is_empty() && self.handles.len() < FETCHES_AT_ONCE {
            self.start_fetch(id, header, body);
        } else {
            self.waiting.push(id, (header, body));
        }
        Ok(())
    }

    fn start_fetches(&mut self) {
        while self.handles.len() < FETCHES_AT_ONCE
            && let Some((id, (header, body))) = self.waiting.pop()
        {
            self.start_fetch(id, header, body);
        }
    }

    fn start_fetch(&mut self, id: u64, header: FetchHeader, body: Bytes) {
        self.requests.fetches(id, &header.method, &header.url);
        let bytes = weight(&header, &body);
        let request = OutgoingRequest {
            method: header.method,
            url: header.url,
            headers: header.headers,
            body,
            timeout: self.deadline.saturating_duration_since(Instant::now()),
            redirects: header.redirects,
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(id, (handle, bytes));
        let sent = Abortable::new(self.fetch.fetch(self.invocation, request), registration);
        self.fetches.push(Box::pin(async move { (id, sent.await) }));
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

    /// Says no. A run that does not hear it, and goes on wanting, would fill the memory with that.
    fn refuse(&mut self, header: &ToRunner, body: &[u8]) -> Result<(), Break> {
        self.refusals += 1;
        if self.refusals > MOST_REFUSALS {
            return Err(nonsense(format!(
                "more requests and connections at once than a run may have, {MOST_REFUSALS} times"
            )));
        }
        self.say(header, body);
        Ok(())
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

fn nonsense(what: String) -> Break {
    Break::Nonsense(what)
}

impl From<BadFrame> for Break {
    fn from(error: BadFrame) -> Break {
        nonsense(error.to_string())
    }
}

/// How much of the memory a request holds.
fn weight(header: &FetchHeader, body: &Bytes) -> usize {
    let FetchHeader { method, url, headers, redirects: _ } = header;
    let texts = headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
    body.len() + method.len() + url.len() + texts
}

fn result_of(body: Bytes, most: u64) -> Result<Outcome, Break> {
    // Checked, not trusted: what comes out of a runner ends up in answers and in the store.
    let length = body.len();
    if u64::try_from(length).unwrap_or(u64::MAX) > most {
        let message = format!("the function's result is {length} bytes, the limit is {most}");
        return Ok(Outcome::Failed(Failure::new(FailureKind::OutputTooLarge, message)));
    }
    let no_json = || nonsense("a result that is no JSON".to_owned());
    let text = String::from_utf8(body.into()).map_err(|_| no_json())?;
    let result = serde_json::value::RawValue::from_string(text).map_err(|_| no_json())?;
    Ok(Outcome::Succeeded { result })
}

/// A failure as large as a runner makes it, unless it is not the runner that speaks.
fn bounded(mut failure: Failure) -> Failure {
    let Failure { name, message, stack, kind: _, retry: _, refresh: _, exit_status: _ } =
        &mut failure;
    for text in [Some(name), Some(message), stack.as_mut()].into_iter().flatten() {
        shorten(text, MOST_FAILURE_BYTES);
    }
    failure
}

/// The sign of a cut is what a secret that was cut is known by.
fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let kept = (0..=most).rev().find(|it| text.is_char_boundary(*it)).unwrap_or_default();
        text.truncate(kept);
        text.push('…');
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
