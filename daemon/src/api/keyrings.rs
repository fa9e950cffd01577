//! `keyrings.*`: secrets and connections of snap-ins. What is answered is a view ([`keyring_view`])
//! without secrets, and no error quotes what was sent.
//!
//! [`keyring_view`]: super::keyring_view

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::error::{ApiError, Code};
use super::keyring_view::{Keyring, NOBODY, keyring};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Right};
use super::snap_ins;
use super::user_level::{person, person_or_new};
use super::{Api, extent};
use crate::connections::change::{Given, Problem};
use crate::connections::secret::SecretText;
use crate::engine::keyrings::{Begun, ConnectRequest, KeyringError, SetRequest};
use crate::model::id::{KeyringId, VersionId};
use crate::model::keyring::KeyringOwner;
use crate::model::manifest::Level;

#[derive(Serialize, JsonSchema)]
pub(super) struct OneKeyring {
    keyring: Keyring,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyKeyrings {
    keyrings: Vec<Keyring>,
    next_cursor: Option<String>,
}

/// Names one keyring.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "KeyringsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or scope.
    snap_in: String,
    /// Name in the manifest.
    name: String,
    /// Id or name of the user, for a keyring of the user level; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
}

/// Names one keyring to look at.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Looked {
    /// Id or scope.
    snap_in: String,
    /// Name in the manifest.
    name: String,
    /// Id or name of the user, for a keyring of the user level; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
    /// Id of another version of the package, which declares it: for an upgrade.
    #[serde(default)]
    version: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "KeyringsSet")]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    /// Id or scope.
    snap_in: String,
    /// Name in the manifest.
    name: String,
    /// Id or name of the user, for a keyring of the user level; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
    /// Id of another version of the package, which declares it: for an upgrade.
    #[serde(default)]
    version: Option<String>,
    /// Id of a type, when the keyring may be of several.
    #[serde(default, rename = "type")]
    type_id: Option<String>,
    /// The secret, for a type without fields.
    #[serde(default, deserialize_with = "quietly")]
    #[schemars(with = "Option<String>")]
    secret: Sent,
    /// A value for each field; null takes one away.
    #[serde(default, deserialize_with = "quietly")]
    #[schemars(with = "Option<BTreeMap<String, Option<String>>>")]
    fields: Sent,
    /// For types that ask for one: `acme` of `acme.example.com`.
    #[serde(default)]
    subdomain: Option<String>,
    /// Id of the organization at the external system, when the secret is good for several.
    #[serde(default)]
    organization: Option<String>,
    /// Take it without asking the external system.
    #[serde(default)]
    skip_verification: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Connect {
    /// Id or scope.
    snap_in: String,
    /// Name in the manifest.
    name: String,
    /// Id or name of the user, for a keyring of the user level; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
    /// Id of another version of the package, which declares it: for an upgrade.
    #[serde(default)]
    version: Option<String>,
    /// Id of a type, when the keyring may be of several.
    #[serde(default, rename = "type")]
    type_id: Option<String>,
    /// For types that ask for one: `acme` of `acme.example.com`.
    #[serde(default)]
    subdomain: Option<String>,
    /// Id or name of the organization at the external system, when there may be several.
    #[serde(default)]
    organization: Option<String>,
    /// What to ask for, by value or name; all that the type lists when absent.
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

/// Where to grant access.
#[derive(Serialize, JsonSchema)]
pub(super) struct Connecting {
    keyring: Keyring,
    /// The page of the external system, for a person's browser.
    authorize_url: String,
    /// Until when he has to be back.
    expires_date: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "KeyringsList")]
pub(super) struct List {
    /// Id or scope: all that this snap-in declares, also what is missing. Without it, all that are
    /// set on this host.
    #[serde(default)]
    snap_in: Option<String>,
    /// With `snap_in`: also those of this user, by id or name.
    #[serde(default)]
    user: Option<String>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

/// A secret as it was sent. Errors of serde quote what they do not like, so it reads anything.
#[derive(Default)]
pub(super) struct Sent(Value);

pub(super) fn quietly<'de, D: Deserializer<'de>>(from: D) -> Result<Sent, D::Error> {
    Value::deserialize(from).map(Sent)
}

impl Sent {
    /// A text, if there is one.
    pub(super) fn text(self, field: &str) -> Result<Option<SecretText>, ApiError> {
        match self.0 {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.into())),
            _ => Err(ApiError::field(field, format!("{field} is no text"))),
        }
    }

    fn fields(self) -> Result<Option<BTreeMap<String, Option<SecretText>>>, ApiError> {
        let members = match self.0 {
            Value::Null => return Ok(None),
            Value::Object(members) => members,
            _ => return Err(ApiError::field("fields", "fields is no object of texts")),
        };
        let mut fields = BTreeMap::new();
        for (id, value) in members {
            let text = Sent(value).text(&format!("fields.{id}"))?;
            fields.insert(id, text);
        }
        Ok(Some(fields))
    }
}

impl From<KeyringError> for ApiError {
    fn from(error: KeyringError) -> ApiError {
        let message = error.to_string();
        match error {
            KeyringError::NoSuchSnapIn(_) | KeyringError::NoSuchPackage(_) => {
                ApiError::new(Code::NotFound, message)
            }
            KeyringError::NoSuchVersion(_) => ApiError::field("version", message),
            KeyringError::NoSuchKeyring { declared, .. } => {
                let declared: Vec<_> = declared.iter().map(String::as_str).collect();
                ApiError::new(Code::NotFound, message).allowing(&declared)
            }
            KeyringError::NotSet(_)
            | KeyringError::NotNow(_)
            | KeyringError::OtherVersion
            | KeyringError::NothingToAsk(_)
            | KeyringError::Gone
            | KeyringError::Broken { .. } => ApiError::new(Code::Conflict, message),
            KeyringError::Type(_) => ApiError::new(Code::Invalid, message),
            KeyringError::WrongType { allowed, .. } => {
                let allowed: Vec<_> = allowed.iter().map(String::as_str).collect();
                ApiError::field("type", message).allowing(&allowed)
            }
            KeyringError::Invalid(problems) => {
                let problems: Vec<_> = problems.into_iter().map(Finding::from).collect();
                let field = problems.first().map(|it| it.field.clone()).unwrap_or_default();
                ApiError::field(&field, message).listing("problems", &problems)
            }
            KeyringError::UnknownState => ApiError::new(Code::NotFound, message),
            KeyringError::NoClient { .. } => ApiError::new(Code::NotReady, message),
            KeyringError::NotGranted(_) => ApiError::new(Code::Invalid, message),
            KeyringError::Scope { known, .. } => {
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                ApiError::field("scopes", message).allowing(&known)
            }
            KeyringError::Subdomain(_) => ApiError::field("subdomain", message),
            KeyringError::Request(_) | KeyringError::Program(_) | KeyringError::Rejected(_) => {
                ApiError::new(Code::Invalid, message)
            }
            KeyringError::Unreachable(_) | KeyringError::NotRenewed { .. } => {
                ApiError::new(Code::Unavailable, message)
            }
            KeyringError::Organization(found) => {
                let ids: Vec<_> = found.iter().map(|it| it.id.as_str()).collect();
                ApiError::field("organization", message)
                    .allowing(&ids)
                    .listing("organizations", &found)
            }
            KeyringError::Vault(_) => {
                tracing::error!(error = message, "a keyring cannot be opened");
                ApiError::new(Code::Internal, message)
            }
            KeyringError::Store(error) => error.into(),
        }
    }
}

/// Something that is wrong with a secret that was sent.
#[derive(Serialize)]
struct Finding {
    field: String,
    message: String,
    allowed: Vec<String>,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Finding {
        let Problem { field, message, allowed } = problem;
        Finding { field, message, allowed }
    }
}

/// What somebody wants with a keyring.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To look at it.
    Look,
    /// To do something to it, which needs a right of its own when it is shared.
    Change,
    /// The same, also when nobody has heard of the user yet.
    Set,
}

/// Whose keyring is meant: the snap-in's, or for one of the user level that of `user`, who is the
/// caller himself when nobody is named.
async fn owner(
    api: &Api,
    caller: &Caller,
    which: Which,
    purpose: Purpose,
) -> Result<KeyringOwner, ApiError> {
    owner_for(api, caller, which, None, purpose).await
}

/// The same, as another version declares the keyring.
async fn owner_for(
    api: &Api,
    caller: &Caller,
    which: Which,
    version: Option<VersionId>,
    purpose: Purpose,
) -> Result<KeyringOwner, ApiError> {
    let Which { snap_in, name, user } = which;
    let (snap_in, record) = snap_ins::find(api, caller, &snap_in)?;
    let version = api.keyrings.version_for(snap_in, &record, version)?;
    let level = version.manifest.keyring(&name).map(|it| it.level);
    let is_personal = match level {
        Some(level) => level == Level::User,
        // Only a version of before has it, if any.
        None => user.is_some(),
    };
    if !is_personal {
        if user.is_some() {
            let message = format!("the keyring `{name}` is shared by all users: leave `user` out");
            return Err(ApiError::field("user", message));
        }
        let may = caller.principal.reach(Right::WriteSnapIns).is_some();
        if purpose != Purpose::Look && !may {
            let message = format!(
                "the keyring `{name}` is shared by all users: to change it needs the right `{}`",
                Right::WriteSnapIns.name()
            );
            return Err(ApiError::new(Code::Forbidden, message));
        }
        return Ok(KeyringOwner::SnapIn { snap_in, name });
    }
    let user = match purpose {
        Purpose::Set => person_or_new(api, caller, user.as_deref()).await?.0,
        Purpose::Change => person(api, caller, user.as_deref())?.0,
        Purpose::Look => match person(api, caller, user.as_deref()) {
            Ok((user, _)) => user,
            // Nobody has heard of him, so he has set nothing.
            Err(error) if error.code() == Code::NotFound => NOBODY,
            Err(error) => return Err(error),
        },
    };
    Ok(KeyringOwner::User { snap_in, user, name })
}

fn one(api: &Api, owner: KeyringOwner) -> Result<OneKeyring, ApiError> {
    one_for(api, owner, None)
}

fn one_for(
    api: &Api,
    owner: KeyringOwner,
    version: Option<VersionId>,
) -> Result<OneKeyring, ApiError> {
    Ok(OneKeyring { keyring: keyring(api.keyrings.locate_for(owner, version)?) })
}

/// The version that somebody named.
fn named(version: Option<&str>) -> Result<Option<VersionId>, ApiError> {
    version.map(|it| parse_id("version", it)).transpose()
}

pub(super) async fn set(api: Arc<Api>, caller: Caller, set: Set) -> Result<OneKeyring, ApiError> {
    let version = named(set.version.as_deref())?;
    let which = Which { snap_in: set.snap_in, name: set.name, user: set.user };
    let owner = owner_for(&api, &caller, which, version, Purpose::Set).await?;
    let given = match (set.secret.text("secret")?, set.fields.fields()?) {
        (Some(secret), None) => Given::Secret(secret),
        (None, Some(fields)) => Given::Fields(fields),
        (Some(_), Some(_)) | (None, None) => {
            let message = "send either `secret` or `fields`";
            return Err(ApiError::field("secret", message).allowing(&["secret", "fields"]));
        }
    };
    let request = SetRequest {
        owner: owner.clone(),
        version,
        type_id: set.type_id,
        given,
        subdomain: set.subdomain,
        organization: set.organization,
        skip_verification: set.skip_verification,
        by: caller.principal.name(),
    };
    api.operations.set_keyring(&caller.asker(), request).await?;
    one_for(&api, owner, version)
}

pub(super) async fn connect(
    api: Arc<Api>,
    caller: Caller,
    connect: Connect,
) -> Result<Connecting, ApiError> {
    let version = named(connect.version.as_deref())?;
    let which = Which { snap_in: connect.snap_in, name: connect.name, user: connect.user };
    let owner = owner_for(&api, &caller, which, version, Purpose::Set).await?;
    let request = ConnectRequest {
        owner: owner.clone(),
        version,
        type_id: connect.type_id,
        subdomain: connect.subdomain,
        organization: connect.organization,
        scopes: connect.scopes,
        by: caller.principal.name(),
    };
    let Begun { authorize_url, expires_ms } = api.keyrings.connect(request).await?;
    let OneKeyring { keyring } = one_for(&api, owner, version)?;
    Ok(Connecting { keyring, authorize_url, expires_date: time(expires_ms) })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    looked: Looked,
) -> Result<OneKeyring, ApiError> {
    let version = named(looked.version.as_deref())?;
    let which = Which { snap_in: looked.snap_in, name: looked.name, user: looked.user };
    let owner = owner_for(&api, &caller, which, version, Purpose::Look).await?;
    one_for(&api, owner, version)
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyKeyrings, ApiError> {
    let wanted = |state: &str| match &list.state {
        Some(wanted) => wanted.eq_ignore_ascii_case(state),
        None => true,
    };
    if let Some(text) = &list.snap_in {
        let (snap_in, _) = snap_ins::find(&api, &caller, text)?;
        let user = match list.user.as_deref() {
            Some(user) => Some(person(&api, &caller, Some(user))?.0),
            None => None,
        };
        let all = api.keyrings.list(snap_in, user)?.into_iter().map(keyring);
        let keyrings = all.filter(|it| wanted(it.state)).collect();
        return Ok(ManyKeyrings { keyrings, next_cursor: None });
    }
    let extent = extent::of_list(&api, &caller, None, list.scope.as_deref())?;
    let page = list.paging.oldest_first()?;
    let page = api.services.store.read(|tables| {
        tables.list_keyrings(page, |record| {
            record.owner.snap_in().is_some_and(|it| extent.has(it)) && wanted(record.state.name())
        })
    })?;
    let mut keyrings = Vec::with_capacity(page.rows.len());
    for (_, record) in page.rows {
        match api.keyrings.locate(record.owner) {
            Ok(located) => keyrings.push(keyring(located)),
            // It was deleted meanwhile.
            Err(KeyringError::NoSuchKeyring { .. } | KeyringError::NoSuchSnapIn(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ManyKeyrings { keyrings, next_cursor: cursor(page.next) })
}

/// A keyring after it was tried.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tried {
    keyring: Keyring,
    /// What the external system said, when it does not take the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(super) async fn verify(api: Arc<Api>, caller: Caller, which: Which) -> Result<Tried, ApiError> {
    let owner = owner(&api, &caller, which, Purpose::Change).await?;
    let problem = api.keyrings.verify(owner.clone()).await?;
    let OneKeyring { keyring } = one(&api, owner)?;
    Ok(Tried { keyring, problem })
}

pub(super) async fn refresh(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneKeyring, ApiError> {
    let owner = owner(&api, &caller, which, Purpose::Change).await?;
    api.keyrings.refresh(owner.clone()).await?;
    one(&api, owner)
}

pub(super) async fn revoke(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneKeyring, ApiError> {
    let owner = owner(&api, &caller, which, Purpose::Change).await?;
    api.keyrings.revoke(owner.clone(), &caller.principal.name()).await?;
    one(&api, owner)
}

/// The id of a keyring that was deleted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyringsDeleted")]
pub(super) struct Deleted {
    pub(super) id: String,
}

pub(super) async fn delete(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<Deleted, ApiError> {
    let owner = owner(&api, &caller, which, Purpose::Change).await?;
    // A name that is not declared is a mistake; one that is not set has nothing to delete.
    api.keyrings.locate(owner.clone())?;
    let id: KeyringId = api.operations.remove_keyring(&caller.asker(), owner).await?;
    Ok(Deleted { id: id.to_string() })
}
