//! The sandbox of the embedded engine: memory, time, its socket and its own end. No file, no socket,
//! no fork, no exec, no ptrace, no thread.

use rustix::process::Resource;

use super::calls::{Calls, Check};
use super::{Descriptors, Profile};

const ALLOWED: &[i64] = &[
    // The socket and standard error.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_close,
    libc::SYS_restart_syscall,
    // Memory; mapping is below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Locks of the allocator and the standard library.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Its own signals and end.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

pub(super) fn profile(address_space: u64) -> Profile {
    let never_executable = [Check::Without(2, libc::PROT_EXEC as u64)];
    let own_id = u64::from(std::process::id());
    let calls = Calls::any(ALLOWED)
        .and_when(libc::SYS_mmap, &never_executable)
        .and_when(libc::SYS_mprotect, &never_executable)
        // Its own limits, not those of other processes.
        .and_when(libc::SYS_prlimit64, &[Check::Is(0, 0)])
        // abort() sends itself a signal.
        .and_when(libc::SYS_tgkill, &[Check::Is(0, own_id)]);
    Profile {
        paths: Vec::new(),
        tcp: false,
        calls,
        limits: vec![
            ("address space", Resource::As, address_space),
            // A core file would hold secrets.
            ("core files", Resource::Core, 0),
            ("file size", Resource::Fsize, 0),
            ("processes", Resource::Nproc, 0),
            ("locked memory", Resource::Memlock, 0),
            ("open files", Resource::Nofile, 16),
        ],
        descriptors: Descriptors::Close,
    }
}
