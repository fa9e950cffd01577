//! PagerDuty, by the Events API v2: an incident for each piece of work, which the good news at its end
//! resolves.

use mortise_plugin::{Delivery, Fault, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, fault_of_status, one_line, read_config, shortened, shortened_to_bytes,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::markup::{Checks, receipt, said_at, secret, text, url, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

const API_URL: &str = "https://events.pagerduty.com";
const MOST_SUMMARY: usize = 1_024;
const MOST_KEY: usize = 255;
/// Of the details; an event has at most 512 KB.
const MOST_DETAIL: usize = 8_000;
const MOST_DETAILS: usize = 40;

#[derive(Deserialize)]
struct Config {
    routing_key: String,
    source: Option<String>,
    api_url: Option<String>,
}

pub(crate) struct PagerDuty {
    key: String,
    source: String,
    url: String,
}

impl Service for PagerDuty {
    const TITLE: &'static str = "PagerDuty";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "pagerduty".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Triggers incidents of PagerDuty. What belongs to one piece of work is one \
                          incident; a message of success on it resolves it."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "routing_key": secret(
                        "Integration key",
                        "Of a service's integration \"Events API V2\": 32 letters and digits.",
                    ),
                    "source": text("Source", "What PagerDuty shows as the origin, such as this host's name."),
                    "api_url": url(
                        "API URL", API_URL, "`https://events.eu.pagerduty.com` for accounts in the EU.",
                    ),
                },
                "required": ["routing_key"],
                "examples": [{ "routing_key": "0123456789abcdef0123456789abcdef", "source": "mortise" }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<PagerDuty>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let key = checks.word("routing_key", &config.routing_key);
        let url = checks.url("api_url", config.api_url.as_deref().unwrap_or(API_URL));
        checks.end()?;
        let source = one_line(config.source.as_deref().unwrap_or("mortise"));
        Ok(Opened::of(PagerDuty { key, source, url }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let message = &delivery.message;
        let severity = match message.level {
            MessageLevel::Info | MessageLevel::Success => "info",
            MessageLevel::Warning => "warning",
            MessageLevel::Error => "error",
        };
        let ends = message.level == MessageLevel::Success && delivery.thread.is_some();
        let fields = message.fields.iter().take(MOST_DETAILS);
        let mut details: Map<String, Value> = fields
            .map(|(name, value)| {
                (shortened(&one_line(name), 200), shortened_to_bytes(value, MOST_DETAIL))
            })
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        if !message.text.trim().is_empty() {
            details
                .insert("text".to_owned(), shortened_to_bytes(&message.text, MOST_DETAIL).into());
        }
        details.insert("count".to_owned(), delivery.count.into());
        let summary = shortened(&one_line(&message.title), MOST_SUMMARY);
        let mut body = json!({
            "routing_key": self.key,
            "event_action": if ends { "resolve" } else { "trigger" },
            "dedup_key": key(delivery.thread.as_ref().unwrap_or(&delivery.id)),
            "payload": {
                "summary": if summary.is_empty() { delivery.trigger.clone() } else { summary },
                "source": shortened(&self.source, 200),
                "severity": severity,
                "class": delivery.trigger,
                "custom_details": details,
            },
            "client": "Mortise",
        });
        if let Some(link) = web_link(message) {
            body["links"] = json!([{ "href": link, "text": "Details" }]);
        }
        Ok(Request::json("POST", format!("{}/v2/enqueue", self.url), &body))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let thread = Some(key(&told.thread.unwrap_or(told.id)));
        Ok(receipt(answer.json().as_ref(), "/dedup_key", thread))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let errors = body.as_ref().and_then(|it| it["errors"].as_array());
        let errors = errors.into_iter().flatten().filter_map(Value::as_str).take(5);
        let errors = one_line(&errors.collect::<Vec<_>>().join("; "));
        let said = format!("{} {errors}", said_at(body.as_ref(), "/message"));
        let said = if said.trim().is_empty() { answer.said() } else { shortened(said.trim(), 300) };
        if answer.status == 400 && errors.contains("routing_key") {
            let message = format!("PagerDuty answered 400: the integration key is wrong ({said})");
            return Fault::config(message, Vec::new());
        }
        fault_of_status(Self::TITLE, answer.status, &said, answer.retry_after_ms(now_ms))
    }

    /// The end of an incident that there never was: the key is looked at, and nobody is woken.
    fn probe(&self) -> Probe {
        let body = json!({
            "routing_key": self.key, "event_action": "resolve", "dedup_key": "mortise-test",
        });
        Probe::Quiet(Request::json("POST", format!("{}/v2/enqueue", self.url), &body))
    }

    fn probed(&self, _answer: &Answer<'_>) -> Result<String, Fault> {
        Ok("PagerDuty takes the key (an incident that there is not was resolved)".to_owned())
    }
}

fn key(text: &str) -> String {
    text.chars().take(MOST_KEY).collect()
}
