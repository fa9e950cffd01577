//! `integrations.*`: configured sinks, and what they are supplied to. Must never show a connection but
//! masked, to whoever may change it.

use std::sync::Arc;

use mortise_plugin::{Problem, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Api;
use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Right};
use super::subscriptions::may_tell;
use super::versions::Done;
use crate::configuration::suggest;
use crate::engine::tell::{IntegrationChange, NewIntegration, TellError};
use crate::lifecycle::sending::Circuit;
use crate::model::id::IntegrationId;
use crate::model::scope::ScopePrefix;
use crate::store::IntegrationRecord;

/// A configured sink. Its connection is not shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Integration")]
pub(super) struct Shown {
    id: String,
    /// Unique within its type.
    name: String,
    #[serde(rename = "type")]
    kind: String,
    enabled: bool,
    /// Whether it serves everything on the host.
    supplied_to_all: bool,
    /// Prefixes of scopes that it serves.
    supplies: Vec<String>,
    /// How many messages may be under way at once.
    concurrency: u16,
    /// How many may begin in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<u32>,
    /// `working`; or `degraded`, while nothing gets through.
    health: &'static str,
    /// Why nothing gets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_date: Option<String>,
    /// How many messages wait.
    queued: u64,
    created_date: String,
    created_by: String,
    modified_date: String,
    modified_by: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OneIntegration")]
pub(super) struct One {
    integration: Shown,
    /// What is questionable about its connection, and can be used all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<ConnectionProblem>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManyIntegrations")]
pub(super) struct Many {
    integrations: Vec<Shown>,
    next_cursor: Option<String>,
}

/// Something about a connection.
#[derive(Serialize, JsonSchema)]
pub(super) struct ConnectionProblem {
    path: String,
    message: String,
}

impl From<Problem> for ConnectionProblem {
    fn from(problem: Problem) -> ConnectionProblem {
        ConnectionProblem { path: problem.path, message: problem.message }
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Unique within its type.
    name: String,
    /// A sink type of a plugin, such as `slack`.
    #[serde(rename = "type")]
    kind: String,
    /// The whole configuration of the sink, as the schema of its type says. It is sealed, and never shown
    /// but masked.
    connection: Value,
    /// Switched on when absent.
    #[serde(default)]
    enabled: Option<bool>,
    /// Whether it serves everything on the host.
    #[serde(default)]
    supplied_to_all: bool,
    /// Messages under way at once: 1 to 64, 4 when absent.
    #[serde(default)]
    concurrency: Option<u16>,
    /// Messages that begin in one second: 1 to 10000, as many as there are when absent.
    #[serde(default)]
    per_second: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsFind")]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsList")]
pub(super) struct List {
    /// Only those of this type.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// Only those of this name.
    #[serde(default)]
    name: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    id: String,
    #[serde(default)]
    name: Option<String>,
    /// The whole connection; `********` where a secret is shown as that keeps what is stored.
    #[serde(default)]
    connection: Option<Value>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    supplied_to_all: Option<bool>,
    #[serde(default)]
    concurrency: Option<u16>,
    /// null: as many as there are.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<u32>")]
    per_second: Option<Option<u32>>,
}

/// Null is something else than nothing.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// Whether an integration works.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IntegrationTested")]
pub(super) struct Tested {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A connection with `********` in place of its secrets.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShownConnection {
    id: String,
    connection: Value,
}

/// A type of sinks.
#[derive(Serialize, JsonSchema)]
pub(super) struct SinkType {
    name: String,
    title: String,
    description: String,
    /// The plugin that it comes from.
    plugin: String,
    /// What its connection may hold, JSON Schema; what is secret is `writeOnly`.
    schema: Value,
    /// Whether messages about one work stand together.
    threads: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SinkTypes {
    types: Vec<SinkType>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsTypes")]
#[serde(deny_unknown_fields)]
pub(super) struct ListTypes {}

/// A scope that an integration serves.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Supply")]
pub(super) struct Supply {
    integration: String,
    scope: String,
    created_date: String,
    created_by: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OneSupply")]
pub(super) struct OneSupply {
    supply: Supply,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManySupplies")]
pub(super) struct ManySupplies {
    supplies: Vec<Supply>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SuppliesWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct WhichSupply {
    integration: String,
    /// stack, stack/namespace or stack/namespace/snap-in.
    scope: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SuppliesList")]
#[serde(deny_unknown_fields)]
pub(super) struct ListSupplies {
    integration: String,
}

impl From<TellError> for ApiError {
    fn from(error: TellError) -> ApiError {
        let message = error.to_string();
        match error {
            TellError::Invalid(invalid) => {
                let allowed: Vec<&str> = invalid.allowed.iter().map(String::as_str).collect();
                let error = ApiError::field(invalid.field, message);
                if allowed.is_empty() { error } else { error.allowing(&allowed) }
            }
            TellError::Connection { problems } => {
                let problems: Vec<_> = problems.into_iter().map(ConnectionProblem::from).collect();
                ApiError::new(Code::Invalid, message).listing("problems", &problems)
            }
            TellError::NoSuchType { kind, known } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let near = suggest::nearest(&kind, known.iter().copied());
                let near = near.map(|it| format!(", did you mean `{it}`?")).unwrap_or_default();
                ApiError::field("type", format!("{message}{near}")).allowing(&known)
            }
            TellError::NameTaken(_) | TellError::Conflict(_) => {
                ApiError::new(Code::Conflict, message)
            }
            TellError::NoSuchIntegration | TellError::NoSuchSubscription => {
                ApiError::new(Code::NotFound, message)
            }
            TellError::Busy(_) => ApiError::new(Code::Unavailable, message),
            TellError::TimedOut | TellError::NoAnswer(_) => {
                ApiError::new(Code::Unavailable, message).unfinished()
            }
            TellError::Store(error) => error.into(),
        }
    }
}

/// An integration that the caller may know of, by its id.
pub(super) fn find(
    api: &Api,
    caller: &Caller,
    field: &str,
    text: &str,
) -> Result<(IntegrationId, IntegrationRecord), ApiError> {
    let missing = || ApiError::not_found("integration", text);
    let id: IntegrationId = parse_id(field, text)?;
    if !caller.reach.has_integration(id) {
        return Err(missing());
    }
    let record = api.services.store.read(|tables| tables.integration(id))?;
    Ok((id, record.ok_or_else(missing)?))
}

fn shown(api: &Api, id: IntegrationId, record: IntegrationRecord) -> Result<Shown, ApiError> {
    let (supplies, circuit, (queued, _)) = api.services.store.read(|tables| {
        Ok((tables.supplies_of(id)?, tables.integration_circuit(id)?, tables.count_tellings(id)?))
    })?;
    let (health, reason, next_try) = match circuit {
        Circuit::Closed { .. } => ("working", None, None),
        Circuit::Open { until_ms, reason, .. } => ("degraded", Some(reason), Some(time(until_ms))),
    };
    Ok(Shown {
        id: id.to_string(),
        name: record.name,
        kind: record.kind,
        enabled: record.enabled,
        supplied_to_all: record.supplied_to_all,
        supplies: supplies.into_iter().map(|(scope, _)| scope.to_string()).collect(),
        concurrency: record.concurrency,
        per_second: record.per_second,
        health,
        reason,
        next_try_date: next_try,
        queued,
        created_date: time(record.created_ms),
        created_by: record.created_by,
        modified_date: time(record.modified_ms),
        modified_by: record.modified_by,
    })
}

fn one(
    api: &Api,
    id: IntegrationId,
    record: IntegrationRecord,
    warnings: Vec<Problem>,
) -> Result<One, ApiError> {
    let warnings = warnings.into_iter().map(ConnectionProblem::from).collect();
    Ok(One { integration: shown(api, id, record)?, warnings })
}

/// An error for this caller: which other integration has a name is told to those who may see it.
fn refusal(caller: &Caller, error: TellError) -> ApiError {
    let TellError::NameTaken(other) = &error else { return error.into() };
    let reach = caller.principal.reach(Right::ReadIntegrations);
    match reach.is_some_and(|it| it.has_integration(*other)) {
        true => ApiError::new(Code::Conflict, format!("{error}: {other}")),
        false => error.into(),
    }
}

pub(super) async fn create(api: Arc<Api>, caller: Caller, new: Create) -> Result<One, ApiError> {
    if new.supplied_to_all {
        may_tell(&caller, None)?;
    }
    let made = api
        .operations
        .make_integration(NewIntegration {
            name: new.name,
            kind: new.kind,
            connection: new.connection,
            enabled: new.enabled.unwrap_or(true),
            supplied_to_all: new.supplied_to_all,
            concurrency: new.concurrency,
            per_second: new.per_second,
            by: caller.principal.name(),
            owner: caller.principal.of_host().and_then(|it| it.principal),
        })
        .await
        .map_err(|error| refusal(&caller, error))?;
    one(&api, made.id, made.record, made.warnings)
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<One, ApiError> {
    let (id, record) = find(&api, &caller, "id", &which.id)?;
    one(&api, id, record, Vec::new())
}

pub(super) async fn find_by_name(
    api: Arc<Api>,
    caller: Caller,
    which: Find,
) -> Result<One, ApiError> {
    let found = api.services.store.read(|tables| {
        let Some(id) = tables.integration_by_name(&which.kind, &which.name)? else {
            return Ok(None);
        };
        Ok(tables.integration(id)?.map(|it| (id, it)))
    })?;
    let found = found.filter(|(id, _)| caller.reach.has_integration(*id));
    let (id, record) = found.ok_or_else(|| {
        ApiError::not_found(&format!("integration of type `{}` called", which.kind), &which.name)
    })?;
    one(&api, id, record, Vec::new())
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<Many, ApiError> {
    let page = list.paging.oldest_first()?;
    // Whoever may only make integrations sees none until he has made one.
    let Some(reach) = caller.principal.reach(Right::ReadIntegrations) else {
        return Ok(Many { integrations: Vec::new(), next_cursor: None });
    };
    let page = api.services.store.read(|tables| {
        tables.list_integrations(page, |id, record| {
            reach.has_integration(id)
                && list.kind.as_ref().is_none_or(|it| *it == record.kind)
                && list.name.as_ref().is_none_or(|it| *it == record.name)
        })
    })?;
    let integrations: Result<Vec<Shown>, ApiError> =
        page.rows.into_iter().map(|(id, record)| shown(&api, id, record)).collect();
    Ok(Many { integrations: integrations?, next_cursor: cursor(page.next) })
}

pub(super) async fn update(api: Arc<Api>, caller: Caller, change: Update) -> Result<One, ApiError> {
    let (id, before) = find(&api, &caller, "id", &change.id)?;
    if change.supplied_to_all == Some(true) && !before.supplied_to_all {
        may_tell(&caller, None)?;
    }
    let change = IntegrationChange {
        name: change.name,
        connection: change.connection,
        enabled: change.enabled,
        // What it is already is not set again: somebody else may change it meanwhile, who may.
        supplied_to_all: change.supplied_to_all.filter(|it| *it != before.supplied_to_all),
        concurrency: change.concurrency,
        per_second: change.per_second,
        by: caller.principal.name(),
    };
    let updated = api.operations.change_integration(id, change).await;
    let (record, warnings) = updated.map_err(|error| refusal(&caller, error))?;
    one(&api, id, record, warnings)
}

pub(super) async fn delete(api: Arc<Api>, caller: Caller, which: Which) -> Result<Done, ApiError> {
    let (id, _) = find(&api, &caller, "id", &which.id)?;
    api.operations.delete_integration(id).await?;
    Ok(Done {})
}

pub(super) async fn test(api: Arc<Api>, caller: Caller, which: Which) -> Result<Tested, ApiError> {
    let (id, _) = find(&api, &caller, "id", &which.id)?;
    let error = api.operations.test_integration(id).await?.err();
    Ok(Tested { success: error.is_none(), error })
}

pub(super) async fn connection(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<ShownConnection, ApiError> {
    let (id, _) = find(&api, &caller, "id", &which.id)?;
    Ok(ShownConnection { id: id.to_string(), connection: api.tell.connection(id)?.shown })
}

pub(super) async fn add_supply(
    api: Arc<Api>,
    caller: Caller,
    which: WhichSupply,
) -> Result<OneSupply, ApiError> {
    let (id, _) = find(&api, &caller, "integration", &which.integration)?;
    let scope: ScopePrefix = parse_id("scope", &which.scope)?;
    may_tell(&caller, Some(&scope))?;
    let by = caller.principal.name();
    api.tell.add_supply(id, scope.clone(), by).await?;
    // As it is stored: it may have been there before.
    let all = api.services.store.read(|tables| tables.supplies_of(id))?;
    let found = all.into_iter().find(|(it, _)| *it == scope);
    let (_, record) = found.ok_or_else(|| {
        let message = format!("the supply to {scope} was taken back in the meantime");
        ApiError::new(Code::Conflict, message)
    })?;
    let supply = Supply {
        integration: id.to_string(),
        scope: scope.to_string(),
        created_date: time(record.created_ms),
        created_by: record.created_by,
    };
    Ok(OneSupply { supply })
}

pub(super) async fn remove_supply(
    api: Arc<Api>,
    caller: Caller,
    which: WhichSupply,
) -> Result<Done, ApiError> {
    let (id, _) = find(&api, &caller, "integration", &which.integration)?;
    let scope: ScopePrefix = parse_id("scope", &which.scope)?;
    if api.tell.remove_supply(id, scope).await? {
        return Ok(Done {});
    }
    Err(ApiError::not_found("supply of this integration to", &which.scope))
}

pub(super) async fn supplies(
    api: Arc<Api>,
    caller: Caller,
    list: ListSupplies,
) -> Result<ManySupplies, ApiError> {
    let (id, _) = find(&api, &caller, "integration", &list.integration)?;
    let found = api.services.store.read(|tables| tables.supplies_of(id))?;
    let supplies = found.into_iter().map(|(scope, record)| Supply {
        integration: id.to_string(),
        scope: scope.to_string(),
        created_date: time(record.created_ms),
        created_by: record.created_by,
    });
    Ok(ManySupplies { supplies: supplies.collect() })
}

pub(super) async fn types(api: Arc<Api>, _: Caller, _: ListTypes) -> Result<SinkTypes, ApiError> {
    let types = api.services.plugins.types(Role::Sink).map(|it| SinkType {
        name: it.descriptor.name.clone(),
        title: it.descriptor.title.clone(),
        description: it.descriptor.description.clone(),
        plugin: it.plugin.clone(),
        schema: it.descriptor.config_schema.clone(),
        threads: it.descriptor.threads,
    });
    Ok(SinkTypes { types: types.collect() })
}
