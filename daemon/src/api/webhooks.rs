//! `webhooks.*`: outgoing webhooks (seed 002, spec §5). Must never show a secret but in the answer to
//! the call that sets or makes it, nor the value of a header ever.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::Api;
use super::error::{ApiError, Code};
use super::lists::time;
use super::objects::{get_one, kind_of};
use super::rights::Caller;
use crate::configuration::suggest;
use crate::engine::webhooks::{Change, Created, HeaderChange, ManageError, New, TypesChange};
use crate::lifecycle::webhook::OnDegraded;
use crate::manifest::MASK;
use crate::model::id::WebhookId;
use crate::secrets::standard_form;
use crate::store::WebhookRecord;

/// For how long the secret before is valid too, unless something else is asked for.
const OVERLAP_SECONDS: u64 = 24 * 60 * 60;
/// For how long it may be.
const LONGEST_OVERLAP_SECONDS: u64 = 30 * 24 * 60 * 60;

/// An outgoing webhook.
#[derive(Serialize, JsonSchema)]
pub(super) struct Webhook {
    id: String,
    url: String,
    event_types: Vec<String>,
    /// The values are masked.
    headers: Vec<Header>,
    /// `unverified`, `active`, `degraded` or `inactive`.
    status: &'static str,
    /// Why it is not active.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When its endpoint is asked next whether it wants events.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_challenge_date: Option<String>,
    /// What requests are signed with; only in the answer to the call that sets or makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The same for libraries that verify Standard Webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    standard_secret: Option<String>,
    /// Until when requests are signed with the secret before, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<String>,
    /// A jq program on the body of an event: only those for which it is true are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    on_degraded: OnDegraded,
    in_order: bool,
    concurrency: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<u32>,
    /// How many deliveries wait.
    queued: u64,
    created_date: String,
    created_by: String,
    modified_date: String,
    modified_by: String,
}

/// A header that goes with each request.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WebhookHeader")]
pub(super) struct Header {
    /// Letters, digits, `-` and `_`.
    name: String,
    /// Printable ASCII; masked in answers.
    value: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneWebhook {
    webhook: Webhook,
    /// What is questionable about it, and can be used all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

/// Something questionable.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookWarning")]
pub(super) struct Warning {
    /// Where, such as `event_types[0]`.
    path: String,
    message: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyWebhooks {
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Where events are sent: http or https, without credentials.
    url: String,
    /// Such as `work_created`.
    event_types: Vec<String>,
    /// At most 8.
    #[serde(default)]
    headers: Vec<Header>,
    /// 8 to 32 printable ASCII characters; one is made when it is absent or empty.
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    filter: Option<String>,
    /// What becomes of events while it is degraded: `fail` (without an attempt) or `hold`.
    #[serde(default)]
    on_degraded: OnDegraded,
    /// Whether changes of one object go out one after the other.
    #[serde(default)]
    in_order: bool,
    /// Requests under way at once: 1 to 64, 8 when absent.
    #[serde(default)]
    concurrency: Option<u16>,
    /// Requests that begin in one second: 1 to 10000, as many as there are when absent.
    #[serde(default)]
    per_second: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksList")]
#[serde(deny_unknown_fields)]
pub(super) struct List {}

/// A change of a list of event types: `set`, or `add` and `remove`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksUpdateEventTypes")]
#[serde(deny_unknown_fields)]
pub(super) struct TypesPatch {
    #[serde(default)]
    set: Option<Vec<String>>,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

/// A change of headers: `set`, or `add` and `remove`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksUpdateHeaders")]
#[serde(deny_unknown_fields)]
pub(super) struct HeadersPatch {
    #[serde(default)]
    set: Option<Vec<Header>>,
    #[serde(default)]
    add: Vec<Header>,
    /// Names.
    #[serde(default)]
    remove: Vec<String>,
}

/// What somebody does to a webhook.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksUpdateAction")]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// Its endpoint is asked at once, and gets events when it echoes.
    Activate,
    /// It gets nothing any more.
    Deactivate,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    id: String,
    /// The webhook is unverified then, until it has echoed again.
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    event_types: Option<TypesPatch>,
    #[serde(default)]
    headers: Option<HeadersPatch>,
    /// As with `url`. An empty one asks for a new one.
    #[serde(default)]
    secret: Option<String>,
    /// For how many seconds requests are signed with the secret before, too: 0 to 2592000 (30 days);
    /// 86400 (a day) when absent.
    #[serde(default)]
    overlap_seconds: Option<u64>,
    /// `null` for none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    filter: Option<Option<String>>,
    #[serde(default)]
    on_degraded: Option<OnDegraded>,
    #[serde(default)]
    in_order: Option<bool>,
    #[serde(default)]
    concurrency: Option<u16>,
    /// `null` for no limit.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<u32>")]
    per_second: Option<Option<u32>>,
    #[serde(default)]
    action: Option<Action>,
}

/// What is given, also when it is null.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> ApiError {
        match error {
            ManageError::Invalid(invalid) => {
                let message = invalid.to_string();
                ApiError::field(&invalid.field, message)
            }
            ManageError::NotFound => ApiError::new(Code::NotFound, error.to_string()),
            ManageError::TooMany | ManageError::NotSent { .. } | ManageError::QueueFull => {
                ApiError::new(Code::Conflict, error.to_string())
            }
            ManageError::Store(error) => error.into(),
        }
    }
}

fn shown(api: &Api, id: WebhookId, record: WebhookRecord) -> Result<Webhook, ApiError> {
    let queued = api.services.store.read(|tables| tables.count_queued_deliveries(id))?;
    let standing = record.standing;
    let next = standing.verification.map(|it| time(it.due_ms));
    let until_ms = record.previous_secret_until_ms;
    let until_ms = until_ms.filter(|it| *it > api.services.clock.now_ms());
    Ok(Webhook {
        id: id.to_string(),
        url: record.url,
        event_types: record.event_types,
        headers: record
            .header_names
            .into_iter()
            .map(|name| Header { name, value: MASK.to_owned() })
            .collect(),
        status: standing.status.name(),
        reason: standing.reason,
        next_challenge_date: next,
        secret: None,
        standard_secret: None,
        previous_secret_until: until_ms.map(time),
        filter: record.filter,
        on_degraded: record.on_degraded,
        in_order: record.in_order,
        concurrency: record.concurrency,
        per_second: record.per_second,
        queued,
        created_date: time(record.created_ms),
        created_by: record.created_by,
        modified_date: time(record.modified_ms),
        modified_by: record.modified_by,
    })
}

fn with_secret(api: &Api, created: Created) -> Result<OneWebhook, ApiError> {
    let Created { id, record, secret } = created;
    let mut webhook = shown(api, id, record)?;
    webhook.standard_secret = secret.as_ref().map(|it| standard_form(it).to_string());
    webhook.secret = secret.map(|it| it.to_string());
    Ok(OneWebhook { webhook, warnings: Vec::new() })
}

/// Event types of which there will be no event, as long as no type of objects has that name. They may be
/// asked for before the type is made.
fn warnings(api: &Api, event_types: &[String]) -> Vec<Warning> {
    let catalog = api.objects.catalog();
    let warn = |(at, event_type): (usize, &String)| {
        let (name, verb) = event_type.rsplit_once('_')?;
        if catalog.get(name).is_some() {
            return None;
        }
        let known = catalog.types().iter().map(|it| it.current().name.clone());
        let known: Vec<String> = known.collect();
        let near = suggest::nearest(name, known.iter().map(String::as_str));
        let near = near.map(|it| format!("; did you mean `{it}_{verb}`?")).unwrap_or_default();
        Some(Warning {
            path: format!("event_types[{at}]"),
            message: format!(
                "there is no type of objects {}, and so nothing of {} is sent until there is{near}",
                suggest::quoted(name),
                suggest::quoted(event_type),
            ),
        })
    };
    event_types.iter().enumerate().filter_map(warn).collect()
}

/// The webhook of an id.
pub(super) fn find(api: &Api, id: &str) -> Result<(WebhookId, WebhookRecord), ApiError> {
    let not_found = || ApiError::not_found("webhook", id);
    let parsed: WebhookId = id.parse().map_err(|_| not_found())?;
    let record = api.services.store.read(|tables| tables.webhook(parsed))?;
    Ok((parsed, record.ok_or_else(not_found)?))
}

fn pairs(headers: Vec<Header>) -> Vec<(String, String)> {
    headers.into_iter().map(|it| (it.name, it.value)).collect()
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    asked: Create,
) -> Result<OneWebhook, ApiError> {
    let new = New {
        url: asked.url,
        event_types: asked.event_types,
        headers: pairs(asked.headers),
        secret: asked.secret.filter(|it| !it.is_empty()).map(Zeroizing::new),
        filter: asked.filter,
        on_degraded: asked.on_degraded,
        in_order: asked.in_order,
        concurrency: asked.concurrency,
        per_second: asked.per_second,
    };
    let created = api.webhooks.create(new, &caller.principal.name()).await?;
    let warnings = warnings(&api, &created.record.event_types);
    Ok(OneWebhook { warnings, ..with_secret(&api, created)? })
}

pub(super) async fn get(api: Arc<Api>, _: Caller, which: Which) -> Result<OneWebhook, ApiError> {
    let (id, record) = find(&api, &which.id)?;
    Ok(OneWebhook { webhook: shown(&api, id, record)?, warnings: Vec::new() })
}

pub(super) async fn list(api: Arc<Api>, _: Caller, _: List) -> Result<ManyWebhooks, ApiError> {
    let all = api.services.store.read(|tables| tables.webhooks())?;
    let webhooks = all.into_iter().map(|(id, record)| shown(&api, id, record));
    Ok(ManyWebhooks { webhooks: webhooks.collect::<Result<_, _>>()? })
}

pub(super) async fn update(
    api: Arc<Api>,
    caller: Caller,
    asked: Update,
) -> Result<OneWebhook, ApiError> {
    let (id, _) = find(&api, &asked.id)?;
    let both = |field: &str| {
        let message = format!("{field} takes either `set`, or `add` and `remove`");
        Err(ApiError::field(field, message))
    };
    let is_about_types = asked.event_types.is_some();
    let event_types = match asked.event_types {
        Some(TypesPatch { set: Some(_), add, remove })
            if !(add.is_empty() && remove.is_empty()) =>
        {
            return both("event_types");
        }
        Some(TypesPatch { set: Some(types), .. }) => Some(TypesChange::Set(types)),
        Some(TypesPatch { set: None, add, remove }) => Some(TypesChange::Edit { add, remove }),
        None => None,
    };
    let headers = match asked.headers {
        Some(HeadersPatch { set: Some(_), add, remove })
            if !(add.is_empty() && remove.is_empty()) =>
        {
            return both("headers");
        }
        Some(HeadersPatch { set: Some(headers), .. }) => Some(HeaderChange::Set(pairs(headers))),
        Some(HeadersPatch { set: None, add, remove }) => {
            Some(HeaderChange::Edit { add: pairs(add), remove })
        }
        None => None,
    };
    if asked.overlap_seconds.is_some() && asked.secret.is_none() {
        let message = "overlap_seconds is for the secret before a new one: send `secret` too";
        return Err(ApiError::field("overlap_seconds", message));
    }
    let overlap_seconds = asked.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
    if overlap_seconds > LONGEST_OVERLAP_SECONDS {
        let message = format!(
            "overlap_seconds is {overlap_seconds}: expected 0 to {LONGEST_OVERLAP_SECONDS} (30 days)"
        );
        return Err(ApiError::field("overlap_seconds", message));
    }
    let change = Change {
        url: asked.url,
        event_types,
        headers,
        secret: asked.secret.map(Zeroizing::new),
        overlap_seconds,
        filter: asked.filter,
        on_degraded: asked.on_degraded,
        in_order: asked.in_order,
        concurrency: asked.concurrency,
        per_second: asked.per_second,
        active: asked.action.map(|it| match it {
            Action::Activate => true,
            Action::Deactivate => false,
        }),
    };
    let updated = api.webhooks.update(id, change, &caller.principal.name()).await?;
    // What was there before was warned of before.
    let warnings = match is_about_types {
        true => warnings(&api, &updated.record.event_types),
        false => Vec::new(),
    };
    Ok(OneWebhook { warnings, ..with_secret(&api, updated)? })
}

/// Nothing, as seed 002 has it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhooksDeleted")]
pub(super) struct Deleted {}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<Deleted, ApiError> {
    let (id, _) = find(&api, &which.id)?;
    api.webhooks.delete(id).await?;
    Ok(Deleted {})
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "WebhooksFetch")]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    /// Id of the webhook.
    id: String,
    /// Id of an object, or with the type its display id.
    object: String,
    /// Name or plural of the type; known by the id when absent.
    #[serde(default, rename = "type")]
    object_type: Option<String>,
}

/// What is on its way.
#[derive(Serialize, JsonSchema)]
pub(super) struct Fetched {
    /// Id of the event, as the endpoint gets it.
    event: String,
}

/// Sends an object as it is now: `{"type": "work_fetched", "work_fetched": {"work": {...}}}`.
pub(super) async fn fetch(
    api: Arc<Api>,
    caller: Caller,
    asked: Fetch,
) -> Result<Fetched, ApiError> {
    let (id, _) = find(&api, &asked.id)?;
    let kind = kind_of(&api, asked.object_type.as_deref(), &asked.object)?;
    let object = get_one(&api, &caller, &kind, &asked.object).await?;
    let name = kind.current().name.clone();
    let object_id = object.get("id").and_then(|it| it.as_str()).map(str::to_owned);
    let event = api.webhooks.fetch(id, &name, object_id, &object.into()).await?;
    Ok(Fetched { event: event.to_string() })
}
