//! The Node.js of this host: where it is, which one, and why it cannot be used; for start-up and status.
//!
//! Asks Node.js for its version and runs nothing else. Whether a version may use it is not decided here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runner::node::{FORBIDS_CODE, find_node, forbids_code, not_found};

/// The first one that has what the script needs.
const OLDEST: u32 = 18;
/// How long it may take to say which one it is.
const VERSION_TIME: Duration = Duration::from_secs(30);

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeHost {
    /// The executable, without symbolic links; nothing when there is none.
    pub path: Option<PathBuf>,
    /// Such as `v20.19.2`.
    pub version: Option<String>,
    /// For people: why functions in `node` are not run, and what helps.
    pub problem: Option<String>,
}

/// Looks for it where the setting says, or in the usual places.
pub async fn look(given: Option<&Path>) -> NodeHost {
    let Some(path) = find_node(given) else {
        return NodeHost { problem: Some(not_found(given)), ..NodeHost::default() };
    };
    let (version, problem) = match version_of(&path).await {
        Ok(version) => {
            let problem = problem_of(&path, &version, forbids_code());
            (Some(version), problem)
        }
        Err(error) => (None, Some(error)),
    };
    NodeHost { path: Some(path), version, problem }
}

/// Which version it is, such as `v20.19.2`; an error says why it does not say so.
pub(super) async fn version_of(node: &Path) -> Result<String, String> {
    let cannot = |error: &dyn std::fmt::Display| {
        format!("{} cannot be started: {error}; `functions.node` names another one", node.display())
    };
    let mut command = tokio::process::Command::new(node);
    command.arg("--version").env_clear().stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(VERSION_TIME, command.output()).await {
        Ok(output) => output.map_err(|error| cannot(&error))?,
        Err(late) => return Err(cannot(&late)),
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major_of(&said) {
        Some(_) => Ok(said),
        None => Err(cannot(&format!("it does not say its version ({})", output.status))),
    }
}

fn major_of(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn problem_of(path: &Path, version: &str, forbids_code: bool) -> Option<String> {
    if major_of(version).is_none_or(|it| it < OLDEST) {
        let shown = path.display();
        return Some(format!(
            "{shown} is {version}: functions need Node.js {OLDEST} or later; install it, or set \
             `functions.node` to where one is"
        ));
    }
    forbids_code.then(|| FORBIDS_CODE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_said() {
        let path = Path::new("/usr/bin/node");
        assert_eq!(problem_of(path, "v18.0.0", false), None);
        let old = problem_of(path, "v16.20.2", false).expect("too old");
        assert!(old.contains("v16.20.2") && old.contains("functions.node"), "{old}");
        let forbidden = problem_of(path, "v22.1.0", true).expect("forbidden");
        assert!(forbidden.contains("mortise.service.d"), "{forbidden}");
    }

    #[tokio::test]
    async fn what_is_not_there_or_is_no_node_is_named() {
        let nowhere = look(Some(Path::new("/not-here/node"))).await;
        assert!(nowhere.problem.is_some_and(|it| it.contains("/not-here/node")));
        let other = look(Some(Path::new("/bin/true"))).await;
        assert!(other.problem.is_some_and(|it| it.contains("does not say its version")));
    }
}
