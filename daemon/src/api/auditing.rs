//! From a call to rows of the audit log: what is asked, what it is about, what was there before and
//! after. `dispatch` is the one place that uses it.
//!
//! A call that writes in its own task has its row in the transaction of its change. One that goes
//! through an actor or another task is written down before it begins. Either way a daemon that is
//! killed has never changed what the log does not tell of; how it ended is a second row.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::dispatch::Route;
use super::error::{ApiError, Code};
use super::masking;
use super::parameters::Input;
use super::rights::{Caller, Principal};
use super::{Api, routes};
use crate::engine::refused_calls::RefusedCall;
use crate::model::audit::{AuditEvent, AuditedCall};
use crate::store::{AuditTicket, audited};

/// What the audit log has of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audit {
    /// It changes nothing.
    Nothing,
    /// What it changes has a history of its own, which is this.
    History(&'static str),
    /// A row in the transaction of its change: it writes in its own task.
    WithChange,
    /// A row before it begins.
    Ahead,
}

impl Audit {
    /// For documents.
    pub(super) fn about(self) -> Option<String> {
        match self {
            Audit::Nothing => None,
            Audit::History(where_it_is) => {
                Some(format!("Not in the audit log: the history of {where_it_is} has it."))
            }
            Audit::WithChange | Audit::Ahead => Some("In the audit log.".to_owned()),
        }
    }
}

/// The members of a request that name things, the most telling first.
const TARGETS: [&str; 9] =
    ["id", "snap_in", "integration", "principal", "slug", "name", "package", "source", "type"];

/// Other names of a thing, and other things that are named, that are kept of one call.
const MOST_NAMES: usize = 8;

/// What a call names, as texts.
fn named(sent: &Map<String, Value>) -> impl Iterator<Item = String> {
    TARGETS.iter().filter_map(|it| Some(masking::name(sent.get(*it)?.as_str()?)))
}

/// Adds what a thing is called too, so that it is found under each of its names.
fn add_names(call: &mut AuditedCall, names: impl IntoIterator<Item = String>) {
    for name in names {
        let name: String = name.chars().take(256).collect();
        let is_known = call.target.as_ref() == Some(&name) || call.also.contains(&name);
        if !is_known && call.also.len() < MOST_NAMES {
            call.also.push(name);
        }
    }
}

/// The parameters of a call, when they are an object.
pub(super) fn sent(input: &Input) -> Map<String, Value> {
    match input {
        Input::Body(body) => serde_json::from_slice(body).unwrap_or_default(),
        Input::Query(_) => Map::new(),
    }
}

/// A call, as the log has it.
pub(super) fn describe(
    name: &str,
    caller: &Caller,
    peer: String,
    sent: &Map<String, Value>,
) -> AuditedCall {
    let host = caller.principal.of_host();
    let mut names = named(sent);
    AuditedCall {
        call: name.to_owned(),
        who: caller.principal.name(),
        principal: host.and_then(|it| it.principal),
        token: host.and_then(|it| it.token.clone()),
        run: caller.cause.run,
        peer,
        target: names.next(),
        also: names.collect(),
        request: masking::request(sent),
    }
}

/// A call that is about to be carried out.
pub(super) struct Auditing<'a> {
    pub(super) api: &'a Arc<Api>,
    pub(super) table: &'a routes::Table,
    pub(super) route: &'a Route,
    pub(super) caller: &'a Caller,
    pub(super) call: AuditedCall,
    pub(super) sent: Map<String, Value>,
}

impl Auditing<'_> {
    /// Writes down that it could not begin, because nobody understands what was sent. Of a call that has
    /// its row with its change there is none.
    pub(super) async fn refuse(self, error: ApiError) -> ApiError {
        match self.route.audit {
            Audit::Nothing | Audit::History(_) | Audit::WithChange => error,
            Audit::Ahead => {
                self.end(None, None, &Err(error.clone())).await;
                error.audited()
            }
        }
    }

    /// Carries it out, and writes it down.
    pub(super) async fn carry_out(
        mut self,
        work: impl Future<Output = Result<Vec<u8>, ApiError>>,
    ) -> Result<Vec<u8>, ApiError> {
        let before = match self.route.audit {
            Audit::Nothing | Audit::History(_) => return work.await,
            Audit::WithChange | Audit::Ahead => self.view(None).await,
        };
        add_names(&mut self.call, before.as_ref().map(masking::names).unwrap_or_default());
        let (begun, outcome) = match self.route.audit {
            Audit::Nothing | Audit::History(_) => (None, work.await),
            Audit::WithChange => {
                let ticket = AuditTicket::new(self.call.clone());
                let outcome = audited(ticket.clone(), work).await;
                (ticket.begun(), outcome)
            }
            Audit::Ahead => {
                let event = AuditEvent::Begun { call: self.call.clone() };
                let begun =
                    self.api.services.store.write(move |it| it.append_audit(&event)).await?;
                (Some(begun), work.await)
            }
        };
        // It changed nothing, as far as anybody knows.
        if begun.is_none() && outcome.is_err() {
            return outcome;
        }
        self.end(begun, before, &outcome).await;
        outcome.map_err(ApiError::audited)
    }

    async fn end(
        &self,
        begun: Option<u64>,
        before: Option<Value>,
        outcome: &Result<Vec<u8>, ApiError>,
    ) {
        let mut call = self.call.clone();
        let (mut status, mut code) = (self.route.status.as_u16(), None);
        let (mut old, mut new) = (None, None);
        match outcome {
            Ok(body) => {
                let answer: Option<Value> = serde_json::from_slice(body).ok();
                let after = match &before {
                    // Seen in the same way, so that only what changed differs.
                    Some(before) => self.view(Some(before)).await,
                    None => answer.filter(|it| !it.is_null()),
                };
                // It may have another name now, or just have got one, or have none any more.
                add_names(&mut call, before.as_ref().map(masking::names).unwrap_or_default());
                add_names(&mut call, after.as_ref().map(masking::names).unwrap_or_default());
                (old, new) = masking::difference(before.as_ref(), after.as_ref());
                // What was made has an id only now.
                let made = new.as_ref().and_then(|it| it.get("id")).and_then(Value::as_str);
                if let (None, Some(id)) = (&before, made) {
                    let named = call.target.replace(id.chars().take(256).collect());
                    call.also.retain(|it| it != id);
                    add_names(&mut call, named);
                }
            }
            Err(error) => {
                status = error.code().status();
                code = Some(error.code().text().to_owned());
            }
        }
        let event = AuditEvent::Done { call, begun, status, code, before: old, after: new };
        let written = self.api.services.store.write(move |tables| tables.append_audit(&event));
        if let Err(error) = written.await {
            // It is done, and that is what its caller has to hear; that it began is written down.
            tracing::error!(%error, call = self.call.call, "how a call ended is not in the audit log");
        }
    }

    /// What the API shows of the thing that the call is about, if it shows it by the same names. When
    /// there was something before, it may be called otherwise now: it is found by its id.
    async fn view(&self, before: Option<&Value>) -> Option<Value> {
        let (get, names) = self.table.view_for(self.route)?;
        let mut asked: Map<String, Value> = names
            .iter()
            .filter_map(|name| Some((name.clone(), self.sent.get(name)?.clone())))
            .collect();
        let id = before.and_then(|it| it.as_object()?.values().next()?.get("id").cloned());
        if let (Some(id), true) = (id, asked.contains_key("id")) {
            asked.insert("id".to_owned(), id);
        }
        let reach = self.caller.principal.reach(get.right)?;
        let caller = Caller { reach, idempotency_key: None, ..self.caller.clone() };
        let body = serde_json::to_vec(&asked).ok()?;
        let answer = get.run(self.api.clone(), caller, Input::Body(body.into())).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }
}

/// Counts a call that was refused because of who makes it.
pub(super) fn note_refusal(
    api: &Api,
    call: &str,
    who: Option<&Principal>,
    peer: String,
    error: &ApiError,
) {
    let is_refusal = [Code::Unauthenticated, Code::Forbidden, Code::TooManyRequests];
    if error.is_audited() || !is_refusal.contains(&error.code()) {
        return;
    }
    api.refused_calls.note(RefusedCall {
        call: call.to_owned(),
        who: who.map(Principal::name).unwrap_or_default(),
        peer,
        status: error.code().status(),
    });
}
