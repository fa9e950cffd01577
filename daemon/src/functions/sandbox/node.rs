//! The sandbox of Node.js: it reads its version's folder, the system's libraries and certificates, and
//! itself; it reaches nothing else, writes nothing and starts nothing.
//!
//! Its network is the socket that it was given: it can make no other. Unlike the embedded engine it may
//! start threads and make memory executable, which V8 does all the time. `npm ci` runs in the same
//! sandbox with one folder to write to.

use std::path::{Path, PathBuf};

use rustix::process::Resource;

use super::calls::{Calls, Check};
use super::files::{AllowedPath, Rights};
use super::{Descriptors, Profile, host_program};

/// What the profile depends on.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The executable, without symbolic links.
    pub node: PathBuf,
    /// The folder of the version, or the one in which packages are put together.
    pub folder: PathBuf,
    /// The memory of a run.
    pub memory_bytes: u64,
    /// What is there for putting packages together: npm's own folder. With it, `folder` can be written.
    pub npm: Option<PathBuf>,
}

/// What Node.js has in use before it runs anything, in the sense of `RLIMIT_DATA`: its heap, and the
/// stacks of its threads, most of which are never touched.
const BASE_BYTES: u64 = 192 * 1024 * 1024;
/// The largest file that putting packages together may make.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// What is read, beside the folder. Those that do not exist are left out.
const SYSTEM: [&str; 16] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/dev/urandom",
    "/dev/random",
    "/dev/null",
];

/// What the kernel starts together with a program that has libraries.
const LOADERS: [&str; 5] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux-riscv64-lp64d.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

/// The profile of one process, which becomes Node.js.
pub fn profile(options: &NodeOptions) -> Profile {
    let allowed = |path: &Path, rights| AllowedPath { path: path.to_owned(), rights };
    let mut paths: Vec<AllowedPath> =
        SYSTEM.iter().map(|it| allowed(Path::new(it), Rights::Read)).collect();
    paths.extend(LOADERS.iter().map(|it| allowed(Path::new(it), Rights::ReadExecute)));
    paths.push(allowed(&options.node, Rights::ReadExecute));
    let file_bytes = match &options.npm {
        None => {
            paths.push(allowed(&options.folder, Rights::Read));
            0
        }
        Some(npm) => {
            paths.push(allowed(npm, Rights::Read));
            paths.push(allowed(&options.folder, Rights::All));
            LARGEST_FILE
        }
    };
    Profile {
        paths,
        tcp: false,
        calls: calls(options.npm.is_some()),
        limits: vec![
            // Buffers lie outside of the heap of JavaScript. Address space is no measure: V8 sets
            // far more aside than it uses.
            ("memory", Resource::Data, BASE_BYTES + options.memory_bytes.saturating_mul(2)),
            ("stack", Resource::Stack, super::process::STACK_BYTES),
            ("core files", Resource::Core, 0),
            ("file size", Resource::Fsize, file_bytes),
            // Threads of this process are all that it can start; those of its user's others count.
            ("processes", Resource::Nproc, 8192),
            ("locked memory", Resource::Memlock, 0),
            ("open files", Resource::Nofile, 512),
            ("queued signals", Resource::Sigpending, 256),
            ("message queues", Resource::Msgqueue, 0),
        ],
        descriptors: Descriptors::CloseOnExec,
    }
}

fn calls(writes: bool) -> Calls {
    let own_id = u64::from(std::process::id());
    let calls = host_program::calls()
        // Shared memory would not count as data, nor would what grows as stacks do.
        .and_when(
            libc::SYS_mmap,
            &[Check::Without(3, (libc::MAP_SHARED | libc::MAP_GROWSDOWN) as u64)],
        )
        // Threads of this process and nothing else.
        .and_when(libc::SYS_clone, &[Check::Has(0, libc::CLONE_THREAD as u64)])
        .and_absent(libc::SYS_io_uring_setup)
        // abort() sends itself a signal.
        .and_when(libc::SYS_tgkill, &[Check::Is(0, own_id)])
        .and_when(libc::SYS_prctl, &[Check::Is(0, libc::PR_SET_NAME as u64)])
        .and_when(libc::SYS_prctl, &[Check::Is(0, libc::PR_GET_NAME as u64)])
        .and_when(libc::SYS_prctl, &[Check::Is(0, PR_SET_VMA)]);
    // What kind of descriptor it is, and that it does not block.
    let requests = [libc::TCGETS, libc::FIONBIO, libc::FIOCLEX, libc::FIONREAD, libc::TIOCGWINSZ];
    let calls = requests
        .into_iter()
        .fold(calls, |calls, request| calls.and_when(libc::SYS_ioctl, &[Check::Is(1, request)]));
    let commands = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL]
        .into_iter()
        .chain([libc::F_DUPFD, libc::F_DUPFD_CLOEXEC]);
    let calls = commands.fold(calls, |calls, command| {
        calls.and_when(libc::SYS_fcntl, &[Check::Is(1, command as u64)])
    });
    match writes {
        true => calls.and_any(host_program::WRITING).and_any(host_program::ATTRIBUTES),
        false => calls,
    }
}

/// Names of mappings, which allocators give.
const PR_SET_VMA: u64 = 0x5356_4d41;
