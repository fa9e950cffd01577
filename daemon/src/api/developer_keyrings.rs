//! `developer-keyrings.*`: secrets that the developer of a package provides, the same for all of its
//! installations. Their owner sets them before installing; nobody is ever shown one.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::ApiError;
use super::keyrings::{Deleted, Sent, quietly};
use super::lists::time;
use super::packages;
use super::rights::Caller;
use crate::connections::change::{Client, DeveloperGiven};
use crate::connections::secret::MASK;
use crate::model::id::KeyringId;
use crate::model::keyring::KeyringOwner;
use crate::store::KeyringRecord;

/// The most characters of a name.
const LONGEST_NAME: usize = 128;

/// A keyring of a developer, without its secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct DeveloperKeyring {
    id: String,
    package: String,
    name: String,
    /// `oauth-secret` for a client of OAuth2, else `snap_in_secret`.
    #[serde(rename = "type")]
    type_id: String,
    /// A mask. Sent back as it is, it keeps what is stored.
    secret: &'static str,
    created_date: String,
    changed_date: String,
    changed_by: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneDeveloperKeyring {
    developer_keyring: DeveloperKeyring,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyDeveloperKeyrings {
    developer_keyrings: Vec<DeveloperKeyring>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeveloperKeyringsSet")]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    /// Id or slug.
    package: String,
    /// As manifests of the package name it.
    name: String,
    /// The secret; for a client of OAuth2 it may be JSON with `client_id` and `client_secret`.
    #[serde(default, deserialize_with = "quietly")]
    #[schemars(with = "Option<String>")]
    secret: Sent,
    /// For a client of OAuth2, instead of `secret`.
    #[serde(default)]
    client_id: Option<String>,
    /// Its secret; absent for a client that has none.
    #[serde(default, deserialize_with = "quietly")]
    #[schemars(with = "Option<String>")]
    client_secret: Sent,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeveloperKeyringsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or slug.
    package: String,
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeveloperKeyringsList")]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// Only those of this package: id or slug.
    #[serde(default)]
    package: Option<String>,
}

fn developer_keyring(id: KeyringId, record: KeyringRecord) -> DeveloperKeyring {
    let package = match &record.owner {
        KeyringOwner::Developer { package, .. } => package.to_string(),
        KeyringOwner::SnapIn { .. } | KeyringOwner::User { .. } => String::new(),
    };
    DeveloperKeyring {
        id: id.to_string(),
        package,
        name: record.owner.name().to_owned(),
        type_id: record.type_id,
        secret: MASK,
        created_date: time(record.created_ms),
        changed_date: time(record.changed_ms),
        changed_by: record.changed_by,
    }
}

pub(super) async fn set(
    api: Arc<Api>,
    caller: Caller,
    set: Set,
) -> Result<OneDeveloperKeyring, ApiError> {
    let (package, _) = packages::find(&api, &set.package)?;
    if set.name.is_empty() || set.name.chars().count() > LONGEST_NAME {
        let message = format!("a name has 1 to {LONGEST_NAME} characters");
        return Err(ApiError::field("name", message));
    }
    let client_secret = set.client_secret.text("client_secret")?;
    let given = match (set.secret.text("secret")?, set.client_id, client_secret) {
        (Some(secret), None, None) => DeveloperGiven::Text(secret),
        (None, Some(id), secret) => DeveloperGiven::Client(Client { id, secret }),
        (Some(_) | None, Some(_) | None, Some(_) | None) => {
            let message = "send either `secret`, or `client_id` and `client_secret`";
            return Err(ApiError::field("secret", message).allowing(&[
                "secret",
                "client_id",
                "client_secret",
            ]));
        }
    };
    let by = caller.principal.name();
    let prepared = api.keyrings.prepare_developer(package, &set.name, given, by)?;
    let (id, record) = api.keyrings.commit(prepared).await?;
    Ok(OneDeveloperKeyring { developer_keyring: developer_keyring(id, record) })
}

pub(super) async fn list(
    api: Arc<Api>,
    _: Caller,
    list: List,
) -> Result<ManyDeveloperKeyrings, ApiError> {
    let wanted = match &list.package {
        Some(text) => Some(packages::find(&api, text)?.0),
        None => None,
    };
    let developer_keyrings = api.services.store.read(|tables| {
        let mut found = Vec::new();
        for (package, _, id) in tables.developer_keyrings()? {
            if wanted.is_none_or(|it| it == package) {
                found.extend(tables.keyring(id)?.map(|it| developer_keyring(id, it)));
            }
        }
        Ok(found)
    })?;
    Ok(ManyDeveloperKeyrings { developer_keyrings })
}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<Deleted, ApiError> {
    let (package, _) = packages::find(&api, &which.package)?;
    let owner = KeyringOwner::Developer { package, name: which.name };
    let id = api.keyrings.remove(owner).await?;
    Ok(Deleted { id: id.to_string() })
}
