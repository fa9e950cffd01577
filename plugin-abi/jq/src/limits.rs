//! What a program may use, counted while it runs, and how a run that uses more is stopped.
//!
//! jaq asks for its table of terms before it evaluates any term, and does everything to values by
//! our operations. Both count here. A run that is over a limit is unwound to [`run`], from whatever
//! depth: nothing in jaq holds a lock or breaks when it is dropped half way.
//!
//! Must never: be called in a destructor, because unwinding runs those.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tokio::time::Instant;

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub time: Duration,
    /// How often a part of a program may be evaluated. It bounds what has no value to count: the
    /// contexts and closures of a recursion.
    pub terms: u64,
    /// Units of work on values: items visited, texts compared in pieces of 64 bytes.
    pub work: u64,
    /// Bytes of the values that are made, whether or not they are dropped meanwhile.
    pub memory: u64,
    /// How deep the stack of the thread may grow, in bytes. Dropping a chain of closures needs
    /// more on top, in proportion to `terms`.
    pub stack: usize,
}

impl Limits {
    /// On the caller's thread: what fits in a corner of a stack of 2 MiB, and what nobody notices.
    /// The steps take a millisecond or two; time is for a machine that has other things to do.
    pub const HERE: Limits = Limits {
        time: Duration::from_millis(250),
        terms: 1_000,
        work: 50_000,
        memory: 2 << 20,
        stack: 192 << 10,
    };
    /// On a thread of its own with [`STACK`] bytes.
    pub const WHOLE: Limits = Limits {
        time: Duration::from_secs(1),
        terms: 500_000,
        work: 8_000_000,
        memory: 32 << 20,
        stack: 48 << 20,
    };
}

/// The stack of a thread that compiles, or runs within [`Limits::WHOLE`]. Address space only: the
/// kernel gives pages when they are touched, and the thread ends after its run.
pub(super) const STACK: usize = 256 << 20;

/// How deep arrays and objects may be nested. JSON text is read to 128 levels.
pub(super) const MOST_NESTED: u32 = 200;

/// Time is looked at once in so many units of work or terms.
const UNITS_PER_LOOK: u64 = 256;
/// A term may stand for copying a long chain of closures.
const UNITS_PER_TERM: u64 = 4;

/// What a run had too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Wall time.
    Time,
    /// Evaluated parts of the program, or work on values.
    Steps,
    /// Bytes of values.
    Memory,
    /// Arrays and objects in one another.
    Nesting,
    /// Calls in one another.
    Recursion,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Limits::WHOLE;
        match self {
            // Callers with a deadline give it less than the usual time.
            Limit::Time => write!(f, "it ran longer than it may, {:?} at most", whole.time),
            Limit::Steps => {
                write!(f, "it took more than {} steps; does it repeat for ever?", whole.terms)
            }
            Limit::Memory => write!(f, "its values took more than {} MiB", whole.memory >> 20),
            Limit::Nesting => {
                write!(f, "it nested arrays and objects deeper than {MOST_NESTED} levels")
            }
            Limit::Recursion => write!(f, "its calls are nested too deep"),
        }
    }
}

/// Why [`run`] gives no result.
#[derive(Debug)]
pub(super) enum Stopped {
    Over(Limit),
    /// A defect, of jaq or ours.
    Panicked,
}

/// What is left for the run on this thread.
struct Meter {
    terms: Cell<u64>,
    work: Cell<u64>,
    memory: Cell<u64>,
    until_look: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    /// The stack must not grow below this address.
    stack_end: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            terms: Cell::new(u64::MAX),
            work: Cell::new(u64::MAX),
            memory: Cell::new(u64::MAX),
            until_look: Cell::new(UNITS_PER_LOOK),
            deadline: Cell::new(None),
            stack_end: Cell::new(0),
        }
    };
}

impl Meter {
    fn set(&self, limits: &Limits) {
        self.terms.set(limits.terms);
        self.work.set(limits.work);
        self.memory.set(limits.memory);
        self.until_look.set(UNITS_PER_LOOK);
        self.deadline.set(Some(Instant::now() + limits.time));
        self.stack_end.set(stack_position().saturating_sub(limits.stack));
    }

    fn clear(&self) {
        self.terms.set(u64::MAX);
        self.work.set(u64::MAX);
        self.memory.set(u64::MAX);
        self.deadline.set(None);
        self.stack_end.set(0);
    }

    fn look(&self, units: u64) {
        match self.until_look.get().checked_sub(units) {
            Some(left) => self.until_look.set(left),
            None => {
                self.until_look.set(UNITS_PER_LOOK);
                if self.deadline.get().is_some_and(|it| it <= Instant::now()) {
                    stop(Limit::Time);
                }
            }
        }
    }
}

/// Runs `work` within `limits`, and drops all that it leaves behind.
pub(super) fn run<T>(limits: &Limits, work: impl FnOnce() -> T) -> Result<T, Stopped> {
    METER.with(|meter| meter.set(limits));
    let done = catch_unwind(AssertUnwindSafe(work));
    METER.with(Meter::clear);
    done.map_err(|payload: Box<dyn Any + Send>| match payload.downcast::<Limit>() {
        Ok(limit) => Stopped::Over(*limit),
        Err(_) => Stopped::Panicked,
    })
}

/// Counts the evaluation of a term, and looks how deep the stack is.
pub(super) fn evaluate() {
    METER.with(|meter| {
        take(&meter.terms, 1, Limit::Steps);
        if stack_position() < meter.stack_end.get() {
            stop(Limit::Recursion);
        }
        meter.look(UNITS_PER_TERM);
    });
}

/// Counts work on values.
pub(super) fn spend(units: usize) {
    let units = units as u64;
    METER.with(|meter| {
        take(&meter.work, units, Limit::Steps);
        meter.look(units);
    });
}

/// Counts bytes that are about to be allocated, and the work of filling them.
pub(super) fn allocate(bytes: usize) {
    METER.with(|meter| {
        take(&meter.memory, bytes as u64, Limit::Memory);
        meter.look(1 + bytes as u64 / 256);
    });
}

/// Looks whether something is nested too deep.
pub(super) fn nest(levels: u32) -> u32 {
    if levels > MOST_NESTED {
        stop(Limit::Nesting);
    }
    levels
}

fn take(left: &Cell<u64>, units: u64, limit: Limit) {
    match left.get().checked_sub(units) {
        Some(rest) => left.set(rest),
        None => stop(limit),
    }
}

/// Leaves the run. The panic hook is not called: this is no defect.
fn stop(limit: Limit) -> ! {
    resume_unwind(Box::new(limit))
}

/// An address in the current stack frame; stacks grow down on every platform that we build for.
#[inline(never)]
fn stack_position() -> usize {
    let here = 0u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
