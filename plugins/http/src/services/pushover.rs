//! Pushover: a notification to the devices of a person or group.

use mortise_plugin::{Delivery, Fault, MessageLevel, Receipt, TypeDescriptor};
use mortise_sinks::{
    Answer, LONGEST_WAIT_MS, fault_of_status, field_lines, one_line, read_config, shortened,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::markup::{Checks, lone_receipt, secret, url, web_link};
use crate::service::{Opened, Probe, Request, Service, Told};

const API_URL: &str = "https://api.pushover.net";
const MOST_TITLE: usize = 250;
const MOST_MESSAGE: usize = 1_024;
const MOST_URL: usize = 512;

#[derive(Deserialize)]
struct Config {
    app_token: String,
    user_key: String,
    device: Option<String>,
    api_url: Option<String>,
}

pub(crate) struct Pushover {
    token: String,
    user: String,
    device: Option<String>,
    url: String,
}

impl Service for Pushover {
    const TITLE: &'static str = "Pushover";

    fn describe() -> TypeDescriptor {
        TypeDescriptor {
            name: "pushover".to_owned(),
            title: Self::TITLE.to_owned(),
            description: "Sends notifications to phones by Pushover.".to_owned(),
            config_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "app_token": secret("Application token", "Of an application: 30 letters and digits."),
                    "user_key": secret("User or group key", "Of whoever is told: 30 letters and digits."),
                    "device": {
                        "type": "string", "maxLength": 200, "title": "Device",
                        "description": "Name of one device, or several with commas; all when absent."
                    },
                    "api_url": url("API URL", API_URL, "Only for tests."),
                },
                "required": ["app_token", "user_key"],
                "examples": [{
                    "app_token": "azGDORePK8gMaC0QOYAMyEEuzJnyUi", "user_key": "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
                }]
            }),
            ..TypeDescriptor::default()
        }
    }

    fn open(config: Value) -> Result<Opened<Pushover>, Fault> {
        let config: Config = read_config(config)?;
        let mut checks = Checks::default();
        let token = checks.word("app_token", &config.app_token);
        let user = checks.word("user_key", &config.user_key);
        let url = checks.url("api_url", config.api_url.as_deref().unwrap_or(API_URL));
        checks.end()?;
        let device = config.device.filter(|it| !it.trim().is_empty());
        Ok(Opened::of(Pushover { token, user, device, url }))
    }

    fn message(&self, delivery: &Delivery, now_ms: u64) -> Result<Request, Fault> {
        let message = &delivery.message;
        let priority = match message.level {
            MessageLevel::Info | MessageLevel::Success => 0,
            MessageLevel::Warning | MessageLevel::Error => 1,
        };
        let parts = [message.text.trim().to_owned(), field_lines(message)];
        let text = parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n\n");
        let text = if text.is_empty() { one_line(&message.title) } else { text };
        let mut body = json!({
            "token": self.token,
            "user": self.user,
            "title": shortened(&one_line(&message.title), MOST_TITLE),
            "message": shortened(&text, MOST_MESSAGE),
            "priority": priority,
            "timestamp": now_ms / 1_000,
        });
        if let Some(device) = &self.device {
            body["device"] = json!(device);
        }
        if let Some(link) = web_link(message).filter(|it| it.len() <= MOST_URL) {
            body["url"] = json!(link);
            body["url_title"] = json!("Details");
        }
        Ok(Request::json("POST", format!("{}/1/messages.json", self.url), &body))
    }

    fn is_success(&self, answer: &Answer<'_>) -> bool {
        answer.is_success() && answer.json().is_some_and(|it| it["status"] == 1)
    }

    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault> {
        Ok(lone_receipt(answer.json().as_ref(), "/request", told))
    }

    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        let body = answer.json();
        let errors = body.as_ref().and_then(|it| it["errors"].as_array());
        let errors = errors.into_iter().flatten().filter_map(Value::as_str).take(5);
        let errors = shortened(&one_line(&errors.collect::<Vec<_>>().join("; ")), 300);
        let said = if errors.is_empty() { answer.said() } else { errors };
        let invalid = |name: &str| body.as_ref().is_some_and(|it| it[name] == "invalid");
        let wrong = ["token", "user", "device"].into_iter().find(|it| invalid(it));
        if let Some(name) = wrong {
            let message = format!("Pushover says that the {name} is wrong ({said})");
            return Fault::config(message, Vec::new());
        }
        match answer.status {
            // The messages of the month are used up; this says when the next month begins.
            429 => {
                let reset =
                    answer.header("x-limit-app-reset").and_then(|it| it.trim().parse::<u64>().ok());
                let wait = reset.map(|it| it.saturating_mul(1_000).saturating_sub(now_ms));
                let wait = answer.retry_after_ms(now_ms).or(wait.map(|it| it.min(LONGEST_WAIT_MS)));
                fault_of_status(Self::TITLE, 429, &said, wait)
            }
            // They ask for at least five seconds.
            status @ 500..=599 => {
                let wait = answer.retry_after_ms(now_ms).unwrap_or(5_000);
                fault_of_status(Self::TITLE, status, &said, Some(wait))
            }
            status @ 200..=299 => {
                let message =
                    format!("{status} is no answer of Pushover ({said}): check `api_url`");
                Fault::config(message, Vec::new())
            }
            status => fault_of_status(Self::TITLE, status, &said, answer.retry_after_ms(now_ms)),
        }
    }

    fn probe(&self) -> Probe {
        let mut body = json!({ "token": self.token, "user": self.user });
        if let Some(device) = &self.device {
            body["device"] = json!(device);
        }
        Probe::Quiet(Request::json("POST", format!("{}/1/users/validate.json", self.url), &body))
    }

    fn probed(&self, _answer: &Answer<'_>) -> Result<String, Fault> {
        Ok("Pushover knows the application and whoever is told; nothing was sent".to_owned())
    }
}
