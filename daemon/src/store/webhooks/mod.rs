//! Outgoing webhooks. Their secrets and headers are envelopes under their ids: what is inside, only
//! `secrets` knows. What they are sent is in [`deliveries`].

mod deliveries;
mod records;

use redb::ReadableTable;

pub use deliveries::{DeliveryPlace, NewDelivery, SettledDelivery};
pub use records::{AttemptRecord, DeliveryRecord, DeliveryState, WebhookRecord};

use super::record::decode;
use super::tables::{ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::id::WebhookId;

/// What became of a change to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutWebhook {
    /// It is stored.
    Stored,
    /// It is another one by now, or gone: look again.
    Stale,
}

impl WriteTables<'_> {
    /// Stores a new webhook and its envelope.
    pub fn create_webhook(
        &mut self,
        id: WebhookId,
        record: &WebhookRecord,
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        self.put_envelope(id.0, envelope)?;
        // Also of one that never queues anything: what is left of it is found by this row.
        self.delivery_counts()?.insert(id.0, 0)?;
        self.tell_webhook(id, record)?;
        put(self.webhooks()?, id.0, record)
    }

    /// Stores a webhook in place of the one of generation `before`, and another envelope if there is
    /// one. `record.generation` has to be a greater one.
    pub fn put_webhook(
        &mut self,
        id: WebhookId,
        before: u64,
        record: &WebhookRecord,
        envelope: Option<&[u8]>,
    ) -> Result<PutWebhook, StoreError> {
        let stored = get::<WebhookRecord>(self.webhooks()?, id.0)?;
        let Some(stored) = stored.filter(|it| it.generation == before) else {
            return Ok(PutWebhook::Stale);
        };
        self.webhook_moved(id, stored.standing.status, record)?;
        if let Some(envelope) = envelope {
            self.put_envelope(id.0, envelope)?;
        }
        // From the commit on with which it is to be told of changes, and no longer than that.
        if record.standing.wants_events() {
            self.begin_reading(&id.to_string())?;
        } else {
            self.stop_reading(&id.to_string())?;
        }
        self.tell_webhook(id, record)?;
        put(self.webhooks()?, id.0, record)?;
        Ok(PutWebhook::Stored)
    }

    /// Removes a webhook and its secrets. What it was sent goes step by step
    /// ([`WriteTables::forget_deliveries`]). Answers whether there was one.
    pub fn delete_webhook(&mut self, id: WebhookId) -> Result<bool, StoreError> {
        self.remove_envelope(id.0)?;
        self.stop_reading(&id.to_string())?;
        self.tell_webhook_deleted(id)?;
        Ok(self.webhooks()?.remove(id.0)?.is_some())
    }
}

impl ReadTables {
    /// A webhook.
    pub fn webhook(&self, id: WebhookId) -> Result<Option<WebhookRecord>, StoreError> {
        get(&self.table(schema::WEBHOOKS)?, id.0)
    }

    /// All of them, oldest first: there are few, and each costs a task.
    pub fn webhooks(&self) -> Result<Vec<(WebhookId, WebhookRecord)>, StoreError> {
        let rows = self.table(schema::WEBHOOKS)?;
        let rows = rows.iter()?.map(|row| {
            let (id, record) = row?;
            Ok((WebhookId(id.value()), decode(record.value())?))
        });
        rows.collect()
    }
}
