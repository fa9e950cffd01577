//! Making trigger URLs known to external systems, and taking them back (spec §3.1 of seed 000:
//! "the platform may use a connection to register the webhook URL").
//!
//! What the other side calls a registration is stored with the source, so that a repetition after a
//! crash registers nothing twice, unless the crash fell between its answer and the store.

use serde_json::Value;

use super::{KeyringError, Keyrings, jq, verify};
use crate::connections::placeholders::Values;
use crate::connections::registration::{Fields, render};
use crate::connections::types;
use crate::connections::verification::answered;
use crate::model::id::{SnapInId, SourceId};
use crate::model::manifest::{EventSource, RegistrationRequest};
use crate::model::snap_in::SourceStatus;
use crate::store::{SnapInRecord, SourceRecord, StoreError};

/// A source with what its manifest says about it.
struct Registrable {
    id: SourceId,
    record: SourceRecord,
    declared: EventSource,
}

impl Keyrings {
    /// Registers every open source of a snap-in that says how and is not registered. The error is
    /// for the one who activates.
    pub async fn register_sources(&self, id: SnapInId) -> Result<(), String> {
        let (snap_in, sources) = self.registrable(id).map_err(|it| it.to_string())?;
        for source in sources {
            // One that was registered with a trigger URL that has been replaced is registered anew,
            // also while it takes no events: nobody would do it when it takes them again.
            let wanted = snap_in.sources.contains(&source.id)
                && (source.record.status == SourceStatus::Active
                    || !source.record.outdated_registrations.is_empty());
            if wanted && source.record.registration.is_none() {
                self.register(&snap_in, &source).await.map_err(|error| {
                    let name = &source.declared.name;
                    format!("event source `{name}` cannot be registered: {error}")
                })?;
            }
            if wanted && let Err(error) = self.unregister_outdated(&snap_in, &source).await {
                tracing::warn!(source = %source.id, error, "a replaced trigger URL stays outside");
            }
        }
        // Those that an upgrade or a person left behind: what cannot be taken back any more is no
        // reason not to function.
        let left = self.unregister_where(id, |snap_in, it| !snap_in.sources.contains(&it.id));
        if let Err(message) = left.await {
            tracing::warn!(snap_in = %id, message, "something stays behind outside");
        }
        Ok(())
    }

    /// Takes back every registration of a snap-in.
    pub async fn unregister_sources(&self, id: SnapInId) -> Result<(), String> {
        self.unregister_where(id, |_, _| true).await
    }

    async fn unregister_where(
        &self,
        id: SnapInId,
        wanted: impl Fn(&SnapInRecord, &Registrable) -> bool,
    ) -> Result<(), String> {
        let (snap_in, sources) = self.registrable(id).map_err(|it| it.to_string())?;
        let mut problems = Vec::new();
        for source in sources {
            let record = &source.record;
            let is_registered =
                record.registration.is_some() || !record.outdated_registrations.is_empty();
            if is_registered && wanted(&snap_in, &source) {
                let name = source.declared.name.clone();
                if let Err(error) = self.unregister(&snap_in, source).await {
                    problems.push(format!("event source `{name}` is still registered: {error}"));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// The sources of a snap-in, also detached ones, whose manifest says how they are registered:
    /// the present manifest, or the last one that had them.
    fn registrable(&self, id: SnapInId) -> Result<(SnapInRecord, Vec<Registrable>), KeyringError> {
        let store = &self.0.parts.store;
        let snap_in = store.read(|tables| tables.snap_in(id))?;
        let snap_in = snap_in.ok_or(KeyringError::NoSuchSnapIn(id))?;
        let records = store.read(|tables| {
            let mut records = Vec::new();
            let mut ids = snap_in.sources.clone();
            ids.extend(&snap_in.detached_sources);
            ids.extend(tables.sources_of_users(id)?);
            ids.sort_unstable();
            ids.dedup();
            for source in ids {
                records.extend(tables.source(source)?.map(|it| (source, it)));
            }
            Ok(records)
        })?;
        let mut manifests = Vec::new();
        let past = snap_in.past_versions.iter().rev().map(|it| it.version);
        for version in std::iter::once(snap_in.version).chain(past) {
            manifests.extend(self.0.parts.contexts.version(version)?);
            let all_known = records.iter().all(|(_, record)| {
                manifests.iter().any(|it| it.manifest.event_source(&record.name).is_some())
            });
            if all_known {
                break;
            }
        }
        let sources = records.into_iter().filter_map(|(id, record)| {
            let declared =
                manifests.iter().find_map(|it| it.manifest.event_source(&record.name))?;
            let declared = declared.clone();
            declared.registration.is_some().then_some(Registrable { id, record, declared })
        });
        let sources = sources.collect();
        Ok((snap_in, sources))
    }

    async fn register(&self, snap_in: &SnapInRecord, source: &Registrable) -> Result<(), String> {
        let Some(registration) = &source.declared.registration else { return Ok(()) };
        let values = self.values_for(snap_in, source, registration.keyring.as_deref()).await?;
        let answer = self.send(&registration.register, source, values).await?;
        let id = match &registration.register.id_jq {
            None => String::new(),
            Some(program) => {
                let body: Value = serde_json::from_slice(&answer).map_err(|_| {
                    "its answer is no JSON, so `id_jq` finds no id in it".to_owned()
                })?;
                match jq::run("id_jq", program, &body).await.map_err(|it| it.to_string())? {
                    Value::String(text) => text,
                    Value::Null => return Err("`id_jq` found no id in its answer".to_owned()),
                    other => other.to_string(),
                }
            }
        };
        self.note(source.id, Some(id)).await.map_err(|error| error.to_string())
    }

    /// Takes back what trigger URLs of before were registered as.
    async fn unregister_outdated(
        &self,
        snap_in: &SnapInRecord,
        source: &Registrable,
    ) -> Result<(), String> {
        for outdated in &source.record.outdated_registrations {
            let mut record = source.record.clone();
            if let Some(previous) = record.previous_token.take() {
                record.token = previous.token;
            }
            record.registration = Some(outdated.clone());
            let before = Registrable { id: source.id, record, declared: source.declared.clone() };
            self.send_unregister(snap_in, &before).await?;
            let (id, outdated) = (source.id, outdated.clone());
            let write = self
                .0
                .parts
                .store
                .write(move |tables| tables.forget_outdated_registration(id, &outdated));
            write.await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn unregister(&self, snap_in: &SnapInRecord, source: Registrable) -> Result<(), String> {
        self.unregister_outdated(snap_in, &source).await?;
        if source.record.registration.is_none() {
            return Ok(());
        }
        self.send_unregister(snap_in, &source).await?;
        self.note(source.id, None).await.map_err(|error| error.to_string())
    }

    async fn send_unregister(
        &self,
        snap_in: &SnapInRecord,
        source: &Registrable,
    ) -> Result<(), String> {
        let Some(registration) = &source.declared.registration else { return Ok(()) };
        if let Some(unregister) = &registration.unregister {
            let values = self.values_for(snap_in, source, registration.keyring.as_deref()).await?;
            self.send(unregister, source, values).await?;
        }
        Ok(())
    }

    /// Sends a request and answers the body of a success; to take back what is gone is one.
    async fn send(
        &self,
        request: &RegistrationRequest,
        source: &Registrable,
        values: Values,
    ) -> Result<bytes::Bytes, String> {
        let secrets: Vec<String> = values.secrets().into_iter().map(str::to_owned).collect();
        let trigger_url = format!("{}/hooks/{}", self.0.parts.public_url, source.record.token);
        let fields = Fields {
            name: &source.declared.name,
            trigger_url: &trigger_url,
            config: &source.declared.config,
            registration: source.record.registration.as_deref(),
        };
        let request = render(request, fields, values).map_err(|error| error.to_string())?;
        let answer = self.exchange(request).await.map_err(|it| it.message)?;
        let is_gone = source.record.registration.is_some() && matches!(answer.status, 404 | 410);
        if (200..300).contains(&answer.status) || is_gone {
            return Ok(answer.body);
        }
        let mut masked: Vec<&str> = secrets.iter().map(String::as_str).collect();
        masked.push(&source.record.token);
        let said = answered(answer.status, &answer.body, &masked);
        Err(format!("{} {said}", answer.whereabouts))
    }

    /// What placeholders stand for, from the keyring that a registration names.
    async fn values_for(
        &self,
        snap_in: &SnapInRecord,
        source: &Registrable,
        keyring: Option<&str>,
    ) -> Result<Values, String> {
        let Some(name) = keyring else { return Ok(Values::default()) };
        let id = self
            .keyring_named(source.record.snap_in, snap_in, source.record.user, name)
            .map_err(|it| it.to_string())?;
        let id = id.ok_or_else(|| KeyringError::NotSet(name.to_owned()).to_string())?;
        let found = self.0.parts.store.read(|tables| tables.keyring_with_envelope(id));
        let found = found.map_err(|error| error.to_string())?;
        let (record, envelope) =
            found.ok_or_else(|| KeyringError::NotSet(name.to_owned()).to_string())?;
        let secret =
            self.secret_of(id, &record, &envelope).await.map_err(|error| error.to_string())?;
        let organization = record.organization.as_ref().map(|it| it.id.as_str());
        let values = verify::values(&secret, record.subdomain.as_deref(), organization);
        let version = self.0.parts.contexts.version(snap_in.version);
        let Some(version) = version.map_err(|error| error.to_string())? else { return Ok(values) };
        match types::find(&version.manifest, &record.type_id) {
            Ok(connection) => self
                .with_client(values, &connection, snap_in.package)
                .map_err(|error| error.to_string()),
            // A type of a version of before: what placeholders need no client for still works.
            Err(_) => Ok(values),
        }
    }

    async fn note(&self, source: SourceId, id: Option<String>) -> Result<(), StoreError> {
        let write = self
            .0
            .parts
            .store
            .write(move |tables| tables.set_source_registration(source, id.as_deref()));
        write.await
    }
}
