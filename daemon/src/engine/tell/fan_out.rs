//! Who is told of what happened: reads occurrences behind a durable cursor, judges each for every
//! integration and subscription, and stores decisions, messages and cursor in one transaction.
//!
//! Filters and templates run here, never in the writer. A filter that fails leaves a dead letter, so
//! that somebody sees it and can send the message when the filter is mended; one that takes too long is
//! not run for a while, so that it holds up nobody else's messages.

use std::collections::HashMap;
use std::time::Duration;

use mortise_jq::{Program, RunError};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Tell;
use crate::model::id::{IntegrationId, SubscriptionId};
use crate::model::integration::{Decision, Demand, Offer, Verdict};
use crate::routing::message::{Wording, document, message};
use crate::routing::telling::{Judged, judge};
use crate::store::{
    DecidedOccurrence, PlannedTelling, StoreError, StoredOccurrence, SubscriptionRecord, Telling,
    TellingStep, Tellings,
};

/// Occurrences that are decided on in one step.
const MOST_AT_ONCE: usize = 128;
/// How long a filter may take for one occurrence.
const FILTER_TIME: Duration = Duration::from_millis(500);
/// How long all filters of one integration may take for the occurrences of one step.
const FILTERS_TIME: Duration = Duration::from_secs(2);
/// How long one that finds no place waits before it looks again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long one that took longer is left alone.
const FILTER_PAUSE: Duration = Duration::from_secs(30);
/// How long it waits when the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How often it looks without being told to.
const LOOK: Duration = Duration::from_secs(30);

/// Everything that says who is told, ready to be used.
#[derive(Default)]
struct Known {
    revision: Option<u64>,
    offers: Vec<Offer>,
    demands: Vec<Demand>,
    subscriptions: HashMap<SubscriptionId, Subscriber>,
}

/// Which occurrences are wanted.
#[derive(Clone)]
enum Filter {
    /// All.
    None,
    /// Those for which it is true.
    Program(Program),
    /// It compiled when it was stored, and does not now: nothing may go out unfiltered.
    Broken,
}

impl Filter {
    fn of(text: Option<&str>) -> Filter {
        match text.map(Program::compile) {
            None => Filter::None,
            Some(Ok(program)) => Filter::Program(program),
            Some(Err(_)) => Filter::Broken,
        }
    }
}

/// One subscription.
struct Subscriber {
    record: SubscriptionRecord,
    filter: Filter,
    wording: Wording,
    /// Its filter is not run before.
    slow_until: Option<Instant>,
}

impl Known {
    fn of(telling: Telling, before: &Known) -> Known {
        let offers =
            telling.integrations.into_iter().map(|(integration, record, supplies)| Offer {
                integration,
                enabled: record.enabled,
                supplied_to_all: record.supplied_to_all,
                supplies,
            });
        let mut known = Known {
            revision: Some(telling.revision),
            offers: offers.collect(),
            ..Known::default()
        };
        for (id, record) in telling.subscriptions {
            known.demands.push(Demand {
                subscription: id,
                integration: record.integration,
                trigger: record.trigger.clone(),
                scope: record.scope.clone(),
            });
            let old = before.subscriptions.get(&id);
            // Also of another filter: otherwise whoever changes a slow one all the time has it run
            // all the time.
            let slow_until = old.and_then(|it| it.slow_until);
            let filter = match old.filter(|it| it.record.filter == record.filter) {
                Some(old) => old.filter.clone(),
                None => Filter::of(record.filter.as_deref()),
            };
            let wording = Wording { title: record.title.clone(), text: record.text.clone() };
            known.subscriptions.insert(id, Subscriber { record, filter, wording, slow_until });
        }
        known
    }
}

/// Decides for ever.
pub(super) async fn run(tell: Tell) {
    let mut known = Known::default();
    while !tell.shared.is_stopped() {
        match step(&tell, &mut known).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "who is told of what waits for the store");
                tokio::time::sleep(STORE_PAUSE).await;
                continue;
            }
        }
        // Nothing is lost when nobody rings: the cursor says what is left.
        let _ = timeout(LOOK, tell.shared.store.occurrence_bell().notified()).await;
    }
}

/// Decides on what is next; false when there is nothing.
async fn step(tell: &Tell, known: &mut Known) -> Result<bool, StoreError> {
    let store = &tell.shared.store;
    let (from, revision, found) = store.read(|tables| {
        let from = tables.telling_cursor()?;
        let found = tables.occurrences_after(from, MOST_AT_ONCE)?;
        Ok((from, tables.telling_revision()?, found))
    })?;
    let Some(last) = found.last() else { return Ok(false) };
    if known.revision != Some(revision) {
        *known = Known::of(store.read(|tables| tables.who_is_told())?, known);
    }
    let step = TellingStep { from, to: last.id, revision: known.revision.unwrap_or_default() };
    let mut decided = Vec::with_capacity(found.len());
    let mut spent = HashMap::new();
    for occurrence in found {
        decided.push(decide(known, occurrence, &mut spent).await);
    }
    match store.write(move |tables| tables.tell_occurrences(step, &decided)).await? {
        Tellings::Stored(woken) => woken.into_iter().for_each(|it| tell.wake(it)),
        // Somebody has changed something: it is decided anew.
        Tellings::Stale => known.revision = None,
    }
    Ok(true)
}

/// How long the filters of each integration took in one step.
type Spent = HashMap<IntegrationId, Duration>;

async fn decide(
    known: &mut Known,
    occurrence: StoredOccurrence,
    spent: &mut Spent,
) -> DecidedOccurrence {
    let StoredOccurrence { id, head, members } = occurrence;
    let document = document(id, &head, &members);
    let mut plans = Vec::new();
    for judged in judge(&head, &known.offers, &known.demands) {
        let (integration, subscription) = match judged {
            Judged::Not { integration, subscription, verdict } => {
                plans.push(PlannedTelling::Not(Decision { integration, subscription, verdict }));
                continue;
            }
            Judged::Meets { integration, subscription } => (integration, subscription),
        };
        let Some(wanted) = known.subscriptions.get_mut(&subscription) else { continue };
        let spent = spent.entry(integration).or_default();
        let failed = match wanted.agrees(&document, spent).await {
            Ok(true) => None,
            Ok(false) => {
                let subscription = Some(subscription);
                let verdict = Verdict::Filter;
                plans.push(PlannedTelling::Not(Decision { integration, subscription, verdict }));
                continue;
            }
            Err(problem) => Some(problem),
        };
        plans.push(PlannedTelling::Tell {
            integration,
            subscription,
            message: message(&head, &document, &wanted.wording),
            group_wait_ms: wanted.record.group_wait_ms(),
            failed,
        });
    }
    DecidedOccurrence { id, trigger: head.trigger, work: head.work, plans }
}

impl Subscriber {
    /// Whether its filter wants an occurrence.
    async fn agrees(&mut self, document: &Value, spent: &mut Duration) -> Result<bool, String> {
        let filter = match &self.filter {
            Filter::None => return Ok(true),
            Filter::Program(filter) => filter,
            Filter::Broken => return Err("it does not compile any more".to_owned()),
        };
        if *spent >= FILTERS_TIME {
            return Err("the filters of its integration took too long together".to_owned());
        }
        if self.slow_until.is_some_and(|it| Instant::now() < it) {
            return Err("it took too long a moment ago, and is not run for a while".to_owned());
        }
        let began = Instant::now();
        let answered = timeout(FILTER_TIME, run_when_free(filter, document)).await;
        *spent += began.elapsed();
        match answered {
            Ok(agreed) => agreed.map_err(|error| error.to_string()),
            Err(_) => {
                self.slow_until = Some(Instant::now() + FILTER_PAUSE);
                Err(format!("it took longer than {} ms", FILTER_TIME.as_millis()))
            }
        }
    }
}

/// Runs a filter. That others take all places is not its fault, nor that of the occurrence.
async fn run_when_free(filter: &Program, document: &Value) -> Result<bool, RunError> {
    loop {
        match filter.run_filter(document, &[]).await {
            Err(RunError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
            answered => return answered,
        }
    }
}
