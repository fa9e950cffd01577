//! The source type `poll`: asks an HTTP server at an interval, and emits what is new once.
//!
//! The daemon wakes it, fetches what it asks for through the guarded egress, and stores its events,
//! its next time and what it remembers in one transaction. This crate does no I/O, reads no clock
//! and keeps nothing but that memory. What servers send is the work of strangers: it is bounded
//! before it is read, and no part of it and nothing of the configuration gets into the log.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what is configured, and all that is wrong with it |
//! | `template` | the request, with the cursor in its place |
//! | `source` | a call in, an answer out |
//! | `memory` | what is kept between polls, and which items are new |
//! | `backoff` | what a failure means, and when the next try is |
//! | `charset` | bytes to text, and what kind of text it is |
//! | `json` | JSON to items, by jq |
//! | `feed` | RSS and Atom to items |

mod backoff;
mod charset;
mod config;
mod feed;
mod json;
mod memory;
mod source;
mod template;

use mortise_plugin::TypeDescriptor;

/// The name of the source type.
pub const KIND: &str = "poll";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Poll".to_owned(),
        description: "Asks a URL at an interval; what is new there becomes events: JSON, \
                              RSS, Atom or text."
            .to_owned(),
        config_schema: config::schema(),
        takes_ticks: true,
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(source Poll, describe, |config, _host| config::open(config));
