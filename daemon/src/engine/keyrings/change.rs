//! Setting and removing keyrings, in two steps: [`Keyrings::prepare`] checks and stores nothing, so
//! that somebody can be asked in between, and [`Keyrings::commit`] stores.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::connections::change::{
    Change, DeveloperGiven, Given, Problem, fields_json, merge, merge_developer,
};
use crate::connections::destination::Destination;
use crate::connections::secret::{KeyringSecret, SecretText};
use crate::connections::types::{self, ConnectionKind, ConnectionType, OAUTH_CLIENT, PLAIN};
use crate::connections::verification;
use crate::model::id::{KeyringId, PackageId, VersionId};
use crate::model::keyring::{ExternalOrganization, KeyringOwner, KeyringState};
use crate::model::manifest::SecretConfig;
use crate::store::{KeyringRecord, KeyringRemoval, KeyringSetting, PageRequest};

use super::{KeyringError, Keyrings, Located, jq, verify};

/// A secret that somebody wants to set.
#[derive(Clone, Debug)]
pub struct SetRequest {
    /// For whom; not the developer.
    pub owner: KeyringOwner,
    /// The version that declares it; the present one when absent.
    pub version: Option<VersionId>,
    /// Id of a type, when there are several.
    pub type_id: Option<String>,
    /// The secret.
    pub given: Given,
    /// `[SUBDOMAIN]`.
    pub subdomain: Option<String>,
    /// Id of the organization, when there are several.
    pub organization: Option<String>,
    /// Take it as it is.
    pub skip_verification: bool,
    /// Name of the principal.
    pub by: String,
}

/// A keyring that was checked and is not stored yet.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) record: KeyringRecord,
    pub(super) version: Option<VersionId>,
    pub(super) secret: KeyringSecret,
}

impl Prepared {
    /// Whose it is.
    pub fn owner(&self) -> &KeyringOwner {
        &self.record.owner
    }

    /// Id of its type.
    pub fn type_id(&self) -> &str {
        &self.record.type_id
    }

    /// What functions will get.
    pub fn for_functions(&self) -> &SecretText {
        self.secret.for_functions()
    }
}

impl Keyrings {
    /// Checks a secret against its type.
    pub async fn prepare(&self, request: SetRequest) -> Result<Prepared, KeyringError> {
        let located = self.locate_for(request.owner.clone(), request.version)?;
        let connection = choose(&located, request.type_id.as_deref(), false)?;
        self.refuse_if_in_use(&located, &connection)?;
        let ConnectionKind::Secret(config) = &connection.kind else {
            return Err(KeyringError::WrongType {
                message: format!(
                    "`{}` is granted at the external system: connect it instead",
                    connection.id
                ),
                allowed: Vec::new(),
            });
        };
        let before = self.whole(&located)?.map(|(_, record, secret)| (record, secret));
        let before = before.filter(|(record, _)| types::is_same(&record.type_id, &connection.id));
        let subdomain =
            subdomain(&connection, request.subdomain, before.as_ref().map(|(it, _)| it))?;
        let is_other = before.as_ref().is_some_and(|(it, _)| it.subdomain != subdomain);
        let destination =
            Destination::of(&connection, registrations(&located).into_iter(), is_other);
        let stored = before.as_ref().map(|(_, it)| it);
        let change =
            merge(config, stored, request.given, &destination).map_err(KeyringError::Invalid)?;
        let is_unchanged = change == Change::Unchanged;
        let secret = match change {
            Change::Unchanged => match &before {
                Some((_, stored)) => stored.clone(),
                None => return Err(KeyringError::NotSet(request.owner.name().to_owned())),
            },
            Change::Plain(secret) => {
                let secret = transform(config, Value::from(secret.reveal()), secret).await?;
                KeyringSecret::Plain { secret }
            }
            Change::Fields(fields) => {
                let json = fields_json(&fields);
                let text = SecretText::from(json.to_string());
                let secret = transform(config, json, text).await?;
                KeyringSecret::Fields { fields, secret }
            }
        };
        let before = before.map(|(record, _)| record);
        let mut record = KeyringRecord {
            fields: field_names(&secret),
            subdomain,
            ..new_record(request.owner, connection.id.clone(), request.by)
        };
        if !request.skip_verification {
            let values = verify::values(&secret, record.subdomain.as_deref(), None);
            let kept = before.as_ref().and_then(|it| it.organization.as_ref());
            let kept = kept.map(|it| it.id.as_str());
            let asked = request.organization.as_deref();
            let found = self.find_organization(&connection, &values, asked, kept).await?;
            let id = found.as_ref().map(|it| it.id.as_str());
            record.verified = self.try_secret(&connection, &values.with_organization(id)).await?
                || found.is_some();
            record.organization = found;
        } else if let Some(id) = request.organization {
            record.organization = Some(ExternalOrganization { id, name: None });
        } else if is_unchanged {
            // Whose it is was found out when it was set.
            record.organization = before.and_then(|it| it.organization);
        }
        Ok(Prepared { record, version: Some(located.snap_in.version), secret })
    }

    /// Checks a secret of the developer of a package.
    pub fn prepare_developer(
        &self,
        package: PackageId,
        name: &str,
        given: DeveloperGiven,
        by: String,
    ) -> Result<Prepared, KeyringError> {
        let owner = KeyringOwner::Developer { package, name: name.to_owned() };
        let found = self.0.parts.store.read(|tables| {
            let Some(id) = tables.keyring_of(&owner)? else { return Ok(None) };
            Ok(tables.envelope(id.0)?.map(|it| (id, it)))
        })?;
        let before = found.map(|(id, envelope)| self.open(id, &envelope)).transpose()?;
        let (secret, is_client) =
            merge_developer(before.as_ref(), given).map_err(KeyringError::Invalid)?;
        self.check_declared_by_developer(package, name, is_client)?;
        let type_id = if is_client { OAUTH_CLIENT } else { PLAIN[0] };
        let record = new_record(owner, type_id.to_owned(), by);
        Ok(Prepared { record, version: None, secret: KeyringSecret::Plain { secret } })
    }

    /// Refuses a name that is none of those that versions of the package declare, and a text where a
    /// version wants a client of OAuth2. A package that declares none yet may be given its keyrings
    /// beforehand.
    fn check_declared_by_developer(
        &self,
        package: PackageId,
        name: &str,
        is_client: bool,
    ) -> Result<(), KeyringError> {
        let mut declared = BTreeSet::new();
        let mut wants_client = false;
        let mut from = None;
        loop {
            let page = PageRequest { from, limit: usize::MAX, newest_first: false };
            let page =
                self.0.parts.store.read(|tables| tables.list_versions(Some(package), page))?;
            for (_, version) in page.rows {
                let manifest = version.manifest;
                if let Some(found) = manifest.developer_keyring(name) {
                    // The newest that declares it says what it is.
                    wants_client = found.types.iter().any(|it| it.contains("oauth"))
                        || manifest
                            .keyring_types
                            .iter()
                            .any(|it| it.oauth_secret.as_deref() == Some(name));
                }
                declared.extend(manifest.developer_keyrings.into_iter().map(|it| it.name));
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        if declared.is_empty() {
            return Ok(());
        }
        if !declared.contains(name) {
            let (name, declared) = (name.to_owned(), declared.into_iter().collect());
            return Err(KeyringError::NoSuchKeyring { name, declared });
        }
        if wants_client && !is_client {
            let message = "is to be a client of OAuth2: send `client_id` and `client_secret`";
            return Err(KeyringError::Invalid(vec![Problem {
                field: "secret".to_owned(),
                message: message.to_owned(),
                allowed: vec!["client_id".to_owned(), "client_secret".to_owned()],
            }]));
        }
        Ok(())
    }

    /// Stores what was prepared, and binds it to its owner.
    pub async fn commit(
        &self,
        prepared: Prepared,
    ) -> Result<(KeyringId, KeyringRecord), KeyringError> {
        let Prepared { record, version, secret } = prepared;
        let owner = record.owner.clone();
        let vault = self.0.parts.vault.clone();
        let bytes = secret.to_bytes();
        let setting = self.0.parts.store.write(move |tables| {
            tables.set_keyring(&record, version, &|id| vault.seal(id, &bytes))
        });
        match setting.await? {
            KeyringSetting::Set(id, record) => {
                self.0.attempts.forget(id);
                self.set_waiting(&owner, id, false);
                self.0.changed.notify_one();
                self.changed(&owner)?;
                Ok((id, *record))
            }
            KeyringSetting::NoSuchOwner => Err(match owner {
                KeyringOwner::Developer { package, .. } => KeyringError::NoSuchPackage(package),
                KeyringOwner::SnapIn { snap_in, .. } | KeyringOwner::User { snap_in, .. } => {
                    KeyringError::NoSuchSnapIn(snap_in)
                }
            }),
            KeyringSetting::NotNow(state) => Err(KeyringError::NotNow(state.name())),
            KeyringSetting::OtherVersion => Err(KeyringError::OtherVersion),
        }
    }

    /// Removes a keyring with its secret. A connection is given up at the external system before, if
    /// that can be done.
    pub async fn remove(&self, owner: KeyringOwner) -> Result<KeyringId, KeyringError> {
        self.give_up_if_possible(&owner).await;
        let asked = owner.clone();
        let removal = self.0.parts.store.write(move |tables| tables.remove_keyring(&asked));
        match removal.await? {
            KeyringRemoval::Removed(id) => {
                self.0.attempts.forget(id);
                self.set_waiting(&owner, id, false);
                self.changed(&owner)?;
                Ok(id)
            }
            KeyringRemoval::NoSuchKeyring => Err(super::no_such_keyring(&owner)),
            KeyringRemoval::NotNow(state) => Err(KeyringError::NotNow(state.name())),
        }
    }

    /// Forgets what is kept in memory of an owner.
    fn changed(&self, owner: &KeyringOwner) -> Result<(), KeyringError> {
        match owner.snap_in() {
            Some(snap_in) => self.0.parts.contexts.forget(snap_in),
            None => self.read_developer_keyrings()?,
        }
        self.0.secrets.send_replace(());
        Ok(())
    }

    /// What is stored for a keyring.
    pub(super) fn whole(
        &self,
        located: &Located,
    ) -> Result<Option<(KeyringId, KeyringRecord, KeyringSecret)>, KeyringError> {
        let Some((id, _)) = located.found else { return Ok(None) };
        let found = self.0.parts.store.read(|tables| tables.keyring_with_envelope(id))?;
        let Some((record, envelope)) = found else { return Ok(None) };
        Ok(Some((id, record, self.open(id, &envelope)?)))
    }

    /// Which secret a keyring has.
    pub(super) fn generation(&self, id: KeyringId) -> Result<Option<u64>, KeyringError> {
        let record = self.0.parts.store.read(|tables| tables.keyring(id))?;
        Ok(record.map(|it| it.generation))
    }
}

/// The type that is meant: the one that is named, or the only one of its kind.
pub(super) fn choose(
    located: &Located,
    asked: Option<&str>,
    oauth2: bool,
) -> Result<ConnectionType, KeyringError> {
    let Some(declared) = &located.declared else {
        let message = "the version does not declare this keyring".to_owned();
        return Err(KeyringError::WrongType { message, allowed: Vec::new() });
    };
    let mut types = located.types();
    let wrong =
        |message: String| KeyringError::WrongType { message, allowed: declared.types.clone() };
    if let Some(asked) = asked {
        let place = declared.types.iter().position(|it| it == asked);
        let place = place.ok_or_else(|| wrong(format!("the keyring is never a `{asked}`")))?;
        return Ok(types.swap_remove(place)?);
    }
    if types.len() == 1 {
        return Ok(types.swap_remove(0)?);
    }
    let mut fitting: Vec<_> =
        types.into_iter().flatten().filter(|it| it.is_oauth2() == oauth2).collect();
    let present = located.found.as_ref().map(|(_, record)| record.type_id.as_str());
    if let Some(place) = fitting.iter().position(|it| Some(it.id.as_str()) == present) {
        return Ok(fitting.swap_remove(place));
    }
    match fitting.len() {
        1 => Ok(fitting.swap_remove(0)),
        _ => Err(wrong("the keyring may be of several types: name one as `type`".to_owned())),
    }
}

/// What is stored of what was typed in: all of it, or what the type's program makes of it.
async fn transform(
    config: &SecretConfig,
    input: Value,
    as_it_is: SecretText,
) -> Result<SecretText, KeyringError> {
    let Some(program) = &config.secret_transform else { return Ok(as_it_is) };
    match jq::run("secret_transform", program, &input).await? {
        Value::String(text) if !text.is_empty() => Ok(text.into()),
        made @ (Value::Object(_) | Value::Array(_) | Value::Number(_)) => {
            Ok(made.to_string().into())
        }
        Value::String(_) | Value::Null | Value::Bool(_) => {
            let message = "`secret_transform` makes no text of it: is a field missing or empty?";
            Err(KeyringError::Program(message.to_owned()))
        }
    }
}

/// `[SUBDOMAIN]`: what was sent, else what is stored.
pub(super) fn subdomain(
    connection: &ConnectionType,
    given: Option<String>,
    before: Option<&KeyringRecord>,
) -> Result<Option<String>, KeyringError> {
    let given = given.filter(|it| !it.is_empty());
    if !connection.is_subdomain {
        return match given {
            None => Ok(None),
            Some(_) => Err(KeyringError::Subdomain(format!(
                "the keyring type `{}` takes no subdomain",
                connection.id
            ))),
        };
    }
    let Some(text) = given.or_else(|| before.and_then(|it| it.subdomain.clone())) else {
        return Err(KeyringError::Subdomain(format!(
            "the keyring type `{}` needs a subdomain, such as `acme` of acme.example.com",
            connection.id
        )));
    };
    if !verification::is_subdomain(&text) {
        let message = "the subdomain is none: expected letters, digits, `-` and `.` only, such as \
                       `acme` of acme.example.com";
        return Err(KeyringError::Subdomain(message.to_owned()));
    }
    Ok(Some(text.to_ascii_lowercase()))
}

/// The URLs at which the snap-in's event sources are registered with a keyring.
fn registrations(located: &Located) -> Vec<&str> {
    let sources = &located.version.manifest.event_sources;
    let registrations = sources.iter().filter_map(|it| it.registration.as_ref());
    let with_it = registrations.filter(|it| it.keyring.as_deref() == Some(located.owner.name()));
    with_it
        .flat_map(|it| [Some(&it.register), it.unregister.as_ref()])
        .flatten()
        .map(|it| it.url.as_str())
        .collect()
}

fn field_names(secret: &KeyringSecret) -> Vec<String> {
    match secret {
        KeyringSecret::Fields { fields, .. } => fields.keys().cloned().collect(),
        KeyringSecret::Plain { .. } | KeyringSecret::Tokens(_) => Vec::new(),
    }
}

/// A record with what every kind of keyring has; the rest is for the store to fill.
pub(super) fn new_record(owner: KeyringOwner, type_id: String, by: String) -> KeyringRecord {
    KeyringRecord {
        owner,
        type_id,
        state: KeyringState::Ready,
        subdomain: None,
        organization: None,
        expires_ms: None,
        refreshable: false,
        scopes: Vec::new(),
        verified: false,
        fields: Vec::new(),
        generation: 0,
        created_ms: 0,
        changed_ms: 0,
        set_ms: 0,
        changed_by: by,
    }
}
