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
use super::{Descriptors, Profile};

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

const ALLOWED: &[i64] = &[
    // Files, which Landlock bounds, and descriptors that there are.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fadvise64,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_umask,
    // Memory; mapping is below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mincore,
    libc::SYS_membarrier,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_get_mempolicy,
    // Threads; starting them is below.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_restart_syscall,
    // Time, randomness, who and where it is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_capget,
    // Its own signals and end.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The start. Later it could only become Node.js anew: Landlock lets nothing else be run.
    libc::SYS_execve,
];

/// Older forms of some of them, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[i64] = &[];

/// What putting packages together does to files.
const WRITING: &[i64] = &[
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_flock,
];
#[cfg(target_arch = "x86_64")]
const WRITING_OLD: &[i64] = &[
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const WRITING_OLD: &[i64] = &[];

fn calls(writes: bool) -> Calls {
    let own_id = u64::from(std::process::id());
    let calls = Calls::any(ALLOWED)
        .and_any(ALLOWED_OLD)
        .and_open(libc::SYS_openat, 2)
        // Shared memory would not count as data, nor would what grows as stacks do.
        .and_when(
            libc::SYS_mmap,
            &[Check::Without(3, (libc::MAP_SHARED | libc::MAP_GROWSDOWN) as u64)],
        )
        // Threads of this process and nothing else.
        .and_when(libc::SYS_clone, &[Check::Has(0, libc::CLONE_THREAD as u64)])
        // Its flags are in memory, where a filter cannot look.
        .and_absent(libc::SYS_clone3)
        .and_absent(libc::SYS_io_uring_setup)
        // Its own limits, not those of other processes.
        .and_when(libc::SYS_prlimit64, &[Check::Is(0, 0)])
        // abort() sends itself a signal.
        .and_when(libc::SYS_tgkill, &[Check::Is(0, own_id)])
        .and_when(libc::SYS_prctl, &[Check::Is(0, libc::PR_SET_NAME as u64)])
        .and_when(libc::SYS_prctl, &[Check::Is(0, libc::PR_GET_NAME as u64)])
        .and_when(libc::SYS_prctl, &[Check::Is(0, PR_SET_VMA)]);
    #[cfg(target_arch = "x86_64")]
    let calls = calls.and_open(libc::SYS_open, 1);
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
    if writes { calls.and_any(WRITING).and_any(WRITING_OLD) } else { calls }
}

/// Names of mappings, which allocators give.
const PR_SET_VMA: u64 = 0x5356_4d41;
