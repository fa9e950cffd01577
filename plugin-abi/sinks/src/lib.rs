//! What sinks have in common: answers of services, waits, lengths and plain texts. Pure.
//!
//! For the plugins of this repository and for whoever writes one; a plugin needs none of it.
//!
//! | module | owns |
//! |---|---|
//! | `answer` | what came of an HTTP effect, and what a status means when the service says no more |
//! | `config` | reading a configuration, with all that is wrong with it |
//! | `text` | texts that fit, and messages as plain text |
//! | `wait` | how long a service wants to be left alone |
//! | `testing` | plain calls of a sink, for tests |

#![warn(missing_docs)]

mod answer;
mod config;
pub mod testing;
mod text;
mod wait;

pub use answer::{Answer, fault_of_status, http_answer, post_json};
pub use config::{check_url, read_config, wrong};
pub use text::{clean, encoded, field_lines, one_line, plain, shortened, shortened_to_bytes};
pub use wait::{LONGEST_WAIT_MS, retry_after_ms, seconds_ms};

use mortise_plugin::{Message, MessageLevel};

/// What is sent to show that a connection works, where a service offers no other way.
pub fn test_message() -> Message {
    Message {
        title: "Mortise can reach you here".to_owned(),
        text: "Somebody tested this integration. Nothing is to be done.".to_owned(),
        level: MessageLevel::Info,
        ..Message::default()
    }
}

/// A sign of how bad it is, which every font has.
pub fn level_sign(level: MessageLevel) -> &'static str {
    match level {
        MessageLevel::Info => "\u{2139}\u{fe0f}",
        MessageLevel::Success => "\u{2705}",
        MessageLevel::Warning => "\u{26a0}\u{fe0f}",
        MessageLevel::Error => "\u{1f534}",
    }
}
