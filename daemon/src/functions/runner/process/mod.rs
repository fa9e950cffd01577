//! A supervisor: for every run it starts an executable of the version in a sandbox of its own.
//!
//! Owns the contract of `process` functions: the event (one JSON object) on standard input, the result
//! (one JSON value, or nothing) on standard output, log lines on standard error, the exit status. The
//! event is an object and not the array that JavaScript gets: every run has one event, and a program
//! would have to unpack it each time. Whatever a run has started is gone before its result is told;
//! if some of it cannot be ended, the run's log says so and the supervisor is not used again.
//!
//! The supervisor itself runs no code of others and is not in the sandbox, because it starts processes
//! for every run. It goes into private namespaces first where they are to be had.
//!
//! ```text
//!   pool ◄─ frames ─► supervisor ─► guard ─► program ─► whatever it starts
//!                       │  ▲          └─ first of its process namespace, or ends orphans itself
//!                       │  └─ stdin, stdout, stderr
//!                       └─ proxy on the private loopback ─► Connect, Send, ... ─► daemon's egress
//! ```

mod about;
mod entry;
mod guard;
mod head;
mod namespaces;
mod output;
mod proxy;
mod run;

use std::ffi::CString;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use self::about::About;
use self::namespaces::{Place, Wish};
use self::run::{Finished, Program, run};
use super::host::{Gone, Host};
use crate::functions::outcome::{Failure, FailureKind};
use crate::functions::protocol::{AfterRun, FromRunner, PROTOCOL, RunHeader, ToRunner};
use crate::functions::sandbox::Profile;
use crate::functions::sandbox::process::{ProcessOptions, profile};

/// Less than this a program cannot even be loaded with.
const LEAST_MEMORY: u64 = 32 * 1024 * 1024;
/// What a run is that is only looked at.
const PROBED: &str = "/usr";

/// The life of a supervisor, after it has been tied to its parent.
pub(super) fn serve(address_space: u64, folder: Option<&Path>) -> ExitCode {
    let folder = folder.unwrap_or(Path::new(PROBED)).to_owned();
    match Supervisor::start(address_space, folder) {
        Ok(mut supervisor) => match supervisor.serve() {
            // The parent closed the socket: there is nobody left to tell anything.
            Ok(()) | Err(Gone) => ExitCode::SUCCESS,
        },
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(66)
        }
    }
}

struct Supervisor {
    host: Host,
    place: Place,
    folder: PathBuf,
    address_space: u64,
    is_full: bool,
    about: Option<About>,
    next_connection: u64,
}

impl Supervisor {
    fn start(address_space: u64, folder: PathBuf) -> Result<Supervisor, String> {
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).map_err(|error| error.to_string())?;
        // If memory runs out, the host's own processes should go last.
        let _unchanged = std::fs::write("/proc/self/oom_score_adj", "1000");
        let try_out = |wish: Wish| {
            let profile = |place: &Place| profile_of(place, address_space, LEAST_MEMORY, 1000);
            guard::try_out(|| Place::enter(wish, &folder), profile)
        };
        let (wish, report) = match try_out(Wish::Private) {
            Ok(report) => (Wish::Private, report),
            Err(reason) => {
                let mut report = try_out(Wish::Shared)?;
                report.reduced.push(without_namespaces(&reason));
                (Wish::Shared, report)
            }
        };
        let place = Place::enter(wish, &folder)?;
        let is_full = report.is_full();
        let host = Host::new();
        host.queue(&FromRunner::Hello { protocol: PROTOCOL, sandbox: report }, &[]);
        Ok(Supervisor {
            host,
            place,
            folder,
            address_space,
            is_full,
            about: None,
            next_connection: 0,
        })
    }

    fn serve(&mut self) -> Result<(), Gone> {
        loop {
            self.host.flush()?;
            let (frame, body) = self.host.receive()?;
            match frame {
                ToRunner::Code => self.about = serde_json::from_slice(&body).ok(),
                ToRunner::Run(header) => self.run(&header, body)?,
                // Late answers to a run that is over, and what concerns other kinds.
                ToRunner::Compile { .. }
                | ToRunner::OwnCompiled
                | ToRunner::Compiled
                | ToRunner::Fetched { .. }
                | ToRunner::Connected { .. }
                | ToRunner::Received { .. }
                | ToRunner::Taken { .. }
                | ToRunner::Closed { .. } => {}
            }
        }
    }

    fn run(&mut self, header: &RunHeader, event: Vec<u8>) -> Result<(), Gone> {
        let finished = match self.program(header) {
            Ok((path, environment)) => {
                let program = Program {
                    path: &path,
                    environment: &environment,
                    profile: profile_of(
                        &self.place,
                        self.address_space,
                        header.memory_bytes.max(LEAST_MEMORY),
                        header.timeout_ms / 1000 + 2,
                    ),
                    must_be_full: self.is_full,
                };
                let next_id = &mut self.next_connection;
                run(header, event, program, &self.place, &self.host, next_id)?
            }
            Err(failure) => Finished { result: Err(failure), logs: Vec::new(), is_clean: true },
        };
        let Finished { result, logs, is_clean } = finished;
        let (failure, result) = match result {
            Ok(result) => (None, result),
            Err(failure) => (Some(failure), String::new()),
        };
        let after = if is_clean { AfterRun::Ready } else { AfterRun::Spent };
        self.host.queue(&FromRunner::Done { failure, logs, after }, result.as_bytes());
        Ok(())
    }

    /// The program of a function, and its environment.
    fn program(&self, header: &RunHeader) -> Result<(CString, Vec<CString>), Failure> {
        let load = |message: String| Failure::new(FailureKind::Load, message);
        let Some(about) = &self.about else {
            return Err(load("what is known of the package cannot be read".to_owned()));
        };
        if about.path != self.folder {
            return Err(load("the package lies in another folder than before".to_owned()));
        }
        let Some(entry_point) = about.entry_points.get(&header.function) else {
            let names: Vec<&str> = about.entry_points.keys().map(String::as_str).collect();
            return Err(Failure::new(
                FailureKind::NotFound,
                format!(
                    "the version has no program for the function `{}`; it has some for {}",
                    header.function,
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                ),
            ));
        };
        let path = entry::check(entry_point).map_err(load)?;
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| load(format!("`{entry_point}` is no path")))?;
        Ok((path, environment(header, &self.place)))
    }
}

fn profile_of(place: &Place, address_space: u64, memory_bytes: u64, cpu_seconds: u64) -> Profile {
    profile(&ProcessOptions {
        // The current one, whatever its name here.
        folder: PathBuf::from("."),
        memory_bytes,
        address_space,
        cpu_seconds,
        surroundings: place.surroundings(),
    })
}

fn without_namespaces(reason: &str) -> String {
    format!(
        "programs of snap-ins have no network and no /tmp: private namespaces are not to be had \
         ({reason}). Under systemd the drop-in mortise.service.d-process-network.conf allows them"
    )
}

/// All that a program has in its environment.
fn environment(header: &RunHeader, place: &Place) -> Vec<CString> {
    let mut variables = vec![
        ("PATH", entry::PATH.to_owned()),
        ("HOME", "/nonexistent".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("MORTISE_FUNCTION", header.function.clone()),
        ("MORTISE_RUN_ID", header.run_id.clone()),
        ("MORTISE_TIMEOUT_MS", header.timeout_ms.to_string()),
    ];
    match place {
        Place::Private { listener } => {
            variables.push(("TMPDIR", "/tmp".to_owned()));
            if let Some(url) = proxy_url(listener) {
                for name in ["http_proxy", "https_proxy", "all_proxy"].into_iter().chain([
                    "HTTP_PROXY",
                    "HTTPS_PROXY",
                    "ALL_PROXY",
                ]) {
                    variables.push((name, url.clone()));
                }
                // The daemon's own URL may be a loopback address, which clients like to except.
                variables.push(("no_proxy", String::new()));
                variables.push(("NO_PROXY", String::new()));
                variables.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
            }
        }
        Place::Shared { .. } => {}
    }
    let texts = variables.into_iter().map(|(name, value)| format!("{name}={value}"));
    // None of them holds a zero: names of functions come from manifests, which refuse it.
    texts.filter_map(|it| CString::new(it).ok()).collect()
}

fn proxy_url(listener: &TcpListener) -> Option<String> {
    listener.local_addr().ok().map(|address| format!("http://{address}"))
}
