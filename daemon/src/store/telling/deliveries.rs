//! What was decided about occurrences, and the messages that came of it: queued ones by integration and
//! id, ended ones beside them for looking back and sending again.
//!
//! Decisions, messages and the cursor are one transaction, so that an occurrence is decided on once,
//! whenever the daemon is killed. Occurrences of a kind may be gathered: the message of the first waits
//! for the others, until it is closed to be sent.

use redb::ReadableTable;

use super::super::occurrences::NewOccurrence;
use super::super::record::{decode, encode};
use super::super::tables::{ReadTables, WriteTables};
use super::super::{StoreError, schema};
use super::records::{
    DecisionsRecord, SubscriptionRecord, TellingAttempt, TellingRecord, TellingState, ThreadRecord,
};
use crate::lifecycle::attempts::{Next, Tries};
use crate::lifecycle::sending::Circuit;
use crate::model::id::{DeliveryId, IntegrationId, OccurrenceId, SubscriptionId};
use crate::model::integration::{Decision, Message, Verdict};
use crate::model::occurrence::Trigger;

/// Messages that wait for one integration; more are dead letters at once, and say so.
pub const MOST_QUEUED_TELLINGS: u64 = 10_000;
/// Ended ones that are kept of one integration.
const MOST_DONE: u64 = 20_000;
/// Decisions that are kept about one occurrence.
const MOST_DECISIONS: usize = 512;
/// Attempts that are kept of one message.
const MOST_ATTEMPTS: usize = 50;
/// Occurrences that one message names.
const MOST_NAMED: usize = 20;
/// Conversations that are kept of one integration.
const MOST_THREADS: usize = 10_000;
/// The row with the greatest id of a message.
const LAST: &str = "last delivery";

type Key = (u128, u128);

/// A step over occurrences: from where, to where, and what was known then.
#[derive(Clone, Copy, Debug)]
pub struct TellingStep {
    /// Where the cursor has to be still.
    pub from: OccurrenceId,
    /// Where it is afterwards.
    pub to: OccurrenceId,
    /// The revision that was decided with.
    pub revision: u64,
}

/// An occurrence, and what is to be done about it.
#[derive(Clone, Debug)]
pub struct DecidedOccurrence {
    /// Which.
    pub id: OccurrenceId,
    /// What happened.
    pub trigger: Trigger,
    /// The longer piece of work that it belongs to.
    pub work: Option<String>,
    /// For whom what.
    pub plans: Vec<PlannedTelling>,
}

/// What is to be done for one integration and subscription.
#[derive(Clone, Debug)]
pub enum PlannedTelling {
    /// Nothing.
    Not(Decision),
    /// It is told.
    Tell {
        /// Through which integration.
        integration: IntegrationId,
        /// For which subscription.
        subscription: SubscriptionId,
        /// What is said of it.
        message: Message,
        /// How long it waits for others of its kind.
        group_wait_ms: u64,
        /// Why it becomes a dead letter, when its filter failed.
        failed: Option<String>,
    },
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tellings {
    /// It is stored; these integrations have something new.
    Stored(Vec<IntegrationId>),
    /// Something has changed: decide anew.
    Stale,
}

/// A queued message, as far as its turn goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TellingPlace {
    /// Which.
    pub id: u128,
    /// Not sent before, milliseconds of the Unix epoch.
    pub due_ms: u64,
    /// Those of one work are sent one after the other.
    pub work: Option<String>,
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub struct SettledTelling {
    /// The attempt.
    pub attempt: TellingAttempt,
    /// How often it was tried by now.
    pub tries: Tries,
    /// What happens next.
    pub next: Next,
    /// What the sink calls the conversation.
    pub thread: Option<String>,
    /// The circuit, when it became another one; with what that is worth telling.
    pub circuit: Option<(Circuit, Option<NewOccurrence>)>,
}

/// Which messages a list shows.
#[derive(Clone, Debug, Default)]
pub struct TellingFilter {
    /// In this state.
    pub state: Option<TellingState>,
    /// For this subscription.
    pub subscription: Option<SubscriptionId>,
}

/// A message of a list.
pub type ListedTelling = (IntegrationId, DeliveryId, TellingRecord);

impl WriteTables<'_> {
    /// Stores what was decided about occurrences, with the messages that come of it.
    pub fn tell_occurrences(
        &mut self,
        step: TellingStep,
        decided: &[DecidedOccurrence],
    ) -> Result<Tellings, StoreError> {
        if self.telling_revision()? != step.revision || !self.move_telling(step.from, step.to)? {
            return Ok(Tellings::Stale);
        }
        let mut woken = Vec::new();
        let mut last = None;
        for occurrence in decided {
            let mut record = DecisionsRecord { at_ms: self.now_ms(), ..DecisionsRecord::default() };
            for plan in &occurrence.plans {
                let decision = match plan {
                    PlannedTelling::Not(decision) => decision.clone(),
                    PlannedTelling::Tell {
                        integration,
                        subscription,
                        message,
                        group_wait_ms,
                        failed,
                    } => {
                        let (integration, subscription) = (*integration, *subscription);
                        let delivery = self.add_telling(
                            (integration, subscription),
                            occurrence,
                            message,
                            *group_wait_ms,
                            failed.as_deref(),
                        )?;
                        last = last.max(Some(delivery.0));
                        if !woken.contains(&integration) {
                            woken.push(integration);
                        }
                        let verdict = match failed.clone() {
                            None => Verdict::Told { delivery },
                            Some(problem) => Verdict::FilterFailed { problem, delivery },
                        };
                        Decision { integration, subscription: Some(subscription), verdict }
                    }
                };
                record.decisions.push(decision);
            }
            // What is left out first is what nobody asked for.
            record.decisions.sort_by_key(|it| rank(&it.verdict));
            let surplus = record.decisions.len().saturating_sub(MOST_DECISIONS);
            record.left_out = u32::try_from(surplus).unwrap_or(u32::MAX);
            record.decisions.truncate(MOST_DECISIONS);
            self.decisions()?.insert(occurrence.id.0, encode(&record)?.as_slice())?;
        }
        if let Some(last) = last {
            self.telling()?.insert(LAST, last.to_be_bytes().as_slice())?;
        }
        Ok(Tellings::Stored(woken))
    }

    /// A message about an occurrence: a new one, or the one that gathers its kind.
    fn add_telling(
        &mut self,
        (integration, subscription): (IntegrationId, SubscriptionId),
        occurrence: &DecidedOccurrence,
        message: &Message,
        group_wait_ms: u64,
        failed: Option<&str>,
    ) -> Result<DeliveryId, StoreError> {
        let now_ms = self.now_ms();
        let kind = occurrence.trigger.to_string();
        let group = (subscription.0, kind.as_str());
        let gathering = match (group_wait_ms, failed) {
            (0, _) | (_, Some(_)) => None,
            (_, None) => self.telling_groups()?.get(group)?.map(|it| it.value()),
        };
        if let Some(open) = gathering
            && let Some(mut record) = self.open_telling((integration.0, open))?
            && record.gathers
            && now_ms < record.due_ms
        {
            record.count = record.count.saturating_add(1);
            if record.occurrences.len() < MOST_NAMED {
                record.occurrences.push(occurrence.id);
                if record.titles.is_empty() {
                    record.titles.push(record.message.title.clone());
                }
                record.titles.push(message.title.clone());
            }
            self.put_open((integration.0, open), &record)?;
            return Ok(DeliveryId(open));
        }
        let id = DeliveryId(self.new_id());
        let (queued, _) = self.telling_count(integration)?;
        let dead = match failed {
            Some(problem) => {
                Some(format!("not sent: the filter of its subscription failed: {problem}"))
            }
            None if queued >= MOST_QUEUED_TELLINGS => Some(format!(
                "not sent: {MOST_QUEUED_TELLINGS} messages wait for this integration already"
            )),
            None => None,
        };
        let is_dead = dead.is_some();
        let gathers = group_wait_ms > 0 && !is_dead;
        let record = TellingRecord {
            subscription,
            trigger: occurrence.trigger.clone(),
            occurrences: vec![occurrence.id],
            count: 1,
            message: message.clone(),
            titles: Vec::new(),
            gathers,
            work: occurrence.work.clone(),
            state: if is_dead { TellingState::Dead } else { TellingState::Queued },
            queued_ms: now_ms,
            due_ms: if gathers { now_ms.saturating_add(group_wait_ms) } else { now_ms },
            tries: Tries::default(),
            attempts: Vec::new(),
            attempt_count: 0,
            reason: dead,
        };
        let key = (integration.0, id.0);
        if is_dead {
            self.tellings_done()?.insert(key, encode(&record)?.as_slice())?;
            self.count_tellings(integration, 0, 1)?;
        } else {
            self.put_open(key, &record)?;
            self.count_tellings(integration, 1, 0)?;
        }
        if gathers {
            self.telling_groups()?.insert(group, id.0)?;
        }
        Ok(id)
    }

    /// Lets a message gather no more, so that it can be sent. Answers what it has become; nothing when it
    /// is not queued any more.
    pub fn close_telling(
        &mut self,
        integration: IntegrationId,
        id: DeliveryId,
    ) -> Result<Option<TellingRecord>, StoreError> {
        let key = (integration.0, id.0);
        let Some(mut record) = self.open_telling(key)? else { return Ok(None) };
        if record.gathers {
            record.gathers = false;
            self.put_open(key, &record)?;
            self.forget_group(&record, id)?;
        }
        Ok(Some(record))
    }

    /// Stores what an attempt came to. Nothing when the message is not queued any more.
    pub fn settle_telling(
        &mut self,
        integration: IntegrationId,
        id: DeliveryId,
        settled: &SettledTelling,
    ) -> Result<Option<TellingState>, StoreError> {
        let key = (integration.0, id.0);
        if let Some((circuit, news)) = &settled.circuit
            && self.put_circuit(integration, settled.attempt.generation, circuit)?
            && let Some(news) = news
        {
            self.occur(news)?;
        }
        let Some(mut record) = self.open_telling(key)? else { return Ok(None) };
        if record.attempts.len() >= MOST_ATTEMPTS {
            record.attempts.remove(0);
        }
        record.attempts.push(settled.attempt.clone());
        record.attempt_count = record.attempt_count.saturating_add(1);
        record.tries = settled.tries;
        match settled.next {
            Next::Again { at_ms } => {
                record.due_ms = at_ms;
                self.put_open(key, &record)?;
            }
            Next::Delivered => {
                record.state = TellingState::Delivered;
                if let (Some(work), Some(thread)) = (&record.work, &settled.thread) {
                    self.remember_thread(integration, work, thread)?;
                }
                self.end_telling(key, &record)?;
            }
            Next::GivenUp => {
                record.state = TellingState::Dead;
                self.end_telling(key, &record)?;
            }
        }
        Ok(Some(record.state))
    }

    /// The first message of a work says where the others go.
    fn remember_thread(
        &mut self,
        integration: IntegrationId,
        work: &str,
        thread: &str,
    ) -> Result<(), StoreError> {
        let known = {
            let row = self.telling_threads()?.get((integration.0, work))?;
            row.map(|it| decode::<ThreadRecord>(it.value())).transpose()?
        };
        let thread = known.map_or_else(|| thread.to_owned(), |it| it.thread);
        let record = ThreadRecord { thread, at_ms: self.now_ms() };
        self.telling_threads()?.insert((integration.0, work), encode(&record)?.as_slice())?;
        Ok(())
    }

    /// Queues an ended message again, with the same id and a new budget of attempts. Answers whether there
    /// was one.
    pub fn resend_telling(
        &mut self,
        integration: IntegrationId,
        id: DeliveryId,
    ) -> Result<bool, StoreError> {
        let key = (integration.0, id.0);
        let row = self.tellings_done()?.remove(key)?.map(|it| it.value().to_vec());
        let Some(row) = row else { return Ok(false) };
        let now_ms = self.now_ms();
        let record = TellingRecord {
            state: TellingState::Queued,
            queued_ms: now_ms,
            due_ms: now_ms,
            tries: Tries::default(),
            gathers: false,
            reason: None,
            ..decode(&row)?
        };
        self.put_open(key, &record)?;
        self.count_tellings(integration, 1, -1)?;
        Ok(true)
    }

    /// Removes up to `most` messages of an integration that is gone; answers whether there are more.
    pub fn forget_tellings(
        &mut self,
        integration: IntegrationId,
        most: usize,
    ) -> Result<bool, StoreError> {
        if self.integrations()?.get(integration.0)?.is_some() {
            return Ok(false);
        }
        let range = || (integration.0, 0)..=(integration.0, u128::MAX);
        let mut removed = 0;
        let mut open = Vec::new();
        for row in self.tellings_open()?.range(range())?.take(most) {
            let (key, value) = row?;
            open.push((key.value(), decode::<TellingRecord>(value.value())?));
        }
        for (key, record) in &open {
            self.tellings_open()?.remove(*key)?;
            self.forget_group(record, DeliveryId(key.1))?;
            removed += 1;
        }
        let mut done = Vec::new();
        for row in self.tellings_done()?.range(range())?.take(most - removed) {
            done.push(row?.0.value());
        }
        for key in &done {
            self.tellings_done()?.remove(*key)?;
            removed += 1;
        }
        let mut works = Vec::new();
        let threads = (integration.0, "")..(integration.0 + 1, "");
        for row in self.telling_threads()?.range::<(u128, &str)>(threads)?.take(most - removed) {
            works.push(row?.0.value().1.to_owned());
        }
        for work in &works {
            self.telling_threads()?.remove((integration.0, work.as_str()))?;
            removed += 1;
        }
        if removed < most {
            self.telling_counts()?.remove(integration.0)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Removes up to `most` ended messages from before `before`, or of which there are too many. Answers
    /// whether there are more.
    pub fn prune_tellings(
        &mut self,
        integration: IntegrationId,
        before: DeliveryId,
        most: usize,
    ) -> Result<bool, StoreError> {
        let (_, done) = self.telling_count(integration)?;
        let surplus = done.saturating_sub(MOST_DONE);
        let mut keys = Vec::new();
        let range = (integration.0, 0)..=(integration.0, u128::MAX);
        for row in self.tellings_done()?.range(range)?.take(most) {
            let key = row?.0.value();
            if key.1 >= before.0 && (keys.len() as u64) >= surplus {
                break;
            }
            keys.push(key);
        }
        for key in &keys {
            self.tellings_done()?.remove(*key)?;
        }
        let removed = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        self.count_tellings(integration, 0, -removed)?;
        self.prune_threads(integration, before, most)?;
        Ok(keys.len() == most)
    }

    fn prune_threads(
        &mut self,
        integration: IntegrationId,
        before: DeliveryId,
        most: usize,
    ) -> Result<(), StoreError> {
        let before_ms = crate::model::id::created_ms(before.0);
        let range = (integration.0, "")..(integration.0 + 1, "");
        let mut old = Vec::new();
        for (at, row) in self.telling_threads()?.range::<(u128, &str)>(range)?.enumerate() {
            let (key, value) = row?;
            if at >= MOST_THREADS || decode::<ThreadRecord>(value.value())?.at_ms < before_ms {
                old.push(key.value().1.to_owned());
                if old.len() == most {
                    break;
                }
            }
        }
        for work in old {
            self.telling_threads()?.remove((integration.0, work.as_str()))?;
        }
        Ok(())
    }

    fn forget_group(&mut self, record: &TellingRecord, id: DeliveryId) -> Result<(), StoreError> {
        let kind = record.trigger.to_string();
        let group = (record.subscription.0, kind.as_str());
        if self.telling_groups()?.get(group)?.is_some_and(|it| it.value() == id.0) {
            self.telling_groups()?.remove(group)?;
        }
        Ok(())
    }

    fn open_telling(&mut self, key: Key) -> Result<Option<TellingRecord>, StoreError> {
        self.tellings_open()?.get(key)?.map(|it| decode(it.value())).transpose()
    }

    fn put_open(&mut self, key: Key, record: &TellingRecord) -> Result<(), StoreError> {
        self.tellings_open()?.insert(key, encode(record)?.as_slice())?;
        Ok(())
    }

    fn end_telling(&mut self, key: Key, record: &TellingRecord) -> Result<(), StoreError> {
        self.tellings_open()?.remove(key)?;
        self.tellings_done()?.insert(key, encode(record)?.as_slice())?;
        self.count_tellings(IntegrationId(key.0), -1, 1)
    }

    fn telling_count(&mut self, integration: IntegrationId) -> Result<(u64, u64), StoreError> {
        Ok(self.telling_counts()?.get(integration.0)?.map_or((0, 0), |it| it.value()))
    }

    fn count_tellings(
        &mut self,
        integration: IntegrationId,
        open: i64,
        done: i64,
    ) -> Result<(), StoreError> {
        let (queued, ended) = self.telling_count(integration)?;
        let new = (queued.saturating_add_signed(open), ended.saturating_add_signed(done));
        self.telling_counts()?.insert(integration.0, new)?;
        Ok(())
    }

    /// Makes the row of counts exist, by which what an integration leaves behind is found.
    pub(super) fn touch_telling_count(&mut self, id: IntegrationId) -> Result<(), StoreError> {
        self.count_tellings(id, 0, 0)
    }
}

/// What people want to see first.
fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Told { .. } => 0,
        Verdict::FilterFailed { .. } | Verdict::Loop => 1,
        Verdict::Filter | Verdict::NoSupply | Verdict::Disabled | Verdict::OwnTrouble => 2,
        Verdict::NoDemand(_) => 3,
    }
}

impl ReadTables {
    /// What was decided about an occurrence; nothing while it waits for that.
    pub fn decisions(&self, id: OccurrenceId) -> Result<Option<DecisionsRecord>, StoreError> {
        self.table(schema::DECISIONS)?.get(id.0)?.map(|it| decode(it.value())).transpose()
    }

    /// Up to `most` queued messages of an integration after a place, in order.
    pub fn queued_tellings(
        &self,
        integration: IntegrationId,
        after: Option<u128>,
        most: usize,
    ) -> Result<Vec<TellingPlace>, StoreError> {
        let Some(first) = after.map_or(Some(0), |it| it.checked_add(1)) else {
            return Ok(Vec::new());
        };
        let mut places = Vec::new();
        let rows = self.table(schema::TELLINGS_OPEN)?;
        for row in rows.range((integration.0, first)..=(integration.0, u128::MAX))?.take(most) {
            let (key, value) = row?;
            let record: TellingRecord = decode(value.value())?;
            let (id, due_ms, work) = (key.value().1, record.due_ms, record.work);
            places.push(TellingPlace { id, due_ms, work });
        }
        Ok(places)
    }

    /// How many messages of an integration wait, and how many ended ones are kept.
    pub fn count_tellings(&self, integration: IntegrationId) -> Result<(u64, u64), StoreError> {
        let count = self.table(schema::TELLING_COUNTS)?.get(integration.0)?;
        Ok(count.map_or((0, 0), |it| it.value()))
    }

    /// A message of an integration.
    pub fn telling(
        &self,
        integration: IntegrationId,
        id: DeliveryId,
    ) -> Result<Option<TellingRecord>, StoreError> {
        let key = (integration.0, id.0);
        for table in [schema::TELLINGS_OPEN, schema::TELLINGS_DONE] {
            if let Some(row) = self.table(table)?.get(key)? {
                return decode(row.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// A message, whichever integration it goes through: there are few of those.
    pub fn find_telling(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(IntegrationId, TellingRecord)>, StoreError> {
        for row in self.table(schema::INTEGRATIONS)?.iter()? {
            let integration = IntegrationId(row?.0.value());
            if let Some(record) = self.telling(integration, id)? {
                return Ok(Some((integration, record)));
            }
        }
        Ok(None)
    }

    /// Messages of some integrations, newest first, from `from` on; and where the next page begins.
    pub fn list_tellings(
        &self,
        integrations: &[IntegrationId],
        filter: &TellingFilter,
        from: Option<u128>,
        limit: usize,
    ) -> Result<(Vec<ListedTelling>, Option<u128>), StoreError> {
        const MOST_LOOKED_AT: usize = 20_000;
        let (open, done) = (self.table(schema::TELLINGS_OPEN)?, self.table(schema::TELLINGS_DONE)?);
        let tables: &[_] = match filter.state {
            None => &[&open, &done],
            Some(TellingState::Queued) => &[&open],
            Some(TellingState::Delivered | TellingState::Dead) => &[&done],
        };
        let mut found: Vec<ListedTelling> = Vec::new();
        // Past where a look ended, the order over all of them is not known.
        let mut seen_down_to = 0;
        let share = (MOST_LOOKED_AT / (integrations.len().max(1) * tables.len())).max(limit + 1);
        for integration in integrations {
            for table in tables {
                let range = (integration.0, 0)..=(integration.0, from.unwrap_or(u128::MAX));
                let mut taken = 0;
                for (looked_at, row) in table.range(range)?.rev().enumerate() {
                    let (key, value) = row?;
                    let id = key.value().1;
                    if taken > limit || looked_at >= share {
                        seen_down_to = seen_down_to.max(id);
                        break;
                    }
                    let record: TellingRecord = decode(value.value())?;
                    let is_wanted = filter.state.is_none_or(|it| it == record.state)
                        && filter.subscription.is_none_or(|it| it == record.subscription);
                    if is_wanted {
                        found.push((*integration, DeliveryId(id), record));
                        taken += 1;
                    }
                }
            }
        }
        found.sort_by_key(|it| std::cmp::Reverse(it.1));
        let mut next = (seen_down_to > 0).then_some(seen_down_to);
        found.retain(|it| it.1.0 > seen_down_to);
        if let Some(first_left_out) = found.get(limit) {
            next = Some(first_left_out.1.0);
            found.truncate(limit);
        }
        Ok((found, next))
    }

    /// What a sink calls the conversation of a work.
    pub fn telling_thread(
        &self,
        integration: IntegrationId,
        work: &str,
    ) -> Result<Option<String>, StoreError> {
        let row = self.table(schema::TELLING_THREADS)?.get((integration.0, work))?;
        row.map(|it| Ok(decode::<ThreadRecord>(it.value())?.thread)).transpose()
    }

    /// Integrations that something went through, and whether each is still there.
    pub fn integrations_with_tellings(&self) -> Result<Vec<(IntegrationId, bool)>, StoreError> {
        let integrations = self.table(schema::INTEGRATIONS)?;
        let mut found = Vec::new();
        for row in self.table(schema::TELLING_COUNTS)?.iter()? {
            let id = row?.0.value();
            found.push((IntegrationId(id), integrations.get(id)?.is_some()));
        }
        Ok(found)
    }

    /// The greatest id of a message.
    pub(in super::super) fn greatest_telling(&self) -> Result<u128, StoreError> {
        let last = self.table(schema::TELLING)?.get(LAST)?;
        Ok(last.map_or(0, |it| it.value().try_into().map_or(0, u128::from_be_bytes)))
    }
}

/// Kept so that a subscription that is gone can still be named.
impl SubscriptionRecord {
    /// How long occurrences of a kind are collected.
    pub fn group_wait_ms(&self) -> u64 {
        u64::from(self.group_wait_seconds) * 1_000
    }
}
