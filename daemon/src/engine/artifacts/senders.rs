//! Who sends: for each artifact one request, the latest, and so many artifacts at a time.
//!
//! A client that lost its connection comes again before the daemon knows of the loss: so the later
//! request goes on and the earlier one ends, not the other way round. Whoever has one URL holds one
//! place with it, however often he comes.
//!
//! Must never: let a request in before the earlier one has ended, or what that still stores would move
//! the end of the artifact under the new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::ArtifactError;
use crate::model::id::ArtifactId;

/// All requests that send, or wait for it. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Senders(Arc<Inner>);

struct Inner {
    places: Mutex<HashMap<ArtifactId, Place>>,
    all: Arc<Semaphore>,
}

/// The requests for one artifact.
struct Place {
    /// Held by the one that sends.
    turn: Arc<Semaphore>,
    /// Ends the one that came last.
    stop_latest: Arc<Notify>,
    /// How many there are, with those that wait.
    requests: usize,
}

/// A request that may send.
pub(super) struct Sender {
    /// Free before the place goes.
    _permits: [OwnedSemaphorePermit; 2],
    request: Request,
}

/// A request that is counted in its place.
struct Request {
    senders: Senders,
    artifact: ArtifactId,
    stop: Arc<Notify>,
}

impl Senders {
    /// For so many artifacts at a time.
    pub(super) fn new(most: usize) -> Senders {
        let all = Arc::new(Semaphore::new(most));
        Senders(Arc::new(Inner { places: Mutex::default(), all }))
    }

    /// Ends whoever sends this artifact, and waits until that has ended and there is room.
    pub(super) async fn take_over(
        &self,
        artifact: ArtifactId,
        patience: Duration,
    ) -> Result<Sender, ArtifactError> {
        let (request, turn) = self.enter(artifact);
        let permits = async {
            // Those who wait for the same artifact take no room from others.
            let turn = turn.acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>([turn, self.0.all.clone().acquire_owned().await?])
        };
        tokio::select! {
            biased;
            () = request.stop.notified() => Err(ArtifactError::TakenOver),
            waited = tokio::time::timeout(patience, permits) => match waited {
                Ok(Ok(permits)) => Ok(Sender { _permits: permits, request }),
                Ok(Err(_)) | Err(_) => Err(ArtifactError::Busy),
            },
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<ArtifactId, Place>> {
        // It is whole after every step.
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, artifact: ArtifactId) -> (Request, Arc<Semaphore>) {
        let stop = Arc::new(Notify::new());
        let mut places = self.places();
        let place = places.entry(artifact).or_insert_with(|| Place {
            turn: Arc::new(Semaphore::new(1)),
            stop_latest: stop.clone(),
            requests: 0,
        });
        // The first one notifies nobody but itself, before it is there.
        if place.requests > 0 {
            std::mem::replace(&mut place.stop_latest, stop.clone()).notify_one();
        }
        place.requests += 1;
        (Request { senders: self.clone(), artifact, stop }, place.turn.clone())
    }
}

impl Sender {
    /// Ends when another request takes over.
    pub(super) async fn taken_over(&self) {
        self.request.stop.notified().await;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut places = self.senders.places();
        if let Some(place) = places.get_mut(&self.artifact) {
            place.requests -= 1;
            if place.requests == 0 {
                places.remove(&self.artifact);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const ONE: ArtifactId = ArtifactId(1);
    const OTHER: ArtifactId = ArtifactId(2);

    #[tokio::test]
    async fn the_latest_request_for_an_artifact_sends_it() {
        let senders = Senders::new(2);
        let first = senders.take_over(ONE, LONG).await.map_err(|_| ()).expect("free");
        // However many come for one artifact: others go on.
        let waiting = async || senders.take_over(ONE, LONG).await.err();
        let (second, third) = (waiting(), waiting());
        let other = async { senders.take_over(OTHER, LONG).await.is_ok() };
        let ends = async {
            first.taken_over().await;
            drop(first);
        };
        let last = async {
            tokio::task::yield_now().await;
            senders.take_over(ONE, LONG).await.is_ok()
        };
        let (second, third, other, (), last) = tokio::join!(second, third, other, ends, last);
        assert!(matches!(second, Some(ArtifactError::TakenOver)), "{second:?}");
        assert!(matches!(third, None | Some(ArtifactError::TakenOver)), "{third:?}");
        assert!(other && last);
        assert!(senders.places().is_empty(), "what nobody sends is forgotten");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let senders = Senders::new(1);
        let stubborn = senders.take_over(ONE, LONG).await.map_err(|_| ()).expect("free");
        for artifact in [ONE, OTHER] {
            let refused = senders.take_over(artifact, Duration::from_millis(5)).await.err();
            assert!(matches!(refused, Some(ArtifactError::Busy)), "{refused:?}");
        }
        drop(stubborn);
        assert!(senders.take_over(OTHER, LONG).await.is_ok());
    }
}
