//! All that the author of a Mortise plugin depends on.
//!
//! A plugin is one shared library that adds source types and sink types to the daemon. Its author
//! writes ordinary Rust: a type that implements [`Plugin`], instances that implement [`Source`] or
//! [`Sink`], and one line, `export_plugin!` (or `export_type!`, if it adds but one type). **Plugins
//! decide, the daemon acts**: a plugin is handed documents (a request, a mail, a due time) and answers
//! with documents (events, a response, an effect that it wants performed). It opens no ports, keeps no
//! clock and stores nothing.
//!
//! What crosses the boundary is versioned JSON with raw bodies beside it; [`ffi_v1`] is the only
//! file that knows the binary layout, and it never grows. Unknown fields of a document are ignored,
//! new fields have defaults, so that old plugins work in new daemons and the other way round.
//!
//! The contract, checked by the contract tests of the daemon:
//! - Calls are synchronous and come from any thread, several at once on one instance. Only calls
//!   that carry a cursor ([`SourceInput::Tick`], [`SourceInput::Poll`]) are serialised per source.
//! - Every call has a deadline. A call that overruns it is abandoned and its instance is marked
//!   stuck: nothing can stop a thread from outside.
//! - A panic is caught and becomes a fault of that call alone.
//! - No global state that an answer depends on (a bounded cache is none), no panic hook, no logger, no
//!   signal handlers. Log with [`Host::log`].
//! - A library is never unloaded: a new version of a plugin is picked up when the daemon restarts.
//!
//! # A complete plugin
//!
//! `Cargo.toml`: `crate-type = ["cdylib", "rlib"]`, dependencies `mortise-plugin` and `serde_json`.
//!
//! ```
//! use mortise_plugin::{
//!     Descriptor, Event, Fault, Host, Payload, Plugin, Problem, Source, SourceCall, SourceInput,
//!     SourceOutput, TypeDescriptor,
//! };
//! use serde_json::{Value, json};
//!
//! /// Every request becomes an event of one configured type.
//! struct Doorbell {
//!     event_type: String,
//! }
//!
//! impl Source for Doorbell {
//!     fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
//!         match call.input {
//!             SourceInput::Check {} => Ok(SourceOutput::default()),
//!             SourceInput::Http(request) => {
//!                 let payload = json!({ "from": request.peer, "bytes": body.len() });
//!                 Ok(SourceOutput {
//!                     events: vec![Event {
//!                         event_type: self.event_type.clone(),
//!                         payload: Payload::Json(payload),
//!                         dedup_key: None,
//!                         sync_id: None,
//!                     }],
//!                     ..SourceOutput::default()
//!                 })
//!             }
//!             _ => Err(Fault::unsupported("a doorbell takes requests only")),
//!         }
//!     }
//! }
//!
//! struct Doorbells;
//!
//! impl Plugin for Doorbells {
//!     fn descriptor() -> Descriptor {
//!         Descriptor {
//!             name: "doorbell".to_owned(),
//!             version: "1.0.0".to_owned(),
//!             sources: vec![TypeDescriptor {
//!                 name: "doorbell".to_owned(),
//!                 title: "Doorbell".to_owned(),
//!                 description: "Turns each request into an event.".to_owned(),
//!                 config_schema: json!({
//!                     "type": "object",
//!                     "properties": { "event_type": { "type": "string" } },
//!                     "required": ["event_type"],
//!                     "additionalProperties": false,
//!                     "examples": [{ "event_type": "custom:ring" }]
//!                 }),
//!                 takes_http: true,
//!                 ..TypeDescriptor::default()
//!             }],
//!             sinks: vec![],
//!         }
//!     }
//!
//!     fn open_source(kind: &str, config: Value, _host: Host) -> Result<Box<dyn Source>, Fault> {
//!         match (kind, config["event_type"].as_str()) {
//!             ("doorbell", Some(name)) if name.starts_with("custom:") => {
//!                 Ok(Box::new(Doorbell { event_type: name.to_owned() }))
//!             }
//!             ("doorbell", _) => Err(Fault::config(
//!                 "the configuration is wrong",
//!                 vec![Problem {
//!                     path: "event_type".to_owned(),
//!                     message: "must start with `custom:`".to_owned(),
//!                     location: None,
//!                 }],
//!             )),
//!             (other, _) => Err(Fault::unsupported(format!("no source type `{other}`"))),
//!         }
//!     }
//! }
//!
//! mortise_plugin::export_plugin!(Doorbells);
//!
//! // A plain call tests it, without a daemon.
//! let config = json!({ "event_type": "custom:ring" });
//! let source = Doorbells::open_source("doorbell", config, Host::silent()).unwrap();
//! let request = serde_json::from_value(json!({ "method": "POST", "peer": "192.0.2.1" })).unwrap();
//! let call = SourceCall::new(0, 1000, SourceInput::Http(request));
//! let output = source.call(call, b"ding").unwrap();
//! assert_eq!(output.events[0].event_type, "custom:ring");
//! ```
//!
//! # A complete sink
//!
//! ```
//! use mortise_plugin::{
//!     Act, Descriptor, Effect, EffectOutcome, Fault, Host, HttpEffect, Plugin, Problem, Receipt, Sink,
//!     SinkCall, SinkInput, SinkOutput, TypeDescriptor,
//! };
//! use serde_json::{Value, json};
//!
//! /// Rings a bell over HTTP.
//! struct Bell {
//!     url: String,
//!     token: String,
//! }
//!
//! impl Bell {
//!     fn ring(&self, text: &str) -> SinkOutput {
//!         let http = HttpEffect {
//!             method: "POST".to_owned(),
//!             url: self.url.clone(),
//!             headers: vec![("authorization".to_owned(), format!("Bearer {}", self.token))],
//!             body: Some(0),
//!         };
//!         let effect = Effect { state: Value::Null, timeout_ms: 5_000, act: Act::Http(http) };
//!         SinkOutput::ask(effect, Some(text.as_bytes().to_vec()))
//!     }
//! }
//!
//! impl Sink for Bell {
//!     fn call(&self, call: SinkCall, body: &[u8]) -> Result<SinkOutput, Fault> {
//!         match call.input {
//!             SinkInput::Check {} => Ok(SinkOutput::default()),
//!             SinkInput::Deliver(delivery) => Ok(self.ring(&delivery.message.title)),
//!             SinkInput::Test {} => Ok(self.ring("a test")),
//!             SinkInput::Response { outcome, .. } => match outcome {
//!                 EffectOutcome::Http { status: 200..=299, .. } => {
//!                     let id = String::from_utf8_lossy(body).into_owned();
//!                     Ok(SinkOutput::done(Receipt { message_id: Some(id), thread: None }))
//!                 }
//!                 EffectOutcome::Http { status: 401 | 403, .. } => {
//!                     Err(Fault::config("the bell does not take the token", Vec::new()))
//!                 }
//!                 EffectOutcome::Http { status: 429 | 500..=599, .. } => {
//!                     Err(Fault::transient("the bell is busy").not_before(Some(60_000)))
//!                 }
//!                 EffectOutcome::Failed { message, transient: true } => Err(Fault::transient(message)),
//!                 _ => Err(Fault::permanent("the bell does not ring for this")),
//!             },
//!         }
//!     }
//! }
//!
//! struct Bells;
//!
//! impl Plugin for Bells {
//!     fn descriptor() -> Descriptor {
//!         Descriptor {
//!             name: "bells".to_owned(),
//!             version: "1.0.0".to_owned(),
//!             sources: vec![],
//!             sinks: vec![TypeDescriptor {
//!                 name: "bell".to_owned(),
//!                 title: "Bell".to_owned(),
//!                 description: "Rings a bell.".to_owned(),
//!                 config_schema: json!({
//!                     "type": "object",
//!                     "properties": {
//!                         "url": { "type": "string", "title": "Where the bell is" },
//!                         "token": { "type": "string", "title": "Token", "writeOnly": true }
//!                     },
//!                     "required": ["url", "token"],
//!                     "examples": [{ "url": "https://bell.example.com/", "token": "example" }]
//!                 }),
//!                 ..TypeDescriptor::default()
//!             }],
//!         }
//!     }
//!
//!     fn open_sink(_kind: &str, config: Value, _host: Host) -> Result<Box<dyn Sink>, Fault> {
//!         match (config["url"].as_str(), config["token"].as_str()) {
//!             (Some(url), Some(token)) if url.starts_with("https://") => {
//!                 Ok(Box::new(Bell { url: url.to_owned(), token: token.to_owned() }))
//!             }
//!             _ => Err(Fault::config(
//!                 "the configuration is wrong",
//!                 vec![Problem::at("url", "must begin with https://")],
//!             )),
//!         }
//!     }
//! }
//! # // The doc tests of a crate are one program, and it has a plugin already.
//! # let config = json!({ "url": "https://bell.example.com/", "token": "secret" });
//! # let bell = Bells::open_sink("bell", config, Host::silent()).unwrap();
//! # let input = SinkInput::Test {};
//! # let output = bell.call(SinkCall { now_ms: 0, deadline_ms: 1000, input }, b"").unwrap();
//! # assert_eq!(output.bodies[0], b"a test");
//! ```

#![warn(missing_docs)]

mod descriptor;
mod effect;
mod export;
mod fault;
pub mod ffi_v1;
pub mod reference;
mod sink;
mod source;

pub use descriptor::{Descriptor, TypeDescriptor};
pub use effect::{
    Act, Effect, EffectOutcome, ExecEffect, ExecEnd, HttpEffect, SmtpEffect, SmtpEncryption,
    SmtpLogin, SmtpOutcome, SmtpRefusal, SmtpStage,
};
#[doc(hidden)]
pub use export::glue;
pub use fault::{Fault, FaultKind, Location, Problem};
pub use sink::{Delivery, Message, MessageLevel, Receipt, SinkCall, SinkInput, SinkOutput};
pub use source::{
    Change, Event, HttpRequest, HttpResponse, LogLine, MailInput, Payload, Poll, Refusal,
    ResponseBody, SourceCall, SourceIds, SourceInput, SourceOutput, Tick,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a library offers. Implemented once per plugin, on a type that carries no data.
pub trait Plugin {
    /// Name, version and types of this library. Called once, when the library is loaded.
    fn descriptor() -> Descriptor;

    /// Compiles `config` into a source of type `kind`, one of the names in the descriptor.
    ///
    /// The daemon has checked `config` against the type's schema. What the schema cannot say (a
    /// policy that does not compile, a cron line that is no cron line) is refused here with a
    /// fault of kind [`FaultKind::Config`] that lists every problem with line and column.
    fn open_source(kind: &str, config: Value, host: Host) -> Result<Box<dyn Source>, Fault> {
        let _ = (config, host);
        Err(Fault::no_source_type(kind))
    }

    /// Compiles `config` into a sink of type `kind`; the same rules as for sources.
    fn open_sink(kind: &str, config: Value, host: Host) -> Result<Box<dyn Sink>, Fault> {
        let _ = (config, host);
        Err(Fault::no_sink_type(kind))
    }
}

/// One configured source. Called from several threads at once.
pub trait Source: Send + Sync {
    /// Turns one input into events. `body` is the raw request body or mail that belongs to it,
    /// empty for inputs that have none.
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault>;

    /// Called once, before the instance is dropped; returns soon and joins the plugin's threads.
    fn stop(&self) {}
}

/// One configured sink. Called from several threads at once.
pub trait Sink: Send + Sync {
    /// Decides what is to be done for one delivery, and reads the outcome of that effect.
    fn call(&self, call: SinkCall, body: &[u8]) -> Result<SinkOutput, Fault>;

    /// Called once, before the instance is dropped; returns soon and joins the plugin's threads.
    fn stop(&self) {}
}

/// Which kind of instance is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A source of events.
    Source,
    /// A receiver of deliveries.
    Sink,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Normal operation.
    Info,
    /// Somebody should look at it in the morning.
    Warn,
    /// Work was lost or refused.
    Error,
}

type LogFunction = dyn Fn(LogLevel, &str) + Send + Sync;

/// What a plugin may ask of the daemon at any time.
#[derive(Clone)]
pub struct Host {
    log: std::sync::Arc<LogFunction>,
}

impl Host {
    /// A host that hands log lines to `log`; also the way to test a plugin with plain calls.
    pub fn new(log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Host {
        Host { log: std::sync::Arc::new(log) }
    }

    /// A host that drops log lines.
    pub fn silent() -> Host {
        Host::new(|_, _| {})
    }

    /// Writes one line to the log of the source or integration that this instance serves.
    pub fn log(&self, level: LogLevel, message: &str) {
        (self.log)(level, message);
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}
