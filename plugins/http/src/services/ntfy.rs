//! ntfy: a notification to a topic, published as JSON.

use mortise_plugin::{Delivery, Fault, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, fault_of_status, one_line, plain, read_config, shortened, shortened_to_bytes,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, lone_receipt, said_at, secret, text, url, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

/// Longer ones become attachments.
const MOST_BYTES: usize = 4_096;
const SERVER: &str = "https://ntfy.sh";

#[derive(Deserialize)]
struct Config {
    server_url: Option<String>,
    topic: String,
    access_token: Option<String>,
}

pub(crate) struct Ntfy {
    server: String,
    topic: String,
    token: Option<String>,
}

impl Service for Ntfy {
    const TITLE: &'static str = "ntfy";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "ntfy".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Sends notifications to phones and browsers, by ntfy.sh or a server of yours."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "server_url": url("Server", SERVER, "Where ntfy is."),
                    "topic": text(
                        "Topic",
                        "Letters, digits, `_` and `-`. On a public server whoever knows it can read along.",
                    ),
                    "access_token": secret(
                        "Access token", "Begins with `tk_`; for topics that are not open to everybody.",
                    ),
                },
                "required": ["topic"],
                "examples": [
                    { "topic": "acme-ops-7f3a" },
                    {
                        "server_url": "https://ntfy.example.com", "topic": "ops",
                        "access_token": "tk_example"
                    }
                ]
            }),
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Ntfy>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let server = checks.url("server_url", config.server_url.as_deref().unwrap_or(SERVER));
        let is_topic = (1..=64).contains(&config.topic.len())
            && config.topic.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
        if !is_topic {
            checks.wrong("topic", "must be up to 64 letters, digits, `_` and `-`");
        }
        let token = config.access_token.as_deref().map(|it| checks.word("access_token", it));
        checks.end()?;
        Ok(Opened::of(Ntfy { server, topic: config.topic, token }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let message = &delivery.message;
        let (priority, tag) = match message.level {
            MessageLevel::Info => (3, "information_source"),
            MessageLevel::Success => (3, "white_check_mark"),
            MessageLevel::Warning => (4, "warning"),
            MessageLevel::Error => (5, "rotating_light"),
        };
        let text = plain(message);
        let text = if text.is_empty() { one_line(&message.title) } else { text };
        let mut body = json!({
            "topic": self.topic,
            "title": shortened(&one_line(&message.title), 250),
            "message": shortened_to_bytes(&text, MOST_BYTES),
            "priority": priority,
            "tags": [tag],
        });
        if let Some(link) = web_link(message) {
            body["click"] = json!(link);
        }
        let request = Request::json("POST", format!("{}/", self.server), &body);
        Ok(match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        })
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        Ok(lone_receipt(answer.json().as_ref(), "/id", told))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let error = said_at(body.as_ref(), "/error");
        let code = body.as_ref().and_then(|it| it["code"].as_u64()).unwrap_or_default();
        let said = if error.is_empty() { answer.said() } else { format!("{error}, code {code}") };
        fault_of_status(Self::TITLE, answer.status, &said, answer.retry_after_ms(now_ms))
    }

    fn probe(&self) -> Probe {
        Probe::Message
    }
}
