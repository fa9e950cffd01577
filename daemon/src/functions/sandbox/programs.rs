//! The system calls of ordinary programs: shells, interpreters, command-line tools.
//!
//! Left out: whatever reaches other processes (ptrace, process_vm_*, pidfd_getfd, kcmp), makes
//! namespaces or mounts, changes users, loads code into the kernel (bpf, modules), holds keys, or is a
//! way around this list (io_uring, open_by_handle_at, userfaultfd). Sockets and signals are up to the
//! profile: they depend on what else holds the program in. So is what Landlock has no say in: the modes
//! and times of files, and the weight of processes.

use super::calls::{Calls, Check};

const ALLOWED: &[i64] = &[
    // Files; which ones is Landlock's to say.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_sync_file_range,
    libc::SYS_umask,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    // Descriptors and waiting.
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_membarrier,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_get_mempolicy,
    // Processes and threads of its own.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getattr,
    libc::SYS_getpriority,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_getcpu,
    libc::SYS_capget,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_restart_syscall,
    // Who it is.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    // Signals of its own; sending them is up to the profile.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_pidfd_open,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // What is done with sockets; making them and naming others is up to the profile.
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// Older forms of some of them, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(target_arch = "aarch64")]
const ALLOWED_OLD: &[i64] = &[libc::SYS_newfstatat, libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_OLD: &[i64] = &[];

/// What can be done only where nothing but the program's own is in sight: Landlock has no say in it,
/// and the user may be the daemon's.
const AMONG_ITS_OWN: &[i64] = &[
    // Modes, owners and times of files; emptying them by name, which Landlock knows since Linux 6.2.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
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
    calls.and_any(AMONG_ITS_OWN)
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
    let calls = Calls::any(ALLOWED)
        .and_any(ALLOWED_OLD)
        .and_open(libc::SYS_openat, 2)
        // Its flags are in memory, where a filter cannot look.
        .and_absent(libc::SYS_openat2)
        // Memory that the limit of data does not count: shared without a file, or growing as stacks do.
        .and_when(libc::SYS_mmap, &[Check::Without(3, shared | down)])
        .and_when(libc::SYS_mmap, &[Check::Without(3, libc::MAP_ANONYMOUS as u64 | down)])
        .and_absent(libc::SYS_memfd_create);
    #[cfg(target_arch = "x86_64")]
    let calls = calls.and_open(libc::SYS_open, 1);
    calls
        .and_when(libc::SYS_clone, &[Check::Without(0, NAMESPACES as u64)])
        // Its flags are in memory, where a filter cannot look.
        .and_absent(libc::SYS_clone3)
        // Its own limits, not those of other processes.
        .and_when(libc::SYS_prlimit64, &[Check::Is(0, 0)])
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
