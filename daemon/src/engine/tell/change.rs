//! Making, changing, testing and deleting integrations. A change is answered when nothing is sent any more
//! with what was there before.
//!
//! The actor of an integration asks for one change after the other. Must never: store a connection that no
//! plugin has looked at; leave the gate open for the one of before.

use std::time::Duration;

use mortise_plugin::{Problem, Role};
use serde_json::Value;
use tokio::time::timeout;

use super::connection::{Confidential, NotOpened, seal, unseal};
use super::definition::{self, Invalid};
use super::manage::TellError;
use super::{Tell, send};
use crate::configuration::write_only::{NotKept, masked, unmasked};
use crate::model::access::PrincipalId;
use crate::model::id::IntegrationId;
use crate::plugins::OpenError;
use crate::store::{IntegrationRecord, MOST_INTEGRATIONS, PutIntegration};

/// How long the store may take for one change.
const STORE_DEADLINE: Duration = Duration::from_secs(10);

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
    /// Who owns it from then on, when that is a principal.
    pub owner: Option<PrincipalId>,
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

/// A connection as it is shown.
#[derive(Clone, Debug)]
pub struct Connection {
    /// With masks in place of its secrets.
    pub shown: Value,
}

impl Tell {
    /// Makes an integration, which is not served yet. Answers what is questionable about its connection
    /// too.
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
        let owner = new.owner;
        let write = self.shared.store.write(move |tables| {
            let id = IntegrationId(tables.new_id());
            let envelope = seal(&vault, id, &connection);
            Ok((id, tables.create_integration(id, &stored, &envelope, owner)?))
        });
        match write.await? {
            (id, PutIntegration::Stored) => {
                self.shared.access.catch_up()?;
                Ok((id, record, warnings))
            }
            (_, PutIntegration::NameTaken(other)) => Err(TellError::NameTaken(other)),
            (_, PutIntegration::TooMany) => Err(TellError::Conflict(format!(
                "there are {MOST_INTEGRATIONS} integrations already; delete one that nobody needs"
            ))),
            (_, PutIntegration::Stale) => Err(TellError::NoSuchIntegration),
        }
    }

    /// Changes an integration. When this comes back, nothing is sent any more with what was there before; and
    /// nothing begins with it from the commit on, whether or not anybody waits for this. To be called for one
    /// change after the other: what a mask in a connection stands for is read first.
    pub async fn update(
        &self,
        id: IntegrationId,
        change: IntegrationChange,
    ) -> Result<(IntegrationRecord, Vec<Problem>), TellError> {
        change.concurrency.map_or(Ok(()), definition::check_concurrency)?;
        change.per_second.flatten().map_or(Ok(()), definition::check_rate)?;
        let (before, sealed) = self.read(id)?;
        // One that it has already may be from before names were looked at so closely.
        let name = change.name.as_deref().filter(|it| *it != before.name);
        name.map_or(Ok(()), definition::check_name)?;
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
        let generation = before.generation;
        let record = IntegrationRecord {
            name: change.name.unwrap_or(before.name),
            enabled: change.enabled.unwrap_or(before.enabled),
            supplied_to_all: change.supplied_to_all.unwrap_or(before.supplied_to_all),
            concurrency: change.concurrency.unwrap_or(before.concurrency),
            per_second: change.per_second.unwrap_or(before.per_second),
            generation: generation + 1,
            modified_ms: self.shared.clock.now_ms(),
            modified_by: change.by,
            kind: before.kind,
            created_ms: before.created_ms,
            created_by: before.created_by,
        };
        let (stored, vault) = (record.clone(), self.shared.vault.clone());
        let tell = self.clone();
        let write = self.shared.store.write_then(
            move |tables| {
                let envelope = connection.as_ref().map(|it| seal(&vault, id, it));
                tables.put_integration(id, generation, &stored, envelope.as_deref())
            },
            move |put| match put {
                PutIntegration::Stored => tell.outdate(id),
                PutIntegration::NameTaken(_) | PutIntegration::TooMany | PutIntegration::Stale => {}
            },
        );
        match timeout(STORE_DEADLINE, write).await.map_err(|_| TellError::TimedOut)?? {
            PutIntegration::Stored => {
                self.close_gate(id).await;
                Ok((record, warnings))
            }
            PutIntegration::NameTaken(other) => Err(TellError::NameTaken(other)),
            PutIntegration::Stale | PutIntegration::TooMany => {
                Err(TellError::Busy("somebody else changes the same integration".to_owned()))
            }
        }
    }

    /// Deletes an integration with its connection. When this comes back, nothing is sent with it any more.
    pub async fn delete(&self, id: IntegrationId) -> Result<(), TellError> {
        let tell = self.clone();
        let write = self.shared.store.write_then(
            move |tables| tables.delete_integration(id),
            move |was_there| {
                if *was_there {
                    tell.outdate(id);
                }
            },
        );
        if !timeout(STORE_DEADLINE, write).await.map_err(|_| TellError::TimedOut)?? {
            return Err(TellError::NoSuchIntegration);
        }
        self.close_gate(id).await;
        self.forget(id);
        self.shared.access.catch_up()?;
        Ok(())
    }

    fn outdate(&self, id: IntegrationId) {
        if let Some(lane) = self.lane(id) {
            lane.gate.outdate();
            lane.signals.changed();
        }
    }

    async fn close_gate(&self, id: IntegrationId) {
        if let Some(lane) = self.lane(id) {
            lane.gate.close().await;
        }
    }

    /// Shows that an integration that is served works; an error inside says why it does not.
    pub async fn test(&self, id: IntegrationId) -> Result<Result<(), String>, TellError> {
        let lane = self.lane(id).ok_or(TellError::NoSuchIntegration)?;
        Ok(send::test(&self.shared, &lane.gate, id).await)
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
}

fn masks(error: NotKept) -> Invalid {
    Invalid { field: "connection", message: error.to_string(), allowed: Vec::new() }
}
