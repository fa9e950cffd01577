//! The picture of everybody that requests are judged by, and the one way to change it.
//!
//! Invariant: a picture is published after the commit that it shows, and before whoever asked for the
//! change is answered: what was taken from somebody is gone at once. Changes are decided one at a
//! time, outside the transaction, which compares the generation.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::change::Authority;
use crate::access::{Change, KnownToken, Refusal, State};
use crate::clock::Clock;
use crate::model::access::PrincipalId;
use crate::store::{AccessOutcome, Store, StoreError, hash_of_token};

/// How often the use of a token is written down.
const NOTE_USE_EVERY_MS: u64 = 60_000;
/// How often a change is decided anew when something else changed the database.
const TRIES: usize = 3;

/// Why something was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The caller may not, or it makes no sense.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else changes it all the time.
    #[error("who may do what was changed by somebody else meanwhile: try again")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who there is and who may do what.
#[derive(Clone)]
pub struct Access {
    store: Arc<Store>,
    clock: Clock,
    state: Arc<ArcSwap<State>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Access {
    /// As it is stored.
    pub fn open(store: Arc<Store>, clock: Clock) -> Result<Access, StoreError> {
        let state = State::of(store.read(|tables| tables.access())?);
        let state = Arc::new(ArcSwap::from_pointee(state));
        Ok(Access { store, clock, state, turn: Arc::default() })
    }

    /// The picture as it is now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The token that a text is, if it is one, whether or not it has expired. The same work is done
    /// for a wrong one: a hash, and a look at a table by it.
    pub fn token(&self, text: &str) -> Option<Arc<KnownToken>> {
        self.state.load().token(&hash_of_token(text)).cloned()
    }

    /// Notes that a token is used; nobody waits for that.
    pub fn note_use(&self, token: &KnownToken) {
        let now_ms = self.clock.now_ms();
        if token.note_use(now_ms, NOTE_USE_EVERY_MS) {
            let hash = token.hash;
            let noted = self.store.write(move |tables| tables.note_token_use(&hash, now_ms));
            // That it is lost when the daemon is killed just now does no harm.
            drop(noted);
        }
    }

    /// Makes a change for somebody, if he may. Answers the id of somebody new.
    pub async fn change(
        &self,
        by: &Authority,
        change: Change,
    ) -> Result<Option<PrincipalId>, AccessError> {
        let _turn = self.turn.lock().await;
        for _ in 0..TRIES {
            let state = self.state();
            state.check(by, &change, self.clock.now_ms())?;
            if let Some(made) = self.write(&state, &change).await? {
                return Ok(made);
            }
            self.catch_up()?;
        }
        Err(AccessError::Busy)
    }

    /// Publishes what somebody else stored: grants are made and end with integrations.
    pub fn catch_up(&self) -> Result<(), StoreError> {
        let stored = Arc::new(State::of(self.store.read(|tables| tables.access())?));
        // Whoever gave up waiting may have published a newer one meanwhile.
        self.state.rcu(|present| {
            if present.generation() < stored.generation() {
                stored.clone()
            } else {
                present.clone()
            }
        });
        Ok(())
    }

    /// Stores a change and publishes what comes of it; nothing when the picture was stale.
    async fn write(
        &self,
        state: &Arc<State>,
        change: &Change,
    ) -> Result<Option<Option<PrincipalId>>, StoreError> {
        let (generation, stored) = (state.generation(), change.clone());
        let (before, after, published) = (state.clone(), change.clone(), self.state.clone());
        let now_ms = self.clock.now_ms();
        let outcome = self.store.write_then(
            move |tables| tables.change_access(generation, &stored),
            move |outcome| match outcome {
                AccessOutcome::Done(made) => {
                    published.store(Arc::new(before.after(&after, *made, now_ms)));
                }
                AccessOutcome::Stale => {}
            },
        );
        Ok(match outcome.await? {
            AccessOutcome::Done(made) => Some(made),
            AccessOutcome::Stale => None,
        })
    }
}
