//! Claims a type name that `second` has already, by its alias.

use mortise_plugin::{Descriptor, Plugin, TypeDescriptor};
use serde_json::json;

struct Clashing;

impl Plugin for Clashing {
    fn descriptor() -> Descriptor {
        Descriptor {
            name: "clashing".to_owned(),
            version: "1.0.0".to_owned(),
            sources: vec![TypeDescriptor {
                name: "test-second-alias".to_owned(),
                title: "Clashing".to_owned(),
                config_schema: json!(true),
                ..TypeDescriptor::default()
            }],
            sinks: Vec::new(),
        }
    }
}

mortise_plugin::export_plugin!(Clashing);
