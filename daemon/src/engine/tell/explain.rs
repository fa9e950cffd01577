//! Who was told of something, who was not, and why: from the decisions that were stored, and when there
//! are none, why not.

use super::Tell;
use crate::lifecycle::sending::Circuit;
use crate::model::id::{
    DeliveryId, EventId, IntegrationId, OccurrenceId, RunId, SnapInId, SourceId,
};
use crate::model::integration::{Decision, Verdict};
use crate::model::run::{RunHead, RunState};
use crate::store::{DecisionsRecord, StoreError, StoredOccurrence, TellingRecord, TellingState};

/// Occurrences that are explained at once.
const MOST: usize = 20;
/// Runs of an event that are looked at.
const MOST_RUNS: usize = 50;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// An occurrence.
    Occurrence(OccurrenceId),
    /// What came of an event.
    Event(EventId),
    /// A run.
    Run(RunId),
    /// A message.
    Delivery(DeliveryId),
    /// The last things that happened to a snap-in.
    SnapIn(SnapInId),
    /// The last things that happened to an event source.
    Source(SourceId),
    /// The last things that happened to an integration.
    Integration(IntegrationId),
}

/// What ids begin with that can be asked about.
pub const KINDS: [&str; 7] = ["run_", "evt_", "occ_", "dlv_", "snp_", "src_", "itg_"];

impl About {
    /// What an id is about.
    pub fn read(id: &str) -> Option<About> {
        let (prefix, _) = crate::model::id::parts_of(id)?;
        match prefix {
            OccurrenceId::PREFIX => id.parse().ok().map(About::Occurrence),
            EventId::PREFIX => id.parse().ok().map(About::Event),
            RunId::PREFIX => id.parse().ok().map(About::Run),
            DeliveryId::PREFIX => id.parse().ok().map(About::Delivery),
            SnapInId::PREFIX => id.parse().ok().map(About::SnapIn),
            SourceId::PREFIX => id.parse().ok().map(About::Source),
            IntegrationId::PREFIX => id.parse().ok().map(About::Integration),
            _ => None,
        }
    }
}

/// An explanation.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// What happened, newest first.
    pub occurrences: Vec<Explained>,
    /// What there is to say when that is nothing, or not all.
    pub notes: Vec<String>,
}

/// What was decided about one occurrence.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The occurrence.
    pub occurrence: StoredOccurrence,
    /// When it was decided; nothing while it waits.
    pub decided_ms: Option<u64>,
    /// For each integration and subscription.
    pub decisions: Vec<ExplainedDecision>,
    /// How many decisions were not kept.
    pub left_out: u32,
}

/// One decision, and what became of it.
#[derive(Clone, Debug)]
pub struct ExplainedDecision {
    /// The decision.
    pub decision: Decision,
    /// Name and type of the integration, while it is there.
    pub integration: Option<(String, String)>,
    /// The message, while it is kept.
    pub delivery: Option<(DeliveryId, TellingRecord)>,
    /// Why the message is not sent at the moment.
    pub waits: Option<String>,
}

impl Tell {
    /// Explains; nothing when there is no such thing.
    pub fn explain(&self, about: About) -> Result<Option<Explanation>, StoreError> {
        let mut notes = Vec::new();
        let store = &self.shared.store;
        let found = match about {
            About::Occurrence(id) => {
                let Some(found) = store.read(|tables| tables.occurrence(id))? else {
                    return Ok(None);
                };
                vec![found]
            }
            About::Delivery(id) => {
                let Some((_, record)) = store.read(|tables| tables.find_telling(id))? else {
                    return Ok(None);
                };
                let mut found = Vec::new();
                for id in record.occurrences.iter().take(MOST) {
                    found.extend(store.read(|tables| tables.occurrence(*id))?);
                }
                found
            }
            About::Run(id) => {
                let Some(found) = self.of_run(id, &mut notes)? else { return Ok(None) };
                found
            }
            About::Event(id) => {
                let Some((head, _)) = store.read(|tables| tables.event(id))? else {
                    return Ok(None);
                };
                if head.runs.is_empty() {
                    notes.push(
                        "the event led to no run: no automation of its snap-in listens for its type"
                            .to_owned(),
                    );
                }
                if head.runs.len() > MOST_RUNS {
                    notes.push(format!(
                        "of its {} runs {MOST_RUNS} were looked at",
                        head.runs.len()
                    ));
                }
                let mut found = Vec::new();
                for run in head.runs.iter().take(MOST_RUNS) {
                    match self.of_run(*run, &mut notes)? {
                        Some(more) => found.extend(more),
                        None => notes.push(format!("{run} is so old that it is forgotten")),
                    }
                }
                found
            }
            About::SnapIn(id) => self.about(&id.to_string(), &mut notes)?,
            About::Source(id) => self.about(&id.to_string(), &mut notes)?,
            About::Integration(id) => self.about(&id.to_string(), &mut notes)?,
        };
        if found.len() > MOST {
            notes.push(format!("of {} occurrences the last {MOST} are shown", found.len()));
        }
        let mut found = found;
        found.sort_by_key(|it| std::cmp::Reverse(it.id));
        found.truncate(MOST);
        let occurrences =
            found.into_iter().map(|it| self.explained(it)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Explanation { occurrences, notes }))
    }

    fn about(
        &self,
        subject: &str,
        notes: &mut Vec<String>,
    ) -> Result<Vec<StoredOccurrence>, StoreError> {
        let found = self.shared.store.read(|tables| tables.occurrences_about(subject, MOST))?;
        if found.is_empty() {
            notes.push(
                "nothing worth telling has happened to it, or it is so old that it is forgotten"
                    .to_owned(),
            );
        }
        Ok(found)
    }

    /// What is known of a run; nothing when there is no such run.
    fn of_run(
        &self,
        id: RunId,
        notes: &mut Vec<String>,
    ) -> Result<Option<Vec<StoredOccurrence>>, StoreError> {
        let store = &self.shared.store;
        let found = store.read(|tables| tables.occurrences_about(&id.to_string(), MOST))?;
        let run = store.read(|tables| tables.run(id))?;
        match run {
            None if found.is_empty() => Ok(None),
            Some((head, _)) if found.is_empty() => {
                notes.push(format!("{id}: {}", silence(&head)));
                Ok(Some(found))
            }
            _ => Ok(Some(found)),
        }
    }

    fn explained(&self, occurrence: StoredOccurrence) -> Result<Explained, StoreError> {
        let stored = self.shared.store.read(|tables| tables.decisions(occurrence.id))?;
        let Some(DecisionsRecord { at_ms, decisions, left_out }) = stored else {
            return Ok(Explained {
                occurrence,
                decided_ms: None,
                decisions: Vec::new(),
                left_out: 0,
            });
        };
        let mut explained = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let id = decision.integration;
            let told = match &decision.verdict {
                Verdict::Told { delivery } | Verdict::FilterFailed { delivery, .. } => {
                    Some(*delivery)
                }
                Verdict::NoDemand(_)
                | Verdict::NoSupply
                | Verdict::Disabled
                | Verdict::Filter
                | Verdict::OwnTrouble
                | Verdict::Loop => None,
            };
            let (integration, delivery, circuit) = self.shared.store.read(|tables| {
                let delivery = match told {
                    Some(delivery) => tables.telling(id, delivery)?.map(|it| (delivery, it)),
                    None => None,
                };
                Ok((tables.integration(id)?, delivery, tables.integration_circuit(id)?))
            })?;
            let is_enabled = integration.as_ref().is_some_and(|it| it.enabled);
            let per_second = integration.as_ref().and_then(|it| it.per_second);
            let waits = delivery
                .as_ref()
                .and_then(|(_, it)| self.waits(it, &circuit, is_enabled, per_second));
            let integration = integration.map(|it| (it.name, it.kind));
            explained.push(ExplainedDecision { decision, integration, delivery, waits });
        }
        Ok(Explained { occurrence, decided_ms: Some(at_ms), decisions: explained, left_out })
    }

    /// Why a message has not been sent.
    pub fn waits(
        &self,
        record: &TellingRecord,
        circuit: &Circuit,
        is_enabled: bool,
        per_second: Option<u32>,
    ) -> Option<String> {
        use crate::model::timestamp::rfc3339;
        if record.state != TellingState::Queued {
            return None;
        }
        let now_ms = self.shared.clock.now_ms();
        Some(match circuit {
            _ if !is_enabled => "disabled: the integration is switched off".to_owned(),
            Circuit::Open { until_ms, reason, .. } => format!(
                "circuit: nothing gets through the integration ({reason}); tried again at {}",
                rfc3339(*until_ms)
            ),
            Circuit::Closed { .. } if record.gathers && record.due_ms > now_ms => {
                format!("group: more of its kind are collected until {}", rfc3339(record.due_ms))
            }
            Circuit::Closed { .. } if record.due_ms > now_ms => {
                format!("retry: the next attempt is at {}", rfc3339(record.due_ms))
            }
            Circuit::Closed { .. } => match per_second {
                Some(most) => format!("rate: at most {most} a second are sent"),
                None => "turn: others are before it".to_owned(),
            },
        })
    }
}

/// Why there is no occurrence of a run.
fn silence(head: &RunHead) -> &'static str {
    match head.state {
        RunState::Queued | RunState::Running => "it has not ended",
        RunState::Retrying => {
            "it will be tried again, which is written down only while a subscription wants \
             run.will_retry there"
        }
        RunState::Succeeded => {
            "it succeeded, which is written down only while a subscription wants run.succeeded there"
        }
        RunState::Cancelled => "it was cancelled, which nobody is told of",
        RunState::Failed | RunState::Dead => {
            "what was written down of it is so old that it is forgotten"
        }
    }
}
