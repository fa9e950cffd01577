//! Microsoft Teams, by a webhook of the Workflows app: an Adaptive Card.
//!
//! Texts are rich text blocks, whose runs know no markup. The answer holds no id, so that there are no
//! threads. A webhook of the older connectors answers 200 whatever happened, with the trouble in words.

use mortise_plugin::{Delivery, Fault, Message, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, fault_of_status, one_line, read_config, shortened, shortened_to_bytes,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, headline, said_at, secret, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

/// Of a whole message: 28 KB, in whatever way they are counted.
const MOST_BYTES: usize = 24_000;
const MOST_FIELDS: usize = 20;

#[derive(Deserialize)]
struct Config {
    webhook_url: String,
}

pub(crate) struct Teams {
    url: String,
}

impl Service for Teams {
    const TITLE: &'static str = "Microsoft Teams";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "microsoft-teams".to_owned(),
            aliases: vec!["teams".to_owned()],
            title: Self::TITLE.to_owned(),
            description: "Posts cards to a channel or chat of Teams, by a workflow.".to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "webhook_url": secret(
                        "Webhook URL",
                        "In Teams: Workflows, \"Post to a channel when a webhook request is received\"; \
                         the URL that it shows at the end.",
                    ),
                },
                "required": ["webhook_url"],
                "examples": [{
                    "webhook_url": "https://prod-00.westeurope.logic.azure.com/workflows/0/triggers/manual/paths/invoke?sig=example"
                }]
            }),
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Teams>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let url = checks.url("webhook_url", &config.webhook_url);
        checks.end()?;
        Ok(Opened::of(Teams { url }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        // Only the text can be long enough to matter, once the rest is bounded.
        let mut room = MOST_BYTES;
        loop {
            let card = card(&delivery.message, room);
            let size = card.to_string().len();
            if size <= MOST_BYTES || room < 100 {
                return Ok(Request::json("POST", self.url.clone(), &card));
            }
            room = room.saturating_sub((size - MOST_BYTES).max(room / 10));
        }
    }

    fn done(&self, _answer: &Answer<'_>, _told: Told) -> Result<Receipt, Fault> {
        Ok(Receipt::default())
    }

    fn is_success(&self, answer: &Answer<'_>) -> bool {
        answer.is_success() && connector_error(answer).is_none()
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let wait = answer.retry_after_ms(now_ms);
        let body = answer.json();
        let code = said_at(body.as_ref(), "/error/code");
        let said = format!("{code} {}", said_at(body.as_ref(), "/error/message"));
        let said = if said.trim().is_empty() { answer.said() } else { said.trim().to_owned() };
        if let Some(status) = connector_error(answer) {
            return fault_of_status(Self::TITLE, status, &answer.said(), wait);
        }
        match (answer.status, code.as_str()) {
            (400, "WorkflowTriggerIsNotEnabled" | "WorkflowTriggerNotFound") => Fault::config(
                format!(
                    "Microsoft Teams answered 400: the workflow is switched off or gone ({said})"
                ),
                Vec::new(),
            ),
            (400, "TriggerInputSchemaMismatch") => Fault::config(
                format!("Microsoft Teams answered 400: the workflow takes something else ({said})"),
                Vec::new(),
            ),
            (status, _) => fault_of_status(Self::TITLE, status, &said, wait),
        }
    }

    fn probe(&self) -> Probe {
        Probe::Message
    }
}

/// The status that an older connector tells in words, under 200.
fn connector_error(answer: &Answer<'_>) -> Option<u16> {
    let text = answer.said();
    let (_, after) = text.split_once("HTTP error ")?;
    after.get(..3)?.parse().ok()
}

fn card(message: &Message, room: usize) -> Value {
    let color = match message.level {
        MessageLevel::Info => "default",
        MessageLevel::Success => "good",
        MessageLevel::Warning => "warning",
        MessageLevel::Error => "attention",
    };
    let run = |text: &str| json!({ "type": "TextRun", "text": text });
    let title = shortened(&headline(message), 250);
    let mut body = vec![json!({
        "type": "RichTextBlock",
        "inlines": [{
            "type": "TextRun", "text": title, "weight": "bolder", "size": "medium", "color": color,
        }],
    })];
    for paragraph in
        shortened_to_bytes(message.text.trim(), room).lines().filter(|it| !it.is_empty())
    {
        body.push(
            json!({ "type": "RichTextBlock", "inlines": [run(paragraph)], "spacing": "small" }),
        );
    }
    for (name, value) in message.fields.iter().take(MOST_FIELDS) {
        let name = format!("{}: ", shortened(&one_line(name), 80));
        body.push(json!({
            "type": "RichTextBlock",
            "spacing": "small",
            "inlines": [
                { "type": "TextRun", "text": name, "weight": "bolder" },
                run(&shortened(value.trim(), 250)),
            ],
        }));
    }
    let link = web_link(message).filter(|it| it.len() <= 1_000);
    let actions: Vec<Value> = link
        .map(|it| json!({ "type": "Action.OpenUrl", "title": "Details", "url": it }))
        .into_iter()
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
}
