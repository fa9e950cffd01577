//! Source types that have no plugin yet. They take any config and what is published by hand, so that
//! snap-ins which need them can be installed, activated and run. Must never claim a type that a
//! shipped plugin has: take it out of [`TYPES`] when there is one.

use mortise_plugin::{
    Descriptor, Event, Fault, FaultKind, Host, Payload, Plugin, Source, SourceCall, SourceInput,
    SourceOutput, TypeDescriptor,
};
use serde_json::{Value, json};

/// The types.
pub const TYPES: [&str; 1] = ["email-forward"];

pub struct StandIns;

struct StandIn;

impl Source for StandIn {
    fn call(&self, call: SourceCall, _body: &[u8]) -> Result<SourceOutput, Fault> {
        match call.input {
            SourceInput::Check {} => Ok(SourceOutput::default()),
            SourceInput::Published { event_type } => Ok(SourceOutput {
                events: vec![Event {
                    event_type,
                    payload: Payload::Input,
                    dedup_key: None,
                    sync_id: None,
                }],
                ..SourceOutput::default()
            }),
            _ => Err(Fault::new(FaultKind::Unsupported, "a stand-in takes what is published")),
        }
    }
}

fn describe(name: &str) -> TypeDescriptor {
    TypeDescriptor {
        name: name.to_owned(),
        title: name.to_owned(),
        config_schema: json!({ "type": "object" }),
        takes_scheduled: name == "flow-events",
        ..TypeDescriptor::default()
    }
}

impl Plugin for StandIns {
    fn descriptor() -> Descriptor {
        Descriptor {
            name: "stand-ins".to_owned(),
            version: "1.0.0".to_owned(),
            sources: TYPES.into_iter().map(describe).collect(),
            sinks: Vec::new(),
        }
    }

    fn open_source(_kind: &str, _config: Value, _host: Host) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(StandIn))
    }
}

mortise_plugin::export_plugin!(StandIns);
