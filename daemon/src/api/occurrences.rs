//! `occurrences.*`, `milestones.report` and `integrations.explain`: what was worth telling, and who was
//! told of it. A function publishes for its own snap-in.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Api;
use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Reach, Right};
use super::{extent, snap_ins};
use crate::configuration::suggest::quoted;
use crate::engine::tell::definition::{check_word, read_trigger};
use crate::engine::tell::explain::{About, Explained, ExplainedDecision, KINDS};
use crate::model::id::OccurrenceId;
use crate::model::integration::{NoDemand, Verdict};
use crate::model::occurrence::{
    Level, MOST_OCCURRENCE_BYTES, MOST_TEXT, MOST_WORK, OccurrenceHead, Selector, Trigger,
};
use crate::model::scope::ScopePrefix;
use crate::routing::message::document;
use crate::store::{NewOccurrence, StoredOccurrence, TellingState};

/// Something worth telling.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Occurrence")]
pub(super) struct Shown {
    id: String,
    trigger: String,
    level: Level,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_in: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The run that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<String>,
    /// How many runs came before it in its chain of causes.
    hops: u8,
    /// As filters, templates and sinks see it.
    document: Value,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OneOccurrence")]
pub(super) struct One {
    occurrence: Shown,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManyOccurrences")]
pub(super) struct Many {
    occurrences: Vec<Shown>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OccurrencesWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OccurrencesList")]
pub(super) struct List {
    /// Only those of this trigger, or of a kind such as `run.*`.
    #[serde(default)]
    trigger: Option<String>,
    /// Only those under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    /// Only those about this: the id of a run, a snap-in, a source.
    #[serde(default)]
    subject: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OccurrencesPublish")]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    /// What kind of thing, 1 to 64 characters of a-z, 0-9, `_`, `-` and `.`: the trigger is `custom.NAME`.
    name: String,
    /// One line.
    title: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    level: Level,
    /// The snap-in that it is about, id or scope; a function's own when absent, none for others.
    #[serde(default)]
    snap_in: Option<String>,
    /// Anything else, which filters and templates find under `data`.
    #[serde(default)]
    data: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "MilestonesReport")]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// Which piece of work: messages about the same one stand together where the sink can do that.
    work: String,
    /// Which point of it, as names are: the trigger is `milestone.KIND`.
    kind: String,
    /// What there is to say.
    message: String,
    #[serde(default)]
    level: Level,
    /// The snap-in that works, id or scope; a function's own when absent.
    #[serde(default)]
    snap_in: Option<String>,
    /// Anything else, which filters and templates find under `data`.
    #[serde(default)]
    data: Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OccurrencePublished")]
pub(super) struct Published {
    /// Id of the occurrence.
    occurrence: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "IntegrationsExplain")]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    /// Id of an event, a run, an occurrence, a delivery, a snap-in, an event source or an integration.
    id: String,
}

/// Who was told of something, who was not, and why.
#[derive(Serialize, JsonSchema)]
pub(super) struct Explanation {
    id: String,
    /// Newest first.
    occurrences: Vec<ShownExplained>,
    /// What there is to say when that is nothing, or not all.
    notes: Vec<String>,
}

/// An occurrence, and what was decided about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OccurrenceExplained")]
pub(super) struct ShownExplained {
    occurrence: Shown,
    /// When it was decided; absent while it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_date: Option<String>,
    decisions: Vec<ShownDecision>,
    /// How many decisions were not kept. Absent for who may not see all integrations: how many there are
    /// is not for them either.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u32>,
}

/// What was decided for one integration and subscription.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TellingDecision")]
pub(super) struct ShownDecision {
    integration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    /// `told`, `no_demand`, `no_supply`, `disabled`, `filter`, `filter_failed`, `own_trouble` or `loop`.
    decision: &'static str,
    /// The same for people, with what became of the message.
    because: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    /// `queued`, `delivered` or `dead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_state: Option<TellingState>,
    /// Why a queued one is not sent yet: `disabled`, `circuit`, `group`, `retry`, `rate` or `turn`, and
    /// more about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
}

fn shown(stored: StoredOccurrence) -> Shown {
    let StoredOccurrence { id, head, members } = stored;
    Shown {
        id: id.to_string(),
        trigger: head.trigger.to_string(),
        level: head.level,
        date: time(head.at_ms),
        document: document(id, &head, &members),
        scope: head.scope.map(|it| it.to_string()),
        snap_in: head.snap_in.map(|it| it.to_string()),
        subject: head.subject,
        caused_by: head.cause.run.map(|it| it.to_string()),
        hops: head.cause.hops,
    }
}

/// Whether the caller may know of an occurrence.
fn reaches(caller: &Caller, head: &OccurrenceHead) -> bool {
    match &caller.reach {
        Reach::All => true,
        Reach::Under(prefix) => head.scope.as_ref().is_some_and(|it| prefix.holds(it)),
        Reach::SnapIn(own) => head.snap_in == Some(*own),
        Reach::Integrations(_) => false,
    }
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<One, ApiError> {
    let id: OccurrenceId = parse_id("id", &which.id)?;
    let found = api.services.store.read(|tables| tables.occurrence(id))?;
    let found = found.filter(|it| reaches(&caller, &it.head));
    let found = found.ok_or_else(|| ApiError::not_found("occurrence", &which.id))?;
    Ok(One { occurrence: shown(found) })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<Many, ApiError> {
    let selector = list.trigger.as_deref().map(read_trigger).transpose();
    let selector: Option<Selector> =
        selector.map_err(|error| ApiError::field(error.field, error.to_string()))?;
    let scope: Option<ScopePrefix> =
        list.scope.as_deref().map(|it| parse_id("scope", it)).transpose()?;
    let page = list.paging.newest_first()?;
    let page = api.services.store.read(|tables| {
        tables.list_occurrences(page, |head| {
            let holds = |it: &ScopePrefix| head.scope.as_ref().is_some_and(|own| it.holds(own));
            reaches(&caller, head)
                && selector.as_ref().is_none_or(|it| it.wants(&head.trigger))
                && scope.as_ref().is_none_or(holds)
                && (list.subject.is_none() || list.subject == head.subject)
        })
    })?;
    let occurrences = page.rows.into_iter().map(shown).collect();
    Ok(Many { occurrences, next_cursor: cursor(page.next) })
}

/// Where something is published: in the snap-in that is named, or the function's own.
fn place(
    api: &Api,
    caller: &Caller,
    snap_in: Option<&str>,
    new: NewOccurrence,
) -> Result<NewOccurrence, ApiError> {
    let own = match &caller.reach {
        Reach::SnapIn(own) => Some(own.to_string()),
        Reach::All | Reach::Under(_) | Reach::Integrations(_) => None,
    };
    let Some(text) = snap_in.map(str::to_owned).or(own) else {
        // What concerns the whole host is not for who has a part of it.
        if let Reach::Under(prefix) = &caller.reach {
            let message = format!("snap_in is to name a snap-in under {prefix}");
            return Err(ApiError::field("snap_in", message));
        }
        return Ok(new);
    };
    let (id, record) = snap_ins::find(api, caller, &text)?;
    Ok(NewOccurrence { scope: Some(record.scope), snap_in: Some(id), ..new })
}

fn text(field: &str, text: &str, most: usize, may_be_empty: bool) -> Result<(), ApiError> {
    if (text.trim().is_empty() && !may_be_empty) || text.chars().nth(most).is_some() {
        let least = if may_be_empty { 0 } else { 1 };
        let message = format!("{field} is to have {least} to {most} characters");
        return Err(ApiError::field(field, message));
    }
    Ok(())
}

fn word(field: &'static str, text: &str) -> Result<(), ApiError> {
    check_word(field, text).map_err(|error| ApiError::field(error.field, error.to_string()))
}

async fn write(
    api: &Api,
    caller: &Caller,
    mut new: NewOccurrence,
    members: Value,
    data: Map<String, Value>,
) -> Result<Published, ApiError> {
    if let Value::Object(members) = members {
        new.members = members;
    }
    new.members.insert("by".to_owned(), json!(caller.principal.name()));
    if let Some(run) = caller.cause.run {
        new.members.insert("run".to_owned(), json!(run));
    }
    if !data.is_empty() {
        new.members.insert("data".to_owned(), Value::Object(data));
    }
    let bytes = Value::Object(new.members.clone()).to_string().len();
    if bytes > MOST_OCCURRENCE_BYTES {
        let message = format!(
            "message and data have {bytes} bytes as JSON: at most {MOST_OCCURRENCE_BYTES} are allowed"
        );
        return Err(ApiError::new(Code::TooLarge, message));
    }
    let id = api.tell.publish(new, caller.cause).await?;
    Ok(Published { occurrence: id.to_string() })
}

pub(super) async fn publish(
    api: Arc<Api>,
    caller: Caller,
    asked: Publish,
) -> Result<Published, ApiError> {
    word("name", &asked.name)?;
    text("title", &asked.title, 250, false)?;
    text("message", &asked.message, MOST_TEXT, true)?;
    let new = NewOccurrence::new(Trigger::Custom(asked.name.clone()));
    let new = NewOccurrence { level: Some(asked.level), ..new };
    let new = place(&api, &caller, asked.snap_in.as_deref(), new)?;
    let members = json!({ "name": asked.name, "title": asked.title, "message": asked.message });
    write(&api, &caller, new, members, asked.data).await
}

pub(super) async fn report(
    api: Arc<Api>,
    caller: Caller,
    asked: Report,
) -> Result<Published, ApiError> {
    text("work", &asked.work, MOST_WORK, false)?;
    word("kind", &asked.kind)?;
    text("message", &asked.message, MOST_TEXT, false)?;
    let new = NewOccurrence::new(Trigger::Milestone(asked.kind.clone()));
    let new = NewOccurrence { level: Some(asked.level), ..new };
    let mut new = place(&api, &caller, asked.snap_in.as_deref(), new)?;
    // Two snap-ins may call their work by the same name.
    let of = new.snap_in.map(|it| format!("{it}/")).unwrap_or_default();
    new.work = Some(format!("{of}{}", asked.work));
    new.subject = Some(format!("work:{}", asked.work));
    let members = json!({ "work": asked.work, "kind": asked.kind, "message": asked.message });
    write(&api, &caller, new, members, asked.data).await
}

pub(super) async fn explain(
    api: Arc<Api>,
    caller: Caller,
    asked: Explain,
) -> Result<Explanation, ApiError> {
    let about = About::read(&asked.id).ok_or_else(|| {
        if let Some(kind) = KINDS.iter().find(|it| asked.id.starts_with(**it)) {
            let id = quoted(&asked.id);
            let message = format!(
                "{id} is malformed: `{kind}` is followed by 26 digits and small letters; copy the whole id"
            );
            return ApiError::field("id", message);
        }
        let message = "this is to be the id of a run, an event, an occurrence, a delivery, a snap-in, an \
                       event source or an integration: what it begins with says of what it is";
        ApiError::field("id", message).allowing(&KINDS)
    })?;
    let missing = || {
        let id: String = asked.id.chars().take(80).collect();
        ApiError::new(Code::NotFound, format!("there is nothing known of `{id}`"))
    };
    // Who may see a part of the host is not told what there is in the others.
    if !may_ask(&api, &caller, about)? {
        return Err(missing());
    }
    let found = api.tell.explain(about)?.ok_or_else(missing)?;
    let occurrences: Vec<ShownExplained> = found
        .occurrences
        .into_iter()
        .filter(|it| reaches(&caller, &it.occurrence.head))
        .map(|it| explained(&caller, it))
        .collect();
    Ok(Explanation { id: asked.id, occurrences, notes: found.notes })
}

/// Whether what is asked about is within the caller's reach.
fn may_ask(api: &Api, caller: &Caller, about: About) -> Result<bool, ApiError> {
    if caller.reach == Reach::All {
        return Ok(true);
    }
    let snap_in = api.services.store.read(|tables| {
        Ok(match about {
            About::SnapIn(id) => Some(id),
            About::Run(id) => tables.run(id)?.map(|(head, _)| head.snap_in),
            About::Event(id) => tables.event(id)?.map(|(head, _)| head.snap_in),
            About::Source(id) => tables.source(id)?.map(|it| it.snap_in),
            About::Occurrence(id) => tables.occurrence(id)?.and_then(|it| it.head.snap_in),
            // Those are the whole host's.
            About::Delivery(_) | About::Integration(_) => None,
        })
    })?;
    snap_in.map_or(Ok(false), |id| extent::reaches(api, caller, id))
}

fn explained(caller: &Caller, explained: Explained) -> ShownExplained {
    let Explained { occurrence, decided_ms, decisions, left_out } = explained;
    let visible = caller.principal.reach(Right::ReadIntegrations);
    let decisions: Vec<ShownDecision> = decisions
        .into_iter()
        .filter(|it| {
            visible.as_ref().is_some_and(|reach| reach.has_integration(it.decision.integration))
        })
        .map(decision)
        .collect();
    ShownExplained {
        occurrence: shown(occurrence),
        decided_date: decided_ms.map(time),
        decisions,
        left_out: (visible == Some(Reach::All)).then_some(left_out),
    }
}

fn decision(explained: ExplainedDecision) -> ShownDecision {
    let ExplainedDecision { decision, integration, delivery, waits } = explained;
    let because = match &decision.verdict {
        Verdict::Told { .. } => match &delivery {
            Some((_, record)) => match record.state {
                TellingState::Delivered => "it was delivered".to_owned(),
                TellingState::Queued => {
                    let waits = waits.clone().unwrap_or_default();
                    format!("it is on its way ({waits})")
                }
                TellingState::Dead => {
                    let last = record.attempts.last().and_then(|it| it.error.clone());
                    let why = record.reason.clone().or(last).unwrap_or_default();
                    format!("it was given up: {why}")
                }
            },
            None => "it was told; the delivery is so old that it is forgotten".to_owned(),
        },
        Verdict::NoDemand(NoDemand::NoSubscription) => {
            "the integration has no subscription".to_owned()
        }
        Verdict::NoDemand(NoDemand::Trigger) => {
            "its subscription is about other triggers".to_owned()
        }
        Verdict::NoDemand(NoDemand::Scope) => "its subscription is about another scope".to_owned(),
        Verdict::NoSupply => "the integration is not supplied to this scope".to_owned(),
        Verdict::Disabled => "the integration was switched off".to_owned(),
        Verdict::Filter => "the filter of its subscription says no".to_owned(),
        Verdict::FilterFailed { problem, .. } => {
            format!("the filter of its subscription failed: {problem}")
        }
        Verdict::OwnTrouble => {
            "it is about this integration, through which it is not told".to_owned()
        }
        Verdict::Loop => "it stands at the end of a chain of causes that is too long".to_owned(),
    };
    let (name, kind) = integration.unzip();
    ShownDecision {
        integration: decision.integration.to_string(),
        integration_name: name,
        integration_type: kind,
        subscription: decision.subscription.map(|it| it.to_string()),
        decision: decision.verdict.name(),
        because,
        delivery: delivery.as_ref().map(|(id, _)| id.to_string()),
        delivery_state: delivery.map(|(_, it)| it.state),
        waits_for: waits,
    }
}
