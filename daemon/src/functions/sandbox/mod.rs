//! What a process does to itself before it runs code that it does not trust.
//!
//! Four layers, each enough against most of what the others stop: no new privileges, resource
//! limits, Landlock (files, TCP, signals and abstract sockets out), and a list of allowed system
//! calls. A [`Profile`] says what one kind of runner is left; the shell here puts it on and reports.
//! Owns what is applied and what is reported; whether less than all of it is acceptable is the pool's
//! decision ([`SandboxReport::is_full`]).
//!
//! Must be called while the process has one thread: Landlock and seccomp bind the calling thread.
//!
//! ```text
//!   quickjs, process, ... ── Profile ──► apply ─┬─ descriptors, limits, no new privileges
//!                                               ├─ files (Landlock)
//!                                               └─ calls (seccomp), last: it forbids the rest
//! ```

mod calls;
mod files;
mod host_program;
pub(super) mod node;
pub(super) mod process;
mod programs;
mod quickjs;
mod report;

use rustix::process::{Resource, Rlimit, setrlimit};

pub use self::calls::Calls;
pub use self::files::{AllowedPath, Rights, scope_signals, signals_can_be_scoped};
pub use self::report::SandboxReport;

/// What a process is left with. Each kind of runner has a file that makes one.
#[derive(Debug)]
pub struct Profile {
    /// The files that can be reached, and how; nothing else can be opened.
    pub paths: Vec<AllowedPath>,
    /// Whether TCP is left to other layers, such as a private network.
    pub tcp: bool,
    /// The system calls that are allowed.
    pub calls: Calls,
    /// The limits of resources.
    pub limits: Vec<Limit>,
    /// What becomes of descriptors above standard error.
    pub descriptors: Descriptors,
}

/// The most of a resource, with its name for people.
pub type Limit = (&'static str, Resource, u64);

/// What becomes of the descriptors above standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// They are closed; for a process that has opened none itself.
    Close,
    /// They are closed by the program that this process becomes.
    CloseOnExec,
}

/// A sandbox that was put on.
pub struct Applied {
    /// What of it the kernel enforces.
    pub report: SandboxReport,
    /// How much address space the process had before; the base of later limits.
    pub address_space_in_use: u64,
}

/// Puts the sandbox of a `quickjs` runner on this process, for good. `address_space` is the most it
/// can ever be allowed.
pub fn apply(address_space: u64) -> Applied {
    // Needs a file, which is out of reach afterwards.
    let address_space_in_use = address_space_in_use();
    Applied { report: put_on(&quickjs::profile(address_space)), address_space_in_use }
}

/// Puts a sandbox on this process, for good.
pub fn put_on(profile: &Profile) -> SandboxReport {
    let mut report = SandboxReport::default();
    close_inherited_descriptors(profile.descriptors, &mut report);
    limit_resources(&profile.limits, &mut report);
    match rustix::thread::set_no_new_privs(true) {
        Ok(()) => report.no_new_privileges = true,
        Err(error) => report.missing.push(format!("no_new_privs: {error}")),
    }
    files::restrict(&profile.paths, profile.tcp, &mut report);
    match profile.calls.restrict() {
        Ok(()) => report.syscalls = true,
        Err(error) => report.missing.push(format!("seccomp: {error}")),
    }
    report
}

/// Sets how much address space the process may have from now on, up to what [`apply`] was given.
pub fn limit_address_space(bytes: u64) {
    let most = rustix::process::getrlimit(Resource::As).maximum;
    let current = Some(most.map_or(bytes, |most| most.min(bytes)));
    // Refused only above the maximum, which it is not.
    let _result = setrlimit(Resource::As, Rlimit { current, maximum: most });
}

fn address_space_in_use() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|it| it.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()));
    // Without /proc: more than the binary maps, so that limits are wide rather than deadly.
    pages.map_or(512 * 1024 * 1024, |it| it.saturating_mul(4096))
}

/// Descriptors that a library of the daemon left open for its children must not be there.
fn close_inherited_descriptors(how: Descriptors, report: &mut SandboxReport) {
    let flags = match how {
        Descriptors::Close => 0,
        Descriptors::CloseOnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: plain integers; a process that asks for `Close` has opened no descriptor above 2 yet,
    // so no owner is left with a closed one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        report.missing.push(format!("closing inherited descriptors: {error}"));
    }
}

fn limit_resources(limits: &[Limit], report: &mut SandboxReport) {
    for (name, resource, limit) in limits {
        let maximum = rustix::process::getrlimit(*resource).maximum;
        let limit = Some(maximum.map_or(*limit, |maximum| maximum.min(*limit)));
        if let Err(error) = setrlimit(*resource, Rlimit { current: limit, maximum: limit }) {
            report.missing.push(format!("limit of {name}: {error}"));
        }
    }
    // Others of the same user must not read its memory. A new program begins without this.
    let dumpable = rustix::process::DumpableBehavior::NotDumpable;
    if let Err(error) = rustix::process::set_dumpable_behavior(dumpable) {
        report.missing.push(format!("protection of memory: {error}"));
    }
}
