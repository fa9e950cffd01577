//! Who a request comes from: a token in `Authorization`, raw or as Bearer, or the peer of the Unix
//! socket, whom the kernel names.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::error::{ApiError, Code};
use super::idempotency::key_of;
use super::rights::{Caller, Principal, Right};
use super::{Api, server::PeerUid};
use crate::model::event::Cause;
use crate::secrets::ServiceTokens;
use crate::store::TokenRecord;

/// The header by which the daemon's own egress says which run a request comes from.
pub(crate) const CAUSE_HEADER: &str = "mortise-cause";

/// Finds out who calls, and whether he may.
pub(super) fn admit(api: &Api, request: &HttpRequest, right: Right) -> Result<Caller, ApiError> {
    let (principal, cause, hook_call) = authenticate(api, request)?;
    let reach = principal.reach(right).ok_or_else(|| {
        let message = format!("this call needs the right `{}`", right.name());
        ApiError::new(Code::Forbidden, message)
    })?;
    let idempotency_key = key_of(request)?;
    Ok(Caller { principal, reach, cause, hook_call, idempotency_key })
}

/// Who it is, what caused it, and which call of a hook that was.
type Known = (Principal, Cause, Option<u64>);

fn authenticate(api: &Api, request: &HttpRequest) -> Result<Known, ApiError> {
    if let Some(token) = token_of(request)? {
        return by_token(api, token);
    }
    if let Some(PeerUid(uid)) = request.conn_data::<PeerUid>() {
        if is_owner(*uid, &api.owner_uids) {
            return Ok((Principal::Owner { name: format!("uid:{uid}") }, Cause::default(), None));
        }
        let message = format!(
            "user id {uid} is no owner of this daemon: call as root, add it to listen.owner_uids, \
             or send a token"
        );
        return Err(ApiError::new(Code::Unauthenticated, message));
    }
    let message = "send a token: `Authorization: Bearer <token>`; the first one is in the file \
                   admin.token of the state directory";
    Err(ApiError::new(Code::Unauthenticated, message))
}

/// Root is an owner and so is whom the configuration names. The daemon's own user never is, unless
/// it is root: what runs as that user must not rule over the host's snap-ins.
fn is_owner(uid: u32, owner_uids: &[u32]) -> bool {
    let own = rustix::process::geteuid().as_raw();
    uid == 0 || (uid != own && owner_uids.contains(&uid))
}

fn token_of(request: &HttpRequest) -> Result<Option<&str>, ApiError> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        ApiError::new(Code::Unauthenticated, "the Authorization header is no plain text")
    })?;
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        Some(_) | None => text,
    };
    Ok(Some(token.trim()))
}

fn by_token(api: &Api, token: &str) -> Result<Known, ApiError> {
    if ServiceTokens::looks_like_one(token) {
        let claims = api
            .tokens
            .read(token, api.services.clock.now_ms())
            .map_err(|error| ApiError::new(Code::Unauthenticated, error.to_string()))?;
        let cause = claims
            .cause
            .next(claims.run)
            .map_err(|error| ApiError::new(Code::ChainTooLong, error.to_string()))?;
        let (id, snap_in) = (claims.service_account, claims.snap_in);
        let principal = match claims.actor {
            Some(actor) => Principal::Actor { actor, id, snap_in },
            None => Principal::ServiceAccount { id, snap_in },
        };
        return Ok((principal, cause, claims.hook_call));
    }
    let record = api.services.store.read(|tables| tables.token(token))?;
    match record {
        Some(TokenRecord { name, scope, .. }) => {
            let name = format!("token:{name}");
            let principal = match scope {
                Some(scope) => Principal::Scoped { name, scope },
                None => Principal::Owner { name },
            };
            Ok((principal, Cause::default(), None))
        }
        None => Err(ApiError::new(Code::Unauthenticated, "this token is not known here")),
    }
}

/// What caused a request to a trigger URL: the run that it comes from, when the daemon's own egress
/// says so. Nobody else can make such a token.
pub(super) fn cause_of(api: &Api, request: &HttpRequest) -> Result<Cause, ApiError> {
    let Some(token) = request.headers().get(CAUSE_HEADER).and_then(|it| it.to_str().ok()) else {
        return Ok(Cause::default());
    };
    match api.tokens.read(token, api.services.clock.now_ms()) {
        Ok(claims) => claims.cause.next(claims.run).map_err(|error| {
            tracing::warn!(run = %claims.run, snap_in = %claims.snap_in, %error, "an event is refused");
            ApiError::new(Code::ChainTooLong, error.to_string())
        }),
        Err(_) => Ok(Cause::default()),
    }
}
