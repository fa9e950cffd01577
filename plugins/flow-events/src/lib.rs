//! The source type `flow-events`: what a snap-in publishes to itself, at once or scheduled for later.
//!
//! When it is due is the daemon's business; this crate gives what is published its event type and
//! refuses what is no JSON. It takes no requests, and its configuration is empty. Must never change
//! a payload.

use mortise_plugin::{
    Event, Fault, Host, Payload, Problem, Source, SourceCall, SourceInput, SourceOutput,
    TypeDescriptor,
};
use serde_json::{Value, json};

/// The name of the source type.
pub const KIND: &str = "flow-events";

/// What automations listen for is this and the event type as it was published.
const PREFIX: &str = "custom:";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Scheduled events".to_owned(),
        description: "Events that a snap-in schedules for itself, or publishes at once.".to_owned(),
        config_schema: json!({ "type": "object", "properties": {}, "examples": [{}] }),
        takes_scheduled: true,
        ..TypeDescriptor::default()
    }
}

fn open(config: Value, _host: Host) -> Result<Scheduled, Fault> {
    if !matches!(config, Value::Object(_) | Value::Null) {
        let problem = Problem::at("", "must be empty, or an object");
        return Err(Fault::config("the configuration is wrong", vec![problem]));
    }
    Ok(Scheduled { warnings: Problem::unknown_keys(&config, "", &[]) })
}

/// One configured source.
struct Scheduled {
    /// Of keys of its configuration, all of which are ignored.
    warnings: Vec<Problem>,
}

impl Source for Scheduled {
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
        match call.input {
            SourceInput::Check {} => {
                let problems = self.warnings.clone();
                Ok(SourceOutput { problems, ..SourceOutput::default() })
            }
            SourceInput::Published { event_type } => published(&event_type, body),
            SourceInput::Http(_)
            | SourceInput::Mail(_)
            | SourceInput::Tick(_)
            | SourceInput::Object(_)
            | SourceInput::Poll(_)
            | SourceInput::Response { .. } => {
                Err(Fault::unsupported("it takes published and scheduled events only"))
            }
        }
    }
}

fn published(event_type: &str, body: &[u8]) -> Result<SourceOutput, Fault> {
    let name = event_type.strip_prefix(PREFIX).unwrap_or(event_type);
    if name.is_empty() {
        let message = format!("the event type is empty; give a name, with or without `{PREFIX}`");
        return Err(Fault::permanent(message));
    }
    // What is skipped is not looked at for UTF-8.
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Fault::permanent("the payload is no JSON: it is not UTF-8"));
    };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(Fault::permanent(format!("the payload is no JSON: {error}")));
    }
    let event = Event {
        event_type: format!("{PREFIX}{name}"),
        payload: Payload::Input,
        dedup_key: None,
        sync_id: None,
    };
    Ok(SourceOutput { events: vec![event], ..SourceOutput::default() })
}

mortise_plugin::export_type!(source FlowEvents, describe, open);

#[cfg(test)]
mod tests {
    use mortise_plugin::{FaultKind, Plugin, Tick};

    use super::*;

    fn open(config: Value) -> Result<Box<dyn Source>, Fault> {
        FlowEvents::open_source(KIND, config, Host::silent())
    }

    fn call(source: &dyn Source, input: SourceInput, body: &[u8]) -> Result<SourceOutput, Fault> {
        source.call(SourceCall::new(1_000, 1_000, input), body)
    }

    fn publish(event_type: &str, body: &[u8]) -> Result<SourceOutput, Fault> {
        let event_type = event_type.to_owned();
        call(open(json!({})).unwrap().as_ref(), SourceInput::Published { event_type }, body)
    }

    #[test]
    fn what_is_published_gets_its_prefix_once() {
        for name in ["wake-up", "custom:wake-up"] {
            let output = publish(name, b"{ \"a\": 1 }").unwrap();
            let event = Event {
                event_type: "custom:wake-up".to_owned(),
                payload: Payload::Input,
                dedup_key: None,
                sync_id: None,
            };
            assert_eq!(output, SourceOutput { events: vec![event], ..SourceOutput::default() });
        }
        assert_eq!(publish("a:b", b"1").unwrap().events[0].event_type, "custom:a:b");
        let twice = publish("custom:custom:a", b"1").unwrap();
        assert_eq!(twice.events[0].event_type, "custom:custom:a");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (name, body, says) in [
            ("", &b"{}"[..], "the event type is empty"),
            ("custom:", b"{}", "the event type is empty"),
            ("a", b"{", "the payload is no JSON: EOF"),
            ("a", b"", "the payload is no JSON: EOF"),
            ("a", b"{} {}", "the payload is no JSON: trailing"),
            ("a", b"\"\xff\"", "the payload is no JSON"),
        ] {
            let fault = publish(name, body).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Permanent);
            assert!(fault.message.starts_with(says), "{fault}");
        }
        let source = open(Value::Null).unwrap();
        let tick = SourceInput::Tick(Tick { due_ms: 1, last_ms: None, cursor: None });
        let fault = call(source.as_ref(), tick, b"").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unsupported);
    }

    #[test]
    fn settings_are_ignored_with_a_word() {
        let source = open(json!({ "a": 1, "b": 2 })).unwrap();
        let output = call(source.as_ref(), SourceInput::Check {}, b"").unwrap();
        let paths: Vec<_> = output.problems.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["a", "b"]);
        assert_eq!(open(json!([])).err().unwrap().kind, FaultKind::Config);
    }
}
