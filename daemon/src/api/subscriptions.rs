//! `subscriptions.*` and `triggers.list`: what people want to be told of, and through which integration.
//! Who may do something with an integration may do it with its subscriptions, but for letting it hear of
//! what he may not see himself.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::integrations::{find as find_integration, given};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Right};
use super::versions::Done;
use crate::engine::tell::{NewSubscription, SubscriptionChange};
use crate::model::id::SubscriptionId;
use crate::model::occurrence::{Selector, Trigger};
use crate::model::scope::ScopePrefix;
use crate::routing::template::tokens;
use crate::store::SubscriptionRecord;

/// What somebody wants to be told of.
#[derive(Serialize, JsonSchema)]
pub(super) struct Subscription {
    id: String,
    integration: String,
    /// A trigger, all of a kind such as `run.*`, or `*`.
    trigger: String,
    /// Everywhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// A jq program on the occurrence: only those for which it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    /// A template for the title; the usual one of the trigger when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// A template for the text; the usual one of the trigger when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// For how long occurrences of a kind are collected for one message.
    group_wait_seconds: u32,
    created_date: String,
    created_by: String,
    modified_date: String,
    modified_by: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OneSubscription")]
pub(super) struct One {
    subscription: Subscription,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManySubscriptions")]
pub(super) struct Many {
    subscriptions: Vec<Subscription>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SubscriptionsCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    integration: String,
    /// Such as `snap_in.failed`, `run.*` or `*`; `triggers.list` has all.
    trigger: String,
    /// stack, stack/namespace or stack/namespace/snap-in; everywhere when absent.
    #[serde(default)]
    scope: Option<String>,
    /// A jq program on the occurrence, that answers true or false.
    #[serde(default)]
    filter: Option<String>,
    /// A template with tokens such as `{{scope}}`; `triggers.list` has those of each trigger.
    #[serde(default)]
    title: Option<String>,
    /// The same for the text.
    #[serde(default)]
    text: Option<String>,
    /// 0 to 86400: for how long occurrences of a kind are collected for one message.
    #[serde(default)]
    group_wait_seconds: u32,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SubscriptionsUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    id: String,
    #[serde(default)]
    trigger: Option<String>,
    /// null: everywhere.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    scope: Option<Option<String>>,
    /// null: none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    filter: Option<Option<String>>,
    /// null: the usual one.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    title: Option<Option<String>>,
    /// null: the usual one.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    text: Option<Option<String>>,
    #[serde(default)]
    group_wait_seconds: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SubscriptionsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SubscriptionsList")]
pub(super) struct List {
    /// Only those of this integration.
    #[serde(default)]
    integration: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

/// A trigger, and what templates and filters find in its occurrences.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TriggerShown")]
pub(super) struct ShownTrigger {
    trigger: String,
    level: &'static str,
    /// The usual title.
    title: &'static str,
    /// The usual text.
    text: &'static str,
    /// Tokens; what ends in `.*` has any below it.
    tokens: Vec<&'static str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Triggers {
    triggers: Vec<ShownTrigger>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TriggersList")]
#[serde(deny_unknown_fields)]
pub(super) struct ListTriggers {}

fn shown(id: SubscriptionId, record: SubscriptionRecord) -> Subscription {
    Subscription {
        id: id.to_string(),
        integration: record.integration.to_string(),
        trigger: record.trigger.to_string(),
        scope: record.scope.map(|it| it.to_string()),
        filter: record.filter,
        title: record.title,
        text: record.text,
        group_wait_seconds: record.group_wait_seconds,
        created_date: time(record.created_ms),
        created_by: record.created_by,
        modified_date: time(record.modified_ms),
        modified_by: record.modified_by,
    }
}

fn find(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<(SubscriptionId, SubscriptionRecord), ApiError> {
    let id: SubscriptionId = parse_id("id", text)?;
    let record = api.services.store.read(|tables| tables.subscription(id))?;
    let record = record.filter(|it| caller.reach.has_integration(it.integration));
    Ok((id, record.ok_or_else(|| ApiError::not_found("subscription", text))?))
}

/// Refuses to let an integration hear of what the caller may not see himself: whoever has an integration
/// would see through it whatever happens.
pub(super) fn may_tell(caller: &Caller, scope: Option<&ScopePrefix>) -> Result<(), ApiError> {
    let reach = caller.principal.reach(Right::ReadOccurrences);
    if reach.is_some_and(|it| it.covers(scope)) {
        return Ok(());
    }
    let place = scope.map_or("the whole host".to_owned(), |it| format!("`{it}`"));
    Err(ApiError::new(
        Code::Forbidden,
        format!(
            "this lets an integration hear of what happens in {place}, which needs the right `{}` there: \
             have a `contributor` or `integration-contributor` of the host do it, or make you a `reader`",
            Right::ReadOccurrences.name()
        ),
    ))
}

fn prefix(scope: Option<&str>) -> Result<Option<ScopePrefix>, ApiError> {
    scope.map(|it| parse_id("scope", it)).transpose()
}

pub(super) async fn create(api: Arc<Api>, caller: Caller, new: Create) -> Result<One, ApiError> {
    let (integration, _) = find_integration(&api, &caller, "integration", &new.integration)?;
    let scope = prefix(new.scope.as_deref())?;
    may_tell(&caller, scope.as_ref())?;
    let (id, record) = api
        .tell
        .subscribe(NewSubscription {
            integration,
            trigger: new.trigger,
            scope,
            filter: new.filter,
            title: new.title,
            text: new.text,
            group_wait_seconds: new.group_wait_seconds,
            by: caller.principal.name(),
        })
        .await?;
    Ok(One { subscription: shown(id, record) })
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<One, ApiError> {
    let (id, record) = find(&api, &caller, &which.id)?;
    Ok(One { subscription: shown(id, record) })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<Many, ApiError> {
    let of = list.integration.as_deref();
    let of = of.map(|it| find_integration(&api, &caller, "integration", it)).transpose()?;
    let page = list.paging.oldest_first()?;
    let page = api.services.store.read(|tables| {
        tables.list_subscriptions(page, |record| {
            caller.reach.has_integration(record.integration)
                && of.as_ref().is_none_or(|(id, _)| *id == record.integration)
        })
    })?;
    let subscriptions = page.rows.into_iter().map(|(id, record)| shown(id, record)).collect();
    Ok(Many { subscriptions, next_cursor: cursor(page.next) })
}

pub(super) async fn update(api: Arc<Api>, caller: Caller, change: Update) -> Result<One, ApiError> {
    let (id, record) = find(&api, &caller, &change.id)?;
    let scope = match change.scope {
        None => None,
        Some(scope) => Some(prefix(scope.as_deref())?),
    };
    // Also when the scope stays: another trigger, filter or template tells more than before. Nobody has
    // this for some scopes and may change subscriptions, so that it does not matter who moves it meanwhile.
    may_tell(&caller, scope.as_ref().unwrap_or(&record.scope).as_ref())?;
    let change = SubscriptionChange {
        trigger: change.trigger,
        scope,
        filter: change.filter,
        title: change.title,
        text: change.text,
        group_wait_seconds: change.group_wait_seconds,
        by: caller.principal.name(),
    };
    let record = api.tell.change_subscription(id, change).await?;
    Ok(One { subscription: shown(id, record) })
}

pub(super) async fn delete(api: Arc<Api>, caller: Caller, which: Which) -> Result<Done, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    api.tell.unsubscribe(id).await?;
    Ok(Done {})
}

pub(super) async fn triggers(
    _: Arc<Api>,
    _: Caller,
    _: ListTriggers,
) -> Result<Triggers, ApiError> {
    let open = [Trigger::Milestone("KIND".to_owned()), Trigger::Custom("NAME".to_owned())];
    let triggers = Trigger::FIXED.iter().chain(&open).map(|trigger| {
        let (title, text) = trigger.template();
        ShownTrigger {
            trigger: trigger.to_string(),
            level: trigger.level().name(),
            title,
            text,
            tokens: tokens(&Selector::One(trigger.clone())),
        }
    });
    Ok(Triggers { triggers: triggers.collect() })
}
