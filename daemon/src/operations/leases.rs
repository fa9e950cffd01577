//! Leases: at most one change of a snap-in's configuration at a time.
//!
//! A change may wait for hooks of the snap-in, so it cannot happen in the actor's mailbox. A hook
//! that tries to change what it is asked about would wait for itself: it is told so instead.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::OperationError;
use crate::model::id::{RunId, SnapInId};

/// How long a change waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The leases of all snap-ins.
pub(super) struct Leases {
    patience: Duration,
    places: Mutex<HashMap<SnapInId, Arc<Place>>>,
}

#[derive(Default)]
struct Place {
    taken: Arc<tokio::sync::Mutex<()>>,
    /// The hooks that whoever has it waits for.
    hooks: Mutex<HashSet<RunId>>,
}

/// The right to change one snap-in's configuration; given back when it is dropped.
pub(super) struct Lease {
    place: Arc<Place>,
    _guard: OwnedMutexGuard<()>,
}

impl Default for Leases {
    fn default() -> Leases {
        Leases { patience: PATIENCE, places: Mutex::default() }
    }
}

impl Leases {
    /// Waits for its turn, on behalf of the run that asks, if one does.
    pub(super) async fn take(
        &self,
        id: SnapInId,
        asking: Option<RunId>,
    ) -> Result<Lease, OperationError> {
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.retain(|other, it| *other == id || Arc::strong_count(it) > 1);
            places.entry(id).or_default().clone()
        };
        if let Some(run) = asking
            && place.hooks.lock().unwrap_or_else(PoisonError::into_inner).contains(&run)
        {
            return Err(OperationError::OwnHook);
        }
        let taken = tokio::time::timeout(self.patience, place.taken.clone().lock_owned()).await;
        let guard = taken.map_err(|_| OperationError::Busy)?;
        Ok(Lease { place, _guard: guard })
    }
}

impl Lease {
    /// From now on, that run is a hook that this change waits for.
    pub(super) fn runs_hook(&self, run: RunId) {
        self.place.hooks.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.place.hooks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_no_hook_waits_for_itself() {
        let leases = Leases { patience: Duration::from_millis(20), ..Leases::default() };
        let (this, other) = (SnapInId(1), SnapInId(2));
        let held = leases.take(this, None).await.expect("free");
        held.runs_hook(RunId(7));
        assert!(matches!(leases.take(this, Some(RunId(7))).await, Err(OperationError::OwnHook)));
        assert!(matches!(leases.take(this, Some(RunId(8))).await, Err(OperationError::Busy)));
        leases.take(other, None).await.expect("another snap-in is not concerned");
        drop(held);
        leases.take(this, Some(RunId(7))).await.expect("free again, and the hook is over");
    }
}
