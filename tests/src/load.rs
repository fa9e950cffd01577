//! Numbered requests from several threads, and the reckoning afterwards: what was answered is there
//! once, what was not answered is there at most once, and nothing else is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, Installed, post_signed};
use crate::eventually;
use crate::http::Connection;

/// Threads that send until they are stopped.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    path: String,
    pause: Duration,
    next: AtomicU64,
    stop: AtomicBool,
    /// None while nobody listens.
    address: Mutex<Option<SocketAddr>>,
    answered: Mutex<BTreeMap<u64, String>>,
    refused: Mutex<BTreeMap<u64, u16>>,
}

/// What became of the requests.
#[derive(Clone, Debug)]
pub struct Sent {
    /// All numbers below this one were used.
    pub numbers: u64,
    /// Answered with 2xx: the id of the event.
    pub answered: BTreeMap<u64, String>,
    /// Answered otherwise: the status.
    pub refused: BTreeMap<u64, u16>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Starts sending; each thread rests for `pause` after each request.
    pub fn start(daemon: &Daemon, to: &Installed, threads: usize, pause: Duration) -> Load {
        let shared = Arc::new(Shared {
            path: to.path.clone(),
            pause,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            address: Mutex::new(Some(daemon.address())),
            answered: Mutex::default(),
            refused: Mutex::default(),
        });
        let start = |_| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.send())
        };
        let threads = (0..threads).map(start).collect();
        Load { shared, threads }
    }

    /// Tells the threads where the daemon is now.
    pub fn moved(&self, address: Option<SocketAddr>) {
        *lock(&self.shared.address) = address;
    }

    /// How many requests were answered with 2xx so far.
    pub fn answered(&self) -> usize {
        lock(&self.shared.answered).len()
    }

    /// How many requests were refused so far.
    pub fn refused(&self) -> usize {
        lock(&self.shared.refused).len()
    }

    /// Waits until so many more were answered with 2xx.
    pub fn wait_for_answers(&self, more: usize) {
        let enough = self.answered() + more;
        eventually("requests are answered", Duration::from_secs(60), || {
            (self.answered() >= enough).then_some(())
        });
    }

    /// Ends the sending.
    pub fn stop(mut self) -> Sent {
        self.end();
        Sent {
            numbers: self.shared.next.load(Ordering::Acquire),
            answered: lock(&self.shared.answered).clone(),
            refused: lock(&self.shared.refused).clone(),
        }
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || std::thread::panicking(), "a sender panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn send(&self) {
        let mut connection: Option<(SocketAddr, Connection)> = None;
        while !self.stop.load(Ordering::Acquire) {
            let here = *lock(&self.address);
            let open = match (connection.take(), here) {
                (Some((to, open)), Some(here)) if to == here => Some((to, open)),
                (_, Some(here)) => Connection::tcp(here).ok().map(|it| (here, it)),
                (_, None) => None,
            };
            if let Some((to, mut open)) = open {
                let number = self.next.fetch_add(1, Ordering::AcqRel);
                let body = json!({ "n": number }).to_string();
                // Without an answer, nothing is known about the number.
                if let Ok(response) = post_signed(&mut open, &self.path, body.as_bytes()) {
                    if (200..300).contains(&response.status) {
                        let answer = response.json();
                        let id = answer["events"][0]["id"].as_str().unwrap_or_default();
                        lock(&self.answered).insert(number, id.to_owned());
                    } else {
                        lock(&self.refused).insert(number, response.status);
                    }
                    let closes = response.header("connection").is_some_and(|it| it == "close");
                    connection = (!closes).then_some((to, open));
                }
            }
            std::thread::sleep(self.pause);
        }
    }
}

/// An event with its run, as the daemon tells it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The number in its payload.
    pub number: u64,
    /// Its id.
    pub event: String,
    /// Its only run.
    pub run: Value,
}

/// Waits until no run is queued, running or tried again any more. Those that are tried again are looked
/// for twice: one that was running a moment ago may be among them now.
pub fn wait_until_idle(daemon: &Daemon, snap_in: &str, patience: Duration) {
    eventually("no run is queued, running or tried again", patience, || {
        let idle = ["retrying", "queued", "running", "retrying"].iter().all(|state| {
            let filter = json!({ "snap_in": snap_in, "state": state, "limit": 1 });
            daemon.call("runs.list", &filter)["runs"].as_array().is_some_and(Vec::is_empty)
        });
        idle.then_some(())
    });
}

impl Sent {
    /// Compares what was sent with what is there, and answers the latter.
    ///
    /// # Panics
    ///
    /// When something that was acknowledged is missing, or there twice, or when something is there
    /// that was refused or never sent.
    pub fn reckon(&self, daemon: &Daemon, to: &Installed) -> Vec<Found> {
        let filter = json!({ "snap_in": to.id });
        let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for run in daemon.list_all("runs.list", "runs", &filter) {
            // Hooks run without one.
            let Some(event) = run["event"].as_str().map(str::to_owned) else { continue };
            runs.entry(event).or_default().push(run);
        }
        let mut found = Vec::new();
        let mut numbers = BTreeSet::new();
        for event in daemon.list_all("events.list", "events", &filter) {
            let id = event["id"].as_str().expect("an id").to_owned();
            let whole = daemon.call("events.get", &json!({ "id": id }));
            let number = whole["event"]["payload"]["n"].as_u64().expect("a number");
            assert!(numbers.insert(number), "number {number} is there twice");
            assert!(number < self.numbers, "number {number} was never sent");
            let refused = self.refused.get(&number);
            assert!(refused.is_none(), "number {number} was refused with {refused:?}");
            let of_event = runs.remove(&id).unwrap_or_default();
            let [run] = of_event.as_slice() else { panic!("event {id} has runs {of_event:?}") };
            found.push(Found { number, event: id, run: run.clone() });
        }
        assert!(runs.is_empty(), "runs without an event: {runs:?}");
        let by_number: BTreeMap<u64, &str> =
            found.iter().map(|it| (it.number, it.event.as_str())).collect();
        for (number, event) in &self.answered {
            let there = by_number.get(number).copied();
            assert_eq!(there, Some(event.as_str()), "number {number} was acknowledged");
        }
        found
    }
}
