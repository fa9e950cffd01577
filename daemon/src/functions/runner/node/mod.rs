//! The launcher of Node.js: what this process is before it becomes Node.js.
//!
//! It puts on the sandbox, says so to the pool, and then replaces itself by Node.js with a script that
//! speaks the frames from there on. Nothing of a version has run until then. Where Node.js cannot be
//! started it stays, and tells every run why. Must never start another process: the sandbox binds this one.
//!
//! ```text
//!   apply sandbox ─► Hello ─► exec node ─► js/: link, runs, console, tunnels, find, main, npm ─► runs
//!                        └─ cannot ─► Refused for every run
//! ```

use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use super::host::{Gone, Host};
use crate::functions::outcome::{Failure, FailureKind};
use crate::functions::protocol::{AfterRun, FromRunner, PROTOCOL, ToRunner};
use crate::functions::sandbox::{self, node::NodeOptions};

/// Where Node.js is when nobody says.
pub(in crate::functions) const USUAL_PLACES: [&str; 2] = ["/usr/bin/node", "/usr/local/bin/node"];

/// What a process is started with, beside its folder; JSON on its command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::functions) struct NodeStart {
    /// The executable; the usual places when missing.
    pub node: Option<PathBuf>,
    /// How much memory a run may use.
    pub memory_bytes: u64,
    /// Scheme, host and port of the daemon's own URL.
    pub own_origin: Option<String>,
    /// For putting packages together: npm's script. The folder can be written then.
    pub npm: Option<PathBuf>,
}

/// Why Node.js does not run where code cannot be made, and what helps.
pub(in crate::functions) const FORBIDS_CODE: &str = "the service forbids memory that is both written and \
     executed (MemoryDenyWriteExecute), which Node.js cannot run without; install the drop-in \
     mortise.service.d/node.conf that comes with Mortise (systemd/mortise.service.d-node.conf), and \
     restart the service";

/// The parts of the script, in the order in which they run.
const SCRIPTS: [(&str, &str); 7] = [
    ("link", include_str!("js/link.js")),
    ("runs", include_str!("js/runs.js")),
    ("console", include_str!("js/console.js")),
    ("tunnels", include_str!("js/tunnels.js")),
    // The embedded engine's own.
    (
        "find",
        concat!("(function (mortise) { mortise.finder =", include_str!("../js/find.js"), "})"),
    ),
    ("main", include_str!("js/main.js")),
    ("npm", include_str!("js/npm.js")),
];
/// Reads the parts from a descriptor and runs them; on Node's command line.
const START: &str = include_str!("js/start.js");

/// Where certificates of authorities lie on the distributions, in one file.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The whole life of the process, unless it becomes Node.js. Without arguments it only shows its
/// sandbox.
pub(super) fn serve(arguments: &[String]) -> ExitCode {
    let (folder, start) = match arguments {
        [] => (PathBuf::from("/nonexistent"), None),
        [folder, start] => match serde_json::from_str::<NodeStart>(start) {
            Ok(start) => (PathBuf::from(folder), Some(start)),
            Err(_) => return ExitCode::from(64),
        },
        _ => return ExitCode::from(64),
    };
    let given = start.as_ref().and_then(|it| it.node.as_deref());
    let node = find_node(given);
    // Everything that needs files, before they are out of reach.
    let script = start.as_ref().map(|it| script(&folder, it));
    let certificates = CERTIFICATES.into_iter().find(|it| Path::new(it).is_file());
    let options = NodeOptions {
        node: node.clone().unwrap_or_else(|| PathBuf::from("/nonexistent")),
        folder: folder.clone(),
        memory_bytes: start.as_ref().map_or(0, |it| it.memory_bytes),
        npm: start.as_ref().and_then(|it| it.npm.as_deref()).and_then(folder_of_npm),
    };
    give_up_capabilities();
    let report = sandbox::put_on(&sandbox::node::profile(&options));
    let host = Host::new();
    host.queue(&FromRunner::Hello { protocol: PROTOCOL, sandbox: report }, &[]);
    if host.flush().is_err() {
        return ExitCode::SUCCESS;
    }
    let why_not = match (&start, script, &node) {
        (None, _, _) | (_, None, _) => "this process only shows its sandbox".to_owned(),
        (_, _, None) => not_found(given),
        (Some(_), Some(Err(error)), _) => format!("Node.js cannot be given its script: {error}"),
        (Some(start), Some(Ok(script)), Some(node)) => match forbids_code() {
            true => FORBIDS_CODE.to_owned(),
            false => {
                let error = become_node(node, start, &folder, &script, certificates);
                format!("{} cannot be started: {error}", node.display())
            }
        },
    };
    match refuse(&host, &why_not) {
        // The parent closed the socket: there is nobody left to tell anything.
        Ok(()) | Err(Gone) => ExitCode::SUCCESS,
    }
}

/// Under root, Node.js is root without its powers: code in it could raise its own limits otherwise.
fn give_up_capabilities() {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    // Without the powers that it takes, which only root has, there are none to give up.
    for one in CapabilitySet::all() {
        let _not_there = rustix::thread::remove_capability_from_bounding_set(one);
    }
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    let _nothing_to_give = rustix::thread::set_capabilities(None, none);
}

/// The executable without symbolic links, if there is one.
pub(in crate::functions) fn find_node(given: Option<&Path>) -> Option<PathBuf> {
    let usual = USUAL_PLACES.iter().map(Path::new);
    let places: Vec<&Path> = given.map_or_else(|| usual.collect(), |given| vec![given]);
    places.into_iter().filter_map(|it| it.canonicalize().ok()).find(|it| it.is_file())
}

pub(in crate::functions) fn not_found(given: Option<&Path>) -> String {
    let setting = "set `functions.node` to where it is";
    match given {
        Some(path) => {
            format!("Node.js is not at {} (setting `functions.node`); {setting}", path.display())
        }
        None => format!(
            "Node.js is not installed: it is neither {}; install it (Debian: `apt install nodejs`), \
             or {setting}",
            USUAL_PLACES.join(" nor ")
        ),
    }
}

/// The folder of npm whose script is `<folder>/bin/npm-cli.js`.
fn folder_of_npm(script: &Path) -> Option<PathBuf> {
    // Its dependencies may lie beside it, as they do on Debian.
    Some(script.parent()?.parent()?.parent()?.to_owned())
}

/// The scripts and what they need to know, in memory that looks like a file.
fn script(folder: &Path, start: &NodeStart) -> std::io::Result<OwnedFd> {
    let own = start.own_origin.as_deref();
    let text = serde_json::json!({
        "options": { "folder": folder, "own": own, "npm": start.npm },
        "scripts": SCRIPTS,
    });
    let made = rustix::fs::memfd_create("script", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(made);
    file.write_all(text.to_string().as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// Whether this process may not make code, such as by the service's MemoryDenyWriteExecute.
pub(in crate::functions) fn forbids_code() -> bool {
    const LENGTH: usize = 4096;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping that nothing refers to, taken away again at once.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), LENGTH, writable, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return false;
        }
        let result = libc::mprotect(page, LENGTH, writable | libc::PROT_EXEC);
        libc::munmap(page, LENGTH);
        result != 0
    }
}

/// Replaces this process. Returns only if that cannot be done.
fn become_node(
    node: &Path,
    start: &NodeStart,
    folder: &Path,
    script: &OwnedFd,
    certificates: Option<&str>,
) -> std::io::Error {
    if let Err(error) = rustix::io::fcntl_setfd(script, rustix::io::FdFlags::empty()) {
        return error.into();
    }
    let megabytes = (start.memory_bytes / (1024 * 1024)).max(16);
    let mut command = Command::new(node);
    command
        .arg(format!("--max-old-space-size={megabytes}"))
        .args(["--enable-source-maps", "--no-warnings", "--input-type=commonjs"])
        // The same authorities as for requests that the daemon makes.
        .args(certificates.map(|_| "--use-openssl-ca"))
        .arg("-e")
        .arg(START.trim_end().replace("FD", &script.as_raw_fd().to_string()))
        .env_clear()
        .env("TZ", "UTC")
        .env("LANG", "C.UTF-8")
        .env("HOME", folder)
        .envs(certificates.map(|it| ("SSL_CERT_FILE", it)))
        .current_dir(folder)
        .exec()
}

/// Tells every run why there is none.
fn refuse(host: &Host, why: &str) -> Result<(), Gone> {
    loop {
        match host.receive()?.0 {
            ToRunner::Run(_) => {
                let failure = Failure::new(FailureKind::Refused, why);
                let after = AfterRun::Spent;
                let done = FromRunner::Done { failure: Some(failure), logs: Vec::new(), after };
                host.queue(&done, &[]);
                host.flush()?;
            }
            ToRunner::Code
            | ToRunner::Compile { .. }
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
