//! `mortise serve` and `mortise config check`: reads configuration and environment, and hands them
//! down.

use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use super::{Failure, show};
use crate::config::{Config, LogFormat, LogSettings};
use crate::run::{self, Environment};

/// Runs the daemon until it is told to stop.
pub(super) fn serve(config: Option<&Path>, forget_lost_secrets: bool) -> Result<(), Failure> {
    let config = read(config)?;
    start_logging(&config.log)?;
    let environment = Environment { forget_lost_secrets, ..environment() };
    run::run(config, &environment).map_err(Failure::failed)
}

/// Says whether a configuration can be used.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    let config = read(Some(file))?;
    filter(&config.log)?;
    show::print(&format!("{} can be used", file.display()))
}

fn read(config: Option<&Path>) -> Result<Config, Failure> {
    match config {
        Some(path) => Config::read(path).map_err(|error| Failure::refused(error.to_string())),
        None => Config::parse("").map_err(Failure::failed),
    }
}

#[expect(clippy::disallowed_methods, reason = "the daemon's environment is read here only")]
fn environment() -> Environment {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Environment { credentials, ..Environment::default() }
}

fn filter(settings: &LogSettings) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&settings.level).map_err(|error| {
        let level = &settings.level;
        Failure::refused(format!("log.level `{level}` is no level and no directive: {error}"))
    })
}

fn start_logging(settings: &LogSettings) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let started = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| Failure::failed(format!("cannot start logging: {error}")))
}
