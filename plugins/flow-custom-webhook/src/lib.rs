//! The source type `flow-custom-webhook`: a native preset verifies each request, a Rego policy
//! decides about it, or first one and then the other.
//!
//! The policy sees the request (`input.request`) and its parameters (`input.parameters`) and gives
//! `output`: an event to publish, an answer to the caller, or both. It authenticates the caller,
//! answers handshakes and shapes the event, in the language that existing snap-ins use for it. For
//! known senders `verify` does so faster and without a program, on the raw bytes.
//!
//! This crate reads requests, runs policies under limits and checks what they give. It does no
//! I/O, reads no clock and keeps nothing between requests but compiled policies.
//!
//! | module | owns |
//! |---|---|
//! | `config`, `source` | what is configured; one request in, one decision out |
//! | `verify` | requests of known senders, verified and made events without a policy |
//! | `policy`, `lexical`, `check`, `names`, `graph`, `diagnose` | compiling, evaluating, and what is wrong with a policy |
//! | `input`, `output`, `query`, `json`, `render` | documents in and out |
//! | `builtins`, `crypto`, `encoding`, `guards`, `bytes` | functions that policies call |

mod builtins;
mod bytes;
mod check;
mod config;
mod crypto;
mod diagnose;
mod encoding;
mod graph;
mod guards;
mod input;
mod json;
mod lexical;
mod names;
mod output;
mod policy;
mod query;
mod render;
mod source;
mod verify;

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod testing;

use mortise_plugin::TypeDescriptor;

/// The name of the source type.
pub const KIND: &str = "flow-custom-webhook";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Custom webhook".to_owned(),
        description: "A webhook with a URL of its own. Requests of known senders are \
                              verified natively; or a Rego policy authenticates each request and \
                              shapes the event."
            .to_owned(),
        config_schema: config::schema(),
        takes_http: true,
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(source CustomWebhook, describe, |config, host| config::open(&config, host));
