//! The person on whose order a function runs: who gave a command or pressed a button.

use serde::{Deserialize, Serialize};

use super::id::UserId;

/// Who gave the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// His id, `actor_id` in payloads.
    pub user: UserId,
    /// His name, as principals have it.
    pub name: String,
}
