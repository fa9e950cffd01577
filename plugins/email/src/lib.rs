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

use mortise_plugin::TypeDescriptor;

/// The name of the sink type.
pub const KIND: &str = "email";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Email".to_owned(),
        description: "Sends mails by way of a mail server. What belongs to one piece of work is \
                              one thread."
            .to_owned(),
        config_schema: config::schema(),
        threads: true,
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(sink Email, describe, |config, _host| config::open(config));
