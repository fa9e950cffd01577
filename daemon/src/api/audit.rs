//! `audit.*`: the audit log, for looking at, for checking, and for taking elsewhere.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::Caller;
use super::times::parse_time;
use super::{Api, principals};
use crate::model::audit::{AuditEvent, AuditFilter, AuditRow, AuditedCall};
use crate::store::{AuditAnchor, AuditHash};

/// How many rows one call looks at.
const MOST_VERIFIED: usize = 2_000;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuditList")]
pub(super) struct List {
    /// Only this call, such as `keyrings.set`, or all that begin so, such as `keyrings.`.
    #[serde(default)]
    call: Option<String>,
    /// Only what this one did: name, such as `user:ada`, or id.
    #[serde(default)]
    who: Option<String>,
    /// Only what came from there: an IP address, or `unix:<uid>`.
    #[serde(default)]
    peer: Option<String>,
    /// Only what is about this: id, or the name, scope or `type/name` that it had then.
    #[serde(default)]
    target: Option<String>,
    /// `changes` or `refused`; both when absent.
    #[serde(default)]
    kind: Option<Kind>,
    /// Not before: RFC 3339.
    #[serde(default)]
    from: Option<String>,
    /// Before: RFC 3339.
    #[serde(default)]
    until: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AuditKind")]
enum Kind {
    Changes,
    Refused,
}

/// What was done, or refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditRow")]
struct Row {
    seq: u64,
    date: String,
    /// done, failed, unknown (it began, and nothing says how it ended) or refused.
    outcome: &'static str,
    call: String,
    who: String,
    /// The user or service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    /// The name of the token that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The run that did it, when a function did.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// What else that is called, and what else the caller named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What was sent, as far as it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Map<String, Value>>,
    /// What was different before, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// What is different after it, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    /// How often, of what was refused within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditRows")]
pub(super) struct Rows {
    rows: Vec<Row>,
    next_cursor: Option<String>,
}

fn of_call(row: (u64, u64), outcome: &'static str, call: AuditedCall) -> Row {
    Row {
        seq: row.0,
        date: time(row.1),
        outcome,
        call: call.call,
        who: call.who,
        principal: call.principal.map(|it| it.to_string()),
        token: call.token,
        run: call.run.map(|it| it.to_string()),
        peer: call.peer,
        target: call.target,
        also: call.also,
        status: None,
        code: None,
        request: Some(call.request),
        before: None,
        after: None,
        times: None,
    }
}

fn shown(row: AuditRow) -> Row {
    let place = (row.seq, row.at_ms);
    match row.event {
        AuditEvent::Begun { call } => of_call(place, "unknown", call),
        AuditEvent::Done { call, begun: _, status, code, before, after } => {
            let outcome = if status < 400 { "done" } else { "failed" };
            Row { status: Some(status), code, before, after, ..of_call(place, outcome, call) }
        }
        AuditEvent::Refused(calls) => Row {
            seq: row.seq,
            date: time(calls.last_ms),
            outcome: "refused",
            call: calls.call,
            who: calls.who,
            principal: None,
            token: None,
            run: None,
            peer: calls.peer,
            target: None,
            also: Vec::new(),
            status: Some(calls.status).filter(|it| *it != 0),
            code: None,
            request: None,
            before: None,
            after: None,
            times: Some(calls.times),
        },
    }
}

/// What something is called in rows: calls name it by its id where they have one.
fn names_of(api: &Api, said: Option<String>) -> Result<Vec<String>, ApiError> {
    let Some(said) = said else { return Ok(Vec::new()) };
    let mut names = Vec::from([said.clone()]);
    if let Some((kind, name)) = said.split_once('/') {
        let found = api.services.store.read(|tables| tables.integration_by_name(kind, name))?;
        names.extend(found.map(|it| it.to_string()));
    }
    if said.contains(':')
        && let Ok(principal) = principals::find(&api.access.state(), "target", &said)
    {
        names.push(principal.to_string());
    }
    Ok(names)
}

pub(super) async fn list(api: Arc<Api>, _: Caller, list: List) -> Result<Rows, ApiError> {
    let at = |field: &str, text: &Option<String>| {
        text.as_deref().map(|it| parse_time(field, it)).transpose()
    };
    let filter = AuditFilter {
        from_ms: at("from", &list.from)?,
        until_ms: at("until", &list.until)?,
        call: list.call,
        who: list.who,
        peer: list.peer,
        targets: names_of(&api, list.target)?,
        refused: list.kind.map(|it| match it {
            Kind::Changes => false,
            Kind::Refused => true,
        }),
    };
    let page = list.paging.newest_first()?;
    let page = api.services.store.read(|tables| tables.list_audit(&filter, page))?;
    let rows = page.rows.into_iter().map(shown);
    Ok(Rows { rows: rows.collect(), next_cursor: cursor(page.next) })
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuditVerify")]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    /// The `next_cursor` of the last call; from the first row that there is when absent.
    #[serde(default)]
    cursor: Option<String>,
    /// A row that was looked at before, with the hash that it had then: whether it is still the same.
    #[serde(default)]
    known_seq: Option<u64>,
    /// The hash, hexadecimal.
    #[serde(default)]
    known_hash: Option<String>,
}

/// Rows from the oldest end that are not there any more, because they were older than
/// `audit.keep_days`.
#[derive(Serialize, JsonSchema)]
struct AuditPrunedRows {
    /// The last of them.
    last_seq: u64,
    /// Its hash, which the first row that is left is chained to.
    last_hash: String,
    /// When it was written.
    last_date: String,
    /// When it was pruned.
    date: String,
}

impl From<AuditAnchor> for AuditPrunedRows {
    fn from(anchor: AuditAnchor) -> AuditPrunedRows {
        AuditPrunedRows {
            last_seq: anchor.seq,
            last_hash: hex::encode(anchor.hash),
            last_date: time(anchor.at_ms),
            date: time(anchor.pruned_ms),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct AuditVerified {
    /// Whether everything that was looked at is as it was written.
    ok: bool,
    /// How many rows were.
    checked: u64,
    /// The row that the log begins with.
    first_seq: u64,
    /// When that was written; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_date: Option<String>,
    /// What was pruned before it; absent when the log has all its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<AuditPrunedRows>,
    /// The first row that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_broken: Option<u64>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Whether the row that was said to be known was pruned since: it cannot be compared any more.
    known_is_pruned: bool,
    /// The last row that was looked at, and its hash: kept elsewhere, it shows later whether rows were
    /// taken from the end.
    last_seq: u64,
    last_hash: String,
    /// There are more rows to look at.
    next_cursor: Option<String>,
}

pub(super) async fn verify(
    api: Arc<Api>,
    _: Caller,
    asked: Verify,
) -> Result<AuditVerified, ApiError> {
    let from = match &asked.cursor {
        Some(text) => parse_id::<u64>("cursor", text)?,
        None => 1,
    };
    let known = match (asked.known_seq, &asked.known_hash) {
        (Some(seq), Some(hash)) => {
            let mut bytes = AuditHash::default();
            hex::decode_to_slice(hash, &mut bytes).map_err(|_| {
                ApiError::field("known_hash", "known_hash is no hash: 64 hexadecimal digits")
            })?;
            Some((seq, bytes))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = "say both `known_seq` and `known_hash`";
            return Err(ApiError::field("known_seq", message));
        }
    };
    let (found, present, anchor, first_ms) = api.services.store.read(|tables| {
        let anchor = tables.audit_anchor()?;
        let present = match (known, &anchor) {
            (Some((seq, _)), Some(anchor)) if seq == anchor.seq => Some(anchor.hash),
            (Some((seq, _)), _) => tables.audit_hash_of(seq)?,
            (None, _) => None,
        };
        let found = tables.verify_audit(from, MOST_VERIFIED)?;
        Ok((found, present, anchor, tables.first_audit_ms()?))
    })?;
    let first_seq = anchor.as_ref().map_or(1, |it| it.seq + 1);
    // Nothing is known of a row before that any more, which is no sign of anything.
    let is_pruned = |seq: u64| anchor.as_ref().is_some_and(|it| seq < it.seq);
    let known_is_pruned = known.is_some_and(|(seq, _)| is_pruned(seq));
    let known = known.filter(|_| !known_is_pruned);
    let mut broken = found.broken.map(|it| (it.seq, it.what.to_owned()));
    if let Some((seq, hash)) = known
        && present != Some(hash)
        && broken.is_none()
    {
        let what = match present {
            Some(_) => {
                "it is not the row of that hash: the log was written anew from there or before"
            }
            None => "it is not there any more: rows were taken from the end",
        };
        broken = Some((seq, what.to_owned()));
    }
    let next = (found.has_more && broken.is_none()).then(|| (found.last.0 + 1).to_string());
    Ok(AuditVerified {
        ok: broken.is_none(),
        checked: found.checked,
        first_seq,
        first_date: first_ms.map(time),
        pruned: anchor.map(AuditPrunedRows::from),
        first_broken: broken.as_ref().map(|it| it.0),
        problem: broken.map(|it| it.1),
        known_is_pruned,
        last_seq: found.last.0,
        last_hash: hex::encode(found.last.1),
        next_cursor: next,
    })
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuditExport")]
pub(super) struct Export {
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct AuditLines {
    /// Each a line of JSON: `{"seq", "hash", "row"}`. A hash is the SHA-256 of the one before (32 bytes;
    /// zeros before row 1) and of the bytes of `row` as they stand there.
    lines: Vec<String>,
    /// What was pruned before the first row that is left, with the hash that it is chained to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<AuditPrunedRows>,
    next_cursor: Option<String>,
}

pub(super) async fn export(
    api: Arc<Api>,
    _: Caller,
    asked: Export,
) -> Result<AuditLines, ApiError> {
    let page = asked.paging.oldest_first()?;
    let from = page.from.and_then(|it| u64::try_from(it).ok()).unwrap_or(1);
    let (mut rows, anchor) = api
        .services
        .store
        .read(|tables| Ok((tables.export_audit(from, page.limit + 1)?, tables.audit_anchor()?)))?;
    let next = rows.get(page.limit).map(|it| u128::from(it.seq));
    rows.truncate(page.limit);
    let lines = rows.into_iter().map(|it| {
        let (seq, hash, row) = (it.seq, hex::encode(it.hash), it.json);
        format!(r#"{{"seq":{seq},"hash":"{hash}","row":{row}}}"#)
    });
    let pruned = anchor.map(AuditPrunedRows::from);
    Ok(AuditLines { lines: lines.collect(), pruned, next_cursor: cursor(next) })
}
