//! Renewing what is due although nobody uses it: refresh tokens die of being left alone.

use std::time::Duration;

use futures_util::StreamExt;
use tracing::warn;

use super::Keyrings;
use super::refresh::{Occasion, life};
use super::standing::Standing;
use crate::model::keyring::{KeyringOwner, KeyringState};
use crate::model::snap_in::SnapInState;
use crate::store::{KeyringRecord, PageRequest, StoreError};

/// How often tokens are looked at that are due.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// How many are renewed at the same time then.
const AT_ONCE: usize = 8;

impl Keyrings {
    /// Renews what is due although nobody uses it, for ever: refresh tokens die of being left alone.
    pub async fn keep_fresh(self) {
        loop {
            let look_again = match self.renew_what_is_due().await {
                Ok(next) => next.clamp(SHORTEST_LOOK, LONGEST_LOOK),
                Err(error) => {
                    warn!(%error, "the tokens that are due cannot be found");
                    LONGEST_LOOK
                }
            };
            // Whatever was set meanwhile may be due sooner.
            let _ = tokio::time::timeout(look_again, self.0.changed.notified()).await;
        }
    }

    /// Renews what is due; answers when the next one is.
    async fn renew_what_is_due(&self) -> Result<Duration, StoreError> {
        let now_ms = self.0.parts.clock.now_ms();
        let mut due = Vec::new();
        let mut broken = Vec::new();
        let mut next_ms = u64::MAX;
        let mut from = None;
        loop {
            let page = PageRequest { from, limit: usize::MAX, newest_first: false };
            let page = self.0.parts.store.read(|tables| {
                tables.list_keyrings(page, |it| {
                    it.expires_ms.is_some() || matches!(it.state, KeyringState::Broken { .. })
                })
            })?;
            for (id, record) in page.rows {
                match (&record.state, life(&record)) {
                    (KeyringState::Broken { .. }, _) => broken.push(record),
                    (KeyringState::Ready, Some(life)) => {
                        let at = if record.refreshable { life.due_ms() } else { life.expires_ms };
                        if at <= now_ms {
                            let standing = self.standing(&record)?;
                            if standing != Standing::Needed {
                                // A version of before may have waited for it.
                                self.set_waiting(&record.owner, id, false);
                            }
                            if standing != Standing::Kept {
                                due.push((id, record.generation));
                            }
                        } else {
                            next_ms = next_ms.min(at);
                        }
                    }
                    (KeyringState::Ready, None) | (KeyringState::Pending, _) => {}
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        let renewals = futures_util::stream::iter(due);
        renewals
            .for_each_concurrent(AT_ONCE, |(id, generation)| async move {
                // What came of it is logged and stored; whoever uses it hears of it then.
                let _ = self.renewed(id, generation, Occasion::Due).await;
            })
            .await;
        for record in broken {
            self.report_again(&record).await;
        }
        Ok(Duration::from_millis(next_ms.saturating_sub(now_ms)))
    }

    /// A snap-in may have missed that its keyring broke: the daemon ended in between, or somebody
    /// activated it all the same.
    async fn report_again(&self, record: &KeyringRecord) {
        let (KeyringState::Broken { reason }, KeyringOwner::SnapIn { snap_in, .. }) =
            (&record.state, &record.owner)
        else {
            return;
        };
        let found = self.0.parts.store.read(|tables| tables.snap_in(*snap_in));
        if let Ok(Some(snap_in)) = found
            && snap_in.state == SnapInState::Active
        {
            self.report(record, reason).await;
        }
    }
}
