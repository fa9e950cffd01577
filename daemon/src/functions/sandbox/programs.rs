//! The system calls of ordinary programs: shells, interpreters, command-line tools. Those that Node.js
//! needs as well are in `host_program.rs`.
//!
//! Left out: whatever reaches other processes (ptrace, process_vm_*, pidfd_getfd, kcmp), makes
//! namespaces or mounts, changes users, loads code into the kernel (bpf, modules), holds keys, or is a
//! way around this list (io_uring, open_by_handle_at, userfaultfd). Sockets and signals are up to the
//! profile: they depend on what else holds the program in. So is what Landlock has no say in: the modes
//! and times of files, and the weight of processes.

use super::calls::{Calls, Check};
use super::host_program;

const ALLOWED: &[i64] = &[
    // More of files; which ones is Landlock's to say.
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_close_range,
    libc::SYS_fallocate,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_readahead,
    libc::SYS_sync_file_range,
    libc::SYS_fchdir,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    // Descriptors and waiting.
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Memory.
    libc::SYS_msync,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    // Processes and threads of its own.
    libc::SYS_execveat,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_futex_waitv,
    libc::SYS_sched_getattr,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    // Who it is.
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    // Signals of its own; sending them is up to the profile.
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_pidfd_open,
    // What is done with sockets; making them and naming others is up to the profile.
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
];

/// Older forms of some of them, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_getdents,
    libc::SYS_pipe,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_alarm,
    libc::SYS_pause,
];
#[cfg(target_arch = "aarch64")]
const ALLOWED_OLD: &[i64] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_OLD: &[i64] = &[];

/// What can be done only where nothing but the program's own is in sight: Landlock has no say in it,
/// and the user may be the daemon's.
const AMONG_ITS_OWN: &[i64] = &[
    // Emptying files by name, which Landlock knows since Linux 6.2.
    libc::SYS_truncate,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    // What happens in folders.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // The weight of processes, and where they run.
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_setpriority,
    // Sockets that name others.
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
];

const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// What is added where the program sees nothing but its own.
pub(super) fn among_its_own(calls: Calls) -> Calls {
    calls.and_any(host_program::ATTRIBUTES).and_any(AMONG_ITS_OWN)
}

/// What is added where others of its user are in reach.
pub(super) fn among_others(calls: Calls) -> Calls {
    // Connected pairs of streams or packets; datagrams can be sent to any path.
    let pair = [
        Check::Is(0, libc::AF_UNIX as u64),
        Check::Has(1, libc::SOCK_STREAM as u64),
        Check::Without(1, libc::SOCK_DGRAM as u64),
    ];
    let itself = [Check::Is(0, 0)];
    calls
        .and_when(libc::SYS_socketpair, &pair)
        .and_when(libc::SYS_sendto, &[Check::Is(4, 0)])
        .and_when(libc::SYS_sched_setaffinity, &itself)
        .and_when(libc::SYS_sched_setscheduler, &itself)
        .and_when(libc::SYS_setpriority, &[Check::Is(0, 0), Check::Is(1, 0)])
}

/// Everything that ordinary programs need but sockets and signals.
pub(super) fn calls() -> Calls {
    let (shared, down) = (libc::MAP_SHARED as u64, libc::MAP_GROWSDOWN as u64);
    host_program::calls()
        .and_any(host_program::WRITING)
        .and_any(ALLOWED)
        .and_any(ALLOWED_OLD)
        // Its flags are in memory, where a filter cannot look.
        .and_absent(libc::SYS_openat2)
        // Memory that the limit of data does not count: shared without a file, or growing as stacks do.
        .and_when(libc::SYS_mmap, &[Check::Without(3, shared | down)])
        .and_when(libc::SYS_mmap, &[Check::Without(3, libc::MAP_ANONYMOUS as u64 | down)])
        .and_absent(libc::SYS_memfd_create)
        .and_when(libc::SYS_clone, &[Check::Without(0, NAMESPACES as u64)])
        // A process that cannot be dumped is hidden where /proc hides, and could stay behind.
        .and_when(
            libc::SYS_prctl,
            &[
                Check::IsNot(0, libc::PR_SET_DUMPABLE as u64),
                Check::IsNot(0, libc::PR_SET_MM as u64),
                Check::IsNot(0, libc::PR_SET_PTRACER as u64),
            ],
        )
        // Typing into a terminal, and signals to whoever is named as the owner of a descriptor.
        .and_when(
            libc::SYS_ioctl,
            &[
                Check::IsNot(1, libc::TIOCSTI),
                Check::IsNot(1, libc::TIOCLINUX),
                Check::IsNot(1, FIOSETOWN),
                Check::IsNot(1, SIOCSPGRP),
                // What its user may do to a file that it can only read.
                Check::IsNot(1, FS_IOC_SETFLAGS),
                Check::IsNot(1, FS_IOC_FSSETXATTR),
                Check::IsNot(1, FS_IOC_ENABLE_VERITY),
            ],
        )
        .and_when(
            libc::SYS_fcntl,
            &[
                Check::IsNot(1, libc::F_SETOWN as u64),
                Check::IsNot(1, F_SETOWN_EX),
                Check::IsNot(1, F_SETSIG),
            ],
        )
}

// Numbers of the kernel's interface that the libc crate has no names for.
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
const FS_IOC_ENABLE_VERITY: u64 = 0x4080_6685;
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;
