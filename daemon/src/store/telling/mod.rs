//! Integrations, what they are supplied to, and subscriptions. Connections are envelopes under the ids
//! of integrations: what is inside, only `secrets` knows. What goes through them is in [`deliveries`].
//!
//! Every change of any of them raises one revision. Who is told of an occurrence is decided outside of
//! the writer with all of them at one revision, and stored only while that is still the present one.

mod deliveries;
mod records;

use redb::{ReadableTable, ReadableTableMetadata};

pub use deliveries::{
    DecidedOccurrence, ListedTelling, MOST_QUEUED_TELLINGS, PlannedTelling, SettledTelling,
    TellingFilter, TellingPlace, TellingStep, Tellings,
};
pub use records::{
    DecisionsRecord, HealthRecord, IntegrationRecord, SubscriptionRecord, SupplyRecord,
    TellingAttempt, TellingRecord, TellingState,
};

use super::occurrences::Wanted;
use super::record::{decode, encode};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::lifecycle::sending::Circuit;
use crate::model::access::PrincipalId;
use crate::model::id::{IntegrationId, SubscriptionId};
use crate::model::scope::ScopePrefix;

/// Integrations of a host: each costs a task, and every occurrence is judged for each.
pub const MOST_INTEGRATIONS: u64 = 256;
/// Subscriptions of a host, for the same reason.
pub const MOST_SUBSCRIPTIONS: u64 = 2_000;
/// Scopes that one integration is supplied to.
pub const MOST_SUPPLIES: usize = 256;

/// The counter of changes.
const REVISION: &str = "revision of telling";

/// How making or changing an integration went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutIntegration {
    /// It is stored.
    Stored,
    /// Another one of its type has the name.
    NameTaken(IntegrationId),
    /// It is another one by now, or gone: look again.
    Stale,
    /// There are [`MOST_INTEGRATIONS`].
    TooMany,
}

/// How making or changing a supply or a subscription went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutDemand {
    /// It is stored.
    Stored,
    /// There is no such integration (any more).
    NoSuchIntegration,
    /// It is another one by now, or gone: look again.
    Stale,
    /// It is there already.
    Exists,
    /// There are as many as may be.
    TooMany,
}

/// Everything that says who is told of what.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    /// Which change of it this is.
    pub revision: u64,
    /// Integrations with what they are supplied to, oldest first.
    pub integrations: Vec<(IntegrationId, IntegrationRecord, Vec<ScopePrefix>)>,
    /// Subscriptions, oldest first.
    pub subscriptions: Vec<(SubscriptionId, SubscriptionRecord)>,
}

impl WriteTables<'_> {
    /// Stores a new integration with its connection, and makes somebody its owner.
    pub fn create_integration(
        &mut self,
        id: IntegrationId,
        record: &IntegrationRecord,
        envelope: &[u8],
        owner: Option<PrincipalId>,
    ) -> Result<PutIntegration, StoreError> {
        if let Some(other) = self.integration_of(&record.kind, &record.name)? {
            return Ok(PutIntegration::NameTaken(other));
        }
        if self.integrations()?.len()? >= MOST_INTEGRATIONS {
            return Ok(PutIntegration::TooMany);
        }
        self.put_envelope(id.0, envelope)?;
        put(self.integrations()?, id.0, record)?;
        self.integration_names()?.insert((record.kind.as_str(), record.name.as_str()), id.0)?;
        self.tell_integration(id, record)?;
        if let Some(owner) = owner {
            self.own_integration(owner, id)?;
        }
        self.telling_changed()?;
        Ok(PutIntegration::Stored)
    }

    /// Stores an integration in place of the one of generation `before`, and another connection if there
    /// is one. `record.generation` has to be a greater one. Messages may get through again.
    pub fn put_integration(
        &mut self,
        id: IntegrationId,
        before: u64,
        record: &IntegrationRecord,
        envelope: Option<&[u8]>,
    ) -> Result<PutIntegration, StoreError> {
        let Some(present) = get::<IntegrationRecord>(self.integrations()?, id.0)? else {
            return Ok(PutIntegration::Stale);
        };
        if present.generation != before {
            return Ok(PutIntegration::Stale);
        }
        if let Some(other) = self.integration_of(&record.kind, &record.name)?
            && other != id
        {
            return Ok(PutIntegration::NameTaken(other));
        }
        let (old, new) = (
            (present.kind.as_str(), present.name.as_str()),
            (record.kind.as_str(), record.name.as_str()),
        );
        if old != new {
            self.integration_names()?.remove(old)?;
            self.integration_names()?.insert(new, id.0)?;
        }
        if let Some(envelope) = envelope {
            self.put_envelope(id.0, envelope)?;
        }
        put(self.integrations()?, id.0, record)?;
        self.integration_health()?.remove(id.0)?;
        self.tell_integration(id, record)?;
        self.telling_changed()?;
        Ok(PutIntegration::Stored)
    }

    /// Removes an integration with its connection, supplies, subscriptions and grants. What went through it goes
    /// step by step ([`WriteTables::forget_tellings`]). Answers whether there was one.
    pub fn delete_integration(&mut self, id: IntegrationId) -> Result<bool, StoreError> {
        let Some(record) = get::<IntegrationRecord>(self.integrations()?, id.0)? else {
            return Ok(false);
        };
        self.integrations()?.remove(id.0)?;
        self.integration_names()?.remove((record.kind.as_str(), record.name.as_str()))?;
        self.integration_health()?.remove(id.0)?;
        self.remove_envelope(id.0)?;
        self.forget_grants_on(id)?;
        self.tell_integration_deleted(id)?;
        self.supplies()?.retain_in::<(u128, &str), _>((id.0, "")..(id.0 + 1, ""), |_, _| false)?;
        let mut subscriptions = Vec::new();
        for row in self.subscriptions()?.iter()? {
            let (subscription, value) = row?;
            if decode::<SubscriptionRecord>(value.value())?.integration == id {
                subscriptions.push(subscription.value());
            }
        }
        for subscription in subscriptions {
            self.subscriptions()?.remove(subscription)?;
        }
        // So that what went through it is found when it is gone.
        self.touch_telling_count(id)?;
        self.look_what_is_wanted()?;
        self.telling_changed()?;
        Ok(true)
    }

    fn integration_of(
        &mut self,
        kind: &str,
        name: &str,
    ) -> Result<Option<IntegrationId>, StoreError> {
        Ok(self.integration_names()?.get((kind, name))?.map(|it| IntegrationId(it.value())))
    }

    /// Supplies an integration to a scope.
    pub fn add_supply(
        &mut self,
        integration: IntegrationId,
        scope: &ScopePrefix,
        by: &str,
    ) -> Result<PutDemand, StoreError> {
        if self.integrations()?.get(integration.0)?.is_none() {
            return Ok(PutDemand::NoSuchIntegration);
        }
        let key = (integration.0, scope.as_str());
        if self.supplies()?.get(key)?.is_some() {
            return Ok(PutDemand::Exists);
        }
        let all = (integration.0, "")..(integration.0 + 1, "");
        if self.supplies()?.range::<(u128, &str)>(all)?.count() >= MOST_SUPPLIES {
            return Ok(PutDemand::TooMany);
        }
        let record = SupplyRecord { created_ms: self.now_ms(), created_by: by.to_owned() };
        self.supplies()?.insert(key, encode(&record)?.as_slice())?;
        self.telling_changed()?;
        Ok(PutDemand::Stored)
    }

    /// Takes a supply back; answers whether it was there.
    pub fn remove_supply(
        &mut self,
        integration: IntegrationId,
        scope: &ScopePrefix,
    ) -> Result<bool, StoreError> {
        let was_there = self.supplies()?.remove((integration.0, scope.as_str()))?.is_some();
        if was_there {
            self.telling_changed()?;
        }
        Ok(was_there)
    }

    /// Stores a new subscription.
    pub fn create_subscription(
        &mut self,
        id: SubscriptionId,
        record: &SubscriptionRecord,
    ) -> Result<PutDemand, StoreError> {
        if self.integrations()?.get(record.integration.0)?.is_none() {
            return self.made_nothing(PutDemand::NoSuchIntegration);
        }
        if self.subscriptions()?.len()? >= MOST_SUBSCRIPTIONS {
            return self.made_nothing(PutDemand::TooMany);
        }
        put(self.subscriptions()?, id.0, record)?;
        self.telling_changed()?;
        self.look_what_is_wanted()?;
        Ok(PutDemand::Stored)
    }

    /// Stores a subscription in place of the one that was looked at.
    pub fn put_subscription(
        &mut self,
        id: SubscriptionId,
        seen: &SubscriptionRecord,
        record: &SubscriptionRecord,
    ) -> Result<PutDemand, StoreError> {
        let present = get::<SubscriptionRecord>(self.subscriptions()?, id.0)?;
        if present.as_ref() != Some(seen) {
            return Ok(PutDemand::Stale);
        }
        put(self.subscriptions()?, id.0, record)?;
        self.telling_changed()?;
        self.look_what_is_wanted()?;
        Ok(PutDemand::Stored)
    }

    /// Removes a subscription; answers whether it was there. What is on its way for it stays.
    pub fn delete_subscription(&mut self, id: SubscriptionId) -> Result<bool, StoreError> {
        let was_there = self.subscriptions()?.remove(id.0)?.is_some();
        if was_there {
            self.telling_changed()?;
            self.look_what_is_wanted()?;
        }
        Ok(was_there)
    }

    fn look_what_is_wanted(&mut self) -> Result<(), StoreError> {
        let mut all = Vec::new();
        for row in self.subscriptions()?.iter()? {
            all.push(decode::<SubscriptionRecord>(row?.1.value())?);
        }
        self.set_wanted(Wanted::of(all.iter().map(|it| (&it.trigger, it.scope.as_ref()))))
    }

    fn telling_changed(&mut self) -> Result<(), StoreError> {
        let revision = self.telling_revision()?;
        self.counters()?.insert(REVISION, revision + 1)?;
        self.ring_for_occurrences();
        Ok(())
    }

    fn telling_revision(&mut self) -> Result<u64, StoreError> {
        Ok(self.counters()?.get(REVISION)?.map_or(0, |it| it.value()))
    }

    /// Notes how messages get through an integration, if it is still of that generation.
    fn put_circuit(
        &mut self,
        id: IntegrationId,
        generation: u64,
        circuit: &Circuit,
    ) -> Result<bool, StoreError> {
        let present = get::<IntegrationRecord>(self.integrations()?, id.0)?;
        if present.is_none_or(|it| it.generation != generation) {
            return Ok(false);
        }
        put(self.integration_health()?, id.0, &HealthRecord { circuit: circuit.clone() })?;
        Ok(true)
    }
}

impl ReadTables {
    /// An integration.
    pub fn integration(&self, id: IntegrationId) -> Result<Option<IntegrationRecord>, StoreError> {
        get(&self.table(schema::INTEGRATIONS)?, id.0)
    }

    /// The integration of a type and a name.
    pub fn integration_by_name(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<IntegrationId>, StoreError> {
        let found = self.table(schema::INTEGRATION_NAMES)?.get((kind, name))?;
        Ok(found.map(|it| IntegrationId(it.value())))
    }

    /// Integrations that `wanted` picks, oldest first.
    pub fn list_integrations(
        &self,
        page: PageRequest,
        wanted: impl Fn(IntegrationId, &IntegrationRecord) -> bool,
    ) -> Result<Page<(IntegrationId, IntegrationRecord)>, StoreError> {
        page.read(&self.table(schema::INTEGRATIONS)?, |id, value| {
            let record: IntegrationRecord = decode(value)?;
            Ok(wanted(IntegrationId(id), &record).then_some((IntegrationId(id), record)))
        })
    }

    /// How messages get through an integration.
    pub fn integration_circuit(&self, id: IntegrationId) -> Result<Circuit, StoreError> {
        let found = get::<HealthRecord>(&self.table(schema::INTEGRATION_HEALTH)?, id.0)?;
        Ok(found.unwrap_or_default().circuit)
    }

    /// What an integration is supplied to, in order of scopes.
    pub fn supplies_of(
        &self,
        id: IntegrationId,
    ) -> Result<Vec<(ScopePrefix, SupplyRecord)>, StoreError> {
        let rows = self.table(schema::SUPPLIES)?;
        let mut found = Vec::new();
        for row in rows.range::<(u128, &str)>((id.0, "")..(id.0 + 1, ""))? {
            let (key, value) = row?;
            let scope = key.value().1.parse().map_err(|error| {
                StoreError::corrupt(format!("a supply of integration {id}: {error}"))
            })?;
            found.push((scope, decode(value.value())?));
        }
        Ok(found)
    }

    /// A subscription.
    pub fn subscription(
        &self,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionRecord>, StoreError> {
        get(&self.table(schema::SUBSCRIPTIONS)?, id.0)
    }

    /// Subscriptions that `wanted` picks, oldest first.
    pub fn list_subscriptions(
        &self,
        page: PageRequest,
        wanted: impl Fn(&SubscriptionRecord) -> bool,
    ) -> Result<Page<(SubscriptionId, SubscriptionRecord)>, StoreError> {
        page.read(&self.table(schema::SUBSCRIPTIONS)?, |id, value| {
            let record: SubscriptionRecord = decode(value)?;
            Ok(wanted(&record).then_some((SubscriptionId(id), record)))
        })
    }

    /// The number of the last change of what says who is told.
    pub fn telling_revision(&self) -> Result<u64, StoreError> {
        Ok(self.table(schema::COUNTERS)?.get(REVISION)?.map_or(0, |it| it.value()))
    }

    /// All that says who is told of what.
    pub fn who_is_told(&self) -> Result<Telling, StoreError> {
        let mut integrations = Vec::new();
        for row in self.table(schema::INTEGRATIONS)?.iter()? {
            let (id, value) = row?;
            let id = IntegrationId(id.value());
            let supplies = self.supplies_of(id)?.into_iter().map(|it| it.0).collect();
            integrations.push((id, decode(value.value())?, supplies));
        }
        let mut subscriptions = Vec::new();
        for row in self.table(schema::SUBSCRIPTIONS)?.iter()? {
            let (id, value) = row?;
            subscriptions.push((SubscriptionId(id.value()), decode(value.value())?));
        }
        Ok(Telling { revision: self.telling_revision()?, integrations, subscriptions })
    }
}
