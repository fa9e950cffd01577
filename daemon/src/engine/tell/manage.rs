//! What is supplied and wanted, what is published, and why something of all that cannot be done.

use mortise_plugin::Problem;

use super::Tell;
use super::definition::{self, Invalid};
use crate::model::event::Cause;
use crate::model::id::{DeliveryId, IntegrationId, OccurrenceId, SubscriptionId};
use crate::model::occurrence::Selector;
use crate::model::scope::ScopePrefix;
use crate::store::{
    MOST_SUBSCRIPTIONS, MOST_SUPPLIES, NewOccurrence, PutDemand, StoreError, SubscriptionRecord,
};

/// How often a change of a subscription is tried while somebody else changes the same.
const TRIES: usize = 16;

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The connection is none of its type.
    #[error("the connection cannot be used: {}", listed(problems))]
    Connection {
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
    /// No plugin has a sink type of that name.
    #[error("there is no sink type `{kind}`")]
    NoSuchType {
        /// As it was asked for.
        kind: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Another one of its type has the name. Which one, not everybody may know.
    #[error("there is an integration of this type and name already")]
    NameTaken(IntegrationId),
    /// It is not there.
    #[error("there is no such integration")]
    NoSuchIntegration,
    /// It is not there.
    #[error("there is no such subscription")]
    NoSuchSubscription,
    /// It is there already, or there are too many.
    #[error("{0}")]
    Conflict(String),
    /// Others change the same all the time, or nobody answers.
    #[error("{0}; try again")]
    Busy(String),
    /// The store took too long; it may still happen.
    #[error("the database did not answer in time; look again what became of it")]
    TimedOut,
    /// An actor does not answer.
    #[error("{0} did not answer; look again what became of it")]
    NoAnswer(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn listed(problems: &[Problem]) -> String {
    let said: Vec<String> = problems
        .iter()
        .take(3)
        .map(|it| match it.path.as_str() {
            "" => it.message.clone(),
            path => format!("`{path}`: {}", it.message),
        })
        .collect();
    said.join("; ")
}

/// A subscription to be made.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// Through which integration.
    pub integration: IntegrationId,
    /// What about, as it is written.
    pub trigger: String,
    /// Where.
    pub scope: Option<ScopePrefix>,
    /// Which of those.
    pub filter: Option<String>,
    /// The title of messages.
    pub title: Option<String>,
    /// Their text.
    pub text: Option<String>,
    /// For how long occurrences of a kind are collected.
    pub group_wait_seconds: u32,
    /// Who makes it.
    pub by: String,
}

/// What is to be another one of a subscription; nothing inside takes away what is there.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionChange {
    /// What about.
    pub trigger: Option<String>,
    /// Where.
    pub scope: Option<Option<ScopePrefix>>,
    /// Which of those.
    pub filter: Option<Option<String>>,
    /// The title of messages.
    pub title: Option<Option<String>>,
    /// Their text.
    pub text: Option<Option<String>>,
    /// For how long occurrences of a kind are collected.
    pub group_wait_seconds: Option<u32>,
    /// Who changes it.
    pub by: String,
}

impl Tell {
    /// Supplies an integration to a scope.
    pub async fn add_supply(
        &self,
        id: IntegrationId,
        scope: ScopePrefix,
        by: String,
    ) -> Result<(), TellError> {
        let shown = scope.to_string();
        let put = self.shared.store.write(move |tables| tables.add_supply(id, &scope, &by)).await?;
        demand(put, MOST_SUPPLIES as u64, &format!("it is supplied to {shown} already"), "supplies")
    }

    /// Takes a supply back.
    pub async fn remove_supply(
        &self,
        id: IntegrationId,
        scope: ScopePrefix,
    ) -> Result<bool, TellError> {
        Ok(self.shared.store.write(move |tables| tables.remove_supply(id, &scope)).await?)
    }

    /// Makes a subscription.
    pub async fn subscribe(
        &self,
        new: NewSubscription,
    ) -> Result<(SubscriptionId, SubscriptionRecord), TellError> {
        let now_ms = self.shared.clock.now_ms();
        let record = SubscriptionRecord {
            integration: new.integration,
            trigger: definition::read_trigger(&new.trigger)?,
            scope: new.scope,
            filter: new.filter,
            title: new.title,
            text: new.text,
            group_wait_seconds: new.group_wait_seconds,
            created_ms: now_ms,
            created_by: new.by.clone(),
            modified_ms: now_ms,
            modified_by: new.by,
        };
        check_subscription(&record)?;
        let stored = record.clone();
        let write = self.shared.store.write(move |tables| {
            let id = SubscriptionId(tables.new_id());
            Ok((id, tables.create_subscription(id, &stored)?))
        });
        let (id, put) = write.await?;
        demand(put, MOST_SUBSCRIPTIONS, "there is one like it", "subscriptions")?;
        Ok((id, record))
    }

    /// Changes a subscription.
    pub async fn change_subscription(
        &self,
        id: SubscriptionId,
        change: SubscriptionChange,
    ) -> Result<SubscriptionRecord, TellError> {
        let trigger: Option<Selector> =
            change.trigger.as_deref().map(definition::read_trigger).transpose()?;
        for _ in 0..TRIES {
            let seen = self.shared.store.read(|tables| tables.subscription(id))?;
            let seen = seen.ok_or(TellError::NoSuchSubscription)?;
            let record = SubscriptionRecord {
                trigger: trigger.clone().unwrap_or_else(|| seen.trigger.clone()),
                scope: change.scope.clone().unwrap_or_else(|| seen.scope.clone()),
                filter: change.filter.clone().unwrap_or_else(|| seen.filter.clone()),
                title: change.title.clone().unwrap_or_else(|| seen.title.clone()),
                text: change.text.clone().unwrap_or_else(|| seen.text.clone()),
                group_wait_seconds: change.group_wait_seconds.unwrap_or(seen.group_wait_seconds),
                modified_ms: self.shared.clock.now_ms(),
                modified_by: change.by.clone(),
                ..seen.clone()
            };
            check_subscription(&record)?;
            let stored = record.clone();
            let write =
                self.shared.store.write(move |it| it.put_subscription(id, &seen, &stored)).await?;
            if write == PutDemand::Stored {
                return Ok(record);
            }
        }
        Err(TellError::Busy("others change the same subscription".to_owned()))
    }

    /// Deletes a subscription. What is on its way for it goes out.
    pub async fn unsubscribe(&self, id: SubscriptionId) -> Result<(), TellError> {
        match self.shared.store.write(move |tables| tables.delete_subscription(id)).await? {
            true => Ok(()),
            false => Err(TellError::NoSuchSubscription),
        }
    }

    /// Sends an ended message again. Answers whether there is one.
    pub async fn redeliver(
        &self,
        integration: IntegrationId,
        id: DeliveryId,
    ) -> Result<bool, TellError> {
        let write = self.shared.store.write(move |tables| tables.resend_telling(integration, id));
        let is_there = write.await?;
        if let Some(lane) = self.lane(integration) {
            lane.signals.requeued();
        }
        Ok(is_there)
    }

    /// Writes down what somebody publishes, or reports of a longer piece of work.
    pub async fn publish(
        &self,
        new: NewOccurrence,
        cause: Cause,
    ) -> Result<OccurrenceId, TellError> {
        let kept = self.shared.store.read(|tables| tables.count_occurrences())?;
        // As many again as are kept: they are removed when they were decided on.
        if kept > 2 * super::tidy::MOST_KEPT {
            let message = "more was published than people can be told of".to_owned();
            return Err(TellError::Busy(message));
        }
        let new = NewOccurrence { cause, ..new };
        Ok(self.shared.store.write(move |tables| tables.occur(&new)).await?)
    }
}

fn check_subscription(record: &SubscriptionRecord) -> Result<(), Invalid> {
    record.filter.as_deref().map_or(Ok(()), definition::check_filter)?;
    for (field, template) in [("title", &record.title), ("text", &record.text)] {
        if let Some(template) = template {
            definition::check_template(field, template, &record.trigger)?;
        }
    }
    definition::check_group_wait(record.group_wait_seconds)
}

fn demand(put: PutDemand, most: u64, exists: &str, what: &str) -> Result<(), TellError> {
    match put {
        PutDemand::Stored => Ok(()),
        PutDemand::NoSuchIntegration => Err(TellError::NoSuchIntegration),
        PutDemand::Exists => Err(TellError::Conflict(exists.to_owned())),
        PutDemand::TooMany => Err(TellError::Conflict(format!(
            "there are {most} {what} already; delete one that nobody needs"
        ))),
        PutDemand::Stale => Err(TellError::Busy("somebody else changes the same".to_owned())),
    }
}
