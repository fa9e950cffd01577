//! One JavaScript context with its own engine, and the loop that takes one run through it.
//!
//! Every context has an engine (QuickJS runtime) to itself, because memory limits are per engine.
//! Whatever the function does, [`Engine::run`] comes back soon after the deadline: JavaScript is
//! broken off by the interrupt handler, waits end by time-out, and what neither reaches (one long
//! call into native code) the pool ends by killing the process.
//!
//! An engine is never torn down, only [forgotten](Engine::forget): QuickJS aborts the process when
//! anything is left that it cannot collect, and the Web APIs of llrt leave circles that it cannot
//! (an unfinished stream is enough). The runner counts what is left behind and ends in time.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rquickjs::{
    AsyncContext, AsyncRuntime, CatchResultExt, CaughtError, Ctx, Function, Object, Value,
};
use tokio::time::Instant;

use super::budget::{Budget, BudgetAllocator};
use super::bytecode::Compiled;
use super::host::{Gone, Host};
use super::log::RunLog;
use super::modules::{ArchiveLoader, ArchiveResolver, Hooks, hook};
use super::shared::Shared;
use super::{errors, natives};
use crate::functions::code::Code;
use crate::functions::outcome::{Failure, FailureKind, LogLevel, LogLine};
use crate::functions::protocol::{FetchAnswer, RunHeader, ToRunner};

/// Of the 8 MiB that a main thread usually has; native frames between checks need the rest.
pub(super) const STACK_BYTES: usize = 2 * 1024 * 1024;

pub(super) struct Engine {
    // Never dropped, see above.
    context: ManuallyDrop<AsyncContext>,
    runtime: ManuallyDrop<AsyncRuntime>,
    shared: Rc<Shared>,
    runs: Cell<u32>,
}

pub(super) struct EngineRun {
    pub result: Result<String, Failure>,
    pub logs: Vec<LogLine>,
    pub end: EngineEnd,
}

/// Whether a further run may use the same context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineEnd {
    Reusable,
    Spent,
}

impl Engine {
    pub(super) fn new(
        code: Rc<Code>,
        [own, compiled]: [Rc<Compiled>; 2],
        host: Rc<Host>,
        memory_bytes: u64,
    ) -> Result<Engine, Failure> {
        let shared = Rc::new(Shared {
            code,
            own,
            compiled,
            loaded: RefCell::default(),
            host,
            timers: RefCell::default(),
            log: RefCell::new(RunLog::new(Instant::now())),
            deadline: Cell::new(None),
            timed_out: Cell::new(false),
            host_gone: Cell::new(false),
            loading: Cell::new(false),
            not_found: RefCell::default(),
            outcome: RefCell::default(),
            output_bytes: Cell::new(0),
            memory_bytes: Cell::new(memory_bytes),
            budget: Budget::new(memory_bytes),
            next_fetch: Cell::new(0),
            fetches: Cell::new(0),
            unhandled: RefCell::default(),
        });
        Engine::build(Rc::clone(&shared)).map_err(|message| match message {
            Some(message) => {
                Failure::new(FailureKind::Crashed, format!("no JavaScript context: {message}"))
            }
            None => errors::out_of_memory(&shared),
        })
    }

    fn build(shared: Rc<Shared>) -> Result<Engine, Option<String>> {
        let allocator = BudgetAllocator(Rc::clone(&shared.budget));
        let runtime = AsyncRuntime::new_with_alloc(allocator).map_err(|_| None)?;
        let runtime = ManuallyDrop::new(runtime);
        at_once(runtime.set_max_stack_size(STACK_BYTES));
        let it = Rc::clone(&shared);
        at_once(runtime.set_interrupt_handler(Some(Box::new(move || it.must_stop()))));
        let it = Rc::clone(&shared);
        at_once(runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, is_handled| {
                track_rejection(&it, &ctx, &promise, &reason, is_handled);
            },
        ))));
        at_once(
            runtime
                .set_loader(ArchiveResolver(Rc::clone(&shared)), ArchiveLoader(Rc::clone(&shared))),
        );
        let context = at_once(AsyncContext::full(&runtime)).map_err(|_| None)?;
        let context = ManuallyDrop::new(context);
        at_once(context.with(|ctx| {
            prepare(&ctx, &shared).catch(&ctx).map_err(|error| match error {
                CaughtError::Exception(error) => error.message(),
                CaughtError::Error(_) | CaughtError::Value(_) => None,
            })
        }))?;
        Ok(Engine { context, runtime, shared, runs: Cell::new(0) })
    }

    /// Leaves it where it is; its memory stays in use.
    pub(super) fn forget(self) {
        let Engine { context: _, runtime: _, shared, runs: _ } = self;
        // What the engine's handlers hold of it stays as well.
        drop(shared);
    }

    /// The files that were compiled from their source, and the bytes of that.
    pub(super) fn take_loaded(&self) -> (Vec<String>, usize) {
        self.shared.loaded.take()
    }

    /// How many runs it has had.
    pub(super) fn runs(&self) -> u32 {
        self.runs.get()
    }

    /// Takes one run to its end.
    pub(super) fn run(&self, header: &RunHeader, event: Vec<u8>) -> Result<EngineRun, Gone> {
        let shared = &self.shared;
        let started = Instant::now();
        let deadline = started + Duration::from_millis(header.timeout_ms);
        self.runs.set(self.runs.get() + 1);
        shared.log.replace(RunLog::new(started));
        shared.deadline.set(Some(deadline));
        shared.outcome.replace(None);
        shared.output_bytes.set(header.output_bytes);
        shared.unhandled.borrow_mut().clear();
        shared.memory_bytes.set(header.memory_bytes);
        shared.budget.begin_run(header.memory_bytes);
        self.enter(|ctx| {
            let event: Value = ctx.json_parse(event)?;
            let start = hook(ctx, |hooks| &hooks.start)?;
            start.call::<_, ()>((header.function.as_str(), event))
        });
        self.run_to_end(deadline)?;
        Ok(self.finish(header))
    }

    /// Runs jobs, timers and answers until there is an outcome and nothing is under way for it.
    fn run_to_end(&self, deadline: Instant) -> Result<(), Gone> {
        let shared = &self.shared;
        loop {
            self.run_jobs();
            if shared.host_gone.get() {
                return Err(Gone);
            }
            let now = Instant::now();
            if shared.timed_out.get() || now >= deadline {
                shared.timed_out.set(true);
                return Ok(());
            }
            // Many functions do not await what they start. Requests are seen through to their end;
            // timers alone are not waited for, since most guard something that is over.
            if shared.outcome.borrow().is_some() && shared.fetches.get() == 0 {
                return Ok(());
            }
            if let Some(id) = self.take_due_timer(now) {
                self.enter(|ctx| hook(ctx, |hooks| &hooks.fire)?.call::<_, ()>((id,)));
                // Timers that are always due must not keep answers from being heard.
                if shared.fetches.get() > 0 {
                    self.listen(Duration::ZERO)?;
                }
                continue;
            }
            if shared.fetches.get() == 0 && shared.timers.borrow().held() == 0 {
                self.end_without_hope();
                return Ok(());
            }
            self.wait(now, deadline)?;
        }
    }

    fn take_due_timer(&self, now: Instant) -> Option<u32> {
        self.shared.timers.borrow_mut().take_due(now)
    }

    fn wait(&self, now: Instant, deadline: Instant) -> Result<(), Gone> {
        let shared = &self.shared;
        shared.send_logs_if_due(now);
        let log_due = shared.log.borrow().due();
        let timer_due = shared.timers.borrow().next_due();
        let until = [log_due, timer_due].into_iter().flatten().fold(deadline, Instant::min);
        // Rounded up, so that what is waited for is due when the wait is over.
        self.listen(until.saturating_duration_since(now) + Duration::from_micros(50))
    }

    /// Sends what is queued and takes in one frame if it comes in time.
    fn listen(&self, timeout: Duration) -> Result<(), Gone> {
        self.shared.host.flush()?;
        if let Some((frame, body)) = self.shared.host.receive_within(timeout)?
            && let ToRunner::Fetched { id, answer } = frame
        {
            self.settle_fetch(id, &answer, body);
        }
        Ok(())
    }

    fn settle_fetch(&self, id: u64, answer: &FetchAnswer, body: Vec<u8>) {
        self.enter(|ctx| {
            let answer = serde_json::to_vec(answer).unwrap_or_default();
            let answer: Value = ctx.json_parse(answer)?;
            let body = natives::array_buffer(ctx, body)?;
            let was_awaited: bool = hook(ctx, |hooks| &hooks.settle)?.call((id, answer, body))?;
            if was_awaited {
                self.shared.fetches.set(self.shared.fetches.get().saturating_sub(1));
            }
            Ok(())
        });
    }

    /// Calls into JavaScript from outside; what it throws there ends the run.
    fn enter(&self, call: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<()>) {
        at_once(self.context.with(|ctx| {
            let Err(error) = call(&ctx) else { return };
            let failure = match error {
                rquickjs::Error::Exception => {
                    let thrown = ctx.catch();
                    errors::describe(&ctx, &self.shared, &thrown)
                }
                rquickjs::Error::Allocation => errors::out_of_memory(&self.shared),
                other => Failure::new(FailureKind::Crashed, other.to_string()),
            };
            // An interrupted call is told as what interrupted it.
            if !self.shared.timed_out.get() {
                self.shared.end(Err(failure));
            }
        }));
    }

    fn run_jobs(&self) {
        const JOBS_PER_LOOK: u32 = 1024;
        let mut jobs: u32 = 0;
        loop {
            match at_once(self.runtime.execute_pending_job()) {
                Ok(true) => {}
                Ok(false) => return,
                Err(exception) => {
                    let failure = at_once(exception.0.with(|ctx| {
                        let thrown = ctx.catch();
                        errors::describe(&ctx, &self.shared, &thrown)
                    }));
                    if !self.shared.timed_out.get() {
                        self.shared.end(Err(failure));
                    }
                }
            }
            jobs += 1;
            // Jobs may be too short for the interrupt handler to be asked at all.
            if jobs.is_multiple_of(JOBS_PER_LOOK) && self.shared.must_stop() {
                return;
            }
        }
    }

    fn end_without_hope(&self) {
        // Without memory, the engine loses jobs.
        let failure = if self.shared.budget.is_exceeded() {
            errors::out_of_memory(&self.shared)
        } else {
            Failure::new(
                FailureKind::NeverSettled,
                "the promise that the function returned never settled: no timer and no request is \
                 left that could do it",
            )
        };
        self.shared.end(Err(failure));
    }

    fn finish(&self, header: &RunHeader) -> EngineRun {
        let shared = &self.shared;
        let outcome = shared.outcome.borrow_mut().take();
        let timed_out = shared.timed_out.get();
        let fetches = shared.fetches.get();
        let mut log = shared.log.borrow_mut();
        for reason in shared.unhandled.borrow_mut().drain().map(|(_, reason)| reason) {
            log.note(LogLevel::Error, format!("a rejected promise was not handled: {reason}"));
        }
        if outcome.is_some() && fetches > 0 {
            log.note(
                LogLevel::Warn,
                format!("{fetches} requests that the function did not await were broken off"),
            );
        }
        let timeout = || {
            Err(Failure::new(
                FailureKind::Timeout,
                format!("the function took longer than its {} ms", header.timeout_ms),
            ))
        };
        let result = match outcome {
            // What was interrupted leaves things half done, on which whatever comes next may fall.
            Some(Err(failure)) if timed_out && failure.kind == FailureKind::Thrown => timeout(),
            Some(result) => result,
            None => timeout(),
        };
        let is_quiet = !timed_out
            && fetches == 0
            && shared.timers.borrow().is_empty()
            && !at_once(self.runtime.is_job_pending());
        let end = if result.is_ok() && is_quiet { EngineEnd::Reusable } else { EngineEnd::Spent };
        EngineRun { result, logs: log.finish(), end }
    }
}

fn prepare(ctx: &Ctx<'_>, shared: &Rc<Shared>) -> rquickjs::Result<()> {
    let native = natives::make(ctx, shared)?;
    let prelude = natives::evaluate_own(ctx, shared, "prelude")?;
    let prelude: Function = prelude.try_into_function().map_err(|_| rquickjs::Error::Unknown)?;
    let hooks: Object = prelude.call((native,))?;
    let hooks = Hooks {
        start: hooks.get("start")?,
        fire: hooks.get("fire")?,
        settle: hooks.get("settle")?,
        load_sync: hooks.get("loadSync")?,
        require_from: hooks.get("requireFrom")?,
    };
    ctx.store_userdata(hooks).map(drop).map_err(|_| rquickjs::Error::Unknown)
}

fn track_rejection<'js>(
    shared: &Shared,
    ctx: &Ctx<'js>,
    promise: &Value<'js>,
    reason: &Value<'js>,
    is_handled: bool,
) {
    const MOST: usize = 20;
    // SAFETY: a promise is an object, so the value holds a pointer; it is only compared.
    let address = unsafe { rquickjs::qjs::JS_VALUE_GET_PTR(promise.as_raw()) } as usize;
    let mut unhandled = shared.unhandled.borrow_mut();
    if is_handled {
        unhandled.remove(&address);
    } else if unhandled.len() < MOST {
        let failure = errors::describe(ctx, shared, reason);
        unhandled.insert(address, format!("{}: {}", failure.name, failure.message));
    }
}

/// Polls until ready. All futures of the engine are: there is one thread, so no lock is ever held
/// by another, and what JavaScript waits for is not waited for here.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}
