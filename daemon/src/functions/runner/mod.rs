//! The inside of a runner process: one snap-in's code, one run at a time, nothing else.
//!
//! Owns the process from its first instruction: it ties itself to its parent, puts on the sandbox
//! and only then speaks. It is single-threaded and holds no descriptor but its socket (standard
//! input) and standard error. Must never start a thread, open a file or run user code before
//! [`super::sandbox::apply`] has returned.
//!
//! ```text
//!   apply sandbox ─► Hello ─► wait for a frame ─┬─ Code: forget the engine, keep the code
//!                                ▲              └─ Run: engine ─► Fetch/Logs ... ─► Done
//!                                └──────────────────────────────────────────────────┘
//! ```

mod budget;
mod builtins;
mod bytecode;
mod engine;
mod errors;
mod host;
mod log;
mod modules;
mod natives;
pub(super) mod node;
pub mod process;
mod shared;
mod timers;

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

pub(in crate::functions) use self::builtins::{SDK, is_other_node_module};
use self::bytecode::Compiled;
use self::engine::{Engine, EngineEnd, EngineRun};
use self::host::{Gone, Host};
use super::code::Code;
use super::kind::RunnerKind;
use super::outcome::{Failure, FailureKind, LogLine};
use super::protocol::{AfterRun, FromRunner, PROTOCOL, RunHeader, ToRunner};
use super::sandbox;

/// Whether Node.js is where it is said to be, or in the usual places.
pub fn node_is_at(given: Option<&Path>) -> bool {
    node::find_node(given).is_some()
}

/// Whether functions of the embedded engine have a module of Node.js (named without `node:`).
pub(in crate::functions) fn is_available_module(name: &str) -> bool {
    builtins::AVAILABLE.contains(&name)
}

/// A warm context is thrown away after so many runs, so that what they leave behind is bounded.
const RUNS_PER_CONTEXT: u32 = 1000;

/// Less source than this is parsed about as fast as its compiled form is read.
const WORTH_COMPILING: usize = 16 * 1024;

/// A process in which engines were used up ends once so much memory is in use after a run.
const MEMORY_LEFT_BEHIND: u64 = 48 * 1024 * 1024;

/// The name of the hidden subcommand, before its arguments: the parent's process id, the most address
/// space in bytes, the kind of runner, and what that kind takes: the folder of its version, and more.
pub const SUBCOMMAND: &str = "runner";

/// The whole life of a runner process. `main` calls this before it does anything else when the
/// first argument is [`SUBCOMMAND`].
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [parent, address_space, kind, rest @ ..] = arguments.as_slice() else {
        return ExitCode::from(64);
    };
    let (Ok(parent), Ok(address_space), Some(kind)) =
        (parent.parse::<i32>(), address_space.parse::<u64>(), RunnerKind::of_name(kind))
    else {
        return ExitCode::from(64);
    };
    // The signal is bound to the thread that started this process: the pool keeps one for that.
    let tied =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let alive = rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero);
    if tied.is_err() || alive.is_none_or(|it| it.get() != parent) {
        return ExitCode::from(65);
    }
    match kind {
        RunnerKind::Quickjs => serve_quickjs(address_space),
        RunnerKind::Node => node::serve(rest),
        RunnerKind::Process => process::serve(address_space, rest.first().map(Path::new)),
    }
}

fn serve_quickjs(address_space: u64) -> ExitCode {
    let sandbox = sandbox::apply(address_space);
    let host = Rc::new(Host::new());
    host.queue(&FromRunner::Hello { protocol: PROTOCOL, sandbox: sandbox.report.clone() }, &[]);
    let mut runner = Runner {
        host,
        code: None,
        compiled: Rc::default(),
        own: Rc::default(),
        engine: None,
        forgotten: 0,
        base_address_space: sandbox.address_space_in_use,
        memory_bytes: 0,
    };
    match runner.serve() {
        // The parent closed the socket: there is nobody left to tell anything.
        Ok(()) | Err(Gone) => ExitCode::SUCCESS,
    }
}

struct Runner {
    host: Rc<Host>,
    code: Option<Rc<Code>>,
    compiled: Rc<Compiled>,
    own: Rc<Compiled>,
    engine: Option<Engine>,
    /// Engines that were used up; their memory is still in use.
    forgotten: u32,
    base_address_space: u64,
    memory_bytes: u64,
}

impl Runner {
    fn serve(&mut self) -> Result<(), Gone> {
        loop {
            self.host.flush()?;
            let (frame, body) = self.host.receive()?;
            match frame {
                ToRunner::Code => {
                    if let Some(engine) = self.engine.take() {
                        self.forget(engine);
                    }
                    self.code = Code::from_bytes(&body).ok().map(Rc::new);
                    self.compiled = Rc::default();
                }
                // The engine that there is has loaded what it needs; the next one profits.
                ToRunner::Compiled => self.compiled = Rc::new(Compiled::from_bytes(&body)),
                ToRunner::OwnCompiled => self.own = Rc::new(Compiled::from_bytes(&body)),
                ToRunner::Compile { files } => {
                    self.compile(&files, &body);
                    self.host.flush()?;
                    return Ok(());
                }
                ToRunner::Run(header) => self.run(&header, body)?,
                // The answer to a fetch of a run that is over.
                ToRunner::Fetched { .. }
                | ToRunner::Connected { .. }
                | ToRunner::Received { .. }
                | ToRunner::Taken { .. }
                | ToRunner::Closed { .. } => {}
            }
        }
    }

    /// Answers with compiled code; the process ends then. Never in one that has had code of a
    /// version to run: what such a process makes is not to be trusted.
    fn compile(&self, files: &[String], code: &[u8]) {
        let compiled = match Code::from_bytes(code) {
            _ if self.code.is_some() => Vec::new(),
            _ if files.is_empty() => bytecode::compile_own(&own_scripts()),
            Ok(code) => bytecode::compile(&code, files),
            Err(_) => Vec::new(),
        };
        self.host.queue(&FromRunner::Compiled, &compiled);
    }

    fn run(&mut self, header: &RunHeader, event: Vec<u8>) -> Result<(), Gone> {
        self.limit_memory(header.memory_bytes);
        if header.fresh
            && let Some(engine) = self.engine.take()
        {
            self.forget(engine);
        }
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => match self.new_engine(header.memory_bytes) {
                Ok(engine) => engine,
                Err(failure) => {
                    self.done(Err(failure), Vec::new(), AfterRun::Spent);
                    return Ok(());
                }
            },
        };
        // A panic is a fault of ours or of a library; it costs this process and this run only.
        let run = std::panic::AssertUnwindSafe(|| engine.run(header, event));
        let Ok(run) = std::panic::catch_unwind(run) else {
            let failure = Failure::new(
                FailureKind::Crashed,
                "the JavaScript engine failed; the function's process was ended",
            );
            self.done(Err(failure), Vec::new(), AfterRun::Spent);
            engine.forget();
            return Ok(());
        };
        let EngineRun { result, logs, end } = run?;
        if engine.runs() == 1 {
            self.tell_loaded(&engine);
        }
        let is_kept =
            end == EngineEnd::Reusable && !header.fresh && engine.runs() < RUNS_PER_CONTEXT;
        if is_kept {
            self.engine = Some(engine);
        } else {
            self.forget(engine);
        }
        self.done(result, logs, self.after_run());
        Ok(())
    }

    /// Tells which files could have been had compiled.
    fn tell_loaded(&self, engine: &Engine) {
        let (files, bytes) = engine.take_loaded();
        if bytes >= WORTH_COMPILING {
            self.host.queue(&FromRunner::Loaded { files }, &[]);
        }
    }

    fn forget(&mut self, engine: Engine) {
        engine.forget();
        self.forgotten += 1;
    }

    fn after_run(&self) -> AfterRun {
        if self.forgotten > 0 && memory_in_use() > MEMORY_LEFT_BEHIND {
            AfterRun::Spent
        } else {
            AfterRun::Ready
        }
    }

    fn new_engine(&self, memory_bytes: u64) -> Result<Engine, Failure> {
        let Some(code) = &self.code else {
            return Err(Failure::new(
                FailureKind::Load,
                "the version's prepared code cannot be read; create the version anew",
            ));
        };
        let compiled = [Rc::clone(&self.own), Rc::clone(&self.compiled)];
        Engine::new(Rc::clone(code), compiled, Rc::clone(&self.host), memory_bytes)
    }

    fn done(&self, result: Result<String, Failure>, logs: Vec<LogLine>, after: AfterRun) {
        let (failure, result) = match result {
            Ok(result) => (None, result),
            Err(failure) => (Some(failure), String::new()),
        };
        self.host.queue(&FromRunner::Done { failure, logs, after }, result.as_bytes());
    }

    /// The engine bounds what JavaScript allocates; this bounds what libraries allocate for it,
    /// such as buffers. It is generous because address space is not memory.
    fn limit_memory(&mut self, memory_bytes: u64) {
        if self.memory_bytes != memory_bytes {
            self.memory_bytes = memory_bytes;
            const SLACK: u64 = 64 * 1024 * 1024;
            let limit = memory_bytes.saturating_mul(2).saturating_add(SLACK + MEMORY_LEFT_BEHIND);
            sandbox::limit_address_space(self.base_address_space.saturating_add(limit));
        }
    }
}

fn own_scripts() -> Vec<(String, &'static str)> {
    let named = |it: &str| Some((builtins::name_in_stacks(it), builtins::script(it)?));
    builtins::SCRIPTS.into_iter().filter_map(named).collect()
}

/// Bytes that the allocator has given out, to the engines and to everything else.
#[cfg(target_env = "gnu")]
fn memory_in_use() -> u64 {
    // SAFETY: only reads the allocator's own counters, under its lock.
    let counters = unsafe { libc::mallinfo2() };
    (counters.uordblks + counters.hblkhd) as u64
}

/// Without a way to tell, every engine that was used up ends its process.
#[cfg(not(target_env = "gnu"))]
fn memory_in_use() -> u64 {
    u64::MAX
}

/// How long after its deadline a run may take to notice by itself before the pool kills it.
pub(super) const GRACE: Duration = Duration::from_millis(500);
