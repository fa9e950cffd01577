//! A well-behaved plugin with one source and one sink, to stand beside another.

use mortise_plugin::{
    Descriptor, Fault, Host, HttpResponse, Plugin, Receipt, ResponseBody, Sink, SinkCall,
    SinkInput, SinkOutput, Source, SourceCall, SourceOutput, TypeDescriptor,
};
use serde_json::{Value, json};

pub struct Second;

struct Answer;

impl Source for Answer {
    fn call(&self, _call: SourceCall, _body: &[u8]) -> Result<SourceOutput, Fault> {
        let body = ResponseBody::Text("second".to_owned());
        Ok(SourceOutput {
            response: Some(HttpResponse { status: 200, headers: Vec::new(), body }),
            ..SourceOutput::default()
        })
    }
}

impl Sink for Answer {
    fn call(&self, call: SinkCall, _body: &[u8]) -> Result<SinkOutput, Fault> {
        match call.input {
            SinkInput::Deliver(delivery) => Ok(SinkOutput {
                receipt: Some(Receipt { message_id: Some(delivery.id), thread: None }),
                ..SinkOutput::default()
            }),
            _ => Ok(SinkOutput::default()),
        }
    }
}

fn describe(name: &str) -> TypeDescriptor {
    TypeDescriptor {
        name: name.to_owned(),
        aliases: vec![format!("{name}-alias")],
        title: name.to_owned(),
        config_schema: json!({ "type": "object" }),
        takes_http: true,
        ..TypeDescriptor::default()
    }
}

impl Plugin for Second {
    fn descriptor() -> Descriptor {
        Descriptor {
            name: "second".to_owned(),
            version: "1.0.0".to_owned(),
            sources: vec![describe("test-second")],
            sinks: vec![describe("test-second")],
        }
    }

    fn open_source(_kind: &str, _config: Value, _host: Host) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Answer))
    }

    fn open_sink(_kind: &str, _config: Value, _host: Host) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Answer))
    }
}

mortise_plugin::export_plugin!(Second);
