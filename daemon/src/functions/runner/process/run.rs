//! One run of a program: its event goes in, its result and log come out, its connections are relayed,
//! and at its end nothing of it is left.

use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::time::Instant;

use super::guard::{self, Act, Guarded, Order, Said};
use super::namespaces::Place;
use super::output::{End, Lines, verdict};
use super::proxy::Proxy;
use crate::functions::outcome::{Failure, FailureKind, LogLevel, LogLine};
use crate::functions::protocol::{FromRunner, RunHeader, ToRunner};
use crate::functions::runner::host::{Gone, Host};
use crate::functions::runner::log::RunLog;
use crate::functions::sandbox::Profile;

const CHUNK: usize = 64 * 1024;
/// How long a program that is being ended is still listened to. Then only its guard is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// What is run.
pub(super) struct Program<'a> {
    pub path: &'a CStr,
    pub environment: &'a [CString],
    pub profile: Profile,
    /// The sandbox must be whole.
    pub must_be_full: bool,
}

/// What a run came to.
pub(super) struct Finished {
    pub result: Result<String, Failure>,
    pub logs: Vec<LogLine>,
    /// Nothing of it is left.
    pub is_clean: bool,
}

/// Why a program was ended before its time.
#[derive(Clone, Copy)]
enum Cut {
    TimedOut,
    TooLarge,
}

struct Run<'a> {
    header: &'a RunHeader,
    host: &'a Host,
    guarded: Guarded,
    proxy: Option<Proxy<'a>>,
    event: Vec<u8>,
    written: usize,
    output: Vec<u8>,
    lines: Lines,
    log: RunLog,
    said: Vec<u8>,
    cut: Option<(Cut, Instant)>,
}

/// Runs a program with an event.
pub(super) fn run(
    header: &RunHeader,
    event: Vec<u8>,
    program: Program<'_>,
    place: &Place,
    host: &Host,
    next_id: &mut u64,
) -> Result<Finished, Gone> {
    let started = Instant::now();
    let deadline = started + Duration::from_millis(header.timeout_ms);
    let act = Act::Execute { program: program.path, environment: program.environment };
    let Program { profile, must_be_full, .. } = program;
    let guarded = match guard::start(&Order { place, profile, must_be_full, act }) {
        Ok(guarded) => guarded,
        Err(error) => {
            let reason = format!("no process for the program can be started: {error}");
            let result = Err(Failure::new(FailureKind::Crashed, reason));
            return Ok(Finished { result, logs: Vec::new(), is_clean: true });
        }
    };
    let proxy = match place {
        Place::Private { listener } => Some(Proxy::new(listener, host, next_id)),
        Place::Shared { .. } => None,
    };
    let mut run = Run {
        header,
        host,
        guarded,
        proxy,
        event,
        written: 0,
        output: Vec::new(),
        lines: Lines::default(),
        log: RunLog::new(started),
        said: Vec::new(),
        cut: None,
    };
    run.watch(deadline)?;
    Ok(run.finish())
}

/// What can become ready.
#[derive(Clone, Copy)]
enum Source {
    Pool,
    Stdin,
    Stdout,
    Stderr,
    Said,
    Proxy(Option<u64>),
}

impl Run<'_> {
    /// Until the guard has ended.
    fn watch(&mut self, deadline: Instant) -> Result<(), Gone> {
        loop {
            self.host.flush()?;
            let now = Instant::now();
            if self.cut.is_none() && now >= deadline {
                self.end_early(Cut::TimedOut);
            }
            if let Some((_, at)) = self.cut
                && now >= at + PATIENCE
            {
                return Ok(());
            }
            if self.log.due().is_some_and(|due| now >= due) {
                self.host.queue(&FromRunner::Logs(self.log.take()), &[]);
                continue;
            }
            let wake = self.cut.map_or(deadline, |(_, at)| at + PATIENCE);
            let wake = self.log.due().map_or(wake, |due| due.min(wake));
            for (source, _) in self.wait(wake.saturating_duration_since(now)) {
                match source {
                    Source::Pool => self.hear()?,
                    Source::Stdin => self.write_event(),
                    Source::Stdout => self.read_output(),
                    Source::Stderr => self.read_log(),
                    Source::Said => {
                        if self.read_said() {
                            return Ok(());
                        }
                    }
                    Source::Proxy(None) => {
                        if let Some(proxy) = &mut self.proxy {
                            proxy.accept();
                        }
                    }
                    Source::Proxy(Some(id)) => {
                        if let Some(proxy) = &mut self.proxy {
                            proxy.ready(id);
                        }
                    }
                }
            }
        }
    }

    fn wait(&self, timeout: Duration) -> Vec<(Source, PollFlags)> {
        let stdin = std::io::stdin();
        let mut sources = vec![(Source::Pool, stdin.as_fd(), PollFlags::IN)];
        sources.push((Source::Said, self.guarded.said.as_fd(), PollFlags::IN));
        let Guarded { stdin: input, stdout, stderr, .. } = &self.guarded;
        for (source, end, flags) in [
            (Source::Stdin, input.as_ref().map(AsFd::as_fd), PollFlags::OUT),
            (Source::Stdout, stdout.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Stderr, stderr.as_ref().map(AsFd::as_fd), PollFlags::IN),
        ] {
            sources.extend(end.map(|it| (source, it, flags)));
        }
        if let Some(proxy) = &self.proxy {
            let interests = proxy.interests().into_iter();
            sources.extend(interests.map(|(id, end, flags)| (Source::Proxy(id), end, flags)));
        }
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, end, flags)| PollFd::from_borrowed_fd(*end, *flags)).collect();
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        if rustix::event::poll(&mut polled, Some(&timeout)).is_err() {
            return Vec::new();
        }
        let events = sources.iter().zip(&polled).map(|((source, ..), it)| (*source, it.revents()));
        events.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    fn hear(&mut self) -> Result<(), Gone> {
        while let Some((frame, body)) = self.host.receive_within(Duration::ZERO)? {
            let Some(proxy) = &mut self.proxy else { continue };
            match frame {
                ToRunner::Connected { id, error } => proxy.connected(id, error),
                ToRunner::Received { id } => proxy.received(id, &body),
                ToRunner::Taken { id, bytes } => proxy.taken(id, bytes),
                ToRunner::Closed { id, .. } => proxy.closed(id),
                // None of them comes in the middle of a run.
                ToRunner::Code
                | ToRunner::Run(_)
                | ToRunner::Compile { .. }
                | ToRunner::OwnCompiled
                | ToRunner::Compiled
                | ToRunner::Fetched { .. } => {}
            }
        }
        Ok(())
    }

    fn write_event(&mut self) {
        let Some(stdin) = &mut self.guarded.stdin else { return };
        let goes_on = match stdin.write(&self.event[self.written..]) {
            Ok(0) => false,
            Ok(written) => {
                self.written += written;
                self.written < self.event.len()
            }
            Err(error) => may_go_on(&error),
        };
        // A program that does not read its event is none the worse for it.
        if !goes_on {
            self.guarded.stdin = None;
        }
    }

    fn read_output(&mut self) {
        let limit = usize::try_from(self.header.output_bytes).unwrap_or(usize::MAX);
        let mut chunk = [0; CHUNK];
        let Some(read) = read(&mut self.guarded.stdout, &mut chunk) else { return };
        // White space around the result is not worth more than this.
        let most = limit.saturating_add(1024);
        if self.output.len().saturating_add(read) > most {
            self.output = Vec::new();
            self.guarded.stdout = None;
            self.end_early(Cut::TooLarge);
        } else {
            self.output.extend_from_slice(&chunk[..read]);
        }
    }

    fn read_log(&mut self) {
        let mut chunk = [0; CHUNK];
        let Some(read) = read(&mut self.guarded.stderr, &mut chunk) else { return };
        let log = &mut self.log;
        self.lines.push(&chunk[..read], |line| log.push(LogLevel::Info, line));
    }

    /// Whether the guard has said its last.
    fn read_said(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.guarded.said.read(&mut chunk) {
            Ok(0) => true,
            Ok(read) => {
                self.said.extend_from_slice(&chunk[..read]);
                false
            }
            Err(error) => !may_go_on(&error),
        }
    }

    fn end_early(&mut self, cut: Cut) {
        self.cut.get_or_insert((cut, Instant::now()));
        self.guarded.end();
    }

    fn finish(mut self) -> Finished {
        let is_gone = self.guarded.wait();
        // Nobody is left to write more. What is there is less than a pipe holds.
        while self.guarded.stderr.is_some() && self.readable(Source::Stderr) {
            self.read_log();
        }
        while self.guarded.stdout.is_some() && self.readable(Source::Stdout) {
            self.read_output();
        }
        let log = &mut self.log;
        self.lines.finish(|line| log.push(LogLevel::Info, line));
        if let Some(proxy) = &mut self.proxy {
            proxy.close_all();
        }
        let said: Vec<Said> = self
            .said
            .split(|it| *it == b'\n')
            .filter_map(|it| serde_json::from_slice(it).ok())
            .collect();
        let is_clean = is_gone && !said.iter().any(|it| matches!(it, Said::LeftBehind));
        if !is_clean {
            let note = "some of the processes that this run has started could not be ended";
            self.log.note(LogLevel::Error, note.to_owned());
        }
        let logs = self.log.finish();
        Finished { result: self.judge(&said), logs, is_clean }
    }

    fn readable(&self, source: Source) -> bool {
        let ready = self.wait(Duration::ZERO);
        ready.iter().any(|(it, _)| std::mem::discriminant(it) == std::mem::discriminant(&source))
    }

    fn judge(self, said: &[Said]) -> Result<String, Failure> {
        match self.cut {
            Some((Cut::TimedOut, _)) => {
                return Err(Failure::new(
                    FailureKind::Timeout,
                    format!("the function took longer than its {} ms", self.header.timeout_ms),
                ));
            }
            Some((Cut::TooLarge, _)) => return Err(self.too_large()),
            None => {}
        }
        let mut end = End::Unknown;
        for said in said {
            match said {
                Said::Exited(status) => end = End::Exited(*status),
                Said::Killed(signal) => end = End::Killed(*signal),
                Said::NotReady(reason) => {
                    let reason = format!("the program's surroundings could not be made: {reason}");
                    return Err(Failure::new(FailureKind::Refused, reason));
                }
                Said::Sandbox(missing) => {
                    let missing = missing.join("; ");
                    let reason = format!("the sandbox is not whole any more: {missing}");
                    return Err(Failure::new(FailureKind::Refused, reason));
                }
                Said::NotStarted(number) => return Err(not_started(*number)),
                Said::Report(_) | Said::LeftBehind => {}
            }
        }
        let too_large = self.too_large();
        let result = verdict(end, self.output, &self.lines)?;
        let limit = usize::try_from(self.header.output_bytes).unwrap_or(usize::MAX);
        if result.len() > limit { Err(too_large) } else { Ok(result) }
    }

    fn too_large(&self) -> Failure {
        Failure::new(
            FailureKind::OutputTooLarge,
            format!(
                "the program wrote more to standard output than the {} bytes that a result may have",
                self.header.output_bytes
            ),
        )
    }
}

/// How much was read; an end that is over is closed.
fn read(end: &mut Option<std::io::PipeReader>, chunk: &mut [u8]) -> Option<usize> {
    match end.as_mut()?.read(chunk) {
        Ok(0) => *end = None,
        Ok(read) => return Some(read),
        Err(error) if may_go_on(&error) => {}
        Err(_) => *end = None,
    }
    None
}

fn may_go_on(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn not_started(number: i32) -> Failure {
    let error = std::io::Error::from_raw_os_error(number);
    let hint = match number {
        libc::ENOENT => "its interpreter, or one of the interpreter's own, is not on this host",
        libc::ENOEXEC => "it is a program for another kind of processor",
        libc::EACCES => "it or its interpreter may not be executed",
        libc::ENOMEM => "it needs more memory than its run may have",
        _ => "the kernel refused it",
    };
    Failure::new(
        FailureKind::Load,
        format!("the entry point could not be started: {hint} ({error})"),
    )
}
