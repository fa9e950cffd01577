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

mod builtins;
mod engine;
mod errors;
mod host;
mod log;
mod modules;
mod natives;
mod shared;
mod timers;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use self::engine::{Engine, EngineEnd};
use self::host::{Gone, Host};
use super::code::Code;
use super::outcome::{Failure, FailureKind};
use super::protocol::{FromRunner, PROTOCOL, RunHeader, ToRunner};
use super::sandbox;

/// A warm context is thrown away after so many runs, so that what they leave behind is bounded.
const RUNS_PER_CONTEXT: u32 = 1000;

/// The name of the hidden subcommand, before its two arguments: the parent's process id and the
/// most address space in bytes.
pub const SUBCOMMAND: &str = "runner";

/// The whole life of a runner process. `main` calls this before it does anything else when the
/// first argument is [`SUBCOMMAND`].
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [parent, address_space] = arguments.as_slice() else {
        return ExitCode::from(64);
    };
    let (Ok(parent), Ok(address_space)) = (parent.parse::<i32>(), address_space.parse::<u64>())
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
    let sandbox = sandbox::apply(address_space);
    let host = Rc::new(Host::new());
    host.queue(&FromRunner::Hello { protocol: PROTOCOL, sandbox: sandbox.report.clone() }, &[]);
    let mut runner = Runner {
        host,
        code: None,
        engine: None,
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
    engine: Option<Engine>,
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
                    self.engine = None;
                    self.code = Code::from_bytes(&body).ok().map(Rc::new);
                }
                ToRunner::Run(header) => self.run(&header, body)?,
                // The answer to a fetch of a run that is over.
                ToRunner::Fetched { .. } => {}
            }
        }
    }

    fn run(&mut self, header: &RunHeader, event: Vec<u8>) -> Result<(), Gone> {
        self.limit_memory(header.memory_bytes);
        let engine = match self.engine.take().filter(|_| !header.fresh) {
            Some(engine) => Ok(engine),
            None => self.new_engine(header.memory_bytes),
        };
        let engine = match engine {
            Ok(engine) => engine,
            Err(failure) => return self.done(Err(failure), Vec::new()),
        };
        // A panic is a fault of ours or of a library; it costs this process and this run only.
        let run = std::panic::AssertUnwindSafe(|| engine.run(header, event));
        let Ok(run) = std::panic::catch_unwind(run) else {
            let failure = Failure::new(
                FailureKind::Crashed,
                "the JavaScript engine failed; the function's process was ended",
            );
            self.done(Err(failure), Vec::new())?;
            self.host.flush()?;
            std::process::exit(70);
        };
        let run = run?;
        let keep = matches!(run.end, EngineEnd::Reusable) && !header.fresh;
        self.done(run.result, run.logs)?;
        // Answered first: tearing a context down takes time that the caller need not wait for.
        self.host.flush()?;
        if keep && engine.runs() < RUNS_PER_CONTEXT {
            self.engine = Some(engine);
        }
        Ok(())
    }

    fn new_engine(&self, memory_bytes: u64) -> Result<Engine, Failure> {
        let Some(code) = &self.code else {
            return Err(Failure::new(
                FailureKind::Load,
                "the version's prepared code cannot be read; create the version anew",
            ));
        };
        Engine::new(Rc::clone(code), Rc::clone(&self.host), memory_bytes)
    }

    fn done(
        &self,
        result: Result<String, Failure>,
        logs: Vec<super::outcome::LogLine>,
    ) -> Result<(), Gone> {
        match result {
            Ok(result) => {
                self.host.queue(&FromRunner::Done { failure: None, logs }, result.as_bytes());
            }
            Err(failure) => {
                self.host.queue(&FromRunner::Done { failure: Some(failure), logs }, &[]);
            }
        }
        Ok(())
    }

    /// The engine bounds what JavaScript allocates; this bounds what libraries allocate for it,
    /// such as buffers. It is generous because address space is not memory.
    fn limit_memory(&mut self, memory_bytes: u64) {
        if self.memory_bytes != memory_bytes {
            self.memory_bytes = memory_bytes;
            const SLACK: u64 = 64 * 1024 * 1024;
            let limit = memory_bytes.saturating_mul(2).saturating_add(SLACK);
            sandbox::limit_address_space(self.base_address_space.saturating_add(limit));
        }
    }
}

/// How long after its deadline a run may take to notice by itself before the pool kills it.
pub(super) const GRACE: Duration = Duration::from_millis(500);
