//! The command line: the daemon itself, and a client command for every call of the API.
//!
//! For people: tables on a terminal, what went wrong and what to do. For scripts: `--json`, and exit
//! codes: 0 done, 1 refused, 2 wrong usage, 3 the daemon cannot be reached, 4 the daemon failed.

mod arguments;
mod client;
mod connection;
mod files;
mod keyrings;
mod keys;
mod progress;
mod quickstart;
mod serve;
mod show;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, ConfigCommand};

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Serve { config } => serve::serve(config.as_deref()),
        Command::Quickstart { once } => quickstart::run(once),
        Command::Config { command } => match command {
            ConfigCommand::Defaults => show::print(crate::config::DEFAULTS.trim_end()),
            ConfigCommand::Check { file } => serve::check(&file),
        },
        command => client::run(&arguments.connection, command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mortise: {}", failure.message);
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

    /// The daemon is not there.
    fn unreachable(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 3 }
    }

    /// The daemon failed.
    fn failed(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), exit_code: 4 }
    }
}
