//! What happens next, decided without doing it: no clock, no database, no actor, no network.
//!
//! Each file has a state, the events that can happen to it, and one `step` from the two to a next
//! state with effects, or to a refusal that says why. Every case is named.

pub mod attempts;
pub mod delivery;
pub mod hook_answer;
pub mod operation_output;
pub mod run;
pub mod sending;
pub mod snap_in;
pub mod source;
pub mod system_update;
pub mod webhook;
