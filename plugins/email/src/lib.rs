//! The sink type `email`: messages as mails, by way of a mail server.
//!
//! The whole mail is written here, and the daemon hands it to the server. Its Message-ID is made of the
//! delivery's id, so that whoever gets it twice, because an answer was lost, can tell. This crate does no
//! I/O and keeps nothing.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what is configured, and all that is wrong with it |
//! | `mail` | a message as a mail, with a plain and an HTML part |
//! | `sink` | a call in, an answer out; what answers of mail servers mean |

mod config;
mod mail;
mod sink;
#[cfg(test)]
mod sink_tests;

use mortise_plugin::{Descriptor, Fault, Host, Plugin, Sink, TypeDescriptor};
use serde_json::Value;

/// The name of the sink type.
pub const KIND: &str = "email";

/// The plugin.
pub struct Email;

impl Plugin for Email {
    fn descriptor() -> Descriptor {
        Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sources: Vec::new(),
            sinks: vec![TypeDescriptor {
                name: KIND.to_owned(),
                title: "Email".to_owned(),
                description:
                    "Sends mails by way of a mail server. What belongs to one piece of work is \
                              one thread."
                        .to_owned(),
                config_schema: config::schema(),
                threads: true,
                ..TypeDescriptor::default()
            }],
        }
    }

    fn open_sink(kind: &str, config: Value, _host: Host) -> Result<Box<dyn Sink>, Fault> {
        if kind != KIND {
            return Err(Fault::no_sink_type(kind));
        }
        Ok(Box::new(config::open(config)?))
    }
}

mortise_plugin::export_plugin!(Email);
