//! What is configured: the JSON Schema for people and forms, and all that a schema cannot say.

use mortise_plugin::{Fault, Problem};
use mortise_sinks::{check_url, read_config, wrong};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sink::Channel;

/// Where Slack is, unless somebody says otherwise.
const API_URL: &str = "https://slack.com/api";

#[derive(Deserialize)]
struct Config {
    bot_token: String,
    default_channel: String,
    api_url: Option<String>,
}

pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "bot_token": {
                "type": "string", "writeOnly": true, "minLength": 1, "maxLength": 1000,
                "title": "Bot token",
                "description": "The Bot User OAuth Token of your Slack app (OAuth & Permissions), which \
                                begins with `xoxb-`. The app needs the scope `chat:write`; with \
                                `chat:write.public` it posts to public channels without being invited, \
                                and with `channels:read` and `groups:read` a test can look at the channel."
            },
            "default_channel": {
                "type": "string", "minLength": 1, "maxLength": 100,
                "title": "Channel",
                "description": "Where messages go: better the id of the channel, such as `C024BE91L` (at \
                                the end of its details), which outlives a new name, or `#name`."
            },
            "api_url": {
                "type": "string", "format": "uri", "maxLength": 2000, "default": API_URL,
                "title": "API URL",
                "description": "Only for other Slacks, such as `https://slack-gov.com/api` for GovSlack."
            }
        },
        "required": ["bot_token", "default_channel"],
        "examples": [
            { "bot_token": "xoxb-0-0-example", "default_channel": "C024BE91L" },
            {
                "bot_token": "xoxb-0-0-example", "default_channel": "#ops",
                "api_url": "https://slack-gov.com/api"
            }
        ]
    })
}

/// Opens a sink, or says everything that is wrong with its configuration.
pub(crate) fn open(value: Value) -> Result<Channel, Fault> {
    let mut warnings = Vec::new();
    let config: Config = read_config(value)?;
    let mut problems = Vec::new();
    let token = config.bot_token.trim();
    if token.is_empty() || !token.bytes().all(|it| it.is_ascii_graphic()) {
        problems.push(Problem::at("bot_token", "must be one word of ASCII, as Slack shows it"));
    } else if token.starts_with("xapp-") {
        let message = "is an app-level token (`xapp-`); what is wanted is the bot's, `xoxb-`";
        problems.push(Problem::at("bot_token", message));
    } else if !token.starts_with("xoxb-") && !token.starts_with("xoxe.xoxb-") {
        let message = "does not begin with `xoxb-`: it may be none of a bot";
        warnings.push(Problem::at("bot_token", message));
    }
    let channel = config.default_channel.trim();
    if channel.is_empty() || channel.contains(char::is_whitespace) {
        let message =
            "must be the id of a channel, such as `C024BE91L`, or its name, such as `#ops`";
        problems.push(Problem::at("default_channel", message));
    }
    let api_url = config.api_url.as_deref().unwrap_or(API_URL).trim_end_matches('/').to_owned();
    check_url("api_url", &api_url, &mut problems);
    if api_url.starts_with("http://") {
        let message = "is not encrypted: the token can be read on the way";
        warnings.push(Problem::at("api_url", message));
    }
    if !problems.is_empty() {
        return Err(wrong(problems));
    }
    Ok(Channel { token: token.to_owned(), channel: channel.to_owned(), api_url, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: Value) -> Vec<String> {
        let fault = open(config).err().expect("it is wrong");
        fault.problems.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let found = problems(json!({
            "bot_token": "xapp-1", "default_channel": "my channel", "api_url": "slack.com",
        }));
        assert_eq!(found, ["bot_token", "default_channel", "api_url"]);
        assert_eq!(problems(json!({ "bot_token": "a b", "default_channel": "C1" })), ["bot_token"]);
        assert_eq!(problems(json!({ "bot_token": "xoxb-1" })), [""]);
    }

    #[test]
    fn what_is_questionable_is_a_warning() {
        let config = json!({
            "bot_token": "xoxp-1", "default_channel": "C1", "api_url": "http://a.example/api/",
        });
        let Ok(sink) = open(config) else { panic!("it can be used") };
        let paths: Vec<_> = sink.warnings.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["bot_token", "api_url"]);
        assert_eq!(sink.api_url, "http://a.example/api");
        for example in schema()["examples"].as_array().expect("a list") {
            assert!(open(example.clone()).is_ok_and(|it| it.warnings.is_empty()), "{example}");
        }
    }
}
