//! Trigger URLs: `/hooks/<token>`. The hot path: no token of the API, no actor, no parsing here.

use std::fmt::Write as _;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use mortise_plugin::{HttpRequest as SourceRequest, ResponseBody};

use super::Api;
use super::access::{CAUSE_HEADER, cause_of};
use super::dispatch::read_body;
use super::error::{ApiError, Code};
use crate::engine::intake::Taken;
use crate::engine::recording::Became;
use crate::engine::refusals::Refused;
use crate::model::event::Cause;

/// Who asks whether it may send CloudEvents.
const ORIGIN_HEADER: &str = "webhook-request-origin";
/// Ids of the events that a request led to.
const EVENT_ID_HEADER: &str = "mortise-event-id";

/// What trigger URLs are called with.
pub(super) const METHODS: [&str; 2] = ["GET", "POST"];

/// Serves a request to a trigger URL.
pub(super) async fn serve(
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    take(&api, &request, payload).await.unwrap_or_else(|error| error.respond())
}

async fn take(
    api: &Api,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let token = request.match_info().unprocessed().trim_start_matches('/');
    let (body, cause) = match receive(api, request, payload).await {
        Ok(received) => received,
        Err(error) => {
            let peer = peer_of(request);
            let code = error.code();
            let refused = refused(request, &peer, &error, code.text());
            api.intake.turned_away(token, refused);
            return Err(error);
        }
    };
    let mut wanted = None;
    let taken = api.intake.http(token, source_request(request), body, cause, &mut wanted).await;
    let recording = wanted.map(|it| (it, Became::of(&taken)));
    let answered = match taken {
        Ok(taken) => respond(taken),
        Err(error) => {
            let failure = error.failure();
            let error = ApiError::from(error);
            if let Some(failure) = failure {
                let peer = peer_of(request);
                api.intake.not_answered(token, refused(request, &peer, &error, failure.name()));
            }
            Err(error)
        }
    };
    let Some((wanted, became)) = recording else { return answered };
    let response = answered.unwrap_or_else(|error| error.respond());
    wanted.keep(&api.services.store, became.answered(response.status().as_u16()));
    Ok(response)
}

/// What a source is told of a request, beside its head.
async fn receive(
    api: &Api,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<(web::Bytes, Cause), ApiError> {
    // CloudEvents' handshake is for the source to answer; other OPTIONS were never for it.
    let is_handshake =
        request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN_HEADER);
    if request.method() != Method::POST && request.method() != Method::GET && !is_handshake {
        let message = format!("trigger URLs take GET and POST, not {}", request.method());
        return Err(ApiError::new(Code::MethodNotAllowed, message).allowing(&METHODS));
    }
    let body = read_body(api, payload, api.limits.body_bytes).await?;
    let cause = cause_of(api, request)?;
    Ok((body, cause))
}

fn peer_of(request: &HttpRequest) -> String {
    request.peer_addr().map(|it| it.ip().to_string()).unwrap_or_default()
}

/// A request for the log of refusals.
fn refused<'a>(
    request: &'a HttpRequest,
    peer: &'a str,
    error: &'a ApiError,
    reason: &'a str,
) -> Refused<'a> {
    let (method, status) = (request.method().as_str(), Some(error.code().status()));
    Refused { peer, method, status, reason, message: error.message() }
}

fn source_request(request: &HttpRequest) -> SourceRequest {
    let headers = request
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str() != CAUSE_HEADER)
        .map(|(name, value)| {
            // Header values are bytes; as Latin-1 none is lost.
            let latin = || value.as_bytes().iter().map(|it| char::from(*it)).collect();
            (name.as_str().to_owned(), value.to_str().map_or_else(|_| latin(), str::to_owned))
        })
        .collect();
    SourceRequest {
        method: request.method().as_str().to_owned(),
        query_raw: request.query_string().to_owned(),
        headers,
        peer: peer_of(request),
    }
}

/// What the sender gets.
pub(super) fn respond(taken: Taken) -> Result<HttpResponse, ApiError> {
    let Some(answer) = taken.response else {
        let mut response = HttpResponse::Ok();
        response.content_type("application/json");
        return Ok(response.body(default_body(&taken.events)));
    };
    let status = StatusCode::from_u16(answer.status).map_err(|_| broken("its status is none"))?;
    let mut response = HttpResponse::build(status);
    let mut has_type = false;
    for (name, value) in &answer.headers {
        has_type |= name.eq_ignore_ascii_case("content-type");
        response.append_header((name.as_str(), value.as_str()));
    }
    let ids: Vec<_> = taken.events.iter().map(|(id, _)| id.to_string()).collect();
    if !ids.is_empty() {
        response.insert_header((EVENT_ID_HEADER, ids.join(",")));
    }
    let mut typed = |content_type: &str| {
        if !has_type {
            response.content_type(content_type);
        }
    };
    let body = match answer.body {
        ResponseBody::Default if taken.events.is_empty() => return Ok(response.finish()),
        ResponseBody::Default => {
            typed("application/json");
            default_body(&taken.events).into_bytes()
        }
        ResponseBody::Text(text) => {
            typed("text/plain; charset=utf-8");
            text.into_bytes()
        }
        ResponseBody::Json(value) => {
            typed("application/json");
            value.to_string().into_bytes()
        }
        ResponseBody::Body(place) => {
            let mut bodies = taken.bodies.into_iter();
            bodies.nth(place).ok_or_else(|| broken("its body is not there"))?
        }
    };
    Ok(response.body(body))
}

fn default_body(events: &[(crate::model::id::EventId, bool)]) -> String {
    // Ids need no escaping.
    let mut body = String::with_capacity(16 + 64 * events.len());
    body.push_str("{\"events\":[");
    for (place, (id, duplicate)) in events.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(body, "{comma}{{\"id\":\"{id}\",\"duplicate\":{duplicate}}}");
    }
    body.push_str("]}");
    body
}

fn broken(what: &str) -> ApiError {
    ApiError::new(Code::SourceFailed, format!("the event source's answer is unusable: {what}"))
}
