//! `mortise key`: how things stand with the master key, as a table and what that means.

use serde_json::json;

use super::Failure;
use super::arguments::KeyCommand;
use super::client::WAIT_SECONDS;
use super::connection::Client;
use super::show::{self, View};

const KEYS: View =
    View::Table("keys", &[("KEY", "id"), ("IN USE", "in_use"), ("SECRETS", "secrets")]);

/// Makes the call and shows what came back.
pub(super) fn run(client: &Client, as_json: bool, command: &KeyCommand) -> Result<(), Failure> {
    let (name, parameters) = match command {
        KeyCommand::Status => ("keys.status", json!({})),
        KeyCommand::Rotate { no_wait: true } => ("keys.rotate", json!({})),
        KeyCommand::Rotate { no_wait: false } => {
            ("keys.rotate", json!({ "wait_seconds": WAIT_SECONDS }))
        }
    };
    let answer = client.call(name, &parameters)?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    show::print(&format!("{} ({})\n", text("path"), text("source")))?;
    show::answer(&answer, &KEYS, false)?;
    show::print(&format!("\n{}", text("message")))?;
    for keyring in answer["damaged_keyrings"].as_array().into_iter().flatten() {
        show::print(&format!("damaged: {}", keyring.as_str().unwrap_or_default()))?;
    }
    Ok(())
}
