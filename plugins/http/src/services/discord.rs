//! Discord, by a webhook: one embed, with no mentions allowed.
//!
//! In a forum channel every piece of work is a post, under which the rest follows; in other channels a
//! webhook cannot begin a thread.

use mortise_plugin::{Delivery, Fault, Message, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, encoded, fault_of_status, one_line, read_config, seconds_ms, shortened,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, backslashed, headline, receipt, said_at, secret, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

const MOST_TITLE: usize = 256;
const MOST_DESCRIPTION: usize = 4_096;
const MOST_FIELDS: usize = 25;
const MOST_NAME: usize = 256;
const MOST_VALUE: usize = 1_024;
/// Of all texts of a message's embeds.
const MOST_EMBED: usize = 6_000;
const MOST_THREAD_NAME: usize = 100;
const MARKS: &str = "\\*_~`|>#[]()<-";

#[derive(Deserialize)]
struct Config {
    webhook_url: String,
    #[serde(default)]
    forum: bool,
}

pub(crate) struct Discord {
    url: String,
    forum: bool,
}

impl Service for Discord {
    const TITLE: &'static str = "Discord";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "discord".to_owned(),
            title: Self::TITLE.to_owned(),
            description: "Posts to a channel of Discord, by a webhook.".to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "webhook_url": secret(
                        "Webhook URL",
                        "In the channel's settings: Integrations, Webhooks, Copy Webhook URL.",
                    ),
                    "forum": {
                        "type": "boolean", "default": false, "title": "Forum channel",
                        "description": "Whether the channel is a forum: each piece of work is then a post \
                                        of its own, with what follows under it."
                    },
                },
                "required": ["webhook_url"],
                "examples": [{ "webhook_url": "https://discord.com/api/webhooks/0/example" }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Discord>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let url = checks.url("webhook_url", &config.webhook_url);
        if url.contains(['?', '#']) {
            checks.wrong("webhook_url", "must be without parameters");
        }
        checks.end()?;
        Ok(Opened::of(Discord { url, forum: config.forum }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let mut body = json!({
            "embeds": [embed(&delivery.message)],
            "allowed_mentions": { "parse": [] },
        });
        // With `wait` the answer says what became of it.
        let mut url = format!("{}?wait=true", self.url);
        match (&delivery.thread, self.forum) {
            (Some(thread), true) => url.push_str(&format!("&thread_id={}", encoded(thread))),
            (None, true) => {
                body["thread_name"] =
                    json!(shortened(&headline(&delivery.message), MOST_THREAD_NAME));
            }
            (_, false) => {}
        }
        Ok(Request::json("POST", url, &body))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let body = answer.json();
        let place = said_at(body.as_ref(), "/channel_id");
        let begun = (self.forum && !place.is_empty()).then_some(place);
        Ok(receipt(body.as_ref(), "/id", if self.forum { told.thread.or(begun) } else { None }))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let code = body.as_ref().and_then(|it| it["code"].as_u64()).unwrap_or_default();
        let message = said_at(body.as_ref(), "/message");
        let said =
            if message.is_empty() { answer.said() } else { format!("{message}, code {code}") };
        let wait = body.as_ref().and_then(|it| it["retry_after"].as_f64()).and_then(seconds_ms);
        let wait = wait.or(answer.retry_after_ms(now_ms));
        let config = |what: &str| {
            Fault::config(
                format!("Discord answered {}: {what} ({said})", answer.status),
                Vec::new(),
            )
        };
        match code {
            10015 => config("the webhook was deleted; make another and set its URL"),
            50027 => config("the webhook's URL is not whole; copy it again"),
            220_001 => config("the channel is a forum; set `forum`"),
            220_003 => config("the channel is no forum; leave out `forum`"),
            _ => fault_of_status(Self::TITLE, answer.status, &said, wait),
        }
    }

    fn probe(&self) -> Probe {
        Probe::Quiet(Request::get(self.url.clone()))
    }

    fn probed(&self, answer: &Answer<'_>) -> Result<String, Fault> {
        let name = said_at(answer.json().as_ref(), "/name");
        Ok(format!("there is a webhook `{}`; nothing was posted", shortened(&name, 80)))
    }
}

fn embed(message: &Message) -> Value {
    let color = match message.level {
        MessageLevel::Info => 0x58_65_f2,
        MessageLevel::Success => 0x2e_cc_71,
        MessageLevel::Warning => 0xf1_c4_0f,
        MessageLevel::Error => 0xe7_4c_3c,
    };
    let title = shortened(&headline(message), MOST_TITLE);
    let text = shortened(&backslashed(message.text.trim(), MARKS), MOST_DESCRIPTION);
    let mut left = MOST_EMBED - title.chars().count() - text.chars().count();
    let mut fields = Vec::new();
    for (name, value) in message.fields.iter().take(MOST_FIELDS) {
        let name = shortened(&one_line(name), MOST_NAME);
        let value = shortened(&backslashed(value.trim(), MARKS), MOST_VALUE);
        let size = name.chars().count() + value.chars().count();
        // An empty one is refused.
        if name.is_empty() || value.is_empty() || size > left {
            continue;
        }
        left -= size;
        fields.push(json!({ "name": name, "value": value, "inline": value.chars().count() <= 40 }));
    }
    let mut embed =
        json!({ "title": title, "description": text, "color": color, "fields": fields });
    if let Some(link) = web_link(message) {
        embed["url"] = json!(link);
    }
    embed
}
