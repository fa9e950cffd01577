//! Sink types of services that take messages over HTTP, and `http` for any other.
//!
//! Each service is a type of its own, so that its form asks for what it needs and nothing else. All of
//! them are one shell around a [`service::Service`], which says what is asked for and what an answer
//! means. This crate does no I/O and keeps nothing.
//!
//! | module | owns |
//! |---|---|
//! | `service` | what a service has to say, and the sink that it makes |
//! | `services` | the services, a file each |
//! | `custom` | `http`: a request by template |
//! | `template` | tokens in texts and JSON |
//! | `signing` | signatures over a body |

mod custom;
mod service;
mod services;
#[cfg(test)]
mod services_tests;
mod signing;
mod template;

use mortise_plugin::{Descriptor, Fault, Host, Plugin, Sink};
use serde_json::Value;

/// The plugin.
pub struct Http;

impl Plugin for Http {
    fn descriptor() -> Descriptor {
        Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sources: Vec::new(),
            sinks: services::ALL.iter().map(|it| (it.describe)()).collect(),
        }
    }

    fn open_sink(kind: &str, config: Value, _host: Host) -> Result<Box<dyn Sink>, Fault> {
        let found = services::ALL.iter().find(|it| it.kind == kind);
        let found = found.ok_or_else(|| Fault::no_sink_type(kind))?;
        (found.open)(config)
    }
}

mortise_plugin::export_plugin!(Http);
