//! What the queue promises, by example and against random histories.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn ticket(run: u128, snap_in: u128, function: &str, sync_id: Option<&str>, limit: u32) -> Ticket {
    Ticket {
        run: RunId(run),
        snap_in: SnapInId(snap_in),
        version: VersionId(1),
        function: function.into(),
        sync_id: sync_id.map(Into::into),
        limit,
        event: run
            .is_multiple_of(2)
            .then(|| EventAtHand { event_type: "x".into(), payload: bytes::Bytes::new() }),
    }
}

fn open_queue(snap_ins: &[u128]) -> Queue {
    let mut queue = Queue::default();
    for snap_in in snap_ins {
        queue.set_open(SnapInId(*snap_in), true);
    }
    queue
}

fn take_all(queue: &mut Queue) -> Vec<u128> {
    std::iter::from_fn(|| queue.take()).map(|it| it.run.0).collect()
}

#[test]
fn snap_ins_take_turns() {
    let mut queue = open_queue(&[1, 2]);
    for run in 0..4 {
        queue.push(ticket(run, 1, "f", None, 10));
    }
    queue.push(ticket(10, 2, "f", None, 10));
    assert_eq!(take_all(&mut queue), [0, 10, 1, 2, 3]);
}

#[test]
fn functions_of_a_snap_in_take_turns_and_keep_their_limits() {
    let mut queue = open_queue(&[1]);
    for run in 0..3 {
        queue.push(ticket(run, 1, "slow", None, 1));
    }
    queue.push(ticket(10, 1, "quick", None, 2));
    assert_eq!(take_all(&mut queue), [0, 10]);
    queue.release(RunId(0));
    assert_eq!(take_all(&mut queue), [1]);
    queue.ended(RunId(0));
    assert_eq!(take_all(&mut queue), [0; 0]);
    queue.ended(RunId(1));
    assert_eq!(take_all(&mut queue), [2]);
}

#[test]
fn a_group_waits_for_its_head_until_that_has_ended() {
    let mut queue = open_queue(&[1]);
    queue.push(ticket(0, 1, "f", Some("a"), 10));
    queue.push(ticket(1, 1, "f", Some("a"), 10));
    queue.push(ticket(2, 1, "f", Some("b"), 10));
    queue.push(ticket(3, 1, "f", None, 10));
    assert_eq!(take_all(&mut queue), [0, 2, 3]);
    queue.release(RunId(0));
    assert_eq!(take_all(&mut queue), [0; 0], "released, but not settled");
    queue.again(RunId(0), 500);
    assert_eq!(take_all(&mut queue), [0; 0], "the head waits for another attempt");
    assert_eq!(queue.next_due_ms(), Some(500));
    queue.wake_due(499);
    assert_eq!(take_all(&mut queue), [0; 0]);
    queue.wake_due(500);
    assert_eq!(take_all(&mut queue), [0]);
    queue.ended(RunId(0));
    assert_eq!(take_all(&mut queue), [1]);
}

#[test]
fn a_closed_snap_in_starts_nothing_and_keeps_its_order() {
    let mut queue = open_queue(&[1]);
    queue.push(ticket(0, 1, "f", None, 10));
    queue.push(ticket(1, 1, "f", None, 10));
    assert_eq!(queue.take().map(|it| it.run.0), Some(0));
    queue.set_open(SnapInId(1), false);
    queue.put_back(RunId(0));
    assert_eq!(take_all(&mut queue), [0; 0]);
    queue.set_open(SnapInId(1), true);
    assert_eq!(take_all(&mut queue), [0, 1]);
}

#[test]
fn a_held_snap_in_starts_nothing_whatever_its_state() {
    let mut queue = open_queue(&[1, 2]);
    queue.push(ticket(0, 1, "f", None, 10));
    queue.set_held(SnapInId(1), true);
    queue.push(ticket(1, 1, "f", None, 10));
    queue.push(ticket(2, 2, "f", None, 10));
    assert_eq!(take_all(&mut queue), [2], "the others are not concerned");
    queue.set_open(SnapInId(1), false);
    queue.set_open(SnapInId(1), true);
    assert_eq!(take_all(&mut queue), [0; 0]);
    queue.set_held(SnapInId(1), false);
    assert_eq!(take_all(&mut queue), [0, 1]);
}

#[test]
fn a_cancelled_run_is_forgotten_wherever_it_waits() {
    let mut queue = open_queue(&[1]);
    queue.push(ticket(0, 1, "f", Some("a"), 10));
    queue.push(ticket(1, 1, "f", Some("a"), 10));
    queue.push(ticket(2, 1, "f", Some("a"), 10));
    queue.push_later(ticket(3, 1, "g", None, 10), 100);
    queue.remove(RunId(0), SnapInId(1));
    queue.remove(RunId(2), SnapInId(1));
    queue.remove(RunId(3), SnapInId(1));
    assert_eq!(queue.waiting(SnapInId(1)), 1);
    assert_eq!((take_all(&mut queue), queue.next_due_ms()), (vec![1], None));
}

#[derive(Clone, Debug)]
enum Step {
    Push { snap_in: u8, function: u8, group: Option<u8> },
    Take,
    Release(prop::sample::Index),
    End(prop::sample::Index),
    Again(prop::sample::Index),
    PutBack(prop::sample::Index),
    Remove(prop::sample::Index),
    Open(u8, bool),
    Wake,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0u8..3, 0u8..2, proptest::option::of(0u8..2))
            .prop_map(|(snap_in, function, group)| Step::Push { snap_in, function, group }),
        6 => Just(Step::Take),
        2 => index().prop_map(Step::Release),
        4 => index().prop_map(Step::End),
        2 => index().prop_map(Step::Again),
        1 => index().prop_map(Step::PutBack),
        1 => index().prop_map(Step::Remove),
        1 => (0u8..3, any::<bool>()).prop_map(|(snap_in, open)| Step::Open(snap_in, open)),
        2 => Just(Step::Wake),
    ]
}

const LIMIT: u32 = 2;

proptest! {
    /// Whatever happens: limits and order hold, nothing is started twice or while closed, and once
    /// everything is open and each started run ends, every run that was not cancelled has run.
    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(steps in proptest::collection::vec(step(), 1..120)) {
        let mut queue = open_queue(&[0, 1, 2]);
        let mut open: HashMap<u128, bool> = (0..3).map(|it| (it, true)).collect();
        let mut all: HashMap<u128, Ticket> = HashMap::new();
        let mut started: Vec<u128> = Vec::new();
        let mut under_way: HashSet<u128> = HashSet::new();
        let mut done: HashSet<u128> = HashSet::new();
        let mut next = 0;
        let started_one = |index: &prop::sample::Index, started: &mut Vec<u128>| {
            (!started.is_empty()).then(|| started.swap_remove(index.index(started.len())))
        };
        let note_start = |t: Ticket, all: &HashMap<u128, Ticket>, started: &mut Vec<u128>,
                          under_way: &mut HashSet<u128>, done: &HashSet<u128>, open: &HashMap<u128, bool>| {
            prop_assert!(open[&t.snap_in.0]);
            prop_assert!(!started.contains(&t.run.0) && !done.contains(&t.run.0));
            if t.sync_id.is_some() {
                let earlier = all.values().filter(|it| {
                    it.snap_in == t.snap_in && it.group_key() == t.group_key() && it.run < t.run
                });
                for it in earlier { prop_assert!(done.contains(&it.run.0)); }
            }
            started.push(t.run.0);
            under_way.insert(t.run.0);
            let same = under_way.iter().filter(|it| {
                all[*it].snap_in == t.snap_in && all[*it].function == t.function
            }).count();
            prop_assert!(same <= LIMIT as usize);
            Ok(())
        };
        for step in steps {
            match step {
                Step::Push { snap_in, function, group } => {
                    let group = group.map(|it| it.to_string());
                    let t = ticket(next, snap_in.into(), &function.to_string(), group.as_deref(), LIMIT);
                    all.insert(next, t.clone());
                    queue.push(t);
                    next += 1;
                }
                Step::Take => if let Some(t) = queue.take() {
                    note_start(t, &all, &mut started, &mut under_way, &done, &open)?;
                },
                Step::Release(index) => if !started.is_empty() {
                    let run = started[index.index(started.len())];
                    queue.release(RunId(run));
                    under_way.remove(&run);
                },
                Step::End(index) => if let Some(run) = started_one(&index, &mut started) {
                    queue.ended(RunId(run));
                    under_way.remove(&run);
                    done.insert(run);
                },
                Step::Again(index) => if let Some(run) = started_one(&index, &mut started) {
                    queue.again(RunId(run), 10);
                    under_way.remove(&run);
                },
                Step::PutBack(index) => if let Some(run) = started_one(&index, &mut started) {
                    queue.put_back(RunId(run));
                    under_way.remove(&run);
                },
                Step::Remove(index) => if next > 0 {
                    let run = index.index(next as usize) as u128;
                    if !done.contains(&run) && !started.contains(&run) {
                        queue.remove(RunId(run), all[&run].snap_in);
                        done.insert(run);
                    }
                },
                Step::Open(snap_in, is_open) => {
                    open.insert(snap_in.into(), is_open);
                    queue.set_open(SnapInId(snap_in.into()), is_open);
                }
                Step::Wake => queue.wake_due(10),
            }
        }
        for snap_in in 0..3 {
            open.insert(snap_in, true);
            queue.set_open(SnapInId(snap_in), true);
        }
        loop {
            queue.wake_due(10);
            while let Some(t) = queue.take() {
                note_start(t, &all, &mut started, &mut under_way, &done, &open)?;
            }
            if started.is_empty() { break; }
            for run in started.drain(..) {
                queue.ended(RunId(run));
                done.insert(run);
            }
            under_way.clear();
        }
        prop_assert_eq!(done.len() as u128, next);
        prop_assert_eq!(queue.events_at_hand(), 0);
        prop_assert_eq!((0..3).map(|it| queue.waiting(SnapInId(it)) + queue.started(SnapInId(it))).sum::<usize>(), 0);
    }
}
