//! One endpoint: its queue, its requests, its verification. A task of its own, so that an endpoint that
//! never answers holds up nobody else.
//!
//! What a webhook is stands in the store alone, and is changed there against its generation; a lane that
//! finds another one looks again. Must never keep more of the queue in memory than its line allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Shared;
use super::interest::{Collected, collect};
use super::send::{self, Endpoint, Found, Sent};
use crate::engine::outgoing::line::{Line, Order, Place, WINDOW};
use crate::engine::outgoing::rate::Rate;
use crate::engine::outgoing::signals::{self, Lane as _, Signals};
use crate::lifecycle::attempts::Next;
use crate::lifecycle::delivery::Verdict;
use crate::lifecycle::webhook::{Event, Queue, Standing, Status, step};
use crate::model::id::WebhookId;
use crate::random::secret_text;
use crate::store::{PutWebhook, StoreError, WebhookRecord};

/// Deliveries that fail without an attempt in one transaction.
const CHUNK: usize = 500;
/// How long it is before a filter is tried again for which there was no place.
const BUSY_PAUSE_MS: u64 = 500;
/// The longest that a lane sleeps: a clock may be set.
const LONGEST_SLEEP_MS: u64 = 60_000;

/// What came of something that was under way.
enum Done {
    Sent(Sent),
    Asked { generation: u64, outcome: Result<(), String> },
}

/// Serves one endpoint until its webhook is gone or the daemon stops.
pub(super) async fn run(shared: Arc<Shared>, id: WebhookId, signals: Arc<Signals>) {
    let mut lane = Lane {
        shared,
        id,
        endpoint: None,
        line: Line::default(),
        read_to: None,
        is_drained: false,
        rate: Rate::default(),
        paused_until_ms: 0,
        last_taken_ms: 0,
        held_up_to: None,
        asking: false,
        has_news: true,
        collects_from_ms: 0,
        under_way: JoinSet::new(),
    };
    signals::serve(&mut lane, &signals, id).await;
    // Requests that are out are allowed to end: their deadline is short.
    while lane.under_way.join_next().await.is_some() {}
}

struct Lane {
    shared: Arc<Shared>,
    id: WebhookId,
    endpoint: Option<Arc<Endpoint>>,
    line: Line,
    /// How far the queue in the store was read; what comes into it before that sets it back.
    read_to: Option<u128>,
    /// Whether there was nothing after that.
    is_drained: bool,
    rate: Rate,
    paused_until_ms: u64,
    last_taken_ms: u64,
    /// The last one that was held while it was degraded: up to there they go one by one, in order.
    held_up_to: Option<u128>,
    asking: bool,
    /// Whether there may be changes that it was not told of yet.
    has_news: bool,
    /// Not looked at before: too many filters run.
    collects_from_ms: u64,
    under_way: JoinSet<Done>,
}

impl signals::Lane for Lane {
    async fn look_again(&mut self) -> Result<bool, StoreError> {
        let before = self.endpoint.take();
        let endpoint = loop {
            match Endpoint::read(&self.shared, self.id)? {
                Found::There(endpoint) => break *endpoint,
                Found::Gone => return Ok(false),
                Found::WithoutSecret => self.step(&Event::SecretLost).await?,
            }
        };
        let (was, is) =
            (before.map(|it| it.record.standing.status), endpoint.record.standing.status);
        if (was, is) == (Some(Status::Degraded), Status::Active) {
            let id = self.id;
            self.held_up_to = self.shared.store.read(|it| it.last_queued_delivery(id))?;
        }
        if was != Some(is) {
            self.read_anew();
            self.paused_until_ms = 0;
        }
        self.rate.set(endpoint.record.per_second);
        self.endpoint = Some(Arc::new(endpoint));
        Ok(true)
    }

    fn read_anew(&mut self) {
        self.line.forget_waiting();
        self.read_to = None;
        self.is_drained = false;
    }

    async fn turn(&mut self, signals: &Signals) -> Result<bool, StoreError> {
        let Some(endpoint) = self.endpoint.clone() else { return Ok(false) };
        let now_ms = self.shared.clock.now_ms();
        self.ask(&endpoint, now_ms);
        let mut sleep_ms = LONGEST_SLEEP_MS;
        if self.has_news && self.collects_from_ms <= now_ms {
            let (collected, from) = collect(&self.shared, &endpoint).await?;
            match collected {
                Collected::All => self.has_news = false,
                Collected::More => sleep_ms = 0,
                Collected::Full => {}
                Collected::Busy => self.collects_from_ms = now_ms.saturating_add(BUSY_PAUSE_MS),
            }
            if let Some(from) = from {
                // Something else may have been queued for what happened later.
                self.read_to = self.read_to.map(|it| it.min(from.0));
                self.is_drained = false;
            }
        }
        if self.has_news && self.collects_from_ms > now_ms {
            sleep_ms = sleep_ms.min(self.collects_from_ms - now_ms).min(BUSY_PAUSE_MS);
        }
        match endpoint.record.standing.queue(endpoint.record.on_degraded) {
            Queue::Send => sleep_ms = sleep_ms.min(self.send(&endpoint, now_ms)?),
            Queue::Hold => {}
            Queue::Fail => self.fail_queued(&endpoint).await?,
        }
        if let Some(verification) = &endpoint.record.standing.verification
            && !self.asking
        {
            sleep_ms = sleep_ms.min(verification.due_ms.saturating_sub(now_ms));
        }
        tokio::select! {
            Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                // Whoever panics has sent nothing that is known of: it is sent again.
                match done {
                    Ok(Done::Sent(sent)) => self.settled(sent).await?,
                    Ok(Done::Asked { generation, outcome }) => self.asked(generation, outcome).await?,
                    Err(error) => {
                        warn!(webhook = %self.id, %error, "a delivery panicked");
                        self.asking = false;
                        self.line = Line::default();
                        self.read_anew();
                    }
                }
            }
            () = signals.heard() => self.has_news = true,
            () = tokio::time::sleep(Duration::from_millis(sleep_ms)) => {}
        }
        Ok(true)
    }
}

impl Lane {
    /// Begins as many requests as may be under way. Answers for how long there is nothing to begin.
    fn send(&mut self, endpoint: &Arc<Endpoint>, now_ms: u64) -> Result<u64, StoreError> {
        if self.paused_until_ms > now_ms {
            return Ok(self.paused_until_ms - now_ms);
        }
        loop {
            self.fill()?;
            if self.line.under_way() >= usize::from(endpoint.record.concurrency) {
                return Ok(LONGEST_SLEEP_MS);
            }
            if let Some(pause_ms) = self.rate.wait_ms(now_ms) {
                return Ok(pause_ms);
            }
            if self.held_up_to.is_some_and(|up_to| self.line.first().is_none_or(|it| it > up_to)) {
                self.held_up_to = None;
            }
            let order = match (self.held_up_to, endpoint.record.in_order) {
                (Some(_), _) => Order::Strict,
                (None, true) => Order::PerGroup,
                (None, false) => Order::None,
            };
            let Some(event) = self.line.take(now_ms, order) else {
                let due_ms = self.line.next_due_ms();
                return Ok(due_ms.map_or(LONGEST_SLEEP_MS, |it| it.saturating_sub(now_ms).max(1)));
            };
            self.rate.take(now_ms);
            let (shared, endpoint) = (self.shared.clone(), endpoint.clone());
            self.under_way
                .spawn(async move { Done::Sent(send::deliver(&shared, &endpoint, event).await) });
        }
    }

    /// Looks for more in the store when half of the window is free.
    fn fill(&mut self) -> Result<(), StoreError> {
        if self.is_drained || !self.line.has_room() {
            return Ok(());
        }
        let (id, after) = (self.id, self.read_to);
        let places =
            self.shared.store.read(|tables| tables.queued_deliveries(id, after, WINDOW))?;
        self.is_drained = places.len() < WINDOW;
        self.read_to = places.last().map(|it| it.event).or(after);
        for place in places {
            let group = place.object;
            self.line.add(Place { id: place.event, due_ms: place.due_ms, group });
        }
        Ok(())
    }

    async fn settled(&mut self, sent: Sent) -> Result<(), StoreError> {
        let Sent { event, first_attempt_ms, verdict, next, stored } = sent;
        let now_ms = self.shared.clock.now_ms();
        if let Err(error) = stored {
            self.line.again(event, now_ms);
            return Err(error);
        }
        match next {
            Some(Next::Again { at_ms }) => self.line.again(event, at_ms),
            Some(Next::Delivered | Next::GivenUp) | None => self.line.done(event),
        }
        match verdict {
            Some(Verdict::Taken) => self.last_taken_ms = now_ms,
            Some(Verdict::Throttled { pause_ms }) => {
                self.paused_until_ms = now_ms.saturating_add(pause_ms);
            }
            Some(Verdict::Gone) => self.happened(&Event::Gone).await?,
            // One event failed all its attempts, and nothing went through in all that time.
            Some(Verdict::Failed { reason })
                if next == Some(Next::GivenUp) && self.last_taken_ms < first_attempt_ms =>
            {
                self.happened(&Event::Failing { reason }).await?;
            }
            Some(Verdict::Failed { .. }) | None => {}
        }
        Ok(())
    }

    /// Asks the endpoint whether it wants events, when it is time.
    fn ask(&mut self, endpoint: &Arc<Endpoint>, now_ms: u64) {
        let Some(verification) = &endpoint.record.standing.verification else { return };
        if self.asking || verification.due_ms > now_ms {
            return;
        }
        self.asking = true;
        let (shared, endpoint) = (self.shared.clone(), endpoint.clone());
        let (challenge, generation) = (verification.challenge.clone(), endpoint.record.generation);
        self.under_way.spawn(async move {
            let outcome = send::challenge(&shared, &endpoint, &challenge).await;
            Done::Asked { generation, outcome }
        });
    }

    async fn asked(
        &mut self,
        generation: u64,
        outcome: Result<(), String>,
    ) -> Result<(), StoreError> {
        self.asking = false;
        // It was asked for what the webhook was then.
        if self.endpoint.as_ref().is_none_or(|it| it.record.generation != generation) {
            return Ok(());
        }
        match outcome {
            Ok(()) => self.happened(&Event::Echoed).await,
            Err(reason) => self.happened(&Event::NotEchoed { reason }).await,
        }
    }

    /// Something happened to the webhook.
    async fn happened(&mut self, event: &Event) -> Result<(), StoreError> {
        self.step(event).await?;
        self.look_again().await?;
        Ok(())
    }

    /// Takes the webhook one step on in the store, wherever it stands by now.
    async fn step(&self, event: &Event) -> Result<(), StoreError> {
        take_step(&self.shared, self.id, event).await
    }
}

/// Takes a webhook one step on in the store, wherever it stands by now.
pub(super) async fn take_step(
    shared: &Shared,
    id: WebhookId,
    event: &Event,
) -> Result<(), StoreError> {
    let store = &shared.store;
    let now_ms = shared.clock.now_ms();
    while let Some(before) = store.read(|tables| tables.webhook(id))? {
        let challenge = secret_text();
        let standing = step(&before.standing, event, &challenge, now_ms);
        if standing == before.standing {
            break;
        }
        log(id, &before.standing, &standing);
        let generation = before.generation;
        let record = WebhookRecord { standing, generation: generation + 1, ..before };
        let put = store.write(move |it| it.put_webhook(id, generation, &record, None)).await?;
        if put == PutWebhook::Stored {
            break;
        }
    }
    Ok(())
}

impl Lane {
    /// Fails what is queued, step by step.
    async fn fail_queued(&mut self, endpoint: &Endpoint) -> Result<(), StoreError> {
        if self.is_drained {
            return Ok(());
        }
        let reason = endpoint.not_sent();
        loop {
            let (id, reason) = (self.id, reason.clone());
            let failed =
                self.shared.store.write(move |it| it.fail_deliveries(id, &reason, CHUNK)).await?;
            if failed < CHUNK {
                break;
            }
        }
        self.line.forget_waiting();
        self.is_drained = true;
        Ok(())
    }
}

fn log(id: WebhookId, before: &Standing, after: &Standing) {
    let (from, to) = (before.status.name(), after.status.name());
    let reason = after.reason.as_deref().unwrap_or_default();
    match after.status {
        _ if from == to => {}
        Status::Degraded => warn!(webhook = %id, from, to, reason, "a webhook is degraded"),
        Status::Active | Status::Unverified | Status::Inactive => {
            info!(webhook = %id, from, to, reason, "a webhook changed its state");
        }
    }
}
