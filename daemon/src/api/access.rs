//! Who a request comes from: a token in `Authorization`, raw or as Bearer, or the peer of the Unix
//! socket, whom the kernel names.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::Api;
use super::auditing::note_refusal;
use super::error::{ApiError, Code};
use super::idempotency::key_of;
use super::peers::{UnixPeer, peer_of, unix_caller};
use super::rights::{Caller, HostCaller, Principal, Right};
use crate::access::{KnownToken, State};
use crate::model::access::{PrincipalId, PrincipalKind};
use crate::model::event::Cause;
use crate::model::id::{RunId, ServiceAccountId};
use crate::secrets::{ServiceTokenError, ServiceTokens};

/// The header by which the daemon's own egress says which run a request comes from.
pub(crate) const CAUSE_HEADER: &str = "mortise-cause";

/// Who it is, what caused it, and which call of a hook that was.
pub(super) struct Known {
    pub(super) principal: Principal,
    cause: Cause,
    hook_call: Option<u64>,
}

impl Known {
    fn of_host(caller: HostCaller) -> Known {
        let principal = Principal::Host(Arc::new(caller));
        Known { principal, cause: Cause::default(), hook_call: None }
    }

    /// Whether he may, and on what.
    pub(super) fn admit(self, request: &HttpRequest, right: Right) -> Result<Caller, ApiError> {
        let Known { principal, cause, hook_call } = self;
        let reach = principal.reach(right).ok_or_else(|| {
            let message = format!("this call needs the right `{}`", right.name());
            ApiError::new(Code::Forbidden, message)
        })?;
        let idempotency_key = key_of(request)?;
        Ok(Caller { principal, reach, cause, hook_call, idempotency_key })
    }
}

/// What the audit log calls the transfer of an artifact, which is no call of the table.
const ARTIFACTS: &str = "artifacts (bytes)";

/// Finds out who sends or fetches the bytes of an artifact, and whether he may.
pub(super) async fn admit(
    api: &Api,
    request: &HttpRequest,
    right: Right,
) -> Result<Caller, ApiError> {
    let known = known(api, request).await;
    let who = known.as_ref().ok().map(|it| it.principal.clone());
    let admitted = known.and_then(|it| it.admit(request, right));
    if let Err(error) = &admitted {
        note_refusal(api, ARTIFACTS, who.as_ref(), peer_of(request), error);
    }
    admitted
}

/// Finds out who calls. Whoever sends wrong tokens waits for his answers.
pub(super) async fn known(api: &Api, request: &HttpRequest) -> Result<Known, ApiError> {
    match authenticate(api, request) {
        Ok(known) => Ok(known),
        Err(Stranger::Nobody(error)) => Err(error),
        Err(Stranger::WrongToken(error)) => {
            api.wrong_tokens.punish(request, api.services.clock.now_ms()).await?;
            Err(error)
        }
    }
}

/// Why somebody is not known.
enum Stranger {
    /// He sent nothing, or what was right once.
    Nobody(ApiError),
    /// He sent a token that never was one: it could be a guess.
    WrongToken(ApiError),
}

fn nobody(message: impl Into<String>) -> Stranger {
    Stranger::Nobody(ApiError::new(Code::Unauthenticated, message))
}

fn wrong(message: impl Into<String>) -> Stranger {
    Stranger::WrongToken(ApiError::new(Code::Unauthenticated, message))
}

fn authenticate(api: &Api, request: &HttpRequest) -> Result<Known, Stranger> {
    if let Some(token) = token_of(request)? {
        let mut known = by_token(api, token)?;
        if known.principal.of_host().is_some() {
            // A message through an integration may lead back here, with a token of somebody.
            known.cause = cause_of(api, request).map_err(Stranger::Nobody)?;
        }
        return Ok(known);
    }
    if let Some(peer) = request.conn_data::<UnixPeer>() {
        let own = rustix::process::geteuid().as_raw();
        let state = api.access.state();
        let caller = unix_caller(*peer, own, &api.owner_uids, &api.peers, &state);
        return caller.map(Known::of_host).map_err(nobody);
    }
    Err(nobody(
        "send a token: `Authorization: Bearer <token>`; the first one is in the file admin.token of \
         the state directory",
    ))
}

fn token_of(request: &HttpRequest) -> Result<Option<&str>, Stranger> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| wrong("the Authorization header is no plain text"))?;
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        Some(_) | None => text,
    };
    Ok(Some(token.trim()))
}

fn by_token(api: &Api, token: &str) -> Result<Known, Stranger> {
    let now_ms = api.services.clock.now_ms();
    if ServiceTokens::looks_like_one(token) {
        let claims = api.tokens.read(token, now_ms).map_err(|error| match error {
            ServiceTokenError::Invalid => wrong(error.to_string()),
            ServiceTokenError::Expired => nobody(error.to_string()),
        })?;
        let cause = claims.cause.next(claims.run).map_err(|error| {
            Stranger::Nobody(ApiError::new(Code::ChainTooLong, error.to_string()))
        })?;
        let (id, snap_in) = (claims.service_account, claims.snap_in);
        if id == ServiceAccountId(0) {
            return Err(wrong("this token says what something is caused by, and opens nothing"));
        }
        let principal = match claims.actor {
            Some(actor) => Principal::Actor { actor, id, snap_in },
            None => Principal::ServiceAccount { id, snap_in },
        };
        return Ok(Known { principal, cause, hook_call: claims.hook_call });
    }
    // One that was deleted is as unknown as one that never was: nothing tells them apart.
    let token = api.access.token(token).ok_or_else(|| wrong("this token is not known here"))?;
    if token.has_expired(now_ms) {
        return Err(nobody("this token has expired: have another one made"));
    }
    let caller = holder(&api.access.state(), &token)
        .ok_or_else(|| nobody("this token is not known here"))?;
    api.access.note_use(&token);
    Ok(Known::of_host(caller))
}

/// Whoever has a token; nobody when its principal was deleted just now.
fn holder(state: &State, token: &KnownToken) -> Option<HostCaller> {
    let about = &token.about;
    let (name, person) = match about.principal {
        Some(id) => named(id, &state.principal(id)?.name),
        None => {
            let name = format!("token:{}", about.name);
            (name.clone(), name)
        }
    };
    Some(HostCaller {
        name,
        person,
        principal: about.principal,
        token: Some(about.name.clone()),
        token_hash: Some(token.hash),
        powers: state.powers_of_token(about),
        scope: about.scope.clone(),
        expires_ms: about.expires_ms,
        is_limited: about.roles.is_some() || about.scope.is_some(),
    })
}

/// The name of a principal for the record, and who it is to snap-ins.
pub(super) fn named(id: PrincipalId, name: &str) -> (String, String) {
    let kind = id.kind();
    let recorded = format!("{}:{name}", kind.prefix());
    match kind {
        PrincipalKind::User => (recorded, name.to_owned()),
        PrincipalKind::Group | PrincipalKind::ServiceAccount => (recorded.clone(), recorded),
    }
}

/// What caused a request to a trigger URL: the run that it comes from, when the daemon's own egress
/// says so. Nobody else can make such a token.
pub(super) fn cause_of(api: &Api, request: &HttpRequest) -> Result<Cause, ApiError> {
    let Some(token) = request.headers().get(CAUSE_HEADER).and_then(|it| it.to_str().ok()) else {
        return Ok(Cause::default());
    };
    match api.tokens.read(token, api.services.clock.now_ms()) {
        Ok(claims) => {
            let cause = claims.cause.next(claims.run).map_err(|error| {
                tracing::warn!(run = %claims.run, snap_in = %claims.snap_in, %error, "an event is refused");
                ApiError::new(Code::ChainTooLong, error.to_string())
            })?;
            // A message through an integration that no run has caused.
            Ok(Cause { run: cause.run.filter(|it| *it != RunId(0)), ..cause })
        }
        Err(_) => Ok(Cause::default()),
    }
}
