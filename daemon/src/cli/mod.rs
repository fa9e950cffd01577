//! The command line: the daemon itself, and a client command for every call of the API.
//!
//! For people: tables on a terminal, what went wrong and what to do. For scripts: `--json`, and exit
//! codes: 0 done, 1 refused (also by an external system), 2 wrong usage, 3 the daemon cannot be
//! reached, 4 the daemon failed.

mod arguments;
mod artifact;
mod audit;
mod client;
mod commands;
mod connection;
mod dev;
mod documents;
mod files;
mod function;
mod hidden;
mod init;
mod integration;
mod keyrings;
mod keys;
mod object_types;
mod objects;
mod payload;
mod people;
mod progress;
mod quickstart;
mod replay;
mod run_logs;
mod run_show;
mod serve;
mod show;
mod snap_in;
mod snap_kit;
mod source;
mod status;
mod stop;
mod table;
mod terminal;
mod tokens;
mod validate;
mod views;
mod webhook;

use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use arguments::{Arguments, Command, ConfigCommand, FunctionCommand, VersionCommand};
use webhook::WebhookCommand;

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // What went wrong goes to standard error; a help text is no error.
            if error.use_stderr() && std::env::args_os().any(|it| it == "--json") {
                let message = error.render().to_string();
                say_as_json(&Failure::usage(message.trim_end()));
            }
            error.exit()
        }
    };
    let as_json = arguments.connection.json;
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
        Command::Version { command: VersionCommand::Validate { path, plugins, testing_url } } => {
            validate::validate(arguments.connection.json, &path, plugins, testing_url.as_deref())
        }
        Command::Version { command: VersionCommand::Init(options) } => init::run(as_json, &options),
        Command::Function { command: FunctionCommand::Run(options) } => {
            function::run(as_json, &options)
        }
        Command::Function { command: FunctionCommand::List { dir } } => {
            function::list(as_json, &dir)
        }
        Command::Webhook { command: WebhookCommand::Listen(options) } => {
            webhook::listen(&arguments.connection, &options)
        }
        command => client::run(&arguments.connection, command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if as_json && !show::has_printed() {
                say_as_json(&failure);
            }
            eprintln!("mortise: {}", show::plain(&failure.message));
            ExitCode::from(failure.exit_code)
        }
    }
}

/// For scripts, which asked for JSON, on standard output.
fn say_as_json(failure: &Failure) {
    // What went wrong is said on standard error too, whether or not this can be printed.
    let _ = show::print(&format!("{:#}", failure.as_json()));
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
    /// What the daemon answered, if it did: `application/problem+json`.
    problem: Option<Box<Value>>,
}

impl Failure {
    fn new(message: String, exit_code: u8) -> Failure {
        Failure { message, exit_code, problem: None }
    }

    /// Whether the caller has no right to what he asked for.
    fn is_forbidden(&self) -> bool {
        self.problem.as_ref().is_some_and(|it| it["code"] == "forbidden")
    }

    /// What the daemon said, or the same of what it did not say.
    fn as_json(&self) -> Value {
        if let Some(problem) = &self.problem {
            return (**problem).clone();
        }
        let code = match self.exit_code {
            2 => "usage",
            3 => "unreachable",
            4 => "failed",
            _ => "refused",
        };
        json!({ "code": code, "message": self.message })
    }

    /// The daemon said no, or a check found something.
    fn refused(message: impl Into<String>) -> Failure {
        Failure::new(message.into(), 1)
    }

    /// The command line does not say enough, or not what is allowed.
    fn usage(message: impl Into<String>) -> Failure {
        Failure::new(message.into(), 2)
    }

    /// The daemon is not there.
    fn unreachable(message: impl Into<String>) -> Failure {
        Failure::new(message.into(), 3)
    }

    /// The daemon failed.
    fn failed(message: impl Into<String>) -> Failure {
        Failure::new(message.into(), 4)
    }
}
