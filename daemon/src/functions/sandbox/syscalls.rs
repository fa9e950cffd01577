//! The system calls that a runner needs: memory, time, its socket, and its own end.
//!
//! Whatever is not listed gets EPERM, so that a library that only asks (the time zone, the number of
//! processors) carries on, and code that tries to break out gets nowhere: no open, no socket, no
//! fork, no exec, no ptrace, no thread.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

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

/// Why the list is not in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyscallError {
    #[error("this processor is not supported")]
    Processor,
    #[error(transparent)]
    Filter(#[from] seccompiler::Error),
    #[error(transparent)]
    Backend(#[from] seccompiler::BackendError),
}

/// Puts the list in force for the calling thread, for good.
pub(super) fn restrict() -> Result<(), SyscallError> {
    let target = std::env::consts::ARCH.try_into().map_err(|_| SyscallError::Processor)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|it| (*it, Vec::new())).collect();
    // Memory is never executable.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![when(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?]);
    }
    // Its own limits, not those of other processes.
    rules.insert(libc::SYS_prlimit64, vec![when(0, SeccompCmpOp::Eq, 0)?]);
    // abort() sends itself a signal.
    let own_id = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Eq, own_id)?]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        target,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, SyscallError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
