//! The configs of event sources, with the secrets that they refer to put in.

use std::collections::{BTreeMap, BTreeSet};

use mortise_plugin::reference::KeyringReference;
use serde_json::Value;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{KeyringError, Keyrings};
use crate::connections::references::{fill, mask, references, without_absent};
use crate::connections::secret::{KeyringSecret, SecretText};
use crate::functions::pool::{SecretTexts, mask_texts};
use crate::manifest::named_secrets;
use crate::model::id::{KeyringId, SnapInId, UserId};
use crate::model::keyring::KeyringState;
use crate::model::manifest::Level;
use crate::store::{SnapInRecord, StoreError};

/// Shorter texts of a config are not masked, whatever their names.
const SHORTEST_LITERAL: usize = 8;

/// Which secrets something was made with: it changes when one of them does.
pub type Stamp = Vec<Option<(KeyringId, u64)>>;

/// A config for opening a plugin with. Holds secrets in the open.
pub struct FilledConfig {
    /// The config.
    pub config: Value,
    /// What it was made with.
    pub stamp: Stamp,
    secrets: Vec<SecretText>,
}

impl FilledConfig {
    /// For taking the secrets out of what the plugin says.
    pub fn into_masks(self) -> Masks {
        Masks(self.secrets.into_iter().map(SecretText::into_inner).collect())
    }
}

/// The secrets that a source was opened with.
#[derive(Clone, Default)]
pub struct Masks(SecretTexts);

impl Masks {
    /// These, and what stands in a config under names of secrets. What is short is left out: it may
    /// be a word of every text.
    pub fn and_literals_of(&self, config: &Value) -> Masks {
        let literals = named_secrets(config);
        let literals = literals.iter().filter(|it| it.len() >= SHORTEST_LITERAL);
        let literals = literals.map(|it| Zeroizing::new((*it).to_owned()));
        Masks(self.0.iter().cloned().chain(literals).collect())
    }

    /// A text without them, whatever form they have in it.
    pub fn mask(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let mut masked = mask(text, self.0.iter().map(|it| it.as_str()));
        mask_texts(std::iter::once(&mut masked), &self.0);
        masked
    }

    /// A document whose texts are without them.
    pub fn mask_json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask(text)),
            Value::Array(items) => items.iter().map(|it| self.mask_json(it)).collect(),
            Value::Object(members) => Value::Object(
                members.iter().map(|(key, it)| (self.mask(key), self.mask_json(it))).collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Keyrings {
    /// Puts the secrets into the config of a source of a snap-in, or of one of its users.
    pub async fn fill_config(
        &self,
        snap_in: SnapInId,
        user: Option<UserId>,
        config: &Value,
    ) -> Result<FilledConfig, KeyringError> {
        let wanted = references(config);
        if wanted.is_empty() {
            return Ok(FilledConfig {
                config: config.clone(),
                stamp: Stamp::new(),
                secrets: Vec::new(),
            });
        }
        let record = self.0.parts.store.read(|tables| tables.snap_in(snap_in))?;
        let record = record.ok_or(KeyringError::NoSuchSnapIn(snap_in))?;
        // Before the secrets: whatever changes in between is seen as a change.
        let stamp = self.stamp_of(snap_in, &record, user, config)?;
        let absent = self.optional_and_absent(snap_in, &record, user, &wanted)?;
        let config = &without_absent(config, &absent);
        let mut secrets = BTreeMap::new();
        for reference in references(config) {
            let secret = self.referred_to(snap_in, &record, user, &reference).await?;
            secrets.insert(reference, secret);
        }
        let config = fill(config, &secrets);
        Ok(FilledConfig { config, stamp, secrets: secrets.into_values().collect() })
    }

    /// What a config would be filled with now.
    pub fn stamp(
        &self,
        snap_in: SnapInId,
        user: Option<UserId>,
        config: &Value,
    ) -> Result<Stamp, KeyringError> {
        let record = self.0.parts.store.read(|tables| tables.snap_in(snap_in))?;
        let record = record.ok_or(KeyringError::NoSuchSnapIn(snap_in))?;
        Ok(self.stamp_of(snap_in, &record, user, config)?)
    }

    /// Changes whenever a secret is set, renewed or removed.
    pub fn secrets_changed(&self) -> watch::Receiver<()> {
        self.0.secrets.subscribe()
    }

    fn stamp_of(
        &self,
        snap_in: SnapInId,
        record: &SnapInRecord,
        user: Option<UserId>,
        config: &Value,
    ) -> Result<Stamp, StoreError> {
        let mut stamp = Stamp::new();
        for reference in references(config) {
            let id = self.keyring_named(snap_in, record, user, &reference.keyring)?;
            let generation = match id {
                Some(id) => self.0.parts.store.read(|tables| tables.keyring(id))?,
                None => None,
            };
            stamp.push(id.zip(generation.map(|it| it.generation)));
        }
        Ok(stamp)
    }

    /// Those of optional keyrings that have no secret. What belongs to a person is always optional.
    fn optional_and_absent(
        &self,
        snap_in: SnapInId,
        record: &SnapInRecord,
        user: Option<UserId>,
        wanted: &BTreeSet<KeyringReference>,
    ) -> Result<BTreeSet<KeyringReference>, KeyringError> {
        let version = self.0.parts.contexts.version(record.version)?;
        let is_optional = |name: &str| {
            let declared = version.as_ref().and_then(|it| it.manifest.keyring(name));
            declared.is_some_and(|it| it.optional || it.level == Level::User)
        };
        let mut absent = BTreeSet::new();
        for reference in wanted.iter().filter(|it| is_optional(&it.keyring)) {
            let id = self.keyring_named(snap_in, record, user, &reference.keyring)?;
            let found = match id {
                Some(id) => self.0.parts.store.read(|tables| tables.keyring(id))?,
                None => None,
            };
            if found.is_none_or(|it| it.state == KeyringState::Pending) {
                absent.insert(reference.clone());
            }
        }
        Ok(absent)
    }

    async fn referred_to(
        &self,
        snap_in: SnapInId,
        record: &SnapInRecord,
        user: Option<UserId>,
        reference: &KeyringReference,
    ) -> Result<SecretText, KeyringError> {
        let name = &reference.keyring;
        let not_set = || KeyringError::NotSet(name.clone());
        let id = self.keyring_named(snap_in, record, user, name)?.ok_or_else(not_set)?;
        let found = self.0.parts.store.read(|tables| tables.keyring_with_envelope(id))?;
        let (keyring, envelope) = found.ok_or_else(not_set)?;
        if keyring.state == KeyringState::Pending {
            return Err(not_set());
        }
        let secret = self.secret_of(id, &keyring, &envelope).await?;
        let Some(field) = &reference.field else { return Ok(secret.for_functions().clone()) };
        match &secret {
            KeyringSecret::Fields { fields, .. } => fields.get(field).cloned(),
            KeyringSecret::Plain { .. } | KeyringSecret::Tokens(_) => None,
        }
        .ok_or_else(|| {
            let has = match &secret {
                KeyringSecret::Fields { fields, .. } => {
                    let names: Vec<_> = fields.keys().map(String::as_str).collect();
                    format!("it has {}", names.join(", "))
                }
                KeyringSecret::Plain { .. } | KeyringSecret::Tokens(_) => {
                    "it has none: leave the field out".to_owned()
                }
            };
            KeyringError::Request(format!("the keyring `{name}` has no field `{field}`; {has}"))
        })
    }

    /// The keyring of that name that a source may use: the user's own first, when it is a user's.
    pub(super) fn keyring_named(
        &self,
        snap_in: SnapInId,
        record: &SnapInRecord,
        user: Option<UserId>,
        name: &str,
    ) -> Result<Option<KeyringId>, StoreError> {
        if let Some(user) = user {
            let settings = self.0.parts.store.read(|tables| tables.user_settings(snap_in, user))?;
            let own = settings.and_then(|it| it.keyrings.get(name).copied());
            if own.is_some() {
                return Ok(own);
            }
        }
        let shared = record.keyrings.get(name).copied();
        Ok(shared.or_else(|| self.developer_keyrings(record.package).get(name).copied()))
    }
}
