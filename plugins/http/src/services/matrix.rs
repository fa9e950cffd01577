//! Matrix: a message to a room, sent with the delivery's id as the transaction's, so that a repetition is
//! none.

use mortise_plugin::{Delivery, Fault, Message, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, encoded, fault_of_status, one_line, plain, read_config, shortened_to_bytes,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, headline, html, receipt, said_at, secret, text, url, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

/// Of the plain form; an event has at most 65536 bytes, and every form grows by escaping.
const MOST_BYTES: usize = 8_000;
/// Of the text in the other form, and of all its fields.
const MOST_PARAGRAPH: usize = 3_000;
const MOST_FIELDS: usize = 12_000;

#[derive(Deserialize)]
struct Config {
    homeserver_url: String,
    access_token: String,
    room_id: String,
}

pub(crate) struct Matrix {
    server: String,
    token: String,
    room: String,
}

impl Service for Matrix {
    const TITLE: &'static str = "Matrix";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "matrix".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Sends messages to a room of Matrix. What belongs to one piece of work is one \
                          thread."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "homeserver_url": url("Homeserver", "", "Such as `https://matrix.example.com`."),
                    "access_token": secret("Access token", "Of an account that has joined the room."),
                    "room_id": text(
                        "Room id",
                        "The internal id in the room's settings, such as `!abc:example.com`; not an alias.",
                    ),
                },
                "required": ["homeserver_url", "access_token", "room_id"],
                "examples": [{
                    "homeserver_url": "https://matrix.example.com", "access_token": "example",
                    "room_id": "!abc:example.com"
                }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Matrix>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let server = checks.url("homeserver_url", &config.homeserver_url);
        let token = checks.word("access_token", &config.access_token);
        let room = checks.word("room_id", &config.room_id);
        if !room.starts_with('!') {
            checks
                .wrong("room_id", "must be the room's id, which begins with `!`; an alias is none");
        }
        checks.end()?;
        Ok(Opened::of(Matrix { server, token, room }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let mut body = content(&delivery.message);
        if let Some(first) = &delivery.thread {
            body["m.relates_to"] = json!({
                "rel_type": "m.thread", "event_id": first, "is_falling_back": true,
                "m.in_reply_to": { "event_id": first },
            });
        }
        let url = format!("{}/send/m.room.message/{}", self.room_url(), encoded(&delivery.id));
        Ok(Request::json("PUT", url, &body).bearer(&self.token))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let body = answer.json();
        let id = said_at(body.as_ref(), "/event_id");
        if id.is_empty() {
            let message = "the homeserver's answer has no `event_id`; check `homeserver_url`";
            return Err(Fault::config(message, Vec::new()));
        }
        Ok(receipt(body.as_ref(), "/event_id", Some(told.thread.unwrap_or(id))))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let code = said_at(body.as_ref(), "/errcode");
        let said = format!("{code} {}", said_at(body.as_ref(), "/error"));
        let said = if code.is_empty() { answer.said() } else { said };
        let wait = body.as_ref().and_then(|it| it["retry_after_ms"].as_u64());
        let wait = wait.or(answer.retry_after_ms(now_ms));
        let config =
            |what: &str| Fault::config(format!("the homeserver says {what} ({said})"), Vec::new());
        match code.as_str() {
            "M_LIMIT_EXCEEDED" => {
                let message = format!("the homeserver is asked too often ({said})");
                Fault::transient(message).not_before(wait)
            }
            "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" => {
                config("that the access token is wrong or expired")
            }
            "M_FORBIDDEN" | "M_GUEST_ACCESS_FORBIDDEN" => {
                config("that the account may not post there; has it joined the room?")
            }
            "M_USER_DEACTIVATED" | "M_USER_SUSPENDED" => config("that the account is closed"),
            _ => fault_of_status("the homeserver", answer.status, &said, wait),
        }
    }

    fn probe(&self) -> Probe {
        let url = format!("{}/state/m.room.create", self.room_url());
        Probe::Quiet(Request::get(url).bearer(&self.token))
    }

    fn probed(&self, _answer: &Answer<'_>) -> Result<String, Fault> {
        Ok("the account is in the room; nothing was sent".to_owned())
    }
}

impl Matrix {
    fn room_url(&self) -> String {
        format!("{}/_matrix/client/v3/rooms/{}", self.server, encoded(&self.room))
    }
}

fn content(message: &Message) -> Value {
    let title = shortened_to_bytes(&headline(message), 1_000);
    let text = shortened_to_bytes(&format!("{title}\n\n{}", plain(message)), MOST_BYTES);
    let mut formatted = format!("<b>{}</b>", html(&title));
    let body = shortened_to_bytes(message.text.trim(), MOST_PARAGRAPH);
    if !body.is_empty() {
        formatted.push_str(&format!("<p>{}</p>", html(&body).replace('\n', "<br>")));
    }
    let mut fields = String::new();
    for (name, value) in &message.fields {
        let (name, value) = (one_line(name), one_line(value));
        let (name, value) = (shortened_to_bytes(&name, 200), shortened_to_bytes(&value, 500));
        let field = format!("<li><b>{}:</b> {}</li>", html(&name), html(&value));
        if fields.len() + field.len() > MOST_FIELDS {
            break;
        }
        fields.push_str(&field);
    }
    if !fields.is_empty() {
        formatted.push_str(&format!("<ul>{fields}</ul>"));
    }
    if let Some(link) = web_link(message) {
        formatted.push_str(&format!("<p><a href=\"{}\">Details</a></p>", html(link)));
    }
    json!({
        "msgtype": "m.text",
        "body": text.trim_end(),
        "format": "org.matrix.custom.html",
        "formatted_body": formatted,
        // Nobody, whatever the text looks like.
        "m.mentions": {},
    })
}
