//! Mattermost, by its API as a bot: posts in Markdown, with threads.
//!
//! The delivery's id goes along as `pending_post_id`, by which the server knows a post that comes again.

use mortise_plugin::{Delivery, Fault, Message, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, encoded, fault_of_status, one_line, read_config, seconds_ms, shortened,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{
    Checks, backslashed, headline, receipt, said_at, secret, text, url, web_link, without_mentions,
};
use crate::service::{Opened, Probe, Request, Service, Told};

/// Of a post; older servers take 4000, but those are no longer kept up.
const MOST_POST: usize = 16_383;
const MARKS: &str = "\\*_~`|>#[]()<!-+";

#[derive(Deserialize)]
struct Config {
    server_url: String,
    access_token: String,
    channel_id: String,
}

pub(crate) struct Mattermost {
    server: String,
    token: String,
    channel: String,
}

impl Service for Mattermost {
    const TITLE: &'static str = "Mattermost";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "mattermost".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Posts to a channel of Mattermost as a bot. What belongs to one piece of work \
                          is one thread."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "server_url": url("Server", "", "Such as `https://chat.example.com`."),
                    "access_token": secret(
                        "Access token",
                        "Of a bot account (Integrations, Bot Accounts) that is a member of the channel.",
                    ),
                    "channel_id": text(
                        "Channel id",
                        "At the end of the channel's info: 26 letters and digits, not its name.",
                    ),
                },
                "required": ["server_url", "access_token", "channel_id"],
                "examples": [{
                    "server_url": "https://chat.example.com", "access_token": "example",
                    "channel_id": "4xp9fdt77pncbef59f4k1qe83o"
                }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Mattermost>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let server = checks.url("server_url", &config.server_url);
        let token = checks.word("access_token", &config.access_token);
        let channel = checks.word("channel_id", &config.channel_id);
        if channel.starts_with(['~', '#']) {
            checks.wrong("channel_id", "must be the channel's id, not its name");
        }
        checks.end()?;
        Ok(Opened::of(Mattermost { server, token, channel }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let body = json!({
            "channel_id": self.channel,
            "message": post(&delivery.message),
            "root_id": delivery.thread.as_deref().unwrap_or_default(),
            "pending_post_id": delivery.id,
        });
        Ok(Request::json("POST", format!("{}/api/v4/posts", self.server), &body)
            .bearer(&self.token))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let body = answer.json();
        let id = said_at(body.as_ref(), "/id");
        let begun = (!id.is_empty()).then_some(id);
        Ok(receipt(body.as_ref(), "/id", told.thread.or(begun)))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let message = said_at(body.as_ref(), "/message");
        let said = if message.is_empty() { answer.said() } else { message };
        let reset = answer.header("x-ratelimit-reset").and_then(|it| it.trim().parse().ok());
        let wait = answer.retry_after_ms(now_ms).or(reset.and_then(seconds_ms));
        match said_at(body.as_ref(), "/id").as_str() {
            // The thread's first post was deleted.
            id @ ("api.post.create_post.root_id.app_error"
            | "api.post.create_post.channel_root_id.app_error") => Fault::permanent(format!(
                "Mattermost answered {}: the thread is gone ({id})",
                answer.status
            )),
            "api.post.create_post.can_not_post_to_deleted.error" => {
                Fault::config(format!("the channel is archived ({said})"), Vec::new())
            }
            _ => fault_of_status(Self::TITLE, answer.status, &said, wait),
        }
    }

    fn probe(&self) -> Probe {
        let channel = encoded(&self.channel);
        let url = format!("{}/api/v4/channels/{channel}/members/me", self.server);
        Probe::Quiet(Request::get(url).bearer(&self.token))
    }

    fn probed(&self, _answer: &Answer<'_>) -> Result<String, Fault> {
        Ok("the bot is a member of the channel; nothing was posted".to_owned())
    }
}

fn post(message: &Message) -> String {
    let literal = |text: &str| without_mentions(&backslashed(text, MARKS));
    let mut parts = vec![format!("**{}**", literal(&headline(message)))];
    let link = web_link(message).map(|it| format!("[Details](<{it}>)")).unwrap_or_default();
    let fields: Vec<String> = message
        .fields
        .iter()
        .map(|(name, value)| {
            format!("**{}:** {}", literal(&one_line(name)), literal(&one_line(value)))
        })
        .collect();
    let fields = shortened(&fields.join("  \n"), 5_000);
    let room =
        MOST_POST - 6_000 - link.chars().count().min(2_000) - parts[0].chars().count().min(1_000);
    parts[0] = shortened(&parts[0], 1_000);
    parts.push(shortened(&literal(message.text.trim()), room));
    parts.push(fields);
    parts.push(if link.chars().count() > 2_000 { String::new() } else { link });
    parts.retain(|it| !it.is_empty());
    parts.join("\n\n")
}
