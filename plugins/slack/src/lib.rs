//! The sink type `slack`: messages to a channel by a bot, with threads.
//!
//! Each delivery is one call of `chat.postMessage`, made by the daemon. This crate does no I/O and keeps
//! nothing: what a second call needs travels with the first. The token goes into a header and nowhere
//! else.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what is configured, and all that is wrong with it |
//! | `blocks` | a message as Block Kit, within its limits |
//! | `errors` | what each error of Slack means |
//! | `sink` | a call in, an answer out |

mod blocks;
mod config;
mod errors;
mod sink;
#[cfg(test)]
mod sink_tests;

use mortise_plugin::TypeDescriptor;

/// The name of the sink type.
pub const KIND: &str = "slack";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Slack".to_owned(),
        description: "Posts messages to a channel of Slack as a bot. What belongs to one piece \
                              of work is one thread."
            .to_owned(),
        config_schema: config::schema(),
        threads: true,
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(sink Slack, describe, |config, _host| config::open(config));
