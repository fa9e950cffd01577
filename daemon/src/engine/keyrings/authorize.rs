//! Connections of OAuth2: sending somebody to the external system, and taking him back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::change::{choose, new_record, subdomain};
use super::verify;
use super::{KeyringError, Keyrings, Prepared};
use crate::connections::change::{Client, client};
use crate::connections::oauth::{self, Grant, RefusalKind};
use crate::connections::placeholders::Values;
use crate::connections::request::excerpt;
use crate::connections::secret::{KeyringSecret, SecretText};
use crate::connections::types::{ConnectionKind, ConnectionType, Oauth2};
use crate::model::id::{PackageId, VersionId};
use crate::model::keyring::{ExternalOrganization, KeyringOwner};
use crate::random::secret_text;
use crate::store::{AuthorizationRecord, BegunAuthorization, KeyringRecord};

/// How long somebody may take at the external system.
const PATIENCE_MS: u64 = 10 * 60 * 1000;

/// A connection that somebody wants.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// For whom; not the developer.
    pub owner: KeyringOwner,
    /// The version that declares it; the present one when absent.
    pub version: Option<VersionId>,
    /// Id of a type, when there are several.
    pub type_id: Option<String>,
    /// `[SUBDOMAIN]`.
    pub subdomain: Option<String>,
    /// Id or name of the organization, when there may be several.
    pub organization: Option<String>,
    /// What to ask for; all that the type lists when absent.
    pub scopes: Option<Vec<String>>,
    /// Name of the principal.
    pub by: String,
}

/// Where to send somebody.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The page of the external system.
    pub authorize_url: String,
    /// Until when he has to be back, milliseconds of the Unix epoch.
    pub expires_ms: u64,
}

/// What somebody comes back with (RFC 6749 §4.1.2).
#[derive(Clone, Debug, Default)]
pub struct Return {
    /// Ours.
    pub state: Option<String>,
    /// The proof that access was granted.
    pub code: Option<SecretText>,
    /// Why it was not.
    pub error: Option<String>,
    /// The same, for people.
    pub error_description: Option<String>,
    /// `iss`: who says so (RFC 9207).
    pub issuer: Option<String>,
}

/// An authorization that somebody has come back for.
#[derive(Clone, Debug)]
pub struct Awaited {
    /// Whose keyring it is for.
    pub owner: KeyringOwner,
    /// Who began it.
    pub by: String,
}

/// A connection that was granted and is not stored yet.
#[derive(Debug)]
pub struct Granted {
    /// To be committed, or else to be given up.
    pub prepared: Prepared,
    /// To be dropped when it is committed, or will not be.
    pub guard: ReturnGuard,
}

/// Who is back from an external system, and being taken in: he is still awaited by those who look.
#[derive(Debug, Default)]
pub(super) struct Returning(Arc<Mutex<HashMap<KeyringOwner, u64>>>);

/// While it is there, somebody is being taken in.
#[derive(Debug)]
pub struct ReturnGuard {
    all: Arc<Mutex<HashMap<KeyringOwner, u64>>>,
    owner: KeyringOwner,
}

impl Keyrings {
    /// Begins an authorization: the answer's page is for a person, who comes back to the redirect
    /// URI. Nothing that is stored of the keyring changes before that.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Begun, KeyringError> {
        let located = self.locate_for(request.owner.clone(), request.version)?;
        if located.snap_in.state.is_transitory() {
            return Err(KeyringError::NotNow(located.snap_in.state.name()));
        }
        let connection = choose(&located, request.type_id.as_deref(), true)?;
        self.refuse_if_in_use(&located, &connection)?;
        let oauth2 = oauth2_of(&connection)?;
        let client = self.client(located.snap_in.package, &oauth2.client)?;
        let before = located.found.as_ref().map(|(_, record)| record);
        let subdomain = subdomain(&connection, request.subdomain, before)?;
        let scopes = scopes(oauth2, request.scopes)?;
        let values = Values::default()
            .with_client(&client.id, client.secret.as_ref())
            .with_scopes(&scopes.join(&oauth2.scope_delimiter))
            .with_subdomain(subdomain.as_deref());
        let (state, verifier) = (secret_text(), Zeroizing::new(secret_text()));
        let redirect_uri = &self.0.parts.redirect_uri;
        let authorize_url = oauth::authorize_url(oauth2, &values, redirect_uri, &state, &verifier)
            .map_err(|error| KeyringError::Request(error.to_string()))?;
        let expires_ms = self.0.parts.clock.now_ms() + PATIENCE_MS;
        let record = AuthorizationRecord {
            owner: request.owner,
            version: request.version.unwrap_or(located.snap_in.version),
            is_for_upgrade: request.version.is_some(),
            type_id: connection.id.clone(),
            subdomain,
            organization: request.organization,
            scopes,
            redirect_uri: redirect_uri.clone(),
            // The store's.
            envelope: crate::model::id::KeyringId(0),
            expires_ms,
            begun_by: request.by,
        };
        let vault = self.0.parts.vault.clone();
        let begin = self.0.parts.store.write(move |tables| {
            tables.begin_authorization(&state, &record, &|id| vault.seal(id, verifier.as_bytes()))
        });
        begin.await?;
        Ok(Begun { authorize_url, expires_ms })
    }

    /// What somebody has come back for. It is still under way then: he may come again.
    pub fn awaited(&self, back: &Return) -> Result<Awaited, KeyringError> {
        let state = back.state.as_deref().filter(|it| !it.is_empty());
        let state = state.ok_or(KeyringError::UnknownState)?;
        let now_ms = self.0.parts.clock.now_ms();
        let found = self.0.parts.store.read(|tables| tables.authorization(state, now_ms))?;
        let AuthorizationRecord { owner, begun_by, .. } =
            found.ok_or(KeyringError::UnknownState)?;
        Ok(Awaited { owner, by: begun_by })
    }

    /// Takes somebody back whom [`Keyrings::awaited`] knows, when the keyring can be changed: each
    /// `state` is good for this once, and so is the code.
    pub async fn granted(&self, back: Return) -> Result<Granted, KeyringError> {
        let state = back.state.ok_or(KeyringError::UnknownState)?;
        let taken = self.0.parts.store.write(move |tables| tables.take_authorization(&state));
        let BegunAuthorization { record, sealed } =
            taken.await?.ok_or(KeyringError::UnknownState)?;
        let guard = self.0.returning.begin(&record.owner, record.expires_ms);
        let verifier = self.0.parts.vault.open(record.envelope.0, &sealed)?;
        let verifier: SecretText =
            std::str::from_utf8(&verifier).map_err(|_| KeyringError::UnknownState)?.into();
        if let Some(error) = back.error {
            let described = back.error_description.unwrap_or_default();
            let said = excerpt(format!("{error} {described}").as_bytes(), &[]);
            return Err(KeyringError::NotGranted(said));
        }
        let code = back.code.ok_or_else(|| {
            KeyringError::NotGranted("it sent neither a code nor an error".to_owned())
        })?;
        let prepared = self.exchange_code(record, code, verifier, back.issuer).await?;
        Ok(Granted { prepared, guard })
    }

    async fn exchange_code(
        &self,
        begun: AuthorizationRecord,
        code: SecretText,
        verifier: SecretText,
        issuer: Option<String>,
    ) -> Result<Prepared, KeyringError> {
        let located = self.locate_for(begun.owner.clone(), Some(begun.version))?;
        if located.snap_in.version != begun.version && !begun.is_for_upgrade {
            return Err(KeyringError::OtherVersion);
        }
        let connection = choose(&located, Some(&begun.type_id), true)?;
        self.refuse_if_in_use(&located, &connection)?;
        let oauth2 = oauth2_of(&connection)?;
        let client = self.client(located.snap_in.package, &oauth2.client)?;
        let values = Values::default()
            .with_client(&client.id, client.secret.as_ref())
            .with_scopes(&begun.scopes.join(&oauth2.scope_delimiter))
            .with_subdomain(begun.subdomain.as_deref());
        if issuer.is_some_and(|it| !oauth::is_issuer(oauth2, &values, &it)) {
            let message = "another server than the one that he was sent to says that it was";
            return Err(KeyringError::NotGranted(message.to_owned()));
        }
        let request =
            oauth::token_request(oauth2, &values, &client, &begun.redirect_uri, &code, &verifier)
                .map_err(|error| KeyringError::Request(error.to_string()))?;
        let mut secrets = values.secrets();
        secrets.extend([code.reveal(), verifier.reveal()]);
        let Grant { tokens, expires_in, scopes } =
            self.ask_token_endpoint(request, &secrets).await?;
        let secret = KeyringSecret::Tokens(tokens);
        let record = KeyringRecord {
            subdomain: begun.subdomain,
            expires_ms: self.expiry(expires_in),
            refreshable: is_refreshable(&secret),
            scopes: scopes.unwrap_or(begun.scopes),
            verified: true,
            ..new_record(begun.owner, connection.id.clone(), begun.begun_by)
        };
        let values = verify::values(&secret, record.subdomain.as_deref(), None)
            .with_client(&client.id, client.secret.as_ref());
        let mut prepared = Prepared { record, version: Some(located.snap_in.version), secret };
        let kept = located.found.as_ref().and_then(|(_, it)| it.organization.as_ref());
        let asked = begun.organization.as_deref();
        let kept = kept.map(|it| it.id.as_str());
        match self.try_granted(&connection, values, asked, kept).await {
            Ok(found) => {
                prepared.record.organization = found;
                Ok(prepared)
            }
            Err(error) => {
                self.discard(prepared).await;
                Err(error)
            }
        }
    }

    async fn try_granted(
        &self,
        connection: &ConnectionType,
        values: Values,
        asked: Option<&str>,
        kept: Option<&str>,
    ) -> Result<Option<ExternalOrganization>, KeyringError> {
        let found = self.find_organization(connection, &values, asked, kept).await?;
        let id = found.as_ref().map(|it| it.id.as_str());
        self.try_secret(connection, &values.with_organization(id)).await?;
        Ok(found)
    }

    /// Asks the token endpoint for somebody who waits: whatever it refuses, he begins again.
    async fn ask_token_endpoint(
        &self,
        request: crate::connections::request::Request,
        secrets: &[&str],
    ) -> Result<Grant, KeyringError> {
        let answer = match self.exchange(request).await {
            Ok(answer) => answer,
            Err(nothing) if nothing.is_transient => {
                return Err(KeyringError::Unreachable(nothing.message));
            }
            Err(nothing) => return Err(KeyringError::Request(nothing.message)),
        };
        let retry_after = answer.retry_after();
        oauth::read_grant(answer.status, retry_after, &answer.body, secrets).map_err(|refusal| {
            let message = format!("{} {}", answer.whereabouts, refusal.message);
            match refusal.kind {
                RefusalKind::Transient { .. } => KeyringError::Unreachable(message),
                RefusalKind::Permanent | RefusalKind::Unclear => KeyringError::Rejected(message),
            }
        })
    }

    /// When a token expires that was given now, milliseconds of the Unix epoch.
    pub(super) fn expiry(&self, expires_in: Option<u64>) -> Option<u64> {
        let now_ms = self.0.parts.clock.now_ms();
        expires_in.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Values with the client of OAuth2 of a type that has one. Without it they are as they were:
    /// few requests mention it, and those say that it is missing.
    pub(super) fn with_client(
        &self,
        values: Values,
        connection: &ConnectionType,
        package: PackageId,
    ) -> Result<Values, KeyringError> {
        let ConnectionKind::Oauth2(oauth2) = &connection.kind else { return Ok(values) };
        match self.client(package, &oauth2.client) {
            Ok(client) => Ok(values.with_client(&client.id, client.secret.as_ref())),
            Err(KeyringError::NoClient { .. }) => Ok(values),
            Err(error) => Err(error),
        }
    }

    /// The client of OAuth2 that the developer of a package provides.
    pub(super) fn client(&self, package: PackageId, name: &str) -> Result<Client, KeyringError> {
        let id = self.developer_keyrings(package).get(name).copied();
        let envelope = match id {
            Some(id) => self.0.parts.store.read(|tables| tables.envelope(id.0))?.map(|it| (id, it)),
            None => None,
        };
        let Some((id, envelope)) = envelope else {
            return Err(KeyringError::NoClient {
                name: name.to_owned(),
                why: "it was not set".to_owned(),
                package,
            });
        };
        let secret = self.open(id, &envelope)?;
        client(secret.for_functions()).map_err(|why| KeyringError::NoClient {
            name: name.to_owned(),
            why,
            package,
        })
    }
}

impl Returning {
    /// Somebody is back until the guard is dropped.
    fn begin(&self, owner: &KeyringOwner, until_ms: u64) -> ReturnGuard {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(owner.clone(), until_ms);
        ReturnGuard { all: self.0.clone(), owner: owner.clone() }
    }

    pub(super) fn until_ms(&self, owner: &KeyringOwner) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(owner).copied()
    }
}

impl Drop for ReturnGuard {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.owner);
    }
}

pub(super) fn is_refreshable(secret: &KeyringSecret) -> bool {
    matches!(secret, KeyringSecret::Tokens(tokens) if tokens.refresh_token.is_some())
}

pub(super) fn oauth2_of(connection: &ConnectionType) -> Result<&Oauth2, KeyringError> {
    match &connection.kind {
        ConnectionKind::Oauth2(oauth2) => Ok(oauth2),
        ConnectionKind::Secret(_) => Err(KeyringError::WrongType {
            message: format!("`{}` is a secret: set it instead", connection.id),
            allowed: Vec::new(),
        }),
    }
}

/// What to ask for: all that the type lists, or some of it by value or name.
fn scopes(oauth2: &Oauth2, asked: Option<Vec<String>>) -> Result<Vec<String>, KeyringError> {
    let known: BTreeMap<&str, &str> = oauth2
        .scopes
        .iter()
        .flat_map(|it| {
            let by_name = it.name.as_deref().map(|name| (name, it.value.as_str()));
            by_name.into_iter().chain([(it.value.as_str(), it.value.as_str())])
        })
        .collect();
    let Some(asked) = asked else {
        return Ok(oauth2.scopes.iter().map(|it| it.value.clone()).collect());
    };
    let mut scopes = Vec::with_capacity(asked.len());
    for scope in asked {
        match known.get(scope.as_str()) {
            Some(value) => scopes.push((*value).to_owned()),
            None => {
                return Err(KeyringError::Scope {
                    asked: scope.chars().take(100).collect(),
                    known: oauth2.scopes.iter().map(|it| it.value.clone()).collect(),
                });
            }
        }
    }
    Ok(scopes)
}
