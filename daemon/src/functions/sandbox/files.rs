//! Landlock: which files can be reached, and that nothing else outside is.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::SandboxReport;

/// A file, or a folder with all in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedPath {
    /// Where; one that does not exist is left out.
    pub path: PathBuf,
    /// What can be done there.
    pub rights: Rights,
}

/// What can be done with a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read files and list folders.
    Read,
    /// The same, and run programs.
    ReadExecute,
    /// Read and write a device, such as `/dev/null`.
    Device,
    /// Make, change and remove files and folders, but no devices.
    All,
}

const NEWEST: ABI = ABI::V7;

impl Rights {
    fn accesses(self) -> BitFlags<AccessFs> {
        match self {
            Rights::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Rights::ReadExecute => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
            Rights::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
            Rights::All => {
                let devices = AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev;
                AccessFs::from_all(NEWEST) & !devices
            }
        }
    }
}

/// Leaves this process the given paths, and no signals or abstract sockets to others.
pub(super) fn restrict(paths: &[AllowedPath], tcp: bool, report: &mut SandboxReport) {
    match apply(paths, tcp) {
        Ok(status) => {
            report.files = status.ruleset != RulesetStatus::NotEnforced;
            if let LandlockStatus::Available { effective_abi, .. } = status.landlock {
                report.landlock_abi = u8::try_from(effective_abi as i32).unwrap_or_default();
            }
            match status.ruleset {
                RulesetStatus::FullyEnforced => {}
                RulesetStatus::PartiallyEnforced => report.missing.push(
                    "Landlock: this kernel knows only a part of it (the list of system calls covers \
                     the rest)"
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

fn apply(paths: &[AllowedPath], tcp: bool) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    if !tcp {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut ruleset = ruleset.scope(Scope::from_all(NEWEST))?.create()?;
    for AllowedPath { path, rights } in paths {
        // What cannot be opened cannot be allowed; it stays closed.
        let Ok(opened) = PathFd::new(path) else { continue };
        let mut accesses = rights.accesses();
        if !path.is_dir() {
            accesses &= AccessFs::from_file(NEWEST);
        }
        ruleset = ruleset.add_rule(PathBeneath::new(opened, accesses))?;
    }
    ruleset.restrict_self()
}

/// Whether this kernel can keep signals among the processes of a sandbox.
pub fn signals_can_be_scoped() -> bool {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asks for the version of the interface; nothing is handed over.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION)
    };
    version >= ABI::V6 as libc::c_long
}

/// Keeps signals of this process and its children among them, and restricts nothing else.
pub fn scope_signals() -> bool {
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::Signal)
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    restricted.is_ok_and(|it| it.ruleset == RulesetStatus::FullyEnforced)
}
