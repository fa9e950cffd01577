//! The source: a wake-up in; an event, the next wake-up and a cursor out.
//!
//! The first wake-up has no cursor: it sets the timer up and makes no event. Each event carries the
//! time it was meant for, which is its dedup key too, so that a wake-up that is repeated makes none
//! twice. A clock that is set back is followed: times that come again make no second event.

use mortise_plugin::{
    Event, Fault, LogLevel, LogLine, Payload, Problem, Source, SourceCall, SourceIds, SourceInput,
    SourceOutput, Tick,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::schedule::{MOST_COUNTED, Schedule, jitter};

/// The type of every event.
const EVENT_TYPE: &str = "timer.tick";

/// Later than this a time counts as missed.
const LATE_MS: u64 = 60_000;

/// What becomes of times that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missed {
    #[default]
    Skip,
    RunOnce,
}

/// One configured timer.
#[derive(Debug)]
pub(crate) struct Timer {
    pub(crate) schedule: Schedule,
    /// Tells schedules apart: a cursor of another one is not used.
    pub(crate) name: String,
    pub(crate) jitter_ms: u64,
    pub(crate) missed: Missed,
    pub(crate) metadata: Map<String, Value>,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
}

/// What is kept from one wake-up to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cursor {
    schedule: String,
    /// What intervals are counted from.
    anchor_ms: u64,
    /// Differs between timers, so that their jitter does.
    seed: u64,
    /// The time that is waited for, without its jitter.
    next_ms: u64,
}

impl Source for Timer {
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
        match &call.input {
            SourceInput::Check {} => {
                Ok(SourceOutput { problems: self.warnings.clone(), ..SourceOutput::default() })
            }
            SourceInput::Tick(tick) => self.tick(tick, call.now_ms, &call.source),
            SourceInput::Published { event_type } => published(event_type, body),
            SourceInput::Http(_)
            | SourceInput::Mail(_)
            | SourceInput::Object(_)
            | SourceInput::Poll(_)
            | SourceInput::Response { .. } => {
                Err(Fault::unsupported("a timer takes wake-ups and published events only"))
            }
        }
    }
}

impl Timer {
    fn tick(&self, tick: &Tick, now: u64, ids: &SourceIds) -> Result<SourceOutput, Fault> {
        // It may be of an older configuration, or of an older version of this crate.
        let cursor = tick.cursor.clone().and_then(|it| serde_json::from_value::<Cursor>(it).ok());
        let Some(cursor) = cursor.filter(|it| it.schedule == self.name) else {
            let seed = jitter(now, tick.due_ms, u64::MAX);
            let cursor = Cursor { schedule: self.name.clone(), anchor_ms: now, seed, next_ms: now };
            return self.wait_after(now, cursor, SourceOutput::default());
        };
        if now < cursor.next_ms {
            // The clock was set back: what it shows now may come earlier.
            return self.wait_after(now, cursor, SourceOutput::default());
        }
        let first = cursor.next_ms;
        let Some(meant) = self.latest_due(&cursor, now) else {
            // Only the jitter is not over yet.
            return self.wait_after(first.saturating_sub(1), cursor, SourceOutput::default());
        };
        let is_late = now - self.due(&cursor, meant) > LATE_MS;
        let runs = !is_late || self.missed == Missed::RunOnce;
        let count = self.schedule.count(cursor.anchor_ms, first, meant);
        // A count that was broken off stays as it is: there are more in any case.
        let missed = if is_late || count == MOST_COUNTED { count } else { count - 1 };
        let mut output = SourceOutput::default();
        if runs {
            output.events.push(self.event(meant, ids));
        }
        if missed > 0 {
            output.log.push(missed_line(missed, first, meant, runs));
        }
        self.wait_after(meant, cursor, output)
    }

    /// The last time from the cursor's on whose jitter is over at `now`.
    fn latest_due(&self, cursor: &Cursor, now: u64) -> Option<u64> {
        let (anchor, first) = (cursor.anchor_ms, cursor.next_ms);
        let latest = self.schedule.latest(anchor, first, now);
        if self.due(cursor, latest) <= now {
            return Some(latest);
        }
        // Jitter ends before the next time, so that the one before it is due.
        (latest > first).then(|| self.schedule.latest(anchor, first, latest - 1))
    }

    /// When a time is due, with its jitter: before the next time.
    fn due(&self, cursor: &Cursor, time: u64) -> u64 {
        if self.jitter_ms == 0 {
            return time;
        }
        let next = self.schedule.next(cursor.anchor_ms, time);
        let room = next.map_or(u64::MAX, |next| (next - time).saturating_sub(1_000));
        time.saturating_add(jitter(cursor.seed, time, self.jitter_ms.saturating_add(1).min(room)))
    }

    /// Asks to be woken at the first time after `after`.
    fn wait_after(
        &self,
        after: u64,
        cursor: Cursor,
        mut output: SourceOutput,
    ) -> Result<SourceOutput, Fault> {
        let Some(next_ms) = self.schedule.next(cursor.anchor_ms, after) else {
            return Err(Fault::permanent("the clock shows a time that calendars do not reach"));
        };
        let cursor = Cursor { next_ms, ..cursor };
        output.next_tick_ms = Some(self.due(&cursor, next_ms));
        output.cursor = Some(json!(cursor));
        Ok(output)
    }

    fn event(&self, meant: u64, ids: &SourceIds) -> Event {
        let mut payload = json!({ "metadata": self.metadata, "scheduled_time": meant });
        let known = [("dev_oid", &ids.dev_oid), ("event_source_id", &ids.event_source_id)];
        for (key, id) in known {
            if let Some(id) = id {
                payload[key] = json!(id);
            }
        }
        Event {
            event_type: EVENT_TYPE.to_owned(),
            payload: Payload::Json(payload),
            dedup_key: Some(format!("{EVENT_TYPE}:{meant}")),
            sync_id: None,
        }
    }
}

fn missed_line(missed: u64, first: u64, last: u64, runs: bool) -> LogLine {
    let shown = |ms: u64| {
        let time = i64::try_from(ms).ok().and_then(|it| jiff::Timestamp::from_millisecond(it).ok());
        time.map_or_else(|| ms.to_string(), |it| it.to_string())
    };
    let many = if missed < MOST_COUNTED { missed.to_string() } else { format!("{missed} or more") };
    let times = if missed == 1 { "time was" } else { "times were" };
    let fate = if runs { "one event stands for all" } else { "skipped" };
    let message = format!("{many} {times} missed, {} to {}: {fate}", shown(first), shown(last));
    LogLine { level: LogLevel::Warn, message }
}

/// Somebody publishes by hand.
fn published(event_type: &str, body: &[u8]) -> Result<SourceOutput, Fault> {
    if event_type != EVENT_TYPE {
        let message = format!("a timer publishes `{EVENT_TYPE}` only, not `{event_type}`");
        return Err(Fault::permanent(message));
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        return Err(Fault::permanent(format!("the payload is no JSON: {error}")));
    }
    let event = Event {
        event_type: EVENT_TYPE.to_owned(),
        payload: Payload::Input,
        dedup_key: None,
        sync_id: None,
    };
    Ok(SourceOutput { events: vec![event], ..SourceOutput::default() })
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
