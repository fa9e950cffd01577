//! From an HTTP request to a handler of the route table, and back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::known;
use super::auditing::{self, Audit, Auditing, note_refusal};
use super::error::{ApiError, Code};
use super::idempotency::{self, Known, Remembered};
use super::object_calls::ObjectCall;
use super::parameters::Input;
use super::peers::peer_of;
use super::rights::{Caller, Principal, Right};
use super::{Api, routes, system_update};
use crate::store::keyed;

type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, ApiError>>>>;

/// Reads what was sent, and answers what is to be done.
type Prepare = dyn Fn(Arc<Api>, Caller, Input) -> Result<Answer, ApiError> + Send + Sync;

/// One call of the API.
pub(super) struct Route {
    /// Its path below `/api/v1/`.
    pub(super) name: &'static str,
    /// What the caller needs.
    pub(super) right: Right,
    /// Whether it only reads, and may therefore come as GET too.
    pub(super) reads: bool,
    /// One line for documents.
    pub(super) summary: &'static str,
    /// Whether the body may be as large as an archive.
    large: bool,
    /// What of its answer is remembered for whoever sends it again with the same `Idempotency-Key`.
    pub(super) remembered: Remembered,
    /// What the audit log has of it.
    pub(super) audit: Audit,
    /// The call that shows what this one changes, and the parameters by which both name it.
    pub(super) view: Option<(&'static str, Vec<String>)>,
    /// What it is answered with when all went well.
    pub(super) status: StatusCode,
    pub(super) request: fn(&mut SchemaGenerator) -> Schema,
    pub(super) response: fn(&mut SchemaGenerator) -> Schema,
    call: Box<Prepare>,
}

impl Route {
    /// Allows a body as large as an archive.
    pub(super) fn with_archive(self) -> Route {
        Route { large: true, ..self }
    }

    /// It is no read, because of what it is sent, but changes nothing.
    pub(super) fn changes_nothing(self) -> Route {
        Route { audit: Audit::Nothing, ..self }
    }

    /// What it changes is told of elsewhere, for as long as it is kept.
    pub(super) fn with_history(self, where_it_is: &'static str) -> Route {
        Route { audit: Audit::History(where_it_is), ..self }
    }

    /// The handler itself writes what it changes, rather than an actor or another task.
    pub(super) fn writes_itself(self) -> Route {
        Route { audit: Audit::WithChange, ..self }
    }

    /// Carries it out for somebody who may.
    pub(super) async fn run(
        &self,
        api: Arc<Api>,
        caller: Caller,
        input: Input,
    ) -> Result<Vec<u8>, ApiError> {
        self.prepare(api, caller, input)?.await
    }

    /// Reads what was sent. Nothing has begun yet.
    fn prepare(&self, api: Arc<Api>, caller: Caller, input: Input) -> Result<Answer, ApiError> {
        (self.call)(api, caller, input)
    }

    /// Answers 201, for callers who look for it.
    pub(super) fn creating(self) -> Route {
        Route { status: StatusCode::CREATED, ..self }
    }

    /// Takes an `Idempotency-Key`. Only for calls whose answers hold no secret.
    pub(super) fn remembered(self) -> Route {
        Route { remembered: Remembered::Whole, ..self }
    }

    /// Takes an `Idempotency-Key`, and remembers all of its answer but these members.
    pub(super) fn remembered_without(self, secrets: &'static [&'static str]) -> Route {
        Route { remembered: Remembered::Without(secrets), ..self }
    }
}

/// A call that only reads.
pub(super) fn read<Q, A, F>(
    name: &'static str,
    right: Right,
    summary: &'static str,
    handler: fn(Arc<Api>, Caller, Q) -> F,
) -> Route
where
    Q: DeserializeOwned + JsonSchema + 'static,
    A: Serialize + JsonSchema + 'static,
    F: Future<Output = Result<A, ApiError>> + 'static,
{
    Route { reads: true, audit: Audit::Nothing, ..write(name, right, summary, handler) }
}

/// A call that changes something.
pub(super) fn write<Q, A, F>(
    name: &'static str,
    right: Right,
    summary: &'static str,
    handler: fn(Arc<Api>, Caller, Q) -> F,
) -> Route
where
    Q: DeserializeOwned + JsonSchema + 'static,
    A: Serialize + JsonSchema + 'static,
    F: Future<Output = Result<A, ApiError>> + 'static,
{
    Route {
        name,
        right,
        reads: false,
        summary,
        large: false,
        remembered: Remembered::Nothing,
        audit: Audit::Ahead,
        view: None,
        status: StatusCode::OK,
        request: |generator| generator.subschema_for::<Q>(),
        response: |generator| generator.subschema_for::<A>(),
        call: Box::new(move |api, caller, input| {
            let query = input.read::<Q>()?;
            Ok(Box::pin(async move {
                let answer = handler(api, caller, query).await?;
                serde_json::to_vec(&answer)
                    .map_err(|error| ApiError::new(Code::Internal, error.to_string()))
            }))
        }),
    }
}

/// Serves `/api/v1/{name}`.
pub(super) async fn serve(
    api: web::Data<Api>,
    table: web::Data<routes::Table>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let name = request.match_info().query("name");
    answer(call(api.into_inner(), &table.into_inner(), name, &request, payload).await)
}

/// Serves the one call that has a place of its own, because scripts know it there.
pub(super) async fn serve_system_update(
    api: web::Data<Api>,
    table: web::Data<routes::Table>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    answer(
        call(api.into_inner(), &table.into_inner(), system_update::NAME, &request, payload).await,
    )
}

/// What a call was answered with.
enum Answered {
    Now(StatusCode, Vec<u8>),
    /// The same was answered before, and nothing was done.
    Before(Vec<u8>),
}

fn answer(outcome: Result<Answered, ApiError>) -> HttpResponse {
    let mut ok = HttpResponse::Ok();
    ok.content_type("application/json");
    match outcome {
        // What a handler has nothing to say with.
        Ok(Answered::Now(_, body)) if body == b"null" => HttpResponse::Ok().finish(),
        Ok(Answered::Now(status, body)) => ok.status(status).body(body),
        Ok(Answered::Before(body)) => ok.insert_header((idempotency::REPLAYED, "true")).body(body),
        Err(error) => error.respond(),
    }
}

async fn call(
    api: Arc<Api>,
    table: &Arc<routes::Table>,
    name: &str,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Answered, ApiError> {
    let peer = peer_of(request);
    let mut who = None;
    let answered = admitted(&api, table, name, request, payload, &mut who).await;
    if let Err(error) = &answered {
        // What is none of ours is not written down: strangers make it up.
        let listed = table.find(name).map_or("", |it| it.name);
        note_refusal(&api, listed, who.as_ref(), peer, error);
    }
    answered
}

async fn admitted(
    api: &Arc<Api>,
    table: &Arc<routes::Table>,
    name: &str,
    request: &HttpRequest,
    payload: web::Payload,
    who: &mut Option<Principal>,
) -> Result<Answered, ApiError> {
    // Before anything is looked for: a stranger does not even learn which types of objects there are.
    let known = known(api, request).await?;
    *who = Some(known.principal.clone());
    // First: a type of objects may be called like one of ours that snap-ins had before there were any.
    let sees_objects = known.principal.reach(Right::ReadObjects).is_some();
    let object_call = ObjectCall::find(api, name, table.find(name).is_some());
    // Nor does who may not see objects: what is not there and what is not his look the same.
    let object_call = object_call.filter(|_| sees_objects);
    let listed = match &object_call {
        Some(call) => call.like(),
        None => name,
    };
    let route = table.find(listed).ok_or_else(|| {
        let message =
            format!("there is no call `{name}`; /api/v1/openapi.json lists those that there are");
        ApiError::new(Code::NotFound, message)
    })?;
    let caller = known.admit(request, route.right)?;
    let input = if request.method() == Method::GET && route.reads {
        Input::Query(request.query_string().to_owned())
    } else if request.method() == Method::POST {
        let limit = if route.large {
            // Base 64 makes four bytes of three, and the manifest comes with it.
            api.limits.archive_bytes / 3 * 4 + api.limits.body_bytes
        } else {
            api.limits.body_bytes
        };
        Input::Body(read_body(api, payload, limit).await?)
    } else {
        let allowed: &[&str] = if route.reads { &["GET", "POST"] } else { &["POST"] };
        let message = format!("`{name}` is not called with {}", request.method());
        return Err(ApiError::new(Code::MethodNotAllowed, message).allowing(allowed));
    };
    let (status, changes_something) = (route.status, route.audit != Audit::Nothing);
    let work = Work {
        api: api.clone(),
        table: table.clone(),
        listed: listed.to_owned(),
        called: name.to_owned(),
        object_call,
        peer: peer_of(request),
    };
    if !changes_something {
        return Ok(Answered::Now(status, work.carry_out(caller, input).await?));
    }
    // The server drops what it waits for when the caller hangs up. Whoever does that in the middle, and
    // sends the same again with its key, must find it carried out.
    let work = actix_web::rt::spawn(work.once(caller, input, status));
    work.await.unwrap_or_else(|error| {
        tracing::error!(call = name, %error, "a call broke off");
        Err(ApiError::new(Code::Internal, "the call broke off; look again what became of it"))
    })
}

/// A call that may be carried out.
struct Work {
    api: Arc<Api>,
    table: Arc<routes::Table>,
    /// Its name in the table.
    listed: String,
    /// Its name as it was called.
    called: String,
    object_call: Option<ObjectCall>,
    peer: String,
}

impl Work {
    /// Carries it out, unless a call with its key was before.
    async fn once(
        self,
        caller: Caller,
        input: Input,
        status: StatusCode,
    ) -> Result<Answered, ApiError> {
        let route = self.table.find(&self.listed);
        let remembered = route.map_or(Remembered::Nothing, |it| it.remembered);
        let takes_key = remembered != Remembered::Nothing;
        let (Input::Body(body), Some(key), true, Some(route)) =
            (&input, &caller.idempotency_key, takes_key, route)
        else {
            return Ok(Answered::Now(status, self.carry_out(caller, input).await?));
        };
        let api = self.api.clone();
        let called = idempotency::Call {
            name: &self.called,
            remembered,
            is_ahead: route.audit == Audit::Ahead,
            list: self.list_of(route),
        };
        match idempotency::begin(&api, &caller, &called, key, body)? {
            Known::Answered(body) => Ok(Answered::Before(body)),
            Known::New(turn) => {
                let outcome = keyed(turn.ticket(), self.carry_out(caller, input)).await;
                turn.end(&api, &outcome).await;
                Ok(Answered::Now(status, outcome?))
            }
        }
    }

    /// The call that lists what another one makes.
    fn list_of(&self, route: &Route) -> Option<String> {
        let own = || Some(self.called.rsplit_once('.')?.0);
        let resource = match route.audit {
            Audit::History(of) if self.object_call.is_none() => of,
            Audit::History(_) | Audit::Nothing | Audit::WithChange | Audit::Ahead => own()?,
        };
        let name = format!("{resource}.list");
        (self.object_call.is_some() || self.table.find(&name).is_some()).then_some(name)
    }

    async fn carry_out(self, caller: Caller, input: Input) -> Result<Vec<u8>, ApiError> {
        let Work { api, table, listed, called: _, object_call, peer } = self;
        let route = table.find(&listed).ok_or_else(|| ApiError::not_found("call", &listed))?;
        match (object_call, route.audit) {
            (Some(call), _) => call.run(api, caller, input).await,
            (None, Audit::Nothing | Audit::History(_)) => route.run(api, caller, input).await,
            (None, Audit::WithChange | Audit::Ahead) => {
                let sent = auditing::sent(&input);
                let call = auditing::describe(route.name, &caller, peer, &sent);
                let work = route.prepare(api.clone(), caller.clone(), input);
                let auditing =
                    Auditing { api: &api, table: &table, route, caller: &caller, call, sent };
                match work {
                    Ok(work) => auditing.carry_out(work).await,
                    Err(error) => Err(auditing.refuse(error).await),
                }
            }
        }
    }
}

/// The whole body, if it is not too large and arrives in time.
pub(super) async fn read_body(
    api: &Api,
    payload: web::Payload,
    limit: usize,
) -> Result<web::Bytes, ApiError> {
    let seconds = api.limits.request_body_seconds;
    let whole = payload.to_bytes_limited(limit);
    let Ok(read) = tokio::time::timeout(Duration::from_secs(seconds), whole).await else {
        let message = format!("the body did not arrive within {seconds} s");
        return Err(ApiError::new(Code::RequestTimeout, message));
    };
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            Err(ApiError::new(Code::BadRequest, format!("the body broke off: {error}")))
        }
        Err(_) => {
            let message = format!("the body is larger than the {limit} bytes that are allowed");
            Err(ApiError::new(Code::TooLarge, message))
        }
    }
}
