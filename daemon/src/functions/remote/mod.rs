//! The runtime `remote`: a server of the author's own that takes events by HTTP (spec §2.4, §6.3).
//!
//! Owns what is sent there and what an answer means; pure. The daemon's egress makes the requests
//! (`engine/remote_call.rs`). Must never put more of the URL into a message than scheme, host and
//! port: a path may be what keeps strangers out.
//!
//! ```text
//!   someone waits    POST <url>/handle/sync   event      ◄── {function_result?, error?}
//!   nobody waits     POST <url>/handle/async  [event]    ◄── any 2xx: it has the event
//!   hooks of those   ... and later            ──► POST /internal/snap-ins.system-update
//! ```

mod answer;
mod url;

pub use answer::{handed_over, read_answer};
pub use url::TestingUrl;

/// How an event is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The answer holds what the function returned.
    Sync,
    /// The answer says that the server has the event, and nothing else.
    Async,
}
