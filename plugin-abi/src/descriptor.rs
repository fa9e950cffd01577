//! What a plugin says about itself when it is loaded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name, version and types of one library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Name of the plugin, for reports; by custom the name of its crate.
    pub name: String,
    /// Version of the plugin, semantic versioning.
    pub version: String,
    /// Source types that it adds.
    #[serde(default)]
    pub sources: Vec<TypeDescriptor>,
    /// Sink types that it adds.
    #[serde(default)]
    pub sinks: Vec<TypeDescriptor>,
}

/// One source type or sink type. What is not said about one is as in the default: nothing that it takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TypeDescriptor {
    /// The `type` that manifests and integrations name, such as `timer-events`.
    pub name: String,
    /// Other names under which the same type is known.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Name for people.
    pub title: String,
    /// One or two sentences for people.
    #[serde(default)]
    pub description: String,
    /// JSON Schema (2020-12) of the type's config. Properties of a sink's that are secrets say
    /// `"writeOnly": true`; the daemon masks them wherever a config is shown. Its `examples` are shown to people, and the
    /// contract tests open an instance with each of them.
    pub config_schema: Value,
    /// Whether the type takes HTTP requests, and therefore gets a trigger URL.
    #[serde(default)]
    pub takes_http: bool,
    /// Whether the type is woken: once when a source is opened, then whenever it asks to be.
    #[serde(default)]
    pub takes_ticks: bool,
    /// Whether the type speaks a protocol of its own and wants a thread for `poll`. No
    /// daemon gives it one yet.
    #[serde(default)]
    pub own_thread: bool,
    /// Whether events can be scheduled at its sources: when one is due, it comes as
    /// [`SourceInput::Published`](crate::SourceInput::Published).
    #[serde(default)]
    pub takes_scheduled: bool,
    /// Where in the config the changes of objects are listed that a source wants: a JSON pointer to
    /// an array of event types such as `work_created`. A source of a type that says so gets each of
    /// them as [`SourceInput::Object`](crate::SourceInput::Object); without, it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_event_types: Option<String>,
    /// Whether a sink of this type can put a message under an earlier one
    /// ([`Delivery::thread`](crate::Delivery::thread)).
    #[serde(default)]
    pub threads: bool,
}
