//! `users.*`, `principal-groups.*`, `service-accounts.*` and `whoami`: who there is. What each may do is
//! said by `roles.*`, and how he shows who he is by `tokens.*`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::extent::page_of;
use super::lists::{Paging, cursor, time};
use super::rights::{Caller, Powers, Principal, Reach, Right};
use crate::access::{Change, Refusal, State};
use crate::engine::access::AccessError;
use crate::model::access::{Grant, PrincipalId, PrincipalKind, StoredPrincipal};
use crate::model::id::GroupId;

/// A principal, where something is said of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PrincipalRef")]
pub(super) struct Ref {
    id: String,
    /// user, group or service_account.
    kind: &'static str,
    name: String,
}

pub(super) fn reference(state: &State, id: PrincipalId) -> Ref {
    let name = state.principal(id).map(|it| it.name.clone()).unwrap_or_default();
    Ref { id: id.to_string(), kind: kind_name(id.kind()), name }
}

fn kind_name(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Group => "group",
        PrincipalKind::ServiceAccount => "service_account",
    }
}

/// The principal of an id, or of a name behind its kind.
pub(super) fn find(state: &State, field: &str, text: &str) -> Result<PrincipalId, ApiError> {
    let found = match text.split_once(':') {
        Some((prefix, name)) => {
            let kind = PrincipalKind::ALL.into_iter().find(|it| it.prefix() == prefix);
            kind.and_then(|it| state.named(it, name))
        }
        None => PrincipalId::parse(text).filter(|it| state.principal(*it).is_some()),
    };
    found.ok_or_else(|| {
        let message = format!(
            "there is no principal `{text}`: say an id, user:<name>, group:<name> or \
             service-account:<name>"
        );
        ApiError::new(Code::NotFound, message).with("field", field.into())
    })
}

/// The principal of a kind by its id or name.
fn of_kind(state: &State, kind: PrincipalKind, text: &str) -> Result<PrincipalId, ApiError> {
    let by_id = PrincipalId::parse(text).filter(|it| it.kind() == kind);
    let by_id = by_id.filter(|it| state.principal(*it).is_some());
    let plain = text.strip_prefix(kind.prefix()).and_then(|it| it.strip_prefix(':'));
    by_id
        .or_else(|| state.named(kind, plain.unwrap_or(text)))
        .ok_or_else(|| ApiError::not_found(kind.name(), text))
}

/// Why a change of access was not made.
pub(super) fn refused(error: AccessError, field: &str) -> ApiError {
    let message = error.to_string();
    match error {
        AccessError::Refused(refusal) => match refusal {
            Refusal::NoSuchPrincipal(_) | Refusal::NoSuchToken => {
                ApiError::new(Code::NotFound, message)
            }
            Refusal::NameTaken { .. }
            | Refusal::TokenNameTaken(_)
            | Refusal::NotMember
            | Refusal::NotGranted(_)
            | Refusal::LastOwner
            | Refusal::TooMany(_) => ApiError::new(Code::Conflict, message),
            Refusal::BadName => ApiError::field(field, message),
            Refusal::LongDescription => ApiError::field("description", message),
            Refusal::Nested => ApiError::field("member", message),
            Refusal::GroupToken => ApiError::field("principal", message),
            Refusal::Expired | Refusal::Outlives => ApiError::field("expires_at", message),
            Refusal::Unlimited | Refusal::NoRoles => ApiError::field("roles", message),
            Refusal::Beyond { .. } => ApiError::new(Code::Forbidden, message),
        },
        AccessError::Busy => ApiError::new(Code::Unavailable, message),
        AccessError::Store(error) => error.into(),
    }
}

/// A user, group or service account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Principal")]
pub(super) struct Shown {
    id: String,
    /// user, group or service_account.
    kind: &'static str,
    name: String,
    description: String,
    created_date: String,
    created_by: String,
    /// What was granted to it itself.
    roles: Vec<RoleOf>,
    /// The groups that it is in; what those were granted, it has too.
    groups: Vec<Ref>,
    /// How many tokens it has.
    tokens: usize,
    /// Of a group: how many are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<usize>,
}

/// A role, and on what.
#[derive(Serialize, JsonSchema)]
pub(super) struct RoleOf {
    role: &'static str,
    /// The integration that it is on; absent: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<String>,
}

impl RoleOf {
    pub(super) fn of(grant: Grant) -> RoleOf {
        RoleOf { role: grant.role(), integration: grant.integration().map(|it| it.to_string()) }
    }
}

fn shown(state: &State, id: PrincipalId, known: &StoredPrincipal) -> Shown {
    let members = match id {
        PrincipalId::Group(group) => Some(state.members_of(group).count()),
        PrincipalId::User(_) | PrincipalId::ServiceAccount(_) => None,
    };
    let groups = state.groups_of(id).map(|it| reference(state, PrincipalId::Group(it)));
    Shown {
        id: id.to_string(),
        kind: kind_name(id.kind()),
        name: known.name.clone(),
        description: known.description.clone(),
        created_date: time(known.created_ms),
        created_by: known.created_by.clone(),
        roles: state.grants_of(id).map(|(grant, _)| RoleOf::of(grant)).collect(),
        groups: groups.collect(),
        tokens: state.tokens_of(Some(id)).count(),
        members,
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PrincipalCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Unique among those of its kind: A-Z, a-z, 0-9 and `-_.@+`.
    name: String,
    /// For people.
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PrincipalWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or name.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PrincipalUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Id or name.
    id: String,
    /// For people.
    description: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PrincipalList")]
pub(super) struct List {
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PrincipalDeleted")]
pub(super) struct Deleted {
    id: String,
}

async fn create(
    api: &Api,
    caller: &Caller,
    kind: PrincipalKind,
    create: Create,
) -> Result<Shown, ApiError> {
    let new = StoredPrincipal {
        kind,
        name: create.name,
        description: create.description,
        created_ms: api.services.clock.now_ms(),
        created_by: caller.principal.name(),
    };
    let made = api.access.change(&caller.principal.authority(), Change::Create(new)).await;
    let made = made.map_err(|error| refused(error, "name"))?;
    one(api, made.ok_or_else(|| ApiError::busy("the database"))?)
}

fn one(api: &Api, id: PrincipalId) -> Result<Shown, ApiError> {
    let state = api.access.state();
    let known = state
        .principal(id)
        .ok_or_else(|| ApiError::not_found(id.kind().name(), &id.to_string()))?;
    Ok(shown(&state, id, known))
}

fn get(api: &Api, kind: PrincipalKind, which: &Which) -> Result<Shown, ApiError> {
    one(api, of_kind(&api.access.state(), kind, &which.id)?)
}

async fn update(
    api: &Api,
    caller: &Caller,
    kind: PrincipalKind,
    update: Update,
) -> Result<Shown, ApiError> {
    let id = of_kind(&api.access.state(), kind, &update.id)?;
    let change = Change::Describe(id, update.description);
    let changed = api.access.change(&caller.principal.authority(), change).await;
    changed.map_err(|error| refused(error, "description"))?;
    one(api, id)
}

async fn delete(
    api: &Api,
    caller: &Caller,
    kind: PrincipalKind,
    which: Which,
) -> Result<Deleted, ApiError> {
    let id = of_kind(&api.access.state(), kind, &which.id)?;
    let deleted = api.access.change(&caller.principal.authority(), Change::Delete(id)).await;
    deleted.map_err(|error| refused(error, "id"))?;
    Ok(Deleted { id: id.to_string() })
}

fn page(
    api: &Api,
    kind: PrincipalKind,
    list: &List,
) -> Result<(Vec<Shown>, Option<String>), ApiError> {
    let page = list.paging.oldest_first()?;
    let state = api.access.state();
    let mut rows = state.of_kind(kind, page.from.unwrap_or_default());
    let first: Vec<Shown> =
        rows.by_ref().take(page.limit).map(|(id, it)| shown(&state, id, it)).collect();
    let next = rows.next().map(|(id, _)| id.number());
    Ok((first, cursor(next)))
}

/// The calls of one kind of principal: the same for all three, each with a name of its own for what it
/// answers.
macro_rules! calls {
    ($module:ident, $kind:ident, $one:ident, $many:ident, $one_name:literal, $many_name:literal) => {
        pub(super) mod $module {
            use super::*;

            #[derive(Serialize, JsonSchema)]
            #[schemars(rename = $one_name)]
            pub(in super::super) struct One {
                $one: Shown,
            }

            #[derive(Serialize, JsonSchema)]
            #[schemars(rename = $many_name)]
            pub(in super::super) struct Many {
                $many: Vec<Shown>,
                next_cursor: Option<String>,
            }

            const KIND: PrincipalKind = PrincipalKind::$kind;

            pub(in super::super) async fn create(
                api: Arc<Api>,
                caller: Caller,
                create: Create,
            ) -> Result<One, ApiError> {
                Ok(One { $one: super::create(&api, &caller, KIND, create).await? })
            }

            pub(in super::super) async fn get(
                api: Arc<Api>,
                _: Caller,
                which: Which,
            ) -> Result<One, ApiError> {
                Ok(One { $one: super::get(&api, KIND, &which)? })
            }

            pub(in super::super) async fn list(
                api: Arc<Api>,
                _: Caller,
                list: List,
            ) -> Result<Many, ApiError> {
                let (rows, next_cursor) = super::page(&api, KIND, &list)?;
                Ok(Many { $many: rows, next_cursor })
            }

            pub(in super::super) async fn update(
                api: Arc<Api>,
                caller: Caller,
                update: Update,
            ) -> Result<One, ApiError> {
                Ok(One { $one: super::update(&api, &caller, KIND, update).await? })
            }

            pub(in super::super) async fn delete(
                api: Arc<Api>,
                caller: Caller,
                which: Which,
            ) -> Result<Deleted, ApiError> {
                super::delete(&api, &caller, KIND, which).await
            }
        }
    };
}

calls!(users, User, user, users, "OneUser", "ManyUsers");
calls!(groups, Group, group, groups, "OneGroup", "ManyGroups");
calls!(
    accounts,
    ServiceAccount,
    service_account,
    service_accounts,
    "OneServiceAccount",
    "ManyServiceAccounts"
);

// Who is in a group.

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Membership {
    /// Id or name of the group.
    id: String,
    /// Who: id, `user:<name>` or `service-account:<name>`.
    member: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Member {
    group: Ref,
    member: Ref,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct MemberList {
    /// Id or name of the group.
    id: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Members {
    members: Vec<Ref>,
    next_cursor: Option<String>,
}

fn group(state: &State, text: &str) -> Result<GroupId, ApiError> {
    match of_kind(state, PrincipalKind::Group, text)? {
        PrincipalId::Group(group) => Ok(group),
        PrincipalId::User(_) | PrincipalId::ServiceAccount(_) => {
            Err(ApiError::not_found("group", text))
        }
    }
}

async fn member(
    api: &Api,
    caller: &Caller,
    which: Membership,
    change: impl FnOnce(GroupId, PrincipalId) -> Change,
) -> Result<Member, ApiError> {
    let state = api.access.state();
    let group = group(&state, &which.id)?;
    let member = find(&state, "member", &which.member)?;
    let changed = api.access.change(&caller.principal.authority(), change(group, member)).await;
    changed.map_err(|error| refused(error, "member"))?;
    Ok(Member {
        group: reference(&state, PrincipalId::Group(group)),
        member: reference(&state, member),
    })
}

pub(super) async fn add_member(
    api: Arc<Api>,
    caller: Caller,
    which: Membership,
) -> Result<Member, ApiError> {
    member(&api, &caller, which, |group, member| Change::Join { group, member }).await
}

pub(super) async fn remove_member(
    api: Arc<Api>,
    caller: Caller,
    which: Membership,
) -> Result<Member, ApiError> {
    member(&api, &caller, which, |group, member| Change::Leave { group, member }).await
}

pub(super) async fn members(
    api: Arc<Api>,
    _: Caller,
    list: MemberList,
) -> Result<Members, ApiError> {
    let state = api.access.state();
    let group = group(&state, &list.id)?;
    let all: Vec<PrincipalId> = state.members_of(group).collect();
    let (members, next) = page_of(all, list.paging.oldest_first()?);
    let members = members.into_iter().map(|it| reference(&state, it));
    Ok(Members { members: members.collect(), next_cursor: cursor(next) })
}

// Who one is.

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WhoAmI")]
#[serde(deny_unknown_fields)]
pub(super) struct WhoAmI {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Myself {
    /// As others see it, for example in `created_by`.
    name: String,
    /// The principal; absent for the host's own tokens, for others on the Unix socket, and for functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Ref>,
    /// The name of the token that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_date: Option<String>,
    /// What the token is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The snap-in, for its functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_in: Option<String>,
    groups: Vec<Ref>,
    /// What it may do.
    rights: Vec<&'static str>,
    /// What it may do beside that with single integrations.
    integrations: Vec<OnIntegration>,
}

#[derive(Serialize, JsonSchema)]
struct OnIntegration {
    id: String,
    rights: Vec<&'static str>,
}

pub(super) async fn whoami(api: Arc<Api>, caller: Caller, _: WhoAmI) -> Result<Myself, ApiError> {
    let state = api.access.state();
    let principal = &caller.principal;
    let rights = crate::access::rights::TABLE.iter().map(|it| it.right);
    let whole = |right: &Right| {
        matches!(principal.reach(*right), Some(Reach::All | Reach::Under(_) | Reach::SnapIn(_)))
    };
    let mut myself = Myself {
        name: principal.name(),
        principal: None,
        token: None,
        expires_date: None,
        scope: None,
        snap_in: None,
        groups: Vec::new(),
        rights: rights.filter(whole).map(Right::name).collect(),
        integrations: Vec::new(),
    };
    match principal {
        Principal::Host(host) => {
            myself.principal = host.principal.map(|it| reference(&state, it));
            myself.token.clone_from(&host.token);
            myself.expires_date = host.expires_ms.map(time);
            myself.scope = host.scope.clone().map(String::from);
            let groups = host.principal.into_iter().flat_map(|it| state.groups_of(it));
            let groups = groups.map(|it| reference(&state, PrincipalId::Group(it)));
            myself.groups = groups.collect();
            myself.integrations = on_integrations(&host.powers);
        }
        Principal::ServiceAccount { snap_in, .. } | Principal::Actor { snap_in, .. } => {
            myself.snap_in = Some(snap_in.to_string());
        }
    }
    Ok(myself)
}

fn on_integrations(powers: &Powers) -> Vec<OnIntegration> {
    let each = powers.integrations.iter().map(|(id, rights)| OnIntegration {
        id: id.to_string(),
        rights: rights.iter().map(Right::name).collect(),
    });
    each.collect()
}
