//! Opsgenie, by the Alert API: an alert for each piece of work, which the good news at its end closes.

use mortise_plugin::{Delivery, Fault, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, encoded, fault_of_status, one_line, plain, read_config, seconds_ms, shortened,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::markup::{Checks, receipt, said_at, secret, url};
use crate::service::{Opened, Probe, Request, Service, Told};

const API_URL: &str = "https://api.opsgenie.com";
const MOST_MESSAGE: usize = 130;
const MOST_ALIAS: usize = 512;
const MOST_DESCRIPTION: usize = 15_000;
/// Of all details together.
const MOST_DETAILS: usize = 8_000;

#[derive(Deserialize)]
struct Config {
    api_key: String,
    api_url: Option<String>,
}

pub(crate) struct Opsgenie {
    key: String,
    url: String,
}

impl Service for Opsgenie {
    const TITLE: &'static str = "Opsgenie";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "opsgenie".to_owned(),
            title: Self::TITLE.to_owned(),
            description:
                "Creates alerts of Opsgenie. What belongs to one piece of work is one alert; a \
                          message of success on it closes it."
                    .to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "api_key": secret("API key", "Of an integration of the type API."),
                    "api_url": url("API URL", API_URL, "`https://api.eu.opsgenie.com` for accounts in the EU."),
                },
                "required": ["api_key"],
                "examples": [{ "api_key": "00000000-0000-0000-0000-000000000000" }]
            }),
            threads: true,
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Opsgenie>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let key = checks.word("api_key", &config.api_key);
        let url = checks.url("api_url", config.api_url.as_deref().unwrap_or(API_URL));
        checks.end()?;
        Ok(Opened::of(Opsgenie { key, url }))
    }

    fn message(&self, delivery: &Delivery, _now_ms: u64) -> Result<Request, Fault> {
        let message = &delivery.message;
        let title = shortened(&one_line(&message.title), MOST_MESSAGE);
        let title = if title.is_empty() { delivery.trigger.clone() } else { title };
        if let (MessageLevel::Success, Some(thread)) = (message.level, &delivery.thread) {
            return Ok(self.close(thread, &title));
        }
        let priority = match message.level {
            MessageLevel::Info | MessageLevel::Success => "P5",
            MessageLevel::Warning => "P3",
            MessageLevel::Error => "P2",
        };
        let mut left = MOST_DETAILS;
        let mut details = Map::new();
        for (name, value) in &message.fields {
            let (name, value) = (shortened(&one_line(name), 200), shortened(value, 1_000));
            let size = name.chars().count() + value.chars().count();
            if size <= left {
                left -= size;
                details.insert(name, value.into());
            }
        }
        let body = json!({
            "message": title,
            "alias": alias(delivery.thread.as_ref().unwrap_or(&delivery.id)),
            "description": shortened(&plain(message), MOST_DESCRIPTION),
            "priority": priority,
            "details": details,
            "tags": [shortened(&delivery.trigger, 50)],
            "source": "mortise",
        });
        Ok(self.authorized(Request::json("POST", format!("{}/v2/alerts", self.url), &body)))
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        let thread = Some(alias(&told.thread.unwrap_or(told.id)));
        Ok(receipt(answer.json().as_ref(), "/requestId", thread))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let message = said_at(answer.json().as_ref(), "/message");
        let said = if message.is_empty() { answer.said() } else { message };
        let period =
            answer.header("x-ratelimit-period-in-sec").and_then(|it| it.trim().parse().ok());
        let wait = answer.retry_after_ms(now_ms).or(period.and_then(seconds_ms));
        match answer.status {
            402 => Fault::config(
                format!("Opsgenie answered 402: the plan does not allow this ({said})"),
                Vec::new(),
            ),
            // It does so for a key that is none, too.
            422 if said.contains("Key format") => Fault::config(
                format!("Opsgenie answered 422: the API key is none ({said})"),
                Vec::new(),
            ),
            status => fault_of_status(Self::TITLE, status, &said, wait),
        }
    }

    /// The end of an alert that there never was: the key is looked at, and nobody is woken.
    fn probe(&self) -> Probe {
        Probe::Quiet(self.close("mortise-test", "test"))
    }

    fn probed(&self, _answer: &Answer<'_>) -> Result<String, Fault> {
        Ok("Opsgenie takes the key (an alert that there is not was closed)".to_owned())
    }
}

impl Opsgenie {
    fn close(&self, thread: &str, note: &str) -> Request {
        let url = format!(
            "{}/v2/alerts/{}/close?identifierType=alias",
            self.url,
            encoded(&alias(thread))
        );
        self.authorized(Request::json("POST", url, &json!({ "source": "mortise", "note": note })))
    }

    fn authorized(&self, request: Request) -> Request {
        request.with("authorization", format!("GenieKey {}", self.key))
    }
}

fn alias(text: &str) -> String {
    text.chars().take(MOST_ALIAS).collect()
}
