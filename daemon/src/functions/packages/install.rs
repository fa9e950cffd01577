//! The npm packages of a version: `npm ci` in the sandbox of Node.js, once for each lock file.
//!
//! What is installed is kept in the cache under the hash of the lock file, of package.json and of
//! Node's major version. npm runs with one folder to write to and one host to reach, the registry; no
//! script of a package is run. Must never give out a folder that is not whole.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Installed, Packages};
use crate::functions::node_host;
use crate::functions::outcome::{FailureKind, LogLevel, LogLine, Outcome, RunReport};
use crate::functions::pool::{CodeError, PackageFolder, Pool, PutTogether};
use crate::model::http::{Destination, EgressRules, Place};

const MODULES: &str = "node_modules";
/// Of what is in a folder; another one is made anew.
const FORMAT: &str = "npm 1";
const PATIENCE: Duration = Duration::from_secs(300);
const MEMORY: u64 = 512 * 1024 * 1024;
const MOST_BYTES: u64 = 1024 * 1024 * 1024;
const MOST_FILES: u64 = 200_000;
/// How often is looked at how much there is.
const LOOK: Duration = Duration::from_secs(1);
/// Where npm's script is when it is not found from npm's own name.
const USUAL_SCRIPTS: [&str; 3] = [
    "/usr/lib/node_modules/npm/bin/npm-cli.js",
    "/usr/share/nodejs/npm/bin/npm-cli.js",
    "/usr/local/lib/node_modules/npm/bin/npm-cli.js",
];

/// Why there are no packages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// The archive has none.
    #[error(
        "package.json names dependencies, but there is no package-lock.json beside it; run \
         `npm install --package-lock-only` and put the file into the archive"
    )]
    NoLockFile,
    /// One of the two files is no JSON object.
    #[error("{file} is no JSON object: {reason}")]
    BadFile {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Node.js or npm is missing on this host.
    #[error("{0}")]
    NotInstalled(String),
    /// The two files do not belong together.
    #[error(
        "package-lock.json is out of step with package.json: {0}; run `npm install` and make the \
         archive anew"
    )]
    OutOfStep(String),
    /// The registry does not have it.
    #[error("a package is not to be had from the registry: {0}")]
    NotFound(String),
    /// What came is not what the lock file names.
    #[error("a package is not the one that package-lock.json names: {0}")]
    Changed(String),
    /// The registry cannot be reached, or fails itself.
    #[error(
        "npm packages cannot be had from {registry} now (setting `functions.npm_registry`): {said}; \
         try again when the registry answers, or put node_modules into the archive"
    )]
    Down {
        /// The setting.
        registry: String,
        /// What npm says.
        said: String,
    },
    /// The registry does not give it out, or the lock file names another one.
    #[error("{said} (packages come from {registry}, setting `functions.npm_registry`)")]
    Refused {
        /// The setting.
        registry: String,
        /// What npm says.
        said: String,
    },
    /// npm made a link to a folder of the archive, where it does not look.
    #[error(
        "node_modules/{0} is a link: packages of the archive's own folders (`file:` dependencies, \
         workspaces) are not installed; bundle them, or put node_modules into the archive"
    )]
    Link(String),
    /// More than a version may bring.
    #[error(
        "the packages are more than {MOST_FILES} files or {} MiB",
        MOST_BYTES / 1024 / 1024
    )]
    TooLarge,
    /// It took too long.
    #[error(
        "npm was not done with packages from {registry} (setting `functions.npm_registry`) after {} s; \
         try again, or put node_modules into the archive",
        PATIENCE.as_secs()
    )]
    TimedOut {
        /// The setting.
        registry: String,
    },
    /// The cache cannot be used, or this host cannot run it now.
    #[error("{0}")]
    Host(String),
    /// Anything else, in npm's words.
    #[error("npm ci failed: {0}")]
    Npm(String),
}

impl InstallError {
    /// Whether the same files may work later, without anybody doing anything about them or about this
    /// host.
    pub fn is_transient(&self) -> bool {
        match self {
            InstallError::Down { .. } | InstallError::TimedOut { .. } | InstallError::Host(_) => {
                true
            }
            InstallError::NotInstalled(_)
            | InstallError::Refused { .. }
            | InstallError::NoLockFile
            | InstallError::BadFile { .. }
            | InstallError::OutOfStep(_)
            | InstallError::NotFound(_)
            | InstallError::Changed(_)
            | InstallError::Link(_)
            | InstallError::TooLarge
            | InstallError::Npm(_) => false,
        }
    }
}

/// Puts packages together.
pub struct Installer {
    packages: Packages,
    pool: Arc<Pool>,
    registry: String,
    destination: Destination,
    node: Option<PathBuf>,
    /// One at a time: npm takes what the network and the disk give.
    turn: tokio::sync::Mutex<()>,
}

impl Installer {
    /// Fails when the registry is no URL of one.
    pub fn open(
        packages: Packages,
        pool: Arc<Pool>,
        registry: &str,
        node: Option<PathBuf>,
    ) -> Result<Installer, String> {
        let destination = destination_of(registry).ok_or_else(|| {
            format!(
                "functions.npm_registry `{registry}` is no URL of a registry: expected \
                 https://host/ or http://host:port/path/"
            )
        })?;
        let turn = tokio::sync::Mutex::default();
        let registry = format!("{}/", registry.trim_end_matches('/'));
        Ok(Installer { packages, pool, registry, destination, node, turn })
    }

    /// The `node_modules` folder of the dependencies that these two files name, put together if it is
    /// not there yet. It stays while it is held.
    pub async fn install(
        &self,
        package: &[u8],
        lock_file: Option<&[u8]>,
    ) -> Result<Arc<PackageFolder>, InstallError> {
        let lock_file = lock_file.ok_or(InstallError::NoLockFile)?;
        check("package.json", package)?;
        check("package-lock.json", lock_file)?;
        let npm = Npm::find(self.node.as_deref()).await?;
        let name = name_of(package, lock_file, &npm.major);
        let vacant = match self.packages.installed(&name).await.map_err(of_cache)? {
            Installed::There(folder) => return Ok(folder),
            Installed::Missing(vacant) => vacant,
        };
        let staging = vacant.path().to_owned();
        let write = |name, bytes| {
            std::fs::write(staging.join(name), bytes)
                .map_err(|error| InstallError::Host(format!("{}: {error}", staging.display())))
        };
        write("package.json", package)?;
        write("package-lock.json", lock_file)?;
        {
            let _turn = self.turn.lock().await;
            self.run_npm(&npm, &staging).await?;
        }
        let modules = staging.join(MODULES);
        let looked = tokio::task::spawn_blocking(move || (extent(&modules), link_in(&modules)));
        match looked.await.map_err(|error| InstallError::Host(error.to_string()))? {
            (None, _) => Err(InstallError::TooLarge),
            (Some(_), Some(link)) => Err(InstallError::Link(link)),
            (Some(_), None) => vacant.fill().await.map_err(of_cache),
        }
    }

    async fn run_npm(&self, npm: &Npm, staging: &Path) -> Result<(), InstallError> {
        let at = |name: &str| staging.join(name).display().to_string();
        let mut arguments: Vec<String> = [
            "ci",
            "--omit=dev",
            "--ignore-scripts",
            // They are for command lines, and links have no place in a version.
            "--no-bin-links",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--no-color",
            "--no-update-notifier",
            "--logs-max=0",
            "--fetch-retries=1",
            "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=5000",
            "--fetch-timeout=60000",
            "--loglevel=error",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--registry={}", self.registry));
        arguments.push(format!("--cache={}", at(".cache")));
        arguments.push(format!("--userconfig={}", at(".user")));
        arguments.push(format!("--globalconfig={}", at(".global")));
        let order = PutTogether {
            folder: staging.to_owned(),
            npm: npm.script.clone(),
            arguments,
            egress: EgressRules {
                only: Some(vec![self.destination.clone()]),
                // Whoever set it may have one on this host.
                internal: vec![self.destination.clone()],
                refuse_private: false,
            },
            timeout: PATIENCE,
            memory_bytes: MEMORY,
        };
        let watched = staging.to_owned();
        let report = tokio::select! {
            report = self.pool.put_together(order) => report,
            () = grows_too_large(watched) => return Err(InstallError::TooLarge),
        };
        judge(&report, &self.registry)
    }
}

/// The host and port of a URL, as the egress rules write them.
fn destination_of(url: &str) -> Option<Destination> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let host = rest.split(['/', '?', '#']).next().filter(|it| !it.contains('@'))?;
    let given: Destination = host.parse().ok()?;
    // A network is no host.
    let is_one = !matches!(&given.place, Place::Below(_)) && !rest.is_empty();
    is_one.then_some(Destination { port: given.port.or(Some(port)), ..given })
}

/// Ends when there is more in the folder than a version may bring.
async fn grows_too_large(folder: PathBuf) {
    loop {
        tokio::time::sleep(LOOK).await;
        let folder = folder.clone();
        let looked = tokio::task::spawn_blocking(move || extent(&folder)).await;
        if matches!(looked, Ok(None)) {
            return;
        }
    }
}

/// How many bytes there are; nothing if they, or the files, are too many.
fn extent(folder: &Path) -> Option<u64> {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // Files come and go while npm is at work.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
            }
            if files > MOST_FILES || bytes > MOST_BYTES {
                return None;
            }
        }
    }
    Some(bytes)
}

/// A link in the folder, if there is one.
fn link_in(modules: &Path) -> Option<String> {
    let mut folders = vec![modules.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                let path = entry.path();
                return Some(path.strip_prefix(modules).unwrap_or(&path).display().to_string());
            }
            if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    None
}

fn of_cache(error: CodeError) -> InstallError {
    InstallError::Host(format!("packages cannot be put together: {error}"))
}

fn check(file: &'static str, bytes: &[u8]) -> Result<(), InstallError> {
    let bad = |reason: String| InstallError::BadFile { file, reason };
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err(bad("it is another kind of value".to_owned())),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn name_of(package: &[u8], lock_file: &[u8], node: &str) -> String {
    let mut hash = Sha256::new();
    for part in [FORMAT.as_bytes(), node.as_bytes(), package, lock_file] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// What is on this host.
struct Npm {
    script: PathBuf,
    /// Node's major version, such as `v20`.
    major: String,
}

impl Npm {
    async fn find(node: Option<&Path>) -> Result<Npm, InstallError> {
        use crate::functions::runner::node::{find_node, not_found};
        let found = find_node(node).ok_or_else(|| InstallError::NotInstalled(not_found(node)))?;
        let script = npm_beside(&found).ok_or_else(|| {
            InstallError::NotInstalled(format!(
                "npm is not installed beside {}; install it (Debian: `apt install npm`), or put \
                 node_modules into the archive",
                found.display()
            ))
        })?;
        let version = node_host::version_of(&found).await.map_err(InstallError::Host)?;
        let major = version.split('.').next().unwrap_or_default().to_owned();
        Ok(Npm { script, major })
    }
}

/// npm's script: what the name `npm` beside Node.js leads to, or the usual places.
fn npm_beside(node: &Path) -> Option<PathBuf> {
    let beside = node.with_file_name("npm").canonicalize().ok();
    let beside = beside.filter(|it| it.extension() == Some(OsStr::new("js")));
    let usual = USUAL_SCRIPTS.iter().filter_map(|it| Path::new(it).canonicalize().ok());
    beside.into_iter().chain(usual).find(|it| it.is_file())
}

/// What npm's run came to.
fn judge(report: &RunReport, registry: &str) -> Result<(), InstallError> {
    match &report.outcome {
        Outcome::Succeeded { result } => {
            let code = serde_json::from_str::<Value>(result.get()).ok();
            match code.as_ref().and_then(|it| it.get("code")).and_then(Value::as_i64) {
                Some(0) => Ok(()),
                Some(_) | None => Err(explain(&report.logs, registry)),
            }
        }
        Outcome::Failed(failure) => Err(match failure.kind {
            FailureKind::Timeout => InstallError::TimedOut { registry: registry.to_owned() },
            FailureKind::Refused => InstallError::NotInstalled(failure.message.clone()),
            FailureKind::Memory => InstallError::TooLarge,
            FailureKind::Thrown
            | FailureKind::StackOverflow
            | FailureKind::NotFound
            | FailureKind::Load
            | FailureKind::NeverSettled
            | FailureKind::BadOutput
            | FailureKind::OutputTooLarge
            | FailureKind::Crashed => InstallError::Npm(failure.message.clone()),
        }),
        Outcome::Interrupted { reason } => Err(InstallError::Host(reason.clone())),
    }
}

/// What npm says went wrong, by the code that it gives.
fn explain(logs: &[LogLine], registry: &str) -> InstallError {
    const MOST: usize = 1500;
    let lines: Vec<&str> = logs
        .iter()
        .filter(|it| it.level == LogLevel::Error)
        .filter_map(|it| {
            let line = it.message.strip_prefix("npm ").unwrap_or(&it.message);
            line.strip_prefix("error").or(line.strip_prefix("ERR!")).map(str::trim)
        })
        .filter(|it| !it.is_empty() && !it.starts_with("Log files were not written"))
        // There is no proxy that could be the reason.
        .filter(|it| !it.contains("proxy") && *it != "network")
        .collect();
    let code = lines.iter().find_map(|it| it.strip_prefix("code ")).unwrap_or_default();
    let mut said =
        lines.iter().filter(|it| !it.starts_with("code ")).copied().collect::<Vec<_>>().join("; ");
    if said.is_empty() {
        said = "it said nothing".to_owned();
    }
    if let Some((end, _)) = said.char_indices().nth(MOST) {
        said.truncate(end);
        said.push('…');
    }
    let registry = registry.to_owned();
    match code {
        "EUSAGE" if said.contains("in sync") => InstallError::OutOfStep(said),
        "E404" | "ETARGET" | "ENOVERSIONS" => InstallError::NotFound(said),
        "EINTEGRITY" => InstallError::Changed(said),
        // Another host is not reached at all, whatever npm calls that.
        _ if said.contains("is not among the destinations") => {
            InstallError::Refused { registry, said }
        }
        "E408" | "E425" | "E429" => InstallError::Down { registry, said },
        code if code.starts_with("E4") && code.len() == 4 => {
            InstallError::Refused { registry, said }
        }
        "EACCES" => InstallError::Refused { registry, said },
        code if is_down(code) => InstallError::Down { registry, said },
        _ => InstallError::Npm(said),
    }
}

/// Whether it is the registry's fault, or that of the way to it.
fn is_down(code: &str) -> bool {
    const CODES: [&str; 13] = [
        "ECONNABORTED",
        "EIDLETIMEOUT",
        "ENETUNREACH",
        "EPIPE",
        "ERR_STREAM_PREMATURE_CLOSE",
        "UND_ERR_SOCKET",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENOTFOUND",
        "EHOSTUNREACH",
        "EAI_AGAIN",
        "ERR_SOCKET_TIMEOUT",
    ];
    let is_server_error = code.starts_with("E5") && code.len() == 4;
    is_server_error || CODES.contains(&code) || code.contains("CERT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Vec<LogLine> {
        let line =
            |it: &&str| LogLine { level: LogLevel::Error, at_ms: 0, message: (*it).to_owned() };
        lines.iter().map(line).collect()
    }

    #[test]
    fn what_npm_says_is_told_apart() {
        let out = explain(
            &said(&[
                "npm error code EUSAGE",
                "npm error",
                "npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.",
                "npm error Missing: left@1.0.0 from lock file",
            ]),
            "r",
        );
        assert!(
            matches!(&out, InstallError::OutOfStep(it) if it.contains("Missing: left@1.0.0")),
            "{out:?}"
        );
        let out =
            explain(&said(&["npm ERR! code E404", "npm ERR! 404 Not Found - GET http://r/x"]), "r");
        assert!(matches!(out, InstallError::NotFound(_)), "{out:?}");
        let out = explain(&said(&["npm error code ECONNREFUSED", "npm error connect"]), "r");
        assert!(matches!(out, InstallError::Down { .. }) && out.is_transient());
        for (code, is_transient) in [
            ("E500", true),
            ("E503", true),
            ("E429", true),
            ("CERT_HAS_EXPIRED", true),
            ("EAI_AGAIN", true),
            ("E401", false),
            ("E403", false),
            ("E404", false),
            ("EINTEGRITY", false),
            ("EBADENGINE", false),
        ] {
            let lines = [format!("npm error code {code}"), "npm error it said".to_owned()];
            let out = explain(&said(&lines.each_ref().map(String::as_str)), "http://r/");
            assert_eq!(out.is_transient(), is_transient, "{code}: {out:?}");
            assert!(out.to_string().contains("it said"), "{out}");
        }
        let other = "npm error connect to other port 1: other port 1 is not among the destinations";
        let out = explain(&said(&["npm error code ECONNRESET", other]), "http://r/");
        assert!(matches!(out, InstallError::Refused { .. }) && !out.is_transient(), "{out}");
        let out = explain(&said(&["something else"]), "r");
        assert_eq!(out, InstallError::Npm("it said nothing".to_owned()));
    }

    #[test]
    fn registries_are_urls() {
        let destination = |url: &str| destination_of(url).map(|it| it.to_string());
        for (url, expected) in [
            ("https://registry.npmjs.org/", "registry.npmjs.org:443"),
            ("http://127.0.0.1:4873", "127.0.0.1/32:4873"),
            ("https://host.example:8443/npm/", "host.example:8443"),
        ] {
            assert_eq!(destination(url).as_deref(), Some(expected), "{url}");
        }
        for url in ["", "registry", "ftp://x/", "https://", "https://*.example/", "https://a@b/"] {
            assert_eq!(destination(url), None, "{url}");
        }
    }

    #[test]
    fn whatever_matters_is_in_the_name() {
        let name = name_of(b"a", b"b", "v20");
        assert_ne!(name, name_of(b"ab", b"", "v20"));
        assert_ne!(name, name_of(b"a", b"b", "v22"));
        assert_eq!(name, name_of(b"a", b"b", "v20"));
    }
}
