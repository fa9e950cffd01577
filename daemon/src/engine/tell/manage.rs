//! Making, changing, testing and deleting integrations, and what is supplied and wanted. A change is
//! answered when nothing is sent any more with what was there before.

use mortise_plugin::{Problem, Role};
use serde_json::Value;

use super::connection::{Confidential, NotOpened, seal, unseal};
use super::definition::{self, Invalid};
use super::{Tell, send};
use crate::configuration::write_only::{NotKept, masked, unmasked};
use crate::model::event::Cause;
use crate::model::id::{DeliveryId, IntegrationId, OccurrenceId, SubscriptionId};
use crate::model::occurrence::Selector;
use crate::model::scope::ScopePrefix;
use crate::plugins::OpenError;
use crate::store::{
    IntegrationRecord, MOST_INTEGRATIONS, MOST_SUBSCRIPTIONS, MOST_SUPPLIES, NewOccurrence,
    PutDemand, PutIntegration, StoreError, SubscriptionRecord,
};

/// How often a change is tried while somebody else changes the same.
const TRIES: usize = 16;

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The connection is none of its type.
    #[error("the connection cannot be used: {}", listed(problems))]
    Connection {
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
    /// No plugin has a sink type of that name.
    #[error("there is no sink type `{kind}`")]
    NoSuchType {
        /// As it was asked for.
        kind: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Another one of its type has the name. Which one, not everybody may know.
    #[error("there is an integration of this type and name already")]
    NameTaken(IntegrationId),
    /// It is not there.
    #[error("there is no such integration")]
    NoSuchIntegration,
    /// It is not there.
    #[error("there is no such subscription")]
    NoSuchSubscription,
    /// It is there already, or there are too many.
    #[error("{0}")]
    Conflict(String),
    /// Others change the same all the time, or nobody answers.
    #[error("{0}; try again")]
    Busy(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn listed(problems: &[Problem]) -> String {
    let said: Vec<String> = problems
        .iter()
        .take(3)
        .map(|it| match it.path.as_str() {
            "" => it.message.clone(),
            path => format!("`{path}`: {}", it.message),
        })
        .collect();
    said.join("; ")
}

/// An integration to be made.
#[derive(Clone, Debug)]
pub struct NewIntegration {
    /// Unique within its type.
    pub name: String,
    /// The sink type.
    pub kind: String,
    /// The whole configuration of the sink.
    pub connection: Value,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it serves everything.
    pub supplied_to_all: bool,
    /// How many messages may be under way at once.
    pub concurrency: Option<u16>,
    /// How many may begin in a second.
    pub per_second: Option<u32>,
    /// Who makes it.
    pub by: String,
}

/// What is to be another one of an integration.
#[derive(Clone, Debug, Default)]
pub struct IntegrationChange {
    /// Its name.
    pub name: Option<String>,
    /// Its connection; masks in it keep what is stored.
    pub connection: Option<Value>,
    /// Whether it is switched on.
    pub enabled: Option<bool>,
    /// Whether it serves everything.
    pub supplied_to_all: Option<bool>,
    /// How many messages may be under way at once.
    pub concurrency: Option<u16>,
    /// How many may begin in a second; nothing in it for as many as there are.
    pub per_second: Option<Option<u32>>,
    /// Who changes it.
    pub by: String,
}

/// A subscription to be made.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// Through which integration.
    pub integration: IntegrationId,
    /// What about, as it is written.
    pub trigger: String,
    /// Where.
    pub scope: Option<ScopePrefix>,
    /// Which of those.
    pub filter: Option<String>,
    /// The title of messages.
    pub title: Option<String>,
    /// Their text.
    pub text: Option<String>,
    /// For how long occurrences of a kind are collected.
    pub group_wait_seconds: u32,
    /// Who makes it.
    pub by: String,
}

/// What is to be another one of a subscription; nothing inside takes away what is there.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionChange {
    /// What about.
    pub trigger: Option<String>,
    /// Where.
    pub scope: Option<Option<ScopePrefix>>,
    /// Which of those.
    pub filter: Option<Option<String>>,
    /// The title of messages.
    pub title: Option<Option<String>>,
    /// Their text.
    pub text: Option<Option<String>>,
    /// For how long occurrences of a kind are collected.
    pub group_wait_seconds: Option<u32>,
    /// Who changes it.
    pub by: String,
}

/// A connection as it is shown.
#[derive(Clone, Debug)]
pub struct Connection {
    /// With masks in place of its secrets.
    pub shown: Value,
}

impl Tell {
    /// Makes an integration. Answers what is questionable about its connection too.
    pub async fn create(
        &self,
        new: NewIntegration,
    ) -> Result<(IntegrationId, IntegrationRecord, Vec<Problem>), TellError> {
        definition::check_name(&new.name)?;
        let concurrency = new.concurrency.unwrap_or(definition::DEFAULT_CONCURRENCY);
        definition::check_concurrency(concurrency)?;
        new.per_second.map_or(Ok(()), definition::check_rate)?;
        let (kind, warnings) = self.check(&new.kind, &new.connection).await?;
        // What was shown of another one has no secrets to begin with.
        unmasked(&self.schema(&kind)?, &new.connection, &Value::Null).map_err(masks)?;
        let now_ms = self.shared.clock.now_ms();
        let record = IntegrationRecord {
            name: new.name,
            kind,
            enabled: new.enabled,
            supplied_to_all: new.supplied_to_all,
            concurrency,
            per_second: new.per_second,
            generation: 1,
            created_ms: now_ms,
            created_by: new.by.clone(),
            modified_ms: now_ms,
            modified_by: new.by,
        };
        let (stored, connection, vault) =
            (record.clone(), new.connection, self.shared.vault.clone());
        let write = self.shared.store.write(move |tables| {
            let id = IntegrationId(tables.new_id());
            let envelope = seal(&vault, id, &connection);
            Ok((id, tables.create_integration(id, &stored, &envelope)?))
        });
        match write.await? {
            (id, PutIntegration::Stored) => {
                self.serve(id);
                Ok((id, record, warnings))
            }
            (_, PutIntegration::NameTaken(other)) => Err(TellError::NameTaken(other)),
            (_, PutIntegration::TooMany) => Err(TellError::Conflict(format!(
                "there are {MOST_INTEGRATIONS} integrations already; delete one that nobody needs"
            ))),
            (_, PutIntegration::Stale) => Err(TellError::NoSuchIntegration),
        }
    }

    /// Changes an integration. When this comes back, nothing is sent any more with what was there before.
    pub async fn update(
        &self,
        id: IntegrationId,
        change: IntegrationChange,
    ) -> Result<(IntegrationRecord, Vec<Problem>), TellError> {
        change.name.as_deref().map_or(Ok(()), definition::check_name)?;
        change.concurrency.map_or(Ok(()), definition::check_concurrency)?;
        change.per_second.flatten().map_or(Ok(()), definition::check_rate)?;
        for _ in 0..TRIES {
            let (before, sealed) = self.read(id)?;
            let mut warnings = Vec::new();
            let mut connection = None;
            if let Some(given) = &change.connection {
                let schema = self.schema(&before.kind)?;
                // What is there may be lost; then nothing can be kept of it.
                let stored = unseal(&self.shared.vault, id, sealed.as_deref()).unwrap_or_default();
                let meant = unmasked(&schema, given, &stored).map_err(masks)?;
                warnings = self.check(&before.kind, &meant).await?.1;
                connection = Some(meant);
            }
            let record = IntegrationRecord {
                name: change.name.clone().unwrap_or_else(|| before.name.clone()),
                enabled: change.enabled.unwrap_or(before.enabled),
                supplied_to_all: change.supplied_to_all.unwrap_or(before.supplied_to_all),
                concurrency: change.concurrency.unwrap_or(before.concurrency),
                per_second: change.per_second.unwrap_or(before.per_second),
                generation: before.generation + 1,
                modified_ms: self.shared.clock.now_ms(),
                modified_by: change.by.clone(),
                ..before.clone()
            };
            let (stored, vault) = (record.clone(), self.shared.vault.clone());
            let write = self.shared.store.write(move |tables| {
                let envelope = connection.as_ref().map(|it| seal(&vault, id, it));
                tables.put_integration(id, before.generation, &stored, envelope.as_deref())
            });
            match write.await? {
                PutIntegration::Stored => {
                    let signals = self.serve(id);
                    signals.gate.close().await;
                    signals.changed();
                    return Ok((record, warnings));
                }
                PutIntegration::NameTaken(other) => return Err(TellError::NameTaken(other)),
                PutIntegration::Stale | PutIntegration::TooMany => {}
            }
        }
        Err(TellError::Busy("others change the same integration".to_owned()))
    }

    /// Deletes an integration with its connection. When this comes back, nothing is sent with it any more.
    pub async fn delete(&self, id: IntegrationId) -> Result<(), TellError> {
        if !self.shared.store.write(move |tables| tables.delete_integration(id)).await? {
            return Err(TellError::NoSuchIntegration);
        }
        if let Some(signals) = self.signals(id) {
            signals.gate.close().await;
            signals.changed();
        }
        Ok(())
    }

    /// Shows that an integration works; an error inside says why it does not.
    pub async fn test(&self, id: IntegrationId) -> Result<Result<(), String>, TellError> {
        self.read(id)?;
        let signals = self.serve(id);
        Ok(send::test(&self.shared, &signals.gate, id).await)
    }

    /// The connection of an integration, without its secrets.
    pub fn connection(&self, id: IntegrationId) -> Result<Connection, TellError> {
        let (record, sealed) = self.read(id)?;
        let schema = self.schema(&record.kind)?;
        match unseal(&self.shared.vault, id, sealed.as_deref()) {
            Ok(connection) => Ok(Connection { shown: masked(&schema, &connection) }),
            Err(error @ (NotOpened::Gone | NotOpened::Lost(_) | NotOpened::Plugin(_))) => {
                Err(TellError::Conflict(error.to_string()))
            }
            Err(NotOpened::Store(error)) => Err(error.into()),
        }
    }

    fn read(&self, id: IntegrationId) -> Result<(IntegrationRecord, Option<Vec<u8>>), TellError> {
        let read = self.shared.store.read(|tables| {
            let Some(record) = tables.integration(id)? else { return Ok(None) };
            Ok(Some((record, tables.envelope(id.0)?)))
        })?;
        read.ok_or(TellError::NoSuchIntegration)
    }

    fn schema(&self, kind: &str) -> Result<Value, TellError> {
        let found = self.shared.plugins.find(Role::Sink, kind);
        // Without its schema nobody knows what in a connection is secret.
        let found = found.ok_or_else(|| self.no_such_type(kind))?;
        Ok(found.descriptor.config_schema.clone())
    }

    fn no_such_type(&self, kind: &str) -> TellError {
        let known = self.shared.plugins.types(Role::Sink).map(|it| it.descriptor.name.clone());
        let kind = kind.chars().take(80).collect();
        TellError::NoSuchType { kind, known: known.collect() }
    }

    /// Whether a connection is one of its type: the type's own name, and what is questionable.
    async fn check(
        &self,
        kind: &str,
        connection: &Value,
    ) -> Result<(String, Vec<Problem>), TellError> {
        definition::check_connection(connection)?;
        let plugins = &self.shared.plugins;
        let Some(found) = plugins.find(Role::Sink, kind) else {
            return Err(self.no_such_type(kind));
        };
        let now_ms = self.shared.clock.now_ms();
        // Whoever changes the rest does not know what is kept of it.
        let secrets = Confidential::of(&found.descriptor.config_schema, connection);
        let checked = plugins.check(Role::Sink, kind, connection, now_ms).await;
        match checked.map_err(|error| secrets.open_error(error)) {
            Ok(report) if report.errors.is_empty() => {
                Ok((found.descriptor.name.clone(), secrets.problems(report.warnings)))
            }
            Ok(report) => Err(TellError::Connection { problems: secrets.problems(report.errors) }),
            Err(OpenError::UnknownType { .. }) => Err(self.no_such_type(kind)),
            Err(OpenError::Config { problems, .. }) => Err(TellError::Connection { problems }),
            Err(error @ (OpenError::Call(_) | OpenError::ThreadsLost { .. })) => {
                Err(TellError::Busy(error.to_string()))
            }
        }
    }

    /// Supplies an integration to a scope.
    pub async fn add_supply(
        &self,
        id: IntegrationId,
        scope: ScopePrefix,
        by: String,
    ) -> Result<(), TellError> {
        let shown = scope.to_string();
        let put = self.shared.store.write(move |tables| tables.add_supply(id, &scope, &by)).await?;
        demand(put, MOST_SUPPLIES as u64, &format!("it is supplied to {shown} already"), "supplies")
    }

    /// Takes a supply back.
    pub async fn remove_supply(
        &self,
        id: IntegrationId,
        scope: ScopePrefix,
    ) -> Result<bool, TellError> {
        Ok(self.shared.store.write(move |tables| tables.remove_supply(id, &scope)).await?)
    }

    /// Makes a subscription.
    pub async fn subscribe(
        &self,
        new: NewSubscription,
    ) -> Result<(SubscriptionId, SubscriptionRecord), TellError> {
        let now_ms = self.shared.clock.now_ms();
        let record = SubscriptionRecord {
            integration: new.integration,
            trigger: definition::read_trigger(&new.trigger)?,
            scope: new.scope,
            filter: new.filter,
            title: new.title,
            text: new.text,
            group_wait_seconds: new.group_wait_seconds,
            created_ms: now_ms,
            created_by: new.by.clone(),
            modified_ms: now_ms,
            modified_by: new.by,
        };
        check_subscription(&record)?;
        let stored = record.clone();
        let write = self.shared.store.write(move |tables| {
            let id = SubscriptionId(tables.new_id());
            Ok((id, tables.create_subscription(id, &stored)?))
        });
        let (id, put) = write.await?;
        demand(put, MOST_SUBSCRIPTIONS, "there is one like it", "subscriptions")?;
        Ok((id, record))
    }

    /// Changes a subscription.
    pub async fn change_subscription(
        &self,
        id: SubscriptionId,
        change: SubscriptionChange,
    ) -> Result<SubscriptionRecord, TellError> {
        let trigger: Option<Selector> =
            change.trigger.as_deref().map(definition::read_trigger).transpose()?;
        for _ in 0..TRIES {
            let seen = self.shared.store.read(|tables| tables.subscription(id))?;
            let seen = seen.ok_or(TellError::NoSuchSubscription)?;
            let record = SubscriptionRecord {
                trigger: trigger.clone().unwrap_or_else(|| seen.trigger.clone()),
                scope: change.scope.clone().unwrap_or_else(|| seen.scope.clone()),
                filter: change.filter.clone().unwrap_or_else(|| seen.filter.clone()),
                title: change.title.clone().unwrap_or_else(|| seen.title.clone()),
                text: change.text.clone().unwrap_or_else(|| seen.text.clone()),
                group_wait_seconds: change.group_wait_seconds.unwrap_or(seen.group_wait_seconds),
                modified_ms: self.shared.clock.now_ms(),
                modified_by: change.by.clone(),
                ..seen.clone()
            };
            check_subscription(&record)?;
            let stored = record.clone();
            let write =
                self.shared.store.write(move |it| it.put_subscription(id, &seen, &stored)).await?;
            if write == PutDemand::Stored {
                return Ok(record);
            }
        }
        Err(TellError::Busy("others change the same subscription".to_owned()))
    }

    /// Deletes a subscription. What is on its way for it goes out.
    pub async fn unsubscribe(&self, id: SubscriptionId) -> Result<(), TellError> {
        match self.shared.store.write(move |tables| tables.delete_subscription(id)).await? {
            true => Ok(()),
            false => Err(TellError::NoSuchSubscription),
        }
    }

    /// Sends an ended message again. Answers whether there is one.
    pub async fn redeliver(
        &self,
        integration: IntegrationId,
        id: DeliveryId,
    ) -> Result<bool, TellError> {
        let write = self.shared.store.write(move |tables| tables.resend_telling(integration, id));
        let is_there = write.await?;
        if let Some(signals) = self.signals(integration) {
            signals.requeued();
        }
        Ok(is_there)
    }

    /// Writes down what somebody publishes, or reports of a longer piece of work.
    pub async fn publish(
        &self,
        new: NewOccurrence,
        cause: Cause,
    ) -> Result<OccurrenceId, TellError> {
        let kept = self.shared.store.read(|tables| tables.count_occurrences())?;
        // As many again as are kept: they are removed when they were decided on.
        if kept > 2 * super::tidy::MOST_KEPT {
            let message = "more was published than people can be told of".to_owned();
            return Err(TellError::Busy(message));
        }
        let new = NewOccurrence { cause, ..new };
        Ok(self.shared.store.write(move |tables| tables.occur(&new)).await?)
    }
}

fn masks(error: NotKept) -> Invalid {
    Invalid { field: "connection", message: error.to_string(), allowed: Vec::new() }
}

fn check_subscription(record: &SubscriptionRecord) -> Result<(), Invalid> {
    record.filter.as_deref().map_or(Ok(()), definition::check_filter)?;
    for (field, template) in [("title", &record.title), ("text", &record.text)] {
        if let Some(template) = template {
            definition::check_template(field, template, &record.trigger)?;
        }
    }
    definition::check_group_wait(record.group_wait_seconds)
}

fn demand(put: PutDemand, most: u64, exists: &str, what: &str) -> Result<(), TellError> {
    match put {
        PutDemand::Stored => Ok(()),
        PutDemand::NoSuchIntegration => Err(TellError::NoSuchIntegration),
        PutDemand::Exists => Err(TellError::Conflict(exists.to_owned())),
        PutDemand::TooMany => Err(TellError::Conflict(format!(
            "there are {most} {what} already; delete one that nobody needs"
        ))),
        PutDemand::Stale => Err(TellError::Busy("somebody else changes the same".to_owned())),
    }
}
