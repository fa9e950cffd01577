//! One integration: its queue, and what goes out of it. A task of its own, so that one that never answers
//! holds up nobody else.
//!
//! What an integration is stands in the store alone, and is changed there against its generation; a lane
//! that is told of a change looks again. Whether anything may be sent is decided in `lifecycle/sending.rs`.
//! Must never keep more of the queue in memory than its line allows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Shared;
use super::connection::Gate;
use super::send::{self, Made, Tried, What};
use crate::engine::outgoing::line::{Line, Order, Place, WINDOW};
use crate::engine::outgoing::rate::Rate;
use crate::engine::outgoing::signals::{self, STORE_PAUSE, Signals};
use crate::lifecycle::attempts::Next;
use crate::lifecycle::sending::{self, Circuit, Outcome};
use crate::model::id::{DeliveryId, IntegrationId};
use crate::model::occurrence::Trigger;
use crate::store::{IntegrationRecord, NewOccurrence, SettledTelling, StoreError};

/// The longest that a lane sleeps: a clock may be set.
const LONGEST_SLEEP_MS: u64 = 60_000;

/// What others have of a lane.
#[derive(Default)]
pub(super) struct Handle {
    /// What stands before its connection.
    pub(super) gate: Arc<Gate>,
    /// How it is told that there is something to do.
    pub(super) signals: Signals,
}

/// What came of something that was under way.
enum Done {
    Tried(Tried),
    Stored { id: DeliveryId, next: Next, stored: Result<bool, StoreError> },
}

/// Serves one integration until it is gone or the daemon stops.
pub(super) async fn run(shared: Arc<Shared>, id: IntegrationId, handle: Arc<Handle>) {
    let mut lane = Lane {
        shared,
        id,
        gate: handle.gate.clone(),
        record: None,
        circuit: Circuit::default(),
        line: Line::default(),
        is_drained: false,
        read_to: None,
        rate: Rate::default(),
        paused_until_ms: 0,
        under_way: JoinSet::new(),
    };
    signals::serve(&mut lane, &handle.signals, id).await;
    // What is out is allowed to end: its deadline is short.
    while let Some(done) = lane.under_way.join_next().await {
        if let Ok(Done::Tried(tried)) = done {
            lane.tried(tried);
        }
    }
}

struct Lane {
    shared: Arc<Shared>,
    id: IntegrationId,
    gate: Arc<Gate>,
    record: Option<IntegrationRecord>,
    circuit: Circuit,
    line: Line,
    /// Whether the store has nothing after what the line knows.
    is_drained: bool,
    /// Up to where the store was read.
    read_to: Option<u128>,
    rate: Rate,
    paused_until_ms: u64,
    under_way: JoinSet<Done>,
}

impl signals::Lane for Lane {
    async fn look_again(&mut self) -> Result<bool, StoreError> {
        let id = self.id;
        let read = self.shared.store.read(|tables| {
            Ok(tables.integration(id)?.map(|it| (it, tables.integration_circuit(id))))
        })?;
        let Some((record, circuit)) = read else { return Ok(false) };
        if self.record.as_ref().is_none_or(|it| it.generation != record.generation) {
            self.circuit = circuit?;
            self.paused_until_ms = 0;
            self.read_anew();
        }
        self.rate.set(record.per_second);
        self.record = Some(record);
        Ok(true)
    }

    fn read_anew(&mut self) {
        self.line.forget_waiting();
        self.read_to = None;
        self.is_drained = false;
    }

    async fn turn(&mut self, signals: &Signals) -> Result<bool, StoreError> {
        let Some(record) = self.record.clone() else { return Ok(false) };
        let now_ms = self.shared.clock.now_ms();
        let sleep_ms = if record.enabled { self.send(&record, now_ms)? } else { LONGEST_SLEEP_MS };
        tokio::select! {
            Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => match done {
                Ok(Done::Tried(tried)) => self.tried(tried),
                Ok(Done::Stored { id, next, stored }) => self.stored(id, next, stored)?,
                // Whoever panics has sent nothing that is known of: it is sent again.
                Err(error) => {
                    warn!(integration = %self.id, %error, "a delivery panicked");
                    self.line = Line::default();
                    self.read_anew();
                }
            },
            () = signals.heard() => self.is_drained = false,
            () = tokio::time::sleep(Duration::from_millis(sleep_ms.min(LONGEST_SLEEP_MS))) => {}
        }
        Ok(true)
    }
}

impl Lane {
    /// Begins as many messages as may be under way. Answers for how long there is nothing to begin.
    fn send(&mut self, record: &IntegrationRecord, now_ms: u64) -> Result<u64, StoreError> {
        let most = match self.circuit.gate(now_ms) {
            sending::Gate::Open => usize::from(record.concurrency),
            sending::Gate::OneProbe => 1,
            sending::Gate::Closed { until_ms } => {
                return Ok(until_ms.saturating_sub(now_ms).max(1));
            }
        };
        // A clock that was set back must not hold everything for ever.
        if self.paused_until_ms > now_ms && self.paused_until_ms - now_ms <= 2 * 60 * 60_000 {
            return Ok(self.paused_until_ms - now_ms);
        }
        loop {
            self.fill()?;
            if self.line.under_way() >= most {
                return Ok(LONGEST_SLEEP_MS);
            }
            if let Some(pause_ms) = self.rate.wait_ms(now_ms) {
                return Ok(pause_ms.max(1));
            }
            // Messages of one work go one after the other: the first opens the conversation.
            let Some(next) = self.line.take(now_ms, Order::PerGroup) else {
                let due_ms = self.line.next_due_ms();
                return Ok(due_ms.map_or(LONGEST_SLEEP_MS, |it| it.saturating_sub(now_ms).max(1)));
            };
            self.rate.take(now_ms);
            let (shared, gate, id) = (self.shared.clone(), self.gate.clone(), self.id);
            self.under_way.spawn(async move {
                Done::Tried(send::attempt(shared, gate, id, DeliveryId(next)).await)
            });
        }
    }

    /// Looks for more in the store when half of the window is free.
    fn fill(&mut self) -> Result<(), StoreError> {
        if self.is_drained || !self.line.has_room() {
            return Ok(());
        }
        let (id, after) = (self.id, self.read_to);
        let places = self.shared.store.read(|tables| tables.queued_tellings(id, after, WINDOW))?;
        self.is_drained = places.len() < WINDOW;
        // Ids only grow: what comes later stands behind.
        self.read_to = places.last().map(|it| it.id).or(after);
        for place in places {
            let group = place.work;
            self.line.add(Place { id: place.id, due_ms: place.due_ms, group });
        }
        Ok(())
    }

    /// An attempt was made: says what follows from it, and has that stored.
    fn tried(&mut self, tried: Tried) {
        let Tried { id, what } = tried;
        let now_ms = self.shared.clock.now_ms();
        let made = match what {
            What::Made(made) => *made,
            What::Gone => return self.line.done(id.0),
            What::Store(error) => {
                warn!(integration = %self.id, %error, "a message waits for the store");
                let pause_ms = u64::try_from(STORE_PAUSE.as_millis()).unwrap_or(u64::MAX);
                return self.line.again(id.0, now_ms.saturating_add(pause_ms));
            }
        };
        let Made { record, outcome, attempt, thread, was_cut } = made;
        let circuit = match was_cut || self.is_of_before(attempt.generation) {
            true => None,
            false => self.step_circuit(&outcome, now_ms),
        };
        let holds = was_cut || self.circuit.is_open();
        let jitter =
            u16::try_from(u128::from(now_ms).wrapping_add(id.0) % 1_001).unwrap_or_default();
        let (tries, next) = sending::after_attempt(record.tries, &outcome, holds, jitter, now_ms);
        if let Outcome::Throttled { pause_ms, .. } = &outcome {
            self.paused_until_ms = now_ms.saturating_add(sending::throttle_ms(*pause_ms));
        }
        let settled = SettledTelling { attempt, tries, next, thread, circuit };
        let (store, integration) = (self.shared.store.clone(), self.id);
        self.under_way.spawn(async move {
            let stored = store.write(move |it| it.settle_telling(integration, id, &settled)).await;
            Done::Stored { id, next, stored: stored.map(|it| it.is_some()) }
        });
    }

    /// Whether an attempt was made with what the integration is no more.
    fn is_of_before(&self, generation: u64) -> bool {
        // Nothing was opened: the reason is of now.
        generation != 0 && self.record.as_ref().is_none_or(|it| it.generation != generation)
    }

    /// What the circuit becomes; something only when that has to be stored.
    fn step_circuit(
        &mut self,
        outcome: &Outcome,
        now_ms: u64,
    ) -> Option<(Circuit, Option<NewOccurrence>)> {
        let after = self.circuit.after(outcome, now_ms);
        let before = std::mem::replace(&mut self.circuit, after);
        let record = self.record.as_ref()?;
        let news = match (&before, &self.circuit) {
            (Circuit::Closed { .. }, Circuit::Open { reason, .. }) => {
                warn!(integration = %self.id, name = record.name, reason, "an integration is degraded");
                Some(news(Trigger::IntegrationDegraded, self.id, record, Some(reason)))
            }
            (Circuit::Open { .. }, Circuit::Closed { .. }) => {
                info!(integration = %self.id, name = record.name, "an integration works again");
                Some(news(Trigger::IntegrationRecovered, self.id, record, None))
            }
            (Circuit::Open { .. }, Circuit::Open { .. }) if before != self.circuit => None,
            (Circuit::Open { .. }, Circuit::Open { .. })
            // Counting is not worth a row.
            | (Circuit::Closed { .. }, Circuit::Closed { .. }) => return None,
        };
        Some((self.circuit.clone(), news))
    }

    fn stored(
        &mut self,
        id: DeliveryId,
        next: Next,
        stored: Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let now_ms = self.shared.clock.now_ms();
        match (stored, next) {
            (Ok(true), Next::Again { at_ms }) => self.line.again(id.0, at_ms),
            (Ok(_), Next::Again { .. } | Next::Delivered | Next::GivenUp) => self.line.done(id.0),
            (Err(error), _) => {
                self.line.again(id.0, now_ms);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn news(
    trigger: Trigger,
    id: IntegrationId,
    record: &IntegrationRecord,
    reason: Option<&str>,
) -> NewOccurrence {
    let mut new = NewOccurrence::new(trigger);
    new.subject = Some(id.to_string());
    new.about = Some(id);
    for (name, value) in [
        ("integration", json!(id)),
        ("integration_name", json!(record.name)),
        ("integration_type", json!(record.kind)),
    ] {
        new.members.insert(name.to_owned(), value);
    }
    if let Some(reason) = reason {
        new.members.insert("reason".to_owned(), json!(reason));
    }
    new
}
