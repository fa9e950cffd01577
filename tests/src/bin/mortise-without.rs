//! Starts a program as a kernel or a service would that refuses something: `mortise-without landlock
//! PROGRAM ...` without Landlock, `mortise-without code PROGRAM ...` without memory that is made
//! executable (`MemoryDenyWriteExecute=yes`).

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next().unwrap_or_default();
    let Some(program) = arguments.next() else {
        eprintln!("usage: mortise-without landlock|code PROGRAM ARGUMENT ...");
        return ExitCode::from(64);
    };
    let refused = match what.to_str() {
        Some("landlock") => [libc::SYS_landlock_create_ruleset].map(|it| (it, Vec::new())).into(),
        Some("code") => {
            let exec = libc::PROT_EXEC as u64;
            let makes_code = SeccompCondition::new(
                2,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::MaskedEq(exec),
                exec,
            );
            let rule = makes_code.and_then(|it| SeccompRule::new(vec![it]));
            [(libc::SYS_mprotect, rule.into_iter().collect())].into()
        }
        _ => {
            eprintln!("what there is to go without: landlock, code");
            return ExitCode::from(64);
        }
    };
    if let Err(error) = refuse(refused) {
        eprintln!("the filter cannot be put on: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("it cannot be started: {error}");
    ExitCode::FAILURE
}

fn refuse(calls: BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), seccompiler::Error> {
    let errno = SeccompAction::Errno(libc::EPERM as u32);
    let target = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, errno, target)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}
