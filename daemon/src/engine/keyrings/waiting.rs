//! Snap-ins whose runs wait for a connection that cannot be renewed at the moment. Without that, the
//! runs would use up their attempts while the other side is down for an hour.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::Keyrings;
use crate::model::id::{KeyringId, SnapInId};
use crate::model::keyring::KeyringOwner;

/// The keyrings that cannot be used at the moment, by snap-in.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<SnapInId, HashSet<KeyringId>>>);

impl Waiting {
    /// Notes it; answers whether that changes anything for the snap-in.
    fn set(&self, snap_in: SnapInId, keyring: KeyringId, waits: bool) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits {
            let keyrings = all.entry(snap_in).or_default();
            return keyrings.insert(keyring) && keyrings.len() == 1;
        }
        let Some(keyrings) = all.get_mut(&snap_in) else { return false };
        keyrings.remove(&keyring);
        let is_last = keyrings.is_empty();
        if is_last {
            all.remove(&snap_in);
        }
        is_last
    }
}

impl Keyrings {
    /// A keyring cannot be used at the moment, or can be again. A person's own keeps nobody waiting.
    pub(super) fn set_waiting(&self, owner: &KeyringOwner, id: KeyringId, waits: bool) {
        let KeyringOwner::SnapIn { snap_in, name } = owner else { return };
        if !self.0.waiting.set(*snap_in, id, waits) {
            return;
        }
        if waits {
            tracing::warn!(%snap_in, name, "runs wait for a connection that cannot be renewed");
        } else {
            tracing::info!(%snap_in, name, "runs wait for a connection no longer");
        }
        if let Some(listener) = self.0.broken.get() {
            listener.keyrings_wait(*snap_in, waits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snap_in_waits_while_one_of_its_keyrings_does() {
        let waiting = Waiting::default();
        let set = |keyring, waits| waiting.set(SnapInId(1), KeyringId(keyring), waits);
        assert!(!set(1, false), "it never waited");
        assert!(set(1, true) && !set(1, true) && !set(2, true));
        assert!(!set(1, false) && !set(1, false));
        assert!(set(2, false) && !set(2, false));
        assert!(set(1, true), "again");
    }
}
