//! Whole lives of timers: every wake-up that one asks for, and those that come late or too early.

use mortise_plugin::{Host, Plugin};
use proptest::prelude::*;

use super::*;
use crate::{KIND, TimerEvents};

/// 2024-02-28T23:59:30Z.
const START: u64 = 1_709_164_770_000;

/// A timer, and what it keeps.
struct Life {
    timer: Box<dyn Source>,
    cursor: Option<Value>,
    due: u64,
    last: Option<u64>,
}

impl Life {
    fn new(config: Value, start: u64) -> Life {
        let timer = TimerEvents::open_source(KIND, config, Host::silent()).unwrap();
        let mut life = Life { timer, cursor: None, due: start, last: None };
        assert_eq!(life.wake(start), (vec![], vec![]));
        life
    }

    /// The times of its events, and its log.
    fn wake(&mut self, now: u64) -> (Vec<u64>, Vec<String>) {
        let tick = Tick { due_ms: self.due, last_ms: self.last, cursor: self.cursor.clone() };
        let call = SourceCall::new(now, 1_000, SourceInput::Tick(tick));
        let output = self.timer.call(call, b"").unwrap();
        self.last = Some(self.due);
        self.due = output.next_tick_ms.unwrap();
        self.cursor = output.cursor;
        let times = output.events.iter().map(|event| {
            assert_eq!(event.event_type, "timer.tick");
            let Payload::Json(payload) = &event.payload else { panic!("a body") };
            let time = payload["scheduled_time"].as_u64().unwrap();
            assert_eq!(event.dedup_key, Some(format!("timer.tick:{time}")));
            time
        });
        (times.collect(), output.log.into_iter().map(|it| it.message).collect())
    }
}

#[test]
fn a_day_of_a_cron_timer() {
    let mut life = Life::new(json!({ "cron": "0 */8 * * *" }), START);
    let mut times = Vec::new();
    for _ in 0..4 {
        // Some milliseconds late, as daemons are.
        let (found, log) = life.wake(life.due + 7);
        assert!(log.is_empty());
        times.extend(found.into_iter().map(|it| (it - START - 30_000) / 3_600_000));
    }
    assert_eq!(times, [0, 8, 16, 24]);
}

#[test]
fn intervals_start_at_activation_and_do_not_drift() {
    let mut life = Life::new(json!({ "interval_seconds": 100 }), START);
    for round in 1..10 {
        assert_eq!(life.due, START + round * 100_000);
        assert_eq!(life.wake(life.due + round * 900).0, [START + round * 100_000]);
    }
}

#[test]
fn metadata_is_handed_on() {
    let config = json!({ "interval_seconds": 1, "metadata": { "a": [1] } });
    let mut life = Life::new(config, START);
    let tick = Tick { due_ms: life.due, last_ms: None, cursor: life.cursor.take() };
    let mut call = SourceCall::new(life.due, 1, SourceInput::Tick(tick));
    let output = life.timer.call(call.clone(), b"").unwrap();
    let mut payload = json!({ "metadata": { "a": [1] }, "scheduled_time": START + 1_000 });
    assert_eq!(output.events[0].payload, Payload::Json(payload.clone()));
    let id = |text: &str| Some(text.to_owned());
    call.source = SourceIds { event_source_id: id("src_1"), dev_oid: id("org_local") };
    let output = life.timer.call(call, b"").unwrap();
    payload["event_source_id"] = json!("src_1");
    payload["dev_oid"] = json!("org_local");
    assert_eq!(output.events[0].payload, Payload::Json(payload));
}

#[test]
fn missed_times_are_skipped_with_a_word() {
    let mut life = Life::new(json!({ "cron": "0 * * * *" }), START);
    let (times, log) = life.wake(life.due + 3 * 3_600_000 + 120_000);
    assert!(times.is_empty());
    assert_eq!(log, ["4 times were missed, 2024-02-29T00:00:00Z to 2024-02-29T03:00:00Z: skipped"]);
    assert_eq!(life.due, START + 30_000 + 4 * 3_600_000);
    // The last one is still in time.
    let (times, log) = life.wake(life.due + 2 * 3_600_000 + 59_000);
    assert_eq!(times, [START + 30_000 + 6 * 3_600_000]);
    assert!(log[0].starts_with("2 times were missed"), "{log:?}");
}

#[test]
fn missed_times_are_made_up_once() {
    let mut life = Life::new(json!({ "cron": "0 * * * *", "missed": "run_once" }), START);
    let (times, log) = life.wake(life.due + 3 * 3_600_000 + 120_000);
    assert_eq!(times, [START + 30_000 + 3 * 3_600_000]);
    assert_eq!(
        log,
        [
            "4 times were missed, 2024-02-29T00:00:00Z to 2024-02-29T03:00:00Z: one event stands for all"
        ]
    );
}

#[test]
fn a_year_without_a_daemon_costs_little() {
    let mut life = Life::new(json!({ "cron": "* * * * * *", "missed": "run_once" }), START);
    let (times, log) = life.wake(START + 366 * 86_400_000);
    assert_eq!(times, [START + 366 * 86_400_000]);
    assert!(log[0].starts_with("1000 or more times were missed"), "{log:?}");
}

#[test]
fn a_clock_that_is_set_back_is_followed() {
    let mut life = Life::new(json!({ "cron": "0 * * * *" }), START + 10 * 86_400_000);
    let (times, _) = life.wake(START);
    assert!(times.is_empty());
    assert_eq!(life.due, START + 30_000);
    let mut life = Life::new(json!({ "interval_seconds": 3600 }), START + 10 * 86_400_000);
    life.wake(START + 1);
    assert_eq!(life.due, START + 3_600_000);
}

#[test]
fn another_schedule_starts_anew() {
    let mut life = Life::new(json!({ "interval_seconds": 1000 }), START);
    let config = json!({ "interval_seconds": 10 });
    life.timer = TimerEvents::open_source(KIND, config, Host::silent()).unwrap();
    assert_eq!(life.wake(START + 500), (vec![], vec![]));
    assert_eq!(life.due, START + 10_500);
    life.cursor = Some(json!("nonsense"));
    assert_eq!(life.wake(START + 700), (vec![], vec![]));
}

#[test]
fn a_wake_up_that_is_repeated_gives_the_same() {
    let mut life = Life::new(json!({ "cron": "0 * * * *" }), START);
    let (cursor, due) = (life.cursor.clone(), life.due);
    let first = life.wake(due);
    life.cursor = cursor;
    assert_eq!(life.wake(due + 5), first);
}

#[test]
fn publishing_by_hand() {
    let life = Life::new(json!({ "cron": "0 * * * *" }), START);
    let publish = |event_type: &str, body: &[u8]| {
        let input = SourceInput::Published { event_type: event_type.to_owned() };
        life.timer.call(SourceCall::new(START, 1, input), body)
    };
    assert_eq!(publish("timer.tick", b"{}").unwrap().events.len(), 1);
    assert!(publish("timer.tick", b"{").is_err());
    assert!(publish("custom:x", b"{}").is_err());
}

proptest! {
    /// Woken whenever it asks to be, a timer with jitter makes every event, in order, in time.
    #[test]
    fn jitter_loses_nothing(start in 1_000_000_000_000..2_000_000_000_000u64, jitter_s in 0..200u64) {
        let config = json!({ "cron": "*/2 * * * *", "jitter_seconds": jitter_s });
        let mut life = Life::new(config, start);
        let mut expected = start / 120_000 * 120_000 + 120_000;
        for _ in 0..20 {
            prop_assert!(life.due >= expected && life.due < expected + 120_000);
            prop_assert!(life.due <= expected + jitter_s * 1_000);
            prop_assert_eq!(life.wake(life.due), (vec![expected], vec![]));
            expected += 120_000;
        }
    }

    /// Whenever it is woken, no event comes twice or before its time.
    #[test]
    fn any_wake_up_is_taken(
        config in prop::sample::select(vec![
            json!({ "cron": "*/10 * * * * *", "missed": "run_once", "jitter_seconds": 7 }),
            json!({ "cron": "30 2 * * *", "timezone": "Europe/Berlin" }),
            json!({ "interval_seconds": 7, "jitter_seconds": 3, "missed": "run_once" }),
        ]),
        steps in prop::collection::vec(0..100_000_000u64, 1..30),
    ) {
        let mut life = Life::new(config, START);
        let (mut now, mut last) = (START, START);
        for step in steps {
            now += step;
            for time in life.wake(now).0 {
                prop_assert!(time > last && time <= now);
                last = time;
            }
            prop_assert!(life.due > now);
        }
    }
}
