//! The source type `object-events`: changes of objects become events, if a jq filter lets them.
//!
//! The daemon calls with each change of the types that the configuration lists, and with the JSON of
//! that change as the body. This crate runs the filter; what passes is published as it came, byte for
//! byte. It does no I/O and keeps nothing that it cannot do without.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what is configured, and all that is wrong with it |
//! | `filter` | filters that sources share: compiled once, evaluated once for each change |
//! | `source` | a call in, an answer out |

mod config;
mod filter;
mod source;

use mortise_plugin::TypeDescriptor;

/// The name of the source type.
pub const KIND: &str = "object-events";
/// What manifests of other platforms call it.
pub const ALIAS: &str = "devrev-webhook";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        aliases: vec![ALIAS.to_owned()],
        title: "Changes of objects".to_owned(),
        description: "Events when objects are created, updated or deleted.".to_owned(),
        config_schema: config::schema(),
        object_event_types: Some("/event_types".to_owned()),
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(source ObjectEvents, describe, |config, _host| config::open(config));
