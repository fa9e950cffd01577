//! What the engine and the functions that JavaScript calls share within one context.
//!
//! Invariant: holds no JavaScript value, so that it may outlive the engine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tokio::time::Instant;

use super::budget::Budget;
use super::bytecode::Compiled;
use super::host::Host;
use super::log::RunLog;
use super::timers::Timers;
use crate::functions::code::Code;
use crate::functions::outcome::Failure;
use crate::functions::protocol::FromRunner;

pub(super) struct Shared {
    pub code: Rc<Code>,
    /// Our own scripts, by the names that they have in stacks.
    pub own: Rc<Compiled>,
    pub compiled: Rc<Compiled>,
    /// Files that were compiled from their source, and the bytes of that.
    pub loaded: RefCell<(Vec<String>, usize)>,
    pub host: Rc<Host>,
    pub timers: RefCell<Timers>,
    pub log: RefCell<RunLog>,
    /// When the run must be over; the interrupt handler and every wait heed it.
    pub deadline: Cell<Option<Instant>>,
    /// The deadline has passed while JavaScript ran.
    pub timed_out: Cell<bool>,
    /// The host is gone; noticed inside JavaScript.
    pub host_gone: Cell<bool>,
    /// Modules of the version are being loaded, not yet its function run.
    pub loading: Cell<bool>,
    /// What is said when the wanted function is not there.
    pub not_found: RefCell<Option<String>>,
    /// How the run ended, once it has. The first end counts.
    pub outcome: RefCell<Option<Result<String, Failure>>>,
    pub output_bytes: Cell<u64>,
    pub memory_bytes: Cell<u64>,
    pub budget: Rc<Budget>,
    pub next_fetch: Cell<u64>,
    /// Fetches of this run without an answer yet.
    pub fetches: Cell<usize>,
    /// Rejected promises that nobody has handled, by the promise's address.
    pub unhandled: RefCell<HashMap<usize, String>>,
}

impl Shared {
    pub(super) fn end(&self, outcome: Result<String, Failure>) {
        self.outcome.borrow_mut().get_or_insert(outcome);
    }

    /// Notes that a file was compiled from its source.
    pub(super) fn note_loaded(&self, name: &str, text: &str) {
        let mut loaded = self.loaded.borrow_mut();
        loaded.0.push(name.to_owned());
        loaded.1 += text.len();
    }

    /// Called by the engine every few thousand steps of JavaScript: whether to break it off.
    pub(super) fn must_stop(&self) -> bool {
        let Some(deadline) = self.deadline.get() else { return self.host_gone.get() };
        let now = Instant::now();
        if now >= deadline {
            self.timed_out.set(true);
        }
        self.send_logs_if_due(now);
        self.timed_out.get() || self.host_gone.get()
    }

    pub(super) fn send_logs_if_due(&self, now: Instant) {
        // Busy while a line is being written: the next call will do.
        let Ok(mut log) = self.log.try_borrow_mut() else { return };
        if log.due().is_some_and(|it| now >= it) {
            self.host.queue(&FromRunner::Logs(log.take()), &[]);
            if self.host.flush().is_err() {
                self.host_gone.set(true);
            }
        }
    }
}
