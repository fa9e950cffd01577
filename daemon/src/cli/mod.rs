//! The command line: the daemon itself, and a client command for every call of the API.
//!
//! For people: tables on a terminal, what went wrong and what to do. For scripts: `--json`, and exit
//! codes: 0 done, 1 refused, 2 wrong usage, 3 the daemon cannot be reached, 4 the daemon failed.

mod arguments;
mod client;
mod connection;
mod documents;
mod files;
mod hidden;
mod keyrings;
mod keys;
mod progress;
mod quickstart;
mod serve;
mod show;
mod snap_in;
mod table;
mod terminal;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, ConfigCommand, VersionCommand};

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Serve { config, forget_lost_secrets } => {
            serve::serve(config.as_deref(), forget_lost_secrets)
        }
        Command::Quickstart { once } => quickstart::run(once),
        Command::Config { command } => match command {
            ConfigCommand::Defaults => show::print(crate::config::DEFAULTS.trim_end()),
            ConfigCommand::Check { file } => serve::check(&file),
        },
        Command::Man { directory } => documents::manual_pages(&directory),
        Command::Completions { shell } => documents::completions(shell),
        Command::Version { command: VersionCommand::Validate { path, plugins } } => {
            validate::validate(arguments.connection.json, &path, plugins)
        }
        command => client::run(&arguments.connection, command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mortise: {}", show::plain(&failure.message));
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// The daemon said no, or a check found something.
    fn refused(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 1 }
    }

    /// The command line does not say enough, or not what is allowed.
    fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 2 }
    }

    /// The daemon is not there.
    fn unreachable(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 3 }
    }

    /// The daemon failed.
    fn failed(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 4 }
    }
}
