//! Whether an event source takes events: what people and the daemon may do about it. Pure.
//!
//! A source that somebody blocked stays blocked until somebody says that it is not: neither who may
//! pause and resume it nor the daemon itself changes that.

use serde::{Deserialize, Serialize};

use crate::model::snap_in::SourceStatus;

/// Where a source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it takes events.
    pub status: SourceStatus,
    /// Why it is blocked.
    pub reason: Option<String>,
    /// Who blocked it, when it was not the daemon.
    pub block: Option<Block>,
}

/// That somebody blocked a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Name of the principal.
    pub by: String,
    /// Whether it was paused before, and is to be again.
    pub was_paused: bool,
}

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is to take no events for a while.
    Pause,
    /// It is to take them again.
    Resume,
    /// It is to take none until somebody unblocks it.
    Block {
        /// Why, for whoever wonders.
        reason: String,
        /// Who says so.
        by: String,
    },
    /// It is blocked no more.
    Unblock,
    /// The daemon found that it cannot take events.
    Fail {
        /// What is wrong.
        problem: String,
    },
}

/// Somebody blocked it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event source is blocked by {by}: {reason}; whoever may set its snap-in up can unblock it \
     with event-sources.unblock"
)]
pub struct IsBlocked {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Standing {
    /// Where a new source stands.
    pub fn active() -> Standing {
        Standing { status: SourceStatus::Active, reason: None, block: None }
    }

    fn paused() -> Standing {
        Standing { status: SourceStatus::Paused, ..Standing::active() }
    }
}

/// Where a source stands after a change.
pub fn step(now: &Standing, change: Change) -> Result<Standing, IsBlocked> {
    let blocked = |by: &Block| IsBlocked {
        by: by.by.clone(),
        reason: now.reason.clone().unwrap_or_default(),
    };
    match (change, &now.block) {
        (Change::Pause | Change::Resume, Some(block)) => Err(blocked(block)),
        (Change::Pause, None) => Ok(Standing::paused()),
        (Change::Resume, None) => Ok(Standing::active()),
        (Change::Block { reason, by }, before) => {
            let was_paused = match before {
                Some(before) => before.was_paused,
                None => now.status == SourceStatus::Paused,
            };
            Ok(Standing {
                status: SourceStatus::Blocked,
                reason: Some(reason),
                block: Some(Block { by, was_paused }),
            })
        }
        (Change::Unblock, Some(Block { was_paused: true, by: _ })) => Ok(Standing::paused()),
        (Change::Unblock, Some(Block { was_paused: false, by: _ })) => Ok(Standing::active()),
        (Change::Unblock, None) => Ok(match now.status {
            SourceStatus::Active | SourceStatus::Paused => now.clone(),
            // The daemon did it: it tries again.
            SourceStatus::Blocked => Standing::active(),
        }),
        // What is blocked is not open; this was under way before.
        (Change::Fail { .. }, Some(_)) => Ok(now.clone()),
        (Change::Fail { problem }, None) => {
            Ok(Standing { status: SourceStatus::Blocked, reason: Some(problem), block: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(by: &str, reason: &str) -> Change {
        Change::Block { reason: reason.to_owned(), by: by.to_owned() }
    }

    fn after(start: &Standing, changes: Vec<Change>) -> Standing {
        changes.into_iter().fold(start.clone(), |now, change| step(&now, change).expect("allowed"))
    }

    #[test]
    fn a_blocked_source_is_resumed_by_nobody() {
        let now = after(&Standing::active(), vec![blocked("token:a", "too much")]);
        assert_eq!((now.status, now.reason.as_deref()), (SourceStatus::Blocked, Some("too much")));
        for change in [Change::Resume, Change::Pause] {
            let refused = step(&now, change).expect_err("it is blocked").to_string();
            assert!(refused.contains("blocked by token:a: too much"), "{refused}");
        }
        let failed = after(&now, vec![Change::Fail { problem: "no policy".to_owned() }]);
        assert_eq!(failed, now, "the reason stays");
        assert_eq!(after(&now, vec![Change::Unblock]), Standing::active());
    }

    #[test]
    fn what_was_paused_is_paused_again() {
        let paused = after(&Standing::active(), vec![Change::Pause]);
        let changes = vec![blocked("a", "one"), blocked("b", "two")];
        let now = after(&paused, changes);
        assert_eq!(now.reason.as_deref(), Some("two"));
        assert_eq!(after(&now, vec![Change::Unblock]), paused);
        assert_eq!(after(&paused, vec![Change::Unblock]), paused, "it was not blocked");
        assert_eq!(after(&paused, vec![Change::Resume]), Standing::active());
    }

    #[test]
    fn what_the_daemon_blocked_can_be_tried_again() {
        let failed =
            after(&Standing::active(), vec![Change::Fail { problem: "no policy".to_owned() }]);
        assert_eq!((failed.status, failed.block.is_none()), (SourceStatus::Blocked, true));
        for change in [Change::Resume, Change::Unblock] {
            assert_eq!(after(&failed, vec![change]), Standing::active());
        }
    }
}
