//! One runner process: its start, its runs, its end and what that says about the run.
//!
//! The task that invokes a function owns the process and does its input and output itself: there
//! is no task and no queue between them. A run that is dropped in the middle takes its process
//! with it, because nobody could tell what state it is in.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::conversation::{Break, Conversation};
use super::keeper::{Keeper, Started, Wanted, last_words};
use super::places::Occupant;
use super::redact::Redactor;
use super::requests::Said;
use super::{Fetch, Invocation, LoadedCode};
use crate::functions::kind::RunnerKind;
use crate::functions::outcome::{Failure, FailureKind, Outcome};
use crate::functions::protocol::{self, AfterRun, FromRunner, PROTOCOL, RunHeader, ToRunner};
use crate::functions::sandbox::SandboxReport;
use crate::model::id::{SnapInId, VersionId};

/// How long a new process may take until it is in its sandbox.
const START_TIME: Duration = Duration::from_secs(10);

pub(super) struct Process {
    snap_in: SnapInId,
    kind: RunnerKind,
    memory_bytes: u64,
    version: Option<VersionId>,
    /// Held, so that the daemon does not take its files away.
    code: Option<LoadedCode>,
    folder: Option<Folder>,
    has_compiled: bool,
    has_own: bool,
    loaded: Option<Vec<String>>,
    child: Option<Child>,
    keeper: Keeper,
    socket: UnixStream,
    errors: io::PipeReader,
    incoming: BytesMut,
    sandbox: SandboxReport,
    between_runs: bool,
    /// It is stopped until its next run.
    rests: bool,
}

/// The folder that a process was started for, as the kernel knows it: its sandbox leads to this one, and
/// to no other that may lie in the same place later.
struct Folder {
    path: PathBuf,
    id: Option<(u64, u64)>,
}

impl Folder {
    fn of(path: PathBuf) -> Folder {
        Folder { id: folder_id(&path), path }
    }

    fn is_there(&self) -> bool {
        self.id.is_some() && folder_id(&self.path) == self.id
    }
}

fn folder_id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// What a process lacks of what is compiled.
pub(super) struct CompiledParts<'a> {
    pub own: Option<&'a [u8]>,
    pub code: Option<Arc<Vec<u8>>>,
}

impl Occupant for Process {
    fn snap_in(&self) -> SnapInId {
        self.snap_in
    }

    fn version(&self) -> Option<VersionId> {
        self.version
    }

    fn kind(&self) -> RunnerKind {
        self.kind
    }
}

impl Process {
    pub(super) async fn start(
        keeper: &Keeper,
        snap_in: SnapInId,
        wanted: Wanted,
    ) -> io::Result<Process> {
        let Wanted { kind, memory_bytes, .. } = wanted;
        let folder = wanted.folder.clone().map(Folder::of);
        let Started { child, socket, errors } = keeper.start(wanted).await?;
        let socket = UnixStream::from_std(socket)?;
        let mut process = Process {
            snap_in,
            kind,
            memory_bytes,
            version: None,
            code: None,
            folder,
            has_compiled: false,
            has_own: false,
            loaded: None,
            child: child.claim(),
            keeper: keeper.clone(),
            socket,
            errors,
            incoming: BytesMut::with_capacity(16 * 1024),
            sandbox: SandboxReport::default(),
            between_runs: true,
            rests: false,
        };
        match tokio::time::timeout(START_TIME, process.hello()).await {
            Ok(Ok(())) => Ok(process),
            Ok(Err(())) => {
                let Ended { status, words, .. } = process.end().await;
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

    /// Whether it is what a run needs, its version aside. Somebody may have emptied the cache: what was
    /// started on files that are gone is of no use.
    pub(super) fn fits(&self, invocation: &Invocation) -> bool {
        if self.folder.as_ref().is_some_and(|it| !it.is_there()) {
            return false;
        }
        match self.kind {
            RunnerKind::Quickjs | RunnerKind::Process => true,
            // Its heap is measured out at its start, and it has one context for its life.
            RunnerKind::Node => self.memory_bytes == invocation.memory_bytes && !invocation.fresh,
        }
    }

    /// Whether it may serve another run.
    pub(super) fn is_reusable(&self) -> bool {
        self.between_runs && self.child.is_some()
    }

    /// Whether it has the runtime's own scripts only as source.
    pub(super) fn lacks_own(&self) -> bool {
        self.kind == RunnerKind::Quickjs && !self.has_own
    }

    /// Whether it has its version only as source.
    pub(super) fn lacks_compiled(&self) -> bool {
        self.kind == RunnerKind::Quickjs && !self.has_compiled
    }

    /// What it told in its last run of files that are worth having compiled, with their code.
    pub(super) fn take_loaded(&mut self) -> Option<(Vec<String>, Arc<Vec<u8>>)> {
        let files = self.loaded.take()?;
        match &self.code {
            Some(LoadedCode::Prepared(code)) => Some((files, Arc::clone(code))),
            Some(LoadedCode::Folder(_)) | None => None,
        }
    }

    /// Has files compiled. The process is for nothing else, and ends after this.
    pub(super) async fn compile(mut self, files: Vec<String>, code: &[u8]) -> io::Result<Vec<u8>> {
        let mut outgoing = Vec::with_capacity(code.len() + 1024);
        protocol::write_frame(&mut outgoing, &ToRunner::Compile { files }, code);
        self.socket.write_all(&outgoing).await?;
        loop {
            let frame = protocol::read_frame::<FromRunner>(&self.incoming);
            if let Some(frame) = frame.map_err(io::Error::other)? {
                let FromRunner::Compiled = frame.header else {
                    return Err(io::Error::other("it answered with something else"));
                };
                return Ok(self.incoming[frame.body].to_vec());
            }
            if self.socket.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes one run through the process. `code` is what it lacks of the run's version, and
    /// `compiled` goes with it.
    pub(super) async fn run(
        &mut self,
        invocation: &Invocation,
        code: Option<LoadedCode>,
        CompiledParts { own, code: compiled }: CompiledParts<'_>,
        output_bytes: u64,
        fetch: &dyn Fetch,
        stop: watch::Receiver<bool>,
    ) -> (Outcome, Said) {
        self.between_runs = false;
        self.wake();
        let mut outgoing = Vec::with_capacity(invocation.event.len() + 512);
        if let Some(own) = own {
            protocol::write_frame(&mut outgoing, &ToRunner::OwnCompiled, own);
            self.has_own = true;
        }
        if let Some(code) = code {
            let bytes = match &code {
                LoadedCode::Prepared(bytes) => bytes.as_slice(),
                LoadedCode::Folder(folder) => folder.about.as_slice(),
            };
            protocol::write_frame(&mut outgoing, &ToRunner::Code, bytes);
            self.version = Some(invocation.version);
            self.code = Some(code);
            self.has_compiled = false;
        }
        if let Some(compiled) = compiled {
            protocol::write_frame(&mut outgoing, &ToRunner::Compiled, &compiled);
            self.has_compiled = true;
        }
        let header = RunHeader {
            run_id: invocation.run_id.clone(),
            function: invocation.function.clone(),
            timeout_ms: u64::try_from(invocation.timeout.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: invocation.memory_bytes,
            output_bytes,
            fresh: invocation.fresh,
        };
        protocol::write_frame(&mut outgoing, &ToRunner::Run(header), &invocation.event);
        let mut conversation = Conversation::new(invocation, fetch, outgoing, output_bytes);
        let end = conversation.hold(&mut self.socket, &mut self.incoming, stop).await;
        self.loaded = conversation.loaded.take();
        let (said, redactor) = conversation.into_parts();
        let outcome = match end {
            Ok((outcome, after)) => {
                self.between_runs = after == AfterRun::Ready;
                self.rest();
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
            Err(Break::Lost) => self.why_lost(&redactor).await,
            Err(Break::Nonsense(what)) => self.ended_for(&what, &redactor).await,
        };
        (redactor.outcome_aside(outcome).await, said)
    }

    /// What the end of a process in the middle of a run says about the run.
    async fn why_lost(&mut self, redactor: &Redactor<'_>) -> Outcome {
        use rustix::process::Signal;
        use std::os::unix::process::ExitStatusExt;
        let Ended { status, mut words, by_us } = self.end().await;
        // What a process says when it dies may quote what it was working on.
        redactor.text(&mut words);
        let described = describe_status(&status);
        tracing::warn!(snap_in = %self.snap_in, status = described, words, "runner process lost");
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        let is_own_fault = [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE]
            .iter()
            .chain([&Signal::SYS, &Signal::XCPU, &Signal::TRAP])
            .any(|it| Some(it.as_raw()) == signal);
        // Nobody from outside makes a process end by itself, whatever its status; nor does anybody
        // else close the socket of a process that lives on.
        let ended_itself = by_us || status.is_ok_and(|it| it.code().is_some());
        // The allocator's words, and those of V8, older ones included: pages that cannot be had for code.
        let out_of_memory = [
            "memory allocation of",
            "out of memory",
            "Allocation failed",
            "std::bad_alloc",
            "SetPermissions(",
        ];
        if out_of_memory.iter().any(|it| words.contains(it)) {
            Outcome::Failed(Failure::new(
                FailureKind::Memory,
                "the function wanted more memory than its process may have",
            ))
        } else if is_own_fault || ended_itself {
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

    /// Stops a process until its next run: what a function of `node` left behind, such as a timer,
    /// would go on without a deadline.
    fn rest(&mut self) {
        use rustix::process::Signal;
        let wants = self.kind == RunnerKind::Node && self.between_runs;
        self.rests = wants && self.signal(Signal::STOP);
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.rests) {
            // If it has ended, the run will hear of that.
            let _sent = self.signal(rustix::process::Signal::CONT);
        }
    }

    fn signal(&self, signal: rustix::process::Signal) -> bool {
        // Not waited for yet, so the id is its own.
        let child = self.child.as_ref().map(rustix::process::Pid::from_child);
        child.is_some_and(|it| rustix::process::kill_process(it, signal).is_ok())
    }

    /// Ends a process that said what no runner says: that is the doing of its function.
    async fn ended_for(&mut self, what: &str, redactor: &Redactor<'_>) -> Outcome {
        if let Some(child) = self.child.take() {
            // Its status says nothing: it is ended here.
            let _status = self.keeper.end(child).await;
        }
        let mut words = last_words(&mut self.errors);
        redactor.text(&mut words);
        tracing::warn!(snap_in = %self.snap_in, what, words, "runner process ended for what it said");
        Outcome::Failed(Failure::new(
            FailureKind::Crashed,
            format!("the function's process said what no runner says, and was ended: {what}"),
        ))
    }

    async fn end(&mut self) -> Ended {
        let (status, by_us) = match self.child.take() {
            // A process whose socket is closed is about to end by itself, with a telling status.
            Some(child) => match wait_a_little(child).await {
                Ok(status) => (Ok(status), false),
                Err(child) => (self.keeper.end(child).await, true),
            },
            None => (Err(io::Error::other("it was ended before")), false),
        };
        Ended { status, words: last_words(&mut self.errors), by_us }
    }
}

/// How a process ended.
struct Ended {
    status: io::Result<ExitStatus>,
    words: String,
    /// It lived on without its socket.
    by_us: bool,
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
