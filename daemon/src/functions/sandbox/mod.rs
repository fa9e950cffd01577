//! What a process does to itself before it runs code that it does not trust.
//!
//! Four layers, each enough against most of what the others stop: no new privileges, resource
//! limits, Landlock (no file system, no TCP, no signals or abstract sockets out), and a list of
//! allowed system calls. Owns what is applied and what is reported; whether less than all of it is
//! acceptable is the pool's decision ([`SandboxReport::is_full`]).
//!
//! Must be called while the process has one thread: Landlock and seccomp bind the calling thread.

mod syscalls;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// What the kernel enforces on a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// The version of Landlock's interface that was used; 0 for none.
    pub landlock_abi: u8,
    /// No path can be opened.
    pub files: bool,
    /// System calls are limited to a list without sockets, processes and files.
    pub syscalls: bool,
    /// No privileges can be gained.
    pub no_new_privileges: bool,
    /// What is missing, for people; also what is only missed by belt beside braces.
    pub missing: Vec<String>,
}

impl SandboxReport {
    /// Whether the layers that hold code in are all there. Landlock's rules for TCP and signals
    /// come with later kernels; the list of system calls covers both.
    pub fn is_full(&self) -> bool {
        self.files && self.syscalls && self.no_new_privileges
    }
}

/// A sandbox that was put on.
pub struct Applied {
    /// What of it the kernel enforces.
    pub report: SandboxReport,
    /// How much address space the process had before; the base of later limits.
    pub address_space_in_use: u64,
}

/// Puts the sandbox on this process, for good. `address_space` is the most it can ever be allowed.
pub fn apply(address_space: u64) -> Applied {
    let mut report = SandboxReport::default();
    // Both need files, which are out of reach afterwards.
    let address_space_in_use = address_space_in_use();
    close_inherited_descriptors(&mut report);
    limit_resources(address_space, &mut report);
    match rustix::thread::set_no_new_privs(true) {
        Ok(()) => report.no_new_privileges = true,
        Err(error) => report.missing.push(format!("no_new_privs: {error}")),
    }
    restrict_with_landlock(&mut report);
    match syscalls::restrict() {
        Ok(()) => report.syscalls = true,
        Err(error) => report.missing.push(format!("seccomp: {error}")),
    }
    Applied { report, address_space_in_use }
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
fn close_inherited_descriptors(report: &mut SandboxReport) {
    // SAFETY: plain integers; nothing in this process has opened a descriptor above 2 yet, so no
    // owner is left with a closed one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        report.missing.push(format!("closing inherited descriptors: {error}"));
    }
}

fn limit_resources(address_space: u64, report: &mut SandboxReport) {
    let limits = [
        ("address space", Resource::As, address_space),
        // A core file would hold secrets.
        ("core files", Resource::Core, 0),
        ("file size", Resource::Fsize, 0),
        ("processes", Resource::Nproc, 0),
        ("locked memory", Resource::Memlock, 0),
        ("open files", Resource::Nofile, 16),
    ];
    for (name, resource, limit) in limits {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let limit = Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
        if let Err(error) = setrlimit(resource, Rlimit { current: limit, maximum: limit }) {
            report.missing.push(format!("limit of {name}: {error}"));
        }
    }
    // Others of the same user must not read its memory.
    let dumpable = rustix::process::DumpableBehavior::NotDumpable;
    if let Err(error) = rustix::process::set_dumpable_behavior(dumpable) {
        report.missing.push(format!("protection of memory: {error}"));
    }
}

fn restrict_with_landlock(report: &mut SandboxReport) {
    const NEWEST: ABI = ABI::V7;
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|it| it.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|it| it.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|it| it.restrict_self());
    match restricted {
        Ok(status) => {
            report.files = status.ruleset != RulesetStatus::NotEnforced;
            if let LandlockStatus::Available { effective_abi, .. } = status.landlock {
                report.landlock_abi = u8::try_from(effective_abi as i32).unwrap_or_default();
            }
            match status.ruleset {
                RulesetStatus::FullyEnforced => {}
                RulesetStatus::PartiallyEnforced => report.missing.push(
                    "Landlock: this kernel knows only a part of it (system calls cover the rest)"
                        .to_owned(),
                ),
                RulesetStatus::NotEnforced => report.missing.push(format!(
                    "Landlock: {}",
                    match status.landlock {
                        LandlockStatus::NotImplemented => "not in this kernel",
                        LandlockStatus::NotEnabled => "disabled when this kernel was booted",
                        LandlockStatus::Available { .. } =>
                            "refused, such as by a system call \
                            filter of the service",
                    }
                )),
            }
        }
        Err(error) => report.missing.push(format!("Landlock: {error}")),
    }
}
