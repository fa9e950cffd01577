//! Google Chat, by a webhook of a space: text, with threads by a key of ours.

use mortise_plugin::{Delivery, Fault, Problem, Receipt, TypeDescriptor};
use mortise_sinks::{Answer, encoded, fault_of_status, plain, read_config, shortened_to_bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, headline, receipt, said_at, secret};
use crate::service::{Opened, Probe, Request, Service, Told};

/// Of a message, with all that is around the text.
const MOST_BYTES: usize = 30_000;

#[derive(Deserialize)]
struct Config {
    webhook_url: String,
}

pub(crate) struct GoogleChat {
    url: String,
}

impl Service for GoogleChat {
    const TITLE: &'static str = "Google Chat";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "google-chat".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Posts to a space of Google Chat. What belongs to one piece of work is one \
                          thread."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "webhook_url": secret(
                        "Webhook URL",
                        "In the space's menu: Apps & integrations, Webhooks. The whole URL, with `key` \
                         and `token`.",
                    ),
                },
                "required": ["webhook_url"],
                "examples": [{
                    "webhook_url": "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=k&token=example"
                }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<GoogleChat>, Fault> {
        let mut warnings = Vec::new();
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let url = checks.url("webhook_url", &config.webhook_url);
        checks.end()?;
        if !url.contains("key=") || !url.contains("token=") {
            let message = "has no `key` or no `token`: it may not be whole";
            warnings.push(Problem::at("webhook_url", message));
        }
        Ok(Opened { service: GoogleChat { url }, warnings })
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let text = format!("{}\n{}", headline(&delivery.message), plain(&delivery.message));
        // Mentions and links that hide where they go begin with this.
        let text = text.trim().replace('<', "<\u{200b}");
        let key = delivery.thread.as_ref().unwrap_or(&delivery.id);
        let body = json!({
            "text": shortened_to_bytes(&text, MOST_BYTES),
            "thread": { "threadKey": key },
        });
        let joint = if self.url.contains('?') { '&' } else { '?' };
        let url = format!(
            "{}{joint}messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD&requestId={}",
            self.url,
            encoded(&delivery.id)
        );
        Ok(Request::json("POST", url, &body))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let thread = Some(told.thread.unwrap_or(told.id));
        Ok(receipt(answer.json().as_ref(), "/name", thread))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let status = said_at(body.as_ref(), "/error/status");
        let message = said_at(body.as_ref(), "/error/message");
        let said = format!("{status} {message}");
        let said = if said.trim().is_empty() { answer.said() } else { said.trim().to_owned() };
        if answer.status == 400 && message.contains("API key") {
            let message = format!("Google Chat answered 400: the URL's `key` is wrong ({said})");
            return Fault::config(message, Vec::new());
        }
        fault_of_status(Self::TITLE, answer.status, &said, answer.retry_after_ms(now_ms))
    }

    fn probe(&self) -> Probe {
        Probe::Message
    }
}
