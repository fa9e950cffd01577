//! Hands runs to runner processes and brings their reports back.
//!
//! Owns the number of processes, who may have one, and their ends. A process serves one
//! installation for its life and one run at a time. Must never wait without a bound: starting has a
//! deadline, a run has its own and is killed soon after it, and the line of those who wait is
//! limited.

mod compiled;
mod conversation;
mod invocation;
mod keeper;
mod line;
mod places;
mod process;
mod put_together;
mod redact;
mod requests;
mod secret_forms;
#[cfg(test)]
mod tests;
mod tunnels;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use self::compiled::CompiledCodes;
pub use self::invocation::{
    CodeError, CodeSource, Connection, Fetch, Invocation, LoadedCode, LogListener, PackageFolder,
};
use self::keeper::{Keeper, Program, Wanted};
use self::places::{Answer, Asked, Given, Occupant, Places, Ticketed};
use self::process::{CompiledParts, Process};
pub use self::put_together::PutTogether;
pub use self::redact::{SecretTexts, mask, mask_texts};
use self::requests::Said;
use super::kind::RunnerKind;
use super::outcome::{Failure, FailureKind, Outcome, RunReport};
use super::runner::node_is_at;
use super::sandbox::SandboxReport;
use crate::model::id::{SnapInId, VersionId};

/// How the pool is set up.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The binary whose `runner` subcommand is started.
    pub program: PathBuf,
    /// Processes at once, at least 2.
    pub most_processes: usize,
    /// Runs that may wait for a process.
    pub most_waiting: usize,
    /// Refuse to run code when the kernel does not enforce the whole sandbox.
    pub require_sandbox: bool,
    /// An idle process is ended after this time.
    pub idle_time: Duration,
    /// The most that a result may have, in bytes.
    pub output_bytes: u64,
    /// The address space that no process can exceed, whatever a function's own limit.
    pub address_space_bytes: u64,
    /// The executable of Node.js; the usual places when nothing is given.
    pub node: Option<PathBuf>,
    /// Scheme, host and port of the daemon's own URL, to which connections need no encryption.
    pub own_origin: Option<String>,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        PoolOptions {
            program: PathBuf::from("/proc/self/exe"),
            most_processes: (processors * 2).max(2),
            most_waiting: 10_000,
            require_sandbox: true,
            idle_time: Duration::from_secs(60),
            output_bytes: 1024 * 1024,
            address_space_bytes: 8 * 1024 * 1024 * 1024,
            node: None,
            own_origin: None,
        }
    }
}

/// What the pool is doing, for status pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PoolStatus {
    /// Processes with a run.
    pub busy: usize,
    /// Processes without one.
    pub idle: usize,
    /// Runs that wait for a process.
    pub waiting: usize,
}

/// The runner processes of the daemon.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: PoolOptions,
    keeper: Keeper,
    fetch: Arc<dyn Fetch>,
    places: Mutex<Places<Process>>,
    // Processes talk through the runtime that made the pool, whoever invokes them.
    runtime: tokio::runtime::Handle,
    given_back: Notify,
    stop: watch::Sender<bool>,
    compiled: CompiledCodes,
    // The runtime's own scripts, once they are compiled.
    own_compiled: OnceLock<Vec<u8>>,
    own_begun: AtomicBool,
    // Compiling is nobody's run: one at a time, beside the places.
    compiling: tokio::sync::Mutex<()>,
}

/// How long compiling the code of a version may take.
const COMPILE_TIME: Duration = Duration::from_secs(30);

impl Pool {
    /// Sets the pool up; starts no process yet. Must be called within a tokio runtime, which has to
    /// live as long as the pool.
    pub fn new(options: PoolOptions, fetch: Arc<dyn Fetch>) -> std::io::Result<Pool> {
        let program = Program {
            path: options.program.clone(),
            address_space: options.address_space_bytes,
            node: options.node.clone(),
            own_origin: options.own_origin.clone(),
        };
        let shared = Arc::new(Shared {
            keeper: Keeper::start_thread(program)?,
            fetch,
            places: Mutex::new(Places::new(options.most_processes.max(2), options.most_waiting)),
            runtime: tokio::runtime::Handle::current(),
            given_back: Notify::new(),
            stop: watch::Sender::new(false),
            compiled: CompiledCodes::default(),
            own_compiled: OnceLock::new(),
            own_begun: AtomicBool::new(false),
            compiling: tokio::sync::Mutex::default(),
            options,
        });
        shared.runtime.spawn(sweep(Arc::downgrade(&shared), shared.options.idle_time));
        Ok(Pool { shared })
    }

    /// Whether there can be processes of a kind: Node.js is not on every host.
    pub fn has(&self, kind: RunnerKind) -> bool {
        match kind {
            RunnerKind::Quickjs | RunnerKind::Process => true,
            RunnerKind::Node => node_is_at(self.shared.options.node.as_deref()),
        }
    }

    /// Starts one process to see what the kernel enforces on it, filters of the service included.
    pub async fn probe(&self, kind: RunnerKind) -> Result<SandboxReport, String> {
        let wanted = Wanted::probe(kind);
        let process = self.shared.start(SnapInId(0), wanted).await;
        let process = process.map_err(|error| error.to_string())?;
        Ok(process.sandbox().clone())
    }

    /// Makes one run, waiting for a process if need be. Dropping the future ends the run.
    pub async fn invoke(&self, invocation: Invocation) -> RunReport {
        let mut lease = match self.shared.lease(&invocation).await {
            Ok(lease) => lease,
            Err(outcome) => {
                let (logs, requests) = (Vec::new(), Vec::new());
                return RunReport { outcome, logs, requests, duration: Duration::ZERO };
            }
        };
        let began = Instant::now();
        let (outcome, Said { logs, requests }) = lease.run(&invocation).await;
        RunReport { outcome, logs, requests, duration: began.elapsed() }
    }

    /// Runs npm in the sandbox of Node.js, in a process of its own that no run ever uses. The result is
    /// an object with npm's exit status as `code`. Dropping the future ends npm.
    pub async fn put_together(&self, order: PutTogether) -> RunReport {
        let wanted = Wanted {
            kind: RunnerKind::Node,
            folder: Some(order.folder.clone()),
            memory_bytes: order.memory_bytes,
            npm: Some(order.npm.clone()),
        };
        let began = Instant::now();
        let invocation = order.into_invocation();
        let nothing = Said { logs: Vec::new(), requests: Vec::new() };
        let (outcome, said) = match self.shared.start(invocation.snap_in, wanted).await {
            Err(error) => (no_process(&error), nothing),
            Ok(mut process) => match check_sandbox(&self.shared.options, process.sandbox()) {
                Err(outcome) => (outcome, nothing),
                Ok(()) => {
                    let compiled = CompiledParts { own: None, code: None };
                    let stop = self.shared.stop.subscribe();
                    let fetch = self.shared.fetch.as_ref();
                    let output = self.shared.options.output_bytes;
                    process.run(&invocation, None, compiled, output, fetch, stop).await
                }
            },
        };
        let Said { logs, requests } = said;
        RunReport { outcome, logs, requests, duration: began.elapsed() }
    }

    /// Ends the processes of a snap-in that has left ACTIVE, changed its version or is deleted;
    /// runs that are on are finished first.
    pub fn retire(&self, snap_in: SnapInId) {
        let ended = self.shared.places().retire(snap_in);
        drop(ended);
    }

    /// Takes no more runs, waits until `patience` is over for those that are on, and cuts off the
    /// rest, which report that they were interrupted.
    pub async fn shutdown(&self, patience: Duration) {
        let ended = self.shared.places().close();
        drop(ended);
        if tokio::time::timeout(patience, self.shared.quiet()).await.is_err() {
            self.shared.stop.send_replace(true);
            self.shared.quiet().await;
        }
    }

    /// Versions whose code is at hand compiled.
    pub fn compiled_versions(&self) -> usize {
        self.shared.compiled.count()
    }

    /// What the pool is doing now.
    pub fn status(&self) -> PoolStatus {
        let (busy, idle, waiting) = self.shared.places().counts();
        PoolStatus { busy, idle, waiting }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let ended = self.shared.places().close();
        drop(ended);
        self.shared.stop.send_replace(true);
    }
}

/// Ends processes that have been idle for long.
async fn sweep(pool: Weak<Shared>, idle_time: Duration) {
    let period = (idle_time / 2).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(period).await;
        let Some(pool) = pool.upgrade() else { return };
        let before = Instant::now().checked_sub(idle_time);
        let ended = before.map(|before| pool.places().take_idle_since(before));
        drop(ended);
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places<Process>> {
        // Bookkeeping is complete at every point where it could panic.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self, snap_in: SnapInId, wanted: Wanted) -> std::io::Result<Process> {
        let start = Process::start(&self.keeper, snap_in, wanted);
        // Entered on every poll, so that the socket and its timers belong to the pool's runtime.
        let mut start = std::pin::pin!(start);
        std::future::poll_fn(|context| {
            let _entered = self.runtime.enter();
            start.as_mut().poll(context)
        })
        .await
    }

    async fn lease(self: &Arc<Shared>, invocation: &Invocation) -> Result<Lease, Outcome> {
        let asked = Asked {
            snap_in: invocation.snap_in,
            version: invocation.version,
            kind: invocation.runtime,
        };
        let interrupted = |reason: &str| Outcome::Interrupted { reason: reason.to_owned() };
        let (ticket, answer) = self.places().ask(asked, Instant::now());
        let (ticket, grant) = match answer {
            Answer::Granted(grant) => (ticket, grant),
            Answer::Closed => return Err(interrupted("the daemon is shutting down")),
            Answer::Full => return Err(interrupted("too many runs wait for a process")),
            Answer::Wait(receiver) => {
                let mut waiting = Waiting { pool: self, receiver };
                match (&mut waiting.receiver).await {
                    Ok(Ticketed { ticket, grant }) => (ticket, grant),
                    Err(_) => return Err(interrupted("the daemon is shutting down")),
                }
            }
        };
        Ok(Lease { pool: Arc::clone(self), ticket, process: grant.into_process() })
    }

    /// Has files of a version compiled, in a process that has run and will run nothing of it.
    async fn compile_code(
        self: Arc<Shared>,
        version: VersionId,
        files: Vec<String>,
        code: Arc<Vec<u8>>,
    ) {
        match self.compile(files, &code).await {
            Some(compiled) => self.compiled.keep(version, compiled),
            // Nothing depends on it: the source is used, and it is not tried again.
            None => tracing::warn!(%version, "the code of a version was not compiled"),
        }
    }

    async fn compile_own(self: Arc<Shared>) {
        if let Some(compiled) = self.compile(Vec::new(), &[]).await {
            let _first = self.own_compiled.set(compiled);
        }
    }

    async fn compile(&self, files: Vec<String>, code: &[u8]) -> Option<Vec<u8>> {
        let mut stop = self.stop.subscribe();
        let compiled = async {
            let _turn = self.compiling.lock().await;
            let wanted = Wanted::probe(RunnerKind::Quickjs);
            let process = self.start(SnapInId(0), wanted).await?;
            if check_sandbox(&self.options, process.sandbox()).is_err() {
                return Err(std::io::Error::other("the sandbox is not whole"));
            }
            let compiled = tokio::time::timeout(COMPILE_TIME, process.compile(files, code)).await;
            compiled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        };
        tokio::select! {
            compiled = compiled => {
                compiled.inspect_err(|error| tracing::warn!(%error, "no compiled code")).ok()
            }
            _stopped = stop.wait_for(|it| *it) => None,
        }
    }

    async fn quiet(&self) {
        loop {
            let given_back = self.given_back.notified();
            if self.places().busy() == 0 {
                return;
            }
            given_back.await;
        }
    }

    fn give_back(self: &Arc<Shared>, ticket: u64, process: Option<Process>) {
        let given = self.places().give_back(ticket, process, Instant::now());
        let Given { hand_over, end } = given;
        drop(end);
        if let Some((waiter, ticketed)) = hand_over
            && let Err(Ticketed { ticket, grant }) = waiter.send(ticketed)
        {
            // It gave up in this very moment: the next one, then.
            self.give_back(ticket, grant.into_process());
        }
        self.given_back.notify_waiters();
    }
}

/// A place in the line. A grant that arrives in the moment in which its future is dropped is given
/// back.
struct Waiting<'a> {
    pool: &'a Arc<Shared>,
    receiver: oneshot::Receiver<Ticketed<Process>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ticketed { ticket, grant }) = self.receiver.try_recv() {
            self.pool.give_back(ticket, grant.into_process());
        }
    }
}

/// A place, given back when dropped, together with its process if that is fit for another run.
struct Lease {
    pool: Arc<Shared>,
    ticket: u64,
    process: Option<Process>,
}

impl Lease {
    async fn run(&mut self, invocation: &Invocation) -> (Outcome, Said) {
        let nothing = Said { logs: Vec::new(), requests: Vec::new() };
        let fits = |it: &Process| it.is_ready() && it.fits(invocation);
        let at_hand = self.process.take().filter(fits);
        let is_warm = at_hand.as_ref().is_some_and(|it| it.version() == Some(invocation.version));
        let code = if is_warm {
            None
        } else {
            match invocation.code.load().await {
                Ok(code) => Some(code),
                Err(error) => return (without_code(&error), nothing),
            }
        };
        let process = match at_hand {
            Some(process) => process,
            None => match self.start(invocation, code.as_ref()).await {
                Ok(process) => process,
                Err(outcome) => return (outcome, nothing),
            },
        };
        let process = self.process.insert(process);
        if let Err(outcome) = check_sandbox(&self.pool.options, process.sandbox()) {
            return (outcome, nothing);
        }
        let pool = &self.pool;
        let stop = pool.stop.subscribe();
        let version = invocation.version;
        let lacks_code = code.is_some() || process.lacks_compiled();
        let own = process.lacks_own().then(|| pool.own_compiled.get()).flatten();
        let compiled = CompiledParts {
            own: own.map(Vec::as_slice),
            code: lacks_code.then(|| pool.compiled.of(version)).flatten(),
        };
        let fetch = pool.fetch.as_ref();
        let output_bytes = pool.options.output_bytes;
        let ended = process.run(invocation, code, compiled, output_bytes, fetch, stop).await;
        if let Some((files, code)) = process.take_loaded()
            && pool.compiled.begin(version)
        {
            pool.runtime.spawn(Arc::clone(pool).compile_code(version, files, code));
        }
        if process.lacks_own() && !pool.own_begun.swap(true, Ordering::Relaxed) {
            pool.runtime.spawn(Arc::clone(pool).compile_own());
        }
        ended
    }

    async fn start(
        &self,
        invocation: &Invocation,
        code: Option<&LoadedCode>,
    ) -> Result<Process, Outcome> {
        let folder = match code {
            Some(LoadedCode::Folder(folder)) => Some(folder.path.clone()),
            Some(LoadedCode::Prepared(_)) | None => None,
        };
        let wanted = Wanted {
            kind: invocation.runtime,
            folder,
            memory_bytes: invocation.memory_bytes,
            npm: None,
        };
        self.pool.start(invocation.snap_in, wanted).await.map_err(|error| no_process(&error))
    }
}

fn no_process(error: &std::io::Error) -> Outcome {
    tracing::error!(%error, "no runner process");
    Outcome::Interrupted { reason: format!("no runner process: {error}") }
}

fn without_code(error: &CodeError) -> Outcome {
    let reason = format!("the version's code cannot be had: {error}");
    match error {
        CodeError::NotNow(_) => Outcome::Interrupted { reason },
        CodeError::Never(_) => Outcome::Failed(Failure::new(FailureKind::Load, reason)),
    }
}

fn check_sandbox(options: &PoolOptions, report: &SandboxReport) -> Result<(), Outcome> {
    if !options.require_sandbox || report.is_full() {
        return Ok(());
    }
    Err(Outcome::Failed(Failure::new(
        FailureKind::Refused,
        format!(
            "functions do not run here because the kernel does not enforce the whole sandbox ({}); \
             fix that, or set `require_sandbox = false` to run them with less",
            report.missing.join("; ")
        ),
    )))
}

impl Drop for Lease {
    fn drop(&mut self) {
        let process = self.process.take().filter(Process::is_reusable);
        self.pool.give_back(self.ticket, process);
    }
}
