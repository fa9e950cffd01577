//! What a test needs of the host and cannot bring with it: Node.js, a registry of npm.
//!
//! Where it is missing the test says so and passes: nobody has to have all of it to work on something
//! else. The variable [`REQUIRE`] lists what must not be missing, as `.ci/run` sets it: then it fails.

use std::path::Path;
use std::process::Command;

/// The variable, with words such as `node registry`.
pub const REQUIRE: &str = "MORTISE_TESTS_REQUIRE";

/// Something that a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Node.js with npm.
    Node,
    /// A registry of npm packages.
    Registry,
}

impl Need {
    /// Its word in the variable.
    fn word(self) -> &'static str {
        match self {
            Need::Node => "node",
            Need::Registry => "registry",
        }
    }

    fn is_in(self, required: &str) -> bool {
        required.split_whitespace().any(|it| it == self.word())
    }

    /// Says that a test tests nothing for want of it.
    ///
    /// # Panics
    ///
    /// When it is required.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says what must be there")]
    pub fn is_missing(self, why: &str) {
        let required = std::env::var(REQUIRE).unwrap_or_default();
        assert!(!self.is_in(&required), "{why}, and {REQUIRE} has `{}`", self.word());
        eprintln!("not tested: {why}");
    }
}

/// Has npm install packages into a directory, without their scripts; nothing when Node.js or a registry
/// is missing, which was said then. `packages` beside those of its `package.json`.
///
/// # Panics
///
/// When npm fails for another reason, or what is missing is required.
#[track_caller]
pub fn npm_install(directory: &Path, packages: &[&str]) -> Option<()> {
    if !["/usr/bin/node", "/usr/local/bin/node"].iter().any(|it| Path::new(it).exists()) {
        Need::Node.is_missing("there is no Node.js here (Debian: apt install nodejs npm)");
        return None;
    }
    let npm = Command::new("npm")
        .args(["install", "--omit=dev", "--ignore-scripts", "--no-bin-links", "--no-audit"])
        .args(["--no-fund", "--no-progress", "--fetch-retries=1", "--fetch-timeout=60000"])
        .args(packages)
        .current_dir(directory)
        .output();
    let npm = match npm {
        Ok(npm) => npm,
        Err(error) => {
            Need::Node.is_missing(&format!("npm cannot be started: {error}"));
            return None;
        }
    };
    let said = String::from_utf8_lossy(&npm.stderr).into_owned();
    if npm.status.success() {
        return Some(());
    }
    // Without a registry nobody can help it; anything else has to be seen to.
    let unreachable = ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH"];
    assert!(unreachable.iter().any(|it| said.contains(it)), "npm install: {said}");
    Need::Registry.is_missing(&format!("no npm registry can be reached: {said}"));
    None
}

#[cfg(test)]
mod tests {
    use super::Need;

    #[test]
    fn only_what_is_listed_is_required() {
        assert!(Need::Node.is_in("node") && Need::Registry.is_in(" node  registry"));
        assert!(!Need::Node.is_in("") && !Need::Node.is_in("nodes registry"));
    }
}
