//! The sink type `command`: messages to a program of this host.
//!
//! The program lies in a directory that only the administrator can write to, and runs in the sandbox of
//! functions. It gets the delivery as JSON on standard input, and says by its exit status how it went:
//! 0 done, 75 (EX_TEMPFAIL) try again, 78 (EX_CONFIG) the configuration is wrong, anything else: never.
//! This crate does no I/O and keeps nothing.

mod sink;

use mortise_plugin::{Fault, Problem, TypeDescriptor};
use mortise_sinks::{read_config, wrong};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::sink::Command;

/// The name of the sink type.
pub const KIND: &str = "command";

const USUAL_SECONDS: u64 = 15;
const MOST_SECONDS: u64 = 60;

#[derive(Deserialize)]
struct Config {
    program: String,
    timeout_seconds: Option<u64>,
    #[serde(default)]
    settings: Map<String, Value>,
    secret: Option<String>,
}

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "program": {
                "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
                "title": "Program",
                "description": "File name of the program in the directory of commands \
                                (`integrations.commands_dir` of the daemon's configuration, usually \
                                /etc/mortise/commands.d)."
            },
            "timeout_seconds": {
                "type": "integer", "minimum": 1, "maximum": MOST_SECONDS, "default": USUAL_SECONDS,
                "title": "Time limit",
                "description": "Seconds that it may take. After that it is ended and tried again later."
            },
            "settings": {
                "type": "object", "maxProperties": 100, "default": {},
                "title": "Settings",
                "description": "Handed to the program as `settings`, for one program that serves several \
                                integrations. Put no secret here: they are shown."
            },
            "secret": {
                "type": "string", "writeOnly": true, "maxLength": 10_000,
                "title": "Secret",
                "description": "Handed to the program as `secret`, such as a token of the service that it \
                                calls."
            }
        },
        "required": ["program"],
        "examples": [
            { "program": "page-on-call" },
            {
                "program": "page-on-call", "timeout_seconds": 10, "settings": { "team": "night" },
                "secret": "example"
            }
        ]
    })
}

fn open(value: Value) -> Result<Command, Fault> {
    let config: Config = read_config(value)?;
    let mut problems = Vec::new();
    let is_name = (1..=64).contains(&config.program.len())
        && config.program.starts_with(|it: char| it.is_ascii_alphanumeric())
        && config.program.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it));
    if !is_name {
        let message = "must be the name of a file in the directory of commands, without a path";
        problems.push(Problem::at("program", message));
    }
    let seconds = config.timeout_seconds.unwrap_or(USUAL_SECONDS);
    if !(1..=MOST_SECONDS).contains(&seconds) {
        let message = format!("must be from 1 to {MOST_SECONDS}");
        problems.push(Problem::at("timeout_seconds", message));
    }
    if !problems.is_empty() {
        return Err(wrong(problems));
    }
    Ok(Command {
        program: config.program,
        timeout_ms: seconds * 1_000,
        settings: config.settings,
        secret: config.secret,
    })
}

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Command".to_owned(),
        description: "Hands messages to a program that the administrator of this host has put \
                              there, in a sandbox."
            .to_owned(),
        config_schema: schema(),
        threads: true,
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(sink Commands, describe, |config, _host| open(config));
