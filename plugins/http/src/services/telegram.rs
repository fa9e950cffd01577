//! Telegram, as a bot: plain texts, which know no markup.

use mortise_plugin::{Delivery, Fault, Receipt, TypeDescriptor};
use mortise_sinks::{Answer, encoded, fault_of_status, plain, read_config, seconds_ms, shortened};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, headline, receipt, said_at, secret, text, url};
use crate::service::{Opened, Probe, Request, Service, Told};

const API_URL: &str = "https://api.telegram.org";
const MOST_TEXT: usize = 4_096;

#[derive(Deserialize)]
struct Config {
    bot_token: String,
    chat_id: String,
    topic_id: Option<i64>,
    api_url: Option<String>,
}

pub(crate) struct Telegram {
    url: String,
    chat: String,
    topic: Option<i64>,
}

impl Service for Telegram {
    const TITLE: &'static str = "Telegram";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "telegram".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Sends messages to a chat of Telegram as a bot. What belongs to one piece of \
                          work are replies to the first message on it."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "bot_token": secret("Bot token", "From @BotFather, such as `123456:ABC-DEF`."),
                    "chat_id": text(
                        "Chat",
                        "The number of a chat or group that the bot is in (groups are negative), or \
                         `@name` of a channel.",
                    ),
                    "topic_id": {
                        "type": "integer", "title": "Topic",
                        "description": "In a group with topics, the number of one (`message_thread_id`)."
                    },
                    "api_url": url("API URL", API_URL, "Only for a Bot API server of your own."),
                },
                "required": ["bot_token", "chat_id"],
                "examples": [{ "bot_token": "123456:example", "chat_id": "-1001234567890" }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Telegram>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let token = checks.word("bot_token", &config.bot_token);
        if !token.contains(':') || token.contains(['/', '?', '#']) {
            checks
                .wrong("bot_token", "must be a number, a colon and letters, as @BotFather says it");
        }
        let chat = checks.word("chat_id", &config.chat_id);
        if chat.parse::<i64>().is_err() && !chat.starts_with('@') {
            checks.wrong("chat_id", "must be a number, or a channel's name with `@`");
        }
        let url = checks.url("api_url", config.api_url.as_deref().unwrap_or(API_URL));
        checks.end()?;
        let url = format!("{url}/bot{token}");
        Ok(Opened::of(Telegram { url, chat, topic: config.topic_id }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let text = format!("{}\n\n{}", headline(&delivery.message), plain(&delivery.message));
        let mut body = json!({
            "chat_id": self.chat,
            "text": shortened(text.trim(), MOST_TEXT),
            "link_preview_options": { "is_disabled": true },
        });
        if let Some(topic) = self.topic {
            body["message_thread_id"] = json!(topic);
        }
        let first = delivery.thread.as_deref().and_then(|it| it.parse::<i64>().ok());
        if let Some(first) = first {
            body["reply_parameters"] =
                json!({ "message_id": first, "allow_sending_without_reply": true });
        }
        Ok(Request::json("POST", format!("{}/sendMessage", self.url), &body))
    }

    fn is_success(&self, answer: &Answer<'_>) -> bool {
        answer.is_success() && answer.json().is_some_and(|it| it["ok"] == true)
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let body = answer.json();
        let first = body.as_ref().and_then(|it| it["result"]["message_id"].as_i64());
        let thread = told.thread.or(first.map(|it| it.to_string()));
        Ok(receipt(body.as_ref(), "/result/message_id", thread))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let description = said_at(body.as_ref(), "/description");
        if description.is_empty() && answer.is_success() {
            let message = format!(
                "{} is no answer of Telegram ({}): check `api_url`",
                answer.status,
                answer.said()
            );
            return Fault::config(message, Vec::new());
        }
        let said = if description.is_empty() { answer.said() } else { description };
        let parameters = body.as_ref().map(|it| &it["parameters"]);
        let wait = parameters.and_then(|it| it["retry_after"].as_f64()).and_then(seconds_ms);
        let wait = wait.or(answer.retry_after_ms(now_ms));
        let config =
            |what: &str| Fault::config(format!("Telegram says {what} ({said})"), Vec::new());
        if let Some(moved) = parameters.and_then(|it| it["migrate_to_chat_id"].as_i64()) {
            return config(&format!(
                "that the group has another number now: set `chat_id` to {moved}"
            ));
        }
        match answer.status {
            // A wrong token is a path that there is not.
            401 | 404 => config("that the bot token is wrong"),
            403 => config("that the bot may not write there; add it to the chat"),
            400 if said.contains("chat not found")
                || said.contains("TOPIC")
                || said.contains("thread not found") =>
            {
                config("that there is no such chat or topic; check `chat_id` and `topic_id`")
            }
            400 if said.contains("not enough rights") || said.contains("have no rights") => {
                config("that the bot may not write there")
            }
            status => fault_of_status(Self::TITLE, status, &said, wait),
        }
    }

    fn probe(&self) -> Probe {
        Probe::Quiet(Request::get(format!("{}/getChat?chat_id={}", self.url, encoded(&self.chat))))
    }

    fn probed(&self, answer: &Answer<'_>) -> Result<String, Fault> {
        let name = said_at(answer.json().as_ref(), "/result/title");
        Ok(format!("the bot sees the chat {}; nothing was sent", shortened(&name, 80)))
    }
}
