//! One type per way in which a plugin can go wrong, and one that behaves.
//!
//! What hangs ends by itself after [`HANG`], so that no test process lives for ever.

use std::time::Duration;

use mortise_plugin::{
    Act, Descriptor, Effect, EffectOutcome, Event, Fault, Host, HttpEffect, HttpResponse, LogLevel,
    Payload, Plugin, Problem, Refusal, ResponseBody, Source, SourceCall, SourceInput, SourceOutput,
    TypeDescriptor,
};
use serde_json::{Value, json};

/// How long a hanging call hangs unless its config names another time.
const HANG: Duration = Duration::from_secs(20);

pub struct Misbehaving;

const TYPES: [&str; 12] = [
    "test-echo",
    "test-panics",
    "test-panics-at-open",
    "test-panics-at-stop",
    "test-hangs",
    "test-hangs-at-open",
    "test-bad-answer",
    "test-huge-answer",
    "test-wants-http",
    "test-wants-http-for-ever",
    "test-refuses",
    "test-choosy",
];

struct Instance {
    kind: String,
    config: Value,
    host: Host,
}

impl Instance {
    fn hang(&self) {
        let time = match self.config["hang_ms"].as_u64() {
            Some(millis) => Duration::from_millis(millis),
            None => HANG,
        };
        std::thread::sleep(time);
    }
}

fn text(status: u16, text: String) -> SourceOutput {
    let body = ResponseBody::Text(text);
    SourceOutput {
        response: Some(HttpResponse { status, headers: Vec::new(), body }),
        ..SourceOutput::default()
    }
}

fn ask(url: &str, round: u64, body: &[u8]) -> SourceOutput {
    let http = HttpEffect {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Some(0),
    };
    SourceOutput {
        effect: Some(Effect { state: json!(round), timeout_ms: 1000, act: Act::Http(http) }),
        bodies: vec![body.to_vec()],
        ..SourceOutput::default()
    }
}

/// What is published here is taken, or not, as its event type says.
fn choose(event_type: String) -> Result<SourceOutput, Fault> {
    match event_type.as_str() {
        "custom:refused" => Ok(SourceOutput {
            refused: Some(Refusal {
                reason: "unwanted".to_owned(),
                message: "nobody wants this".to_owned(),
            }),
            ..SourceOutput::default()
        }),
        "custom:never" => Err(Fault::permanent("this is never taken")),
        "custom:nothing" => Ok(SourceOutput::default()),
        _ => Ok(SourceOutput {
            events: vec![Event {
                event_type,
                payload: Payload::Input,
                dedup_key: None,
                sync_id: None,
            }],
            ..SourceOutput::default()
        }),
    }
}

impl Source for Instance {
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
        if let SourceInput::Check {} = call.input {
            return Ok(SourceOutput {
                problems: vec![Problem {
                    path: "note".to_owned(),
                    message: "questionable".to_owned(),
                    location: None,
                }],
                ..SourceOutput::default()
            });
        }
        match self.kind.as_str() {
            "test-echo" => {
                self.host.log(LogLevel::Info, "echoing");
                Ok(SourceOutput {
                    events: vec![Event {
                        event_type: "test.echo".to_owned(),
                        payload: Payload::Body(0),
                        dedup_key: None,
                        sync_id: None,
                    }],
                    bodies: vec![body.to_vec()],
                    ..text(200, self.config.to_string())
                })
            }
            "test-panics" => panic!("call number {}", call.now_ms),
            "test-panics-at-stop" => Ok(text(200, "fine".to_owned())),
            "test-hangs" => {
                // An empty body is how the test asks for a good answer of the same instance.
                if !body.is_empty() {
                    self.hang();
                }
                Ok(text(200, "at last".to_owned()))
            }
            // Valid for the document, not for the contract: refers to a body that is not there.
            "test-bad-answer" => Ok(SourceOutput {
                events: vec![Event {
                    event_type: "test.bad".to_owned(),
                    payload: Payload::Body(7),
                    dedup_key: None,
                    sync_id: None,
                }],
                ..SourceOutput::default()
            }),
            "test-huge-answer" => {
                Ok(SourceOutput { bodies: vec![vec![b'x'; 4 << 20]], ..SourceOutput::default() })
            }
            "test-wants-http" => match call.input {
                SourceInput::Response { state, outcome } => {
                    let outcome = match outcome {
                        EffectOutcome::Http { status, .. } => status.to_string(),
                        EffectOutcome::Failed { message, .. } => message,
                        EffectOutcome::Smtp(_) | EffectOutcome::Exec { .. } => "another".to_owned(),
                    };
                    let body = String::from_utf8_lossy(body);
                    Ok(text(200, format!("{state} {outcome} {body}")))
                }
                _ => Ok(ask("https://example.org/", 1, body)),
            },
            "test-choosy" => match call.input {
                SourceInput::Published { event_type } => choose(event_type),
                _ => Ok(SourceOutput::default()),
            },
            "test-wants-http-for-ever" => Ok(ask("https://example.org/", call.now_ms, body)),
            other => Err(Fault::unsupported(format!("no type `{other}`"))),
        }
    }

    fn stop(&self) {
        self.host.log(LogLevel::Info, "stopping");
        assert!(self.kind != "test-panics-at-stop", "stop");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        assert!(self.kind != "test-panics-at-stop", "drop");
    }
}

impl Plugin for Misbehaving {
    fn descriptor() -> Descriptor {
        let describe = |name: &str| TypeDescriptor {
            name: name.to_owned(),
            title: name.to_owned(),
            config_schema: json!({
                "type": "object",
                "properties": {
                    "hang_ms": { "type": "integer", "maximum": 20000 },
                    "note": { "type": "string" },
                },
                "additionalProperties": false,
            }),
            takes_http: true,
            takes_scheduled: name == "test-choosy",
            ..TypeDescriptor::default()
        };
        Descriptor {
            name: "misbehaving".to_owned(),
            version: "1.0.0".to_owned(),
            sources: TYPES.map(describe).into(),
            sinks: Vec::new(),
        }
    }

    fn open_source(kind: &str, config: Value, host: Host) -> Result<Box<dyn Source>, Fault> {
        let instance = Instance { kind: kind.to_owned(), config, host };
        match kind {
            "test-panics-at-open" => panic!("cannot open"),
            "test-hangs-at-open" => instance.hang(),
            "test-refuses" => {
                let problem = |path: &str| Problem {
                    path: path.to_owned(),
                    message: "must be something else".to_owned(),
                    location: None,
                };
                let problems = vec![problem("note"), problem("hang_ms")];
                return Err(Fault::config("the configuration is wrong", problems));
            }
            _ => {}
        }
        Ok(Box::new(instance))
    }
}

mortise_plugin::export_plugin!(Misbehaving);
