//! Making, changing and deleting webhooks, and sending again what they were sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::definition::{
    DEFAULT_CONCURRENCY, Invalid, check_concurrency, check_event_types, check_header,
    check_headers, check_rate, check_secret, check_url,
};
use super::envelope::{self, Opened};
use super::interest::compile;
use super::{Shared, Webhooks, message};
use crate::engine::outgoing::signals::Signals;
use crate::lifecycle::webhook::{Event, OnDegraded, Queue, Standing, step};
use crate::model::id::{WebhookEventId, WebhookId};
use crate::random::secret_text;
use crate::store::{NewDelivery, PutWebhook, StoreError, WebhookRecord};

/// Characters of a secret that is made here: 192 bits.
const SECRET_LENGTH: usize = 32;
/// The most webhooks that there may be: each has a task.
const MOST_WEBHOOKS: usize = 1_000;

/// What cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// It may not be like that.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is none.
    #[error("there is no webhook with this id")]
    NotFound,
    /// What is queued for it fails at once.
    #[error("nothing is sent while the webhook is {status}: {reason}")]
    NotSent {
        /// Where it stands.
        status: &'static str,
        /// Why.
        reason: String,
    },
    /// Its queue has no room.
    #[error("the queue of the webhook is full: wait until it has sent some of it")]
    QueueFull,
    /// There are as many as there may be.
    #[error("there are {MOST_WEBHOOKS} webhooks, which is as many as there may be")]
    TooMany,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A webhook to be made.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// Where events are sent.
    pub url: String,
    /// Which.
    pub event_types: Vec<String>,
    /// Headers that go with each request.
    pub headers: Vec<(String, String)>,
    /// The secret; one is made when it is absent.
    pub secret: Option<Zeroizing<String>>,
    /// A jq program.
    pub filter: Option<String>,
    /// What becomes of its queue while it is degraded.
    pub on_degraded: OnDegraded,
    /// Whether changes of one object go out one after the other.
    pub in_order: bool,
    /// Requests under way at once.
    pub concurrency: Option<u16>,
    /// Requests that begin in a second.
    pub per_second: Option<u32>,
}

/// A webhook, and its secret, which is shown this once.
pub struct Created {
    /// Its id.
    pub id: WebhookId,
    /// The rest.
    pub record: WebhookRecord,
    /// What requests are signed with, when it is another one.
    pub secret: Option<Zeroizing<String>>,
}

/// How a list of event types changes.
#[derive(Clone, Debug)]
pub enum TypesChange {
    /// These and no others.
    Set(Vec<String>),
    /// Some more, some less.
    Edit {
        /// More.
        add: Vec<String>,
        /// Less.
        remove: Vec<String>,
    },
}

/// How headers change.
#[derive(Clone, Debug)]
pub enum HeaderChange {
    /// These and no others.
    Set(Vec<(String, String)>),
    /// Some more, some less.
    Edit {
        /// More, or another value.
        add: Vec<(String, String)>,
        /// Names of those that go.
        remove: Vec<String>,
    },
}

/// What is to be another one about a webhook.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Where events are sent: it is verified again.
    pub url: Option<String>,
    /// Which events.
    pub event_types: Option<TypesChange>,
    /// Which headers.
    pub headers: Option<HeaderChange>,
    /// The secret: it is verified again. An empty one asks for a new one.
    pub secret: Option<Zeroizing<String>>,
    /// For how long the secret before it is valid too, seconds.
    pub overlap_seconds: u64,
    /// A jq program, or none.
    pub filter: Option<Option<String>>,
    /// What becomes of its queue while it is degraded.
    pub on_degraded: Option<OnDegraded>,
    /// Whether changes of one object go out one after the other.
    pub in_order: Option<bool>,
    /// Requests under way at once.
    pub concurrency: Option<u16>,
    /// Requests that begin in a second, or as many as there are.
    pub per_second: Option<Option<u32>>,
    /// It is to be switched on (true) or off.
    pub active: Option<bool>,
}

impl Webhooks {
    /// Makes a webhook; its endpoint is asked at once.
    pub async fn create(&self, new: New, by: &str) -> Result<Created, ManageError> {
        check_url(&new.url)?;
        let event_types = check_event_types(new.event_types)?;
        let headers = headers_of(new.headers)?;
        if let Some(filter) = &new.filter {
            compile(filter)?;
        }
        let concurrency = new.concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        check_concurrency(concurrency)?;
        new.per_second.map_or(Ok(()), check_rate)?;
        let secret = secret_or_new(new.secret)?;
        let Shared { store, clock, vault, .. } = &*self.shared;
        if store.read(|tables| tables.webhooks())?.len() >= MOST_WEBHOOKS {
            return Err(ManageError::TooMany);
        }
        let now_ms = clock.now_ms();
        let record = WebhookRecord {
            url: new.url,
            event_types,
            header_names: headers.keys().cloned().collect(),
            filter: new.filter,
            on_degraded: new.on_degraded,
            in_order: new.in_order,
            concurrency,
            per_second: new.per_second,
            standing: Standing::new(&secret_text(), now_ms),
            previous_secret_until_ms: None,
            generation: 1,
            created_ms: now_ms,
            created_by: by.to_owned(),
            modified_ms: now_ms,
            modified_by: by.to_owned(),
        };
        let opened = Opened { secret: secret.to_string(), previous: None, headers };
        let (vault, stored) = (vault.clone(), record.clone());
        let id = store
            .write(move |tables| {
                let id = WebhookId(tables.new_id());
                tables.create_webhook(id, &stored, &envelope::seal(&vault, id, &opened))?;
                Ok(id)
            })
            .await?;
        self.shared.read_interests()?;
        self.serve(id);
        Ok(Created { id, record, secret: Some(secret) })
    }

    /// Changes a webhook.
    pub async fn update(
        &self,
        id: WebhookId,
        change: Change,
        by: &str,
    ) -> Result<Created, ManageError> {
        change.url.as_deref().map_or(Ok(()), check_url)?;
        change.concurrency.map_or(Ok(()), check_concurrency)?;
        change.per_second.flatten().map_or(Ok(()), check_rate)?;
        if let Some(Some(filter)) = &change.filter {
            compile(filter)?;
        }
        let secret = change.secret.clone().map(|it| Some(it).filter(|it| !it.is_empty()));
        let secret = secret.map(secret_or_new).transpose()?;
        let Shared { store, clock, vault, .. } = &*self.shared;
        loop {
            let read = store.read(|tables| {
                let Some(record) = tables.webhook(id)? else { return Ok(None) };
                Ok(Some((record, tables.envelope(id.0)?)))
            })?;
            let (before, sealed) = read.ok_or(ManageError::NotFound)?;
            let now_ms = clock.now_ms();
            let mut record = before.clone();
            let opened = envelope::open(vault, id, sealed.as_deref());
            let is_lost = opened.is_none();
            if is_lost && secret.is_none() {
                return Err(ManageError::Invalid(Invalid {
                    field: "secret".to_owned(),
                    problem:
                        "the one that was stored is lost: send another one, or \"\" for a new one"
                            .to_owned(),
                }));
            }
            let mut opened = opened.unwrap_or_default();
            if is_lost {
                record.header_names.clear();
            }
            if let Some(secret) = &secret {
                let keep = change.overlap_seconds > 0 && !is_lost;
                opened.previous = keep.then(|| opened.secret.clone());
                opened.secret = secret.to_string();
                let until_ms = now_ms.saturating_add(change.overlap_seconds.saturating_mul(1_000));
                record.previous_secret_until_ms = keep.then_some(until_ms);
            }
            let is_elsewhere = change.url.as_ref().is_some_and(|it| *it != before.url);
            if is_elsewhere {
                check_not_taken_along(&opened.headers, change.headers.as_ref())?;
            }
            if let Some(headers) = &change.headers {
                opened.headers = changed_headers(opened.headers.clone(), headers.clone())?;
                record.header_names = opened.headers.keys().cloned().collect();
            }
            if let Some(types) = &change.event_types {
                record.event_types = changed_types(record.event_types, types.clone())?;
            }
            record.url = change.url.clone().unwrap_or(record.url);
            record.filter = change.filter.clone().unwrap_or(record.filter);
            record.on_degraded = change.on_degraded.unwrap_or(record.on_degraded);
            record.in_order = change.in_order.unwrap_or(record.in_order);
            record.concurrency = change.concurrency.unwrap_or(record.concurrency);
            record.per_second = change.per_second.unwrap_or(record.per_second);
            if is_elsewhere || secret.is_some() {
                record.standing = step(&record.standing, &Event::Changed, &secret_text(), now_ms);
            }
            if let Some(active) = change.active {
                let event = if active { Event::Activate } else { Event::Deactivate };
                record.standing = step(&record.standing, &event, &secret_text(), now_ms);
            }
            record.generation += 1;
            record.modified_ms = now_ms;
            by.clone_into(&mut record.modified_by);
            let (vault, stored) = (vault.clone(), record.clone());
            let put = store.write(move |tables| {
                let sealed = envelope::seal(&vault, id, &opened);
                tables.put_webhook(id, before.generation, &stored, Some(&sealed))
            });
            if put.await? == PutWebhook::Stored {
                self.shared.changed(id);
                self.serve(id);
                return Ok(Created { id, record, secret });
            }
        }
    }

    /// Deletes a webhook. What is under way may still arrive; nothing else does.
    pub async fn delete(&self, id: WebhookId) -> Result<(), ManageError> {
        let there = self.shared.store.write(move |tables| tables.delete_webhook(id)).await?;
        self.shared.changed(id);
        if there { Ok(()) } else { Err(ManageError::NotFound) }
    }

    /// Sends an object as it is now. `object` is how it is shown.
    pub async fn fetch(
        &self,
        id: WebhookId,
        object_type: &str,
        object_id: Option<String>,
        object: &Value,
    ) -> Result<WebhookEventId, ManageError> {
        self.check_sends(id, 1)?;
        let member = self.shared.bodies.member(object_type);
        let detail = json!({ member: object }).to_string();
        let event_type = format!("{object_type}_fetched");
        let now_ms = self.shared.clock.now_ms();
        let largest = self.shared.settings.largest_body;
        if detail.len() > largest {
            let problem = format!("it is larger than webhooks.body_bytes ({largest})");
            return Err(Invalid { field: "object".to_owned(), problem }.into());
        }
        let event = self
            .shared
            .store
            .write(move |tables| {
                let event = WebhookEventId(tables.new_id());
                let body = message::body(event, id, now_ms, &event_type, &detail);
                tables.queue_deliveries(&[NewDelivery {
                    webhook: id,
                    event: event.0,
                    event_type: event_type.clone(),
                    object: object_id.clone(),
                    body: body.into(),
                    failed: None,
                }])?;
                Ok(event)
            })
            .await?;
        self.shared.signal(id, Signals::requeued);
        Ok(event)
    }

    /// Refuses what would fail at once.
    fn check_sends(&self, id: WebhookId, more: usize) -> Result<(), ManageError> {
        let read = self.shared.store.read(|tables| {
            let Some(record) = tables.webhook(id)? else { return Ok(None) };
            Ok(Some((record, tables.count_queued_deliveries(id)?)))
        })?;
        let (record, queued) = read.ok_or(ManageError::NotFound)?;
        let standing = record.standing;
        match standing.queue(record.on_degraded) {
            Queue::Fail => Err(ManageError::NotSent {
                status: standing.status.name(),
                reason: standing.reason.unwrap_or_default(),
            }),
            Queue::Send | Queue::Hold => {
                let more = u64::try_from(more).unwrap_or(u64::MAX);
                let most = self.shared.settings.most_queued.saturating_mul(2);
                if queued.saturating_add(more) > most {
                    return Err(ManageError::QueueFull);
                }
                Ok(())
            }
        }
    }

    /// Queues ended deliveries again, with the ids that they had. Answers how many there were.
    pub async fn resend(&self, id: WebhookId, events: Vec<u128>) -> Result<usize, ManageError> {
        const CHUNK: usize = 500;
        self.check_sends(id, events.len())?;
        let mut resent = 0;
        for chunk in events.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            resent += self
                .shared
                .store
                .write(move |tables| {
                    let mut resent = 0;
                    for event in &chunk {
                        resent += usize::from(tables.resend_delivery(id, *event)?);
                    }
                    Ok(resent)
                })
                .await?;
        }
        self.shared.signal(id, Signals::requeued);
        Ok(resent)
    }
}

fn secret_or_new(secret: Option<Zeroizing<String>>) -> Result<Zeroizing<String>, Invalid> {
    let Some(secret) = secret else {
        return Ok(Zeroizing::new(secret_text().chars().take(SECRET_LENGTH).collect()));
    };
    check_secret(&secret)?;
    Ok(secret)
}

fn headers_of(headers: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Invalid> {
    let mut checked = BTreeMap::new();
    for (name, value) in &headers {
        let (name, value) = check_header(name, value)?;
        if checked.contains_key(&name) {
            let problem = format!("`{name}` is there twice");
            return Err(Invalid { field: "headers".to_owned(), problem });
        }
        checked.insert(name, value);
    }
    check_headers(&checked)?;
    Ok(checked)
}

fn changed_headers(
    mut headers: BTreeMap<String, String>,
    change: HeaderChange,
) -> Result<BTreeMap<String, String>, Invalid> {
    match change {
        HeaderChange::Set(new) => return headers_of(new),
        HeaderChange::Edit { add, remove } => {
            for name in remove {
                let name = name.to_ascii_lowercase();
                if headers.remove(&name).is_none() {
                    return Err(Invalid {
                        field: "headers.remove".to_owned(),
                        problem: format!("there is no header `{name}`"),
                    });
                }
            }
            headers.extend(headers_of(add)?);
        }
    }
    check_headers(&headers)?;
    Ok(headers)
}

/// Headers are often credentials, which nobody can read here. Whoever may set another URL must not have
/// them sent to himself.
fn check_not_taken_along(
    stored: &BTreeMap<String, String>,
    change: Option<&HeaderChange>,
) -> Result<(), Invalid> {
    let is_given = |name: &str| match change {
        None => false,
        // What is not among them goes.
        Some(HeaderChange::Set(_)) => true,
        Some(HeaderChange::Edit { add, remove }) => {
            let mut names = add.iter().map(|it| &it.0).chain(remove);
            names.any(|it| it.eq_ignore_ascii_case(name))
        }
    };
    match stored.keys().find(|it| !is_given(it)) {
        None => Ok(()),
        Some(name) => Err(Invalid {
            field: "headers".to_owned(),
            problem: format!(
                "the value of `{name}` was set for the URL of before, and is not sent to another: send \
                 all headers again with the new `url` (`headers.set`), or remove it"
            ),
        }),
    }
}

fn changed_types(types: Vec<String>, change: TypesChange) -> Result<Vec<String>, Invalid> {
    check_event_types(match change {
        TypesChange::Set(types) => types,
        TypesChange::Edit { add, remove } => {
            if let Some(unknown) = remove.iter().find(|it| !types.contains(it)) {
                return Err(Invalid {
                    field: "event_types.remove".to_owned(),
                    problem: format!("it does not have `{unknown}`; it has {}", types.join(", ")),
                });
            }
            types.into_iter().filter(|it| !remove.contains(it)).chain(add).collect()
        }
    })
}
