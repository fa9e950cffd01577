//! The process between the supervisor and a program: it starts the program, waits for it, and ends
//! whatever the program has left behind.
//!
//! In private namespaces the guard is the first process of its own, and with it the kernel ends all
//! others there. Elsewhere it is the one to whom orphans fall, and kills until nobody is left. Either
//! way it ends when the supervisor does. It holds no descriptor but the pipe on which it reports, and
//! the program cannot reach it: by namespaces, by Landlock, or by the list of system calls.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

use super::namespaces::{self, Place};
use crate::functions::sandbox::{self, Profile, SandboxReport};

/// What a program is to be.
pub(super) struct Order<'a> {
    pub place: &'a Place,
    pub profile: Profile,
    /// The sandbox must be whole, as it was when the supervisor tried it.
    pub must_be_full: bool,
    pub act: Act<'a>,
}

/// What happens in the sandbox.
pub(super) enum Act<'a> {
    /// The program, relative to the folder of the version, with its environment.
    Execute { program: &'a CStr, environment: &'a [CString] },
    /// Nothing but a report of the sandbox.
    Report,
}

/// What comes over the pipe, one JSON value a line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The sandbox that was put on.
    Report(SandboxReport),
    /// What of the run's surroundings could not be made.
    NotReady(String),
    /// What the sandbox lacks although it was whole before.
    Sandbox(Vec<String>),
    /// The error number of starting the program.
    NotStarted(i32),
    /// The program's exit status.
    Exited(i32),
    /// The signal that ended the program.
    Killed(i32),
    /// Some of what the program has started could not be ended.
    LeftBehind,
}

/// A guard that was started, and the supervisor's ends of the pipes. Ended when dropped.
pub(super) struct Guarded {
    guard: Option<Pid>,
    is_private: bool,
    pub stdin: Option<PipeWriter>,
    pub stdout: Option<PipeReader>,
    pub stderr: Option<PipeReader>,
    pub said: PipeReader,
}

impl Guarded {
    /// Ends the program and all that it has started. The guard says how that went.
    pub(super) fn end(&self) {
        let signal = if self.is_private { Signal::KILL } else { Signal::TERM };
        if let Some(guard) = self.guard {
            // It may be gone already.
            let _result = rustix::process::kill_process(guard, signal);
        }
    }

    /// Waits for a guard that has ended or is told to; nobody of the run is left afterwards, if it
    /// returns true.
    pub(super) fn wait(&mut self) -> bool {
        let Some(guard) = self.guard.take() else { return true };
        wait_for(guard);
        // Only if the guard itself was killed is there anybody left, who is ours now.
        sweep(None)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.end();
            let _swept = self.wait();
        }
    }
}

fn wait_for(process: Pid) {
    while let Err(rustix::io::Errno::INTR) =
        rustix::process::waitpid(Some(process), WaitOptions::empty())
    {}
}

/// Starts a guard, which starts the program.
pub(super) fn start(order: &Order<'_>) -> io::Result<Guarded> {
    let (their_stdin, stdin) = io::pipe()?;
    let (stdout, their_stdout) = io::pipe()?;
    let (stderr, their_stderr) = io::pipe()?;
    let (said, their_said) = io::pipe()?;
    for ours in [stdout.as_fd(), stderr.as_fd(), said.as_fd(), stdin.as_fd()] {
        rustix::io::ioctl_fionbio(ours, true)?;
    }
    let is_private = order.place.is_private();
    let namespaces = if is_private { libc::CLONE_NEWPID | libc::CLONE_NEWNS } else { 0 };
    let ends = [&their_stdin.as_raw_fd(), &their_stdout.as_raw_fd(), &their_stderr.as_raw_fd()];
    let (ends, report) = (ends.map(|it| *it), their_said.as_raw_fd());
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    let supervisor = rustix::process::getpid();
    // SAFETY: a fork, with namespaces: no stack and no thread data are handed over. This process has
    // one thread, so that its copy may do anything.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let life = std::panic::AssertUnwindSafe(|| be_guard(order, supervisor, ends, report));
            let _panicked: std::thread::Result<Infallible> = std::panic::catch_unwind(life);
            leave(70)
        }
        guard => Ok(Guarded {
            guard: i32::try_from(guard).ok().and_then(Pid::from_raw),
            is_private,
            stdin: Some(stdin),
            stdout: Some(stdout),
            stderr: Some(stderr),
            said,
        }),
    }
}

/// Ends this process without running what a normal end runs, which belongs to the supervisor.
fn leave(status: i32) -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { libc::_exit(status) }
}

/// The pipe to the supervisor, in the guard and in the program until it begins.
const REPORT: RawFd = 3;

fn say(said: &Said) {
    let mut line = serde_json::to_vec(said).unwrap_or_default();
    line.push(b'\n');
    // SAFETY: the bytes live through the call. If nobody listens, nobody needs to know.
    unsafe { libc::write(REPORT, line.as_ptr().cast(), line.len()) };
}

fn be_guard(order: &Order<'_>, supervisor: Pid, ends: [RawFd; 3], report: RawFd) -> Infallible {
    let is_private = order.place.is_private();
    let signals = block_signals(is_private);
    let farewell = if is_private { Signal::KILL } else { Signal::TERM };
    let tied = rustix::process::set_parent_process_death_signal(Some(farewell));
    if tied.is_err() || arrange_descriptors(ends, report).is_err() || is_alone() {
        leave(71);
    }
    let subreaper = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let ready = match order.place {
        Place::Private { .. } => namespaces::mount_temporary().map(|()| None),
        Place::Shared { signals_are_scoped } => {
            let scoped = *signals_are_scoped && scope_signals(supervisor);
            subreaper.map_err(io::Error::from).map(|()| Some(scoped))
        }
    };
    let scoped = match ready {
        // The list of calls allows signals only because Landlock was to keep them in.
        Ok(Some(false)) if lets_signals_out(order.place) => {
            say(&Said::NotReady("signals cannot be kept inside".to_owned()));
            leave(0)
        }
        Ok(scoped) => scoped,
        Err(error) => {
            say(&Said::NotReady(error.to_string()));
            leave(0)
        }
    };
    // SAFETY: a process with one thread.
    match unsafe { libc::fork() } {
        -1 => {
            let error = io::Error::last_os_error();
            say(&Said::NotStarted(error.raw_os_error().unwrap_or_default()));
            leave(0)
        }
        0 => be_program(order),
        program => {
            // The program's own; while somebody else holds them, nobody hears that it closed them.
            for end in 0..REPORT {
                // SAFETY: nothing of this process uses them.
                unsafe { libc::close(end) };
            }
            let status = watch(program, &signals);
            if let Some(scoped) = scoped
                && !sweep(scoped.then_some(()))
            {
                say(&Said::LeftBehind);
            }
            if let Some(status) = status {
                say(&status);
            }
            leave(0)
        }
    }
}

fn lets_signals_out(place: &Place) -> bool {
    match place {
        Place::Private { .. } => false,
        Place::Shared { signals_are_scoped } => *signals_are_scoped,
    }
}

/// Keeps signals of this process and its children among them. Trusted only if it is seen to work:
/// the sweep signals everybody whom it may.
fn scope_signals(supervisor: Pid) -> bool {
    rustix::thread::set_no_new_privs(true).is_ok()
        && sandbox::scope_signals()
        && rustix::process::test_kill_process(supervisor) == Err(rustix::io::Errno::PERM)
}

/// Blocks what the guard waits for: in private namespaces nobody who may ask it to end does so by a
/// signal that its program could send as well.
fn block_signals(is_private: bool) -> libc::sigset_t {
    // SAFETY: a set that is made by the calls for it.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGCHLD);
        if !is_private {
            libc::sigaddset(&raw mut signals, libc::SIGTERM);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        signals
    }
}

fn arrange_descriptors(ends: [RawFd; 3], report: RawFd) -> io::Result<()> {
    let check = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    for (to, from) in (0..).zip(ends) {
        // SAFETY: standard input, output and error of this copy are nobody's.
        check(unsafe { libc::dup2(from, to) })?;
    }
    if report != REPORT {
        // SAFETY: whatever has this number is a copy of something of the supervisor's.
        check(unsafe { libc::dup3(report, REPORT, libc::O_CLOEXEC) })?;
    }
    // SAFETY: this process uses no others, and it never runs the ends of those who own them.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, REPORT + 1, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the supervisor was gone before this process was tied to it: nobody reads the pipe.
fn is_alone() -> bool {
    // SAFETY: the pipe is open for the life of this process.
    let report = unsafe { std::os::fd::BorrowedFd::borrow_raw(REPORT) };
    let mut polled = [PollFd::from_borrowed_fd(report, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let result = rustix::event::poll(&mut polled, Some(&now));
    result.is_err() || polled[0].revents().contains(PollFlags::ERR)
}

/// Waits until the program has ended, or the guard is told to end it.
fn watch(program: i32, signals: &libc::sigset_t) -> Option<Said> {
    loop {
        while let Ok(Some((process, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if process.as_raw_nonzero().get() == program {
                return Some(described(status));
            }
        }
        // SAFETY: a set that was made before; nobody asks for details.
        let signal = unsafe { libc::sigwaitinfo(signals, std::ptr::null_mut()) };
        if signal == libc::SIGTERM {
            return None;
        }
    }
}

fn described(status: WaitStatus) -> Said {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Said::Exited(status),
        (None, signal) => Said::Killed(signal.unwrap_or_default()),
    }
}

/// Kills the children of this process, and those who fall to it then, until none is left. With
/// `scoped` signals to everybody reach nobody else.
fn sweep(scoped: Option<()>) -> bool {
    const ROUNDS: usize = 1000;
    for _ in 0..ROUNDS {
        if scoped.is_some() {
            // SAFETY: Landlock keeps it among this process's own, as was tried.
            unsafe { libc::kill(-1, libc::SIGKILL) };
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return true,
            }
        }
        for child in children() {
            let _result = rustix::process::kill_process(child, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    false
}

fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries
        .filter_map(Result::ok)
        .filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |it: &i32| {
        std::fs::read_to_string(format!("/proc/{it}/stat"))
            .is_ok_and(|stat| parent_in(&stat) == Some(own))
    };
    numbers.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// The parent in a `/proc/PID/stat`. The name before it may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn be_program(order: &Order<'_>) -> ! {
    // The guard's end is its end, also of one that was killed.
    let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if tied.is_err() || rustix::process::setsid().is_err() {
        leave(71);
    }
    reset_signals();
    let report = sandbox::put_on(&order.profile);
    match order.act {
        Act::Report => say(&Said::Report(report)),
        Act::Execute { .. } if order.must_be_full && !report.is_full() => {
            say(&Said::Sandbox(report.missing));
        }
        Act::Execute { program, environment } => {
            let arguments = [program.as_ptr(), std::ptr::null()];
            let environment: Vec<*const libc::c_char> = environment
                .iter()
                .map(|it| it.as_ptr())
                .chain(std::iter::once(std::ptr::null()))
                .collect();
            // SAFETY: strings that end, in lists that end.
            unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            let error = io::Error::last_os_error();
            say(&Said::NotStarted(error.raw_os_error().unwrap_or_default()));
        }
    }
    leave(127)
}

/// A program expects the defaults; Rust and the guard have changed some.
fn reset_signals() {
    // SAFETY: plain numbers and a set that is made by the call for it.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Puts a place and its sandbox to the test in a process that ends, because neither can be undone.
pub(super) fn try_out(
    enter: impl FnOnce() -> Result<Place, String>,
    profile: impl FnOnce(&Place) -> Profile,
) -> Result<SandboxReport, String> {
    let (mut answer, their_answer) = io::pipe().map_err(|error| error.to_string())?;
    // SAFETY: a process with one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().to_string()),
        0 => {
            drop(answer);
            let attempt = std::panic::AssertUnwindSafe(|| attempt(enter, profile));
            let result = std::panic::catch_unwind(attempt)
                .unwrap_or_else(|_| Err("the attempt failed".to_owned()));
            let text = serde_json::to_vec(&result).unwrap_or_default();
            let mut their_answer = their_answer;
            let _told = their_answer.write_all(&text);
            leave(0)
        }
        child => {
            drop(their_answer);
            let mut text = String::new();
            let read = io::Read::read_to_string(&mut answer, &mut text);
            if let Some(child) = Pid::from_raw(child) {
                wait_for(child);
            }
            read.map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|_| "the attempt ended early".to_owned())?
        }
    }
}

fn attempt(
    enter: impl FnOnce() -> Result<Place, String>,
    profile: impl FnOnce(&Place) -> Profile,
) -> Result<SandboxReport, String> {
    let subreaper = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    subreaper.map_err(|error| error.to_string())?;
    let place = enter()?;
    let profile = profile(&place);
    let order = Order { place: &place, profile, must_be_full: false, act: Act::Report };
    let mut guarded = start(&order).map_err(|error| format!("own processes: {error}"))?;
    let mut text = String::new();
    let read = rustix::io::ioctl_fionbio(&guarded.said, false).map_err(io::Error::from);
    let read = read.and_then(|()| io::Read::read_to_string(&mut guarded.said, &mut text));
    read.map_err(|error| error.to_string())?;
    guarded.wait();
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Said::Report(report)) => return Ok(report),
            Ok(Said::NotReady(reason)) => return Err(reason),
            Ok(
                Said::Sandbox(_)
                | Said::NotStarted(_)
                | Said::Exited(_)
                | Said::Killed(_)
                | Said::LeftBehind,
            )
            | Err(_) => {}
        }
    }
    Err("the attempt was not reported".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parent_in;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("12 (sh) S 7 12 12"), Some(7));
        assert_eq!(parent_in("12 (a) S 1) R 7 12 12"), Some(7));
        assert_eq!(parent_in("12 (sh"), None);
    }
}
