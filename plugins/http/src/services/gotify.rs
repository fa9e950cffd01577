//! Gotify: a message of an application on a server of yours.

use mortise_plugin::{Delivery, Fault, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, fault_of_status, one_line, plain, read_config, shortened, shortened_to_bytes,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, lone_receipt, said_at, secret, url, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

const MOST_BYTES: usize = 32_000;

#[derive(Deserialize)]
struct Config {
    server_url: String,
    app_token: String,
}

pub(crate) struct Gotify {
    server: String,
    token: String,
}

impl Service for Gotify {
    const TITLE: &'static str = "Gotify";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "gotify".to_owned(),
            title: Self::TITLE.to_owned(),
            description: "Sends messages to a Gotify server.".to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "server_url": url("Server", "", "Such as `https://gotify.example.com`."),
                    "app_token": secret("Application token", "Of an application (Apps), not of a client."),
                },
                "required": ["server_url", "app_token"],
                "examples": [{ "server_url": "https://gotify.example.com", "app_token": "example" }]
            }),
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Gotify>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let server = checks.url("server_url", &config.server_url);
        let token = checks.word("app_token", &config.app_token);
        checks.end()?;
        Ok(Opened::of(Gotify { server, token }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let message = &delivery.message;
        let priority = match message.level {
            MessageLevel::Info | MessageLevel::Success => 4,
            MessageLevel::Warning => 6,
            MessageLevel::Error => 8,
        };
        let text = plain(message);
        let text = if text.is_empty() { one_line(&message.title) } else { text };
        let mut extras = json!({ "client::display": { "contentType": "text/plain" } });
        if let Some(link) = web_link(message) {
            extras["client::notification"] = json!({ "click": { "url": link } });
        }
        let body = json!({
            "title": shortened(&one_line(&message.title), 250),
            "message": shortened_to_bytes(&text, MOST_BYTES),
            "priority": priority,
            "extras": extras,
        });
        let request = Request::json("POST", format!("{}/message", self.server), &body);
        Ok(request.with("x-gotify-key", self.token.as_str()))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        Ok(lone_receipt(answer.json().as_ref(), "/id", told))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let description = said_at(answer.json().as_ref(), "/errorDescription");
        let said = if description.is_empty() { answer.said() } else { description };
        fault_of_status(Self::TITLE, answer.status, &said, answer.retry_after_ms(now_ms))
    }

    fn probe(&self) -> Probe {
        Probe::Message
    }
}
