//! Commands: programs of a directory that only the administrator can write to, run for integrations in
//! the sandbox of functions.
//!
//! Owns the way from a name to a program that is trusted, and from what a run came to to what a plugin is
//! told. A command gets one JSON value on standard input and says one or nothing on standard output; it
//! reads its own directory and the system's programs, writes to a private `/tmp` and reaches other hosts
//! through the daemon's guarded way out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise_plugin::ExecEnd;
use sha2::{Digest, Sha256};

use crate::functions::kind::RunnerKind;
use crate::functions::outcome::{Failure, FailureKind, LogLine, Outcome, RunReport};
use crate::functions::pool::{CodeError, CodeSource, Invocation, LoadedCode, PackageFolder, Pool};
use crate::functions::runner::process::About;
use crate::model::http::EgressRules;
use crate::model::id::{SnapInId, VersionId};
use crate::plugins::{Trust, resolve_trusted};

/// Whose processes they run in: no snap-in has this id.
const NOBODYS: SnapInId = SnapInId(u128::MAX);
const LONGEST_NAME: usize = 64;
/// What is kept free of a command's time to hear of its end.
const MARGIN: Duration = Duration::from_secs(1);
const MOST_LINES: usize = 10;
const MOST_CHARS: usize = 2000;

/// The commands of this host.
pub struct Commands {
    /// Where they run.
    pub pool: Arc<Pool>,
    /// Where they are; nothing when there are none.
    pub directory: Option<PathBuf>,
    /// Who may have written them.
    pub trust: Trust,
    /// The most memory that one may use.
    pub memory_bytes: u64,
}

/// What a command came to.
#[derive(Debug, PartialEq)]
pub(super) struct Ran {
    pub(super) end: ExecEnd,
    pub(super) stderr: String,
    pub(super) stdout: Bytes,
}

/// Why there was no run.
#[derive(Debug, PartialEq)]
pub(super) struct NotRun {
    pub(super) message: String,
    pub(super) is_transient: bool,
}

impl Commands {
    /// Runs the program of that name.
    pub(super) async fn run(
        &self,
        name: &str,
        stdin: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Ran, NotRun> {
        let lasting = |message: String| NotRun { message, is_transient: false };
        let folder = self.trusted_folder(name).await.map_err(lasting)?;
        let entry_points = BTreeMap::from([(name.to_owned(), name.to_owned())]);
        let about = About { path: folder.clone(), entry_points };
        let about = serde_json::to_vec(&about).map_err(|error| lasting(error.to_string()))?;
        let invocation = Invocation {
            run_id: format!("command {name}"),
            snap_in: NOBODYS,
            runtime: RunnerKind::Process,
            version: version_of(name),
            code: Arc::new(InPlace(Arc::new(PackageFolder { path: folder, about }))),
            function: name.to_owned(),
            event: stdin.unwrap_or_else(|| Bytes::from_static(b"null")),
            timeout: timeout.checked_sub(MARGIN).unwrap_or(timeout / 2),
            memory_bytes: self.memory_bytes,
            fresh: false,
            egress: EgressRules::default(),
            secrets: Arc::from([]),
            on_log: None,
        };
        judge(self.pool.invoke(invocation).await)
    }

    /// The directory without symbolic links, if it and the program are to be trusted.
    async fn trusted_folder(&self, name: &str) -> Result<PathBuf, String> {
        let Some(directory) = &self.directory else {
            return Err("there are no commands on this host: `integrations.commands_dir` in the \
                        daemon's configuration says where they are"
                .to_owned());
        };
        if !is_name(name) {
            return Err(format!(
                "`{}` is no name of a command: up to {LONGEST_NAME} of A-Z, a-z, 0-9, `.`, `_` and \
                 `-`, beginning with a letter or digit",
                name.chars().take(LONGEST_NAME).collect::<String>().escape_debug()
            ));
        }
        let (directory, name, trust) = (directory.clone(), name.to_owned(), self.trust);
        let looked = tokio::task::spawn_blocking(move || look(&directory, &name, trust)).await;
        looked.map_err(|error| error.to_string())?
    }
}

fn look(directory: &Path, name: &str, trust: Trust) -> Result<PathBuf, String> {
    let advice = "; commands are run only if nobody but the administrator can have written them";
    let folder = resolve_trusted(directory, trust).map_err(|it| format!("{it}{advice}"))?;
    let path = folder.join(name);
    if !path.exists() {
        return Err(format!("there is no command `{name}` in {}", folder.display()));
    }
    let program = resolve_trusted(&path, trust).map_err(|it| format!("{it}{advice}"))?;
    if program.parent() != Some(&folder) || program.file_name() != path.file_name() {
        return Err(format!(
            "the command `{name}` is a symbolic link, and the sandbox reads nothing beside {}: put the \
             program itself there",
            folder.display()
        ));
    }
    Ok(folder)
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.starts_with(|it: char| it.is_ascii_alphanumeric())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it))
}

/// What tells the processes of one command from those of another.
fn version_of(name: &str) -> VersionId {
    let hash = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    VersionId(u128::from_be_bytes(bytes))
}

/// A command is where it is run.
struct InPlace(Arc<PackageFolder>);

impl CodeSource for InPlace {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        std::future::ready(Ok(LoadedCode::Folder(self.0.clone()))).boxed()
    }
}

/// What a plugin is told of a run.
fn judge(report: RunReport) -> Result<Ran, NotRun> {
    let stderr = last_words(&report.logs);
    let ended = |end: ExecEnd, stdout: Bytes| Ok(Ran { end, stderr, stdout });
    match report.outcome {
        Outcome::Succeeded { result } => {
            let nothing = result.get() == "null";
            let stdout = if nothing { Bytes::new() } else { Bytes::from(result.get().to_owned()) };
            ended(ExecEnd::Exited { status: 0 }, stdout)
        }
        Outcome::Interrupted { reason } => Err(NotRun { message: reason, is_transient: true }),
        Outcome::Failed(Failure { exit_status: Some(status), .. }) => {
            ended(ExecEnd::Exited { status }, Bytes::new())
        }
        Outcome::Failed(Failure { kind, message, .. }) => match kind {
            FailureKind::Timeout => ended(ExecEnd::TimedOut {}, Bytes::new()),
            FailureKind::Memory
            | FailureKind::Crashed
            | FailureKind::OutputTooLarge
            | FailureKind::BadOutput
            | FailureKind::Thrown
            | FailureKind::StackOverflow
            | FailureKind::NeverSettled => ended(ExecEnd::Broken { reason: message }, Bytes::new()),
            FailureKind::NotFound | FailureKind::Load | FailureKind::Refused => {
                Err(NotRun { message, is_transient: false })
            }
        },
    }
}

fn last_words(logs: &[LogLine]) -> String {
    let from = logs.len().saturating_sub(MOST_LINES);
    let lines: Vec<&str> = logs[from..].iter().map(|it| it.message.as_str()).collect();
    let text = lines.join("\n");
    let too_many = text.chars().count().saturating_sub(MOST_CHARS);
    text.chars().skip(too_many).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::value::RawValue;

    use super::*;

    fn report(outcome: Outcome) -> RunReport {
        let line = |number: usize| LogLine {
            level: crate::functions::outcome::LogLevel::Info,
            at_ms: 0,
            message: format!("line {number}"),
        };
        let logs = (0..12).map(line).collect();
        RunReport { outcome, logs, requests: Vec::new(), duration: Duration::ZERO }
    }

    #[test]
    fn names_stay_in_the_directory() {
        for good in ["page-me", "a.sh", "0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\0", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_a_run_came_to_is_told() {
        let json = RawValue::from_string("{\"message_id\":\"1\"}".to_owned()).unwrap();
        let done = judge(report(Outcome::Succeeded { result: json })).unwrap();
        assert_eq!(done.end, ExecEnd::Exited { status: 0 });
        assert_eq!(done.stdout.as_ref(), b"{\"message_id\":\"1\"}");
        assert!(done.stderr.starts_with("line 2\n") && done.stderr.ends_with("line 11"));
        let nothing = RawValue::from_string("null".to_owned()).unwrap();
        let done = judge(report(Outcome::Succeeded { result: nothing })).unwrap();
        assert!(done.stdout.is_empty());
        let status = Failure {
            exit_status: Some(75),
            ..Failure::new(FailureKind::Thrown, "exit status 75")
        };
        let done = judge(report(Outcome::Failed(status))).unwrap();
        assert_eq!(done.end, ExecEnd::Exited { status: 75 });
        let late = Failure::new(FailureKind::Timeout, "late");
        assert_eq!(judge(report(Outcome::Failed(late))).unwrap().end, ExecEnd::TimedOut {});
        let interrupted = Outcome::Interrupted { reason: "stopping".to_owned() };
        assert!(judge(report(interrupted)).unwrap_err().is_transient);
        let load = Failure::new(FailureKind::Load, "not executable");
        assert!(!judge(report(Outcome::Failed(load))).unwrap_err().is_transient);
    }

    #[test]
    fn only_what_nobody_else_can_have_written_is_run() {
        let directory = tempfile::tempdir().unwrap();
        let trust = Trust::RootAndUser { uid: rustix::process::getuid().as_raw() };
        let program = directory.path().join("tell");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let chmod = |mode| {
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        chmod(0o755);
        assert!(look(directory.path(), "tell", trust).is_ok());
        let missing = look(directory.path(), "toll", trust).unwrap_err();
        assert!(missing.contains("no command `toll`"), "{missing}");
        symlink("/bin/true", directory.path().join("linked")).unwrap();
        let linked = look(directory.path(), "linked", trust).unwrap_err();
        assert!(linked.contains("symbolic link"), "{linked}");
        chmod(0o777);
        let open = look(directory.path(), "tell", trust).unwrap_err();
        assert!(open.contains("writable by everybody") && open.contains("administrator"), "{open}");
    }
}
