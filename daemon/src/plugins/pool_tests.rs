//! The pool with jobs that hold on until they are let go; no clocks.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::pool::{Lane, NotTaken, Overdue, Pool, PoolLimits};

const AMPLE: Duration = Duration::from_secs(30);

fn pool(threads: usize, lost_threads: usize) -> Pool {
    Pool::start(PoolLimits { threads, lost_threads, queued_per_lane: 100, queued: 150 })
}

/// A job that runs until the sender is dropped.
fn blocking() -> (mpsc::Sender<()>, mpsc::Receiver<()>, Box<dyn FnOnce() + Send>) {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let work = move || {
        let _ = begun.send(());
        let _ = held.recv();
    };
    (release, begins, Box::new(work))
}

#[test]
fn lanes_take_turns() {
    // Two threads: one lane may hold one, the other thread serves whoever comes.
    let pool = pool(2, 0);
    let blocked = pool.lane("blocked");
    let (release, begins, work) = blocking();
    blocked.push(work).unwrap();
    begins.recv_timeout(AMPLE).unwrap();
    let order = Arc::new(Mutex::new(String::new()));
    let (done, all) = mpsc::channel();
    let (first, second) = (pool.lane("first"), pool.lane("second"));
    // The thread that is left is held back until everything is queued.
    let (go, begins, work) = blocking();
    pool.lane("gate").push(work).unwrap();
    begins.recv_timeout(AMPLE).unwrap();
    for (lane, name) in [(&first, 'a'), (&first, 'a'), (&first, 'a'), (&second, 'b')] {
        let (order, done) = (Arc::clone(&order), done.clone());
        let work = move || {
            order.lock().unwrap().push(name);
            let _ = done.send(());
        };
        lane.push(Box::new(work)).unwrap();
    }
    blocked.push(Box::new(|| ())).unwrap();
    drop(go);
    for _ in 0..4 {
        all.recv_timeout(AMPLE).unwrap();
    }
    assert_eq!(*order.lock().unwrap(), "abaa");
    assert_eq!(blocked.counts().queued, 1, "a lane never holds every thread");
    drop(release);
}

#[test]
fn an_abandoned_job_closes_its_lane_until_it_returns() {
    let pool = pool(2, 1);
    let lane = pool.lane("lane");
    let (release, begins, work) = blocking();
    let running = lane.push(work).unwrap();
    begins.recv_timeout(AMPLE).unwrap();
    let queued = lane.push(Box::new(|| ())).unwrap();
    assert_eq!(lane.watcher().give_up(&running), Overdue::Abandoned);
    assert_eq!(lane.watcher().give_up(&queued), Overdue::Discarded);
    assert_eq!(lane.push(Box::new(|| ())).unwrap_err(), NotTaken::Stuck);
    assert_eq!((pool.counts().threads, pool.counts().lost), (2, 1));
    assert_eq!((pool.is_exhausted(), pool.counts().queued), (false, 0));

    let (last, ends) = mpsc::channel();
    lane.push_last(Box::new(move || last.send(()).unwrap()));
    drop(release);
    ends.recv_timeout(AMPLE).unwrap();
    // Its lane runs again only after the books are right.
    assert_eq!((lane.counts().stuck, lane.counts().returned), (0, 1));
    assert_eq!((pool.counts().threads, pool.counts().lost), (2, 0));
    lane.push(Box::new(|| ())).unwrap();
}

#[test]
fn queues_are_bounded() {
    let pool = pool(2, 0);
    let (one, other) = (pool.lane("one"), pool.lane("other"));
    let mut held = Vec::new();
    for lane in [&one, &other] {
        let (release, begins, work) = blocking();
        lane.push(work).unwrap();
        begins.recv_timeout(AMPLE).unwrap();
        held.push(release);
    }
    let push = |lane: &Lane| lane.push(Box::new(|| ())).map(|_| ());
    assert!((0..100).all(|_| push(&one).is_ok()));
    assert_eq!(push(&one), Err(NotTaken::Busy), "per lane");
    assert!((0..50).all(|_| push(&other).is_ok()));
    assert_eq!(push(&other), Err(NotTaken::Busy), "altogether");
}

#[test]
fn a_job_that_was_taken_back_never_runs() {
    let pool = pool(2, 0);
    let lane = pool.lane("lane");
    let (release, begins, work) = blocking();
    let running = lane.push(work).unwrap();
    begins.recv_timeout(AMPLE).unwrap();
    let (sender, receiver) = mpsc::channel();
    let queued = lane.push(Box::new(move || sender.send(()).unwrap())).unwrap();
    assert!(queued.cancel());
    assert!(!running.cancel());
    drop(release);
    assert_eq!(receiver.recv_timeout(AMPLE), Err(mpsc::RecvTimeoutError::Disconnected));
}
