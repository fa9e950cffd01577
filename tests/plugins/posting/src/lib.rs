//! A sink that posts what it is handed to a URL, with a token, and reads off the answer what became of
//! it. For tests of integrations, which must not depend on what a real service wants.

use mortise_plugin::{
    Act, Descriptor, Effect, EffectOutcome, Fault, FaultKind, Host, HttpEffect, Plugin, Receipt,
    Sink, SinkCall, SinkInput, SinkOutput, TypeDescriptor,
};
use serde_json::{Value, json};

/// Its type.
pub const TYPE: &str = "test-post";

pub struct Posting;

struct Post {
    url: String,
    token: String,
}

impl Post {
    fn ask(&self, kind: &str, document: &Value) -> SinkOutput {
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("authorization".to_owned(), format!("Bearer {}", self.token)),
        ];
        let http =
            HttpEffect { method: "POST".to_owned(), url: self.url.clone(), headers, body: Some(0) };
        let effect = Effect { state: json!(kind), timeout_ms: 5_000, act: Act::Http(http) };
        SinkOutput::ask(effect, Some(document.to_string().into_bytes()))
    }
}

impl Sink for Post {
    fn call(&self, call: SinkCall, body: &[u8]) -> Result<SinkOutput, Fault> {
        let (state, outcome) = match call.input {
            SinkInput::Check {} => return Ok(SinkOutput::default()),
            SinkInput::Test {} => return Ok(self.ask("test", &json!({ "test": true }))),
            SinkInput::Deliver(delivery) => {
                let document = serde_json::to_value(&delivery)
                    .map_err(|error| Fault::permanent(error.to_string()))?;
                return Ok(self.ask("deliver", &document));
            }
            SinkInput::Response { state, outcome } => (state, outcome),
        };
        let (status, headers) = match outcome {
            EffectOutcome::Http { status, headers } => (status, headers),
            EffectOutcome::Failed { message, transient: true } => {
                return Err(Fault::new(FaultKind::Transient, message));
            }
            EffectOutcome::Failed { message, transient: false } => {
                return Err(Fault::permanent(message));
            }
            _ => return Err(Fault::permanent("another outcome than was asked for")),
        };
        let said = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        let answered = format!("the server answered {status}");
        match status {
            200..=299 if state == "test" => Ok(SinkOutput::default()),
            200..=299 => {
                Ok(SinkOutput::done(Receipt { message_id: text("id"), thread: text("thread") }))
            }
            // What it knows is said with the secret in it, which nobody may see.
            401 => {
                Err(Fault::new(FaultKind::Config, format!("the token {} is refused", self.token)))
            }
            429 => {
                let after = headers.iter().find(|(name, _)| name == "retry-after");
                let seconds = after.and_then(|(_, it)| it.parse::<u64>().ok());
                let fault = Fault::new(FaultKind::Transient, answered);
                Err(Fault { retry_after_ms: seconds.map(|it| it * 1_000), ..fault })
            }
            400..=499 => Err(Fault::permanent(answered)),
            _ => Err(Fault::new(FaultKind::Transient, answered)),
        }
    }
}

impl Plugin for Posting {
    fn descriptor() -> Descriptor {
        Descriptor {
            name: "posting".to_owned(),
            version: "1.0.0".to_owned(),
            sources: Vec::new(),
            sinks: vec![TypeDescriptor {
                name: TYPE.to_owned(),
                title: "Post".to_owned(),
                description: "Posts messages as JSON.".to_owned(),
                config_schema: json!({
                    "type": "object",
                    "properties": {
                        "url": { "type": "string" },
                        "token": { "type": "string", "writeOnly": true },
                    },
                    "required": ["url", "token"],
                    "additionalProperties": false,
                    "examples": [{ "url": "http://127.0.0.1:9/", "token": "secret" }],
                }),
                threads: true,
                ..TypeDescriptor::default()
            }],
        }
    }

    fn open_sink(_kind: &str, config: Value, _host: Host) -> Result<Box<dyn Sink>, Fault> {
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
        Ok(Box::new(Post { url: text("url"), token: text("token") }))
    }
}

mortise_plugin::export_plugin!(Posting);
