//! Lists of allowed system calls, and how a list is put in force.
//!
//! Whatever is not listed gets EPERM, so that a library that only asks (the time zone, the number of
//! processors) carries on, and code that tries to break out gets nowhere.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What may be called. A call is allowed when one of its alternatives fits.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    allowed: BTreeMap<i64, Vec<Vec<Check>>>,
    absent: Vec<i64>,
}

/// What an argument of a call must be.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Argument number, and its value.
    Is(u8, u64),
    /// Argument number (32 bits wide), and a value that it is not.
    IsNot(u8, u64),
    /// Argument number, and bits that are all set.
    Has(u8, u64),
    /// Argument number, and bits of which none is set.
    Without(u8, u64),
}

/// Why the list is not in force.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// Not one of those that filters can be made for.
    #[error("this processor is not supported")]
    Processor,
    /// The kernel refused it.
    #[error(transparent)]
    Filter(#[from] seccompiler::Error),
    /// It cannot be made.
    #[error(transparent)]
    Backend(#[from] seccompiler::BackendError),
}

impl Calls {
    /// A list of calls whose arguments do not matter.
    pub fn any(calls: &[i64]) -> Calls {
        let allowed = calls.iter().map(|it| (*it, Vec::new())).collect();
        Calls { allowed, absent: Vec::new() }
    }

    /// Adds calls whose arguments do not matter.
    pub fn and_any(mut self, calls: &[i64]) -> Calls {
        self.allowed.extend(calls.iter().map(|it| (*it, Vec::new())));
        self
    }

    /// Adds a way in which a call is allowed: all checks must fit.
    pub fn and_when(mut self, call: i64, checks: &[Check]) -> Calls {
        self.allowed.entry(call).or_default().push(checks.to_vec());
        self
    }

    /// Adds a call that seems not to be there (ENOSYS), so that libraries use an older one whose
    /// arguments can be looked at.
    pub fn and_absent(mut self, call: i64) -> Calls {
        self.allowed.insert(call, Vec::new());
        self.absent.push(call);
        self
    }

    /// Adds a way to open files, whose flags are the argument `at`, for which Landlock has an answer on
    /// every kernel: for reading, or for writing. Opened for neither, or emptied without being opened
    /// for writing, a file is nothing that Landlock asks about, or not before Linux 6.2.
    pub(super) fn and_open(self, call: i64, at: u8) -> Calls {
        let (write, both) = (libc::O_WRONLY as u64, libc::O_RDWR as u64);
        self.and_when(call, &[Check::Has(at, write), Check::Without(at, both)])
            .and_when(call, &[Check::Has(at, both), Check::Without(at, write)])
            .and_when(call, &[Check::Without(at, write | both | libc::O_TRUNC as u64)])
    }

    /// Puts the list in force for the calling thread, for good.
    pub(super) fn restrict(&self) -> Result<(), CallsError> {
        let target = std::env::consts::ARCH.try_into().map_err(|_| CallsError::Processor)?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for (call, alternatives) in &self.allowed {
            let alternatives: Result<Vec<SeccompRule>, CallsError> =
                alternatives.iter().map(|checks| rule(checks)).collect();
            rules.insert(*call, alternatives?);
        }
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, target)?;
        let program: BpfProgram = filter.try_into()?;
        // First, because the list may forbid to add to it. Of two filters the stricter answer counts.
        if !self.absent.is_empty() {
            let absent = self.absent.iter().map(|it| (*it, Vec::new())).collect();
            let answer = SeccompAction::Errno(libc::ENOSYS as u32);
            let filter = SeccompFilter::new(absent, SeccompAction::Allow, answer, target)?;
            let program: BpfProgram = filter.try_into()?;
            seccompiler::apply_filter(&program)?;
        }
        seccompiler::apply_filter(&program)?;
        Ok(())
    }
}

fn rule(checks: &[Check]) -> Result<SeccompRule, CallsError> {
    let conditions: Result<Vec<SeccompCondition>, seccompiler::BackendError> = checks
        .iter()
        .map(|check| match *check {
            Check::Is(at, value) => {
                SeccompCondition::new(at, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
            }
            // The upper half of an `int` is whatever the caller left there.
            Check::IsNot(at, value) => {
                SeccompCondition::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
            }
            Check::Has(at, bits) => SeccompCondition::new(
                at,
                SeccompCmpArgLen::Qword,
                SeccompCmpOp::MaskedEq(bits),
                bits,
            ),
            Check::Without(at, bits) => {
                SeccompCondition::new(at, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), 0)
            }
        })
        .collect();
    Ok(SeccompRule::new(conditions?)?)
}
