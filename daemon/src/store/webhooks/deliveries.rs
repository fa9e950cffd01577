//! What webhooks are sent: queued ones by webhook and event, in order of the changes that they tell of;
//! ended ones beside them, for looking back and sending again.
//!
//! A delivery is known by its webhook and the id of its change, so that a change is queued once
//! whatever is repeated. Must never read more bodies than are sent.

use bytes::Bytes;
use redb::ReadableTable;

use super::super::record::{decode_with_tail, encode_with_tail};
use super::records::{AttemptRecord, DeliveryRecord, DeliveryState};
use crate::lifecycle::attempts::{Next, Tries};
use crate::model::id::WebhookId;
use crate::store::tables::{ReadTables, WriteTables};
use crate::store::{StoreError, schema};

/// Attempts that are kept of one delivery.
const MOST_ATTEMPTS: usize = 50;

/// An event to be sent to a webhook.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// To which.
    pub webhook: WebhookId,
    /// Id of the change that it tells of: what is queued for that already is not queued again.
    pub event: u128,
    /// Such as `work_created`.
    pub event_type: String,
    /// The object that changed.
    pub object: Option<String>,
    /// The body of the request, as it is signed.
    pub body: Bytes,
    /// Why it fails without an attempt, when it does.
    pub failed: Option<String>,
}

/// A queued delivery, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPlace {
    /// Id of its event.
    pub event: u128,
    /// Not sent before, milliseconds of the Unix epoch.
    pub due_ms: u64,
    /// The object that changed.
    pub object: Option<String>,
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub struct SettledDelivery {
    /// The attempt.
    pub attempt: AttemptRecord,
    /// How often it was tried by now.
    pub tried: Tries,
    /// What happens next.
    pub next: Next,
}

/// Deliveries by the id of their event, and where the next page begins.
pub type DeliveriesPage = (Vec<(u128, DeliveryRecord)>, Option<u128>);

type Key = (u128, u128);
/// A row of either table as it is gone through.
type Row<'a> =
    Result<(redb::AccessGuard<'a, Key>, redb::AccessGuard<'a, &'static [u8]>), redb::StorageError>;

/// The event of a row; an error goes first.
fn event_of(row: Option<&Row<'_>>) -> Option<u128> {
    row.map(|it| it.as_ref().map_or(u128::MAX, |(key, _)| key.value().1))
}

impl WriteTables<'_> {
    /// Queues deliveries of webhooks that are there; what is queued or was sent already stays as it
    /// is. Answers the webhooks that have something new.
    pub fn queue_deliveries(&mut self, new: &[NewDelivery]) -> Result<Vec<WebhookId>, StoreError> {
        let now_ms = self.now_ms();
        let mut woken = Vec::new();
        for new in new {
            let key = (new.webhook.0, new.event);
            let is_known = self.deliveries_open()?.get(key)?.is_some()
                || self.deliveries_done()?.get(key)?.is_some();
            if is_known || self.webhooks()?.get(new.webhook.0)?.is_none() {
                continue;
            }
            let state = match &new.failed {
                Some(_) => DeliveryState::Failed,
                None => DeliveryState::Queued,
            };
            let record = DeliveryRecord {
                event_type: new.event_type.clone(),
                object: new.object.clone(),
                state,
                queued_ms: now_ms,
                due_ms: now_ms,
                tried: Tries::default(),
                attempts: Vec::new(),
                reason: new.failed.clone(),
            };
            let row = encode_with_tail(&record, &new.body)?;
            if state == DeliveryState::Queued {
                self.deliveries_open()?.insert(key, row.as_slice())?;
                self.count_deliveries(new.webhook, 1)?;
                if woken.last() != Some(&new.webhook) {
                    woken.push(new.webhook);
                }
            } else {
                self.deliveries_done()?.insert(key, row.as_slice())?;
            }
        }
        Ok(woken)
    }

    /// Stores what an attempt came to. Nothing when the delivery is not queued any more.
    pub fn settle_delivery(
        &mut self,
        webhook: WebhookId,
        event: u128,
        settled: &SettledDelivery,
    ) -> Result<Option<DeliveryState>, StoreError> {
        let key = (webhook.0, event);
        let Some((mut record, body)) = self.open_delivery(key)? else { return Ok(None) };
        if record.attempts.len() >= MOST_ATTEMPTS {
            record.attempts.remove(0);
        }
        record.attempts.push(settled.attempt.clone());
        record.tried = settled.tried;
        match settled.next {
            Next::Again { at_ms } => {
                record.due_ms = at_ms;
                let row = encode_with_tail(&record, &body)?;
                self.deliveries_open()?.insert(key, row.as_slice())?;
            }
            Next::Delivered => {
                record.state = DeliveryState::Delivered;
                self.end_delivery(key, &record, &body)?;
            }
            Next::GivenUp => {
                record.state = DeliveryState::Failed;
                self.end_delivery(key, &record, &body)?;
            }
        }
        Ok(Some(record.state))
    }

    /// Fails up to `most` queued deliveries without an attempt, oldest first; answers how many.
    pub fn fail_deliveries(
        &mut self,
        webhook: WebhookId,
        reason: &str,
        most: usize,
    ) -> Result<usize, StoreError> {
        let keys = self.first_keys(webhook, most)?;
        for key in &keys {
            let Some((mut record, body)) = self.open_delivery(*key)? else { continue };
            record.state = DeliveryState::Failed;
            record.reason = Some(reason.to_owned());
            self.end_delivery(*key, &record, &body)?;
        }
        Ok(keys.len())
    }

    /// Queues an ended delivery again, with the same id. Answers whether there was one.
    pub fn resend_delivery(&mut self, webhook: WebhookId, event: u128) -> Result<bool, StoreError> {
        let key = (webhook.0, event);
        let row = self.deliveries_done()?.remove(key)?.map(|it| it.value().to_vec());
        let Some(row) = row else { return Ok(false) };
        let (record, body) = decode_with_tail::<DeliveryRecord>(&row)?;
        let now_ms = self.now_ms();
        let record = DeliveryRecord {
            state: DeliveryState::Queued,
            queued_ms: now_ms,
            due_ms: now_ms,
            tried: Tries::default(),
            reason: None,
            ..record
        };
        let row = encode_with_tail(&record, body)?;
        self.deliveries_open()?.insert(key, row.as_slice())?;
        self.count_deliveries(webhook, 1)?;
        Ok(true)
    }

    /// Removes up to `most` deliveries of a webhook that is gone; answers whether there are more.
    pub fn forget_deliveries(
        &mut self,
        webhook: WebhookId,
        most: usize,
    ) -> Result<bool, StoreError> {
        if self.webhooks()?.get(webhook.0)?.is_some() {
            return Ok(false);
        }
        let mut done = Vec::new();
        for row in
            self.deliveries_done()?.range((webhook.0, 0)..=(webhook.0, u128::MAX))?.take(most)
        {
            done.push(row?.0.value());
        }
        for key in &done {
            self.deliveries_done()?.remove(*key)?;
        }
        let open = self.first_keys(webhook, most - done.len())?;
        for key in &open {
            self.deliveries_open()?.remove(*key)?;
        }
        if done.len() + open.len() < most {
            self.delivery_counts()?.remove(webhook.0)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Removes up to `most` ended deliveries of changes from before `before`; answers whether there
    /// are more.
    pub fn prune_deliveries(
        &mut self,
        webhook: WebhookId,
        before: u128,
        most: usize,
    ) -> Result<bool, StoreError> {
        let mut keys = Vec::new();
        for row in self.deliveries_done()?.range((webhook.0, 0)..(webhook.0, before))?.take(most) {
            keys.push(row?.0.value());
        }
        for key in &keys {
            self.deliveries_done()?.remove(*key)?;
        }
        Ok(keys.len() == most)
    }

    fn first_keys(&mut self, webhook: WebhookId, most: usize) -> Result<Vec<Key>, StoreError> {
        let range = (webhook.0, 0)..=(webhook.0, u128::MAX);
        let mut keys = Vec::new();
        for row in self.deliveries_open()?.range(range)?.take(most) {
            keys.push(row?.0.value());
        }
        Ok(keys)
    }

    fn open_delivery(&mut self, key: Key) -> Result<Option<(DeliveryRecord, Bytes)>, StoreError> {
        let Some(row) = self.deliveries_open()?.get(key)? else { return Ok(None) };
        let (record, body) = decode_with_tail(row.value())?;
        Ok(Some((record, Bytes::copy_from_slice(body))))
    }

    fn end_delivery(
        &mut self,
        key: Key,
        record: &DeliveryRecord,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let row = encode_with_tail(record, body)?;
        self.deliveries_open()?.remove(key)?;
        self.deliveries_done()?.insert(key, row.as_slice())?;
        self.count_deliveries(WebhookId(key.0), -1)
    }

    fn count_deliveries(&mut self, webhook: WebhookId, by: i64) -> Result<(), StoreError> {
        let counts = self.delivery_counts()?;
        let before = counts.get(webhook.0)?.map_or(0, |it| it.value());
        counts.insert(webhook.0, before.saturating_add_signed(by))?;
        Ok(())
    }
}

impl ReadTables {
    /// Up to `most` queued deliveries after an event, in order.
    pub fn queued_deliveries(
        &self,
        webhook: WebhookId,
        after: Option<u128>,
        most: usize,
    ) -> Result<Vec<DeliveryPlace>, StoreError> {
        let Some(first) = after.map_or(Some(0), |it| it.checked_add(1)) else {
            return Ok(Vec::new());
        };
        let mut places = Vec::new();
        let rows = self.table(schema::DELIVERIES_OPEN)?;
        for row in rows.range((webhook.0, first)..=(webhook.0, u128::MAX))?.take(most) {
            let (key, value) = row?;
            let (record, _) = decode_with_tail::<DeliveryRecord>(value.value())?;
            places.push(DeliveryPlace {
                event: key.value().1,
                due_ms: record.due_ms,
                object: record.object,
            });
        }
        Ok(places)
    }

    /// The last one that is queued.
    pub fn last_queued_delivery(&self, webhook: WebhookId) -> Result<Option<u128>, StoreError> {
        let rows = self.table(schema::DELIVERIES_OPEN)?;
        let last = rows.range((webhook.0, 0)..=(webhook.0, u128::MAX))?.next_back().transpose()?;
        Ok(last.map(|(key, _)| key.value().1))
    }

    /// How many deliveries of a webhook are queued.
    pub fn count_queued_deliveries(&self, webhook: WebhookId) -> Result<u64, StoreError> {
        let count = self.table(schema::DELIVERY_COUNTS)?.get(webhook.0)?;
        Ok(count.map_or(0, |it| it.value()))
    }

    /// A delivery and the body of its request.
    pub fn delivery(
        &self,
        webhook: WebhookId,
        event: u128,
    ) -> Result<Option<(DeliveryRecord, Bytes)>, StoreError> {
        let key = (webhook.0, event);
        for table in [schema::DELIVERIES_OPEN, schema::DELIVERIES_DONE] {
            if let Some(row) = self.table(table)?.get(key)? {
                let (record, body) = decode_with_tail(row.value())?;
                return Ok(Some((record, Bytes::copy_from_slice(body))));
            }
        }
        Ok(None)
    }

    /// Deliveries of a webhook that `wanted` picks, newest first, from `from` on; and where the next
    /// page begins. Queued and ended ones in one order.
    pub fn list_deliveries(
        &self,
        webhook: WebhookId,
        from: Option<u128>,
        limit: usize,
        wanted: impl Fn(&DeliveryRecord) -> bool,
    ) -> Result<DeliveriesPage, StoreError> {
        const MOST_LOOKED_AT: usize = 20_000;
        let last = (webhook.0, from.unwrap_or(u128::MAX));
        let (open, done) =
            (self.table(schema::DELIVERIES_OPEN)?, self.table(schema::DELIVERIES_DONE)?);
        let mut open = open.range((webhook.0, 0)..=last)?.rev().peekable();
        let mut done = done.range((webhook.0, 0)..=last)?.rev().peekable();
        let mut found = Vec::new();
        for looked_at in 0.. {
            let (of_open, of_done) = (event_of(open.peek()), event_of(done.peek()));
            let next = if of_open > of_done { open.next() } else { done.next() };
            let Some(row) = next else { break };
            let (key, value) = row?;
            let event = key.value().1;
            if found.len() == limit || looked_at == MOST_LOOKED_AT {
                return Ok((found, Some(event)));
            }
            let (record, _) = decode_with_tail::<DeliveryRecord>(value.value())?;
            if wanted(&record) {
                found.push((event, record));
            }
        }
        Ok((found, None))
    }

    /// Webhooks that are gone, and whose deliveries are not.
    pub fn webhooks_gone_with_deliveries(&self) -> Result<Vec<WebhookId>, StoreError> {
        let webhooks = self.table(schema::WEBHOOKS)?;
        let mut gone = Vec::new();
        for row in self.table(schema::DELIVERY_COUNTS)?.iter()? {
            let webhook = row?.0.value();
            if webhooks.get(webhook)?.is_none() {
                gone.push(WebhookId(webhook));
            }
        }
        Ok(gone)
    }
}
