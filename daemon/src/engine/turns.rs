//! How many calls of a function are under way at the same time, be it that a queue hands them out or
//! that somebody waits for the answer. Must never give more turns than the function allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::model::id::VersionId;

type Key = (VersionId, String);

/// The turns of all functions.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Key, Arc<Semaphore>>>>);

/// One call may be under way as long as this is there.
#[derive(Debug)]
pub(super) struct Turn {
    /// How long it was waited for.
    pub(super) waited: Duration,
    turns: Turns,
    key: Key,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn, for as long as `patience` says; nothing when it did not come.
    pub(super) async fn take(
        &self,
        (version, function): (VersionId, &str),
        most: u32,
        patience: Option<Duration>,
    ) -> Option<Turn> {
        let key = (version, function.to_owned());
        let semaphore = {
            let most = usize::try_from(most.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
            let new = || Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
            self.all().entry(key.clone()).or_insert_with(new).clone()
        };
        // Removes what is not needed any more, also when it did not come.
        let mut turn = Turn { waited: Duration::ZERO, turns: self.clone(), key, permit: None };
        if let Ok(permit) = semaphore.clone().try_acquire_owned() {
            turn.permit = Some(permit);
            return Some(turn);
        }
        let began = Instant::now();
        let waiting = semaphore.acquire_owned();
        let permit = match patience {
            Some(patience) => tokio::time::timeout(patience, waiting).await.ok()?,
            None => waiting.await,
        };
        turn.permit = permit.ok();
        turn.waited = began.elapsed();
        Some(turn)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.turns.all();
        drop(self.permit.take());
        // Whoever waits has it, too.
        if all.get(&self.key).is_some_and(|it| Arc::strong_count(it) == 1) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_given_as_many_as_there_are_and_forgotten() {
        let turns = Turns::default();
        let take = |patience| turns.take((VersionId(1), "work"), 2, patience);
        let one = take(None).await.expect("free");
        let two = take(None).await.expect("free");
        assert!(take(Some(Duration::ZERO)).await.is_none());
        assert_eq!(two.waited, Duration::ZERO);
        let other = turns.take((VersionId(2), "work"), 1, None).await.expect("another version");
        // The first is polled first, and finds no place.
        let ending = async { drop(one) };
        let (third, ()) = tokio::join!(take(None), ending);
        assert!(third.expect("it has become free").waited > Duration::ZERO);
        assert_eq!(turns.all().len(), 2);
        drop((two, other));
        assert!(turns.all().is_empty());
    }
}
