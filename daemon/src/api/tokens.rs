//! `tokens.*`: API tokens of principals, and the host's own; for all that their principal may do, or
//! for some roles of it, or for the snap-ins under a prefix of scopes. A token is shown once, when it
//! is made; what is stored is its hash.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::extent::page_of;
use super::lists::{Paging, cursor, parse_id, time};
use super::principals::{Ref, find, reference, refused};
use super::rights::{Caller, Right};
use super::times::parse_time;
use crate::access::{Change, KnownToken, State};
use crate::model::access::{HostRole, PrincipalId, StoredToken};
use crate::model::scope::ScopePrefix;
use crate::random::secret_text;
use crate::store::hash_of_token;

/// What all of them start with.
pub(crate) const PREFIX: &str = "mta_";
/// The most seconds that `expires_in_seconds` can say: ten years.
const LONGEST_SECONDS: u64 = 10 * 366 * 24 * 60 * 60;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TokensCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Says what uses it; unique among the tokens of its principal.
    name: String,
    /// Whose it is: id, `user:<name>` or `service-account:<name>`. When absent, the caller's own; of a
    /// caller who is no principal, the host's own.
    #[serde(default)]
    principal: Option<String>,
    /// Limits it to these roles of the host, so far as its principal has what they allow.
    #[serde(default)]
    roles: Option<Vec<String>>,
    /// Limits it to the snap-ins under this prefix, such as `prod/payments`. The whole host when
    /// absent.
    #[serde(default)]
    scope: Option<String>,
    /// From when on it is of no use: RFC 3339. Never when absent.
    #[serde(default)]
    expires_at: Option<String>,
    /// The same, in seconds from now.
    #[serde(default)]
    expires_in_seconds: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TokensWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    name: String,
    /// Whose it is, as in `tokens.create`.
    #[serde(default)]
    principal: Option<String>,
}

/// A token, without what it is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Token {
    name: String,
    /// Whose it is; absent: the host's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Ref>,
    /// What it is limited to; absent: all that its principal may do, or of the host's own, everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<BTreeSet<&'static str>>,
    /// What it is limited to; absent: the whole host.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    created_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    /// From when on it is of no use; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_date: Option<String>,
    expired: bool,
    /// When it was used last, to the minute; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_date: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Created {
    /// What to send in `Authorization`. It is not shown again.
    token: String,
    #[serde(flatten)]
    about: Token,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Many {
    tokens: Vec<Token>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TokensList")]
pub(super) struct List {
    /// Only those of this principal, as in `tokens.create`; `host` for the host's own.
    #[serde(default)]
    principal: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokensDeleted")]
pub(super) struct Deleted {
    name: String,
}

fn shown(state: &State, about: &StoredToken, used_ms: Option<u64>, now_ms: u64) -> Token {
    Token {
        name: about.name.clone(),
        principal: about.principal.map(|id| reference(state, id)),
        roles: about.roles.as_ref().map(|it| it.iter().map(|role| role.name()).collect()),
        scope: about.scope.clone().map(String::from),
        created_date: time(about.created_ms),
        created_by: about.created_by.clone(),
        expires_date: about.expires_ms.map(time),
        expired: about.expires_ms.is_some_and(|it| it <= now_ms),
        used_date: used_ms.map(time),
    }
}

/// Whose tokens a call is about: those of the principal that it names, or the caller's own. Whoever may
/// not look at others finds nobody but himself.
fn owner(
    state: &State,
    caller: &Caller,
    named: Option<&str>,
    right: Right,
) -> Result<Option<PrincipalId>, ApiError> {
    let own = caller.principal.of_host().and_then(|it| it.principal);
    let may_all = caller.principal.reach(right).is_some();
    let asked = match named {
        Some("host") => None,
        Some(text) if may_all => return find(state, "principal", text).map(Some),
        Some(text) => {
            let found = find(state, "principal", text).ok().filter(|it| Some(*it) == own);
            return found.map(Some).ok_or_else(|| ApiError::not_found("principal", text));
        }
        None => own,
    };
    if asked.is_none() && !may_all {
        let message = format!(
            "you are no user or service account, and so have no tokens; those of others need the \
             right `{}`",
            right.name()
        );
        return Err(ApiError::new(Code::Forbidden, message));
    }
    Ok(asked)
}

fn roles_of(texts: &[String]) -> Result<BTreeSet<HostRole>, ApiError> {
    texts.iter().map(|it| parse_id::<HostRole>("roles", it)).collect()
}

/// When a token that is asked for expires.
fn expiry(create: &Create, now_ms: u64) -> Result<Option<u64>, ApiError> {
    match (&create.expires_at, create.expires_in_seconds) {
        (None, None) => Ok(None),
        (Some(text), None) => parse_time("expires_at", text).map(Some),
        (None, Some(seconds)) if (1..=LONGEST_SECONDS).contains(&seconds) => {
            Ok(Some(now_ms.saturating_add(seconds * 1000)))
        }
        (None, Some(_)) => {
            let message = format!("expires_in_seconds is a number from 1 to {LONGEST_SECONDS}");
            Err(ApiError::field("expires_in_seconds", message))
        }
        (Some(_), Some(_)) => {
            let message = "say either `expires_at` or `expires_in_seconds`";
            Err(ApiError::field("expires_in_seconds", message))
        }
    }
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    create: Create,
) -> Result<Created, ApiError> {
    let state = api.access.state();
    let now_ms = api.services.clock.now_ms();
    let principal = owner(&state, &caller, create.principal.as_deref(), Right::ManagePrincipals)?;
    let scope: Option<ScopePrefix> =
        create.scope.as_deref().map(|it| parse_id("scope", it)).transpose()?;
    let about = StoredToken {
        created_ms: now_ms,
        scope,
        created_by: Some(caller.principal.name()),
        principal,
        roles: create.roles.as_deref().map(roles_of).transpose()?,
        expires_ms: expiry(&create, now_ms)?,
        name: create.name,
    };
    let token = format!("{PREFIX}{}", secret_text());
    let change = Change::AddToken(hash_of_token(&token), Box::new(about.clone()));
    let made = api.access.change(&caller.principal.authority(), change).await;
    made.map_err(|error| refused(error, "name"))?;
    Ok(Created { token, about: shown(&api.access.state(), &about, None, now_ms) })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<Many, ApiError> {
    let state = api.access.state();
    let page = list.paging.oldest_first()?;
    let sees_all = caller.principal.reach(Right::ReadPrincipals).is_some();
    let tokens: Vec<&Arc<KnownToken>> = if sees_all && list.principal.is_none() {
        state.tokens().collect()
    } else {
        let right = Right::ReadPrincipals;
        state.tokens_of(owner(&state, &caller, list.principal.as_deref(), right)?).collect()
    };
    let now_ms = api.services.clock.now_ms();
    let (tokens, next) = page_of(tokens, page);
    let shown = tokens.into_iter().map(|it| shown(&state, &it.about, it.used_ms(), now_ms));
    Ok(Many { tokens: shown.collect(), next_cursor: cursor(next) })
}

pub(super) async fn delete(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<Deleted, ApiError> {
    let state = api.access.state();
    let owner = owner(&state, &caller, which.principal.as_deref(), Right::ManagePrincipals)?;
    let token = state
        .token_named(owner, &which.name)
        .ok_or_else(|| ApiError::not_found("token", &which.name))?;
    let change = Change::RemoveToken(token.hash);
    let removed = api.access.change(&caller.principal.authority(), change).await;
    removed.map_err(|error| refused(error, "name"))?;
    Ok(Deleted { name: which.name })
}
