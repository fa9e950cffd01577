//! The configuration: one struct, whose defaults are `default.toml`, which is also its manual.
//!
//! Read once in `main` and handed down as values; nothing else reads it or the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::access::HostRole;

/// Every setting with its default and what it is for.
pub const DEFAULTS: &str = include_str!("default.toml");

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the state is.
    pub state_dir: PathBuf,
    /// Where the files of versions are laid out for functions that need them on the disk.
    pub cache_dir: PathBuf,
    /// Where plugins are.
    pub plugin_dirs: Vec<PathBuf>,
    /// Whether this is for trying things out.
    pub development: bool,
    /// Listeners.
    pub listen: Listen,
    /// Who callers are.
    pub access: AccessSettings,
    /// Bounds on what comes in.
    pub limits: Limits,
    /// The database.
    pub store: StoreSettings,
    /// The audit log.
    pub audit: AuditSettings,
    /// Files that are kept.
    pub artifacts: ArtifactSettings,
    /// Running functions.
    pub functions: FunctionSettings,
    /// Outgoing requests.
    pub egress: EgressSettings,
    /// Outgoing webhooks.
    pub webhooks: WebhookSettings,
    /// Telling people and other systems.
    pub integrations: IntegrationSettings,
    /// Logging.
    pub log: LogSettings,
}

/// Listeners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// TCP.
    pub address: SocketAddr,
    /// Unix socket; empty for none.
    pub socket: PathBuf,
    /// Who is an owner there, beside root.
    pub owner_uids: Vec<u32>,
    /// How the daemon is reached from outside; empty for the address.
    pub public_url: String,
    /// Threads that serve HTTP.
    pub workers: usize,
}

/// Who callers are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSettings {
    /// Who callers on the Unix socket are.
    pub peers: Vec<PeerRule>,
}

/// Who a caller on the Unix socket is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenPeer")]
pub struct PeerRule {
    /// With this user id.
    pub uid: Option<u32>,
    /// Or with this group id as his own.
    pub gid: Option<u32>,
    /// Who he is.
    pub who: PeerWho,
}

/// Who somebody on the Unix socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerWho {
    /// A user of the host, by name.
    User(String),
    /// Nobody in particular, with these roles.
    Roles(Vec<HostRole>),
}

/// A [`PeerRule`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPeer {
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    roles: Option<Vec<HostRole>>,
}

impl TryFrom<WrittenPeer> for PeerRule {
    type Error = &'static str;

    fn try_from(written: WrittenPeer) -> Result<PeerRule, &'static str> {
        let WrittenPeer { uid, gid, user, roles } = written;
        let who = match (user, roles) {
            (Some(user), None) => PeerWho::User(user),
            (None, Some(roles)) if !roles.is_empty() => PeerWho::Roles(roles),
            (Some(_), Some(_)) | (None, Some(_) | None) => {
                return Err(
                    "access.peers: each says either `user` or `roles`, of which one at least",
                );
            }
        };
        if uid.is_some() == gid.is_some() {
            return Err("access.peers: each says either `uid` or `gid`");
        }
        Ok(PeerRule { uid, gid, who })
    }
}

/// Bounds on what comes in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Bytes of an uploaded archive.
    pub archive_bytes: usize,
    /// Seconds for a request head.
    pub request_head_seconds: u64,
    /// Seconds for a request body.
    pub request_body_seconds: u64,
    /// Waiting runs of one snap-in.
    pub queued_runs: usize,
    /// Waiting plugin calls.
    pub plugin_calls: usize,
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// Page cache.
    pub cache_bytes: usize,
    /// Disk space that is kept free.
    pub reserve_bytes: u64,
    /// Days that ended things are kept.
    pub keep_days: u64,
}

/// The audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSettings {
    /// Days that its rows are kept; 0 for ever.
    pub keep_days: u64,
}

/// Files that are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSettings {
    /// Bytes of one.
    pub bytes: u64,
    /// Bytes of all together; what several share counts once.
    pub total_bytes: u64,
    /// Days that those are kept that belong to nothing.
    pub keep_loose_days: u64,
}

/// Running functions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionSettings {
    /// What becomes of a kernel without all protections.
    pub require_sandbox: RequireSandbox,
    /// Processes at the same time; 0 for twice the number of processors.
    pub processes: usize,
    /// Megabytes that files of versions and installed packages may take in the cache directory.
    pub cache_mb: u64,
    /// Default time limit.
    pub timeout_seconds: u32,
    /// Default time limit when somebody waits.
    pub call_timeout_seconds: u32,
    /// Default memory limit.
    pub memory_mb: u32,
    /// Default concurrency per function.
    pub max_concurrency: u32,
    /// Default interval between attempts.
    pub retry_seconds: u32,
    /// The executable of Node.js; empty for the usual places.
    pub node: PathBuf,
    /// Where packages come from.
    pub npm_registry: String,
}

/// What there is without a protection of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum RequireSandbox {
    /// No daemon (`true`).
    ToStart,
    /// A daemon that runs no functions (`"functions"`).
    ToRun,
    /// Functions with less (`false`).
    No,
}

impl TryFrom<toml::Value> for RequireSandbox {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<RequireSandbox, String> {
        match value {
            toml::Value::Boolean(true) => Ok(RequireSandbox::ToStart),
            toml::Value::Boolean(false) => Ok(RequireSandbox::No),
            toml::Value::String(text) if text == "functions" => Ok(RequireSandbox::ToRun),
            other => Err(format!(
                "functions.require_sandbox is {other}: expected true, \"functions\" or false"
            )),
        }
    }
}

/// Outgoing requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressSettings {
    /// Exceptions of the address guard.
    pub allow: Vec<String>,
    /// Whether private networks are refused too.
    pub refuse_private: bool,
}

/// Outgoing webhooks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Seconds that an endpoint has for its answer.
    pub timeout_seconds: u64,
    /// Seconds between attempts.
    pub retry_seconds: Vec<u64>,
    /// Deliveries of one webhook that may wait.
    pub queued: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
}

/// Telling people and other systems.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegrationSettings {
    /// Where the programs are that integrations of the type `command` can run; empty for none.
    pub commands_dir: PathBuf,
}

/// Logging.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// What is logged.
    pub level: String,
    /// How.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people, and for the journal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {cause}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not TOML, or says something that is not known or not possible.
    #[error("{path}: {message}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
}

impl Config {
    /// The defaults, overlaid with the file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        Config::parse(&text)
            .map_err(|message| ConfigError::Wrong { path: path.to_owned(), message })
    }

    /// The defaults, overlaid with `text`. An error says line and column of `text`.
    pub fn parse(text: &str) -> Result<Config, String> {
        // On its own first, so that errors point into the text that somebody wrote.
        let overlay: toml::Table = toml::from_str(text).map_err(|it| it.to_string())?;
        let mut settings: toml::Table =
            toml::from_str(DEFAULTS).map_err(|it| format!("default.toml: {it}"))?;
        overlay_table(&mut settings, overlay, "")?;
        let config: Config = settings.try_into().map_err(|it: toml::de::Error| it.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.listen.workers == 0 {
            return Err("listen.workers is 0: at least one thread has to serve HTTP".to_owned());
        }
        if !self.state_dir.is_absolute() {
            return Err(format!("state_dir `{}` is not absolute", self.state_dir.display()));
        }
        if !self.cache_dir.is_absolute() {
            return Err(format!("cache_dir `{}` is not absolute", self.cache_dir.display()));
        }
        if !(1..=60).contains(&self.webhooks.timeout_seconds) {
            return Err(format!(
                "webhooks.timeout_seconds is {}: expected 1 to 60",
                self.webhooks.timeout_seconds
            ));
        }
        if self.webhooks.retry_seconds.len() > 20 {
            return Err("webhooks.retry_seconds has more than 20 entries".to_owned());
        }
        let commands = &self.integrations.commands_dir;
        if !commands.as_os_str().is_empty() && !commands.is_absolute() {
            return Err(format!(
                "integrations.commands_dir `{}` is not absolute",
                commands.display()
            ));
        }
        let url = self.listen.public_url.as_str();
        if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!(
                "listen.public_url `{url}` does not start with http:// or https://"
            ));
        }
        Ok(())
    }
}

fn overlay_table(into: &mut toml::Table, from: toml::Table, prefix: &str) -> Result<(), String> {
    for (key, value) in from {
        let known = into.keys().cloned().collect::<Vec<_>>().join(", ");
        let Some(slot) = into.get_mut(&key) else {
            return Err(format!("unknown setting `{prefix}{key}`: there are {known}"));
        };
        match (slot, value) {
            (toml::Value::Table(into), toml::Value::Table(from)) => {
                overlay_table(into, from, &format!("{prefix}{key}."))?;
            }
            (toml::Value::Table(_), other) => {
                return Err(format!("`{prefix}{key}` is a {}: expected a table", other.type_str()));
            }
            (slot, value) => {
                // The one that checks its values itself.
                let takes_any = format!("{prefix}{key}") == "functions.require_sandbox";
                if !takes_any && slot.type_str() != value.type_str() {
                    return Err(format!(
                        "`{prefix}{key}` is a {}: expected a {}",
                        value.type_str(),
                        slot.type_str()
                    ));
                }
                *slot = value;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = Config::parse("").expect("default.toml is complete");
        assert_eq!(config.listen.address.to_string(), "127.0.0.1:8460");
        assert_eq!(config.functions.require_sandbox, RequireSandbox::ToRun);
        for (text, expected) in [("true", RequireSandbox::ToStart), ("false", RequireSandbox::No)] {
            let config = Config::parse(&format!("[functions]\nrequire_sandbox = {text}"));
            assert_eq!(config.expect("valid").functions.require_sandbox, expected);
        }
    }

    #[test]
    fn a_file_needs_only_what_differs_and_is_told_what_is_wrong() {
        let config = Config::parse("[limits]\nbody_bytes = 10").expect("valid");
        assert_eq!((config.limits.body_bytes, config.listen.workers), (10, 2));
        for (text, expected) in [
            ("[listen]\nadress = \"\"", "unknown setting `listen.adress`"),
            ("state_dir = 3", "`state_dir` is a integer: expected a string"),
            ("state_dir = \"here\"", "not absolute"),
            ("[integrations]\ncommands_dir = \"here\"", "commands_dir `here` is not absolute"),
            ("[listen]\naddress = \"nowhere\"", "socket address"),
            ("[listen", "line 1"),
            ("[functions]\nrequire_sandbox = \"no\"", "expected true, \"functions\" or false"),
            ("[functions]\nrequire_sandbox = 1", "expected true, \"functions\" or false"),
            ("[listen]\nworkers = 0", "at least one thread"),
            ("[webhooks]\ntimeout_seconds = 0", "expected 1 to 60"),
            ("[access]\npeers = [{ uid = 1 }]", "either `user` or `roles`"),
            ("[access]\npeers = [{ roles = [\"reader\"] }]", "either `uid` or `gid`"),
            ("[access]\npeers = [{ uid = 1, roles = [\"root\"] }]", "there are owner, contributor"),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
