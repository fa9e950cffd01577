//! The sandbox of a program that a snap-in brings: it reads the system's programs and libraries and
//! its own version's folder, starts processes of its own, and reaches nothing else.
//!
//! How tight calls have to be depends on what is around the program: in a network of its own it may
//! use sockets, among processes of its own it may send signals.

use std::path::{Path, PathBuf};

use rustix::process::Resource;

use super::calls::{Calls, Check};
use super::files::{AllowedPath, Rights};
use super::{Descriptors, Profile, programs};

/// Processes and threads of one run at once.
pub const MOST_PROCESSES: u64 = 64;
/// The most that a run can have in its private `/tmp`, which is memory.
pub const MOST_TEMPORARY_BYTES: u64 = 64 * 1024 * 1024;
/// The stack of a process's first thread, as is usual.
pub(super) const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// What others of the same user may start while a run is on, where its user is theirs.
const ROOM_FOR_OTHERS: u64 = 256;
const MOST_OPEN_FILES: u64 = 256;

/// What the profile depends on.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// The folder of the version.
    pub folder: PathBuf,
    /// The memory of the run.
    pub memory_bytes: u64,
    /// The address space that no process exceeds.
    pub address_space: u64,
    /// The most seconds of a processor that one process may use.
    pub cpu_seconds: u64,
    /// What the program is surrounded by.
    pub surroundings: Surroundings,
}

/// What a program is surrounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// Namespaces of its own: processes, network, mounts, users.
    Private,
    /// The host's, as a user that has so many processes and threads already.
    Shared {
        /// What the limit of processes has to leave out of account.
        processes_of_user: u64,
        /// Landlock keeps signals inside.
        signals_are_scoped: bool,
    },
}

/// What is read and run by programs of the system. Those that do not exist are left out.
///
/// `/dev/zero` is none of them: mapped, it is memory that no limit counts.
pub const SYSTEM: [(&str, Rights); 20] = [
    ("/usr", Rights::ReadExecute),
    ("/bin", Rights::ReadExecute),
    ("/sbin", Rights::ReadExecute),
    ("/lib", Rights::ReadExecute),
    ("/lib32", Rights::ReadExecute),
    ("/lib64", Rights::ReadExecute),
    ("/libx32", Rights::ReadExecute),
    ("/etc/alternatives", Rights::Read),
    ("/etc/ld.so.cache", Rights::Read),
    ("/etc/localtime", Rights::Read),
    ("/etc/mime.types", Rights::Read),
    ("/etc/ca-certificates", Rights::Read),
    ("/etc/pki/ca-trust", Rights::Read),
    ("/etc/pki/tls/certs", Rights::Read),
    ("/etc/ssl/certs", Rights::Read),
    ("/etc/ssl/openssl.cnf", Rights::Read),
    ("/dev/null", Rights::Device),
    ("/dev/full", Rights::Device),
    ("/dev/random", Rights::Read),
    ("/dev/urandom", Rights::Read),
];

/// Where interpreters keep settings that their libraries link to: `/etc/python3.11` and the like.
pub fn settings_of_interpreters() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/etc") else { return Vec::new() };
    let names = entries.filter_map(Result::ok).map(|it| it.path());
    names.filter(|it| it.to_str().is_some_and(|it| it.starts_with("/etc/python3"))).collect()
}

/// The profile of one run.
pub fn profile(options: &ProcessOptions) -> Profile {
    let allowed = |path: &Path, rights| AllowedPath { path: path.to_owned(), rights };
    let mut paths: Vec<AllowedPath> =
        SYSTEM.iter().map(|(path, rights)| allowed(Path::new(path), *rights)).collect();
    paths.extend(settings_of_interpreters().iter().map(|it| allowed(it, Rights::Read)));
    paths.push(allowed(&options.folder, Rights::ReadExecute));
    let (processes, file_bytes) = match options.surroundings {
        Surroundings::Private => {
            paths.push(allowed(Path::new("/tmp"), Rights::All));
            // The supervisor and the guard count as well.
            (MOST_PROCESSES + 2, MOST_TEMPORARY_BYTES)
        }
        Surroundings::Shared { processes_of_user, .. } => {
            (MOST_PROCESSES + ROOM_FOR_OTHERS + processes_of_user, 0)
        }
    };
    Profile {
        paths,
        tcp: options.surroundings == Surroundings::Private,
        calls: calls(options.surroundings),
        limits: vec![
            ("memory", Resource::Data, options.memory_bytes),
            // It counts as no data.
            ("stack", Resource::Stack, STACK_BYTES),
            ("address space", Resource::As, options.address_space),
            ("core files", Resource::Core, 0),
            ("file size", Resource::Fsize, file_bytes),
            ("processes", Resource::Nproc, processes),
            ("locked memory", Resource::Memlock, 0),
            ("open files", Resource::Nofile, MOST_OPEN_FILES),
            ("processor time", Resource::Cpu, options.cpu_seconds),
            ("queued signals", Resource::Sigpending, 256),
            ("message queues", Resource::Msgqueue, 0),
        ],
        descriptors: Descriptors::CloseOnExec,
    }
}

fn calls(surroundings: Surroundings) -> Calls {
    const SIGNALS: [i64; 6] = [
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_send_signal,
    ];
    let calls = programs::calls();
    match surroundings {
        // Its loopback ends at the supervisor's proxy; nobody else listens on its paths and names, and
        // of the host's files none can be changed.
        Surroundings::Private => [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6]
            .into_iter()
            .fold(programs::among_its_own(calls), |calls, family| {
                calls.and_when(libc::SYS_socket, &[Check::Is(0, family as u64)])
            })
            .and_any(&SIGNALS),
        Surroundings::Shared { signals_are_scoped: true, .. } => {
            programs::among_others(calls).and_any(&SIGNALS)
        }
        // Only to its own group, which begins with itself; everybody else of its user is out of reach.
        Surroundings::Shared { signals_are_scoped: false, .. } => {
            programs::among_others(calls).and_when(libc::SYS_kill, &[Check::Is(0, 0)])
        }
    }
}
