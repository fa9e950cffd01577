//! `roles.*`: who has which role on the host, and on single integrations. Nobody gives or takes what
//! he has not himself; that is decided in `access/`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::extent::page_of;
use super::lists::{Paging, cursor, parse_id, time};
use super::principals::{Ref, find, reference, refused};
use super::rights::{Caller, Right};
use crate::access::Change;
use crate::model::access::{Grant, HostRole, IntegrationRole};
use crate::model::id::IntegrationId;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleGrant {
    /// Whose: id, `user:<name>`, `group:<name>` or `service-account:<name>`.
    principal: String,
    /// Of the host: owner, contributor, reader, identity-access-manager, integration-creator,
    /// integration-contributor, integration-reader. Of an integration: owner, contributor, reader,
    /// identity-access-manager.
    role: String,
    /// Id of the integration that it is on; the host when absent.
    #[serde(default)]
    integration: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Granted {
    principal: Ref,
    role: &'static str,
    /// Absent: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_date: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleList {
    /// Only those of this principal, as in `roles.grant`.
    #[serde(default)]
    principal: Option<String>,
    /// Only those on this integration.
    #[serde(default)]
    integration: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Grants {
    roles: Vec<Granted>,
    next_cursor: Option<String>,
}

/// The integration of an id that the caller may grant roles of. One that he may not is as if there
/// were none.
fn integration(api: &Api, caller: &Caller, text: &str) -> Result<IntegrationId, ApiError> {
    let id: IntegrationId = parse_id("integration", text)?;
    let exists = api.services.store.read(|tables| tables.has_integration(id))?;
    if exists && caller.reach.has_integration(id) {
        return Ok(id);
    }
    Err(ApiError::not_found("integration", text))
}

fn grant_of(api: &Api, caller: &Caller, asked: &RoleGrant) -> Result<Grant, ApiError> {
    match &asked.integration {
        Some(text) => {
            let id = integration(api, caller, text)?;
            Ok(Grant::Integration(id, parse_id::<IntegrationRole>("role", &asked.role)?))
        }
        None => {
            needs(caller, Right::ManagePrincipals)?;
            Ok(Grant::Host(parse_id::<HostRole>("role", &asked.role)?))
        }
    }
}

/// Roles of the host need more than those of an integration, which is what the route asks for.
fn needs(caller: &Caller, right: Right) -> Result<(), ApiError> {
    if caller.principal.reach(right).is_some() {
        return Ok(());
    }
    let message = format!("roles of the host need the right `{}`", right.name());
    Err(ApiError::new(Code::Forbidden, message))
}

async fn change(
    api: &Api,
    caller: &Caller,
    asked: &RoleGrant,
    change: impl FnOnce(crate::model::access::PrincipalId, Grant) -> Change,
) -> Result<Granted, ApiError> {
    let grant = grant_of(api, caller, asked)?;
    let principal = find(&api.access.state(), "principal", &asked.principal)?;
    let changed = api.access.change(&caller.principal.authority(), change(principal, grant)).await;
    changed.map_err(|error| refused(error, "role"))?;
    let state = api.access.state();
    let since = state.grants_of(principal).find(|(it, _)| *it == grant).map(|(_, since)| since);
    Ok(Granted {
        principal: reference(&state, principal),
        role: grant.role(),
        integration: grant.integration().map(|it| it.to_string()),
        granted_date: since.map(time),
    })
}

pub(super) async fn grant(
    api: Arc<Api>,
    caller: Caller,
    asked: RoleGrant,
) -> Result<Granted, ApiError> {
    change(&api, &caller, &asked, |to, grant| Change::Grant { to, grant }).await
}

pub(super) async fn revoke(
    api: Arc<Api>,
    caller: Caller,
    asked: RoleGrant,
) -> Result<Granted, ApiError> {
    change(&api, &caller, &asked, |from, grant| Change::Revoke { from, grant }).await
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: RoleList,
) -> Result<Grants, ApiError> {
    let page = list.paging.oldest_first()?;
    let state = api.access.state();
    let on = list.integration.as_deref().map(|it| integration(&api, &caller, it)).transpose()?;
    if on.is_none() {
        needs(&caller, Right::ReadPrincipals)?;
    }
    let of = list.principal.as_deref().map(|it| find(&state, "principal", it)).transpose()?;
    let rows = state.grants().filter(|(id, grant, _)| {
        of.is_none_or(|it| it == *id) && on.is_none_or(|it| grant.integration() == Some(it))
    });
    let (rows, next) = page_of(rows.collect(), page);
    let roles = rows.into_iter().map(|(id, grant, since)| Granted {
        principal: reference(&state, id),
        role: grant.role(),
        integration: grant.integration().map(|it| it.to_string()),
        granted_date: Some(time(since)),
    });
    Ok(Grants { roles: roles.collect(), next_cursor: cursor(next) })
}
