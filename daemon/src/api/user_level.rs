//! `snap-ins.enable`, `.disable`, `.update-user` and what belongs to them: what each person sets for
//! himself in a snap-in. Only [`resources`] shows secrets, to the snap-in's own functions and to
//! whoever may install code anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Api;
use super::error::{ApiError, Code};
use super::lists::{Paging, cursor};
use super::rights::{Caller, Right};
use super::snap_in_view::{InputValue, MissingThing, input_value};
use super::snap_ins::find;
use crate::configuration::inputs;
use crate::engine::source_log::OpenState;
use crate::model::id::{KeyringId, SnapInId, UserId};
use crate::model::keyring::KeyringState;
use crate::model::manifest::Level;
use crate::operations::UserLevel;
use crate::store::{KeyringRecord, SourceRecord, UserRecord};

/// The longest name of a person, in characters.
const LONGEST_NAME: usize = 256;
/// How long enabling waits for his sources to open.
const OPENING: Duration = Duration::from_secs(2);

/// What a person has set for himself in a snap-in.
#[derive(Serialize, JsonSchema)]
pub(super) struct SnapInUser {
    snap_in: String,
    user: User,
    /// Whether he has enabled it.
    enabled: bool,
    /// User inputs, in the order of the manifest.
    inputs: Vec<InputValue>,
    /// User keyrings, in the order of the manifest. Never a secret.
    keyrings: Vec<UserKeyring>,
    /// His event sources, in the order of the manifest.
    event_sources: Vec<UserSource>,
    /// What he has to set before he can enable it.
    missing: Vec<MissingThing>,
}

/// A person.
#[derive(Serialize, JsonSchema)]
pub(super) struct User {
    id: String,
    name: String,
}

/// A keyring of a person, without its secret.
#[derive(Serialize, JsonSchema)]
struct UserKeyring {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// missing, pending, ready or broken.
    state: &'static str,
    /// What is wrong, when it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// An event source of a person.
#[derive(Serialize, JsonSchema)]
struct UserSource {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    status: &'static str,
    /// Whether requests to the trigger URL are taken now.
    open: bool,
    trigger_url: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneUser {
    snap_in_user: SnapInUser,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyUsers {
    users: Vec<ListedUser>,
    next_cursor: Option<String>,
}

/// Somebody who has set something for himself.
#[derive(Serialize, JsonSchema)]
pub(super) struct ListedUser {
    id: String,
    name: String,
    enabled: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enable {
    /// Id or scope.
    id: String,
    /// Id or name of the user; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
    /// Values of user inputs by name; the others stay as they are.
    #[serde(default)]
    inputs_values: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UserLevelWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or scope.
    id: String,
    /// Id or name of the user; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UserLevelUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Id or scope.
    id: String,
    /// Id or name of the user; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
    /// Values by name of input. What is not named stays as it is; null puts an input back to its
    /// default.
    inputs_values: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UserLevelList")]
pub(super) struct List {
    /// Id or scope.
    id: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhoseResources {
    /// Id or scope.
    id: String,
    /// Id or name of the user.
    user: String,
}

/// What functions need to work for a person.
#[derive(Serialize, JsonSchema)]
pub(super) struct Resources {
    /// Id of the version that the snap-in is of.
    snap_in_version: String,
    /// Values of user inputs in effect, by name.
    inputs: Map<String, Value>,
    /// Ids of his event sources, by name.
    event_sources: BTreeMap<String, String>,
    /// His keyrings that are set, by name.
    keyrings: BTreeMap<String, ResourceKeyring>,
}

/// A keyring of a person, with its secret.
#[derive(Serialize, JsonSchema)]
struct ResourceKeyring {
    id: String,
    /// Empty when it is of no use any more.
    #[serde(serialize_with = "plainly")]
    #[schemars(with = "String")]
    secret: Zeroizing<String>,
    /// Whether it is of no use until somebody renews it.
    is_expired: bool,
}

fn plainly<S: Serializer>(secret: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret)
}

/// The person that a call is about, made if nobody knew him: `asked`, by id or name, or the caller
/// himself. Only who may set snap-ins up may name another.
pub(super) async fn person_or_new(
    api: &Api,
    caller: &Caller,
    asked: Option<&str>,
) -> Result<(UserId, UserRecord), ApiError> {
    // A function is nobody's user, and makes none.
    if caller.principal.reach(Right::UseSnapIns).is_none() {
        return person(api, caller, asked);
    }
    let name = match asked {
        None => caller.principal.person(),
        Some(text) if text.parse::<UserId>().is_ok() => return person(api, caller, asked),
        Some(text) => name_for(caller, text)?,
    };
    if let Some(known) = by_name(api, &name)? {
        return Ok(known);
    }
    let new = name.clone();
    api.services.store.write(move |tables| tables.user_by_name_or_new(&new)).await?;
    by_name(api, &name)?.ok_or_else(|| ApiError::not_found("user", &name))
}

/// The person that a call is about, if he is known.
pub(super) fn person(
    api: &Api,
    caller: &Caller,
    asked: Option<&str>,
) -> Result<(UserId, UserRecord), ApiError> {
    let Some(text) = asked else {
        let name = caller.principal.person();
        return by_name(api, &name)?.ok_or_else(|| ApiError::not_found("user", &name));
    };
    let found = match text.parse::<UserId>() {
        Ok(id) => api.services.store.read(|tables| tables.user(id))?.map(|it| (id, it)),
        Err(_) => by_name(api, &name_for(caller, text)?)?,
    };
    let found = found.ok_or_else(|| ApiError::not_found("user", text))?;
    name_for(caller, &found.1.name)?;
    Ok(found)
}

fn by_name(api: &Api, name: &str) -> Result<Option<(UserId, UserRecord)>, ApiError> {
    let found = api.services.store.read(|tables| {
        let Some(id) = tables.user_by_name(name)? else { return Ok(None) };
        Ok(tables.user(id)?.map(|it| (id, it)))
    })?;
    Ok(found)
}

/// A name that the caller may give.
fn name_for(caller: &Caller, name: &str) -> Result<String, ApiError> {
    if name != caller.principal.person() && caller.principal.reach(Right::WriteSnapIns).is_none() {
        let message = format!(
            "to act for another user needs the right `{}`; leave `user` out to act for yourself",
            Right::WriteSnapIns.name()
        );
        return Err(ApiError::new(Code::Forbidden, message));
    }
    let is_odd = name.trim() != name || name.is_empty() || name.contains(char::is_control);
    if is_odd || name.chars().nth(LONGEST_NAME).is_some() {
        let message = format!(
            "the name of a user has 1 to {LONGEST_NAME} characters, none of them a control \
             character, and no spaces around it"
        );
        return Err(ApiError::field("user", message));
    }
    Ok(name.to_owned())
}

pub(super) async fn enable(
    api: Arc<Api>,
    caller: Caller,
    asked: Enable,
) -> Result<OneUser, ApiError> {
    let (id, _) = find(&api, &caller, &asked.id)?;
    let who = person_or_new(&api, &caller, asked.user.as_deref()).await?;
    let level =
        api.operations.enable_user(&caller.asker(), id, who.0, &asked.inputs_values).await?;
    for source in level.settings.sources.values().filter(|it| level.record.sources.contains(it)) {
        let mut state = api.services.source_logs.open_state(*source);
        // So that the answer says where it stands; a source that takes longer is shown as not open.
        let opened = state.wait_for(|it| *it != OpenState::Opening);
        let _ = tokio::time::timeout(OPENING, opened).await;
    }
    shown(&api, id, who, &level)
}

pub(super) async fn disable(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneUser, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    let who = person(&api, &caller, which.user.as_deref())?;
    let level = api.operations.disable_user(&caller.asker(), id, who.0).await?;
    shown(&api, id, who, &level)
}

pub(super) async fn update(
    api: Arc<Api>,
    caller: Caller,
    update: Update,
) -> Result<OneUser, ApiError> {
    let (id, _) = find(&api, &caller, &update.id)?;
    let who = person_or_new(&api, &caller, update.user.as_deref()).await?;
    let level =
        api.operations.update_user(&caller.asker(), id, who.0, &update.inputs_values).await?;
    shown(&api, id, who, &level)
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<OneUser, ApiError> {
    let (id, _) = find(&api, &caller, &which.id)?;
    let who = person(&api, &caller, which.user.as_deref())?;
    let level = api.operations.user_level(id, who.0)?;
    shown(&api, id, who, &level)
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<ManyUsers, ApiError> {
    let (id, _) = find(&api, &caller, &list.id)?;
    let page = list.paging.oldest_first()?;
    let found = api.services.store.read(|tables| {
        let rows = tables.users_of_snap_in(id, page.from.map(UserId), page.limit + 1)?;
        let mut users = Vec::with_capacity(rows.len());
        for (user, settings) in rows {
            users.push((user, tables.user(user)?, settings.enabled));
        }
        Ok(users)
    })?;
    let next = found.get(page.limit).map(|(user, _, _)| user.0);
    let users = found.into_iter().take(page.limit).map(|(user, record, enabled)| ListedUser {
        id: user.to_string(),
        name: record.map(|it| it.name).unwrap_or_default(),
        enabled,
    });
    Ok(ManyUsers { users: users.collect(), next_cursor: cursor(next) })
}

pub(super) async fn resources(
    api: Arc<Api>,
    caller: Caller,
    whose: WhoseResources,
) -> Result<Resources, ApiError> {
    let (id, _) = find(&api, &caller, &whose.id)?;
    let not_enabled = || {
        let message = format!("the user `{}` has not enabled this snap-in", whose.user);
        ApiError::new(Code::NotFound, message)
    };
    // Who works for people may name them all; one who is not known has enabled nothing.
    let user = match whose.user.parse::<UserId>() {
        Ok(user) => Some(user),
        Err(_) => by_name(&api, &whose.user)?.map(|(user, _)| user),
    };
    let level = api.operations.user_level(id, user.ok_or_else(not_enabled)?)?;
    if !level.settings.enabled {
        return Err(not_enabled());
    }
    let manifest = &level.version.manifest;
    let sources = sources_of(&api, &level)?;
    Ok(Resources {
        snap_in_version: level.record.version.to_string(),
        inputs: inputs::in_effect(manifest, Level::User, &level.settings.inputs),
        event_sources: sources.into_iter().map(|(id, it)| (it.name, id)).collect(),
        keyrings: secrets_of(&api, &caller, &level).await?,
    })
}

/// The secrets of a person, by name.
async fn secrets_of(
    api: &Api,
    caller: &Caller,
    level: &UserLevel,
) -> Result<BTreeMap<String, ResourceKeyring>, ApiError> {
    let bound: BTreeMap<String, KeyringId> = keyrings_of(api, level)?
        .into_iter()
        .filter_map(|(name, bound)| Some((name, bound?)))
        // Nobody has granted it yet: it has no secret, and never had one.
        .filter(|(_, (_, record))| record.state != KeyringState::Pending)
        .map(|(name, (id, _))| (name, id))
        .collect();
    let (usable, _) = api.keyrings.usable(&bound, level.record.package).await?;
    let mut keyrings = BTreeMap::new();
    for (name, keyring) in &bound {
        let found = usable.iter().find(|it| it.id == *keyring);
        let secret = found.map(|it| it.secret.clone()).unwrap_or_default();
        if let Some(run) = caller.cause.run {
            api.invoker.handed_out(run, &secret);
        }
        let id = keyring.to_string();
        let shown = ResourceKeyring { id, secret, is_expired: found.is_none() };
        keyrings.insert(name.clone(), shown);
    }
    Ok(keyrings)
}

/// The user keyrings of a snap-in by name, in the order of the manifest, with what the person has
/// bound.
type BoundKeyrings = Vec<(String, Option<(KeyringId, KeyringRecord)>)>;

fn keyrings_of(api: &Api, level: &UserLevel) -> Result<BoundKeyrings, ApiError> {
    let declared = level.version.manifest.keyrings.iter().filter(|it| it.level == Level::User);
    let found = api.services.store.read(|tables| {
        let mut found = Vec::new();
        for declared in declared {
            let bound = match level.settings.keyrings.get(&declared.name) {
                Some(id) => tables.keyring(*id)?.map(|it| (*id, it)),
                None => None,
            };
            found.push((declared.name.clone(), bound));
        }
        Ok(found)
    })?;
    Ok(found)
}

/// The event sources of a person that the present version declares, in the order of the manifest.
fn sources_of(api: &Api, level: &UserLevel) -> Result<Vec<(String, SourceRecord)>, ApiError> {
    let declared = level.version.manifest.event_sources.iter().filter(|it| it.level == Level::User);
    let found = api.services.store.read(|tables| {
        let mut found = Vec::new();
        for declared in declared {
            if let Some(id) = level.settings.sources.get(&declared.name) {
                found.extend(tables.source(*id)?.map(|it| (id.to_string(), it)));
            }
        }
        Ok(found)
    })?;
    Ok(found)
}

fn shown(
    api: &Api,
    id: SnapInId,
    (user, record): (UserId, UserRecord),
    level: &UserLevel,
) -> Result<OneUser, ApiError> {
    let UserLevel { settings, version, .. } = level;
    let in_effect = inputs::in_effect(&version.manifest, Level::User, &settings.inputs);
    let declared = version.manifest.inputs.iter().filter(|it| it.level == Level::User);
    let inputs =
        declared.map(|it| input_value(it, settings.inputs.contains_key(&it.name), &in_effect));
    let keyrings = keyrings_of(api, level)?.into_iter().map(|(name, bound)| {
        let state = bound.as_ref().map(|(_, record)| &record.state);
        UserKeyring {
            name,
            id: bound.as_ref().map(|(id, _)| id.to_string()),
            state: state.map_or("missing", KeyringState::name),
            reason: match state {
                Some(KeyringState::Broken { reason }) => Some(reason.clone()),
                Some(KeyringState::Pending | KeyringState::Ready) | None => None,
            },
        }
    });
    let event_sources = sources_of(api, level)?.into_iter().map(|(id, it)| UserSource {
        // Its actor may not have heard yet that it is to close; the store takes nothing any more.
        open: settings.enabled && api.services.routes.by_token(&it.token).is_some(),
        trigger_url: format!("{}/hooks/{}", api.public_url, it.token),
        id,
        name: it.name,
        kind: it.kind,
        status: it.status.name(),
    });
    let missing = level.missing(&record.name);
    Ok(OneUser {
        snap_in_user: SnapInUser {
            snap_in: id.to_string(),
            user: User { id: user.to_string(), name: record.name },
            enabled: settings.enabled,
            inputs: inputs.collect(),
            keyrings: keyrings.collect(),
            event_sources: event_sources.collect(),
            missing: missing.iter().map(MissingThing::of).collect(),
        },
    })
}
